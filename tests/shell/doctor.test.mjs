// `doctor` and `models list|path|verify`.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { folder, modelFile, run, root } from './helper.mjs';

test('doctor prints every value and where it came from', async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'ggml-tiny.bin'), 'x');
  const r = await run(['doctor'], { cwd: dir, env: { WHISPER_MODEL_DIR: dir, PORT: '8123', CELERY_CONCURRENCY: '3' } });
  assert.equal(r.code, 0, r.out + r.err);
  assert.match(r.out, /^PORT = 8123\n    environment variable PORT;/m);
  assert.match(r.out, /^WORKER_CONCURRENCY = 3\n    environment variable CELERY_CONCURRENCY;/m);
  assert.match(r.out, /^HOST = 127\.0\.0\.1\n    default;/m);
  assert.match(r.out, /^ok {4}models: 1 in .*, the default is tiny$/m);
  assert.match(r.out, /^ok {4}processor: \d+ threads/m);
  assert.deepEqual(fs.readdirSync(dir), ['ggml-tiny.bin']); // it looks, it does not touch
});

test('doctor finds what is wrong', async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'file'), '');
  const r = await run(['doctor'], {
    cwd: dir,
    env: { WHISPER_MODEL_DIR: path.join(dir, 'none'), STORAGE_DIR: path.join(dir, 'file'), WHISPER_LANGUAGE: 'klingon' },
  });
  assert.equal(r.code, 1);
  assert.match(r.out, /^WRONG models: .*does not exist/m);
  assert.match(r.out, /^WRONG storage: /m);
  assert.match(r.out, /^WRONG language: .*klingon/m);
});

test('doctor writes the page of settings', async () => {
  const r = await run(['doctor', '--settings-markdown']);
  assert.equal(r.code, 0);
  assert.equal(r.out, fs.readFileSync(path.join(root, 'docs/settings.md'), 'utf8'));
});

test('models list shows what is here and what there is', async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'ggml-base.bin'), 'x');
  fs.writeFileSync(path.join(dir, 'ggml-mine.bin'), 'x');
  const r = await run(['models', 'list'], { env: { WHISPER_MODEL_DIR: dir } });
  assert.equal(r.code, 0);
  const [here, rest] = r.out.split('\n\n');
  assert.match(here, /base .*\(default\)\n.*mine/);
  assert.match(rest, /tiny .*77\.7 MB/);
  assert.match(rest, /large-v3-turbo .*1\.62 GB/);
  assert.doesNotMatch(rest, /^ +base +/m);
  const none = await run(['models', 'list'], { env: { WHISPER_MODEL_DIR: path.join(dir, 'none') } });
  assert.equal(none.code, 0);
  assert.match(none.out, /here: none/);
});

test('models path', async (t) => {
  const dir = folder(t);
  const env = { WHISPER_MODEL_DIR: dir };
  const missing = await run(['models', 'path', 'tiny'], { env });
  assert.equal(missing.code, 4);
  assert.match(missing.err, /models pull tiny/);
  assert.equal((await run(['models', 'path'], { env })).code, 4);
  const file = path.join(dir, 'ggml-tiny.bin');
  fs.writeFileSync(file, 'x');
  for (const args of [['tiny'], []]) {
    const r = await run(['models', 'path', ...args], { env });
    assert.equal(r.code, 0, r.err);
    assert.equal(r.out, `${file}\n`);
  }
  assert.equal((await run(['models', 'path', '../tiny'], { env })).code, 4);
  assert.equal((await run(['models', 'path', 'tiny', 'base'], { env })).code, 2);
});

test('models verify finds damage', async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'ggml-tiny.bin'), 'x');
  const r = await run(['models', 'verify'], { env: { WHISPER_MODEL_DIR: dir } });
  assert.equal(r.code, 4);
  assert.match(r.err, /1 bytes where the published file has 77691713/);
});

const real = modelFile('tiny-q5_1');
test('models verify accepts the published file, and sees one flipped bit',
  { skip: !real && 'no tiny-q5_1 in the test models folder' }, async (t) => {
    const dir = folder(t), file = path.join(dir, 'ggml-tiny-q5_1.bin'), env = { WHISPER_MODEL_DIR: dir };
    fs.copyFileSync(real, file);
    fs.writeFileSync(path.join(dir, 'ggml-mine.bin'), 'x');
    const good = await run(['models', 'verify'], { env });
    assert.equal(good.code, 0, good.err);
    assert.match(good.out, /^tiny-q5_1: right$/m);
    assert.match(good.out, /^mine: unknown/m);
    const fd = fs.openSync(file, 'r+');
    const byte = Buffer.alloc(1);
    fs.readSync(fd, byte, 0, 1, 1_000_000);
    byte[0] ^= 1;
    fs.writeSync(fd, byte, 0, 1, 1_000_000);
    fs.closeSync(fd);
    const bad = await run(['models', 'verify', 'tiny-q5_1'], { env });
    assert.equal(bad.code, 4);
    assert.match(bad.err, /damaged: its SHA-256 is/);
  });

test('models refuses what it does not know', async () => {
  for (const [args, said] of [[['models'], /list, pull, verify, path/], [['models', 'fetch'], /no `models fetch`/],
    [['models', 'list', 'tiny'], /takes no names/], [['models', 'pull'], /pull what/], [['models', '--colour'], /no option --colour/],
    [['models', 'pull', 'gigantic'], /no model "gigantic" is published/], [['doctor', 'now'], /takes no arguments/]]) {
    const r = await run(args);
    assert.equal(r.code, 2, args.join(' '));
    assert.match(r.err, said);
  }
});
