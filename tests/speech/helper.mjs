// What the speech tests share: sound as arrays, transcripts as words, and how far the one is from the other.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { modelFile, models, root, run } from '../shell/helper.mjs';

export { folder } from '../shell/helper.mjs';
export const RATE = 16000;

// Why the tests here cannot run, or false.
export const skip = !modelFile('tiny') ? `no ggml-tiny.bin in ${models}` :
  spawnSync('ffmpeg', ['-version']).error ? 'ffmpeg is not installed' : false;
export const skipWithoutDetector = skip || (fs.existsSync(path.join(models, 'silero_vad_16k_op15.onnx')) ?
  false : `no voice detector in ${models}: whisper-transcriber models pull silero-vad`);

// What is said in the recordings of the tree.
export const SAID = {
  clean: 'he hoped there would be stew for dinner turnips and carrots and bruised potatoes and fat mutton pieces ' +
    'to be ladled out in thick peppered flour fattened sauce',
  telephone: 'the boy declared he saw no one and accordingly passed through without paying the toll of a penny',
  noisy: 'ask her to bring these things with her from the store',
};

const files = {
  clean: 'tests/engine/golden/clean.wav', telephone: 'tests/engine/golden/telephone.wav',
  noisy: 'tests/engine/golden/noisy.wav', numbers: 'tests/speech/audio/numbers.opus',
  spanish: 'tests/speech/audio/spanish.opus',
  clear: 'tests/speech/audio/clear.opus', hoarse: 'tests/speech/audio/hoarse.opus',
};

// ---- sound: Float32Array, -1 … 1, 16 kHz

// A sound file, through ffmpeg's filter if one is named.
export function decode(file, filter = 'anull') {
  const made = spawnSync('ffmpeg', ['-v', 'error', '-i', file, '-af', filter, '-ac', '1', '-ar', String(RATE),
    '-f', 'f32le', '-'], { maxBuffer: 1 << 28 });
  if (made.status !== 0) throw new Error(`ffmpeg: ${made.stderr}`);
  return new Float32Array(made.stdout.buffer.slice(made.stdout.byteOffset, made.stdout.byteOffset + made.stdout.length));
}

// A recording of the tree.
export const recording = (name, filter) => decode(path.join(root, files[name]), filter);

export function join(...parts) {
  const all = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}

// Noise that is the same every time.
export function noise(seconds, level = 0, seed = 1) {
  const all = new Float32Array(Math.round(seconds * RATE));
  let state = seed;
  for (let i = 0; level && i < all.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    all[i] = level * (state / 2 ** 31 - 1);
  }
  return all;
}

export const silence = (seconds) => noise(seconds);

// Without what is quiet in front of the first and behind the last word.
export function trimmed(samples, threshold = 0.02) {
  let first = 0, last = samples.length - 1;
  while (Math.abs(samples[first]) < threshold) first++;
  while (Math.abs(samples[last]) < threshold) last--;
  return samples.slice(first, last + 1);
}

export function level(samples, seconds) {
  const at = Math.round(seconds * RATE), span = RATE / 50;
  let sum = 0;
  for (let i = at - span; i < at + span; i++) sum += samples[i] ** 2;
  return Math.sqrt(sum / (2 * span));
}

// 16-bit WAV, or FLAC by the name.
export function save(dir, name, samples) {
  const bytes = Buffer.alloc(44 + 2 * samples.length);
  bytes.write('RIFF', 0); bytes.writeUInt32LE(36 + 2 * samples.length, 4); bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16); bytes.writeUInt16LE(1, 20); bytes.writeUInt16LE(1, 22); bytes.writeUInt32LE(RATE, 24);
  bytes.writeUInt32LE(2 * RATE, 28); bytes.writeUInt16LE(2, 32); bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36); bytes.writeUInt32LE(2 * samples.length, 40);
  const pcm = new Int16Array(bytes.buffer, bytes.byteOffset + 44, samples.length);
  for (let i = 0; i < samples.length; i++) pcm[i] = Math.round(32767 * Math.max(-1, Math.min(1, samples[i])));
  const file = path.join(dir, name);
  fs.writeFileSync(file, bytes);
  return file;
}

// ---- transcripts

export async function transcribe(file, ...more) {
  const r = await run(['transcribe', '-q', '-m', 'tiny', '-f', 'json', ...more, file]);
  if (r.code !== 0) throw new Error(`transcribe ended with ${r.code}: ${r.err}`);
  return { ...JSON.parse(r.out), bytes: r.out, stderr: r.err };
}

export const words = (text) => text.toLowerCase().normalize('NFC').replace(/[^\p{L}\p{N}' ]+/gu, ' ').split(' ')
  .filter(Boolean);

// Word errors over the words that were said.
export function errorRate(said, heard) {
  const a = words(said), b = words(heard);
  let row = b.map((_, j) => j + 1);
  row.unshift(0);
  a.forEach((x, i) => {
    const next = [i + 1];
    b.forEach((y, j) => next.push(Math.min(row[j] + (x === y ? 0 : 1), row[j + 1] + 1, next[j] + 1)));
    row = next;
  });
  return row[b.length] / a.length;
}

export const times = (text, phrase) => text.toLowerCase().split(phrase).length - 1;

// What must hold of every transcript: times in order, apart, and within the audio.
export function checkTimes(assert, t, seconds) {
  let before = 0;
  for (const s of t.segments) {
    assert.ok(s.start >= before - 1e-6, `a segment begins at ${s.start}, before ${before}`);
    assert.ok(s.end >= s.start, `a segment ends at ${s.end}, before it begins at ${s.start}`);
    assert.ok(s.end <= seconds + 0.005, `a segment ends at ${s.end}, after the audio of ${seconds} s`);
    before = s.end;
  }
}
