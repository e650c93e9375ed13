// Redis is killed, emptied, filled up, put to sleep and made a replica while jobs come in:
// each upload is accepted, each job is done, none twice, and nothing is left on Redis.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import { redis, skip as needsRedis } from '../lib/redis.mjs';
import {
  form, getJson, hasModel, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needs = { skip: needsRedis || (hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS') };
const kills = Number(process.env.WT_FAULT_KILLS ?? 15);
const sleepSeconds = Number(process.env.WT_FAULT_SLEEP ?? 8);
const env = { WORKER_CONCURRENCY: '2', WORKER_THREADS: '1', LOG_LEVEL: 'DEBUG' };
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const silence = wav({ seconds: 1 });
const uri = (r) => ({ REDIS_URL: r.url, REDIS_NAMESPACE: 'fault' });
const onRedis = async (r) => Number(await r.ask('HLEN', 'wt:{fault}:jobs'));

// Without the whole log in the message.
const says = (server, words) => assert.ok(words.test(server.log()), `the log does not say ${words}`);
const saysNot = (server, words) => assert.ok(!words.test(server.log()), `the log says ${words}`);

/** Clients that send one job after the other until they are stopped. */
function clients(server, count) {
  const accepted = [];
  let stopped = false;
  let slowest = 0;
  const one = async (n) => {
    for (let i = 0; !stopped; i++) {
      const began = Date.now();
      const answer = await transcribe(server, form(silence, `${n}-${i}.wav`, { language: 'en' }));
      assert.equal(answer.status, 202, JSON.stringify(answer.body));
      slowest = Math.max(slowest, Date.now() - began);
      accepted.push(answer.body.job_id);
      await sleep(30);
    }
  };
  const all = Array.from({ length: count }, (_, n) => one(n));
  return {
    accepted,
    slowest: () => slowest,
    stop: async () => { stopped = true; await Promise.all(all); return accepted; },
  };
}

/** All are done, each once, and Redis knows none of them any more. */
async function check(server, r, accepted) {
  for (const id of accepted) {
    const job = await waitForJob(server, id);
    assert.equal(job.status, 'completed', `${id}: ${job.error_message}`);
  }
  const log = server.log();
  const ended = [...log.matchAll(/job=(\S{36}) completed: /g)].map((m) => m[1]);
  assert.equal(new Set(ended).size, ended.length, 'a job was done twice');
  for (const id of accepted) assert.ok(ended.includes(id), id);
  const attempts = [...log.matchAll(/ begun: attempt (\d+)/g)].map((m) => Number(m[1]));
  assert.equal(Math.max(...attempts), 1, 'a job was begun twice');
  assert.equal((await getJson(server, '/jobs?limit=1')).body.total, accepted.length);
  await until(() => onRedis(r), (n) => n === 0);
  // `turn`, `store` and who waits for work go by themselves.
  await until(() => r.ask('KEYS', '*'), (keys) => keys.split('\n').filter((k) => !/:(turn|store|waiting(:.*)?)$/.test(k)).join() === 'wt:{fault}:whole');
  assert.equal(/^.* ERROR .*$/m.exec(log)?.[0], undefined);
}

describe('a queue on Redis', needs, () => {
  test(`outlives ${kills} deaths of Redis`, async (t) => {
    const r = await redis().start();
    const server = await startServer({ env: { ...env, ...uri(r) } });
    const load = clients(server, 3);
    t.after(load.stop);
    for (let i = 0; i < kills; i++) {
      await sleep(Math.random() * 400);
      await r.kill();
      await sleep(Math.random() * 300);
      await r.start();
    }
    const accepted = await load.stop();
    says(server, /Redis is away/);
    await until(() => server.log(), (log) => /Redis is back/.test(log));
    await check(server, r, accepted);
    t.diagnostic(`${accepted.length} jobs; the slowest upload took ${load.slowest()} ms`);
    assert.equal((await server.stop()).code, 0);
    await r.kill();
  });

  test('outlives FLUSHALL, a full memory, a server that may not write, and an empty one', async (t) => {
    const r = await redis().start();
    const server = await startServer({ env: { ...env, ...uri(r) } });
    const load = clients(server, 3);
    t.after(load.stop);
    for (let i = 0; i < 5; i++) {
      await sleep(200);
      await r.ask('FLUSHALL');
    }
    await r.ask('CONFIG', 'SET', 'maxmemory', '1');
    await sleep(1500);
    await r.ask('CONFIG', 'SET', 'maxmemory', '0');
    await sleep(500);
    // A failover to an empty replica: first nothing may be written, then nothing is there.
    await r.ask('REPLICAOF', '127.0.0.1', '1');
    await sleep(1500);
    await r.ask('REPLICAOF', 'NO', 'ONE');
    await r.ask('FLUSHALL');
    await sleep(500);
    await r.ask('CONFIG', 'SET', 'min-replicas-to-write', '3'); // NOREPLICAS, as MISCONF does
    await sleep(1000);
    await r.ask('CONFIG', 'SET', 'min-replicas-to-write', '0');
    await r.ask('SCRIPT', 'FLUSH');
    await r.ask('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await r.ask('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await sleep(500);
    const accepted = await load.stop();
    await check(server, r, accepted);
    says(server, /OOM/);
    says(server, /READONLY/);
    t.diagnostic(`${accepted.length} jobs; the slowest upload took ${load.slowest()} ms`);
    await server.stop();
    await r.kill();
  });

  test(`does not stop while Redis sleeps for ${sleepSeconds} s`, async (t) => {
    const r = await redis({ args: ['--enable-debug-command', 'yes'] }).start();
    const server = await startServer({ env: { ...env, ...uri(r) } });
    const load = clients(server, 2);
    t.after(load.stop);
    await sleep(500);
    await r.ask('DEBUG', 'SLEEP', '0');
    const began = Date.now();
    const sent = load.accepted.length;
    await r.ask('DEBUG', 'SLEEP', String(sleepSeconds));
    const awake = Date.now();
    // Uploads were accepted all the time, and once its silence was noticed work went on.
    assert.ok(load.accepted.length > sent + 5);
    const meanwhile = [...server.log().matchAll(/^(\S+) .* completed: /mg)]
      .filter(([, time]) => Date.parse(time) > began + 2500 && Date.parse(time) < awake);
    assert.ok(meanwhile.length > 3, `${meanwhile.length} jobs were done while Redis slept`);
    await until(() => server.log(), (log) => /Redis is back/.test(log));
    const accepted = await load.stop();
    await check(server, r, accepted);
    assert.ok(load.slowest() < 500 * sleepSeconds, `an upload took ${load.slowest()} ms`);
    t.diagnostic(`${accepted.length} jobs; the slowest upload took ${load.slowest()} ms`);
    await server.stop();
    await r.kill();
  });

  test('wakes a worker within milliseconds, and is not missed when the service is killed', async (t) => {
    const r = await redis().start();
    const folder = tempFolder();
    let server = await startServer({ folder, env: { ...env, ...uri(r) } });
    await until(() => r.ask('PUBSUB', 'NUMSUB', 'wt:{fault}:bell'), (text) => /1$/.test(text));
    assert.equal((await waitForJob(server, (await transcribe(server, form(silence))).body.job_id)).status, 'completed');
    const waits = [];
    for (let i = 0; i < 20; i++) {
      const { body } = await transcribe(server, form(silence, `${i}.wav`));
      await waitForJob(server, body.job_id);
      const at = (what) => Date.parse(new RegExp(`^(\\S+) .*${body.job_id}.* ${what}`, 'm').exec(server.log())[1]);
      waits.push(at('begun') - at('accepted'));
    }
    waits.sort((a, b) => a - b);
    t.diagnostic(`from accepted to begun: ${waits[10]} ms in the middle, ${waits[19]} ms at most`);
    assert.ok(waits[10] < 100, `an idle worker waits ${waits} ms`);
    // Killed in the middle of work, with jobs waiting on Redis.
    const ids = [];
    for (let i = 0; i < 5; i++)
      ids.push((await transcribe(server, form(wav({ seconds: 8, sample: tone }), `${i}.wav`))).body.job_id);
    await until(async () => (await getJson(server, `/jobs/${ids[0]}`)).body.status, (status) => status !== 'pending');
    await server.kill();
    server = await startServer({ folder, env: { ...env, ...uri(r) } });
    for (const id of ids) assert.equal((await waitForJob(server, id)).status, 'completed');
    await until(() => onRedis(r), (n) => n === 0);
    await server.stop();
    await r.kill();
  });

  test('remembers how much a client has sent, and counts for itself while Redis is away', async () => {
    const r = await redis().start();
    const folder = tempFolder();
    const limited = { ...env, ...uri(r), RATE_LIMIT: '3/hour' };
    const send = async (server) => (await transcribe(server, form(silence))).status;
    let server = await startServer({ folder, env: limited });
    await until(async () => Number(await r.ask('CLIENT', 'LIST').then((text) => text.split('\n').length)), (n) => n >= 5);
    assert.equal(await send(server), 202);
    assert.equal(await send(server), 202);
    await server.stop();
    server = await startServer({ folder, env: limited });
    await until(async () => Number(await r.ask('CLIENT', 'LIST').then((text) => text.split('\n').length)), (n) => n >= 5);
    const third = await transcribe(server, form(silence));
    assert.equal(third.status, 202);
    assert.equal(third.headers.get('ratelimit-limit'), '3');
    assert.equal(third.headers.get('ratelimit-remaining'), '0');
    const fourth = await transcribe(server, form(silence));
    assert.equal(fourth.status, 429);
    assert.ok(Number(fourth.headers.get('retry-after')) > 1000);
    await r.kill();
    assert.equal(await send(server), 202);
    await server.stop();
  });

  test('says what is wrong with REDIS_URL, without the password', async () => {
    const r = await redis({ password: 'hunter2' }).start();
    const refused = async (url, words) => {
      await assert.rejects(startServer({ env: { ...env, REDIS_URL: url } }), (error) => {
        assert.match(error.message, words);
        assert.doesNotMatch(error.message, /hunter/);
        return true;
      });
    };
    await refused(r.url.replace('hunter2', 'hunter3'), /REDIS_URL.*WRONGPASS/);
    await refused(`unix://${path.join(r.folder, 's')}`, /REDIS_URL.*NOAUTH/);
    await refused(`${r.url}?db=999`, /REDIS_URL.*DB index/);
    await refused('redis://hunter2@host', /REDIS_URL.*user without a password/);
    // Too old: what Redis 4 says of itself.
    const old = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', () => socket.write('$22\r\nredis_version:4.0.14\r\n\r\n'));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => { old.on('listening', resolve); });
    await refused(`redis://127.0.0.1:${old.address().port}`, /Redis 4\.0\.14 is too old: install Redis 5 or later/);
    old.close();
    // Of two services on one queue each would drop the other's jobs.
    const first = await startServer({ env: { ...env, REDIS_URL: r.url } });
    await refused(r.url, /another service has the queue wt:\{main\}: on this Redis.*REDIS_NAMESPACE/);
    saysNot(first, /away/);
    await first.stop();
    // One that is not there is waited for.
    await r.kill();
    const server = await startServer({ env: { ...env, ...uri(r) } });
    says(server, /Redis is not there yet/);
    const { body } = await transcribe(server, form(silence));
    assert.equal((await waitForJob(server, body.job_id)).status, 'completed');
    await r.start();
    await until(() => server.log(), (log) => /Redis is back/.test(log));
    saysNot(server, /hunter/);
    await server.stop();
    await r.kill();
  });

  test('speaks TLS to a server that REDIS_CA_FILE vouches for, and to no other', async () => {
    const folder = tempFolder();
    const file = (name) => path.join(folder, name);
    const openssl = (...args) => execFileSync('openssl', args, { stdio: 'ignore' });
    const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
    for (const which of ['mine', 'other'])
      openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...name,
        '-keyout', file(`${which}.key`), '-out', file(`${which}.crt`));
    const port = await new Promise((resolve) => {
      const s = net.createServer().listen(0, '127.0.0.1', () => { const { port: p } = s.address(); s.close(() => resolve(p)); });
    });
    const r = await redis({
      args: ['--tls-port', String(port), '--bind', '127.0.0.1', '--tls-auth-clients', 'no',
        '--tls-cert-file', file('mine.crt'), '--tls-key-file', file('mine.key'), '--tls-ca-cert-file', file('mine.crt')],
    }).start();
    const tls = { REDIS_URL: `rediss://localhost:${port}`, REDIS_NAMESPACE: 'fault' };
    const server = await startServer({ env: { ...env, ...tls, REDIS_CA_FILE: file('mine.crt') } });
    says(server, /the queue is on rediss:/);
    const { body } = await transcribe(server, form(silence));
    assert.equal((await waitForJob(server, body.job_id)).status, 'completed');
    saysNot(server, /away/);
    assert.notEqual(await r.ask('PUBSUB', 'NUMSUB', 'wt:{fault}:bell'), '');
    await server.stop();
    const wary = await startServer({ env: { ...env, ...tls, REDIS_CA_FILE: file('other.crt') } });
    says(wary, /Redis is not there yet.*certificate/);
    await wary.stop();
    await r.kill();
  });
});
