// The queue for operators: the command line beside a running service and beside none, the
// same over HTTP, and figures for a monitor.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import WebSocket from 'ws';
import { makeKey } from '../lib/keys.mjs';
import { databaseOf, editDatabase } from '../lib/postgres.mjs';
import {
  binary, form, getJson, hasEnded, hasModel, hold, models, startServer, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS', timeout: 120_000 };
const env = { WORKER_CONCURRENCY: '1', LOG_LEVEL: 'INFO' };
/** Too large to be done beside another one: it waits. */
const large = wav({ seconds: 280 });
const broken = Buffer.concat([wav().subarray(0, 20), Buffer.alloc(3000, 0xA5)]);
const unknown = '01a20eeb-3efb-7eac-bbbd-01910af80753';

/** Run `queue` in a service's folder; returns {code, out, err}. */
const queue = (folder, ...args) => queueFrom(folder, folder, ...args);

/** The same from another place: only the database is the service's. */
function queueFrom(place, folder, ...args) {
  const where = place === folder ? [] : ['--database-url', databaseOf(folder).DATABASE_URL ?? `sqlite:///${folder}/data/app.db`];
  const r = spawnSync(binary, ['queue', ...args, ...where], {
    cwd: place, encoding: 'utf8', input: '',
    env: { PATH: process.env.PATH, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', ...databaseOf(folder) },
  });
  return { code: r.status, out: r.stdout, err: r.stderr };
}

function queueJson(folder, ...args) {
  const r = queue(folder, ...args, '--json');
  assert.equal(r.code, 0, r.err);
  return JSON.parse(r.out);
}

async function submit(server, bytes, fields = {}, name = 'a.wav') {
  const { status, body } = await transcribe(server, form(bytes, name, fields));
  assert.equal(status, 202, JSON.stringify(body));
  return body.job_id;
}

const post = (server, where, value, headers = {}) => getJson(server, where, {
  method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value),
});
const statusOf = async (server, id) => (await getJson(server, `/jobs/${id}`)).body;
const blobsOf = (server, id) => server.stored().filter((name) => name.includes(id));

/** A job that fails, as it cannot be decoded. */
async function fail(server) {
  const id = await submit(server, broken, {}, 'broken.wav');
  assert.equal((await waitForJob(server, id)).status, 'failed');
  return id;
}

/** The lines of /metrics as a map, after each was held against the format. */
async function metrics(server) {
  const figures = new Map();
  const types = new Map();
  let described;
  for (const line of (await (await fetch(`${server.url}/metrics`)).text()).trimEnd().split('\n')) {
    const help = /^# HELP ([a-z_:]+) (\S.*)$/.exec(line);
    const type = /^# TYPE ([a-z_:]+) (gauge|counter|histogram)$/.exec(line);
    const sample = /^([a-z_:]+)(\{[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*\})? (-?[0-9.]+(?:e[+-][0-9]+)?)$/.exec(line);
    assert.ok(help || type || sample, line);
    if (help) [, described] = help;
    if (type) {
      assert.equal(type[1], described, 'a type follows its help');
      assert.ok(!types.has(described), `${described} is described twice`);
      types.set(described, type[2]);
    }
    if (!sample) continue;
    assert.equal(types.get(described) === 'histogram' ? sample[1].replace(/_(bucket|sum|count)$/, '') : sample[1], described, 'samples stand behind their description');
    const key = sample[1] + (sample[2] ?? '');
    assert.ok(!figures.has(key), `${key} is there twice`);
    figures.set(key, Number(sample[3]));
  }
  return figures;
}
const figure = (map, name) => map.get(`whisper_transcriber_${name}`);

describe('the queue from the shell', needsModel, () => {
  test('shows what runs and what waits, in the order of claims', async () => {
    const server = await startServer({ env });
    const goOn = await hold(server);
    const running = await submit(server, large);
    await until(() => statusOf(server, running), (job) => job.status === 'processing');
    const second = await submit(server, large, { priority: '4' }, 'second.wav');
    const first = await submit(server, large, { priority: '9' }, 'first.wav');

    const report = queueJson(server.folder, 'ls');
    assert.deepEqual(report.jobs.map((x) => [x.job_id, x.state, x.position]),
      [[running, 'running', null], [first, 'waiting', 1], [second, 'waiting', 2]]);
    assert.deepEqual([report.waiting, report.running, report.failed], [2, 1, 0]);
    assert.ok(report.jobs[0].worker.length > 8);
    assert.equal(report.jobs[1].priority, 9);
    assert.equal(report.jobs[1].file_bytes, large.length);
    assert.ok(report.jobs[2].waiting_seconds >= report.jobs[1].waiting_seconds);
    assert.equal(queueJson(server.folder, 'ls', '--limit', '2').jobs.length, 2);

    const lines = queue(server.folder, 'ls').out.trimEnd().split('\n');
    assert.equal(lines.length, 5);
    assert.match(lines[2], new RegExp(`^1 +waiting +${first} .* first\\.wav$`));
    assert.match(lines[4], /^2 waiting, 1 running, 0 failed; [0-9:]+ of audio to do/);

    assert.equal(queueJson(server.folder, 'show', second).position, 2);
    const shown = queue(server.folder, 'show', second);
    assert.match(shown.out, /^place +2$/m);
    assert.match(shown.out, /^file +second\.wav$/m);
    goOn();
    for (const id of [running, first, second]) assert.equal((await waitForJob(server, id)).status, 'completed');
    const ended = queueJson(server.folder, 'ls');
    assert.deepEqual([ended.jobs, ended.waiting, ended.running], [[], 0, 0]);
    assert.equal((await server.stop()).code, 0);
  });

  test('cancels what waits and what runs, and the service hears of it', async () => {
    const server = await startServer({ env });
    await hold(server);
    const running = await submit(server, large);
    await until(() => statusOf(server, running), (job) => job.status === 'processing');
    const waiting = await submit(server, large);
    const after = await submit(server, large);
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws/jobs/${waiting}`);
    const said = [];
    socket.on('message', (data) => said.push(JSON.parse(data).status));
    await once(socket, 'open');
    const began = Date.now();
    const r = queue(server.folder, 'cancel', running, waiting);
    assert.equal(r.code, 0, r.err);
    assert.equal(r.out, `${running}: cancelled\n${waiting}: cancelled\n`);
    // The worker, which stands still, is ended; a new one takes what is left.
    await until(() => statusOf(server, after), (job) => job.status !== 'pending');
    assert.ok(Date.now() - began < 4000, 'within seconds');
    assert.equal((await waitForJob(server, after)).status, 'completed');
    assert.equal((await statusOf(server, running)).status, 'cancelled');
    await until(() => said, (list) => list.at(-1) === 'cancelled');
    socket.terminate();
    const again = queue(server.folder, 'cancel', running);
    assert.deepEqual([again.code, again.out], [1, '']);
    assert.match(again.err, /the job is cancelled: there is nothing to cancel/);
    const audit = (await getJson(server, '/audit')).body.events;
    assert.deepEqual(audit.map((x) => [x.event, x.client]), [['jobs_cancelled', 'shell']]);
    assert.equal((await server.stop()).code, 0);
  });

  test('puts failed jobs back, which are taken at once', async () => {
    const server = await startServer({ env });
    const [a, b] = [await fail(server), await fail(server)];
    const report = queueJson(server.folder, 'ls', '--failed');
    assert.deepEqual(report.jobs.map((x) => x.job_id), [b, a]);
    assert.deepEqual(Object.values(report.failures), [2]);
    assert.equal(report.jobs[0].reason, Object.keys(report.failures)[0]);
    assert.match(report.jobs[0].error, /\w+ \w+/);
    assert.equal(report.jobs[0].attempts, 1);
    assert.match(queue(server.folder, 'ls', '--failed').out, new RegExp(`failed +${b} .* ${report.jobs[0].reason} +broken.wav`));

    const began = Date.now();
    const one = queue(server.folder, 'requeue', a, unknown);
    assert.deepEqual([one.code, one.out], [1, `${a}: waiting\n`]);
    assert.match(one.err, new RegExp(`${unknown}: there is no job`));
    await until(() => queueJson(server.folder, 'show', a), (x) => x.attempts === 2 && x.state === 'failed');
    assert.ok(Date.now() - began < 4000, 'within seconds');
    const all = queue(server.folder, 'requeue', '--failed');
    assert.deepEqual([all.code, all.out.split('\n').sort()], [0, ['', `${a}: waiting`, `${b}: waiting`].sort()]);
    await until(() => queueJson(server.folder, 'show', a), (x) => x.attempts === 3 && x.state === 'failed');
    await until(() => queueJson(server.folder, 'show', b), (x) => x.attempts === 2 && x.state === 'failed');
    assert.equal((await server.stop()).code, 0);
  });

  test('purges what has failed and nothing else, with the recordings', async () => {
    const server = await startServer({ env });
    const dead = await fail(server);
    const done = await submit(server, wav());
    assert.equal((await waitForJob(server, done)).status, 'completed');
    assert.equal(blobsOf(server, dead).length, 1);
    const asked = queue(server.folder, 'purge-dead');
    assert.equal(asked.code, 2);
    assert.match(asked.err, /--yes/);
    assert.equal(queue(server.folder, 'purge-dead', '--older-than', '1', '--yes').out, '0 failed job(s) deleted\n');
    const r = queueFrom(tempFolder(), server.folder, 'purge-dead', '--yes');
    assert.deepEqual([r.code, r.out], [0, '1 failed job(s) deleted\n'], r.err);
    assert.equal((await getJson(server, `/jobs/${dead}`)).status, 404);
    // It is the service that removes the recording.
    await until(() => blobsOf(server, dead), (left) => left.length === 0);
    assert.equal(blobsOf(server, done).length, 1);
    assert.equal((await server.stop()).code, 0);
  });

  test('works while no service runs, which goes on with it', async () => {
    const server = await startServer({ env });
    const dead = await fail(server);
    const again = await submit(server, wav());
    await waitForJob(server, again);
    const goOn = await hold(server);
    const left = await submit(server, large);
    const gone = await submit(server, large);
    assert.equal((await server.kill()).signal, 'SIGKILL');
    goOn();
    const { folder } = server;
    assert.equal(queue(folder, 'cancel', gone).code, 0);
    assert.equal(queue(folder, 'purge-dead', '--yes').out, '1 failed job(s) deleted\n');
    assert.equal(queueJson(folder, 'show', gone).state, 'cancelled');
    assert.equal(queue(folder, 'requeue', gone).code, 0);
    assert.deepEqual(blobsOf(server, dead), []);
    const next = await startServer({ folder, env });
    for (const id of [left, gone]) assert.equal((await waitForJob(next, id)).status, 'completed');
    assert.equal((await next.stop()).code, 0);
  });

  test('says what is wrong with a command line', async () => {
    const server = await startServer({ env });
    const { folder } = server;
    const wrong = [[], ['list'], ['ls', 'x'], ['show'], ['show', unknown, unknown], ['requeue'], ['requeue', unknown, '--failed'],
      ['cancel'], ['purge-dead', unknown], ['purge-dead', '--failed'], ['ls', '--limit', '0'], ['ls', '--limit', 'x'],
      ['cancel', unknown, '--json'], ['ls', '--yes'], ['purge-dead', '--yes', '--older-than', '-1'], ['ls', '--nonsense']];
    for (const args of wrong) {
      const r = queue(folder, ...args);
      assert.deepEqual([r.code, r.out], [2, ''], args.join(' '));
      assert.match(r.err, /^whisper-transcriber: .+\n$/);
    }
    for (const id of [unknown, '../x', '', '%s%n']) {
      for (const verb of ['show', 'cancel', 'requeue']) {
        const r = queue(folder, verb, id);
        assert.deepEqual([r.code, r.out], [1, ''], `${verb} ${id}`);
      }
    }
    for (const verb of ['ls', 'show', 'requeue', 'cancel', 'purge-dead']) {
      const r = queue(folder, verb, '--help');
      assert.equal(r.code, 0);
      assert.match(r.out, /exit codes: 0 done, 1 it did not work/);
    }
    assert.equal(queue(folder, 'requeue', '--failed').out, 'no job has failed\n');
    assert.equal((await server.stop()).code, 0);
    if (!databaseOf(folder).DATABASE_URL) {
      const r = queue(path.join(folder, 'storage'), 'ls');
      assert.equal(r.code, 1);
      assert.match(r.err, /there is no database at/);
      assert.ok(!fs.existsSync(path.join(folder, 'storage/data')));
    }
  });

  test('prints nothing that moves a cursor', async () => {
    const server = await startServer({ env });
    const id = await fail(server);
    assert.equal((await server.stop()).code, 0);
    editDatabase(server.folder, `UPDATE jobs SET original_filename = '${'a\u001b[2Jb\u009bc\u00e9'}', error_message = '${'x\ny\u0007'}' WHERE id = '${id}'`);
    for (const args of [['ls', '--failed'], ['show', id]]) {
      const { out } = queue(server.folder, ...args);
      assert.match(out, /a\?\[2Jb\?cé/);
      assert.doesNotMatch(out, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    }
  });
});

describe('the queue over HTTP', needsModel, () => {
  test('is for admins alone, shows the same and is in the audit log', async () => {
    const server = await startServer({ env: { ...env, AUTH: 'key' } });
    const bearer = (scope) => ({ authorization: `Bearer ${makeKey(server.folder, { scope })}` });
    const admin = bearer('admin');
    const user = bearer('read,transcribe');
    const made = await getJson(server, '/transcribe', { method: 'POST', headers: user, body: form(broken, 'broken.wav') });
    const { job_id: id } = made.body;
    await until(async () => (await getJson(server, `/jobs/${id}`, { headers: admin })).body, hasEnded);
    for (const [method, where] of [['GET', ''], ['POST', '/requeue'], ['POST', '/purge-dead']]) {
      const body = method === 'POST' ? '{"failed": true}' : undefined;
      const init = { method, body, headers: { ...user, 'content-type': 'application/json' } };
      assert.equal((await getJson(server, `/admin/queue${where}`, init)).status, 403);
      assert.equal((await getJson(server, `/admin/queue${where}`, { ...init, headers: { 'content-type': 'application/json' } })).status, 401);
    }
    const failed = await getJson(server, '/admin/queue?state=failed', { headers: admin });
    assert.equal(failed.status, 200);
    const shell = queueJson(server.folder, 'ls', '--failed');
    assert.deepEqual(failed.body.jobs, shell.jobs);
    assert.equal(failed.body.jobs[0].job_id, id);
    assert.equal(failed.body.transcriptions_at_once, 1);
    assert.deepEqual((await getJson(server, '/admin/queue', { headers: admin })).body.jobs, []);
    for (const query of ['state=dead', 'limit=0', 'limit=1001', 'limit=x']) {
      assert.equal((await getJson(server, `/admin/queue?${query}`, { headers: admin })).status, 400, query);
    }
    for (const body of [{}, { failed: false }, { ids: [] }, { ids: ['x'] }, { ids: id }, { ids: [id], failed: true }, { failed: 1 }, { all: true },
      { ids: Array(1001).fill(id) }]) {
      assert.equal((await post(server, '/admin/queue/requeue', body, admin)).status, 400, JSON.stringify(body).slice(0, 60));
    }
    for (const body of [{ older_than_days: -1 }, { older_than_days: 'x' }, { older_than_days: 1e9 }, { days: 1 }]) {
      assert.equal((await post(server, '/admin/queue/purge-dead', body, admin)).status, 400, JSON.stringify(body));
    }

    const back = await post(server, '/admin/queue/requeue', { ids: [id, unknown] }, admin);
    assert.deepEqual([back.status, back.body.requeued, back.body.refused], [200, 1, 1]);
    assert.equal(back.body.refusals[0].job_id, unknown);
    assert.equal(back.body.refusals[0].error_code, 'not_found');
    await until(() => queueJson(server.folder, 'show', id), (x) => x.attempts === 2 && x.state === 'failed');
    assert.equal((await post(server, '/admin/queue/requeue', { failed: true }, admin)).body.requeued, 1);
    await until(() => queueJson(server.folder, 'show', id), (x) => x.attempts === 3 && x.state === 'failed');
    assert.deepEqual((await post(server, '/admin/queue/purge-dead', { older_than_days: 1 }, admin)).body, { purged: 0 });
    assert.deepEqual((await post(server, '/admin/queue/purge-dead', {}, admin)).body, { purged: 1 });
    assert.equal((await getJson(server, `/jobs/${id}`, { headers: admin })).status, 404);
    assert.deepEqual(blobsOf(server, id), []);
    const events = (await getJson(server, '/audit', { headers: admin })).body.events.map((x) => x.event);
    assert.deepEqual(events.filter((x) => /^(jobs|dead)_/.test(x)), ['dead_purged', 'jobs_requeued', 'jobs_requeued']);
    assert.equal((await server.stop()).code, 0);
  });
});

describe('figures for a monitor', needsModel, () => {
  test('say how much there is to do and how long it takes', async () => {
    const server = await startServer({ env });
    let now = await metrics(server);
    assert.equal(figure(now, 'queue_estimated_wait_seconds'), 0);
    assert.equal(figure(now, 'real_time_factor'), undefined);
    assert.equal(figure(now, 'transcriptions_at_once'), 1);
    assert.equal(figure(now, 'queue_oldest_seconds'), 0);
    await fail(server);
    await waitForJob(server, await submit(server, wav({ seconds: 100 })));
    const goOn = await hold(server);
    const running = await submit(server, large);
    await until(() => statusOf(server, running), (job) => job.status === 'processing');
    await submit(server, large);
    await submit(server, large);
    now = await until(() => metrics(server), (map) => figure(map, 'queue_oldest_seconds') > 0);
    assert.equal(figure(now, 'queue_jobs{state="waiting"}'), 2);
    assert.equal(figure(now, 'queue_jobs{state="running"}'), 1);
    assert.equal(figure(now, 'jobs{status="pending"}'), 2);
    assert.equal(figure(now, 'jobs{status="completed"}'), 1);
    assert.equal([...now].filter(([name]) => name.startsWith('whisper_transcriber_failed_jobs{reason=')).map(([, n]) => n).join(), '1');
    // By the bytes of the job before, which is of the same kind.
    const waiting = figure(now, 'queue_audio_seconds{state="waiting"}');
    assert.ok(Math.abs(waiting - 560) < 2, `${waiting} seconds`);
    const left = figure(now, 'queue_audio_seconds{state="running"}');
    assert.ok(Math.abs(left - 280) < 2, `${left} seconds`);
    const speed = figure(now, 'real_time_factor');
    assert.ok(speed > 1, `${speed} times as fast`);
    const wait = figure(now, 'queue_estimated_wait_seconds');
    assert.ok(Math.abs(wait - (waiting + left) / speed) < 0.01 * wait);
    const { body } = await getJson(server, '/admin/queue?limit=1');
    assert.ok(Math.abs(body.estimated_wait_seconds - wait) < 0.01 * wait);
    assert.equal(body.waiting_audio_seconds.toFixed(3), waiting.toFixed(3));
    goOn();
    await until(() => metrics(server), (map) => figure(map, 'jobs{status="completed"}') === 4);
    assert.equal((await server.stop()).code, 0);
  });
});
