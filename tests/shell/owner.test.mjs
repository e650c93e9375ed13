// What an administrator types as root beside a service that is not: nothing may be left
// that the service cannot change.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { folder, run } from './helper.mjs';

const nobody = 65534;
const options = { skip: process.getuid() !== 0 && 'only root can give files away' };

function owned(t) {
  const dir = folder(t);
  fs.chownSync(dir, nobody, nobody);
  return dir;
}

// Every file below a folder, with its owner.
const owners = (dir) => fs.readdirSync(dir).map((name) => [name, fs.statSync(path.join(dir, name)).uid]);

test('a key that root makes is in a database of the service', options, async (t) => {
  const dir = owned(t);
  const env = { DATABASE_URL: `sqlite:///${dir}/app.db`, LOG_FILE: `${dir}/service.log` };
  const made = await run(['keys', 'create', '--name', 'first'], { env });
  assert.equal(made.code, 0, made.err);
  for (const words of [['keys', 'ls'], ['queue', 'ls'], ['workers', 'ls']]) {
    const r = await run(words, { env });
    assert.equal(r.code, 0, r.err);
  }
  const found = owners(dir);
  assert.ok(found.some(([name]) => name === 'app.db') && found.some(([name]) => name === 'service.log'), `${found}`);
  assert.deepEqual(found.filter(([, uid]) => uid !== nobody), []);
});

test('a model that root asks for is looked for as the owner of the folder', options, async (t) => {
  const dir = owned(t);
  const r = await run(['models', 'pull', 'tiny'], { env: {
    WHISPER_MODEL_DIR: dir, WHISPER_MODEL_URL: 'http://127.0.0.1:9', WHISPER_MODEL_TIMEOUT_SECONDS: '2',
    npm_config_registry: 'http://127.0.0.1:9' } });
  assert.equal(r.code, 1, r.err);
  assert.deepEqual(owners(dir).filter(([, uid]) => uid !== nobody), []);
});

test('root stays root where the folder is its own', options, async (t) => {
  const dir = folder(t);
  const r = await run(['keys', 'create', '--name', 'first'], { env: { DATABASE_URL: `sqlite:///${dir}/app.db` } });
  assert.equal(r.code, 0, r.err);
  assert.deepEqual(owners(dir).filter(([, uid]) => uid !== 0), []);
});
