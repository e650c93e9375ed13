// The power goes between any two changes of the disk, from a first start over uploads to
// deletions and a backup: whatever a file system may have kept, the service starts on it, keeps all that it
// had promised, and takes no half file for a whole one.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  chance, kinds, long, place, seed, size,
} from '../lib/faults.mjs';
import {
  Disk, digest, moments, put, recorder, take,
} from '../lib/power.mjs';
import {
  binary, form, getJson, hasEnded, startServer, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { skip as needsCompiler } from '../lib/shim.mjs';
import { joined } from '../lib/uploading.mjs';

const recordings = { clean: joined('clean.wav'), noisy: joined('noisy.wav'), mixed: joined('noisy.wav', 'telephone.wav', 'clean.wav') };
const sha = (bytes) => createHash('sha256').update(bytes).digest('hex');
const tusHead = { 'Tus-Resumable': '1.0.0' };

/** Where many small folders come and go: not on a slow disk, if it can be helped. */
const scratch = fs.mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir(), 'wt-power-'));
process.on('exit', () => fs.rmSync(scratch, { recursive: true, force: true }));

const hasBackup = spawnSync(binary, ['backup', '--help']).status === 0;

/** The verb, beside whoever else uses the folder. */
async function backup(folder, args, env = {}) {
  const child = spawn(binary, ['backup', ...args], {
    env: { PATH: process.env.PATH, HOME: folder, ...envOf(folder), ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (data) => { out += data; });
  child.stderr.on('data', (data) => { err += data; });
  const [code] = await once(child, 'close');
  return { code, out, err };
}

/** A copy that was told of is there, and each that is there is whole. */
async function checkCopies(folder, promised) {
  if (!hasBackup) return;
  const { code, out, err } = await backup(folder, ['list', '--json']);
  if (!fs.existsSync(path.join(folder, 'backups'))) { // nobody has begun one
    assert.deepEqual([code, [...promised]], [1, []]);
    assert.match(err, /there is no folder of copies/);
    return;
  }
  assert.equal(code, 0, `backup list: ${err}`);
  const names = JSON.parse(out).map(({ name }) => name);
  if (!names.length) assert.match((await backup(folder, ['list'])).out, /^no copies in /);
  for (const name of promised) assert.ok(names.includes(name), `the copy ${name} is gone`);
  for (const name of names) {
    const verified = await backup(folder, ['verify', name]);
    assert.equal(verified.code, 0, `the copy ${name}: ${verified.out}${verified.err}`);
  }
}

const text = async (server, id) => {
  const answer = await fetch(`${server.url}/jobs/${id}/download?format=txt`);
  return { status: answer.status, text: await answer.text() };
};

/** Everything that a client does; `mark` is told what it hears. Returns name → text. */
async function scenario(server, mark, folder, env) {
  const texts = {};
  const accepted = (id, name, more = {}) => { mark({ job: id, name, sha: sha(recordings[name]), ...more }); return id; };
  const submit = async (name, { fields, key, fleeting } = {}) => {
    const answer = await fetch(`${server.url}/transcribe`, {
      method: 'POST', body: form(recordings[name], `${name}.wav`, fields), headers: key ? { 'Idempotency-Key': key } : {},
    });
    assert.equal(answer.status, 202);
    return accepted((await answer.json()).job_id, name, { key, fleeting });
  };
  const done = async (id, name) => {
    assert.equal((await waitForJob(server, id)).status, 'completed');
    const told = await text(server, id);
    texts[name] ??= told.text;
    assert.equal(told.text, texts[name]);
    mark({ done: id, text: told.text });
  };
  const first = await submit('clean', { key: 'once' });
  await done(first, 'clean');
  await tus(server, mark, accepted, 'mixed', done);
  const [a, b] = [await submit('noisy'), await submit('clean')];
  await done(a, 'noisy');
  const copied = async () => {
    if (!hasBackup) return;
    const { code, out, err } = await backup(folder, ['--json'], env);
    assert.equal(code, 0, err);
    mark({ copy: JSON.parse(out).name });
  };
  await copied();
  mark({ asked: 'delete', job: first });
  assert.equal((await fetch(`${server.url}/jobs/${first}`, { method: 'DELETE' })).status, 200);
  mark({ deleted: first });
  await done(b, 'clean');
  const c = await submit('noisy', { fields: { retain: 'none' }, fleeting: true });
  mark({ asked: 'delete', job: c });
  await waitForJob(server, c);
  await text(server, c);
  await until(() => getJson(server, `/jobs/${c}`), ({ status }) => status === 410);
  mark({ deleted: c });
  await submit('mixed');
  await copied();
  return texts;
}

/** An upload in pieces, of which one breaks off, and one that is left half done. */
async function tus(server, mark, accepted, name, done) {
  const bytes = recordings[name];
  const make = async () => {
    const made = await fetch(`${server.url}/uploads`, {
      method: 'POST', headers: { ...tusHead, 'Upload-Length': String(bytes.length), 'Upload-Metadata': `filename ${Buffer.from(`${name}.wav`).toString('base64')}` },
    });
    assert.equal(made.status, 201);
    const where = new URL(made.headers.get('location'), server.url).pathname;
    mark({ upload: where, offset: 0, name });
    return where;
  };
  const send = async (where, from, to, { breaks } = {}) => {
    const controller = new AbortController();
    const body = breaks ? new ReadableStream({
      start: (c) => { c.enqueue(bytes.subarray(from, to)); setTimeout(() => controller.abort(), 200); },
    }) : bytes.subarray(from, to);
    await fetch(server.url + where, {
      method: 'PATCH', body, duplex: 'half', signal: controller.signal,
      headers: { ...tusHead, 'Upload-Offset': String(from), 'Content-Type': 'application/offset+octet-stream' },
    }).then((answer) => answer.arrayBuffer(), (error) => assert.ok(breaks, error));
    const head = await fetch(server.url + where, { method: 'HEAD', headers: tusHead });
    const offset = Number(head.headers.get('upload-offset'));
    mark({ upload: where, offset, name });
    return { offset, job: head.headers.get('location')?.split('/').at(-1) };
  };
  const [half, where] = [await make(), await make()];
  await send(half, 0, 40_000);
  let { offset, job } = await send(where, 0, 150_000);
  ({ offset } = await send(where, offset, offset + 120_000, { breaks: true }));
  ({ offset } = await send(half, 40_000, 140_000));
  assert.equal(offset, 140_000);
  ({ offset } = await send(where, (await send(where, 0, 0)).offset, 300_000));
  ({ offset, job } = await send(where, offset, bytes.length));
  assert.equal(offset, bytes.length);
  accepted(job, name);
  await done(job, name);
}

/** What has been promised and holds: {jobs: id → promise, done: id → text, uploads, deleted, copies}. */
function standing(promises) {
  const now = { jobs: new Map(), done: new Map(), uploads: new Map(), deleted: new Set(), copies: new Set() };
  for (const p of promises) {
    if (p.upload) now.uploads.set(p.upload, p);
    else if (p.done) now.done.set(p.done, p.text);
    else if (p.copy) now.copies.add(p.copy);
    else if (p.deleted) now.deleted.add(p.deleted);
    else if (p.asked) { now.jobs.delete(p.job); now.done.delete(p.job); } else now.jobs.set(p.job, p);
  }
  return now;
}

/** Recordings of jobs that nobody was told of are whole as well. */
async function checkRecordings(server, jobs) {
  const whole = new Set(Object.values(recordings).map(sha));
  for (const { id } of jobs) {
    const answer = await fetch(`${server.url}/jobs/${id}/audio`);
    const bytes = Buffer.from(await answer.arrayBuffer());
    if ([404, 410].includes(answer.status)) continue; // retain=none
    assert.equal(answer.status, 200, `the recording of ${id}: ${answer.status} ${bytes.subarray(0, 200)}`);
    assert.ok(whole.has(sha(bytes)), `the recording of ${id} is not whole: ${bytes.length} bytes`);
  }
}

/** A service on that state: {problem} in words, or nothing. `finish`: also all goes on to its end. */
async function check(state, promises, texts, finish) {
  const folder = fs.mkdtempSync(path.join(scratch, 'at-'));
  put(state, folder);
  const { jobs, done, uploads, deleted, copies } = standing(promises);
  let server;
  try {
    server = await startServer({ folder, env: envOf(folder) });
    for (const [id, promise] of jobs) {
      const { status, body } = await getJson(server, `/jobs/${id}`);
      assert.equal(status, 200, `acknowledged and gone: ${JSON.stringify(promise)}`);
      assert.ok(body.status !== 'failed', `${id} failed: ${body.error_message}`);
      const audio = await fetch(`${server.url}/jobs/${id}/audio`);
      if (promise.fleeting && audio.status === 410) continue; // it was done and went
      assert.equal(sha(Buffer.from(await audio.arrayBuffer())), promise.sha, `the recording of ${id}: ${audio.status}`);
    }
    for (const [id, told] of done) {
      assert.equal((await getJson(server, `/jobs/${id}`)).body.status, 'completed', `${id} was completed`);
      assert.deepEqual(await text(server, id), { status: 200, text: told });
    }
    for (const id of deleted) assert.ok([404, 410].includes((await getJson(server, `/jobs/${id}`)).status), `${id} was deleted`);
    for (const [where, { offset }] of uploads) {
      const head = await fetch(server.url + where, { method: 'HEAD', headers: tusHead });
      assert.equal(head.status, 200, `the upload ${where}: ${head.status}`);
      assert.ok(Number(head.headers.get('upload-offset')) >= offset, `${where}: ${head.headers.get('upload-offset')} after ${offset}`);
    }
    await checkRecordings(server, (await getJson(server, '/jobs?limit=500')).body.jobs);
    await checkCopies(folder, copies);
    if (finish) await copyAgain(folder);
    if (finish) await goOn(server, { jobs, uploads, texts });
    const { code } = await server.stop();
    assert.equal(code, 0, 'it was stopped');
    const left = [...fs.readdirSync(path.join(folder, 'storage/uploads'))].filter((name) => deleted.has(name.slice(0, 36)));
    assert.deepEqual(left, [], 'recordings that were deleted');
    return null;
  } catch (error) {
    await server?.kill();
    return `${error.message}\n${server?.log() ?? ''}`;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** The next copy is made, whatever is left of those before. */
async function copyAgain(folder) {
  if (!hasBackup) return;
  const { code, out, err } = await backup(folder, ['--json']);
  assert.equal(code, 0, `the next backup: ${err}`);
  await checkCopies(folder, new Set([JSON.parse(out).name]));
}

/** What was pending completes, uploads go on where they were, a key stays one job. */
async function goOn(server, { jobs, uploads, texts }) {
  for (const [where, { name }] of uploads) {
    const head = await fetch(server.url + where, { method: 'HEAD', headers: tusHead });
    const offset = Number(head.headers.get('upload-offset'));
    if (offset === recordings[name].length) continue;
    const answer = await fetch(server.url + where, {
      method: 'PATCH', body: recordings[name].subarray(offset), headers: { ...tusHead, 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream' },
    });
    assert.equal(answer.status, 204, `${where} goes on at ${offset}: ${await answer.text()}`);
  }
  const known = [...jobs.values()].find(({ key }) => key);
  if (known) {
    const answer = await fetch(`${server.url}/transcribe`, {
      method: 'POST', body: form(recordings[known.name], `${known.name}.wav`), headers: { 'Idempotency-Key': known.key },
    });
    assert.equal((await answer.json()).job_id, known.job, 'a key is one job');
  }
  const again = await transcribe(server, form(wav(), 'after.wav'));
  assert.equal(again.status, 202, JSON.stringify(again.body));
  const list = await until(async () => (await getJson(server, '/jobs?limit=500')).body.jobs, (all) => all.every(hasEnded));
  for (const { id, status, original_filename: file } of list) {
    assert.equal(status, 'completed', `${id}: ${JSON.stringify(list.find((job) => job.id === id))}`);
    const name = file.replace('.wav', '');
    if (texts[name]) assert.equal((await text(server, id)).text, texts[name], `${id}, ${file}`);
  }
}

const envOf = (folder) => ({
  STORAGE_DIR: path.join(folder, 'storage'), DATABASE_URL: `sqlite:///${path.join(folder, 'data/app.db')}`, BACKUP_DIR: path.join(folder, 'backups'),
  WORKER_CONCURRENCY: '1', WORKER_THREADS: '1', LOG_LEVEL: 'WARNING',
});

/** Records a run; what the model has of it at the end is what the disk has. */
async function recorded(run) {
  const at = await place('sqlite');
  const record = recorder(at.folder);
  const server = await at.serve({ ...record.env, EMBEDDED_WORKERS: 'on' });
  const texts = await run(server, record.mark, at.folder, record.env);
  assert.equal((await server.stop()).code, 0, server.log());
  const records = record.read();
  const disk = new Disk();
  for (const each of records) if (each.what !== 'mark') disk.step(each);
  const [model, real] = [disk.state('whole'), take(at.folder)];
  assert.deepEqual([...model.keys()].sort(), [...real.keys()].sort());
  for (const [name, bytes] of real) assert.ok(bytes === null || bytes.equals(model.get(name)), `${name} was not recorded as it is`);
  return { records, texts };
}

/** All different states in their order, or so many of each kind, by chance. */
function states(records, most) {
  const { random, shuffle } = chance('states');
  const only = process.env.WT_POWER_AT; // KIND:CUT, to have one again
  const all = [];
  for (const { cut, kind, promises } of moments(records, ['strict', 'whole', 'torn'])) all.push({ cut, kind, promises });
  if (only) return all.filter(({ cut, kind }) => `${kind}:${cut}` === only);
  if (!most) return all;
  void random;
  return ['strict', 'torn', 'whole'].flatMap((kind) => shuffle(all.filter((each) => each.kind === kind)).slice(0, most[kind]));
}

describe('power', { skip: kinds[0].skip || needsCompiler }, () => {
  test('that goes after a first start and a first job leaves the job', async () => {
    const { records, texts } = await recorded(async (server, mark) => {
      const { body } = await transcribe(server, form(recordings.clean, 'clean.wav'));
      mark({ job: body.job_id, name: 'clean', sha: sha(recordings.clean) });
      return {};
    });
    const [{ disk, promises }] = [...moments(records, ['strict'])].slice(-1);
    assert.equal(await check(disk.state('strict'), promises, texts, true), null);
  });

  test(`that goes at any moment takes nothing with it (WT_FAULT_SEED=${seed})`, { timeout: size(600, 7200) * 1000 }, async (t) => {
    const { records, texts } = await recorded(scenario);
    const many = Number(process.env.WT_POWER_STATES); // so many of each kind
    const chosen = new Set(states(records, many ? { strict: many, torn: many, whole: many } : long ? null : { strict: 60, torn: 60, whole: 20 }).map(({ kind, cut }) => `${kind}:${cut}`));
    const { random } = chance('torn');
    const seen = new Set();
    const problems = [];
    const counts = { strict: 0, torn: 0, whole: 0, finished: 0, same: 0 };
    const running = new Set();
    for (const { cut, kind, promises, disk } of moments(records, ['strict', 'whole', 'torn'])) {
      if (!chosen.has(`${kind}:${cut}`)) continue;
      const state = disk.state(kind, chance(`torn ${cut}`).random);
      const key = digest(state);
      if (seen.has(key) && kind !== 'strict') { counts.same++; continue; }
      seen.add(key);
      counts[kind]++;
      const finish = random() < size(0.15, 0.1);
      if (finish) counts.finished++;
      const checking = check(state, promises, texts, finish)
        .then((problem) => { if (problem) problems.push({ cut, kind, problem }); })
        .finally(() => running.delete(checking));
      running.add(checking);
      while (running.size >= 3) await Promise.race(running);
    }
    await Promise.all(running);
    t.diagnostic(`power: ${JSON.stringify({ seed, changes: records.filter(({ what }) => what !== 'mark').length, syncs: records.filter(({ what }) => what.startsWith('sync')).length, ...counts, problems: problems.length })}`);
    if (process.env.WT_POWER_LIST) fs.writeFileSync(process.env.WT_POWER_LIST, JSON.stringify(problems, null, 1));
    assert.deepEqual(problems.slice(0, 3), [], `${problems.length} states are not survived`);
  });
});
