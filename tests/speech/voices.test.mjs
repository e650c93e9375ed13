// A voice that the detector does not know after another one: what it has heard before must not make it deaf.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RATE, folder, join, noise, recording, save, skipWithoutDetector, transcribe, words } from './helper.mjs';

for (const seconds of [0.3, 2]) {
  test(`a hoarse voice is heard ${seconds} s behind a clear one`, { skip: skipWithoutDetector }, async (t) => {
    const sound = join(recording('clear'), noise(seconds, 1e-4), recording('hoarse'));
    const from = recording('clear').length / RATE + seconds;
    const r = await transcribe(save(folder(t), 'voices.wav', sound), '-l', 'en', '--beam-size', '1');
    const said = words(r.text).join(' ');
    for (const part of ['act as a prism', 'sick corpus', 'i have a cold', 'a bunch of different words'])
      assert.ok(said.includes(part), `"${part}" is missing: ${r.text}`);
    for (const gap of r.quality.dropped)
      assert.ok(gap.end < from + 2, `passed over: ${gap.start} to ${gap.end}, where it speaks from ${from} on`);
  });
}
