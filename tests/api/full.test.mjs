// A disk that fills up while a recording comes in: a real, small file system.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import {
  form, getJson, hasModel, startServer, tempFolder, transcribe, until, wav,
} from '../lib/server.mjs';

const storage = path.join(tempFolder(), 'small');
fs.mkdirSync(storage);
let reason = hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS';
if (!reason && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=72m', 'tmpfs', storage]).status !== 0) {
  reason = 'no right to mount a small file system';
}

describe('a disk that is nearly full', { skip: reason }, () => {
  let server;
  before(async () => { server = await startServer({ env: { STORAGE_DIR: storage } }); });
  after(async () => {
    await server.stop();
    assert.equal(spawnSync('umount', ['-l', storage]).status, 0);
  });

  const big = () => form(wav({ seconds: 600 }), 'big.wav');
  const uploads = () => fs.readdirSync(path.join(storage, 'uploads'));

  test('refuses what it cannot store with 507, keeps nothing of it, and recovers', async () => {
    assert.equal((await transcribe(server, form(wav()))).status, 202);
    const before = uploads().length;
    const answer = await transcribe(server, big());
    assert.equal(answer.status, 507, JSON.stringify(answer.body));
    assert.equal(answer.body.error_code, 'disk_full');
    assert.ok(Number(answer.headers.get('retry-after')) > 0);
    await until(() => uploads().length, (n) => n <= before);
    // Something else takes the rest: now not even a small one, and the health check says so.
    const filler = path.join(storage, 'filler');
    fs.writeFileSync(filler, Buffer.alloc(16 * 1048576));
    assert.equal((await transcribe(server, form(wav()))).status, 507);
    const { body } = await until(() => getJson(server, '/health/ready'), (a) => a.status === 503);
    assert.equal(body.failing, 'storage');
    fs.rmSync(filler);
    await until(() => getJson(server, '/health/ready'), (a) => a.status === 200);
    assert.equal((await transcribe(server, form(wav()))).status, 202);
  });

  // curl sends a large body only when it is told to, and never reads an answer that has a reset behind it.
  const curl = async (door, ...args) => {
    const { stdout } = await promisify(execFile)('curl', ['-sS', ...args, '-w', '\n%{http_code} %{size_upload}', server.url + door]);
    const [code, sent] = stdout.split('\n').at(-1).split(' ').map(Number);
    return { code, sent, body: stdout };
  };

  test('says so to curl before it has sent anything, at every door', async () => {
    const file = path.join(tempFolder(), 'big.wav');
    fs.writeFileSync(file, wav({ seconds: 600 }));
    for (const [door, field] of [['/transcribe', 'file'], ['/v1/audio/transcriptions', 'file'], ['/asr', 'audio_file'], ['/detect-language', 'audio_file']]) {
      const { code, sent, body } = await curl(door, '-F', `${field}=@${file}`);
      assert.equal(code, 507, `${door}: ${body}`);
      assert.equal(sent, 0, door);
    }
  });

  test('says so to curl in the middle of what it sends, too', async () => {
    const file = path.join(tempFolder(), 'big.wav');
    fs.writeFileSync(file, wav({ seconds: 1800 }));
    const small = path.join(tempFolder(), 'small.wav');
    fs.writeFileSync(small, wav({ seconds: 120 }));
    for (let turn = 0; turn < 20; turn++) {
      // With no length nobody can know before.
      const full = await curl('/transcribe', '-H', 'Transfer-Encoding: chunked', '-F', `file=@${file}`);
      assert.equal(full.code, 507, full.body);
      // The same path, for another reason.
      const wrong = await curl('/transcribe', '-F', 'language=elvish', '-F', `file=@${small}`);
      assert.equal(wrong.code, 400, wrong.body);
    }
  });
});
