// The quality report in plain words: what was heard, what was left out, what to check.
import { clock, duration, el } from './dom.js';

const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
const share = (part, whole) => (whole > 0 ? Math.round((100 * part) / whole) : 0);

function loudness(q) {
  if (q.speech_dbfs == null) return 'Nothing but silence.';
  if (q.speech_dbfs < -45) return `Very quiet (speech at ${Math.round(q.speech_dbfs)} dB): move the microphone closer next time.`;
  if (q.speech_dbfs < -35) return `Quiet (speech at ${Math.round(q.speech_dbfs)} dB), but loud enough.`;
  return `Loud enough (speech at ${Math.round(q.speech_dbfs)} dB).`;
}

function clipping(q) {
  if (!(q.clipped_share > 0.0001)) return null;
  return `${(100 * q.clipped_share).toFixed(2)} % of the sound is cut off at its loudest: record with less gain.`;
}

function speech(q) {
  const how = {
    silero: 'told by a voice detector', energy: 'told by loudness alone: no voice detector is installed', off: 'not looked for',
  }[q.detector] ?? '';
  return `${duration(q.speech_seconds)} of ${duration(q.audio_seconds)} (${share(q.speech_seconds, q.audio_seconds)} %)${how ? `, ${how}` : ''}.`;
}

function votes(q, languages) {
  const counts = new Map();
  for (const vote of q.language_votes ?? []) counts.set(vote.language, (counts.get(vote.language) ?? 0) + 1);
  if (!counts.size) return null;
  const all = q.language_votes.length;
  const named = [...counts].sort((a, b) => b[1] - a[1])
    .map(([code, n]) => `${languages[code] ?? code} in ${n} of ${plural(all, 'sample')}`);
  return `Heard as ${named.join(', ')}.`;
}

const reasons = {
  non_speech: () => 'nobody speaks',
  no_speech: (note) => `the model is ${Math.round(100 * (note.probability ?? 1))} % sure that nobody speaks`,
  hallucination: () => 'text that cannot have been said',
};
const remedies = {
  resampled: 'heard again', split: 'heard again in parts', cut: 'cut out', none: 'left as it is',
};

/** Each list: a title, and a sentence for each of its notes. */
const lists = [
  ['no_text', 'Speech without text: listen here', () => 'somebody speaks, but no text was found'],
  ['low_confidence', 'Unsure text: check against the recording', () => 'the text may be wrong'],
  ['loops', 'Repetitions that were mended', (note) => `said ${note.repeats ?? 'many'} times over, ${remedies[note.remedy] ?? 'mended'}`],
  ['heard_again', 'Heard a second time', () => 'the first hearing gave no text'],
  ['dropped', 'Left out', (note) => reasons[note.reason]?.(note) ?? note.reason],
];

function place(note, onseek) {
  const from = clock(note.start);
  const to = clock(note.end);
  const span = from === to ? `at ${from}` : `${from} to ${to}`;
  return el('button', { type: 'button', class: 'link', onclick: () => onseek(note.start, true) }, span);
}

function section([key, title, explain], q, onseek) {
  const notes = q[key] ?? [];
  if (!notes.length) return null;
  const items = notes.slice(0, 100).map((note) => el('li', {}, place(note, onseek), `: ${explain(note)}`,
    note.text ? el('q', { dir: 'auto' }, note.text.trim()) : null));
  if (notes.length > 100) items.push(el('li', {}, `and ${notes.length - 100} more`));
  return [el('h3', {}, `${title} (${notes.length})`), el('ul', {}, ...items)];
}

/** "Good", or what is doubtful, in a few words for the closed report. */
function verdict(q) {
  const doubts = [];
  if (q.no_text?.length) doubts.push(plural(q.no_text.length, 'gap'));
  if (q.low_confidence?.length) doubts.push(plural(q.low_confidence.length, 'unsure part'));
  if (q.loops?.length) doubts.push(plural(q.loops.length, 'mended repetition'));
  if (q.speech_dbfs != null && q.speech_dbfs < -45) doubts.push('very quiet');
  return doubts.length ? doubts.join(', ') : 'nothing stands out';
}

/** A closed report to open, or null when the service has none. */
export function makeReport(job, languages, onseek) {
  const q = job.quality;
  if (!q) return null;
  const facts = [['Speech', speech(q)], ['Sound', [loudness(q), clipping(q)].filter(Boolean).join(' ')],
    ['Text', `covers ${duration(q.text_seconds)}.`], ['Language', votes(q, languages)]];
  return el('details', { class: 'quality' },
    el('summary', {}, 'How it was heard', el('span', { class: 'verdict' }, verdict(q))),
    el('dl', {}, ...facts.filter(([, text]) => text).flatMap(([name, text]) => [el('dt', {}, name), el('dd', {}, text)])),
    ...lists.flatMap((each) => section(each, q, onseek) ?? []));
}
