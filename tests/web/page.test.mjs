// The page in a real browser, on a real recording with real weights.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import {
  form, freePort, getJson, hold, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { accessible, launch, openPage as openIn, reason, recording } from './browser.mjs';

describe('the page', { skip: reason }, () => {
  let server;
  let browser;
  before(async () => {
    server = await startServer();
    browser = await launch();
    await until(() => fetch(`${server.url}/health/ready`), (r) => r.status === 200);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  const openPage = ({ hash = '', ...options } = {}) => openIn(browser, server, { at: hash, ...options });

  test('takes a recording, shows its progress, then its transcript, and gives it out', async () => {
    // Where the service has one stream for all jobs, the sockets are the second choice.
    const withoutStream = (p) => p.route('**/events*', (route) => route.fulfill({ status: 404, body: '' }));
    const { page, problems, close } = await openPage({ acceptDownloads: true, prepare: withoutStream });
    await page.getByText('Online').waitFor();
    await page.getByLabel('Language').selectOption('en');
    // Every message of the progress socket.
    const progress = [];
    page.on('websocket', (ws) => ws.on('framereceived', ({ payload }) => progress.push(JSON.parse(payload))));
    await page.locator('#files').setInputFiles(recording);
    await page.getByRole('heading', { name: 'clean.wav' }).waitFor();
    const transcript = page.getByRole('list', { name: 'Transcript', exact: true });
    await transcript.waitFor();
    // The browser lays lines out only when they come into view; innerText knows no others.
    const text = await transcript.textContent();
    assert.match(text, /stew for dinner/i);
    assert.match(text, /^0:00/);
    assert.ok(progress.length > 0, 'progress came over the WebSocket');
    assert.equal(progress.at(-1).status, 'completed');
    for (const format of ['txt', 'srt', 'vtt', 'tsv', 'json']) {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('link', { name: `Download as ${format}` }).click(),
      ]);
      assert.equal(download.suggestedFilename(), `clean.${format}`);
      const bytes = fs.readFileSync(await download.path(), 'utf8');
      assert.match(bytes, /stew for dinner/i);
      if (format === 'srt') assert.match(bytes, /^1\n00:00:00,\d{3} --> 00:00:\d\d,\d{3}\n/);
    }
    assert.match(await page.locator('#list li').first().innerText(), /clean\.wav\s+Done/);
    await accessible(page, 'transcript');
    assert.deepEqual(problems, []);
    await close();
  });

  test('has no accessibility violations in any state, scheme or width', async () => {
    for (const colorScheme of ['light', 'dark']) {
      for (const viewport of [{ width: 1280, height: 800 }, { width: 390, height: 844 }]) {
        const { page, problems, close } = await openPage({ colorScheme, viewport });
        await page.getByText('Online').waitFor();
        await page.locator('#files').setInputFiles([{ name: 'notes.mp3', mimeType: 'audio/mpeg', buffer: Buffer.from('only text') }]);
        await page.locator('#uploads').getByText('not a recording').waitFor();
        await accessible(page, `${colorScheme} ${viewport.width}`);
        assert.deepEqual(problems, []);
        await close();
      }
    }
  });

  test('says what to check in a transcript', async () => {
    const { body } = await transcribe(server, form(wav({ seconds: 40 }), 'quiet room.wav'));
    const job = await waitForJob(server, body.job_id);
    assert.equal(job.warnings.length, 1);
    const { page, problems, close } = await openPage({ hash: `#/jobs/${job.id}` });
    const notes = page.getByRole('region', { name: 'Please check' });
    await notes.waitFor();
    assert.deepEqual(await notes.getByRole('listitem').allInnerTexts(), job.warnings);
    await accessible(page, 'warnings');
    assert.deepEqual(problems, []);
    await close();
  });

  test('works from the keyboard alone, and asks before it deletes', async () => {
    const { body } = await transcribe(server, form(wav(), 'keyboard.wav', { language: 'en' }));
    await waitForJob(server, body.job_id);
    const { page, problems, close } = await openPage();
    const row = page.getByRole('link', { name: /keyboard\.wav/ });
    await row.waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
    await row.focus();
    await page.keyboard.press('Enter');
    const heading = page.getByRole('heading', { name: 'keyboard.wav' });
    await heading.waitFor();
    await page.waitForFunction(() => document.activeElement.id === 'detail-title');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    await accessible(page, 'dialog');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    assert.equal((await getJson(server, `/jobs/${body.job_id}`)).status, 200);
    await page.getByRole('button', { name: 'Delete keyboard.wav' }).click();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await row.waitFor({ state: 'detached' });
    assert.equal((await getJson(server, `/jobs/${body.job_id}`)).status, 404);
    assert.deepEqual(problems, []);
    await close();
  });

  test('shows names and texts as text', async () => {
    const name = '<img src=x onerror=alert(1)>.wav';
    const { body } = await transcribe(server, form(wav(), name, { language: 'en' }));
    const { page, problems, close } = await openPage({ hash: `#/jobs/${body.job_id}` });
    await page.getByRole('heading', { name }).waitFor();
    assert.equal(await page.locator('img[src=x]').count(), 0);
    assert.deepEqual(problems, []);
    await close();
  });

  test('cancels, and tries again', async () => {
    // However slow the browser is: the job stands still until somebody has clicked.
    let goOn = await hold(server);
    const { body } = await transcribe(server, form(wav({ seconds: 20, sample: tone }), 'long.wav', { vad_filter: 'false' }));
    const { page, problems, close } = await openPage({ hash: `#/jobs/${body.job_id}` });
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('This transcription was cancelled.').waitFor();
    goOn();
    goOn = await hold(server); // another worker may be there by now
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('button', { name: 'Cancel' }).waitFor();
    assert.deepEqual(problems, []);
    await getJson(server, `/jobs/${body.job_id}`, { method: 'DELETE' });
    goOn();
    await close();
  });

  test('finds transcripts, and says when there is nothing to find', async () => {
    await transcribe(server, form(wav(), 'haystack.wav', { language: 'en' }));
    const { page, close } = await openPage();
    await page.getByRole('link', { name: /haystack/ }).waitFor();
    await page.getByRole('searchbox').fill('no such thing anywhere');
    await page.getByText('Nothing is found').waitFor();
    await page.getByRole('searchbox').fill('haystack');
    await page.getByRole('link', { name: /haystack/ }).waitFor();
    assert.equal(await page.locator('#list li').count(), 1);
    await close();
  });

  test('polls where no WebSocket gets through', async () => {
    const context = await browser.newContext();
    context.setDefaultTimeout(300_000);
    const page = await context.newPage();
    await page.route('**/events*', (route) => route.fulfill({ status: 404, body: '' }));
    await page.addInitScript(() => {
      globalThis.WebSocket = class { constructor() { throw new Error('blocked'); } };
    });
    await page.goto(server.url);
    await page.locator('#files').setInputFiles(recording);
    await page.getByRole('list', { name: 'Transcript', exact: true }).waitFor();
    await context.close();
  });

  test('says when the service is gone, and when it is back', async () => {
    const folder = tempFolder();
    const again = { folder, env: { PORT: String(await freePort()) } };
    const first = await startServer(again);
    const context = await browser.newContext();
    context.setDefaultTimeout(300_000);
    const page = await context.newPage();
    await page.goto(first.url);
    await page.getByText('Online').waitFor();
    await first.stop();
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    await page.getByText('Offline').waitFor();
    await page.locator('#files').setInputFiles({ name: 'a.wav', mimeType: 'audio/wav', buffer: wav() });
    await page.locator('#uploads').getByText('the service cannot be reached').waitFor();
    const second = await startServer(again);
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    await page.getByText('Online').waitFor();
    await context.close();
    await second.stop();
  });
});
