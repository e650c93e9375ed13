// What a service manager hears: a socket of datagrams, read by a program of the tests' own
// (Node knows no such sockets), which writes a line for each.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { tempFolder } from './server.mjs';

const reader = `
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
print(json.dumps("bound"), flush=True)
while True:
    print(json.dumps(s.recv(65536).decode("utf-8", "backslashreplace")), flush=True)
`;

/** {path, said: [{text, at}], heard(what, from), close()}; `at` in ms of performance.now(). */
export async function listenForDatagrams(at = path.join(tempFolder(), 'socket')) {
  const child = spawn('python3', ['-u', '-c', reader, at], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => child.kill('SIGKILL'));
  const said = [];
  const waiting = new Set();
  createInterface({ input: child.stdout }).on('line', (line) => {
    said.push({ text: JSON.parse(line), at: performance.now() });
    waiting.forEach((look) => look());
  });
  /** The first datagram from the number `from` on that matches; waits for it. */
  const heard = (what, from = 0) => new Promise((resolve) => {
    const look = () => {
      const found = said.slice(from).find(({ text }) => what.test(text));
      if (!found) return;
      waiting.delete(look);
      resolve(found);
    };
    waiting.add(look);
    look();
  });
  await heard(/^bound$/);
  said.length = 0;
  return { path: at, said, heard, close: () => child.kill('SIGKILL') };
}
