// docs/operations.md: no command in it that no test runs.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { headingsWithCommands, root } from '../lib/document.mjs';

// Folders whose tests may run a section.
const folders = ['deploy', 'api', 'fault'];

test('every section with commands is run by a test', () => {
  const sources = folders.flatMap((folder) => {
    const where = path.join(root, 'tests', folder);
    return fs.readdirSync(where).filter((name) => name.endsWith('.test.mjs'))
      .map((name) => fs.readFileSync(path.join(where, name), 'utf8'));
  });
  const never = headingsWithCommands().filter((heading) => (
    !sources.some((text) => text.includes(`runSection('${heading}'`) || text.includes(`blocks('${heading}'`))));
  assert.deepEqual(never, [], 'commands that no test runs');
});

const page = fs.readFileSync(path.join(root, 'docs/operations.md'), 'utf8');

test('what is named in passing is a verb, with options that it has', () => {
  const ask = (...words) => spawnSync(process.env.WT_BINARY, words, { encoding: 'utf8', env: { PATH: process.env.PATH, WHISPER_CONFIG_FILE: '/dev/null' } }).stdout;
  const commands = ask('pages', 'commands').trim().split('\n');
  const alerts = fs.readFileSync(path.join(root, 'deploy/prometheus/alerts.yml'), 'utf8').replace(/\s+/g, ' ').match(/action: .*?section:/g).join(' ');
  const inline = page.replace(/^```[^]*?^```$/gm, '').match(/`[^`\n]+`/g).map((code) => code.slice(1, -1).replace(/^whisper-transcriber /, ''));
  const named = [...inline.filter((code) => commands.includes(code.split(' ')[0]) && code.includes(' ')),
    ...[...alerts.matchAll(/(?<!-u )whisper-transcriber ([a-z]+(?: (?:ls|by|drill|check)\b)?(?: (?:--)?[a-z]+)?)/g)].map((m) => m[1].replace(/ (by|shows|names)\b.*/, ''))];
  assert.ok(named.length > 15, named.join('; '));
  const help = new Map(commands.map((command) => [command, ask(command, '--help')]));
  for (const code of named) {
    const [command, ...rest] = code.split(' ');
    assert.ok(help.has(command), code);
    const verb = rest.find((word) => /^[a-z]+$/.test(word));
    if (verb && new RegExp(`^ +(?:usage: )?whisper-transcriber ${command} [a-z]|^usage: whisper-transcriber ${command} [a-z]`, 'm').test(help.get(command))) {
      assert.match(help.get(command), new RegExp(`whisper-transcriber ${command} ${verb}\\b`), code);
    }
    for (const option of rest.filter((word) => word.startsWith('--'))) assert.ok(help.get(command).includes(option), `${code}: ${option}`);
    const words = rest.filter((word) => /^[a-z]+$/.test(word));
    assert.ok(words.length < 2 || command === 'models' || command === 'keys', `${code}: what is ${words[1]}?`);
  }
});

test('links lead to headings and files that there are', () => {
  const anchors = page.match(/^#+ .*$/gm).map((line) => line.replace(/^#+ /, '').toLowerCase().replace(/[^a-z0-9 -]/g, '').replaceAll(' ', '-'));
  for (const [, to] of page.matchAll(/\]\(([^)]+)\)/g)) {
    if (to.startsWith('#')) assert.ok(anchors.includes(to.slice(1)), to);
    else if (!to.startsWith('http')) assert.ok(fs.existsSync(path.join(root, 'docs', to)), to);
  }
  for (const [, to] of page.matchAll(/`((?:docs|deploy|script)\/[\w./@-]+)`/g)) assert.ok(fs.existsSync(path.join(root, to)), to);
});
