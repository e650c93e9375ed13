// What root types beside a service that is not root: nothing that it writes may be root's, for
// the service could not go on with it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { binary, folder } from '../shell/helper.mjs';

const skip = process.getuid() !== 0 && 'needs root';
const SERVICE = 65534;

/** Everything below a folder. */
const below = (at) => fs.readdirSync(at, { withFileTypes: true })
  .flatMap((entry) => [path.join(at, entry.name), ...(entry.isDirectory() ? below(path.join(at, entry.name)) : [])]);

/** A place of the service's user, and verbs in it as root. */
function place(t) {
  const dir = folder(t);
  fs.chmodSync(dir, 0o755);
  for (const name of ['data', 'storage', 'copies', 'models']) fs.mkdirSync(path.join(dir, name));
  for (const name of ['', 'data', 'storage', 'copies', 'models']) fs.chownSync(path.join(dir, name), SERVICE, SERVICE);
  const run = (words, env = {}) => spawnSync(path.resolve(binary), words, {
    cwd: dir, encoding: 'utf8',
    env: { PATH: process.env.PATH, WHISPER_CONFIG_FILE: '/dev/null', PORT: '0', BACKUP_DIR: `${dir}/copies`, STORAGE_DIR: `${dir}/storage`, WHISPER_MODEL_DIR: `${dir}/models`,
      DATABASE_URL: `sqlite:///${dir}/data/app.db`, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', ...env },
  });
  const wrong = () => below(dir).filter((file) => fs.statSync(file).uid !== SERVICE);
  return { dir, run, wrong };
}

test('no verb leaves anything of root', { skip }, (t) => {
  const { dir, run, wrong } = place(t);
  const made = run(['keys', 'create', '--name', 'first', '--scope', 'admin']);
  assert.equal(made.status, 0, made.stderr);
  for (const words of [['backup'], ['backup', 'list'], ['backup', 'verify'], ['backup', 'drill'], ['restore', '--dry-run'], ['restore', '--force'],
    ['prune'], ['database', 'check'], ['database', 'vacuum'], ['hold', 'ls'], ['migrate', 'status'], ['keys', 'ls'], ['queue', 'ls'], ['check']]) {
    const r = run(words);
    assert.ok(words[0] === 'check' || r.status === 0, `${words.join(' ')}: ${r.stdout}${r.stderr}`); // no model is here
    assert.deepEqual(wrong(), [], words.join(' '));
  }
});

test('a restore makes folders that are gone as the owner of those above', { skip }, (t) => {
  const { dir, run, wrong } = place(t);
  assert.equal(run(['keys', 'create', '--name', 'first', '--scope', 'admin']).status, 0);
  assert.equal(run(['backup']).status, 0);
  for (const name of ['data', 'storage']) fs.rmSync(path.join(dir, name), { recursive: true });
  const r = run(['restore']);
  assert.equal(r.status, 0, r.stderr);
  assert.ok(fs.existsSync(path.join(dir, 'data/app.db')));
  assert.deepEqual(wrong(), []);
});
