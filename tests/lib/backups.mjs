// What the tests of copies share: commands that do not hold up this process (which may be the
// bucket), and a record of what came and went, by which a restored copy is judged.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { binary, tempFolder, wav } from './server.mjs';

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** A recording like no other, of a second or a little more. */
export function anyRecording(seconds = 1) {
  const bytes = wav({ seconds });
  // Quiet noise: still no speech in it.
  randomBytes(400).copy(bytes, bytes.length - 400);
  return bytes;
}

/** A command of the product; `kill` are milliseconds after which it is killed. */
export async function run(env, args, { kill, cwd, program = binary } = {}) {
  const child = spawn(program, args, {
    cwd,
    env: { PATH: process.env.PATH, NO_PROXY: '127.0.0.1', ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { err += text; });
  const timer = kill === undefined ? null : setTimeout(() => child.kill('SIGKILL'), kill);
  const began = Date.now();
  const [status, signal] = await once(child, 'close');
  clearTimeout(timer);
  return { status, signal, out, err, began, ended: Date.now() };
}

/** Names of the copies that are there. */
export async function copies(env) {
  const { status, out, err } = await run(env, ['backup', 'list', '--json']);
  if (status !== 0) throw new Error(err);
  return JSON.parse(out);
}

/** A file with a key; its path. */
export function keyFile() {
  const file = path.join(tempFolder(), 'key');
  fs.writeFileSync(file, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  return file;
}

/**
 * When recordings came and went, as their client knows: between asking and being answered.
 */
export class Ledger {
  constructor() { this.jobs = new Map(); }

  asked(bytes, { fleeting = false } = {}) {
    return { sha256: sha256(bytes), asked: Date.now(), fleeting };
  }

  accepted(entry, id) {
    this.jobs.set(id, Object.assign(entry, { id, accepted: Date.now() }));
  }

  get kept() { return [...this.jobs.values()].filter((j) => !j.leaves && !j.fleeting); }

  /**
   * Whether there was a moment between `began` and `ended` in which exactly `ids` were there:
   * returns it, or undefined.
   */
  moment(ids, began, ended) {
    const there = new Set(ids);
    const lasting = [...this.jobs.values()].filter((j) => !j.fleeting);
    const fits = (t) => lasting.every((j) => (there.has(j.id)
      ? t >= j.asked && t <= (j.left ?? Infinity)
      : t <= j.accepted || t >= (j.leaves ?? Infinity)));
    const candidates = [began, ended, ...lasting.flatMap((j) => [j.asked, j.accepted, j.leaves, j.left])];
    return candidates.filter((t) => t >= began && t <= ended).find(fits);
  }

  /** Those that must be in a copy, and those that must not, whatever its moment was. */
  sure(began, ended) {
    const all = [...this.jobs.values()];
    return {
      must: all.filter((j) => !j.fleeting && j.accepted < began && !(j.leaves <= ended)).map((j) => j.id),
      mustNot: all.filter((j) => j.fleeting || j.left < began || j.asked > ended).map((j) => j.id),
    };
  }
}
