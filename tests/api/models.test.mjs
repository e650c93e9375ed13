// Models over the interface: list, pull, stop, remove, choose; and what they take of the memory.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { databaseOf } from '../lib/postgres.mjs';
import {
  binary, children, form, getJson, hasModel, hold, models, startServer, tempFolder, transcribe, until, waitForJob, wav, tone,
} from '../lib/server.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const skip = ['tiny', 'tiny-q5_1'].every(hasModel) ? false : 'tiny and tiny-q5_1 are not in WT_TEST_MODELS';
const options = { skip, timeout: 900_000 };
const PIECE = 1_500_000;
const file = (name) => `ggml-${name}.bin`;
const speech = fs.readFileSync(path.join(root, 'tests/engine/golden/noisy.wav'));

/** A folder of models: links for what only is read, copies for what is removed. */
function folderOf({ links = [], copies = [] }) {
  const folder = tempFolder();
  for (const name of links) fs.symlinkSync(path.join(models, file(name)), path.join(folder, file(name)));
  for (const name of copies) fs.copyFileSync(path.join(models, file(name)), path.join(folder, file(name)));
  return folder;
}

const start = (dir, env = {}) => startServer({
  env: { WHISPER_MODEL_DIR: dir, DEFAULT_WHISPER_MODEL: '', npm_config_registry: 'http://127.0.0.1:9', ...env },
});
const post = (server, where) => getJson(server, where, { method: 'POST' });
const remove = (server, where) => getJson(server, where, { method: 'DELETE' });
const put = (server, where, body) => getJson(server, where, { method: 'PUT', body });
const choose = (server, name) => put(server, '/models/default', JSON.stringify({ name }));

function isError(answer, status, code) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.error_code, code);
}

/**
 * A server of model files that hands out `limit` bytes at first and then waits for `release`,
 * and before each further piece for `heard`, which is told how much of the file is out.
 */
async function mirror(t, { limit = Infinity, heard } = {}) {
  const asked = [];
  let release = () => {};
  const gate = new Promise((resolve) => { release = resolve; });
  const server = http.createServer(async (request, response) => {
    asked.push(request.headers.range);
    const whole = fs.readFileSync(path.join(models, path.basename(request.url)));
    const first = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(first ? 206 : 200, {
      'content-length': whole.length - first, etag: '"v1"',
      ...(first && { 'content-range': `bytes ${first}-${whole.length - 1}/${whole.length}` }),
    });
    const cut = Math.max(first, Math.min(limit, whole.length));
    response.write(whole.subarray(first, cut));
    if (cut < whole.length) await gate;
    let from = cut;
    for (; heard && from + PIECE < whole.length; from += PIECE) {
      response.write(whole.subarray(from, from + PIECE));
      await heard((from + PIECE) / whole.length);
    }
    response.end(whole.subarray(from));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  return { asked, release, url: `http://127.0.0.1:${server.address().port}` };
}

/** Everything that a WebSocket says until it is closed. */
function watch(server, where, said = []) {
  const socket = new WebSocket(server.url.replace('http', 'ws') + where);
  socket.on('message', (text) => said.push(JSON.parse(text)));
  return once(socket, 'close').then(([code]) => ({ code, said }));
}

describe('models', options, () => {
  test('are listed, those that are here and those that can be had', async () => {
    const server = await start(folderOf({ links: ['tiny', 'tiny-q5_1'] }));
    const { status, body } = await getJson(server, '/models');
    assert.equal(status, 200);
    assert.equal(body.default, 'tiny');
    const [first, second, third] = body.models;
    assert.deepEqual([first.name, second.name], ['tiny', 'tiny-q5_1']);
    assert.deepEqual([first.present, first.default, first.loaded, first.in_use, first.pull], [true, true, false, false, null]);
    assert.equal(first.size, fs.statSync(path.join(models, file('tiny'))).size);
    assert.ok(first.memory.weights_bytes > 20e6 && first.memory.transcription_bytes > 50e6);
    assert.equal(first.memory.fits, true);
    assert.equal(second.default, false);
    assert.equal(third.present, false);
    assert.equal(third.memory, null);
    const large = body.models.find((m) => m.name === 'large-v3');
    assert.deepEqual([large.present, large.size, large.languages.length], [false, 3095033483, 100]);
    assert.deepEqual(body.models.find((m) => m.name === 'small.en').languages, ['en']);
    assert.equal(body.voice_detector.name, 'silero-vad');
    assert.equal(body.voice_detector.present, false);
    isError(await getJson(server, '/models/enormous'), 404, 'not_found');
    isError(await getJson(server, '/models/..%2F..%2Fetc'), 404, 'not_found');
    assert.equal((await getJson(server, '/models/tiny')).body.name, 'tiny');
    assert.equal((await server.stop()).code, 0);
  });

  test('are pulled while somebody watches, and are then of use', async (t) => {
    const told = [];
    const heard = (share) => until(() => told.at(-1)?.progress ?? 0, (progress) => progress >= Math.floor(100 * share) - 1);
    const source = await mirror(t, { limit: 12_000_000, heard });
    const server = await start(tempFolder(), { WHISPER_MODEL_URL: source.url });
    assert.equal((await fetch(`${server.url}/health/ready`)).status, 503);
    const begun = await post(server, '/models/tiny-q5_1/pull');
    assert.equal(begun.status, 202);
    assert.equal(begun.body.pull.state, 'pulling');
    const watched = watch(server, '/ws/models/tiny-q5_1', told);
    const { body: half } = await until(() => getJson(server, '/models/tiny-q5_1'), ({ body }) => body.pull.progress >= 35);
    assert.equal(half.present, false);
    assert.equal(half.pull.total_bytes, 32152673);
    assert.equal((await post(server, '/models/tiny-q5_1/pull')).status, 202); // it is the same download
    source.release();
    const { code, said } = await watched;
    assert.equal(code, 1000);
    assert.equal(said.at(-1).status, 'done');
    assert.equal(said.at(-1).progress, 100);
    assert.equal(said.at(-1).name, 'tiny-q5_1');
    assert.ok(said.length > 12, 'every step is told');
    said.reduce((before, now) => { assert.ok(now.progress >= before.progress); return now; });
    const { body: done } = await getJson(server, '/models/tiny-q5_1');
    assert.deepEqual([done.present, done.default, done.pull.state], [true, true, 'done']);
    assert.equal(source.asked.length, 1);
    const { body: job } = await transcribe(server, form(speech));
    assert.match((await waitForJob(server, job.job_id)).transcript, /things/i);
    // What is here and right is not pulled again.
    await post(server, '/models/tiny-q5_1/pull');
    await until(() => getJson(server, '/models/tiny-q5_1'), ({ body }) => body.pull.state === 'done');
    assert.equal(source.asked.length, 1);
    isError(await post(server, '/models/enormous/pull'), 404, 'not_found');
    assert.equal((await server.stop()).code, 0);
  });

  test('a download that is stopped goes on where it was', async (t) => {
    const source = await mirror(t, { limit: 12_000_000 });
    const dir = tempFolder();
    const server = await start(dir, { WHISPER_MODEL_URL: source.url });
    await post(server, '/models/tiny-q5_1/pull');
    await until(() => getJson(server, '/models/tiny-q5_1'), ({ body }) => body.pull.progress >= 35);
    const stopped = await remove(server, '/models/tiny-q5_1');
    assert.deepEqual([stopped.status, stopped.body.message], [200, 'Download stopped']);
    await until(() => getJson(server, '/models/tiny-q5_1'), ({ body }) => body.pull.state === 'cancelled');
    source.release();
    await post(server, '/models/tiny-q5_1/pull');
    await until(() => getJson(server, '/models/tiny-q5_1'), ({ body }) => body.pull.state === 'done');
    assert.equal(source.asked.length, 2);
    assert.match(source.asked[1], /^bytes=[1-9]\d+-$/);
    assert.ok(fs.readFileSync(path.join(dir, file('tiny-q5_1'))).equals(fs.readFileSync(path.join(models, file('tiny-q5_1')))));
    assert.equal((await server.stop()).code, 0);
  });

  test('a download does not keep a service from ending, and says what failed', async (t) => {
    const source = await mirror(t, { limit: 1000 });
    const server = await start(tempFolder(), { WHISPER_MODEL_URL: source.url });
    await post(server, '/models/tiny-q5_1/pull');
    await post(server, '/models/tiny/pull');
    isError(await post(server, '/models/base/pull'), 409, 'conflict');
    assert.equal((await server.stop()).code, 0, server.log());
    const gone = await start(tempFolder(), { WHISPER_MODEL_URL: 'http://127.0.0.1:9' });
    await post(gone, '/models/small/pull');
    const { body } = await until(() => getJson(gone, '/models/small'), (a) => a.body.pull.state !== 'pulling');
    assert.equal(body.pull.state, 'failed');
    assert.match(body.pull.message, /could not be had/);
    assert.equal((await gone.stop()).code, 0);
  });

  test('are removed from disk and memory, but not while jobs need them', async () => {
    const dir = folderOf({ links: ['tiny'], copies: ['tiny-q5_1'] });
    // With the slowest kernels, so that the job is not done before it was looked at.
    const server = await start(dir, { WORKER_CONCURRENCY: '1', WT_CPU_LEVEL: 'c' });
    const { body: job } = await transcribe(server, form(wav({ seconds: 300, sample: tone })), '?model=tiny-q5_1');
    isError(await remove(server, '/models/tiny-q5_1'), 409, 'conflict');
    await until(() => getJson(server, '/models/tiny-q5_1'), ({ body }) => body.in_use);
    isError(await remove(server, '/models/tiny-q5_1'), 409, 'conflict');
    await getJson(server, `/jobs/${job.job_id}`, { method: 'DELETE' });
    const gone = await until(() => remove(server, '/models/tiny-q5_1'), ({ status }) => status !== 409);
    assert.equal(gone.status, 200, JSON.stringify(gone.body));
    assert.deepEqual(fs.readdirSync(dir).filter((name) => name.includes('q5_1')), []);
    const { body } = await getJson(server, '/models/tiny-q5_1');
    assert.equal(body.present, false);
    isError(await remove(server, '/models/tiny-q5_1'), 404, 'not_found');
    isError(await remove(server, '/models/enormous'), 404, 'not_found');
    isError(await transcribe(server, form(speech), '?model=tiny-q5_1'), 400, 'model_not_found');
    assert.equal((await server.stop()).code, 0);
  });

  test('the default is chosen once and for all', async () => {
    const dir = folderOf({ links: ['tiny', 'tiny-q5_1'] });
    const server = await start(dir);
    assert.equal((await getJson(server, '/')).body.default_model, 'tiny');
    const chosen = await choose(server, 'tiny-q5_1');
    assert.deepEqual([chosen.status, chosen.body.default], [200, 'tiny-q5_1']);
    assert.equal((await getJson(server, '/')).body.default_model, 'tiny-q5_1');
    assert.equal((await transcribe(server, form(speech))).body.model, 'tiny-q5_1');
    isError(await choose(server, 'small'), 404, 'not_found');
    isError(await choose(server, 'enormous'), 400, 'invalid');
    isError(await choose(server, '../tiny'), 400, 'invalid');
    for (const body of ['', '{', '[]', '{"name":5}', '"tiny"']) isError(await put(server, '/models/default', body), 400, 'invalid');
    isError(await put(server, '/models/default', JSON.stringify({ name: 'x'.repeat(5000) })), 413, 'too_large');
    await server.kill();

    const env = { WHISPER_MODEL_DIR: dir, DEFAULT_WHISPER_MODEL: '' };
    const second = await startServer({ folder: server.folder, env });
    assert.equal((await getJson(second, '/models')).body.default, 'tiny-q5_1');
    // The command line says the same, and changes it.
    const cli = (args) => execFileSync(path.resolve(binary), ['models', 'default', ...args], {
      cwd: server.folder, env: { PATH: process.env.PATH, ...databaseOf(server.folder), ...env, DEFAULT_WHISPER_MODEL: undefined } }).toString();
    assert.equal(cli([]), 'tiny-q5_1\n');
    assert.equal(cli(['auto']), 'tiny\n');
    await until(() => getJson(second, '/models'), ({ body }) => body.default === 'tiny');
    assert.equal((await second.stop()).code, 0);

    const third = await startServer({ folder: server.folder, env: { ...env, DEFAULT_WHISPER_MODEL: 'tiny' } });
    isError(await choose(third, 'tiny-q5_1'), 409, 'conflict');
    assert.equal((await third.stop()).code, 0);
  });
});

// ---- memory ----------------------------------------------------------------------------

/** Pss of a server's workers, in MB. */
function workers(server) {
  return children(server.pid).map((pid) =>
    Number(/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]) / 1024);
}
const sum = (list) => list.reduce((a, b) => a + b, 0);

async function hear(server, query = '') {
  const { status, body } = await transcribe(server, form(speech), query);
  assert.equal(status, 202, JSON.stringify(body));
  const job = await waitForJob(server, body.job_id);
  assert.equal(job.status, 'completed', job.error_message);
}

describe('memory', options, () => {
  test('a model that nobody uses leaves it', async () => {
    const server = await start(folderOf({ links: ['tiny'] }), { MODEL_IDLE_SECONDS: '2', WORKER_CONCURRENCY: '1' });
    await hear(server);
    assert.equal((await getJson(server, '/models/tiny')).body.loaded, true);
    const used = sum(workers(server));
    await until(() => getJson(server, '/models/tiny'), ({ body }) => !body.loaded);
    // The worker was told so; it has to do it.
    await until(() => sum(workers(server)), (idle) => idle < used / 2);
    await hear(server); // and comes back
    assert.equal((await server.stop()).code, 0);
  });

  test('a model that can never fit is refused with the figures', async () => {
    const server = await start(folderOf({ links: ['tiny'] }), { MEMORY_LIMIT_MB: '100' });
    const refused = await transcribe(server, form(speech));
    isError(refused, 422, 'too_large');
    assert.match(refused.body.detail, /^The model tiny needs 0\.\d GB of memory .*this server may use 0\.1 GB.*MEMORY_LIMIT_MB/);
    assert.equal((await getJson(server, '/models/tiny')).body.memory.fits, false);
    assert.equal((await getJson(server, '/jobs')).body.total, 0);
    assert.equal((await server.stop()).code, 0);
  });

  test('two models that do not fit together take turns', async () => {
    const dir = folderOf({ links: ['tiny', 'tiny-q5_1'] });
    const probe = await start(dir);
    const { memory } = (await getJson(probe, '/models/tiny')).body;
    await probe.stop();
    const each = memory.weights_bytes + memory.transcription_bytes;
    const server = await start(dir, {
      MEMORY_LIMIT_MB: String(Math.ceil(each * 1.05 / 1048576)), WORKER_CONCURRENCY: '2', WORKER_THREADS: '1',
      LOG_LEVEL: 'DEBUG',
    });
    const loaded = async (name) => (await getJson(server, `/models/${name}`)).body.loaded;
    for (let i = 0; i < 2; i++) {
      await hear(server, '?model=tiny');
      await until(async () => [await loaded('tiny'), await loaded('tiny-q5_1')], ([a, b]) => a && !b);
      await hear(server, '?model=tiny-q5_1');
      await until(async () => [await loaded('tiny'), await loaded('tiny-q5_1')], ([a, b]) => !a && b);
    }
    assert.match(server.log(), /lets a model go/);
    // At the same time: one waits for the other, and both are heard.
    await Promise.all([hear(server, '?model=tiny'), hear(server, '?model=tiny-q5_1'), hear(server, '?model=tiny')]);
    assert.match(server.log(), /waits until the memory has room/);
    assert.equal((await server.stop()).code, 0);
  });

  test('a job that was accepted under another limit fails with the figures', async () => {
    const dir = folderOf({ links: ['tiny'] });
    const first = await start(dir, { WORKER_CONCURRENCY: '1' });
    const goOn = await hold(first);
    const { body } = await transcribe(first, form(wav({ seconds: 600, sample: tone })));
    await first.kill();
    goOn();
    const second = await startServer({ folder: first.folder,
      env: { WHISPER_MODEL_DIR: dir, DEFAULT_WHISPER_MODEL: '', MEMORY_LIMIT_MB: '100' } });
    const job = await waitForJob(second, body.job_id);
    assert.deepEqual([job.status, job.error_code], ['failed', 'too_large']);
    assert.match(job.error_message, /the model tiny needs 0\.\d GB of memory/);
    assert.equal((await second.stop()).code, 0);
  });
});

test('settings of the memory are held to their range', options, async () => {
  await assert.rejects(start(tempFolder(), { MODEL_IDLE_SECONDS: '-1' }), /MODEL_IDLE_SECONDS/);
  await assert.rejects(start(tempFolder(), { MEMORY_LIMIT_MB: 'much' }), /MEMORY_LIMIT_MB/);
  await assert.rejects(start(tempFolder(), { WYOMING_PORT: '70000' }), /WYOMING_PORT/);
});
