// deploy/prometheus: its files are valid, each rule is right about figures that are made up
// (alerts_*test.yml), and each is raised once by its real fault, on real services, a real
// Prometheus, real exporters.
//
// What is shortened in the copy of the rules that runs here are times alone: how long a
// fault must last (for:), the windows of rates, and the ages at which a job or a copy is
// old. Everything else is as it is delivered.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  deployed, promtool, skip, startProgram, startPrometheus,
} from '../lib/monitor.mjs';
import { Postgres, available as hasPostgres, databaseOf } from '../lib/postgres.mjs';
import { redis, skip as noRedis } from '../lib/redis.mjs';
import {
  binary, children, form, freePort, getJson, hasModel, startServer, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { long, startWorker } from '../lib/worker.mjs';

const rules = fs.readFileSync(deployed('alerts.yml'), 'utf8');
const names = [...rules.matchAll(/^ +- alert: (\w+)$/gm)].map(([, name]) => name);

describe('what is delivered', { skip }, () => {
  test('is what promtool calls valid', () => {
    const folder = tempFolder();
    for (const name of ['prometheus.yml', 'alerts.yml']) fs.copyFileSync(deployed(name), path.join(folder, name));
    fs.writeFileSync(path.join(folder, 'whisper-transcriber.token'), 'wt_0');
    promtool(['check', 'config', path.join(folder, 'prometheus.yml')]);
    promtool(['check', 'rules', deployed('alerts.yml')]);
    const probe = spawnSync('prometheus-blackbox-exporter', ['--config.check', `--config.file=${deployed('blackbox.yml')}`]);
    assert.equal(probe.status, 0, String(probe.stderr));
  });

  test('raises what it must by figures, and nothing else', () => {
    const files = ['alerts_test.yml', 'alerts_days_test.yml', 'alerts_weeks_test.yml'].map(deployed);
    promtool(['test', 'rules', ...files]);
    const text = files.map((file) => fs.readFileSync(file, 'utf8')).join('');
    for (const name of names) assert.match(text, new RegExp(`alertname="${name}"`), `${name} has no case in which it fires`);
  });

  test('says what to do, and where more is said', () => {
    const headings = fs.readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8').match(/^## .*$/gm).map((h) => h.slice(3));
    const parts = rules.split(/^ +- alert: /m).slice(1);
    for (const part of parts) {
      assert.match(part, /summary: \S/);
      assert.match(part, /action: \S/);
      assert.ok(headings.includes(/section: (.*)/.exec(part)?.[1]), part);
    }
  });
});

/** The same rules, with short times. */
const quick = rules
  .replace(/for: \d+[mhd]$/gm, 'for: 1s')
  .replace(/\[(?:5|10|15)m\]/g, '[20s]')
  .replace('_queue_oldest_seconds) > 900', '_queue_oldest_seconds) > 3')
  .replace('_webhook_oldest_seconds) > 3600', '_webhook_oldest_seconds) > 3')
  .replaceAll(' offset 14d', '')
  .replaceAll('> 1296000', '> 3')
  .replace('last_success_timestamp_seconds) > 0) > 93600', 'last_success_timestamp_seconds) > 0) > 3');

const isRoot = process.getuid() === 0;
const noFaults = skip || (!hasModel('tiny') && 'ggml-tiny.bin is not in WT_TEST_MODELS') || (!hasPostgres && 'no PostgreSQL') || noRedis;
const speech = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));

/** A file system of its own that is soon full; undefined where nobody may mount one. */
function smallDisk() {
  const folder = tempFolder();
  if (!isRoot || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=200m', 'tmpfs', folder]).status !== 0) return undefined;
  return folder;
}

/** A control group of its own with a limit of memory, of version 1 or 2: {enter, limit}. */
function memoryGroup(bytes) {
  const name = `whisper-transcriber-test-${process.pid}`;
  const kinds = [['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'], ['/sys/fs/cgroup', 'memory.max']];
  for (const [base, file] of kinds) {
    const folder = path.join(base, name);
    try {
      fs.mkdirSync(folder);
      fs.writeFileSync(path.join(folder, file), String(bytes));
      process.on('exit', () => { try { fs.rmdirSync(folder); } catch { /* somebody is still in it */ } });
      return { enter: `echo $$ >${folder}/cgroup.procs` };
    } catch {
      try { fs.rmdirSync(folder); } catch { /* it was not made */ }
    }
  }
  return undefined;
}

/** A program that is the one under test, within that group. */
function within(group, folder) {
  const script = path.join(folder, 'limited');
  fs.writeFileSync(script, `#!/bin/sh\n${group.enter}\nexec ${binary} "$@"\n`, { mode: 0o755 });
  return script;
}

/** Take so many bytes of a group's memory, and keep them. */
function takeMemory(group, bytes) {
  const child = spawn('sh', ['-c', `${group.enter}; exec "$0" -e "$1"`, process.execPath,
    `const b = []; for (let left = ${bytes}; left > 0; left -= 1 << 20) b.push(Buffer.alloc(1 << 20, 1)); setInterval(() => b.length, 1000)`],
  { stdio: 'ignore' });
  process.on('exit', () => child.kill('SIGKILL'));
  child.unref();
  return () => child.kill('SIGKILL');
}

/** A certificate for so many days, written where nginx reads it. */
function certificate(folder, days) {
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', String(days),
    '-subj', '/CN=whisper.example', '-keyout', path.join(folder, 'key.pem'), '-out', path.join(folder, 'cert.pem')]);
  assert.equal(made.status, 0, String(made.stderr));
}

async function startTls(port, service) {
  const folder = tempFolder();
  certificate(folder, 60);
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((n) => `${n}_temp_path ${folder}/${n};`).join(' ');
  fs.writeFileSync(path.join(folder, 'nginx.conf'), `${isRoot ? 'user root;' : ''} daemon off; pid ${folder}/pid; worker_processes 1;
    events {} http { access_log off; ${temp} server { listen 127.0.0.1:${port} ssl; ssl_certificate ${folder}/cert.pem;
    ssl_certificate_key ${folder}/key.pem; location / { proxy_pass http://127.0.0.1:${service}; } } }`);
  const nginx = await startProgram('nginx', ['-p', folder, '-e', 'stderr', '-c', path.join(folder, 'nginx.conf')], port);
  return { ...nginx, renew: (days) => { certificate(folder, days); nginx.tell('SIGHUP'); } };
}

/** Whether the binary under test can make copies. */
const copies = spawnSync(binary, ['backup', '--help']).status === 0;

describe('real faults', { skip: noFaults, timeout: 180000 }, () => {
  let prometheus;
  let plain;
  let limited;
  let shared;
  let doomed;
  let worker;
  let queue;
  let tls;
  let base;
  let backups;
  const disk = smallDisk();
  const group = memoryGroup(1 << 30);

  const fires = (name, where = () => true) => until(prometheus.alerts,
    (list) => list.some((a) => a.labels.alertname === name && a.state === 'firing' && where(a.labels)));
  /** It is not there now, and is once `fault` has happened. */
  async function raised(name, fault, where) {
    const list = await prometheus.alerts();
    assert.ok(!list.some((a) => a.labels.alertname === name && a.state === 'firing' && (where ?? (() => true))(a.labels)), `${name} fires before its fault`);
    await fault();
    await fires(name, where);
  }

  before(async () => {
    const folder = tempFolder();
    const postgres = new Postgres();
    queue = await redis().start();
    base = { DATABASE_URL: postgres.url('alerts'), STORAGE_DIR: path.join(folder, 'storage') };
    backups = path.join(folder, 'backups');
    plain = await startServer({ env: { URL_FETCH: 'on', BACKUP_DIR: backups, WEBHOOK_ALLOW: '127.0.0.0/8' } });
    [limited, doomed] = await Promise.all([
      startServer({
        folder: tempFolder(),
        ...(group && { program: within(group, folder) }),
        env: { ...(disk && { STORAGE_DIR: path.join(disk, 'storage') }) },
      }),
      startServer(),
    ]);
    shared = await startServer({ env: { ...base, REDIS_URL: queue.url, EMBEDDED_WORKERS: 'off', AUTH: 'off' } });
    const figures = await freePort();
    worker = await startWorker({ env: { ...base, REDIS_URL: queue.url, AUTH: 'off', WORKER_METRICS_PORT: String(figures) } });
    const port = await freePort();
    tls = await startTls(port, plain.port);
    prometheus = await startPrometheus({
      rules: quick,
      targets: {
        services: [plain, limited, shared, doomed].map((s) => `127.0.0.1:${s.port}`),
        workers: [`127.0.0.1:${figures}`],
        outside: [`https://127.0.0.1:${port}/health/live`],
      },
    });
    await until(prometheus.targets, (list) => list.length === 7 && list.every((t) => t.health === 'up'));
    await until(() => prometheus.query('min(whisper_transcriber_ready) and min(whisper_transcriber_workers)'), (r) => r[0]?.value[1] === '1');
  });

  after(async () => {
    await prometheus?.stop();
    await Promise.all([plain, limited, shared].map((s) => s?.stop()));
    await queue?.kill();
    if (disk) assert.equal(spawnSync('umount', ['-l', disk]).status, 0);
  });

  const of = (server) => (labels) => labels.instance === `127.0.0.1:${server.port}`;
  /** Who was told, in the end. */
  const seen = new Set();
  const alert = (name, options, fn) => test(`${name} ${options.by}`, { skip: options.skip }, async (t) => { await fn(t); seen.add(name); });

  // At once: each waits for its own, and none is in another's way.
  describe('at the same time', { concurrency: true }, () => {
    alert('WhisperTranscriberDown', { by: 'by a kill -9' }, () => raised('WhisperTranscriberDown', () => doomed.kill(), of(doomed)));

    alert('MachineBusy', { by: 'by transcribing' }, async () => {
      // Other tests may keep the machine busy as well, so that nothing is said of before.
      await transcribe(plain, form(long(600)));
      await fires('MachineBusy');
    });

    alert('DiskAlmostFull', { by: 'by a file that fills it', skip: !disk && 'nothing can be mounted here' }, () => raised('DiskAlmostFull', () => {
      fs.writeFileSync(path.join(disk, 'fill'), Buffer.alloc(185 << 20, 1));
    }, of(limited)));

    alert('MemoryAlmostFull', { by: 'by a process that takes it', skip: !group && 'no control group can be made here' }, async () => {
      const figure = async (name) => Number((await (await fetch(`${limited.url}/metrics`)).text()).match(new RegExp(`^whisper_transcriber_memory_${name}_bytes (.*)$`, 'm'))[1]);
      let free;
      await raised('MemoryAlmostFull', async () => {
        const limit = await figure('limit');
        assert.equal(limit, 1 << 30);
        free = takeMemory(group, Math.round(0.92 * limit - await figure('used')));
      }, of(limited));
      free();
    });

    alert('JobsFail', { by: 'by damaged files' }, () => raised('JobsFail', async () => {
      const damaged = Buffer.concat([speech.subarray(0, 44), Buffer.from('not a sound')]);
      damaged.writeUInt16LE(99, 20); // a codec that there is none of
      for (let i = 0; i < 4; i++) {
        const { body } = await transcribe(shared, form(damaged, `damaged-${i}.wav`));
        assert.equal((await waitForJob(shared, body.job_id)).status, 'failed');
      }
    }));

    alert('CertificateExpires', { by: 'by one that ends in two days' }, () => raised('CertificateExpires', () => tls.renew(2)));

    alert('BackupMissing', { by: 'by no copy at all' }, () => fires('BackupMissing'));

    alert('DatabaseCheckOld', { by: 'by no check at all' }, () => fires('DatabaseCheckOld'));
  });

  /** A verb beside the first service. */
  const beside = (words, to) => spawnSync(binary, words, {
    cwd: plain.folder, env: { PATH: process.env.PATH, HOME: plain.folder, ...databaseOf(plain.folder), BACKUP_DIR: to }, encoding: 'utf8',
  });
  const copy = (to) => beside(['backup'], to);
  const noCopies = !copies && 'this program makes no copies';

  alert('BackupOld', { by: 'by no copy after the last one', skip: noCopies }, () => raised('BackupOld', () => {
    const made = copy(backups);
    assert.equal(made.status, 0, made.stderr);
  }));

  alert('BackupDrillOld', { by: 'by a copy that nobody tries', skip: noCopies }, () => fires('BackupDrillOld'));

  alert('BackupDrillFails', { by: 'by a copy that is damaged', skip: noCopies }, () => raised('BackupDrillFails', () => {
    const objects = path.join(backups, 'objects');
    for (const name of fs.readdirSync(objects)) fs.truncateSync(path.join(objects, name), 10);
    assert.equal(beside(['backup', 'drill'], backups).status, 1);
  }));

  alert('BackupFails', { by: 'by a place that cannot be written', skip: noCopies }, () => raised('BackupFails', () => {
    assert.equal(copy('/proc/none').status, 1);
  }));

  alert('DatabaseDamaged', { by: 'by a recording that is gone' }, () => raised('DatabaseDamaged', async () => {
    const { body } = await transcribe(plain, form(wav({ seconds: 1 })));
    await waitForJob(plain, body.job_id);
    plain.removeRecording(body.job_id);
    const found = beside(['database', 'check'], backups);
    assert.equal(found.status, 1, found.stdout + found.stderr);
  }));

  alert('WhisperTranscriberOutsideDown', { by: 'by a proxy that is stopped' }, () => raised('WhisperTranscriberOutsideDown', () => tls.stop()));

  describe('of workers, at the same time', { concurrency: true }, () => {
    alert('WorkerLost', { by: 'by a kill -9' }, () => raised('WorkerLost', () => worker.kill()));
    alert('QueueOld', { by: 'by workers that are gone' }, async () => {
      await worker.exited;
      await raised('QueueOld', () => transcribe(shared, form(wav())));
    });
    alert('WhisperTranscriberNotReady', { by: 'by workers that are gone' }, () => fires('WhisperTranscriberNotReady', of(shared)));
    alert('WorkersDie', { by: 'by a kill -9 of three' }, () => raised('WorkersDie', async () => {
      for (let i = 0; i < 3; i++) {
        const [pid] = await until(() => children(limited.pid), (pids) => pids.length > 0);
        process.kill(pid, 'SIGKILL');
        await until(() => children(limited.pid), (pids) => !pids.includes(pid));
      }
    }, of(limited)));
    alert('WebhooksLate', { by: 'by a receiver that is away' }, () => raised('WebhooksLate', async () => {
      const nowhere = await freePort();
      const { status, body } = await transcribe(plain, form(wav(), 'w.wav', { webhook_url: `http://127.0.0.1:${nowhere}/` }));
      assert.equal(status, 202, JSON.stringify(body));
      await getJson(plain, `/jobs/${body.job_id}/cancel`, { method: 'POST' });
    }));
    alert('RedisAway', { by: 'by a kill -9' }, () => raised('RedisAway', () => queue.kill(), of(shared)));
  });

  test('none but those for which something is lacking here was left out', (t) => {
    const left = names.filter((name) => !seen.has(name));
    t.diagnostic(`raised: ${seen.size} of ${names.length}; not here: ${left.join(', ') || 'none'}`);
    const may = [...(copies ? [] : ['BackupOld', 'BackupFails', 'BackupDrillOld', 'BackupDrillFails']), ...(disk ? [] : ['DiskAlmostFull']), ...(group ? [] : ['MemoryAlmostFull'])];
    assert.deepEqual(left.filter((name) => !may.includes(name)), []);
  });
});
