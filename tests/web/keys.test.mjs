// The page with real keys: signing in, uploading, watching, the operator's views.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { keys, idOf, makeKey } from '../lib/keys.mjs';
import { hasModel, startServer, wav } from '../lib/server.mjs';
import { launch, openPage } from './browser.mjs';

describe('the page of a service that asks for keys', { skip: !hasModel('tiny') }, () => {
  let browser;
  let server;
  before(async () => {
    server = await startServer({ env: { AUTH: 'key' } });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  test('lets in who has one', async () => {
    const admin = makeKey(server.folder, { scope: 'admin', name: 'boss' });
    const { page, close } = await openPage(browser, server, {});
    const dialog = page.getByRole('dialog', { name: 'A key, please' });
    await dialog.waitFor();
    await dialog.getByLabel('Key').fill(`wt_0123456789abcdef_${'A'.repeat(43)}`);
    await page.keyboard.press('Enter');
    await dialog.getByText('This key is not known').waitFor();
    await dialog.getByLabel('Key').fill(admin);
    await dialog.getByRole('button', { name: 'Sign in' }).click();
    await dialog.waitFor({ state: 'hidden' });
    await page.setInputFiles('#files', { name: 'quiet.wav', mimeType: 'audio/wav', buffer: wav({ seconds: 2 }) });
    await page.getByText('quiet.wav').first().waitFor();
    await page.waitForFunction(async () => (await (await fetch('jobs')).json()).jobs[0]?.status === 'completed');

    await page.goto(`${server.url}/#/keys`);
    await page.getByText('boss').waitFor();
    await page.goto(`${server.url}/#/system`);
    await page.getByText('session opened').waitFor();
    keys(server.folder, ['revoke', idOf(admin)]);
    await page.reload();
    await dialog.waitFor();
    await close();
  });
});
