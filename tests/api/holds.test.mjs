// Jobs on hold: nobody removes them, by no door, by no verb and by no round of the retention.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { command, kinds, place } from '../lib/faults.mjs';
import { makeKey } from '../lib/keys.mjs';
import { form, getJson, startServer, tempFolder, transcribe, until, waitForJob, wav } from '../lib/server.mjs';

const json = { 'Content-Type': 'application/json' };
const post = (server, id, reason, headers = {}) => getJson(server, `/jobs/${id}/hold`, {
  method: 'POST', headers: { ...json, ...headers }, body: JSON.stringify({ reason }),
});

async function submit(server, fields) {
  const { body } = await transcribe(server, form(wav(), 'a.wav', fields));
  return body.job_id;
}

/** Change a file whose service is stopped. */
function ageSqlite(folder, sql) {
  const script = 'import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()';
  assert.equal(spawnSync('python3', ['-c', script, `${folder}/data/app.db`, sql]).status, 0);
}

async function ended(server, id) {
  return until(async () => (await getJson(server, '/jobs?limit=500')).body.jobs.find((job) => job.id === id),
    (job) => job && ['completed', 'failed', 'cancelled'].includes(job.status));
}

for (const { name, skip } of kinds.filter((kind) => kind.name !== 'redis')) {
  describe(`holds on ${name}`, { skip, timeout: 120_000 }, () => {
    test('keep a job from its owner and from every verb, over a restart', async () => {
      const at = await place(name);
      let server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const id = await submit(server);
      await waitForJob(server, id);
      assert.equal((await getJson(server, `/jobs/${id}`)).body.hold, undefined);

      assert.equal((await post(server, id, '')).status, 400);
      assert.equal((await post(server, id, 'a\nb')).status, 400);
      assert.equal((await post(server, id, 'x'.repeat(501))).status, 400);
      const placed = await post(server, id, 'court case 7');
      assert.equal(placed.status, 200, JSON.stringify(placed.body));
      assert.equal(placed.body.hold.reason, 'court case 7');
      await server.stop();

      server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      assert.equal((await getJson(server, `/jobs/${id}`)).body.hold.reason, 'court case 7');
      const refused = await getJson(server, `/jobs/${id}`, { method: 'DELETE' });
      assert.equal(refused.status, 409);
      assert.equal(refused.body.error_code, 'on_hold');
      assert.doesNotMatch(refused.body.detail, /court/);
      const many = await getJson(server, `/jobs?ids=${id}`, { method: 'DELETE' });
      assert.equal(many.body.deleted, 0);
      assert.equal(many.body.results[0].error_code, 'on_hold');

      // The database itself refuses, for versions that know nothing of holds.
      try { at.change(`DELETE FROM jobs WHERE id = '${id}'`); } catch { /* SQLite says so */ }
      try { at.change(`UPDATE jobs SET audio_present = ${name === 'sqlite' ? '0' : 'false'}`); } catch { /* the same */ }
      assert.deepEqual(at.rows('SELECT count(*) FROM jobs WHERE audio_present'), [['1']]);

      const list = command(at, 'hold', 'ls', '--json');
      assert.equal(list.status, 0, list.err);
      assert.equal(JSON.parse(list.out)[0].reason, 'court case 7');
      assert.equal(command(at, 'hold', 'rm', id).status, 0);
      assert.equal(command(at, 'hold', 'rm', id).status, 1);
      assert.equal((await getJson(server, `/jobs/${id}`)).body.hold, undefined);
      assert.equal(command(at, 'hold', 'add', id, '--reason', 'again').status, 0);
      assert.equal((await getJson(server, `/jobs/${id}/hold`, { method: 'DELETE' })).body.hold, null);
      assert.equal((await getJson(server, `/jobs/${id}/hold`, { method: 'DELETE' })).status, 404);
      assert.equal((await getJson(server, `/jobs/${id}`, { method: 'DELETE' })).status, 200);
      assert.equal((await post(server, id, 'too late')).status, 404);
      const { body: audit } = await getJson(server, '/audit');
      assert.deepEqual(audit.events.map((e) => e.event).filter((e) => e.startsWith('hold')).sort(),
        ['hold_placed', 'hold_placed', 'hold_taken_back', 'hold_taken_back']);
      await server.stop();
    });

    test('keep a failed job from purge-dead, and through a retry', async () => {
      const at = await place(name);
      const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const [held, other] = [await submit(server), await submit(server)];
      await Promise.all([held, other].map((id) => ended(server, id)));
      at.change("UPDATE jobs SET status = 'failed', error_code = 'crash'");
      await post(server, held, 'evidence');
      const purged = await getJson(server, '/admin/queue/purge-dead', { method: 'POST', headers: json, body: '{}' });
      assert.equal(purged.body.purged, 1);
      assert.deepEqual(fs.readdirSync(`${at.storage}/uploads`), [held]);
      assert.equal((await getJson(server, `/jobs/${held}/retry`, { method: 'POST' })).status, 200);
      await waitForJob(server, held);
      assert.equal((await getJson(server, `/jobs/${held}`)).body.hold.reason, 'evidence');
      await server.stop();
    });

    test('keep a job that was to leave nothing behind', async () => {
      const at = await place(name);
      const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const id = await submit(server, { retain: 'none' });
      await post(server, id, 'evidence');
      const done = await until(async () => (await getJson(server, `/jobs/${id}`)).body, (job) => job.status === 'completed');
      assert.equal(done.hold.reason, 'evidence');
      assert.match(at.rows('SELECT audio_present FROM jobs')[0][0], /^(1|t)/);
      assert.equal((await getJson(server, `/jobs/${id}`)).status, 200);
      await getJson(server, `/jobs/${id}/hold`, { method: 'DELETE' });
      assert.equal((await getJson(server, `/jobs/${id}`)).status, 200); // fetched: gone from now on
      await until(async () => (await getJson(server, `/jobs/${id}`)).status, (status) => status === 410);
      await server.stop();
    });
  });
}

test('the retention passes over what is on hold', { timeout: 120_000 }, async () => {
  const folder = tempFolder();
  const env = { DATABASE_URL: `sqlite:///${folder}/data/app.db` };
  let server = await startServer({ folder, env });
  const [held, other] = [await submit(server), await submit(server)];
  await Promise.all([held, other].map((id) => waitForJob(server, id)));
  await post(server, held, 'evidence');
  await server.stop();
  ageSqlite(folder, 'UPDATE jobs SET completed_ms = completed_ms - 40 * 86400000, created_ms = created_ms - 40 * 86400000');
  server = await startServer({ folder, env });
  await until(async () => (await getJson(server, '/jobs')).body.total, (total) => total === 1);
  const { body } = await getJson(server, `/jobs/${held}`);
  assert.equal(body.hold.reason, 'evidence');
  assert.equal((await fetch(`${server.url}/jobs/${held}/audio`)).status, 200);
  await server.stop();
});

test('why a job is on hold is for admins alone', { timeout: 60_000 }, async () => {
  const folder = tempFolder();
  const admin = makeKey(folder, { name: 'a', scope: 'admin' });
  const owner = makeKey(folder, { name: 'o', scope: 'read,transcribe' });
  const server = await startServer({ folder });
  const as = (key) => ({ Authorization: `Bearer ${key}` });
  const made = await fetch(`${server.url}/transcribe`, { method: 'POST', body: form(wav()), headers: as(owner) });
  const { job_id: id } = await made.json();
  assert.equal((await post(server, id, 'secret', as(owner))).status, 403);
  assert.equal((await post(server, id, 'secret', as(admin))).status, 200);
  const seen = (await getJson(server, `/jobs/${id}`, { headers: as(owner) })).body.hold;
  assert.ok(seen.since);
  assert.equal(seen.reason, undefined);
  assert.equal((await getJson(server, `/jobs/${id}`, { headers: as(admin) })).body.hold.reason, 'secret');
  assert.equal((await getJson(server, `/jobs/${id}`, { method: 'DELETE', headers: as(owner) })).status, 409);
  await server.stop();
});
