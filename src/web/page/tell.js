// How somebody who looks elsewhere learns of it: the title of the tab, and a notification for
// those who have asked for one.
import { el, icon, setText } from './dom.js';
import { labels } from './list.js';
import { recall, remember } from './store.js';

const NAME = 'Whisper Transcriber';
const SWARM_MS = 1500;

let unseen = false; // something ended while nobody looked
let ended = [];
let telling;

/* ---- the title ---- */

/** `name` of what is shown, or null; the job that is open; how many are not done; the uploads. */
export function showTitle({ name, job, active, upload }) {
  const now = job?.status === 'processing' ? `${job.progress} % · `
    : upload != null ? `${upload} % uploaded · `
      : unseen ? '✓ ' : active ? `(${active}) ` : '';
  const title = `${now}${name ? `${name} – ` : ''}${NAME}`;
  if (document.title !== title) document.title = title;
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) unseen = false; });

/* ---- the notification ---- */

// Browsers give them to https and localhost only.
const possible = () => 'Notification' in window && window.isSecureContext && Notification.permission !== 'denied';
const wanted = () => recall('notify') === 'yes' && possible() && Notification.permission === 'granted';

function showNotice() {
  const [first] = ended;
  const text = ended.length === 1 ? `${labels[first.status]}: ${first.original_filename}` : `${ended.length} transcripts have ended.`;
  const where = ended.length === 1 ? `#/jobs/${first.id}` : '#';
  ended = [];
  try {
    const notice = new Notification(NAME, { body: text, tag: 'ended', icon: 'assets/icon.svg' });
    notice.onclick = () => {
      window.focus();
      location.hash = where;
      notice.close();
    };
  } catch { /* phones want a service worker for it: the title has to do */ }
}

/** A job has ended. */
export function tellElsewhere(job) {
  if (!document.hidden) return;
  unseen = true;
  if (!wanted()) return;
  ended.push(job);
  clearTimeout(telling);
  telling = setTimeout(showNotice, SWARM_MS);
}

/** The button that asks for it; null where a browser has none. It alone asks for permission. */
export function notifyButton() {
  if (!possible()) return null;
  const label = el('span', {}, 'Notify me when it is done');
  const button = el('button', { type: 'button', class: 'button', 'aria-pressed': String(wanted()) }, icon('bell'), label);
  button.addEventListener('click', async () => {
    const on = !wanted() && await Notification.requestPermission() === 'granted';
    remember('notify', on ? 'yes' : null);
    button.setAttribute('aria-pressed', String(on));
    if (Notification.permission === 'denied') setText(label, 'The browser does not allow it');
  });
  return button;
}
