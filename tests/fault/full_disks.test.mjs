// Small disks that are really full, each a file system of its own for the database, the uploads
// and the scratch files: uploads are refused before that, what is there can be read, jobs wait.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { command, kinds, place, postgres } from '../lib/faults.mjs';
import {
  form, hasEnded, hold, tempFolder, until, wav,
} from '../lib/server.mjs';
import { checkStorage, joined } from '../lib/uploading.mjs';

const MIB = 1048576;
const speech = joined('clean.wav', 'clean.wav', 'noisy.wav', 'clean.wav');

/** A file system at a folder of that size, or the test skips. */
function mount(t, folder, size, owner = 0) {
  fs.mkdirSync(folder, { recursive: true });
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size},uid=${owner},mode=0750`, 'tmpfs', folder]).status !== 0) {
    t.skip('no right to mount a file system');
    return false;
  }
  t.after(() => spawnSync('umount', ['-l', folder]));
  return true;
}

const freeAt = (folder) => { const s = fs.statfsSync(folder); return s.bavail * s.bsize; };

/** Takes all of a disk but so many bytes; returns what gives it back. */
function fill(folder, leave = 0) {
  const filler = path.join(folder, 'filler');
  const fd = fs.openSync(filler, 'w');
  const block = Buffer.alloc(65536);
  try {
    while (freeAt(folder) > leave) fs.writeSync(fd, block, 0, Math.min(block.length, Math.max(4096, freeAt(folder) - leave)));
  } catch (error) {
    assert.equal(error.code, 'ENOSPC');
  }
  fs.closeSync(fd);
  return () => fs.rmSync(filler);
}

function keyOf(at) {
  const { status, out, err } = command(at, 'keys', 'create', '--name=a', '--scope=read,transcribe,admin');
  assert.equal(status, 0, err);
  return out.trim();
}

/** A caller with a key: what a key has used is written down, and must not stop a reader. */
function callerOf(server, key) {
  const headers = { Authorization: `Bearer ${key}` };
  const ask = async (where, init = {}) => {
    const answer = await fetch(server.url + where, { ...init, headers: { ...headers, ...init.headers } });
    const text = await answer.text();
    let body = text;
    try { body = JSON.parse(text); } catch { /* not all answers are JSON */ }
    return { status: answer.status, body, retryAfter: answer.headers.get('retry-after') };
  };
  const self = {
    ask,
    submit: (bytes, fields) => ask('/transcribe', { method: 'POST', body: form(bytes, 'a.wav', fields) }),
    accepted: async (bytes) => {
      const { status, body } = await self.submit(bytes);
      assert.equal(status, 202, JSON.stringify(body));
      return body.job_id;
    },
    refused: async (bytes) => {
      const { status, body, retryAfter } = await self.submit(bytes);
      assert.equal(status, 507, JSON.stringify(body));
      assert.equal(body.error_code, 'disk_full');
      assert.ok(Number(retryAfter) > 0);
    },
    job: async (id) => (await ask(`/jobs/${id}`)).body,
    ended: (id) => until(() => self.job(id), hasEnded),
    ready: (status) => until(() => ask('/health/ready'), (answer) => answer.status === status),
    /** All that is only read, of a job that has been completed. */
    reads: async (id) => {
      for (const where of [`/jobs/${id}`, `/jobs/${id}/download?format=vtt`, `/jobs/${id}/audio`, '/jobs', '/', '/health/live', '/metrics']) {
        const { status, body } = await ask(where, { headers: { Accept: where === '/' ? 'text/html' : '*/*' } });
        assert.equal(status, 200, `${where}: ${JSON.stringify(body)}`);
      }
    },
  };
  return self;
}

describe('a disk that is full', { skip: kinds[0].skip }, () => {
  let reason = false;
  test('of uploads, of scratch files, of an SQLite database', async (t) => {
    const at = await place('sqlite');
    const disks = { data: path.join(at.folder, 'data'), uploads: path.join(at.storage, 'uploads'), scratch: path.join(at.storage, 'scratch') };
    for (const [name, size] of Object.entries({ data: '24m', uploads: '80m', scratch: '8m' })) {
      reason ||= !mount(t, disks[name], size);
      if (reason) return;
    }
    const key = keyOf(at);
    const server = await at.serve({ EMBEDDED_WORKERS: 'on', AUTH: 'key' });
    const c = callerOf(server, key);
    await c.ready(200);
    const known = await c.accepted(speech);
    const text = (await c.ended(known)).transcript;
    assert.ok(text.length > 20);

    await t.test('uploads: refused while there is still room for what is here', async () => {
      const free = fill(disks.uploads, 63 * MIB);
      await c.refused(wav());
      assert.ok(freeAt(disks.uploads) > 60 * MIB);
      assert.equal((await c.ready(503)).body.failing, 'storage');
      await c.reads(known);
      free();
      await c.ready(200);
      assert.equal((await c.ended(await c.accepted(wav()))).status, 'completed');
    });

    await t.test('scratch: a job waits until there is room, and says so', async () => {
      const free = fill(disks.scratch);
      assert.equal((await c.ready(503)).body.failing, 'storage');
      const id = await c.accepted(speech);
      await until(() => server.log(), (log) => new RegExp(`${id} put off: .*No space left`).test(log));
      const waiting = await until(() => c.job(id), ({ status }) => status === 'pending');
      assert.equal(waiting.message, "Waiting until the server's disk has room");
      await c.reads(known);
      free();
      const began = performance.now();
      const job = await c.ended(id);
      assert.equal(job.status, 'completed', job.error_message);
      assert.equal(job.transcript, text);
      assert.deepEqual(at.rows(`SELECT crashes FROM jobs WHERE id = '${id}'`), [['0']]);
      t.diagnostic(`scratch: done ${Math.round(performance.now() - began)} ms after there was room`);
      await c.ready(200);
    });

    await t.test('database: new jobs are refused while there is still room for the results of those that are here', async () => {
      const goOn = await hold(server);
      const id = await c.accepted(speech);
      const free = fill(disks.data, 3 * MIB);
      await c.refused(wav());
      assert.ok(freeAt(disks.data) > 1 * MIB);
      assert.equal((await c.ready(503)).body.failing, 'database');
      goOn();
      const job = await c.ended(id); // there was room for it
      assert.equal(job.status, 'completed', job.error_message);
      assert.equal(job.transcript, text);
      await c.reads(known);
      free();
      await c.ready(200);
    });

    await t.test('database: a result waits until it can be written', async () => {
      const goOn = await hold(server);
      const id = await c.accepted(speech);
      const free = fill(disks.data);
      await c.refused(wav());
      goOn();
      await until(() => server.log(), (log) => new RegExp(`${id}.* not saved yet, trying again`).test(log)
        || /no job can be taken from the queue: .*full/.test(log));
      await c.reads(known);
      free();
      const job = await c.ended(id);
      assert.equal(job.status, 'completed', job.error_message);
      assert.equal(job.transcript, text);
      await c.ready(200);
    });

    assert.equal((await server.stop()).code, 0);
    assert.deepEqual(at.rows('PRAGMA integrity_check'), [['ok']]);
    checkStorage(at);
  });
});

describe('a disk of PostgreSQL that is full', { skip: kinds[1].skip }, () => {
  test('refuses jobs, answers readers, and goes on with all that was accepted', async (t) => {
    const at = await place('postgresql', {});
    const disk = path.join(tempFolder(), 'small');
    const folder = path.join(disk, 'space');
    fs.chmodSync(path.dirname(disk), 0o755);
    const owner = process.getuid() === 0 ? 65534 : process.getuid();
    if (!mount(t, disk, '64m', owner)) return;
    fs.mkdirSync(folder, { mode: 0o700 });
    fs.chownSync(folder, owner, owner);
    postgres().sql(`CREATE TABLESPACE small LOCATION '${folder}'`);
    postgres().sql(`ALTER DATABASE "${path.basename(at.folder)}" SET TABLESPACE small`);
    const key = keyOf(at);
    const server = await at.serve({ AUTH: 'key' });
    const worker = await at.work();
    const c = callerOf(server, key);
    const known = await c.accepted(speech);
    const text = (await c.ended(known)).transcript;

    const free = fill(disk);
    const ids = [];
    let refused = 0;
    // Until no page has room: what is asked for with each does not get smaller when packed.
    for (let i = 0; i < 2000 && refused < 3; i++) {
      const { status, body, retryAfter } = await c.submit(i % 20 ? wav() : speech, { prompt: randomBytes(300).toString('base64') });
      assert.ok([202, 507].includes(status), JSON.stringify(body));
      if (status === 202) ids.push(body.job_id);
      else { refused++; assert.ok(Number(retryAfter) > 0); }
      await c.reads(known);
    }
    assert.equal(refused, 3);
    free();
    await until(() => c.submit(wav()), ({ status }) => status === 202);
    for (const id of ids) assert.equal((await c.ended(id)).status, 'completed');
    assert.equal((await c.job(known)).transcript, text);
    await worker.stop();
    assert.equal((await server.stop()).code, 0);
    checkStorage(at);
    t.diagnostic(`postgresql: ${JSON.stringify({ accepted: ids.length, refused })}`);
    postgres().stop();
  });
});
