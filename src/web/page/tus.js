// Uploads that can be gone on with (tus 1.0): the service says how much it has, the page
// sends the rest. After a broken connection that happens by itself; after the page was
// closed, when the same file is chosen again.
import { ApiError, send } from './api.js';
import { recall, remember, remembered } from './store.js';

const CHUNK = 32 * 1048576; // proxies refuse larger bodies more often
const LOOKS = 30; // a connection that broke off may count as alive for half a minute
const LOOK_MS = 2000;
const VERSION = { 'Tus-Resumable': '1.0.0' };

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

const PREFIX = 'upload:';

/** The same file with the same options, as far as a browser can tell. */
function memoryOf(file, options) {
  return `${PREFIX}${file.name}:${file.size}:${file.lastModified}:${JSON.stringify(options)}`;
}

/** What is remembered of an upload: {place, name, size, …}; null: nothing that is of use. */
function readMemory(memory) {
  try {
    const known = JSON.parse(recall(memory));
    return /^uploads\/[\w%-]+$/.test(known?.place) ? known : null;
  } catch {
    return null;
  }
}

function metadata(file, options) {
  const pairs = Object.entries({ filename: file.name, ...options }).filter(([, value]) => value);
  return pairs.map(([name, value]) => `${name} ${base64(value)}`).join(',');
}

/** Where it is, whatever path a proxy has put before the service. */
function relative(location) {
  return `uploads/${encodeURIComponent(location.split(/[?#]/)[0].replace(/\/$/, '').split('/').pop())}`;
}

async function create(file, options, signal) {
  const { headers } = await send('POST', 'uploads', null, {
    signal,
    headers: { ...VERSION, 'Upload-Length': String(file.size), 'Upload-Metadata': metadata(file, options) },
  });
  const location = headers.get('location');
  if (!location) throw new ApiError('The service names no place for the upload.', { code: 'no_tus' });
  return relative(location);
}

const stateOf = ({ headers }) => ({
  offset: Number(headers.get('upload-offset')) || 0, jobId: headers.get('job-id'),
});

async function look(place, signal) {
  return stateOf(await send('HEAD', place, null, { headers: VERSION, signal }));
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, milliseconds);
    function done() {
      clearTimeout(timer);
      window.removeEventListener('online', done);
      if (signal.aborted) reject(new ApiError('Cancelled', { code: 'aborted' }));
      else resolve();
    }
    window.addEventListener('online', done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

/** Errors that pass: no connection, a restart, another request that still writes. */
const passes = (error) => error.status === 0 || [409, 423, 429, 502, 503, 504].includes(error.status);

/** Errors after which the part that is there is of no use: the recording itself is refused. */
const ends = (error) => error.status >= 400 && error.status < 500
  && !passes(error) && ![401, 403, 408].includes(error.status);

/** Another window that sends the same file would only be in the way. */
async function alone(memory, send) {
  if (!navigator.locks) return send(); // there under https and on localhost only
  return navigator.locks.request(memory, { ifAvailable: true }, (lock) => {
    if (!lock) throw new ApiError('This file is on its way already', { code: 'twice' });
    return send();
  });
}

/**
 * Upload and resolve to {job_id}. `onprogress(sent, total)`; `onwait(seconds, error)` while the
 * service is away. Rejects with code "no_tus" where the service has no such uploads. An aborted
 * upload stays where it is, unless `forget` is called.
 */
export function uploadResumable(file, options, hooks) {
  const memory = memoryOf(file, options);
  return alone(memory, () => sendParts(file, options, memory, hooks));
}

async function sendParts(file, options, memory, { onprogress, onwait, onresume, signal }) {
  let place = readMemory(memory)?.place;
  let state = null;
  let failures = 0;
  for (;;) {
    try {
      if (!place) {
        place = await create(file, options, signal);
        const { name, size, lastModified } = file;
        remember(memory, JSON.stringify({ place, name, size, lastModified, options }));
        state = { offset: 0, jobId: null };
      } else if (!state) {
        state = await look(place, signal);
        if (state.offset > 0) onresume(state.offset, file.size);
      }
      if (state.jobId) break;
      const from = state.offset;
      state = null; // not known until it is answered
      const part = file.slice(from, from + CHUNK);
      state = stateOf(await send('PATCH', place, part, {
        signal,
        headers: { ...VERSION, 'Upload-Offset': String(from), 'Content-Type': 'application/offset+octet-stream' },
        onprogress: (sent) => onprogress(Math.min(file.size, from + sent), file.size),
      }));
      failures = 0;
    } catch (error) {
      if (error.code === 'aborted' || error.code === 'no_tus') throw error;
      if (!place && [404, 405, 501].includes(error.status)) throw new ApiError(error.message, { code: 'no_tus' });
      if (place && [404, 410].includes(error.status)) {
        place = null; // it has expired: begin again
        state = null;
        remember(memory, null);
        if (failures++ < 3) continue;
      }
      if (!passes(error)) {
        if (ends(error)) remember(memory, null);
        throw error;
      }
      failures++;
      const wait = error.retryAfter || Math.min(30, 2 ** Math.min(failures, 5) / 2);
      onwait(wait, error);
      await pause(wait * 1000, signal);
    }
  }
  remember(memory, null);
  return { job_id: state.jobId };
}

/** Ask until the request that was broken off has ended on the other side too. */
async function insist(request) {
  for (let tries = 0; ; tries++) {
    try {
      return await request();
    } catch (error) {
      if (!passes(error) || tries >= LOOKS) throw error;
      await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
    }
  }
}

/** Remove what is there of an upload that nobody wants any more. */
export function forget(file, options) {
  drop(memoryOf(file, options));
}

function drop(memory) {
  const known = readMemory(memory);
  remember(memory, null);
  if (known) insist(() => send('DELETE', known.place, null, { headers: VERSION })).catch(() => {});
}

/** What is known of one that was broken off; null: it is of no use any more. */
async function recover(memory) {
  const known = readMemory(memory);
  try {
    const { offset, jobId } = known ? await insist(() => look(known.place)) : { jobId: 'none' };
    if (!jobId) return { ...known, offset, drop: () => drop(memory) };
    remember(memory, null);
  } catch (error) {
    if (ends(error)) remember(memory, null);
  }
  return null;
}

/**
 * The uploads that were broken off when the page was closed, as far as the service still has
 * them: `onfound({name, size, lastModified, options, offset, drop()})` for each.
 */
export async function findUnfinished(onfound) {
  const held = new Set((await navigator.locks?.query())?.held.map((lock) => lock.name));
  await Promise.all(remembered(PREFIX).filter((memory) => !held.has(memory)).map(async (memory) => {
    const known = await recover(memory);
    if (known) onfound(known);
  }));
}

/** Forget their names, not their bytes: who comes next need not know what was sent. */
export function forgetNames() {
  for (const memory of remembered(PREFIX)) remember(memory, null);
}
