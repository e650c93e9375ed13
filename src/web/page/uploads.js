// Files on their way to the service: a few at a time, each with its progress. Where the
// service has resumable uploads, a broken connection only pauses them, and so may the sender.
import { ApiError, askToSignIn, uploadForm } from './api.js';
import { announce, byId, el, icon, sentence, setText, size } from './dom.js';
import { leftText, makeMeter } from './eta.js';
import { findUnfinished, forget, uploadResumable } from './tus.js';

const AT_ONCE = 2; // more would only share the same line

const list = byId('uploads');
const items = new Set(); // all that are not done: {state: 'queued' | 'sending' | 'paused', …}
let resumable = true; // until the service says that it does not know how
let held = false; // all of them are paused
let limitBytes = Infinity;
let refusal = null; // why this caller may not upload
const tally = { all: 0, done: 0, bytes: 0 }; // bytes: of those that are done

const having = (state) => [...items].filter((item) => item.state === state);

export function setLimit(bytes) {
  limitBytes = bytes;
}

/** Say beforehand that the service will refuse; null: it will not. */
export function setRefusal(text) {
  refusal = text;
}

/** "43 %" of all that is being uploaded; null: nothing is. */
export function uploadShare() {
  if (!having('sending').length) return null;
  let sent = tally.bytes;
  let all = tally.bytes;
  for (const { file, sent: part } of items) {
    sent += part;
    all += file.size;
  }
  return Math.floor((100 * sent) / Math.max(1, all));
}

/* ---- what is shown ---- */

function showTally() {
  if (!items.size) Object.assign(tally, { all: 0, done: 0, bytes: 0 });
  if (!items.size) held = false;
  byId('upload-all').hidden = tally.all < 2;
  setText(byId('upload-tally'), tally.all < 2 ? '' : `${tally.done} of ${tally.all} uploaded`);
  const hold = byId('upload-hold');
  hold.hidden = !resumable;
  setText(hold, held ? 'Go on with all' : 'Pause all');
}

function makeButton(shape, label, onclick) {
  return el('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick }, icon(shape));
}

function addRow(item) {
  const { name } = item.file;
  const state = el('p', { class: 'state' }, 'Waiting to upload');
  const bar = el('progress', { max: 100, value: 0, 'aria-label': `Upload of ${name}` });
  const hold = makeButton('pause', `Pause upload of ${name}`, () => (item.state === 'paused' ? resume(item) : pause(item)));
  const button = makeButton('close', `Cancel upload of ${name}`, () => cancel(item));
  hold.hidden = true;
  const row = el('li', {}, el('span', { class: 'name', title: name }, el('bdi', {}, name)), el('span', { class: 'buttons' }, hold, button), bar, state);
  list.append(row);
  return { row, state, bar, hold, button };
}

function showState(item, state) {
  const { hold } = item.view;
  const { name } = item.file;
  item.state = state;
  hold.hidden = !resumable || state === 'queued';
  const [shape, label] = state === 'paused' ? ['play', `Go on with upload of ${name}`] : ['pause', `Pause upload of ${name}`];
  hold.setAttribute('aria-label', label);
  hold.title = label;
  hold.replaceChildren(icon(shape));
}

function showProgress(item, sent, total) {
  const { view, meter } = item;
  item.sent = sent;
  meter.add(sent);
  view.bar.value = (100 * sent) / total;
  const rate = meter.rate();
  const seconds = meter.seconds(total - sent);
  setText(view.state, sent >= total ? 'Storing…' : [
    `${size(sent)} of ${size(total)}`, rate ? `${size(rate)}/s` : null, rate && seconds > 3 ? leftText(seconds) : null,
  ].filter(Boolean).join(' · '));
}

function showFailure(item, message) {
  const { row, state, bar, hold, button } = item.view;
  const again = el('button', { type: 'button', class: 'link' }, 'Try again');
  row.classList.add('failed');
  bar.remove();
  hold.remove();
  setText(state, `${message} `);
  if (item.file.size > 0 && item.file.size <= limitBytes && !refusal) {
    again.setAttribute('aria-label', `Try again: upload ${item.file.name}`);
    again.onclick = () => {
      row.remove();
      addFiles([item.file], item.options, item.onaccepted);
    };
    state.append(again);
  }
  const label = `Dismiss: ${item.file.name} was not uploaded`;
  const fresh = makeButton('close', label, () => row.remove());
  button.replaceWith(fresh);
  announce(`${item.file.name} was not uploaded. ${message}`);
}

/** Count down aloud to the eye, not to the ear; `text` gets the seconds. */
function countDown(item, seconds, text) {
  clearInterval(item.timer);
  const until = Date.now() + 1000 * seconds;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    if (left > 0) setText(item.view.state, text(left));
    else clearInterval(item.timer);
  };
  item.timer = setInterval(tick, 500);
  tick();
}

/** Wait and send again when the service says "not so fast". */
function waitFor(item, seconds) {
  return new Promise((resolve, reject) => {
    countDown(item, seconds, (left) => `Too many uploads at once; again in ${left} s`);
    const timer = setTimeout(resolve, 1000 * seconds);
    item.stop.signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new ApiError('Cancelled', { code: 'aborted' }));
    }, { once: true });
  });
}

/* ---- one file ---- */

function sendOnce(item) {
  const { view, file, options, meter } = item;
  const { signal } = item.stop;
  const onprogress = (sent, total) => {
    clearInterval(item.timer);
    showProgress(item, sent, total);
  };
  if (!resumable) return uploadForm(file, options, { onprogress, signal });
  return uploadResumable(file, options, {
    signal,
    onprogress,
    onresume: (offset, total) => {
      clearInterval(item.timer);
      meter.reset();
      item.sent = offset;
      view.bar.value = (100 * offset) / total;
      setText(view.state, `Goes on at ${Math.round((100 * offset) / total)} %`);
    },
    onwait: (seconds, error) => {
      meter.reset();
      if (error.status === 0) setText(view.state, 'Paused: the service cannot be reached. It goes on by itself.');
      else if (error.code === 'rate_limited') countDown(item, seconds, (left) => `Too many uploads at once; again in ${left} s`);
      else if ([409, 423].includes(error.status)) setText(view.state, 'Going on in a moment…'); // the broken request still ends
      else countDown(item, seconds, (left) => `Paused: ${sentence(error.message)} Again in ${left} s`);
    },
  });
}

async function send(item) {
  for (;;) {
    try {
      return await sendOnce(item);
    } catch (error) {
      if (error.code === 'no_tus') resumable = false;
      else if (error.status === 401 && await askToSignIn(error.message)) continue;
      else if (error.code !== 'rate_limited') throw error;
      else {
        item.view.bar.value = 0;
        await waitFor(item, error.retryAfter || 10);
      }
      showState(item, 'sending');
      showTally();
    }
  }
}

function finish(item) {
  clearInterval(item.timer);
  items.delete(item);
}

async function runOne(item) {
  showState(item, 'sending');
  item.stop = new AbortController();
  try {
    const accepted = await send(item);
    finish(item);
    const inside = item.view.row.contains(document.activeElement);
    item.view.row.remove();
    if (inside) byId('files').focus();
    tally.done++;
    tally.bytes += item.file.size;
    if (tally.all < 4) announce(`${item.file.name} was uploaded and waits to be transcribed.`);
    else if (tally.done === tally.all) announce(`All ${tally.all} files were uploaded.`);
    item.onaccepted(accepted);
  } catch (error) {
    if (error.code === 'aborted') return; // whoever did it has said what becomes of it
    finish(item);
    showFailure(item, sentence(error.status === 0 && error.code === 'unreachable'
      ? 'The upload was broken off: the service cannot be reached' : error.message));
  }
}

function run() {
  for (const item of held ? [] : having('queued').slice(0, AT_ONCE - having('sending').length)) {
    runOne(item).finally(() => {
      showTally();
      run();
    });
  }
}

/* ---- what people do with them ---- */

function pause(item) {
  const was = item.state;
  showState(item, 'paused');
  clearInterval(item.timer);
  item.meter.reset();
  setText(item.view.state, `Paused at ${Math.floor((100 * item.sent) / item.file.size)} %`);
  if (was === 'sending') item.stop.abort();
}

function resume(item) {
  showState(item, 'queued');
  setText(item.view.state, 'Waiting to upload');
  held = false;
  run();
  showTally();
}

function cancel(item) {
  finish(item);
  item.stop?.abort();
  forget(item.file, item.options);
  item.view.row.remove();
  tally.all--;
  byId('files').focus();
  run();
  showTally();
}

function holdAll() {
  held = !held;
  if (held) having('sending').forEach(pause);
  else having('paused').forEach((item) => showState(item, 'queued'));
  run();
  showTally();
}

/** What is wrong with a file without asking the service; null: nothing. */
function problemOf(file) {
  if (refusal) return refusal;
  if (file.size > limitBytes) return `The file has ${size(file.size)}; the server takes at most ${size(limitBytes)}.`;
  if (file.size === 0) return 'The file is empty.';
  return null;
}

/** Put files into the queue; `onaccepted` gets {job_id} for each. */
export function addFiles(files, options, onaccepted) {
  for (const file of files) {
    const item = { file, options: goesOn(file) ?? options, onaccepted, sent: 0, meter: makeMeter(), state: 'queued' };
    item.view = addRow(item);
    const problem = problemOf(file);
    if (problem) {
      showFailure(item, problem);
      continue;
    }
    tally.all++;
    items.add(item);
  }
  run();
  showTally();
}

/* ---- those of an earlier visit ---- */

const leftOver = new Map(); // row → what is known of it

/** What an earlier upload of this file was to be done with; its row is not needed any more. */
function goesOn(file) {
  for (const [row, known] of leftOver) {
    if (known.name !== file.name || known.size !== file.size || known.lastModified !== file.lastModified) continue;
    leftOver.delete(row);
    row.remove();
    return known.options;
  }
  return null;
}

function addLeftOver(known) {
  const { name, size: bytes, offset, drop } = known;
  const done = () => {
    drop();
    leftOver.delete(row);
    row.remove();
    byId('files').focus();
  };
  const choose = el('button', { type: 'button', class: 'link', onclick: () => byId('files').click() }, 'Choose the file again');
  const row = el('li', { class: 'left-over' },
    el('span', { class: 'name', title: name }, el('bdi', {}, name)),
    el('span', { class: 'buttons' }, makeButton('close', `Forget the unfinished upload of ${name}`, done)),
    el('progress', { max: 100, value: (100 * offset) / bytes, 'aria-label': `Upload of ${name}` }),
    el('p', { class: 'state' }, `Broken off${offset ? ` at ${Math.floor((100 * offset) / bytes)} %` : ''}. `, choose, ' to go on.'));
  leftOver.set(row, known);
  list.append(row);
}

/** Show what was broken off when the page was closed: the browser wants the file again. */
export function showUnfinished() {
  // What was chosen again meanwhile goes on already.
  const again = ({ name }) => [...items].some(({ file }) => file.name === name);
  findUnfinished((known) => { if (!again(known)) addLeftOver(known); }).catch(() => {});
}

byId('upload-hold').addEventListener('click', holdAll);
byId('upload-cancel').addEventListener('click', () => [...items].forEach(cancel));

// Leaving the page would break uploads off.
window.addEventListener('beforeunload', (event) => {
  if (having('sending').length) event.preventDefault();
});
