// deploy/script/upgrade under load: a new version takes the place of the old one, and one that
// does not work is taken back, and nobody notices either. With WT_FORMER, another binary, from
// the real former version.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { command, kinds, place } from '../lib/faults.mjs';
import { blocks, root, runBlock } from '../lib/document.mjs';
import { Load } from '../lib/load.mjs';
import { proxies, startProxy } from '../lib/proxy.mjs';
import {
  binary, form, freePort, getJson, models, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const upgrade = path.join(root, 'deploy/script/upgrade');
const former = process.env.WT_FORMER ?? binary;
const postgresql = kinds.find(({ name }) => name === 'postgresql');
const nginx = proxies.find(({ name }) => name === 'nginx');

/**
 * What systemd does elsewhere: COMMAND start|stop NAME, with the environment and the port of
 * each service in a file of its name. Ends the processes that are left with the test.
 */
function units(folder, installed, environments) {
  const control = path.join(folder, 'control');
  for (const [name, env] of Object.entries(environments)) {
    fs.writeFileSync(path.join(folder, `${name}.env`), Object.entries(env).map(([k, v]) => `export ${k}='${v}'\n`).join(''));
  }
  fs.writeFileSync(control, `#!/bin/bash
set -eu
cd '${folder}'
case $1 in
start)
    . "./$2.env"
    setsid '${installed}' $ROLE >>"$2.log" 2>&1 </dev/null &
    echo $! >"$2.pid" ;;
stop)
    pid=$(cat "$2.pid")
    kill -TERM "$pid" 2>/dev/null || exit 0
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done ;;
esac
`, { mode: 0o755 });
  const pid = (name) => Number(fs.readFileSync(path.join(folder, `${name}.pid`), 'utf8'));
  process.on('exit', () => {
    for (const name of Object.keys(environments)) {
      try { process.kill(pid(name), 'SIGKILL'); } catch { /* it has ended */ }
    }
  });
  return {
    control,
    pid,
    log: (name) => fs.readFileSync(path.join(folder, `${name}.log`), 'utf8'),
    program: (name) => fs.readFileSync(`/proc/${pid(name)}/exe`),
    run: async (...args) => {
      const child = spawn(control, args, { stdio: 'ignore', env: { PATH: process.env.PATH } });
      const [code] = await once(child, 'exit');
      assert.equal(code, 0, `${args.join(' ')}`);
    },
  };
}

async function run(args, env = {}) {
  const child = spawn('bash', [upgrade, ...args], { env: { PATH: process.env.PATH, HOME: '/', ...env } });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { out += text; });
  const [code] = await once(child, 'exit');
  return { code, out };
}

/** A version that is like this one but for `serve`, which does that instead. */
function broken(folder, name, what) {
  const file = path.join(folder, name);
  fs.writeFileSync(file, `#!/bin/bash\n[ "$1" != serve ] || { ${what}; }\nexec '${binary}' "$@"\n`, { mode: 0o755 });
  return file;
}

const ready = async (url) => { try { return (await fetch(`${url}/health/ready`)).ok; } catch { return false; } };

/** The same program with other bytes, so that it can be told which one runs. */
function another(folder) {
  const file = path.join(folder, 'new-version');
  fs.copyFileSync(binary, file);
  fs.appendFileSync(file, 'another');
  return file;
}

async function installation(at, names, { proxied = true } = {}) {
  const folder = tempFolder();
  const installed = path.join(folder, 'whisper-transcriber');
  fs.copyFileSync(former, installed);
  fs.chmodSync(installed, 0o755);
  const ports = [];
  const environments = {};
  const common = { ...at.env, WHISPER_MODEL_DIR: models, DEFAULT_WHISPER_MODEL: 'tiny', RATE_LIMIT: 'off', ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '' };
  for (const name of names) {
    ports.push(await freePort());
    environments[name] = { ...common, ROLE: 'serve', PORT: String(ports.at(-1)), EMBEDDED_WORKERS: proxied ? 'off' : 'on', SHUTDOWN_TIMEOUT: '600' };
  }
  if (proxied) environments.worker = { ...common, ROLE: 'worker' };
  const u = units(folder, installed, environments);
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  for (const name of Object.keys(environments)) await u.run('start', name);
  for (const url of urls) await until(() => ready(url), (up) => up);
  return {
    folder, installed, ports, urls, ...u,
    services: names.map((name, i) => `${name}=${urls[i]}`),
    upgrade: (file, ...more) => run(['--binary', file, '--installed', installed, '--control', u.control, '--watch', '1', ...more,
      ...names.map((name, i) => `${name}=${urls[i]}`)], { ...at.env, WT_NOTES: folder }),
    end: async () => { for (const name of Object.keys(environments)) await u.run('stop', name); },
  };
}

describe('upgrade behind nginx, under load', { skip: postgresql.skip || nginx.skip, timeout: 240_000 }, () => {
  test('one that does not work is taken back, one that does takes over, and nobody notices', async (t) => {
    const at = await place('postgresql');
    const two = await installation(at, ['one', 'two']);
    const front = await startProxy('nginx', two.ports);
    const load = new Load(front.url);
    await load.start();
    const made = async (more) => { const { uploads } = load.counts; await until(() => load.counts.uploads, (n) => n >= uploads + more); };
    const results = [];
    try {
      await made(3);
      const before = fs.readFileSync(two.installed);
      const notes = ['--backup', 'echo copy >>"$WT_NOTES/backups"'];
      // It ends at once; it lives and is never ready.
      for (const [what, does] of [['ends', 'exit 1'], ['hangs', 'sleep 60']]) {
        const bad = broken(two.folder, `version-that-${what}`, does);
        const began = performance.now();
        const { code, out } = await two.upgrade(bad, '--wait', '5', ...notes);
        assert.equal(code, 3, out);
        assert.match(out, /one does not get ready: going back[^]*one runs the former version again/);
        assert.ok(before.equals(fs.readFileSync(two.installed)));
        results.push(Math.round(performance.now() - began));
      }
      await made(3);
      const good = another(two.folder);
      const began = performance.now();
      const { code, out } = await two.upgrade(good, '--worker', 'worker', ...notes);
      assert.equal(code, 0, out);
      results.push(Math.round(performance.now() - began));
      // A worker is not waited for: between its start and its program there is a moment.
      for (const name of ['one', 'two', 'worker']) await until(() => two.program(name).equals(fs.readFileSync(good)), (runs) => runs);
      assert.ok(before.equals(fs.readFileSync(`${two.installed}.former`)));
      assert.equal(fs.readFileSync(path.join(two.folder, 'backups'), 'utf8'), 'copy\n'.repeat(3));
      await made(3);
    } finally {
      await load.end(at);
    }
    assert.deepEqual(load.wrong, [], `5xx and worse: ${front.log().slice(-3000)}`);
    assert.deepEqual(load.broken, [], front.log().slice(-3000));
    load.checkEvents(at);
    const checked = load.history.check(at);
    assert.equal(checked.unanswered, 0);
    t.diagnostic(`taken back in ${results[0]} and ${results[1]} ms, done in ${results[2]} ms; ${checked.jobs} jobs, 0 lost; ${JSON.stringify(load.figures()).replace(/"/g, '')}`);
    await front.stop();
    await two.end();
  });
});

test('the only service, with a file for a database', { timeout: 120_000 }, async () => {
  const at = await place('sqlite');
  const one = await installation(at, ['one'], { proxied: false });
  const server = { url: one.urls[0] };
  const submit = async () => {
    const { status, body } = await transcribe(server, form(wav()));
    assert.equal(status, 202, JSON.stringify(body));
    await waitForJob(server, body.job_id);
    return body.job_id;
  };
  const id = await submit();

  // Refused before anything is changed.
  const none = broken(one.folder, 'does-not-run', 'exit 1');
  fs.writeFileSync(none, '#!/bin/bash\nexit 126\n');
  for (const [file, more, why] of [[none, [], /does not run on this machine/], ['/nowhere', [], /no program/],
    [another(one.folder), ['--backup', 'exit 1'], /backup failed/]]) {
    const { code, out } = await one.upgrade(file, ...more);
    assert.equal(code, 1, out);
    assert.match(out, why);
    assert.match(out, /nothing was changed/);
  }
  assert.equal((await run([])).code, 2);
  assert.equal((await getJson(server, `/jobs/${id}`)).status, 200);

  // A version that moves the schema on, in a way that the former does not know, and then falls.
  const { known, schema } = JSON.parse(command(at, 'migrate', 'status', '--json').out);
  const file = path.join(at.folder, 'data/app.db');
  const sql = (text) => `python3 -c 'import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()' '${file}' "${text}"`;
  const moves = path.join(one.folder, 'version-that-moves');
  fs.writeFileSync(moves, `#!/bin/bash
case "$1 \${2:-}" in
"serve ") ${sql(`INSERT INTO schema_version (version, name, applied_ms, oldest) VALUES (${known + 1}, 'x', 1, ${known + 1})`)}; exit 1 ;;
"migrate down") ${sql(`DELETE FROM schema_version WHERE version > $4`)}; exit ;;
esac
exec '${binary}' "$@"
`, { mode: 0o755 });
  const back = await one.upgrade(moves, '--wait', '4', '--backup', '');
  assert.equal(back.code, 3, back.out);
  assert.equal(JSON.parse(command(at, 'migrate', 'status', '--json').out).schema, schema, 'as it was');
  assert.equal((await getJson(server, `/jobs/${id}`)).body.status, 'completed');

  const good = another(one.folder);
  const { code, out } = await one.upgrade(good, '--backup', '');
  assert.equal(code, 0, out);
  assert.ok(one.program('one').equals(fs.readFileSync(good)));
  assert.equal((await getJson(server, `/jobs/${id}`)).body.status, 'completed');
  await submit();

  // What docs/operations.md says to type.
  const bin = path.join(one.folder, 'bin');
  fs.mkdirSync(bin);
  fs.symlinkSync(one.installed, path.join(bin, 'whisper-transcriber'));
  const [up, down] = blocks('Upgrade').filter(({ language }) => language === 'sh');
  const here = {
    env: { ...at.env, PATH: `${bin}:${process.env.PATH}` },
    replace: [['/usr/share/whisper-transcriber', root], ['--binary ./whisper-transcriber whisper-transcriber=http://127.0.0.1:8000',
      `--binary ${good} --installed ${one.installed} --control ${one.control} --backup true one=${one.urls[0]}`]],
  };
  assert.match(runBlock(up, here), /up to date[^]*backing up[^]*done; .*former is the version before/);
  await one.end();
  runBlock(down, here);
  assert.equal(JSON.parse(command(at, 'migrate', 'status', '--json').out).schema, known - 1);
});
