// Two services on one PostgreSQL database, one storage folder and, where it says so, one
// Redis: whatever a process keeps, a client that meets the other one must not notice.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { kinds, place } from '../lib/faults.mjs';
import { idOf, makeKey } from '../lib/keys.mjs';
import { form, getJson, hasEnded, hold, until, wav } from '../lib/server.mjs';
import { long } from '../lib/worker.mjs';

const skipOf = (name) => kinds.find((each) => each.name === name).skip;
const limit = { timeout: 120000 };
const bearer = (key) => ({ Authorization: `Bearer ${key}` });

/** Two services on a place, told how to behave by `env`. */
async function two(at, env = {}) {
  return Promise.all([at.serve(env), at.serve(env)]);
}

async function ask(server, method, where, { body, headers, json, key } = {}) {
  const response = await fetch(server.url + where, {
    method,
    body: json ? JSON.stringify(json) : body,
    headers: { ...(json && { 'Content-Type': 'application/json' }), ...(key && bearer(key)), ...headers },
  });
  const text = await response.text();
  let parsed = text;
  try { parsed = JSON.parse(text); } catch { /* not everything is JSON */ }
  return { status: response.status, headers: response.headers, body: parsed };
}

async function submit(server, bytes = wav(), { fields, ...init } = {}) {
  const answer = await ask(server, 'POST', '/transcribe', { body: form(bytes, 'talk.wav', fields), ...init });
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.job_id;
}

const ended = (server, id, init) => until(async () => (await ask(server, 'GET', `/jobs/${id}`, init)).body, hasEnded);

/**
 * Uploads that have all been let in before the first of them is whole: the service says
 * "100 Continue" when it has looked at who asks.
 */
async function together(servers, count, bytes, headersOf) {
  const head = Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n');
  const body = Buffer.concat([head, bytes, Buffer.from('\r\n--b--\r\n')]);
  const requests = await Promise.all(Array.from({ length: count }, async (_, i) => {
    const request = http.request(`${servers[i % servers.length].url}/transcribe`, {
      method: 'POST',
      agent: false,
      headers: { 'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': body.length, Expect: '100-continue', ...headersOf(i) },
    });
    request.flushHeaders();
    const answer = once(request, 'response').then(async ([response]) => {
      let text = '';
      for await (const piece of response) text += piece;
      return { status: response.statusCode, headers: response.headers, body: JSON.parse(text) };
    });
    await Promise.race([once(request, 'continue'), answer]);
    return { request, answer };
  }));
  for (const { request } of requests) request.end(body);
  return Promise.all(requests.map(({ answer }) => answer));
}

for (const { name, skip } of kinds) {
  describe(`the minutes of a key, ${name}`, { skip: skip || (name === 'redis' && 'as with PostgreSQL') }, () => {
    test('are not exceeded by uploads that come in at the same time', limit, async () => {
      const at = await place(name);
      // With nobody to decode them, recordings count by their size: 6 MB as half a minute.
      const servers = name === 'sqlite'
        ? [await at.serve({ AUTH: 'key', EMBEDDED_WORKERS: 'on', folder: at.folder })] : await two(at, { AUTH: 'key' });
      const goOn = name === 'sqlite' ? await hold(servers[0]) : () => {};
      const key = makeKey(at.folder, { 'minutes-per-day': 1 }, at.env);
      const answers = await together(servers, 6, wav({ seconds: 190 }), (i) => ({
        ...bearer(key), ...(i % 2 && { 'Idempotency-Key': `k${i}` }),
      }));
      const accepted = answers.filter(({ status }) => status === 202);
      const refused = answers.filter(({ status }) => status === 429);
      assert.equal(accepted.length + refused.length, 6, JSON.stringify(answers));
      assert.equal(accepted.length, 2, 'the second one reaches the limit');
      for (const { body, headers } of refused) {
        assert.equal(body.error_code, 'quota_exceeded');
        assert.ok(Number(headers['retry-after']) > 0);
      }
      assert.deepEqual(at.rows('SELECT count(*) FROM jobs'), [['2']]);
      goOn();
      await Promise.all(servers.map((server) => server.stop()));
    });
  });
}

describe('keys and sessions', { skip: skipOf('postgresql') }, () => {
  test('revoked at one service, a key is refused by the other, and its streams there end', limit, async (t) => {
    const at = await place('postgresql');
    const [a, b] = await two(at, { AUTH: 'key' });
    const worker = await at.work();
    const admin = makeKey(at.folder, { scope: 'admin' }, at.env);
    const made = await ask(a, 'POST', '/keys', { key: admin, json: { name: 'x', scopes: ['read', 'transcribe'] } });
    const key = made.body.key;
    assert.equal((await ask(b, 'GET', '/jobs', { key })).status, 200, 'it counts at the other at once');
    const id = await submit(b, long(600), { key });
    const socket = new WebSocket(`${b.url.replace('http', 'ws')}/ws/jobs/${id}`, { headers: bearer(key) });
    await once(socket, 'message');
    const socketClosed = once(socket, 'close').then(([code]) => ({ code, at: performance.now() }));
    const events = await fetch(`${b.url}/events`, { headers: bearer(key) });
    const streamEnded = events.text().then(() => performance.now());
    const body = form(long(600), 'talk.wav', { model: 'tiny', stream: 'true' });
    const telling = await fetch(`${b.url}/v1/audio/transcriptions`, { method: 'POST', body, headers: bearer(key) });
    const told = telling.text().then((text) => ({ text, at: performance.now() }));
    const revoked = performance.now();
    assert.equal((await ask(a, 'DELETE', `/keys/${idOf(key)}`, { key: admin })).status, 200);
    const answered = performance.now();
    assert.equal((await ask(b, 'GET', '/jobs', { key })).status, 401);
    const refusedAfter = performance.now() - answered;
    const closed = await socketClosed;
    assert.equal(closed.code, 1008);
    const last = await told;
    assert.match(last.text, /invalid_api_key/);
    const times = [refusedAfter, closed.at - revoked, (await streamEnded) - revoked, last.at - revoked].map(Math.round);
    t.diagnostic(`refused after ${times[0]} ms; WebSocket, events and transcript ended after ${times.slice(1).join(', ')} ms`);
    // A second on a machine that has nothing else to do.
    times.forEach((ms) => assert.ok(ms < 3000, `${times}`));
    await Promise.all([worker.stop(), a.stop(), b.stop()]);
  });

  test('a session of one service is one of the other, until it is ended at either', limit, async () => {
    const at = await place('postgresql');
    const [a, b] = await two(at, { AUTH: 'key' });
    const key = makeKey(at.folder, { scope: 'read' }, at.env);
    const opened = await ask(a, 'POST', '/session', { json: { key } });
    const headers = { Cookie: opened.headers.get('set-cookie').split(';')[0] };
    assert.equal((await ask(b, 'GET', '/session', { headers })).body.id, idOf(key));
    assert.equal((await ask(b, 'DELETE', '/session', { headers })).status, 200);
    assert.equal((await ask(a, 'GET', '/session', { headers })).status, 401);
    await Promise.all([a.stop(), b.stop()]);
  });

  test('the first key closes the doors of both', limit, async () => {
    const at = await place('postgresql');
    const [a, b] = await two(at);
    assert.equal((await ask(b, 'GET', '/jobs')).status, 200);
    const made = await ask(a, 'POST', '/keys', { json: { name: 'first', scopes: ['admin'] } });
    assert.ok(made.body.key, JSON.stringify(made.body));
    assert.equal((await ask(b, 'GET', '/jobs')).status, 401);
    const seen = (server) => ask(server, 'GET', '/audit', { key: made.body.key });
    // What either service wrote down, both show.
    await ask(b, 'GET', '/jobs', { key: 'wt_nonsense' });
    const [here, there] = [await seen(a), await seen(b)];
    assert.ok(here.body.events.some((each) => each.event === 'refused'), JSON.stringify(here.body));
    assert.deepEqual(here.body, there.body);
    await Promise.all([a.stop(), b.stop()]);
  });
});

describe('the rate of uploads', () => {
  const upload = (server) => ask(server, 'POST', '/transcribe', { body: form(wav()) });

  for (const name of ['postgresql', 'redis']) test(`counts what comes to both together, ${name}`, { ...limit, skip: skipOf(name) }, async () => {
    const at = await place(name);
    const servers = await two(at, { RATE_LIMIT: '10/hour' });
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => upload(servers[i % 2])));
    assert.equal(answers.filter(({ status }) => status === 202).length, 10);
    assert.equal(answers.filter(({ status }) => status === 429).length, 20);
    await Promise.all(servers.map((server) => server.stop()));
  });

  test('is earned again as time goes by, and says how long that takes', { ...limit, skip: skipOf('postgresql') }, async () => {
    const at = await place('postgresql');
    const [a, b] = await two(at, { RATE_LIMIT: '2/second' });
    let refused;
    // Quicker than two in a second, wherever the machine's speed allows that.
    for (let i = 0; i < 200 && refused?.status !== 429; i++) {
      refused = (await Promise.all([upload(a), upload(b), upload(a), upload(b)])).find(({ status }) => status === 429);
    }
    assert.equal(refused.status, 429);
    assert.equal(refused.headers.get('retry-after'), '1');
    assert.equal(refused.headers.get('ratelimit-limit'), '2');
    await until(() => upload(b), ({ status }) => status === 202);
    // After a crash of the server the table is empty: everybody begins anew.
    at.change('TRUNCATE rates');
    assert.equal((await upload(a)).status, 202);
    await Promise.all([a.stop(), b.stop()]);
  });
});

describe('requests', { skip: skipOf('postgresql') }, () => {
  test('with one Idempotency-Key are one job, also when they come to both at once', limit, async () => {
    const at = await place('postgresql');
    const [a, b] = await two(at);
    const post = (server, key, bytes = wav()) => ask(server, 'POST', '/transcribe', { body: form(bytes), headers: { 'Idempotency-Key': key } });
    for (let i = 0; i < 10; i++) {
      const both = await Promise.all([post(a, `k${i}`), post(b, `k${i}`)]);
      assert.deepEqual(both.map(({ status }) => status).sort(), [200, 202], JSON.stringify(both)); // made, and found
      assert.equal(both[0].body.job_id, both[1].body.job_id);
      assert.equal((await post(i % 2 ? a : b, `k${i}`)).body.job_id, both[0].body.job_id);
    }
    assert.equal((await post(b, 'k1', wav({ seconds: 2 }))).status, 422, 'another request');
    assert.deepEqual(at.rows('SELECT count(*) FROM jobs'), [['10']]);
    assert.equal(at.rows('SELECT count(*) FROM request_keys')[0][0], '10');
    await Promise.all([a.stop(), b.stop()]);
  });

  test('an upload that one service began is finished at the other, wherever it broke', limit, async () => {
    const at = await place('postgresql');
    const [a, b] = await two(at);
    const bytes = wav({ seconds: 20, sample: (t) => Math.sin(t * 999) / 9 });
    const tus = { 'Tus-Resumable': '1.0.0' };
    const made = await ask(a, 'POST', '/uploads', { headers: { ...tus, 'Upload-Length': bytes.length } });
    const where = new URL(made.headers.get('location'), a.url).pathname;
    const offset = async (server) => Number((await ask(server, 'HEAD', where, { headers: tus })).headers.get('upload-offset'));
    const patch = (server, from, to) => ask(server, 'PATCH', where, {
      body: bytes.subarray(from, to), headers: { ...tus, 'Upload-Offset': from, 'Content-Type': 'application/offset+octet-stream' },
    });
    assert.equal((await patch(a, 0, 100000)).status, 204);
    assert.equal(await offset(b), 100000);
    assert.equal((await patch(b, 100000, 200000)).status, 204);
    assert.equal((await patch(a, 100000, 200000)).status, 409, 'it is further than that');
    // One that breaks off in the middle, at one service; what had come is there at the other.
    const socket = net.connect(a.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(`PATCH ${where} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 200000\r\n`
      + `Content-Type: application/offset+octet-stream\r\nContent-Length: ${bytes.length - 200000}\r\n\r\n`);
    socket.write(bytes.subarray(200000, 300000));
    socket.end();
    await once(socket.resume(), 'close');
    const reached = await until(() => offset(b), (at_) => at_ > 200000);
    assert.equal(reached, 300000);
    assert.equal((await patch(b, reached, bytes.length)).status, 204);
    const id = where.split('/').at(-1);
    assert.equal((await ask(a, 'GET', `/jobs/${id}`)).body.status, 'pending');
    const recording = await fetch(`${a.url}/jobs/${id}/audio`);
    assert.ok(Buffer.from(await recording.arrayBuffer()).equals(bytes));
    await Promise.all([a.stop(), b.stop()]);
  });

  test('OpenAI\'s door answers when the job was done elsewhere, and joins what came to the other', limit, async (t) => {
    const at = await place('postgresql');
    const [a, b] = await two(at);
    const bytes = long(11);
    const post = (server) => ask(server, 'POST', '/v1/audio/transcriptions', { body: form(bytes, 'a.wav', { model: 'whisper-1' }) });
    const both = Promise.all([post(a), post(b)]);
    await until(() => at.rows('SELECT count(*) FROM jobs'), ([[n]]) => n !== '0');
    const worker = await at.work();
    const answers = await both;
    const answered = Date.now();
    assert.deepEqual(answers.map(({ status }) => status), [200, 200]);
    assert.equal(answers[0].body.text, answers[1].body.text);
    assert.equal(answers[0].headers.get('x-job-id'), answers[1].headers.get('x-job-id'));
    const [[done]] = at.rows('SELECT completed_ms FROM jobs');
    t.diagnostic(`answered ${answered - Number(done)} ms after the commit`);
    assert.ok(answered - Number(done) < 5000, 'by the bell, not by the look each fifteen seconds');
    await Promise.all([worker.stop(), a.stop(), b.stop()]);
  });

  test('a job is followed, cancelled, tried again and deleted at either', limit, async () => {
    const at = await place('postgresql');
    const [a, b] = await two(at);
    const worker = await at.work();
    const heard = [];
    const stream = new EventSource(`${b.url}/events`);
    stream.addEventListener('job', (event) => heard.push({ ...JSON.parse(event.data), number: Number(event.lastEventId) }));
    stream.addEventListener('deleted', (event) => heard.push({ ...JSON.parse(event.data), status: 'deleted', number: Number(event.lastEventId) }));
    const [ready] = await once(stream, 'ready');
    const id = await submit(a, long(900));
    const told = [];
    const socket = new WebSocket(`${b.url.replace('http', 'ws')}/ws/jobs/${id}`);
    socket.on('message', (text) => told.push(JSON.parse(text)));
    const closed = once(socket, 'close');
    await until(() => told.at(-1)?.progress, (progress) => progress > 0);
    assert.equal((await ask(b, 'POST', `/jobs/${id}/cancel`)).body.status, 'cancelled');
    assert.equal((await closed)[0], 1000);
    assert.equal(told.at(-1).status, 'cancelled');
    assert.equal((await ask(a, 'GET', `/jobs/${id}`)).body.status, 'cancelled');
    await until(() => worker.log(), (log) => log.includes('stopped: it was cancelled'));
    assert.equal((await ask(a, 'POST', `/jobs/${id}/retry`)).status, 200);
    await until(async () => (await getJson(b, `/jobs/${id}`)).body.status, (status) => status === 'processing');
    assert.equal((await ask(b, 'DELETE', `/jobs/${id}`)).status, 200);
    assert.equal((await ask(a, 'GET', `/jobs/${id}`)).status, 404);
    await until(() => heard.at(-1)?.status, (status) => status === 'deleted');
    stream.close();
    // The same, read at the other from where the first began and from its middle: no gap, no double.
    for (const from of [Number(ready.lastEventId), heard[1].number]) {
      const again = [];
      const other = new EventSource(`${a.url}/events?last_event_id=${from}`);
      for (const type of ['job', 'deleted']) other.addEventListener(type, (event) => again.push(Number(event.lastEventId)));
      await until(() => again.at(-1), (number) => number === heard.at(-1).number);
      other.close();
      assert.ok(again.every((number, i) => !i || number > again[i - 1]));
      const states = at.rows(`SELECT number FROM job_events WHERE is_state AND number > ${from}`).map(([n]) => Number(n));
      assert.deepEqual(states.filter((n) => !again.includes(n)), []);
    }
    await Promise.all([worker.stop(), a.stop(), b.stop()]);
  });

  test('the queue, the list and the search are the same at both', limit, async () => {
    const at = await place('postgresql');
    const [a, b] = await two(at);
    for (let i = 0; i < 6; i++) await submit(i % 2 ? a : b, wav({ seconds: 1 + i / 10 }), { fields: { priority: String(i % 3) } });
    const without = ({ body }) => JSON.parse(JSON.stringify(body, (key, value) => (/^(age|waiting|estimated|.*_seconds)$/.test(key) ? undefined : value)));
    for (const where of ['/jobs', '/jobs?search=talk', '/admin/queue', '/models', '/v1/models']) {
      const [here, there] = await Promise.all([ask(a, 'GET', where), ask(b, 'GET', where)]);
      assert.equal(here.status, 200, where);
      assert.deepEqual(without(here), without(there), where);
    }
    await Promise.all([a.stop(), b.stop()]);
  });

  test('the default model that an administrator chooses at one is that of the other at once', limit, async () => {
    const at = await place('postgresql', { env: { DEFAULT_WHISPER_MODEL: '' } });
    const [a, b] = await two(at);
    const here = (await ask(a, 'GET', '/models')).body.models.filter(({ present }) => present).map(({ name }) => name);
    for (const name of [...here, 'tiny']) {
      const set = await ask(a, 'PUT', '/models/default', { json: { name } });
      assert.equal(set.status, 200, JSON.stringify(set.body));
      assert.equal((await ask(b, 'GET', '/models')).body.default, name);
      const id = await submit(b);
      assert.equal((await ask(a, 'GET', `/jobs/${id}`)).body.model_used, name);
    }
    await Promise.all([a.stop(), b.stop()]);
  });

  test('what is to leave nothing behind is gone at both once it was fetched at one', limit, async () => {
    const at = await place('postgresql');
    const [a, b] = await two(at);
    const worker = await at.work();
    const id = await submit(a, wav(), { fields: { retain: 'none' } });
    assert.equal((await ended(b, id)).status, 'completed');
    const states = await until(async () => Promise.all([a, b].map(async (server) => (await ask(server, 'GET', `/jobs/${id}/download`)).status)),
      (list) => list.every((status) => status >= 400));
    assert.deepEqual(states, [410, 410]);
    await Promise.all([worker.stop(), a.stop(), b.stop()]);
  });

  test('a webhook is delivered once', limit, async () => {
    const calls = [];
    const hooks = http.createServer((request, response) => {
      request.resume().on('end', () => { calls.push(request.headers['webhook-id']); response.writeHead(204).end(); });
    }).listen(0, '127.0.0.1');
    await once(hooks, 'listening');
    const { port } = hooks.address();
    const at = await place('postgresql', { env: { WEBHOOK_ALLOW: `127.0.0.1:${port}` } });
    const [a, b] = await two(at);
    const worker = await at.work();
    const ids = [];
    for (let i = 0; i < 8; i++) ids.push(await submit(i % 2 ? a : b, wav(), { fields: { webhook_url: `http://127.0.0.1:${port}/` } }));
    for (const id of ids) await until(async () => (await getJson(a, `/jobs/${id}`)).body.webhook.state, (state) => state === 'delivered');
    assert.equal(new Set(calls).size, 8);
    assert.equal(calls.length, 8);
    hooks.close();
    await Promise.all([worker.stop(), a.stop(), b.stop()]);
  });
});
