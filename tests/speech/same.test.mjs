// The same recording and settings give the same bytes, whatever the threads and the batch.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { folder, join, noise, recording, save, skip, transcribe } from './helper.mjs';

test('in f32 the document does not depend on threads, batch or repetition', { skip }, async (t) => {
  const parts = ['clean', 'telephone', 'noisy', 'numbers'].map((name) => recording(name));
  const sound = join(...parts, noise(3, 0.001), ...parts, noise(3, 0.001), ...parts);
  const file = save(folder(t), 'same.wav', sound);
  const exact = (...more) => transcribe(file, '-l', 'en', '--beam-size', '1', '--compute-type', 'f32', ...more);
  const groups = [
    [['--mode', 'sequential', '--threads', '2'], ['--mode', 'sequential', '--threads', '1'],
      ['--mode', 'sequential', '--threads', '2']],
    [['--mode', 'batched', '--batch-size', '4', '--threads', '2'], ['--mode', 'batched', '--batch-size', '1', '--threads', '1'],
      ['--mode', 'batched', '--batch-size', '2', '--threads', '1'], ['--mode', 'batched', '--batch-size', '8', '--threads', '2']],
  ];
  for (const [first, ...others] of groups) {
    const { bytes } = await exact(...first);
    assert.ok(JSON.parse(bytes).segments.length > 5);
    for (const other of others) assert.equal((await exact(...other)).bytes, bytes, `${other} beside ${first}`);
  }
});
