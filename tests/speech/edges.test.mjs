// Speech at the edges of the recording and of the windows that the model hears.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RATE, SAID, checkTimes, errorRate, folder, join, level, recording, save, silence, skip, transcribe, trimmed, words }
  from './helper.mjs';

const greedy = ['-l', 'en', '--beam-size', '1'];
const modes = ['sequential', 'batched'];

test('speech from the first to the last sample is heard whole', { skip }, async (t) => {
  const dir = folder(t), sound = trimmed(recording('clean'));
  const seconds = sound.length / RATE;
  const file = save(dir, 'tight.wav', sound);
  for (const mode of modes) {
    const r = await transcribe(file, ...greedy, '--mode', mode);
    const heard = words(r.text);
    assert.deepEqual(heard.slice(0, 3), ['he', 'hoped', 'there'], mode);
    assert.equal(heard.at(-1), 'sauce', mode);
    assert.ok(r.segments[0].start < 0.5, `${mode}: begins at ${r.segments[0].start}`);
    assert.ok(r.segments.at(-1).end > seconds - 0.75, `${mode}: ends at ${r.segments.at(-1).end} of ${seconds}`);
    checkTimes(assert, r, seconds);
  }
});

for (const seconds of [29.9, 30.0, 30.1]) {
  test(`${seconds.toFixed(1)} s, with the last word at the very end`, { skip }, async (t) => {
    const dir = folder(t), clean = trimmed(recording('clean')), telephone = trimmed(recording('telephone'));
    const speech = [clean, telephone, clean];
    const rest = seconds * RATE - speech.reduce((n, p) => n + p.length, 0);
    const gap = silence(rest / 2 / RATE);
    const sound = join(clean, gap, telephone, gap, clean).slice(0, Math.round(seconds * RATE));
    const file = save(dir, 'window.wav', sound);
    for (const mode of modes) {
      const r = await transcribe(file, ...greedy, '--mode', mode);
      const rate = errorRate(`${SAID.clean} ${SAID.telephone} ${SAID.clean}`, r.text);
      assert.ok(rate < 0.2, `${mode}: ${(100 * rate).toFixed(0)} % word errors: ${r.text}`);
      assert.equal(words(r.text).at(-1), 'sauce', `${mode}: ${r.text}`);
      checkTimes(assert, r, seconds);
    }
  });
}

// Three times the same reading without a pause, shifted such that 30.0 s falls into the loudest middle of a word.
test('a word across the cut between two windows is heard once', { skip }, async (t) => {
  const dir = folder(t), clean = trimmed(recording('clean')), lead = trimmed(recording('noisy'));
  const whole = join(lead, clean, clean, clean, lead);
  const cuts = [...Array(40).keys()].map((i) => i * 0.05).sort((a, b) => level(whole, 30 + b) - level(whole, 30 + a));
  const [cut] = cuts;
  const file = save(dir, 'cut.wav', whole.slice(Math.round(cut * RATE)));
  const said = `${SAID.noisy} ${SAID.clean} ${SAID.clean} ${SAID.clean} ${SAID.noisy}`;
  const missing = Math.ceil(cut * 4) / words(said).length; // words that were cut off in front
  for (const more of [['--mode', 'sequential'], ['--mode', 'batched'], ['--mode', 'sequential', '--no-vad-filter']]) {
    const r = await transcribe(file, ...greedy, ...more);
    const rate = errorRate(said, r.text);
    assert.ok(rate < 0.2 + missing, `${more}: ${(100 * rate).toFixed(0)} % word errors: ${r.text}`);
    checkTimes(assert, r, (whole.length - cut * RATE) / RATE);
  }
});
