// Subtitles read strictly: what any tool that knows the format must be able to take.
import assert from 'node:assert/strict';

const time = (text, mark) => {
  const parts = new RegExp(`^(\\d{2,}):([0-5]\\d):([0-5]\\d)\\${mark}(\\d{3})$`).exec(text);
  assert.ok(parts, `no time: ${text}`);
  return 3600000 * parts[1] + 60000 * parts[2] + 1000 * parts[3] + Number(parts[4]);
};

/** Cues as [start ms, end ms, text], in order and none empty. */
function parse(blocks, mark, numbered) {
  let before = 0;
  return blocks.map((block, i) => {
    const lines = block.split('\n');
    if (numbered) assert.equal(lines.shift(), String(i + 1));
    const [from, to, ...more] = lines.shift().split(' --> ');
    assert.equal(more.length, 0);
    const start = time(from, mark);
    const end = time(to, mark);
    assert.ok(start >= before && end > start, block);
    before = end;
    assert.ok(lines.length > 0 && lines.every((line) => line.trim() && !line.includes('-->')), block);
    return [start, end, lines.join('\n')];
  });
}

function blocksOf(text) {
  assert.ok(!text.includes('\r') && text.isWellFormed?.() !== false && !text.startsWith('\uFEFF'));
  if (!text) return [];
  assert.ok(text.endsWith('\n\n'), 'the last cue is not closed by an empty line');
  return text.slice(0, -2).split('\n\n');
}

/** SubRip: numbers from 1, hours, a comma. */
export const parseSrt = (text) => parse(blocksOf(text), ',', true);

/** WebVTT as OpenAI's clients get it: always with hours. */
export function parseVtt(text) {
  const [head, ...blocks] = blocksOf(text);
  assert.equal(head, 'WEBVTT');
  return parse(blocks, '.', false);
}
