// Steady load for a long time while workers and decoders are killed: memory, descriptors,
// threads, temporary files and the write-ahead log stay flat. script/soak runs it for longer.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  kinds, long, place, seed,
} from '../lib/faults.mjs';
import { flatness } from '../lib/figures.mjs';
import { checkStorage } from '../lib/uploading.mjs';
import { soak, table, write } from '../lib/soak.mjs';

const minutes = Number(process.env.WT_SOAK_MINUTES ?? (long ? 30 : 0.5));
const load = Number(process.env.WT_SOAK_LOAD ?? 70) / 100;
const whole = minutes >= 5;

describe('a soak', { skip: kinds[0].skip }, () => {
  test('of figures that rise is noticed, and noise is not', () => {
    const points = (value) => [...Array(100)].map((_, i) => [i * 10, value(i)]);
    assert.ok(flatness(points(() => 50)).flat);
    assert.ok(flatness(points((i) => 50 + ((i * 7919) % 13))).flat);
    assert.ok(flatness(points((i) => Math.min(i, 30))).flat, 'what grows at first and then no more');
    assert.ok(!flatness(points((i) => 50 + i * 0.1 + ((i * 7919) % 3))).flat);
    assert.ok(!flatness(points((i) => 20 + Math.floor(i / 20)), { share: 0, least: 1 }).flat, 'one descriptor each 200 s');
  });

  test(`leaves everything flat (WT_FAULT_SEED=${seed})`, { timeout: (minutes + 8) * 60_000 }, async (t) => {
    const at = await place('sqlite');
    const say = whole ? (text) => process.stderr.write(`${text}\n`) : () => {};
    const result = await soak(at, {
      minutes, load, say, ...(!whole && { everySeconds: 1, killSeconds: 3, measure: 6 }),
    });
    const shown = table(result.rows, result.rest);
    if (process.env.WT_SOAK_JSON) write(process.env.WT_SOAK_JSON, { seed, load, ...result });
    for (const line of shown.split('\n')) t.diagnostic(line);
    t.diagnostic(`soak: ${JSON.stringify({ seed, load, capacity: result.most, ...result.figures })}`);

    const { idle, rest, figures } = result;
    assert.ok(figures.kills.workers + figures.kills.decoders > 0, 'nobody was killed');
    assert.ok(figures.deeds > 10 && figures.deleted > 0, 'there was no load');
    for (const name of ['serve: descriptors', 'serve: threads', 'processes', 'scratch: files', 'parts: files'])
      assert.ok(rest[name] <= idle[name], `${name}: ${idle[name]} before, ${rest[name]} when all was done`);
    assert.equal(rest['uploads: files'], 0, 'files of jobs that were deleted');
    assert.deepEqual(at.rows('PRAGMA integrity_check'), [['ok']]);
    checkStorage(at);
    if (whole) assert.deepEqual(result.rows.filter(({ flat }) => !flat), [], shown);
    else assert.ok(rest['serve: memory, MiB'] < idle['serve: memory, MiB'] + 16, `${rest['serve: memory, MiB']} MiB after ${idle['serve: memory, MiB']}`);
  });
});
