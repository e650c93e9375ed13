// Copies made under load, half of them killed: each that is complete brings back a state the service was in.
// SQLite and PostgreSQL, recordings and copies in folders and buckets, encrypted and not.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  anyRecording, copies, keyFile, Ledger, run, sha256,
} from '../lib/backups.mjs';
import {
  chance, kinds, long, place, seed, size, sleep,
} from '../lib/faults.mjs';
import { BUCKET, S3 } from '../lib/s3.mjs';
import { form, getJson, hasEnded, until } from '../lib/server.mjs';
import { checkStorage } from '../lib/uploading.mjs';

const places = [
  { kind: 'sqlite', storage: 'folder', depot: 'folder', sealed: true, short: true },
  { kind: 'postgresql', storage: 's3', depot: 's3', sealed: false, short: true },
  { kind: 'sqlite', storage: 'folder', depot: 's3', sealed: false },
  { kind: 'postgresql', storage: 'folder', depot: 'folder', sealed: true },
];

/** Uploads, and now and then takes one away again. */
async function client(n, server, ledger, more, counts) {
  const { random, pick, between } = chance(`client ${n}`);
  while (more()) {
    if (random() < 0.35 && ledger.kept.length > 12) {
      const job = pick(ledger.kept);
      job.leaves = Date.now();
      const { status } = await fetch(`${server.url}/jobs/${job.id}`, { method: 'DELETE' });
      job.left = Date.now();
      assert.ok([200, 404].includes(status), `a deletion was answered ${status}`);
      counts.deleted++;
    } else {
      const bytes = anyRecording(1 + 2 * random());
      const fleeting = random() < 0.15;
      const entry = ledger.asked(bytes, { fleeting });
      const response = await fetch(`${server.url}/transcribe`, { method: 'POST', body: form(bytes, `${n}.wav`, fleeting ? { retain: 'none' } : {}) });
      const body = await response.json();
      assert.equal(response.status, 202, JSON.stringify(body));
      ledger.accepted(entry, body.job_id);
      counts.uploaded++;
    }
    await sleep(between(100, 400));
  }
}

/** An upload that never becomes whole: it is no part of a copy. */
async function halfAnUpload(server) {
  const headers = { 'Tus-Resumable': '1.0.0' };
  const made = await fetch(`${server.url}/uploads`, { method: 'POST', headers: { ...headers, 'Upload-Length': '64000' } });
  const where = new URL(made.headers.get('location'), server.url);
  const sent = await fetch(where, {
    method: 'PATCH',
    body: anyRecording().subarray(0, 10000),
    headers: { ...headers, 'Upload-Offset': '0', 'Content-Type': 'application/offset+octet-stream' },
  });
  assert.equal(sent.status, 204);
}

/** Restore it into an empty place, start a service there, and see what that knows. */
async function bringBack(what, copy, env, ledger) {
  const at = await place(what.kind, { env: { EMBEDDED_WORKERS: 'on' } });
  const there = {
    ...env, ...at.env, HOME: at.folder, STORAGE_URL: what.storage === 's3' ? `s3://${BUCKET}/back-${path.basename(at.folder)}` : '',
  };
  const done = await run(there, ['restore', copy.name]);
  assert.equal(done.status, 0, done.err);
  const files = new Map(at.rows('SELECT id FROM jobs WHERE audio_present').map(([id]) => [id, null]));
  const server = await at.serve({ ...there, EMBEDDED_WORKERS: 'on' });
  const { jobs, total } = (await getJson(server, '/jobs?limit=500')).body;
  assert.ok(total <= 500);
  const ids = jobs.map(({ id }) => id);
  for (const id of files.keys()) {
    const answer = await fetch(`${server.url}/jobs/${id}/audio`);
    assert.equal(answer.status, 200, `the recording of ${id}`);
    assert.equal(sha256(Buffer.from(await answer.arrayBuffer())), ledger.jobs.get(id).sha256, id);
  }
  for (const job of jobs.filter(({ status }) => status === 'completed').slice(0, 3)) {
    assert.equal((await fetch(`${server.url}/jobs/${job.id}/download?format=json`)).status, 200);
  }
  assert.deepEqual(at.rows('SELECT id FROM uploads').length, 0, 'uploads that were not whole');
  return { ids, files: [...files.keys()], server, at };
}

function judge(copy, back, ledger) {
  const { must, mustNot } = ledger.sure(copy.began, copy.ended);
  const there = new Set(back.ids);
  assert.deepEqual(must.filter((id) => !there.has(id)), [], 'acknowledged before the copy, and not in it');
  assert.deepEqual(mustNot.filter((id) => there.has(id)), [], 'in the copy, and must not be');
  const fits = ledger.moment(back.ids, copy.began, copy.ended);
  assert.ok(fits, `${copy.name}: the service was never in this state`);
}

for (const what of places.filter(({ short }) => short || long)) {
  const { skip } = kinds.find(({ name }) => name === what.kind);
  const label = `${what.kind}, recordings in a ${what.storage}, ${what.sealed ? 'encrypted ' : ''}copies in a ${what.depot}`;
  describe(`copies under load: ${label}`, { skip }, () => {
    test(`bring back what was there (WT_FAULT_SEED=${seed})`, { timeout: size(300, 1500) * 1000 }, async (t) => {
      const s3 = [what.storage, what.depot].includes('s3') && await new S3().start();
      const at = await place(what.kind, { env: { ...(s3 && s3.env('live')), ...(what.storage === 'folder' && { STORAGE_URL: '' }), NO_PROXY: '127.0.0.1' } });
      const env = {
        ...at.env,
        HOME: at.folder,
        BACKUP_DIR: what.depot === 's3' ? `s3://${BUCKET}/copies` : path.join(at.folder, 'copies'),
        ...(what.sealed && { BACKUP_KEY_FILE: keyFile() }),
      };
      const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const ledger = new Ledger();
      const counts = { uploaded: 0, deleted: 0 };
      let going = true;
      const clients = [0, 1, 2].map((n) => client(n, server, ledger, () => going, counts));
      const failed = Promise.all(clients);
      failed.catch(() => {});
      await until(() => ledger.kept.length, (n) => n >= 12);
      await halfAnUpload(server);

      const { between } = chance(`kills ${label}`);
      const objects = () => (what.depot === 's3' ? s3.keys('copies/objects/') : fs.readdirSync(path.join(env.BACKUP_DIR, 'objects')));
      const made = [];
      const killed = { begun: 0, remains: 0 };
      let duration = 500;
      for (let i = 0; i < size(5, 13); i++) {
        const before = i ? (await copies(env)).map(({ name }) => name) : [];
        const kill = i % 2 ? between(0, duration) : undefined;
        const held = i && objects().length;
        const done = await run(env, ['backup', '--json'], { kill });
        const now = await copies(env);
        const fresh = now.filter(({ name }) => !before.includes(name));
        assert.equal(now.filter(({ error }) => error).length, 0, JSON.stringify(now));
        if (done.signal) {
          killed.begun++;
          killed.remains += objects().length > held;
          assert.ok(fresh.length <= 1); // it may have been killed behind its last step
        } else {
          assert.equal(done.status, 0, done.err);
          assert.equal(fresh.length, 1);
          assert.equal(JSON.parse(done.out).missing, 0);
          duration = done.ended - done.began;
        }
        for (const { name } of fresh) made.push({ name, began: done.began, ended: done.ended });
      }
      // One that is not killed clears up behind all before.
      const last = await run(env, ['backup', '--json']);
      assert.equal(last.status, 0, last.err);
      made.push({ name: JSON.parse(last.out).name, began: last.began, ended: last.ended });
      going = false;
      await failed;

      const drill = await run(env, ['backup', 'drill']);
      assert.equal(drill.status, 0, drill.err);
      const named = new Set();
      let restored = 0;
      for (const copy of made) {
        const verified = await run(env, ['backup', 'verify', copy.name]);
        assert.equal(verified.status, 0, verified.err);
        const back = await bringBack(what, copy, env, ledger);
        judge(copy, back, ledger);
        back.files.forEach((id) => named.add(id));
        restored += back.ids.length;
        if (copy === made.at(-1)) {
          // What was pending or at work at that moment goes on.
          await until(async () => (await getJson(back.server, '/jobs?limit=500')).body.jobs, (list) => list.every(hasEnded));
        }
        assert.equal((await back.server.stop()).code, 0);
      }
      assert.equal(objects().length, named.size + made.length, 'objects that no copy needs, or the other way round');
      if (what.depot === 's3') assert.equal(s3.uploads.size, 0);
      assert.equal((await server.stop()).code, 0);
      // What was held while its job was deleted goes, at the latest when a service begins.
      assert.equal((await (await at.serve({ EMBEDDED_WORKERS: 'on' })).stop()).code, 0);
      if (what.storage === 'folder' && what.kind === 'sqlite') checkStorage(at);
      await s3?.stop?.();
      t.diagnostic(`${label}: ${JSON.stringify({ seed, ...counts, copies: made.length, killed, jobsRestored: restored, ms: duration })}`);
    });
  });
}
