// A disk that fills up while a recording comes in: a real, small file system.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
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
});
