/*
 * A system of its own to install things in: a folder with a fresh root, or a layer over this
 * machine's own, in which nothing that is done lasts. It has its own processes and mounts and
 * shares the network, so that its services listen on this machine's loopback.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from './document.mjs';

/** Why there can be no such system here; undefined when there can. */
export function whyNoMachine() {
  if (process.getuid() !== 0) return 'a system of its own needs root';
  const r = spawnSync('unshare', ['--mount', '--pid', '--fork', 'sh', '-c',
    'd=$(mktemp -d) && mount -t tmpfs tmpfs "$d" && mkdir "$d/u" "$d/w" "$d/m" && mount -t overlay overlay -o "lowerdir=/,upperdir=$d/u,workdir=$d/w" "$d/m" && umount "$d/m" && umount "$d" && rmdir "$d"'],
  { encoding: 'utf8' });
  return r.status === 0 ? undefined : `no namespaces or layers may be made here: ${r.stderr.trim()}`;
}

// The first process of the system. It collects what others leave behind, as a first
// process must, and takes all with it when it ends.
const first = `
set -eu
folder=$1 fresh=$2
if [ -z "$fresh" ]; then
  mount -t tmpfs tmpfs "$folder"
  mkdir "$folder/upper" "$folder/work" "$folder/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
else
  mkdir -p "$folder/root"
  tar -x --zstd -f "$fresh" -C "$folder/root"
fi
mount -t proc proc "$folder/root/proc"
mount --rbind /dev "$folder/root/dev"
mount -t tmpfs tmpfs "$folder/root/run"
rm -f "$folder/root/etc/resolv.conf"
cp -L /etc/resolv.conf /etc/hosts "$folder/root/etc/"
echo ready
while sleep 0.5; do :; done`;

/** Start one; `archive` is that of a fresh root, without it the machine's own lies below. */
export async function startMachine(t, archive) {
  const folder = fs.mkdtempSync(path.join(archive ? path.dirname(archive) : os.tmpdir(), 'machine-'));
  const holder = spawn('unshare', ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child',
    'sh', '-c', first, 'sh', folder, archive ?? ''], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(async () => {
    if (holder.exitCode === null) { holder.kill('SIGKILL'); await once(holder, 'exit'); }
    fs.rmSync(folder, { recursive: true, force: true });
  });
  const [said] = await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')]);
  if (!String(said).startsWith('ready')) throw new Error(`the system did not come up: ${said}`);
  const child = fs.readFileSync(`/proc/${holder.pid}/task/${holder.pid}/children`, 'utf8').trim();
  return new Machine(folder, child);
}

class Machine {
  constructor(folder, pid) { this.folder = path.join(folder, 'root'); this.pid = pid; }

  /** The words that run `command` in it, with nothing of this environment but `env`. */
  words(command, env = {}) {
    return ['nsenter', '--target', this.pid, '--mount', '--pid', 'chroot', this.folder, '/usr/bin/env', '-i',
      '-C', '/root', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LANG=C.UTF-8',
      'DEBIAN_FRONTEND=noninteractive', ...Object.entries(env).map(([k, v]) => `${k}=${v}`), ...command];
  }

  /** Run a script of bash's in it; what it printed. Throws when it fails. */
  run(script, env) {
    const [program, ...given] = this.words(['bash', '--norc', '-euo', 'pipefail', '-c', script], env);
    const r = spawnSync(program, given, { encoding: 'utf8', maxBuffer: 64 << 20 });
    if (r.status !== 0) throw new Error(`"${script}" ended with ${r.status ?? r.signal}:\n${r.stdout}\n${r.stderr}`);
    return r.stdout;
  }

  /** The same without waiting: a promise of what it printed. */
  async start(script, env) {
    const [program, ...given] = this.words(['bash', '--norc', '-euo', 'pipefail', '-c', script], env);
    const child = spawn(program, given, { stdio: ['ignore', 'pipe', 'pipe'] });
    let all = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { all += text; });
    const [code] = await once(child, 'close');
    if (code !== 0) throw new Error(`"${script}" ended with ${code}:\n${all}`);
    return all;
  }

  // Where a path of its lies from outside: through its first process, which sees its mounts.
  at(inside) { return path.join(`/proc/${this.pid}/root`, this.folder, inside); }
  write(inside, text, options) { fs.writeFileSync(this.at(inside), text, options); }
  read(inside) { return fs.readFileSync(this.at(inside), 'utf8'); }
  has(inside) { return fs.existsSync(this.at(inside)); }
}

/** The archive of a fresh root of a system such as "debian:13"; made when it is missing. */
export function rootArchive(system) {
  const store = process.env.PACKAGE_ROOTS ?? path.join(root, 'build-packages/roots');
  const archive = path.join(store, `${system.replace(':', '-')}.tar.zst`);
  if (!fs.existsSync(archive)) shell(`need_packages mmdebstrap gnupg; root_make ${system} ${archive}`);
  return archive;
}

/** Commands with the functions of script/lib.sh and script/roots.sh. */
export function shell(text) {
  const r = spawnSync('bash', ['-c', `. script/lib.sh; . script/roots.sh; ${text}`],
    { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (r.status !== 0) throw new Error(`"${text}" ended with ${r.status}:\n${r.stdout}\n${r.stderr}`);
  return r.stdout;
}
