// docs/accuracy.md names every parameter of decoding with the default that the program has.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root, run } from './helper.mjs';

// name: the default that the help shows, or undefined where it shows none
function told(help) {
  const part = help.slice(help.indexOf('\nHow it is done'), help.indexOf('\nsubtitles')), found = {};
  for (const option of part.split(/\n {6}--/).slice(1)) {
    const text = option.split(/\n\n/)[0].replace(/\s+/g, ' ');
    found[/^[a-z-]+/.exec(text)[0].replaceAll('-', '_')] = /\(([^()]*)\)$/.exec(text)?.[1];
  }
  return found;
}

test('docs/accuracy.md has every parameter with its default', async () => {
  const r = await run(['transcribe', '--help']);
  const program = told(r.out), text = fs.readFileSync(path.join(root, 'docs/accuracy.md'), 'utf8');
  const page = Object.fromEntries([...text.matchAll(/^\| `([a-z_]+)` \| ([^|]*) \| [^|]+ \|$/gm)].map((m) => [m[1], m[2]]));
  const subject = Object.keys(program).filter((name) => name !== 'vad_parameters');
  assert.ok(subject.length > 30, `the help was not understood: ${subject}`);
  for (const name of subject) {
    assert.ok(name in page, `${name} is missing in docs/accuracy.md`);
    if (program[name] !== undefined) assert.equal(page[name], program[name], name);
  }
  for (const name of Object.keys(page)) assert.ok(name in program, `docs/accuracy.md has ${name}, the program has not`);
});
