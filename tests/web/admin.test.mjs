// What an operator sees: models, keys, the system, and the question for a key. What the
// service under test does not have is answered for it, in the form of docs/api.md.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startServer, until } from '../lib/server.mjs';
import { accessible, launch, openPage, picture, reason, windows } from './browser.mjs';

const hostile = '<img src=x onerror=alert(1)>';
const model = (name, more) => ({
  name, present: false, size: 77691713, loaded: false, in_use: false, default: false, languages: ['en'], memory: null, pull: null, ...more,
});
const models = () => [
  model('tiny', { present: true, loaded: true, default: true, memory: { weights_bytes: 80e6, transcription_bytes: 90e6, fits: true } }),
  model('base', { present: true, size: 147951465 }),
  model('small', { size: 487601967, pull: { state: 'pulling', progress: 41, done_bytes: 2e8, total_bytes: 487601967, message: 'Downloading' } }),
  model('medium', { size: 1533763059, pull: { state: 'failed', progress: 3, message: 'the disk is full' } }),
  model('large-v3', { size: 3095033483, present: true, memory: { weights_bytes: 3e9, transcription_bytes: 1e9, fits: false } }),
];
const keys = () => [
  { id: '1', name: 'media server', scopes: ['read', 'transcribe'], state: 'active', created_at: '2026-11-01T10:00:00.000Z', expires_at: '2027-03-01T00:00:00.000Z', revoked_at: null, last_used_at: '2026-11-28T10:00:00.000Z', minutes_per_day: 600, minutes_used_today: 12.4 },
  { id: '2', name: hostile, scopes: ['admin'], state: 'revoked', created_at: '2026-10-01T10:00:00.000Z', expires_at: null, revoked_at: '2026-11-02T10:00:00.000Z', last_used_at: null, minutes_per_day: null, minutes_used_today: 0 },
];

const queue = () => ({
  waiting: 1,
  running: 1,
  failed: 3,
  oldest_waiting_seconds: 70,
  waiting_audio_seconds: 100,
  running_audio_seconds: 20,
  real_time_factor: 10,
  transcriptions_at_once: 2,
  estimated_wait_seconds: 6,
  failures: { crash: 3 },
  jobs: [
    { job_id: '1', state: 'running', position: null, priority: 5, attempts: 1, waiting_seconds: 2, audio_seconds: 61, file_bytes: 1, original_filename: hostile },
    { job_id: '2', state: 'waiting', position: 1, priority: 9, attempts: 0, waiting_seconds: 70, audio_seconds: null, file_bytes: 3e6, original_filename: 'b.wav' },
  ],
});

/** A service with all of it, and what was asked of it. */
async function pretend(page) {
  const asked = [];
  const note = (route) => {
    const request = route.request();
    asked.push(`${request.method()} ${new URL(request.url()).pathname} ${request.postData() ?? ''}`.trim());
  };
  const answer = (pattern, reply) => page.route(pattern, (route) => {
    note(route);
    return route.fulfill(reply(route.request()));
  });
  await answer('**/models', () => ({ json: { models: models(), default: 'tiny' } }));
  await answer('**/models/**', () => ({ json: { message: 'done' } }));
  await answer('**/keys', (request) => (request.method() === 'POST'
    ? { status: 201, json: { ...keys()[0], id: '3', name: 'intern', key: 'wt_0123456789abcdef_secret' } } : { json: { keys: keys() } }));
  await answer('**/keys/*', () => ({ json: { message: 'Key revoked', id: '1' } }));
  await answer('**/audit?*', () => ({
    json: { events: [{ id: 1, time: '2026-11-28T10:00:00.000Z', event: 'key_created', caller: '', client: '127.0.0.1', detail: hostile }], next_before: null },
  }));
  await answer('**/admin/queue?*', () => ({ json: queue() }));
  await answer('**/session', () => ({ json: { auth: 'key', id: '1', name: 'me', scopes: ['admin'] } }));
  return asked;
}

describe('what an operator looks after', { skip: reason }, () => {
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

  for (const { name, options } of windows) {
    test(`is accessible: ${name}`, async () => {
      const { page, problems, close } = await openPage(browser, server, { ...options, prepare: pretend });
      await page.getByRole('link', { name: 'Models' }).click();
      await page.getByRole('table', { name: 'Models' }).waitFor();
      await accessible(page, 'models');
      await picture(page, `${name}-models`);
      await page.getByRole('link', { name: 'Keys' }).click();
      await page.getByRole('table', { name: 'Keys' }).waitFor();
      await page.locator('summary').click();
      await accessible(page, 'keys');
      await picture(page, `${name}-keys`);
      await page.getByRole('link', { name: 'System' }).click();
      await page.getByRole('table', { name: 'Security events' }).waitFor();
      await page.getByText('1 running, 1 waiting, 3 failed; 2 min 0 s of audio to do, in about 6.0 s.').waitFor();
      assert.equal(await page.getByRole('table', { name: 'Queue' }).getByRole('row').count(), 3);
      await accessible(page, 'system');
      await picture(page, `${name}-system`);
      assert.equal(await page.locator('img[src=x]').count(), 0);
      assert.deepEqual(problems, []);
      await close();
    });
  }

  test('gets, stops, chooses and deletes models', async () => {
    let asked;
    const { page, problems, close } = await openPage(browser, server, { at: '#/models', prepare: async (p) => { asked = await pretend(p); } });
    await page.getByRole('button', { name: 'Stop the download of small' }).click();
    await until(() => asked, (list) => list.includes('DELETE /models/small'));
    await page.getByRole('button', { name: 'Get the model medium' }).click();
    await until(() => asked, (list) => list.includes('POST /models/medium/pull'));
    await page.getByRole('button', { name: 'Make default: base' }).click();
    await until(() => asked, (list) => list.includes('PUT /models/default {"name":"base"}'));
    await page.getByRole('button', { name: 'Delete the model base' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Keep' }).click();
    assert.ok(!asked.includes('DELETE /models/base'));
    await page.getByRole('button', { name: 'Delete the model base' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await until(() => asked, (list) => list.includes('DELETE /models/base'));
    assert.deepEqual(problems, []);
    await close();
  });

  test('makes and revokes keys, and shows a new one once', async () => {
    let asked;
    const { page, problems, close } = await openPage(browser, server, { at: '#/keys', prepare: async (p) => { asked = await pretend(p); } });
    await page.locator('summary').click();
    await page.getByRole('textbox', { name: 'Name', exact: true }).fill('intern');
    await page.getByRole('checkbox', { name: /transcribe/ }).uncheck();
    await page.getByLabel('Expires').selectOption('30d');
    await page.getByLabel('Minutes a day').fill('60');
    await page.getByRole('button', { name: 'Make the key' }).click();
    await page.getByText('wt_0123456789abcdef_secret').waitFor();
    assert.ok(asked.includes('POST /keys {"name":"intern","scopes":["read"],"expires":"30d","minutes_per_day":60}'), asked.join('\n'));
    await accessible(page, 'new key');
    await page.getByRole('button', { name: 'Revoke the key media server' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await until(() => asked, (list) => list.includes('DELETE /keys/1'));
    await page.getByText('wt_0123456789abcdef_secret').waitFor({ state: 'detached' });
    assert.deepEqual(problems, []);
    await close();
  });

  test('asks for a key once, and goes on with it', async () => {
    let valid = false;
    const sessions = [];
    const { page, problems, close } = await openPage(browser, server, {
      prepare: async (p) => {
        const guard = (route) => (valid ? route.continue() : route.fulfill({ status: 401, json: { detail: 'Send a key', error_code: 'unauthorized' } }));
        await p.route('**/jobs?*', guard);
        await p.route('**/models', guard);
        await p.route('**/keys', guard);
        await p.route('**/session', (route) => {
          if (route.request().method() !== 'POST') return route.fulfill({ json: { auth: 'key' } });
          const { key } = route.request().postDataJSON();
          sessions.push(key);
          valid = key === 'wt_right';
          return route.fulfill(valid ? { json: { auth: 'key' } } : { status: 401, json: { detail: 'no such key', error_code: 'unauthorized' } });
        });
      },
    });
    const dialog = page.getByRole('dialog', { name: 'A key, please' });
    await dialog.waitFor();
    await dialog.getByLabel('Key').fill('wt_wrong');
    await page.keyboard.press('Enter');
    await dialog.getByText('This key is not known').waitFor();
    await accessible(page, 'wrong key');
    await dialog.getByLabel('Key').fill('wt_right');
    await dialog.getByRole('button', { name: 'Sign in' }).click();
    await dialog.waitFor({ state: 'hidden' });
    await page.getByText('Your transcripts will be here').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
    assert.deepEqual(sessions, ['wt_wrong', 'wt_right']);
    assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage }).includes('wt_')), false);
    assert.deepEqual(problems, []);
    await close();
  });

  test('says when something is the operator’s alone', async () => {
    const { page, problems, close } = await openPage(browser, server, {
      at: '#/keys', prepare: (p) => p.route('**/keys', (route) => route.fulfill({ status: 403, json: { detail: 'not with this key', error_code: 'forbidden' } })),
    });
    await page.getByText('This is for the operator of the service.').waitFor();
    assert.equal(await page.getByRole('link', { name: 'Keys' }).count(), 0);
    await accessible(page, 'forbidden');
    assert.deepEqual(problems, []);
    await close();
  });
});
