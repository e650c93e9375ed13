// Who may: every route with every kind of key, and every way to be somebody.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { idOf, keys, makeKey, routes } from '../lib/keys.mjs';
import { databaseText, wanted as onServer } from '../lib/postgres.mjs';
import {
  form, getJson, hasModel, raw, startServer, tempFolder, tone, until, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const unknownKey = `wt_0123456789abcdef_${'A'.repeat(43)}`;
const unknownJob = '01a20eeb-3efb-7eac-bbbd-01910af80753';
const bearer = (key) => (key ? { authorization: `Bearer ${key}` } : {});

const ask = (server, method, where, { key, headers = {}, body } = {}) => getJson(
  server, where, { method, headers: { ...bearer(key), ...headers }, body },
);
const postJson = (server, where, value, { key, headers } = {}) => ask(server, 'POST', where, {
  key, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value),
});

async function submit(server, key, seconds = 1) {
  const answer = await ask(server, 'POST', '/transcribe', { key, body: form(wav({ seconds })) });
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.job_id;
}

/** Everything that the service and the database keep, as one text. */
function everythingIn(server) {
  return server.log() + databaseText(server.folder);
}

/** No part of any key may be found anywhere but where it was shown. */
function isNowhere(server, secrets) {
  const all = everythingIn(server);
  for (const secret of secrets) assert.ok(!all.includes(secret.slice(-43)), `${secret.slice(0, 20)} has leaked`);
}

describe('every route with every key', needsModel, () => {
  let server;
  const key = {};
  const scopes = {
    read: ['read'], transcribe: ['transcribe'], owner: ['read', 'transcribe'], other: ['read', 'transcribe'], admin: ['admin'],
  };
  const invalid = ['none', 'wrong', 'malformed', 'secret', 'expired', 'revoked'];

  before(async () => {
    server = await startServer({ env: { AUTH: 'key', WORKER_CONCURRENCY: '1' } });
    for (const [name, set] of Object.entries(scopes)) key[name] = makeKey(server.folder, { name, scope: set.join(',') });
    key.wrong = unknownKey;
    key.malformed = 'sk-proj-something';
    key.secret = key.admin.slice(0, -1) + (key.admin.endsWith('A') ? 'B' : 'A');
    key.revoked = makeKey(server.folder, { scope: 'admin' });
    assert.equal(keys(server.folder, ['revoke', idOf(key.revoked)]).code, 0);
    const soon = new Date(Date.now() + 2500);
    key.expired = makeKey(server.folder, { scope: 'admin', expires: `${soon.toISOString().slice(0, 19)}Z` });
    await until(async () => (await ask(server, 'GET', '/jobs', { key: key.expired })).status, (status) => status === 401);
  });
  after(async () => {
    isNowhere(server, Object.values(key).filter((text) => text.startsWith('wt_')));
    assert.equal((await server.stop()).code, 0);
  });

  /** The same of a WebSocket: 101, or what came instead. */
  const handshake = (where, text) => new Promise((resolve) => {
    const socket = new WebSocket(server.url.replace('http', 'ws') + where, { headers: bearer(text) });
    socket.on('open', () => { resolve({ code: 101 }); socket.terminate(); });
    socket.on('unexpected-response', async (_, response) => {
      let body = '';
      for await (const part of response) body += part;
      resolve({ code: response.statusCode, headers: new Headers(response.headers), body: JSON.parse(body) });
      socket.terminate();
    });
    socket.on('error', () => {});
  });

  /** One request; only its head matters, and the body when it is JSON. */
  async function status(route, where, text) {
    if (route.kind === 'websocket') return handshake(where, text);
    const init = { method: route.method, headers: bearer(text) };
    if (route.kind === 'form') init.body = route.path === '/transcribe' ? form(wav()) : new FormData();
    if (route.kind === 'body') {
      init.body = '{}';
      init.headers['content-type'] = 'application/json';
    }
    const response = await fetch(server.url + where, init);
    const isJson = response.headers.get('content-type')?.startsWith('application/json');
    const body = isJson ? await response.json() : await response.body?.cancel();
    return { code: response.status, headers: response.headers, body };
  }

  const sufficient = (route, name) => route.access === 'public' || scopes[name].includes('admin') ||
    (route.access === 'caller' ? scopes[name].length > 0 : scopes[name].includes(route.access));

  test('the list of routes is complete', () => {
    const all = routes().map((route) => `${route.method} ${route.path}`);
    for (const known of ['GET /', 'POST /transcribe', 'GET /jobs/{id}', 'GET /ws/jobs/{id}', 'POST /keys', 'GET /audit']) {
      assert.ok(all.includes(known), known);
    }
    assert.equal(new Set(all).size, all.length);
  });

  for (const route of routes()) {
    const ofJob = /\/jobs\/\{id\}/.test(route.path);
    const where = (id) => route.path.replace('{id}', id).replace('{name}', 'none.bin');

    test(`${route.method} ${route.path} needs ${route.access}`, async () => {
      for (const name of invalid) {
        const answer = await status(route, where(unknownJob), key[name]);
        if (route.access === 'public') {
          assert.ok(![401, 403].includes(answer.code) || route.path === '/session', `${name}: ${answer.code}`);
          continue;
        }
        assert.equal(answer.code, 401, `${name}: ${JSON.stringify(answer.body)}`);
        assert.match(answer.headers.get('www-authenticate'), /^Bearer/);
        if (route.path.startsWith('/v1/')) assert.equal(answer.body.error.code, 'invalid_api_key');
        else assert.equal(answer.body.error_code, 'unauthorized');
      }
      for (const name of Object.keys(scopes)) {
        const id = ofJob && sufficient(route, name) ? await submit(server, key.owner) : unknownJob;
        const answer = await status(route, where(id), key[name]);
        if (!sufficient(route, name)) {
          assert.equal(answer.code, 403, `${name}: ${JSON.stringify(answer.body)}`);
        } else if (ofJob && route.access !== 'public' && !['owner', 'admin'].includes(name)) {
          assert.equal(answer.code, 404, `${name}: ${JSON.stringify(answer.body)}`);
        } else {
          assert.ok(![401, 403].includes(answer.code), `${name}: ${answer.code} ${JSON.stringify(answer.body)}`);
          if (ofJob) assert.doesNotMatch(answer.body?.detail ?? '', /there is no job/i, name);
        }
      }
    });
  }

  test('a key sees its own jobs in the list, an admin all', async () => {
    const mine = await submit(server, key.owner);
    const others = await submit(server, key.other);
    const list = async (name) => (await ask(server, 'GET', '/jobs?limit=500', { key: key[name] })).body;
    const ids = (all) => all.jobs.map((job) => job.id);
    const own = await list('owner');
    assert.ok(ids(own).includes(mine) && !ids(own).includes(others));
    assert.equal(own.total, own.jobs.length);
    assert.deepEqual(ids(await list('other')).filter((id) => [mine, others].includes(id)), [others]);
    assert.equal((await list('read')).total, 0);
    const all = ids(await list('admin'));
    assert.ok(all.includes(mine) && all.includes(others));
    // Another's job and one that never was are told in the same words.
    const hidden = await ask(server, 'GET', `/jobs/${others}`, { key: key.owner });
    const none = await ask(server, 'GET', `/jobs/${unknownJob}`, { key: key.owner });
    assert.equal(hidden.body.detail.replace(others, 'ID'), none.body.detail.replace(unknownJob, 'ID'));
  });

  test('an upload in parts is its creator\'s, and an admin\'s', async () => {
    const bytes = wav();
    const tus = (name, method, to, headers = {}, body = undefined) => fetch(server.url + to, {
      method, body, headers: { ...bearer(key[name]), 'tus-resumable': '1.0.0', ...headers },
    });
    const made = await tus('owner', 'POST', '/uploads', { 'upload-length': String(bytes.length) });
    assert.equal(made.status, 201);
    const where = made.headers.get('location');
    const add = (name) => tus(name, 'PATCH', where, {
      'upload-offset': '0', 'content-type': 'application/offset+octet-stream',
    }, bytes);
    for (const [name, code] of [['other', 404], ['read', 403], ['none', 401]]) {
      assert.equal((await add(name)).status, code, name);
      for (const method of ['HEAD', 'GET', 'DELETE']) assert.equal((await tus(name, method, where)).status, code, `${name} ${method}`);
    }
    assert.equal((await tus('admin', 'GET', where)).status, 200);
    const done = await add('owner');
    assert.equal(done.status, 204);
    const job = done.headers.get('location');
    assert.equal((await ask(server, 'GET', job, { key: key.owner })).status, 200);
    assert.equal((await ask(server, 'GET', job, { key: key.other })).status, 404);
  });

  test('a key is taken from X-API-Key, and Bearer in any case', async () => {
    assert.equal((await ask(server, 'GET', '/jobs', { headers: { 'x-api-key': key.read } })).status, 200);
    assert.equal((await ask(server, 'GET', '/jobs', { headers: { authorization: `bearer ${key.read}` } })).status, 200);
    assert.equal((await ask(server, 'GET', '/jobs', { headers: { authorization: 'Basic YTpi' } })).status, 401);
    for (const pair of [`:${key.read}`, `anybody:${key.read}`, `${key.read}:`]) {
      const basic = { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
      assert.equal((await ask(server, 'GET', '/jobs', { headers: basic })).status, 200, pair.slice(0, 10));
    }
    assert.equal((await ask(server, 'GET', `/jobs?key=${key.read}`)).status, 401);
    // The first that is there counts: a bad one is not made good by another.
    assert.equal((await ask(server, 'GET', '/jobs', { key: unknownKey, headers: { 'x-api-key': key.read } })).status, 401);
  });

  test('an upload without a key is refused before its body is sent', async () => {
    const text = await raw(server, 'POST /transcribe HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x\r\n' +
      'Content-Length: 100000000\r\n\r\n');
    assert.match(text, /^HTTP\/1\.1 401 Unauthorized\r\n/);
    assert.match(text, /"error_code":"unauthorized"/);
  });

  test('a revoked key ends at once', async () => {
    const doomed = makeKey(server.folder, { scope: 'read' });
    assert.equal((await ask(server, 'GET', '/jobs', { key: doomed })).status, 200);
    assert.equal((await ask(server, 'DELETE', `/keys/${idOf(doomed)}`, { key: key.admin })).status, 200);
    assert.equal((await ask(server, 'GET', '/jobs', { key: doomed })).status, 401);
    assert.equal((await ask(server, 'DELETE', `/keys/${idOf(doomed)}`, { key: key.admin })).status, 409);
    assert.equal((await ask(server, 'DELETE', '/keys/0000000000000000', { key: key.admin })).status, 404);
    const second = makeKey(server.folder, { scope: 'read' });
    assert.equal((await ask(server, 'GET', '/jobs', { key: second })).status, 200);
    assert.equal(keys(server.folder, ['revoke', idOf(second)]).code, 0);
    assert.equal((await ask(server, 'GET', '/jobs', { key: second })).status, 401);
  });

  test('keys are made and listed over HTTP', async () => {
    const made = await postJson(server, '/keys', { name: 'über HTTP', scopes: ['read'], expires: '2d', minutes_per_day: 7 }, { key: key.admin });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    key.made = made.body.key;
    assert.match(made.body.key, /^wt_[0-9a-f]{16}_[\w-]{43}$/);
    assert.equal(made.headers.get('location'), `/keys/${made.body.id}`);
    assert.equal((await ask(server, 'GET', '/jobs', { key: made.body.key })).status, 200);
    const { body } = await ask(server, 'GET', '/keys', { key: key.admin });
    const listed = body.keys.find((each) => each.id === made.body.id);
    assert.equal(listed.name, 'über HTTP');
    assert.deepEqual(listed.scopes, ['read']);
    assert.equal(listed.state, 'active');
    assert.equal(listed.minutes_per_day, 7);
    assert.equal(listed.minutes_used_today, 0);
    assert.ok(Math.abs(Date.parse(listed.expires_at) - Date.now() - 2 * 86400000) < 60000);
    assert.ok(Math.abs(Date.parse(listed.last_used_at) - Date.now()) < 60000);
    assert.ok(!JSON.stringify(body).includes(made.body.key.slice(-43)));
    for (const each of body.keys) assert.ok(!('key' in each) && !('hash' in each));
    for (const bad of [{}, { name: '' }, { name: 'x', scopes: ['write'] }, { name: 'x', scopes: [] }, { name: 'x', scopes: 5 },
      { name: 'x', expires: 'soon' }, { name: 'x', minutes_per_day: -1 }, { name: 'x', minutes_per_day: '5' },
      { name: 'x', colour: 'red' }, { name: 5 }, [], 'x']) {
      const answer = await postJson(server, '/keys', bad, { key: key.admin });
      assert.equal(answer.status, 400, JSON.stringify(bad));
    }
    const json = { 'content-type': 'application/json' };
    const broken = await ask(server, 'POST', '/keys', { key: key.admin, headers: json, body: `{"name": "${key.made}` });
    assert.equal(broken.status, 400);
    assert.equal((await ask(server, 'POST', '/keys', { key: key.admin, headers: json, body: ' '.repeat(20000) })).status, 413);
    assert.equal((await ask(server, 'POST', '/keys', { key: key.admin, body: '{"name":"x"}' })).status, 415);
  });

  test('what happened is in the audit log, in pages', async () => {
    // Of many in a second some are left out: wait for one of each.
    const { body } = await until(async () => {
      await ask(server, 'GET', '/jobs', { key: unknownKey });
      await ask(server, 'GET', '/keys', { key: key.read });
      return ask(server, 'GET', '/audit?limit=1000', { key: key.admin });
    }, (answer) => answer.body.events.some((each) => each.event === 'denied' && each.caller === idOf(key.read)));
    const events = body.events.map((each) => each.event);
    for (const event of ['key_created', 'key_revoked', 'refused', 'denied']) assert.ok(events.includes(event), event);
    const denied = body.events.find((each) => each.event === 'denied' && each.caller === idOf(key.read));
    assert.equal(denied.client, '127.0.0.1');
    assert.match(denied.detail, /^[A-Z]+ \/\S*: .*scope/);
    assert.equal(body.next_before, null);
    const first = (await ask(server, 'GET', '/audit?limit=2', { key: key.admin })).body;
    const second = (await ask(server, 'GET', `/audit?limit=2&before=${first.next_before}`, { key: key.admin })).body;
    const newest = (await ask(server, 'GET', '/audit?limit=4', { key: key.admin })).body;
    assert.deepEqual([...first.events, ...second.events].map((each) => each.id), newest.events.map((each) => each.id));
    assert.equal((await ask(server, 'GET', '/audit?limit=x', { key: key.admin })).status, 400);
    assert.equal((await ask(server, 'GET', '/audit?limit=0', { key: key.admin })).status, 400);
    assert.match(server.log(), /audit: refused by nobody from 127\.0\.0\.1/);
  });

  test('many refusals leave few entries, and are counted', async () => {
    const count = async () => (await ask(server, 'GET', '/audit?limit=1000', { key: key.admin })).body.events
      .filter((each) => each.event === 'refused').length;
    const before = await count();
    const began = Date.now();
    for (let i = 0; i < 300; i += 1) await ask(server, 'GET', '/jobs', { key: unknownKey });
    const seconds = Math.ceil((Date.now() - began) / 1000) + 1;
    assert.ok(await count() - before <= 5 * seconds, `${await count() - before} in ${seconds} s`);
    await until(async () => {
      await ask(server, 'GET', '/jobs', { key: unknownKey });
      return (await ask(server, 'GET', '/audit?limit=20', { key: key.admin })).body.events;
    }, (events) => events.some((each) => /entries were left out/.test(each.detail)));
  });

  test('a browser holds a cookie instead of the key', async () => {
    const wrong = await postJson(server, '/session', { key: unknownKey });
    assert.equal(wrong.status, 401);
    assert.equal(wrong.headers.get('set-cookie'), null);
    assert.equal((await postJson(server, '/session', {})).status, 400);
    const opened = await postJson(server, '/session', { key: key.owner });
    assert.equal(opened.status, 200);
    assert.deepEqual(opened.body, {
      auth: 'key', id: idOf(key.owner), name: 'owner', scopes: ['read', 'transcribe'], minutes_per_day: null,
    });
    const header = opened.headers.get('set-cookie');
    assert.match(header, /^wt_session=ws_[0-9a-f]{16}_[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+$/);
    const cookie = header.split(';')[0];
    key.session = cookie.split('=')[1].replace(/^ws/, 'wt');
    assert.ok(!cookie.includes(key.owner.slice(-43)));
    assert.equal((await ask(server, 'GET', '/jobs', { headers: { cookie: `a=b; ${cookie}` } })).status, 200);
    assert.equal((await ask(server, 'GET', '/session', { headers: { cookie } })).body.name, 'owner');
    assert.equal((await ask(server, 'GET', '/keys', { headers: { cookie } })).status, 403);
    // A session is no key, and a key is no session.
    assert.equal((await ask(server, 'GET', '/jobs', { key: cookie.split('=')[1] })).status, 401);
    assert.equal((await ask(server, 'GET', '/jobs', { headers: { cookie: `wt_session=${key.owner}` } })).status, 401);
    // A page of another site cannot use it to change something.
    const id = await submit(server, key.owner);
    const foreign = await ask(server, 'DELETE', `/jobs/${id}`, { headers: { cookie, origin: 'https://evil.example' } });
    assert.equal(foreign.status, 403);
    assert.equal(foreign.body.error_code, 'cross_origin');
    const secure = await postJson(server, '/session', { key: key.owner }, { headers: { 'x-forwarded-proto': 'https' } });
    assert.match(secure.headers.get('set-cookie'), /; Secure$/);
    const closed = await ask(server, 'DELETE', '/session', { headers: { cookie } });
    assert.equal(closed.status, 200);
    assert.match(closed.headers.get('set-cookie'), /^wt_session=; .*Max-Age=0$/);
    assert.equal((await ask(server, 'GET', '/jobs', { headers: { cookie } })).status, 401);
    assert.equal((await ask(server, 'DELETE', '/session')).status, 200);
  });

  test('a session ends with its key', async () => {
    const doomed = makeKey(server.folder, { scope: 'read' });
    const opened = await postJson(server, '/session', { key: doomed });
    const cookie = opened.headers.get('set-cookie').split(';')[0];
    assert.equal((await ask(server, 'GET', '/jobs', { headers: { cookie } })).status, 200);
    assert.equal(keys(server.folder, ['revoke', idOf(doomed)]).code, 0);
    assert.equal((await ask(server, 'GET', '/jobs', { headers: { cookie } })).status, 401);
  });

  test('a WebSocket opens with a cookie, and to nobody else', async () => {
    const opened = await postJson(server, '/session', { key: key.owner });
    const cookie = opened.headers.get('set-cookie').split(';')[0];
    const id = await submit(server, key.owner);
    const connect = (headers) => new Promise((resolve) => {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws/jobs/${id}`, { headers });
      socket.on('message', (data) => { resolve(JSON.parse(data).job_id); socket.terminate(); });
      socket.on('unexpected-response', (_, response) => { resolve(response.statusCode); socket.terminate(); });
      socket.on('error', () => {});
    });
    assert.equal(await connect({ cookie }), id);
    assert.equal(await connect({}), 401);
    assert.equal(await connect(bearer(key.other)), 404);
    assert.equal(await connect(bearer(key.transcribe)), 403);
  });

  test('a WebSocket hears nothing more when its key is revoked', async () => {
    const doomed = makeKey(server.folder);
    const made = await ask(server, 'POST', '/transcribe', { key: doomed, body: form(wav({ seconds: 120, sample: tone })) });
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws/jobs/${made.body.job_id}`, { headers: bearer(doomed) });
    const heard = [];
    const closed = new Promise((resolve) => { socket.on('close', resolve); });
    socket.on('message', (data) => heard.push(JSON.parse(data)));
    await until(() => heard.length, (n) => n > 0);
    assert.equal(keys(server.folder, ['revoke', idOf(doomed)]).code, 0);
    const before = heard.length;
    await ask(server, 'POST', `/jobs/${made.body.job_id}/cancel`, { key: key.admin });
    assert.equal(await closed, 1008);
    assert.ok(heard.slice(before).every((each) => each.status !== 'cancelled'));
  });

  test('the page and the health checks need no key', async () => {
    const page = await fetch(`${server.url}/`, { headers: { accept: 'text/html' } });
    assert.equal(page.status, 200);
    assert.match(await page.text(), /<!doctype html>/i);
    assert.equal((await getJson(server, '/health/live')).status, 200);
  });
});

describe('AUTH=auto', () => {
  test('asks nobody on loopback until a key exists, and everybody from then on', async () => {
    const server = await startServer();
    assert.equal((await ask(server, 'GET', '/jobs')).status, 200);
    assert.deepEqual((await ask(server, 'GET', '/session')).body.auth, 'off');
    assert.equal((await postJson(server, '/session', { key: unknownKey })).body.auth, 'off');
    const key = makeKey(server.folder);
    assert.equal((await ask(server, 'GET', '/jobs')).status, 401);
    assert.equal((await ask(server, 'GET', '/jobs', { key })).status, 200);
    assert.equal(keys(server.folder, ['revoke', idOf(key)]).code, 0);
    assert.equal((await ask(server, 'GET', '/jobs')).status, 401);
    await server.stop();
    const again = await startServer({ folder: server.folder });
    assert.equal((await ask(again, 'GET', '/jobs')).status, 401);
    await again.stop();
    const off = await startServer({ folder: server.folder, env: { AUTH: 'off' } });
    assert.equal((await ask(off, 'GET', '/jobs')).status, 200);
    await off.stop();
  });

  test('lets nobody lock themselves out with the first key', async () => {
    const server = await startServer();
    const refused = await postJson(server, '/keys', { name: 'reader', scopes: ['read'] });
    assert.equal(refused.status, 409);
    assert.equal(refused.body.error_code, 'first_key');
    assert.equal((await ask(server, 'GET', '/jobs')).status, 200);
    const made = await postJson(server, '/keys', { name: 'me', scopes: ['admin'] });
    assert.equal(made.status, 201);
    assert.equal((await ask(server, 'GET', '/jobs')).status, 401);
    assert.equal((await postJson(server, '/keys', { name: 'reader', scopes: ['read'] }, { key: made.body.key })).status, 201);
    await server.stop();
  });

  test('makes one key where others can reach it, and shows it once', async () => {
    const server = await startServer({ args: ['--host=0.0.0.0'] });
    const shown = /There was no key yet\.[^]*?\n {4}(wt_\S+)\n/.exec(server.out());
    assert.ok(shown, server.out());
    const key = shown[1];
    assert.equal((await ask(server, 'GET', '/jobs')).status, 401);
    assert.equal((await ask(server, 'GET', '/keys', { key })).body.keys.length, 1);
    assert.equal((await ask(server, 'GET', '/audit', { key })).body.events.at(-1).event, 'first_key');
    isNowhere(server, [key]);
    await server.stop();
    const again = await startServer({ folder: server.folder, args: ['--host=0.0.0.0'] });
    assert.ok(!/wt_/.test(again.out()), again.out());
    assert.equal((await ask(again, 'GET', '/keys', { key })).status, 200);
    await again.stop();
    const other = await startServer({ args: ['--host=0.0.0.0'], env: { AUTH: 'off' } });
    assert.ok(!/wt_/.test(other.out()));
    await other.stop();
  });
});

describe('AUTH=proxy', () => {
  test('believes a trusted proxy, and nobody else', async () => {
    const server = await startServer({ env: { AUTH: 'proxy', AUTH_PROXY_SCOPES_HEADER: 'X-Remote-Groups' } });
    const as = (user, groups) => ({ headers: { 'x-remote-user': user, ...(groups ? { 'x-remote-groups': groups } : {}) } });
    assert.equal((await ask(server, 'GET', '/jobs')).status, 401);
    assert.equal((await ask(server, 'GET', '/jobs', as('anna', 'staff, read'))).status, 200);
    assert.equal((await ask(server, 'GET', '/jobs', as('anna', 'staff'))).status, 403);
    assert.equal((await ask(server, 'GET', '/jobs', as('anna'))).status, 403);
    assert.equal((await ask(server, 'GET', '/keys', as('anna', 'read'))).status, 403);
    assert.equal((await ask(server, 'GET', '/keys', as('root', 'admin'))).status, 200);
    assert.equal((await ask(server, 'GET', '/jobs', as('x'.repeat(300), 'read'))).status, 401);
    assert.equal((await ask(server, 'GET', '/jobs', as('', 'read'))).status, 401);
    assert.equal((await ask(server, 'GET', '/session', as('anna', 'read'))).body.name, 'anna');
    // A key is no identity here.
    const key = makeKey(server.folder, { scope: 'admin' });
    assert.equal((await ask(server, 'GET', '/jobs', { key })).status, 401);
    // A proxy that adds its line behind the client's own does not say clearly who asks.
    const twice = await raw(server, 'GET /jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Remote-User: root\r\n' +
      'X-Remote-User: anna\r\nX-Remote-Groups: admin\r\n\r\n');
    assert.match(twice, /^HTTP\/1\.1 401 /);
    const groups = await raw(server, 'GET /jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Remote-User: anna\r\n' +
      'X-Remote-Groups: admin\r\nX-Remote-Groups: read\r\n\r\n');
    assert.match(groups, /^HTTP\/1\.1 401 /);
    await server.stop();
  });

  test('refuses the header from anywhere else, whatever X-Forwarded-For says', async () => {
    const server = await startServer({ env: { AUTH: 'proxy', TRUSTED_PROXIES: '10.9.9.9', AUTH_PROXY_HEADER: 'Remote-User' } });
    for (const forwarded of [undefined, '10.9.9.9', '127.0.0.1', '1.2.3.4, 10.9.9.9']) {
      const headers = { 'remote-user': 'root', ...(forwarded ? { 'x-forwarded-for': forwarded } : {}) };
      const answer = await ask(server, 'GET', '/jobs', { headers });
      assert.equal(answer.status, 401);
      assert.match(answer.body.detail, /proxy/);
    }
    await server.stop();
  });

  test('each user has their own jobs', needsModel, async () => {
    const server = await startServer({ env: { AUTH: 'proxy' } });
    const as = (user) => ({ headers: { 'x-remote-user': Buffer.from(user).toString('latin1') } });
    const made = await ask(server, 'POST', '/transcribe', { ...as('änna'), body: form(wav()) });
    assert.equal(made.status, 202);
    const where = `/jobs/${made.body.job_id}`;
    assert.equal((await ask(server, 'GET', where, as('änna'))).status, 200);
    assert.equal((await ask(server, 'GET', where, as('bert'))).status, 404);
    assert.equal((await ask(server, 'DELETE', where, as('bert'))).status, 404);
    assert.equal((await ask(server, 'GET', '/jobs', as('bert'))).body.total, 0);
    // Half a character is no name.
    assert.equal((await ask(server, 'GET', '/jobs', { headers: { 'x-remote-user': '\u00e4nna' } })).status, 401);
    assert.equal((await ask(server, 'GET', '/keys', as('änna'))).status, 403);
    await server.stop();
  });
});

describe('the rate limit', () => {
  const upload = (server, key, headers) => ask(server, 'POST', '/transcribe',
    { key, headers, body: form(wav(), 'a.wav', { task: 'nonsense' }) });

  test('counts per address and per key, and says what is left', async () => {
    const server = await startServer({ env: { RATE_LIMIT: '3/hour', AUTH: 'key' } });
    const [a, b] = [makeKey(server.folder), makeKey(server.folder)];
    // Without a key nothing is counted: it does not get so far.
    assert.equal((await upload(server, unknownKey)).status, 401);
    const left = [];
    for (let i = 0; i < 4; i += 1) {
      const answer = await upload(server, a, { 'x-forwarded-for': `203.0.113.${i}` });
      left.push([answer.status, answer.headers.get('ratelimit-limit'), answer.headers.get('ratelimit-remaining')]);
      assert.ok(Number(answer.headers.get('ratelimit-reset')) > 0);
      if (i === 3) {
        assert.equal(answer.body.error_code, 'rate_limited');
        assert.match(answer.body.detail, /with this key/);
        assert.ok(Number(answer.headers.get('retry-after')) > 1000);
      }
    }
    assert.deepEqual(left, [[400, '3', '2'], [400, '3', '1'], [400, '3', '0'], [429, '3', '0']]);
    assert.equal((await upload(server, b, { 'x-forwarded-for': '203.0.113.99' })).status, 400);
    assert.equal((await ask(server, 'GET', '/jobs', { key: a })).status, 200);
    const admin = makeKey(server.folder, { scope: 'admin' });
    const { body } = await ask(server, 'GET', '/audit', { key: admin });
    assert.equal(body.events.find((each) => each.event === 'rate_limited').caller, idOf(a));
    await server.stop();
  });

  test('is not evaded by a forged X-Forwarded-For', async () => {
    const server = await startServer({ env: { RATE_LIMIT: '2/hour', TRUSTED_PROXIES: '10.9.9.9' } });
    const statuses = [];
    for (let i = 0; i < 3; i += 1) statuses.push((await upload(server, null, { 'x-forwarded-for': `203.0.113.${i}` })).status);
    assert.deepEqual(statuses, [400, 400, 429]);
    await server.stop();
  });
});

describe('the minutes of a day', needsModel, () => {
  test('are charged once the length is known, and refused when they are used up', async () => {
    const server = await startServer({ env: { AUTH: 'key', WORKER_CONCURRENCY: '1' } });
    const admin = makeKey(server.folder, { scope: 'admin' });
    const key = makeKey(server.folder, { 'minutes-per-day': 1 });
    const used = async () => (await ask(server, 'GET', '/keys', { key: admin })).body.keys
      .find((each) => each.id === idOf(key)).minutes_used_today;
    const ended = (id) => until(async () => (await ask(server, 'GET', `/jobs/${id}`, { key })).body,
      (job) => ['completed', 'failed'].includes(job.status));
    await ended(await submit(server, key, 30));
    assert.equal(await used(), 0.5);
    // There is something left, so the next is taken, though it is longer than that.
    await ended(await submit(server, key, 45));
    assert.equal(await used(), 1.25);
    const refused = await ask(server, 'POST', '/transcribe', { key, body: form(wav()) });
    assert.equal(refused.status, 429);
    assert.equal(refused.body.error_code, 'quota_exceeded');
    const now = new Date();
    const midnight = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + 1);
    assert.ok(Math.abs(Number(refused.headers.get('retry-after')) - (midnight - now) / 1000) < 30);
    // Reading goes on, and so do other keys.
    assert.equal((await ask(server, 'GET', '/jobs', { key })).status, 200);
    await submit(server, admin);
    assert.ok((await ask(server, 'GET', '/audit', { key: admin })).body.events.some((each) => each.event === 'quota_exceeded'));
    await server.stop();
  });

  test('count what waits and has no length yet by its size', async () => {
    const server = await startServer({ env: { AUTH: 'key', WORKER_CONCURRENCY: '1' } });
    const key = makeKey(server.folder, { 'minutes-per-day': 1 });
    // The only worker stands still: nothing is decoded.
    await until(() => fetch(`${server.url}/health/ready`), (response) => response.status === 200);
    const workers = fs.readdirSync(`/proc/${server.pid}/task`).flatMap((task) =>
      fs.readFileSync(`/proc/${server.pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number));
    assert.ok(workers.length > 0);
    workers.forEach((pid) => process.kill(pid, 'SIGSTOP'));
    const large = () => ask(server, 'POST', '/transcribe', { key, body: form(wav({ seconds: 400 })) });
    assert.equal((await large()).status, 202);
    const refused = await large();
    assert.equal(refused.status, 429, JSON.stringify(refused.body));
    assert.equal(refused.body.error_code, 'quota_exceeded');
    assert.ok(Number(refused.headers.get('retry-after')) <= 60);
    assert.match(refused.body.detail, /waiting/);
    workers.forEach((pid) => process.kill(pid, 'SIGCONT'));
    await server.stop();
  });
});

describe('the command', () => {
  test('teaches, and refuses with a sentence', () => {
    const folder = tempFolder();
    assert.match(keys(folder, ['--help']).out, /usage: .*keys create[^]*revoke[^]*exit codes/);
    for (const [args, words] of [
      [[], /create, ls, revoke/],
      [['make'], /no such verb/],
      [['create'], /--name/],
      [['create', '--name='], /1 to 100/],
      [['create', '--name=x', '--scope=write'], /"write".*read, transcribe and admin/],
      [['create', '--name=x', '--expires=soon'], /"soon".*30d/],
      [['create', '--name=x', '--expires=2020-01-01'], /passed/],
      [['create', '--name=x', '--minutes-per-day=many'], /"many"/],
      [['create', 'x'], /options only/],
      [['ls', '--name=x'], /for create/],
      [['revoke'], /which/],
      [['ls', '--colour'], /--colour/],
    ]) {
      const r = keys(folder, args);
      assert.equal(r.code, 2, args.join(' '));
      assert.match(r.err, words);
      assert.equal(r.out, '');
    }
    assert.equal(fs.existsSync(path.join(folder, 'data')), false);
    // In the wrong folder nothing is made up.
    for (const args of onServer ? [] : [['ls'], ['revoke', '0123456789abcdef']]) {
      const r = keys(folder, args);
      assert.equal(r.code, 1);
      assert.match(r.err, /no database at data\/app\.db.*--database-url/);
    }
    assert.equal(fs.existsSync(path.join(folder, 'data')), false);
    makeKey(folder);
    const missing = keys(folder, ['revoke', 'nothing']);
    assert.equal(missing.code, 1);
    assert.match(missing.err, /"nothing" is not the id of a key/);
    assert.match(keys(folder, ['revoke', '0123456789abcdef']).err, /there is no key 0123456789abcdef/);
  });

  test('makes, lists and revokes without a service', () => {
    const folder = tempFolder();
    const made = keys(folder, ['create', '--name', 'Büro', '--scope', 'transcribe', '--expires', '30d', '--minutes-per-day', '60']);
    assert.equal(made.code, 0, made.err);
    assert.match(made.out, /^wt_[0-9a-f]{16}_[\w-]{43}\n$/);
    const key = made.out.trim();
    const [listed] = JSON.parse(keys(folder, ['ls', '--json']).out);
    assert.deepEqual([listed.id, listed.name, listed.scopes, listed.state, listed.minutes_per_day],
      [idOf(key), 'Büro', ['transcribe'], 'active', 60]);
    const table = keys(folder, ['ls']).out;
    assert.match(table, new RegExp(`${idOf(key)} +active +transcribe .* 0\\.0/60 +Büro`));
    assert.ok(!table.includes(key.slice(-43)));
    assert.match(keys(folder, ['revoke', idOf(key)]).out, /revoked/);
    const again = keys(folder, ['revoke', idOf(key)]);
    assert.equal(again.code, 1);
    assert.match(again.err, /revoked already/);
    assert.equal(JSON.parse(keys(folder, ['ls', '--json']).out)[0].state, 'revoked');
    const json = JSON.parse(keys(folder, ['create', '--name=x', '--json']).out);
    assert.match(json.key, /^wt_/);
    assert.deepEqual(json.scopes, ['read', 'transcribe']);
    const file = path.join(folder, 'service.log');
    const logged = keys(folder, ['create', '--name=logged'], { LOG_FILE: file });
    const lines = fs.readFileSync(file, 'utf8');
    assert.match(lines, /audit: key_created by nobody from shell: [0-9a-f]{16}, "logged"/);
    assert.ok(!lines.includes(logged.out.trim().slice(-43)));
    if (onServer) return;
    const mode = fs.statSync(path.join(folder, 'data/app.db')).mode & 0o777;
    assert.equal(mode & 0o007, 0);
  });
});
