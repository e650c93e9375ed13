// Starts the real binary in a folder of its own and stops it again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import './end.mjs';
import { databaseOf } from './postgres.mjs';
import { recordingOf, removeRecordingOf, storageOf, storedOf, wanted as onS3 } from './s3.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

export const binary = process.env.WT_BINARY;
if (!binary) throw new Error('WT_BINARY must name the program under test');
export const models = path.resolve(process.env.WT_TEST_MODELS ?? path.join(root, 'models'));

/** Whether a model is there; tests that need weights skip without it. */
export function hasModel(name) {
  return fs.existsSync(path.join(models, `ggml-${name}.bin`));
}

// Every test may leave a server and a folder to remove.
process.setMaxListeners(0);

/** A folder that goes away with the process. */
export function tempFolder() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wt-test-'));
  process.on('exit', () => {
    fs.chmodSync(folder, 0o700);
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/**
 * Start `serve` on a free port. Options: folder, env, args, program (another copy of it).
 * Returns {url, port, folder, log(), stop(), kill(), exited, pid}.
 */
export async function startServer({ folder = tempFolder(), env = {}, args = [], program = binary } = {}) {
  const storage = await storageOf(folder);
  const child = spawn(program, ['serve', ...args], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      PORT: '0',
      WHISPER_MODEL_DIR: models,
      DEFAULT_WHISPER_MODEL: hasModel('tiny') ? 'tiny' : '',
      RATE_LIMIT: 'off',
      ...databaseOf(folder),
      ...storage,
      ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '',
      // The tests of the interface pass with any queue; one server has one of its own.
      ...(process.env.WT_TEST_REDIS_URL &&
        { REDIS_URL: process.env.WT_TEST_REDIS_URL, REDIS_NAMESPACE: path.basename(folder) }),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  let out = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  child.stdout.setEncoding('utf8');
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal }));
  // A test that fails must not leave the server behind.
  const onExit = () => child.kill('SIGKILL');
  process.on('exit', onExit);
  exited.then(() => process.off('exit', onExit));
  const port = await new Promise((resolve, reject) => {
    child.stdout.on('data', (text) => {
      out += text;
      const match = /Listening on http:\/\/\S+:(\d+)/.exec(out);
      if (match) resolve(Number(match[1]));
    });
    exited.then(({ code }) => reject(new Error(`serve ended with ${code}: ${log}`)));
  });
  // A test that fails does not stop its server: that must not keep the runner waiting.
  const handles = [child, child.stdout, child.stderr];
  handles.forEach((handle) => handle.unref());
  const end = (signal) => {
    handles.forEach((handle) => handle.ref());
    child.kill(signal);
    return exited;
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    folder,
    pid: child.pid,
    /** {code, signal} of its end; who waits for that is not taken for done. */
    get exited() {
      const awake = setInterval(() => {}, 1000);
      return exited.finally(() => clearInterval(awake));
    },
    log: () => log,
    /** What it has printed on standard output. */
    out: () => out,
    /** The storage folder's files, in any depth. */
    stored: () => {
      if (onS3) return storedOf(folder);
      const storage = path.join(folder, 'storage');
      if (!fs.existsSync(storage)) return [];
      return fs.readdirSync(storage, { recursive: true })
        .filter((name) => fs.statSync(path.join(storage, name), { throwIfNoEntry: false })?.isFile());
    },
    /** The bytes of a recording in the storage. */
    recording: (id) => (onS3 ? recordingOf(folder, id) : fs.readFileSync(path.join(folder, 'storage/uploads', id))),
    removeRecording: (id) => (onS3 ? removeRecordingOf(folder, id) : fs.rmSync(path.join(folder, 'storage/uploads', id))),
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}

/** The children of a process, of every thread; none of one that is gone. */
export function children(pid) {
  const read = (what, otherwise) => { try { return what(); } catch { return otherwise; } };
  return read(() => fs.readdirSync(`/proc/${pid}/task`), []).flatMap((thread) =>
    read(() => fs.readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8'), '').split(' ').filter(Boolean).map(Number));
}

/** Processor time of a process, in ticks of 10 ms: see proc(5). */
export function ticks(pid) {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/**
 * Let a service's workers stand still, however fast they are: jobs that come in are not done
 * until the function that is returned lets them go on. Needs LOG_LEVEL INFO.
 */
export async function hold(server, count = 1) {
  // One that is only starting would be taken for dead.
  const up = () => [...server.log().matchAll(/worker \d+ is up, process (\d+)/g)].map(([, pid]) => Number(pid));
  const workers = await until(() => up().filter((pid) => children(server.pid).includes(pid)), (pids) => pids.length >= count);
  const tell = (signal) => workers.forEach((pid) => {
    try { process.kill(pid, signal); } catch { /* it was ended meanwhile */ }
  });
  tell('SIGSTOP');
  const goOn = () => tell('SIGCONT');
  process.on('exit', goOn); // who stands still does not see that the service has ended
  return goOn;
}

/**
 * A port that nobody has, for what must listen at the same one again: not one of those that the
 * system gives to whoever connects somewhere, which may be taken meanwhile.
 */
export async function freePort() {
  for (;;) {
    const port = 15000 + Math.floor(17000 * Math.random());
    const server = net.createServer().listen(port, '127.0.0.1');
    const free = await Promise.race([once(server, 'listening').then(() => true), once(server, 'error').then(() => false)]);
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** A sound that keeps the engine busy. */
export const tone = (t) => 0.3 * Math.sin(2763 * t);

/** A WAV file: 16-bit mono samples from a function of time; silence is transcribed at once. */
export function wav({ seconds = 1, rate = 16000, sample = () => 0 } = {}) {
  const count = Math.round(seconds * rate);
  const bytes = Buffer.alloc(44 + 2 * count);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + 2 * count, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rate, 24);
  bytes.writeUInt32LE(2 * rate, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(2 * count, 40);
  for (let i = 0; i < count; i++) bytes.writeInt16LE(Math.round(32767 * sample(i / rate)), 44 + 2 * i);
  return bytes;
}

/** A form with the file first and the fields behind it, or the other way round. */
export function form(bytes, name = 'tone.wav', fields = {}, { fieldsFirst = false } = {}) {
  const f = new FormData();
  const add = () => { for (const [key, value] of Object.entries(fields)) f.append(key, value); };
  if (fieldsFirst) add();
  if (bytes) f.append('file', new Blob([bytes]), name);
  if (!fieldsFirst) add();
  return f;
}

// Whoever waits for another program without letting go (spawnSync) hears only afterwards that
// a service has closed the connection which it kept meanwhile; a request sent over that is
// lost. So all that has come is looked at first.
const turn = () => new Promise((resolve) => { setImmediate(resolve); });
const send = globalThis.fetch;
globalThis.fetch = async (...request) => {
  await turn();
  await turn();
  return send(...request);
};

/** POST /transcribe; returns {status, body, headers}. */
export async function transcribe(server, body, query = '') {
  const response = await fetch(`${server.url}/transcribe${query}`, { method: 'POST', body });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

export async function getJson(server, where, init) {
  const response = await fetch(server.url + where, init);
  return { status: response.status, headers: response.headers, body: await response.json() };
}

// What has not come by then does not: a test that says what it saw is worth more than one
// that is ended with its whole file.
const longestWait = (process.env.WT_FAULTS === 'long' ? 7200 : 300) * 1000;

/** Ask until `done(value)` holds: waits for an event, never for a time. */
export async function until(ask, done) {
  const began = Date.now();
  for (;;) {
    const value = await ask();
    if (done(value)) return value;
    if (Date.now() - began > longestWait) throw new Error(`it has not come: ${done}; last seen: ${JSON.stringify(value)?.slice(0, 500)}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

export const hasEnded = (job) => ['completed', 'failed', 'cancelled'].includes(job.status);

export function waitForJob(server, id) {
  return until(async () => (await getJson(server, `/jobs/${id}`)).body, hasEnded);
}

/**
 * Send bytes on a plain socket and read until the server closes, or until the text that
 * has come satisfies `enough`.
 */
export async function raw(server, parts, { enough } = {}) {
  const socket = net.connect(server.port, '127.0.0.1');
  await once(socket, 'connect');
  let text = '';
  const ended = new Promise((resolve) => {
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (enough?.(text)) resolve();
    });
    socket.on('close', resolve);
    socket.on('error', resolve);
  });
  for (const part of [].concat(parts)) socket.write(part);
  await ended;
  socket.destroy();
  return text;
}
