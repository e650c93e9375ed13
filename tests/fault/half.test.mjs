// A worker that is killed at half of a long recording: it is gone on with within a second on
// the same machine and within the lease on another, from where it was, and says the same.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { kinds, place, seed, size } from '../lib/faults.mjs';
import { History } from '../lib/history.mjs';
import { children, getJson, until, waitForJob, wav } from '../lib/server.mjs';
import { long } from '../lib/worker.mjs';

const limit = { timeout: 600000 };
const bytes = long(size(120, 900));
/** What the issue of this experiment promises, on a machine that has nothing else to do … */
const SAME_MS = 1000, OTHER_MS = 17000;
/** … and how much longer it may take here: script/faults is not alone on its machine. */
const SLACK = Number(process.env.WT_FAULT_SLACK ?? size(4, 2));
const env = { LOG_LEVEL: 'DEBUG' };
const fields = { language: 'en', mode: 'sequential' };

const timeOf = (line) => Date.parse(line.slice(0, 24));
const linesOf = (log, id) => log.split('\n').filter((line) => line.includes(id));
/** The last line of a log about a job that contains a text, and when it was written. */
function last(log, id, text) {
  const line = linesOf(log, id).filter((each) => each.includes(text)).at(-1);
  return line && { line, at: timeOf(line) };
}
/** The frames to which windows of each attempt led, as those who heard them wrote down. */
function windows(log, id) {
  const heard = {};
  for (const line of linesOf(log, id)) {
    const [, attempt, frame] = /attempt (\d+): heard up to frame (\d+)/.exec(line) ?? [];
    if (attempt) (heard[attempt] ??= new Set()).add(Number(frame));
  }
  return heard;
}

const submit = (history, server, name) => history.submit(() => server.url, name, bytes, { fields });
const rowOf = (at, id) => at.rows(`SELECT progress, next_frame, attempt, crashes, status FROM jobs WHERE id = '${id}'`)[0].map((v) => (/^\d+$/.test(v) ? Number(v) : v));

/** Wait until a job is at its half; its row then. */
const half = (at, id) => until(() => rowOf(at, id), ([progress, , , , status]) => {
  assert.notEqual(status, 'completed', 'it was done too soon');
  return progress >= 50;
});

async function segments(server, id) {
  assert.equal((await waitForJob(server, id)).status, 'completed');
  const { body } = await getJson(server, `/jobs/${id}/download?format=json`);
  assert.ok(body.segments.length > 5);
  return body.segments.map(({ start, end, text }) => ({ start, end, text }));
}

/** Compare with the undisturbed; how many windows were done twice. */
async function judge(at, server, id, expected, logs, { attempt = 2, crashes }) {
  assert.deepEqual(await segments(server, id), expected);
  const row = rowOf(at, id);
  assert.equal(row[2], attempt, 'attempts');
  assert.equal(row[3], crashes, 'crashes');
  const heard = windows(logs(), id);
  assert.ok(heard[1].size > 1 && heard[attempt].size > 1, 'which windows were heard is not in the log');
  const twice = [...heard[attempt]].filter((frame) => heard[1].has(frame)).length;
  assert.ok(twice <= 1, `${twice} windows were done twice`);
  return twice;
}

const kill = (pid) => process.kill(pid, 'SIGKILL');

let told;
/** What the recording says when nobody disturbs. */
function undisturbed() {
  told ??= (async () => {
    const at = await place('sqlite');
    const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
    const said = await segments(server, await submit(new History(), server, 'whole'));
    await server.stop();
    return said;
  })();
  return told;
}

async function run(kind, t) {
  const own = kind === 'sqlite';
  const at = await place(kind, { env });
  const history = new History();
  const figures = { kind, seed, seconds: size(120, 900) };
  const serve = () => at.serve(own ? { EMBEDDED_WORKERS: 'on' } : {});
  let server = await serve();
  const first = own ? server : await at.work();

  const expected = await undisturbed();
  // A child, on the same machine.
  const child = await submit(history, server, 'child');
  await half(at, child);
  let began = Date.now();
  children(first.pid).forEach(kill);
  await until(() => last(first.log(), child, 'goes on from second'), Boolean);
  figures.childMs = last(first.log(), child, 'goes on from second').at - began;
  figures.childTwice = await judge(at, server, child, expected, first.log, { crashes: 1 });
  assert.ok(figures.childMs < SAME_MS * SLACK, `${figures.childMs} ms`);

  // All of it, and it is started anew on the same machine.
  const all = await submit(history, server, 'all');
  await half(at, all);
  await first.kill();
  let logs = first.log();
  let next;
  if (own) next = server = await serve(); else next = await at.work();
  await until(() => last(next.log(), all, 'goes on from second'), Boolean);
  const up = timeOf(next.log()); // its first line
  figures.anewMs = last(next.log(), all, 'goes on from second').at - up;
  figures.anewTwice = await judge(at, server, all, expected, () => logs + next.log(), { crashes: 0 });
  assert.ok(figures.anewMs < SAME_MS * SLACK, `${figures.anewMs} ms`);

  // All of it, and there is another machine.
  if (!own) {
    const other = await submit(history, server, 'other');
    await half(at, other);
    const stands = await at.work();
    began = Date.now();
    await next.kill();
    logs = next.log();
    await until(() => last(stands.log(), other, 'goes on from second'), Boolean);
    figures.otherMs = last(stands.log(), other, 'goes on from second').at - began;
    figures.otherTwice = await judge(at, server, other, expected, () => logs + stands.log(), { crashes: 0 });
    assert.ok(figures.otherMs < OTHER_MS + SAME_MS * (SLACK - 1), `${figures.otherMs} ms`);
    await stands.stop();
  } else {
    await next.stop();
  }
  history.check(at);
  t.diagnostic(JSON.stringify(figures));
  if (!own) await server.stop();
  await at.redis?.kill();
}

/** Windows of one long text, and behind it such as hold a few words: these are done early. */
function uneven(rounds) {
  const [dense, sparse] = ['clean', 'noisy'].map((name) => {
    const file = fs.readFileSync(new URL(`../engine/golden/${name}.wav`, import.meta.url));
    return new Int16Array(file.buffer.slice(file.byteOffset + 44, file.byteOffset + file.length - (file.length % 2)));
  });
  const silence = new Int16Array(20 * 16000);
  const parts = Array(rounds).fill([dense, dense, dense, dense, silence, sparse, silence, sparse, silence, sparse]).flat();
  const all = new Int16Array(parts.reduce((n, part) => n + part.length, 0));
  parts.reduce((at, part) => { all.set(part, at); return at + part.length; }, 0);
  return wav({ seconds: all.length / 16000, sample: (t) => (all[Math.round(t * 16000)] ?? 0) / 32767 });
}

/** Of a job's windows side by side, how often each was heard to its end, by its first frame. */
function heardToTheEnd(log) {
  const times = {};
  for (const [, frame] of log.matchAll(/the window at frame (\d+) is done/g)) times[frame] = (times[frame] ?? 0) + 1;
  return times;
}

async function sideBySide(kind, t) {
  const own = kind === 'sqlite';
  const at = await place(kind, { env });
  const history = new History();
  const recording = uneven(size(2, 6));
  const given = { fields: { language: 'en', mode: 'batched', batch_size: '4', vad_filter: 'false' } };
  const server = await at.serve(own ? { EMBEDDED_WORKERS: 'on' } : {});
  const first = own ? server : await at.work();
  const calm = await history.submit(() => server.url, 'calm', recording, given);
  const expected = await segments(server, calm);
  const windows = Object.keys(heardToTheEnd(first.log())).length;
  const from = first.log().length;

  const id = await history.submit(() => server.url, 'disturbed', recording, given);
  const early = () => Number(at.rows('SELECT count(*) FROM job_ahead')[0][0]);
  await until(early, (n) => {
    assert.notEqual(rowOf(at, id)[4], 'completed', 'no window was done early');
    return n > 0;
  });
  children(first.pid).forEach(kill);
  assert.deepEqual(await segments(server, id), expected);
  const row = rowOf(at, id);
  assert.deepEqual([row[2], row[3]], [2, 1], 'attempts and crashes');
  const log = first.log().slice(from);
  const known = (log.match(/the window at frame \d+ is known/g) ?? []).length;
  const times = Object.values(heardToTheEnd(log));
  const twice = times.reduce((n, each) => n + each - 1, 0);
  assert.ok(known > 0, 'nothing was known');
  assert.equal(times.length, windows);
  assert.ok(twice <= 1, `${twice} windows were done twice`);
  assert.equal(early(), 0, 'what was known has gone');
  history.check(at);
  t.diagnostic(JSON.stringify({ kind, windows, known, twice }));
  if (!own) await first.stop();
  await server.stop();
  await at.redis?.kill();
}

describe('killed while windows are heard side by side', { concurrency: true }, () => {
  for (const kind of kinds) test(kind.name, { skip: kind.skip, ...limit }, (t) => sideBySide(kind.name, t));
});

describe('killed at half of a long recording', { concurrency: true }, () => {
  for (const kind of kinds) test(kind.name, { skip: kind.skip, ...limit }, (t) => run(kind.name, t));
});
