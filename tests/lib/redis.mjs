// A real redis-server of a test: on a socket, or a port with TLS, in a folder of its own.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { tempFolder } from './server.mjs';

const run = promisify(execFile);

function present(program) {
  try { execFileSync(program, ['--version'], { stdio: 'ignore' }); return true; } catch { return false; }
}

export const skip = present('redis-server') ? false : 'redis-server is not installed';

/**
 * Not started yet. `args` are further options; `cli` those that redis-cli needs beside; `env`
 * goes to the server's environment.
 * Returns {url, folder, start(), kill(), ask(...words), pid()}.
 */
export function redis({ args = [], password, env = {} } = {}) {
  const folder = tempFolder();
  const socket = path.join(folder, 's');
  let child = null;
  let word = password;
  const ask = async (...words) => (await run('redis-cli', ['-s', socket, ...words],
    { env: { ...process.env, ...(word && { REDISCLI_AUTH: word }) } })).stdout.trim();
  const self = {
    url: `unix://${password ? `:${password}@` : ''}${socket}`,
    folder,
    ask,
    pid: () => child?.pid,
    /** Empty, as after a crash: nothing is written to the disk. */
    start: async () => {
      child = spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no',
        '--dir', folder, ...(password ? ['--requirepass', password] : []), ...args], { stdio: 'ignore', env: { ...process.env, ...env } });
      child.unref();
      const mine = child;
      const onExit = () => mine.kill('SIGKILL');
      process.on('exit', onExit);
      mine.on('exit', () => process.off('exit', onExit));
      for (;;) {
        if (await ask('PING').catch(() => '') === 'PONG') return self;
        if (mine.exitCode !== null) throw new Error('redis-server ended at once');
        await new Promise((resolve) => { setTimeout(resolve, 20); });
      }
    },
    kill: async () => {
      if (!child) return;
      const ended = once(child, 'exit');
      child.ref();
      child.kill('SIGKILL');
      await ended;
      child = null;
    },
    signal: (name) => child.kill(name),
    /** It has another password now, and ask() uses that. */
    password: (now) => { word = now; },
  };
  return self;
}
