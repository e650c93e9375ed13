// The disk refuses a read now and then while an upload comes to its end: it becomes one job,
// though its client never asks again, and nothing is taken for damaged.
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import { kinds, long, place } from '../lib/faults.mjs';
import { getJson, tone, until, wav } from '../lib/server.mjs';
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
    for (let n = 1; n <= figures.reads + 2; n++) for (const count of long ? [1, 2, 5] : [n % 3 ? 1 : 4]) await once(n, count);
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
