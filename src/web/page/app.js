// The page: choose recordings, watch them, read them.
import * as api from './api.js';
import { hideViews, openView, probeViews } from './admin.js';
import { askForKey, confirm, openHelp } from './dialogs.js';
import { announce, byId, el, sentence, setText, size } from './dom.js';
import { note } from './eta.js';
import { isActive, labels, setOpen, showJobs } from './list.js';
import { followAll, watchJob } from './live.js';
import * as reader from './reader.js';
import { recall, remember } from './store.js';
import { addFiles, setLimit } from './uploads.js';

const PAGE = 50;
const LIST_MAX = 500; // the service gives no more at once; older ones are found by searching
const MAX_WATCHED = 8; // sockets at once; what is beyond is polled with the list
const CHOICES = ['language', 'task', 'model'];

const state = {
  jobs: [], total: 0, limit: PAGE, search: '', status: '', openId: null, openJob: null, languages: {}, described: false,
};
const watches = new Map();
let refreshTimer;
let live;

/* ---- the service ---- */

function setService(kind, text) {
  byId('service').className = `service ${kind}`;
  setText(byId('service-text'), text);
  byId('offline').hidden = kind !== 'offline';
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
  byId('no-model').hidden = Boolean(about.default_model);
  for (const id of CHOICES) {
    const select = byId(id);
    const saved = recall(`choice-${id}`);
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
    else if (error.status === 401) setService('trouble', 'A key is needed');
    else setService('offline', 'Offline. Trying again…');
  }
}

/* ---- the list ---- */

function emptyText() {
  if (state.search) return `Nothing is found for “${state.search}”.`;
  if (state.status) return `None is ${labels[state.status].toLowerCase()}.`;
  return 'Your transcripts will be here. Begin with a recording above.';
}

function showList() {
  showJobs(state.jobs, state.openId);
  const empty = byId('list-empty');
  empty.hidden = state.jobs.length > 0;
  setText(empty, emptyText());
  byId('more').hidden = state.jobs.length >= Math.min(state.total, LIST_MAX);
}

async function refresh() {
  clearTimeout(refreshTimer);
  const { search, status } = state;
  try {
    const answer = await api.listJobs({ limit: state.limit, search, status });
    if (search !== state.search || status !== state.status) return;
    const old = new Map(state.jobs.map((job) => [job.id, job]));
    state.jobs = answer.jobs;
    state.total = answer.total;
    for (const job of answer.jobs) {
      note(job.id, job);
      tellEnd(old.get(job.id), job);
    }
    showList();
    watchActive();
    if (!byId('service').classList.contains('online')) describe();
  } catch {
    describe();
  }
  const busy = state.jobs.some(isActive) && !live?.live();
  refreshTimer = setTimeout(refresh, document.hidden ? 60000 : busy ? 4000 : 15000);
}

/** News come in swarms; the list is asked for once. */
function soon() {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, 250);
}

function tellEnd(before, now) {
  if (before && isActive(before) && !isActive(now)) {
    announce(`${now.original_filename}: ${labels[now.status]}.`);
    if (now.id === state.openId && !reader.update(now)) open(now.id, { status: now.status });
  }
}

/* ---- progress ---- */

function onProgress(id, change) {
  note(id, change);
  const job = state.jobs.find((each) => each.id === id);
  if (job) {
    const before = { ...job };
    job.status = change.status;
    job.progress = change.progress;
    tellEnd(before, job);
    showJobs(state.jobs, state.openId);
  }
  if (id === state.openId) {
    if (!reader.update(change)) open(id, { status: change.status });
    else if (state.openJob) Object.assign(state.openJob, { progress: change.progress, message: change.message });
  }
  if (!isActive(change)) unwatch(id);
  if (!job || !isActive(change)) soon();
}

function watch(id) {
  if (!watches.has(id)) watches.set(id, watchJob(id, (change) => onProgress(id, change)));
}

function unwatch(id) {
  watches.get(id)?.();
  watches.delete(id);
}

/** The open job, and the oldest of those that are not done: these move first. */
function watchActive() {
  const wanted = live?.live() ? [] : state.jobs.filter(isActive).map((job) => job.id).reverse().slice(0, MAX_WATCHED);
  if (!live?.live() && state.openJob && isActive(state.openJob)) wanted.push(state.openId);
  for (const id of [...watches.keys()]) if (!wanted.includes(id)) unwatch(id);
  wanted.forEach(watch);
}

/* ---- one job ---- */

async function act(what) {
  try {
    await what();
  } catch (error) {
    announce(sentence(error.message));
    setService(error.status === 0 ? 'offline' : 'trouble', sentence(error.message));
  }
}

function actionsFor(job) {
  return {
    cancel: () => act(async () => { await api.cancelJob(job.id); await open(job.id); refresh(); }),
    retry: () => act(async () => { await api.retryJob(job.id); await open(job.id); refresh(); }),
    remove: () => act(async () => {
      const sure = await confirm({
        title: 'Delete this transcript?',
        text: `“${job.original_filename}”, its recording and its transcript are removed from the server.`,
        yes: 'Delete',
      });
      if (!sure) return;
      await api.deleteJob(job.id);
      announce(`${job.original_filename} was deleted.`);
      location.hash = '';
      refresh();
      byId('list').focus();
    }),
  };
}

let opening = null; // {id, status: of news that came meanwhile}

/** Ask for a job and show it: once for each change, for some can be read only once. */
async function open(id, { focus = false, status = null } = {}) {
  if (opening?.id === id && !focus) {
    opening.status = status;
    return;
  }
  const mine = { id, status: null };
  opening = mine;
  await openNow(id, focus);
  if (opening === mine) opening = null;
  const stale = mine.status && state.openId === id && state.openJob && mine.status !== state.openJob.status;
  if (stale) await open(id);
}

async function openNow(id, focus) {
  try {
    const job = await api.getJob(id);
    if (state.openId !== id) return;
    state.openJob = job;
    if (!state.jobs.some((each) => each.id === id)) soon(); // somebody else sent it
    note(id, job);
    document.title = `${job.original_filename} – Whisper Transcriber`;
    await reader.show(job, state.languages, actionsFor(job), { focus });
    if (isActive(job)) watchActive();
  } catch (error) {
    if (state.openId === id) reader.showMissing(error.message);
  }
}

function route() {
  const match = /^#\/jobs\/([0-9a-f-]+)$/.exec(location.hash);
  const view = /^#\/(models|keys|system)$/.exec(location.hash)?.[1];
  state.openId = match ? match[1] : null;
  state.openJob = null;
  document.body.classList.toggle('reading', Boolean(match));
  setOpen(state.openId);
  byId('work').hidden = Boolean(view);
  for (const link of document.querySelectorAll('.nav a[href^="#"]')) {
    const here = view ? link.hash === `#/${view}` : link.hash === '';
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (view) openView(view);
  else hideViews();
  if (match) {
    open(match[1], { focus: true });
  } else {
    reader.clear();
    document.title = 'Whisper Transcriber';
  }
}

/* ---- what people do ---- */

function start(files) {
  // The player follows the words, so their times are wanted.
  const options = { word_timestamps: 'true' };
  for (const id of CHOICES) options[id] = byId(id).value;
  if (location.hash && !state.openId) location.hash = '';
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

/** Keys of the whole page: only where they mean nothing else. */
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector('dialog[open]') || event.target.closest('input, select, textarea')) return;
  const player = reader.player();
  const onButton = event.target.closest('button, a, summary');
  const keys = {
    '?': () => openHelp(),
    '/': () => byId('search').focus(),
    n: () => reader.nextUnsure(),
    ArrowLeft: player && (() => player.by(-5)),
    ArrowRight: player && (() => player.by(5)),
    ' ': player && !onButton && (() => player.toggle()),
  };
  const run = keys[event.key];
  if (!run) return;
  event.preventDefault();
  run();
}

function listen() {
  listenForFiles();
  for (const id of CHOICES) {
    byId(id).addEventListener('change', (event) => remember(`choice-${id}`, event.target.value));
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
  byId('filter').addEventListener('change', (event) => {
    state.status = event.target.value;
    state.limit = PAGE;
    refresh();
  });
  byId('more').addEventListener('click', () => {
    state.limit = Math.min(LIST_MAX, state.limit + PAGE);
    refresh();
  });
  byId('sign-out').addEventListener('click', () => act(async () => {
    await api.closeSession();
    location.reload(); // nothing of what was seen stays
  }));
  byId('help-open').addEventListener('click', openHelp);
  byId('retry-now').addEventListener('click', () => { live.restart(); refresh(); });
  document.addEventListener('keydown', onKey);
  window.addEventListener('hashchange', route);
  window.addEventListener('online', () => { live.restart(); refresh(); });
  window.addEventListener('offline', () => setService('offline', 'Offline. Trying again…'));
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
  // What is said of the time left, and of how long ago, moves on without news.
  setInterval(() => {
    if (document.hidden || !state.jobs.some(isActive)) return;
    showJobs(state.jobs, state.openId);
    if (state.openJob && isActive(state.openJob)) reader.update(state.openJob);
  }, 5000);
}

api.setSignIn(async () => {
  const accepted = await askForKey();
  if (accepted) {
    live?.restart();
    probeViews();
    refresh();
  }
  return accepted;
});
listen();
await describe();
live = followAll({
  onjob: (change) => onProgress(change.job_id, change),
  onreset: soon,
  onstate: watchActive,
});
route();
refresh();
probeViews();
