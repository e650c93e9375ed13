// The image and what runs beside it. There is no container engine: what can be read is
// checked, and with WT_LONG=1 (as root) every step of the Dockerfile is carried out in a root
// of its own, and the service runs from it as a user without rights on files it cannot write.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { root } from '../lib/document.mjs';
import { buildImage, sizeOfImage, stagesOf, startImage } from '../lib/image.mjs';
import { form, freePort, hasEnded, hasModel, models, tempFolder, until, wav } from '../lib/server.mjs';

const { validate } = createRequire(import.meta.url)('dockerfile-utils');
const folder = path.join(root, 'deploy/container');
const text = fs.readFileSync(path.join(folder, 'Dockerfile'), 'utf8');
const stages = stagesOf(text);
const steps = (keyword, stage) => stage.steps.filter((step) => step.keyword === keyword);
const installed = (name) => spawnSync('which', [name]).status === 0;

describe('the Dockerfile', () => {
  test('a linter finds nothing', () => assert.deepEqual(validate(text), []));

  test('what runs has no compiler, no root and no shell around it', () => {
    const last = stages.at(-1);
    assert.deepEqual([last.name, last.from], ['', 'base']);
    const [build, base] = stages;
    assert.deepEqual([build.name, base.name], ['build', 'base']);
    assert.equal(build.from, base.from, 'what it links must be what is there');
    assert.doesNotMatch(steps('RUN', base)[0].text, /-dev\b|gcc|meson/);
    assert.match(steps('USER', base).at(-1).text, /^[1-9][0-9]*:[1-9][0-9]*$/);
    assert.equal(steps('USER', last).length, 0);
    for (const stage of stages) {
      if (steps('USER', stage).length) assert.match(steps('USER', stage).at(-1).text, /^[1-9]/);
      for (const step of steps('RUN', stage)) assert.doesNotMatch(step.text, /apt-get install(?! --yes --no-install-recommends)|\b(curl|wget|sudo) /);
    }
    for (const keyword of ['CMD', 'ENTRYPOINT']) {
      for (const step of stages.flatMap((stage) => steps(keyword, stage))) assert.ok(Array.isArray(JSON.parse(step.text)));
    }
    assert.equal(steps('HEALTHCHECK', last).length, 1);
    assert.equal(steps('STOPSIGNAL', base)[0].text, 'SIGTERM');
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

const long = process.env.WT_LONG === '1';
const cannot = (!long && 'takes minutes: WT_LONG=1') || (process.getuid() !== 0 && 'needs root') || (!installed('mmdebstrap') && 'mmdebstrap is not installed')
  || (!hasModel('tiny') && 'needs the model tiny');

test('every step of the Dockerfile, and a transcript by the image', { skip: cannot, timeout: 3600000 }, async (t) => {
  const at = process.env.WT_IMAGE_FOLDER ?? tempFolder();
  const base = path.join(at, 'base.tar');
  if (!fs.existsSync(base)) {
    const made = spawnSync('mmdebstrap', ['--variant=minbase', '--dpkgopt=path-exclude=/usr/share/man/*', '--dpkgopt=path-exclude=/usr/share/doc/*',
      '--dpkgopt=path-exclude=/usr/share/locale/*', 'bookworm', base], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
  }
  const built = fs.mkdtempSync(path.join(at, 'build-'));
  t.after(() => spawnSync('rm', ['-rf', '--one-file-system', built]));
  const images = buildImage(text, built, { 'debian:bookworm-slim': base }, (what) => t.diagnostic(what));
  const image = images[''];
  const size = (name) => `${(sizeOfImage(images[name]) / 1e6).toFixed(0)} MB`;
  t.diagnostic(`image ${size('')}, tools ${size('tools')}, build ${size('build')}; base ${(fs.statSync(base).size / 1e6).toFixed(0)} MB as an archive`);

  // A volume begins as the folder of the image is.
  const state = path.join(built, 'state');
  spawnSync('cp', ['-a', path.join(image.folder, 'var/lib/whisper-transcriber'), state]);
  for (const name of ['ggml-tiny.bin']) fs.copyFileSync(path.join(models, name), path.join(state, 'models', name));
  const port = await freePort();
  const service = startImage(image, { environment: { PORT: String(port), RATE_LIMIT: 'off' }, volumes: [[state, '/var/lib/whisper-transcriber']] });
  const url = `http://127.0.0.1:${port}`;
  await Promise.race([
    until(service.log, (log) => log.includes('Listening on')),
    once(service.child, 'exit').then(([code]) => { throw new Error(`ended with ${code}: ${service.log()}`); }),
  ]);
  const [, key] = /^ +(wt_\S+)$/m.exec(service.log());
  const healthy = service.exec(image.healthcheck);
  assert.equal(healthy.status, 0, healthy.stderr);
  // MP3 needs FFmpeg, which only the decoder loads.
  const sound = path.join(built, 'a.mp3');
  fs.writeFileSync(path.join(built, 'a.wav'), wav({ seconds: 3 }));
  spawnSync('ffmpeg', ['-y', '-i', path.join(built, 'a.wav'), sound]);
  const made = await fetch(`${url}/transcribe`, { method: 'POST', body: form(fs.readFileSync(sound), 'a.mp3'), headers: { 'X-API-Key': key } });
  assert.equal(made.status, 202, await made.clone().text());
  const { job_id: id } = await made.json();
  const job = await until(async () => (await fetch(`${url}/jobs/${id}`, { headers: { 'X-API-Key': key } })).json(), hasEnded);
  assert.equal(job.status, 'completed', job.error_message);
  const status = fs.readFileSync(`/proc/${service.child.pid}/task/${service.child.pid}/children`, 'utf8').trim();
  const inside = fs.readFileSync(`/proc/${status.split(' ')[0]}/status`, 'utf8');
  assert.match(inside, /^Uid:\t10001\t10001\t10001\t10001$/m);
  assert.match(inside, /^CapEff:\t0+$/m);
  assert.match(inside, /^NoNewPrivs:\t1$/m);
  assert.notEqual(service.exec(['/bin/sh', '-c', 'echo x >/usr/bin/x']).status, 0);
  process.kill(Number(status.split(' ')[0]), 'SIGTERM');
  const [code] = await once(service.child, 'exit');
  assert.equal(code, 0, service.log().slice(-2000));
  const ill = service.exec(image.healthcheck);
  assert.equal(ill.status, 1);
  assert.match(spawnSync('chroot', [images.tools.folder, 'pg_dump', '--version'], { encoding: 'utf8' }).stdout, /pg_dump .* 15/);
});
