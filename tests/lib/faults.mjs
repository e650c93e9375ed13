// What the experiments of script/faults share: how long they are, chance that can be had
// again, and places in which services and workers run on each kind of database and queue.
import path from 'node:path';
import { available, editDatabase, Postgres } from './postgres.mjs';
import { redis, skip as needsRedis } from './redis.mjs';
import { binary, hasModel, startServer, tempFolder } from './server.mjs';
import { startWorker } from './worker.mjs';
import { spawnSync } from 'node:child_process';

/** script/faults --long; otherwise the short form that CI runs. */
export const long = process.env.WT_FAULTS === 'long';
export const size = (short, whole) => (long ? whole : short);

/** Printed by every experiment; WT_FAULT_SEED (script/faults --seed) repeats its schedule. */
export const seed = Number(process.env.WT_FAULT_SEED ?? Date.now() % 1e9);

/** Chance of its own for each purpose, so that one more draw here changes nothing there. */
export function chance(purpose = '') {
  let state = seed >>> 0;
  for (const c of purpose) state = (Math.imul(state ^ c.charCodeAt(0), 0x01000193) + 0x9e3779b9) >>> 0;
  state ||= 1;
  const random = () => { // xorshift32
    state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  return {
    random,
    between: (low, high) => low + random() * (high - low),
    whole: (low, high) => low + Math.floor(random() * (high - low + 1)),
    pick: (list) => list[Math.floor(random() * list.length)],
  };
}

export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** The kinds of place; `skip` says why one cannot be had here. */
export const kinds = ['sqlite', 'postgresql', 'redis'].map((name) => ({
  name,
  skip: !hasModel('tiny') ? 'ggml-tiny.bin is not in WT_TEST_MODELS'
    : name !== 'sqlite' && !available ? 'PostgreSQL is not installed (postgresql)'
      : name === 'redis' && needsRedis,
}));

let shared;
/** The PostgreSQL of this file of tests. */
export const postgres = () => { shared ??= new Postgres(); return shared; };

/**
 * A place for services and workers, nothing started but Redis: 'sqlite', 'postgresql' (also
 * the queue) or 'redis' (PostgreSQL and Redis). `env` goes to all of them; `databasePort`
 * and `redisUrl` name proxies in between.
 * Returns {kind, env, redis, storage, serve(more), work(more), rows(sql), change(sql), onRedis()}.
 */
export async function place(kind, { env: more = {}, databasePort, redisUrl } = {}) {
  const folder = tempFolder();
  const storage = path.join(folder, 'storage');
  const env = { STORAGE_DIR: storage, WORKER_CONCURRENCY: '1', WORKER_THREADS: '1', LOG_LEVEL: 'INFO', ...more };
  const database = path.basename(folder);
  let r;
  if (kind === 'sqlite') {
    env.DATABASE_URL = `sqlite:///${path.join(folder, 'data/app.db')}`;
  } else {
    postgres().url(folder);
    env.DATABASE_URL = postgres().urlOf(database, databasePort);
  }
  if (kind === 'redis') {
    r = await redis().start();
    env.REDIS_URL = redisUrl ?? r.url;
    env.REDIS_NAMESPACE = 'faults';
  }
  return {
    kind,
    env,
    redis: r,
    folder,
    storage,
    /** A service; EMBEDDED_WORKERS is off unless asked for. */
    serve: ({ folder: at, ...over } = {}) => startServer({ folder: at, env: { ...env, EMBEDDED_WORKERS: 'off', ...over } }),
    work: (over = {}) => startWorker({ env: { ...env, ...over } }),
    /** The rows of a query on the database itself, each an array of texts. */
    rows: (sql) => (kind === 'sqlite'
      ? readSqlite(path.join(folder, 'data/app.db'), sql)
      : postgres().sql(`SET search_path = whisper_transcriber; ${sql}`, database).split('\n')
        .filter((line) => line && line !== 'SET').map((line) => line.split('|'))),
    change: (sql) => (kind === 'sqlite' ? editDatabase(folder, sql)
      : postgres().sql(`SET search_path = whisper_transcriber; ${sql}`, database)),
    onRedis: async () => Number(await r.ask('HLEN', `wt:{${env.REDIS_NAMESPACE}}:jobs`)),
  };
}

function readSqlite(file, sql) {
  const script = 'import sqlite3,sys,json\n'
    + 'c=sqlite3.connect("file:"+sys.argv[1]+"?mode=ro",uri=True,timeout=30)\n'
    + 'print(json.dumps([["" if v is None else str(v) for v in r] for r in c.execute(sys.argv[2])]))';
  const done = spawnSync('python3', ['-c', script, file, sql], { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(done.stderr);
  return JSON.parse(done.stdout);
}

/** Run a command of the product beside the services of a place. */
export function command(at, ...args) {
  const done = spawnSync(binary, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: at.folder, ...at.env } });
  return { status: done.status, out: done.stdout, err: done.stderr };
}
