// Take a transcript away: the format, how subtitles are to look, and what comes out.
import { ApiError, downloadPath } from './api.js';
import { byId, el, sentence, setText } from './dom.js';
import { recall, remember } from './store.js';

const formats = [
  ['txt', 'Plain text', 'to read and to quote'],
  ['srt', 'SubRip subtitles', 'for nearly every player'],
  ['vtt', 'WebVTT subtitles', 'for the web'],
  ['tsv', 'Table', 'times in milliseconds, for spreadsheets'],
  ['json', 'JSON', 'everything, for programs'],
];
const numbers = [
  ['max_line_width', 'Characters in a line', 42, 8, 500],
  ['max_line_count', 'Lines at once', 2, 1, 10],
  ['max_words_per_line', 'Words in a line (0: any number)', 0, 0, 100],
  ['max_cps', 'Characters a second to read', 20, 1, 1000],
];
const PREVIEW_LINES = 24;

const dialog = byId('export');
let job = null;
let asked = 0;
let timer;

function field(name) {
  return dialog.querySelector(`[name="${name}"]`);
}

function format() {
  return dialog.querySelector('[name="format"]:checked').value;
}

/** What differs from the defaults; subtitles only. */
function options() {
  if (format() !== 'srt' && format() !== 'vtt') return {};
  const out = {};
  if (field('raw_subtitles').checked) return { raw_subtitles: 'true' };
  for (const [name, , standard] of numbers) {
    const input = field(name);
    if (input.value !== '' && input.validity.valid && Number(input.value) !== standard) out[name] = input.value;
  }
  if (field('highlight_words').checked) out.highlight_words = 'true';
  return out;
}

function setDownload(usable) {
  const link = byId('export-download');
  link.classList.toggle('disabled', !usable);
  if (usable) {
    link.href = downloadPath(job.id, format(), options());
    link.removeAttribute('aria-disabled');
  } else {
    link.removeAttribute('href');
    link.setAttribute('aria-disabled', 'true');
  }
}

/** The beginning of what comes out; the service is asked for it. */
async function preview() {
  const mine = ++asked;
  const out = byId('export-preview');
  try {
    const response = await fetch(downloadPath(job.id, format(), options()));
    const text = await response.text();
    if (mine !== asked) return;
    if (!response.ok) throw new ApiError(JSON.parse(text).detail, { status: response.status });
    const lines = text.split('\n');
    const more = lines.length > PREVIEW_LINES;
    setText(out, lines.slice(0, PREVIEW_LINES).map((line) => line.slice(0, 400)).join('\n') + (more ? '\n…' : ''));
    out.classList.remove('bad');
    setDownload(true);
  } catch (error) {
    if (mine !== asked) return;
    setText(out, sentence(error instanceof ApiError ? error.message : 'The service cannot be reached.'));
    out.classList.add('bad');
    setDownload(false);
  }
}

function changed() {
  const subtitles = format() === 'srt' || format() === 'vtt';
  byId('export-subtitles').hidden = !subtitles;
  for (const [name] of numbers) field(name).disabled = field('raw_subtitles').checked;
  field('highlight_words').disabled = field('raw_subtitles').checked;
  remember('export-format', format());
  setDownload(true);
  clearTimeout(timer);
  timer = setTimeout(preview, 200);
}

function build() {
  byId('export-formats').append(...formats.map(([value, name, use], i) => el('label', { class: 'choice' },
    el('input', { type: 'radio', name: 'format', value, checked: i === 0 }),
    el('span', {}, el('b', {}, name), el('span', { class: 'use' }, use)))));
  byId('export-numbers').append(...numbers.map(([name, label, standard, low, high]) => el('label', {}, label,
    el('input', { type: 'number', name, value: String(standard), min: String(low), max: String(high), step: '1', inputmode: 'numeric' }))));
  dialog.addEventListener('input', changed);
  byId('export-download').addEventListener('click', (event) => {
    if (event.currentTarget.getAttribute('aria-disabled')) event.preventDefault();
  });
  byId('export-close').addEventListener('click', () => dialog.close());
}

/** Open the dialog for a completed job. */
export function openExport(of, { words }) {
  if (!byId('export-formats').childElementCount) build();
  job = of;
  const saved = formats.find(([value]) => value === recall('export-format'))?.[0] ?? 'srt';
  dialog.querySelector(`[name="format"][value="${saved}"]`).checked = true;
  const highlight = field('highlight_words');
  highlight.closest('label').hidden = !words; // it needs the times of the words
  if (!words) highlight.checked = false;
  setText(byId('export-name'), job.original_filename);
  dialog.showModal();
  changed();
}
