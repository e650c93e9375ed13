// What the service logs: for people and machines, with the ids that tie it together, to files
// that are moved away, to syslog and the journal, and never what is nobody's business.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, test } from 'node:test';
import { blocks, root, runBlock } from '../lib/document.mjs';
import { listenForDatagrams } from '../lib/notify.mjs';
import {
  binary, form, getJson, hasModel, models, raw, startServer, tempFolder, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const noModel = hasModel('tiny') ? false : 'ggml-tiny.bin is not there';
const isRoot = process.getuid() === 0;

/** The lines of a log that is JSON; each must be an object of its own. */
function parse(text) {
  return text.split('\n').filter(Boolean).map((line) => {
    let value;
    try { value = JSON.parse(line); } catch (error) { throw new Error(`no JSON: ${JSON.stringify(line)}: ${error.message}`); }
    for (const name of ['time', 'level', 'role', 'message']) assert.equal(typeof value[name], 'string', line);
    assert.ok(Number.isInteger(value.pid), line);
    assert.match(value.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(value.level, /^(DEBUG|INFO|WARNING|ERROR)$/);
    return value;
  });
}

test('every line is one object, whatever names come in, and ids tie a request to its job', { skip: noModel }, async () => {
  const folder = tempFolder();
  const file = path.join(folder, 'service.log');
  const server = await startServer({ folder, env: { LOG_FORMAT: 'json', LOG_LEVEL: 'DEBUG', LOG_FILE: file } });
  const read = () => fs.readFileSync(file);
  const ids = [];
  const nasty = ['a"b\\c.wav', 'line\nbreak\r\n.wav', '\u001b[31mred\u001b[0m.wav', '\u202egnp.wav', `${'€'.repeat(300)}.wav`, '\u{1F600}\u2028\u0085.wav', '{"level":"ERROR"}.wav'];
  for (const [k, name] of nasty.entries()) {
    const response = await fetch(`${server.url}/transcribe`, { method: 'POST', headers: { 'x-request-id': `nasty-${k}` }, body: form(wav(), name) });
    assert.equal(response.headers.get('x-request-id'), `nasty-${k}`);
    const body = await response.json();
    if (response.status === 202) ids.push([`nasty-${k}`, body.job_id]);
  }
  assert.ok(ids.length > 0);
  for (let byte = 1; byte < 256; byte++) {
    if ([9, 10, 13, 32, 35].includes(byte)) continue;
    await raw(server, Buffer.concat([Buffer.from('GET /jobs/'), Buffer.from([byte, 0xC3, byte]), Buffer.from(' HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')]));
  }
  await fetch(`${server.url}/${'x'.repeat(3000)}`);
  const bad = await fetch(`${server.url}/jobs`, { headers: { 'x-request-id': 'no good id {}' } });
  assert.notEqual(bad.headers.get('x-request-id'), 'no good id {}');
  for (const [, id] of ids) assert.equal((await waitForJob(server, id)).status, 'completed');
  assert.equal((await server.stop()).code, 0);

  const bytes = read();
  assert.ok(bytes.equals(Buffer.from(bytes.toString('utf8'))), 'all of it is UTF-8');
  assert.ok(!/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e]/.test(bytes.toString('utf8')), 'no byte that a terminal obeys');
  const lines = parse(bytes.toString('utf8'));
  assert.deepEqual(parse(server.log()).length, lines.length, 'the same on both');
  for (const [request, job] of ids) {
    const accepted = lines.find((line) => line.job === job && line.message.startsWith('accepted'));
    assert.equal(accepted?.request, request);
    assert.ok(lines.some((line) => line.job === job && line.message.startsWith('completed')));
    assert.ok(lines.some((line) => line.job === job && line.role === 'worker'), 'the worker\'s own lines are there, too');
    const access = lines.find((line) => line.request === request && line.status);
    assert.equal(access.status, 202);
    assert.equal(access.route, '/transcribe');
    assert.equal(access.method, 'POST');
    assert.ok(access.bytes_in > 32000 && access.bytes_out > 0 && access.milliseconds > 0);
    assert.equal(access.client, '127.0.0.1');
  }
  // Each answer has its line, and those of broken paths have been answered.
  assert.ok(lines.filter((line) => line.status && line.path.startsWith('/jobs/')).length > 200);
});

// ---- what must not be there -------------------------------------------------------------

const words = {
  'the text of a recording': ['country', 'fellow americans'],
  'a prompt': ['zanzibarprompt'],
  'a secret of a webhook': ['whsecretvalue99', 'globalwebhooksecret77'],
  'the address of a webhook': ['webhooktoken55'],
  'a password in a URL': ['urlpassword33', 'urlquery44', 'redispassword22'],
  'a secret of the bucket': ['bucketsecretkey11'],
  'a key that nobody has': ['wt_notakeyofours_000000000000000000000000'],
  'a query': ['querysecret66'],
};

function findSpeech() {
  const spoken = path.join(tempFolder(), 'speech.wav');
  const made = spawnSync('espeak-ng', ['-w', spoken, '-s', '130', 'And so my fellow Americans: ask not what your country can do for you, ask what you can do for your country.']);
  return made.status === 0 ? fs.readFileSync(spoken) : null;
}

for (const format of ['text', 'json']) {
  test(`no secret and no word that was said is in any log (${format}, DEBUG)`, { skip: noModel }, async () => {
    const folder = tempFolder();
    const file = path.join(folder, 'service.log');
    const server = await startServer({
      folder,
      env: {
        LOG_FORMAT: format, LOG_LEVEL: 'DEBUG', DEBUG: 'true', LOG_FILE: file, AUTH: 'key', WEBHOOK_SECRET: 'globalwebhooksecret77',
        REDIS_URL: 'redis://:redispassword22@127.0.0.1:1/0', URL_FETCH: 'on', URL_FETCH_ALLOW: 'loopback', WEBHOOK_ALLOW: 'loopback',
      },
    });
    const made = spawnSync(binary, ['keys', 'create', '--name', 'tester', '--scope', 'admin'], {
      cwd: folder, encoding: 'utf8', env: { PATH: process.env.PATH, HOME: folder, ...(process.env.DATABASE_URL && { DATABASE_URL: process.env.DATABASE_URL }) },
    });
    const key = /wt_\S+/.exec(made.stdout)?.[0];
    assert.ok(key, made.stderr);
    const headers = { authorization: `Bearer ${key}` };
    const ended = [];
    // A place that answers 500 to whoever fetches or is told.
    const peer = http.createServer((request, response) => { request.resume(); response.writeHead(500).end(); }).listen(0, '127.0.0.1');
    await once(peer, 'listening');
    const there = `127.0.0.1:${peer.address().port}`;
    const speech = findSpeech();
    for (const [bytes, name] of [[speech, 'speech.wav'], [wav({ seconds: 1 }), 'silence.wav'], [Buffer.from('nothing'), 'broken.mp3']]) {
      if (!bytes) continue;
      const response = await fetch(`${server.url}/transcribe?x=querysecret66&key=querysecret66`, {
        method: 'POST', headers, body: form(bytes, name, { prompt: 'zanzibarprompt', webhook_url: `http://${there}/hook/webhooktoken55?t=webhooktoken55`, webhook_secret: 'whsecretvalue99' }),
      });
      const body = await response.json();
      if (response.status === 202) ended.push(body.job_id);
    }
    for (const body of [{ url: `http://user:urlpassword33@${there}/a.wav?token=urlquery44` }, { url: `http://${there}/a.wav?token=urlquery44` }]) {
      const response = await fetch(`${server.url}/transcribe`, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) });
      assert.ok(response.status < 500);
      await response.body?.cancel();
    }
    for (const authorization of ['Bearer wt_notakeyofours_000000000000000000000000', 'Basic dXNlcjp1cmxwYXNzd29yZDMz']) {
      assert.equal((await fetch(`${server.url}/jobs?api_key=querysecret66`, { headers: { authorization } })).status, 401);
    }
    const said = [];
    for (const id of ended) {
      const job = await until(async () => (await getJson(server, `/jobs/${id}`, { headers })).body, ({ status }) => ['completed', 'failed'].includes(status));
      if (job.status === 'completed') said.push((await (await fetch(`${server.url}/jobs/${id}/download?format=txt`, { headers })).text()).trim());
    }
    // The search asks with words of a text in its query.
    assert.ok((await fetch(`${server.url}/jobs?search=country`, { headers })).status < 500);
    await until(server.log, (log) => /webhook .*attempt 1/.test(log));
    assert.equal((await server.stop()).code, 0);
    peer.close();

    const all = [server.log(), fs.readFileSync(file, 'utf8')].join('\n').toLowerCase();
    assert.ok(all.includes('completed') && all.includes('-> 401'.slice(3)), 'it is the log of all this');
    if (speech) assert.ok(said.some((text) => /country/i.test(text)), `heard: ${said}`);
    for (const [what, list] of Object.entries({ ...words, 'a key': [key.toLowerCase(), key.toLowerCase().split('_').at(-1)] })) {
      for (const word of list) assert.ok(!all.includes(word), `${what} (${word}) is in: ${all.split('\n').find((line) => line.includes(word))}`);
    }
  });
}

test('a bucket that is away is logged without its secret', async () => {
  const server = await startServer({
    env: {
      LOG_LEVEL: 'DEBUG', STORAGE_URL: 's3://recordings/a', S3_ENDPOINT: 'http://127.0.0.1:1', AWS_ACCESS_KEY_ID: 'someid', AWS_SECRET_ACCESS_KEY: 'bucketsecretkey11',
      ...(process.env.WT_TEST_STORAGE === 's3' && { S3_SECRET_ACCESS_KEY: '', S3_ACCESS_KEY_ID: '' }),
    },
  });
  await until(() => getJson(server, '/health/ready'), ({ body }) => body.failing === 'storage');
  await server.stop();
  assert.match(server.log(), /storage/);
  assert.doesNotMatch(server.log(), /bucketsecretkey11/);
});

// ---- files that are moved away ------------------------------------------------------------

const hasLogrotate = spawnSync('logrotate', ['--version']).error ? 'logrotate is not installed' : false;

test('logrotate moves the file away under load: no line is lost, none is written to the old one', { skip: noModel || hasLogrotate }, async (t) => {
  const folder = tempFolder();
  const logs = path.join(folder, 'logs');
  fs.mkdirSync(logs);
  const file = path.join(logs, 'service.log');
  const server = await startServer({ folder, env: { LOG_FILE: file, LOG_LEVEL: 'DEBUG', LOG_FORMAT: 'json' } });
  const user = spawnSync('id', ['-un'], { encoding: 'utf8' }).stdout.trim();
  const group = spawnSync('id', ['-gn'], { encoding: 'utf8' }).stdout.trim();
  const text = fs.readFileSync(path.join(root, 'deploy/logrotate/whisper-transcriber'), 'utf8');
  assert.match(text, /systemctl kill --signal=USR1 --kill-who=main whisper-transcriber\.service/);
  const own = text.replaceAll('/var/log/whisper-transcriber', logs).replace(/systemctl kill.*/, `kill -USR1 ${server.pid}`)
    .replace('su whisper-transcriber whisper-transcriber', isRoot ? `su ${user} ${group}` : '')
    .replace('create 0640 whisper-transcriber whisper-transcriber', `create 0640 ${user} ${group}`);
  const settings = path.join(folder, 'logrotate.conf');
  fs.writeFileSync(settings, own, { mode: 0o644 });
  let over = false;
  let count = 0;
  const wanted = new Set();
  const client = async (k) => {
    for (let n = 0; !over; n++) {
      const id = `load-${k}-${n}`;
      const response = n % 10 ? await fetch(`${server.url}/jobs?limit=1`, { headers: { 'x-request-id': id } })
        : await fetch(`${server.url}/transcribe`, { method: 'POST', headers: { 'x-request-id': id }, body: form(wav({ seconds: 1 })) });
      await response.arrayBuffer();
      wanted.add(id);
      count++;
    }
  };
  const clients = [0, 1, 2, 3].map(client);
  const reopened = () => fs.readdirSync(logs).filter((name) => !name.endsWith('.gz')).length;
  for (let n = 1; n <= 5; n++) {
    const before = count;
    await until(() => count, (now) => now > before + 30);
    const run = spawn('logrotate', ['--force', '--state', path.join(folder, 'state'), settings], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    run.stderr.setEncoding('utf8').on('data', (chunk) => { said += chunk; });
    assert.deepEqual(await once(run, 'exit'), [0, null], said);
    assert.ok(reopened() >= 2);
    // From its word on, nobody writes into the old one.
    await until(() => fs.readFileSync(file, 'utf8'), (now) => now.includes('"log reopened"'));
    const old = fs.statSync(`${file}.1`).size;
    const then = count;
    await until(() => count, (now) => now > then + 30);
    assert.equal(fs.statSync(`${file}.1`).size, old, 'something was written to the file that was moved away');
  }
  over = true;
  await Promise.all(clients);
  assert.equal((await server.stop()).code, 0);
  assert.equal(fs.statSync(file).mode & 0o777, 0o640);
  const all = fs.readdirSync(logs).map((name) => {
    const at = path.join(logs, name);
    return name.endsWith('.gz') ? spawnSync('zcat', [at], { encoding: 'utf8', maxBuffer: 64 << 20 }).stdout : fs.readFileSync(at, 'utf8');
  });
  assert.equal(all.length, 6);
  const lines = all.flatMap(parse);
  const seen = new Map();
  for (const line of lines) if (line.status && line.request?.startsWith('load-')) seen.set(line.request, (seen.get(line.request) ?? 0) + 1);
  assert.deepEqual([...wanted].filter((id) => seen.get(id) !== 1), []);
  // Lines of the worker processes are in the files of before and of after.
  assert.ok(all.filter((each) => each.includes('"role":"worker"')).length >= 2);
  t.diagnostic(`5 rotations, ${wanted.size} requests, ${lines.length} lines, 0 lost`);
});

// ---- the system's own -----------------------------------------------------------------------

const mayMount = isRoot && spawnSync('unshare', ['--mount', 'true']).status === 0;

/** Start the service where /dev/log and the journal's socket are those of the test. */
async function startAmong(folder, env, { journal = '' } = {}) {
  const script = `
    set -e
    mount -t tmpfs tmpfs /run
    mkdir -p /run/systemd/journal
    [ -z "$JOURNAL" ] || ln -s "$JOURNAL" /run/systemd/journal/socket
    if [ -n "$SYSLOG" ]; then
      mkdir -p "$FOLDER/dev"
      mount -t tmpfs -o dev tmpfs "$FOLDER/dev"
      for node in null zero full random urandom; do cp -a /dev/$node "$FOLDER/dev/"; done
      ln -s /proc/self/fd "$FOLDER/dev/fd"
      mkdir "$FOLDER/dev/shm"
      ln -s "$SYSLOG" "$FOLDER/dev/log"
      mount --bind "$FOLDER/dev" /dev
    fi
    exec 2>"$FOLDER/stderr"
    export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)
    exec "$0" serve`;
  const child = spawn('unshare', ['--mount', 'bash', '-c', script, binary], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: folder, FOLDER: folder, JOURNAL: journal, SYSLOG: '', PORT: '0', WHISPER_MODEL_DIR: models, DEFAULT_WHISPER_MODEL: 'tiny', ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', ...env },
  });
  process.on('exit', () => child.kill('SIGKILL'));
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
  const exited = once(child, 'exit');
  await Promise.race([until(() => out, (text) => text.includes('Listening')), exited.then(() => { throw new Error(`it ended: ${fs.readFileSync(path.join(folder, 'stderr'), 'utf8')}`); })]);
  return { url: /http:\S+/.exec(out)[0], out: () => out, stderr: () => fs.readFileSync(path.join(folder, 'stderr'), 'utf8'), stop: () => { child.kill('SIGTERM'); return exited; } };
}

describe('logs of the system', { skip: noModel || (mayMount ? false : 'needs the right to mount') }, () => {
  test('the journal gets fields, and none of them can be made up', async () => {
    const folder = tempFolder();
    const journal = await listenForDatagrams(path.join(folder, 'journal'));
    const server = await startAmong(folder, {}, { journal: journal.path });
    const answer = await fetch(`${server.url}/transcribe`, { method: 'POST', headers: { 'x-request-id': 'for-the-journal' }, body: form(wav(), 'x\nPRIORITY=0\n.wav') });
    const { job_id: id } = await answer.json();
    await waitForJob(server, id);
    const { text } = await journal.heard(/WHISPER_TRANSCRIBER_STATUS/);
    assert.match(text, /^PRIORITY\n[^\n]*6\n/);
    assert.match(text, /\nMESSAGE\n[^]*POST \/transcribe -> 202/);
    assert.match(text, /WHISPER_TRANSCRIBER_REQUEST\n[^]*for-the-journal/);
    const accepted = await journal.heard(/accepted: /);
    assert.ok(accepted.text.includes(id) && accepted.text.includes('for-the-journal'));
    await server.stop();
    assert.ok(!journal.said.some((each) => /^PRIORITY=0/m.test(each.text)));
    assert.equal(server.stderr(), '', 'nothing twice');
    journal.close();
  });

  test('without its socket, lines begin with their priority', async () => {
    const folder = tempFolder();
    const server = await startAmong(folder, {});
    await server.stop();
    assert.match(server.stderr(), /^<6>\d{4}-/m);
    assert.ok(server.stderr().trim().split('\n').every((line) => /^<[3467]>/.test(line)), server.stderr());
  });

  test('no key is made where it would stand in the journal for ever', async () => {
    const folder = tempFolder();
    // Standard output is the journal, too.
    const run = spawn('bash', ['-c', 'exec >"$0.out" 2>&1; export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2); exec "$1" serve', path.join(folder, 'all'), binary], {
      cwd: folder, env: { PATH: process.env.PATH, HOME: folder, PORT: '0', HOST: '0.0.0.0', WHISPER_MODEL_DIR: models, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '' },
    });
    process.on('exit', () => run.kill('SIGKILL'));
    const all = await until(() => { try { return fs.readFileSync(path.join(folder, 'all.out'), 'utf8'); } catch { return ''; } }, (text) => text.includes('Listening'));
    assert.match(all, /keys create/);
    assert.doesNotMatch(all, /wt_[A-Za-z0-9]/);
    run.kill('SIGTERM');
    await once(run, 'exit');
  });

  test('syslog gets lines with facility and priority', async () => {
    const folder = tempFolder();
    const syslog = await listenForDatagrams(path.join(folder, 'syslog'));
    const server = await startAmong(folder, { SYSLOG: syslog.path, LOG_TO_SYSLOG: 'true', LOG_SYSLOG_FACILITY: 'local3', LOG_TO_STDOUT: 'false' });
    await fetch(`${server.url}/jobs/none`, { headers: { 'x-request-id': 'for-syslog' } });
    // local3 is 19: 19 * 8 + 6.
    const { text } = await syslog.heard(/for-syslog/);
    assert.match(text, /^<158>.* whisper-transcriber\[\d+\]: request=for-syslog 127\.0\.0\.1 GET \/jobs\/none -> 404/);
    await server.stop();
    assert.equal(server.stderr(), '');
    syslog.close();
  });
});

test('what docs/operations.md says about logs works', { skip: noModel || hasLogrotate }, async () => {
  const folder = tempFolder();
  const server = await startServer({ folder, env: { LOG_FILE: path.join(folder, 'service.log'), LOG_FORMAT: 'json' } });
  const answer = await transcribe(server, form(wav()));
  await waitForJob(server, answer.body.job_id);
  // Of the commands, those that ask systemd need it as the first process.
  const tools = path.join(folder, 'bin');
  fs.mkdirSync(tools);
  for (const name of ['journalctl', 'systemctl']) fs.writeFileSync(path.join(tools, name), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
  // The user of the packages is not here.
  const me = spawnSync('sh', ['-c', 'printf "%s %s" "$(id -un)" "$(id -gn)"'], { encoding: 'utf8' }).stdout;
  fs.writeFileSync(path.join(tools, 'logrotate'), `#!/bin/sh\nsed -i 's/whisper-transcriber whisper-transcriber$/${me}/' "$2"\n`
    + `PATH=/usr/sbin:/sbin:${process.env.PATH} exec logrotate "$@"\n`, { mode: 0o755 });
  for (const block of blocks('Logs').filter(({ language }) => language === 'sh')) {
    runBlock(block, {
      cwd: folder,
      env: { PATH: `${tools}:${process.env.PATH}`, JOB: answer.body.job_id },
      replace: [['/var/log/whisper-transcriber/whisper-transcriber.log', path.join(folder, 'service.log')], ['/usr/share/whisper-transcriber/deploy', path.join(root, 'deploy')],
        ['/etc/logrotate.d', folder], ['sudo ', '']],
    });
  }
  await server.stop();
});
