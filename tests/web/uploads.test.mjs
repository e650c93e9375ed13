// Uploads that are paused, broken off, refused and gone on with, by the real service.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { getJson, startServer, tempFolder, until, wav } from '../lib/server.mjs';
import { accessible, launch, openPage, picture, reason } from './browser.mjs';

const digest = (data) => createHash('sha256').update(data).digest('hex');

/** A line between a browser and the service that takes so many bytes in a second. */
async function startLine(server) {
  const line = { rate: Infinity };
  const listener = net.createServer((from) => {
    const to = net.connect(server.port, '127.0.0.1');
    for (const [one, other] of [[from, to], [to, from]]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
    to.pipe(from);
    from.on('data', (bytes) => {
      to.write(bytes);
      if (line.rate === Infinity) return;
      from.pause();
      setTimeout(() => from.resume(), (1000 * bytes.length) / line.rate);
    });
    from.on('end', () => to.end());
  });
  await new Promise((resolve) => { listener.listen(0, '127.0.0.1', resolve); });
  return Object.assign(line, { url: `http://127.0.0.1:${listener.address().port}`, close: () => listener.close() });
}

describe('uploads in the page', { skip: reason }, () => {
  let server;
  let browser;
  let line;
  const folder = tempFolder();
  const big = path.join(folder, 'big.wav');
  before(async () => {
    server = await startServer();
    line = await startLine(server);
    browser = await launch();
    fs.writeFileSync(big, wav({ seconds: 400 })); // 12 MB
  });
  after(async () => {
    await browser?.close();
    line?.close();
    await server?.stop();
  });

  /** Where the only upload of a page goes; and what the service has of it. */
  const placeOf = async (page) => JSON.parse(await page.evaluate(() => Object.entries(localStorage).find(([name]) => name.startsWith('upload:'))[1])).place;
  const look = (place) => fetch(`${server.url}/${place}`, { method: 'HEAD', headers: { 'tus-resumable': '1.0.0' } });
  const stored = (id, s = server) => digest(fs.readFileSync(path.join(s.folder, 'storage', 'uploads', id)));
  const newest = async (name, s = server) => (await until(() => getJson(s, `/jobs?search=${name}`), ({ body }) => body.total > 0)).body.jobs[0];

  test('leave who has gone elsewhere meanwhile where he is', async () => {
    const { page, problems, close } = await openPage(browser, server);
    let accepted;
    const asked = new Promise((resolve) => { accepted = resolve; });
    await page.route('**/uploads/*', async (route) => {
      if (route.request().method() !== 'PATCH') { await route.fallback(); return; }
      const answer = await route.fetch();
      await new Promise((goOn) => { accepted(goOn); });
      await route.fulfill({ response: answer });
    });
    await page.setInputFiles('#files', { name: 'aside.wav', mimeType: 'audio/wav', buffer: wav({ seconds: 2 }) });
    const goOn = await asked;
    await page.getByRole('link', { name: 'Models' }).click();
    await page.getByRole('table', { name: 'Models', exact: true }).waitFor();
    goOn();
    await page.locator('#uploads li').waitFor({ state: 'detached' });
    assert.match(page.url(), /#\/models$/);
    assert.deepEqual(problems, []);
    await close();
  });

  test('are paused and go on where they were', async () => {
    const { page, problems, close } = await openPage(browser, line);
    await page.getByText('Online').waitFor();
    const patches = [];
    page.on('request', (request) => { if (request.method() === 'PATCH') patches.push(Number(request.headers()['upload-offset'])); });
    line.rate = 2e6;
    await page.locator('#files').setInputFiles(big);
    await page.locator('#uploads .state').getByText(/MB\/s/).waitFor();
    await page.getByRole('button', { name: 'Pause upload of big.wav' }).click();
    await page.locator('#uploads').getByText(/Paused at [1-9]/).waitFor();
    await accessible(page, 'paused');
    await picture(page, 'upload-paused');
    // Nothing is sent meanwhile, and leaving the page needs no question.
    assert.equal(patches.length, 1);
    line.rate = Infinity;
    await page.getByRole('button', { name: 'Go on with upload of big.wav' }).click();
    const job = await newest('big');
    assert.ok(patches.at(-1) > 0, `went on at ${patches}`);
    assert.equal(stored(job.id), digest(fs.readFileSync(big)));
    assert.deepEqual(problems, []);
    await close();
    await getJson(server, `/jobs/${job.id}`, { method: 'DELETE' });
  });

  test('go on after the tab was closed, when the same file is chosen', async () => {
    const { page, problems, close } = await openPage(browser, line);
    await page.getByText('Online').waitFor();
    await page.getByLabel('Language').selectOption('fi');
    line.rate = 2e6;
    await page.locator('#files').setInputFiles(big);
    await page.locator('#uploads .state').getByText(/[3-9]\.\d MB of/).waitFor();
    const place = await placeOf(page);
    await page.close({ runBeforeUnload: false });
    await until(() => look(place), (response) => Number(response.headers.get('upload-offset')) > 0);

    const second = await page.context().newPage();
    await second.goto(`${line.url}/`);
    const row = second.locator('.left-over');
    await row.getByText(/Broken off at [1-9]\d? %\. Choose the file again to go on\./).waitFor();
    await accessible(second, 'left over');
    await picture(second, 'upload-left-over');
    // Another choice for what comes next does not change what this one was begun with.
    await second.getByLabel('Language').selectOption('sv');
    line.rate = Infinity;
    const offsets = [];
    second.on('request', (request) => { if (request.method() === 'PATCH') offsets.push(Number(request.headers()['upload-offset'])); });
    const [chooser] = await Promise.all([second.waitForEvent('filechooser'), row.getByRole('button', { name: 'Choose the file again' }).click()]);
    await chooser.setFiles(big);
    await row.waitFor({ state: 'detached' });
    const job = await newest('big');
    assert.ok(offsets[0] > 0, `went on at ${offsets}`);
    assert.equal(job.language, 'fi');
    assert.equal(stored(job.id), digest(fs.readFileSync(big)));
    await second.reload();
    await second.getByRole('link', { name: /big/ }).waitFor();
    assert.equal(await second.locator('#uploads li').count(), 0);
    assert.deepEqual(problems, []);
    await close();
    await getJson(server, `/jobs/${job.id}`, { method: 'DELETE' });
  });

  test('that were broken off can be forgotten, by the service too', async () => {
    const { page, close } = await openPage(browser, line);
    await page.getByText('Online').waitFor();
    line.rate = 1e6;
    await page.locator('#files').setInputFiles(big);
    await page.locator('#uploads .state').getByText(/[1-9]\.\d MB of/).waitFor();
    const place = await placeOf(page);
    await page.close({ runBeforeUnload: false });
    const second = await page.context().newPage();
    await second.goto(`${line.url}/`);
    await second.getByRole('button', { name: 'Forget the unfinished upload of big.wav' }).click();
    await until(() => look(place), (response) => [404, 410].includes(response.status));
    await second.reload();
    line.rate = Infinity;
    await second.getByText('Online').waitFor();
    await second.waitForTimeout(300);
    assert.equal(await second.locator('#uploads li').count(), 0);
    await close();
  });

  test('are cancelled, and leave nothing', async () => {
    const { page, close } = await openPage(browser, line);
    await page.getByText('Online').waitFor();
    line.rate = 1e6;
    await page.locator('#files').setInputFiles(big);
    await page.locator('#uploads .state').getByText(/of 12\.2 MB/).waitFor();
    await page.getByRole('button', { name: 'Cancel upload of big.wav' }).click();
    line.rate = Infinity;
    assert.equal(await page.locator('#uploads li').count(), 0);
    await until(() => server.stored().filter((name) => name.endsWith('.part')), (list) => list.length === 0);
    assert.equal(await page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith('upload:')).length), 0);
    await close();
  });

  test('of thirty files are paused and go on together, and one that is refused says why', async () => {
    const { page, problems, close } = await openPage(browser, line);
    await page.getByText('Online').waitFor();
    const files = Array.from({ length: 29 }, (_, i) => ({ name: `part ${i}.wav`, mimeType: 'audio/wav', buffer: wav({ seconds: 5 + i }) }));
    files.splice(3, 0, { name: 'notes.mp3', mimeType: 'audio/mpeg', buffer: Buffer.from('only text') });
    line.rate = 2e6;
    await page.locator('#files').setInputFiles(files);
    await page.locator('#upload-tally').getByText(/^[1-9]\d* of 30 uploaded/).waitFor();
    assert.match(await page.title(), /^\d+ % uploaded/);
    await page.getByRole('button', { name: 'Pause all' }).click();
    await page.waitForTimeout(600);
    const said = await page.locator('#upload-tally').textContent();
    await page.waitForTimeout(600);
    assert.equal(await page.locator('#upload-tally').textContent(), said, 'nothing moves while all is paused');
    await accessible(page, 'all paused');
    await picture(page, 'upload-thirty');
    line.rate = Infinity;
    await page.getByRole('button', { name: 'Go on with all' }).click();
    await until(async () => (await getJson(server, '/jobs?search=part&limit=50')).body, (list) => list.total === 29);
    await page.locator('#uploads').getByText('not a recording').waitFor();
    await page.locator('#uploads li').nth(1).waitFor({ state: 'detached' });
    assert.equal(await page.locator('#uploads li').count(), 1, 'what was refused stays, to be read');
    await page.getByRole('button', { name: 'Dismiss: notes.mp3 was not uploaded' }).click();
    assert.equal(await page.locator('#uploads li').count(), 0);
    assert.deepEqual(problems, []);
    await close();
  });

  test('say when the disk is full, and go on when it is not', async () => {
    const { page, problems, close } = await openPage(browser, line);
    await page.getByText('Online').waitFor();
    let full = true;
    await page.route('**/uploads/*', (route) => (full && route.request().method() === 'PATCH'
      ? route.fulfill({ status: 507, headers: { 'retry-after': '30' }, json: { detail: 'The server\'s disk is full; tell its operator, or try again later.', error_code: 'disk_full' } })
      : route.continue()));
    await page.locator('#files').setInputFiles(big);
    await page.locator('#uploads').getByText('disk is full').waitFor();
    await accessible(page, 'disk full');
    await picture(page, 'upload-full');
    full = false;
    let created = 0;
    page.on('request', (request) => { created += request.method() === 'POST' && request.url().endsWith('/uploads'); });
    await page.getByRole('button', { name: 'Try again: upload big.wav' }).click();
    const job = await newest('big');
    assert.equal(created, 0, 'the upload that was begun is gone on with');
    assert.deepEqual(problems, []);
    await close();
    await getJson(server, `/jobs/${job.id}`, { method: 'DELETE' });
  });

  test('wait when there are too many, and say how long', async () => {
    const busy = await startServer({ env: { RATE_LIMIT: '2/minute', TRUSTED_PROXIES: '' } });
    const { page, problems, close } = await openPage(browser, busy);
    await page.getByText('Online').waitFor();
    await page.locator('#files').setInputFiles(Array.from({ length: 4 }, (_, i) => ({
      name: `many ${i}.wav`, mimeType: 'audio/wav', buffer: wav({ seconds: 1 + i }),
    })));
    const waits = page.locator('#uploads .state').getByText(/Too many uploads at once; again in \d+ s/).first();
    await waits.waitFor();
    const first = Number(/\d+/.exec(await waits.textContent())[0]);
    await page.waitForTimeout(2200);
    assert.ok(Number(/\d+/.exec(await waits.textContent())[0]) < first, 'it counts down');
    assert.deepEqual(problems, []);
    await close();
    await busy.stop();
  });

  test('are refused before they begin, when they are too large', async () => {
    const small = await startServer({ env: { MAX_FILE_SIZE_MB: '1' } });
    const { page, problems, close } = await openPage(browser, small);
    await page.getByText('up to 1 MB each').waitFor();
    let sent = 0;
    page.on('request', (request) => { sent += ['POST', 'PATCH'].includes(request.method()); });
    await page.locator('#files').setInputFiles(big);
    await page.locator('#uploads').getByText('The file has 12.2 MB; the server takes at most 1 MB.').waitFor();
    assert.equal(sent, 0);
    assert.deepEqual(problems, []);
    await close();
    await small.stop();
  });

  test('are not sent twice at once', async () => {
    const { page, close } = await openPage(browser, line);
    await page.getByText('Online').waitFor();
    line.rate = 1e6;
    await page.locator('#files').setInputFiles(big);
    await page.locator('#uploads .state').getByText(/of 12\.2 MB/).waitFor();
    await page.locator('#files').setInputFiles(big);
    await page.locator('#uploads').getByText('This file is on its way already.').waitFor();
    await page.getByRole('button', { name: 'Cancel upload of big.wav' }).click();
    line.rate = Infinity;
    await close();
  });
});
