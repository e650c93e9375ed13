/*
 * A Dockerfile carried out without a container engine: each stage is a folder, begun by
 * mmdebstrap or empty, RUN is a shell in that root, and what is run at the end sees a root that
 * cannot be written to, as a user without rights. Needs root; the network of RUN is the machine's.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { root as source } from './document.mjs';

const { DockerfileParser } = createRequire(import.meta.url)('dockerfile-ast');

/** Instructions of a Dockerfile by stage: [{name, from, steps: [{keyword, text, values, flags}]}]. */
export function stagesOf(text) {
  const stages = [];
  for (const one of DockerfileParser.parse(text).getInstructions()) {
    const keyword = one.getKeyword();
    if (keyword === 'FROM') stages.push({ from: one.getImage(), name: one.getBuildStage() ?? '', steps: [] });
    else {
      const values = one.getArguments().map((argument) => argument.getValue());
      const properties = (one.getProperties?.() ?? []).map((p) => [p.getName(), p.getValue()]);
      const flags = Object.fromEntries((one.getFlags?.() ?? []).map((flag) => [flag.getName(), flag.getValue()]));
      stages.at(-1).steps.push({ keyword, values, properties, flags, text: one.getRawArgumentsContent() ?? '' });
    }
  }
  return stages;
}

const run = (program, args, more = {}) => execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', maxBuffer: 256 << 20, ...more });

/**
 * A command in a root of its own, which needs nothing but what the command is; what is mounted
 * in its namespace goes with it.
 */
const inRoot = ({ folder, user, workdir }, environment, command, { before = '' } = {}) => ['unshare', ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-ec', `
  mount --make-rprivate /
  ${before}
  mount -t proc proc "${folder}/proc"
  mount --bind /dev "${folder}/dev"
  exec setpriv --no-new-privs env -i ${Object.entries(environment).map(([k, v]) => `'${k}=${v}'`).join(' ')} \\
    "$(command -v unshare)" --root="${folder}" --wd="${workdir}" --setgid=${user.split(':')[1]} --setuid=${user.split(':')[0]} "$@"`, 'sh', ...command]];

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Build all stages below `at`: {folder, environment, user, entrypoint, command, healthcheck,
 * workdir} by name, and '' for the last one. `bases` are archives of what FROM names; stages
 * that are in `made` ({folder}) are taken as they are, and what only they need is left out.
 */
export function buildImage(text, at, bases, { say = () => {}, made = {} } = {}) {
  const stages = stagesOf(text);
  const skipped = stages.findLastIndex(({ name }) => made[name]);
  for (const [number, stage] of stages.entries()) {
    if (number <= skipped) continue;
    const folder = path.join(at, `stage${number}`);
    fs.mkdirSync(folder, { recursive: true });
    const from = made[stage.from];
    if (from) run('cp', ['-a', `${from.folder}/.`, folder]);
    else if (stage.from !== 'scratch') run('tar', ['-xpf', bases[stage.from], '-C', folder]);
    const image = { environment: { PATH }, user: '0:0', workdir: '/', entrypoint: [], command: [], ...structuredClone(from ?? {}), folder };
    made[stage.name] = image;
    for (const step of stage.steps) {
      say(`${stage.name || 'last'}: ${step.keyword} ${step.text.split('\n')[0].slice(0, 60)}`);
      carryOut(image, step, made);
    }
  }
  return made;
}

function carryOut(image, { keyword, values, properties, flags, text }, made) {
  const inside = (name) => path.join(image.folder, path.resolve(image.workdir, name));
  switch (keyword) {
    case 'RUN': runStep(image, text); break;
    case 'COPY': {
      const target = values.at(-1);
      for (const name of values.slice(0, -1)) {
        const folder = flags.from ? made[flags.from].folder : context();
        const entry = path.join(folder, name);
        const whole = fs.statSync(entry).isDirectory();
        fs.mkdirSync(whole || target.endsWith('/') ? inside(target) : path.dirname(inside(target)), { recursive: true });
        // What comes from another stage keeps its owners, what comes from outside is root's.
        run('cp', ['-a', ...(flags.from ? [] : ['--no-preserve=ownership']), whole ? `${entry}/.` : entry, inside(target)]);
      }
      break;
    }
    case 'ENV': for (const [name, value] of properties) image.environment[name] = value; break;
    case 'WORKDIR': image.workdir = values[0]; fs.mkdirSync(inside('.'), { recursive: true }); break;
    case 'USER': image.user = values[0] === 'root' ? '0:0' : values[0]; break;
    case 'ENTRYPOINT': image.entrypoint = JSON.parse(text); image.command = []; break;
    case 'CMD': image.command = JSON.parse(text); break;
    case 'HEALTHCHECK': image.healthcheck = JSON.parse(text.slice(text.indexOf('['))); break;
    case 'LABEL': case 'VOLUME': case 'STOPSIGNAL': case 'EXPOSE': break;
    default: throw new Error(`no idea how to carry out ${keyword}`);
  }
}

/** As much of the machine as an engine lends a step: names, and how apt reaches its servers. */
function runStep(image, text) {
  const lent = { '/etc/resolv.conf': fs.readFileSync('/etc/resolv.conf'), '/etc/apt/apt.conf.d/99lent': run('apt-config', ['dump', 'Acquire']) };
  for (const [name, bytes] of Object.entries(lent)) fs.writeFileSync(image.folder + name, bytes);
  const environment = { ...image.environment, DEBIAN_FRONTEND: 'noninteractive' };
  for (const name of Object.keys(process.env).filter((n) => /^(https?|no)_proxy$/i.test(n))) environment[name] = process.env[name];
  try {
    const [program, args] = inRoot(image, environment, ['/bin/sh', '-c', text]);
    const done = spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 256 << 20 });
    if (done.status !== 0) throw new Error(`RUN ended with ${done.status}: ${text}\n${done.stdout.slice(-3000)}\n${done.stderr.slice(-3000)}`);
  } finally {
    for (const name of Object.keys(lent)) fs.rmSync(image.folder + name, { force: true });
  }
}

/** What a COPY finds: the files that git knows, by the rules of .dockerignore as this project writes them. */
let copied;
function context() {
  if (copied) return copied;
  const [, ...rules] = fs.readFileSync(path.join(source, '.dockerignore'), 'utf8').split('\n').filter((line) => line && !line.startsWith('#'));
  if (!rules.every((rule) => rule.startsWith('!'))) throw new Error('.dockerignore: first *, then what is not to be ignored');
  const names = run('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: source }).split('\n');
  const wanted = names.filter((name) => rules.some((rule) => name === rule.slice(1) || name.startsWith(`${rule.slice(1)}/`)));
  copied = fs.mkdtempSync('/tmp/wt-context-');
  process.on('exit', () => fs.rmSync(copied, { recursive: true, force: true }));
  run('tar', ['-cf', path.join(copied, '.tar'), '-C', source, ...wanted]);
  run('tar', ['-xf', path.join(copied, '.tar'), '-C', copied]);
  fs.rmSync(path.join(copied, '.tar'));
  return copied;
}

/**
 * Start a program of an image as a container would: {child, exec(command)}. The root cannot be
 * written to, /tmp is new, `volumes` are folders ([from, to]); the network is the machine's.
 */
export function startImage(image, { command = image.command, environment = {}, volumes = [] } = {}) {
  const all = { ...image.environment, ...environment };
  const { folder } = image;
  const before = `
    mount --bind "${folder}" "${folder}"
    ${volumes.map(([from, to]) => `mount --bind "${from}" "${folder}${to}"`).join('\n')}
    mount -t tmpfs -o mode=1777,size=256m tmpfs "${folder}/tmp"
    mount -o remount,ro,bind "${folder}"`;
  const [program, args] = inRoot(image, all, [...image.entrypoint, ...command], { before });
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  process.on('exit', () => child.kill('SIGKILL'));
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { log += text; });
  const exec = (words) => {
    const [p, a] = inRoot(image, all, words, { before });
    return spawnSync(p, a, { encoding: 'utf8' });
  };
  return { child, exec, log: () => log };
}

/** Bytes of a root, as an image has them. */
export const sizeOfImage = ({ folder }) => Number(run('du', ['-sxB1', '--exclude=./proc', '--exclude=./dev', folder]).split('\t')[0]);
