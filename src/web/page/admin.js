// What an operator looks after: models, keys, the system. Each is shown only where the
// service has it and lets this user see it.
import * as api from './api.js';
import { confirm } from './dialogs.js';
import {
  announce, byId, duration, el, moment, number, sentence, setText, size, wholeMoment,
} from './dom.js';
import { leftText, makeMeter } from './eta.js';

const root = byId('view');
const available = { models: false, keys: false, system: false };
const may = { read: true, transcribe: true, admin: true };
let current = null;
let timer;

const titles = { models: 'Models', keys: 'Keys', system: 'System' };

const none = el('span', { class: 'soft' }, '–');
const dash = () => none.cloneNode(true);
const when = (iso) => (iso ? el('time', { datetime: iso, title: wholeMoment(iso) }, moment(iso)) : dash());
const badge = (kind, text) => el('span', { class: `badge ${kind}` }, text);

function button(text, label, onclick, kind = '') {
  return el('button', { type: 'button', class: `button small ${kind}`, 'aria-label': label, onclick }, text);
}

/** A table whose cells say on a phone what they are. */
function table(label, heads, rows) {
  return el('table', { 'aria-label': label },
    el('thead', {}, el('tr', {}, ...heads.map((head) => el('th', { scope: 'col' }, head)))),
    el('tbody', {}, ...rows.map((cells) => el('tr', {}, ...cells.map((cell, i) => el('td', { 'data-head': heads[i] }, cell ?? dash()))))));
}

let lastProblem = ''; // stays until something else is done

/** Do it, say how it went, show the view anew. */
async function act(what, done) {
  lastProblem = '';
  try {
    await what();
    if (done) announce(done);
    await show();
  } catch (error) {
    problem(error);
  }
}

function problem(error) {
  lastProblem = sentence(error.message);
  showProblem();
}

function showProblem() {
  const node = byId('view-problem');
  if (!node) return;
  setText(node, lastProblem);
  node.hidden = !lastProblem;
}

/* ---- models ---- */

const pulling = (model) => model.pull?.state === 'pulling';

const meters = new Map(); // of the downloads that are under way

/** "180 MB of 465 MB · 12 MB/s · about 30 s left" */
function pullText(model) {
  const { done_bytes: done, total_bytes: total, message } = model.pull;
  if (!(total > 0)) return message ? sentence(message) : '';
  const meter = meters.get(model.name) ?? makeMeter();
  meters.set(model.name, meter);
  meter.add(done);
  const rate = meter.rate();
  return [`${size(done)} of ${size(total)}`, rate ? `${size(rate)}/s` : null,
    rate && total > done ? leftText(meter.seconds(total - done)) : null].filter(Boolean).join(' · ');
}

function modelState(model) {
  if (pulling(model)) {
    const percent = model.pull.progress ?? 0;
    return el('span', { class: 'pulling' }, badge('processing', `${percent} %`),
      el('progress', { max: 100, value: percent, 'aria-label': `Download of ${model.name}` }),
      el('span', { class: 'soft' }, pullText(model)));
  }
  meters.delete(model.name);
  if (model.pull?.state === 'failed') return el('span', {}, badge('failed', 'Failed'), ` ${sentence(model.pull.message || 'the download failed')}`);
  if (!model.present) return badge('', 'Not here');
  const notes = [model.loaded ? 'in memory' : null, model.memory?.fits === false ? 'needs more memory than there is' : null];
  return el('span', {}, badge('completed', model.default ? 'Default' : 'Here'), ` ${notes.filter(Boolean).join(', ')}`);
}

function modelActions(model) {
  const { name } = model;
  if (!may.admin) return null;
  if (pulling(model)) {
    return button('Stop', `Stop the download of ${name}`, () => act(() => api.deleteModel(name), `The download of ${name} was stopped.`));
  }
  if (!model.present) {
    return button('Get', `Get the model ${name}`, () => act(() => api.pullModel(name), `${name} is being downloaded.`));
  }
  return el('span', { class: 'row' },
    model.default ? null : button('Make default', `Make default: ${name}`, () => act(() => api.chooseModel(name), `${name} is the default now.`)),
    button('Delete', `Delete the model ${name}`, async () => {
      const sure = await confirm({
        title: 'Delete this model?', text: `“${name}” is removed from the server. It can be fetched again.`, yes: 'Delete',
      });
      if (sure) act(() => api.deleteModel(name), `${name} was deleted.`);
    }));
}

// What most want; the others are variants, for one language, smaller or older.
const MAIN = ['tiny', 'base', 'small', 'medium', 'large-v3-turbo', 'large-v3'];
let moreOpen = false;

const bySize = (a, b) => (a.size ?? 0) - (b.size ?? 0);

function modelTable(label, models) {
  return table(label, ['Model', 'Size', 'State', 'Actions'], models.sort(bySize).map((model) => [
    el('b', {}, model.name), model.size ? size(model.size) : null, modelState(model), modelActions(model)]));
}

async function showModels() {
  const answer = await api.listModels();
  const { models = [] } = answer;
  const main = models.filter((model) => model.present || model.pull || MAIN.includes(model.name));
  const others = models.filter((model) => !main.includes(model));
  again(models.some(pulling) ? PULL_MS : CALM_MS);
  const here = models.some((model) => model.present);
  return [
    el('p', { class: 'soft' }, 'Larger models hear better and take longer. A model is in memory only while it is used.'),
    here ? null : el('p', { class: 'notice' }, may.admin ? 'No model is here yet, so nothing can be transcribed. “tiny” comes quickest; “small” is a good choice for most.'
      : 'No model is here yet, so nothing can be transcribed. The operator of the service can get one.'),
    modelTable('Models', main),
    others.length ? el('details', { class: 'quality', open: moreOpen, ontoggle: (event) => { moreOpen = event.target.open; } },
      el('summary', {}, 'More models', el('span', { class: 'verdict' }, `${others.length}: English alone (.en), smaller (q5, q8), older`)),
      modelTable('More models', others)) : null,
  ];
}

/* ---- keys ---- */

function showNewKey(made) {
  const secret = made.key;
  const code = el('code', { class: 'secret', tabindex: '0', 'aria-label': 'The new key' }, secret);
  const copied = el('span', {}, 'Copy');
  const copy = navigator.clipboard && el('button', {
    type: 'button', class: 'button small',
    onclick: async () => {
      await navigator.clipboard.writeText(secret).then(() => setText(copied, 'Copied'), () => setText(copied, 'Not allowed'));
    },
  }, copied);
  byId('new-key').replaceChildren(el('div', { class: 'notice', role: 'status' },
    el('p', {}, el('b', {}, `The key “${made.name ?? ''}” was made.`), ' It is shown this once: keep it somewhere safe.'),
    el('div', { class: 'row' }, code, copy)));
}

async function createKey(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  const wishes = { name: form.get('name').trim(), scopes: form.getAll('scopes') };
  if (form.get('expires')) wishes.expires = form.get('expires');
  if (form.get('minutes')) wishes.minutes_per_day = Number(form.get('minutes'));
  try {
    const made = await api.createKey(wishes);
    await show();
    showNewKey(made);
  } catch (error) {
    problem(error);
  }
}

function keyForm() {
  const scope = (value, text, checked) => el('label', { class: 'check' },
    el('input', { type: 'checkbox', name: 'scopes', value, checked }), el('span', {}, el('b', {}, value), ` ${text}`));
  return el('details', { class: 'quality' }, el('summary', {}, 'Make a key'),
    el('form', { class: 'stack', onsubmit: createKey },
      el('label', {}, 'Name', el('input', { type: 'text', name: 'name', required: true, maxlength: '100', autocomplete: 'off' })),
      el('fieldset', {}, el('legend', {}, 'What it may'),
        scope('transcribe', 'upload, cancel, delete', true), scope('read', 'list and download', true),
        scope('admin', 'everything, for every key')),
      el('div', { class: 'options' },
        el('label', {}, 'Expires', el('select', { name: 'expires' },
          ...[['', 'never'], ['30d', 'in 30 days'], ['90d', 'in 90 days'], ['365d', 'in a year']]
            .map(([value, text]) => el('option', { value }, text)))),
        el('label', {}, 'Minutes a day (empty: any)', el('input', { type: 'number', name: 'minutes', min: '1', step: '1', inputmode: 'numeric' }))),
      el('div', { class: 'row end' }, el('button', { class: 'button strong' }, 'Make the key'))));
}

function keyState(key) {
  if (key.state === 'revoked') return badge('failed', 'Revoked');
  if (key.state === 'expired') return badge('', 'Expired');
  return badge('completed', 'Valid');
}

function keyActions(key) {
  if (key.state === 'revoked') return null;
  return button('Revoke', `Revoke the key ${key.name}`, async () => {
    const sure = await confirm({
      title: 'Revoke this key?', text: `Whoever uses “${key.name}” is shut out at once. This cannot be undone.`, yes: 'Revoke',
    });
    if (sure) act(() => api.revokeKey(key.id), `The key ${key.name} was revoked.`);
  });
}

async function showKeys() {
  const answer = await api.listKeys();
  const keys = answer.keys ?? [];
  const list = keys.length
    ? table('Keys', ['Name', 'May', 'State', 'Expires', 'Last used', 'Minutes today', 'Actions'], keys.map((key) => [
      el('b', {}, key.name), key.scopes?.join(', '), keyState(key), when(key.expires_at), when(key.last_used_at),
      key.minutes_per_day ? `${Math.round(key.minutes_used_today ?? 0)} of ${key.minutes_per_day}` : null, keyActions(key)]))
    : el('p', { class: 'empty' }, 'There is no key yet. Where the service asks for keys by itself, the first one switches that on.');
  return [
    el('p', { class: 'soft' }, 'A key is what a program or a person proves to be allowed with. Each sees only its own transcripts.'),
    el('div', { id: 'new-key' }), keyForm(), list,
  ];
}

/* ---- system ---- */

async function health() {
  try {
    await api.ready();
    return [badge('completed', 'Ready'), ' Everything that is needed is there.'];
  } catch (error) {
    return [badge('failed', 'Not ready'), ` ${sentence(error.message)}`];
  }
}

/** What is to be done, in one sentence, and the first jobs of the line. */
function queueParts(queue) {
  const audio = queue.waiting_audio_seconds + queue.running_audio_seconds;
  const wait = queue.estimated_wait_seconds;
  const sums = `${number(queue.running)} running, ${number(queue.waiting)} waiting, ${number(queue.failed)} failed`;
  const rest = audio > 0 ? `; ${duration(audio)} of audio to do${wait > 0 ? `, in about ${duration(wait)}` : ''}` : '';
  const rows = queue.jobs.map((job) => [job.position ? number(job.position) : null, badge(job.state === 'running' ? 'processing' : 'pending', job.state),
    job.original_filename, number(job.priority), number(job.attempts), duration(job.waiting_seconds),
    job.audio_seconds ? duration(job.audio_seconds) : size(job.file_bytes)]);
  const stranded = (queue.stranded ?? []).map((model) => el('p', { class: 'notice bad' },
    `${number(model.jobs)} cannot be done now: ${model.waits_for}.`));
  return [el('h3', {}, 'Queue'), el('p', {}, `${sums}${rest}.`), ...stranded,
    rows.length ? table('Queue', ['Place', 'State', 'File', 'Priority', 'Attempts', 'Waited', 'Length'], rows) : null];
}

async function showSystem() {
  const about = await api.describe().catch(() => ({}));
  const audit = await api.may(api.listAudit()).catch(() => null);
  const queue = await api.may(api.showQueue()).catch(() => null);
  const facts = [
    ['Health', el('span', {}, ...await health())],
    ['Version', about.version],
    ['Default model', about.default_model ?? 'none'],
    ['Models here', about.models?.join(', ') || 'none'],
    ['Largest file', about.max_file_size_mb ? size(about.max_file_size_mb * 1048576) : null],
    ['Formats', about.allowed_formats?.replaceAll(',', ', ') || 'all that can be decoded'],
  ];
  const events = audit?.events;
  const parts = [el('dl', { class: 'facts-list' }, ...facts.filter(([, value]) => value)
    .flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]))];
  if (queue) parts.push(...queueParts(queue));
  if (events) {
    parts.push(el('h3', {}, 'Security events'));
    parts.push(events.length
      ? table('Security events', ['When', 'What', 'Who', 'From', 'Details'], events.map((event) => [
        when(event.time), event.event.replaceAll('_', ' '), event.caller || null, event.client || null, event.detail || null]))
      : el('p', { class: 'empty' }, 'None so far.'));
  }
  return parts;
}

/* ---- all of them ---- */

const PULL_MS = 1500; // while a download goes on
const CALM_MS = 15000;

/** Look again later; not in a tab that nobody sees. */
function again(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (!current) return;
    if (document.hidden) again(milliseconds);
    else show();
  }, milliseconds);
}

const views = { models: showModels, keys: showKeys, system: showSystem };

async function show() {
  clearTimeout(timer);
  const wanted = current;
  let parts;
  try {
    parts = await views[wanted]();
  } catch (error) {
    if (current !== wanted) return;
    // What was here stays while the service is away; the banner of the page says that it is.
    if (wanted === 'models' && error.status === 0) again(CALM_MS / 3);
    if (error.status === 0 && byId('view-problem')) return;
    parts = [el('p', { class: 'notice bad', role: 'alert' }, sentence([403, 404].includes(error.status)
      ? 'This is for the operator of the service' : error.message))];
  }
  if (current !== wanted) return;
  const focused = root.contains(document.activeElement) ? document.activeElement.getAttribute('aria-label') : null;
  root.replaceChildren(el('h2', { id: 'view-title', tabindex: '-1' }, titles[wanted]),
    el('p', { id: 'view-problem', class: 'notice bad', role: 'alert', hidden: true }), ...parts.filter(Boolean));
  showProblem();
  if (focused) ([...root.querySelectorAll('[aria-label]')].find((node) => node.getAttribute('aria-label') === focused) ?? byId('view-title')).focus();
}

/** Show a view; returns its title. */
export function openView(name) {
  current = name;
  lastProblem = '';
  root.hidden = false;
  root.replaceChildren(el('p', { class: 'empty' }, 'Loading…'));
  show().then(() => byId('view-title')?.focus());
  return titles[name];
}

export function hideViews() {
  current = null;
  clearTimeout(timer);
  root.hidden = true;
  root.replaceChildren();
}

/**
 * Ask the service what it has and what this caller may: {read, transcribe, admin}. The links
 * of what is not there stay away.
 */
export async function probeViews() {
  const ask = (promise) => api.may(promise).catch(() => null);
  const [models, keys] = await Promise.all([ask(api.listModels()), ask(api.listKeys())]);
  const session = await ask(api.showSession()); // these may have asked for a key first
  byId('sign-out').hidden = session?.auth !== 'key';
  Object.assign(available, { models: Boolean(models), keys: Boolean(keys), system: Boolean(models || keys) });
  for (const [name, is] of Object.entries(available)) byId(`nav-${name}`).hidden = !is;
  // A service that does not say asks nobody.
  const has = (scope) => !session?.scopes || session.scopes.includes(scope) || session.scopes.includes('admin');
  Object.assign(may, { read: has('read'), transcribe: has('transcribe'), admin: has('admin') });
  return may;
}
