// The page: choose recordings, watch them, read them.
import * as api from './api.js';
import { announce, byId, el, setText, size } from './dom.js';
import { isActive, labels, setOpen, showJobs } from './list.js';
import * as reader from './reader.js';
import { addFiles, setLimit } from './uploads.js';

const PAGE = 50;
const LIST_MAX = 500; // the service gives no more at once; older ones are found by searching
const MAX_WATCHED = 8; // sockets at once; what is beyond is polled with the list

const state = {
  jobs: [], total: 0, limit: PAGE, search: '', openId: null, openJob: null, languages: {}, described: false,
};
const watches = new Map();
let refreshTimer;

/* ---- the service ---- */

function setService(kind, text) {
  byId('service').className = `service ${kind}`;
  setText(byId('service-text'), text);
}

function fillOptions(about) {
  state.languages = about.languages ?? {};
  const byName = Object.entries(state.languages).sort((a, b) => a[1].localeCompare(b[1]));
  for (const [code, name] of byName) {
    byId('language').append(el('option', { value: code }, name[0].toUpperCase() + name.slice(1)));
  }
  byId('model').options[0].text = about.default_model ? `Default (${about.default_model})` : 'Default';
  for (const name of about.models ?? []) byId('model').append(el('option', { value: name }, name));
  const limit = about.max_file_size_mb * 1048576;
  setLimit(limit);
  byId('drop-hint').textContent = `Audio or video, up to ${size(limit)} each`;
  for (const id of ['language', 'task', 'model']) {
    const select = byId(id);
    const saved = localStorage.getItem(`choice-${id}`);
    if (saved && [...select.options].some((option) => option.value === saved)) select.value = saved;
  }
}

async function describe() {
  try {
    const about = await api.describe();
    if (!state.described) fillOptions(about);
    state.described = true;
    setService('online', 'Online');
  } catch (error) {
    if (error.status === 503) setService('trouble', `Not ready: ${error.message}`);
    else setService('offline', 'Offline. Trying again…');
  }
}

/* ---- the list ---- */

function showList() {
  showJobs(state.jobs, state.openId);
  const empty = byId('list-empty');
  empty.hidden = state.jobs.length > 0;
  setText(empty, state.search ? `Nothing is found for “${state.search}”.` : 'Your transcripts will be here.');
  byId('more').hidden = state.jobs.length >= Math.min(state.total, LIST_MAX);
}

async function refresh() {
  clearTimeout(refreshTimer);
  const asked = state.search;
  try {
    const answer = await api.listJobs({ limit: state.limit, search: asked });
    if (asked !== state.search) return;
    const old = new Map(state.jobs.map((job) => [job.id, job]));
    state.jobs = answer.jobs;
    state.total = answer.total;
    for (const job of answer.jobs) tellEnd(old.get(job.id), job);
    showList();
    watchActive();
    if (!byId('service').classList.contains('online')) describe();
  } catch {
    describe();
  }
  const busy = state.jobs.some(isActive);
  refreshTimer = setTimeout(refresh, document.hidden ? 60000 : busy ? 4000 : 15000);
}

function tellEnd(before, now) {
  if (before && isActive(before) && !isActive(now)) {
    announce(`${now.original_filename}: ${labels[now.status]}.`);
    if (now.id === state.openId) open(now.id);
  }
}

/* ---- progress ---- */

function onProgress(id, change) {
  const job = state.jobs.find((each) => each.id === id);
  if (job) {
    const before = { ...job };
    job.status = change.status;
    job.progress = change.progress;
    tellEnd(before, job);
    showJobs(state.jobs, state.openId);
  }
  if (id === state.openId && !reader.update(change)) open(id);
  if (!isActive(change)) {
    unwatch(id);
    refresh();
  }
}

function watch(id) {
  if (!watches.has(id)) watches.set(id, api.watchJob(id, (change) => onProgress(id, change)));
}

function unwatch(id) {
  watches.get(id)?.();
  watches.delete(id);
}

/** The open job, and the oldest of those that are not done: these move first. */
function watchActive() {
  const wanted = state.jobs.filter(isActive).map((job) => job.id).reverse().slice(0, MAX_WATCHED);
  if (state.openJob && isActive(state.openJob)) wanted.push(state.openId);
  for (const id of [...watches.keys()]) if (!wanted.includes(id)) unwatch(id);
  wanted.forEach(watch);
}

/* ---- one job ---- */

function confirmDelete(name) {
  const dialog = byId('confirm');
  setText(byId('confirm-text'), `“${name}”, its recording and its transcript are removed from the server.`);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

async function act(what) {
  try {
    await what();
  } catch (error) {
    announce(error.message);
    setService('trouble', error.message);
  }
}

function actionsFor(job) {
  return {
    cancel: () => act(async () => { await api.cancelJob(job.id); await open(job.id); refresh(); }),
    retry: () => act(async () => { await api.retryJob(job.id); await open(job.id); refresh(); }),
    remove: () => act(async () => {
      if (!await confirmDelete(job.original_filename)) return;
      await api.deleteJob(job.id);
      announce(`${job.original_filename} was deleted.`);
      location.hash = '';
      refresh();
      byId('list').focus();
    }),
  };
}

async function open(id, { focus = false } = {}) {
  try {
    const job = await api.getJob(id);
    if (state.openId !== id) return;
    state.openJob = job;
    document.title = `${job.original_filename} – Whisper Transcriber`;
    await reader.show(job, state.languages, actionsFor(job), { focus });
    if (isActive(job)) watch(id);
  } catch (error) {
    if (state.openId === id) reader.showMissing(error.message);
  }
}

function route() {
  const match = /^#\/jobs\/([0-9a-f-]+)$/.exec(location.hash);
  state.openId = match ? match[1] : null;
  state.openJob = null;
  document.body.classList.toggle('reading', Boolean(match));
  setOpen(state.openId);
  if (match) {
    open(match[1], { focus: true });
  } else {
    reader.clear();
    document.title = 'Whisper Transcriber';
  }
}

/* ---- what people do ---- */

function start(files) {
  const options = {};
  for (const id of ['language', 'task', 'model']) options[id] = byId(id).value;
  addFiles(files, options, (accepted) => {
    refresh();
    // Show the first one to come, unless something is being read.
    if (!state.openId) location.hash = `#/jobs/${accepted.job_id}`;
  });
}

function listenForFiles() {
  const drop = byId('drop');
  byId('files').addEventListener('change', (event) => {
    start([...event.target.files]);
    event.target.value = '';
  });
  byId('upload-form').addEventListener('submit', (event) => event.preventDefault());
  // A file may be dropped anywhere: missing the box must not leave the page.
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) drop.classList.remove('over');
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    if (event.dataTransfer.files.length) start([...event.dataTransfer.files]);
  });
}

function listen() {
  listenForFiles();
  for (const id of ['language', 'task', 'model']) {
    byId(id).addEventListener('change', (event) => localStorage.setItem(`choice-${id}`, event.target.value));
  }
  let searchTimer;
  byId('search').addEventListener('input', (event) => {
    clearTimeout(searchTimer);
    searchTimer = setTimeout(() => {
      state.search = event.target.value.trim();
      state.limit = PAGE;
      refresh();
    }, 200);
  });
  byId('more').addEventListener('click', () => {
    state.limit = Math.min(LIST_MAX, state.limit + PAGE);
    refresh();
  });
  window.addEventListener('hashchange', route);
  window.addEventListener('online', refresh);
  window.addEventListener('offline', () => setService('offline', 'Offline. Trying again…'));
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
}

listen();
await describe();
route();
refresh();
