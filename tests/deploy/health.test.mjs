// Whether the service says in time what is in its way, and in time that it no longer is; and
// the script that asks for whoever watches.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { root } from '../lib/document.mjs';
import { available as hasPostgres, Postgres, wanted as onServer } from '../lib/postgres.mjs';
import { redis, skip as noRedis } from '../lib/redis.mjs';
import { S3, wanted as onS3 } from '../lib/s3.mjs';
import {
  children, form, getJson, hasModel, models, startServer, tempFolder, transcribe, until, wav,
} from '../lib/server.mjs';

const noModel = hasModel('tiny') ? false : 'ggml-tiny.bin is not there';
// Two seconds are asked for; a machine that does other things is given more, and the figure is printed.
const LIMIT_MS = 2000;
const generous = LIMIT_MS * Math.max(2, Math.min(8, Math.ceil(1 + os.loadavg()[0] / os.cpus().length)));

/** Ask again and again, as a proxy does, and note when the answer changed. */
async function becomes(server, part, since) {
  for (;;) {
    const answer = await getJson(server, '/health/ready');
    const ms = performance.now() - since;
    if (part ? answer.body.failing === part : answer.status === 200) {
      if (part) assert.match(answer.body.detail, new RegExp(`^${part}: .+`));
      assert.ok(ms <= generous, `${part ?? 'ready'} after ${Math.round(ms)} ms`);
      return Math.round(ms);
    }
    assert.ok(ms < 60000, `not ${part ?? 'ready'} in a minute: ${JSON.stringify(answer.body)}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/** Break something and mend it; the times of both. */
async function measure(t, server, part, breakIt, mendIt) {
  await until(() => getJson(server, '/health/ready'), ({ status }) => status === 200);
  let since = performance.now();
  await breakIt();
  const down = await becomes(server, part, since);
  assert.equal((await fetch(`${server.url}/health/live`)).status, 200, 'it lives meanwhile');
  since = performance.now();
  await mendIt();
  const up = await becomes(server, null, since);
  t.diagnostic(`${part}: named after ${down} ms, ready again after ${up} ms${down > LIMIT_MS || up > LIMIT_MS ? ' (more than 2 s, on a busy machine)' : ''}`);
}

describe('ready', { skip: noModel }, () => {
  test('a folder that is gone, a model that is missing, workers that die at once', async (t) => {
    const folder = tempFolder();
    const own = path.join(folder, 'models');
    fs.mkdirSync(own);
    const model = path.join(own, 'ggml-tiny.bin');
    fs.symlinkSync(path.join(models, 'ggml-tiny.bin'), model);
    const server = await startServer({ folder, env: { WHISPER_MODEL_DIR: own, DEFAULT_WHISPER_MODEL: 'tiny' } });
    const uploads = path.join(folder, 'storage/uploads');
    if (!onS3) await measure(t, server, 'storage', () => fs.renameSync(uploads, `${uploads}.away`), () => fs.renameSync(`${uploads}.away`, uploads));
    await measure(t, server, 'model', () => fs.renameSync(model, `${model}.away`), () => fs.renameSync(`${model}.away`, model));
    let killing;
    await measure(t, server, 'worker', () => {
      killing = setInterval(() => children(server.pid).forEach((pid) => { try { process.kill(pid, 'SIGKILL'); } catch { /* gone */ } }), 20);
    }, () => clearInterval(killing));
    // Ready is true: a job is done, and nobody has counted every death in the log.
    assert.equal((await transcribe(server, form(wav()))).status, 202);
    assert.ok((server.log().match(/an idle worker died/g) ?? []).length <= 5);
    assert.equal((await server.stop()).code, 0);
  });

  test('a disk that can only be read, and one that is full', { skip: onS3 }, async (t) => {
    const folder = tempFolder();
    const storage = path.join(folder, 'storage');
    fs.mkdirSync(storage);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=96m,mode=0750', 'tmpfs', storage]).status !== 0) {
      t.skip('no right to mount a file system');
      return;
    }
    t.after(() => spawnSync('umount', ['-l', storage]));
    const server = await startServer({ folder });
    await measure(t, server, 'storage', () => assert.equal(spawnSync('mount', ['-o', 'remount,ro', storage]).status, 0),
      () => assert.equal(spawnSync('mount', ['-o', 'remount,rw', storage]).status, 0));
    const filler = path.join(storage, 'filler');
    await measure(t, server, 'storage', () => {
      const fd = fs.openSync(filler, 'w');
      const block = Buffer.alloc(1 << 20);
      try { for (;;) fs.writeSync(fd, block); } catch (error) { assert.equal(error.code, 'ENOSPC'); }
      fs.closeSync(fd);
    }, () => fs.rmSync(filler));
    assert.equal((await server.stop()).code, 0);
  });

  test('PostgreSQL that is stopped, and one that answers nobody', { skip: hasPostgres ? false : 'PostgreSQL is not installed' }, async (t) => {
    const postgres = new Postgres();
    postgres.sql('CREATE DATABASE health OWNER wt');
    const server = await startServer({ env: { DATABASE_URL: `postgresql://wt:${postgres.password}@127.0.0.1:${postgres.port}/health` } });
    await measure(t, server, 'database', () => postgres.end(), () => postgres.begin());
    // A database that is silent: every one of its processes stands still.
    const all = () => [postgres.child.pid, ...children(postgres.child.pid)];
    const signal = (name) => all().forEach((pid) => { try { process.kill(pid, name); } catch { /* gone */ } });
    await measure(t, server, 'database', () => signal('SIGSTOP'), () => signal('SIGCONT'));
    assert.equal((await server.stop()).code, 0);
    await postgres.end();
  });

  test('a bucket that is away', { skip: onS3 }, async (t) => {
    const bucket = new S3();
    await bucket.start();
    const server = await startServer({ env: bucket.env() });
    await measure(t, server, 'storage', () => bucket.stop(), () => bucket.start());
    assert.equal((await server.stop()).code, 0);
    await bucket.stop();
  });

  test('Redis that is stopped stops nothing: jobs are taken from the database', { skip: noRedis || onServer }, async () => {
    const queue = redis();
    await queue.start();
    const server = await startServer({ env: { REDIS_URL: queue.url, REDIS_NAMESPACE: 'health' } });
    await until(() => getJson(server, '/health/ready'), ({ status }) => status === 200);
    await queue.kill();
    await until(server.log, (log) => /Redis is away/.test(log));
    assert.equal((await getJson(server, '/health/ready')).status, 200);
    assert.equal((await transcribe(server, form(wav()))).status, 202);
    assert.equal((await server.stop()).code, 0);
  });
});

describe('deploy/script/health-check', () => {
  const script = path.join(root, 'deploy/script/health-check');
  const check = async (args, env = {}) => {
    // Not with spawnSync: what it asks may be this process.
    const child = spawn('sh', [script, ...args], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
    child.stderr.setEncoding('utf8').on('data', (text) => { out += text; });
    const status = await new Promise((resolve) => { child.on('close', resolve); });
    assert.equal(out.trim().split('\n').length, 1, out);
    return { status, out: out.trim() };
  };

  test('says what is, in one line and one number', { skip: noModel }, async () => {
    const folder = tempFolder();
    const own = path.join(folder, 'models');
    fs.mkdirSync(own);
    fs.symlinkSync(path.join(models, 'ggml-tiny.bin'), path.join(own, 'ggml-tiny.bin'));
    const server = await startServer({ folder, env: { WHISPER_MODEL_DIR: own, DEFAULT_WHISPER_MODEL: 'tiny' } });
    await until(() => getJson(server, '/health/ready'), ({ status }) => status === 200);
    const metrics = path.join(folder, 'health.prom');
    assert.deepEqual(await check(['--url', `${server.url}/`, '--metrics', metrics]), { status: 0, out: `OK: ${server.url} is ready` });
    assert.match(fs.readFileSync(metrics, 'utf8'), /^whisper_transcriber_health_check_status 0$/m);
    // As the unit starts it: where it asks stands in the settings.
    assert.equal((await check([], { HOST: '0.0.0.0', PORT: String(server.port) })).status, 0);
    assert.equal((await check([], { HOST: '::', PORT: '1' })).out.includes('http://[::1]:1'), true);
    fs.rmSync(path.join(own, 'ggml-tiny.bin'));
    await until(() => getJson(server, '/health/ready'), ({ status }) => status === 503); // an answer may be a moment old
    const unready = await check(['--url', server.url, '--metrics', metrics]);
    assert.equal(unready.status, 1);
    assert.match(unready.out, /^WARNING: .* is not ready: model: \S/);
    assert.match(fs.readFileSync(metrics, 'utf8'), /^whisper_transcriber_health_check_status 1$/m);
    await server.stop();
    const gone = await check(['--url', server.url, '--metrics', metrics]);
    assert.equal(gone.status, 2);
    assert.match(gone.out, /^CRITICAL: .* does not answer: /);
    assert.match(fs.readFileSync(metrics, 'utf8'), /^whisper_transcriber_health_check_status 2$/m);
    assert.deepEqual(fs.readdirSync(folder).filter((name) => name.startsWith('health.prom.')), []);
  });

  test('does not wait for ever, and does not believe everybody', async () => {
    const silent = net.createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((resolve) => { silent.on('listening', resolve); });
    const { status } = await check(['--url', `http://127.0.0.1:${silent.address().port}`, '--timeout', '1']);
    assert.equal(status, 2);
    silent.close();
    const other = net.createServer((socket) => { socket.on('error', () => {}); socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno'); }).listen(0, '127.0.0.1');
    await new Promise((resolve) => { other.on('listening', resolve); });
    assert.match((await check(['--url', `http://127.0.0.1:${other.address().port}`])).out, /^CRITICAL: .* answers 404/);
    other.close();
    assert.equal((await check(['--wrong'])).status, 3);
    assert.equal((await check(['--url'])).status, 3);
  });
});
