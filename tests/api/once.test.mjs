// Idempotency-Key: a request that is sent again makes no second job.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, test } from 'node:test';
import { databaseText } from '../lib/postgres.mjs';
import { form, getJson, hasModel, startServer, tempFolder, until, wav } from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };

async function send(server, key, body, query = '') {
  const response = await fetch(`${server.url}/transcribe${query}`, {
    method: 'POST', headers: { 'idempotency-key': key }, body,
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

const total = async (server) => (await getJson(server, '/jobs')).body.total;

describe('an Idempotency-Key', needsModel, () => {
  test('gives the first job again, also after a restart', async () => {
    const folder = tempFolder();
    let server = await startServer({ folder });
    const first = await send(server, 'order 66', form(wav(), 'a.wav', { language: 'de', beam_size: '2' }));
    assert.equal(first.status, 202, JSON.stringify(first.body));
    assert.equal(first.headers.get('idempotency-replayed'), null);
    for (let i = 0; i < 2; i++) {
      const again = await send(server, 'order 66', form(wav(), 'other name.wav', { beam_size: '2', language: 'de' }));
      assert.equal(again.status, 200, JSON.stringify(again.body));
      assert.equal(again.headers.get('idempotency-replayed'), 'true');
      assert.equal(again.body.job_id, first.body.job_id);
      assert.equal(again.body.filename, 'a.wav');
      await server.kill();
      server = await startServer({ folder });
    }
    assert.equal(await total(server), 1);
    await server.stop();
  });

  test('is refused for another recording or other parameters', async () => {
    const server = await startServer();
    assert.equal((await send(server, 'k', form(wav()))).status, 202);
    for (const [body, query] of [
      [form(wav({ seconds: 2 }))],
      [form(wav(), 'a.wav', { language: 'de' })],
      [form(wav()), '?priority=high'],
      [form(wav(), 'a.wav', { retain: 'none' })],
      [form(wav(), 'a.wav', { prompt: 'Zoë' })],
    ]) {
      const answer = await send(server, 'k', body, query);
      assert.equal(answer.status, 422, JSON.stringify(answer.body));
      assert.equal(answer.body.error_code, 'key_reused');
    }
    assert.equal((await send(server, 'k2', form(wav()))).status, 202);
    assert.equal(await total(server), 2);
    await until(() => server.stored().filter((name) => name.includes('uploads')).length, (n) => n === 2);
    await server.stop();
  });

  test('is refused when it is none', async () => {
    const server = await startServer();
    for (const key of ['', 'x'.repeat(256), 'sm\u00F8r']) {
      const { status } = await send(server, key, form(wav()));
      assert.equal(status, 400, key);
    }
    assert.equal((await send(server, 'x'.repeat(255), form(wav()))).status, 202);
    await server.stop();
  });

  test('is in use while the first upload is coming in, which is said before the body is read', async () => {
    const server = await startServer();
    const bytes = wav();
    const head = '--XX\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n';
    const socket = net.connect(server.port, '127.0.0.1');
    await once(socket, 'connect');
    const length = head.length + bytes.length + '\r\n--XX--\r\n'.length;
    socket.write('POST /transcribe HTTP/1.1\r\nHost: a\r\nIdempotency-Key: slow\r\n' +
      `Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: ${length}\r\n\r\n${head}`);
    socket.write(bytes.subarray(0, 1000));
    await until(() => server.stored().filter((name) => name.endsWith('.part')).length, (n) => n === 1);

    // Another with the same key says only its head, and is answered.
    const second = net.connect(server.port, '127.0.0.1');
    await once(second, 'connect');
    let text = '';
    second.setEncoding('latin1').on('data', (data) => { text += data; });
    second.write('POST /transcribe HTTP/1.1\r\nHost: a\r\nIdempotency-Key: slow\r\n' +
      'Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: 1000000\r\n\r\n');
    await once(second, 'close');
    assert.match(text, /^HTTP\/1\.1 409 /);
    assert.match(text, /"error_code":"request_in_progress"/);

    socket.write(bytes.subarray(1000));
    socket.write('\r\n--XX--\r\n');
    const [answer] = await once(socket, 'data');
    assert.match(answer.toString('latin1'), /^HTTP\/1\.1 202 /);
    socket.destroy();
    const again = await send(server, 'slow', form(bytes));
    assert.equal(again.status, 200, JSON.stringify(again.body));
    await server.stop();
  });

  test('is free again when the upload was broken off', async () => {
    const server = await startServer();
    const socket = net.connect(server.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('POST /transcribe HTTP/1.1\r\nHost: a\r\nIdempotency-Key: cut\r\n' +
      'Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: 100000\r\n\r\n--XX\r\n' +
      'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n');
    const parts = () => server.stored().filter((name) => name.endsWith('.part')).length;
    await until(parts, (n) => n === 1);
    socket.destroy();
    await until(parts, (n) => n === 0);
    const { status } = await until(() => send(server, 'cut', form(wav())), (a) => a.status !== 409);
    assert.equal(status, 202);
    await server.stop();
  });

  test('used by many at once makes one job', async () => {
    const server = await startServer();
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(server, 'race', form(wav()))));
    const made = answers.filter((a) => a.status === 202);
    assert.equal(made.length, 1);
    assert.ok(answers.every((a) => [200, 202, 409].includes(a.status)));
    assert.equal(await total(server), 1);
    await server.stop();
  });

  test('holds for a recording by URL, which is fetched once, and for its webhook', async () => {
    const seen = [];
    const place = http.createServer((request, response) => {
      seen.push(`${request.method} ${request.url}`);
      request.resume().on('end', () => response.end(request.method === 'GET' ? wav() : ''));
    });
    place.listen(0, '127.0.0.1').unref(); // a test that fails must not keep the runner waiting
    await once(place, 'listening');
    const here = `127.0.0.1:${place.address().port}`;
    const server = await startServer({ env: { URL_FETCH: 'on', URL_FETCH_ALLOW: here, WEBHOOK_ALLOW: here } });
    const ask = (fields) => send(server, 'far', form(null, null, { webhook_url: `http://${here}/hook`, ...fields }));
    const first = await ask({ url: `http://${here}/a.wav` });
    assert.equal(first.status, 202, JSON.stringify(first.body));
    const again = await ask({ url: `http://${here}/a.wav` });
    assert.equal(again.status, 200, JSON.stringify(again.body));
    assert.equal(again.headers.get('idempotency-replayed'), 'true');
    assert.equal(again.body.job_id, first.body.job_id);
    for (const other of [
      { url: `http://${here}/b.wav` }, { url: `http://${here}/a.wav`, webhook_url: '' },
      { url: `http://${here}/a.wav`, webhook_transcript: 'true' }, { url: `http://${here}/a.wav`, webhook_secret: 'another one' },
    ]) assert.equal((await ask(other)).status, 422, JSON.stringify(other));
    const { body } = await until(() => getJson(server, `/jobs/${first.body.job_id}`), (a) => a.body.webhook.state === 'delivered');
    assert.equal(body.status, 'completed', body.error_message);
    const late = await ask({ url: `http://${here}/a.wav` });
    assert.equal(late.body.job_id, first.body.job_id);
    assert.equal(late.body.status, 'completed');
    assert.equal(await total(server), 1);
    assert.deepEqual(seen, ['GET /a.wav', 'POST /hook']);
    await server.stop();
    place.close();
    // Nothing waits for a job that never came about.
    const bytes = databaseText(server.folder);
    assert.ok(!bytes.includes('b.wav'));
    assert.ok(!bytes.includes('another one'));
  });

  test('holds for each file of a batch', async () => {
    const server = await startServer();
    const batch = (n) => {
      const f = new FormData();
      for (let i = 0; i < n; i++) f.append('file', new Blob([wav({ seconds: 1 + i })]), `${i}.wav`);
      return f;
    };
    const first = await send(server, 'b', batch(3));
    assert.equal(first.status, 202);
    const again = await send(server, 'b', batch(3));
    assert.equal(again.status, 200);
    assert.equal(again.headers.get('idempotency-replayed'), 'true');
    assert.deepEqual(again.body.jobs.map((j) => j.job_id), first.body.jobs.map((j) => j.job_id));
    assert.equal((await send(server, 'b', batch(2))).status, 422);
    assert.equal(await total(server), 3);
    await server.stop();
  });
});
