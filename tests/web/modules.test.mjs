// The modules of the page that need no page: how long it will take, and archives.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tempFolder } from '../lib/server.mjs';

const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../src/web/page');
// By its text: no package.json tells Node that the page is made of modules.
const load = (name) => import(`data:text/javascript,${encodeURIComponent(fs.readFileSync(path.join(folder, name), 'utf8'))}`);

describe('how long it will take', () => {
  test('is said only when it is known, and comes true', async () => {
    const { note, left, secondsLeft } = await load('eta.js');
    note('a', { status: 'processing', progress: 1 }, 0);
    assert.equal(left('a', 0), '');
    for (let p = 2; p <= 50; p++) note('a', { status: 'processing', progress: p }, p * 1000);
    assert.ok(Math.abs(secondsLeft('a', 50000) - 50) < 3);
    assert.equal(left('a', 50000), 'about 50 s left');
    note('a', { status: 'completed', progress: 100 }, 100000);
    assert.equal(left('a', 100000), '');
  });

  test('does not jump when windows are quick and slow', async () => {
    const { note, left } = await load('eta.js');
    let now = 0;
    let rises = 0;
    let before = Infinity;
    let random = 7;
    for (let p = 0; p < 95; p += 3) {
      random = (random * 16807) % 2147483647;
      note('b', { status: 'processing', progress: p }, now);
      const said = left('b', now);
      const seconds = said ? Number(/\d+/.exec(said)?.[0] ?? 5) * (said.includes('min') ? 60 : 1) : null;
      if (seconds != null && seconds > before) rises++;
      if (seconds != null) before = seconds;
      now += 3000 + (random % 24000); // 3 to 27 s for a window
    }
    assert.ok(rises <= 2, `it was told as longer ${rises} times`);
  });

  test('does not come to an end before the work does', async () => {
    const { note, secondsLeft } = await load('eta.js');
    for (let p = 0; p <= 50; p += 10) note('c', { status: 'processing', progress: p }, p * 1000);
    assert.ok(secondsLeft('c', 400000) >= 20, 'half of it is to do, whatever the clock says');
  });

  test('is told for bytes too', async () => {
    const { makeMeter } = await load('eta.js');
    const meter = makeMeter();
    assert.equal(meter.rate(), null);
    for (let t = 0; t <= 5000; t += 500) meter.add(1000 * t, t);
    assert.equal(meter.rate(), 1e6);
    assert.equal(meter.seconds(2e6), 2);
  });
});

describe('an archive', () => {
  test('opens everywhere, and its names are plain', async () => {
    const { freeName, makeZip } = await load('zip.js');
    const taken = new Set();
    const names = [['talk', 'txt'], ['talk', 'txt'], ['../../etc/passwd', 'txt'], ['Gespräch: ä\u0000', 'srt'], ['..', 'json']]
      .map(([stem, extension]) => freeName(stem, extension, taken));
    assert.deepEqual(names, ['talk.txt', 'talk (2).txt', '__.._etc_passwd.txt', 'Gespräch_ ä_.srt', '_json']);
    const files = names.map((name, i) => ({ name, bytes: new TextEncoder().encode(`text ${i}`.repeat(1000 * i)) }));
    const file = path.join(tempFolder(), 'all.zip');
    fs.writeFileSync(file, Buffer.concat(makeZip(files)));
    const reader = 'import json,sys,zipfile; z=zipfile.ZipFile(sys.argv[1]); print(json.dumps([z.testzip(), [[i.filename, z.read(i).decode()] for i in z.infolist()]]))';
    const r = spawnSync('python3', ['-c', reader, file], { encoding: 'utf8', maxBuffer: 1 << 26 });
    assert.equal(r.status, 0, r.stderr);
    const [broken, read] = JSON.parse(r.stdout);
    assert.equal(broken, null);
    assert.deepEqual(read, files.map(({ name, bytes }) => [name, new TextDecoder().decode(bytes)]));
  });
});
