// Files on their way to the service: one after the other, each with its progress.
import { ApiError, upload } from './api.js';
import { announce, byId, el, icon, sentence, setText, size } from './dom.js';

const list = byId('uploads');
const queue = [];
let running = false;
let limitBytes = Infinity;

export function setLimit(bytes) {
  limitBytes = bytes;
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
  row.classList.add('failed');
  bar.remove();
  setText(state, message);
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
      if (left > 0) {
        setText(item.view.state, `Too many uploads at once; again in ${left} s`);
        return;
      }
      clearInterval(timer);
      resolve();
    }, 250);
    item.abort = () => {
      clearInterval(timer);
      reject(new ApiError('Cancelled', { code: 'aborted' }));
    };
  });
}

async function send(item) {
  const { state, bar } = item.view;
  for (;;) {
    const { done, abort } = upload(item.file, item.options, (sent, total) => {
      bar.value = (100 * sent) / total;
      setText(state, sent < total ? `${size(sent)} of ${size(total)}` : 'Storing…');
    });
    item.abort = abort;
    try {
      return await done;
    } catch (error) {
      if (error.code !== 'rate_limited') throw error;
      bar.value = 0;
      await waitFor(item, 10);
    }
  }
}

async function run(onaccepted) {
  if (running) return;
  running = true;
  for (let item = queue.shift(); item; item = queue.shift()) {
    if (item.cancelled) continue;
    try {
      const accepted = await send(item);
      item.view.row.remove();
      announce(`${item.file.name} was uploaded and waits to be transcribed.`);
      onaccepted(accepted);
    } catch (error) {
      if (error.code === 'aborted') item.view.row.remove();
      else showFailure(item, sentence(error.message));
    }
  }
  running = false;
}

/** Put files into the queue; `onaccepted` gets the service's answer for each. */
export function addFiles(files, options, onaccepted) {
  for (const file of files) {
    const item = { file, options, view: addRow(file), abort: null, cancelled: false };
    if (file.size > limitBytes) {
      showFailure(item, `The file has ${size(file.size)}; the server takes at most ${size(limitBytes)}.`);
      continue;
    }
    if (file.size === 0) {
      showFailure(item, 'The file is empty.');
      continue;
    }
    item.view.button.onclick = () => {
      item.cancelled = true;
      if (item.abort) item.abort();
      else item.view.row.remove();
    };
    queue.push(item);
  }
  run(onaccepted);
}
