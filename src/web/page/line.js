// The line in front of the workers, as far as this caller sees it.
import { listJobs } from './api.js';

const EVERY_MS = 5000;
const PRIORITY_MS = 600000; // a step of priority counts as so much waiting

let places = new Map();
let askedAt = -Infinity;

const waits = (job) => job.status === 'pending' && job.message !== 'Downloading';
const key = (job) => Date.parse(job.created_at) - (job.priority ?? 0) * PRIORITY_MS;

function setPlaces(jobs) {
  const line = jobs.filter(waits).sort((a, b) => key(a) - key(b) || a.id.localeCompare(b.id));
  places = new Map(line.map((job, i) => [job.id, i]));
}

/** Find out who waits. `jobs` are listed; `whole`: there are no others. True when it was asked. */
export async function noteLine(jobs, whole) {
  if (whole || !jobs.some(waits)) {
    setPlaces(whole ? jobs : []);
    return false;
  }
  if (performance.now() - askedAt < EVERY_MS) return false;
  askedAt = performance.now();
  setPlaces((await listJobs({ status: 'pending', limit: 500 })).jobs);
  return true;
}

/** "next in line", "3 before it"; "" for what does not wait. */
export function place(id) {
  const before = places.get(id);
  if (before === undefined) return '';
  return before ? `${before} before it` : 'next in line';
}
