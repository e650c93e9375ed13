// The page: choose recordings, watch them, read them.
import * as api from './api.js';
import { hideViews, openView, probeViews } from './admin.js';
import { askForKey, confirm, openHelp } from './dialogs.js';
import { announce, byId, el, sentence, setText, size } from './dom.js';
import { note } from './eta.js';
import { isActive, labels, setOpen, showJobs } from './list.js';
import { noteLine } from './line.js';
import { followAll, watchJob } from './live.js';
import * as reader from './reader.js';
import { showChoice, startSelection } from './select.js';
import { recall, remember } from './store.js';
import { showTitle, tellElsewhere } from './tell.js';
import { forgetNames } from './tus.js';
import { addFiles, setLimit, setRefusal, showUnfinished, uploadShare } from './uploads.js';

const PAGE = 50;
const LIST_MAX = 500; // the service gives no more at once; older ones are found by searching
const MAX_WATCHED = 8; // sockets at once; what is beyond is polled with the list
const CHOICES = ['language', 'task', 'model'];

const state = {
  jobs: [], total: 0, limit: PAGE, search: '', status: '', openId: null, openJob: null, languages: {}, described: null, view: null, refused: null,
};
const watches = new Map();
let refreshTimer;
let live;

/* ---- the service ---- */

/** How it is; `trouble` is a whole sentence for what is neither well nor away. */
function setService(kind, text, trouble = '') {
  byId('service').className = `service ${kind}`;
  setText(byId('service-text'), text);
  byId('offline').hidden = kind !== 'offline';
  byId('trouble').hidden = !trouble;
  setText(byId('trouble-text'), trouble);
}

/** The choices behind the first one of a list, which stays. */
function fillSelect(id, choices) {
  const select = byId(id);
  const chosen = select.value || recall(`choice-${id}`);
  const kept = [...select.options].slice(0, id === 'task' ? 2 : 1);
  select.replaceChildren(...kept, ...choices.map(([value, text]) => el('option', { value }, text)));
  if (chosen && [...select.options].some((option) => option.value === chosen)) select.value = chosen;
}

function fillOptions(about) {
  state.languages = about.languages ?? {};
  const byName = Object.entries(state.languages).sort((a, b) => a[1].localeCompare(b[1]));
  fillSelect('language', byName.map(([code, name]) => [code, name[0].toUpperCase() + name.slice(1)]));
  byId('model').options[0].text = about.default_model ? `Default (${about.default_model})` : 'Default';
  fillSelect('model', (about.models ?? []).map((name) => [name, name]));
  fillSelect('task', []);
  const limit = about.max_file_size_mb * 1048576;
  setLimit(limit);
  byId('drop-hint').textContent = `Audio or video, up to ${size(limit)} each`;
  byId('no-model').hidden = Boolean(about.default_model);
}

async function describe() {
  try {
    const about = await api.describe();
    // A list that is being chosen from is left alone.
    const known = JSON.stringify(about);
    if (state.described !== known) fillOptions(about);
    state.described = known;
    setService('online', 'Online');
  } catch (error) {
    if (error.failing === 'model') {
      byId('no-model').hidden = false;
      setService('trouble', 'No model');
    } else if (error.status === 503) setService('trouble', 'Not ready', sentence(error.message));
    else if (error.status === 401) setService('trouble', 'A key is needed');
    else setService('offline', 'Offline. Trying again…');
  }
}

/* ---- the list ---- */

function emptyText() {
  if (state.refused) return sentence(state.refused);
  if (state.search) return `Nothing is found for “${state.search}”.`;
  if (state.status) return `None is ${labels[state.status].toLowerCase()}.`;
  return 'Your transcripts will be here. Begin with a recording above.';
}

function showAll() {
  showJobs(state.jobs, state.openId);
  title();
}

function title() {
  showTitle({
    name: state.view ?? state.openJob?.original_filename ?? null, job: state.openJob,
    active: state.jobs.filter(isActive).length, upload: uploadShare(),
  });
}

function showList() {
  showAll();
  showChoice();
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
    state.refused = null;
    showList();
    watchActive();
    if (!byId('service').classList.contains('online')) describe();
    const whole = !search && !status && answer.jobs.length === answer.total;
    await noteLine(state.jobs, whole);
    showWaiting();
  } catch (error) {
    if (error.status === 403) { // a key that may upload and not read
      state.refused = error.message;
      showList();
    }
    await describe();
  }
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, nextLook());
}

/** How long until the list is asked for again. */
function nextLook() {
  if (document.hidden) return 60000;
  if (!byId('offline').hidden) return 4000;
  return state.jobs.some(isActive) && !live?.live() ? 4000 : 15000;
}

/** Places in the line move when others are done. */
function showWaiting() {
  showAll();
  if (state.openJob && isActive(state.openJob)) reader.update(state.openJob);
}

/** News come in swarms; the list is asked for once. */
function soon() {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, 250);
}

function tellEnd(before, now) {
  if (before && isActive(before) && !isActive(now)) {
    announce(`${now.original_filename}: ${labels[now.status]}.`);
    tellElsewhere(now);
    if (now.id === state.openId && !reader.update(now)) open(now.id, { status: now.status });
  }
}

/* ---- progress ---- */

function onProgress(id, change) {
  note(id, change);
  let began = false;
  const job = state.jobs.find((each) => each.id === id);
  if (job) {
    const before = { ...job };
    began = before.status !== change.status;
    job.status = change.status;
    job.progress = change.progress;
    job.message = change.message;
    tellEnd(before, job);
  }
  if (id === state.openId) {
    if (!reader.update(change)) open(id, { status: change.status });
    else if (state.openJob) Object.assign(state.openJob, { progress: change.progress, message: change.message });
  }
  showAll();
  if (!isActive(change)) unwatch(id);
  if (job?.status !== 'processing' || began) soon(); // the line has moved
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
    if (error.status === 0) setService('offline', 'Offline. Trying again…');
    else setService('trouble', 'Not done', sentence(error.message));
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
    title();
    await reader.show(job, state.languages, actionsFor(job), { focus, searched: state.search });
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
  if (state.view && !view) describe(); // models may have come or gone
  state.view = view ? openView(view) : null;
  if (!view) hideViews();
  if (match) open(match[1], { focus: true });
  else reader.clear();
  title();
}

/* ---- what people do ---- */

function start(files) {
  // The player follows the words, so their times are wanted.
  const options = { word_timestamps: 'true' };
  for (const id of CHOICES) options[id] = byId(id).value;
  if (location.hash && !state.openId) location.hash = '';
  addFiles(files, options, (accepted) => {
    refresh();
    // Show it, unless there are more to watch or the reader has gone somewhere meanwhile.
    if (!location.hash && files.length === 1) location.hash = `#/jobs/${accepted.job_id}`;
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
  const text = reader.transcript();
  const onButton = event.target.closest('button, a, summary');
  const keys = {
    '?': () => openHelp(),
    '/': () => { if (!reader.find()) byId('search').focus(); },
    n: () => reader.nextUnsure(),
    j: text && (() => text.step(1)),
    k: text && (() => text.step(-1)),
    f: text && (() => text.follow()),
    '<': player && (() => player.faster(-1)),
    '>': player && (() => player.faster(1)),
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
    forgetNames();
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
    if (state.jobs.some(isActive)) showWaiting();
    else title();
  }, 2000);
}

/** Ask what this caller may, and show that. */
async function showRights() {
  const may = await probeViews();
  setRefusal(may.transcribe ? null : 'This key may not upload.');
  byId('no-upload').hidden = may.transcribe;
  byId('files').disabled = !may.transcribe;
  byId('drop').classList.toggle('disabled', !may.transcribe);
  byId('choose').hidden = !may.read;
  byId('no-model-how').replaceChildren(...may.admin
    ? ['Get one on the ', el('a', { href: '#/models' }, 'Models page'), '.']
    : ['Its operator gets one on the Models page, or with “whisper-transcriber models pull small”.']);
  document.body.classList.toggle('may-not-change', !may.transcribe);
}

api.setSignIn(async () => {
  const accepted = await askForKey();
  if (accepted) {
    live?.restart();
    showRights();
    refresh();
  }
  return accepted;
});
startSelection({ jobs: () => state.jobs, onchange: () => refresh() });
listen();
await describe();
live = followAll({
  onjob: (change) => onProgress(change.job_id, change),
  onreset: soon,
  onstate: watchActive,
});
route();
refresh();
showRights().then(showUnfinished);
