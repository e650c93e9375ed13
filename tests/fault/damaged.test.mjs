// Recordings that were damaged on the way, on purpose or by a hostile hand: each upload is
// taken or refused with a reason, each job ends, and nothing is left behind by any.
//
// WT_DAMAGED=1000 makes so many (60 by default); WT_FAULT_SEED repeats a run.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  children, form, getJson, hasModel, startServer, tempFolder, transcribe, until, waitForJob,
} from '../lib/server.mjs';

const golden = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../engine/golden');
const count = Number(process.env.WT_DAMAGED ?? 60);
const seed = Number(process.env.WT_FAULT_SEED ?? Date.now() % 1e9);
const SLOTS = 4; // uploads at once

const random = ((state) => () => { // xorshift32
  state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
})(seed >>> 0 || 1);
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

const formats = {
  'a.wav': ['-c:a', 'pcm_s16le'],
  'b.wav': ['-ar', '44100', '-ac', '2', '-c:a', 'pcm_s24le'],
  'c.mp3': ['-c:a', 'libmp3lame', '-b:a', '48k'],
  'd.flac': ['-c:a', 'flac'],
  'e.ogg': ['-c:a', 'libvorbis'],
  'f.opus': ['-c:a', 'libopus', '-b:a', '24k'],
  'g.webm': ['-c:a', 'libopus', '-b:a', '24k'],
  'h.m4a': ['-c:a', 'aac'],
  'i.mp4': ['-c:a', 'aac', '-movflags', '+faststart'],
  'j.mkv': ['-c:a', 'flac'],
  'k.aac': ['-c:a', 'aac', '-f', 'adts'],
  'l.aiff': ['-c:a', 'pcm_s16be'],
  'm.wma': ['-c:a', 'wmav2'],
  'n.amr': ['-ar', '8000', '-c:a', 'libopencore_amrnb'],
  'o.caf': ['-c:a', 'pcm_s16le'],
};

/** Two seconds of speech in every format that this ffmpeg writes. */
function good(folder) {
  const made = [];
  for (const [name, options] of Object.entries(formats)) {
    const file = path.join(folder, name);
    const { status } = spawnSync('ffmpeg', ['-v', 'error', '-y', '-t', '2', '-i', path.join(golden, 'clean.wav'),
      ...options, file]);
    if (status === 0) made.push({ name, bytes: fs.readFileSync(file) });
  }
  return made;
}

// Each takes bytes and returns others.
const damages = {
  truncated: (b) => b.subarray(0, below(b.length)),
  'a hole': (b) => { const c = Buffer.from(b); const at = below(c.length); c.fill(0, at, Math.min(c.length, at + below(4096))); return c; },
  swapped: (b) => {
    const n = 1 + below(Math.min(4096, b.length >> 2));
    const [x, y] = [below(b.length - n), below(b.length - n)];
    const c = Buffer.from(b);
    b.copy(c, x, y, y + n);
    b.copy(c, y, x, x + n);
    return c;
  },
  'a lying size': (b) => { // where headers keep their lengths
    const c = Buffer.from(b);
    const value = pick([0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0, below(2 ** 32)]);
    const at = below(Math.min(c.length - 8, 512));
    if (random() < 0.5) c.writeUInt32LE(value, at); else c.writeUInt32BE(value, at);
    return c;
  },
  'bits turned': (b) => fuzzed(b, 0.0004),
  'many bits turned': (b) => fuzzed(b, 0.02),
  'a head alone': (b) => Buffer.concat([b.subarray(0, 16 + below(256)), Buffer.alloc(below(20000), below(256))]),
  doubled: (b) => Buffer.concat([b, b.subarray(below(b.length))]),
  'a piece left out': (b) => { const at = below(b.length); return Buffer.concat([b.subarray(0, at), b.subarray(at + below(2000))]); },
};

/** zzuf's damage where it is installed, else our own of the same kind. */
function fuzzed(bytes, ratio) {
  const { status, stdout } = spawnSync('zzuf', ['-s', String(below(1e9)), '-r', String(ratio)],
    { input: bytes, maxBuffer: 1 << 26 });
  if (status === 0 && stdout.length) return stdout;
  const c = Buffer.from(bytes);
  for (let i = 0; i < bytes.length * 8 * ratio; i++) c[below(c.length)] ^= 1 << below(8);
  return c;
}

const refusals = [400, 413, 415, 422];
async function judge(server, { name, bytes }) {
  const answer = await transcribe(server, form(bytes, name, { language: 'en', beam_size: '1' }));
  if (answer.status !== 202) {
    assert.ok(refusals.includes(answer.status), `${answer.status} ${JSON.stringify(answer.body)}`);
    assert.match(answer.body.detail, /.{10,}/);
    return `refused ${answer.status} ${answer.body.error_code}`;
  }
  const job = await waitForJob(server, answer.body.job_id);
  assert.ok(['completed', 'failed'].includes(job.status), JSON.stringify(job));
  if (job.status === 'failed') {
    assert.match(job.error_message, /.{10,}/);
    assert.ok(!/crash|internal/i.test(`${job.error_code} ${job.error_message}`), JSON.stringify(job));
  }
  const gone = await getJson(server, `/jobs/${job.id}`, { method: 'DELETE' });
  assert.equal(gone.status, 200);
  return job.status === 'failed' ? `failed ${job.error_code}` : 'completed';
}

const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;
const family = (pid) => [pid, ...children(pid).flatMap(family)];
function privateKib(pid) {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return [...rollup.matchAll(/Private_\w+: +(\d+)/g)].reduce((sum, m) => sum + Number(m[1]), 0);
}

test(`${count} damaged recordings (seed ${seed})`, {
  skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS',
}, async (t) => {
  const sound = good(tempFolder());
  assert.ok(sound.length > 8, 'ffmpeg writes too few formats');
  const server = await startServer({ env: { WORKER_CONCURRENCY: '1', LOG_LEVEL: 'INFO' } });
  for (const file of sound) // each is good before it is damaged, and the worker is warm
    assert.equal(await judge(server, file), 'completed', file.name);
  const quiet = () => until(() => family(server.pid), (pids) => pids.length === 2);
  const [, worker] = await quiet();
  const begun = { fds: descriptors(server.pid), workerFds: descriptors(worker), memory: privateKib(worker) };

  const tally = {};
  let next = 0;
  async function slot() {
    while (next++ < count) {
      const file = pick(sound);
      const [how, damage] = pick(Object.entries(damages));
      const bytes = damage(file.bytes);
      try {
        const outcome = await judge(server, { name: file.name, bytes });
        tally[outcome] = (tally[outcome] ?? 0) + 1;
      } catch (why) {
        const kept = path.join(process.env.WT_DAMAGED_KEEP ?? tempFolder(), `${seed}-${next}-${file.name}`);
        fs.writeFileSync(kept, bytes);
        throw new Error(`${file.name}, ${how} (${kept}): ${why.message}\n${server.log().slice(-2000)}`);
      }
    }
  }
  await Promise.all(Array.from({ length: SLOTS }, slot));
  t.diagnostic(JSON.stringify(tally));

  assert.deepEqual(server.stored(), [], 'files are left');
  const [, same] = await quiet(); // no decoder is left
  assert.equal(same, worker, 'the worker died');
  assert.ok(!/\b(ERROR|died|crash)/.test(server.log()), server.log().slice(-3000));
  // Some are of connections that fetch keeps open, and of the database's readers.
  assert.ok(descriptors(server.pid) <= begun.fds + 24, 'serve leaks descriptors');
  assert.ok(descriptors(worker) <= begun.workerFds + 2, 'the worker leaks descriptors');
  const grown = privateKib(worker) - begun.memory;
  assert.ok(grown < 48 * 1024, `the worker grew by ${grown} KiB`);
  const { code } = await server.stop();
  assert.equal(code, 0, server.log());
});
