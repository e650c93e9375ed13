// Every example of docs/api.md does what it says: run as it stands, against a service of its own.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary, form, freePort, hasModel, models, startServer, tempFolder, transcribe, until, waitForJob } from '../lib/server.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const speech = fs.readFileSync(path.join(root, 'tests/engine/golden/clean.wav'));
const document = fs.readFileSync(path.join(root, 'docs/api.md'), 'utf8');
const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS', timeout: 600_000 };
const has = (...command) => !spawnSync(command[0], command.slice(1)).error;

const blocks = [...document.matchAll(/^```(sh|js|python)\n(.*?)^```/gms)].map(([, language, text]) => ({ language, text }));

/** A job to show, to listen to, to delete. */
async function job(server) {
  const { body } = await transcribe(server, form(speech, 'interview.mp3'));
  await waitForJob(server, body.job_id);
  return body.job_id;
}
async function cancelledJob(server) {
  const { body } = await transcribe(server, form(Buffer.concat([speech, ...Array(60).fill(speech.subarray(44))]), 'long.wav'));
  const answer = await fetch(`${server.url}/jobs/${body.job_id}/cancel`, { method: 'POST' });
  assert.equal(answer.status, 200);
  return body.job_id;
}

/**
 * By what stands in it: what it must print; `id`: what $ID is; `keys`: on the service that asks
 * for keys; `ends`: the exit status; `before`: what a reader has at that point; `asks`: what
 * comes to the other host.
 */
const expected = [
  { has: '01a20ef5-…/download', id: job, prints: /"status":"pending"[^]*"status":"completed"[^]*stew for dinner/i, file: 'interview.srt' },
  { has: 'keys create', keys: true, prints: /"status":"pending"[^]*media server[^]*[Rr]evoked/ },
  { has: '"name":"intern"', keys: true, prints: /"key":"wt_[^]*"events":\[/ },
  { has: 'Gräfelfing', prints: /"filename":"anruf\.m4a"/ },
  { has: 'monday.mp3', prints: /monday\.mp3[^]*tuesday\.mp3[^]*"not_media"/ },
  { has: 'Idempotency-Key', prints: /"filename":"meeting\.mp3"/ },
  { has: 'retain=none', prints: /"filename":"confession\.m4a"/ },
  { has: 'Tus-Resumable', prints: /201 Created[^]*Job-Id: [0-9a-f-]{36}/ },
  { has: 'tus-js-client', prints: /[0-9a-f-]{36}/,
    before: "import { readFileSync } from 'node:fs';\nconst file = Object.assign(readFileSync('talk.mp3'), { name: 'talk.mp3' });\n" },
  { has: 'url=https://example.org/talk.mp3', prints: /"status":"pending"/, asks: 'GET /talk.mp3' },
  { has: 'webhook_url=', prints: /"status":"pending"/, asks: 'POST /hooks/transcripts' },
  { has: 'standardwebhooks',
    before: 'const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", body = \'{"event":"job.completed"}\', now = new Date();\n' +
      'const headers = { "webhook-id": "1", "webhook-timestamp": String(Math.floor(now / 1000)),\n' +
      '  "webhook-signature": new Webhook(secret).sign("1", now, body) };\n',
    behind: '\nconsole.log(event);\n', prints: /job\.completed/ },
  { has: 'budg*', prints: /"jobs":\[/ },
  { has: '$ID/retry', id: cancelledJob, prints: /"jobs":\[[^]*"status":"pending"[^]*Job deleted successfully/ },
  { has: 'court case 7', id: job, prints: /"reason":"court case 7"[^]*"hold":null/ },
  { has: 'beginning.bin', id: job, prints: /"peaks":\[/, file: 'beginning.bin' },
  { has: '/ws/jobs/$ID', id: job, prints: /"status":"completed","progress":100/ },
  { has: 'curl -N http://127.0.0.1:8000/events', seconds: 2, ends: 28, prints: /^retry: 2000[^]*event: ready/ },
  { has: "new EventSource('/events')", prints: /job_id: '[0-9a-f-]{36}'/,
    before: "import { EventSource as Source } from 'eventsource';\nconst server = 'http://127.0.0.1:8000';\n" +
      'class EventSource extends Source { constructor(where) { super(server + where); } }\n',
    behind: "\nevents.addEventListener('ready', async () => { const form = new FormData();\n" +
      "  form.append('file', new Blob([(await import('node:fs')).readFileSync('talk.mp3')]), 'talk.mp3');\n" +
      "  return fetch(server + '/transcribe', { method: 'POST', body: form }); });\n" +
      "events.addEventListener('job', () => setTimeout(() => process.exit(0), 100));\n" },
  { has: 'curl -F model=whisper-1 -F file=@interview.mp3', prints: /^\{"text":".*stew for dinner.*","usage":\{"type":"duration","seconds":11\}\}/i },
  { has: 'include[]=logprobs', prints: /transcript\.text\.done[^]*\n1\n00:00:[^]*"logprobs":\[[^]*"text":[^]*"id":"whisper-1"/ },
  { has: 'from openai import OpenAI', prints: /stew for dinner/i },
  { has: 'stream: true });', prints: /stew for dinner/i },
  { has: 'audio.translations.create', prints: /^\d+\.\d\d \S+\n[^]*stew/i },
  { has: 'audio_file=@film.mkv', needs: ['ffmpeg', '-version'], prints: /"language_code":"en"/, file: 'film.mkv.srt' },
  { has: '/models/small/pull', not: 'brings half a gigabyte; tests/api/models.test.mjs does the same with a small one' },
  { has: 'WYOMING_HOST=192.168.1.20', not: 'an address of another network' },
  { has: '"type":"describe"', prints: /"type":"info"[^]*Whisper Transcriber/ },
  { has: 'queue ls --failed', not: 'ID stands for an id; tests/api/queue.test.mjs runs each of them' },
  { has: 'jq -r', needs: ['jq', '--version'], prints: /^\/asr$/m },
];

/** Node 18 has it elsewhere, and OpenAI's client wants it here. */
const preload = "globalThis.File ??= require('node:buffer').File;\n";

/** Programs that not every machine has, and a curl that fails when it is refused. */
const programs = {
  curl: '#!/bin/sh\nexec "$REAL_CURL" --fail-with-body --no-progress-meter --max-time "${CURL_SECONDS:-120}" "$@"\n',
  websocat: `#!/usr/bin/env node
const WebSocket = require('ws');
new WebSocket(process.argv[2]).on('message', (text) => console.log(String(text))).on('error', () => process.exit(1));
`,
  nc: `#!/usr/bin/env node
const [host, port] = process.argv.slice(-2);
const socket = require('node:net').connect(port, host);
process.stdin.pipe(socket, { end: false });
socket.on('data', (bytes) => { process.stdout.write(bytes, () => process.exit(0)); });
`,
};

describe('the examples of the documents', needsModel, () => {
  let server, guarded, wyoming, elsewhere;
  const asked = []; // of the host that the examples call example.org
  const folder = tempFolder();
  const bin = path.join(folder, 'bin');

  before(async () => {
    wyoming = await freePort();
    elsewhere = http.createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      request.resume().on('end', () => response.end(request.method === 'GET' ? speech : ''));
    }).listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    const allowed = `127.0.0.1:${elsewhere.address().port}`;
    server = await startServer({ env: {
      WYOMING_PORT: String(wyoming), URL_FETCH: 'on', URL_FETCH_ALLOW: allowed, WEBHOOK_ALLOW: allowed } });
    guarded = await startServer();
    fs.mkdirSync(bin);
    fs.writeFileSync(path.join(folder, 'preload.cjs'), preload);
    for (const [name, text] of Object.entries(programs)) fs.writeFileSync(path.join(bin, name), text, { mode: 0o755 });
    fs.symlinkSync(path.resolve(binary), path.join(bin, 'whisper-transcriber'));
    fs.symlinkSync(path.join(root, 'tests/node_modules'), path.join(folder, 'node_modules'));
  });
  after(async () => {
    elsewhere.close();
    for (const one of [server, guarded]) assert.equal((await one.stop()).code, 0, one.log());
  });

  /** Run a block in a folder with the recordings that the examples speak of. */
  async function run({ language, text }, { keys, id, seconds, before: first = '', behind = '' }) {
    const service = keys ? guarded : server;
    const here = keys ? service.folder : fs.mkdtempSync(path.join(folder, 'run-'));
    for (const name of ['interview.mp3', 'anruf.m4a', 'monday.mp3', 'tuesday.mp3', 'meeting.mp3', 'confession.m4a',
      'talk.mp3', 'film.mkv']) fs.writeFileSync(path.join(here, name), speech);
    fs.writeFileSync(path.join(here, 'notes.txt'), 'Only words.\n'.repeat(50));
    const ID = id ? await id(service) : '';
    let script = first + text + behind;
    script = script.replaceAll('127.0.0.1:8000', `127.0.0.1:${service.port}`).replaceAll('01a20ef5-…', ID)
      .replaceAll('https://example.org', `http://127.0.0.1:${elsewhere.address().port}`)
      .replaceAll('10300', String(wyoming)).replace('revoke 1234567890abcdef', 'revoke "$(echo "$KEY" | cut -d_ -f2)"');
    const name = path.join(here, { sh: 'example.sh', js: 'example.mjs', python: 'example.py' }[language]);
    fs.writeFileSync(name, script);
    const child = spawn({ sh: 'bash', js: process.execPath, python: 'python3' }[language],
      [...{ sh: ['-e', '-o', 'pipefail'], js: ['--require', path.join(folder, 'preload.cjs')], python: [] }[language], name], {
        cwd: here,
        env: { ...process.env, PATH: `${bin}:${process.env.PATH}`, NODE_PATH: path.join(root, 'tests/node_modules'), ID,
          REAL_CURL: spawnSync('sh', ['-c', 'command -v curl'], { encoding: 'utf8' }).stdout.trim(),
          CURL_SECONDS: seconds ? String(seconds) : '120', ADMIN: keys ? admin() : '', WHISPER_MODEL_DIR: models },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    let out = '';
    let errors = '';
    child.stdout.on('data', (bytes) => { out += bytes; });
    child.stderr.on('data', (bytes) => { errors += bytes; });
    const [code] = await once(child, 'close');
    return { code, out, errors, here };
  }

  let key;
  const admin = () => {
    key ??= spawnSync(binary, ['keys', 'create', '--name', 'admin', '--scope', 'admin'],
      { cwd: guarded.folder, encoding: 'utf8', env: { PATH: process.env.PATH, HOME: guarded.folder } }).stdout.trim();
    assert.match(key, /^wt_/);
    return key;
  };

  test('each is known here', () => {
    assert.ok(blocks.length > 25);
    for (const { text } of blocks)
      assert.equal(expected.filter((e) => text.includes(e.has)).length, 1, text);
    for (const e of expected) assert.ok(blocks.some(({ text }) => text.includes(e.has)), e.has);
  });

  for (const block of blocks) {
    const e = expected.find((one) => block.text.includes(one.has)) ?? { not: 'not known' };
    const lacks = e.needs && !has(...e.needs) ? `there is no ${e.needs[0]}` :
      block.language === 'python' && spawnSync('python3', ['-c', 'import openai']).status !== 0 ? 'Python has no openai' : false;
    test(`${block.language}: ${e.has}`, { skip: e.not ?? lacks }, async () => {
      const { code, out, errors, here } = await run(block, e);
      assert.equal(code, e.ends ?? 0, `${out}\n${errors}`);
      assert.match(out, e.prints);
      if (e.asks) await until(() => asked, (list) => list.includes(e.asks));
      if (e.file) assert.ok(fs.statSync(path.join(here, e.file)).size > 50);
    });
  }
});
