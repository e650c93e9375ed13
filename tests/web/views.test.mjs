// Every view of the page, wide and narrow, light and dark; its keys; what it plays.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  form, freePort, getJson, hold, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { accessible, launch, longTranscript, openPage, picture, reason, recording, windows } from './browser.mjs';

const hostile = '<img src=x onerror="document.title=\'owned\'"><script>document.title=\'owned\'</script>';

describe('the views of the page', { skip: reason }, () => {
  let server;
  let browser;
  let job;
  before(async () => {
    server = await startServer();
    browser = await launch();
    await until(() => fetch(`${server.url}/health/ready`), (r) => r.status === 200);
    const { body } = await transcribe(server, form(fs.readFileSync(recording), 'Interview with Zoë.wav', { language: 'en', word_timestamps: 'true' }));
    job = await waitForJob(server, body.job_id);
    assert.equal(job.status, 'completed');
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  const open = (options) => openPage(browser, server, options);
  const openJob = (options) => open({ at: `#/jobs/${job.id}`, ...options });

  /** What the service says of a job, changed for a test of what is shown of it. */
  async function pretend(page, { change = {}, transcript }) {
    await page.route(`**/jobs/${job.id}`, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...await response.json(), ...change } });
    });
    if (transcript) await page.route(`**/jobs/${job.id}/download?format=json`, (route) => route.fulfill({ json: transcript }));
  }

  for (const { name, options } of windows) {
    test(`are accessible: ${name}`, async () => {
      const { page, problems, close } = await open(options);
      await page.getByText('Online').waitFor();
      await page.getByRole('link', { name: /Interview/ }).waitFor();
      await accessible(page, 'list');
      await picture(page, `${name}-list`);

      await page.goto(`${server.url}/#/jobs/${job.id}`);
      await page.locator('.segments .w').first().waitFor();
      await page.waitForFunction(() => document.querySelector('audio').readyState > 0);
      await accessible(page, 'transcript');
      await picture(page, `${name}-transcript`);
      await page.locator('summary').click();
      await accessible(page, 'report');
      await page.locator('details.quality').scrollIntoViewIfNeeded();
      await picture(page, `${name}-report`);

      await page.getByRole('button', { name: 'Export…' }).click();
      await page.locator('#export-preview').getByText(/stew|-->/).waitFor();
      await accessible(page, 'export');
      await picture(page, `${name}-export`);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
      await accessible(page, 'help');
      await picture(page, `${name}-help`);
      await page.keyboard.press('Escape');

      await page.goto(`${server.url}/docs`);
      await page.getByRole('heading', { name: 'Whisper Transcriber' }).waitFor();
      await page.locator('#get-jobs > summary').click();
      await accessible(page, 'docs');
      await picture(page, `${name}-docs`);
      assert.deepEqual(problems, []);
      await close();
    });

    test(`are accessible when things go wrong: ${name}`, async () => {
      const other = await startServer();
      const { page, problems, close } = await openPage(browser, other, options);
      await page.getByText('Your transcripts will be here').waitFor();
      await accessible(page, 'empty');
      await picture(page, `${name}-empty`);

      // A recording that breaks off behind its head: it is taken, and fails.
      const broken = Buffer.concat([Buffer.from('OggS\0\x02'), Buffer.alloc(5000, 7)]);
      const { body } = await transcribe(other, form(broken, 'broken.ogg'));
      const failed = await waitForJob(other, body.job_id);
      assert.equal(failed.status, 'failed');
      await page.goto(`${other.url}/#/jobs/${failed.id}`);
      await page.getByRole('button', { name: 'Try again' }).waitFor();
      await accessible(page, 'failed');
      await picture(page, `${name}-failed`);

      await page.goto(`${other.url}/#/jobs/0190b5d0-aaaa-7bbb-8ccc-0123456789ab`);
      await page.getByRole('heading', { name: 'Not here' }).waitFor();
      await accessible(page, 'missing');

      await hold(other); // for as long as that is looked at
      const { body: long } = await transcribe(other, form(wav({ seconds: 20, sample: tone }), 'long.wav', { vad_filter: 'false' }));
      await page.goto(`${other.url}/#/jobs/${long.job_id}`);
      await page.getByRole('button', { name: 'Cancel' }).waitFor();
      await accessible(page, 'working');
      await picture(page, `${name}-working`);
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.getByText('This transcription was cancelled.').waitFor();

      await page.route('**/jobs?*', (route) => route.fulfill({ status: 401, json: { detail: 'A key is needed', error_code: 'unauthorized' } }));
      await page.goto(`${other.url}/?again`);
      await page.getByRole('dialog', { name: 'A key, please' }).waitFor();
      await accessible(page, 'login');
      await picture(page, `${name}-login`);
      await page.keyboard.press('Escape');
      await page.unrouteAll();

      await other.stop();
      await page.evaluate(() => window.dispatchEvent(new Event('online')));
      await page.getByText('The service cannot be reached.').waitFor();
      await accessible(page, 'offline');
      await picture(page, `${name}-offline`);
      assert.deepEqual(problems, []);
      await close();
    });
  }

  test('can be gone through with the keyboard alone, from upload to export', async () => {
    const { page, problems, close } = await open({ acceptDownloads: true });
    await page.getByText('Online').waitFor();
    /** Tab until the element is reached, as a person would. */
    async function tabTo(locator, limit = 60) {
      await locator.waitFor();
      for (let i = 0; i < limit; i++) {
        if (await locator.evaluate((node) => node === document.activeElement)) return;
        await page.keyboard.press('Tab');
      }
      assert.fail(`not reached with Tab: ${locator}`);
    }
    await tabTo(page.locator('#files'));
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.keyboard.press('Space')]);
    await chooser.setFiles({ name: 'by key.wav', mimeType: 'audio/wav', buffer: fs.readFileSync(recording) });
    await page.getByRole('heading', { name: 'by key.wav' }).waitFor();
    await page.locator('.segments .w').first().waitFor();
    // When it was done, the focus stayed in the job: no need to begin at the top.
    const slider = page.getByRole('slider', { name: 'Position in the recording' });
    await tabTo(slider);
    await page.waitForFunction(() => document.querySelector('audio').readyState > 0);
    const position = async () => Number(await slider.getAttribute('aria-valuenow'));
    await page.keyboard.press('ArrowRight');
    assert.equal(await position(), 5);
    await page.keyboard.press('End');
    assert.ok(await position() >= Math.floor(job.duration));
    await page.keyboard.press('Home');
    assert.equal(await position(), 0);
    await tabTo(page.locator('.time').first());
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => !document.querySelector('audio').paused);
    await page.locator('#detail-title').focus();
    await page.keyboard.press('Space');
    await page.waitForFunction(() => document.querySelector('audio').paused);

    await tabTo(page.getByRole('button', { name: 'Export…' }));
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Export' });
    await dialog.waitFor();
    await page.locator('[name="format"][value="srt"]').focus();
    await page.keyboard.press('ArrowDown');
    assert.ok(await page.locator('[name="format"][value="vtt"]').isChecked());
    await tabTo(page.getByLabel('Characters in a line'));
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type('24');
    await page.locator('#export-preview').getByText('WEBVTT').waitFor();
    await tabTo(page.getByRole('link', { name: 'Download', exact: true }));
    const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
    assert.equal(download.suggestedFilename(), 'by key.vtt');
    const text = fs.readFileSync(await download.path(), 'utf8');
    assert.match(text, /^WEBVTT\n\n/);
    const lines = text.split('\n').filter((line) => line && !/-->|WEBVTT/.test(line));
    assert.ok(lines.every((line) => line.length <= 24), lines.join('|'));
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    // The focus is where the dialog was opened.
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Export…');
    assert.deepEqual(problems, []);
    await close();
  });

  test('follow the voice: the word that is spoken is marked', async () => {
    const { page, problems, close } = await openJob();
    await page.locator('.segments .w').first().waitFor();
    const words = (await getJson(server, `/jobs/${job.id}/download?format=json`)).body.segments.flatMap((s) => s.words);
    assert.equal(await page.locator('.segments .w').count(), words.length);
    await page.getByRole('button', { name: 'Play', exact: true }).click();
    const seen = [];
    const end = Date.now() + 4000;
    while (Date.now() < end) {
      seen.push(await page.evaluate(() => ({
        at: document.querySelector('audio').currentTime,
        word: Number(document.querySelector('.w.now')?.dataset.i ?? -1),
        marked: document.querySelectorAll('.w.now').length,
      })));
      await page.waitForTimeout(50);
    }
    await page.getByRole('button', { name: 'Pause' }).click();
    assert.ok(seen.at(-1).at > 2, `it plays: ${seen.at(-1).at}`);
    const marked = seen.filter((each) => each.word >= 0);
    assert.ok(new Set(marked.map((each) => each.word)).size >= 4, 'several words were marked');
    for (const { at, word, marked: count } of marked) {
      assert.equal(count, 1);
      // A frame or two behind what the clock says now.
      assert.ok(at >= words[word].start - 0.01 && at <= words[word].end + 0.6, `at ${at} word ${word}: ${words[word].start}`);
    }
    // A click on a word goes there.
    await page.locator('.segments .w').nth(3).click();
    const at = await page.evaluate(() => document.querySelector('audio').currentTime);
    assert.ok(Math.abs(at - words[3].start) < 0.15);
    assert.deepEqual(problems, []);
    await close();
  });

  test('draw the waveform that the service made', async () => {
    const { page, close } = await openJob();
    await page.locator('.wave canvas').waitFor();
    // Bars of different heights: neither a line nor nothing.
    const heights = () => page.evaluate(() => {
      const canvas = document.querySelector('.wave canvas');
      const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const tall = new Set();
      for (let x = 5; x < width; x++) {
        let n = 0;
        for (let y = 0; y < height; y++) if (data[4 * (y * width + x) + 3] > 128) n++;
        tall.add(n);
      }
      return [...tall];
    });
    await until(heights, (all) => all.length > 8 && Math.max(...all) > 40);
    await close();
  });

  test('mark unsure words with more than a colour, and lead to them', async () => {
    const transcript = longTranscript(40, { unsure: (i) => i === 12 || i === 33 });
    const { page, problems, close } = await openJob({ prepare: (p) => pretend(p, { transcript }) });
    await page.getByText('the 2 words of which the model is unsure').waitFor();
    const style = await page.locator('.segments .w.unsure').first().evaluate((node) => getComputedStyle(node).textDecorationStyle);
    assert.equal(style, 'dotted');
    assert.equal(await page.locator('.segments .w.unsure').first().getAttribute('title'), 'Unsure: 20 %');
    await page.keyboard.press('n');
    await page.locator('#announce').getByText('word12').waitFor({ state: 'attached' });
    await page.keyboard.press('n');
    await page.locator('#announce').getByText('word33').waitFor({ state: 'attached' });
    await accessible(page, 'unsure');
    await picture(page, 'unsure');
    assert.deepEqual(problems, []);
    await close();
  });

  test('show 10,000 words at once', async () => {
    const transcript = longTranscript(10000);
    const { page, close } = await openJob({ prepare: (p) => pretend(p, { transcript, change: { duration: 3000 } }) });
    await page.locator('.segments li').nth(999).waitFor({ state: 'attached' });
    // Processor time of the page's thread, in ms: what the machine does beside it is not the page's fault.
    const protocol = await page.context().newCDPSession(page);
    await protocol.send('Performance.enable', { timeDomain: 'threadTicks' });
    const spent = async () => 1000 * (await protocol.send('Performance.getMetrics')).metrics.find(({ name }) => name === 'TaskDuration').value;
    const begun = await spent();
    await page.evaluate(async () => {
      location.hash = '';
      await new Promise((resolve) => { setTimeout(resolve, 50); });
      history.back();
      while (document.querySelectorAll('.segments li').length < 1000) await new Promise((resolve) => { requestAnimationFrame(resolve); });
    });
    const took = await spent() - begun;
    assert.ok(took < 2000, `${took} ms`);
    // Moving the mark touches two words, whatever the length.
    const moving = await spent();
    await page.evaluate(async () => {
      document.querySelector('.wave').focus();
      for (let i = 0; i < 30; i++) {
        document.querySelector('.wave').dispatchEvent(new KeyboardEvent('keydown', { key: 'PageUp', bubbles: true }));
        await new Promise((resolve) => { requestAnimationFrame(resolve); });
      }
    });
    const frame = (await spent() - moving) / 30;
    console.log(`# 10,000 words: shown in ${took.toFixed(0)} ms, a frame takes ${frame.toFixed(0)} ms`);
    assert.ok(frame < 100, `a frame takes ${frame} ms`);
    await close();
  });

  test('take texts from outside as texts', async () => {
    const transcript = longTranscript(10, { text: () => ` ${hostile}` });
    const change = {
      original_filename: hostile, warnings: [hostile], model_used: hostile, language: hostile,
      quality: { ...job.quality, dropped: [{ start: 0, end: 1, reason: hostile, text: hostile }], language_votes: [{ start: 0, end: 1, language: hostile, probability: 1 }] },
    };
    const { page, problems, close } = await openJob({ prepare: (p) => pretend(p, { change, transcript }) });
    await page.locator('.segments .w').first().waitFor();
    await page.locator('summary').click();
    await page.getByRole('button', { name: 'Export…' }).click();
    await page.waitForTimeout(300);
    assert.equal(await page.locator('img[src=x], #job script').count(), 0);
    assert.match(await page.locator('.segments').textContent(), /<script>/);
    assert.doesNotMatch(await page.title(), /^owned/);
    assert.deepEqual(problems, []);
    await close();
    const name = '<svg onload=alert(1)>.wav';
    const { body } = await transcribe(server, form(wav(), name));
    const second = await open({ at: `#/jobs/${body.job_id}` });
    await second.page.getByRole('heading', { name }).waitFor();
    assert.equal(await second.page.locator('svg[onload]').count(), 0);
    assert.deepEqual(second.problems, []);
    await second.close();
  });

  test('keep the theme that was chosen', async () => {
    const { page, problems, close } = await open({ colorScheme: 'light' });
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    assert.equal(await theme(), 'light');
    const button = page.getByRole('button', { name: 'Dark theme' });
    await button.click();
    assert.equal(await theme(), 'dark');
    assert.equal(await button.getAttribute('aria-pressed'), 'true');
    await page.reload();
    assert.equal(await theme(), 'dark');
    await page.goto(`${server.url}/docs`);
    assert.equal(await theme(), 'dark');
    await page.getByRole('button', { name: 'Dark theme' }).click();
    assert.equal(await theme(), 'light');
    await page.emulateMedia({ colorScheme: 'dark' }); // no choice is left: the system's
    await until(theme, (name) => name === 'dark');
    assert.deepEqual(problems, []);
    await close();
  });

  test('send many files, a few at a time', async () => {
    const { page, problems, close } = await open();
    await page.getByText('Online').waitFor();
    await page.locator('#files').setInputFiles(Array.from({ length: 12 }, (_, i) => ({
      name: `many ${i}.wav`, mimeType: 'audio/wav', buffer: wav({ seconds: 1 + i }),
    })));
    await page.locator('#upload-tally').getByText(/of 12 uploaded/).waitFor();
    await until(async () => (await getJson(server, '/jobs?search=many&limit=50')).body, (list) => list.total === 12);
    await page.locator('#uploads li').first().waitFor({ state: 'detached' });
    assert.deepEqual(problems, []);
    await close();
  });

  test('say how long it will take', async () => {
    const { body } = await transcribe(server, form(wav({ seconds: 900, sample: tone }), 'hours.wav', { vad_filter: 'false', mode: 'sequential', beam_size: '1' }));
    const { page, problems, close } = await open({ at: `#/jobs/${body.job_id}` });
    await page.locator('.eta').getByText(/^(about \d+ (s|min)|a few seconds) left$/).waitFor();
    await page.getByRole('link', { name: /hours.*left/ }).waitFor();
    await picture(page, 'eta');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('This transcription was cancelled.').waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  test('say what the list shows', async () => {
    const { page, problems, close } = await open();
    await page.getByRole('link', { name: /Interview/ }).waitFor();
    await page.locator('#filter').selectOption('failed');
    await page.getByText('None is failed').waitFor();
    await page.locator('#filter').selectOption('completed');
    await page.getByRole('link', { name: /Interview/ }).waitFor();
    assert.deepEqual(problems, []);
    await close();
  });

  test('show a text that can be read only once', async () => {
    const { page, problems, close } = await openJob({
      prepare: (p) => p.route(`**/jobs/${job.id}/download?format=json`, (route) => route.fulfill({ status: 410, json: { detail: 'it was fetched', error_code: 'gone' } })),
    });
    await page.getByText('keeps nothing of this job').waitFor();
    assert.match(await page.locator('.plain').innerText(), /stew for dinner/);
    await accessible(page, 'only text');
    assert.deepEqual(problems, []);
    await close();
  });

  test('say when the recording is not kept any more', async () => {
    const { body } = await transcribe(server, form(wav({ seconds: 2 }), 'old.wav'));
    await waitForJob(server, body.job_id);
    fs.rmSync(`${server.folder}/storage/uploads/${body.job_id}`);
    const { page, problems, close } = await open({ at: `#/jobs/${body.job_id}` });
    await page.getByText('The recording is not kept any more').waitFor();
    assert.ok(await page.getByRole('button', { name: 'Play', exact: true }).isDisabled());
    await accessible(page, 'without recording');
    assert.deepEqual(problems, []);
    await close();
  });

  test('describe the interface, and let it be tried', async () => {
    const { page, problems, close } = await open({ at: 'docs' });
    const { body } = await getJson(server, '/openapi.json');
    const operations = Object.values(body.paths).flatMap((item) => Object.keys(item)).length;
    await page.locator('.operation').first().waitFor();
    assert.equal(await page.locator('.operation').count(), operations);
    await page.locator('#get-jobs > summary').click();
    await page.locator('#get-jobs').getByRole('textbox', { name: 'limit' }).fill('1');
    await page.locator('#get-jobs').getByRole('button', { name: 'Send' }).click();
    await page.locator('#get-jobs pre').getByText('"limit": 1').waitFor();
    await page.locator('#get-jobs-id > summary').click();
    await page.locator('#get-jobs-id').getByRole('textbox', { name: 'id' }).fill('nonsense');
    await page.locator('#get-jobs-id').getByRole('button', { name: 'Send' }).click();
    await page.locator('#get-jobs-id pre').getByText('"not_found"').waitFor();
    // What changes something is described, not tried.
    await page.locator('#delete-jobs-id > summary').click();
    assert.equal(await page.locator('#delete-jobs-id form').count(), 0);
    assert.deepEqual(problems, []);
    await close();
  });

  test('go on with an upload that a restart broke off', async (t) => {
    const probe = await fetch(`${server.url}/uploads`, { method: 'POST', headers: { 'tus-resumable': '1.0.0', 'upload-length': '10' } });
    if (probe.status === 404) {
      t.skip('this service has no resumable uploads');
      return;
    }
    const folder = tempFolder();
    const again = { folder, env: { PORT: String(await freePort()) } };
    const first = await startServer(again);
    const { page, close } = await openPage(browser, first, {});
    await page.getByText('Online').waitFor();
    let patches = 0;
    page.on('request', (request) => { patches += request.method() === 'PATCH'; });
    const bytes = wav({ seconds: 1300 }); // more than a part
    await page.route('**/uploads/*', async (route) => {
      // In the middle of the second part, the service dies.
      if (patches < 2) return route.continue();
      await first.kill();
      return route.abort();
    });
    const file = path.join(folder, 'big.wav');
    fs.writeFileSync(file, bytes);
    await page.locator('#files').setInputFiles(file);
    await page.locator('#uploads').getByText('Paused').waitFor();
    await page.unroute('**/uploads/*');
    const second = await startServer(again);
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    const { jobs } = await until(async () => (await getJson(second, '/jobs')).body, (list) => list.total === 1);
    const digest = (data) => createHash('sha256').update(data).digest('hex');
    assert.equal(digest(fs.readFileSync(path.join(folder, 'storage', 'uploads', jobs[0].id))), digest(bytes));
    await page.locator('#uploads li').waitFor({ state: 'detached' });
    await close();
    await second.stop();
  });
});
