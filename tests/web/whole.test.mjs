// The page with what not every build has: keys, and one stream for all jobs. Nothing is
// answered in the service's stead.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { binary, form, freePort, getJson, startServer, tempFolder, transcribe, until } from '../lib/server.mjs';
import { accessible, launch, openPage, picture, reason, recording } from './browser.mjs';

describe('the page with all of the service', { skip: reason }, () => {
  let browser;
  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  test('signs in with a key, makes and revokes another, signs out', async (t) => {
    const folder = tempFolder();
    if (spawnSync(binary, ['keys', '--help'], { cwd: folder }).status !== 0) {
      t.skip('this service has no keys');
      return;
    }
    const server = await startServer({ folder, env: { AUTH: 'key' } });
    const said = execFileSync(binary, ['keys', 'create', '--name', 'me', '--scope', 'admin'], { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const [key] = /wt_\S+/.exec(said);
    const { page, close } = await openPage(browser, server);
    const dialog = page.getByRole('dialog', { name: 'A key, please' });
    await dialog.waitFor();
    await dialog.getByLabel('Key').fill('wt_0123456789abcdef_nonsense');
    await page.keyboard.press('Enter');
    await dialog.getByText('This key is not known').waitFor();
    await dialog.getByLabel('Key').fill(key);
    await page.keyboard.press('Enter');
    await dialog.waitFor({ state: 'hidden' });
    // The upload, the progress, the recording and the links all go by the cookie.
    await page.locator('#files').setInputFiles(recording);
    await page.locator('.segments .w').first().waitFor();
    await page.waitForFunction(() => document.querySelector('audio').readyState > 0);
    await page.getByRole('link', { name: 'Keys' }).click();
    await page.getByRole('table', { name: 'Keys' }).waitFor();
    await page.locator('summary').click();
    await page.getByRole('textbox', { name: 'Name', exact: true }).fill('intern');
    await page.getByRole('button', { name: 'Make the key' }).click();
    const made = await page.locator('.secret').textContent();
    const list = () => fetch(`${server.url}/jobs`, { headers: { authorization: `Bearer ${made}` } });
    assert.equal((await (await list()).json()).total, 0, 'a key of its own sees nothing of others');
    await page.getByRole('button', { name: 'Revoke the key intern' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('Revoked', { exact: true }).waitFor();
    await until(list, (response) => response.status === 401);
    await page.getByRole('link', { name: 'System' }).click();
    await page.getByRole('table', { name: 'Security events' }).getByText('key revoked').waitFor();
    await accessible(page, 'system');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await dialog.waitFor();
    assert.equal(await page.locator('.segments').count(), 0);
    await close();
    await server.stop();
  });

  test('follows all jobs on one stream, also after a restart', async (t) => {
    const folder = tempFolder();
    const again = { folder, env: { PORT: String(await freePort()) } };
    const first = await startServer(again);
    const stop = new AbortController();
    const { status } = await fetch(`${first.url}/events`, { signal: stop.signal });
    stop.abort();
    if (status === 404) {
      t.skip('this service has no stream');
      await first.stop();
      return;
    }
    // While there is no stream yet, the page follows its job by a WebSocket.
    let streaming;
    const prepare = (p) => { streaming = p.waitForResponse((response) => new URL(response.url()).pathname === '/events'); };
    const { page, problems, close } = await openPage(browser, first, { prepare });
    await streaming;
    const sockets = [];
    page.on('websocket', (socket) => sockets.push(socket.url()));
    await page.getByText('Online').waitFor();
    await page.locator('#files').setInputFiles(recording);
    await page.locator('.segments .w').first().waitFor();
    await first.kill();
    await page.getByText('The service cannot be reached.').waitFor();
    const second = await startServer(again);
    await page.getByText('Online').waitFor();
    const { body } = await transcribe(second, form(fs.readFileSync(recording), 'second.wav'));
    await page.getByRole('link', { name: /second\.wav\s*Done/ }).waitFor();
    await getJson(second, `/jobs/${body.job_id}`, { method: 'DELETE' });
    await page.getByRole('link', { name: /second/ }).waitFor({ state: 'detached' });
    assert.deepEqual(sockets, []);
    assert.deepEqual(problems, []);
    await close();
    await second.stop();
  });

  test('shows a text of which nothing is kept', async (t) => {
    const server = await startServer();
    const { body } = await transcribe(server, form(fs.readFileSync(recording), 'secret.wav', { retain: 'none' }));
    const { body: waiting } = await getJson(server, '/jobs');
    if (waiting.jobs[0].retain !== 'none') {
      t.skip('this service keeps what it has');
      await server.stop();
      return;
    }
    const { page, close } = await openPage(browser, server, { at: `#/jobs/${body.job_id}` });
    // Plain, unless the page asked for the words before the service forgot them.
    await page.waitForFunction(() => /stew for dinner/.test(document.querySelector('main').innerText));
    await picture(page, 'kept-nowhere');
    await close();
    await server.stop();
  });
});
