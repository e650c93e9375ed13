// One job: its progress, its recording, its transcript, what can be done with it.
import { downloadPath, getTranscript, recordingPath } from './api.js';
import { announce, byId, clock, duration, el, icon, sentence, setText, size } from './dom.js';
import { left } from './eta.js';
import { openExport } from './exporter.js';
import { place } from './line.js';
import { isActive, labels } from './list.js';
import { makePlayer } from './player.js';
import { makeReport } from './quality.js';
import { notifyButton } from './tell.js';
import { makeTranscript } from './transcript.js';

const article = byId('job');
const formats = ['txt', 'srt', 'vtt', 'tsv', 'json'];
let shown = null; // {id, status, update, player, transcript}

function leave() {
  shown?.player?.close();
  shown?.transcript?.close();
  shown = null;
}

export function clear() {
  leave();
  article.replaceChildren();
  article.hidden = true;
  byId('welcome').hidden = false;
}

function backLink() {
  return el('a', { class: 'button back', href: '#' }, icon('back'), 'All transcripts');
}

export function showMissing(message) {
  clear();
  byId('welcome').hidden = true;
  article.hidden = false;
  article.append(
    backLink(),
    el('h2', { id: 'detail-title', tabindex: '-1' }, 'Not here'),
    el('p', { class: 'notice bad' }, sentence(message)),
  );
  byId('detail-title').focus();
}

function facts(job, languages) {
  const took = job.started_at && job.completed_at
    ? (Date.parse(job.completed_at) - Date.parse(job.started_at)) / 1000 : null;
  const language = job.language ? languages[job.language] ?? job.language : null;
  return [
    language ? language[0].toUpperCase() + language.slice(1) : null,
    job.task === 'translate' ? 'translated to English' : null,
    job.duration ? clock(job.duration) : null,
    size(job.file_size),
    `model ${job.model_used}`,
    job.status === 'completed' && took != null ? `took ${duration(took)}` : null,
  ].filter(Boolean).map((text) => el('span', {}, text));
}

function working(job, actions) {
  const message = el('span', {});
  const percent = el('span', { class: 'percent' });
  const eta = el('span', { class: 'eta' });
  const bar = el('progress', { max: 100, 'aria-label': 'Progress of the transcription' });
  shown.update = (now) => {
    const why = now.status === 'pending' ? job.waits_for : null;
    setText(message, [now.message || labels[now.status], why || place(job.id)].filter(Boolean).join(': '));
    setText(percent, now.status === 'pending' ? '' : `${now.progress} %`);
    setText(eta, left(job.id));
    if (now.status === 'pending') bar.removeAttribute('value');
    else bar.value = now.progress;
  };
  shown.update(job);
  return el('div', { class: 'working' },
    el('div', { class: 'row' }, message, percent), bar,
    el('div', { class: 'row' }, eta, notifyButton(),
      el('button', { type: 'button', class: 'button', onclick: actions.cancel }, 'Cancel')));
}

function stopped(job, actions) {
  const failed = job.status === 'failed';
  return el('div', { class: failed ? 'notice bad' : 'notice' },
    el('p', {}, failed ? sentence(job.error_message || 'the transcription failed') : 'This transcription was cancelled.'),
    el('div', { class: 'row' },
      el('button', { type: 'button', class: 'button', onclick: actions.retry }, 'Try again'),
      el('a', { class: 'button', href: recordingPath(job.id), download: true }, 'Get the recording')));
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce('The transcript was copied.');
    return 'Copied';
  } catch {
    return 'Not allowed';
  }
}

function copyButton(job) {
  const label = el('span', {}, 'Copy text');
  // The clipboard is there on localhost and under https only.
  return navigator.clipboard && el('button', {
    type: 'button', class: 'button',
    onclick: async () => {
      setText(label, await copy(job.transcript ?? ''));
      setTimeout(() => setText(label, 'Copy text'), 2000);
    },
  }, icon('copy'), label);
}

function tools(job, words) {
  const links = formats.map((format) => el('a', {
    class: 'button', href: downloadPath(job.id, format), download: true,
    'aria-label': `Download as ${format}`,
  }, format.toUpperCase()));
  return el('div', { class: 'row tools' },
    el('div', { class: 'formats' }, el('span', { class: 'label' }, 'Download'), ...links),
    el('div', { class: 'row' }, copyButton(job),
      el('button', { type: 'button', class: 'button strong', onclick: () => openExport(job, { words }) },
        icon('export'), 'Export…')));
}

const TIMES = /\b\d+:\d\d(?::\d\d)?\b/g;

/** "1:02:03" → 3723 */
const secondsOf = (text) => text.split(':').reduce((sum, part) => 60 * sum + Number(part), 0);

/** The times that the report has something to say of, as the sentences write them. */
function placesOf(quality) {
  const notes = Object.values(quality ?? {}).filter(Array.isArray).flat();
  return new Set(notes.filter((note) => note?.start != null).map((note) => Math.round(note.start)));
}

/** A sentence whose places can be clicked; lengths of time are not places. */
function withPlaces(text, places, onseek) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(TIMES)) {
    const seconds = secondsOf(match[0]);
    if (!places.has(seconds)) continue;
    parts.push(text.slice(at, match.index), el('button', {
      type: 'button', class: 'link', 'aria-label': `Play from ${match[0]}`, onclick: () => onseek(seconds, true),
    }, match[0]));
    at = match.index + match[0].length;
  }
  return [...parts, text.slice(at)];
}

/** What the reader should know before relying on the text: the service's own sentences. */
function warnings(job, onseek) {
  if (!job.warnings?.length) return [];
  const places = placesOf(job.quality);
  return [el('section', { class: 'notice warnings', 'aria-labelledby': 'warnings-title' },
    el('h3', { id: 'warnings-title' }, 'Please check'),
    el('ul', {}, ...job.warnings.map((text) => el('li', {}, ...withPlaces(sentence(text), places, onseek)))))];
}

export function nextUnsure() {
  shown?.transcript?.nextUnsure(shown.player?.time() ?? 0);
}

export const player = () => shown?.player;
export const transcript = () => shown?.transcript;

/** Go to the field that finds in the text; false where there is none. */
export function find() {
  shown?.transcript?.find();
  return Boolean(shown?.transcript);
}

/** A job that leaves nothing behind could be read this once: its text is all that there is. */
function onlyText(job) {
  return [
    el('p', { class: 'notice' }, 'The service keeps nothing of this job: this is the text, for as long as the page shows it. Copy it now.'),
    el('div', { class: 'row tools' }, copyButton(job)),
    el('p', { class: 'plain', dir: 'auto' }, job.transcript),
  ];
}

/** The nodes of a completed job, or of the reason why there is nothing to read. */
async function content(job, languages, current, searched) {
  let result;
  try {
    result = await getTranscript(job.id);
  } catch (error) {
    return error.status === 410 && job.transcript ? onlyText(job)
      : [el('p', { class: 'notice bad', role: 'alert' }, sentence(error.message))];
  }
  if (shown !== current) return [];
  const onseek = (seconds, play) => {
    current.player.seek(seconds);
    if (play) current.player.play();
  };
  const words = result.segments.some((segment) => segment.words?.length);
  current.player = makePlayer(job, (seconds, playing) => current.transcript?.setTime(seconds, playing));
  const report = makeReport(job, languages, onseek);
  const nodes = [tools(job, words), current.player.node, ...warnings(job, onseek)];
  if (!result.segments.length) {
    if (!job.warnings?.length) nodes.push(el('p', { class: 'notice' }, 'No speech was found in this recording.'));
    return report ? [...nodes, report] : nodes;
  }
  const language = job.task === 'translate' ? 'en' : job.language;
  current.transcript = makeTranscript(result.segments, { language, onseek, now: () => current.player.time() });
  await current.transcript.ready;
  if (searched) current.transcript.look(searched);
  nodes.push(current.transcript.node);
  if (report) nodes.push(report);
  return nodes;
}

/** Show a job whole: on opening it, and whenever its status changes. */
export async function show(job, languages, actions, { focus = false, searched = '' } = {}) {
  leave();
  const current = { id: job.id, status: job.status, update: () => {} };
  shown = current;
  byId('welcome').hidden = true;
  article.hidden = false;
  const parts = [
    backLink(),
    el('div', { class: 'title' },
      el('h2', { id: 'detail-title', tabindex: '-1' }, el('bdi', {}, job.original_filename)),
      el('button', {
        type: 'button', class: 'icon-button', title: 'Delete', 'aria-label': `Delete ${job.original_filename}`, onclick: actions.remove,
      }, icon('trash'))),
    el('p', { class: 'facts' }, el('span', { class: `badge ${job.status}` }, labels[job.status]), ...facts(job, languages)),
  ];
  if (isActive(job)) parts.push(working(job, actions));
  else if (job.status !== 'completed') parts.push(stopped(job, actions));
  else parts.push(...await content(job, languages, current, searched));
  if (shown !== current) { // another one was opened meanwhile
    current.player?.close();
    current.transcript?.close();
    return;
  }
  const inside = article.contains(document.activeElement);
  article.replaceChildren(...parts);
  if (focus || inside) byId('detail-title').focus({ preventScroll: !focus });
}

/** A change of progress; false when the whole must be shown anew. */
export function update(state) {
  if (!shown || shown.status !== state.status) return false;
  shown.update(state);
  return true;
}
