// What the service stands on goes away while it runs: its disk is full or read-only, its database is damaged, its
// models are gone. It says so with the right status, loses nothing, and goes on when all is well again.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  form, getJson, hasModel, models, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const speech = (seconds) => form(wav({ seconds, sample: tone }), 'a.wav');
const ready = (server, status) => until(() => getJson(server, '/health/ready'), (a) => a.status === status);
const remove = (server, id) => getJson(server, `/jobs/${id}`, { method: 'DELETE' });

async function accepted(server, body) {
  const answer = await transcribe(server, body);
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.job_id;
}

function isRefused(answer, status, code, server) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.error_code, code);
  assert.ok(!answer.body.detail.includes(server.folder), answer.body.detail);
}

/** A file system of its own, or the reason why there is none. */
function mount(t, size) {
  const at = path.join(tempFolder(), 'mounted');
  fs.mkdirSync(at);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', at]).status !== 0) {
    t.skip('no right to mount a file system');
    return null;
  }
  t.after(() => spawnSync('umount', ['-l', at]));
  return at;
}

const remount = (at, how) => assert.equal(spawnSync('mount', ['-o', `remount,${how}`, at]).status, 0);

describe('while it runs', needsModel, () => {
  test('the disk of the database is full', async (t) => {
    const at = mount(t, '16m');
    if (!at) return;
    const server = await startServer({ env: { DATABASE_URL: `sqlite:///${at}/app.db`, WORKER_CONCURRENCY: '1' } });
    await ready(server, 200);
    const id = await accepted(server, speech(60));
    const filler = path.join(at, 'filler');
    assert.throws(() => fs.writeFileSync(filler, Buffer.alloc(32 << 20)), { code: 'ENOSPC' });
    isRefused(await transcribe(server, form(wav())), 507, 'disk_full', server);
    assert.equal((await ready(server, 503)).body.failing, 'database');
    assert.equal((await getJson(server, `/jobs/${id}`)).status, 200); // reading goes on
    isRefused(await remove(server, id), 507, 'disk_full', server);
    assert.deepEqual(server.stored(), [`uploads/${id}`]);
    fs.rmSync(filler);
    await ready(server, 200);
    assert.equal((await waitForJob(server, id)).status, 'completed');
    assert.equal((await waitForJob(server, await accepted(server, form(wav())))).status, 'completed');
    assert.equal((await server.stop()).code, 0);
  });

  test('the storage is read-only', async (t) => {
    const at = mount(t, '200m');
    if (!at) return;
    const server = await startServer({ env: { STORAGE_DIR: at, WORKER_CONCURRENCY: '1' } });
    await ready(server, 200);
    const id = await accepted(server, speech(2));
    await waitForJob(server, id);
    remount(at, 'ro');
    isRefused(await transcribe(server, form(wav())), 503, 'storage_error', server);
    assert.equal((await ready(server, 503)).body.failing, 'storage');
    const upload = await getJson(server, '/uploads', { method: 'POST', headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000' } });
    isRefused(upload, 503, 'storage_error', server);
    // What cannot be deleted whole is not deleted at all.
    isRefused(await remove(server, id), 503, 'storage_error', server);
    assert.equal((await getJson(server, `/jobs/${id}`)).body.status, 'completed');
    remount(at, 'rw');
    await ready(server, 200);
    assert.equal((await remove(server, id)).status, 200);
    assert.deepEqual(fs.readdirSync(path.join(at, 'uploads')), []);
    assert.equal((await waitForJob(server, await accepted(server, form(wav())))).status, 'completed');
    assert.equal((await server.stop()).code, 0);
  });

  test('the folder of the models is gone', async () => {
    const at = path.join(tempFolder(), 'models');
    fs.mkdirSync(at);
    fs.copyFileSync(path.join(models, 'ggml-tiny.bin'), path.join(at, 'ggml-tiny.bin'));
    const server = await startServer({ env: { WHISPER_MODEL_DIR: at, WORKER_CONCURRENCY: '1' } });
    await ready(server, 200);
    const ids = [await accepted(server, speech(300))];
    for (let i = 0; i < 9; i++) ids.push(await accepted(server, speech(2)));
    fs.renameSync(at, `${at}.gone`);
    isRefused(await transcribe(server, form(wav())), 503, 'no_model', server);
    assert.equal((await ready(server, 503)).body.failing, 'model');
    await until(() => server.log(), (log) => /waits: the model "tiny" is not in the folder/.test(log));
    fs.renameSync(`${at}.gone`, at);
    await ready(server, 200);
    for (const id of ids) {
      const job = await waitForJob(server, id);
      assert.equal(job.status, 'completed', job.error_message);
    }
    assert.equal((await server.stop()).code, 0);
  });

  test('the database is damaged', async () => {
    const server = await startServer({ env: { WORKER_CONCURRENCY: '1' } });
    await ready(server, 200);
    for (let i = 0; i < 3; i++) await waitForJob(server, await accepted(server, speech(2)));
    const stored = server.stored().length;
    const file = path.join(server.folder, 'data', 'app.db-wal');
    const size = fs.statSync(file).size;
    const fd = fs.openSync(file, 'r+');
    fs.writeSync(fd, Buffer.alloc(size - 32, 0xa5), 0, size - 32, 32);
    fs.closeSync(fd);
    isRefused(await getJson(server, '/jobs'), 503, 'not_ready', server);
    // From now on nothing is promised any more.
    assert.equal((await ready(server, 503)).body.failing, 'database');
    isRefused(await transcribe(server, form(wav())), 503, 'storage_error', server);
    await until(() => server.stored().length, (n) => n === stored);
    assert.equal((await getJson(server, '/health/live')).status, 200);
    assert.match(server.log(), /is damaged .*restore it from a backup/);
    await server.stop();
    // The recordings stay, for whoever restores the database.
    assert.equal(server.stored().length, stored);
    await assert.rejects(startServer({ folder: server.folder }), /is damaged .*restore it from a backup/);
    assert.equal(server.stored().length, stored);
  });

  test('the database is damaged, and no upload in pieces is blamed for it', async () => {
    const folder = tempFolder();
    const settings = { folder, env: { WORKER_CONCURRENCY: '1' } };
    await (await startServer(settings)).stop(); // all of it is in the one file now
    const file = path.join(folder, 'data', 'app.db');
    const roots = JSON.parse(spawnSync('python3', ['-c', 'import json,sqlite3,sys\n'
      + 'print(json.dumps([r[0] for r in sqlite3.connect(sys.argv[1]).execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = \'jobs\' AND rootpage > 0")]))', file]).stdout);
    const good = fs.readFileSync(file);
    const write = (page) => {
      const fd = fs.openSync(file, 'r+');
      for (const root of roots) fs.writeSync(fd, page(root), 0, 4096, (root - 1) * 4096);
      fs.closeSync(fd);
    };
    const server = await startServer(settings);
    const bytes = wav();
    const head = { 'Tus-Resumable': '1.0.0' };
    const made = await fetch(`${server.url}/uploads`, { method: 'POST', headers: { ...head, 'Upload-Length': String(bytes.length) } });
    const where = new URL(made.headers.get('location'), server.url).pathname;
    const send = async (from) => {
      const headers = { ...head, 'Upload-Offset': String(from), 'Content-Type': 'application/offset+octet-stream' };
      const answer = await fetch(server.url + where, { method: 'PATCH', body: bytes.subarray(from), headers });
      return { status: answer.status, body: await answer.json() };
    };
    write(() => Buffer.alloc(4096, 0xa5));
    await until(() => getJson(server, '/jobs?limit=5'), ({ status }) => status === 503);
    // No job is promised, and no client gives its upload up, which is whole.
    for (const from of [0, bytes.length]) isRefused(await send(from), 503, 'storage_error', server);
    assert.equal((await getJson(server, where, { headers: head })).body.offset, bytes.length);
    await server.kill(); // or it would write what it knows of these pages
    write((root) => good.subarray((root - 1) * 4096, root * 4096));
    const again = await startServer(settings);
    const { body } = await until(() => getJson(again, where, { headers: head }), (answer) => answer.body.job_id);
    assert.equal((await waitForJob(again, body.job_id)).status, 'completed');
    assert.equal((await again.stop()).code, 0);
  });
});
