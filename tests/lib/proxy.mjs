// nginx and Caddy in front of services, with the very files of deploy/ that users install:
// only names, ports and folders of a test stand in them instead of theirs.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import './end.mjs';
import { root } from './document.mjs';
import { freePort, tempFolder, until } from './server.mjs';

/** The name that the files serve. */
export const host = 'whisper.example';

export const files = { nginx: 'deploy/nginx/whisper-transcriber.conf', caddy: 'deploy/caddy/Caddyfile' };
const also = { nginx: ['deploy/nginx/whisper-transcriber-upstream.conf'], caddy: [] };
export const read = (name) => [files[name], ...also[name]].map((file) => fs.readFileSync(path.join(root, file), 'utf8')).join('');

/** Replace what must be there, everywhere; what is gone is a test that tests nothing. */
function swap(text, pairs) {
  return pairs.reduce((all, [from, to]) => {
    if (!(from instanceof RegExp ? from.test(all) : all.includes(from))) throw new Error(`deploy/ no longer has "${from}"`);
    return from instanceof RegExp ? all.replace(from, to) : all.replaceAll(from, to);
  }, text);
}

const services = (ports) => ports.map((port, i) => [`127.0.0.1:800${i}`, `127.0.0.1:${port}`]);
const installed = (name) => spawnSync(name, [name === 'nginx' ? '-v' : 'version']).status === 0;

const kinds = {
  nginx(folder, at) {
    const common = [
      ...services(at.services),
      [/listen 80;/, `listen 127.0.0.1:${at.plain};`], [/listen \[::\]:80;/, ''], [/listen \[::\]:443 ssl http2;/, ''],
      ['/var/log/nginx', folder], ['/var/www/letsencrypt', path.join(folder, 'acme')],
    ];
    const text = at.tls
      ? swap(read('nginx'), [...at.change, ...common,
        [/listen 443 ssl http2;/, `listen 127.0.0.1:${at.port} ssl http2;`],
        [`/etc/letsencrypt/live/${host}/fullchain.pem`, at.tls.certificate], [`/etc/letsencrypt/live/${host}/privkey.pem`, at.tls.key],
        ['https://$server_name$', `https://$server_name:${at.port}$`],
      ])
      : swap(read('nginx'), [...common,
        [/listen 443 ssl http2;/, `listen 127.0.0.1:${at.port};`], [/^ *ssl_.*$/gm, ''],
        ['rate=20r/s', 'rate=100000r/s'], ['whisper_at_once 64', 'whisper_at_once 4096'],
      ]);
    fs.writeFileSync(path.join(folder, 'site.conf'), text);
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/temp-${name};`).join('\n');
    fs.writeFileSync(path.join(folder, 'nginx.conf'), `${process.getuid() === 0 ? 'user root;' : ''}
      daemon off; pid ${folder}/pid; error_log stderr warn; worker_processes 1;
      events { worker_connections 1024; }
      http { access_log off; ${temp}\ninclude site.conf; }`);
    return ['nginx', ['-p', folder, '-e', 'stderr', '-c', path.join(folder, 'nginx.conf')]];
  },
  caddy(folder, at) {
    const common = [...services(at.services), ['unix//var/lib/caddy', `unix/${folder}`], ['/var/log/caddy', folder]];
    const text = at.tls
      ? swap(read('caddy'), [...at.change, ...common,
        [/^\{$/m, `{\n\thttp_port ${at.plain}\n\thttps_port ${at.port}\n\tdefault_bind 127.0.0.1\n\tskip_install_trust`],
        [`\n${host} {`, `\n${host} {\n\ttls ${at.tls.certificate} ${at.tls.key}`], ['https://{host}{', `https://{host}:${at.port}{`],
      ])
      : swap(read('caddy'), [...common, [/^\{$/m, `{\n\thttp_port ${at.plain}\n\tdefault_bind 127.0.0.1`],
        [`\n${host} {`, `\nhttp://127.0.0.1:${at.port} {`]]);
    fs.writeFileSync(path.join(folder, 'Caddyfile'), text);
    return ['caddy', ['run', '--config', path.join(folder, 'Caddyfile'), '--adapter', 'caddyfile']];
  },
};

/** What checks a configuration without running it: a program and its arguments. */
const checks = {
  nginx: (folder) => ['nginx', ['-t', '-p', folder, '-e', 'stderr', '-c', path.join(folder, 'nginx.conf')]],
  caddy: (folder) => ['caddy', ['validate', '--config', path.join(folder, 'Caddyfile'), '--adapter', 'caddyfile']],
};

export const proxies = Object.keys(kinds).map((name) => ({ name, skip: !installed(name) && `${name} is not installed (${name})` }));

const answers = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('connect', () => { socket.destroy(); resolve(true); });
  socket.on('error', () => resolve(false));
});

/**
 * Start 'nginx' or 'caddy' in front of two ports. With `tls` ({certificate, key}) as users run
 * it, but for what `change` replaces; without, it speaks no TLS and limits nobody, for whoever
 * measures what is behind it:
 * {url, port, plain, pid, folder, log(), check(), stop()}.
 */
export async function startProxy(name, ports, { tls, change = [] } = {}) {
  const folder = tempFolder();
  const at = { services: ports, port: await freePort(), plain: await freePort(), tls, change };
  const [program, args] = kinds[name](folder, at);
  const env = { PATH: process.env.PATH, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  const child = spawn(program, args, { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const exited = once(child, 'exit');
  const onExit = () => child.kill('SIGTERM'); // nginx takes its workers along
  process.on('exit', onExit);
  exited.then(() => process.off('exit', onExit));
  const failed = exited.then(([code]) => { throw new Error(`${name} ended with ${code}: ${log}`); });
  failed.catch(() => {});
  await Promise.race([failed, until(() => answers(at.port), (up) => up)]);
  child.unref();
  child.stderr.unref();
  return {
    url: tls ? `https://${host}:${at.port}` : `http://127.0.0.1:${at.port}`,
    port: at.port,
    plain: at.plain,
    pid: child.pid,
    folder,
    log: () => log,
    check: () => spawnSync(...checks[name](folder), { encoding: 'utf8', env, cwd: folder }),
    stop: () => { child.ref(); child.kill('SIGTERM'); return exited; },
  };
}
