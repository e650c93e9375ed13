// The units of deploy/systemd: that systemd takes them, that they are closed as far as they
// say, that the service can do its work inside, and that it keeps to what a service manager
// expects. systemd itself is not the first process where this runs; its tools are.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { blocks, root, runBlock } from '../lib/document.mjs';
import { listenForDatagrams } from '../lib/notify.mjs';
import { Postgres, available as hasPostgres } from '../lib/postgres.mjs';
import {
  binary, children, form, freePort, getJson, hasModel, models, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const folder = path.join(root, 'deploy/systemd');
const units = fs.readdirSync(folder);
const services = units.filter((name) => name.endsWith('.service'));
const isRoot = process.getuid() === 0;
const hasTool = (name) => spawnSync(name, ['--version']).status === 0;
const noSystemd = hasTool('systemd-analyze') ? false : 'systemd-analyze is not installed';

/** The values of a key, in order, of one unit. */
function valuesOf(unit, key) {
  return fs.readFileSync(path.join(folder, unit), 'utf8').split('\n')
    .filter((line) => line.startsWith(`${key}=`)).map((line) => line.slice(key.length + 1));
}

describe('units', { skip: noSystemd }, () => {
  test('systemd takes every line of them', () => {
    // In copies that name programs which are here: what verify also looks for.
    const copies = tempFolder();
    for (const name of units) {
      const text = fs.readFileSync(path.join(folder, name), 'utf8')
        .replaceAll('/usr/bin/whisper-transcriber', binary)
        .replaceAll('/usr/share/whisper-transcriber/deploy', path.join(root, 'deploy'));
      fs.writeFileSync(path.join(copies, name), text);
    }
    const names = units.map((name) => path.join(copies, name));
    const run = spawnSync('systemd-analyze', ['verify', '--man=no', ...names], { encoding: 'utf8', env: { ...process.env, SYSTEMD_LOG_LEVEL: 'warning' } });
    const ours = run.stderr.split('\n').filter((line) => line.includes('whisper-transcriber') && !/file:.*operations|User .* not found|Failed to resolve/.test(line));
    assert.deepEqual(ours, []);
  });

  for (const unit of services) {
    test(`${unit} is exposed by 1.5 at most`, (t) => {
      const run = spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=15', '--no-pager', path.join(folder, unit)], { encoding: 'utf8' });
      const level = Number(/exposure level for \S+: ([\d.]+)/.exec(run.stdout)?.[1]);
      assert.ok(level <= 1.5, `${level}\n${run.stdout}${run.stderr}`);
      assert.equal(run.status, 0, run.stderr);
      t.diagnostic(`exposure ${level}`);
    });
  }

  test('every timer has its service, and every service that is run once its timer', () => {
    const timed = units.filter((name) => name.endsWith('.timer')).map((name) => name.replace('.timer', '.service'));
    const once = services.filter((name) => valuesOf(name, 'Type')[0] === 'oneshot');
    assert.deepEqual(timed.sort(), once.sort());
    for (const name of timed) {
      for (const when of valuesOf(name.replace('.service', '.timer'), 'OnCalendar')) {
        assert.equal(spawnSync('systemd-analyze', ['calendar', when]).status, 0, when);
      }
    }
  });
});

// ---- inside the walls ----------------------------------------------------------------

/** The calls that a unit leaves, worked out as systemd does: lines add, or take away. */
function allowedCalls(unit) {
  const sets = new Map();
  let current;
  for (const line of spawnSync('systemd-analyze', ['syscall-filter', '--no-pager'], { encoding: 'utf8' }).stdout.split('\n')) {
    if (line.startsWith('@')) sets.set(current = line.trim(), []);
    else if (current && /^ {4}[^#\s]/.test(line)) sets.get(current).push(line.trim());
  }
  const expand = (name) => (name.startsWith('@') ? sets.get(name).flatMap(expand) : [name]);
  const allowed = new Set(expand('@default'));
  for (const line of valuesOf(unit, 'SystemCallFilter')) {
    const takes = line.startsWith('~');
    line.replace(/^~/, '').split(/\s+/).flatMap(expand).forEach((call) => (takes ? allowed.delete(call) : allowed.add(call)));
  }
  return allowed;
}

const families = { AF_UNIX: 1, AF_INET: 2, AF_INET6: 10 };
const namespaces = { user: 0x10000000, net: 0x40000000, ipc: 0x08000000, mnt: 0x00020000 };

/** The command that starts a program behind a unit's walls, as an unprivileged user. */
function behindWalls(unit, own) {
  const program = path.join(own, 'filter');
  const built = spawnSync('cc', ['-O1', '-o', program, path.join(root, 'tests/deploy/filter.c'), '-lseccomp'], { encoding: 'utf8' });
  assert.equal(built.status, 0, built.stderr);
  fs.writeFileSync(path.join(own, 'allowed'), [...allowedCalls(unit)].join('\n'));
  fs.writeFileSync(path.join(own, 'denied'), '', { mode: 0o666 });
  fs.chmodSync(path.join(own, 'denied'), 0o666);
  const domains = valuesOf(unit, 'RestrictAddressFamilies')[0].split(' ').map((name) => families[name]).join(',');
  const left = valuesOf(unit, 'RestrictNamespaces')[0].split(' ').reduce((sum, name) => sum | (namespaces[name] ?? 0), 0);
  const drop = isRoot ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs'] : [];
  return [...drop, program, path.join(own, 'allowed'), path.join(own, 'denied'), domains, String(left), '--'];
}

/** A folder that the unprivileged user may write into. */
function openFolder() {
  const own = tempFolder();
  fs.chmodSync(own, 0o777);
  return own;
}

/** What the unprivileged user runs and reads, where that user may: a working tree often lies
 * in a home that is closed to others. */
const installed = (() => {
  const folder = openFolder();
  const at = (name) => path.join(folder, name);
  fs.copyFileSync(binary, at('whisper-transcriber'));
  fs.cpSync(path.join(root, 'deploy'), at('deploy'), { recursive: true });
  fs.mkdirSync(at('models'));
  if (hasModel('tiny')) fs.copyFileSync(path.join(models, 'ggml-tiny.bin'), at('models/ggml-tiny.bin'));
  assert.equal(spawnSync('chmod', ['-R', 'a+rX', folder]).status, 0);
  return { binary: at('whisper-transcriber'), deploy: at('deploy'), models: at('models') };
})();

/** Start a service with a manager's environment; {child, port, log(), exited}. */
async function start(own, { command = [], env = {}, args = ['serve'], stdio = [], ready = /Listening on http:\/\/\S+:(\d+)/ } = {}) {
  const [program, ...rest] = [...command, installed.binary, ...args];
  const child = spawn(program, rest, {
    cwd: own,
    env: {
      PATH: process.env.PATH, HOME: own, PORT: '0', WHISPER_MODEL_DIR: installed.models, DEFAULT_WHISPER_MODEL: 'tiny', RATE_LIMIT: 'off',
      ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe', ...stdio],
  });
  process.on('exit', () => child.kill('SIGKILL'));
  let log = '';
  let out = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal }));
  const found = await new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text;
      const match = ready.exec(out);
      if (match) resolve(match);
    });
    exited.then((end) => reject(new Error(`it ended with ${JSON.stringify(end)}: ${log}`)));
  });
  return {
    child, pid: child.pid, port: Number(found[1]), url: `http://127.0.0.1:${found[1]}`, log: () => log, exited,
    stop: () => { child.kill('SIGTERM'); return exited; },
  };
}

const noFilter = noSystemd || (spawnSync('cc', ['--version']).status === 0 && fs.existsSync('/usr/include/seccomp.h') ? false : 'no compiler, or no libseccomp');
const sanitized = /asan|sanitize/.test(binary) ? 'a sanitizer needs more calls than the program' : false;

test('the service does all its work behind the walls of its unit, and misses no call', {
  skip: noFilter || sanitized || (hasModel('tiny') ? false : 'ggml-tiny.bin is not there'),
}, async (t) => {
  const own = openFolder();
  const manager = await listenForDatagrams(path.join(own, 'notify'));
  const server = await start(own, {
    command: behindWalls('whisper-transcriber.service', own),
    env: { NOTIFY_SOCKET: manager.path, URL_FETCH: 'on', URL_FETCH_ALLOW: '127.0.0.1', WYOMING_PORT: String(await freePort()), LOG_LEVEL: 'DEBUG' },
  });
  await manager.heard(/^READY=1/);
  await until(() => getJson(server, '/health/ready'), ({ status }) => status === 200);

  // A recording that needs the decoder, one that does not, and one that is broken.
  const mp3 = path.join(own, 'a.mp3');
  assert.equal(spawnSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'sine=frequency=440:duration=2', mp3]).status, 0);
  for (const [bytes, name, status] of [[fs.readFileSync(mp3), 'a.mp3', 'completed'], [wav({ seconds: 2 }), 'a.wav', 'completed'],
    [fs.readFileSync(mp3).subarray(0, 300), 'b.mp3', 'failed']]) {
    const answer = await transcribe(server, form(bytes, name));
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    const job = await waitForJob(server, answer.body.job_id);
    assert.equal(job.status, status, `${name}: ${JSON.stringify(job)}\n${server.log()}`);
  }
  // By URL, from a place that is not there: names, sockets, time limits.
  const fetched = await getJson(server, '/transcribe', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ url: 'http://localhost:1/a.wav' }),
  });
  assert.ok(fetched.status < 500, JSON.stringify(fetched.body));
  for (const where of ['/metrics', '/jobs', '/events?limit=1', '/openapi.json']) assert.ok((await fetch(server.url + where).then(async (r) => { await r.body?.cancel(); return r; })).status < 500, where);
  // A worker that dies is started again.
  const [worker] = children(server.pid);
  process.kill(worker, 'SIGKILL');
  const again = await transcribe(server, form(wav({ seconds: 1 })));
  assert.equal((await waitForJob(server, again.body.job_id)).status, 'completed');
  server.child.kill('SIGUSR1');
  await until(server.log, (log) => log.includes('log reopened'));
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  await manager.heard(/^STOPPING=1/);
  manager.close();
  const denied = fs.readFileSync(path.join(own, 'denied'), 'utf8').trim().split('\n').filter(Boolean);
  t.diagnostic(`calls refused: ${denied.join(' ') || 'none'}`);
  // libnuma, which FFmpeg's libraries bring with them, asks when it is loaded, and goes on without.
  assert.deepEqual(denied.filter((call) => call !== 'set_mempolicy'), []);
});

test('what is run now and then does its work behind the walls of its unit, and misses no call', {
  skip: noFilter || sanitized || (hasModel('tiny') ? false : 'ggml-tiny.bin is not there'),
}, async (t) => {
  const own = openFolder();
  const places = { DATABASE_URL: `sqlite:///${own}/app.db`, STORAGE_DIR: `${own}/storage`, BACKUP_DIR: `${own}/copies` };
  const command = behindWalls('whisper-transcriber.service', own);
  const server = await start(own, { command, env: places });
  await until(() => getJson(server, '/health/ready'), ({ status }) => status === 200);
  const { body } = await transcribe(server, form(wav({ seconds: 1 })));
  assert.equal((await waitForJob(server, body.job_id)).status, 'completed');
  // A copy before it is tried.
  const jobs = services.filter((name) => valuesOf(name, 'Type')[0] === 'oneshot').sort();
  assert.ok(jobs.length >= 5);
  const denied = [];
  for (const unit of jobs) {
    const [line] = valuesOf(unit, 'ExecStart');
    const words = line.replace('/usr/bin/whisper-transcriber', installed.binary).replace('/usr/share/whisper-transcriber/deploy', installed.deploy).split(' ');
    const [program, ...rest] = [...behindWalls(unit, own), ...words];
    const child = spawn(program, rest, {
      cwd: own, stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, HOME: own, WHISPER_MODEL_DIR: installed.models, HOST: '127.0.0.1', PORT: String(server.port), ...places },
    });
    let said = '';
    child.stdout.on('data', (text) => { said += text; });
    child.stderr.on('data', (text) => { said += text; });
    const [code] = await once(child, 'close');
    assert.equal(code, 0, `${unit}: ${line}: ${said}`);
    denied.push(...fs.readFileSync(path.join(own, 'denied'), 'utf8').trim().split('\n').filter(Boolean).map((call) => `${unit}: ${call}`));
  }
  assert.deepEqual(denied, []);
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  t.diagnostic(`run: ${jobs.join(' ')}`);
});

test('a worker does its work behind the walls of its unit, and misses no call', {
  skip: noFilter || sanitized || (hasModel('tiny') ? false : 'ggml-tiny.bin is not there') || (!hasPostgres && 'no PostgreSQL'),
}, async () => {
  const own = openFolder();
  const postgres = new Postgres();
  try {
    const shared = { DATABASE_URL: postgres.url('walls'), STORAGE_DIR: `${own}/storage` };
    const server = await start(own, { command: behindWalls('whisper-transcriber.service', own), env: { ...shared, EMBEDDED_WORKERS: 'off' } });
    const manager = await listenForDatagrams(path.join(own, 'notify'));
    const [program, ...rest] = [...behindWalls('whisper-transcriber-worker@.service', own), installed.binary, 'worker'];
    const worker = spawn(program, rest, {
      cwd: own, stdio: 'ignore',
      env: { PATH: process.env.PATH, HOME: own, WHISPER_MODEL_DIR: installed.models, NOTIFY_SOCKET: manager.path, WORKER_METRICS_PORT: String(await freePort()), ...shared },
    });
    process.on('exit', () => worker.kill('SIGKILL'));
    const ended = once(worker, 'exit');
    await Promise.race([manager.heard(/^READY=1/), ended.then(([code]) => assert.fail(`the worker ended with ${code}`))]);
    const mp3 = path.join(own, 'a.mp3');
    assert.equal(spawnSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'sine=frequency=440:duration=2', mp3]).status, 0);
    const { body } = await transcribe(server, form(fs.readFileSync(mp3), 'a.mp3'));
    assert.equal((await waitForJob(server, body.job_id)).status, 'completed');
    worker.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
    manager.close();
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    const denied = fs.readFileSync(path.join(own, 'denied'), 'utf8').trim().split('\n').filter(Boolean);
    assert.deepEqual(denied.filter((call) => call !== 'set_mempolicy'), []);
  } finally {
    postgres.stop();
  }
});

// ---- what a manager hears, and what it holds -------------------------------------------

/* Holds threads of one name with ptrace, until its standard input ends. */
const freezer = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
pid, name = sys.argv[1], sys.argv[2]
tids = [int(t) for t in os.listdir("/proc/%s/task" % pid) if open("/proc/%s/task/%s/comm" % (pid, t)).read().strip() == name]
for tid in tids:
    if libc.ptrace(SEIZE, tid, None, None) or libc.ptrace(INTERRUPT, tid, None, None):
        sys.exit(1)
    os.waitpid(tid, WALL)
print(len(tids), flush=True)
sys.stdin.read()
`;

/** Stop threads of a process by their name; {melt()}, or undefined where that may not be done. */
async function freeze(pid, name) {
  const child = spawn('python3', ['-c', freezer, String(pid), name], { stdio: ['pipe', 'pipe', 'ignore'] });
  process.on('exit', () => child.kill('SIGKILL'));
  const [count] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => [])]);
  if (!count) return undefined;
  assert.ok(Number(count) > 0, `no thread is called ${name}`);
  return { melt: () => child.stdin.end() };
}

describe('a service manager', { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not there' }, () => {
  test('hears when the service is ready, what it does, that it lives, and that it stops', async () => {
    const own = openFolder();
    const manager = await listenForDatagrams(path.join(own, 'notify'));
    const server = await start(own, { env: { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '1500000', SHUTDOWN_TIMEOUT: '7', SHUTDOWN_DELAY: '1' } });
    await manager.heard(/^READY=1$/);
    // Ready is ready: the first request after it is answered.
    assert.equal((await fetch(`${server.url}/health/live`)).status, 200);
    await manager.heard(/^STATUS=ready: 0 at work, 0 waiting$/);
    for (let n = 0; n < 3; n++) await manager.heard(/^WATCHDOG=1$/, manager.said.length);
    assert.ok(!manager.said.some(({ text }) => text.includes('STOPPING')));
    // The children speak for nobody.
    for (const pid of children(server.pid)) {
      assert.doesNotMatch(fs.readFileSync(`/proc/${pid}/environ`, 'utf8'), /NOTIFY_SOCKET|WATCHDOG|LISTEN_/);
    }
    assert.equal((await server.stop()).code, 0);
    const { text } = await manager.heard(/^STOPPING=1/);
    assert.equal(Number(/EXTEND_TIMEOUT_USEC=(\d+)/.exec(text)[1]), 28e6);
    manager.close();
  });

  test('does not hear that it lives while its doors stand still, however well the rest goes on', async (t) => {
    const own = openFolder();
    const manager = await listenForDatagrams(path.join(own, 'notify'));
    const server = await start(own, { env: { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '1500000' } });
    await manager.heard(/^WATCHDOG=1$/);
    const frozen = await freeze(server.pid, 'MHD-worker');
    if (!frozen) {
      await server.stop();
      t.skip('threads of others may not be stopped here');
      return;
    }
    const before = manager.said.length;
    await until(server.log, (log) => (log.match(/does not seem to live: the HTTP server has not answered itself/g) ?? []).length >= 2);
    // One may have been on its way.
    assert.ok(manager.said.slice(before).filter(({ text }) => text === 'WATCHDOG=1').length <= 1);
    assert.ok(manager.said.slice(before).some(({ text }) => text.startsWith('STATUS=')), 'the rest goes on');
    frozen.melt();
    await manager.heard(/^WATCHDOG=1$/, manager.said.length);
    assert.equal((await server.stop()).code, 0);
    manager.close();
  });

  test('says that a model is missing, and still hears that the service lives', async () => {
    const own = openFolder();
    const manager = await listenForDatagrams(path.join(own, 'notify'));
    const server = await start(own, { env: { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '1500000', WHISPER_MODEL_DIR: own, DEFAULT_WHISPER_MODEL: '' } });
    await manager.heard(/^STATUS=not ready: model: /);
    await manager.heard(/^WATCHDOG=1$/, manager.said.length);
    assert.equal((await server.stop()).code, 0);
    manager.close();
  });
});

/*
 * Holds sockets as systemd does and starts the service with them, again and again: what is
 * written to it is a line for each start. Ports come out first, then what the service prints.
 */
const holder = `
import json, os, signal, socket, subprocess, sys
program, names = sys.argv[1], sys.argv[2].split(":")
held = []
for name in names:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    s.listen(1024)
    held.append(s)
print(json.dumps([s.getsockname()[1] for s in held]), flush=True)
service = None
for line in sys.stdin:
    if line.strip() == "start":
        # The shell, so that the number in LISTEN_PID is that of the service.
        fds = [s.fileno() for s in held]
        moves = ["%d<&%d %d<&-" % (20 + i, fd, fd) for i, fd in enumerate(fds)]
        moves += ["%d<&%d %d<&-" % (3 + i, 20 + i, 20 + i) for i in range(len(fds))]
        script = "export LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s; exec %s; exec '%s' serve" % (
            len(held), sys.argv[2], " ".join(moves), program)
        service = subprocess.Popen(["bash", "-c", script], pass_fds=fds, stdout=2)
        print(json.dumps({"pid": service.pid}), flush=True)
    else:
        service.send_signal(signal.SIGTERM)
        print(json.dumps({"code": service.wait()}), flush=True)
`;

async function hold(own, names, env = {}) {
  const manager = await listenForDatagrams(path.join(own, 'notify'));
  const child = spawn('python3', ['-u', '-c', holder, binary, names.join(':')], {
    cwd: own,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH, HOME: own, PORT: '1', WHISPER_MODEL_DIR: installed.models, DEFAULT_WHISPER_MODEL: 'tiny', RATE_LIMIT: 'off',
      ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', NOTIFY_SOCKET: manager.path, SHUTDOWN_TIMEOUT: '20', ...env,
    },
  });
  let pid;
  process.on('exit', () => { child.kill('SIGKILL'); try { process.kill(pid, 'SIGKILL'); } catch { /* it has ended */ } });
  let log = '';
  let lines = '';
  let read = 0;
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  child.stdout.setEncoding('utf8').on('data', (text) => { lines += text; });
  const next = async () => {
    await until(() => lines.split('\n').length, (n) => n > read + 1);
    return JSON.parse(lines.split('\n')[read++]);
  };
  const ports = await next();
  return {
    ports,
    log: () => log,
    async start() {
      const from = manager.said.length;
      child.stdin.write('start\n');
      ({ pid } = await next());
      return { pid, ready: manager.heard(/^READY=1/, from) };
    },
    async stop() { child.stdin.write('stop\n'); return (await next()).code; },
    close() { child.stdin.end(); manager.close(); },
  };
}

describe('sockets that the manager holds', { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not there' }, () => {
  test('the service is restarted under load, and nobody is refused', async (t) => {
    const own = openFolder();
    const held = await hold(own, ['http']);
    await (await held.start()).ready;
    const server = { url: `http://127.0.0.1:${held.ports[0]}` };
    let over = false;
    let answered = 0;
    let late = 0;
    const wrong = [];
    const sent = new Set();
    const client = async (k) => {
      for (let n = 0; !over; n++) {
        const ask = () => (n % 4
          ? fetch(`${server.url}/jobs?limit=1`)
          : fetch(`${server.url}/transcribe`, { method: 'POST', headers: { 'idempotency-key': `${k}-${n}` }, body: form(wav({ seconds: 1, sample: (s) => (k + n / 1000) * s % 1 / 9 }), 'a.wav') }));
        try {
          // A connection that was kept may be closed just when something is asked on it, if it
          // was idle for a second before (on a busy machine): clients ask again then (RFC 9112, 9.3.1).
          const response = await ask().catch((error) => {
            if (!['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(error.cause?.code)) throw error;
            late++;
            return ask();
          });
          const body = await response.json();
          if (response.status >= 500) wrong.push(`${response.status} ${JSON.stringify(body)}`);
          if (body.job_id) sent.add(body.job_id);
          answered++;
        } catch (error) {
          wrong.push(`${error.cause?.code ?? error}`);
        }
      }
    };
    const clients = Array.from({ length: 8 }, (_, k) => client(k));
    for (let n = 0; n < 5; n++) {
      const before = answered;
      await until(() => answered, (count) => count > before + 20);
      assert.equal(await held.stop(), 0);
      // Somebody comes while nobody is there.
      const lonely = fetch(`${server.url}/health/live`);
      await (await held.start()).ready;
      assert.equal((await lonely).status, 200);
    }
    over = true;
    await Promise.all(clients);
    assert.deepEqual(wrong, []);
    assert.ok(late <= 16, `${late} requests met a connection that was being closed`);
    for (const id of sent) assert.equal((await waitForJob(server, id)).status, 'completed');
    assert.equal(await held.stop(), 0);
    held.close();
    t.diagnostic(`5 restarts, ${answered} requests, ${sent.size} jobs, 0 refused, ${late} asked again`);
  });

  test('the door of Home Assistant is one of them', async () => {
    const own = openFolder();
    const held = await hold(own, ['wyoming', 'http']);
    await (await held.start()).ready;
    assert.match(held.log(), new RegExp(`Wyoming door is open on port ${held.ports[0]}`));
    assert.match(held.log(), new RegExp(`Listening on http://127.0.0.1:${held.ports[1]}`));
    assert.equal((await fetch(`http://127.0.0.1:${held.ports[1]}/health/live`)).status, 200);
    assert.equal(await held.stop(), 0);
    held.close();
  });

  test('systemd\'s own holder starts it when the first client comes', { skip: hasTool('systemd-socket-activate') ? false : 'systemd-socket-activate is not installed' }, async () => {
    const own = openFolder();
    const port = await freePort();
    const child = spawn('systemd-socket-activate', ['-l', `127.0.0.1:${port}`, '--fdname=http', '-E', `WHISPER_MODEL_DIR=${models}`, '-E', 'DEFAULT_WHISPER_MODEL=tiny', '-E', 'PORT=1', binary, 'serve'],
      { cwd: own, stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH, HOME: own, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '' } });
    process.on('exit', () => child.kill('SIGKILL'));
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
    await until(() => log, (text) => text.includes('Listening on'));
    assert.equal((await fetch(`http://127.0.0.1:${port}/health/live`)).status, 200);
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });

  test('what is no listening socket of TCP is refused in one sentence', async () => {
    const own = openFolder();
    const run = spawnSync('bash', ['-c', 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" serve 3</dev/null', binary], {
      cwd: own, encoding: 'utf8', env: { PATH: process.env.PATH, HOME: own, WHISPER_MODEL_DIR: installed.models, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '' },
    });
    assert.equal(run.status, 1);
    assert.match(run.stderr, /ListenStream= in its \.socket unit\n$/);
  });
});

test('what docs/operations.md says about running as a service works', { skip: noSystemd || (hasModel('tiny') ? false : 'ggml-tiny.bin is not there') }, async () => {
  const own = tempFolder();
  const server = await start(own);
  await until(() => getJson(server, '/health/ready'), ({ status }) => status === 200);
  // systemd is not the first process here: what it is told must name units that there are.
  const tools = path.join(own, 'bin');
  fs.mkdirSync(tools);
  for (const name of ['systemctl', 'sysctl', 'ufw']) fs.writeFileSync(path.join(tools, name), `#!/bin/sh\necho "${name} $*" >>"${own}/told"\n`, { mode: 0o755 });
  const mayMakeNetworks = isRoot && spawnSync('unshare', ['--net', 'true']).status === 0 && !spawnSync('nft', ['--version']).error;
  if (!mayMakeNetworks) fs.writeFileSync(path.join(tools, 'nft'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
  for (const folder of ['units', 'sysctl.d']) fs.mkdirSync(path.join(own, folder));
  let said = '';
  for (const block of blocks('Run as a service').filter(({ language }) => language === 'sh')) {
    said += runBlock(block, {
      cwd: own,
      env: { PATH: `${tools}:/usr/sbin:/sbin:${process.env.PATH}`, HOST: '127.0.0.1', PORT: String(server.port) },
      command: mayMakeNetworks && /\bnft\b/.test(block.text) ? ['unshare', '--net', 'bash', '-euo', 'pipefail'] : undefined,
      replace: [['/usr/share/whisper-transcriber/deploy', path.join(root, 'deploy')], ['/etc/systemd/system/', `${own}/units/`],
        ['/etc/nftables.conf', `${own}/nftables.conf`], ['/etc/sysctl.d/', `${own}/sysctl.d/`]],
    });
  }
  assert.match(said, /^OK: http:\/\/127\.0\.0\.1:\d+ is ready$/m);
  assert.match(said, /exposure level for whisper-transcriber\.service: 1\.4/);
  assert.deepEqual(fs.readdirSync(path.join(own, 'units')).sort(), units.sort());
  const told = fs.readFileSync(path.join(own, 'told'), 'utf8');
  for (const [unit] of told.matchAll(/whisper-transcriber[\w-]*\.(service|socket|timer)/g)) assert.ok(units.includes(unit), unit);
  assert.match(told, /ufw limit from 192\.0\.2\.0\/24 to any port 22/);
  assert.match(told, /sysctl --system/);
  await server.stop();
});
