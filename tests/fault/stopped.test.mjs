// A worker that stands still beyond its lease and goes on then: its job is another's by now, and
// whatever it still has to say of it is refused.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { kinds, place, seed, size, sleep } from '../lib/faults.mjs';
import { History } from '../lib/history.mjs';
import { children, getJson, hasEnded, ticks, until, waitForJob } from '../lib/server.mjs';
import { long } from '../lib/worker.mjs';

const limit = { timeout: size(600000, 3600000) };
const LEASE_MS = 15000;
const seconds = size(90, 600);
const bytes = long(seconds);
const fields = { language: 'en', mode: 'sequential' };

const signal = (pid, name) => process.kill(pid, name);

/**
 * Wait until these have worked, and then have nothing to do for two seconds, or nobody who
 * hears them. What they would say of it goes through their parent, which stands still.
 */
async function done(pids) {
  const all = () => pids.reduce((sum, pid) => sum + ticks(pid), 0);
  const before = all();
  let last = before;
  let still = 0;
  await until(all, (now) => {
    still = now === last && now > before ? still + 1 : 0;
    last = now;
    return still > 40;
  });
}
const rowOf = (at, id) => {
  const [status, attempt, frame, owner, progress] = at.rows(
    `SELECT status, attempt, next_frame, coalesce(owner, ''), progress FROM jobs WHERE id = '${id}'`)[0];
  return { status, attempt: Number(attempt), frame: Number(frame), owner, progress: Number(progress) };
};
const submit = (history, server, name, more = {}) => history.submit(() => server.url, name, bytes, { fields: { ...fields, ...more } });

/**
 * Wait until it is in the middle; its row then. Its children go on a little at a time, so that
 * none is done before anybody has looked, and stand still in the end.
 */
async function midway(at, id, worker) {
  return until(async () => {
    children(worker.pid).forEach((pid) => signal(pid, 'SIGCONT'));
    await sleep(30);
    children(worker.pid).forEach((pid) => signal(pid, 'SIGSTOP'));
    return rowOf(at, id);
  }, (row) => {
    assert.ok(!hasEnded(row), 'it was done too soon');
    return row.frame > 2000;
  });
}
const says = (worker, id, text) => worker.log().split('\n').some((line) => line.includes(id) && line.includes(text));
const lost = (worker, id) => until(() => says(worker, id, 'stopped: it was cancelled, deleted or taken'), Boolean);
const isStored = (at, id) => fs.existsSync(path.join(at.storage, 'uploads', id));

async function text(server, id) {
  assert.equal((await waitForJob(server, id)).status, 'completed');
  const { body } = await getJson(server, `/jobs/${id}/download?format=json`);
  return body.segments.map(({ start, end, text: said }) => ({ start, end, text: said }));
}

/** What must hold in the end: one end, by the other worker, with the text of an undisturbed run. */
async function judge(at, history, server, id, { late, expected, attempt = 2 }) {
  assert.deepEqual(await text(server, id), expected);
  assert.equal(rowOf(at, id).attempt, attempt, 'attempts');
  if (late) assert.ok(!says(late, id, 'completed:'), 'the late one has written an end');
  await until(() => history.ends.get(id), Boolean);
  history.checkEnds([id]);
}

/** While it stands still, another takes its job; `then` is called when that has happened. */
async function overtaken(at, id, from) {
  const began = Date.now();
  const row = await until(() => rowOf(at, id), ({ attempt, status }) => attempt > from.attempt && status !== 'pending');
  assert.notEqual(row.owner, from.owner, 'who stands still has taken it again');
  return Date.now() - began;
}

/** Each part of a worker, as it is told to stand still. */
const whole = (worker) => [worker.pid, ...children(worker.pid)];

const scenarios = {
  /** Worker and children, until another has done the job. */
  async done(at, history, server, id, worker, spare, expected) {
    const from = await midway(at, id, worker);
    const pids = whole(worker);
    pids.forEach((pid) => signal(pid, 'SIGSTOP'));
    await overtaken(at, id, from);
    assert.equal((await waitForJob(server, id)).status, 'completed');
    pids.forEach((pid) => signal(pid, 'SIGCONT'));
    await lost(worker, id);
    await judge(at, history, server, id, { late: worker, expected });
  },
  /** The same, until another is at work on it. */
  async busy(at, history, server, id, worker, spare, expected) {
    const from = await midway(at, id, worker);
    const pids = whole(worker);
    pids.forEach((pid) => signal(pid, 'SIGSTOP'));
    await overtaken(at, id, from);
    pids.forEach((pid) => signal(pid, 'SIGCONT'));
    await lost(worker, id);
    assert.equal(rowOf(at, id).attempt, 2);
    await judge(at, history, server, id, { late: worker, expected });
  },
  /**
   * The worker alone: its child goes on, so that everything, from the waveform to the end, is
   * there to be written when it wakes. The recording is to leave nothing behind, and must
   * stay for as long as the other needs it.
   */
  async parent(at, history, server, id, worker, spare) {
    // The other takes it, and does nothing until it is told to.
    const others = children(spare.pid);
    others.forEach((pid) => signal(pid, 'SIGSTOP'));
    signal(worker.pid, 'SIGSTOP');
    children(worker.pid).forEach((pid) => signal(pid, 'SIGCONT'));
    await done(children(worker.pid));
    const before = await until(() => rowOf(at, id), ({ attempt, owner }) => attempt === 2 && owner === spare.id);
    assert.deepEqual({ status: before.status, frame: before.frame }, { status: 'processing', frame: 0 });
    signal(worker.pid, 'SIGCONT');
    await lost(worker, id);
    assert.deepEqual(rowOf(at, id), before, 'something was written late');
    assert.deepEqual(at.rows(`SELECT count(*) FROM job_windows WHERE job_id = '${id}'`), [['0']]);
    assert.ok(isStored(at, id), 'the recording is gone before the job is done');
    others.forEach((pid) => signal(pid, 'SIGCONT'));
    await until(() => says(spare, id, 'completed:'), Boolean);
    assert.ok(!says(worker, id, 'completed:'), 'the late one has written an end');
    assert.equal(rowOf(at, id).attempt, 2);
    await until(() => isStored(at, id), (there) => !there);
    await until(() => history.ends.get(id), Boolean);
    history.checkEnds([id]);
  },
  /** The child alone: the lease is renewed, so nobody takes the job, and it goes on. */
  async child(at, history, server, id, worker, spare, expected) {
    await midway(at, id, worker);
    const pids = children(worker.pid);
    pids.forEach((pid) => signal(pid, 'SIGSTOP'));
    const first = leaseOf(at, id);
    await until(() => leaseOf(at, id), (now) => now > first + LEASE_MS);
    assert.equal(rowOf(at, id).attempt, 1);
    pids.forEach((pid) => signal(pid, 'SIGCONT'));
    await judge(at, history, server, id, { expected, attempt: 1 });
  },
};
const leaseOf = (at, id) => Number(at.rows(`SELECT lease_until_ms FROM jobs WHERE id = '${id}'`)[0][0]);

let told;
/** What the recording says when nobody disturbs. */
function undisturbed() {
  told ??= (async () => {
    const at = await place('sqlite');
    const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
    const said = await text(server, await submit(new History(), server, 'undisturbed'));
    await server.stop();
    return said;
  })();
  return told;
}

/** Each scenario on a service of its own, all at once: the lease is long. */
async function run(kind, name, t) {
  const at = await place(kind, { env: { DATABASE_CONNECTIONS: '3', LOG_LEVEL: 'DEBUG' } }); // one server has them all
  const history = new History();
  const server = await at.serve();
  const follower = await history.follow(() => server.url);
  const first = await at.work();
  const expected = name === 'parent' ? undefined : await undisturbed();
  if (name === 'parent') children(first.pid).forEach((pid) => signal(pid, 'SIGSTOP'));
  const id = await submit(history, server, name, name === 'parent' ? { retain: 'none' } : {});
  await until(() => rowOf(at, id).owner, (owner) => owner === first.id);
  const lease = leaseOf(at, id);
  // When it is renewed, the job has been given to the child.
  if (name === 'parent') await until(() => leaseOf(at, id), (now) => now > lease);
  const spare = await at.work();
  await scenarios[name](at, history, server, id, first, spare, expected);
  // Whoever stood still is of use again.
  await spare.stop();
  const again = await history.submit(() => server.url, 'again', long(2), { fields });
  assert.equal((await waitForJob(server, again)).status, 'completed');
  await until(() => says(first, again, 'completed:'), Boolean);
  t.diagnostic(JSON.stringify({ kind, name, seed, ...history.check(at) }));
  follower.close();
  await Promise.all([first.stop(), server.stop()]);
  await at.redis?.kill();
}

/** A file has one service: it stands still itself, or its child does. Nobody takes anything. */
async function alone(name, t) {
  const at = await place('sqlite');
  const history = new History();
  const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
  const follower = await history.follow(() => server.url);
  const expected = await undisturbed();
  const id = await submit(history, server, name);
  await midway(at, id, server);
  if (name === 'child') {
    const pids = children(server.pid);
    pids.forEach((pid) => signal(pid, 'SIGSTOP'));
    const first = leaseOf(at, id);
    await until(() => leaseOf(at, id), (now) => now > first + LEASE_MS);
    pids.forEach((pid) => signal(pid, 'SIGCONT'));
  } else {
    const pids = whole(server);
    pids.forEach((pid) => signal(pid, 'SIGSTOP'));
    const ends = leaseOf(at, id);
    await until(() => Date.now(), (now) => now > ends + 1000);
    pids.forEach((pid) => signal(pid, 'SIGCONT'));
  }
  await judge(at, history, server, id, { expected, attempt: 1 });
  t.diagnostic(JSON.stringify({ kind: 'sqlite', name, seed, ...history.check(at) }));
  follower.close();
  await server.stop();
}

describe('stopped beyond the lease, and gone on then', { concurrency: true }, () => {
  for (const name of ['whole', 'child'])
    test(`sqlite, ${name}`, { skip: kinds[0].skip, ...limit }, (t) => alone(name, t));
  for (const { name: kind, skip } of kinds.slice(1))
    for (const name of Object.keys(scenarios))
      test(`${kind}, ${name}`, { skip, ...limit }, (t) => run(kind, name, t));
});
