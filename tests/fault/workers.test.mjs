// Services without workers and workers on their own, on one PostgreSQL database and one
// storage folder: a job that comes in at either service is done by either worker, and one
// whose worker is stopped goes on elsewhere from where it was. What becomes of one whose
// worker is killed or stands still, jobs, half and stopped ask.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { available, Postgres } from '../lib/postgres.mjs';
import {
  binary, form, getJson, hasModel, models, startServer, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { long, startWorker } from '../lib/worker.mjs';

const needs = {
  skip: !available ? 'PostgreSQL is not installed (postgresql)'
    : !hasModel('tiny') ? 'ggml-tiny.bin is not in WT_TEST_MODELS' : false,
};
const limit = { timeout: 180000 };

/** A place for services and workers: a database and a storage folder. */
function place(postgres) {
  const storage = tempFolder();
  const first = tempFolder();
  postgres.url(first);
  const database = path.basename(first);
  const env = {
    DATABASE_URL: postgres.urlOf(database),
    STORAGE_DIR: storage,
    WORKER_CONCURRENCY: '1',
    WORKER_THREADS: '1',
  };
  return {
    env,
    serve: (more = {}) => startServer({ folder: tempFolder(), env: { ...env, EMBEDDED_WORKERS: 'off', ...more } }),
    work: (more = {}, args = []) => startWorker({ env: { ...env, ...more }, args }),
    shell: (...args) => spawnSync(binary, args, {
      encoding: 'utf8', cwd: tempFolder(), env: { PATH: process.env.PATH, WHISPER_MODEL_DIR: models, ...env },
    }),
    sql: (text) => postgres.sql(`SET search_path = whisper_transcriber; ${text}`, database).split('\n').at(-1),
  };
}

const ready = async (server) => (await fetch(`${server.url}/health/ready`)).status;
/** The seconds that a worker says it went on from; undefined: it did not. */
const wentOnFrom = (worker, id) => {
  const line = worker.log().split('\n').find((each) => each.includes(id) && each.includes('goes on from second'));
  return line && Number(/goes on from second (\d+)/.exec(line)[1]);
};

async function submit(server, bytes = wav(), name = 'talk.wav') {
  const { status, body } = await transcribe(server, form(bytes, name));
  assert.equal(status, 202, JSON.stringify(body));
  return body.job_id;
}

/** Wait until a job is some windows into its recording; its row then. */
function halfway(at, id) {
  const row = () => at.sql(`SELECT next_frame || ' ' || attempt || ' ' || coalesce(owner, '') FROM jobs WHERE id = '${id}'`).split(' ');
  return until(row, ([frame, , owner]) => {
    assert.ok(owner || !Number(frame), 'it was done too soon');
    return Number(frame) > 3000;
  });
}

describe('workers', needs, () => {
  const postgres = needs.skip ? null : new Postgres();

  test('what comes in at either service is done by either worker, and seen at both', limit, async () => {
    const at = place(postgres);
    const [a, b] = [await at.serve(), await at.serve()];
    assert.equal(await ready(a), 503);
    assert.match((await getJson(a, '/health/ready')).body.detail, /worker: none is alive/);
    const waiting = await submit(a); // accepted all the same
    const workers = [await at.work(), await at.work()];
    await until(() => ready(a), (status) => status === 200);
    assert.equal((await waitForJob(b, waiting)).status, 'completed');

    const heard = [];
    const stream = new EventSource(`${b.url}/events`);
    stream.addEventListener('job', (event) => heard.push(JSON.parse(event.data)));
    await once(stream, 'ready');
    const ids = [];
    // Recordings of this size are not done side by side: each worker has one of them.
    for (const server of [a, b]) ids.push(await submit(server, long()));
    for (const server of [a, b]) ids.push(await submit(server, long(60)));
    const socket = new WebSocket(`${b.url.replace('http', 'ws')}/ws/jobs/${ids[0]}`);
    const told = [];
    socket.on('message', (text) => told.push(JSON.parse(text)));
    for (const id of ids) assert.equal((await waitForJob(a, id)).status, 'completed');
    await until(() => heard.filter((job) => job.status === 'completed').length, (n) => n === ids.length);
    await until(() => told.find((m) => (m.status ?? m.job?.status) === 'completed'), Boolean);
    assert.ok(heard.some((job) => job.job_id === ids.at(-1) && job.progress > 0 && job.progress < 100));
    // Both worked, and each says what it had.
    for (const worker of workers) assert.ok(ids.some((id) => worker.log().includes(id)), 'a worker had nothing to do');
    stream.close();
    socket.close();
    for (const worker of workers) assert.deepEqual(await worker.stop(), { code: 0, signal: null });
    await Promise.all([a.stop(), b.stop()]);
  });

  test('SIGTERM hands a job on within two seconds', limit, async () => {
    const at = place(postgres);
    const server = await at.serve();
    const [one, two] = [await at.work(), await at.work()];
    const id = await submit(server, long());
    const [, , owner] = await halfway(at, id);
    const [leaving, other] = owner === one.id ? [one, two] : [two, one];
    const began = Date.now();
    const gone = leaving.stop();
    await until(() => wentOnFrom(other, id), (from) => from !== undefined);
    assert.ok(Date.now() - began < 2000, `${Date.now() - began} ms`);
    assert.ok(wentOnFrom(other, id) > 30);
    assert.deepEqual(await gone, { code: 0, signal: null });
    assert.equal(at.sql(`SELECT crashes FROM jobs WHERE id = '${id}'`), '0');
    assert.equal(at.sql(`SELECT count(*) FROM workers WHERE id = '${leaving.id}'`), '0');
    assert.equal((await waitForJob(server, id)).status, 'completed');
    await Promise.all([other.stop(), server.stop()]);
  });

  test('cancel, delete and retry reach it from any service within a second', limit, async () => {
    const at = place(postgres);
    const [a, b] = [await at.serve(), await at.serve()];
    const worker = await at.work();
    const call = async (server, method, where) => assert.ok((await fetch(server.url + where, { method })).ok);
    const free = async (began) => {
      // Whoever is free begins the next at once.
      const id = await submit(b);
      assert.equal((await waitForJob(a, id)).status, 'completed');
      assert.ok(Date.now() - began < 3000, `${Date.now() - began} ms`);
    };
    const id = await submit(a, long());
    await halfway(at, id);
    let began = Date.now();
    await call(b, 'POST', `/jobs/${id}/cancel`);
    await free(began);
    began = Date.now();
    await call(a, 'POST', `/jobs/${id}/retry`);
    await until(() => wentOnFrom(worker, id), (from) => from !== undefined);
    assert.ok(Date.now() - began < 1500, `${Date.now() - began} ms`);
    began = Date.now();
    await call(b, 'DELETE', `/jobs/${id}`);
    await free(began);
    assert.equal((await fetch(`${a.url}/jobs/${id}`)).status, 404);
    await Promise.all([worker.stop(), a.stop(), b.stop()]);
  });

  test('recordings are fetched, and ends are told, once and by a service', limit, async () => {
    const at = place(postgres);
    const asked = [];
    const there = http.createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.end(request.method === 'GET' ? wav() : 'thanks');
    }).listen(0, '127.0.0.1');
    await once(there, 'listening');
    const origin = `127.0.0.1:${there.address().port}`;
    const env = { URL_FETCH: 'on', URL_FETCH_ALLOW: origin, WEBHOOK_ALLOW: origin };
    const [a, b] = [await at.serve(env), await at.serve(env)];
    const worker = await at.work();
    const fields = { url: `http://${origin}/talk.wav`, webhook_url: `http://${origin}/hook` };
    const id = (await transcribe(a, form(null, '', fields))).body.job_id;
    assert.equal((await waitForJob(b, id)).status, 'completed');
    await until(() => at.sql('SELECT state FROM webhook_outbox'), (state) => state === 'delivered');
    assert.deepEqual(asked.sort(), ['GET /talk.wav', 'POST /hook']);
    await Promise.all([worker.stop(), a.stop(), b.stop()]);
    there.close();
  });

  test('a job whose model a worker lacks is left to others', limit, async () => {
    const at = place(postgres);
    const [here, there] = [tempFolder(), tempFolder()];
    const put = (folder, name) => fs.symlinkSync(path.join(models, 'ggml-tiny.bin'), path.join(folder, `ggml-${name}.bin`));
    for (const name of ['tiny', 'own']) put(here, name);
    put(there, 'tiny');
    const server = await at.serve({ WHISPER_MODEL_DIR: here });
    const ask = async (model) => (await transcribe(server, form(wav(), 'talk.wav', { model }))).body.job_id;
    const first = await ask('own');
    const second = await ask('tiny');
    const small = await at.work({ WHISPER_MODEL_DIR: here, MEMORY_LIMIT_MB: '1' });
    const worker = await at.work({ WHISPER_MODEL_DIR: there });
    assert.equal((await waitForJob(server, second)).status, 'completed');
    assert.equal(at.sql(`SELECT status || attempt FROM jobs WHERE id = '${first}'`), 'pending0');
    // As soon as the model is there, it takes it.
    put(there, 'own');
    assert.equal((await waitForJob(server, first)).status, 'completed');
    assert.equal(at.sql(`SELECT attempt FROM jobs WHERE id = '${first}'`), '1');
    // Nor did one take anything that has no room for it.
    assert.match(small.log(), /jobs of the model tiny are left to other workers: /);
    assert.ok(![first, second].some((id) => small.log().includes(id)));
    await Promise.all([small.stop(), worker.stop(), server.stop()]);
  });

  test('a second signal ends it at once', limit, async () => {
    const at = place(postgres);
    const server = await at.serve();
    const worker = await at.work();
    // It cannot hand back what it has while the database does not answer.
    const id = await submit(server, long());
    await halfway(at, id);
    postgres.stop();
    const gone = worker.end('SIGINT');
    await until(() => worker.log(), (log) => /stopping: SIGINT/.test(log));
    process.kill(worker.pid, 'SIGINT');
    assert.deepEqual(await gone, { code: null, signal: 'SIGINT' });
    postgres.start();
    await server.stop();
  });

  test('everybody can see who works, and who does not any more', limit, async () => {
    const at = place(postgres);
    const [server, both] = [await at.serve(), await at.serve({ EMBEDDED_WORKERS: 'on', WORKER_CONCURRENCY: '2' })];
    const worker = await at.work({}, ['--concurrency', '3', '--threads=2']);
    const list = async (from) => (await getJson(from, '/admin/workers')).body.workers;
    await until(() => list(server), (workers) => workers.length === 2);
    const [embedded, alone] = (await list(both)).sort((a, b) => Number(b.embedded) - Number(a.embedded));
    assert.equal(embedded.pid, both.pid);
    assert.equal(embedded.concurrency, 2);
    assert.deepEqual({ ...alone, models: [], silent_seconds: 0, started_at: '', host: '', version: '' }, {
      id: worker.id, pid: worker.pid, embedded: false, alive: true, threads: 2, concurrency: 3, jobs: 0,
      real_time_factor: null, models: [], silent_seconds: 0, started_at: '', host: '', version: '',
    });
    assert.ok(alone.models.includes('tiny') && alone.silent_seconds < 15);
    const metric = async (name) => Number(new RegExp(`^whisper_transcriber_${name} (.*)$`, 'm')
      .exec(await (await fetch(`${server.url}/metrics`)).text())[1]);
    assert.deepEqual([await metric('workers'), await metric('worker_concurrency')], [2, 5]);
    // What they have to do, and how fast they are.
    const ids = [await submit(server, long(60)), await submit(server, long(60))];
    for (const id of ids) assert.equal((await waitForJob(server, id)).status, 'completed');
    await until(() => list(server), (workers) => workers.some((each) => each.real_time_factor > 0));
    const shell = JSON.parse(at.shell('workers', 'ls', '--json').stdout);
    assert.deepEqual(shell.map((each) => each.id).sort(), [embedded.id, alone.id].sort());
    const text = at.shell('workers', 'ls');
    assert.equal(text.status, 0);
    assert.equal(text.stdout.trim().split('\n').length, 3);
    assert.equal(at.shell('workers').status, 2);
    assert.equal(at.shell('workers', 'rm').status, 2);
    // One that is killed is dead, and goes.
    await worker.kill();
    await until(() => list(server), (workers) => workers.some((each) => each.id === worker.id && !each.alive));
    assert.equal(await metric('workers'), 1);
    at.sql(`UPDATE workers SET beat_ms = beat_ms - 60000 WHERE id = '${worker.id}'`);
    await until(() => list(server), (workers) => workers.length === 1);
    await both.stop();
    assert.deepEqual(await list(server), []);
    await server.stop();
  });

  test('SQLite and a wrong command line are refused in a sentence', limit, () => {
    const run = (args, env = {}) => spawnSync(binary, ['worker', ...args], {
      encoding: 'utf8', cwd: tempFolder(), env: { PATH: process.env.PATH, ...env },
    });
    const sqlite = run([]);
    assert.equal(sqlite.status, 2);
    assert.match(sqlite.stderr, /^whisper-transcriber: worker: a file of SQLite belongs to one `serve`.*\n$/);
    assert.equal(run(['--frob']).status, 2);
    assert.equal(run(['--concurrency', 'x']).status, 2);
    const help = run(['--help']);
    assert.equal(help.status, 0);
    assert.match(help.stdout, /Exit codes: 0 stopped, 1 it could not start, 2/);
    const serve = spawnSync(binary, ['serve', '--port', '0'], {
      encoding: 'utf8', cwd: tempFolder(), env: { PATH: process.env.PATH, EMBEDDED_WORKERS: 'off' },
    });
    assert.equal(serve.status, 2);
    assert.match(serve.stderr, /EMBEDDED_WORKERS=off needs a database that several processes can share/);
  });
});
