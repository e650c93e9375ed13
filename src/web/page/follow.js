// Keeps the voice in sight while it speaks, until the reader looks elsewhere; then it waits
// to be called back.
import { el, icon } from './dom.js';

const OURS_MS = 1200; // a smooth scroll of ours is over by then

const calm = matchMedia('(prefers-reduced-motion: reduce)');

const inSight = (box) => box.bottom > 0 && box.top < window.innerHeight;
const comfortable = (box) => box.top > window.innerHeight * 0.2 && box.bottom < window.innerHeight * 0.85;

/** `spoken()` is the element that is spoken, or null. Returns {button, show, start, close}. */
export function makeFollow(spoken) {
  const button = el('button', { type: 'button', class: 'button strong follow', hidden: true, onclick: start },
    icon('down'), 'Follow the voice');
  let following = true;
  let playing = false;
  let ours = 0; // until when scrolling is ours

  function scroll() {
    const node = spoken();
    if (!node) return;
    ours = performance.now() + OURS_MS;
    node.scrollIntoView({ block: 'center', behavior: calm.matches ? 'auto' : 'smooth' });
  }

  function show() {
    button.hidden = following || !playing;
  }

  function start() {
    following = true;
    scroll();
    show();
  }

  /** The reader scrolls: whoever scrolls the voice out of sight wants to read there. */
  function scrolled() {
    if (performance.now() < ours) return;
    const node = spoken();
    following = !node || inSight(node.getBoundingClientRect());
    show();
  }

  /** A hand at the wheel ends our own scroll too. */
  function handsOn() {
    ours = 0;
  }

  const settled = () => { ours = 0; };
  window.addEventListener('scroll', scrolled, { passive: true });
  window.addEventListener('scrollend', settled);
  for (const name of ['wheel', 'touchmove']) window.addEventListener(name, handsOn, { passive: true });

  return {
    button,
    start,
    /** Another element is spoken now, or it began or ceased to play. */
    show(isPlaying) {
      playing = isPlaying;
      const node = playing && following ? spoken() : null;
      if (node && !comfortable(node.getBoundingClientRect())) scroll();
      show();
    },
    /** The reader is led elsewhere on purpose. */
    rest() {
      following = false;
      show();
    },
    close() {
      window.removeEventListener('scroll', scrolled);
      window.removeEventListener('scrollend', settled);
      for (const name of ['wheel', 'touchmove']) window.removeEventListener(name, handsOn);
    },
  };
}
