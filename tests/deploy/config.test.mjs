// Settings: where they come from, what is refused, what may change while the service runs,
// what `check` finds when something is really broken; manual pages and completions.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { blocks, root, runBlock } from '../lib/document.mjs';
import { available as postgresHere, Postgres } from '../lib/postgres.mjs';
import { redis, skip as noRedis } from '../lib/redis.mjs';
import { BUCKET, S3 } from '../lib/s3.mjs';
import { form, startServer, transcribe, waitForJob, wav } from '../lib/server.mjs';
import { binary, folder, modelFile, models, run, start, until } from '../shell/helper.mjs';

const program = path.resolve(binary);
const isRoot = process.getuid() === 0;
const has = (name) => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0;

/** A settings file of a folder, read by nobody else. */
function conf(dir, text, name = 'c.conf') {
  const file = path.join(dir, name);
  fs.writeFileSync(file, text, { mode: 0o600 });
  return file;
}

/** What `check` found, by name: [result, message]. */
async function check(dir, env = {}, args = []) {
  const r = await run(['check', '--json', ...args], { cwd: dir, env: { WHISPER_CONFIG_FILE: '/dev/null', DEFAULT_WHISPER_MODEL: 'tiny', PORT: '0', ...env } });
  assert.ok(r.out.startsWith('{'), `${r.out}${r.err}`);
  const said = JSON.parse(r.out);
  const found = {};
  for (const c of said.checks) {
    const before = found[c.check];
    if (!before || before[0] === 'ok') found[c.check] = [c.result, c.message];
  }
  return { ...r, found, said };
}

test('command line, environment, file and default, each with its source', async (t) => {
  const dir = folder(t);
  const file = conf(dir, 'PORT=1\nHOST=127.0.0.9\nMAX_FILE_SIZE_MB=3\nMAX_AUDIO_SECONDS=77\n');
  const r = await check(dir, { MAX_FILE_SIZE_MB: '4', PORT: '2', WHISPER_CONFIG_FILE: file }, ['--port', '0']);
  const of = (name) => r.said.settings.find((s) => s.name === name);
  assert.deepEqual(of('PORT'), { name: 'PORT', value: '0', source: 'command line' });
  assert.deepEqual(of('MAX_FILE_SIZE_MB'), { name: 'MAX_FILE_SIZE_MB', value: '4', source: 'environment variable MAX_FILE_SIZE_MB' });
  assert.deepEqual(of('MAX_AUDIO_SECONDS'), { name: 'MAX_AUDIO_SECONDS', value: '77', source: `${file}, line 4` });
  assert.deepEqual(of('RATE_LIMIT'), { name: 'RATE_LIMIT', value: '10/minute', source: 'default' });
  // Every command takes every setting, and says so of one that is wrong.
  for (const command of [['models', 'list'], ['keys', 'ls'], ['queue', 'ls'], ['doctor'], ['serve'], ['transcribe', 'x'], ['check']]) {
    const bad = await run([...command, '--max-file-size-mb', 'many'], { cwd: dir });
    assert.equal(bad.code, 2, `${command}: ${bad.out}${bad.err}`);
    assert.match(bad.err, /MAX_FILE_SIZE_MB is "many"; it must be a whole number/);
  }
});

test('a file that is wrong stops every command, with its line', async (t) => {
  const dir = folder(t);
  const refused = async (text, said) => {
    const r = await run(['serve', '--config', conf(dir, text)], { cwd: dir });
    assert.equal(r.code, 2);
    assert.match(r.err, said);
  };
  await refused('PORT=0\nPROT=1\n', /line 2: PROT is not a setting; did you mean PORT\?/);
  await refused('PORT 0\n', /line 1: this is not NAME=value/);
  await refused('UPLOAD_RETENTION_DAYS=9\nTRANSCRIPT_RETENTION_DAYS=3\n', /a recording goes with its transcript.*lower UPLOAD_RETENTION_DAYS/);
  await refused('BACKUP_DIR=storage/backup\n', /BACKUP_DIR .* lies in the storage/);
  await refused('REDIS_CA_FILE=/x\n', /set REDIS_URL=rediss:/);
  const r = await run(['doctor', '--config', path.join(dir, 'none')], { cwd: dir });
  assert.equal(r.code, 2);
  assert.match(r.err, /cannot open .*none/);
});

test('secrets come from files and from credentials, and are shown nowhere', { skip: !postgresHere && 'PostgreSQL is not installed' }, async (t) => {
  const dir = folder(t);
  const pg = new Postgres();
  t.after(() => pg.stop());
  fs.writeFileSync(path.join(dir, 'url'), `${pg.url(dir)}\n`, { mode: 0o600 });
  const empty = await check(dir, { DATABASE_URL_FILE: path.join(dir, 'url') });
  assert.match(empty.found.database.join(), /^ok,it is empty; `serve` makes its tables/);
  assert.equal((await run(['migrate', 'up'], { cwd: dir, env: { DATABASE_URL_FILE: path.join(dir, 'url') } })).code, 0);
  const byFile = await check(dir, { DATABASE_URL_FILE: path.join(dir, 'url') });
  assert.equal(byFile.found.database[0], 'ok', byFile.out);
  assert.equal(byFile.found.clock[0], 'ok', byFile.out);
  const credentials = path.join(dir, 'credentials');
  fs.mkdirSync(credentials);
  fs.copyFileSync(path.join(dir, 'url'), path.join(credentials, 'DATABASE_URL'));
  fs.writeFileSync(path.join(credentials, 'WEBHOOK_SECRET'), 'hunter2hunter2', { mode: 0o600 });
  const byCredential = await check(dir, { CREDENTIALS_DIRECTORY: credentials });
  assert.equal(byCredential.found.database[0], 'ok', byCredential.out);
  assert.equal(byCredential.said.settings.find((s) => s.name === 'WEBHOOK_SECRET').source, 'the credential WEBHOOK_SECRET');
  for (const r of [byFile, byCredential]) assert.ok(!`${r.out}${r.err}`.match(/s3cr3t|hunter2/), r.out);
  const both = await run(['check'], { cwd: dir, env: { CREDENTIALS_DIRECTORY: credentials, WEBHOOK_SECRET: 'hunter3hunter3' } });
  assert.equal(both.code, 2);
  assert.match(both.err, /WEBHOOK_SECRET is set and there is a credential of this name/);
  // A worker reads its settings again, too.
  const file = (seconds) => conf(dir, `DATABASE_URL_FILE=url\nMAX_AUDIO_SECONDS=${seconds}\nLOG_FILE=worker.log\n`);
  const worker = start(['worker', '--config', file(60)], { cwd: dir });
  const log = () => (fs.existsSync(path.join(dir, 'worker.log')) ? fs.readFileSync(path.join(dir, 'worker.log'), 'utf8') : '');
  await until(() => log().includes('takes jobs'));
  file(61);
  worker.child.kill('SIGHUP');
  await until(() => /reload: MAX_AUDIO_SECONDS: 60 -> 61[^]*reload: done/.test(log()));
  worker.child.kill('SIGTERM');
  assert.equal((await worker.done).code, 0);
  // The server is off: said, with what to do.
  pg.stop();
  const off = await check(dir, { DATABASE_URL_FILE: path.join(dir, 'url') });
  assert.equal(off.code, 1);
  assert.equal(off.found.database[0], 'FAIL');
  assert.match(off.found.database[1], /DATABASE_URL/);
});

/* ---- while it runs ---- */

const described = async (s) => (await (await fetch(s.url, { headers: { accept: 'application/json' } })).json());

test('SIGHUP takes over what can be, all or nothing, while requests go on', { timeout: 60000 }, async (t) => {
  const dir = folder(t);
  const file = (n, more = '') => conf(dir, `MAX_FILE_SIZE_MB=${n}\nURL_FETCH_ALLOW=10.0.0.${n % 200}\nTRUSTED_PROXIES=10.1.0.${n % 200}\n`
    + `RATE_LIMIT=${1000 + n}/minute\nDEFAULT_WHISPER_MODEL=${n % 2 ? 'tiny' : 'base'}\nWEBHOOK_SECRET=hunter2-${n}\n${more}`);
  file(5);
  const s = await startServer({ folder: dir, args: ['--config', file(5)], env: { RATE_LIMIT: '', DEFAULT_WHISPER_MODEL: '' } });
  t.after(() => s.kill());
  let [going, asked] = [true, 0];
  const seen = new Set();
  const clients = Array.from({ length: 6 }, async () => {
    while (going) {
      seen.add((await described(s)).max_file_size_mb);
      asked++;
    }
  });
  const done = () => s.log().split('reload: done').length - 1;
  for (let n = 6; n < 36; n++) {
    file(n);
    process.kill(s.pid, 'SIGHUP');
    await until(() => done() === n - 5);
  }
  assert.equal((await described(s)).max_file_size_mb, 35);
  // What is wrong changes nothing, whatever else stands there; and says why.
  for (const [more, why] of [['PORT=x', /nothing was changed: line 7: PORT is "x"/], ['TRUSTED_PROXY=1', /line 7: TRUSTED_PROXY is not a setting/],
    ['WEBHOOK_ALLOW=10.0.0.0/99', /nothing was changed: WEBHOOK_ALLOW/], ['WHISPER_LANGUAGE=klingon', /nothing was changed: WHISPER_LANGUAGE/],
    ['LOG_FILE=/none/log', /nothing was changed: LOG_FILE: cannot open/]]) {
    file(50, `${more}\n`);
    process.kill(s.pid, 'SIGHUP');
    await until(() => why.test(s.log()));
    assert.equal((await described(s)).max_file_size_mb, 35);
  }
  // What needs a restart is said, and not done; the rest is.
  file(40, 'WORKER_CONCURRENCY=3\nLOG_FORMAT=json\n');
  process.kill(s.pid, 'SIGHUP');
  await until(() => /"message":"reload: done"/.test(s.log()));
  assert.match(s.log(), /reload: WORKER_CONCURRENCY: 0 -> 3 needs a restart/);
  assert.match(s.log(), /reload: MAX_FILE_SIZE_MB: 35 -> 40/);
  assert.match(s.log(), /reload: WEBHOOK_SECRET: \(set\) -> \(changed\)/);
  assert.ok(!s.log().includes('hunter2'));
  going = false;
  await Promise.all(clients);
  for (const value of seen) assert.ok(value >= 5 && value <= 40, `${value}`);
  t.diagnostic(`30 reloads during ${asked} requests, which saw ${seen.size} of the limits`);
  // The new limit counts.
  file(1, 'LOG_FORMAT=json\n');
  process.kill(s.pid, 'SIGHUP');
  await until(() => /MAX_FILE_SIZE_MB: 40 -> 1/.test(s.log()) && /RATE_LIMIT: 1040\/minute -> 1001/.test(s.log()));
  await until(() => s.log().split('"message":"reload: done"').length === 3);
  const form = new FormData();
  form.append('file', new Blob([Buffer.alloc(2 << 20)]), 'a.wav');
  const large = await fetch(`${s.url}/transcribe`, { method: 'POST', body: form });
  assert.equal(large.status, 413);
  assert.equal((await s.stop()).code, 0);
});

test('workers that run hear of another log level', { skip: !modelFile('tiny') && 'no model' }, async (t) => {
  const dir = folder(t);
  const s = await startServer({ folder: dir, args: ['--config', conf(dir, 'LOG_LEVEL=INFO\n')], env: { LOG_LEVEL: '' } });
  t.after(() => s.kill());
  const ended = async () => {
    const { body } = await transcribe(s, form(wav({ seconds: 1, sample: () => Math.random() })));
    await waitForJob(s, body.job_id);
  };
  const details = () => s.log().split('\n').filter((line) => /DEBUG .*worker/.test(line)).length;
  const level = async (name, times) => {
    conf(dir, `LOG_LEVEL=${name}\n`);
    process.kill(s.pid, 'SIGHUP');
    await until(() => s.log().split('reload: done').length > times);
  };
  await ended();
  assert.equal(details(), 0, s.log());
  await level('DEBUG', 1);
  await ended();
  await until(() => details() > 0);
  assert.equal((await s.stop()).code, 0);
});

test('the file that systemd reads as well can still be changed', async (t) => {
  const dir = folder(t);
  // As EnvironmentFile= does: what stands there is in the environment, too.
  const s = await startServer({ folder: dir, args: ['--config', conf(dir, 'MAX_FILE_SIZE_MB=5\n')], env: { MAX_FILE_SIZE_MB: '5' } });
  t.after(() => s.kill());
  conf(dir, 'MAX_FILE_SIZE_MB=6\n');
  process.kill(s.pid, 'SIGHUP');
  await until(() => /MAX_FILE_SIZE_MB: 5 -> 6/.test(s.log()) && /reload: done/.test(s.log()));
  assert.equal((await described(s)).max_file_size_mb, 6);
  fs.rmSync(path.join(dir, 'c.conf'));
  process.kill(s.pid, 'SIGHUP');
  await until(() => /nothing was changed: cannot open/.test(s.log()));
  assert.equal((await s.stop()).code, 0);
});

/* ---- check, with things that are really broken ---- */

test('check finds nothing wrong where nothing is, beside a service too', { skip: !modelFile('tiny') && 'no model' }, async (t) => {
  const dir = folder(t);
  fs.mkdirSync(path.join(dir, 'copies'));
  const s = await startServer({ folder: dir });
  t.after(() => s.kill());
  const r = await check(dir, { PORT: String(s.port), BACKUP_DIR: path.join(dir, 'copies') });
  assert.equal(r.code, 0, r.out);
  assert.match(r.found.PORT[1], /a service of ours answers/);
  for (const name of ['database', 'storage', 'decoder', 'models', 'checksum', 'memory', 'descriptors', 'workers', 'BACKUP_DIR']) assert.equal(r.found[name]?.[0], 'ok', `${name}: ${r.found[name]}`);
  assert.equal((await s.stop()).code, 0);
});

test('check says what is broken, and what to do', async (t) => {
  const dir = folder(t);
  const none = await check(dir, { WHISPER_MODEL_DIR: path.join(dir, 'none') });
  assert.equal(none.code, 1);
  assert.equal(none.found.models[0], 'FAIL');
  // A port that somebody else has.
  const other = net.createServer((socket) => socket.end('SSH-2.0-x\r\n'));
  await new Promise((resolve) => { other.listen(0, '127.0.0.1', resolve); });
  const taken = await check(dir, { PORT: String(other.address().port) });
  other.close();
  assert.equal(taken.code, 1);
  assert.match(taken.found.PORT.join(), /FAIL,.*is taken, and by no service of ours: `ss -ltnp`/);
  const open = await check(dir, { HOST: '0.0.0.0', AUTH: 'off' });
  assert.match(open.found.callers.join(), /warn,AUTH is off and HOST is 0\.0\.0\.0/);
  const few = spawnSync('sh', ['-c', `ulimit -n 300; exec "${program}" check`], { cwd: dir, encoding: 'utf8', env: { PATH: process.env.PATH, WHISPER_MODEL_DIR: models } });
  assert.match(few.stdout, /^warn descriptors: 300 files .* raise LimitNOFILE=/m);
});

test('check finds a damaged model', { skip: !modelFile('tiny') && 'no model' }, async (t) => {
  const dir = folder(t);
  const copy = path.join(dir, 'ggml-tiny.bin');
  fs.copyFileSync(modelFile('tiny'), copy);
  const fd = fs.openSync(copy, 'r+');
  fs.writeSync(fd, Buffer.from([0x55]), 0, 1, 40_000_000);
  fs.closeSync(fd);
  const r = await check(dir, { WHISPER_MODEL_DIR: dir });
  assert.equal(r.code, 1);
  assert.match(r.found.checksum.join(), /FAIL,.*damaged.*models pull tiny/);
});

test('check finds disks that are full or read-only', { skip: !isRoot && 'needs root' }, async (t) => {
  const dir = folder(t);
  const at = path.join(dir, 'disk');
  fs.mkdirSync(at);
  const inside = (prepare, env) => spawnSync('unshare', ['-m', 'sh', '-c', `${prepare} && exec "${program}" check --port 0`],
    { cwd: dir, encoding: 'utf8', env: { PATH: process.env.PATH, WHISPER_MODEL_DIR: models, ...env } });
  const mount = (options) => `mount -t tmpfs -o ${options} tmpfs "${at}"`;
  const probe = spawnSync('unshare', ['-m', 'sh', '-c', mount('size=64k')]);
  if (probe.status !== 0) return t.skip('nothing may be mounted here');
  const places = { STORAGE_DIR: at, BACKUP_DIR: path.join(dir, 'disk/../disk'), DATABASE_URL: `sqlite:///${at}/app.db` };
  const full = inside(`${mount('size=64k')} && (cat /dev/zero >"${at}/x" || :) 2>/dev/null`, { STORAGE_DIR: at });
  assert.equal(full.status, 1);
  assert.match(full.stdout, /^FAIL storage: .*(No space left|free)/m);
  for (const [name, what] of [['BACKUP_DIR', /^FAIL BACKUP_DIR: .*Read-only.*let the service's user write there/m], ['DATABASE_URL', /^FAIL database: .*Read-only/m], ['STORAGE_DIR', /^FAIL storage: .*Read-only/m]]) {
    const r = inside(mount('ro,size=64k'), { [name]: places[name] });
    assert.equal(r.status, 1, r.stdout + r.stderr);
    assert.match(r.stdout, what);
  }
});

test('check asks Redis', { skip: noRedis }, async (t) => {
  const dir = folder(t);
  const r = await redis({ args: ['--maxmemory', '50mb', '--maxmemory-policy', 'noeviction'] }).start();
  t.after(() => r.kill());
  const good = await check(dir, { REDIS_URL: r.url });
  assert.equal(good.found.redis[0], 'ok', good.out);
  assert.equal(await r.ask('DBSIZE'), '0'); // it leaves nothing behind
  await r.ask('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
  const evicting = await check(dir, { REDIS_URL: r.url });
  assert.match(evicting.found.redis.join(), /warn,maxmemory-policy is allkeys-lru.*noeviction/);
  await r.kill();
  const off = await check(dir, { REDIS_URL: r.url });
  assert.equal(off.code, 1);
  assert.match(off.found.redis.join(), /FAIL,.*start it, or correct REDIS_URL/);
});

test('check puts, gets and deletes where copies go to in a bucket', async (t) => {
  const dir = folder(t);
  const s3 = await new S3().start();
  t.after(() => s3.stop());
  const env = { ...s3.env(), STORAGE_URL: '', BACKUP_DIR: `s3://${BUCKET}/copies` };
  const good = await check(dir, env);
  assert.match(good.found.BACKUP_DIR.join(), /^ok,s3:.* takes, gives and removes objects/);
  assert.deepEqual([...s3.keys()], []); // it leaves nothing behind
  assert.ok(s3.requests.some((r) => r.method === 'DELETE'), JSON.stringify(s3.requests));
  for (const method of ['PUT', 'GET', 'DELETE']) {
    s3.fault = (request) => request.method === method && { status: 403, code: 'AccessDenied' };
    const bad = await check(dir, env);
    assert.equal(bad.code, 1);
    assert.match(bad.found.BACKUP_DIR.join(), /^FAIL,s3:.*let the key put, get and delete/, method);
  }
});

test('check asks for names, and says whom nobody lets in', async (t) => {
  const dir = folder(t);
  const names = await check(dir, { URL_FETCH: 'on', URL_FETCH_ALLOW: 'localhost, 10.0.0.0/8', WEBHOOK_ALLOW: 'localhost:81 receiver.invalid' });
  assert.match(names.found.URL_FETCH_ALLOW.join(), /^ok,1 name/);
  assert.match(names.found.WEBHOOK_ALLOW.join(), /^warn,receiver\.invalid leads nowhere .*correct the name/);
  // Settings for everybody, and nobody who could come in; then somebody.
  const make = () => run(['keys', 'create', '--name', 'x', '--scope', 'read'], { cwd: dir, env: { WHISPER_CONFIG_FILE: '/dev/null' } });
  const id = (await make()).out;
  assert.match(id, /wt_/);
  const keyed = await check(dir, { HOST: '0.0.0.0' });
  assert.equal(keyed.found.keys[0], 'ok', keyed.out);
  const [key] = JSON.parse((await run(['keys', 'ls', '--json'], { cwd: dir, env: { WHISPER_CONFIG_FILE: '/dev/null' } })).out);
  assert.equal((await run(['keys', 'revoke', key.id], { cwd: dir, env: { WHISPER_CONFIG_FILE: '/dev/null' } })).code, 0);
  const none = await check(dir, { HOST: '0.0.0.0' });
  assert.match(none.found.keys.join(), /^warn,HOST is 0\.0\.0\.0 and there is no key that may be used.*keys create/);
  assert.equal((await check(dir)).found.keys, undefined); // on loopback nobody needs one
});

test('check says where the database stands among the versions, and changes nothing', async (t) => {
  const dir = folder(t);
  const of = async (...words) => run([...words], { cwd: dir, env: { WHISPER_CONFIG_FILE: '/dev/null' } });
  assert.equal((await of('keys', 'create', '--name', 'x', '--scope', 'read')).code, 0);
  const schema = async () => JSON.parse((await of('migrate', 'status', '--json')).out).schema;
  const newest = await schema();
  assert.match((await check(dir)).found.database.join(), new RegExp(`^ok,.*schema ${newest}, which is up to date`));
  assert.equal((await of('migrate', 'down')).code, 0);
  const old = await check(dir);
  assert.match(old.found.database.join(), new RegExp(`^warn,schema \\d+, and this version has ${newest}: it can be brought up to date`));
  assert.ok(await schema() < newest, 'looking brought it up to date');
});

/* ---- pages ---- */

const page = async (...args) => {
  const r = await run(['pages', ...args]);
  assert.equal(r.code, 0, r.err);
  return r.out;
};

test('the example is what the table says, and is a file that is read', async (t) => {
  const made = await page('conf');
  assert.equal(made, fs.readFileSync(path.join(root, 'deploy/whisper-transcriber.conf'), 'utf8'),
    'run `whisper-transcriber pages conf >deploy/whisper-transcriber.conf`');
  const dir = folder(t);
  assert.equal((await run(['doctor', '--config', conf(dir, made)], { cwd: dir })).err, '');
  // With every line that has a value put in force, nothing is different.
  const all = made.replace(/^#([A-Z_]+=.+)$/gm, '$1');
  const r = await run(['check', '--all', '--config', conf(dir, all)], { cwd: dir, env: { WHISPER_MODEL_DIR: '' } });
  assert.match(r.out, /^RATE_LIMIT = 10\/minute {3}\(.*c\.conf, line \d+\)$/m, r.out + r.err);
});

test('the manual pages are without fault', { skip: !has('mandoc') && 'mandoc is not installed' }, async (t) => {
  const dir = folder(t);
  const commands = (await page('commands')).trim().split('\n');
  assert.ok(commands.includes('serve') && commands.includes('check'));
  const files = [['whisper-transcriber.conf.5', ['conf-man']], ['whisper-transcriber.1', ['man']],
    ...commands.map((c) => [`whisper-transcriber-${c}.1`, ['man', c]])];
  for (const [name, args] of files) {
    const file = path.join(dir, name);
    fs.writeFileSync(file, await page(...args));
    const lint = spawnSync('mandoc', ['-Tlint', '-Wwarning', file], { encoding: 'utf8' });
    const said = lint.stdout.split('\n').filter((line) => line && !line.includes('missing date'));
    assert.deepEqual(said, [], name);
    const text = execFileSync('mandoc', ['-Tascii', file], { encoding: 'utf8' }).replace(/.\x08/g, '');
    assert.match(text, /NAME\s+whisper-transcriber/);
  }
  const text = execFileSync('mandoc', ['-Tascii', path.join(dir, 'whisper-transcriber-queue.1')], { encoding: 'utf8' }).replace(/.\x08/g, '');
  assert.match(text, /--older-than DAYS\n\s+only those that failed/);
});

test('shells complete commands, verbs, options and settings', async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'c.bash'), await page('completion', 'bash'));
  const bash = (...words) => execFileSync('bash', ['-c',
    `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _whisper_transcriber; printf '%s\\n' "\${COMPREPLY[@]}"`,
    'bash', path.join(dir, 'c.bash'), 'whisper-transcriber', ...words], { encoding: 'utf8', cwd: dir }).trim().split('\n');
  assert.deepEqual(bash('chec'), ['check']);
  assert.deepEqual(bash('queue', 're'), ['requeue']);
  assert.deepEqual(bash('queue', '--older'), ['--older-than']);
  assert.deepEqual(bash('serve', '--max-f'), ['--max-file-size-mb']);
  assert.deepEqual(bash('transcribe', 'rec'), ['']); // a name of a file, which bash completes itself
  fs.writeFileSync(path.join(dir, 'c.fish'), await page('completion', 'fish'));
  fs.writeFileSync(path.join(dir, '_whisper-transcriber'), await page('completion', 'zsh'));
  if (has('zsh')) execFileSync('zsh', ['-n', path.join(dir, '_whisper-transcriber')]);
  if (has('fish')) {
    const fish = (line) => execFileSync('fish', ['-c', `source c.fish; complete -C '${line}'`],
      { encoding: 'utf8', cwd: dir, env: { PATH: `${path.dirname(program)}:${process.env.PATH}`, HOME: dir } });
    assert.match(fish('whisper-transcriber queue re'), /^requeue\tput failed/m);
    assert.match(fish('whisper-transcriber serve --max-f'), /^--max-file-size-mb\tlargest upload/m);
  }
});

/* ---- the document ---- */

test('the commands of "Configure" and "When something is wrong"', { skip: !modelFile('tiny') && 'no model' }, async (t) => {
  const dir = folder(t);
  for (const name of ['etc', 'share', 'bin', 'copies']) fs.mkdirSync(path.join(dir, name));
  fs.copyFileSync(path.join(root, 'deploy/whisper-transcriber.conf'), path.join(dir, 'share/whisper-transcriber.conf'));
  fs.symlinkSync(program, path.join(dir, 'bin/whisper-transcriber'));
  const file = conf(path.join(dir, 'etc'), '', 'whisper-transcriber.conf');
  const s = await startServer({ folder: dir, args: ['--config', file] });
  t.after(() => s.kill());
  const options = {
    replace: [['/usr/share/whisper-transcriber/deploy', path.join(dir, 'share')], ['/etc/whisper-transcriber', path.join(dir, 'etc')],
      ['systemctl reload whisper-transcriber', `kill -HUP ${s.pid}`], ['-o whisper-transcriber', `-o ${process.getuid()}`]],
    env: { PATH: `${path.join(dir, 'bin')}:${process.env.PATH}`, WHISPER_MODEL_DIR: models, DEFAULT_WHISPER_MODEL: 'tiny',
      PORT: String(s.port), WHISPER_CONFIG_FILE: file },
    cwd: dir,
  };
  const sh = blocks('Configure').filter((b) => b.language === 'sh');
  assert.equal(sh.length, 3);
  runBlock(sh[0], options);
  assert.match(runBlock(sh[1], options), /^ok +decoder: /m);
  await until(() => /reload: MAX_FILE_SIZE_MB: 500 -> 2000/.test(s.log()));
  assert.match(runBlock(sh[2], options), /^WEBHOOK_SECRET = \(set\) +\(the file that WEBHOOK_SECRET_FILE names\)/m);
  await until(() => /reload: WEBHOOK_SECRET: \(unset\) -> \(set\)/.test(s.log()));
  for (const block of blocks('When something is wrong')) assert.match(runBlock(block, options), /^ok +database: /m);
  assert.equal((await s.stop()).code, 0);
});
