// PostgreSQL restarts, falls silent, runs out of connections, ends them, and loses the reply to
// COMMIT, under services and workers: each request is answered in time, with 503 and
// Retry-After at worst; nothing is lost, nothing is done twice.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { commits } from '../lib/commits.mjs';
import {
  chance, command, kinds, long, place, postgres, seed, size, sleep,
} from '../lib/faults.mjs';
import { History } from '../lib/history.mjs';
import {
  children, form, getJson, ticks, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { tcpProxy } from '../lib/tcp.mjs';
import { long as speech } from '../lib/worker.mjs';

const needs = { skip: kinds.find(({ name }) => name === 'postgresql').skip };
const working = { EMBEDDED_WORKERS: 'on' };
/** What a request may take while the database is away, by docs/api.md, and what a machine
 * may add that has much else to do. */
const IN_TIME = 10000;
const MARGIN = 5000;
const limit = { timeout: 600000 };
const soon = wav({ seconds: 1 });
const most = (list) => Math.round(Math.max(0, ...list));

/** Clients that submit one job after the other, and others that read, until they are stopped. */
function load(history, services, { writers = 6, readers = 2, pause = 30 } = {}) {
  const reads = [];
  let [over, failure] = [false, null];
  const guard = (work) => work.catch((error) => { over = true; failure ??= error; });
  const write = async (n) => {
    for (let i = 0; !over; i++) {
      await history.submit(() => services[(n + i) % services.length].url, `${n}-${i}`, soon);
      await sleep(pause);
    }
  };
  const read = async (n) => {
    for (let i = 0; !over; i++) {
      const id = history.ids.at(-1);
      const where = i % 2 && id ? `/jobs/${id}` : '/jobs?limit=5';
      const began = performance.now();
      const response = await fetch(services[n % services.length].url + where).catch(() => null);
      if (response) {
        await response.text();
        reads.push({ where, status: response.status, ms: performance.now() - began, retryAfter: response.headers.get('retry-after') });
      }
      await sleep(pause);
    }
  };
  const all = [...Array.from({ length: writers }, (_, n) => guard(write(n))), ...Array.from({ length: readers }, (_, n) => guard(read(n)))];
  return {
    reads,
    stop: async () => { over = true; await Promise.all(all); if (failure) throw failure; },
  };
}

/** In time, and no other 5xx than 503 with Retry-After. */
function judge(within, ...lists) {
  for (const answer of lists.flat()) {
    assert.ok(answer.ms < within + MARGIN, `answered after ${answer.ms} ms: ${JSON.stringify(answer)}`);
    if (answer.status === 503) assert.ok(answer.retryAfter, JSON.stringify(answer));
    else assert.ok(answer.status < 300, JSON.stringify(answer));
  }
}

/** All that was promised ends. */
const settle = (at) => until(() => valueOf(at, "SELECT count(*) FROM jobs WHERE status IN ('pending', 'processing')"), (n) => n === '0');
const valueOf = async (at, sql) => (await at.ask(sql))[0]?.[0] ?? '';

describe('PostgreSQL', needs, () => {
  test('two services see each other\'s jobs and hear of their changes', async () => {
    const at = await place('postgresql');
    const [a, b] = [await at.serve(working), await at.serve(working)];
    const statuses = [];
    const stream = new EventSource(`${b.url}/events`);
    stream.addEventListener('job', (event) => { statuses.push(JSON.parse(event.data)); });
    await once(stream, 'ready');
    const { body } = await transcribe(a, form(wav(), 'talk.wav'));
    await until(() => statuses.find((job) => job.status === 'completed'), Boolean);
    assert.ok(statuses.every((job) => job.job_id === body.job_id));
    const job = (await getJson(b, `/jobs/${body.job_id}`)).body;
    assert.equal(job.status, 'completed');
    assert.equal((await fetch(`${b.url}/jobs/${body.job_id}/download?format=txt`)).status, 200);
    stream.close();
    // A socket at one of them hears of a job at the other.
    const next = (await transcribe(a, form(wav({ seconds: 40 }), 'talk.wav'))).body;
    const socket = new WebSocket(`${b.url.replace('http', 'ws')}/ws/jobs/${next.job_id}`);
    const heard = [];
    socket.on('message', (text) => heard.push(JSON.parse(text)));
    await until(() => heard.find((m) => (m.status ?? m.job?.status) === 'completed'), Boolean);
    socket.close();
    assert.equal((await fetch(`${b.url}/jobs/${next.job_id}`, { method: 'DELETE' })).ok, true);
    assert.equal((await fetch(`${a.url}/jobs/${next.job_id}`)).status, 404);
    await Promise.all([a.stop(), b.stop()]);
  });

  test('a job is stopped on the other service', async () => {
    const at = await place('postgresql');
    const [a, b] = [await at.serve(working), await at.serve(working)];
    const { body } = await transcribe(a, form(wav({ seconds: 600, sample: tone }), 'long.wav'));
    await until(async () => (await getJson(a, `/jobs/${body.job_id}`)).body.status, (s) => s === 'processing');
    const cancel = async (server) => (await fetch(`${server.url}/jobs/${body.job_id}/cancel`, { method: 'POST' })).status;
    assert.equal(await cancel(b), 200);
    // Its worker is free for the next one at once, whichever of them has it.
    const ids = [];
    for (const server of [a, b]) ids.push((await transcribe(server, form(wav(), 'short.wav'))).body.job_id);
    for (const id of ids) assert.equal((await waitForJob(a, id)).status, 'completed');
    assert.equal((await getJson(a, `/jobs/${body.job_id}`)).body.status, 'cancelled');
    await Promise.all([a.stop(), b.stop()]);
  });

  test('a service that is killed leaves its job to the other', async () => {
    const at = await place('postgresql');
    const a = await at.serve(working);
    const long = wav({ seconds: 1800, sample: tone });
    const { body } = await transcribe(a, form(long, 'long.wav', { vad_filter: 'false', no_speech_threshold: '1' }));
    const job = () => getJson(a, `/jobs/${body.job_id}`).then((answer) => answer.body);
    assert.equal((await until(job, ({ progress }) => progress > 1)).status, 'processing');
    await a.kill();
    const began = Date.now();
    const b = await at.serve(working);
    await until(() => valueOf(at, `SELECT attempt FROM jobs WHERE id = '${body.job_id}'`).then(Number), (attempt) => attempt === 2);
    assert.ok(Date.now() - began < 20000);
    // It goes on where the other one was.
    assert.ok((await getJson(b, `/jobs/${body.job_id}`)).body.progress > 1);
    assert.equal((await fetch(`${b.url}/jobs/${body.job_id}`, { method: 'DELETE' })).ok, true);
    await b.stop();
  });

  test(`${size(6, 50)} restarts, a kill -9, ended and refused connections lose nothing and do nothing twice`, limit, async (t) => {
    t.diagnostic(`seed ${seed}`);
    const luck = chance('restarts');
    const at = await place('postgresql');
    const services = [await at.serve(), await at.serve()];
    const workers = [await at.work(), await at.work()];
    const history = new History();
    const clients = load(history, services);
    t.after(clients.stop);
    const { database } = at;
    for (let i = 0; i < size(6, 50); i++) {
      await sleep(luck.between(100, 900));
      await postgres().end();
      if (luck.random() < 0.3) await sleep(luck.between(0, 1500));
      await postgres().begin({ unready: luck.random() < 0.5 });
      if (i === 2) {
        await services[0].kill();
        services[0] = await at.serve();
      }
    }
    await until(() => postgres().ask('SELECT 1').catch(() => ''), (text) => text === '1');
    // An operator ends all connections, again and again.
    for (let i = 0; i < size(5, 30); i++) {
      await sleep(luck.between(20, 400));
      await postgres().ask(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${database}' AND pid <> pg_backend_pid()`);
    }
    // No connection is left: those of now end, and new ones are refused.
    await postgres().ask(`ALTER DATABASE "${database}" CONNECTION LIMIT 2`);
    await postgres().ask(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${database}' AND pid <> pg_backend_pid()`);
    await sleep(size(3000, 15000));
    await postgres().ask(`ALTER DATABASE "${database}" CONNECTION LIMIT -1`);
    await sleep(700);
    await clients.stop();
    // What an upload asks before its row, the row, and what became of it: each may meet a
    // restart of its own, and wait for it.
    judge(3 * IN_TIME, history.answers, clients.reads);
    await settle(at);
    const figures = history.check(at);
    const log = [...services, ...workers].map((each) => each.log()).join('');
    assert.ok(!log.includes(postgres().password), 'a password is in the log');
    t.diagnostic(`${JSON.stringify(figures)}; slowest upload ${most(history.answers.map(({ ms }) => ms))} ms, `
      + `slowest other ${most(clients.reads.map(({ ms }) => ms))} ms of ${clients.reads.length}, `
      + `${await valueOf(at, 'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()')} deadlocks`);
    for (const each of [...workers, ...services]) assert.equal((await each.stop()).code, 0);
  });

  describe('away from some', { concurrency: 5 }, () => {
    for (const whom of ['services', 'workers', 'both']) {
      test(`${size(12, 30)} s of silence for ${whom}`, limit, async (t) => {
        const luck = chance(`silence of ${whom}`);
        const between = await tcpProxy({ port: postgres().port });
        t.after(between.close);
        const at = await place('postgresql');
        const through = { DATABASE_URL: postgres().urlOf(at.database, between.port) };
        const serves = whom !== 'workers';
        const server = await at.serve(serves ? through : {});
        const worker = await at.work(whom !== 'services' ? through : {});
        const history = new History();
        const clients = load(history, [server], { writers: 2, readers: 2, pause: 200 });
        t.after(clients.stop);
        await sleep(luck.between(500, 1500));
        const done = () => valueOf(at, "SELECT count(*) FROM jobs WHERE status = 'completed'").then(Number);
        await until(done, (n) => n > 3);
        const began = performance.now();
        const [answers, reads] = [history.answers.length, clients.reads.length];
        between.silence(true);
        await sleep(size(12000, 30000));
        const meanwhile = history.answers.slice(answers);
        between.silence(false);
        const back = performance.now();
        await until(() => history.answers.slice(answers + meanwhile.length).some(({ status }) => status === 202), Boolean);
        const accepted = performance.now() - back;
        const before = await done();
        await until(done, (n) => n > before);
        const goneOn = performance.now() - back;
        await clients.stop();
        judge(IN_TIME, history.answers, clients.reads);
        await settle(at);
        const figures = history.check(at);
        const told = [...history.answers.slice(answers), ...clients.reads.slice(reads)];
        const refused = told.filter(({ status }) => status === 503);
        if (serves) {
          assert.ok(refused.length > 0, 'nobody was told');
          // Once it is known, nobody waits for it.
          const later = refused.slice(-5).map(({ ms }) => ms);
          assert.ok(Math.min(...later) < 1000, `${later} ms`);
        } else {
          assert.equal(refused.length, 0);
        }
        t.diagnostic(`${JSON.stringify(figures)}; slowest answer ${most(told.map(({ ms }) => ms))} ms, ${refused.length} times 503, `
          + `accepted again after ${Math.round(accepted)} ms, done again after ${Math.round(goneOn)} ms, in all ${Math.round(back - began)} ms of silence`);
        await Promise.all([server.stop(), worker.stop()]);
      });
    }

    test('workers go on with what they have, and write it down later, as long as their leases hold', limit, async (t) => {
      const between = await tcpProxy({ port: postgres().port });
      t.after(between.close);
      const at = await place('postgresql');
      const server = await at.serve();
      const worker = await at.work({ DATABASE_URL: postgres().urlOf(at.database, between.port) });
      const { body } = await transcribe(server, form(speech(600), 'talk.wav'));
      const frame = () => valueOf(at, `SELECT next_frame FROM jobs WHERE id = '${body.job_id}'`).then(Number);
      // Just after a renewal, which comes every five seconds and is good for fifteen.
      const lease = () => valueOf(at, `SELECT lease_until_ms FROM jobs WHERE id = '${body.job_id}'`);
      await until(frame, (n) => n > 3000);
      const first = await lease();
      await until(lease, (ms) => ms !== first);
      between.silence(true);
      const saved = await frame();
      const used = () => children(worker.pid).reduce((sum, pid) => sum + ticks(pid), 0);
      const before = used();
      await sleep(7000);
      assert.equal(await frame(), saved);
      const worked = used() - before;
      between.silence(false);
      const back = performance.now();
      const next = await until(frame, (n) => n > saved);
      const after = performance.now() - back;
      assert.ok(worked > 10, `its process had ${worked * 10} ms of a processor`);
      if (long) assert.equal((await waitForJob(server, body.job_id)).status, 'completed');
      assert.equal(await valueOf(at, `SELECT attempt FROM jobs WHERE id = '${body.job_id}'`), '1');
      t.diagnostic(`${(next - saved) / 100} s of the recording were done in 7 s of silence and written down ${Math.round(after)} ms after it`);
      assert.ok((await fetch(`${server.url}/jobs/${body.job_id}`, { method: 'DELETE' })).ok);
      await Promise.all([worker.stop(), server.stop()]);
    });

    test('a database that goes between a claim and its job does not fail the job', limit, async (t) => {
      const between = await tcpProxy({ port: postgres().port });
      t.after(between.close);
      const at = await place('postgresql');
      const seen = commits(between);
      const server = await at.serve();
      const worker = await at.work({ DATABASE_URL: postgres().urlOf(at.database, between.port) });
      const gone = new Promise((resolve) => {
        seen.on('UPDATE jobs(processing)', () => { between.refuse(true); between.cut(); resolve(); });
      });
      const { body } = await transcribe(server, form(soon, 'talk.wav'));
      await gone;
      await sleep(11000); // longer than one operation waits
      between.refuse(false);
      const job = await waitForJob(server, body.job_id);
      assert.equal(job.status, 'completed', job.error_message);
      await Promise.all([worker.stop(), server.stop()]);
    });
  });

  test(`the reply to COMMIT, and COMMIT itself, lost at ${long ? 'every kind' : 'some kinds'} of commit`, limit, async (t) => {
    t.diagnostic(`seed ${seed}`);
    const luck = chance('commits');
    const between = await tcpProxy({ port: postgres().port });
    const seen = commits(between);
    const heard = [];
    const there = http.createServer((request, response) => {
      if (request.method === 'POST') heard.push(request.url);
      response.end(request.method === 'GET' ? soon : 'thanks');
    }).listen(0, '127.0.0.1');
    await once(there, 'listening');
    t.after(() => { between.close(); there.close(); });
    const origin = `127.0.0.1:${there.address().port}`;
    const at = await place('postgresql', {
      env: { AUTH: 'off', DEFAULT_WHISPER_MODEL: '', URL_FETCH: 'on', URL_FETCH_ALLOW: origin, WEBHOOK_ALLOW: origin },
    });
    at.env.DATABASE_URL = postgres().urlOf(at.database, between.port);
    const server = await at.serve();
    const workers = { current: await at.work() };
    let round = 0;
    /** All kinds of a job's life, and what must have come of it. */
    const live = async () => {
      const n = ++round;
      const ask = async (method, where, body, headers = {}) => {
        const response = await fetch(server.url + where, { method, body, headers });
        const text = await response.text();
        assert.ok(response.ok, `${method} ${where}: ${response.status} ${text}`);
        return { headers: response.headers, body: text ? JSON.parse(text) : null };
      };
      const json = (method, where, value) => ask(method, where, JSON.stringify(value), { 'Content-Type': 'application/json' });
      const send = async (bytes, fields = {}) => (await ask('POST', '/transcribe', form(bytes, `${n}.wav`, fields), { 'Idempotency-Key': `${n} ${Object.keys(fields)} ${bytes?.length}` })).body.job_id;
      const tus = (method, where, headers, body) => ask(method, where, body, { 'Tus-Resumable': '1.0.0', ...headers });
      const ends = {};
      const expect = async (id, status) => { assert.equal((await waitForJob(server, id)).status, status); ends[id] = status; };
      // A key, a setting, a session of neither.
      const key = (await json('POST', '/keys', { name: `number ${n}`, scopes: ['read'] })).body;
      await json('DELETE', `/keys/${key.id ?? key.key.split('_')[1]}`, {});
      await json('PUT', '/models/default', { name: 'tiny' });
      // Sent, done, told.
      const told = await send(soon, { webhook_url: `http://${origin}/${n}` });
      await expect(told, 'completed');
      await until(() => valueOf(at, `SELECT state FROM webhook_outbox WHERE job_id = '${told}'`), (state) => state === 'delivered');
      assert.equal(heard.filter((url) => url === `/${n}`).length, 1, 'told twice');
      // Fetched.
      await expect(await send(null, { url: `http://${origin}/${n}.wav` }), 'completed');
      // Of no use.
      await expect(await send(Buffer.concat([soon.subarray(0, 44)])), 'failed');
      // Sent in pieces; and given up.
      const upload = (length) => tus('POST', '/uploads', { 'Upload-Length': String(length) }).then(({ headers }) => new URL(headers.get('location'), server.url).pathname);
      const piece = (where, from, to) => tus('PATCH', where, { 'Upload-Offset': String(from), 'Content-Type': 'application/offset+octet-stream' }, soon.subarray(from, to));
      const where = await upload(soon.length);
      await piece(where, 0, 1000);
      await piece(where, 1000);
      await expect(where.split('/').at(-1), 'completed');
      const other = await upload(soon.length);
      await piece(other, 0, 1000);
      await tus('DELETE', other, {});
      // Cancelled in the middle, tried again, its process killed, its worker stopped, deleted.
      const id = await send(speech(240));
      const frame = () => valueOf(at, `SELECT next_frame FROM jobs WHERE id = '${id}'`).then(Number);
      const attempt = () => valueOf(at, `SELECT attempt FROM jobs WHERE id = '${id}'`).then(Number);
      await until(frame, (f) => f > 0);
      await ask('POST', `/jobs/${id}/cancel`);
      await ask('POST', `/jobs/${id}/retry`);
      await until(attempt, (a) => a === 2);
      await until(frame, (f) => f > 0);
      children(workers.current.pid).forEach((pid) => { try { process.kill(pid, 'SIGKILL'); } catch { /* it was on its way */ } });
      await until(attempt, (a) => a === 3);
      assert.equal((await workers.current.stop()).code, 0);
      assert.equal(await valueOf(at, `SELECT status FROM jobs WHERE id = '${id}'`), 'pending');
      workers.current = await at.work();
      await until(attempt, (a) => a === 4);
      await ask('DELETE', `/jobs/${id}`);
      assert.equal(await attempt(), 0);
      for (const [job, status] of Object.entries(ends)) {
        const count = await valueOf(at, `SELECT count(*) FROM job_events WHERE job_id = '${job}' AND is_state AND status IN ('completed', 'failed', 'cancelled')`);
        assert.equal(count, '1', `${job} ended ${count} times`);
        assert.equal(await valueOf(at, `SELECT status || attempt FROM jobs WHERE id = '${job}'`), `${status}1`);
      }
      assert.equal(await valueOf(at, `SELECT count(*) FROM jobs WHERE original_filename = '${n}.wav'`), '3');
      assert.equal(await valueOf(at, `SELECT count(*) FROM keys WHERE name = 'number ${n}'`), '1');
    };
    await live();
    // What goes by the clock comes or does not.
    const byTime = /lapsed|lease_until|workers|left|^nothing$|^DELETE (commits|audio_usage)$|schema_version|, DELETE job_(sources|webhooks)$/
    const names = [...seen.names.keys()].filter((name) => !byTime.test(name)).sort();
    const cuts = luck.shuffle(names.flatMap((name) => [[name, 'answer'], [name, 'question']]));
    t.diagnostic(`${names.length} kinds of commit: ${names.join('; ')}`);
    assert.ok(names.length > 20, 'kinds are missing');
    const rounds = size(1, 8);
    const each = size(14, Math.ceil(cuts.length / rounds));
    for (let i = 0; i < rounds; i++) {
      // A question that was lost is asked again, an answer is not.
      const now = cuts.slice(i * each, (i + 1) * each).sort(([, a], [, b]) => b.localeCompare(a));
      const missing = new Set(now);
      for (const cut of now) seen.lose(...cut).then(() => missing.delete(cut));
      await live().catch((error) => {
        error.message = `with these lost: ${now.map((cut) => cut.reverse().join(' of ')).join('; ')}: ${error.message}`;
        throw error;
      });
      assert.deepEqual([...missing], [], 'were not lost');
    }
    assert.equal(await valueOf(at, 'SELECT count(*) FROM uploads WHERE NOT done'), '0');
    t.diagnostic(`${Math.min(cuts.length, rounds * each)} of ${cuts.length} lost, and no trace of it`);
    await Promise.all([workers.current.stop(), server.stop()]);
  });
});
