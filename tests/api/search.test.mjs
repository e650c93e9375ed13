// GET /jobs?search= and priorities, through the door.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import {
  form, getJson, hasModel, hold, startServer, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const speech = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));
const long = wav({ seconds: 60, sample: tone });

async function submit(server, bytes, name, fields = {}) {
  const { status, body } = await transcribe(server, form(bytes, name, fields));
  assert.equal(status, 202, JSON.stringify(body));
  return body.job_id;
}

describe('the search', needsModel, () => {
  let server;
  let id;
  before(async () => {
    server = await startServer();
    id = await submit(server, speech, 'Gespräch 漢字テスト.wav', { language: 'en' });
    await submit(server, wav(), 'other.wav');
    await waitForJob(server, id);
  });
  after(async () => { assert.equal((await server.stop()).code, 0, server.log()); });

  const found = async (text) => {
    const { status, body } = await getJson(server, `/jobs?search=${encodeURIComponent(text)}`);
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.total, body.jobs.length);
    return body.jobs.map((job) => job.id);
  };

  test('finds words, phrases and beginnings in transcripts and names', async () => {
    const { body: { transcript } } = await getJson(server, `/jobs/${id}`);
    const words = transcript.match(/[A-Za-z]{3,}/g);
    for (const text of [words[2], words[2].toUpperCase(), `"${words[0]} ${words[1]}"`, `${words[3].slice(0, -1)}*`,
      `${words[1]} ${words.at(-1)}`, 'gesprach', 'GESPRÄCH', '漢字', 'テスト', '字テ', `${words[0]} gespr*`]) {
      assert.deepEqual(await found(text), [id], text);
    }
    assert.deepEqual(await found(`"${words[1]} ${words[0]}"`), []);
    assert.equal((await found('wav')).length, 2);
  });

  test('takes whatever is typed, and keeps to its limits', async () => {
    for (const text of ['"', '(', 'a AND', 'NEAR(', 'name:x', '*', '-', '^x', '\'; DROP TABLE jobs; --', '{', '😀']) {
      await found(text);
    }
    const { status, body } = await getJson(server, `/jobs?search=${'w+'.repeat(65)}`);
    assert.equal(status, 400);
    assert.match(body.detail, /64 words/);
    assert.deepEqual(await found(''), await found('wav'));
  });

  test('goes with status, limit and offset', async () => {
    const ask = async (query) => (await getJson(server, `/jobs?search=wav&${query}`)).body;
    const all = await ask('limit=1');
    assert.deepEqual([all.jobs.length, all.total], [1, 2]);
    assert.deepEqual((await ask('limit=1&offset=1')).jobs.map((job) => job.id), [id]);
    const behind = await ask('offset=10');
    assert.deepEqual([behind.jobs.length, behind.total], [0, 2]);
    assert.equal((await ask('status=failed')).total, 0);
  });
});

describe('priorities', needsModel, () => {
  test('are taken as words and digits, and decide which job is next', async () => {
    // Nothing is taken beside the first, which is larger than what has company.
    const server = await startServer({ env: { WORKER_CONCURRENCY: '1', MAX_FILE_SIZE_MB: '20' } });
    const goOn = await hold(server); // however long it takes to send the others
    const busy = await submit(server, wav({ seconds: 300, sample: tone }), 'busy.wav', { vad_filter: 'false' });
    await until(async () => (await getJson(server, `/jobs/${busy}`)).body, (job) => job.status === 'processing');
    const order = [];
    // Of another model's name they would not be beside it; so they are large.
    for (const priority of ['low', 'normal', '0', '9', 'high']) {
      order.push([priority, await submit(server, wav({ seconds: 270 }), `${priority}.wav`, { priority })]);
    }
    for (const [priority, id] of order) {
      const { body } = await getJson(server, `/jobs/${id}`);
      assert.equal(body.priority, { low: 2, normal: 5, 0: 0, 9: 9, high: 8 }[priority]);
      assert.equal(body.status, 'pending');
    }
    goOn();
    await getJson(server, `/jobs/${busy}/cancel`, { method: 'POST' });
    const jobs = [];
    for (const [priority, id] of order) jobs.push([priority, await waitForJob(server, id)]);
    jobs.sort(([, a], [, b]) => Date.parse(a.started_at) - Date.parse(b.started_at));
    assert.deepEqual(jobs.map(([priority]) => priority), ['9', 'high', 'normal', 'low', '0']);
    for (const priority of ['10', '-1', 'urgent', '5.5']) {
      const { status, body } = await transcribe(server, form(long, 'a.wav', { priority }));
      assert.equal(status, 400);
      assert.match(body.detail, /priority.*low, normal, high/);
    }
    await server.stop();
  });
});
