// Redis is killed, emptied, filled up, put to sleep, slow, made a replica and given another
// password, and loses answers, while jobs come in: each upload is accepted, each job is done,
// none twice, and nothing is left on Redis.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import { chance, kinds, place, seed, size, sleep } from '../lib/faults.mjs';
import { History } from '../lib/history.mjs';
import { redis, skip as needsRedis } from '../lib/redis.mjs';
import {
  form, getJson, hasModel, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';
import { tcpProxy } from '../lib/tcp.mjs';

const needs = { skip: needsRedis || (hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS') };
const shared = { skip: kinds.find(({ name }) => name === 'redis').skip };
const limit = { timeout: 1800000 };
const env = { WORKER_CONCURRENCY: '2', WORKER_THREADS: '1', LOG_LEVEL: 'DEBUG' };
const silence = wav({ seconds: 1 });
const uri = (r) => ({ REDIS_URL: r.url, REDIS_NAMESPACE: 'fault' });
const onRedis = async (r) => Number(await r.ask('HLEN', 'wt:{fault}:jobs'));
const most = (list) => Math.round(Math.max(0, ...list));

// Without the whole log in the message.
const says = (server, words) => assert.ok(words.test(server.log()), `the log does not say ${words}`);
const saysNot = (server, words) => assert.ok(!words.test(server.log()), `the log says ${words}`);

/**
 * Clients that submit and look all the time, at a service without workers and two workers on
 * PostgreSQL (or, `alone`, at one that transcribes itself, on SQLite), with Redis behind a
 * proxy. Rates are counted on Redis as well, so that every upload asks it something.
 */
async function scene(t, { alone = false, writers = 3, pause = 40, options = {}, target } = {}) {
  const at = await place(alone ? 'sqlite' : 'redis', { env: { RATE_LIMIT: '100000/minute', LOG_LEVEL: 'DEBUG', WORKER_CONCURRENCY: alone ? '2' : '1' } });
  if (alone || options.password) at.redis = await redis(options).start();
  const r = at.redis;
  const aim = target ?? {};
  aim.path = path.join(r.folder, 's');
  const between = await tcpProxy(aim);
  at.env.REDIS_NAMESPACE = 'faults';
  at.env.REDIS_URL = `redis://${options.password ? `:${options.password}@` : ''}127.0.0.1:${between.port}`;
  const server = await at.serve(alone ? { folder: at.folder, EMBEDDED_WORKERS: 'on' } : {});
  const workers = alone ? [] : [await at.work(), await at.work()];
  const processes = [server, ...workers];
  const history = new History();
  const looks = [];
  let [over, failure] = [false, null];
  const guard = (work) => work.catch((error) => { over = true; failure ??= error; });
  const write = async (n) => {
    for (let i = 0; !over; i++) {
      await history.submit(() => server.url, `${n}-${i}`, silence, { fields: { language: 'en' } });
      await sleep(pause);
    }
  };
  const look = async () => {
    while (!over) {
      const began = performance.now();
      const response = await fetch(`${server.url}/jobs?limit=3`);
      await response.text();
      looks.push({ status: response.status, ms: performance.now() - began });
      await sleep(pause);
    }
  };
  const all = [...Array.from({ length: writers }, (_, n) => guard(write(n))), guard(look())];
  const stop = async () => { over = true; await Promise.all(all); if (failure) throw failure; };
  t.after(async () => { await stop().catch(() => {}); between.close(); });
  const count = async (...states) => Number((await at.ask(`SELECT count(*) FROM jobs WHERE status IN ('${states.join("', '")}')`))[0][0]);
  return {
    at,
    r,
    between,
    server,
    workers,
    history,
    log: () => processes.map((each) => each.log()).join(''),
    done: () => count('completed'),
    /** Milliseconds until another job is done. */
    goesOn: async () => {
      const began = performance.now();
      const before = await count('completed');
      await until(() => count('completed'), (n) => n > before);
      return performance.now() - began;
    },
    /** Milliseconds until all that waits is on Redis, and every process listens there. */
    isBack: async () => {
      const began = performance.now();
      const up = (each) => (each.log().match(/Redis is back/g) ?? []).length;
      const away = (each) => (each.log().match(/Redis is away|Redis is not there yet/g) ?? []).length;
      const ready = async () => await r.ask('EXISTS', 'wt:{faults}:whole') === '1'
        && /\n(\d+)$/.exec(await r.ask('PUBSUB', 'NUMSUB', 'wt:{faults}:bell'))?.[1] === String(processes.length)
        && processes.every((each) => up(each) >= away(each));
      await until(ready, Boolean);
      return performance.now() - began;
    },
    /** Stop the clients; everything was accepted, and is done, once. */
    end: async ({ attempts = 1, others = [] } = {}) => {
      await stop();
      await until(() => count('pending', 'processing'), (n) => n === 0);
      const figures = history.check(at);
      assert.deepEqual(Object.keys(history.statuses()).filter((status) => !/^20[02]$/.test(status)), [], JSON.stringify(figures));
      assert.ok(looks.every(({ status }) => status === 200), 'a look was not answered');
      assert.equal(figures.unanswered, 0);
      assert.ok(figures.mostAttempts <= attempts, `a job was begun ${figures.mostAttempts} times`);
      // Nothing is left but what goes by itself.
      const keys = async () => (await r.ask('KEYS', '*')).split('\n').filter((key) => key && !/:(turn|store|whole|waiting(:.*)?|rate:.*|pass:.*)$/.test(key));
      if (!others.includes('keys')) await until(keys, (list) => list.length === 0);
      assert.equal(/^.* ERROR .*$/m.exec(processes.map((each) => each.log()).join('\n'))?.[0], undefined);
      for (const each of processes.reverse()) assert.equal((await each.stop()).code, 0);
      await r.kill();
      return `${JSON.stringify(figures)}; slowest upload ${most(history.answers.map(({ ms }) => ms))} ms, slowest look ${most(looks.map(({ ms }) => ms))} ms`;
    },
  };
}

/** The scripts by what the server knows them by: see src/queue/lua/embed.py. */
function scripts() {
  const folder = new URL('../../src/queue/lua/', import.meta.url);
  const code = (name) => fs.readFileSync(new URL(name, folder), 'utf8').split('\n').map((line) => line.trim())
    .filter((line) => line && !line.startsWith('--')).map((line) => `${line}\n`).join('');
  return fs.readdirSync(folder).filter((name) => name.endsWith('.lua') && name !== 'common.lua').map((name) => ({
    name: name.replace('.lua', ''),
    sha: createHash('sha1').update(code('common.lua') + code(name)).digest('hex'),
    text: code('common.lua') + code(name),
  }));
}

for (const alone of [false, true]) {
  describe(`a queue on Redis, ${alone ? 'of one service on SQLite' : 'of a service and workers on PostgreSQL'}`, { ...(alone ? needs : shared), ...limit }, () => {
    const kills = alone ? size(5, 25) : size(8, 50);
    test(`outlives ${kills} deaths of Redis`, async (t) => {
      t.diagnostic(`seed ${seed}`);
      const luck = chance(`kills ${alone}`);
      const s = await scene(t, { alone });
      const backs = [];
      for (let i = 0; i < kills; i++) {
        await sleep(luck.between(0, 500));
        await s.r.kill();
        // For a moment, and now and then for longer.
        await sleep(luck.random() < 0.2 ? luck.between(500, 4000) : luck.between(0, 300));
        await s.r.start();
        if (luck.random() < 0.4) backs.push(await s.isBack());
      }
      backs.push(await s.isBack());
      assert.match(s.log(), /Redis is away/);
      const gone = await s.goesOn();
      t.diagnostic(`${await s.end()}; all were there ${most(backs)} ms after it was back at most, a job was done ${Math.round(gone)} ms later`);
    });

    const asleep = size(6, 30);
    test(`does not stop while Redis sleeps for ${asleep} s`, async (t) => {
      const s = await scene(t, { alone });
      await until(s.done, (n) => n > 3);
      const began = s.history.answers.length;
      process.kill(s.r.pid(), 'SIGSTOP');
      await sleep(3000); // a claim has found out by then
      const before = await s.done();
      await sleep(1000 * asleep - 3000);
      const meanwhile = await s.done() - before;
      const answers = s.history.answers.slice(began);
      process.kill(s.r.pid(), 'SIGCONT');
      const back = await s.isBack();
      assert.ok(meanwhile > 3, `${meanwhile} jobs were done while Redis slept`);
      const slowest = most(answers.map(({ ms }) => ms));
      // On a busy machine, too, none waits for as long as Redis sleeps.
      assert.ok(slowest < size(5000, 3000), `an upload took ${slowest} ms`);
      t.diagnostic(`${await s.end()}; ${answers.length} uploads, the slowest in ${slowest} ms, and ${meanwhile} jobs done while it slept; all were there ${Math.round(back)} ms after it woke`);
    });
  });
}

describe('a queue on Redis, of a service and workers on PostgreSQL, more', { ...shared, ...limit }, () => {
  test('outlives FLUSHALL, forgotten scripts, a full memory, thrown away keys, a server that may not write', async (t) => {
    const luck = chance('emptied');
    const s = await scene(t);
    for (let i = 0; i < size(8, 60); i++) {
      await sleep(luck.between(20, 400));
      await s.r.ask(...luck.pick([['FLUSHALL'], ['SCRIPT', 'FLUSH'], ['FLUSHALL', 'ASYNC']]));
    }
    await s.r.ask('CONFIG', 'SET', 'maxmemory', '1');
    await until(s.log, (log) => /OOM/.test(log));
    await sleep(size(800, 5000));
    await s.goesOn();
    await s.r.ask('CONFIG', 'SET', 'maxmemory', '0');
    await s.isBack();
    // Any key may go at any time.
    await s.r.ask('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random');
    const used = Number(/used_memory:(\d+)/.exec(await s.r.ask('INFO', 'memory'))[1]);
    await s.r.ask('CONFIG', 'SET', 'maxmemory', String(used));
    for (let i = 0; i < size(20, 200); i++) {
      // Something large pushes ours out.
      await s.r.ask('SET', `other${i % 5}`, 'x'.repeat(50000));
      await sleep(luck.between(10, 150));
    }
    const evicted = Number(/evicted_keys:(\d+)/.exec(await s.r.ask('INFO', 'stats'))[1]);
    assert.ok(evicted > 0, 'nothing was thrown away');
    await s.r.ask('CONFIG', 'SET', 'maxmemory', '0');
    for (let i = 0; i < 5; i++) await s.r.ask('DEL', `other${i}`);
    await s.isBack();
    // Nor may it be written for a while.
    await s.r.ask('CONFIG', 'SET', 'min-replicas-to-write', '3');
    await until(s.log, (log) => /NOREPLICAS/.test(log));
    await s.goesOn();
    await s.r.ask('CONFIG', 'SET', 'min-replicas-to-write', '0');
    await s.isBack();
    t.diagnostic(`${await s.end()}; ${evicted} keys thrown away`);
  });

  test('is emptied around each script, and loses the answer of each', async (t) => {
    const s = await scene(t);
    const known = scripts();
    const tried = {};
    /** The next call of a script: empty Redis before it, after it, or lose its answer. */
    const around = (script, what) => new Promise((done) => {
      const key = `${script.name}, ${what}`;
      let chosen = null;
      s.between.intercept(({ pair, from, data }) => {
        if (from === 'client' && !chosen && data.includes(script.sha)) {
          chosen = pair;
          if (what !== 'before') return 'pass';
          s.between.intercept(null);
          return s.r.ask('FLUSHALL').then(done);
        }
        if (from !== 'server' || pair !== chosen) return 'pass';
        s.between.intercept(null);
        tried[key] = (tried[key] ?? 0) + 1;
        if (what === 'after') return s.r.ask('FLUSHALL').then(done);
        if (what === 'forgotten') return s.r.ask('SCRIPT', 'FLUSH').then(done);
        done();
        return 'cut';
      });
    });
    for (let round = 0; round < size(1, 3); round++) {
      for (const script of known) {
        for (const what of ['before', 'after', 'forgotten', 'answer']) {
          await around(script, what);
          await sleep(size(50, 150));
        }
        await s.isBack();
      }
    }
    // A lost answer to a claim costs its reservation, nothing else.
    const figures = await s.end();
    assert.ok(Object.keys(tried).length >= known.length * 2, Object.keys(tried).join('; '));
    t.diagnostic(`${known.map(({ name }) => name).join(', ')}: ${figures}`);
  });

  test('goes over to an empty server, and the doorbell with it', async (t) => {
    const target = {};
    const s = await scene(t, { target });
    const heir = await redis().start();
    const bells = async (r) => Number((await r.ask('PUBSUB', 'NUMSUB', 'wt:{faults}:bell')).split('\n')[1]);
    await until(() => bells(s.r), (n) => n === 3);
    // The old one becomes a replica of somewhere and lives on; the address leads to the new.
    target.path = path.join(heir.folder, 's');
    await s.r.ask('REPLICAOF', '127.0.0.1', '1');
    const began = performance.now();
    await until(() => heir.ask('EXISTS', 'wt:{faults}:whole'), (n) => n === '1');
    const taken = performance.now() - began;
    await until(() => bells(heir), (n) => n === 3);
    const heard = performance.now() - began;
    await until(() => bells(s.r), (n) => n === 0);
    assert.match(s.log(), /READONLY/);
    await s.goesOn();
    const figures = await s.end({ others: ['keys'] });
    assert.equal(await heir.ask('HLEN', 'wt:{faults}:jobs'), '0');
    t.diagnostic(`${figures}; filled after ${Math.round(taken)} ms, all listen there after ${Math.round(heard)} ms`);
    await heir.kill();
  });

  test('works over a slow network, 200 ms each way', async (t) => {
    const s = await scene(t, { writers: 1, pause: 300 });
    await until(s.done, (n) => n > 3);
    s.between.slow(200);
    const away = () => (s.log().match(/Redis is away/g) ?? []).length;
    const before = [await s.done(), s.history.answers.length];
    const began = performance.now();
    await sleep(size(5000, 20000));
    const rate = (await s.done() - before[0]) / (performance.now() - began) * 1000;
    const answers = s.history.answers.slice(before[1]);
    assert.equal(away(), 0, 'it was taken for away');
    assert.ok(await s.done() > before[0] + 1, 'it does not go on');
    s.between.slow(0);
    t.diagnostic(`${await s.end()}; ${rate.toFixed(1)} jobs a second, the slowest upload then in ${most(answers.map(({ ms }) => ms))} ms`);
  });

  test('lives through a password that is changed, and says so', async (t) => {
    const s = await scene(t, { options: { password: 'hunter2' } });
    await until(s.done, (n) => n > 3);
    await s.r.ask('CONFIG', 'SET', 'requirepass', 'hunter3');
    s.r.password('hunter3');
    await s.goesOn(); // who is connected stays
    s.between.cut();
    await until(s.log, (log) => /WARNING.*WRONGPASS/.test(log));
    await s.goesOn();
    await s.r.ask('CONFIG', 'SET', 'requirepass', 'hunter2');
    s.r.password('hunter2');
    await s.isBack();
    assert.ok(!/hunter/.test(s.log()), 'a password is in the log');
    t.diagnostic(await s.end());
  });

  test('calls nothing that Redis 5 does not have', async () => {
    // An old server is not here; each command says since when there is one.
    const r = await redis().start();
    const called = new Set(scripts().flatMap(({ text }) => [...text.matchAll(/redis\.call\('(\w+)'/g)].map(([, name]) => name)));
    for (const name of 'EVAL EVALSHA GET SET DEL ZREM ZRANGE HSCAN SUBSCRIBE PUBLISH PING INFO SELECT AUTH'.split(' ')) called.add(name);
    assert.ok(called.size > 20, [...called].join(' '));
    for (const name of called) {
      const since = /\nsince\n(\d+)\./.exec(`\n${await r.ask('COMMAND', 'DOCS', name)}`);
      assert.ok(since && Number(since[1]) <= 5, `${name} is there since ${since?.[1]}`);
    }
    await r.kill();
  });
});

describe('a service with its queue on Redis', needs, () => {
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
