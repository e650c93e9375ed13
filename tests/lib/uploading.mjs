// Clients that bring recordings in by every door and want each done once, whatever befalls
// the service meanwhile. What they are told goes into a History (tests/lib/history.mjs).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { checkFiles } from './history.mjs';
import { form } from './server.mjs';

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
/** Answers after which a client that is told nothing else comes again. */
const passing = [409, 423, 429, 503, 507];

const golden = (name) => fs.readFileSync(new URL(`../engine/golden/${name}`, import.meta.url));

/** Recordings one after the other, as one. */
export function joined(...names) {
  const parts = names.map(golden);
  const header = Buffer.from(parts[0].subarray(0, 44));
  const samples = Buffer.concat(parts.map((part) => part.subarray(44)));
  header.writeUInt32LE(36 + samples.length, 4);
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}

/** Serves `recordings` (name → bytes) by URL; `slowly` in small pieces. */
export async function origin(recordings, { pieces = 1, ms = 0 } = {}) {
  const server = http.createServer(async (request, response) => {
    const bytes = recordings[decodeURIComponent(request.url.slice(1).split('?')[0])];
    if (!bytes) { response.writeHead(404).end(); return; }
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.on('error', () => {});
    response.writeHead(from ? 206 : 200, {
      ETag: '"1"',
      'Content-Length': bytes.length - from,
      ...(from && { 'Content-Range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
    });
    const size = Math.ceil((bytes.length - from) / pieces);
    for (let at = from; at < bytes.length && !response.destroyed; at += size) {
      response.write(bytes.subarray(at, at + size));
      if (ms) await pause(ms);
    }
    response.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();
  const { port } = server.address();
  return {
    url: `http://127.0.0.1:${port}`,
    allow: `127.0.0.1:${port}`,
    close: () => { server.closeAllConnections(); server.close(); },
  };
}

/** A form that is sent in pieces with pauses between them; resolves to {status, body}. */
export function sendSlowly(url, bytes, { name, key, pieces = 8, ms = 50 }) {
  const head = Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; '
    + `filename="${name}"\r\nContent-Type: audio/wav\r\n\r\n`);
  const all = Buffer.concat([head, bytes, Buffer.from('\r\n--b--\r\n')]);
  return new Promise((resolve, reject) => {
    const request = http.request(`${url}/transcribe`, {
      method: 'POST',
      agent: false,
      headers: { 'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': all.length, 'Idempotency-Key': key },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (data) => { text += data; });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve({ status: response.statusCode, body: JSON.parse(text), retryAfter: response.headers['retry-after'] ?? null });
        } catch (error) { reject(error); }
      });
    });
    (async () => {
      const size = Math.ceil(all.length / pieces);
      for (let at = 0; at < all.length && !request.destroyed; at += size) {
        request.write(all.subarray(at, at + size));
        await pause(ms);
      }
      request.end();
    })();
  });
}

/** As History.submit, with a body that takes its time. */
export async function submitSlowly(history, url, key, bytes, { more = () => true, ...how } = {}) {
  while (more()) {
    const began = performance.now();
    try {
      const answer = await sendSlowly(url(), bytes, { name: `${key}.wav`, key, ...how });
      history.answers.push({ key, ms: performance.now() - began, at: Date.now(), ...answer });
      if (answer.status < 300) {
        history.acknowledge(key, answer.body.job_id);
        return answer.body.job_id;
      }
      assert.ok(passing.includes(answer.status), `${key}: ${answer.status} ${JSON.stringify(answer.body)}`);
    } catch (error) {
      if (error.code === 'ERR_ASSERTION') throw error;
      history.unanswered++;
    }
    await pause(50);
  }
  return undefined;
}

/**
 * By the protocol tus, in several requests, each to whichever service `url()` names. An
 * upload that its client has heard of is never lost. Returns the id of its job.
 */
export async function tus(history, url, key, bytes, { pieces = 3, more = () => true } = {}) {
  const base = { 'Tus-Resumable': '1.0.0' };
  const size = Math.ceil(bytes.length / pieces);
  let place = null;
  const ask = async (method, where, headers = {}, body = undefined) => {
    const began = performance.now();
    let response;
    try {
      response = await fetch(url() + where, { method, headers: { ...base, ...headers }, body });
      await response.arrayBuffer();
    } catch {
      history.unanswered++;
      await pause(50);
      return null;
    }
    history.answers.push({
      key, status: response.status, ms: performance.now() - began, at: Date.now(), retryAfter: response.headers.get('retry-after'),
    });
    if (response.status < 300) return response;
    assert.ok(passing.includes(response.status), `${key}: ${method} ${where} was answered ${response.status}`);
    await pause(50);
    return null;
  };
  while (more()) {
    if (!place) {
      const made = await ask('POST', '/uploads', {
        'Upload-Length': String(bytes.length), 'Upload-Metadata': `filename ${Buffer.from(`${key}.wav`).toString('base64')}`,
      });
      place = made && new URL(made.headers.get('location'), url()).pathname;
      continue;
    }
    const head = await ask('HEAD', place);
    if (!head) continue;
    const offset = Number(head.headers.get('upload-offset'));
    const job = head.headers.get('location');
    if (job) {
      const id = job.split('/').at(-1);
      history.acknowledge(key, id);
      return id;
    }
    if (offset === bytes.length) { await pause(50); continue; }
    await ask('PATCH', place, { 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream' },
      bytes.subarray(offset, offset + size));
  }
  return undefined;
}

/** A recording that the service fetches; with a key, so that it is asked for once. */
export async function byUrl(history, url, key, from, { more = () => true } = {}) {
  while (more()) {
    const began = performance.now();
    let response;
    let body;
    try {
      response = await fetch(`${url()}/transcribe`, {
        method: 'POST', body: form(null, null, { url: from }), headers: { 'Idempotency-Key': key },
      });
      body = await response.json();
    } catch {
      history.unanswered++;
      await pause(50);
      continue;
    }
    history.answers.push({
      key, status: response.status, ms: performance.now() - began, at: Date.now(), body, retryAfter: response.headers.get('retry-after'),
    });
    if (response.ok) {
      history.acknowledge(key, body.job_id);
      return body.job_id;
    }
    assert.ok(passing.includes(response.status), `${key}: ${response.status} ${JSON.stringify(body)}`);
    await pause(50);
  }
  return undefined;
}

/**
 * The door that answers with the text and knows no keys: nobody is promised a job, but
 * whoever is told a text is told the right one. Returns it.
 */
export async function openai(history, url, bytes, { more = () => true } = {}) {
  while (more()) {
    // Each attempt may be a job of which nobody hears.
    history.unanswered++;
    const body = form(bytes, 'a.wav', { model: 'tiny', response_format: 'text' });
    let response;
    let text;
    try {
      response = await fetch(`${url()}/v1/audio/transcriptions`, { method: 'POST', body });
      text = await response.text();
    } catch {
      await pause(50);
      continue;
    }
    if (response.ok) return text;
    assert.ok(passing.includes(response.status), `${response.status} ${text}`);
    await pause(50);
  }
  return undefined;
}

const namesIn = (folder) => (fs.existsSync(folder) ? fs.readdirSync(folder) : []);

/**
 * No file of which no row knows, no row without its file, nothing half done. To be asked
 * when nothing runs, or nothing comes in.
 */
export function checkStorage(at) {
  const files = namesIn(path.join(at.storage, 'uploads'));
  checkFiles(at, files);
  const there = new Set(files);
  const kept = at.rows('SELECT id, status, audio_present FROM jobs').filter(([, , present]) => ['1', 't', 'true'].includes(present));
  assert.deepEqual(kept.filter(([id]) => !there.has(id)), [], 'jobs that say they have a recording and have none');
  const open = new Set(at.rows(`SELECT id FROM uploads WHERE ${at.kind === 'sqlite' ? 'done = 0' : 'NOT done'}`).map(([id]) => id));
  const parts = files.filter((name) => name.endsWith('.part') && !open.has(name.replace('.part', '')));
  assert.deepEqual(parts, [], 'parts of nothing that is still coming in');
  assert.deepEqual(namesIn(path.join(at.storage, 'scratch')), [], 'files left in scratch');
  // With others beside, one may be of a job that is about to be written: it goes an hour later.
  const old = at.kind === 'sqlite' ? '' : "AND made < now() - interval '1 hour'";
  const sources = at.rows(`SELECT job_id FROM job_sources WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = job_id) ${old}`);
  assert.deepEqual(sources, [], 'sources of no job');
  return { files: files.length };
}
