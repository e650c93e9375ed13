// What happens to jobs, as it happens: one stream for all of them where the service has it,
// else a WebSocket for each that is watched, and where none gets through, asking.
import { getJob } from './api.js';

const ended = (state) => !['pending', 'processing'].includes(state.status);

/**
 * The stream of all changes. `onjob({job_id, status, progress, message, timestamp})`,
 * `onreset()` when changes may have been missed, `onstate(open)`. Returns {restart, live}.
 */
export function followAll({ onjob, onreset, onstate }) {
  let source = null;
  let open = false;
  let opened = false; // once
  let timer;

  function state(now) {
    if (open !== now) onstate(now);
    open = now;
  }

  function connect() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource('events');
    source.onopen = () => {
      if (opened) onreset(); // the list is cheap, a gap is not
      opened = true;
      state(true);
    };
    source.addEventListener('job', (event) => onjob(JSON.parse(event.data)));
    for (const name of ['reset', 'deleted']) source.addEventListener(name, onreset);
    source.onerror = () => {
      state(false);
      if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
      // Never there: the service has no stream, or wants a key first.
      if (opened) timer = setTimeout(connect, 5000);
    };
  }

  if ('EventSource' in window) connect();
  return { restart: () => { if (!open && 'EventSource' in window) connect(); }, live: () => open };
}

/**
 * Watch one job: `onchange({status, progress, message})` at once and at every change.
 * A WebSocket; where none gets through, polling. Returns a function that stops it.
 */
export function watchJob(id, onchange) {
  let stopped = false;
  let timer;
  let socket;

  async function poll() {
    try {
      const job = await getJob(id);
      if (stopped) return;
      onchange(job);
      if (ended(job)) return;
    } catch (error) {
      if (error.status === 404) return;
    }
    if (!stopped) timer = setTimeout(poll, 1500);
  }

  const address = new URL(`ws/jobs/${encodeURIComponent(id)}`, document.baseURI);
  address.protocol = address.protocol.replace('http', 'ws');
  address.hash = '';
  try {
    socket = new WebSocket(address);
    socket.onmessage = (event) => { if (!stopped) onchange(JSON.parse(event.data)); };
    socket.onclose = (event) => { if (!stopped && event.code !== 1000) timer = setTimeout(poll, 500); };
  } catch {
    poll();
  }
  return () => {
    stopped = true;
    clearTimeout(timer);
    socket?.close();
  };
}
