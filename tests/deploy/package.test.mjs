/*
 * The package, the whole way: installed, a first transcript, upgraded while it serves, what is
 * ambiguous refused (each system has its own HTTP library), a copy and its return, removed,
 * purged; by the commands of docs/operations.md. For CI on a layer over this machine's own
 * system, with a package of what is built already. With
 * WT_PACKAGE_SYSTEMS="debian:12 debian:13 ubuntu:22.04 ubuntu:24.04" (or some of them) in a
 * fresh root of each, with packages that script/package has made. WT_PACKAGE names a package
 * that is to be taken instead of making one for this system.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { blocks, root, runBlock, runSection } from '../lib/document.mjs';
import '../lib/end.mjs';
import { ambiguousHeads, assertRefused, goodHead, say } from '../lib/framing.mjs';
import { rootArchive, startMachine, whyNoMachine } from '../lib/machine.mjs';

const name = 'whisper-transcriber';
const conf = `/etc/${name}/${name}.conf`;
const state = `/var/lib/${name}`;
const models = path.resolve(process.env.WT_TEST_MODELS ?? path.join(root, 'models'));
const systems = (process.env.WT_PACKAGE_SYSTEMS ?? '').split(/[ ,]+/).filter(Boolean);
const skip = whyNoMachine() ?? (!fs.existsSync(path.join(models, 'ggml-tiny.bin')) && 'no model tiny for the tests');
const options = { skip, timeout: 900_000 };

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

// The models as a web server of somebody's own gives them, in a process of its own: the
// commands of a document are waited for.
async function startMirror(t) {
  const port = await freePort();
  const child = spawn('python3', ['-m', 'http.server', '--bind', '127.0.0.1', '--directory', models, String(port)],
    { stdio: 'ignore' });
  t.after(() => child.kill());
  return `http://127.0.0.1:${port}`;
}

function makePackage(args) {
  const r = spawnSync('script/package', args, { cwd: root, encoding: 'utf8' });
  assert.equal(r.status, 0, `script/package ${args.join(' ')}:\n${r.stdout}\n${r.stderr}`);
  return path.join(root, /^(\S+\.deb) {2}/m.exec(r.stdout)[1]);
}

// The package of a system: what script/package made of it, or makes of it now.
function packageOf(system) {
  const folder = path.join(root, 'build-packages', system.replace(':', '-'));
  const made = fs.existsSync(folder) && fs.readdirSync(folder).find((f) => f.startsWith(`${name}_`));
  return made ? path.join(folder, made) : makePackage(['--system', system]);
}

// The next version of a package, in which the settings' file has changed as well.
function nextVersion(t, file) {
  const folder = fs.mkdtempSync('/tmp/package-');
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const run = (...words) => assert.equal(spawnSync(words[0], words.slice(1), { stdio: 'inherit' }).status, 0, `${words}`);
  run('dpkg-deb', '-R', file, `${folder}/tree`);
  const control = `${folder}/tree/DEBIAN/control`;
  fs.writeFileSync(control, fs.readFileSync(control, 'utf8').replace(/^Version: (.*)$/m, 'Version: 99-$1'));
  fs.appendFileSync(`${folder}/tree${conf}`, '# of the next version\n');
  const next = `${folder}/${name}_99_next.deb`;
  run('dpkg-deb', '--root-owner-group', '-Zgzip', '-b', `${folder}/tree`, next);
  return next;
}

async function way(t, file, archive) {
  const machine = await startMachine(t, archive);
  const port = await freePort();
  const mirror = await startMirror(t);
  const url = `http://127.0.0.1:${port}`;
  const document = {
    command: machine.words(['bash', '--norc', '-euo', 'pipefail'], { WHISPER_MODEL_URL: mirror }),
    replace: [['127.0.0.1:8000', `127.0.0.1:${port}`], ['pull small', 'pull tiny']],
    timeout: 600_000,
  };
  const ask = async (where, init) => {
    const response = await fetch(url + where, init);
    assert.ok(response.ok, `${where}: ${response.status}`);
    return response.json();
  };
  const upload = () => {
    const form = new FormData();
    form.append('file', new Blob([fs.readFileSync(path.join(root, 'tests/engine/golden/clean.wav'))]), 'recording.wav');
    return ask('/transcribe', { method: 'POST', body: form });
  };
  const done = async (id) => {
    for (;;) {
      const job = await ask(`/jobs/${id}`);
      if (job.status === 'completed') return job;
      assert.ok(['pending', 'processing'].includes(job.status), JSON.stringify(job));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  machine.run('mkdir -p /usr/local/bin');
  machine.write('/usr/local/bin/systemctl', fs.readFileSync(path.join(root, 'tests/deploy/systemctl')), { mode: 0o755 });
  fs.copyFileSync(file, machine.at(`/root/${name}_1.deb`));
  fs.copyFileSync(path.join(root, 'tests/engine/golden/clean.wav'), machine.at('/root/recording.wav'));

  const install = blocks('Install').filter((block) => block.language === 'sh');
  const [get, model, transcript, remove, purge, forget] = install;
  assert.equal(install.length, 6, 'this test knows six blocks of commands');
  const took = {};
  let kept; // the job that the copy holds
  const step = async (what, does) => {
    const begun = performance.now();
    let fault;
    await t.test(what, async () => { try { await does(); } catch (e) { fault = e; throw e; } });
    if (fault) throw new Error(`"${what}" failed, and what follows builds on it`);
    took[what] = ((performance.now() - begun) / 1000).toFixed(1);
  };

  await step('install', () => {
    runBlock(get, document);
    machine.run(`rm ${`/root/${name}_1.deb`}; ${name} --version`);
    const modes = machine.run(`stat -c '%a %U %G %n' ${state} ${state}/data ${state}/storage ${state}/models /var/backups/${name} /var/log/${name} ${conf}`);
    assert.deepEqual(modes.trim().split('\n').map((line) => line.split(' ').slice(0, 3).join(' ')),
      [...Array(6).fill(`750 ${name} ${name}`), `640 root ${name}`]);
    assert.equal(machine.run(`dpkg-query -W -f '\${Conffiles}' ${name} | grep -c '${conf} '`).trim(), '1');
    const files = machine.run(`dpkg -L ${name}`);
    for (const one of [`/usr/bin/${name}`, `man1/${name}.1.gz`, `man5/${name}.conf.5.gz`, `completions/${name}`,
      `site-functions/_${name}`, `vendor_completions.d/${name}.fish`, `system/${name}.service`, `system/${name}-worker@.service`,
      `deploy/${name}.conf`, `doc/${name}/operations.md`]) assert.ok(files.includes(one), `${one} is missing in\n${files}`);
  });

  await step('first start', () => {
    // A setting of the user's own; it must survive what follows.
    machine.run(`printf 'PORT=${port}\\nDEFAULT_WHISPER_MODEL=tiny\\n' >>${conf}`);
    // Without a model it says what to type.
    assert.match(machine.run(`systemctl start ${name} >/dev/null 2>&1 || true; systemctl stop ${name}; cat /var/log/${name}.service.log`),
      /models pull/);
    runBlock(model, document);
    assert.match(machine.run(`ps -o user:30= -p "$(cat /run/units/${name}.service)" || stat -c %U /proc/"$(cat /run/units/${name}.service)"`),
      new RegExp(`^${name}`));
    assert.equal(machine.run(`find ${state} ! -user ${name}`), '', 'all that is there is the service\'s');
  });

  await step('first transcript', () => {
    assert.match(runBlock(transcript, document), /stew for dinner/);
  });

  await step('size and tune', async () => {
    assert.match(runSection('Size', document).join(''), /WORKER_CONCURRENCY/);
    const [tuned] = runSection('Tune', document);
    assert.match(tuned, /^MODEL_IDLE_SECONDS = 0$/m);
    await ask('/health/live');
  });

  await step('upgrade while it serves', async () => {
    fs.copyFileSync(nextVersion(t, file), machine.at('/root/next.deb'));
    const { job_id: id } = await upload();
    let over = false;
    const upgrade = machine.start('apt-get -o Dpkg::Options::=--force-confold install -y ./next.deb').finally(() => { over = true; });
    let answers = 0;
    while (!over) { await ask('/health/live'); answers++; await new Promise((resolve) => setTimeout(resolve, 20)); }
    await upgrade;
    assert.ok(answers > 0);
    // Waited for in the background, so that this process hears of connections that end.
    await machine.start(`systemctl restart ${name}`);
    assert.match(machine.run(`dpkg-query -W -f '\${Version}' ${name}`), /^99-/);
    assert.match(machine.read(conf), new RegExp(`^PORT=${port}$`, 'm'));
    assert.doesNotMatch(machine.read(conf), /of the next version/);
    assert.match(machine.read(`${conf}.dpkg-dist`), /of the next version/);
    assert.equal(machine.run(`stat -c '%a %G' ${conf}`).trim(), `640 ${name}`);
    assert.match(JSON.stringify(await done(id)), /stew for dinner/);
  });

  await step('refuse what can be read in two ways', async () => {
    for (const [what, request] of Object.entries(ambiguousHeads)) assertRefused(what, await say({ port }, request));
    assert.match(await say({ port }, goodHead), /^HTTP\/1\.1 200 /);
  });

  await step('back up', async () => {
    kept = (await upload()).job_id;
    await done(kept);
    const [, made, read] = runSection('Back up', document);
    assert.match(made, /^\d{8}T\d{6}Z-[0-9a-f]{8}: \d+ jobs, \d+ recordings/m);
    assert.match(read, /files are as they were[^]*can be restored: \d+ jobs/);
    assert.equal(machine.run(`find /var/backups/${name} ! -user ${name}`), '', 'all copies are the service\'s');
  });

  await step('restore', async () => {
    const after = (await upload()).job_id;
    await done(after);
    await machine.start(`systemctl stop ${name}`);
    const [could, did] = runSection('Restore', document);
    assert.match(could, /^could restore/);
    assert.match(did, /^restored [^]*what was there is now/);
    assert.equal(machine.run(`find ${state} ! -user ${name}`), '', 'all that is there is the service\'s');
    await machine.start(`systemctl start ${name}`);
    assert.match(JSON.stringify(await done(kept)), /stew for dinner/);
    assert.ok((await fetch(`${url}/jobs/${kept}/audio`)).ok, 'the recording is back');
    assert.equal((await fetch(`${url}/jobs/${after}`)).status, 404, 'what came after the copy is not in it');
  });

  await step('remove and purge', () => {
    runBlock(remove, document);
    assert.ok(!machine.has(`/usr/bin/${name}`) && machine.has(conf) && machine.has(`${state}/data/app.db`));
    assert.ok(fs.readdirSync(machine.at(`${state}/models`)).length > 0);
    assert.match(runBlock(purge, document), /are left/);
    assert.ok(machine.has(`/etc/${name}/backup.key`), 'the copies cannot be read without the key');
    assert.ok(!machine.has(conf) && !machine.has(`/var/log/${name}`) && !machine.has(`${state}/models`));
    assert.ok(machine.has(`${state}/data/app.db`), 'the database is nobody\'s to delete');
    assert.match(machine.run(`getent passwd ${name}`), new RegExp(name));
    runBlock(forget, document);
    assert.ok(!machine.has(`/etc/${name}`), 'nor is the key left');
    assert.equal(machine.run(`find /etc /lib/systemd /usr/bin /usr/lib/systemd /usr/share/man /var/lib /var/backups -name '${name}*'`), '');
    assert.equal(machine.run(`getent passwd ${name} || true`), '');
  });
  t.diagnostic(`${archive ? 'fresh root' : 'layer over this system'}: ${Object.entries(took).map(([k, v]) => `${k} ${v} s`).join(', ')}`);
}

if (systems.length === 0) {
  test('a package for this system, the whole way', options, async (t) => {
    await way(t, process.env.WT_PACKAGE ?? makePackage(['--here', '--build', path.dirname(path.dirname(fs.realpathSync(process.env.WT_BINARY)))]));
  });
}
for (const system of systems) {
  test(`${system}, in a fresh root, the whole way`, options, async (t) => {
    await way(t, packageOf(system), rootArchive(system));
  });
}
