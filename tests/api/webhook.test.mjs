// Webhooks: whoever asked is told, signed, and told again until it was heard.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import {
  form, freePort, getJson, hasModel, hold, startServer, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const secret = `whsec_${Buffer.from('a key of twenty-four by').toString('base64')}`;
const plain = 'a-plain-secret-of-the-caller';

/** A receiver; `answer(n)` gives the status of the nth call, at once or later, or 0 to hang. */
async function receiver(answer = () => 204, port = 0) {
  const calls = [];
  const server = http.createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (data) => { text += data; }).on('end', async () => {
      calls.push({ url: request.url, method: request.method, headers: request.headers, text, at: Date.now() });
      const status = await answer(calls.filter((c) => c.url === request.url).length, request);
      if (status) response.writeHead(status, status >= 300 && status < 400 ? { Location: '/elsewhere' } : {}).end();
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: server.address().port, url: `http://127.0.0.1:${server.address().port}`, calls,
    close: () => { server.closeAllConnections(); server.close(); },
  };
}

async function submit(server, fields) {
  const answer = await transcribe(server, form(wav(), 'a.wav', fields));
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.job_id;
}

const webhookOf = async (server, id) => (await getJson(server, `/jobs/${id}`)).body.webhook;
const settled = (server, id) => until(() => webhookOf(server, id), (w) => ['delivered', 'failed'].includes(w.state));

describe('webhooks', needsModel, () => {
  let server;
  let hooks;
  let seen; // what the first failure left was looked at
  const looked = new Promise((resolve) => { seen = resolve; });
  before(async () => {
    hooks = await receiver((n, { url }) => ({
      '/third': n === 2 ? looked.then(() => 500) : n < 3 ? 500 : 200, '/gone': 410, '/redirect': 302, '/hang': n < 2 ? 0 : 200,
    }[url] ?? 204));
    server = await startServer({ env: { WEBHOOK_ALLOW: `127.0.0.1:${hooks.port}`, WEBHOOK_SECRET: secret, WORKER_CONCURRENCY: '1' } });
  });
  after(async () => {
    const { code } = await server.stop();
    hooks.close();
    assert.equal(code, 0, server.log());
  });

  test('tells of a completed job, signed as the standard has it', async () => {
    const id = await submit(server, { webhook_url: `${hooks.url}/ok?token=hidden` });
    await waitForJob(server, id);
    const state = await settled(server, id);
    assert.deepEqual([state.state, state.attempts, state.last_status, state.last_error], ['delivered', 1, 204, null]);
    assert.equal(state.to, hooks.url);
    const call = hooks.calls.find((c) => c.url === '/ok?token=hidden');
    assert.equal(call.method, 'POST');
    assert.equal(call.headers['content-type'], 'application/json');
    const told = new Webhook(secret).verify(call.text, call.headers);
    assert.equal(told.event, 'job.completed');
    assert.equal(told.job.id, id);
    assert.equal(told.job.status, 'completed');
    assert.ok(!('transcript' in told.job));
    assert.throws(() => new Webhook(secret).verify(`${call.text} `, call.headers));
  });

  test('with the transcript and a secret of the request, where it asks for them', async () => {
    const id = await submit(server, { webhook_url: `${hooks.url}/own`, webhook_secret: plain, webhook_transcript: 'true' });
    await settled(server, id);
    const { text, headers } = hooks.calls.find((c) => c.url === '/own');
    const mac = createHmac('sha256', plain).update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`).digest('base64');
    assert.equal(headers['webhook-signature'], `v1,${mac}`);
    assert.ok('transcript' in JSON.parse(text).job);
    const shown = JSON.stringify((await getJson(server, `/jobs/${id}`)).body);
    for (const hidden of [plain, secret, 'token=hidden', '/own']) {
      assert.ok(!shown.includes(hidden), hidden);
      if (hidden !== '/own') assert.ok(!server.log().includes(hidden), hidden);
    }
  });

  test('tells of failed and cancelled jobs; a retry overtakes what was not heard', async () => {
    const bad = await transcribe(server, form(Buffer.concat([Buffer.from('ID3\x04'), Buffer.alloc(5000, 0x55)]), 'a.mp3', { webhook_url: `${hooks.url}/bad` }));
    assert.equal(bad.status, 202, JSON.stringify(bad.body));
    await settled(server, bad.body.job_id);
    const failed = JSON.parse(hooks.calls.find((c) => c.url === '/bad').text);
    assert.equal(failed.event, 'job.failed');
    assert.ok(failed.job.error_message);
    const goOn = await hold(server);
    const id = await submit(server, { webhook_url: `${hooks.url}/cancelled` });
    assert.deepEqual((await webhookOf(server, id)).state, 'none');
    await getJson(server, `/jobs/${id}/cancel`, { method: 'POST' });
    goOn();
    await settled(server, id);
    assert.equal(JSON.parse(hooks.calls.find((c) => c.url === '/cancelled').text).event, 'job.cancelled');
    await getJson(server, `/jobs/${id}/retry`, { method: 'POST' });
    await waitForJob(server, id);
    await until(() => hooks.calls.filter((c) => c.url === '/cancelled'), (list) => list.length === 2);
    const [first, second] = hooks.calls.filter((c) => c.url === '/cancelled');
    assert.equal(JSON.parse(second.text).event, 'job.completed');
    assert.notEqual(first.headers['webhook-id'], second.headers['webhook-id']);
  });

  test('tries again, later each time, under the same id', async () => {
    const id = await submit(server, { webhook_url: `${hooks.url}/third` });
    const waiting = await until(() => webhookOf(server, id), (w) => w.last_status);
    seen();
    assert.deepEqual([waiting.state, waiting.last_status], ['waiting', 500]);
    assert.ok(Date.parse(waiting.next_attempt_at) > Date.parse(waiting.last_attempt_at));
    const state = await settled(server, id);
    assert.deepEqual([state.state, state.attempts], ['delivered', 3]);
    const calls = hooks.calls.filter((c) => c.url === '/third');
    assert.equal(new Set(calls.map((c) => c.headers['webhook-id'])).size, 1);
    assert.ok(calls[1].at - calls[0].at >= 900, 'first pause');
    assert.ok(calls[2].at - calls[1].at >= 3900, 'second pause');
    for (const { text, headers } of calls) new Webhook(secret).verify(text, headers);
  });

  test('stops at 410, does not follow redirects, and does not let one that hangs keep others', async () => {
    const hanging = await submit(server, { webhook_url: `${hooks.url}/hang` });
    await until(() => hooks.calls.find((c) => c.url === '/hang'), Boolean);
    const gone = await submit(server, { webhook_url: `${hooks.url}/gone` });
    const state = await settled(server, gone);
    assert.deepEqual([state.state, state.attempts, state.last_status], ['failed', 1, 410]);
    const redirected = await submit(server, { webhook_url: `${hooks.url}/redirect` });
    await until(() => webhookOf(server, redirected), (w) => w.last_status === 302);
    assert.ok(!hooks.calls.some((c) => c.url === '/elsewhere'));
    assert.equal((await settled(server, hanging)).state, 'delivered');
    assert.equal(hooks.calls.filter((c) => c.url === '/hang').length, 2);
  });

  test('refuses where it must not lead', async () => {
    for (const url of ['http://127.0.0.1:1/', 'http://10.0.0.1/', 'http://[::1]/x', 'http://169.254.169.254/', 'http://x.example:22/']) {
      const answer = await transcribe(server, form(wav(), 'a.wav', { webhook_url: url }));
      assert.equal(answer.status, 400, url);
      assert.equal(answer.body.error_code, 'forbidden_address');
    }
    for (const fields of [{ webhook_url: 'nonsense' }, { webhook_url: 'http://a:b@x.example/' }, { webhook_url: hooks.url, webhook_secret: 'short' },
      { webhook_url: hooks.url, webhook_transcript: 'perhaps' }])
      assert.equal((await transcribe(server, form(wav(), 'a.wav', fields))).status, 400, JSON.stringify(fields));
    // A name shows where it leads only when it is connected to.
    const id = await submit(server, { webhook_url: 'http://localhost:8080/' });
    const state = await settled(server, id);
    assert.equal(state.state, 'failed');
    assert.match(state.last_error, /public internet/);
  });
});

describe('webhooks, when services come and go', needsModel, () => {
  test('a receiver that is down is told by the next service, once', async () => {
    const folder = tempFolder();
    const port = await freePort();
    const env = { WEBHOOK_ALLOW: 'loopback' };
    let server = await startServer({ folder, env });
    const id = await submit(server, { webhook_url: `http://127.0.0.1:${port}/later` });
    await waitForJob(server, id);
    await until(() => webhookOf(server, id), (w) => w.last_error);
    await server.kill();
    const hooks = await receiver(() => 200, port);
    server = await startServer({ folder, env });
    const state = await settled(server, id);
    assert.equal(state.state, 'delivered');
    assert.equal(hooks.calls.length, 1);
    assert.equal(hooks.calls[0].headers['webhook-signature'], undefined); // there is no secret
    assert.equal(JSON.parse(hooks.calls[0].text).job.id, id);
    // Killed while the receiver thinks about it: told again under the same id.
    await server.kill();
    hooks.close();
    const slow = await receiver((n) => (n < 2 ? 0 : 200), port);
    server = await startServer({ folder, env });
    const other = await submit(server, { webhook_url: `http://127.0.0.1:${port}/slow` });
    await until(() => slow.calls.length, (n) => n === 1);
    await server.kill();
    server = await startServer({ folder, env });
    assert.equal((await settled(server, other)).state, 'delivered');
    assert.equal(slow.calls.length, 2);
    assert.equal(slow.calls[0].headers['webhook-id'], slow.calls[1].headers['webhook-id']);
    await server.stop();
    slow.close();
  });
});
