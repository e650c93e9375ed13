/*
 * The commands of a document, run as a reader would: what a page tells tired people to type
 * must be what works. A block that starts with ```sh is run by bash; what it prints may be
 * shown in a block that follows it and starts with ```text.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** Blocks of a section of docs/operations.md, by its heading: [{language, text, line}]. */
export function blocks(heading, file = 'docs/operations.md') {
  const found = [];
  let inside = false;
  let block = null;
  fs.readFileSync(path.join(root, file), 'utf8').split('\n').forEach((text, i) => {
    if (block) {
      if (text.startsWith('```')) { found.push(block); block = null; } else block.text += `${text}\n`;
    } else if (text.startsWith('## ')) inside = text.slice(3) === heading;
    else if (inside && text.startsWith('```')) block = { language: text.slice(3), text: '', line: i + 1 };
  });
  return found;
}

/** Headings of a document that have commands below them. */
export function headingsWithCommands(file = 'docs/operations.md') {
  const headings = fs.readFileSync(path.join(root, file), 'utf8').match(/^## .*$/gm).map((h) => h.slice(3));
  return headings.filter((heading) => blocks(heading, file).some((b) => b.language === 'sh'));
}

/**
 * Run a block. `replace` are pairs of what stands there and what a test has instead (a
 * folder, a port); `env` is added to the environment; `command` is what gets the text on
 * its standard input (a shell in another root, for one). Throws with its output when it
 * fails, and names the line of the document.
 */
export function runBlock(block, { replace = [], env = {}, cwd, command = ['bash', '-euo', 'pipefail'], timeout = 300000 } = {}) {
  const text = replace.reduce((all, [from, to]) => all.replaceAll(from, to), block.text);
  const [program, ...given] = command;
  const run = spawnSync(program, given, {
    input: text, cwd, timeout, encoding: 'utf8', env: { ...process.env, ...env }, maxBuffer: 64 << 20,
  });
  if (run.status !== 0) {
    throw new Error(`the commands at line ${block.line} ended with ${run.status ?? run.signal ?? run.error}:\n${text}\n${run.stdout}\n${run.stderr}`);
  }
  return run.stdout;
}

/** Run all commands of a section, in order; what each printed. */
export function runSection(heading, options) {
  return blocks(heading).filter((b) => b.language === 'sh').map((b) => runBlock(b, options));
}
