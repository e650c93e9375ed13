// Short jobs, while a process of those that work on them is killed each second: none is lost,
// none is done twice, and the queue is empty soon after the last one.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { chance, kinds, place, seed, size, sleep } from '../lib/faults.mjs';
import { History } from '../lib/history.mjs';
import { children, form, hasEnded, startServer, transcribe, until, waitForJob, wav } from '../lib/server.mjs';

/** On each kind of place; the short form's are a thousand in all. */
const many = Number(process.env.WT_FAULT_JOBS ?? size(334, 10000));
const WORKERS = 4;
const CLIENTS = size(8, 4);
const EMPTY_MS = 5000;
const KILL_EACH_MS = 1000;
const STARVED_MS = 10000;
/** Every so many kills it is the service itself. */
const SERVICE_EACH = size(9, 20);

const golden = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));

/** One in 32 is speech of one to two seconds; the others are silence. */
const soundOf = (i) => (i % 32 ? 'silence' : `speech ${(i / 32) % 4}`);
const sounds = new Map([['silence', wav({ seconds: 1 })], ...[0, 1, 2, 3].map((n) => [`speech ${n}`, wav({
  seconds: 1 + n / 4, sample: (t) => golden.readInt16LE(44 + 2 * Math.round(16000 * (2 * n + t))) / 32767,
})])]);

/** Different bytes for each number: a chunk that no decoder looks at, with a name in it. */
function recording(i) {
  const chunk = Buffer.alloc(24);
  chunk.write('note', 0);
  chunk.writeUInt32LE(16, 4);
  chunk.write(String(i).padStart(16, '0'), 8);
  const bytes = Buffer.concat([sounds.get(soundOf(i)), chunk]);
  bytes.writeUInt32LE(bytes.length - 8, 4);
  return bytes;
}

/** What each kind of recording says when nobody disturbs, and how many are done in a second. */
async function undisturbed() {
  const server = await startServer({ env: { WORKER_CONCURRENCY: String(WORKERS), WORKER_THREADS: '1', LOG_LEVEL: 'WARNING' } });
  const texts = new Map();
  for (const i of [0, 32, 64, 96, 1]) {
    const { body } = await transcribe(server, form(recording(i), `${i}.wav`));
    const job = await waitForJob(server, body.job_id);
    assert.equal(job.status, 'completed', job.error_message);
    texts.set(soundOf(i), await read(server.url, body.job_id));
  }
  await server.stop();
  return texts;
}

async function read(url, id) {
  const response = await fetch(`${url}/jobs/${id}/download?format=txt`);
  assert.equal(response.status, 200);
  return response.text();
}

/** A service and four that work: of its own on SQLite, `worker` processes elsewhere. */
async function crowd(at, env) {
  const own = at.kind === 'sqlite';
  const serve = () => at.serve({ ...env, ...(own && { EMBEDDED_WORKERS: 'on', WORKER_CONCURRENCY: String(WORKERS) }) });
  const self = {
    server: await serve(),
    workers: own ? [] : await Promise.all(Array.from({ length: WORKERS }, () => at.work())),
    kills: { worker: 0, child: 0, service: 0 },
    logs: '',
    /** A process of those that work, or the service; it is started anew at once. */
    killOne: async (luck, service) => {
      if (service) {
        self.kills.service++;
        await self.server.kill();
        self.logs += self.server.log();
        self.server = await serve();
        return;
      }
      const parents = own ? [] : self.workers.map((worker) => ({ worker }));
      const their = (own ? [self.server] : self.workers).flatMap(({ pid }) => children(pid)).map((pid) => ({ pid }));
      const victim = luck.pick([...parents, ...their]);
      if (!victim) return;
      if (victim.pid) {
        self.kills.child++;
        try { process.kill(victim.pid, 'SIGKILL'); } catch { /* it ended meanwhile */ }
        return;
      }
      self.kills.worker++;
      const i = self.workers.indexOf(victim.worker);
      await victim.worker.kill();
      self.logs += victim.worker.log();
      self.workers[i] = await at.work();
    },
    stop: () => Promise.all([...self.workers, self.server].map((each) => each.stop())),
  };
  return self;
}

/** Ask for states as pages do, and read results as they come. */
async function poll(history, all, numbers, texts, luck, more) {
  while (more()) {
    await sleep(50);
    const id = luck.pick([...numbers.keys()].slice(-200));
    if (!id) continue;
    try {
      const response = await fetch(`${all.server.url}/jobs/${id}`);
      if (!response.ok) continue;
      const job = await response.json();
      history.saw(id, job.status);
      if (!hasEnded(job)) continue;
      const text = await read(all.server.url, id);
      history.read(id, text);
      assert.equal(text, texts.get(soundOf(numbers.get(id))), id);
    } catch (error) {
      if (error.code === 'ERR_ASSERTION') throw error; // else the service was away
    }
  }
}

/** Wait until the queue is empty as the service says, and Redis; the time when it was seen. */
async function empty(at, all) {
  await until(async () => {
    try {
      const { waiting, running } = await (await fetch(`${all.server.url}/admin/queue?limit=1`)).json();
      return waiting + running;
    } catch { return -1; }
  }, (n) => n === 0);
  if (at.kind === 'redis') await until(at.onRedis, (n) => n === 0);
  return Date.now();
}

async function run(kind, texts, t) {
  const luck = chance(kind.name);
  const history = new History();
  const hook = await history.receive();
  const at = await place(kind.name, { env: { WEBHOOK_ALLOW: hook.origin } });
  const all = await crowd(at, {});
  const url = () => all.server.url;
  const follower = await history.follow(url);
  const numbers = new Map(); // id → number
  let over = false;
  const began = Date.now();

  const killing = process.env.WT_FAULT_KILLS === '0' ? null : (async () => {
    for (let i = 1; !over; i++) {
      const next = Date.now() + KILL_EACH_MS, ended = history.ends.size;
      await all.killOne(luck, i % SERVICE_EACH === 0);
      // On a machine that has no time for us, nothing would ever end between two of them.
      while (!over && (Date.now() < next || (history.ends.size === ended && Date.now() < next + STARVED_MS))) await sleep(20);
    }
  })();
  const polling = poll(history, all, numbers, texts, chance('polls'), () => !over);
  let next = 0;
  const told = []; // whose end is told by webhook
  const client = async () => {
    while (next < many) {
      const i = next++;
      const id = await history.submit(url, `${kind.name}-${i}`, recording(i),
        { name: `${i}.wav`, fields: { language: 'en', ...(i % 20 === 3 && { webhook_url: hook.url }) } });
      numbers.set(id, i);
      if (i % 20 === 3) told.push(id);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  const submitted = Date.now();
  // It goes on being killed until the last is done.
  const emptied = await empty(at, all);
  over = true;
  await Promise.all([killing, polling]);
  // A service that was killed between may have brought one back.
  const again = await empty(at, all);
  const [[last]] = at.rows("SELECT max(completed_ms) FROM jobs WHERE status = 'completed'");
  const seconds = (Number(last) - began) / 1000;
  const figures = {
    kind: kind.name, seed, kills: all.kills, seconds: Math.round(seconds), perSecond: Math.round(many / seconds * 10) / 10,
    uploadSeconds: Math.round((submitted - began) / 1000), emptyAfterMs: Math.max(0, (Number(last) > emptied ? again : emptied) - Number(last)),
  };
  if (process.env.WT_KEEP_LOGS) fs.writeFileSync(process.env.WT_KEEP_LOGS, all.logs + all.server.log() + all.workers.map((w) => w.log()).join(''));
  try {
    Object.assign(figures, history.check(at));
  } catch (error) {
    t.diagnostic(JSON.stringify(figures));
    throw error;
  }
  assert.equal(history.ids.length, many);
  await until(() => history.ids.filter((id) => !history.ends.has(id)).length, (n) => n === 0);
  history.checkEnds();
  await until(() => told.filter((id) => !history.hooks.has(id)).length, (n) => n === 0);
  Object.assign(figures, history.checkHooks(told), { breaks: follower.breaks(), resets: history.resets });
  for (const id of history.ids.filter((_, i) => i % 5 === 0))
    assert.equal(await read(url(), id), texts.get(soundOf(numbers.get(id))), id);
  assert.ok(figures.emptyAfterMs < EMPTY_MS, `empty ${figures.emptyAfterMs} ms after the last end`);
  if (at.kind === 'redis') assert.deepEqual(await at.leftOnRedis(), {});
  t.diagnostic(JSON.stringify(figures));
  follower.close();
  hook.close();
  await all.stop();
  await at.redis?.kill();
}

describe(`${many} short jobs on each kind of place, under a kill -9 each second`, () => {
  let texts;
  before(async () => { texts = kinds[0].skip ? null : await undisturbed(); });
  for (const kind of kinds)
    test(kind.name, { skip: kind.skip, timeout: size(900000, 7200000) }, (t) => run(kind, texts, t));
});
