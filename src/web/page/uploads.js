// Files on their way to the service: a few at a time, each with its progress. Where the
// service has resumable uploads, a broken connection only pauses them.
import { ApiError, askToSignIn, uploadForm } from './api.js';
import { announce, byId, el, icon, sentence, setText, size } from './dom.js';
import { forget, uploadResumable } from './tus.js';

const AT_ONCE = 2; // more would only share the same line

const list = byId('uploads');
const queue = [];
let running = 0;
let resumable = true; // until the service says that it does not know how
let limitBytes = Infinity;
const tally = { all: 0, done: 0 };

export function setLimit(bytes) {
  limitBytes = bytes;
}

function showTally() {
  const node = byId('upload-tally');
  const busy = running > 0 || queue.length > 0;
  if (!busy) Object.assign(tally, { all: 0, done: 0 });
  node.hidden = tally.all < 2;
  setText(node, `${tally.done} of ${tally.all} uploaded`);
}

function addRow(file) {
  const state = el('p', { class: 'state' }, 'Waiting to upload');
  const bar = el('progress', { max: 100, value: 0, 'aria-label': `Upload of ${file.name}` });
  const button = el('button', { type: 'button', class: 'icon-button', 'aria-label': `Cancel upload of ${file.name}` }, icon('close'));
  const row = el('li', {}, el('span', { class: 'name', title: file.name }, file.name), button, bar, state);
  list.append(row);
  return { row, state, bar, button };
}

function showFailure(item, message) {
  const { row, state, bar, button } = item.view;
  const again = el('button', { type: 'button', class: 'link' }, 'Try again');
  row.classList.add('failed');
  bar.remove();
  setText(state, `${message} `);
  if (item.file.size > 0 && item.file.size <= limitBytes) {
    again.setAttribute('aria-label', `Try again: upload ${item.file.name}`);
    again.onclick = () => {
      row.remove();
      addFiles([item.file], item.options, item.onaccepted);
    };
    state.append(again);
  }
  button.setAttribute('aria-label', `Dismiss: ${item.file.name} was not uploaded`);
  button.onclick = () => row.remove();
  announce(`${item.file.name} was not uploaded. ${message}`);
}

/** Wait and send again when the service says "not so fast". */
function waitFor(item, seconds) {
  return new Promise((resolve, reject) => {
    const until = Date.now() + 1000 * seconds;
    const timer = setInterval(() => {
      const left = Math.ceil((until - Date.now()) / 1000);
      if (left > 0 && !item.stop.signal.aborted) {
        setText(item.view.state, `Too many uploads at once; again in ${left} s`);
        return;
      }
      clearInterval(timer);
      if (item.stop.signal.aborted) reject(new ApiError('Cancelled', { code: 'aborted' }));
      else resolve();
    }, 250);
  });
}

function showProgress({ state, bar }, sent, total) {
  bar.value = (100 * sent) / total;
  setText(state, sent < total ? `${size(sent)} of ${size(total)}` : 'Storing…');
}

function sendOnce(item) {
  const { view, file, options } = item;
  const { signal } = item.stop;
  const onprogress = (sent, total) => showProgress(view, sent, total);
  if (!resumable) return uploadForm(file, options, { onprogress, signal });
  return uploadResumable(file, options, {
    signal,
    onprogress,
    onresume: (offset, total) => {
      view.bar.value = (100 * offset) / total;
      setText(view.state, `Goes on at ${Math.round((100 * offset) / total)} %`);
    },
    onwait: (seconds, error) => setText(view.state, error.status === 0
      ? 'Paused: the service cannot be reached. It goes on by itself.'
      : `Paused: ${sentence(error.message)} Again in ${Math.ceil(seconds)} s`),
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
    }
  }
}

async function runOne(item) {
  try {
    const accepted = await send(item);
    item.view.row.remove();
    tally.done++;
    announce(`${item.file.name} was uploaded and waits to be transcribed.`);
    item.onaccepted(accepted);
  } catch (error) {
    if (error.code === 'aborted') {
      forget(item.file, item.options);
      item.view.row.remove();
      tally.all--;
    } else {
      showFailure(item, sentence(error.status === 0
        ? 'The upload was broken off: the service cannot be reached' : error.message));
    }
  }
}

async function run() {
  while (running < AT_ONCE && queue.length) {
    const item = queue.shift();
    running++;
    runOne(item).finally(() => {
      running--;
      showTally();
      run();
    });
  }
}

/** What is wrong with a file without asking the service; null: nothing. */
function problemOf(file) {
  if (file.size > limitBytes) return `The file has ${size(file.size)}; the server takes at most ${size(limitBytes)}.`;
  if (file.size === 0) return 'The file is empty.';
  return null;
}

/** Put files into the queue; `onaccepted` gets {job_id} for each. */
export function addFiles(files, options, onaccepted) {
  for (const file of files) {
    const item = { file, options, onaccepted, view: addRow(file), stop: new AbortController() };
    const problem = problemOf(file);
    if (problem) {
      showFailure(item, problem);
      continue;
    }
    item.view.button.onclick = () => {
      item.stop.abort();
      const at = queue.indexOf(item);
      if (at < 0) return;
      queue.splice(at, 1);
      item.view.row.remove();
      tally.all--;
      showTally();
    };
    tally.all++;
    queue.push(item);
  }
  run();
  showTally();
}

// Leaving the page would break uploads off.
window.addEventListener('beforeunload', (event) => {
  if (running > 0) event.preventDefault();
});
