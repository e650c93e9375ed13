// Reading a transcript and looking after many: find, follow, switches, choosing, rights.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { makeKey } from '../lib/keys.mjs';
import { form, getJson, hold, startServer, tempFolder, tone, transcribe, until, waitForJob, wav } from '../lib/server.mjs';
import { accessible, launch, longTranscript, openPage, picture, reason, recording } from './browser.mjs';

describe('reading in the page', { skip: reason }, () => {
  let server;
  let browser;
  let job;
  before(async () => {
    server = await startServer();
    browser = await launch();
    const { body } = await transcribe(server, form(fs.readFileSync(recording), 'talk.wav', { language: 'en', word_timestamps: 'true' }));
    job = await waitForJob(server, body.job_id);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  async function openText({ transcript, change = {}, ...options } = {}) {
    return openPage(browser, server, {
      at: `#/jobs/${job.id}`,
      prepare: async (page) => {
        await page.route(`**/jobs/${job.id}`, async (route) => {
          const response = await route.fetch();
          await route.fulfill({ response, json: { ...await response.json(), ...change } });
        });
        if (transcript) await page.route(`**/jobs/${job.id}/download?format=json`, (route) => route.fulfill({ json: transcript }));
      },
      ...options,
    });
  }

  test('finds words in the text, and counts them', async () => {
    const { page, problems, close } = await openText();
    await page.locator('.segments .w').first().waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('AND  carrots');
    await page.locator('.find .count').getByText('1 hit').waitFor();
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type('and');
    await page.locator('.find .count').getByText('4 hits').waitFor();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Enter');
    await page.locator('.find .count').getByText('2 of 4').waitFor();
    await page.keyboard.press('Shift+Enter');
    await page.locator('.find .count').getByText('1 of 4').waitFor();
    assert.equal(await page.evaluate(() => CSS.highlights.get('found').size), 4);
    await accessible(page, 'found');
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type('(');
    await page.locator('.find .count').getByText('No hit').waitFor();
    await page.keyboard.press('Escape');
    assert.deepEqual(problems, []);
    await close();
  });

  test('finds quickly in 30,000 words', async () => {
    const { page, close } = await openText({ transcript: longTranscript(30000), change: { duration: 9000 } });
    await page.locator('.segments .w').nth(29999).waitFor({ state: 'attached' });
    const took = await page.evaluate(async () => {
      const input = document.querySelector('.find input');
      input.value = 'word29';
      const start = performance.now();
      input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
      return performance.now() - start;
    });
    assert.match(await page.locator('.find .count').textContent(), /^1 of 1111$/);
    console.log(`# 30,000 words: searched in ${took.toFixed(0)} ms`);
    assert.ok(took < 1500, `${took} ms`);
    await close();
  });

  test('switches the times and the marks of unsure words off, and remembers it', async () => {
    const { page, problems, close } = await openText({ transcript: longTranscript(40, { unsure: (i) => i === 12 }) });
    await page.getByLabel('Times').uncheck();
    assert.equal(await page.locator('.time').first().isVisible(), false);
    await page.getByLabel('Underline the word of which').uncheck();
    const line = () => page.locator('.segments .unsure').evaluate((node) => getComputedStyle(node).textDecorationLine);
    assert.equal(await line(), 'none');
    await page.reload();
    await page.locator('.segments .unsure').waitFor();
    assert.equal(await line(), 'none');
    assert.equal(await page.locator('.time').first().isVisible(), false);
    await accessible(page, 'without times');
    assert.deepEqual(problems, []);
    await close();
  });

  test('goes from part to part, and changes the speed, by single keys', async () => {
    const { page, close } = await openText({ transcript: longTranscript(100), change: { duration: 30 } });
    await page.locator('.segments .w').first().waitFor();
    await page.waitForFunction(() => document.querySelector('audio').readyState > 0);
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    assert.equal(await page.locator('.segments li.spoken').getByRole('button').textContent(), '0:06');
    await page.keyboard.press('k');
    assert.equal(await page.locator('.segments li.spoken').getByRole('button').textContent(), '0:03');
    await page.keyboard.press('>');
    assert.equal(await page.evaluate(() => document.querySelector('audio').playbackRate), 1.25);
    await page.keyboard.press('<');
    assert.equal(await page.evaluate(() => document.querySelector('audio').playbackRate), 1);
    await close();
  });

  test('lets go of the voice when the reader scrolls, until it is called back', async () => {
    const { page, problems, close } = await openText({ transcript: longTranscript(600), change: { duration: 180 } });
    await page.locator('.segments .w').first().waitFor();
    await page.waitForFunction(() => document.querySelector('audio').readyState > 0);
    await page.getByLabel('Speed').selectOption('0.5'); // the recording has ten seconds
    await page.getByRole('button', { name: 'Play', exact: true }).click();
    const button = page.getByRole('button', { name: 'Follow the voice' });
    await page.waitForTimeout(1500);
    assert.equal(await button.isVisible(), false);
    await page.mouse.move(800, 600);
    await page.mouse.wheel(0, 6000);
    await button.waitFor();
    const top = await page.evaluate(() => scrollY);
    await page.waitForTimeout(2500); // the voice goes on to other parts
    assert.ok(Math.abs(await page.evaluate(() => scrollY) - top) < 200, 'the page stays where it was scrolled to');
    await button.click();
    await page.waitForFunction(() => {
      const box = document.querySelector('.spoken').getBoundingClientRect();
      return box.top > 0 && box.bottom < innerHeight;
    });
    assert.equal(await button.isVisible(), false);
    assert.deepEqual(problems, []);
    await close();
  });

  test('leads from a warning to its place', async () => {
    const { page, problems, close } = await openText({
      change: { warnings: ['The model repeated itself, which was mended, at 0:07: compare with the recording.', 'Speech was found in 0:05 of 0:10; the rest was left out.'], quality: { ...job.quality, loops: [{ start: 6.9, end: 8, repeats: 3, remedy: 'cut' }] } },
    });
    const notes = page.getByRole('region', { name: 'Please check' });
    await page.waitForFunction(() => document.querySelector('audio')?.readyState > 0);
    assert.equal(await notes.getByRole('button').count(), 1, 'lengths are no places');
    await notes.getByRole('button', { name: 'Play from 0:07' }).click();
    await page.waitForFunction(() => document.querySelector('audio').currentTime >= 7);
    assert.deepEqual(problems, []);
    await close();
  });

  test('shows scripts that run from the right as they run', async () => {
    const { page, problems, close } = await openText({ transcript: longTranscript(40, { text: () => ' שלום' }), change: { language: 'he', original_filename: 'ראיון (1).wav' } });
    await page.locator('.segments .w').first().waitFor();
    assert.equal(await page.locator('.segments p').first().evaluate((node) => getComputedStyle(node).direction), 'rtl');
    await accessible(page, 'right to left');
    await picture(page, 'right-to-left');
    assert.deepEqual(problems, []);
    await close();
  });

  test('works in the system’s own colours', async () => {
    const { page, problems, close } = await openText({ forcedColors: 'active' });
    await page.locator('.segments .w').first().waitFor();
    await page.keyboard.press('ArrowRight');
    assert.equal(await page.locator('.segments .spoken').evaluate((node) => getComputedStyle(node).outlineStyle), 'solid');
    await picture(page, 'forced-colours');
    assert.deepEqual(problems, []);
    await close();
  });

  test('deletes, tries again and takes away many at once', async () => {
    const broken = Buffer.concat([Buffer.from('OggS\0\x02'), Buffer.alloc(5000, 7)]);
    for (const name of ['alpha.wav', 'beta.wav', 'alpha.wav']) await transcribe(server, form(wav({ seconds: 1 }), name, { language: 'en' }));
    const { body } = await transcribe(server, form(broken, 'gamma.ogg'));
    await waitForJob(server, body.job_id);
    await until(() => getJson(server, '/jobs?status=completed'), (r) => r.body.total === 4);
    const { page, problems, close } = await openPage(browser, server, { acceptDownloads: true });
    await page.getByRole('link', { name: /gamma/ }).waitFor();
    await page.getByRole('button', { name: 'Select', exact: true }).click();
    await page.getByLabel('All', { exact: true }).check();
    await page.getByText('5 chosen').waitFor();
    await accessible(page, 'choosing');
    await picture(page, 'choosing');
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download', exact: true }).click()]);
    assert.equal(download.suggestedFilename(), 'transcripts-txt.zip');
    const r = spawnSync('python3', ['-c', 'import sys,zipfile; z=zipfile.ZipFile(sys.argv[1]); print(sorted(z.namelist()), z.testzip(), "stew" in z.read("talk.txt").decode())', await download.path()], { encoding: 'utf8' });
    assert.equal(r.stdout.trim(), "['alpha (2).txt', 'alpha.txt', 'beta.txt', 'talk.txt'] None True", r.stderr);
    await page.getByRole('button', { name: 'Try again', exact: true }).click();
    await page.locator('#announce').getByText('1 transcript will be tried again').waitFor({ state: 'attached' });
    await page.getByLabel('Choose talk.wav').uncheck();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByRole('dialog').getByText('Delete 3 transcripts?').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('link', { name: /alpha/ }).first().waitFor({ state: 'detached' });
    await until(() => getJson(server, '/jobs'), (list) => list.body.total === 2);
    assert.deepEqual(problems, []);
    await close();
  });

  test('says how many are before one that waits, in the title too, and tells who asked', async () => {
    const one = await startServer({ env: { WORKER_CONCURRENCY: '1', LOG_LEVEL: 'INFO' } });
    const long = form(wav({ seconds: 300, sample: tone }), 'first.wav', { vad_filter: 'false', mode: 'sequential' });
    const { body: first } = await transcribe(one, long);
    // It stands still in the midst of it, whatever the processor.
    await until(() => getJson(one, `/jobs/${first.job_id}`), ({ body }) => body.progress > 0);
    await hold(one);
    const { page, problems, close } = await openPage(browser, one, { permissions: ['notifications'] });
    await page.getByText('Online').waitFor();
    for (const name of ['second.wav', 'third.wav', 'fourth.wav']) {
      await transcribe(one, form(wav({ seconds: 300 + name.length, sample: tone }), name, { vad_filter: 'false' }));
    }
    await page.getByRole('link', { name: /fourth\.wav.*before it/ }).waitFor();
    await page.getByRole('link', { name: /next in line/ }).waitFor();
    await page.waitForFunction(() => document.title.startsWith('(4) '));
    await page.getByRole('link', { name: /first/ }).click();
    await page.waitForFunction(() => /^\d+ % · first\.wav/.test(document.title));
    const bell = page.getByRole('button', { name: 'Notify me when it is done' });
    assert.equal(await bell.getAttribute('aria-pressed'), 'false');
    await bell.click();
    await page.waitForFunction(() => document.querySelector('.working [aria-pressed]').getAttribute('aria-pressed') === 'true');
    await accessible(page, 'waiting');
    assert.deepEqual(problems, []);
    await close();
    await one.kill();
  });

  test('gives each key the page that it may use', async () => {
    const guarded = await startServer({ env: { AUTH: 'key' } });
    for (const scope of ['read', 'transcribe', 'admin']) {
      const key = makeKey(guarded.folder, { scope, name: scope });
      const { page, close } = await openPage(browser, guarded);
      const dialog = page.getByRole('dialog', { name: 'A key, please' });
      await dialog.getByLabel('Key').fill(key);
      await page.keyboard.press('Enter');
      await dialog.waitFor({ state: 'hidden' });
      await page.getByText('Online').waitFor();
      if (scope === 'read') {
        await page.getByText('This key may read only').waitFor();
        assert.ok(await page.locator('#files').isDisabled());
        await page.getByRole('link', { name: 'Models' }).click();
        await page.getByRole('table', { name: 'Models', exact: true }).waitFor();
        assert.equal(await page.getByRole('button', { name: /^(Get|Delete|Make default)/ }).count(), 0);
      } else if (scope === 'transcribe') {
        await page.locator('#list-empty').getByText(/not/).waitFor();
        assert.equal(await page.locator('#files').isDisabled(), false);
      } else {
        await page.getByRole('link', { name: 'Keys' }).waitFor();
      }
      await accessible(page, scope);
      await picture(page, `scope-${scope}`);
      await close();
    }
    await guarded.stop();
  });

  test('says what to do when there is no model', async () => {
    const bare = await startServer({ env: { WHISPER_MODEL_DIR: tempFolder(), DEFAULT_WHISPER_MODEL: '' } });
    const { page, problems, close } = await openPage(browser, bare);
    await page.getByText('The server has no model yet').waitFor();
    await accessible(page, 'no model');
    await page.getByRole('link', { name: 'Models page' }).click();
    await page.getByText('“tiny” comes quickest').waitFor();
    await accessible(page, 'no models');
    assert.deepEqual(problems, []);
    await close();
    await bare.stop();
  });

  test('comes back by itself when the service does', async () => {
    const folder = tempFolder();
    const first = await startServer({ folder });
    const { page, close } = await openPage(browser, first);
    await page.getByText('Online').waitFor();
    await first.kill();
    await page.getByText('The service cannot be reached.').waitFor({ timeout: 30000 });
    const second = await startServer({ folder, env: { PORT: String(first.port) } });
    await page.getByText('Online').waitFor({ timeout: 15000 });
    await close();
    await second.stop();
  });

  test('is small, cached, and alone', async () => {
    const response = await fetch(`${server.url}/`, { headers: { accept: 'text/html' } });
    const policy = response.headers.get('content-security-policy');
    assert.match(policy, /default-src 'none'|default-src 'self'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    const sizes = [];
    const { page, close } = await openPage(browser, server, {
      prepare: (p) => p.on('response', async (r) => {
        const text = /html/.test(r.headers()['content-type'] ?? '');
        if (r.status() !== 200 || (!text && !r.url().includes('/assets/'))) return;
        sizes.push([r.url(), Number(r.headers()['content-length']), r.headers().etag, r.headers()['content-encoding']]);
      }),
    });
    await page.getByText('Online').waitFor();
    const total = sizes.reduce((sum, [, bytes]) => sum + bytes, 0);
    console.log(`# the page: ${sizes.length} files, ${total} bytes as they are sent`);
    assert.ok(sizes.length > 15 && total < 65536, `${sizes.length} files, ${total} bytes`);
    for (const [url, , etag, encoding] of sizes) {
      assert.equal(encoding, 'gzip', url);
      const again = await fetch(url, { headers: { accept: 'text/html', 'if-none-match': etag } });
      assert.equal(again.status, 304, url);
    }
    await close();
  });
});
