// A wall clock that can be set for one process alone, while it runs: see
// tests/lib/shifted_clock.c, which is built here.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { tempFolder } from './server.mjs';

const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), 'shifted_clock.c');
const folder = tempFolder();
const library = path.join(folder, 'shifted_clock.so');
const built = spawnSync('cc', ['-shared', '-fPIC', '-O2', '-o', library, source], { encoding: 'utf8' });

export const skip = built.error || built.status !== 0 ? `no clock can be shifted: ${built.error ?? built.stderr}` : false;
let count = 0;

/** For one process: {env, set(seconds), seconds}; it begins with the right time. */
export function clock() {
  const file = path.join(folder, `clock-${++count}`);
  fs.writeFileSync(file, Buffer.alloc(8));
  return {
    env: {
      LD_PRELOAD: library,
      WT_TEST_CLOCK: file,
      // The library comes before that of the sanitizer, which must not mind.
      ASAN_OPTIONS: [process.env.ASAN_OPTIONS, 'verify_asan_link_order=0'].filter(Boolean).join(':'),
    },
    seconds: 0,
    /** How wrong it is from now on. */
    set(seconds) {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt(seconds));
      const fd = fs.openSync(file, 'r+'); // in place: it is mapped
      fs.writeSync(fd, bytes, 0, 8, 0);
      fs.closeSync(fd);
      this.seconds = seconds;
    },
  };
}
