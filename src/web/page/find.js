// Find words in the text that is shown. The hits are painted by the browser and the text is
// not touched, so that it costs the same in a long one.
import { el, icon, setText } from './dom.js';

const MOST = 5000; // hits that are painted and counted
const WAIT_MS = 120;

const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** As it is said, whatever the case and the blanks. */
function pattern(text) {
  const escaped = text.trim().replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&').replace(/\s+/g, '\\s+');
  return escaped ? new RegExp(escaped, 'giu') : null;
}

/** The place of a character in the texts of an element. */
function pointAt(nodes, offset) {
  let rest = offset;
  for (const node of nodes) {
    if (rest <= node.length) return [node, rest];
    rest -= node.length;
  }
  return [nodes.at(-1), nodes.at(-1).length];
}

function textsOf(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  return nodes;
}

function hitsIn(element, what, hits) {
  const matches = [...element.textContent.matchAll(what)];
  if (!matches.length) return;
  const nodes = textsOf(element);
  for (const match of matches.slice(0, MOST - hits.length)) {
    const range = new Range();
    range.setStart(...pointAt(nodes, match.index));
    range.setEnd(...pointAt(nodes, match.index + match[0].length));
    hits.push({ range, element });
  }
}

/**
 * A field that finds in `elements()`. `onmove` when it leads the reader somewhere. Returns
 * {node, focus, look(text), close}.
 */
export function makeFind(elements, onmove) {
  const input = el('input', { type: 'search', placeholder: 'Find in the text', 'aria-label': 'Find in the text', autocomplete: 'off', dir: 'auto', 'aria-describedby': 'find-count' });
  const count = el('span', { class: 'count', id: 'find-count', role: 'status' });
  const button = (shape, label, step) => el('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, disabled: true, onclick: () => move(step) }, icon(shape));
  const buttons = [button('up', 'Hit before', -1), button('down', 'Next hit', 1)];
  const node = el('div', { class: 'find', role: 'search' }, input, count, ...buttons);
  const paint = globalThis.CSS?.highlights;
  let hits = [];
  let at = -1;
  let timer;

  function show() {
    if (paint && hits.length) {
      paint.set('found', new Highlight(...hits.map((hit) => hit.range)));
      const here = new Highlight(...(at >= 0 ? [hits[at].range] : []));
      here.priority = 1;
      paint.set('found-here', here);
    } else {
      paint?.clear();
    }
    for (const each of buttons) each.disabled = !hits.length;
    const all = hits.length >= MOST ? `${MOST} or more` : String(hits.length);
    setText(count, !input.value.trim() ? '' : !hits.length ? 'No hit' : at >= 0 ? `${at + 1} of ${all}` : `${all} ${hits.length === 1 ? 'hit' : 'hits'}`);
  }

  function search() {
    clearTimeout(timer);
    hits = [];
    at = -1;
    const what = pattern(input.value);
    if (what) for (const element of elements()) if (hits.length < MOST) hitsIn(element, what, hits);
    show();
  }

  function move(step) {
    if (!hits.length) return;
    at = at < 0 && step < 0 ? hits.length - 1 : (at + step + hits.length) % hits.length;
    onmove();
    const place = hits[at].range.startContainer.parentElement;
    place.scrollIntoView({ block: 'center', behavior: calm.matches ? 'auto' : 'smooth' });
    show();
  }

  function clear() {
    input.value = '';
    search();
  }

  input.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(search, WAIT_MS);
  });
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') {
      if (!hits.length || at < 0) search();
      move(event.shiftKey ? -1 : 1);
    } else if (event.key === 'Escape') {
      clear();
      input.blur();
    } else {
      return;
    }
    event.preventDefault();
  });

  return {
    node,
    focus: () => { input.focus(); input.select(); },
    /** Show where it is, if it is anywhere. */
    look(text) {
      input.value = text;
      search();
      if (!hits.length) clear();
    },
    close: () => { clearTimeout(timer); paint?.clear(); },
  };
}
