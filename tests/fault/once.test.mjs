// One call fails at a bad moment, and never again. The disk refuses a read while an upload comes
// to its end: it becomes one job, though its client never asks again, and nothing is taken for
// damaged. A worker cannot send one of its messages: its job is done all the same.
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import { kinds, long, place, size } from '../lib/faults.mjs';
import { children, form, getJson, tone, transcribe, until, waitForJob, wav } from '../lib/server.mjs';
import { shim, skip as needsCompiler } from '../lib/shim.mjs';

const recording = wav({ seconds: 1, sample: tone });
const half = recording.length >> 1;
const head = { 'Tus-Resumable': '1.0.0' };

async function create(server) {
  const answer = await fetch(`${server.url}/uploads`, { method: 'POST', headers: { ...head, 'Upload-Length': String(recording.length) } });
  assert.equal(answer.status, 201);
  return new URL(answer.headers.get('location'), server.url).pathname.split('/').at(-1);
}

/** The bytes from there to there. */
async function send(server, id, from, to) {
  const answer = await fetch(`${server.url}/uploads/${id}`, {
    method: 'PATCH',
    headers: { ...head, 'Upload-Offset': String(from), 'Content-Type': 'application/offset+octet-stream' },
    body: recording.subarray(from, to),
  });
  return { status: answer.status, job: answer.headers.get('location'), text: await answer.text() };
}

/** As a client does that was told of an error, until it hears where its job is. */
async function goOn(server, id) {
  const asked = await until(() => fetch(`${server.url}/uploads/${id}`, { method: 'HEAD', headers: head }), ({ status }) => status < 500);
  assert.equal(asked.status, 200);
  if (asked.headers.get('location')) return;
  const answer = await send(server, id, Number(asked.headers.get('upload-offset')), recording.length);
  assert.equal(answer.status, 204, answer.text);
}

describe('reads that fail once', { skip: kinds[0].skip || needsCompiler }, () => {
  test('at the end of an upload: one job by itself', async (t) => {
    const at = await place('sqlite');
    const disk = shim({ data: path.join(at.folder, 'data'), storage: at.storage });
    const server = await at.serve({ ...disk.env, EMBEDDED_WORKERS: 'on' });
    const ids = [];
    const figures = { reads: 0, told: 0, left: 0, longest_ms: 0 };
    const received = (id) => at.rows(`SELECT received FROM uploads WHERE id = '${id}'`)[0][0];
    const jobs = (id) => Number(at.rows(`SELECT COUNT(*) FROM jobs WHERE id = '${id}'`)[0][0]);
    const once = async (n, count) => {
      const id = await create(server);
      ids.push(id);
      assert.equal((await send(server, id, 0, half)).status, 204);
      disk.unread(server.pid, n, count);
      const answer = await send(server, id, half, recording.length);
      const reads = disk.reads();
      disk.unread(server.pid, 0, 0);
      if (answer.status === 204) {
        assert.equal(jobs(id), 1);
        return reads;
      }
      // An error of the service, after which a client comes again; never one that lets it give up.
      assert.equal(answer.status, 503, answer.text);
      figures.told++;
      if (Number(received(id)) < recording.length) await goOn(server, id);
      else figures.left++;
      const since = Date.now();
      await until(() => jobs(id), (count) => count === 1);
      figures.longest_ms = Math.max(figures.longest_ms, Date.now() - since);
      return reads;
    };
    figures.reads = await once(0, 0);
    assert.ok(figures.reads > 0);
    for (let n = 1; n <= Math.min(figures.reads + 2, size(6, 100)); n++) for (const count of long ? [1, 2, 5] : [n % 3 ? 1 : 4]) await once(n, count);
    for (const id of ids) {
      assert.equal(jobs(id), 1);
      assert.equal((await getJson(server, `/jobs/${id}`)).status, 200);
    }
    assert.doesNotMatch(server.log(), /damaged/);
    assert.equal((await getJson(server, '/health/ready')).status, 200);
    assert.equal((await server.stop()).code, 0);
    assert.deepEqual(at.rows('PRAGMA integrity_check'), [['ok']]);
    t.diagnostic(`reads: ${JSON.stringify({ ...figures, uploads: ids.length })}`);
  });
});

describe('a message that a worker cannot send', { skip: kinds[0].skip || needsCompiler }, () => {
  test('is no end of its job', async (t) => {
    const at = await place('sqlite');
    const calls = shim({ storage: at.storage });
    const server = await at.serve({ ...calls.env, EMBEDDED_WORKERS: 'on' });
    let sent = 0;
    for (let n = 1; n <= size(6, 12); n++) {
      const up = () => [...server.log().matchAll(/worker \d+ is up, process (\d+)/g)].map(([, pid]) => Number(pid)).filter((pid) => children(server.pid).includes(pid));
      const [worker] = await until(up, (pids) => pids.length > 0);
      calls.unsent(worker, n);
      const { status, body } = await transcribe(server, form(recording, 'a.wav'));
      assert.equal(status, 202);
      const job = await waitForJob(server, body.job_id);
      assert.equal(job.status, 'completed', job.error_message);
      if (!children(server.pid).includes(worker)) sent++;
    }
    assert.ok(sent >= 2, `${sent} workers went`);
    assert.equal((await server.stop()).code, 0);
    t.diagnostic(`messages: ${sent} workers were let go`);
  });
});
