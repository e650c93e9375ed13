// A service under steady load for a long time while its workers and decoders are killed:
// what it holds is written down again and again. script/soak and tests/fault/soak.test.mjs
// drive it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { chance, sleep } from './faults.mjs';
import {
  family, filesIn, flatness, processNow, sizeOf, unnamedIn,
} from './figures.mjs';
import { History } from './history.mjs';
import {
  children, form, hasEnded, until, wav,
} from './server.mjs';
import { joined, openai, tus } from './uploading.mjs';

/** Short enough that many come through, and not all alike. */
const recordings = {
  silence: wav({ seconds: 2 }),
  noisy: joined('noisy.wav'),
  telephone: joined('telephone.wav'),
  clean: joined('clean.wav'),
};
// What a decoder is needed for.
const packed = spawnSync('ffmpeg', ['-v', 'error', '-i', '-', '-f', 'mp3', '-'], { input: recordings.clean });
if (packed.status === 0) recordings.packed = packed.stdout;
const names = Object.keys(recordings);

/** So many deeds under way are more than the machine can do now: no more begin. */
const MOST = 48;

/** What is kept at most: who has deleted nothing would see the database grow by right. */
const KEPT = 60;

function held(at, server, began) {
  const pids = family(server.pid);
  const all = pids.map(processNow).filter(Boolean);
  const serve = all.find(({ pid }) => pid === server.pid);
  const workers = all.filter(({ role }) => role === 'worker');
  const most = (list, what) => Math.max(0, ...list.map((each) => each[what]));
  const file = path.join(at.folder, 'data/app.db');
  return {
    seconds: Math.round((Date.now() - began) / 100) / 10,
    'serve: memory, MiB': serve.rssKb / 1024,
    'serve: descriptors': serve.fds,
    'serve: threads': serve.threads,
    'worker: memory, MiB': most(workers, 'rssKb') / 1024,
    'worker: descriptors': most(workers, 'fds'),
    'worker: threads': most(workers, 'threads'),
    processes: all.length,
    'scratch: files': filesIn(path.join(at.storage, 'scratch')).length + unnamedIn(pids, path.join(at.storage, 'scratch')),
    'parts: files': filesIn(path.join(at.storage, 'parts')).length,
    'uploads: files': filesIn(path.join(at.storage, 'uploads')).length,
    'database, KiB': sizeOf(file) / 1024,
    'write-ahead log, KiB': sizeOf(`${file}-wal`) / 1024,
  };
}

// What is kept for a time by rule, whatever becomes of the jobs: it grows until that is over.
const KEPT_FOR_A_TIME = ['job_events', 'request_keys', 'uploads', 'audit', 'audio_usage'];

/** Table → KiB of the pages that it and its indexes are in. */
async function tables(at) {
  const rows = await at.ask('SELECT m.tbl_name, sum(s.pgsize) FROM dbstat AS s JOIN sqlite_master AS m ON m.name = s.name GROUP BY 1');
  return Object.fromEntries(rows.map(([name, bytes]) => [name, Number(bytes) / 1024]));
}

/** Everything that is to stay flat, now. */
export async function sample(at, server, began) {
  const now = held(at, server, began);
  now.tables = await tables(at);
  now['database without logs, KiB'] = Object.entries(now.tables).filter(([name]) => !KEPT_FOR_A_TIME.includes(name)).reduce((sum, [, size]) => sum + size, 0);
  return now;
}

/** Apart from its noise, each of these may rise in the second half by a share, or by so much. */
const bounds = {
  'serve: memory, MiB': { share: 0.05, least: 2 },
  'serve: descriptors': { share: 0, least: 12 }, // the clients' connections among them
  'serve: threads': { share: 0, least: 2 },
  'worker: memory, MiB': { share: 0.05, least: 8 },
  'worker: descriptors': { share: 0, least: 3 },
  'worker: threads': { share: 0, least: 2 },
  processes: { share: 0, least: 1 },
  'scratch: files': { share: 0, least: 1 },
  'parts: files': { share: 0, least: 2 },
  'uploads: files': { share: 0.1, least: 10 },
  'database without logs, KiB': { share: 0.1, least: 64 },
  'write-ahead log, KiB': { share: 0.1, least: 64 },
};

export const judge = (samples) => Object.entries(bounds).map(([name, bound]) => ({
  name, first: samples[0][name], ...flatness(samples.map((each) => [each.seconds, each[name]]), bound),
}));

const shown = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(1));

/** The verdict as a table in Markdown. */
export function table(rows, rest) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [
    line(['what', 'at first', 'second half, mean', 'most', 'rise in the second half', 'allowed', 'after the load']),
    '|---|---:|---:|---:|---:|---:|---:|',
    ...rows.map((row) => line([row.name, shown(row.first), shown(row.mean), shown(row.most),
      `${shown(row.rise)}${row.flat ? '' : ' **too much**'}`, shown(row.allowed), shown(rest[row.name])])),
  ].join('\n');
}

/** One client's deed: a recording in by some door, or something read. */
class Clients {
  constructor(at, server, random) {
    Object.assign(this, { at, server, random, history: new History(), kept: [], busy: new Set(), count: 0 });
    this.counts = { form: 0, tus: 0, openai: 0, given_up: 0, read: 0, deleted: 0, withheld: 0 };
    this.going = true;
    this.url = () => server.url;
    this.more = () => true;
  }

  async deed() {
    const key = `soak-${this.count++}`;
    const bytes = recordings[this.random.pick(names)];
    const draw = this.random.random();
    if (draw < 0.1) {
      this.counts.openai++;
      await openai(this.history, this.url, bytes);
      return;
    }
    if (draw < 0.15) { this.counts.given_up++; await this.giveUp(bytes); return; }
    const by = draw < 0.3 ? 'tus' : 'form';
    this.counts[by]++;
    const fields = this.random.random() < 0.1 ? { retain: 'none' } : {};
    const id = by === 'tus' ? await tus(this.history, this.url, key, bytes)
      : await this.history.submit(this.url, key, bytes, { fields });
    const job = await until(async () => (await fetch(`${this.server.url}/jobs/${id}`)).json(), (body) => hasEnded(body) || body.error_code);
    assert.ok(job.status === 'completed' || job.error_code === 'gone', `${id}: ${JSON.stringify(job)}`);
    for (const where of ['', '/download?format=srt', '/audio']) {
      this.counts.read++;
      await (await fetch(`${this.server.url}/jobs/${id}${where}`)).arrayBuffer();
    }
    this.kept.push(id);
    while (this.kept.length > KEPT) await this.remove(this.kept.shift());
  }

  async remove(id) {
    const { status } = await fetch(`${this.server.url}/jobs/${id}`, { method: 'DELETE' });
    assert.ok([200, 204, 404, 410].includes(status), `DELETE was answered ${status}`);
    this.counts.deleted++;
  }

  /** A caller who hangs up in the middle of an upload. */
  async giveUp(bytes) {
    const controller = new AbortController();
    const body = new ReadableStream({
      start: (c) => { c.enqueue(bytes.subarray(0, bytes.length >> 1)); setTimeout(() => controller.abort(), 50); },
    });
    await fetch(`${this.server.url}/transcribe`, {
      method: 'POST', duplex: 'half', body, signal: controller.signal, headers: { 'Content-Type': 'multipart/form-data; boundary=b' },
    }).then((answer) => answer.arrayBuffer(), () => {});
  }

  begin() {
    const deed = this.deed().finally(() => this.busy.delete(deed));
    deed.catch((error) => { this.error ??= error; });
    this.busy.add(deed);
  }

  async end() {
    await Promise.all(this.busy);
    if (this.error) throw this.error;
  }
}

/** The service's pool of threads grows as it is needed, up to a limit, and stays: let it. */
async function widen(server) {
  const threads = () => processNow(server.pid).threads;
  for (let [before, rounds] = [0, 0]; rounds < 3; rounds = threads() > before ? 0 : rounds + 1) {
    before = threads();
    await Promise.all([...Array(200)].map(async () => (await fetch(`${server.url}/jobs?limit=500`)).arrayBuffer()));
  }
}

/** Deeds in a second when eight are under way all the time. */
async function capacity(clients, seconds) {
  let done = 0;
  const end = Date.now() + seconds * 1000;
  await Promise.all([...Array(8)].map(async () => {
    while (Date.now() < end) { await clients.deed(); done++; }
  }));
  return done / (seconds + Math.max(0, Date.now() - end) / 1000);
}

async function arrivals(clients, rate, end) {
  const { random } = chance('arrivals');
  while (Date.now() < end && !clients.error) {
    await sleep((-Math.log(1 - random()) / rate) * 1000);
    if (clients.busy.size < MOST) clients.begin();
    else clients.counts.withheld++;
  }
}

/** A decoder, as soon as one lives: that is only for some milliseconds at a time. */
async function decoderOf(server, end) {
  for (;;) {
    const [pid] = children(server.pid).flatMap(children);
    if (pid || Date.now() >= end) return pid;
    await sleep(2);
  }
}

/** A worker or a decoder dies now and then; followers of events come and go. */
async function disturb(clients, server, everyMs, end, kills) {
  const { random, between, pick } = chance('kills');
  while (Date.now() < end) {
    await sleep(Math.min(between(0.5, 1.5) * everyMs, Math.max(0, end - Date.now())));
    const follower = await clients.history.follow(clients.url);
    const what = random() < 0.4 ? 'decoders' : 'workers';
    const pid = what === 'decoders' ? await decoderOf(server, end) : pick(children(server.pid));
    try { if (pid) { process.kill(pid, 'SIGKILL'); kills[what]++; } } catch { /* it had ended */ }
    await sleep(200);
    follower.close();
  }
}

/**
 * The whole of it on a place (tests/lib/faults.mjs). Returns {samples, rows, rest, figures}:
 * `rest` is a sample when all has been done and everything was deleted, `idle` one before.
 */
export async function soak(at, { minutes, load = 0.7, everySeconds = 10, killSeconds = 15, measure = 20, say = () => {} }) {
  const server = await at.serve({ EMBEDDED_WORKERS: 'on', WORKER_CONCURRENCY: '2', LOG_LEVEL: 'WARNING' });
  const clients = new Clients(at, server, chance('clients'));
  await capacity(clients, measure / 2); // all of it in memory
  const most = await capacity(clients, measure);
  await widen(server);
  await sleep(5000); // the connections of clients close by themselves
  const idle = await sample(at, server, Date.now());
  const rate = most * load;
  say(`capacity ${most.toFixed(2)} deeds/s, load ${rate.toFixed(2)}/s for ${minutes} minutes`);
  const [began, end] = [Date.now(), Date.now() + minutes * 60_000];
  const kills = { workers: 0, decoders: 0 };
  const samples = [];
  const watch = (async () => {
    while (Date.now() < end) {
      samples.push(await sample(at, server, began));
      say(JSON.stringify(samples.at(-1)));
      await sleep(Math.max(0, Math.min(everySeconds * 1000, end - Date.now())));
    }
  })();
  await Promise.all([watch, arrivals(clients, rate, end), disturb(clients, server, killSeconds * 1000, end, kills)]);
  await clients.end();
  const slowest = Math.round(Math.max(...clients.history.answers.map(({ ms }) => ms)));
  const rest = await settle(at, server, clients, idle);
  const result = {
    samples, rows: judge(samples), idle, rest, most, rate,
    figures: { deeds: clients.count, ...clients.counts, kills, statuses: clients.history.statuses(), slowestMs: slowest, minutes },
  };
  const { code } = await server.stop();
  assert.equal(code, 0, server.log());
  return { ...result, log: server.log() };
}

/** All jobs ended and deleted, connections closed; what is held then, as soon as it is as before. */
async function settle(at, server, clients, idle) {
  const list = async () => (await (await fetch(`${server.url}/jobs?limit=500`)).json()).jobs;
  await until(list, (jobs) => jobs.every(hasEnded));
  for (let jobs = await list(); jobs.length; jobs = await list())
    for (const { id } of jobs) await clients.remove(id);
  const same = ['serve: descriptors', 'serve: threads', 'processes', 'scratch: files', 'parts: files'];
  const enough = (now) => same.every((name) => now[name] <= idle[name]) && now['uploads: files'] === 0;
  const end = Date.now() + 60_000; // idle connections of clients close by themselves
  return until(() => sample(at, server, Date.now()), (now) => enough(now) || Date.now() > end);
}

export const write = (file, result) => fs.writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`);
