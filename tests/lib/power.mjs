// What a disk may hold after the power went between any two changes of a folder, as
// tests/lib/record.c wrote them down, and what clients had been told by then.
//
// The model is that of what POSIX promises, not of what one file system does:
//   * bytes and the size of a file are there once it was synced (fsync, fdatasync) after them;
//   * a name, its change and its end are there once their folder was synced; each by itself;
//   * a rename is one change: the old name does not go without the new one being there;
//   * what was not synced may be there in part: each write whole, not at all, or cut at any
//     512 bytes, in any order; a write that is there behind one that is not leaves zeros.
// Three kinds of state come of it: `strict` has nothing but what was synced, `whole` all that
// was done, `torn` a part, by chance.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { tempFolder } from './server.mjs';

const source = fileURLToPath(new URL('record.c', import.meta.url));
const SECTOR = 512;

/** Writes down what happens below `folder`: {env, mark(promise), read(): records}. */
export function recorder(folder) {
  const own = tempFolder();
  const [library, log] = [path.join(own, 'record.so'), path.join(own, 'log')];
  const built = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`tests/lib/record.c: ${built.stderr}`);
  fs.writeFileSync(log, '');
  return {
    env: { LD_PRELOAD: library, WT_RECORD_FOLDER: folder, WT_RECORD_LOG: log },
    /** What is `asked`, and a verb that has ended (`copy`), counts from now; what was answered from when it was sent. */
    mark: (promise) => fs.appendFileSync(log, `mark ${JSON.stringify(promise)}\n`),
    read: () => parse(fs.readFileSync(log)),
  };
}

function parse(bytes) {
  const records = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf(10, at);
    const line = bytes.toString('utf8', at, end);
    const space = line.indexOf(' ');
    const [what, rest] = space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
    at = end + 1;
    if (what === 'mark') records.push({ what, promise: JSON.parse(rest) });
    else if (what === 'rename' || what === 'link') {
      const [from, to] = rest.split('\0');
      records.push({ what, from, to });
    } else if (what === 'write') {
      const [ino, offset, length] = rest.split(' ').map(Number);
      records.push({ what, ino, at: offset, bytes: bytes.subarray(at, at + length) });
      at += length;
    } else if (what === 'make' || what === 'open') {
      const [, ino, name] = /^(\d+) (.*)$/s.exec(rest);
      records.push({ what, ino: Number(ino), path: name });
    } else if (what === 'size' || what === 'sync') {
      const [ino, size] = rest.split(' ').map(Number);
      records.push({ what, ino, size });
    } else if (['send', 'unknown'].includes(what)) records.push({ what });
    else records.push({ what, path: rest });
  }
  return settleMarks(records);
}

/** An answer was a promise from the moment it was sent, which is before its client wrote it down. */
function settleMarks(records) {
  const out = [];
  for (const record of records) {
    if (record.what !== 'mark' || record.promise.asked || record.promise.copy) { out.push(record); continue; }
    let i = out.length;
    while (i > 0 && out[i - 1].what !== 'send') i--;
    out.splice(i, 0, record);
  }
  return out.filter(({ what }) => what !== 'send');
}

const apply = (bytes, { what, at, size, bytes: more }, cut = Infinity) => {
  if (what === 'size') {
    if (size <= bytes.length) return bytes.subarray(0, size);
    return Buffer.concat([bytes, Buffer.alloc(size - bytes.length)]);
  }
  const part = more.subarray(0, cut);
  const out = Buffer.alloc(Math.max(bytes.length, at + part.length));
  bytes.copy(out);
  part.copy(out, at);
  return out;
};

class File {
  constructor() { this.now = Buffer.alloc(0); this.synced = this.now; this.pending = []; }

  change(record) { this.now = apply(this.now, record); this.pending.push(record); }

  sync() { this.synced = this.now; this.pending = []; }

  torn(random) {
    let bytes = this.synced;
    for (const record of this.pending) {
      const draw = random();
      if (draw < 0.4) continue;
      const sectors = Math.ceil((record.bytes?.length ?? 0) / SECTOR);
      bytes = apply(bytes, record, draw < 0.6 ? SECTOR * Math.floor(random() * sectors) : Infinity);
    }
    return bytes;
  }
}

/** Names in a folder: now, on the disk, and the changes between. */
class Folder {
  constructor() { this.now = new Map(); this.synced = new Map(); this.pending = []; }

  change(c) { Folder.apply(this.now, c); this.pending.push(c); }

  static apply(map, { set, drop, to }) { if (set) map.set(set, to); else map.delete(drop); }

  sync() { this.synced = new Map(this.now); this.pending = []; }
}

export class Disk {
  constructor() { this.top = new Folder(); this.inodes = new Map(); }

  /** [folder, name in it] */
  place(name) {
    const parts = name.split('/');
    const last = parts.pop();
    let folder = this.top;
    for (const part of parts) folder = folder.now.get(part);
    return [folder, last];
  }

  at(name) {
    if (name === '.') return this.top;
    const [folder, last] = this.place(name);
    return folder.now.get(last);
  }

  set(name, to) { const [folder, last] = this.place(name); folder.change({ set: last, to }); }

  /** `unless` is what must be there before this goes. */
  drop(name, unless) { const [folder, last] = this.place(name); folder.change({ drop: last, unless }); }

  step(record) {
    const { what } = record;
    if (what === 'make') { const file = new File(); this.inodes.set(record.ino, file); this.set(record.path, file); }
    else if (what === 'open') this.inodes.get(record.ino).change({ what: 'size', size: 0 });
    else if (what === 'write' || what === 'size') this.inodes.get(record.ino).change(record);
    else if (what === 'sync') this.inodes.get(record.ino).sync();
    else if (what === 'syncdir') this.at(record.path).sync();
    else if (what === 'mkdir') this.set(record.path, new Folder());
    else if (what === 'link') this.set(record.to, this.at(record.from));
    else if (what === 'unlink' || what === 'rmdir') this.drop(record.path);
    else if (what === 'rename') {
      const moved = this.at(record.from);
      this.set(record.to, moved);
      const [folder, name] = this.place(record.to);
      this.drop(record.from, { folder, name, moved });
    } else throw new Error(`the recorder does not know how to follow: ${what}`);
  }

  /** Whether anything is not synced. */
  isPending(folder = this.top) {
    return folder.pending.length > 0 || [...folder.now.values()].some((each) => (each instanceof Folder ? this.isPending(each) : each.pending.length > 0));
  }

  /** path → bytes, and null for a folder. */
  state(kind, random) {
    const out = new Map();
    const chosen = new Map(); // folder → names that are there
    const names = (folder) => {
      if (kind === 'whole') return folder.now;
      if (kind === 'strict') return folder.synced;
      if (chosen.has(folder)) return chosen.get(folder);
      const map = new Map(folder.synced);
      chosen.set(folder, map);
      for (const c of folder.pending) {
        if (random() < 0.5) continue;
        if (c.unless && names(c.unless.folder).get(c.unless.name) !== c.unless.moved) continue;
        Folder.apply(map, c);
      }
      return map;
    };
    const bytes = (file) => (kind === 'whole' ? file.now : kind === 'strict' ? file.synced : file.torn(random));
    const known = new Map(); // a file with two names has one content
    const walk = (folder, prefix) => {
      for (const [name, each] of names(folder)) {
        const whole = prefix + name;
        if (each instanceof Folder) { out.set(whole, null); walk(each, `${whole}/`); continue; }
        if (!known.has(each)) known.set(each, bytes(each));
        out.set(whole, known.get(each));
      }
    };
    walk(this.top, '');
    return out;
  }
}

export function digest(state) {
  const hash = createHash('sha1');
  for (const [name, bytes] of [...state].sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${name}\0${bytes?.length}\0`).update(bytes ?? '');
  return hash.digest('hex');
}

export function put(state, folder) {
  for (const [name, bytes] of state) {
    const at = path.join(folder, name);
    if (bytes === null) fs.mkdirSync(at, { recursive: true });
    else fs.writeFileSync(at, bytes);
  }
}

/** What the disk really holds, for comparison with `whole` at the end. */
export function take(folder) {
  const out = new Map();
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const name = path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name));
    if (name.includes('/scratch/') || name.endsWith('-shm')) continue;
    out.set(name, entry.isDirectory() ? null : fs.readFileSync(path.join(folder, name)));
  }
  return out;
}

/**
 * Calls `visit({cut, kind, promises, state()})` at each moment that makes another state
 * than before: strict ones just before the next sync, when most has been promised of them.
 */
export function* moments(records, kinds) {
  const disk = new Disk();
  let promises = [];
  let [cut, changed] = [0, true];
  for (const record of records) {
    if (record.what === 'mark') { promises = [...promises, record.promise]; continue; }
    if (record.what.startsWith('sync') && changed && kinds.includes('strict')) { yield { cut, kind: 'strict', promises, disk }; changed = false; }
    disk.step(record);
    cut++;
    if (record.what.startsWith('sync')) changed = true;
    else for (const kind of kinds) if (kind === 'whole' || (kind === 'torn' && disk.isPending())) yield { cut, kind, promises, disk };
  }
  for (const kind of kinds) yield { cut, kind, promises, disk };
}
