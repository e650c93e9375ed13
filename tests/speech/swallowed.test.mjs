// A sentence that a model leaves out, under the times of the one behind it, is found. Where recordings do so is
// chance; these do with tiny, a beam of 5, and every precision.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { decode, folder, join, noise, save, skipWithoutDetector, transcribe } from './helper.mjs';
import { root } from '../shell/helper.mjs';

const audio = path.join(root, '..', 'shared', 'audio', 'en');
const clips = [
  ['commands/turn-on-standing-light.wav', 0.3], ['misc/fw_stereo_diarization.wav', 0.6],
  ['speechbrain/spk2_snt4.wav', 0.2], ['librispeech-other/367-130732-0005.flac', 0.3],
];
const skip = skipWithoutDetector || (clips.every(([name]) => fs.existsSync(path.join(audio, name))) ? false :
  `no recordings in ${audio}`);

test('a swallowed sentence is found', { skip }, async (t) => {
  const parts = clips.flatMap(([name, pause]) => [decode(path.join(audio, name)), noise(pause, 0.0001)]);
  const file = save(folder(t), 'swallowed.wav', join(noise(0.3), ...parts));
  for (const precision of ['auto', 'f32']) {
    const r = await transcribe(file, '-l', 'en', '--beam-size', '5', '--compute-type', precision);
    assert.match(r.text, /coat before you go/, precision);
    assert.match(r.text, /magnificent dinners were arranged/, precision);
    assert.ok(r.quality.heard_again.length > 0, precision);
  }
});
