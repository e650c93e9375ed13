// Clocks jump by hours on one process: no lease is lost or doubled, nothing is deleted early,
// no retry comes at once or hours late, and what is due by true time goes.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, test } from 'node:test';
import { clock, skip as needsClock } from '../lib/clock.mjs';
import { chance, kinds, place, seed, size, sleep } from '../lib/faults.mjs';
import { redis } from '../lib/redis.mjs';
import { children, form, hasEnded, hold, until, wav } from '../lib/server.mjs';
import { long } from '../lib/worker.mjs';

const HOUR = 3600;
const DAY = 24 * HOUR;
const jumps = [5 * HOUR, -5 * HOUR, 40 * DAY, -40 * DAY];
const show = (seconds) => `${seconds > 0 ? '+' : ''}${seconds / HOUR} h`;
const limit = { timeout: size(600000, 1200000) };
const speech = long(size(90, 900));
/** The pause before the second try of a webhook is one to three seconds. */
const PAUSE_MS = [900, 3000];
/** What a busy machine may add to what is due within seconds. */
const LATE_MS = 120000;

/** A connection that is kept open may break while this process asks the database. */
const ask = (...request) => fetch(...request).catch(() => fetch(...request));
const jobOf = async (server, id) => (await ask(`${server.url}/jobs/${id}`)).json();
const waitForJob = (server, id) => until(() => jobOf(server, id), hasEnded);

async function submit(server, bytes, { key, ...fields } = {}) {
  const response = await ask(`${server.url}/transcribe`, {
    method: 'POST', body: form(bytes, 'talk.wav', { language: 'en', ...fields }), headers: key ? { 'Idempotency-Key': key } : {},
  });
  const body = await response.json();
  assert.ok(response.ok, JSON.stringify(body));
  return { id: body.job_id, status: response.status };
}

/** An upload of which half has come. */
async function halfUpload(server) {
  const bytes = wav({ seconds: 2 });
  const head = { 'Tus-Resumable': '1.0.0' };
  const made = await ask(`${server.url}/uploads`, {
    method: 'POST', headers: { ...head, 'Upload-Length': String(bytes.length), 'Upload-Metadata': `filename ${btoa('half.wav')}` },
  });
  assert.equal(made.status, 201, await made.text());
  const where = new URL(made.headers.get('location'), server.url).pathname;
  const half = bytes.length / 2;
  const send = async (to, offset, part) => {
    const answer = await ask(to.url + where, {
      method: 'PATCH', body: part, headers: { ...head, 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream' },
    });
    assert.equal(answer.status, 204, await answer.text());
  };
  await send(server, 0, bytes.subarray(0, half));
  return {
    id: where.split('/').at(-1),
    offset: async (from) => Number((await ask(from.url + where, { method: 'HEAD', headers: head })).headers.get('upload-offset')),
    half,
    finish: (to) => send(to, half, bytes.subarray(half)),
  };
}

/** Refuses the first call at each address. */
async function receiver() {
  const calls = [];
  const server = http.createServer((request, response) => {
    request.resume().on('end', () => {
      calls.push({ url: request.url, at: performance.now() });
      response.writeHead(calls.filter(({ url }) => url === request.url).length > 1 ? 204 : 500).end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();
  const { port } = server.address();
  return { port, url: (name) => `http://127.0.0.1:${port}/${name}`, at: (name) => calls.filter(({ url }) => url === `/${name}`).map(({ at }) => at) };
}

/** A service whose clock can be set, and, where there may be several processes, workers. */
async function start(kind, hooks) {
  const at = await place(kind, {
    env: { UPLOAD_RETENTION_DAYS: '7', TRANSCRIPT_RETENTION_DAYS: '30', WEBHOOK_ALLOW: `127.0.0.1:${hooks.port}` },
  });
  const shared = kind !== 'sqlite';
  const clocks = { server: clock() };
  const server = () => at.serve({ ...clocks.server.env, ...(shared ? {} : { EMBEDDED_WORKERS: 'on' }) });
  const workers = [];
  for (let i = 0; shared && i < 2; i++) {
    const own = clock();
    workers.push({ clock: own, process: await at.work(own.env) });
  }
  return { at, shared, clocks, server, workers };
}

/** The one that has a job; its clock is the one that jumps, with that of the service. */
async function holder(s, server, id) {
  const [[owner]] = await soon(`somebody who takes ${id}`, () => s.at.rows(`SELECT owner FROM jobs WHERE id = '${id}' AND owner <> ''`), (rows) => rows.length > 0);
  const worker = s.workers.find(({ process: p }) => p.id === owner);
  return worker ?? { clock: s.clocks.server, process: server };
}

const attemptOf = (s, id) => Number(s.at.rows(`SELECT attempt FROM jobs WHERE id = '${id}'`)[0][0]);

/** Within the time that it takes, and an allowance for a busy machine. */
async function soon(what, ask, done) {
  const end = performance.now() + LATE_MS;
  return until(async () => {
    assert.ok(performance.now() < end, `${what}: not within ${LATE_MS} ms`);
    return ask();
  }, done);
}

/** A job whose worker dies while it has it; `its` is the process that tries it again. */
async function crash(s, server) {
  const processes = s.workers.length ? s.workers.map(({ process: p }) => p) : [server];
  // They stand still, so that the job does not end before.
  const goOn = await Promise.all(processes.map((p) => hold(p)));
  const { id } = await submit(server, wav());
  const its = await holder(s, server, id);
  const alive = children(its.process.pid);
  const pid = [...its.process.log().matchAll(/worker \d+ is up, process (\d+)/g)].map((m) => Number(m[1])).filter((each) => alive.includes(each)).at(-1);
  process.kill(pid, 'SIGKILL');
  goOn.forEach((go) => go());
  const end = () => its.process.log().split('\n').find((line) => line.includes(id) && /its worker died|put back/.test(line));
  const line = await soon('the death of a worker', end, Boolean);
  if (line.includes('its worker died')) return { id, its };
  await waitForJob(server, id); // it was dead before it was handed the job
  return crash(s, server);
}

/** What holds for every job at the end. */
function checkAll(s, logs) {
  assert.deepEqual(s.at.rows('SELECT job_id FROM job_events WHERE is_state AND status = \'completed\' GROUP BY job_id HAVING count(*) > 1'), [], 'ended twice');
  assert.deepEqual(s.at.rows('SELECT id FROM jobs WHERE completed_ms > 0 AND (completed_ms < started_ms OR started_ms < created_ms)'), [], 'times of a job go back');
  assert.deepEqual(s.at.rows('SELECT a.job_id FROM job_events a JOIN job_events b ON a.job_id = b.job_id AND a.number < b.number AND a.time_ms > b.time_ms + 1000'), [], 'times of the log go back');
  const began = new Map();
  for (const [, id, attempt] of logs().matchAll(/job=(\S{36}).* begun: attempt (\d+)/g)) {
    const name = `${id} ${attempt}`;
    assert.ok(!began.has(name), `attempt ${attempt} of ${id} was begun twice`);
    began.set(name, true);
  }
  const far = s.at.rows(`SELECT id FROM jobs WHERE created_ms > ${Date.now() + HOUR * 1000} OR created_ms < ${Date.now() - HOUR * 1000}`);
  assert.deepEqual(far, [], 'jobs with the time of a wrong clock');
}

/** While one recording is transcribed, and then around whatever waits for its time. */
async function live(kind, t) {
  const hooks = await receiver();
  const s = await start(kind, hooks);
  const server = await s.server();
  const logs = () => [server, ...s.workers.map(({ process: p }) => p)].map((p) => p.log()).join('\n');
  const random = chance(`live ${kind}`);
  const waits = [];
  const jump = (seconds, more) => [s.clocks.server, more?.clock].forEach((each) => each?.set(seconds));

  // A lease, held over all jumps by whoever transcribes.
  const { id } = await submit(server, speech);
  const one = await holder(s, server, id);
  let jumped = 0;
  for (let done = false; !done; jumped++) {
    jump(jumped % 2 ? 0 : random.pick(jumps), one);
    await sleep(random.between(100, 1200));
    done = (await jobOf(server, id)).status !== 'processing';
  }
  assert.equal((await waitForJob(server, id)).status, 'completed');
  assert.equal(attemptOf(s, id), 1, 'its lease was lost');
  assert.doesNotMatch(logs(), /took back \d+ lapsed/);
  jump(0, one);

  const upload = await halfUpload(server);
  const first = await submit(server, wav(), { key: 'first' });
  const dead = await submit(server, wav());
  await waitForJob(server, dead.id);
  s.at.change(`UPDATE jobs SET status = 'failed', error_code = 'crash', error_message = 'x' WHERE id = '${dead.id}'`);
  for (const seconds of jumps) {
    const name = `at${seconds}`;
    // One that waits for its next try …
    await submit(server, wav(), { webhook_url: hooks.url(name) });
    await soon('the first call', () => hooks.at(name).length, (n) => n === 1);
    jump(seconds);
    await soon(`a webhook after ${show(seconds)}`, () => hooks.at(name).length, (n) => n === 2);
    const [a, b] = hooks.at(name);
    waits.push(b - a);
    assert.ok(b - a > PAUSE_MS[0], `the webhook was tried again after ${b - a} ms`);
    // … keys that were used before, and are used again …
    const again = await submit(server, wav(), { key: 'first' });
    assert.deepEqual([again.id, again.status], [first.id, 200], `a key is forgotten after ${show(seconds)}`);
    const other = await submit(server, wav(), { key: name });
    assert.equal(await upload.offset(server), upload.half, `the upload is gone after ${show(seconds)}`);
    await soon('a job', async () => (await jobOf(server, other.id)).status, (status) => status === 'completed');
    const purge = await ask(`${server.url}/admin/queue/purge-dead`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"older_than_days": 1}',
    });
    assert.deepEqual(await purge.json(), { purged: 0 });
    jump(0);
    assert.equal((await submit(server, wav(), { key: name })).id, other.id, `a key is forgotten after ${show(seconds)} and back`);

    // … and a job that waits to be tried again, because the worker that had it died.
    const { id: crashed, its } = await crash(s, server);
    jump(seconds, its);
    await soon(`a retry after ${show(seconds)}`, () => attemptOf(s, crashed), (n) => n === 2);
    const ended = await waitForJob(server, crashed);
    assert.deepEqual([ended.status, attemptOf(s, crashed)], ['completed', 2]);
    jump(0, its);
  }
  await upload.finish(server);
  assert.equal((await waitForJob(server, upload.id)).status, 'completed');
  checkAll(s, logs);
  // Said once for each jump that was seen.
  const said = server.log().match(/ WARN\S* .*this machine's clock/g)?.length ?? 0;
  s.clocks.server.set(7 * HOUR);
  await soon('a word in the log', () => server.log().match(/ WARN\S* .*this machine's clock/g)?.length ?? 0, (n) => n === said + 1);
  s.clocks.server.set(0);
  await soon('a word in the log', () => server.log(), (text) => /this machine's clock (is as it was|agrees).*\s*$/.test(text.trim().split('\n').filter((line) => line.includes('clock')).at(-1)));
  await Promise.all([server.stop(), ...s.workers.map(({ process: p }) => p.stop())]);
  await s.at.redis?.kill();
  t.diagnostic(`clocks ${kind} (seed ${seed}): ${jumped} jumps under one lease, attempts 1; webhooks waited ${waits.map(Math.round).join(', ')} ms; ${jumps.length} retries, attempts 2`);
}

/** What a service deletes that begins with a wrong clock. */
async function retention(kind, t) {
  const hooks = await receiver();
  const s = await start(kind, hooks);
  let server = await s.server();
  const other = s.shared && await s.at.serve(); // so that nobody is alone with the storage
  const make = async (fields) => {
    const { id } = await submit(server, wav(), fields);
    // Not asked for at the service: a text that leaves nothing behind goes when it is read.
    await until(() => s.at.rows(`SELECT status FROM jobs WHERE id = '${id}'`)[0][0], (status) => status === 'completed');
    return id;
  };
  const ended = (id, seconds) => {
    const ms = Date.now() - seconds * 1000;
    s.at.change(`UPDATE jobs SET created_ms = ${ms - 2}, started_ms = ${ms - 1}, completed_ms = ${ms} WHERE id = '${id}'`);
  };
  const file = (id) => fs.existsSync(path.join(s.at.storage, 'uploads', id));
  const has = (table, id, more = '') => Number(s.at.rows(`SELECT count(*) FROM ${table} WHERE ${table === 'transcripts' ? 'job_id' : 'id'} = '${id}' ${more}`)[0][0]) === 1;

  const near = { recording: await make(), job: await make(), own: await make({ retain: '2' }), fleeting: await make({ retain: 'none' }), young: await make() };
  const keyed = await make({ key: 'kept' });
  const upload = await halfUpload(server);
  const due = [];
  for (let i = 0; i <= jumps.length; i++) due.push({ recording: await make(), job: await make(), fleeting: await make({ retain: 'none' }), upload: (await halfUpload(server)).id });
  await server.stop();
  ended(near.recording, 7 * DAY - 4 * HOUR);
  ended(near.job, 30 * DAY - 4 * HOUR);
  ended(near.own, 2 * DAY - 4 * HOUR);
  ended(near.fleeting, 600);
  s.at.change(`UPDATE request_keys SET created_ms = ${Date.now() - 20 * HOUR * 1000}`);
  s.at.change(`UPDATE uploads SET expires_ms = ${Date.now() + 4 * HOUR * 1000} WHERE id = '${upload.id}'`);
  s.at.change(`UPDATE job_events SET time_ms = ${Date.now() - 20 * HOUR * 1000}`);
  const [[oldest]] = s.at.rows('SELECT min(number) FROM job_events WHERE is_state');
  /** The name of a recording whose row another service is about to write. */
  const coming = () => {
    const hex = Date.now().toString(16).padStart(12, '0') + randomBytes(10).toString('hex');
    const id = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
    fs.writeFileSync(path.join(s.at.storage, 'uploads', id), 'x');
    return id;
  };
  const onTheWay = s.shared && coming();

  for (const [i, seconds] of [...jumps, 0].entries()) {
    ended(due[i].recording, 7 * DAY + 60);
    ended(due[i].job, 30 * DAY + 60);
    ended(due[i].fleeting, HOUR + 60);
    s.at.change(`UPDATE uploads SET expires_ms = ${Date.now() - 60000} WHERE id = '${due[i].upload}'`);
    s.clocks.server.set(seconds);
    server = await s.server();
    const when = `a start with a clock that is ${show(seconds)} wrong`;
    // The last things that it does when it looks for what is old are signs that it has looked.
    await soon(`the recording that is due, ${when}`, () => file(due[i].recording), (there) => !there);
    await soon(`the text that is due, ${when}`, () => has('transcripts', due[i].fleeting), (there) => !there);
    assert.ok(!has('jobs', due[i].job), `a job that is due is there after ${when}`);
    assert.ok(!has('uploads', due[i].upload), `an upload that is due is there after ${when}`);

    assert.ok(file(near.recording), `a recording was deleted early, ${when}`);
    assert.ok(has('jobs', near.job), `a job was deleted early, ${when}`);
    assert.ok(has('jobs', near.own), `a job that keeps its own time was deleted early, ${when}`);
    assert.ok(file(near.young) && has('transcripts', near.young), `a young job lost something, ${when}`);
    assert.ok(has('transcripts', near.fleeting), `what is to be fetched within the hour is gone, ${when}`);
    assert.ok(has('uploads', upload.id) && fs.readdirSync(path.join(s.at.storage, 'parts')).some((name) => name.startsWith(upload.id)), `an upload was deleted early, ${when}`);
    assert.equal(s.at.rows(`SELECT count(*) FROM job_events WHERE number = ${oldest}`)[0][0], '1', `the log was cut early, ${when}`);
    assert.equal((await submit(server, wav(), { key: 'kept' })).id, keyed, `a key was forgotten early, ${when}`);
    assert.equal(await upload.offset(server), upload.half);
    if (onTheWay) assert.ok(file(onTheWay), `a recording that another service is about to record was swept, ${when}`);
    await server.stop();
  }
  // Now their time has come.
  ended(near.recording, 7 * DAY + 60);
  ended(near.job, 30 * DAY + 60);
  ended(near.own, 2 * DAY + 60);
  ended(near.fleeting, HOUR + 60);
  s.at.change(`UPDATE uploads SET expires_ms = ${Date.now() - 60000}`);
  server = await s.server();
  await soon('the recording', () => file(near.recording), (there) => !there);
  await soon('the text', () => has('transcripts', near.fleeting), (there) => !there);
  assert.ok(!has('jobs', near.job) && !has('jobs', near.own) && !has('uploads', upload.id));
  assert.ok(file(near.young) && has('jobs', near.young));
  await Promise.all([server, other, ...s.workers.map(({ process: p }) => p)].filter(Boolean).map((p) => p.stop()));
  await s.at.redis?.kill();
  t.diagnostic(`clocks ${kind} (seed ${seed}): ${jumps.length} starts with a wrong clock, 0 deleted early, ${4 * due.length + 5} deleted when due`);
}

/** Redis' own clock, by which it keeps reservations, what is due later, and rates. */
async function redisItself(t) {
  const own = clock();
  const r = await redis({ env: own.env }).start();
  const at = await place('redis', { env: { RATE_LIMIT: '60/minute' }, redisUrl: r.url });
  const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
  const status = async (id) => (await jobOf(server, id)).status;
  const s = { at, workers: [], clocks: {} };
  const key = (name) => `wt:{${at.env.REDIS_NAMESPACE}}:${name}`;
  for (const seconds of jumps) {
    const { id: crashed } = await crash(s, server);
    // While nobody works: what waits is taken off Redis, as if it had never come there.
    const forgotten = await submit(server, wav());
    own.set(seconds);
    await r.ask('HDEL', key('jobs'), forgotten.id);
    await soon(`a retry after ${show(seconds)} at Redis`, () => attemptOf(s, crashed), (n) => n === 2);
    await soon('the job that Redis had lost', () => status(forgotten.id), (now) => now === 'completed');
    const more = await submit(server, wav());
    await soon('a job', () => status(more.id), (now) => now === 'completed');
    await soon('the retry', () => status(crashed), (now) => now === 'completed');
    assert.equal(attemptOf(s, crashed), 2);
    own.set(0);
    const last = await submit(server, wav());
    await soon(`a job after ${show(seconds)} at Redis, and back`, () => status(last.id), (now) => now === 'completed');
  }
  await server.stop();
  await r.kill();
  await at.redis.kill();
  t.diagnostic(`clocks of Redis (seed ${seed}): ${jumps.length} jumps and back, ${4 * jumps.length} jobs, attempts 2 of those whose worker died`);
}

describe('clocks that jump', { concurrency: 3 }, () => {
  for (const { name, skip } of kinds) {
    test(`${name}: no lease is lost or doubled, and what waits for its time comes in time`, { ...limit, skip: skip || needsClock }, (t) => live(name, t));
    if (name === 'redis') test('redis: its own clock may jump', { ...limit, skip: skip || needsClock }, redisItself);
    test(`${name}: nothing is deleted early, and what is due goes`, { ...limit, skip: skip || needsClock }, (t) => retention(name, t));
  }
});
