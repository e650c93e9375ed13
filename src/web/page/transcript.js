// The text: segments with their times, words that follow the voice, words to doubt.
import { announce, clock, el } from './dom.js';
import { makeFind } from './find.js';
import { makeFollow } from './follow.js';
import { recall, remember } from './store.js';

const UNSURE = 0.5; // below: marked
const AT_ONCE = 300; // segments that are made before the browser may paint

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

/** A switch for how the text looks; the browser remembers it. */
function makeSwitch(list, name, ...text) {
  const box = el('input', { type: 'checkbox', checked: recall(`without-${name}`) !== 'yes' });
  const apply = () => list.classList.toggle(`without-${name}`, !box.checked);
  box.addEventListener('change', () => {
    remember(`without-${name}`, box.checked ? null : 'yes');
    apply();
  });
  apply();
  return el('label', { class: 'check' }, box, el('span', {}, ...text));
}

/**
 * Show `segments`. `onseek(seconds, play)` when a reader wants to hear a place; `now()`
 * is where the recording is. Returns
 * {node, ready, setTime, step, follow, find, look, nextUnsure, close}.
 */
export function makeTranscript(segments, { language, onseek, now }) {
  const list = el('ol', { class: 'segments', lang: language, 'aria-label': 'Transcript' });
  const words = []; // {start, end, node}
  const parts = []; // {start, end, node, time}
  const unsure = [];
  let word = -1;
  let part = -1;
  let wasPlaying = false;
  const follow = makeFollow(() => parts[part]?.node ?? null);
  const find = makeFind(() => parts.map((each) => each.text), follow.rest);

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
    parts.push({ start: segment.start, end: segment.end, node, time, text });
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

  function setTime(seconds, playing) {
    const nextPart = findLast(parts, seconds);
    if (nextPart !== part) {
      mark(parts[part]?.node, 'spoken', false);
      part = nextPart;
      mark(parts[part]?.node, 'spoken', true);
      follow.show(playing);
    } else if (playing !== wasPlaying) {
      follow.show(playing);
    }
    wasPlaying = playing;
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
    follow.rest();
    node.scrollIntoView({ block: 'center', behavior: calm.matches ? 'auto' : 'smooth' });
    node.classList.add('found');
    setTimeout(() => node.classList.remove('found'), 1600);
    announce(`${node.textContent}, at ${clock(start)}. ${node.title}`);
    onseek(start, false);
  }

  /** To the part behind the one that is spoken, or before it. */
  function step(by) {
    const to = Math.min(parts.length - 1, Math.max(0, part + by));
    onseek(parts[to].start, false);
    follow.start();
    announce(`${clock(parts[to].start)}: ${parts[to].text.textContent.trim().slice(0, 80)}`);
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
  const ready = fill();
  const legend = el('span', { class: 'legend', hidden: true });
  ready.then(() => {
    if (!unsure.length) return;
    legend.hidden = false;
    legend.append(
      makeSwitch(list, 'unsure', el('span', { class: 'w unsure' }, 'Underline'),
        unsure.length === 1 ? ' the word of which the model is unsure' : ` the ${unsure.length} words of which the model is unsure`),
      el('button', { type: 'button', class: 'link', title: 'Next unsure word (N)', onclick: () => nextUnsure(now()) }, 'Next one'),
    );
  });
  const node = el('div', { class: 'text' },
    el('div', { class: 'text-tools' }, find.node, makeSwitch(list, 'times', 'Times'), legend), list, follow.button);

  return {
    node, ready, setTime, step, nextUnsure,
    follow: follow.start,
    find: find.focus,
    look: find.look,
    close: () => { find.close(); follow.close(); },
  };
}
