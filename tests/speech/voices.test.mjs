// A voice that the detector does not know after another one: what it has heard before must not make it deaf.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root } from '../shell/helper.mjs';
import { RATE, folder, join, noise, save, skipWithoutDetector, transcribe, words } from './helper.mjs';

const shared = path.join(root, '../shared/audio/en');
const skip = skipWithoutDetector || (fs.existsSync(shared) ? false : `no development recordings in ${shared}`);

function read(name) {
  const made = spawnSync('ffmpeg', ['-v', 'error', '-i', path.join(shared, name), '-ac', '1', '-ar', String(RATE),
    '-f', 'f32le', '-'], { maxBuffer: 1 << 28 });
  assert.equal(made.status, 0, String(made.stderr));
  return new Float32Array(made.stdout.buffer.slice(made.stdout.byteOffset, made.stdout.byteOffset + made.stdout.length));
}

test('a hoarse voice is heard behind a clear one', { skip }, async (t) => {
  const hoarse = read('mfa/cold_corpus.flac'), clear = read('vctk/p287_006_clean.flac');
  const sound = join(clear, noise(0.9, 1e-4), hoarse);
  const from = sound.length - hoarse.length;
  const r = await transcribe(save(folder(t), 'voices.wav', sound), '-l', 'en', '--beam-size', '1');
  const said = words(r.text).join(' ');
  for (const part of ['sick corpus', 'i have a cold', 'a bunch of different words'])
    assert.ok(said.includes(part), `"${part}" is missing: ${r.text}`);
  for (const gap of r.quality.dropped)
    assert.ok(gap.end < from / RATE + 2 || gap.end - gap.start < 3, `passed over: ${gap.start} to ${gap.end}`);
});
