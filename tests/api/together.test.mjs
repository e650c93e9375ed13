// Several jobs in one worker: they share the decoder's steps, a long one does not keep
// short ones waiting, and what comes out is what comes out of each alone, to the bit.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { form, getJson, hasModel, hold, startServer, transcribe, until, waitForJob, wav } from '../lib/server.mjs';

const golden = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../engine/golden');
const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const env = { WORKER_CONCURRENCY: '1', WORKER_THREADS: '2' };

function repeated(name, times) {
  const bytes = fs.readFileSync(path.join(golden, name));
  const header = Buffer.from(bytes.subarray(0, 44));
  const samples = Buffer.concat(Array(times).fill(bytes.subarray(44)));
  header.writeUInt32LE(36 + samples.length, 4);
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}

const long = repeated('clean.wav', 20);
const short = { 'clean.wav': repeated('clean.wav', 1), 'noisy.wav': repeated('noisy.wav', 1) };

async function submit(server, bytes, name, options = {}) {
  const answer = await transcribe(server, form(bytes, name, { language: 'en', ...options }));
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.job_id;
}

async function result(server, id) {
  const job = await waitForJob(server, id);
  assert.equal(job.status, 'completed', job.error_message);
  return (await fetch(`${server.url}/jobs/${id}/download?format=json`)).text();
}

const statusOf = async (server, id) => (await getJson(server, `/jobs/${id}`)).body.status;

describe('jobs in one worker', needsModel, () => {
  test('say what each says alone, and short ones do not wait for a long one', async () => {
    const server = await startServer({ env });
    const alone = {};
    for (const [name, bytes] of Object.entries(short)) alone[name] = await result(server, await submit(server, bytes, name));
    const longAlone = await result(server, await submit(server, long, 'long.wav'));

    // However long it takes to send them: all are here before any is done.
    const goOn = await hold(server);
    const longId = await submit(server, long, 'long.wav');
    await until(() => statusOf(server, longId), (status) => status === 'processing');
    const ids = [];
    for (const name of ['clean.wav', 'noisy.wav', 'clean.wav', 'noisy.wav', 'clean.wav'])
      ids.push([await submit(server, short[name], name), name]);
    goOn();
    for (const [id, name] of ids) assert.equal(await result(server, id), alone[name]);
    assert.equal(await statusOf(server, longId), 'processing');
    assert.equal(await result(server, longId), longAlone);
    await server.stop();
  });

  test('are cancelled one by one', async () => {
    const server = await startServer({ env });
    const ids = [];
    const goOn = await hold(server);
    for (let i = 0; i < 3; i++) ids.push(await submit(server, long, `${i}.wav`));
    for (const id of ids) await until(() => statusOf(server, id), (status) => status === 'processing');
    goOn();
    for (const id of ids) await until(async () => (await getJson(server, `/jobs/${id}`)).body.progress, (progress) => progress > 0);
    await fetch(`${server.url}/jobs/${ids[1]}`, { method: 'DELETE' });
    const texts = [await result(server, ids[0]), await result(server, ids[2])];
    assert.equal(texts[0], texts[1]);
    assert.equal((await fetch(`${server.url}/jobs/${ids[1]}`)).status, 404);
    assert.doesNotMatch(server.log(), /died|is ended/);
    await server.stop();
  });

  // Too large to be beside others. The stream alone would keep the worker busy for ever.
  test('let others have their turn, however many there are', { timeout: 600000 }, async () => {
    const server = await startServer({ env });
    const clip = repeated('clean.wav', 1);
    let done = 0;
    let ended = false;
    const client = async (n) => {
      for (let i = 0; !ended && performance.now() < 120000; i++) {
        await waitForJob(server, await submit(server, clip, `${n}-${i}.wav`));
        done++;
      }
    };
    const stream = Promise.all(Array.from({ length: 12 }, (_, n) => client(n)));
    await until(() => done, (n) => n > 8);
    const large = await submit(server, wav({ seconds: 300 }), 'large.wav');
    const job = await Promise.race([waitForJob(server, large), stream.then(() => null)]);
    ended = true;
    await stream;
    assert.equal(job?.status, 'completed', `${done} short ones went before it`);
    await server.stop();
  });
});
