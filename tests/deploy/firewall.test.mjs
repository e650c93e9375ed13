// The firewall's rules and the kernel's settings, in network namespaces of their own: what is
// outside comes from another one, through a cable between both.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { root } from '../lib/document.mjs';
import { binary, hasModel, models, tempFolder } from '../lib/server.mjs';

const deploy = path.join(root, 'deploy');
const isRoot = process.getuid() === 0;
const mayUnshare = isRoot && spawnSync('unshare', ['--net', '--mount', 'true']).status === 0;
const has = (name, ...args) => !spawnSync(name, args).error;
const skip = !mayUnshare ? 'needs the right to make network namespaces' : !has('ip', '-V') ? 'iproute2 is not installed' : false;

/** Run a script of bash in a network of its own; rejects with what it said. */
async function inNetwork(script, env = {}) {
  const child = spawn('unshare', ['--net', '--mount', '--fork', '--kill-child', 'bash', '-euo', 'pipefail', '-c', script], {
    env: { PATH: `/usr/sbin:/sbin:${process.env.PATH}`, HOME: '/', ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  process.on('exit', () => child.kill('SIGKILL'));
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { out += text; });
  const status = await new Promise((resolve) => { child.on('exit', resolve); });
  assert.equal(status, 0, out);
  return out;
}

/*
 * A service that listens to everybody on 8000, as nobody should let it; a proxy on 443 and 80
 * before it; a database's port. Then an outside with a cable to here.
 */
const world = `
  cd "$FOLDER"
  ip link set lo up
  "$BINARY" serve >service.out 2>service.err & service=$!
  python3 - <<'END' & proxy=$!
import socket, threading
def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    finally:
        for s in (a, b):
            try: s.shutdown(socket.SHUT_RDWR)
            except OSError: pass
def serve(port, to):
    s = socket.create_server(("0.0.0.0", port))
    while True:
        c, _ = s.accept()
        u = socket.create_connection(("127.0.0.1", to))
        threading.Thread(target=pump, args=(c, u), daemon=True).start()
        threading.Thread(target=pump, args=(u, c), daemon=True).start()
for port in (80, 5432, 6379, 22):
    threading.Thread(target=serve, args=(port, 8000), daemon=True).start()
serve(443, 8000)
END
  unshare --net sleep 300 & outside=$!
  trap 'kill $service $proxy $outside 2>/dev/null || true' EXIT
  until grep -q Listening service.out; do kill -0 $service; sleep 0.05; done
  until [ "$(readlink /proc/$outside/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
  ip link add inner type veth peer name outer netns $outside
  ip addr add 10.99.0.1/24 dev inner && ip -6 addr add fd99::1/64 dev inner nodad && ip link set inner up
  there() { nsenter --target $outside --net -- "$@"; }
  there ip link set lo up; there ip addr add 10.99.0.2/24 dev outer; there ip -6 addr add fd99::2/64 dev outer nodad; there ip link set outer up
  ask() { curl --silent --show-error --noproxy '*' --output /dev/null --write-out '%{http_code}' --max-time "$1" "http://$2/health/live" || true; }
  from_there() { nsenter --target $outside --net -- curl --silent --noproxy '*' --output /dev/null --write-out '%{http_code}' --max-time "$1" "http://$2/health/live" || true; }
  for port in 8000 443 80 22 5432 6379; do until [ "$(from_there 2 10.99.0.1:$port)" = 200 ]; do sleep 0.1; done; done
  echo "before: everybody reaches 8000"
`;
const proof = `
  [ "$(from_there 5 10.99.0.1:443)" = 200 ] && [ "$(from_there 5 10.99.0.1:80)" = 200 ] || { echo "the proxy is not reached"; exit 1; }
  for port in 8000 5432 6379 10300; do
    [ "$(from_there 1 10.99.0.1:$port)" = 000 ] || { echo "port $port is open"; exit 1; }
  done
  [ "$(from_there 1 '[fd99::1]:8000')" = 000 ] || { echo "port 8000 is open by IPv6"; exit 1; }
  [ "$(from_there 5 10.99.0.1:22)" = 200 ] || { echo "SSH is shut"; exit 1; }
  [ "$(ask 5 127.0.0.1:8000)" = 200 ] || { echo "the proxy does not reach the service"; exit 1; }
  echo "proved"
`;

function environment() {
  const folder = tempFolder();
  return {
    FOLDER: folder, BINARY: binary, DEPLOY: deploy, HOST: '::', PORT: '8000', AUTH: 'off', WHISPER_MODEL_DIR: models,
    DEFAULT_WHISPER_MODEL: hasModel('tiny') ? 'tiny' : '', ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '',
  };
}

describe('firewall', { skip }, () => {
  test('nftables: only the proxy is reached from outside, and the service by the proxy', { skip: has('nft', '--version') ? false : 'nftables is not installed' }, async () => {
    const out = await inNetwork(`
      nft -c -f "$DEPLOY/firewall/nftables.conf"
      ${world}
      nft -f "$DEPLOY/firewall/nftables.conf"
      ${proof}
      # Loaded again, it is the same, and others' tables stay.
      nft add table inet of_others
      before=$(nft list table inet whisper_transcriber | grep -vE 'counter|elements|timeout|expires' | sort)
      nft -f "$DEPLOY/firewall/nftables.conf"
      [ "$before" = "$(nft list table inet whisper_transcriber | grep -vE 'counter|elements|timeout|expires' | sort)" ] || { echo "it changes"; exit 1; }
      nft list table inet of_others >/dev/null
      nft list table inet whisper_transcriber | grep 'policy drop' >/dev/null
    `, environment());
    assert.match(out, /before: everybody reaches 8000[^]*proved/);
  });

  test('ufw: the same', { skip: has('ufw', 'version') ? false : 'ufw is not installed' }, async () => {
    const out = await inNetwork(`
      # What ufw writes stays here.
      for folder in /etc/ufw /lib/ufw /etc/default; do
        mkdir -p "$FOLDER/keep$folder" && cp -a "$folder/." "$FOLDER/keep$folder/" && mount --bind "$FOLDER/keep$folder" "$folder"
      done
      mount -t tmpfs tmpfs /run
      cp "$DEPLOY/firewall/ufw-whisper-transcriber" /etc/ufw/applications.d/
      ufw app info Whisper-Proxy
      ${world}
      sh "$DEPLOY/firewall/ufw.sh"
      ${proof}
      ufw status verbose
    `, environment());
    assert.match(out, /443\/tcp/);
    assert.match(out, /proved/);
    assert.match(out, /Default: deny \(incoming\), allow \(outgoing\)/);
  });
});

describe('sysctl', () => {
  const lines = fs.readFileSync(path.join(deploy, 'sysctl/60-whisper-transcriber.conf'), 'utf8').split('\n')
    .filter((line) => /^[a-z]/.test(line)).map((line) => line.split(/\s*=\s*/));
  const place = (name) => path.join('/proc/sys', name.replaceAll('.', '/'));

  test('every name is one of the kernel', (t) => {
    // A kernel may be built without Yama.
    const missing = lines.map(([name]) => name).filter((name) => !fs.existsSync(place(name)));
    if (missing.length) t.diagnostic(`not in this kernel: ${missing}`);
    assert.deepEqual(missing.filter((name) => !name.startsWith('kernel.yama.')), []);
    assert.ok(lines.length > 20);
  });

  test('what belongs to a network is taken there', { skip: skip || (has('sysctl', '--version') ? false : 'procps is not installed') }, async () => {
    const folder = tempFolder();
    const own = lines.filter(([name]) => name.startsWith('net.') && fs.existsSync(place(name)));
    fs.writeFileSync(path.join(folder, 'net.conf'), own.map(([name, value]) => `${name} = ${value}\n`).join(''));
    const out = await inNetwork('mount -t proc proc /proc; mount -t sysfs sysfs /sys; sysctl -p "$FOLDER/net.conf" >/dev/null; while read -r name _; do echo "$name=$(cat /proc/sys/$(echo "$name" | tr . /))"; done <"$FOLDER/net.conf"', { FOLDER: folder });
    const now = new Map(out.trim().split('\n').map((line) => line.split('=')).map(([name, value]) => [name, value.replaceAll('\t', ' ')]));
    for (const [name, value] of own) assert.equal(now.get(name), value, name);
  });

  test('a limit stands behind every line of the limits', () => {
    for (const line of fs.readFileSync(path.join(deploy, 'sysctl/limits-whisper-transcriber.conf'), 'utf8').split('\n')) {
      if (line && !line.startsWith('#')) assert.match(line, /^whisper-transcriber\s+(soft|hard)\s+(nofile|core|nproc)\s+\d+$/);
    }
  });
});
