// The service, as the page sees it. All addresses are relative, so that the page also works
// under a path of a proxy.

export class ApiError extends Error {
  constructor(message, { status = 0, code = 'unreachable', retryAfter = 0, failing = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.failing = failing; // the part without which the service cannot do its work
  }
}

const unreachable = () => new ApiError('The service cannot be reached.');

// Asks who the user is; true when they have said so and the service believes them.
let signIn = async () => false;
let signingIn = null;

export function setSignIn(ask) {
  signIn = ask;
}

/** Requests that fail at the same time ask once. */
export function askToSignIn(reason) {
  signingIn ??= signIn(reason).finally(() => { signingIn = null; });
  return signingIn;
}

export const seconds = (text) => Math.min(120, Math.max(0, Number(text) || 0));

function failure(response, body) {
  return new ApiError(body?.detail ?? body?.error?.message ?? `The service answered with ${response.status}.`, {
    status: response.status, code: body?.error_code, failing: body?.failing, retryAfter: seconds(response.headers.get('retry-after')),
  });
}

async function ask(path, init = {}, again = true) {
  let response;
  let body;
  try {
    response = await fetch(path, { ...init, headers: { accept: 'application/json', ...init.headers } });
    body = response.status === 204 ? {} : await response.json();
  } catch {
    // A proxy may answer with something else while the service is away.
    if (response && !response.ok) throw failure(response);
    throw unreachable();
  }
  if (response.status === 401 && again && await askToSignIn(body.detail)) return ask(path, init, false);
  if (!response.ok) throw failure(response, body);
  return body;
}

const json = (method, body) => ({
  method, body: JSON.stringify(body), headers: { 'content-type': 'application/json' },
});
const jobPath = (id) => `jobs/${encodeURIComponent(id)}`;
const modelPath = (name) => `models/${encodeURIComponent(name)}`;

export const describe = () => ask('./');
export const getJob = (id) => ask(jobPath(id));
export const cancelJob = (id) => ask(`${jobPath(id)}/cancel`, { method: 'POST' });
export const retryJob = (id) => ask(`${jobPath(id)}/retry`, { method: 'POST' });
export const deleteJob = (id) => ask(jobPath(id), { method: 'DELETE' });
export const listJobs = (parameters) => ask(`jobs?${new URLSearchParams(parameters)}`);
export const getTranscript = (id) => ask(downloadPath(id, 'json'));
export const getWaveform = (id, points) => ask(`${jobPath(id)}/waveform?points=${points}`);
export const audioPath = (id) => `${jobPath(id)}/audio?inline=1`;
export const recordingPath = (id) => `${jobPath(id)}/audio`;
export const ready = () => ask('health/ready');

export function downloadPath(id, format, options = {}) {
  return `${jobPath(id)}/download?${new URLSearchParams({ format, ...options })}`;
}

/* What a service may have or not. A caller that may not ask, or a service that does not know,
 * answers with an error that `may` turns into null. */

export async function may(promise) {
  try {
    return await promise;
  } catch (error) {
    if ([403, 404, 405].includes(error.status)) return null;
    throw error;
  }
}

export const openSession = (key) => ask('session', json('POST', { key }), false);
export const showSession = () => ask('session', {}, false);
export const closeSession = () => ask('session', { method: 'DELETE' }, false);
export const listModels = () => ask('models');
export const pullModel = (name) => ask(`${modelPath(name)}/pull`, { method: 'POST' });
export const deleteModel = (name) => ask(modelPath(name), { method: 'DELETE' });
export const chooseModel = (name) => ask('models/default', json('PUT', { name }));
export const listKeys = () => ask('keys');
export const createKey = (wishes) => ask('keys', json('POST', wishes));
export const revokeKey = (id) => ask(`keys/${encodeURIComponent(id)}`, { method: 'DELETE' });
export const listAudit = () => ask('audit?limit=50');
export const showQueue = () => ask('admin/queue?limit=20');

/** XMLHttpRequest, because fetch does not tell how much of a body has been sent. */
export function send(method, path, body, { headers = {}, onprogress = () => {}, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const aborted = () => reject(new ApiError('Cancelled', { code: 'aborted' }));
    if (signal?.aborted) {
      aborted();
      return;
    }
    signal?.addEventListener('abort', () => request.abort(), { once: true });
    request.upload.onprogress = (event) => onprogress(event.loaded, event.total);
    request.onload = () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch { /* none, or not ours: the status tells */ }
      const response = { status: request.status, headers: { get: (name) => request.getResponseHeader(name) } };
      if (request.status >= 200 && request.status < 300) resolve({ ...response, body: answer });
      else reject(failure(response, answer));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = aborted;
    request.open(method, path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(body);
  });
}

/** The whole file in one form. Resolves to the 202's body. */
export async function uploadForm(file, options, { onprogress, signal }) {
  const form = new FormData();
  // Options first: what is wrong with them is said before the file is sent.
  for (const [name, value] of Object.entries(options)) if (value) form.append(name, value);
  form.append('file', file, file.name);
  return (await send('POST', 'transcribe', form, { onprogress, signal })).body;
}
