// The interface keeps what its description promises, whatever is sent.
//
// WT_PROPERTY_RUNS says how many requests are made up (300), WT_PROPERTY_SEED which (the
// same ones each time); a failure prints both, and the smallest request that fails.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { idOf, makeKey, routes } from '../lib/keys.mjs';
import { Description, requestsTo, show } from '../lib/openapi.mjs';
import {
  form, getJson, hasModel, models, startServer, tempFolder, transcribe, waitForJob, wav,
} from '../lib/server.mjs';

const numRuns = Number(process.env.WT_PROPERTY_RUNS ?? 300);
const seed = Number(process.env.WT_PROPERTY_SEED ?? 20261129);
const silence = wav({ seconds: 0.3 });
const files = [silence, wav({ seconds: 0.1, rate: 8000 }), Buffer.from('no recording'), Buffer.alloc(0), silence.subarray(0, 44), silence.subarray(0, 20)];
const unknownJob = '0190b5d0-aaaa-7bbb-8ccc-0123456789ab';

/** A folder with a model, and with a file that is none. */
function oneModel() {
  const folder = tempFolder();
  fs.writeFileSync(path.join(folder, 'ggml-other.bin'), Buffer.alloc(1000));
  fs.symlinkSync(path.join(models, 'ggml-tiny.bin'), path.join(folder, 'ggml-tiny.bin'));
  return folder;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });

/** Send; {status, type, text}. `text` is null where the body is not read. */
function send(server, { method, path: target, headers, body }) {
  return new Promise((resolve, reject) => {
    const length = body ? { 'content-length': body.length } : {};
    const request = http.request({ host: '127.0.0.1', port: server.port, agent, method, path: target, headers: { ...headers, ...length }, timeout: 120000 });
    request.on('timeout', () => request.destroy(new Error('no answer within two minutes')));
    request.on('error', reject);
    request.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode, headers: response.headers, type: '', text: null });
    });
    request.on('response', (response) => {
      const answer = { status: response.statusCode, headers: response.headers, type: (response.headers['content-type'] ?? '').split(';')[0] };
      const chunks = [];
      const whole = () => resolve({ ...answer, text: method === 'HEAD' ? null : Buffer.concat(chunks).toString() });
      if (answer.type === 'text/event-stream') {
        response.once('data', () => request.destroy());
        response.on('error', () => {});
        response.on('close', () => resolve({ ...answer, text: null }));
      } else if (response.headers['content-encoding'] === 'gzip') {
        response.resume();
        response.on('end', () => resolve({ ...answer, text: null }));
      } else {
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', whole);
        response.on('error', reject);
      }
    });
    request.end(body ?? undefined);
  });
}

/** The part of a path that stands where {name} does, decoded; null when it cannot be. */
function place(request, name) {
  const at = request.operation.path.split('/').indexOf(`{${name}}`);
  try {
    return decodeURIComponent(request.path.split('?')[0].split('/')[at]);
  } catch {
    return null;
  }
}

/** What would reach out into the world, or take away what the test stands on. */
function harmless(request, kept) {
  const { method, path: pattern } = request.operation;
  if (pattern === '/models/{name}/pull') return !kept.catalog.includes(place(request, 'name'));
  if (method === 'DELETE' && pattern === '/models/{name}') return place(request, 'name') !== 'tiny';
  if (method === 'DELETE' && pattern === '/keys/{id}') return !kept.keys.includes(place(request, 'id'));
  if (pattern === '/admin/queue/purge-dead') return false; // nothing may be purged that the test stands on
  if (method === 'DELETE' && pattern === '/jobs/{id}') return place(request, 'id') !== kept.job;
  return true;
}

/** What holds for every answer. */
function check(description, request, answer) {
  const { operation } = request;
  assert.ok(answer.status < 500 || answer.status === 503, `${answer.status}: ${answer.text}`);
  assert.equal(description.judge(operation, answer), null);
  if (operation.method !== 'GET' || !request.plain) return;
  if (request.query.every(([, , , right]) => right) && !/%(?![0-9A-F]{2})|%ff|%c0|%00|%ed/.test(request.path)) {
    assert.notEqual(answer.status, 400, `what is described is refused: ${answer.text}`);
  }
  const names = request.query.map(([name]) => name);
  const clear = request.query.filter(([name, , schema]) => schema && names.indexOf(name) === names.lastIndexOf(name));
  const wrong = clear.find(([, text, schema]) => description.forbids(schema, text));
  if (wrong) assert.ok(answer.status >= 400, `"${wrong[0]}" must not be "${wrong[1]}", but that was answered with ${answer.status}`);
}

async function property(t, arbitrary, judge, runs = numRuns) {
  const seen = new Map();
  await fc.assert(fc.asyncProperty(arbitrary, async (request) => {
    const status = await judge(request);
    seen.set(status, (seen.get(status) ?? 0) + 1);
  }), { numRuns: runs, seed, includeErrorInReport: true });
  t.diagnostic(`seed ${seed}, ${runs} runs, answered with ${[...seen].sort().map(([s, n]) => `${s}: ${n}`).join(', ')}`);
}

describe('what is described', { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' }, () => {
  let server;
  let description;
  const kept = { keys: [] };

  async function begin(env) {
    server = await startServer({ env: { WHISPER_MODEL_DIR: oneModel(), DEFAULT_WHISPER_MODEL: '', ...env } });
    description = new Description(await (await fetch(`${server.url}/openapi.json`)).json());
  }

  async function learnCatalog(headers = {}) {
    const { models: list, voice_detector: detector } = (await getJson(server, '/models', { headers })).body;
    kept.catalog = [...list.map((m) => m.name), detector.name];
  }

  function arbitrary(known) {
    return fc.oneof(...description.operations.map((o) => requestsTo(description, o, { known, files }))).filter((r) => harmless(r, kept));
  }

  const places = (jobs, keys) => ({
    '/assets/{name}:name': ['app.js', 'style.css', 'index.html', 'icon.svg', 'openapi.json'],
    '/keys/{id}:id': keys,
    '/v1/models/{id}:id': ['tiny', 'whisper-1', 'base'],
    name: ['tiny', 'other', 'base', 'silero', 'default'],
    id: [...jobs, unknownJob],
  });

  describe('holds where nobody is asked', () => {
    const jobs = [];
    before(async () => {
      await begin({ AUTH: 'off' });
      await learnCatalog();
      const speech = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));
      for (const bytes of [speech, silence, Buffer.from('RIFF nothing'.padEnd(200, ' '))]) {
        const { body } = await transcribe(server, form(bytes, 'a.wav', { word_timestamps: 'true' }));
        if (!body.job_id) continue;
        jobs.push(body.job_id);
        await waitForJob(server, body.job_id);
      }
      [kept.job] = jobs;
    });
    after(() => server?.stop());

    async function ask(request) {
      const answer = await send(server, request).catch((e) => assert.fail(`${e}\n${show(request)}\n${server.log().slice(-2000)}`));
      try {
        check(description, request, answer);
      } catch (e) {
        e.message += `\n${show(request)}`;
        throw e;
      }
      return answer.status;
    }

    test('for requests right and wrong', (t) => property(t, arbitrary(places(jobs, [])), ask));

    test('for many of them at once', async (t) => {
      const eight = fc.array(arbitrary(places(jobs, [])), { minLength: 8, maxLength: 8 });
      await property(t, eight, async (list) => Math.max(...await Promise.all(list.map(ask))), Math.ceil(numRuns / 10));
    });

    test('for methods that a path does not have', async (t) => {
      const paths = Object.keys(description.document.paths);
      const requests = fc.tuple(fc.constantFrom(...paths), fc.constantFrom('POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'TRACE', 'GET'))
        .filter(([p, m]) => !description.operation(m, p) && !(p === '/models/default' && description.operation(m, '/models/{name}')));
      await property(t, requests, async ([pattern, method]) => {
        const answer = await send(server, { method, path: pattern.replace(/\{\w+\}/g, 'x'), headers: {}, body: null });
        assert.equal(answer.status, 405, `${method} ${pattern}: ${answer.text}`);
        const shape = pattern.startsWith('/v1/') ? 'OpenAIError' : 'Error';
        assert.equal(description.errors(`/components/schemas/${shape}`, JSON.parse(answer.text)), null);
        for (const allowed of answer.headers.allow.split(', ')) {
          assert.ok(description.operations.some((o) => o.method === allowed || allowed === 'HEAD'), allowed);
        }
        return answer.status;
      });
    });

    test('and the service still works', async () => {
      assert.equal((await getJson(server, '/health/ready')).status, 200);
      assert.equal((await getJson(server, `/jobs/${kept.job}`)).body.status, 'completed');
      assert.doesNotMatch(server.log(), /Sanitizer|crash/);
    });
  });

  describe('holds where keys are asked for', () => {
    const callers = [];
    const others = ['0123456789abcdef'];
    before(async () => {
      await begin({ AUTH: 'key' });
      const make = (scopes, scope) => {
        const key = makeKey(server.folder, { scope, name: scope });
        kept.keys.push(idOf(key));
        const basic = Buffer.from(`:${key}`).toString('base64');
        callers.push({ scopes, headers: { authorization: `Bearer ${key}` } }, { scopes, headers: { 'x-api-key': key } }, { scopes, headers: { authorization: `Basic ${basic}` } });
        return key;
      };
      const admin = make(['public', 'caller', 'read', 'transcribe', 'admin'], 'admin');
      make(['public', 'caller', 'read'], 'read');
      make(['public', 'caller', 'transcribe'], 'transcribe');
      for (let i = 0; i < 5; i++) others.push(idOf(makeKey(server.folder, { name: `other ${i}` })));
      const unknown = `wt_0123456789abcdef_${'A'.repeat(43)}`;
      callers.push({ scopes: ['public'], headers: {} }, { scopes: ['public'], headers: { authorization: `Bearer ${unknown}` } },
        { scopes: ['public'], headers: { cookie: 'wt_session=0123456789abcdef' } });
      await learnCatalog({ authorization: `Bearer ${admin}` });
    });
    after(() => server?.stop());

    test('for callers of every kind, and none gets what is not theirs', async (t) => {
      const table = new Map(routes().map((r) => [`${r.method} ${r.path}`, r.access]));
      const requests = fc.tuple(arbitrary(places([], others)), fc.constantFrom(...callers));
      await property(t, requests, async ([request, caller]) => {
        const { authorization, cookie, 'x-api-key': key, ...headers } = request.headers;
        const asked = { ...request, headers: { ...headers, ...caller.headers } };
        const answer = await send(server, asked).catch((e) => assert.fail(`${e}\n${show(asked)}\n${server.log().slice(-2000)}`));
        try {
          check(description, asked, answer);
          const { operation } = request;
          if (!caller.scopes.includes(table.get(`${operation.method} ${operation.path}`))) assert.ok(answer.status >= 400, `${answer.status}`);
        } catch (e) {
          e.message += `\n${show(asked)}`;
          throw e;
        }
        return answer.status;
      });
    });
  });
});
