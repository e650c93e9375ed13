// Long recordings in which little, or the same again and again, is said.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RATE, SAID, checkTimes, errorRate, folder, join, noise, recording, save, skip, skipWithoutDetector, times, transcribe,
  trimmed, words } from './helper.mjs';

const greedy = ['-l', 'en', '--beam-size', '1'];

for (const mode of ['sequential', 'batched']) {
  test(`ten minutes of one sentence keep every repetition, ${mode}`, { skip }, async (t) => {
    const dir = folder(t), sentence = join(trimmed(recording('clean')), noise(0.6, 0.001));
    const count = Math.ceil(600 * RATE / sentence.length);
    const file = save(dir, 'again.wav', join(...Array(count).fill(sentence)));
    const r = await transcribe(file, ...greedy, '--mode', mode);
    // words of its beginning, middle and end that are never misheard: here it is repetitions that count
    const heard = ['he hoped', 'bruised', 'sauce'].map((phrase) => times(r.text, phrase));
    for (const n of heard) assert.ok(n <= 1.05 * count && n >= 0.95 * count, `said ${count} times, heard ${heard} times`);
    checkTimes(assert, r, count * sentence.length / RATE);
  });
}

test('an hour with two minutes of speech: all of it, at its time, and nothing else', { skip: skipWithoutDetector }, async (t) => {
  const dir = folder(t), sentence = trimmed(recording('clean')), length = sentence.length / RATE, places = [];
  const hour = noise(3600, 0.0005);
  for (let i = 0; i < 12; i++) {
    const at = 40 + i * 290 + (i * i * 37) % 100;
    places.push(at);
    for (let j = 0; j < sentence.length; j++) hour[at * RATE + j] += sentence[j];
  }
  const file = save(dir, 'hour.wav', hour);
  for (const mode of ['sequential', 'batched']) {
    const r = await transcribe(file, ...greedy, '--mode', mode);
    for (const at of places) {
      const inside = r.segments.filter((s) => s.start < at + length && s.end > at);
      assert.ok(inside.length, `${mode}: nothing at ${at} s`);
      const text = inside.map((s) => s.text).join('');
      assert.ok(errorRate(SAID.clean, text) < 0.3, `${mode}: at ${at} s: ${text}`);
      assert.ok(Math.abs(inside[0].start - at) < 0.5, `${mode}: begins at ${inside[0].start}, not ${at}`);
      assert.ok(Math.abs(inside.at(-1).end - at - length) < 0.5,
        `${mode}: ends at ${inside.at(-1).end}, not ${at + length}`);
    }
    const elsewhere = r.segments.filter((s) => !places.some((at) => s.start < at + length && s.end > at));
    assert.deepEqual(elsewhere.flatMap((s) => words(s.text)), [], mode);
    checkTimes(assert, r, 3600);
  }
});

test('where nobody speaks nothing is written', { skip: skipWithoutDetector }, async (t) => {
  const dir = folder(t), tone = (f) => (i) => Math.sin(2 * Math.PI * f * i / RATE);
  const hum = (i) => 0.1 * tone(50)(i) + 0.05 * tone(100)(i);
  const ring = (i) => (i / RATE % 6 < 2 ? 0.1 * (tone(440)(i) + tone(480)(i)) : 0);
  const kinds = {
    silence: noise(60), faint: noise(60, 0.0005), noise: noise(60, 0.1), loud: noise(40, 0.9),
    hum: noise(60).map((_, i) => hum(i)), ringing: noise(60).map((_, i) => ring(i)),
  };
  for (const [kind, samples] of Object.entries(kinds)) {
    const r = await transcribe(save(dir, `${kind}.wav`, samples), ...greedy);
    assert.equal(r.text, '', kind);
    assert.deepEqual(r.segments, [], kind);
  }
});
