// Several recordings in one request: each becomes a job, and a bad one loses no other.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { form, getJson, hasModel, startServer, transcribe, wav } from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };

function several(files, fields = {}) {
  const f = form(null, '', fields);
  for (const [name, bytes] of files) f.append('file', new Blob([bytes]), name);
  return f;
}

describe('several files in one request', needsModel, () => {
  let server;
  before(async () => { server = await startServer({ env: { MAX_FILE_SIZE_MB: '2', WORKER_CONCURRENCY: '1' } }); });
  after(async () => { assert.equal((await server.stop()).code, 0, server.log()); });

  test('make a job each, with the fields of the form', async () => {
    const { status, body } = await transcribe(server,
      several([['a.wav', wav()], ['b.wav', wav()], ['c.wav', wav()]], { language: 'de', priority: 'high' }));
    assert.equal(status, 202, JSON.stringify(body));
    assert.deepEqual(Object.keys(body), ['jobs']);
    assert.deepEqual(body.jobs.map((job) => job.filename), ['a.wav', 'b.wav', 'c.wav']);
    assert.equal(new Set(body.jobs.map((job) => job.job_id)).size, 3);
    for (const { job_id: id } of body.jobs) {
      const { body: job } = await getJson(server, `/jobs/${id}`);
      assert.equal(job.language, 'de');
      assert.equal(job.priority, 8);
    }
  });

  test('do not lose the good ones to a bad one, wherever it stands', async () => {
    const bad = ['notes.txt', 'just a text, renamed'];
    for (const files of [
      [bad, ['a.wav', wav()], ['b.wav', wav()]],
      [['a.wav', wav()], bad, ['b.wav', wav()]],
      [['a.wav', wav()], ['b.wav', wav()], ['empty.wav', Buffer.alloc(0)]],
    ]) {
      const { status, body } = await transcribe(server, several(files));
      assert.equal(status, 202, JSON.stringify(body));
      assert.deepEqual(body.jobs.map((job) => job.filename), files.map(([name]) => name));
      for (const entry of body.jobs) {
        if (/notes|empty/.test(entry.filename)) {
          assert.equal(entry.status_code, entry.filename === 'notes.txt' ? 415 : 400);
          assert.equal(entry.error_code, entry.filename === 'notes.txt' ? 'not_media' : 'empty_file');
          assert.match(entry.detail, /\w+ \w+/);
        } else {
          assert.equal((await getJson(server, `/jobs/${entry.job_id}`)).status, 200);
        }
      }
    }
  });

  test('are an error when every one is bad, and leave no file', async () => {
    const { status, body } = await transcribe(server, several([['a.txt', 'a text'], ['b.txt', 'another text']]));
    assert.equal(status, 422);
    assert.deepEqual(body.jobs.map((entry) => entry.error_code), ['not_media', 'not_media']);
    assert.deepEqual(server.stored().filter((name) => name.endsWith('.part')), []);
  });

  test('are at most a hundred', async () => {
    const many = (n) => several(Array.from({ length: n }, (_, i) => [`${i}.wav`, wav({ seconds: 0.1 })]));
    const all = await transcribe(server, many(100));
    assert.equal(all.status, 202);
    assert.equal(all.body.jobs.length, 100);
    const { status, body } = await transcribe(server, many(101));
    assert.equal(status, 400);
    assert.match(body.detail, /100/);
  });

  test('are together no larger than one may be', async () => {
    const { status } = await transcribe(server,
      several([['a.wav', wav({ seconds: 50 })], ['b.wav', wav({ seconds: 50 })]]));
    assert.equal(status, 413);
  });
});
