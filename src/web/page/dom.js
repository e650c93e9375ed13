// Elements and texts. Whatever comes from outside goes in as text, never as markup.

/** el('a', {class: 'x', href: '#', onclick: f}, 'text', child, …) */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on') && typeof value === 'function') node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

const SAID_AT_ONCE = 3;

const shapes = {
  close: 'M6 6l12 12M18 6L6 18',
  trash: 'M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12M10.5 11v5M13.5 11v5',
  back: 'M14 6l-6 6 6 6',
  copy: 'M9 9h10v11H9zM6 15H5V4h10v2',
  play: 'M8 5.5v13l10.5-6.5z',
  pause: 'M8.5 6v12M15.5 6v12',
  rewind: 'M11.5 7L6 12l5.5 5M18 7l-5.5 5 5.5 5',
  forward: 'M12.5 7l5.5 5-5.5 5M6 7l5.5 5L6 17',
  export: 'M12 15V4m0 0L8 8m4-4l4 4M5 13v6h14v-6',
  next: 'M5 12h13M13 7l5 5-5 5',
  up: 'M6 14.5l6-6 6 6',
  down: 'M6 9.5l6 6 6-6',
  bell: 'M6 17h12l-1.6-2.4V10a4.4 4.4 0 0 0-8.8 0v4.6zM10.4 19.6h3.2',
};

export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(space, 'path');
  path.setAttribute('d', shapes[name]);
  svg.append(path);
  return svg;
}

export const byId = (id) => document.getElementById(id);

/** Change a text only when it differs, so that screen readers are not told again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The service's sentences, fit to stand alone. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

let said = [];
let saying;

/** Tell those who hear the page; what comes in a swarm is told once, in one go. */
export function announce(text) {
  said.push(text);
  clearTimeout(saying);
  saying = setTimeout(() => {
    const more = said.length - SAID_AT_ONCE;
    byId('announce').textContent = said.slice(0, SAID_AT_ONCE).join(' ') + (more > 0 ? ` And ${more} more.` : '');
    said = [];
  }, 150);
}

/** 3725.4 → "1:02:05" */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A number as the reader's own language writes it. */
export function number(value, digits = 0) {
  return value.toLocaleString([], { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** 90 → "1 min 30 s" */
export function duration(seconds) {
  if (seconds < 60) return `${seconds < 10 ? number(seconds, 1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** As the server counts: a MB has 1024 × 1024 bytes. */
export function size(bytes) {
  const megabytes = bytes / 1048576;
  if (megabytes < 0.95) return `${Math.max(1, Math.round(bytes / 1024))} KB`;
  if (megabytes >= 1000) return `${number(megabytes / 1024, 2)} GB`;
  return `${number(megabytes, megabytes >= 100 || Number.isInteger(megabytes) ? 0 : 1)} MB`;
}

/** "just now", "5 min ago", "14:02", "3 Aug" */
export function moment(iso) {
  const date = new Date(iso);
  const minutes = Math.floor((Date.now() - date.getTime()) / 60000);
  if (minutes < -1) return date.toLocaleDateString([], { day: 'numeric', month: 'short', year: 'numeric' });
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  if (date.toDateString() === new Date().toDateString()) {
    return date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  }
  const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' };
  return date.toLocaleDateString([], { day: 'numeric', month: 'short', ...year });
}

/** All of it, for a tooltip. */
export const wholeMoment = (iso) => new Date(iso).toLocaleString([], { dateStyle: 'full', timeStyle: 'medium' });
