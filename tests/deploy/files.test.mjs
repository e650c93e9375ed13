// deploy/README.md names each file of deploy/, and nothing that is not there; the lists of both
// packages go together.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root } from '../lib/document.mjs';

const readme = fs.readFileSync(path.join(root, 'deploy/README.md'), 'utf8');
const files = execFileSync('git', ['ls-files', 'deploy'], { cwd: root, encoding: 'utf8' }).trim().split('\n').map((f) => f.slice('deploy/'.length));
const building = (file) => /^(debian|rpm)\/|^(README\.md|meson\.build|script\/manual-pages)$/.test(file);

test('the table has every file, and no other', () => {
  const rows = readme.split('\n').filter((line) => line.startsWith('| `'));
  const named = rows.flatMap((row) => [...row.split(' | ')[0].matchAll(/`([^`]+)`/g)].map((m) => m[1]));
  assert.deepEqual(named.sort(), files.filter((file) => !building(file)).sort());
  for (const row of rows) assert.match(row, /^\| .+ \| .+ \| .+ \|$/);
});

test('only what builds packages is left out of them', () => {
  const rules = fs.readFileSync(path.join(root, 'deploy/meson.build'), 'utf8');
  assert.match(rules, /exclude_files: \['meson\.build', 'script\/manual-pages'\]/);
  assert.match(rules, /exclude_directories: \['debian', 'rpm'\]/);
});

const units = files.filter((file) => file.startsWith('systemd/')).map((file) => path.basename(file));
const timers = units.filter((unit) => /-(health|prune|check)\.timer$/.test(unit)).sort();

test('both packages start the same timers', () => {
  const debian = fs.readFileSync(path.join(root, 'deploy/debian/rules'), 'utf8');
  const started = [...debian.matchAll(/dh_installsystemd --name=\S+ (\S+\.timer)/g)].map((m) => m[1]).sort();
  assert.deepEqual(started, timers);
  const rpm = fs.readFileSync(path.join(root, 'deploy/rpm/whisper-transcriber.spec'), 'utf8').replaceAll('%{name}', 'whisper-transcriber');
  for (const macro of ['systemd_post', 'systemd_preun']) {
    const line = new RegExp(`%\\{\\?${macro}:(.*)\\}`).exec(rpm)[1];
    assert.deepEqual(line.match(/\S+\.timer/g).map((timer) => timer.replace('}', '')).sort(), timers);
  }
});

test('both packages have the pages that the one for operators leads to', () => {
  const page = fs.readFileSync(path.join(root, 'docs/operations.md'), 'utf8');
  const wanted = [...new Set([...page.matchAll(/\]\((\w+\.md)\)/g)].map((m) => `docs/${m[1]}`)), 'docs/operations.md', 'docs/api.md'];
  const debian = fs.readFileSync(path.join(root, 'deploy/debian/whisper-transcriber.docs'), 'utf8').trim().split('\n');
  const rpm = /^%doc (.*)$/m.exec(fs.readFileSync(path.join(root, 'deploy/rpm/whisper-transcriber.spec'), 'utf8'))[1].split(' ');
  for (const one of wanted) assert.ok(debian.includes(one) && rpm.includes(one), `${one} is missing`);
});

const hasRpm = spawnSync('rpmspec', ['--version']).status === 0;

test('rpmspec reads the RPM\'s file', { skip: !hasRpm && 'rpmspec is not installed' }, () => {
  const run = spawnSync('rpmspec', ['--query', '--queryformat', '%{name} %{license}\\n', path.join(root, 'deploy/rpm/whisper-transcriber.spec')], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stdout, /^whisper-transcriber MIT$/m);
});
