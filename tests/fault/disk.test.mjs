// Disks are full at random moments: those of the database, the uploads and the scratch
// files, for a while each. Nothing that was accepted is lost or fails for it, reading goes on,
// and all is well again without a restart.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  chance, kinds, long, place, postgres, seed, size, sleep,
} from '../lib/faults.mjs';
import { History } from '../lib/history.mjs';
import {
  form, getJson, hasEnded, hold, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { shim, skip as needsCompiler } from '../lib/shim.mjs';
import {
  byUrl, checkStorage, joined, origin, tus,
} from '../lib/uploading.mjs';

const recordings = {
  clean: joined('clean.wav'),
  noisy: joined('noisy.wav'),
  telephone: joined('telephone.wav'),
  // Several windows: there is a checkpoint to be written in the middle of it.
  mixed: joined('clean.wav', 'noisy.wav', 'clean.wav', 'clean.wav', 'noisy.wav', 'clean.wav'),
};

/** Comes in with few calls, and is done at once. */
const silence = wav({ seconds: 3 });

const downloaded = async (server, id) => {
  const answer = await fetch(`${server.url}/jobs/${id}/download?format=txt`);
  assert.equal(answer.status, 200);
  return answer.text();
};

/** What the recordings say when nobody disturbs, and a job of which everything can be read. */
async function undisturbed(server, history) {
  const texts = {};
  let id;
  for (const name of Object.keys(recordings)) {
    const answer = await transcribe(server, form(recordings[name], `${name}.wav`));
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    id = answer.body.job_id;
    history.acknowledge(name, id);
    assert.equal((await waitForJob(server, id)).status, 'completed');
    texts[name] = await downloaded(server, id);
  }
  return { texts, id };
}

/** Whoever only reads notices nothing. */
async function read(server, id, more, counts) {
  const paths = [`/jobs/${id}`, `/jobs/${id}/download?format=srt`, `/jobs/${id}/audio`, '/', '/jobs?limit=20', '/health/live', '/metrics'];
  for (let i = 0; more(); i++) {
    const where = paths[i % paths.length];
    const answer = await fetch(server.url + where, { headers: { Accept: where === '/' ? 'text/html' : '*/*' } });
    await answer.arrayBuffer();
    assert.equal(answer.status, 200, `${where} was answered ${answer.status}`);
    counts.reads++;
    await sleep(20);
  }
}

/** Disks become full and empty, one after the other or together. */
async function fillAndEmpty(disks, names, ms) {
  const { pick, random, between } = chance('disks');
  const end = Date.now() + ms;
  let count = 0;
  while (Date.now() < end) {
    const hit = names.filter(() => random() < 0.4);
    if (!hit.length) hit.push(pick(names));
    for (const name of hit) {
      if (random() < 0.8) disks.full(name, pick([true, true, 0.5, 0.1]));
      else disks.unsynced(name, pick([true, 0.5]));
    }
    count += hit.length;
    await sleep(between(30, 1500));
    for (const name of names) { disks.full(name, 0); disks.unsynced(name, 0); }
    await sleep(between(20, 700));
  }
  return count;
}

for (const { name: kind, skip } of kinds.filter(({ name }) => name !== 'redis')) {
  describe(`disks that are full at random moments, on ${kind}`, { skip: skip || needsCompiler }, () => {
    test(`lose nothing (WT_FAULT_SEED=${seed})`, { timeout: size(600, 1500) * 1000 }, async (t) => {
      const files = await origin(recordings);
      const at = await place(kind, { env: { URL_FETCH: 'on', URL_FETCH_ALLOW: files.allow } });
      const folders = { uploads: path.join(at.storage, 'uploads'), scratch: path.join(at.storage, 'scratch') };
      if (kind === 'sqlite') folders.data = path.join(at.folder, 'data');
      const disks = shim(folders);
      const env = { ...disks.env, EMBEDDED_WORKERS: kind === 'sqlite' ? 'on' : 'off' };
      const server = await at.serve(env);
      const worker = kind === 'sqlite' ? null : await at.work(disks.env);
      const history = new History();
      const { texts, id: known } = await undisturbed(server, history);
      const counts = { reads: 0 };
      const jobs = new Map(); // id → name of the recording
      let going = true;
      const more = () => going;
      const url = () => server.url;
      const names = Object.keys(recordings);
      const submitter = async (n) => {
        const { pick, between } = chance(`client ${n}`);
        for (let i = 0; going; i++) {
          const name = pick(names);
          const key = `${n}-${i}`;
          // Whoever has begun goes on until it is accepted, also when the disks are well again.
          const id = n === 0 ? await tus(history, url, key, recordings[name])
            : n === 1 ? await byUrl(history, url, key, `${files.url}/${name}`)
              : await history.submit(url, key, recordings[name]);
          jobs.set(id, name);
          await sleep(between(500, 2000));
        }
      };
      const clients = [0, 1, 2, 3].map(submitter);
      const readers = [read(server, known, more, counts), read(server, known, more, counts)];
      const faults = fillAndEmpty(disks, Object.keys(folders), size(5, 300) * 1000);
      const times = await Promise.race([faults, ...[...clients, ...readers].map((p) => p.then(() => faults))]);
      const wellAt = Date.now();
      const first = until(() => transcribe(server, form(recordings.noisy, 'after.wav')), ({ status }) => status === 202)
        .then(({ body }) => { history.acknowledge('after', body.job_id); jobs.set(body.job_id, 'noisy'); return Date.now() - wellAt; });
      going = false;
      await Promise.all([...clients, ...readers, first]);
      const resumed = await first;
      assert.ok(resumed < 5000, `${resumed} ms until an upload was accepted again`);
      assert.equal((await until(() => getJson(server, '/health/ready'), ({ status }) => status === 200)).status, 200);

      const ended = Date.now();
      for (const [id, name] of jobs) {
        const job = await waitForJob(server, id);
        assert.equal(job.status, 'completed', `${id}: ${job.error_message}`);
        assert.equal(await downloaded(server, id), texts[name], `${name}, ${id}`);
      }
      const restAfter = Date.now() - ended;
      await until(async () => (await getJson(server, '/jobs?limit=500')).body.jobs, (list) => list.every(hasEnded));
      for (const { status, retryAfter } of history.answers) if (status === 507) assert.ok(Number(retryAfter) > 0, 'a 507 without Retry-After');
      if (kind === 'sqlite') assert.deepEqual(at.rows('PRAGMA integrity_check'), [['ok']]);
      const figures = history.check({ ...at, rows: at.rows });
      await worker?.stop();
      assert.equal((await server.stop()).code, 0);
      // Recordings of which it was not sure whether their jobs are there go at the next start.
      assert.equal((await (await at.serve({ EMBEDDED_WORKERS: kind === 'sqlite' ? 'on' : 'off' })).stop()).code, 0);
      checkStorage(at);
      files.close();
      t.diagnostic(`${kind}: ${JSON.stringify({ seed, faults: times, ...figures, ...counts, resumedMs: resumed, restMs: restAfter })}`);
    });
  });
}

/** A service whose worker stands still, so that its calls are those of the requests. */
async function still(at, disks) {
  const server = await at.serve({ ...disks.env, EMBEDDED_WORKERS: at.kind === 'sqlite' ? 'on' : 'off' });
  if (at.kind === 'sqlite') await hold(server);
  return server;
}

const stored = (at) => fs.readdirSync(path.join(at.storage, 'uploads')).sort();
const rowsOf = (at) => at.rows('SELECT id FROM jobs').map(([id]) => id).sort();

for (const { name: kind, skip } of kinds.filter(({ name }) => name !== 'redis')) {
  describe(`each call of an upload that takes space finds none, on ${kind}`, { skip: skip || needsCompiler }, () => {
    test('and there is a job with its recording, or neither', async (t) => {
      const at = await place(kind);
      const folders = { uploads: path.join(at.storage, 'uploads') };
      if (kind === 'sqlite') folders.data = path.join(at.folder, 'data');
      const disks = shim(folders);
      const server = await still(at, disks);
      const told = new Set();
      let unsure = 0;
      let n = 1;
      const counts = {};
      for (let reached = true; reached; n++) {
        disks.failAt(server.pid, n);
        const { status, body } = await transcribe(server, form(silence, 'a.wav'));
        const { count, names } = disks.calls();
        reached = count >= n;
        assert.ok([202, 503, 507].includes(status), `${names[n - 1]}: ${status} ${JSON.stringify(body)}`);
        if (status === 202) told.add(body.job_id);
        counts[status] = (counts[status] ?? 0) + 1;
        const rows = rowsOf(at);
        // A change that could not be synced may count after a crash: its recording stays.
        if (status === 503) unsure++;
        const files = stored(at);
        assert.deepEqual(rows.filter((id) => !files.includes(id)), [], `call ${n}, ${names[n - 1]}`);
        assert.ok(files.length <= rows.length + unsure, `call ${n}, ${names[n - 1]}: ${files.length} files, ${rows.length} jobs`);
        for (const id of told) assert.ok(rows.includes(id), `${id} was accepted`);
      }
      assert.ok(n > 6, `only ${n} calls`);
      await server.kill();
      assert.equal((await (await at.serve({ EMBEDDED_WORKERS: kind === 'sqlite' ? 'on' : 'off' })).stop()).code, 0);
      checkStorage(at);
      t.diagnostic(`${kind}: ${JSON.stringify({ calls: n - 2, ...counts })}`);
    });
  });
}

describe('each call of a download that takes space in the database finds none', { skip: kinds[0].skip || needsCompiler }, () => {
  test('and the job gets its recording all the same', async (t) => {
    let release;
    const source = http.createServer(async (_, response) => {
      response.writeHead(200, { 'Content-Length': silence.length });
      response.write(silence.subarray(0, 1000));
      if (!release) await new Promise((resolve) => { release = resolve; }); // the first time
      response.end(silence.subarray(1000));
    });
    await once(source.listen(0, '127.0.0.1'), 'listening');
    source.unref();
    const allowed = `127.0.0.1:${source.address().port}`;
    const at = await place('sqlite', { env: { URL_FETCH: 'on', URL_FETCH_ALLOW: allowed } });
    const disks = shim({ data: path.join(at.folder, 'data') });
    const server = await still(at, disks);
    let n = 0;
    for (let reached = true; reached;) {
      n++;
      release = undefined;
      const fields = new FormData();
      fields.append('url', `http://${allowed}/a.wav`);
      const { status, body } = await transcribe(server, fields);
      assert.equal(status, 202, JSON.stringify(body));
      await until(() => release, Boolean);
      disks.failAt(server.pid, n);
      release();
      await until(() => at.rows(`SELECT j.status, s.fetched, j.error_message FROM jobs j JOIN job_sources s ON s.job_id = j.id WHERE j.id = '${body.job_id}'`)[0], ([now, fetched, why]) => {
        assert.notEqual(now, 'failed', `call ${n}, ${disks.calls().names[n - 1]}: ${why}`);
        return fetched === '1';
      });
      reached = disks.calls().count >= n;
      assert.ok(stored(at).includes(body.job_id), `call ${n}: its recording is not there`);
    }
    assert.ok(n > 3, `only ${n} calls`);
    t.diagnostic(`calls: ${n - 1}`);
    source.closeAllConnections();
    source.close();
    assert.equal((await server.stop()).code, 0);
  });
});

describe('an upload in several requests whose last one finds no room', { skip: kinds[0].skip || needsCompiler }, () => {
  test('becomes a job when there is some, though its client does not come again', async () => {
    const at = await place('sqlite');
    const disks = shim({ data: path.join(at.folder, 'data'), uploads: path.join(at.storage, 'uploads') });
    const server = await at.serve({ ...disks.env, EMBEDDED_WORKERS: 'on' });
    const bytes = silence;
    const headers = { 'Tus-Resumable': '1.0.0' };
    const made = await fetch(`${server.url}/uploads`, { method: 'POST', headers: { ...headers, 'Upload-Length': String(bytes.length) } });
    assert.equal(made.status, 201);
    const where = made.headers.get('location');
    const send = (from, to) => fetch(new URL(where, server.url), {
      method: 'PATCH',
      headers: { ...headers, 'Upload-Offset': String(from), 'Content-Type': 'application/offset+octet-stream' },
      body: bytes.subarray(from, to),
    });
    assert.equal((await send(0, 1000)).status, 204);
    const settled = new Promise((resolve) => {
      // The part loses its suffix when all bytes are committed, and before there is a job.
      const watcher = fs.watch(path.join(at.storage, 'uploads'), (_, name) => {
        if (name.endsWith('.part')) return;
        disks.full('data', true);
        watcher.close();
        resolve();
      });
    });
    // A disk that is not stopped in time was faster than this test: then there is a job.
    const { status } = await send(1000, bytes.length);
    await settled;
    assert.ok([204, 507].includes(status));
    disks.full('data', 0);
    const id = where.split('/').at(-1);
    const job = await until(async () => (await getJson(server, `/jobs/${id}`)), (answer) => answer.status === 200);
    assert.equal(job.body.id, id);
    assert.equal((await waitForJob(server, id)).status, 'completed');
    assert.equal((await server.stop()).code, 0);
    checkStorage(at);
  });
});

describe('a journal that cannot be synced', { skip: kinds[0].skip || needsCompiler }, () => {
  test('and a service that is killed then leave no job without its recording', async () => {
    const at = await place('sqlite');
    const disks = shim({ data: path.join(at.folder, 'data'), uploads: path.join(at.storage, 'uploads') });
    let server = await still(at, disks);
    disks.unsynced('data', true);
    const { status } = await transcribe(server, form(silence, 'a.wav'));
    assert.ok([503, 507].includes(status), `${status}`);
    await server.kill();
    disks.unsynced('data', 0);
    // What is in the journal may count now.
    server = await at.serve({ EMBEDDED_WORKERS: 'on' });
    for (const id of rowsOf(at)) assert.equal((await waitForJob(server, id)).status, 'completed');
    assert.equal((await server.stop()).code, 0);
    checkStorage(at);
  });
});
