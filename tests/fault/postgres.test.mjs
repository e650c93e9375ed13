// Two services on one PostgreSQL database and one storage folder. The server restarts, or
// falls silent, and a service is killed, in the middle of requests: each is answered in
// time, with 503 and Retry-After at worst; nothing is lost, nothing is done twice.
import assert from 'node:assert/strict';
import net from 'node:net';
import path from 'node:path';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { available, Postgres } from '../lib/postgres.mjs';
import {
  form, getJson, hasModel, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needs = {
  skip: !available ? 'PostgreSQL is not installed (postgresql)'
    : !hasModel('tiny') ? 'ggml-tiny.bin is not in WT_TEST_MODELS' : false,
};
const restarts = Number(process.env.WT_FAULT_RESTARTS ?? 3);
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
/** What a request may take: what a query may, and a reconnection behind it. */
const IN_TIME = 30000;

/** A place for several services: a database, and folders with one storage. */
function place(postgres, port) {
  const storage = tempFolder();
  const first = tempFolder();
  postgres.url(first);
  const database = path.basename(first);
  const env = {
    DATABASE_URL: postgres.urlOf(database, port),
    STORAGE_DIR: storage,
    WORKER_CONCURRENCY: '1',
    WORKER_THREADS: '1',
  };
  return {
    database,
    env,
    start: () => startServer({ folder: tempFolder(), env }),
    sql: (text) => postgres.sql(`SET search_path = whisper_transcriber; ${text}`, database).split('\n').at(-1),
  };
}

/** A proxy that can fall silent: it takes everything and passes nothing on. */
async function proxy(port) {
  const pairs = new Set();
  let silent = false;
  const server = net.createServer((client) => {
    const upstream = net.connect(port, '127.0.0.1');
    const pair = [client, upstream];
    pairs.add(pair);
    pair.forEach((socket, i) => {
      socket.on('data', (data) => { if (!silent) pair[1 - i].write(data); });
      socket.on('error', () => {});
      socket.on('close', () => { pair[1 - i].destroy(); pairs.delete(pair); });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: server.address().port,
    silence: (on) => {
      silent = on;
      // What was swallowed cannot be told later.
      if (!on) for (const pair of pairs) pair.forEach((socket) => socket.destroy());
    },
    close: () => { for (const pair of pairs) pair.forEach((socket) => socket.destroy()); server.close(); },
  };
}

/** Upload until it is accepted, with a key that makes it happen once. */
async function upload(server, key, answers, bytes = wav()) {
  for (;;) {
    const began = Date.now();
    let response;
    try {
      response = await fetch(`${server().url}/transcribe`, {
        method: 'POST', body: form(bytes, `${key}.wav`), headers: { 'Idempotency-Key': key },
      });
    } catch {
      await sleep(50); // the service was killed
      continue;
    }
    const body = await response.json();
    answers.push({ status: response.status, ms: Date.now() - began, retryAfter: response.headers.get('retry-after'), body });
    if (response.ok) return body.job_id;
    assert.equal(response.status, 503, JSON.stringify(body));
    await sleep(100);
  }
}

function judge(answers) {
  for (const answer of answers) {
    assert.ok(answer.ms < IN_TIME, `${answer.ms} ms: ${JSON.stringify(answer)}`);
    if (answer.status === 503) assert.ok(answer.retryAfter, JSON.stringify(answer));
  }
}

describe('PostgreSQL', needs, () => {
  const postgres = needs.skip ? null : new Postgres();

  test('two services see each other\'s jobs and hear of their changes', async () => {
    const at = place(postgres);
    const [a, b] = [await at.start(), await at.start()];
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
    const at = place(postgres);
    const [a, b] = [await at.start(), await at.start()];
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

  test(`${restarts} restarts and a kill -9 lose nothing and do nothing twice`, async () => {
    const at = place(postgres);
    const services = [await at.start(), await at.start()];
    const answers = [];
    const ids = new Map();
    let over = false;
    const clients = Array.from({ length: 6 }, async (_, client) => {
      for (let i = 0; !over; i++) {
        const key = `${client}-${i}`;
        ids.set(key, await upload(() => services[client % 2], key, answers));
        await sleep(20);
      }
    });
    for (let i = 0; i < restarts; i++) {
      await sleep(700);
      postgres.stop();
      await sleep(i * 300);
      postgres.start();
      if (i === 1) {
        await services[0].kill();
        services[0] = await at.start();
      }
    }
    await sleep(700);
    over = true;
    await Promise.all(clients);
    judge(answers);
    assert.equal(new Set(ids.values()).size, ids.size);
    for (const id of ids.values()) {
      const job = await waitForJob(services[1], id);
      assert.equal(job.status, 'completed', JSON.stringify(job));
    }
    // Each was accepted once, and ended once.
    assert.equal(at.sql('SELECT count(*) FROM jobs'), String(ids.size));
    assert.equal(at.sql("SELECT count(*) FROM job_events WHERE status = 'completed'"), String(ids.size));
    assert.equal(at.sql("SELECT count(*) FROM jobs WHERE status = 'processing'"), '0');
    const log = services.map((server) => server.log()).join('');
    assert.ok(!log.includes(postgres.password), 'a password is in the log');
    await Promise.all(services.map((server) => server.stop()));
  });

  test('a service that is killed leaves its job to the other', async () => {
    const at = place(postgres);
    const a = await at.start();
    const long = wav({ seconds: 1800, sample: tone });
    const { body } = await transcribe(a, form(long, 'long.wav', { vad_filter: 'false', no_speech_threshold: '1' }));
    const job = () => getJson(a, `/jobs/${body.job_id}`).then((answer) => answer.body);
    assert.equal((await until(job, ({ progress }) => progress > 1)).status, 'processing');
    await a.kill();
    const began = Date.now();
    const b = await at.start();
    await until(() => Number(at.sql(`SELECT attempt FROM jobs WHERE id = '${body.job_id}'`)), (attempt) => attempt === 2);
    assert.ok(Date.now() - began < 20000);
    // It goes on where the other one was.
    assert.ok((await getJson(b, `/jobs/${body.job_id}`)).body.progress > 1);
    assert.equal((await fetch(`${b.url}/jobs/${body.job_id}`, { method: 'DELETE' })).ok, true);
    await b.stop();
  });

  test('silence is answered in time and passes', async () => {
    const between = await proxy(postgres.port);
    const at = place(postgres, between.port);
    const server = await at.start();
    const { body } = await transcribe(server, form(wav(), 'before.wav'));
    assert.equal((await waitForJob(server, body.job_id)).status, 'completed');
    between.silence(true);
    const answers = [];
    const uploads = Promise.all([upload(() => server, 'a', answers), upload(() => server, 'b', answers)]);
    const began = Date.now();
    const response = await fetch(`${server.url}/jobs/${body.job_id}`);
    assert.equal(response.status, 503);
    assert.ok(response.headers.get('retry-after'));
    assert.ok(Date.now() - began < IN_TIME);
    between.silence(false);
    for (const id of await uploads) assert.equal((await waitForJob(server, id)).status, 'completed');
    judge(answers);
    assert.equal(at.sql('SELECT count(*) FROM jobs'), '3');
    await server.stop();
    between.close();
  });
});
