// A server of object storage of the tests' own: s3rver, which checks signatures, behind a
// front that checks what it does not (hashes of bodies, that all of x-amz- is signed, ETags
// of parts), knows what it does not (uploads in parts are listed and ended), counts, and
// fails when it is told to. WT_TEST_STORAGE=s3 makes every server of a test use one.
import { createRequire } from 'node:module';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { freePort } from './server.mjs';

export const wanted = process.env.WT_TEST_STORAGE === 's3';
export const KEY = 'the-key-of-the-tests';
export const SECRET = 'not-to-be-seen-in-any-log';
export const BUCKET = 'recordings';

const escape = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);

export class S3 {
  constructor() {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wt-s3-'));
    process.on('exit', () => fs.rmSync(this.folder, { recursive: true, force: true }));
    this.uploads = new Map(); // id -> {key, time, parts: Map(number -> etag)}
    this.requests = [];
    this.sockets = new Set();
    /** Asked before every request: an answer {status, code} instead of the real one. */
    this.fault = undefined;
    /** So many answers break off in the middle. */
    this.half = 0;
  }

  async start() {
    if (!this.inner) {
      const require = createRequire(import.meta.url);
      const S3rver = require('@20minutes/s3rver');
      require('@20minutes/s3rver/lib/models/account').registry.get('S3RVER').createKeyPair(KEY, SECRET);
      this.inner = new S3rver({ address: '127.0.0.1', port: 0, silent: true, directory: this.folder, vhostBuckets: false, configureBuckets: [{ name: BUCKET }] });
      this.innerPort = (await this.inner.run()).port;
      this.inner.httpServer.unref();
      this.port = await freePort();
    }
    this.server = http.createServer((request, response) => {
      this.answer(request, response).catch((error) => { response.destroy(error); });
    });
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.unref();
    });
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.server.unref();
    return this;
  }

  /** Away at once: connections break. */
  async stop() {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  get url() { return `http://127.0.0.1:${this.port}`; }

  /** What a service needs in its environment. */
  env(prefix = '') {
    return { STORAGE_URL: `s3://${BUCKET}${prefix && `/${prefix}`}`, S3_ENDPOINT: this.url, S3_ACCESS_KEY_ID: KEY, S3_SECRET_ACCESS_KEY: SECRET };
  }

  /** The keys that are there. */
  keys(prefix = '') {
    const base = path.join(this.folder, BUCKET);
    return fs.readdirSync(base, { recursive: true }).map(String)
      .filter((name) => name.endsWith('._S3rver_object')).map((name) => name.slice(0, -'._S3rver_object'.length))
      .filter((name) => name.startsWith(prefix));
  }

  object(key) { return fs.readFileSync(path.join(this.folder, BUCKET, `${key}._S3rver_object`)); }

  remove(key) { fs.rmSync(path.join(this.folder, BUCKET, `${key}._S3rver_object`)); }

  async answer(request, response) {
    const url = new URL(request.url, this.url);
    const chunks = [];
    const fail = (status, code, text = '') => {
      response.writeHead(status, { 'content-type': 'application/xml' });
      response.end(request.method === 'HEAD' ? '' : `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${escape(text)}</Message></Error>`);
    };
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const entry = { method: request.method, path: url.pathname, query: url.search, bytes: body.length, range: request.headers.range };
    this.requests.push(entry);
    const fault = await this.fault?.(entry, body);
    if (fault === 'break') { request.socket.destroy(); return; }
    if (fault) { fail(fault.status, fault.code ?? 'InternalError'); return; }
    const signed = /SignedHeaders=([^,]+)/.exec(request.headers.authorization ?? '')?.[1].split(';') ?? [];
    const unsigned = Object.keys(request.headers).filter((name) => name.startsWith('x-amz-') && !signed.includes(name));
    if (unsigned.length || !signed.includes('host')) { fail(403, 'AccessDenied', `not signed: ${unsigned}`); return; }
    if (createHash('sha256').update(body).digest('hex') !== request.headers['x-amz-content-sha256']) {
      fail(400, 'XAmzContentSHA256Mismatch');
      return;
    }
    const uploadId = url.searchParams.get('uploadId');
    const upload = this.uploads.get(uploadId);
    if (uploadId && !upload) { fail(404, 'NoSuchUpload'); return; }
    const key = decodeURIComponent(url.pathname).split('/').slice(2).join('/');
    if (request.method === 'DELETE' && upload) {
      this.uploads.delete(uploadId);
      response.writeHead(204).end();
      return;
    }
    if (request.method === 'GET' && url.searchParams.has('uploads')) {
      const prefix = url.searchParams.get('prefix') ?? '';
      const list = [...this.uploads].filter(([, u]) => u.key.startsWith(prefix));
      response.writeHead(200, { 'content-type': 'application/xml' });
      response.end(`<?xml version="1.0"?><ListMultipartUploadsResult><IsTruncated>false</IsTruncated>${list.map(([id, u]) =>
        `<Upload><Key>${escape(u.key)}</Key><UploadId>${id}</UploadId><Initiated>${u.time}</Initiated></Upload>`).join('')}</ListMultipartUploadsResult>`);
      return;
    }
    const finishing = request.method === 'POST' && upload;
    if (finishing) {
      const parts = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>([^<]+)<\/ETag>/g)].map(([, number, etag]) => [Number(number), etag.replaceAll('&quot;', '"')]);
      const bad = parts.some(([number, etag], i) => upload.parts.get(number)?.etag !== etag.replaceAll('"', '') || (i && parts[i - 1][0] >= number));
      if (bad) { fail(400, 'InvalidPart'); return; }
      if (parts.slice(0, -1).some(([number]) => upload.parts.get(number).bytes < 5 << 20)) { fail(400, 'EntityTooSmall'); return; }
    }
    const answer = await this.forward(request, body);
    const text = answer.body.toString('latin1');
    if (request.method === 'POST' && url.searchParams.has('uploads')) {
      const id = /<UploadId>([^<]+)</.exec(text)?.[1];
      if (id) this.uploads.set(id, { key, time: new Date().toISOString(), parts: new Map() });
    } else if (request.method === 'PUT' && upload && answer.status === 200) {
      upload.parts.set(Number(url.searchParams.get('partNumber')), { etag: createHash('md5').update(body).digest('hex'), bytes: body.length });
    } else if (finishing && answer.status === 200) {
      this.uploads.delete(uploadId);
    }
    if (await this.after?.(entry, answer) === 'break') { request.socket.destroy(); return; }
    response.writeHead(answer.status, answer.headers);
    if (this.half > 0 && answer.body.length > 10000) {
      this.half--;
      response.write(answer.body.subarray(0, answer.body.length / 2), () => request.socket.destroy());
      return;
    }
    response.end(answer.body);
  }

  forward(request, body) {
    const { expect, ...headers } = request.headers;
    return new Promise((resolve, reject) => {
      const inner = http.request({ host: '127.0.0.1', port: this.innerPort, method: request.method, path: request.url, headers }, (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk)).on('error', reject).on('end', () => {
          const { connection, 'transfer-encoding': encoding, 'keep-alive': alive, ...kept } = answer.headers;
          resolve({ status: answer.statusCode, headers: kept, body: Buffer.concat(chunks) });
        });
      });
      inner.on('error', reject);
      inner.end(body);
    });
  }
}

let shared;
let ready;

/** What a server of a test in this folder needs in its environment. */
export async function storageOf(folder) {
  if (!wanted) return {};
  shared ??= new S3();
  await (ready ??= shared.start());
  // Some tests set proxies that must not be asked; for a bucket they would be.
  return { ...shared.env(path.basename(folder)), NO_PROXY: '127.0.0.1' };
}

/** The names that the storage of a folder has, as the files of a storage folder. */
export function storedOf(folder) {
  const prefix = path.basename(folder);
  return shared.keys(`${prefix}/`).map((key) => key.slice(prefix.length + 1));
}

/** The bytes of a recording. */
export const recordingOf = (folder, id) => shared.object(`${path.basename(folder)}/uploads/${id}`);
export const removeRecordingOf = (folder, id) => shared.remove(`${path.basename(folder)}/uploads/${id}`);
