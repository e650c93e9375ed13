// Lets one allocation or one call of the system fail at a place in a service, its workers or
// its decoders: tests/lib/fail.c, which is built here.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { binary, tempFolder } from './server.mjs';

const source = fileURLToPath(new URL('fail.c', import.meta.url));
// As in fail.c.
const [PLACES, FRAMES, MODULES, NAME, PLACE] = [16384, 7, 160, 128, 104];
const [WANTED, VARIANT, FIRED, PHASE, STORM, KINDS, N_MODULES, NAMES] = [0, 8, 12, 16, 24, 28, 36, 40];
const TABLE = Math.ceil((NAMES + MODULES * NAME) / 8) * 8;

export const phases = { start: 1, run: 2, stop: 4 };
const roles = [, 'serve', 'worker', 'decode', 'other'];
const allocations = ['malloc', 'calloc', 'realloc', 'aligned_alloc', 'memalign', 'posix_memalign'];

/**
 * {env, phase(name), arm(place, variant), disarm(): whether it failed, places()}: a place is
 * {hash, role, call, phases, count, allocates, frames: [module, offset]}.
 */
export function failing() {
  const folder = tempFolder();
  const [library, file] = [path.join(folder, 'fail.so'), path.join(folder, 'control')];
  const built = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-fno-omit-frame-pointer', '-o', library, source, '-ldl'], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`tests/lib/fail.c: ${built.stderr}`);
  fs.writeFileSync(file, Buffer.alloc(TABLE + PLACES * PLACE));
  const fd = fs.openSync(file, 'r+');
  process.on('exit', () => fs.closeSync(fd));
  const number = (at, value) => { const b = Buffer.alloc(4); b.writeUInt32LE(value); fs.writeSync(fd, b, 0, 4, at); };
  const want = (hash) => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(hash)); fs.writeSync(fd, b, 0, 8, WANTED); };
  const all = () => fs.readFileSync(file);
  return {
    env: {
      LD_PRELOAD: library,
      WT_FAIL_CONTROL: file,
      MALLOC_PERTURB_: '165', // what is freed or was never written is not taken for something
      ASAN_OPTIONS: [process.env.ASAN_OPTIONS, 'verify_asan_link_order=0'].filter(Boolean).join(':'),
    },
    /** Places are found, and fail, only in a phase. */
    phase: (name) => number(PHASE, phases[name] ?? 0),
    arm(place, variant = 0) { want(0); number(FIRED, 0); number(VARIANT, variant); want(place.hash); },
    disarm() {
      want(0);
      return all().readUInt32LE(FIRED) > 0;
    },
    /**
     * Every place fails once, the first time that it is reached when none has failed for so
     * many milliseconds; 0 ends it. Allocations, or calls of the system.
     */
    storm(pauseMs, allocations) { number(KINDS, allocations ? 1 : 2); if (!pauseMs) want(0); number(STORM, pauseMs); },
    variant: (n) => number(VARIANT, n),
    fired: () => all().readUInt32LE(FIRED) > 0,
    places() {
      const bytes = all();
      const name = (i) => bytes.toString('latin1', NAMES + i * NAME, NAMES + (i + 1) * NAME).replace(/\0.*/s, '');
      const names = [...Array(bytes.readUInt32LE(N_MODULES))].map((_, i) => name(i));
      const found = [];
      for (let at = TABLE; at < bytes.length; at += PLACE) {
        const hash = bytes.readBigUInt64LE(at);
        if (!hash) continue;
        const call = bytes.toString('latin1', at + 24, at + 48).replace(/\0.*/s, '');
        found.push({
          hash: Number(hash),
          role: roles[bytes.readUInt32LE(at + 8)],
          phases: bytes.readUInt32LE(at + 12),
          count: bytes.readUInt32LE(at + 16),
          tried: bytes.readUInt32LE(at + 20), // in which order they failed in a storm
          call,
          allocates: allocations.includes(call),
          frames: [...Array(FRAMES)].map((_, k) => [bytes.readUInt32LE(at + 48 + 8 * k), bytes.readUInt32LE(at + 52 + 8 * k)])
            .filter(([module]) => module).map(([module, offset]) => [names[module - 1], offset]),
        });
      }
      return found;
    },
  };
}

/** A place in words: the call, and who called whom. */
export function describePlace({ hash, role, call, frames }) {
  const callers = frames.map(([module, offset]) => {
    if (module !== 'whisper-transcriber') return `${path.basename(module)}+${offset.toString(16)}`;
    const { stdout } = spawnSync('addr2line', ['-s', '-f', '-e', binary, `0x${(offset - 1).toString(16)}`], { encoding: 'utf8' });
    const [name, line] = (stdout ?? '').split('\n');
    return line ? `${name} (${line.replace(/ .*/, '')})` : `+${offset.toString(16)}`;
  });
  return `${hash}: ${role}, ${call} < ${callers.join(' < ')}`;
}
