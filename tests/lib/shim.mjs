// Puts tests/lib/shim.c under a service: the disk of some folders becomes full, or the
// service dies, at exactly the call that a test names.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { tempFolder } from './server.mjs';

const FOLDERS = 8;
const VICTIM = 2 * FOLDERS, KILL_AT = VICTIM + 4, CALLS = VICTIM + 12, NOTES = VICTIM + 20;
const READER = NOTES + 4096;
const SENDER = READER + 16;
const SIZE = SENDER + 12;

let library;
function build() {
  if (library) return library;
  const at = path.join(tempFolder(), 'shim.so');
  const source = fileURLToPath(new URL('shim.c', import.meta.url));
  const done = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', at, source, '-ldl'], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`tests/lib/shim.c: ${done.stderr}`);
  library = at;
  return at;
}

export const skip = spawnSync('cc', ['--version']).status === 0 ? false : 'there is no C compiler for tests/lib/shim.c';

/**
 * One for each service. `folders` by name: {uploads: '/…', …}, the innermost counts.
 *   env                    what the service needs in its environment
 *   full(name, share)      of the calls that take space there, this share finds none (true: all)
 *   unsynced(name, share)  the same for fsync
 *   killAt(pid, n)         the process dies before its n-th call from now; n of 0 only counts
 *   failAt(pid, n)         its n-th call from now finds no space
 *   calls()                how many there were, and which
 *   unread(pid, n, count)  of its reads (pread) from now the n-th and those after it fail
 *   reads()                how many there were
 *   unsent(pid, n)         of its messages (sendmsg) from now the n-th finds its peer gone
 */
export function shim(folders) {
  const names = Object.keys(folders);
  const control = path.join(tempFolder(), 'control');
  fs.writeFileSync(control, Buffer.alloc(SIZE));
  const fd = fs.openSync(control, 'r+');
  process.on('exit', () => fs.closeSync(fd));
  const share = (value) => (value === true ? 255 : Math.min(254, Math.round(Number(value) * 255)));
  const put = (at, bytes) => fs.writeSync(fd, bytes, 0, bytes.length, at);
  const number = (value) => { const b = Buffer.alloc(4); b.writeUInt32LE(value); return b; };
  const get = (at) => { const b = Buffer.alloc(4); fs.readSync(fd, b, 0, 4, at); return b.readUInt32LE(); };
  const arm = (pid, killAt, failAt) => {
    put(VICTIM, number(0));
    put(KILL_AT, Buffer.concat([number(killAt), number(failAt), number(0), number(0), Buffer.alloc(4096)]));
    put(VICTIM, number(pid));
  };
  return {
    env: {
      LD_PRELOAD: build(),
      WT_SHIM_CONTROL: control,
      WT_SHIM_FOLDERS: names.map((name) => folders[name]).join(':'),
      ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0`,
    },
    full: (name, value) => put(names.indexOf(name), Buffer.from([share(value)])),
    unsynced: (name, value) => put(FOLDERS + names.indexOf(name), Buffer.from([share(value)])),
    killAt: (pid, n) => arm(pid, n, 0),
    failAt: (pid, n) => arm(pid, 0, n),
    unread(pid, n, count = 1) {
      put(READER, number(0));
      put(READER + 4, Buffer.concat([number(n), number(count), number(0)]));
      put(READER, number(pid));
    },
    reads: () => get(READER + 12),
    unsent(pid, n) {
      put(SENDER, number(0));
      put(SENDER + 4, Buffer.concat([number(n), number(0)]));
      put(SENDER, number(pid));
    },
    calls: () => {
      const notes = Buffer.alloc(4096);
      fs.readSync(fd, notes, 0, notes.length, NOTES);
      return { count: get(CALLS), names: notes.toString('latin1').replace(/\0[^]*/, '').split('\n').filter(Boolean) };
    },
  };
}
