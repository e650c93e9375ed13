// `backup` and `restore`, and the sections of docs/operations.md about them: the commands, what
// they say when something is wrong, and that nothing is ever half.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  anyRecording, copies, keyFile, run, sha256,
} from '../lib/backups.mjs';
import { blocks, runBlock, runSection } from '../lib/document.mjs';
import { kinds, place } from '../lib/faults.mjs';
import { BUCKET, S3 } from '../lib/s3.mjs';
import {
  binary, form, getJson, startServer, tempFolder, transcribe, until, waitForJob,
} from '../lib/server.mjs';
import { shim, skip as needsCompiler } from '../lib/shim.mjs';

const { skip } = kinds[0];

async function upload(server, bytes = anyRecording(), fields = {}) {
  const { status, body } = await transcribe(server, form(bytes, 'a.wav', fields));
  assert.equal(status, 202, JSON.stringify(body));
  return body.job_id;
}

/** A place with finished jobs and copies in a folder; nothing runs when it is returned. */
async function filled({ jobs = 2, sealed = false, kind = 'sqlite' } = {}) {
  const at = await place(kind, { env: { STORAGE_URL: '', EMBEDDED_WORKERS: 'on' } });
  const env = { ...at.env, HOME: at.folder, BACKUP_DIR: path.join(at.folder, 'copies'), ...(sealed && { BACKUP_KEY_FILE: keyFile() }) };
  const server = await at.serve({ ...env, EMBEDDED_WORKERS: 'on' });
  const ids = [];
  for (let i = 0; i < jobs; i++) ids.push(await upload(server));
  for (const id of ids) assert.equal((await waitForJob(server, id)).status, 'completed');
  return { at, env, server, ids };
}

const objects = (env) => fs.readdirSync(path.join(env.BACKUP_DIR, 'objects'));
const recording = (at, id) => path.join(at.storage, 'uploads', id);
const rows = (at) => at.rows('SELECT id FROM jobs ORDER BY id').map(([id]) => id);

/** The environment of an empty place beside `env`. */
async function elsewhere(env, kind = 'sqlite') {
  const at = await place(kind, { env: { STORAGE_URL: '', EMBEDDED_WORKERS: 'on' } });
  return { at, env: { ...env, ...at.env } };
}

describe('copies that are damaged, locked or strange', { skip }, () => {
  test('a folder in which nothing is yet has no copies, and the next backup makes one', async () => {
    const folder = tempFolder();
    const env = { HOME: folder, STORAGE_DIR: path.join(folder, 'storage'), DATABASE_URL: `sqlite:///${path.join(folder, 'data/app.db')}`, BACKUP_DIR: path.join(folder, 'copies') };
    const server = await startServer({ folder, env });
    fs.mkdirSync(env.BACKUP_DIR); // as a power cut may leave it
    const none = await run(env, ['backup', 'list']);
    assert.equal(none.status, 0, none.err);
    assert.match(none.out, /^no copies in /);
    assert.deepEqual(JSON.parse((await run(env, ['backup', 'list', '--json'])).out), []);
    for (const verb of [['backup', 'verify'], ['backup', 'drill']]) {
      const { status, err } = await run(env, verb);
      assert.equal(status, 1);
      assert.match(err, /there is no copy in .*make one with `backup`/);
    }
    assert.equal((await run(env, ['backup'])).status, 0);
    assert.equal(JSON.parse((await run(env, ['backup', 'list', '--json'])).out).length, 1);
    assert.equal((await server.stop()).code, 0);
  });

  test('are refused, and it is said what is the matter', async () => {
    const { env, server, ids, at } = await filled({ sealed: true });
    assert.equal((await run(env, ['backup'])).status, 0);
    assert.equal((await server.stop()).code, 0);
    const text = objects(env).map((name) => fs.readFileSync(path.join(env.BACKUP_DIR, 'objects', name), 'latin1')).join('');
    for (const clear of ['RIFF', 'SQLite format', ids[0]]) assert.ok(!text.includes(clear), `${clear} stands there in clear`);

    const other = await run({ ...env, BACKUP_KEY_FILE: keyFile() }, ['backup', 'verify']);
    assert.equal(other.status, 1);
    assert.match(other.err, /cannot be decrypted: the key in BACKUP_KEY_FILE is another one/);
    const none = await run({ ...env, BACKUP_KEY_FILE: '' }, ['restore', '--dry-run']);
    assert.match(none.err, /encrypted: name the file of the key/);
    const short = path.join(tempFolder(), 'short');
    fs.writeFileSync(short, 'hello\n');
    assert.equal((await run({ ...env, BACKUP_KEY_FILE: short }, ['backup'])).status, 2);

    // One byte, in each file in turn.
    for (const name of objects(env)) {
      const file = path.join(env.BACKUP_DIR, 'objects', name);
      const bytes = fs.readFileSync(file);
      const at = Math.floor(bytes.length / 2);
      fs.writeFileSync(file, Buffer.concat([bytes.subarray(0, at), Buffer.from([bytes[at] ^ 1]), bytes.subarray(at + 1)]));
      for (const verb of [['backup', 'verify'], ['backup', 'drill']]) {
        const { status, err } = await run(env, verb);
        assert.equal(status, 1);
        assert.ok(err.includes(name), `${verb.join(' ')}: ${err}`);
      }
      const back = await elsewhere(env);
      assert.equal((await run(back.env, ['restore'])).status, 1);
      assert.equal(fs.existsSync(path.join(back.at.folder, 'data/app.db')), false, 'half a restore');
      const left = path.join(back.at.storage, 'uploads');
      assert.deepEqual(fs.existsSync(left) ? fs.readdirSync(left) : [], [], 'recordings of half a restore');
      fs.writeFileSync(file, bytes);
    }
    fs.truncateSync(path.join(env.BACKUP_DIR, 'objects', objects(env)[0]), 70000);
    assert.equal((await run(env, ['backup', 'verify'])).status, 1);
    assert.equal((await run({ ...at.env }, ['backup'])).status, 2, 'BACKUP_DIR is not set');
  });

  test('a manifest of a later version, and one that was changed', async () => {
    const { env, server } = await filled();
    assert.equal((await run(env, ['backup'])).status, 0);
    assert.equal((await server.stop()).code, 0);
    const [{ name }] = await copies(env);
    const file = path.join(env.BACKUP_DIR, 'copies', `${name}.manifest`);
    const text = fs.readFileSync(file, 'utf8');
    const change = (from, to) => {
      const body = text.slice(0, text.lastIndexOf('sha256 ')).replace(from, to);
      fs.writeFileSync(file, `${body}sha256 ${createHash('sha256').update(body).digest('hex')}\n`);
    };
    const { env: there } = await elsewhere(env);
    change('"format": 1', '"format": 2');
    assert.match((await run(there, ['restore'])).err, /newer version of this program.*install that version/);
    change(/"schema": \d+/, '"schema": 999');
    assert.match((await run(there, ['restore'])).err, /newer version of this program \(schema 999/);
    change('"role": "recording"', '"role": "../../etc"');
    assert.match((await run(there, ['restore'])).err, /manifest of the copy is damaged/);
    fs.writeFileSync(file, text.replace('"jobs": 2', '"jobs": 3'));
    assert.match((await run(there, ['restore'])).err, /manifest of the copy is damaged/);
    change('"jobs": 2', '"jobs": 3');
    assert.match((await run(there, ['backup', 'drill'])).err, /holds 2 jobs.*where it held 3/);
    fs.writeFileSync(file, text);
    assert.equal((await run(there, ['restore'])).status, 0);
  });

  test('a disk that is full leaves nothing half, and the next copy is made', { skip: needsCompiler }, async () => {
    const { env, server } = await filled();
    fs.mkdirSync(env.BACKUP_DIR);
    const disks = shim({ copies: env.BACKUP_DIR });
    disks.full('copies', true);
    const { status, err } = await run({ ...env, ...disks.env }, ['backup']);
    assert.equal(status, 1);
    assert.match(err, /disk of the folder of copies .* is full .*BACKUP_RETENTION_DAYS/);
    assert.deepEqual(await copies(env), []);
    assert.deepEqual(objects(env), []);
    assert.match(await (await fetch(`${server.url}/metrics`)).text(), /backup_last_failure_timestamp_seconds [1-9]/);
    disks.full('copies', 0);
    assert.equal((await run({ ...env, ...disks.env }, ['backup'])).status, 0);
    assert.equal((await server.stop()).code, 0);
  });
});

describe('a place that is not empty', { skip }, () => {
  for (const { name: kind, skip: never } of kinds.filter(({ name }) => name !== 'redis')) {
    test(`is left alone, or put aside, on ${kind}`, { skip: never }, async () => {
      const { at, env, server, ids } = await filled({ kind });
      assert.equal((await run(env, ['backup'])).status, 0);
      const later = await upload(server);
      await waitForJob(server, later);
      assert.match((await run(env, ['restore', '--force'])).err, /running service/);
      const rehearsed = await run(env, ['restore', '--dry-run']);
      assert.equal(rehearsed.status, 0);
      assert.match(rehearsed.err, /warning: .*running service.*\n.*warning: .*--force/);
      assert.equal((await server.stop()).code, 0);
      const { status, err } = await run(env, ['restore']);
      assert.equal(status, 1);
      assert.match(err, /there is a database already, and 3 recording\(s\).*--force/);
      assert.equal((await run(env, ['restore', '--dry-run', '--force'])).status, 0);
      assert.deepEqual(rows(at), [...ids, later].sort());

      const { status: forced, out } = await run(env, ['restore', '--force']);
      assert.equal(forced, 0);
      assert.match(out, /what was there is now .*before/);
      assert.deepEqual(rows(at), [...ids].sort());
      assert.deepEqual(fs.readdirSync(path.join(at.storage, 'uploads')).sort(), [...ids].sort());
      const aside = fs.readdirSync(at.storage).find((name) => name.startsWith('before-'));
      assert.deepEqual(fs.readdirSync(path.join(at.storage, aside, 'uploads')).sort(), [...ids, later].sort());
      // It is named, and goes when that is said; the database only where it is a file of its own.
      const pieces = kind === 'sqlite' ? 2 : 1;
      const named = (r) => r.out.split('\n').filter((line) => line.startsWith('aside ')).length;
      const dry = await run(env, ['prune', '--dry-run']);
      assert.equal(named(dry), pieces, dry.out);
      assert.match(dry.out, new RegExp(`put aside by restores: ${pieces}, .* stay; --aside removes them`));
      assert.equal(named(await run(env, ['prune', '--dry-run', '--aside'])), pieces);
      assert.equal(named(await run(env, ['prune'])), pieces);
      assert.ok(fs.existsSync(path.join(at.storage, aside, 'uploads', later)));
      const gone = await run({ ...env, SECURE_ERASE: 'on' }, ['prune', '--aside']);
      assert.match(gone.out, /are gone/);
      assert.deepEqual(fs.readdirSync(at.storage).filter((name) => name.startsWith('before-')), []);
      assert.equal(named(await run(env, ['prune', '--dry-run'])), 0);
      const again = await at.serve({ ...env, EMBEDDED_WORKERS: 'on' });
      assert.equal((await getJson(again, `/jobs/${ids[0]}`)).body.status, 'completed');
      // What has two names is not overwritten under one of them.
      assert.equal(sha256(Buffer.from(await (await fetch(`${again.url}/jobs/${ids[0]}/audio`)).arrayBuffer())), sha256(fs.readFileSync(recording(at, ids[0]))));
      assert.ok(fs.readFileSync(recording(at, ids[0])).some((byte) => byte !== 0));
      assert.equal((await again.stop()).code, 0);
    });

    test(`is as it was, or as the copy, when a restore is killed, on ${kind}`, { skip: never }, async (t) => {
      const { at, env, server, ids } = await filled({ kind, jobs: 3 });
      const recordings = new Map(ids.map((id) => [id, sha256(fs.readFileSync(recording(at, id)))]));
      assert.equal((await run(env, ['backup'])).status, 0);
      const later = await upload(server);
      await waitForJob(server, later);
      recordings.set(later, sha256(fs.readFileSync(recording(at, later))));
      assert.equal((await fetch(`${server.url}/jobs/${ids[0]}`, { method: 'DELETE' })).status, 200);
      assert.equal((await server.stop()).code, 0);
      const before = rows(at).join();
      const after = [...ids].sort().join();
      const seen = { before: 0, after: 0 };
      for (let i = 0; i < 6; i++) {
        await run(env, ['restore', '--force'], { kill: 15 + 120 * i });
        const now = rows(at).join();
        assert.ok([before, after].includes(now), `neither as before nor as the copy: ${now}`);
        seen[now === before ? 'before' : 'after']++;
        for (const id of now.split(',')) {
          assert.equal(sha256(fs.readFileSync(recording(at, id))), recordings.get(id), `${id} after kill ${i}`);
        }
        if (now === after) break;
      }
      t.diagnostic(JSON.stringify(seen));
      assert.equal((await run(env, ['restore', '--force'])).status, 0);
      assert.equal(rows(at).join(), after);
    });
  }
});

describe('recordings in a bucket', { skip }, () => {
  test('are put aside there, and brought back', async () => {
    const s3 = await new S3().start();
    const at = await place('sqlite', { env: { ...s3.env('live'), EMBEDDED_WORKERS: 'on' } });
    const env = { ...at.env, HOME: at.folder, BACKUP_DIR: path.join(at.folder, 'copies') };
    const server = await at.serve({ ...env, NO_PROXY: '127.0.0.1', EMBEDDED_WORKERS: 'on' });
    const bytes = anyRecording();
    const id = await upload(server, bytes);
    await waitForJob(server, id);
    assert.equal((await run(env, ['backup'])).status, 0);
    const later = await upload(server);
    await waitForJob(server, later);
    assert.equal((await server.stop()).code, 0);
    const { status, out, err } = await run(env, ['restore', '--force']);
    assert.equal(status, 0, err);
    assert.match(out, /what was there is now .* and s3:.*before-/);
    assert.deepEqual(s3.keys('live/uploads/').map((key) => path.basename(key)), [id]);
    assert.equal(sha256(s3.object(`live/uploads/${id}`)), sha256(bytes));
    const aside = s3.keys('live/before-').map((key) => path.basename(key));
    assert.deepEqual(aside.sort(), [id, later].sort());
    await s3.stop();
  });
});

describe('a copy', { skip }, () => {
  test('has what was deleted while it was made, and the recordings go behind it', { timeout: 120000 }, async () => {
    const s3 = await new S3().start();
    const { env: folder, server, ids, at } = await filled({ jobs: 4 });
    const env = { ...folder, ...s3.env(), STORAGE_URL: '', BACKUP_DIR: `s3://${BUCKET}/copies` };
    let deleted = null;
    s3.fault = async ({ method, path: where }) => {
      // The moment is over when the first recording is brought.
      if (method === 'PUT' && where.includes('/objects/')) {
        deleted ??= Promise.all(ids.map((id) => fetch(`${server.url}/jobs/${id}`, { method: 'DELETE' })));
        assert.ok((await deleted).every(({ ok }) => ok));
        assert.deepEqual(rows(at), []);
      }
    };
    const made = await run(env, ['backup', '--json']);
    assert.equal(made.status, 0, made.err);
    assert.ok(deleted);
    s3.fault = undefined;
    assert.deepEqual([JSON.parse(made.out).recordings, JSON.parse(made.out).missing], [4, 0]);
    // Its service was told to stop holding them.
    await until(() => fs.readdirSync(path.join(at.storage, 'uploads')), (names) => !names.length);
    assert.equal((await server.stop()).code, 0);
    const back = await elsewhere(env);
    assert.equal((await run(back.env, ['restore'])).status, 0);
    assert.deepEqual(rows(back.at), [...ids].sort());
    await s3.stop();
  });

  test('goes when it is old, but never the newest; others keep what they share', async () => {
    const { env, server } = await filled();
    const first = JSON.parse((await run(env, ['backup', '--json'])).out);
    assert.equal((await run(env, ['backup'])).status, 0);
    const folder = path.join(env.BACKUP_DIR, 'copies');
    const aged = first.name.replace(/^\d{4}/, (year) => String(year - 1));
    fs.renameSync(path.join(folder, `${first.name}.manifest`), path.join(folder, `${aged}.manifest`));
    const third = JSON.parse((await run(env, ['backup', '--json'])).out);
    assert.equal(third.removed_copies, 1);
    assert.equal(third.copied_bytes < third.bytes, true, 'recordings that a former copy has are not copied again');
    assert.equal((await copies(env)).length, 2);
    for (const { name } of await copies(env)) assert.equal((await run(env, ['backup', 'verify', name])).status, 0);
    // The only one that is left stays, however old, when the next one cannot be made.
    const last = (await copies(env)).at(-1).name;
    for (const { name } of (await copies(env)).slice(0, -1)) fs.rmSync(path.join(folder, `${name}.manifest`));
    const old = last.replace(/^\d{4}/, (year) => String(year - 1));
    fs.renameSync(path.join(folder, `${last}.manifest`), path.join(folder, `${old}.manifest`));
    assert.equal((await run({ ...env, DATABASE_URL: 'sqlite:////nowhere/app.db' }, ['backup'])).status, 1);
    assert.deepEqual((await copies(env)).map(({ name }) => name), [old]);
    assert.equal((await run(env, ['backup', 'drill'])).status, 0);
    assert.match(await (await fetch(`${server.url}/metrics`)).text(), /backup_drill_last_success_timestamp_seconds 1\d{9}/);
    assert.equal((await server.stop()).code, 0);
  });

  test('is made again and again until it is told to stop, and not only while all goes well', async (t) => {
    const { at, env, server } = await filled({ jobs: 1 });
    t.after(() => server.stop());
    const begun = (more = {}) => {
      const child = spawn(binary, ['backup', '--no-settings', '--every', '1'], { env: { PATH: process.env.PATH, ...env, ...more }, stdio: ['ignore', 'pipe', 'pipe'] });
      t.after(() => child.kill('SIGKILL'));
      let said = '';
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { said += text; });
      return { child, said: () => said, ended: once(child, 'exit') };
    };
    const good = begun();
    await until(good.said, (said) => /: 1 jobs, /.test(said));
    const inTheWay = path.join(at.folder, 'file');
    fs.writeFileSync(inTheWay, '');
    const bad = begun({ BACKUP_DIR: path.join(inTheWay, 'copies') });
    await until(bad.said, (said) => said.length > 0);
    for (const one of [good, bad]) {
      assert.equal(one.child.exitCode, null, one.said());
      one.child.kill('SIGTERM');
      assert.deepEqual(await one.ended, [0, null], one.said());
    }
    assert.equal(JSON.parse((await run(env, ['backup', 'list', '--json'])).out).length, 1);
    for (const words of [['--every', '0'], ['--every', 'x'], ['--every', '8761'], ['list', '--every', '1']]) {
      assert.equal((await run(env, ['backup', ...words])).status, 2, words.join(' '));
    }
  });

  test('is made without a recording that the storage has lost, and says so', async () => {
    const { at, env, server, ids } = await filled();
    fs.rmSync(recording(at, ids[0]));
    const { status, err } = await run(env, ['backup']);
    assert.equal(status, 1);
    assert.match(err, /1 recordings of this copy are missing/);
    assert.equal((await copies(env))[0].missing, 1);
    assert.equal((await server.stop()).code, 0);
    const back = await elsewhere(env);
    assert.match((await run(back.env, ['restore'])).out, /1 recordings were missing/);
  });
});

describe('docs/operations.md', { skip }, () => {
  test('backs up, restores, and comes back from nothing', async () => {
    const root = tempFolder();
    const at = (name) => path.join(root, name);
    const conf = at('etc/whisper-transcriber/whisper-transcriber.conf');
    fs.mkdirSync(path.dirname(conf), { recursive: true });
    fs.symlinkSync(binary, at('whisper-transcriber'));
    fs.writeFileSync(at('systemctl'), '#!/bin/sh\n', { mode: 0o755 }); // this test starts and stops it itself
    const key = at('etc/whisper-transcriber/backup.key');
    const lines = {
      DATABASE_URL: `sqlite:///${at('var/data/app.db')}`,
      STORAGE_DIR: at('var/storage'),
      STORAGE_URL: '',
      BACKUP_DIR: at('var/backups/whisper-transcriber'),
    };
    fs.writeFileSync(conf, Object.entries(lines).map(([name, value]) => `${name}=${value}\n`).join(''));
    const clear = { WHISPER_CONFIG_FILE: conf, BACKUP_KEY_FILE: '', ...Object.fromEntries(Object.keys(lines).map((name) => [name, ''])) };
    const serve = () => startServer({ env: { ...lines, EMBEDDED_WORKERS: 'on' } });
    const section = (replace = []) => ({
      replace: [
        ['-o whisper-transcriber -g whisper-transcriber ', ''],
        ['/etc/whisper-transcriber', at('etc/whisper-transcriber')],
        ['/var/backups', at('var/backups')],
        ...replace,
      ],
      env: { ...clear, PATH: `${root}:${process.env.PATH}`, WHISPER_MODEL_DIR: process.env.WT_TEST_MODELS ?? '' },
      cwd: root,
    });
    let server = await serve();
    const id = await upload(server);
    await waitForJob(server, id);

    const made = runSection('Back up', section());
    assert.match(made[1], /^\d{8}T\d{6}Z-[0-9a-f]{8}: 1 jobs, 1 recordings/);
    assert.match(made[2], /all 3 files are as they were[^]*can be restored: 1 jobs, 1 transcripts, 1 recordings/);
    const named = () => JSON.parse(runBlock({ line: 0, text: 'whisper-transcriber backup list --json' }, section())).at(-1).files;
    assert.equal(named(), 3, 'the settings file is in it');
    runBlock({ line: 0, text: 'sleep 1; whisper-transcriber backup --no-settings' }, section());
    assert.equal(named(), 2);
    runBlock({ line: 0, text: 'sleep 1; whisper-transcriber backup' }, section());
    const later = await upload(server);
    await waitForJob(server, later);
    assert.equal((await server.stop()).code, 0);

    const back = runSection('Restore', section());
    assert.match(back[0], /^could restore/);
    assert.match(back[1], /^restored .*: 1 jobs[^]*what was there is now/);

    // Nothing is left but the copies and the key.
    fs.rmSync(at('var/data'), { recursive: true });
    fs.rmSync(at('var/storage'), { recursive: true });
    fs.writeFileSync(conf, ''); // as of an installation
    const [look, bring, see] = blocks('After a disaster').filter(({ language }) => language === 'sh');
    runBlock(look, section());
    assert.equal(fs.readFileSync(conf, 'utf8').includes(lines.DATABASE_URL), true);
    assert.equal(fs.readFileSync(conf, 'utf8').includes(`BACKUP_KEY_FILE=${key}\n`), true);
    assert.match(runBlock(bring, section([['models pull small', 'models list']])), /restored .*: 1 jobs/);
    server = await serve();
    const port = String(server.port);
    // It must answer meanwhile: it is a process of its own.
    runBlock(see, section([[':8000', `:${port}`]]));
    assert.equal((await getJson(server, `/jobs/${id}`)).body.status, 'completed');
    assert.equal((await getJson(server, `/jobs/${later}`)).status, 404);
    assert.equal((await server.stop()).code, 0);
  });
});
