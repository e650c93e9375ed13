// GET /metrics: what Prometheus' own tool says of it, that each figure follows what happens,
// that docs/metrics.md has a row for each, and that the dashboard asks for what there is.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { blocks, root, runBlock } from '../lib/document.mjs';
import { deployed, promtool, skip as noPrometheus, startPrometheus } from '../lib/monitor.mjs';
import { Postgres, available as hasPostgres } from '../lib/postgres.mjs';
import { redis, skip as noRedis } from '../lib/redis.mjs';
import {
  binary, children, form, freePort, hasModel, hold, startServer, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { startWorker } from '../lib/worker.mjs';

const skip = hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS';
const speech = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));
const prefix = 'whisper_transcriber_';

const text = async (server, init) => {
  const answer = await fetch(`${server.url}/metrics`, init);
  assert.equal(answer.status, 200);
  return answer.text();
};

/** The samples as a map, and what is said of each metric. */
function parse(all) {
  const samples = new Map();
  const metrics = new Map();
  for (const line of all.trimEnd().split('\n')) {
    const help = /^# HELP (\S+) (.*)$/.exec(line);
    const type = /^# TYPE (\S+) (.*)$/.exec(line);
    if (help) metrics.set(help[1], { help: help[2], labels: new Set() });
    else if (type) metrics.get(type[1]).type = type[2];
    else {
      const [, key, name, labels = '', value] = /^((\w+)(?:\{(.*)\})?) (\S+)$/.exec(line);
      samples.set(key, Number(value));
      const described = metrics.get(name) ?? metrics.get(name.replace(/_(bucket|sum|count)$/, ''));
      for (const [, label] of labels.matchAll(/(\w+)="/g)) if (label !== 'le') described.labels.add(label);
    }
  }
  return { samples, metrics };
}

const read = async (server) => parse(await text(server)).samples;
const until1 = (server, key, done) => until(async () => (await read(server)).get(prefix + key), done);

describe('a service', { skip }, () => {
  let server;
  before(async () => { server = await startServer({ env: { BACKUP_DIR: tempFolder() } }); });
  after(() => server.stop());

  test('says what promtool calls well-formed', { skip: noPrometheus }, async () => {
    await transcribe(server, form(wav()));
    assert.equal(promtool(['check', 'metrics'], await text(server)), '');
  });

  test('counts answers by route and status, never by what callers make up', async () => {
    const before = await read(server);
    for (let i = 0; i < 3; i++) await fetch(`${server.url}/jobs/made-up-${i}`);
    for (let i = 0; i < 2; i++) await fetch(`${server.url}/nowhere-${i}`);
    const key = 'http_requests_total{method="GET",route="/jobs/{id}",status="404"}';
    await until1(server, key, (n) => n === (before.get(prefix + key) ?? 0) + 3);
    await until1(server, 'http_requests_total{method="other",route="other",status="404"}', (n) => n === 2);
    const all = await text(server);
    assert.doesNotMatch(all, /made-up|nowhere/);
    const now = parse(all).samples;
    assert.equal(now.get(`${prefix}http_request_duration_seconds_count{method="GET",route="/jobs/{id}"}`), 3);
    assert.equal(now.get(`${prefix}http_request_duration_seconds_bucket{method="GET",route="/jobs/{id}",le="+Inf"}`), 3);
    assert.equal(now.get(`${prefix}http_errors_total{error_code="not_found"}`), 5);
    assert.equal(now.get(`${prefix}http_requests_open{method="GET",route="/metrics"}`), 1);
    assert.ok(now.get(`${prefix}http_connections`) > 0);
  });

  test('shows what is open, and counts it when it has ended', async () => {
    const stop = new AbortController();
    const answer = await fetch(`${server.url}/events`, { signal: stop.signal });
    assert.equal(answer.status, 200);
    await until1(server, 'http_requests_open{method="GET",route="/events"}', (n) => n === 1);
    stop.abort();
    await until1(server, 'http_requests_open{method="GET",route="/events"}', (n) => n === 0);
    await until1(server, 'http_request_duration_seconds_count{method="GET",route="/events"}', (n) => n === 1);
  });

  test('tells where the time of a job went', async () => {
    const before = await read(server);
    const { body } = await transcribe(server, form(speech, 'clean.wav', { word_timestamps: 'true' }));
    assert.equal((await waitForJob(server, body.job_id)).status, 'completed');
    await until1(server, 'attempts_total{end="finished"}', (n) => n > before.get(`${prefix}attempts_total{end="finished"}`));
    const now = await read(server);
    const grew = (key) => now.get(prefix + key) - before.get(prefix + key);
    for (const stage of ['mel', 'encoder', 'decoder', 'align', 'save']) assert.ok(grew(`stage_seconds_total{stage="${stage}"}`) > 0, stage);
    assert.ok(Math.abs(grew('transcribed_audio_seconds_total') - (speech.length - 44) / 32000) < 0.1);
    const stages = ['load', 'decode', 'vad', 'mel', 'encoder', 'decoder', 'align'];
    const sum = stages.reduce((all, stage) => all + grew(`stage_seconds_total{stage="${stage}"}`), 0);
    const whole = grew('transcription_seconds_total');
    assert.ok(sum <= whole && sum > whole / 3, `${sum} of ${whole}`);
    assert.equal(grew('jobs_ended_total{status="completed"}'), 1);
    assert.equal(grew('job_duration_seconds_count'), 1);
    assert.equal(grew('job_wait_seconds_count'), 1);
  });

  test('counts failures by reason, cancelled jobs, and workers that were killed', async () => {
    const damaged = Buffer.concat([speech.subarray(0, 44), Buffer.from('not a sound')]);
    damaged.writeUInt16LE(99, 20);
    const failed = (await transcribe(server, form(damaged, 'damaged.wav'))).body.job_id;
    const job = await waitForJob(server, failed);
    assert.equal(job.status, 'failed');
    assert.equal((await read(server)).get(`${prefix}jobs_failed_total{reason="${job.error_code}"}`), 1);
    const goOn = await hold(server);
    const held = (await transcribe(server, form(wav()))).body.job_id;
    await until1(server, 'leases{state="held"}', (n) => n === 1);
    assert.ok((await read(server)).get(`${prefix}oldest_running_seconds`) >= 0);
    assert.equal((await fetch(`${server.url}/jobs/${held}/cancel`, { method: 'POST' })).status, 200);
    goOn();
    await until1(server, 'jobs_ended_total{status="cancelled"}', (n) => n === 1);
    const [pid] = await until(() => children(server.pid), (pids) => pids.length > 0);
    const killed = (await read(server)).get(`${prefix}worker_deaths_total{cause="killed"}`);
    process.kill(pid, 'SIGKILL');
    await until1(server, 'worker_deaths_total{cause="killed"}', (n) => n === killed + 1);
  });

  test('counts uploads that are not whole, and what has come of them', async () => {
    const { headers } = await fetch(`${server.url}/uploads`, {
      method: 'POST', headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000', 'Upload-Metadata': `filename ${btoa('a.wav')}` },
    });
    const where = new URL(headers.get('location'), server.url);
    assert.equal((await fetch(where, {
      method: 'PATCH', body: wav().subarray(0, 400), headers: { 'Tus-Resumable': '1.0.0', 'Upload-Offset': '0', 'Content-Type': 'application/offset+octet-stream' },
    })).status, 204);
    const now = await read(server);
    assert.equal(now.get(`${prefix}uploads_open`), 1);
    assert.equal(now.get(`${prefix}uploads_open_bytes`), 400);
    assert.equal((await fetch(where, { method: 'DELETE', headers: { 'Tus-Resumable': '1.0.0' } })).status, 204);
    assert.equal((await read(server)).get(`${prefix}uploads_open`), 0);
  });

  test('says what it takes of the machine, and what is left', async () => {
    await until1(server, 'processes{role="worker"}', (n) => n === 1);
    const now = await read(server);
    assert.equal(now.get('process_open_fds') > 10 && now.get('process_open_fds') < now.get('process_max_fds'), true);
    assert.ok(Math.abs(now.get('process_start_time_seconds') * 1000 - Date.now()) < 600000);
    assert.ok(now.get(`${prefix}cpu_seconds_total`) >= now.get('process_cpu_seconds_total'));
    assert.ok(now.get(`${prefix}memory_used_bytes`) > 0 && now.get(`${prefix}memory_used_bytes`) <= now.get(`${prefix}memory_limit_bytes`));
    const { bavail, bsize } = fs.statfsSync(server.folder);
    for (const folder of ['storage', 'database', 'models', 'backups']) {
      const free = now.get(`${prefix}disk_free_bytes{folder="${folder}"}`);
      assert.ok(free > 0 && free <= now.get(`${prefix}disk_size_bytes{folder="${folder}"}`), folder);
    }
    assert.ok(Math.abs(now.get(`${prefix}disk_free_bytes{folder="storage"}`) - bavail * bsize) < 2 ** 31);
  });

  test('says that its database does not answer instead of saying nothing', async () => {
    const postgres = hasPostgres && new Postgres();
    if (!postgres) return;
    const other = await startServer({ env: { DATABASE_URL: postgres.url('away'), AUTH: 'off' } });
    assert.equal((await read(other)).get(`${prefix}database_up{kind="postgresql"}`), 1);
    await postgres.stop();
    const now = await until(() => read(other), (map) => map.get(`${prefix}database_up{kind="postgresql"}`) === 0 && map.get(`${prefix}ready`) === 0);
    assert.ok(now.get('process_resident_memory_bytes') > 0);
    await other.kill();
  });
});

/** What the pages have, for figures that only some services have. */
describe('everywhere', { skip: skip || (!hasPostgres && 'no PostgreSQL') || noRedis }, () => {
  // Those of copies and of the care of the database: a program has them once it has the verbs.
  const elsewhere = /^whisper_transcriber_(backup_|disk_pressure|jobs_on_hold|database_check_)/;
  let plain;
  let shared;
  let worker;
  let queue;
  let figures;
  before(async () => {
    queue = await redis().start();
    const folder = tempFolder();
    const base = { DATABASE_URL: new Postgres().url('metrics'), STORAGE_DIR: path.join(folder, 'storage'), REDIS_URL: queue.url };
    plain = await startServer();
    shared = await startServer({ env: { ...base, EMBEDDED_WORKERS: 'off' } });
    figures = { port: await freePort() };
    figures.url = `http://127.0.0.1:${figures.port}`;
    worker = await startWorker({ env: { ...base, WORKER_METRICS_PORT: String(figures.port) } });
  });
  after(async () => {
    await worker.stop();
    await Promise.all([plain.stop(), shared.stop()]);
    await queue.kill();
  });

  async function exercise(server) {
    const { body } = await transcribe(server, form(speech, 'clean.wav'));
    await waitForJob(server, body.job_id);
    const damaged = Buffer.concat([speech.subarray(0, 44), Buffer.from('no sound')]);
    damaged.writeUInt16LE(99, 20);
    const bad = await transcribe(server, form(damaged, 'damaged.wav'));
    await waitForJob(server, bad.body.job_id);
    await fetch(`${server.url}/jobs/none`);
  }

  test('a worker has a door for its figures, and for nothing else', async () => {
    await exercise(shared);
    const now = await until(() => read(figures), (map) => map.get(`${prefix}jobs_ended_total{status="completed"}`) === 1);
    assert.ok(now.get(`${prefix}stage_seconds_total{stage="encoder"}`) > 0);
    assert.equal((await fetch(`${figures.url}/health/live`)).status, 200);
    for (const where of ['/', '/jobs', '/keys', '/transcribe']) assert.equal((await fetch(figures.url + where)).status, 404, where);
    if (!noPrometheus) assert.equal(promtool(['check', 'metrics'], await text(figures)), '');
  });

  test('docs/metrics.md has a row for each metric, and no other', async () => {
    await exercise(plain);
    await until(() => read(shared), (map) => map.has(`${prefix}redis_memory_used_bytes`));
    const rows = new Map();
    for (const all of [await text(plain), await text(shared), await text(figures)]) {
      for (const [name, { type, labels, help }] of parse(all).metrics) {
        const before = rows.get(name)?.labels ?? new Set();
        rows.set(name, { type, help, labels: new Set([...before, ...labels]) });
      }
    }
    const page = fs.readFileSync(path.join(root, 'docs/metrics.md'), 'utf8');
    const written = new Map([...page.matchAll(/^\| `(\w+)` \|.*$/gm)].map(([row, name]) => [name, row]));
    const wanted = [...rows].map(([name, { type, labels, help }]) => (
      [name, `| \`${name}\` | ${type} | ${[...labels].sort().map((l) => `\`${l}\``).join(', ')} | ${help} |`]));
    // WT_WRITE_METRICS=FILE: the rows as they are to be, for whoever changes one.
    if (process.env.WT_WRITE_METRICS) fs.writeFileSync(process.env.WT_WRITE_METRICS, `${wanted.map(([, row]) => row).join('\n')}\n`);
    for (const [name, row] of wanted) if (!elsewhere.test(name)) assert.equal(written.get(name), row);
    assert.deepEqual([...written.keys()].filter((name) => !rows.has(name) && !elsewhere.test(name)), [], 'rows of metrics that there are not');
    assert.deepEqual([...rows.keys()].filter((name) => !written.has(name)), [], 'metrics without a row');
  });

  test('the dashboard is what Grafana reads, and each of its questions has an answer', { skip: noPrometheus }, async (t) => {
    const board = JSON.parse(fs.readFileSync(path.join(root, 'deploy/grafana/whisper-transcriber.json'), 'utf8'));
    assert.ok(board.schemaVersion >= 36 && board.title && board.uid);
    assert.deepEqual(board.templating.list.map((v) => [v.name, v.type]), [['datasource', 'datasource'], ['instance', 'query']]);
    assert.equal(new Set(board.panels.map((p) => p.id)).size, board.panels.length, 'ids are unique');
    const taken = new Map();
    for (const { gridPos: { x, y, w, h }, title } of board.panels) {
      assert.ok(x >= 0 && w > 0 && x + w <= 24 && h > 0, title);
      for (let i = x; i < x + w; i++) {
        for (let k = y; k < y + h; k++) {
          assert.ok(!taken.has(`${i},${k}`), `${title} lies on ${taken.get(`${i},${k}`)}`);
          taken.set(`${i},${k}`, title);
        }
      }
    }
    const questions = board.panels.flatMap((p) => (p.targets ?? []).map(({ expr, datasource }) => ({ expr, title: p.title, datasource })));
    for (const q of questions) assert.equal(q.datasource.uid, '${datasource}', q.title);
    for (const p of board.panels) if (p.type !== 'row') assert.ok(p.targets.length > 0 && p.fieldConfig.defaults.unit, p.title);

    const { port } = shared;
    const prometheus = await startPrometheus({ targets: {
      services: [plain.port, port].map((n) => `127.0.0.1:${n}`), workers: [`127.0.0.1:${figures.port}`], outside: [`http://127.0.0.1:${port}/health/live`],
    } });
    await until(prometheus.targets, (list) => list.length === 5 && list.filter((x) => x.health === 'up').length >= 4);
    // Something for the rates to be made of, between two looks.
    await Promise.all([exercise(plain), exercise(shared)]);
    const ready = (expr) => expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*');
    // What is there only where it is set up, or has gone wrong.
    const absent = /backup_|probe_ssl_|connections_refused/;
    const deadline = Date.now() + 60000;
    // All are asked, and those that have an answer already not again.
    let left = questions;
    await until(async () => {
      const answers = await Promise.all(left.map(async (q) => ({ ...q, n: (await prometheus.query(ready(q.expr))).length })));
      left = answers.filter((q) => q.n === 0 && !absent.test(q.expr));
    }, () => left.length === 0 || Date.now() > deadline);
    assert.deepEqual(left.map((q) => `${q.title}: ${q.expr}`), []);
    // Each metric is on the board, but for those that only say how a figure came about.
    const asked = questions.map((q) => q.expr).join('\n');
    const page = fs.readFileSync(path.join(root, 'docs/metrics.md'), 'utf8');
    const missing = [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name).filter((name) => !asked.includes(name) && !elsewhere.test(name));
    t.diagnostic(`${questions.length} questions in ${board.panels.length} panels; not on the board: ${missing.join(', ') || 'none'}`);
    assert.deepEqual(missing, []);
    await prometheus.stop();
  });
});
describe('docs/operations.md', { skip: skip || noPrometheus }, () => {
  test('sets up Prometheus as it says', async () => {
    const server = await startServer();
    const folder = tempFolder();
    const etc = path.join(folder, 'prometheus');
    fs.mkdirSync(etc);
    const replace = [
      ['/etc/prometheus', etc], ['/usr/share/whisper-transcriber/deploy', path.join(root, 'deploy')],
      ['http://127.0.0.1:8000', server.url], ['chown prometheus: ', 'test -f '],
      ['systemctl', 'true'],
    ];
    const commands = blocks('Watch').filter((b) => b.language === 'sh');
    assert.ok(commands.length > 2);
    fs.symlinkSync(binary, path.join(folder, 'whisper-transcriber'));
    const env = { DATABASE_URL: `sqlite:///${server.folder}/data/app.db`, PATH: `${folder}:${process.env.PATH}` };
    const printed = commands.map((b) => runBlock(b, { replace, env, cwd: server.folder })).join('\n');
    assert.match(printed, /SUCCESS/);
    assert.match(printed, /^whisper_transcriber_ready 1$/m);
    assert.equal((await fetch(`${server.url}/metrics`)).status, 401, 'nobody else reads them now');
    assert.match(fs.readFileSync(path.join(etc, 'whisper-transcriber.token'), 'utf8'), /^wt_\S+\n?$/);
    await server.stop();
  });
});
