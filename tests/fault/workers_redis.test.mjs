// A service without workers and workers on their own, on one PostgreSQL database with the
// queue on Redis: each job is done once, also when one of them is killed, and what lacks
// its model stands in nobody's way.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { available, Postgres } from '../lib/postgres.mjs';
import { redis, skip as needsRedis } from '../lib/redis.mjs';
import {
  form, hasModel, models, startServer, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { long, startWorker } from '../lib/worker.mjs';

const needs = {
  skip: needsRedis || (!available ? 'PostgreSQL is not installed (postgresql)'
    : !hasModel('tiny') ? 'ggml-tiny.bin is not in WT_TEST_MODELS' : false),
};
const limit = { timeout: 180000 };
const many = Number(process.env.WT_FAULT_JOBS ?? 60);

/** A place for a service and workers: a database, a storage folder, a Redis. */
async function place(postgres) {
  const first = tempFolder();
  const r = await redis().start();
  const database = path.basename(first);
  postgres.url(first);
  const env = {
    DATABASE_URL: postgres.urlOf(database),
    STORAGE_DIR: tempFolder(),
    REDIS_URL: r.url,
    REDIS_NAMESPACE: 'workers',
    WORKER_CONCURRENCY: '1',
    WORKER_THREADS: '1',
  };
  return {
    r,
    serve: (more = {}) => startServer({ env: { ...env, EMBEDDED_WORKERS: 'off', ...more } }),
    work: (more = {}) => startWorker({ env: { ...env, ...more } }),
    sql: (text) => postgres.sql(`SET search_path = whisper_transcriber; ${text}`, database).split('\n').at(-1),
    onRedis: async () => Number(await r.ask('HLEN', 'wt:{workers}:jobs')),
  };
}

async function submit(server, bytes, name, fields = {}) {
  const { status, body } = await transcribe(server, form(bytes, name, fields));
  assert.equal(status, 202, JSON.stringify(body));
  return body.job_id;
}

const metric = async (server, name) => Number(new RegExp(`^whisper_transcriber_${name} (.*)$`, 'm')
  .exec(await (await fetch(`${server.url}/metrics`)).text())[1]);
const begun = (worker, ids) => ids.filter((id) => worker.log().includes(id)).length;

describe('workers with the queue on Redis', needs, () => {
  const postgres = needs.skip ? null : new Postgres();

  test(`${many} jobs are each done once, though a worker is killed`, limit, async () => {
    const at = await place(postgres);
    const server = await at.serve();
    const workers = [await at.work(), await at.work()];
    await until(() => metric(server, 'transcriptions_at_once'), (n) => n === 2);
    const ids = [];
    const some = async (count) => {
      for (let i = 0; i < count; i++) ids.push(await submit(server, wav({ seconds: 1 + (i % 7) }), `${i}.wav`));
    };
    await some(many / 2);
    const talk = await submit(server, long(), 'talk.wav');
    ids.push(talk);
    await some(many / 2);
    // Whoever has got into the long one dies.
    const [, owner] = await until(
      () => at.sql(`SELECT next_frame || ' ' || coalesce(owner, '') FROM jobs WHERE id = '${talk}'`).split(' '),
      ([frame]) => Number(frame) > 3000);
    const [doomed, other] = owner === workers[0].id ? workers : [...workers].reverse();
    assert.equal(doomed.id, owner, 'it was done too soon');
    await doomed.kill();
    for (const id of ids) assert.equal((await waitForJob(server, id)).status, 'completed');
    assert.ok(begun(doomed, ids) > 2 && begun(other, ids) > 2);
    assert.match(other.log(), new RegExp(`${talk}.*goes on from second`));
    assert.equal(at.sql(`SELECT attempt FROM jobs WHERE id = '${talk}'`), '2');
    for (const each of [doomed, other]) assert.match(each.log(), /the queue is on unix:/);
    const total = String(ids.length);
    assert.equal(at.sql('SELECT count(*) FROM jobs'), total);
    assert.equal(at.sql("SELECT count(*) FROM job_events WHERE status = 'completed'"), total);
    assert.equal(at.sql('SELECT count(*) FROM transcripts'), total);
    assert.ok(Number(at.sql('SELECT count(*) FROM jobs WHERE attempt > 1')) <= 4, 'what nobody had was begun again');
    await until(at.onRedis, (n) => n === 0);
    await Promise.all([other.stop(), server.stop()]);
    await at.r.kill();
  });

  test('a job whose model a worker lacks is left to others, and blocks nobody', limit, async () => {
    const at = await place(postgres);
    const [here, there] = [tempFolder(), tempFolder()];
    const put = (folder, name) => fs.symlinkSync(path.join(models, 'ggml-tiny.bin'), path.join(folder, `ggml-${name}.bin`));
    for (const name of ['tiny', 'own']) put(here, name);
    put(there, 'tiny');
    const server = await at.serve({ WHISPER_MODEL_DIR: here });
    const own = [];
    for (let i = 0; i < 30; i++) own.push(await submit(server, wav(), `${i}.wav`, { model: 'own' }));
    const tiny = await submit(server, wav(), 'talk.wav', { model: 'tiny' });
    await until(at.onRedis, (n) => n === own.length + 1);
    const worker = await at.work({ WHISPER_MODEL_DIR: there });
    assert.equal((await waitForJob(server, tiny)).status, 'completed');
    assert.equal(at.sql("SELECT count(*) FROM jobs WHERE status = 'pending' AND attempt = 0"), String(own.length));
    assert.equal(begun(worker, own), 0);
    const able = await at.work({ WHISPER_MODEL_DIR: here });
    for (const id of own) assert.equal((await waitForJob(server, id)).status, 'completed');
    assert.equal(begun(worker, own), 0);
    assert.equal(begun(able, own), own.length);
    await until(at.onRedis, (n) => n === 0);
    await Promise.all([worker.stop(), able.stop(), server.stop()]);
    await at.r.kill();
  });
});
