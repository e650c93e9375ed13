// The image and what runs beside it. There is no container engine: what can be read is
// checked, and as root on Debian its last stage is made of this machine's libraries and the
// service runs from it, as a user without rights on files that it cannot write. With WT_LONG=1
// every step of the Dockerfile is carried out before, in roots of their own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { root } from '../lib/document.mjs';
import { buildImage, sizeOfImage, stagesOf, startImage } from '../lib/image.mjs';
import {
  binary, form, freePort, hasEnded, hasModel, models, tempFolder, until, wav,
} from '../lib/server.mjs';

const { validate } = createRequire(import.meta.url)('dockerfile-utils');
const folder = path.join(root, 'deploy/container');
const text = fs.readFileSync(path.join(folder, 'Dockerfile'), 'utf8');
const stages = stagesOf(text);
const steps = (keyword, stage) => stage.steps.filter((step) => step.keyword === keyword);
const installed = (name) => spawnSync('which', [name]).status === 0;

describe('the Dockerfile', () => {
  test('a linter finds nothing', () => assert.deepEqual(validate(text), []));

  test('what runs is a root of its own, and nobody in it is root', () => {
    const last = stages.at(-1);
    assert.deepEqual([last.name, last.from], ['', 'scratch']);
    assert.deepEqual(stages.slice(0, -1).map(({ name }) => name), ['build', 'collect']);
    const [build, collect] = stages;
    assert.equal(build.from, collect.from, 'what it links must be what is there');
    assert.doesNotMatch(steps('RUN', collect)[0].text, /-dev\b|gcc|meson/);
    assert.match(steps('USER', last).at(-1).text, /^[1-9][0-9]*:[1-9][0-9]*$/);
    assert.equal(steps('RUN', last).length, 0, 'there is no shell');
    for (const step of stages.flatMap((stage) => steps('RUN', stage))) {
      assert.doesNotMatch(step.text, /apt-get install(?! --yes --no-install-recommends)|\b(curl|wget|sudo) /);
    }
    for (const keyword of ['CMD', 'ENTRYPOINT']) assert.ok(Array.isArray(JSON.parse(steps(keyword, last)[0].text)));
    assert.equal(steps('HEALTHCHECK', last).length, 1);
    assert.equal(steps('STOPSIGNAL', last)[0].text, 'SIGTERM');
  });

  test('the libraries are those that the build has, by their packages', () => {
    const listed = (stage) => steps('RUN', stage)[0].text.match(/[a-z0-9.+-]+/g);
    const lib = fs.readFileSync(path.join(root, 'script/lib.sh'), 'utf8');
    const [, wanted] = /build_packages=\(([^)]*)\)/.exec(lib);
    const missing = wanted.split(/\s+/).filter((name) => name && name !== 'ca-certificates' && !listed(stages[0]).includes(name));
    assert.deepEqual(missing, []);
  });
});

describe('docker-compose.prod.yml', { skip: !installed('docker-compose') && 'docker-compose is not installed' }, () => {
  // As a user does it: a copy, its .env, ./prepare.
  const copy = tempFolder();
  fs.cpSync(path.join(root, 'deploy'), path.join(copy, 'deploy'), { recursive: true });
  const at = path.join(copy, 'deploy/container');
  for (const name of ['.env', 'secrets', 'nginx']) fs.rmSync(path.join(at, name), { recursive: true, force: true });
  const here = (program, ...args) => spawnSync(program, args, { cwd: at, encoding: 'utf8' });
  const python = 'import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))';
  let config;

  test('./prepare makes what is missing, once', () => {
    assert.equal(here('./prepare').status, 1);
    fs.writeFileSync(path.join(at, '.env'), fs.readFileSync(path.join(at, 'env.example'), 'utf8').replace('whisper.example', 'speech.test'));
    assert.equal(here('./prepare').status, 0);
    const names = ['database_url', 'redis_url', 'postgres_password', 'redis.conf'];
    const secrets = () => names.map((name) => fs.readFileSync(path.join(at, 'secrets', name), 'utf8'));
    const first = secrets();
    assert.equal(fs.statSync(path.join(at, 'secrets')).mode & 0o777, 0o700);
    assert.ok(first[0].includes(first[2]) && first[3].includes(/:([0-9a-f]{64})@/.exec(first[1])[1]));
    assert.equal(here('./prepare').status, 0);
    assert.deepEqual(secrets(), first);
    const site = fs.readFileSync(path.join(at, 'nginx/whisper-transcriber.conf'), 'utf8');
    assert.ok(site.includes('server_name speech.test;') && !site.includes('whisper.example'));
    assert.match(fs.readFileSync(path.join(at, 'nginx/whisper-transcriber-upstream.conf'), 'utf8'), /server app1:8000[^]*server app2:8000/);
  });

  test('it is understood, and each service has its walls', () => {
    const { status, stdout, stderr } = here('docker-compose', '-f', 'docker-compose.prod.yml', '--profile', 'models', 'config');
    assert.equal(status, 0, stderr);
    config = JSON.parse(spawnSync('python3', ['-c', python], { input: stdout, encoding: 'utf8' }).stdout);
    assert.deepEqual(Object.keys(config.services).sort(), ['app1', 'app2', 'backup', 'models', 'nginx', 'postgres', 'redis', 'worker1', 'worker2']);
    for (const service of Object.values(config.services).filter(({ image }) => /^whisper-transcriber/.test(image))) {
      // There is nothing else in the image that could be started.
      assert.ok(!service.entrypoint || service.entrypoint[0] === '/usr/bin/whisper-transcriber');
    }
    for (const [name, service] of Object.entries(config.services)) {
      assert.equal(service.read_only, true, name);
      assert.deepEqual(service.cap_drop, ['ALL'], name);
      assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name);
      assert.ok(service.pids_limit && service.logging.options['max-size'] && service.restart, name);
      assert.equal(service.privileged, undefined, name);
      if (name !== 'nginx') assert.deepEqual([service.ports, service.cap_add], [undefined, undefined], name);
    }
    // Nothing that is secret stands in an environment.
    assert.doesNotMatch(JSON.stringify(Object.values(config.services).map(({ environment }) => environment)), /[0-9a-f]{32}/);
    assert.equal(config.networks.back.internal, true);
    for (const name of ['postgres', 'redis', 'worker1', 'worker2']) assert.deepEqual(Object.keys(config.services[name].networks), ['back'], name);
    assert.ok(!Object.keys(config.services.nginx.networks).includes('back'));
    // What ends a service waits longer than the service itself does.
    const [, minutes = 0, seconds = 0] = /^(?:(\d+)m)?(?:(\d+)s)?$/.exec(config.services.app1.stop_grace_period);
    assert.ok(60 * minutes + Number(seconds) > Number(config.services.app1.environment.SHUTDOWN_TIMEOUT));
    assert.match(config.services.redis.command.join(' '), /--appendonly yes --maxmemory-policy noeviction/);
  });

  test('every setting in it is one of the program', () => {
    const known = fs.readFileSync(path.join(root, 'docs/settings.md'), 'utf8');
    for (const [name, service] of Object.entries(config.services)) {
      if (!/^whisper-transcriber/.test(service.image)) continue;
      for (const setting of Object.keys(service.environment ?? {})) {
        assert.ok(known.includes(`\`${setting.replace(/_FILE$/, '')}\``), `${name}: ${setting}`);
      }
    }
  });
});

/** Files below a folder that somebody could start, libraries apart. */
function programs(folder, at = '/') {
  return fs.readdirSync(path.join(folder, at), { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(at, entry.name);
    if (entry.isDirectory()) return programs(folder, name);
    return entry.isFile() && fs.statSync(path.join(folder, name)).mode & 0o111 && !/\.so(\.|$)/.test(name) ? [name] : [];
  });
}

/** What is in the image, and what is said of it. */
function checkRoot({ folder }, t) {
  const bytes = sizeOfImage({ folder }) - fs.statSync(path.join(folder, 'usr/bin/whisper-transcriber')).size;
  t.diagnostic(`image: ${(bytes / 1e6).toFixed(0)} MB beside the program`);
  assert.ok(bytes < 220e6, `${bytes} bytes: more than the libraries is in it`);
  assert.deepEqual(programs(folder), ['/usr/bin/whisper-transcriber']);
  const records = fs.readdirSync(path.join(folder, 'var/lib/dpkg/status.d')).filter((name) => !name.endsWith('.md5sums'));
  for (const name of ['libc6', 'libavcodec59', 'libcurl4', 'libpq5', 'ca-certificates']) assert.ok(records.includes(name), name);
  for (const name of records) {
    const about = fs.readFileSync(path.join(folder, 'var/lib/dpkg/status.d', name), 'utf8');
    assert.match(about, new RegExp(`^Package: ${RegExp.escape?.(name) ?? name.replaceAll('+', '\\+')}\n[^]*^Version: `, 'm'));
    assert.ok(fs.statSync(path.join(folder, 'usr/share/doc', name, 'copyright')).size > 0, name);
  }
  assert.match(fs.readFileSync(path.join(folder, 'etc/os-release'), 'utf8'), /^ID=debian$/m);
  const { uid, gid, mode } = fs.statSync(path.join(folder, 'var/lib/whisper-transcriber/data'));
  assert.deepEqual([uid, gid, mode & 0o777], [10001, 10001, 0o750]);
}

/** The service of an image: health in both states, and recordings that only FFmpeg reads. */
async function checkService(image, at, t) {
  // A volume begins as the folder of the image is.
  const state = path.join(at, 'state');
  spawnSync('cp', ['-a', path.join(image.folder, 'var/lib/whisper-transcriber'), state]);
  fs.copyFileSync(path.join(models, 'ggml-tiny.bin'), path.join(state, 'models/ggml-tiny.bin'));
  const port = await freePort();
  const service = startImage(image, { environment: { PORT: String(port), RATE_LIMIT: 'off' }, volumes: [[state, '/var/lib/whisper-transcriber']] });
  t.after(() => service.child.kill('SIGKILL'));
  const url = `http://127.0.0.1:${port}`;
  await Promise.race([
    until(service.log, (log) => log.includes('Listening on')),
    once(service.child, 'exit').then(([code]) => { throw new Error(`ended with ${code}: ${service.log()}`); }),
  ]);
  const [, key] = /^ +(wt_\S+)$/m.exec(service.log());
  const healthy = service.exec(image.healthcheck);
  assert.equal(healthy.status, 0, healthy.stderr);
  fs.writeFileSync(path.join(at, 'a.wav'), wav({ seconds: 3 }));
  for (const name of ['a.mp3', 'a.m4a', 'a.opus', 'a.webm', 'a.flac']) {
    const encoded = spawnSync('ffmpeg', ['-y', '-i', path.join(at, 'a.wav'), path.join(at, name)], { encoding: 'utf8' });
    assert.equal(encoded.status, 0, encoded.stderr);
    const made = await fetch(`${url}/transcribe`, { method: 'POST', body: form(fs.readFileSync(path.join(at, name)), name), headers: { 'X-API-Key': key } });
    assert.equal(made.status, 202, await made.clone().text());
    const { job_id: id } = await made.json();
    const job = await until(async () => (await fetch(`${url}/jobs/${id}`, { headers: { 'X-API-Key': key } })).json(), hasEnded);
    assert.equal(job.status, 'completed', `${name}: ${job.error_message}`);
  }
  const [pid] = fs.readFileSync(`/proc/${service.child.pid}/task/${service.child.pid}/children`, 'utf8').trim().split(' ').map(Number);
  const inside = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  assert.match(inside, /^Uid:\t10001\t10001\t10001\t10001$/m);
  assert.match(inside, /^CapEff:\t0+$/m);
  assert.match(inside, /^NoNewPrivs:\t1$/m);
  assert.match(fs.readFileSync(`/proc/${pid}/mountinfo`, 'utf8'), /^\d+ \d+ \S+ \S+ \/ ro,/m);
  const copied = service.exec([...image.entrypoint, 'backup', '--no-settings', '--backup-dir', '/var/lib/whisper-transcriber/copies']);
  assert.equal(copied.status, 0, copied.stderr);
  const refused = service.exec([...image.entrypoint, 'backup', '--no-settings', '--backup-dir', '/usr/copies']);
  assert.equal(refused.status, 1, refused.stderr);
  process.kill(pid, 'SIGTERM');
  const [code] = await once(service.child, 'exit');
  assert.equal(code, 0, service.log().slice(-2000));
  assert.equal(service.exec(image.healthcheck).status, 1);
}

const long = process.env.WT_LONG === '1';
const needs = (process.getuid() !== 0 && 'needs root') || (!hasModel('tiny') && 'needs the model tiny') || (!installed('ffmpeg') && 'ffmpeg is not installed');
const removed = (t, folder) => t.after(() => spawnSync('rm', ['-rf', '--one-file-system', folder]));

test('the last stage, of the libraries of this machine, and transcripts by it', {
  skip: needs || (!/^VERSION_ID="12"$/m.test(fs.readFileSync('/etc/os-release', 'utf8')) && 'is for Debian 12'), timeout: 300000,
}, async (t) => {
  const at = fs.mkdtempSync('/tmp/wt-image-');
  removed(t, at);
  const collected = spawnSync(path.join(folder, 'collect'), [fs.realpathSync(binary), path.join(at, 'collect/image')], { encoding: 'utf8' });
  assert.equal(collected.status, 0, collected.stderr);
  const { '': image } = buildImage(text, at, {}, { made: { collect: { folder: path.join(at, 'collect') } } });
  checkRoot(image, t);
  await checkService(image, at, t);
});

test('every step of the Dockerfile, and transcripts by the image', {
  skip: (!long && 'takes minutes: WT_LONG=1') || needs || (!installed('mmdebstrap') && 'mmdebstrap is not installed'), timeout: 3600000,
}, async (t) => {
  const at = process.env.WT_IMAGE_FOLDER ?? tempFolder();
  const base = path.join(at, 'base.tar');
  if (!fs.existsSync(base)) {
    const made = spawnSync('mmdebstrap', ['--variant=minbase', '--dpkgopt=path-exclude=/usr/share/man/*', '--dpkgopt=path-exclude=/usr/share/doc/*',
      '--dpkgopt=path-include=/usr/share/doc/*/copyright', '--dpkgopt=path-exclude=/usr/share/locale/*', 'bookworm', base], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
  }
  const built = fs.mkdtempSync(path.join(at, 'build-'));
  removed(t, built);
  const images = buildImage(text, built, { 'debian:bookworm-slim': base }, { say: (what) => t.diagnostic(what) });
  for (const [name, image] of Object.entries(images)) t.diagnostic(`${name || 'image'}: ${(sizeOfImage(image) / 1e6).toFixed(0)} MB`);
  checkRoot(images[''], t);
  await checkService(images[''], built, t);
});
