// Starts the real binary as `worker` and ends it again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import './end.mjs';
import { binary, children, models, tempFolder, until, wav } from './server.mjs';

/** Speech, for as long as a worker needs to be disturbed in it. */
export function long(seconds = 300) {
  const file = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));
  const samples = new Int16Array(file.buffer.slice(file.byteOffset + 44, file.byteOffset + file.length - (file.length % 2)));
  return wav({ seconds, sample: (t) => samples[Math.round(t * 16000) % samples.length] / 32767 });
}

/**
 * Start `worker` beside services that have this environment; resolves when it takes jobs.
 * Returns {id, pid, log(), tell(signal), end(signal), stop(), kill(), exited}; `tell` is for
 * it and the processes that it has started.
 */
export async function startWorker({ env = {}, args = [], folder = tempFolder() } = {}) {
  const child = spawn(binary, ['worker', ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, WHISPER_MODEL_DIR: models, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal }));
  const onExit = () => child.kill('SIGKILL');
  process.on('exit', onExit);
  exited.then(() => process.off('exit', onExit));
  const handles = [child, child.stderr];
  const failed = exited.then(({ code }) => { throw new Error(`worker ended with ${code}: ${log}`); });
  await Promise.race([failed, until(() => log, (text) => /worker \d+ is up/.test(text))]);
  failed.catch(() => {});
  handles.forEach((handle) => handle.unref());
  const end = (signal) => {
    handles.forEach((handle) => handle.ref());
    child.kill(signal);
    return exited;
  };
  return {
    id: /known as (\S+) on/.exec(log)[1],
    pid: child.pid,
    log: () => log,
    exited,
    tell: (signal) => [child.pid, ...children(child.pid)].forEach((pid) => process.kill(pid, signal)),
    end,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}
