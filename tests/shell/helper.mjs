// What the shell tests share: running the binary, folders of their own, sounds.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import '../lib/end.mjs';

export const binary = process.env.WT_BINARY ?? 'build/whisper-transcriber';
export const root = path.resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../..');
export const models = process.env.WT_TEST_MODELS ?? path.join(root, 'models');

// A folder that goes away with the test.
export function folder(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'shell-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// Only what is named reaches the binary: neither the caller's settings nor its proxies.
function environment(extra) {
  return { PATH: process.env.PATH, HOME: os.tmpdir(), TERM: 'dumb', WHISPER_MODEL_DIR: models, ...extra };
}

// Start the binary; `done` resolves to { code, signal, out, err }.
export function start(args, { env = {}, cwd, input } = {}) {
  const child = spawn(path.resolve(binary), args, { cwd, env: environment(env) });
  // A test that fails must not leave it behind.
  const onExit = () => child.kill('SIGKILL');
  process.setMaxListeners(0).on('exit', onExit);
  const out = [], err = [];
  child.stdout.on('data', (d) => out.push(d));
  child.stderr.on('data', (d) => err.push(d));
  child.stdin.on('error', () => {}); // a child that does not read is no error of ours
  if (input) child.stdin.end(input); else child.stdin.end();
  const done = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      process.off('exit', onExit);
      resolve({ code, signal, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() });
    });
  });
  return { child, done };
}

export const run = (args, options) => start(args, options).done;

// A published model of the tests' model folder, or undefined.
export function modelFile(name) {
  const file = path.join(models, `ggml-${name}.bin`);
  return fs.existsSync(file) ? file : undefined;
}

// What was said on standard error, but for the line that there is no voice detector: the
// models' folder of a test run need not have one.
export const heard = (err) => err.replace(/^whisper-transcriber: there is no voice detector at .*\n/m, '');

// 16-bit mono PCM as a WAV file; sample(i) gives -1 … 1.
export function wav(seconds, sample = () => 0, rate = 16000) {
  const count = Math.round(seconds * rate);
  const bytes = Buffer.alloc(44 + 2 * count);
  bytes.write('RIFF', 0); bytes.writeUInt32LE(36 + 2 * count, 4); bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16); bytes.writeUInt16LE(1, 20); bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rate, 24); bytes.writeUInt32LE(2 * rate, 28);
  bytes.writeUInt16LE(2, 32); bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36); bytes.writeUInt32LE(2 * count, 40);
  for (let i = 0; i < count; i++) bytes.writeInt16LE(Math.round(32767 * sample(i)), 44 + 2 * i);
  return bytes;
}

// Wait until `condition()` holds; the caller's own time limit ends a wait that is in vain.
export async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}
