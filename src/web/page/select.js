// Many transcripts at once: choose them, then take them away, try them again or delete them.
import { ApiError, deleteJob, downloadPath, retryJob } from './api.js';
import { confirm } from './dialogs.js';
import { announce, byId, sentence, setText } from './dom.js';
import { chosen, choose, setChoosing } from './list.js';
import { freeName, makeZip } from './zip.js';

let jobsNow = () => [];
let changed = () => {};
let busy = false;

const chosenJobs = () => jobsNow().filter((job) => chosen.has(job.id));
const completed = (job) => job.status === 'completed' && job.retain !== 'none';
const mayRetry = (job) => job.status === 'failed' || job.status === 'cancelled';
const plural = (n) => `${n} ${n === 1 ? 'transcript' : 'transcripts'}`;

/** What the bar says and allows, after the list or the choice has changed. */
export function showChoice() {
  const jobs = chosenJobs();
  const all = byId('choose-all');
  all.checked = jobs.length > 0 && jobs.length === jobsNow().length;
  all.indeterminate = jobs.length > 0 && !all.checked;
  if (!busy) setText(byId('choose-count'), jobs.length ? `${jobs.length} chosen` : 'All');
  byId('choose-download').disabled = busy || !jobs.some(completed);
  byId('choose-format').disabled = busy || !jobs.some(completed);
  byId('choose-retry').disabled = busy || !jobs.some(mayRetry);
  byId('choose-delete').disabled = busy || !jobs.length;
}

function setMode(on) {
  byId('choosing').hidden = !on;
  byId('choose').setAttribute('aria-pressed', String(on));
  setText(byId('choose'), on ? 'Done' : 'Select');
  setText(byId('choose-problem'), '');
  setChoosing(on);
  showChoice();
}

/** One after the other; says how far it is, and at the end what did not go. */
async function each(jobs, doing, did, work) {
  const failures = [];
  let done = 0;
  busy = true;
  setText(byId('choose-problem'), '');
  showChoice();
  for (const job of jobs) {
    setText(byId('choose-count'), `${doing} ${done + failures.length + 1} of ${jobs.length}`);
    try {
      await work(job);
      done++;
    } catch (error) {
      failures.push(`${job.original_filename}: ${sentence(error.message)}`);
      if (error.status === 0) break; // the others would end likewise
    }
  }
  busy = false;
  announce(`${plural(done)} ${did}.`);
  if (failures.length) {
    const more = failures.length > 1 ? ` And ${failures.length - 1} more.` : '';
    setText(byId('choose-problem'), `${failures[0]}${more}`);
  }
  changed();
  showChoice();
  return done;
}

async function remove() {
  const jobs = chosenJobs();
  const sure = await confirm({
    title: `Delete ${plural(jobs.length)}?`,
    text: jobs.length === 1 ? `“${jobs[0].original_filename}” and its recording are removed from the server.`
      : `“${jobs[0].original_filename}” and ${jobs.length - 1} more, with their recordings, are removed from the server.`,
    yes: 'Delete',
  });
  if (!sure) return;
  await each(jobs, 'Deleting', 'deleted', async (job) => {
    await deleteJob(job.id).catch((error) => { if (error.status !== 404) throw error; });
    choose(job.id, false);
    if (location.hash === `#/jobs/${job.id}`) location.hash = '';
  });
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

async function download() {
  const format = byId('choose-format').value;
  const files = [];
  const taken = new Set();
  await each(chosenJobs().filter(completed), 'Fetching', 'put together', async (job) => {
    let response;
    try {
      response = await fetch(downloadPath(job.id, format));
    } catch {
      throw new ApiError('The service cannot be reached');
    }
    if (!response.ok) throw new ApiError(`the service answered with ${response.status}`, { status: response.status });
    const stem = job.original_filename.replace(/\.[^.]{1,5}$/, '');
    files.push({ name: freeName(stem, format, taken), bytes: new Uint8Array(await response.arrayBuffer()) });
  });
  if (files.length === 1) save(new Blob([files[0].bytes]), files[0].name);
  else if (files.length) save(new Blob(makeZip(files), { type: 'application/zip' }), `transcripts-${format}.zip`);
}

/** `jobs()` are those of the list; `onchange` when some of them have changed. */
export function startSelection({ jobs, onchange }) {
  jobsNow = jobs;
  changed = onchange;
  byId('choose').addEventListener('click', () => setMode(byId('choosing').hidden));
  byId('choose-all').addEventListener('change', (event) => {
    for (const job of jobsNow()) choose(job.id, event.target.checked);
    showChoice();
  });
  byId('list').addEventListener('change', showChoice);
  byId('choose-delete').addEventListener('click', remove);
  byId('choose-download').addEventListener('click', download);
  byId('choose-retry').addEventListener('click', () => each(chosenJobs().filter(mayRetry), 'Trying again', 'will be tried again', async (job) => {
    await retryJob(job.id);
    choose(job.id, false);
  }));
}
