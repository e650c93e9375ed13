// nginx and Caddy in front of services, as docs/scaling.md tells users to set them up: the
// configurations are taken from that page, with the ports and folders of a test in them.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import './end.mjs';
import { freePort, tempFolder, until } from './server.mjs';

const page = fs.readFileSync(new URL('../../docs/scaling.md', import.meta.url), 'utf8');
const places = /10\.0\.0\.1[12]:8000/g;

/** The block of the page in that language, with the addresses of the services in it. */
function fromPage(language, ports) {
  const [, text] = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(page);
  if (text.match(places)?.length !== 2) throw new Error(`docs/scaling.md names no two services in its ${language} block`);
  let next = 0;
  return text.replace(places, () => `127.0.0.1:${ports[next++]}`);
}

function swap(text, from, to) {
  if (!text.includes(from)) throw new Error(`docs/scaling.md no longer has "${from}"`);
  return text.replace(from, to);
}

const installed = (name) => spawnSync(name, [name === 'nginx' ? '-v' : 'version']).status === 0;

const kinds = {
  nginx(folder, port, ports) {
    const site = swap(fromPage('nginx', ports), 'listen 80;', `listen 127.0.0.1:${port};`);
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${folder}/${name};`).join('\n');
    const root = process.getuid() === 0 ? 'user root;' : '';
    fs.writeFileSync(path.join(folder, 'nginx.conf'), `${root}
      daemon off; pid ${folder}/pid; error_log stderr warn; worker_processes 1;
      events { worker_connections 1024; }
      http { access_log ${folder}/access.log; ${temp}\n${site} }`);
    return ['nginx', ['-p', folder, '-e', 'stderr', '-c', path.join(folder, 'nginx.conf')]];
  },
  caddy(folder, port, ports) {
    const site = swap(fromPage('caddyfile', ports), 'whisper.example {', `http://127.0.0.1:${port} {`);
    fs.writeFileSync(path.join(folder, 'Caddyfile'), `{\n\tadmin off\n}\n${site}`);
    return ['caddy', ['run', '--config', path.join(folder, 'Caddyfile'), '--adapter', 'caddyfile']];
  },
};

export const proxies = Object.keys(kinds).map((name) => ({ name, skip: !installed(name) && `${name} is not installed (${name})` }));

const answers = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('connect', () => { socket.destroy(); resolve(true); });
  socket.on('error', () => resolve(false));
});

/** Start 'nginx' or 'caddy' in front of two ports: {url, port, log(), stop()}. */
export async function startProxy(name, ports) {
  const folder = tempFolder();
  const port = await freePort();
  const [program, args] = kinds[name](folder, port, ports);
  const child = spawn(program, args, {
    cwd: folder, env: { PATH: process.env.PATH, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }, stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const exited = once(child, 'exit');
  const onExit = () => child.kill('SIGTERM'); // nginx takes its workers along
  process.on('exit', onExit);
  exited.then(() => process.off('exit', onExit));
  const failed = exited.then(([code]) => { throw new Error(`${name} ended with ${code}: ${log}`); });
  failed.catch(() => {});
  await Promise.race([failed, until(() => answers(port), (up) => up)]);
  child.unref();
  child.stderr.unref();
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    log: () => log,
    stop: () => { child.ref(); child.kill('SIGTERM'); return exited; },
  };
}
