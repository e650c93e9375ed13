// The service, as the page sees it. All addresses are relative, so that the page also works
// under a path of a proxy.

export class ApiError extends Error {
  constructor(message, { status = 0, code = 'unreachable' } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const unreachable = () => new ApiError('The service cannot be reached.');

async function ask(path, init = {}) {
  let response;
  let body;
  try {
    response = await fetch(path, { ...init, headers: { accept: 'application/json' } });
    body = await response.json();
  } catch {
    // A proxy may answer with something else while the service is away.
    if (response && !response.ok) {
      throw new ApiError(`The service answered with ${response.status}.`, { status: response.status });
    }
    throw unreachable();
  }
  if (!response.ok) {
    throw new ApiError(body.detail ?? response.statusText, { status: response.status, code: body.error_code });
  }
  return body;
}

export const describe = () => ask('./');
export const getJob = (id) => ask(`jobs/${encodeURIComponent(id)}`);
export const cancelJob = (id) => ask(`jobs/${encodeURIComponent(id)}/cancel`, { method: 'POST' });
export const retryJob = (id) => ask(`jobs/${encodeURIComponent(id)}/retry`, { method: 'POST' });
export const deleteJob = (id) => ask(`jobs/${encodeURIComponent(id)}`, { method: 'DELETE' });
export const listJobs = (parameters) => ask(`jobs?${new URLSearchParams(parameters)}`);
export const downloadPath = (id, format) => `jobs/${encodeURIComponent(id)}/download?format=${format}`;
export const getTranscript = (id) => ask(downloadPath(id, 'json'));

/**
 * Upload one file. `onprogress(sent, total)` is called as it goes. Returns
 * {done: promise of the 202 body, abort()}. XMLHttpRequest, because fetch does not tell how
 * much of a body has been sent.
 */
export function upload(file, options, onprogress) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  // Options first: what is wrong with them is said before the file is sent.
  for (const [name, value] of Object.entries(options)) if (value) form.append(name, value);
  form.append('file', file, file.name);
  const done = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => onprogress(event.loaded, event.total);
    request.onload = () => {
      let body = {};
      try {
        body = JSON.parse(request.responseText);
      } catch { /* not ours: the status tells */ }
      if (request.status === 202) resolve(body);
      else reject(new ApiError(body.detail ?? `The service answered with ${request.status}.`, { status: request.status, code: body.error_code }));
    };
    request.onerror = () => reject(new ApiError('The upload was broken off: the service cannot be reached.'));
    request.onabort = () => reject(new ApiError('Cancelled', { code: 'aborted' }));
  });
  request.open('POST', 'transcribe');
  request.responseType = 'text';
  request.send(form);
  return { done, abort: () => request.abort() };
}

/**
 * Watch one job: `onchange({status, progress, message})` at once and at every change.
 * A WebSocket; where none gets through, polling. Returns a function that stops it.
 */
export function watchJob(id, onchange) {
  let stopped = false;
  let timer;
  let socket;
  const ended = (state) => !['pending', 'processing'].includes(state.status);

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
