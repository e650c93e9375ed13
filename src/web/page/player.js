// The recording: hear it, see how loud it is, go anywhere in it.
import { audioPath, getWaveform } from './api.js';
import { announce, clock, el, icon, setText } from './dom.js';
import { recall, remember } from './store.js';

const POINTS = 1200;
const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];
const BAR = 3; // pixels of a bar and the gap behind it
const GAP = 1;

/** 65 → "1 minute 5 seconds": a slider's value is read aloud. */
function spoken(seconds) {
  const whole = Math.floor(seconds);
  const parts = [[Math.floor(whole / 3600), 'hour'], [Math.floor(whole / 60) % 60, 'minute'], [whole % 60, 'second']];
  return parts.filter(([n], i) => n || i === 2).map(([n, unit]) => `${n} ${unit}${n === 1 ? '' : 's'}`).join(' ');
}

/**
 * A player for a job. `ontime(seconds, playing)` is called as it goes, on every frame.
 * Returns {node, seek, toggle, by,
 * faster, time, play, close}.
 */
export function makePlayer(job, ontime) {
  const audio = el('audio', { src: audioPath(job.id), preload: 'metadata' });
  const canvas = el('canvas', { 'aria-hidden': 'true' });
  const slider = el('div', {
    class: 'wave', role: 'slider', tabindex: '0', 'aria-label': 'Position in the recording',
    'aria-valuemin': '0', 'aria-valuemax': '1', 'aria-valuenow': '0', 'aria-valuetext': spoken(0),
  }, canvas);
  const playLabel = el('span', { class: 'hidden' }, 'Play');
  const play = el('button', { type: 'button', class: 'play', onclick: toggle, title: 'Play or pause (Space)' },
    icon('play'), playLabel);
  const back = el('button', { type: 'button', class: 'icon-button', 'aria-label': 'Back 5 seconds', title: 'Back 5 s (←)', onclick: () => by(-5) }, icon('rewind'));
  const forward = el('button', { type: 'button', class: 'icon-button', 'aria-label': 'Forward 5 seconds', title: 'Forward 5 s (→)', onclick: () => by(5) }, icon('forward'));
  const now = el('span', { class: 'now' }, '0:00');
  const all = el('span', { class: 'all' }, clock(job.duration || 0));
  const speed = el('select', { 'aria-label': 'Speed', onchange: setSpeed },
    ...SPEEDS.map((value) => el('option', { value: String(value), selected: value === 1 }, `${value}×`)));
  const note = el('p', { class: 'player-note', hidden: true });
  const node = el('section', { class: 'player', 'aria-label': 'Player' },
    el('div', { class: 'controls' }, back, play, forward,
      el('span', { class: 'clock' }, now, ' / ', all), speed),
    slider, note, audio);

  let peaks = [];
  let duration = job.duration || 0;
  let wanted = null; // asked for before the recording could be moved in
  let frame = 0;
  let closed = false;

  /* ---- drawing ---- */

  function draw() {
    const { width, height } = slider.getBoundingClientRect();
    if (!width) return;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const paint = canvas.getContext('2d');
    const style = getComputedStyle(slider);
    const heard = style.getPropertyValue('--accent');
    const unheard = style.getPropertyValue('--wave');
    const position = duration ? (time() / duration) * width : 0;
    paint.setTransform(scale, 0, 0, scale, 0, 0);
    paint.clearRect(0, 0, width, height);
    const count = Math.floor(width / (BAR + GAP));
    for (let i = 0; i < count; i++) {
      const x = i * (BAR + GAP);
      const tall = Math.max(2, peakOf(i, count) * (height - 6));
      paint.fillStyle = x + BAR <= position ? heard : unheard;
      paint.fillRect(x, (height - tall) / 2, BAR, tall);
    }
    paint.fillStyle = style.getPropertyValue('--ink');
    paint.fillRect(Math.min(width - 2, position), 0, 2, height);
  }

  /** The loudest of what bar i of count stands for; quiet recordings fill the height too. */
  function peakOf(i, count) {
    const from = Math.floor((i * peaks.length) / count);
    const to = Math.max(from + 1, Math.floor(((i + 1) * peaks.length) / count));
    let most = 0;
    for (let k = from; k < to && k < peaks.length; k++) most = Math.max(most, peaks[k]);
    return most;
  }

  async function loadWaveform() {
    try {
      const wave = await getWaveform(job.id, POINTS);
      const most = Math.max(0.02, ...wave.peaks);
      peaks = wave.peaks.map((peak) => (peak / most) ** 0.8);
      if (!closed) draw();
    } catch { /* recordings of older versions have none: a line has to do */ }
  }

  /* ---- time ---- */

  function time() {
    return wanted ?? audio.currentTime;
  }

  function tell() {
    const at = time();
    setText(now, clock(at));
    slider.setAttribute('aria-valuenow', String(Math.round(at)));
    slider.setAttribute('aria-valuetext', `${spoken(at)} of ${spoken(duration)}`);
    draw();
    ontime(at, !audio.paused);
  }

  function loop() {
    tell();
    frame = audio.paused || closed ? 0 : requestAnimationFrame(loop);
  }

  function seek(seconds) {
    const at = Math.min(Math.max(0, seconds), duration || seconds);
    if (audio.readyState === 0) wanted = at;
    else audio.currentTime = at;
    tell();
  }

  function by(seconds) {
    seek(time() + seconds);
  }

  async function start() {
    try {
      await audio.play();
    } catch (error) {
      if (error.name === 'NotAllowedError') announce('The browser wants a click before it plays.');
    }
  }

  function toggle() {
    if (audio.paused) start();
    else audio.pause();
  }

  /** To the next speed, or the one before. */
  function faster(step) {
    const at = speed.selectedIndex + step;
    if (speed.disabled || at < 0 || at >= SPEEDS.length) return;
    speed.selectedIndex = at;
    setSpeed();
    announce(`Speed ${speed.value}.`);
  }

  function setSpeed() {
    audio.playbackRate = Number(speed.value);
    remember('speed', speed.value === '1' ? null : speed.value);
  }

  function setDuration() {
    if (Number.isFinite(audio.duration) && audio.duration > 0) duration = audio.duration;
    setText(all, clock(duration));
    slider.setAttribute('aria-valuemax', String(Math.round(duration)));
  }

  function showPlaying() {
    setText(playLabel, audio.paused ? 'Play' : 'Pause');
    play.replaceChild(icon(audio.paused ? 'play' : 'pause'), play.firstChild);
    if (!audio.paused && !frame) frame = requestAnimationFrame(loop);
  }

  /** 410: the recording is gone; else the browser cannot play what the service could decode. */
  async function sayWhy() {
    node.classList.add('silent');
    for (const button of [play, back, forward, speed]) button.disabled = true;
    let status = 0;
    try {
      status = (await fetch(audioPath(job.id), { method: 'HEAD' })).status;
    } catch { /* away */ }
    const reasons = {
      0: 'The recording cannot be played while the service is away.',
      200: 'This browser cannot play this kind of recording. The transcript is complete.',
      410: 'The recording is not kept any more. The transcript stays.',
      404: 'The service does not give out recordings.',
    };
    setText(note, reasons[status] ?? `The recording cannot be played (${status}).`);
    note.hidden = false;
  }

  /* ---- pointer and keys ---- */

  function seekTo(event) {
    const box = slider.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * duration);
  }

  slider.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || !duration) return;
    slider.setPointerCapture(event.pointerId);
    seekTo(event);
  });
  slider.addEventListener('pointermove', (event) => {
    if (slider.hasPointerCapture(event.pointerId)) seekTo(event);
  });
  slider.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -30, PageUp: 30 }[event.key];
    if (step) by(step);
    else if (event.key === 'Home') seek(0);
    else if (event.key === 'End') seek(duration);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  audio.addEventListener('loadedmetadata', () => {
    setDuration();
    if (wanted != null) {
      audio.currentTime = wanted;
      wanted = null;
    }
    tell();
  });
  for (const name of ['play', 'pause', 'ended']) audio.addEventListener(name, showPlaying);
  for (const name of ['timeupdate', 'seeked']) audio.addEventListener(name, tell);
  audio.addEventListener('error', sayWhy);

  const resized = new ResizeObserver(draw);
  resized.observe(slider);
  const themed = new MutationObserver(draw);
  themed.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
  const saved = recall('speed');
  if (saved && SPEEDS.includes(Number(saved))) {
    speed.value = saved;
    audio.defaultPlaybackRate = Number(saved);
    audio.playbackRate = Number(saved);
  }
  setDuration();
  loadWaveform();

  return {
    node,
    seek,
    by,
    toggle,
    faster,
    time,
    play: start,
    close() {
      closed = true;
      cancelAnimationFrame(frame);
      resized.disconnect();
      themed.disconnect();
      audio.pause();
      audio.removeAttribute('src');
      audio.load(); // lets go of the connection
    },
  };
}
