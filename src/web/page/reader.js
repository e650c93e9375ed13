// One job: its progress, its transcript, what can be done with it.
import { downloadPath, getTranscript } from './api.js';
import { announce, byId, clock, duration, el, icon, sentence, setText, size } from './dom.js';
import { isActive, labels } from './list.js';

const article = byId('job');
const formats = ['txt', 'srt', 'vtt', 'tsv', 'json'];
let shown = null; // {id, status, …nodes that change}

export function clear() {
  shown = null;
  article.replaceChildren();
  article.hidden = true;
  byId('welcome').hidden = false;
}

export function showMissing(message) {
  clear();
  byId('welcome').hidden = true;
  article.hidden = false;
  article.append(
    el('a', { class: 'button back', href: '#' }, icon('back'), 'All transcripts'),
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
  const bar = el('progress', { max: 100, 'aria-label': 'Progress of the transcription' });
  shown.update = (now) => {
    setText(message, now.message || labels[now.status]);
    setText(percent, now.status === 'pending' ? '' : `${now.progress} %`);
    if (now.status === 'pending') bar.removeAttribute('value');
    else bar.value = now.progress;
  };
  shown.update(job);
  return el('div', { class: 'working' },
    el('div', { class: 'row' }, message, percent), bar,
    el('div', { class: 'row end' },
      el('button', { type: 'button', class: 'button', onclick: actions.cancel }, 'Cancel')));
}

function stopped(job, actions) {
  const failed = job.status === 'failed';
  return el('div', { class: failed ? 'notice bad' : 'notice' },
    el('p', {}, failed ? sentence(job.error_message || 'the transcription failed') : 'This transcription was cancelled.'),
    el('div', { class: 'row' },
      el('button', { type: 'button', class: 'button', onclick: actions.retry }, 'Try again')));
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

function tools(job) {
  const links = formats.map((format) => el('a', {
    class: 'button', href: downloadPath(job.id, format), download: true,
    'aria-label': `Download as ${format}`,
  }, format.toUpperCase()));
  const label = el('span', {}, 'Copy text');
  // The clipboard is there on localhost and under https only.
  const button = navigator.clipboard && el('button', {
    type: 'button', class: 'button',
    onclick: async () => {
      setText(label, await copy(job.transcript ?? ''));
      setTimeout(() => setText(label, 'Copy text'), 2000);
    },
  }, icon('copy'), label);
  return el('div', { class: 'row tools' },
    el('div', { class: 'formats' }, el('span', { class: 'label' }, 'Download'), ...links), button);
}

/** What the reader should know before relying on the text: the service's own sentences. */
function warnings(job) {
  if (!job.warnings?.length) return [];
  return [el('section', { class: 'notice warnings', 'aria-labelledby': 'warnings-title' },
    el('h3', { id: 'warnings-title' }, 'Please check'),
    el('ul', {}, ...job.warnings.map((text) => el('li', {}, sentence(text)))))];
}

/** The nodes of a transcript, or of the reason why there is none to read. */
async function segments(job) {
  let transcript;
  try {
    transcript = await getTranscript(job.id);
  } catch (error) {
    return [el('p', { class: 'notice bad', role: 'alert' }, sentence(error.message))];
  }
  const nodes = warnings(job);
  if (!transcript.segments.length) {
    return nodes.length ? nodes : [el('p', { class: 'notice' }, 'No speech was found in this recording.')];
  }
  const language = job.task === 'translate' ? 'en' : job.language;
  return [...nodes, el('ol', { class: 'segments', lang: language, 'aria-label': 'Transcript' },
    ...transcript.segments.map((segment) => el('li', {},
      el('time', { datetime: `PT${segment.start.toFixed(2)}S` }, clock(segment.start)),
      el('p', { dir: 'auto' }, segment.text.trim()))))];
}

/** Show a job whole: on opening it, and whenever its status changes. */
export async function show(job, languages, actions, { focus = false } = {}) {
  const current = { id: job.id, status: job.status, update: () => {} };
  shown = current;
  byId('welcome').hidden = true;
  article.hidden = false;
  const parts = [
    el('a', { class: 'button back', href: '#' }, icon('back'), 'All transcripts'),
    el('div', { class: 'title' },
      el('h2', { id: 'detail-title', tabindex: '-1' }, job.original_filename),
      el('button', {
        type: 'button', class: 'icon-button', title: 'Delete', 'aria-label': `Delete ${job.original_filename}`, onclick: actions.remove,
      }, icon('trash'))),
    el('p', { class: 'facts' }, el('span', { class: `badge ${job.status}` }, labels[job.status]), ...facts(job, languages)),
  ];
  if (isActive(job)) parts.push(working(job, actions));
  else if (job.status !== 'completed') parts.push(stopped(job, actions));
  else parts.push(tools(job), ...await segments(job));
  if (shown !== current) return; // another one was opened meanwhile
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
