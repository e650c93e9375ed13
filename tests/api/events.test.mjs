// GET /events: every change of every job on one stream, also across a restart.
import assert from 'node:assert/strict';
import net from 'node:net';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import {
  form, freePort, getJson, hasModel, hold, raw, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };

/** Collects what a stream says. */
function listen(url, options) {
  const source = new EventSource(url, options);
  const heard = { source, jobs: [], deleted: [], ready: 0, resets: 0, ids: [] };
  const note = (event) => { heard.ids.push(Number(event.lastEventId)); return JSON.parse(event.data); };
  source.addEventListener('job', (event) => { heard.jobs.push(note(event)); });
  source.addEventListener('deleted', (event) => { heard.deleted.push(note(event)); });
  source.addEventListener('ready', (event) => { note(event); heard.ready++; });
  source.addEventListener('reset', (event) => { note(event); heard.resets++; });
  heard.of = (id) => heard.jobs.filter((job) => job.job_id === id).map((job) => job.status)
    .filter((status, i, all) => status !== all[i - 1]);
  return heard;
}

const rising = (ids) => ids.every((id, i) => i === 0 || id > ids[i - 1]);

async function submit(server, bytes = wav(), fields = {}) {
  const { status, body } = await transcribe(server, form(bytes, 'talk.wav', fields));
  assert.equal(status, 202, JSON.stringify(body));
  return body.job_id;
}

/** The text of a stream from a plain socket, until it satisfies `enough`. */
async function rawStream(server, headers, enough, where = '/events') {
  const socket = net.connect(server.port, '127.0.0.1');
  await once(socket, 'connect');
  let text = '';
  socket.setEncoding('utf8').on('data', (data) => { text += data; });
  socket.write(`GET ${where} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`);
  await until(() => text, enough);
  socket.destroy();
  return text;
}

describe('the stream of events', needsModel, () => {
  test('is asked for by its head alone, and has then no body', async () => {
    const server = await startServer();
    const text = await raw(server, 'HEAD /events HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(text, /text\/event-stream/);
    assert.match(text, /\r\n\r\n$/);
    assert.equal(text.split('\r\n\r\n').length, 2, text);
    await server.stop();
  });
  test('tells every change of state, in order, with the name of the file', async () => {
    const server = await startServer();
    const heard = listen(`${server.url}/events`);
    await until(() => heard.ready, (n) => n === 1);
    const id = await submit(server);
    await waitForJob(server, id);
    await until(() => heard.of(id), (s) => s.includes('completed'));
    assert.deepEqual(heard.of(id), ['pending', 'processing', 'completed']);
    const last = heard.jobs.at(-1);
    assert.deepEqual(Object.keys(last).sort(), ['filename', 'job_id', 'message', 'progress', 'status', 'timestamp']);
    assert.equal(last.filename, 'talk.wav');
    assert.equal(last.progress, 100);
    assert.ok(Math.abs(Date.parse(last.timestamp) - Date.now()) < 60000);
    await fetch(`${server.url}/jobs/${id}`, { method: 'DELETE' });
    await until(() => heard.deleted, (d) => d.length === 1);
    assert.equal(heard.deleted[0].job_id, id);
    assert.ok(rising(heard.ids));
    heard.source.close();
    assert.equal((await server.stop()).code, 0);
  });

  test('goes on without a gap when the service was killed and started again', { timeout: 120_000 }, async () => {
    const folder = tempFolder();
    const env = { PORT: String(await freePort()), WORKER_CONCURRENCY: '1' };
    let server = await startServer({ folder, env });
    const heard = listen(`${server.url}/events`);
    await until(() => heard.ready, (n) => n === 1);
    const goOn = await hold(server);
    const ids = [await submit(server, wav({ seconds: 30, sample: tone }), { vad_filter: 'false' })];
    await until(() => heard.of(ids[0]), (s) => s.includes('processing'));
    await server.kill();
    goOn();
    server = await startServer({ folder, env });
    for (let i = 0; i < 5; i++) ids.push(await submit(server));
    for (const id of ids) assert.equal((await waitForJob(server, id)).status, 'completed');
    await until(() => ids.every((id) => heard.of(id).includes('completed')), (all) => all);
    assert.deepEqual(heard.of(ids[0]), ['pending', 'processing', 'pending', 'processing', 'completed']);
    for (const id of ids.slice(1)) assert.deepEqual(heard.of(id), ['pending', 'processing', 'completed']);
    assert.deepEqual([heard.ready, heard.resets], [1, 0]);
    assert.ok(rising(heard.ids));
    heard.source.close();
    await server.stop();
  });

  test('is gone on with by the header and by the query, and says when it cannot', async () => {
    const server = await startServer();
    const first = await rawStream(server, '', (t) => t.includes('event: ready'));
    assert.match(first, /content-type: text\/event-stream/i);
    assert.match(first, /retry: \d+/);
    const from = /^id: (\d+)$/m.exec(first)[1];
    const id = await submit(server);
    await waitForJob(server, id);
    const told = (t) => /"status":"completed"/.test(t);
    for (const text of [
      await rawStream(server, `Last-Event-ID: ${from}\r\n`, told),
      await rawStream(server, '', told, `/events?last_event_id=${from}`),
    ]) {
      assert.doesNotMatch(text, /event: (ready|reset)/);
      assert.match(text, /event: job\r?\ndata: \{.*"status":"pending"/);
    }
    for (const wrong of ['999999999', '-1', 'nonsense', '99999999999999999999']) {
      const text = await rawStream(server, `Last-Event-ID: ${wrong}\r\n`, (t) => t.includes('event: '));
      assert.match(text, /event: reset\ndata: \{"detail":/);
    }
    await server.stop();
  });

  test('may have many readers, and one that goes away takes nothing with it', async () => {
    const server = await startServer();
    const all = Array.from({ length: 50 }, () => listen(`${server.url}/events`));
    await until(() => all.every((heard) => heard.ready === 1), (ready) => ready);
    for (const heard of all.splice(0, 25)) heard.source.close();
    const ids = await Promise.all(Array.from({ length: 10 }, () => submit(server)));
    for (const id of ids) await waitForJob(server, id);
    await until(() => all.every((heard) => ids.every((id) => heard.of(id).includes('completed'))), (done) => done);
    for (const heard of all) {
      assert.ok(rising(heard.ids));
      for (const id of ids) assert.deepEqual(heard.of(id), ['pending', 'processing', 'completed']);
    }
    assert.equal((await server.stop()).code, 0); // it does not wait for them
    for (const heard of all) heard.source.close();
  });

  test('has a sign of life every fifteen seconds', { timeout: 40_000 }, async () => {
    const server = await startServer();
    const begun = Date.now();
    await rawStream(server, '', (t) => (t.split('event: ready')[1] ?? '').includes(':\n\n'));
    const seconds = (Date.now() - begun) / 1000;
    assert.ok(seconds > 10 && seconds < 20, `${seconds}`);
    assert.equal((await getJson(server, '/health/live')).status, 200);
    await server.stop();
  });
});
