// A service that is told to stop: what has reached it is answered, what comes later is
// refused plainly, and who listens is sent elsewhere. tests/fault/rolling.test.mjs shows the
// same with proxies in front.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, test } from 'node:test';
import WebSocket from 'ws';
import { form, getJson, hasModel, hold, startServer, transcribe, until, wav } from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const GET = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';

/** A socket with what it has heard, and how it ended: undefined, 'end' or an error's code. */
function dial(port) {
  const socket = net.connect(port, '127.0.0.1');
  const line = { socket, text: '', how: undefined };
  socket.setEncoding('latin1').on('data', (text) => { line.text += text; });
  line.over = new Promise((resolve) => {
    socket.on('end', () => { line.how ??= 'end'; });
    socket.on('error', (error) => { line.how = error.code; });
    socket.on('close', () => resolve(line));
  });
  return line;
}

const heard = (line, text) => until(() => line.text, (all) => all.includes(text) || line.how);
const stopping = (server) => until(() => server.log(), (log) => log.includes('stopping: SIGTERM'));

describe('a service that is told to stop', () => {
  test('answers what has reached it, and closes the connection with the answer', async () => {
    const server = await startServer();
    const kept = dial(server.port);
    kept.socket.write(GET);
    await heard(kept, 'alive');
    assert.doesNotMatch(kept.text, /connection: close/i);
    // An upload that is under way, and a connection that has not asked for anything yet.
    const bytes = wav({ seconds: 30 });
    const body = Buffer.concat([Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'), bytes, Buffer.from('\r\n--b--\r\n')]);
    const upload = dial(server.port);
    upload.socket.write(`POST /transcribe HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${body.length}\r\n\r\n`);
    upload.socket.write(body.subarray(0, 1000));
    await until(() => server.stored(), (files) => files.length > 0);
    const fresh = dial(server.port);
    await once(fresh.socket, 'connect');
    const exited = server.stop();
    await stopping(server);
    fresh.socket.write(GET);
    await heard(fresh, 'alive');
    assert.match(fresh.text, /^HTTP\/1\.1 200 [^]*connection: close/i);
    // The one that was kept may ask once more: the upload keeps the service here.
    kept.text = '';
    kept.socket.write(GET);
    await heard(kept, 'alive');
    assert.match(kept.text, /^HTTP\/1\.1 200 [^]*connection: close/i);
    await until(() => new Promise((resolve) => {
      const late = dial(server.port);
      late.over.then(() => resolve(late.how));
      late.socket.on('connect', () => late.socket.end());
    }), (how) => how === 'ECONNREFUSED');
    upload.socket.write(body.subarray(1000));
    await upload.over;
    assert.match(upload.text, /^HTTP\/1\.1 202 /);
    assert.deepEqual(await exited, { code: 0, signal: null });
    assert.doesNotMatch(server.log(), /cut off/);
  });

  test('resets nobody: who comes meanwhile is answered or refused', { timeout: 60000 }, async (t) => {
    const counts = {};
    for (let round = 0; round < 3; round++) {
      const server = await startServer();
      let over = false;
      const clients = Array.from({ length: 8 }, async () => {
        while (!over) {
          const line = dial(server.port);
          line.socket.write(GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
          await line.over;
          const how = line.text.startsWith('HTTP/1.1 200') ? 'answered' : line.how;
          counts[how] = (counts[how] ?? 0) + 1;
          if (how !== 'answered') return; // refused: others are asked from now on
        }
      });
      await until(() => counts.answered ?? 0, (n) => n > 200 * (round + 1));
      assert.deepEqual(await server.stop(), { code: 0, signal: null });
      over = true;
      await Promise.all(clients);
    }
    t.diagnostic(JSON.stringify(counts));
    assert.deepEqual(Object.keys(counts).filter((how) => !['answered', 'ECONNREFUSED'].includes(how)), []);
  });

  test('says so for SHUTDOWN_DELAY, and goes on meanwhile', async () => {
    const server = await startServer({ env: { SHUTDOWN_DELAY: '2' } });
    assert.equal((await fetch(`${server.url}/health/live`)).status, 200);
    const exited = server.stop();
    await stopping(server);
    const answer = await until(() => getJson(server, '/health/ready'), ({ body }) => body.failing === 'service');
    assert.equal(answer.status, 503);
    assert.equal(answer.headers.get('connection'), 'close');
    assert.equal((await transcribe(server, form(wav()))).status, hasModel('tiny') ? 202 : 503);
    const events = await fetch(`${server.url}/events`);
    assert.equal(events.status, 200);
    assert.match(await events.text(), /event: ready[^]*retry: 100\n/);
    assert.deepEqual(await exited, { code: 0, signal: null });
  });

  test('cuts off what is not done by SHUTDOWN_TIMEOUT', async () => {
    const server = await startServer({ env: { SHUTDOWN_TIMEOUT: '1' } });
    const upload = dial(server.port);
    upload.socket.write('POST /transcribe HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 9999\r\n\r\n'
      + '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n');
    upload.socket.write(wav().subarray(0, 5000));
    await until(() => server.stored(), (files) => files.length > 0);
    const live = dial(server.port);
    live.socket.write(GET);
    await heard(live, 'alive');
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    assert.match(server.log(), /1 request cut off/);
  });

  test('sends away who listens', needsModel, async () => {
    const server = await startServer({ env: { WORKER_CONCURRENCY: '1', SHUTDOWN_TIMEOUT: '5' } });
    const goOn = await hold(server);
    const { body: { job_id: id } } = await transcribe(server, form(wav()));
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws/jobs/${id}`);
    await once(socket, 'message');
    const closed = once(socket, 'close');
    const events = dial(server.port);
    events.socket.write('GET /events HTTP/1.1\r\nHost: a\r\n\r\n');
    await heard(events, 'event: ready');
    // OpenAI's door: who waits, and who reads along, hears at the last moment to come again.
    const openai = (fields) => fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', body: form(wav({ seconds: 2 }), 'a.wav', { model: 'tiny', ...fields }) });
    const waiting = openai();
    const reading = openai({ stream: 'true' });
    await until(async () => (await getJson(server, '/jobs')).body.total, (n) => n === 2);
    const told = reading.then((response) => response.text());
    await reading;
    const exited = server.stop();
    assert.equal((await closed)[0], 1001);
    await events.over;
    assert.match(events.text, /retry: 100\n:\n\n\r\n0\r\n\r\n$/);
    const answer = await waiting;
    assert.equal(answer.status, 503);
    assert.ok(answer.headers.get('retry-after'));
    assert.equal((await answer.json()).error.code, 'stopping');
    assert.match(await told, /"stopping"/);
    goOn();
    assert.deepEqual(await exited, { code: 0, signal: null });
  });
});

describe('a proxy\'s view', () => {
  test('a request on a connection that was kept is not refused while others are served', async () => {
    const server = await startServer({ env: { SHUTDOWN_DELAY: '1' } });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const get = () => new Promise((resolve, reject) => {
      http.get(`${server.url}/health/live`, { agent }, (response) => {
        response.resume().on('end', () => resolve({ status: response.statusCode, connection: response.headers.connection }));
      }).on('error', reject);
    });
    assert.notEqual((await get()).connection, 'close');
    const exited = server.stop();
    await stopping(server);
    assert.deepEqual(await until(get, ({ connection }) => connection === 'close'), { status: 200, connection: 'close' });
    assert.equal((await exited).code, 0);
    agent.destroy();
  });
});
