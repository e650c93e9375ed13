// Who may: every route with every kind of key, and every way to be somebody.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { idOf, keys, makeKey, routes } from '../lib/keys.mjs';
import { databaseText, wanted as onServer } from '../lib/postgres.mjs';
import {
  form, getJson, hasModel, hold, raw, startServer, tempFolder, tone, until, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const unknownKey = `wt_0123456789abcdef_${'A'.repeat(43)}`;
/** An address of this machine that is not the loopback's, if there is one. */
const elsewhere = Object.values(os.networkInterfaces()).flat().find((each) => each.family === 'IPv4' && !each.internal)?.address;
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

/** A key that expires as soon as it can be made before that; at least a second from now. */
function shortLived(folder, scope) {
  for (let seconds = 2; ; seconds *= 2) {
    const at = `${new Date(Date.now() + 1000 * seconds).toISOString().slice(0, 19)}Z`;
    const { code, out, err } = keys(folder, ['create', '--name=brief', `--scope=${scope}`, `--expires=${at}`]);
    if (code === 0) return out.trim();
    assert.match(err, /passed/); // the machine is slow today
  }
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
  // Keys of every scope, which would do if they were valid.
  const invalid = ['none', 'wrong', 'malformed', ...['secret', 'expired', 'revoked']
    .flatMap((what) => ['read', 'transcribe', 'admin'].map((scope) => `${what} ${scope}`))];

  before(async () => {
    server = await startServer({ env: { AUTH: 'key', WORKER_CONCURRENCY: '1' } });
    for (const [name, set] of Object.entries(scopes)) key[name] = makeKey(server.folder, { name, scope: set.join(',') });
    key.wrong = unknownKey;
    key.malformed = 'sk-proj-something';
    for (const scope of ['read', 'transcribe', 'admin']) {
      const valid = key[scope];
      key[`secret ${scope}`] = valid.slice(0, -2) + (valid.endsWith('AA') ? 'BA' : 'AA');
      const revoked = makeKey(server.folder, { scope });
      assert.equal(keys(server.folder, ['revoke', idOf(revoked)]).code, 0);
      key[`revoked ${scope}`] = revoked;
      const brief = shortLived(server.folder, scope);
      await until(async () => (await ask(server, 'GET', '/session', { key: brief })).status, (status) => status === 401);
      key[`expired ${scope}`] = brief;
    }
  });
  after(async () => {
    isNowhere(server, Object.values(key).filter((text) => text.startsWith('wt_')));
    assert.equal((await server.stop()).code, 0);
  });

  const tus = { 'tus-resumable': '1.0.0', 'content-type': 'application/offset+octet-stream' };

  /** An upload of the owner's that lacks all its bytes; its id. */
  async function begun() {
    const made = await fetch(`${server.url}/uploads`, {
      method: 'POST', headers: { ...bearer(key.owner), 'tus-resumable': '1.0.0', 'upload-length': '100000' } });
    assert.equal(made.status, 201);
    return made.headers.get('location').slice('/uploads/'.length);
  }

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
    if (route.path.startsWith('/uploads')) {
      Object.assign(init.headers, tus, { 'upload-offset': '0' });
      if (route.kind === 'body') init.body = 'R';
    } else if (route.kind === 'form') init.body = route.path === '/transcribe' ? form(wav()) : new FormData();
    else if (route.kind === 'body') {
      init.body = '{}';
      init.headers['content-type'] = 'application/json';
    }
    const response = await fetch(server.url + where, init);
    const isJson = route.method !== 'HEAD' && response.headers.get('content-type')?.startsWith('application/json');
    const body = isJson ? await response.json() : await response.body?.cancel();
    return { code: response.status, headers: response.headers, body };
  }

  const sufficient = (route, name) => route.access === 'public' || scopes[name].includes('admin') ||
    (route.access === 'caller' ? scopes[name].length > 0 : scopes[name].includes(route.access));

  // Written down apart from the program's table: a route that was opened by mistake shows here.
  test('few routes are open, and none that changes something is for readers', () => {
    const named = (access) => routes().filter((route) => route.access === access).map((route) => `${route.method} ${route.path}`).sort();
    assert.deepEqual(named('public'), ['DELETE /session', 'GET /', 'GET /assets/{name}', 'GET /docs', 'GET /health/live',
      'GET /health/ready', 'GET /openapi.json', 'OPTIONS /uploads', 'OPTIONS /uploads/{id}', 'POST /session']);
    assert.deepEqual(named('caller'), ['GET /session']);
    for (const { method, path: where, access } of routes().filter((route) => !['public', 'caller'].includes(route.access))) {
      if (/^\/(keys|audit|admin)|\/hold$/.test(where) || (/^\/models/.test(where) && method !== 'GET')) assert.equal(access, 'admin', `${method} ${where}`);
      else if (method !== 'GET') assert.equal(access, 'transcribe', `${method} ${where}`);
      else assert.ok(['read', 'transcribe'].includes(access), `${method} ${where}: ${access}`);
    }
  });

  test('the list of routes is complete', () => {
    const all = routes().map((route) => `${route.method} ${route.path}`);
    for (const known of ['GET /', 'POST /transcribe', 'GET /jobs/{id}', 'GET /ws/jobs/{id}', 'POST /keys', 'GET /audit', 'GET /admin/workers']) {
      assert.ok(all.includes(known), known);
    }
    assert.equal(new Set(all).size, all.length);
  });

  for (const route of routes()) {
    const owned = /\/(jobs|uploads)\/\{id\}/.test(route.path) && route.access !== 'public';
    const make = () => (route.path.startsWith('/uploads') ? begun() : submit(server, key.owner));
    // What may not be read is not told the head of either.
    const also = route.method === 'GET' && route.kind !== 'websocket' ? ['HEAD'] : [];
    const where = (id) => route.path.replace('{id}', id).replace('{name}', 'none.bin');

    test(`${route.method} ${route.path} needs ${route.access}`, async () => {
      for (const name of invalid) {
        assert.ok(name === 'none' || key[name], name);
        const answer = await status(route, where(unknownJob), key[name]);
        if (route.access === 'public') {
          assert.ok(![401, 403].includes(answer.code) || route.path === '/session', `${name}: ${answer.code}`);
          continue;
        }
        assert.equal(answer.code, 401, `${name}: ${JSON.stringify(answer.body)}`);
        assert.match(answer.headers.get('www-authenticate'), /^Bearer/);
        if (route.path.startsWith('/v1/')) assert.equal(answer.body.error.code, 'invalid_api_key');
        else assert.equal(answer.body.error_code, 'unauthorized');
        for (const method of also) assert.equal((await status({ ...route, method }, where(unknownJob), key[name])).code, 401, `${name}: ${method}`);
      }
      for (const name of Object.keys(scopes)) {
        const id = owned && sufficient(route, name) ? await make() : unknownJob;
        const answer = await status(route, where(id), key[name]);
        if (!sufficient(route, name)) {
          assert.equal(answer.code, 403, `${name}: ${JSON.stringify(answer.body)}`);
          for (const method of also) assert.equal((await status({ ...route, method }, where(id), key[name])).code, 403, `${name}: ${method}`);
        } else if (owned && !['owner', 'admin'].includes(name)) {
          for (const method of also) assert.equal((await status({ ...route, method }, where(id), key[name])).code, 404, `${name}: ${method}`);
          assert.equal(answer.code, 404, `${name}: ${JSON.stringify(answer.body)}`);
        } else {
          assert.ok(![401, 403].includes(answer.code), `${name}: ${answer.code} ${JSON.stringify(answer.body)}`);
          if (owned) assert.doesNotMatch(answer.body?.detail ?? '', /there is no (job|upload|such upload)/i, name);
        }
      }
    });
  }

  test('an error says nothing of jobs that the caller may not see, whatever else is wrong', async () => {
    const id = await submit(server, key.owner);
    await until(async () => (await ask(server, 'GET', `/jobs/${id}`, { key: key.owner })).body.status, (s) => s === 'completed');
    const head = (method, where, who, more) => `${method} ${where} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n`
      + `${who ? `Authorization: Bearer ${key[who]}\r\n` : ''}${more}\r\n`;
    const own = /^(Date|X-Request-Id|RateLimit[^:]*|Content-Length): .*\r\n|"timestamp":"[^"]*"/gim;
    const wrongs = ['', 'Content-Length: 99999999\r\n', 'Content-Length: 3\r\nContent-Length: 3\r\n', 'Range: bytes=9-1\r\n',
      `X: ${'y'.repeat(20000)}\r\n`, 'Expect: 100-continue\r\nContent-Length: 70000\r\n', 'Origin: http://evil.example\r\n',
      'Upgrade: websocket\r\n', 'If-None-Match: *\r\n'];
    for (const where of ['/jobs/ID', '/jobs/ID/download?format=nonsense', '/jobs/ID/audio', '/jobs/ID/cancel', '/jobs/ID/retry', '/ws/jobs/ID', '/uploads/ID', '/jobs/ID/nothing']) {
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        for (const more of wrongs) {
          for (const who of ['', 'other']) {
            const [there, not] = await Promise.all([id, unknownJob].map(async (each) =>
              (await raw(server, head(method, where.replace('ID', each), who, more))).replace(own, '').replaceAll(each, 'ID')));
            assert.equal(there, not, `${method} ${where} ${who} ${more.slice(0, 40)}`);
          }
        }
      }
    }
    assert.equal((await ask(server, 'GET', `/jobs/${id}`, { key: key.owner })).body.status, 'completed');
  });

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

  test('several jobs are deleted at once, each key its own', async () => {
    const [first, second] = [await submit(server, key.owner), await submit(server, key.owner)];
    const others = await submit(server, key.other);
    const many = (name, ids) => ask(server, 'DELETE', `/jobs?ids=${ids.join(',')}`, { key: key[name] });
    const answer = await many('owner', [first, others, unknownJob, second, first]);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    assert.equal(answer.body.deleted, 2);
    const { results } = answer.body;
    assert.deepEqual(results.map((each) => [each.job_id, each.deleted, each.error_code]), [
      [first, true, undefined], [others, false, 'not_found'], [unknownJob, false, 'not_found'], [second, true, undefined],
    ]);
    assert.equal(results[1].detail.replace(others, 'ID'), results[2].detail.replace(unknownJob, 'ID'));
    for (const id of [first, second]) assert.equal((await ask(server, 'GET', `/jobs/${id}`, { key: key.owner })).status, 404);
    assert.equal((await ask(server, 'GET', `/jobs/${others}`, { key: key.other })).status, 200);
    assert.ok(!server.stored().some((file) => file.includes(first) || file.includes(second)));
    assert.equal((await many('admin', [others])).body.deleted, 1);
    for (const wrong of [[], ['x'], [first, ''], ['..', first], Array(101).fill(first)]) {
      const refused = await many('owner', wrong);
      assert.equal(refused.status, 400, wrong.join());
      assert.equal(refused.body.error_code, 'invalid');
    }
    assert.equal((await ask(server, 'DELETE', '/jobs', { key: key.owner })).status, 400);
    assert.equal((await many('owner', Array(100).fill(unknownJob))).status, 200);
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
    // At once: one after the other they would be few in a second where the disk is slow.
    const crowd = () => Promise.all(Array.from({ length: 30 }, () => ask(server, 'GET', '/jobs', { key: unknownKey })));
    for (let i = 0; i < 10; i += 1) await crowd();
    const seconds = Math.ceil((Date.now() - began) / 1000) + 1;
    assert.ok(await count() - before <= 5 * seconds, `${await count() - before} in ${seconds} s`);
    await until(async () => {
      await crowd();
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

  test('what is open ends within a second when its key is revoked, or expires, with nothing to tell', async () => {
    const made = await submit(server, key.admin);
    await until(async () => (await ask(server, 'GET', `/jobs/${made}`, { key: key.admin })).body.status, (s) => s === 'completed');
    /** When it ended, and how. */
    const listen = async (headers) => {
      const events = await fetch(`${server.url}/events`, { headers });
      assert.equal(events.status, 200);
      const reader = events.body.getReader();
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws/models/tiny`, { headers });
      await new Promise((resolve) => { socket.on('open', resolve); });
      const ends = [
        (async () => { while (!(await reader.read()).done); return Date.now(); })(),
        new Promise((resolve) => { socket.on('close', (code) => resolve(code === 1008 ? Date.now() : NaN)); }),
      ];
      return () => Promise.all(ends);
    };
    const doomed = makeKey(server.folder, { scope: 'admin' });
    const stays = await listen(bearer(key.admin));
    let open = true;
    stays().then(() => { open = false; }, () => {});
    let ended = await listen(bearer(doomed));
    const login = await postJson(server, '/session', { key: key.admin });
    const cookie = login.headers.get('set-cookie').split(';')[0];
    const session = await listen({ cookie });
    let from = Date.now();
    assert.equal(keys(server.folder, ['revoke', idOf(doomed)]).code, 0);
    for (const at of await ended()) assert.ok(at - from < 1500, `${at - from} ms`);
    from = Date.now();
    assert.equal((await ask(server, 'DELETE', '/session', { headers: { cookie } })).status, 200);
    for (const at of await session()) assert.ok(at - from < 1500, `${at - from} ms`);
    const expires = Math.ceil(Date.now() / 1000 + 2) * 1000;
    ended = await listen(bearer(makeKey(server.folder, { scope: 'admin', expires: `${new Date(expires).toISOString().slice(0, 19)}Z` })));
    for (const at of await ended()) assert.ok(at > expires - 100 && at < expires + 1500, `${at - expires} ms`);
    assert.ok(open);
  });

  test('a transcript that is being told ends with its key, with an error', async () => {
    const doomed = makeKey(server.folder);
    const speech = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url)).subarray(44);
    const long = wav({ seconds: speech.length / 32000 * 60 });
    for (let i = 0; i < 60; i++) speech.copy(long, 44 + i * speech.length);
    const body = form(long, 'a.wav', { model: 'tiny', stream: 'true' });
    const answer = await fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', headers: bearer(doomed), body });
    assert.equal(answer.status, 200);
    const from = Date.now();
    assert.equal(keys(server.folder, ['revoke', idOf(doomed)]).code, 0);
    const text = await answer.text();
    assert.ok(Date.now() - from < 2000);
    assert.match(text, /"invalid_api_key"/);
    assert.doesNotMatch(text, /transcript\.text\.done/);
    const [job] = (await ask(server, 'GET', '/jobs', { key: key.admin })).body.jobs;
    await ask(server, 'DELETE', `/jobs/${job.id}`, { key: key.admin });
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

describe('the name that a page calls a service by that asks nobody', () => {
  const page = { 'accept-language': 'en', 'accept-encoding': 'gzip, deflate' };
  let server, open;
  before(async () => {
    server = await startServer();
    open = await startServer({ env: { ALLOWED_HOSTS: 'a.example,.b.example' } });
  });
  after(async () => { await server.stop(); await open.stop(); });

  /** fetch() sends no Host of ours. */
  const say = (to, host, headers = {}, method = 'GET', where = '/jobs') => new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port: to.port, method, path: where, headers: { host, ...headers } }, async (response) => {
      let text = '';
      for await (const part of response) text += part;
      resolve({ status: response.statusCode, body: /json/.test(response.headers['content-type']) ? JSON.parse(text) : text });
    });
    request.on('error', reject).on('upgrade', (response, socket) => { socket.destroy(); resolve({ status: 101 }); }).end();
  });

  test('is refused when it may be a stranger\'s', async () => {
    const host = `evil.example:${server.port}`;
    for (const headers of [page, { origin: `http://${host}` }, { 'sec-fetch-site': 'same-origin' },
      { ...page, 'x-forwarded-host': 'localhost', 'x-forwarded-for': '10.0.0.1', 'user-agent': 'curl/8' }]) {
      const { status, body } = await say(server, host, headers);
      assert.equal(status, 403, JSON.stringify(headers));
      assert.equal(body.error_code, 'host_not_allowed');
      assert.match(body.detail, /ALLOWED_HOSTS/);
    }
    // Whatever would change something, of any door, and WebSockets.
    const origin = { ...page, origin: `http://${host}` };
    assert.equal((await say(server, host, origin, 'DELETE', `/jobs/${unknownJob}`)).status, 403);
    assert.equal((await say(server, host, origin, 'POST', '/transcribe')).status, 403);
    const { status, body } = await say(server, host, origin, 'GET', '/v1/models');
    assert.equal(status, 403);
    assert.equal(body.error.code, 'host_not_allowed');
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' };
    assert.equal((await say(server, host, { ...origin, ...upgrade }, 'GET', `/ws/jobs/${unknownJob}`)).status, 403);
  });

  test('is no matter for programs, nor where it can be nobody else\'s', async () => {
    const own = ['127.0.0.1', 'localhost', '[::1]', 'whisper', 'nas.local', '192.168.1.2', 'host.docker.internal'];
    for (const name of own) assert.equal((await say(server, `${name}:8000`, page)).status, 200, name);
    assert.equal((await say(server, 'transcribe.example')).status, 200);
    assert.equal((await say(server, 'transcribe.example', page, 'GET', '/health/live')).status, 200);
  });

  test('may be listed', async () => {
    for (const name of ['a.example', 'b.example', 'x.b.example:1']) assert.equal((await say(open, name, page)).status, 200, name);
    for (const name of ['x.a.example', 'evil.example']) assert.equal((await say(open, name, page)).status, 403, name);
  });

  test('is for the proxy to judge, where it stands elsewhere', async () => {
    const behind = await startServer({ env: { HOST: '0.0.0.0', AUTH: 'off', TRUSTED_PROXIES: elsewhere ?? '192.0.2.1' } });
    const ask = (host, localAddress) => new Promise((resolve, reject) => {
      http.get({ host: elsewhere, localAddress, port: behind.port, path: '/jobs', headers: { host, ...page } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).on('error', reject);
    });
    assert.equal((await say(behind, 'transcribe.example', page)).status, 403);
    if (elsewhere) assert.equal(await ask('transcribe.example', elsewhere), 200);
    assert.equal((await behind.stop()).code, 0);
  });

  test('is no matter with a key', async () => {
    const asked = await startServer({ env: { AUTH: 'key' } });
    const key = makeKey(asked.folder);
    assert.equal((await say(asked, 'transcribe.example', { ...page, ...bearer(key) })).status, 200);
    assert.equal((await say(asked, 'transcribe.example', page)).status, 401);
    assert.equal((await asked.stop()).code, 0);
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
    // All of it on one day.
    const left = 86400_000 - (Date.now() % 86400_000);
    if (left < 180_000) await new Promise((resolve) => { setTimeout(resolve, left); });
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
    const goOn = await hold(server);
    const large = () => ask(server, 'POST', '/transcribe', { key, body: form(wav({ seconds: 400 })) });
    assert.equal((await large()).status, 202);
    const refused = await large();
    assert.equal(refused.status, 429, JSON.stringify(refused.body));
    assert.equal(refused.body.error_code, 'quota_exceeded');
    assert.ok(Number(refused.headers.get('retry-after')) <= 60);
    assert.match(refused.body.detail, /waiting/);
    goOn();
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
