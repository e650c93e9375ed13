// What expires goes, what is damaged is found, what is erased is gone, and disks that fill up
// stop uploads before they stop anything else.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { runSection } from '../lib/document.mjs';
import { command, kinds, place, sleep } from '../lib/faults.mjs';
import {
  form, getJson, hasModel, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const speech = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));
const MIB = 1 << 20;
const DAY = 86400000;

async function submit(server, bytes = wav(), fields = {}, name = 'a.wav') {
  const { status, body } = await transcribe(server, form(bytes, name, fields));
  assert.equal(status, 202, JSON.stringify(body));
  return body.job_id;
}

async function done(server, ...args) {
  const id = await submit(server, ...args);
  await waitForJob(server, id);
  return id;
}

const older = (id, days) => `UPDATE jobs SET created_ms = created_ms - ${days * DAY}, started_ms = started_ms - ${days * DAY}, `
  + `completed_ms = completed_ms - ${days * DAY} WHERE id = '${id}'`;

const verb = (at, ...args) => {
  const { status, out, err } = command(at, ...args, '--json');
  return { status, err, body: status === 2 ? undefined : JSON.parse(out) };
};

for (const { name, skip } of kinds.filter((kind) => kind.name !== 'redis')) {
  describe(`prune on ${name}`, { skip, timeout: 120_000 }, () => {
    test('says what would go, and why, and removes that and no more', async () => {
      const at = await place(name);
      let server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const ids = {};
      for (const who of ['fresh', 'week', 'month', 'held', 'own']) {
        ids[who] = await done(server, wav(), who === 'own' ? { retain: '3' } : {}, `${who}\u001b[2J.wav`);
      }
      assert.equal(command(at, 'hold', 'add', ids.held, '--reason', 'x').status, 0);
      await server.stop();
      for (const [who, days] of [['week', 8], ['month', 31], ['held', 31], ['own', 4]]) at.change(older(ids[who], days));
      // What a crash left: a file that no job has, old and young.
      const left = ['old', 'young'].map((_, i) => path.join(at.storage, 'uploads', `01a20ef5-0000-7000-8000-00000000000${i}`));
      left.forEach((file) => fs.writeFileSync(file, 'x'.repeat(10)));
      fs.utimesSync(left[0], 1, 1);

      const dry = verb(at, 'prune', '--dry-run');
      assert.equal(dry.status, 0, dry.err);
      const told = Object.fromEntries(dry.body.items.map((item) => [item.id, item]));
      assert.equal(told[ids.month].what, 'job');
      assert.match(told[ids.month].why, /TRANSCRIPT_RETENTION_DAYS/);
      assert.equal(told[ids.own].what, 'job');
      assert.match(told[ids.own].why, /retain=/);
      assert.equal(told[ids.week].what, 'recording');
      assert.equal(told[path.basename(left[0])].what, 'leftover');
      assert.equal(dry.body.items.length, 4);
      assert.equal(dry.body.held, 1);
      assert.equal(dry.body.bytes, 3 * wav().length + 10);
      assert.equal(at.rows('SELECT count(*) FROM jobs')[0][0], '5');
      assert.equal(fs.readdirSync(path.join(at.storage, 'uploads')).length, 7);
      assert.doesNotMatch(command(at, 'prune', '--dry-run').out, /\u001b/);

      const real = verb(at, 'prune');
      assert.deepEqual({ ...real.body, items: 0, dry_run: 0 }, { ...dry.body, items: 0, dry_run: 0 });
      assert.deepEqual(at.rows('SELECT id FROM jobs ORDER BY id').flat(), [ids.fresh, ids.week, ids.held].sort());
      assert.deepEqual(fs.readdirSync(path.join(at.storage, 'uploads')).sort(), [ids.fresh, ids.held, path.basename(left[1])].sort());
      const again = verb(at, 'prune');
      assert.deepEqual(again.body.items, []);

      // Beside a service, with other days.
      server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      assert.equal(verb(at, 'prune', '--older-than', '5').body.jobs, 1);
      assert.equal((await getJson(server, `/jobs/${ids.week}`)).status, 404);
      assert.equal((await getJson(server, `/jobs/${ids.fresh}`)).status, 200);
      assert.equal((await getJson(server, `/jobs/${ids.held}`)).status, 200);
      assert.equal(command(at, 'prune', '--older-than', 'x').status, 2);
      await server.stop();
    });

    test('the database is looked through, and what is wrong is said', async () => {
      const at = await place(name);
      let server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const ids = [await done(server), await done(server), await done(server)];
      let metrics = await (await fetch(`${server.url}/metrics`)).text();
      assert.match(metrics, /database_check_last_timestamp_seconds 0\.000/);
      assert.deepEqual(verb(at, 'database', 'check').body, { ok: true, findings: [] });
      metrics = await (await fetch(`${server.url}/metrics`)).text();
      assert.match(metrics, /database_check_last_findings 0\n/);
      fs.rmSync(path.join(at.storage, 'uploads', ids[0]));
      fs.truncateSync(path.join(at.storage, 'uploads', ids[1]), 100);
      const bad = verb(at, 'database', 'check', '--quick');
      assert.equal(bad.status, 1);
      assert.equal(bad.body.findings.length, 2);
      assert.ok(bad.body.findings.some((text) => text.includes(ids[0]) && /lost its recording/.test(text)));
      assert.ok(bad.body.findings.some((text) => text.includes(ids[1]) && /has 100 bytes/.test(text)));
      metrics = await (await fetch(`${server.url}/metrics`)).text();
      assert.match(metrics, /database_check_last_findings 2\n/);
      assert.equal(verb(at, 'database', 'vacuum').status, 0);
      await server.stop();
      server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      assert.equal((await getJson(server, '/jobs')).body.total, 3);
      await server.stop();
    });
  });
}

test('a damaged file is found, and said loudly; vacuum gives space back', { timeout: 120_000 }, async () => {
  const at = await place('sqlite');
  const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
  await done(server);
  await server.stop();
  const file = path.join(at.folder, 'data/app.db');
  at.change("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
    + "INSERT INTO settings SELECT 'filler' || i, hex(randomblob(1000)) FROM n");
  at.change("DELETE FROM settings WHERE name LIKE 'filler%'");
  const { body } = verb(at, 'database', 'vacuum');
  assert.ok(body.whole);
  assert.ok(body.after_bytes < body.before_bytes / 2, JSON.stringify(body));
  assert.deepEqual(verb(at, 'database', 'check').body, { ok: true, findings: [] });
  // A page in the middle of it.
  const bytes = fs.readFileSync(file);
  const page = Math.floor(bytes.length / 4096 / 2) * 4096;
  bytes.fill(0xa5, page, page + 4096);
  fs.writeFileSync(file, bytes);
  const bad = command(at, 'database', 'check');
  assert.equal(bad.status, 1, bad.out);
  assert.match(bad.err, /damaged|pages/);
  assert.match(bad.err, /backup/);
});

/** Files below a folder that hold one of the texts or bytes, in any of their shapes. */
function holding(folder, needles) {
  return fs.readdirSync(folder, { recursive: true }).map((name) => path.join(folder, name))
    .filter((name) => fs.statSync(name).isFile())
    .filter((name) => { const bytes = fs.readFileSync(name); return needles.some((needle) => bytes.includes(needle)); })
    .map((name) => path.relative(folder, name));
}

/** A file system of that size, or the test skips. */
function mount(t, size) {
  const folder = tempFolder();
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]).status !== 0) {
    t.skip('no right to mount a file system');
    return undefined;
  }
  t.after(() => spawnSync('umount', ['-l', folder]));
  return folder;
}

const pressure = async (server, volume) => Number(new RegExp(`disk_pressure{volume="${volume}"} (\\d)`)
  .exec(await (await fetch(`${server.url}/metrics`)).text())?.[1]);

// They wait most of the time: for the rounds of the service.
describe('erased, and full disks', { concurrency: true }, () => {
  for (const secure of ['off', 'on']) {
    test(`nothing of a deleted job is left in any file, with SECURE_ERASE=${secure}`,
      { timeout: 120_000, skip: !hasModel('tiny') && 'ggml-tiny.bin is not in WT_TEST_MODELS' }, async () => {
        const at = await place('sqlite', { env: { SECURE_ERASE: secure } });
        const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
        const stays = await done(server, wav(), {}, 'stays.wav');
        const id = await done(server, speech, {}, 'Zwetschgenkuchen.wav');
        const text = (await (await fetch(`${server.url}/jobs/${id}/download?format=txt`)).text()).trim();
        const words = text.split(/\W+/).filter((word) => word.length > 6);
        assert.ok(words.length > 3, text);
        const needles = [...words, ...words.map((word) => word.toLowerCase()), 'Zwetschgenkuchen', 'zwetschgenkuchen',
          speech.subarray(20000, 20064)];
        assert.ok(holding(at.folder, needles).length >= 2);
        const recording = path.join(at.storage, 'uploads', id);
        const other = path.join(at.folder, 'another-name'); // of the same blocks of the disk
        fs.linkSync(recording, other);
        assert.equal((await getJson(server, `/jobs/${id}`, { method: 'DELETE' })).status, 200);
        if (secure === 'on') assert.ok(fs.readFileSync(other).every((byte) => byte === 0), 'overwritten');
        fs.rmSync(other);
        // The index of the search and the journal are cleared within the next half minute.
        await until(async () => { await sleep(500); return holding(at.folder, needles); }, (files) => files.length === 0);
        assert.equal((await getJson(server, `/jobs/${stays}`)).status, 200);
        await server.stop();
        assert.deepEqual(holding(at.folder, needles), []);
      });
  }

  test('prune leaves nothing of what it removes either, without a service', { timeout: 60_000, skip: !hasModel('tiny') && 'no model' }, async () => {
    const at = await place('sqlite', { env: { SECURE_ERASE: 'on' } });
    const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
    const id = await done(server, speech, {}, 'Zwetschgenkuchen.wav');
    const words = (await (await fetch(`${server.url}/jobs/${id}/download?format=txt`)).text()).split(/\W+/).filter((word) => word.length > 6);
    await server.stop();
    const needles = [...words, ...words.map((word) => word.toLowerCase()), 'wetschgenkuchen', speech.subarray(20000, 20064)];
    const link = path.join(at.folder, 'another-name');
    fs.linkSync(path.join(at.storage, 'uploads', id), link);
    assert.equal(verb(at, 'prune', '--older-than', '0').body.jobs, 1);
    assert.ok(fs.readFileSync(link).every((byte) => byte === 0));
    assert.deepEqual(holding(at.folder, needles), []);
  });

  for (const volume of ['storage', 'database']) {
    test(`as the disk of the ${volume} fills up, what has expired goes, then uploads are refused, and all else goes on`, { timeout: 120_000 }, async (t) => {
      const disk = mount(t, '400m');
      if (!disk) return;
      const where = volume === 'storage' ? { STORAGE_DIR: path.join(disk, 'storage') } : { DATABASE_URL: `sqlite:///${path.join(disk, 'app.db')}` };
      const at = await place('sqlite', { env: { DISK_LOW_PERCENT: '50', DISK_STOP_PERCENT: '30' } });
      Object.assign(at.env, where);
      let server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const expired = await done(server);
      const stays = await done(server, speech);
      const text = await (await fetch(`${server.url}/jobs/${stays}/download?format=txt`)).text();
      assert.equal(await pressure(server, volume), 0);

      // It expires while the service runs: the next round is an hour away.
      const database = volume === 'storage' ? path.join(at.folder, 'data/app.db') : path.join(disk, 'app.db');
      const age = (id) => spawnSync('python3', ['-c', 'import sqlite3,sys; c=sqlite3.connect(sys.argv[1], timeout=10); c.execute(sys.argv[2]); c.commit()', database, older(id, 40)]);
      assert.equal(age(expired).status, 0);
      fs.writeFileSync(path.join(disk, 'filler'), Buffer.alloc(220 * MIB));
      await until(() => pressure(server, volume), (level) => level === 1);
      await until(async () => (await getJson(server, `/jobs/${expired}`)).status, (status) => status === 404);
      assert.match(server.log(), /filling up/);
      const last = await submit(server, speech);

      fs.writeFileSync(path.join(disk, 'filler2'), Buffer.alloc(75 * MIB));
      await until(() => pressure(server, volume), (level) => level === 2);
      const refused = await transcribe(server, form(wav()));
      assert.equal(refused.status, 507, JSON.stringify(refused.body));
      const tus = await fetch(`${server.url}/uploads`, { method: 'POST', headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': '100' } });
      assert.equal(tus.status, 507);
      // What reads or ends goes on; a proxy must not take the service out for it.
      assert.equal((await fetch(`${server.url}/health/ready`)).status, 200);
      await waitForJob(server, last);
      assert.equal(await (await fetch(`${server.url}/jobs/${last}/download?format=txt`)).text(), text);
      assert.equal((await getJson(server, `/jobs/${last}`, { method: 'DELETE' })).status, 200);

      fs.rmSync(path.join(disk, 'filler'));
      fs.rmSync(path.join(disk, 'filler2'));
      await until(() => pressure(server, volume), (level) => level === 0);
      await done(server);
      assert.equal(await (await fetch(`${server.url}/jobs/${stays}/download?format=txt`)).text(), text);
      await server.stop();
      server = undefined;
    });
  }
});

test('what docs/operations.md says to type', { timeout: 60_000 }, async () => {
  const at = await place('sqlite');
  const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
  const id = await done(server);
  const bin = path.join(at.folder, 'bin');
  fs.mkdirSync(bin);
  fs.symlinkSync(process.env.WT_BINARY, path.join(bin, 'whisper-transcriber'));
  const printed = runSection('Keep and forget', { env: { ...at.env, JOB: id, PATH: `${bin}:${process.env.PATH}` }, cwd: at.folder });
  assert.match(printed[0], /would go: 0 job[^]*removed: 0 job/);
  assert.match(printed[1], /court case 7/);
  assert.match(printed[2], /are sound/);
  assert.match(printed[3], /MB before/);
  await server.stop();
});
