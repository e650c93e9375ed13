// A job whose model no worker that is alive has says so at every door, instead of waiting in
// silence; it is done when a worker comes that has it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { available, Postgres } from '../lib/postgres.mjs';
import {
  binary, form, getJson, hasModel, models, startServer, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { startWorker } from '../lib/worker.mjs';

const needs = {
  skip: !available ? 'PostgreSQL is not installed (postgresql)'
    : !hasModel('tiny') ? 'ggml-tiny.bin is not in WT_TEST_MODELS' : false,
};

describe('jobs that nobody can do', needs, () => {
  const postgres = needs.skip ? null : new Postgres();

  test('say so until somebody can', { timeout: 120000 }, async () => {
    const [here, there] = [tempFolder(), tempFolder()];
    const put = (folder, name) => fs.symlinkSync(path.join(models, 'ggml-tiny.bin'), path.join(folder, `ggml-${name}.bin`));
    for (const name of ['tiny', 'own']) put(here, name);
    put(there, 'tiny');
    const env = { DATABASE_URL: postgres.url(tempFolder()), STORAGE_DIR: tempFolder(), WORKER_CONCURRENCY: '1', WORKER_THREADS: '1' };
    const server = await startServer({ env: { ...env, EMBEDDED_WORKERS: 'off', WHISPER_MODEL_DIR: here } });
    const submit = async (model) => {
      const { status, body } = await transcribe(server, form(wav(), 'a.wav', { model }));
      assert.equal(status, 202, JSON.stringify(body));
      return body.job_id;
    };
    const waitsFor = async (id) => (await getJson(server, `/jobs/${id}`)).body.waits_for;
    const stranded = async () => Number(/^whisper_transcriber_queue_stranded_jobs (.*)$/m
      .exec(await (await fetch(`${server.url}/metrics`)).text())[1]);
    const shell = (...args) => execFileSync(binary, ['queue', ...args], { encoding: 'utf8', env: { ...process.env, ...env } });

    const own = await submit('own');
    assert.match(await waitsFor(own), /^no worker is alive: start `whisper-transcriber worker`$/);
    assert.equal(await stranded(), 1);
    const lacking = await startWorker({ env: { ...env, WHISPER_MODEL_DIR: there } });
    const why = await until(() => waitsFor(own), (text) => !/is alive:/.test(text));
    assert.match(why, /^no worker that is alive has the model own\b/);

    const tiny = await submit('tiny');
    assert.equal((await waitForJob(server, tiny)).waits_for, null);
    const listed = (await getJson(server, '/jobs')).body.jobs;
    assert.deepEqual(listed.map((job) => [job.id, job.waits_for]), [[tiny, null], [own, why]]);
    const { body } = await getJson(server, '/admin/queue');
    assert.deepEqual(body.stranded, [{ model: 'own', jobs: 1, waits_for: why }]);
    assert.equal(body.jobs[0].waits_for, why);
    assert.equal(await stranded(), 1);
    assert.match(shell('ls'), /^1 cannot be done now: no worker that is alive has the model own\b/m);
    assert.match(shell('show', own), /^waits for +no worker that is alive has the model own\b/m);
    assert.equal(JSON.parse(shell('show', own, '--json')).waits_for, why);

    // Said once, however often it is looked at.
    const said = () => [...server.log().matchAll(/1 job\(s\) of the model own wait: no worker that is alive has/g)].length;
    await until(said, (n) => n > 0);

    const able = await startWorker({ env: { ...env, WHISPER_MODEL_DIR: here } });
    assert.equal((await waitForJob(server, own)).waits_for, null);
    assert.equal(await stranded(), 0);
    assert.equal(said(), 1);
    await Promise.all([lacking.stop(), able.stop(), server.stop()]);
  });
});
