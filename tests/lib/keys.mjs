// Keys for tests: made with the real command, beside a service that may be running.
import { spawnSync } from 'node:child_process';
import { databaseOf } from './postgres.mjs';
import { binary } from './server.mjs';

/** Run `keys` in a service's folder; returns {code, out, err}. */
export function keys(folder, args, env = {}) {
  const r = spawnSync(binary, ['keys', ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', ...databaseOf(folder), ...env },
    encoding: 'utf8',
  });
  return { code: r.status, out: r.stdout, err: r.stderr };
}

/** Make a key; returns its text. */
export function makeKey(folder, { name = 'test', ...options } = {}, env = {}) {
  const args = Object.entries({ name, ...options }).map(([key, value]) => `--${key}=${value}`);
  const r = keys(folder, ['create', ...args], env);
  if (r.code !== 0) throw new Error(r.err);
  return r.out.trim();
}

export const idOf = (key) => key.split('_')[1];

/** The program's own table of routes. */
export function routes() {
  const r = spawnSync(binary, ['routes'], { encoding: 'utf8' });
  return r.stdout.trim().split('\n').map((line) => JSON.parse(line));
}
