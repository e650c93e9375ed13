// docs/operations.md: no command in it that no test runs.
import assert from 'node:assert/strict';
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
