// Cancelling frees the processor within a second, and what runs beside goes on.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import { describe, test } from 'node:test';
import {
  children, form, getJson, hasModel, hold, startServer, ticks, transcribe, until, waitForJob,
} from '../lib/server.mjs';

const needsModel = (name) => ({
  skip: hasModel(name) ? false : `ggml-${name}.bin is not in WT_TEST_MODELS`, timeout: 300_000,
});
const env = { WORKER_CONCURRENCY: '1', WORKER_THREADS: '2' };
const clean = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));

function repeated(times) {
  const header = Buffer.from(clean.subarray(0, 44));
  const samples = Buffer.concat(Array(times).fill(clean.subarray(44)));
  header.writeUInt32LE(36 + samples.length, 4);
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const statusOf = async (server, id) => (await getJson(server, `/jobs/${id}`)).body;

async function submit(server, bytes, fields = {}) {
  const { status, body } = await transcribe(server, form(bytes, 'long.wav', { language: 'en', ...fields }));
  assert.equal(status, 202, JSON.stringify(body));
  return body.job_id;
}

const cancel = (server, id) => getJson(server, `/jobs/${id}/cancel`, { method: 'POST' });

const threads = (pid) => fs.readdirSync(`/proc/${pid}/task`).length;

/** Of a WAV file of 8 bits, one channel, without an end. */
function wavHeader(rate) {
  const header = Buffer.from(clean.subarray(0, 44));
  header.writeUInt32LE(0xffffffff, 4);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate, 28);
  header.writeUInt16LE(1, 32);
  header.writeUInt16LE(8, 34);
  header.writeUInt32LE(0xffffffff, 40);
  return header;
}

/** A process that has ended uses no processor. */
function ticksOrNone(pid) {
  try { return ticks(pid); } catch { return null; }
}

describe('cancelling', () => {
  for (const model of ['tiny', 'small']) {
    test(`frees the processor within a second (${model})`, needsModel(model), async () => {
      const server = await startServer({ env });
      await until(() => fetch(`${server.url}/health/ready`), (r) => r.status === 200);
      for (const wait of [0, 300, 900]) {
        const id = await submit(server, repeated(60), { model });
        await until(() => statusOf(server, id), (job) => job.progress > 0);
        await pause(wait);
        const [worker] = children(server.pid);
        const before = ticks(worker);
        await until(() => ticks(worker), (now) => now > before); // it is at work
        const logged = server.log().length;
        const asked = Date.now();
        const begun = ticks(worker);
        assert.equal((await cancel(server, id)).status, 200);
        let used = 0;
        while (Date.now() - asked < 1000) {
          used = (ticksOrNone(worker) ?? begun + used) - begun;
          await pause(20);
        }
        const stopped = ticksOrNone(worker);
        await pause(1000);
        const later = ticksOrNone(worker);
        assert.ok(stopped === null || later === null || later - stopped <= 5, `${later - stopped} ticks in the second second`);
        // It stops by itself, unless others had the processors: it had less than half of what is there for two threads.
        assert.ok(!/died|is ended/.test(server.log().slice(logged)) || used < 90, `it had ${used} ticks to stop\n${server.log()}`);
      }
      await server.stop();
    });
  }

  // Kernels without vectors take seconds for a window; it is left in the middle.
  test('frees it also in the middle of a window, and what is beside goes on', needsModel('tiny'), async () => {
    const server = await startServer({ env: { ...env, WT_CPU_LEVEL: 'c' } });
    const long = await submit(server, repeated(8), { model: 'tiny' });
    await until(() => statusOf(server, long), (job) => job.progress > 0);
    const beside = await submit(server, clean, { model: 'tiny' });
    await until(() => statusOf(server, beside), (job) => job.status === 'processing');
    await pause(500);
    assert.equal((await cancel(server, long)).status, 200);
    assert.equal((await waitForJob(server, beside)).status, 'completed');
    assert.ok(!/died|is ended|put back/.test(server.log()), server.log());
    const [worker] = children(server.pid);
    const stopped = ticks(worker);
    await pause(1000);
    assert.ok(ticks(worker) - stopped <= 5);
    await server.stop();
  });

  test('lets the jobs beside it in the same worker go on', needsModel('tiny'), async () => {
    const server = await startServer({ env });
    const ids = [];
    const goOn = await hold(server);
    for (let i = 0; i < 3; i++) ids.push(await submit(server, repeated(10)));
    for (const id of ids) await until(() => statusOf(server, id), (job) => job.status === 'processing');
    goOn();
    for (const id of ids) await until(() => statusOf(server, id), (job) => job.progress > 0);
    assert.equal((await cancel(server, ids[1])).body.status, 'cancelled');
    const a = await waitForJob(server, ids[0]);
    const c = await waitForJob(server, ids[2]);
    assert.deepEqual([a.status, c.status], ['completed', 'completed']);
    assert.equal(a.transcript, c.transcript);
    assert.equal((await statusOf(server, ids[1])).status, 'cancelled');
    assert.ok(!/died|is ended|put back/.test(server.log()), server.log());
    // And it can be taken up again, with the same result.
    assert.equal((await getJson(server, `/jobs/${ids[1]}/retry`, { method: 'POST' })).status, 200);
    assert.equal((await waitForJob(server, ids[1])).transcript, a.transcript);
    for (const [what, id] of [['retry', ids[1]], ['cancel', ids[1]]])
      assert.equal((await getJson(server, `/jobs/${id}/${what}`, { method: 'POST' })).status, 409);
    await server.stop();
  });

  // Nothing of it is computed meanwhile, but its thread and its seat are others' too.
  test('a job that waits for what another computes leaves at once', needsModel('tiny'), async () => {
    const server = await startServer({ env: { ...env, WT_CPU_LEVEL: 'c' } });
    const options = { model: 'tiny', batch_size: '1' }; // one thread for each job
    const long = await submit(server, repeated(20), options);
    await until(() => statusOf(server, long), (job) => job.progress > 0);
    const [worker] = children(server.pid);
    const alone = threads(worker);
    for (let i = 0; i < 3; i++) {
      const beside = await submit(server, repeated(2), options);
      await until(() => threads(worker), (n) => n > alone);
      await until(() => children(worker).length, (n) => n === 0); // it is decoded
      await pause(200 * i);
      const asked = Date.now();
      assert.equal((await cancel(server, beside)).status, 200);
      await until(() => threads(worker), (n) => n <= alone);
      const ms = Date.now() - asked;
      assert.ok(ms < 1500, `it left after ${ms} ms`);
    }
    assert.equal((await statusOf(server, long)).status, 'processing');
    assert.ok(!/died|is ended|put back/.test(server.log()), server.log());
    await server.stop();
  });

  test('a recording that is being decoded is decoded no further', needsModel('tiny'), async () => {
    const server = await startServer({ env });
    // Eight bits and 8 kHz: FFmpeg has to make something else of it, of six hours.
    const bytes = Buffer.alloc(6 * 3600 * 8000, 0x80);
    wavHeader(8000).copy(bytes);
    const id = await submit(server, bytes);
    const [worker] = children(server.pid);
    const [decoder] = await until(() => children(worker), (list) => list.length > 0);
    await until(() => ticksOrNone(decoder), (now) => now === null || now > 0);
    assert.equal((await cancel(server, id)).status, 200);
    await pause(900);
    assert.deepEqual(children(worker), []);
    const stopped = ticks(worker);
    await pause(1000);
    assert.ok(ticks(worker) - stopped <= 5);
    assert.ok(!/died|is ended/.test(server.log()), server.log());
    await server.stop();
  });

  for (const [name, interval] of [['stalls', 0], ['goes on', 1]]) {
    test(`a download that ${name} is broken off`, needsModel('tiny'), async () => {
      let timer;
      const origin = http.createServer((_, response) => {
        response.writeHead(200, { 'Content-Length': '100000000' });
        response.write(clean);
        if (interval) timer = setInterval(() => response.write(Buffer.alloc(20000)), interval);
        response.on('close', () => { clearInterval(timer); origin.emit('left', Date.now()); });
      });
      origin.listen(0, '127.0.0.1');
      await once(origin, 'listening');
      const { port } = origin.address();
      const server = await startServer({ env: { ...env, URL_FETCH: 'on', URL_FETCH_ALLOW: `127.0.0.1:${port}` } });
      const body = form(null, null, { url: `http://127.0.0.1:${port}/a.wav` });
      const id = (await transcribe(server, body)).body.job_id;
      await until(() => statusOf(server, id), (job) => /Downloading/.test(job.message ?? '') || job.status !== 'pending');
      await pause(300);
      const left = once(origin, 'left');
      const asked = Date.now();
      assert.equal((await cancel(server, id)).status, 200);
      const [at] = await left;
      assert.ok(at - asked < 700, `it went on for ${at - asked} ms`);
      await pause(300);
      const stopped = ticks(server.pid);
      await pause(1000);
      assert.ok(ticks(server.pid) - stopped <= 5);
      assert.deepEqual(server.stored().filter((file) => file.startsWith('uploads')), []);
      origin.closeAllConnections();
      origin.close();
      await server.stop();
    });
  }
});
