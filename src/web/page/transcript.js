// The text: segments with their times, words that follow the voice, words to doubt.
import { announce, clock, el } from './dom.js';

const UNSURE = 0.5; // below: marked
const AT_ONCE = 300; // segments that are made before the browser may paint
const HANDS_OFF_MS = 4000; // after the reader has scrolled

const calm = matchMedia('(prefers-reduced-motion: reduce)');

function makeWord(word, index) {
  const text = word.word.trimStart();
  const blank = word.word.slice(0, word.word.length - text.length);
  const unsure = word.probability < UNSURE;
  const node = el('span', { class: unsure ? 'w unsure' : 'w', 'data-i': String(index) }, text);
  if (unsure) node.title = `Unsure: ${Math.round(100 * word.probability)} %`;
  return { blank, node, unsure };
}

/** The greatest index whose start is not behind `time`; -1: none. */
function findLast(list, time) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].start <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * Show `segments`. `onseek(seconds)` when a reader wants to hear a place. Returns {node, ready,
 * setTime, nextUnsure, unsureCount}.
 */
export function makeTranscript(segments, { language, onseek }) {
  const list = el('ol', { class: 'segments', lang: language, 'aria-label': 'Transcript' });
  const words = []; // {start, end, node}
  const parts = []; // {start, end, node, time}
  const unsure = [];
  let word = -1;
  let part = -1;
  let scrolledAt = 0;

  function makeSegment(segment) {
    const text = el('p', { dir: 'auto' });
    if (segment.words?.length) {
      for (const each of segment.words) {
        const made = makeWord(each, words.length);
        text.append(made.blank, made.node);
        if (made.unsure) unsure.push(words.length);
        words.push({ start: each.start, end: each.end, node: made.node });
      }
      text.normalize();
    } else {
      text.append(segment.text.trim());
    }
    // One stop of the Tab key for the whole list; arrows go on from there.
    const time = el('button', {
      type: 'button', class: 'time', tabindex: parts.length ? '-1' : '0', 'data-s': String(parts.length),
      'aria-label': `Play from ${clock(segment.start)}`,
    }, clock(segment.start));
    const node = el('li', {}, time, text);
    parts.push({ start: segment.start, end: segment.end, node, time });
    return node;
  }

  async function fill() {
    for (let i = 0; i < segments.length; i += AT_ONCE) {
      if (i) await new Promise((resolve) => { setTimeout(resolve); });
      const some = document.createDocumentFragment();
      for (const segment of segments.slice(i, i + AT_ONCE)) some.append(makeSegment(segment));
      list.append(some);
    }
  }

  function mark(node, name, on) {
    node?.classList.toggle(name, on);
  }

  /** Keep the voice in sight, unless the reader looks elsewhere. */
  function follow(node) {
    if (Date.now() - scrolledAt < HANDS_OFF_MS) return;
    const box = node.getBoundingClientRect();
    if (box.top > window.innerHeight * 0.2 && box.bottom < window.innerHeight * 0.85) return;
    node.scrollIntoView({ block: 'center', behavior: calm.matches ? 'auto' : 'smooth' });
  }

  function setTime(seconds, playing) {
    const nextPart = findLast(parts, seconds);
    if (nextPart !== part) {
      mark(parts[part]?.node, 'spoken', false);
      part = nextPart;
      mark(parts[part]?.node, 'spoken', true);
      if (playing && part >= 0) follow(parts[part].node);
    }
    let nextWord = findLast(words, seconds);
    if (nextWord >= 0 && seconds > words[nextWord].end + 0.4) nextWord = -1; // a pause
    if (nextWord === word) return;
    mark(words[word]?.node, 'now', false);
    word = nextWord;
    mark(words[word]?.node, 'now', true);
  }

  function nextUnsure(from) {
    if (!unsure.length) {
      announce('No word is marked as unsure.');
      return;
    }
    const at = unsure.find((index) => words[index].start > from + 0.01) ?? unsure[0];
    const { node, start } = words[at];
    scrolledAt = 0;
    node.scrollIntoView({ block: 'center', behavior: calm.matches ? 'auto' : 'smooth' });
    node.classList.add('found');
    setTimeout(() => node.classList.remove('found'), 1600);
    announce(`${node.textContent}, at ${clock(start)}. ${node.title}`);
    onseek(start, false);
  }

  list.addEventListener('click', (event) => {
    const time = event.target.closest('.time');
    const spoken = event.target.closest('.w');
    if (time) onseek(parts[Number(time.dataset.s)].start, true);
    // A selection is for copying.
    else if (spoken && getSelection().isCollapsed) onseek(words[Number(spoken.dataset.i)].start, false);
  });
  list.addEventListener('focusin', (event) => {
    const time = event.target.closest('.time');
    if (!time) return;
    list.querySelector('.time[tabindex="0"]')?.setAttribute('tabindex', '-1');
    time.setAttribute('tabindex', '0');
  });
  list.addEventListener('keydown', (event) => {
    const time = event.target.closest('.time');
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!time || !step) return;
    event.preventDefault();
    event.stopPropagation();
    parts[Number(time.dataset.s) + step]?.time.focus();
  });
  const handsOn = () => { scrolledAt = Date.now(); };
  for (const name of ['wheel', 'touchmove']) list.addEventListener(name, handsOn, { passive: true });

  return { node: list, ready: fill(), setTime, nextUnsure, unsureCount: () => unsure.length };
}
