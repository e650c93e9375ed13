// Uploads in several requests: the tus protocol, with its own client and by hand.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as tus from 'tus-js-client';
import { editDatabase, readDatabase } from '../lib/postgres.mjs';
import { wanted as onS3 } from '../lib/s3.mjs';
import {
  getJson, hasModel, startServer, tempFolder, tone, until, waitForJob, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const unknown = '01a20eeb-3efb-7eac-bbbd-01910af80753';
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const base64 = (text) => Buffer.from(text).toString('base64');
const recording = wav({ seconds: 4, sample: tone });

/** A request of this protocol. */
async function ask(server, method, where, headers = {}, body = undefined) {
  const response = await fetch(where.startsWith('http') ? where : server.url + where, {
    method,
    headers: { 'Tus-Resumable': '1.0.0', ...headers },
    body,
    ...(body ? { duplex: 'half' } : {}),
  });
  const text = await response.text();
  const h = (name) => response.headers.get(name);
  return {
    status: response.status,
    offset: h('upload-offset') === null ? null : Number(h('upload-offset')),
    h,
    body: text ? JSON.parse(text) : null,
  };
}

const bytesType = { 'Content-Type': 'application/offset+octet-stream' };

async function create(server, length, metadata = { filename: 'a.wav' }, headers = {}, body = undefined) {
  const pairs = Object.entries(metadata).map(([k, v]) => `${k} ${base64(v)}`).join(',');
  return ask(server, 'POST', '/uploads', {
    'Upload-Length': String(length), ...(pairs ? { 'Upload-Metadata': pairs } : {}), ...headers,
  }, body);
}

const patch = (server, where, offset, bytes, headers = {}) =>
  ask(server, 'PATCH', where, { ...bytesType, 'Upload-Offset': String(offset), ...headers }, bytes);

const patchHead = (where, length) => `PATCH ${where} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n`
  + `Content-Type: application/offset+octet-stream\r\nContent-Length: ${length}\r\n\r\n`;

function isError(answer, status, code) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.error_code, code);
  assert.match(answer.body.detail, /^[A-Z0-9"].{10,}/s);
  assert.equal(answer.h('tus-resumable'), '1.0.0');
}

/** Files of what has come of an upload, and what they hold in all. */
const parts = (folder, id) => fs.readdirSync(path.join(folder, 'storage/parts')).filter((name) => name.startsWith(id))
  .map((name) => path.join(folder, 'storage/parts', name));
const arrived = (server, where) => parts(server.folder, where.slice(9)).reduce((sum, name) => sum + fs.statSync(name).size, 0);
/** In a bucket nothing is seen of what has not been promised. */
const seen = { skip: onS3 && 'what has come is not seen in a bucket' };
const blob = (server, id) => server.recording(id);

describe('tus', needsModel, () => {
  let server;
  before(async () => { server = await startServer({ env: { MAX_FILE_SIZE_MB: '2', WORKER_CONCURRENCY: '1' } }); });
  after(async () => {
    const { code } = await server.stop();
    assert.equal(code, 0, server.log());
  });

  test('says what it can do', async () => {
    const answer = await ask(server, 'OPTIONS', '/uploads');
    assert.equal(answer.status, 204);
    assert.equal(answer.h('tus-version'), '1.0.0');
    assert.equal(answer.h('tus-max-size'), String(2 * 1048576));
    assert.equal(answer.h('tus-checksum-algorithm'), 'sha1,sha256');
    for (const name of ['creation', 'creation-with-upload', 'creation-defer-length', 'concatenation', 'termination', 'expiration', 'checksum'])
      assert.ok(answer.h('tus-extension').split(',').includes(name), name);
  });

  test('takes a recording in parts and makes a job of it', async () => {
    const made = await create(server, recording.length, { filename: 'Gespräch.wav', language: 'de', beam_size: '1' });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const where = made.h('location');
    assert.match(where, /^\/uploads\/[0-9a-f-]{36}$/);
    assert.equal(made.offset, 0);
    const half = recording.length >> 1;
    const first = await patch(server, where, 0, recording.subarray(0, half));
    assert.equal(first.status, 204);
    assert.equal(first.offset, half);
    assert.equal(first.h('job-id'), null);
    const expires = Date.parse(first.h('upload-expires'));
    assert.ok(expires > Date.now() + 23 * 3600e3 && expires < Date.now() + 25 * 3600e3);
    const head = await ask(server, 'HEAD', where);
    assert.equal(head.status, 200);
    assert.equal(head.offset, half);
    assert.equal(head.h('upload-length'), String(recording.length));
    assert.equal(head.h('cache-control'), 'no-store');
    assert.match(head.h('upload-metadata'), /^filename /);
    const shown = await getJson(server, where);
    assert.deepEqual(shown.body, { id: where.slice(9), offset: half, length: recording.length, job_id: null });
    const last = await patch(server, where, half, recording.subarray(half));
    assert.equal(last.status, 204);
    const id = last.h('job-id');
    assert.equal(last.h('location'), `/jobs/${id}`);
    assert.equal((await getJson(server, where)).body.job_id, id);
    assert.equal((await ask(server, 'HEAD', where)).h('job-id'), id);
    assert.equal(sha256(blob(server, id)), sha256(recording));
    const job = await waitForJob(server, id);
    assert.equal(job.status, 'completed', job.error_message);
    assert.equal(job.original_filename, 'Gespräch.wav');
    assert.equal(job.language, 'de');
    assert.equal(job.file_size, recording.length);
    // Complete is complete: nothing more, and asking again does no harm.
    isError(await patch(server, where, recording.length, Buffer.from('more')), 413, 'too_large');
    assert.equal((await patch(server, where, recording.length, undefined)).h('job-id'), id);
    assert.equal((await getJson(server, `/jobs?search=${encodeURIComponent('Gespräch')}`)).body.total, 1);
    // The upload can go, the job stays.
    assert.equal((await ask(server, 'DELETE', where)).status, 204);
    assert.equal((await ask(server, 'HEAD', where)).status, 404);
    assert.equal((await getJson(server, `/jobs/${id}`)).status, 200);
  });

  test('takes every parameter of a form, and none that is wrong', async () => {
    isError(await create(server, 5, { priority: '11' }), 400, 'invalid');
    isError(await create(server, 5, { retain: 'never' }), 400, 'invalid');
    isError(await create(server, 5, { webhook_url: 'http://127.0.0.1/' }), 400, 'forbidden_address');
    const of = async (metadata) => {
      const made = await create(server, recording.length, metadata, bytesType, recording);
      assert.equal(made.status, 201, JSON.stringify(made.body));
      const { body } = await getJson(server, '/jobs?limit=500');
      return body.jobs.find((job) => job.id === made.h('job-id'));
    };
    const urgent = await of({ priority: 'high', retain: '30' });
    assert.deepEqual([urgent.priority, urgent.retain], [8, 30]);
    const plain = await of({});
    assert.deepEqual([plain.priority, plain.retain], [5, 'default']);
  });

  test('takes the bytes with the creation, and the length at the end', async () => {
    const whole = await create(server, recording.length, { filename: 'x.wav' }, bytesType, recording);
    assert.equal(whole.status, 201, JSON.stringify(whole.body));
    assert.equal(whole.offset, recording.length);
    assert.match(whole.h('location'), /^\/uploads\//);
    assert.ok(whole.h('job-id'));
    const made = await ask(server, 'POST', '/uploads?model=tiny', { 'Upload-Defer-Length': '1' });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const where = made.h('location');
    assert.equal((await ask(server, 'HEAD', where)).h('upload-defer-length'), '1');
    assert.equal((await patch(server, where, 0, recording)).offset, recording.length);
    const end = await patch(server, where, recording.length, undefined, { 'Upload-Length': String(recording.length) });
    assert.equal(end.status, 204);
    assert.ok(end.h('job-id'));
    assert.equal(sha256(blob(server, end.h('job-id'))), sha256(recording));
  });

  test('checks what it is told to check', async () => {
    const made = await create(server, recording.length);
    const where = made.h('location');
    const sum = (name, bytes) => `${name} ${createHash(name).update(bytes).digest('base64')}`;
    const piece = recording.subarray(0, 1000);
    isError(await patch(server, where, 0, piece, { 'Upload-Checksum': sum('sha1', recording) }), 460, 'checksum_mismatch');
    assert.equal((await ask(server, 'HEAD', where)).offset, 0);
    isError(await patch(server, where, 0, piece, { 'Upload-Checksum': `md5 ${base64('x')}` }), 400, 'invalid');
    isError(await patch(server, where, 0, piece, { 'Upload-Checksum': 'sha1 short' }), 400, 'invalid');
    assert.equal((await patch(server, where, 0, piece, { 'Upload-Checksum': sum('sha1', piece) })).offset, 1000);
    const rest = recording.subarray(1000);
    const end = await patch(server, where, 1000, rest, { 'Upload-Checksum': sum('sha256', rest) });
    assert.equal(end.status, 204);
    assert.equal(sha256(blob(server, end.h('job-id'))), sha256(recording));
  });

  test('refuses what is wrong at once', async () => {
    isError(await create(server, 3 * 1048576), 413, 'too_large');
    assert.equal((await create(server, 3 * 1048576)).h('tus-max-size'), String(2 * 1048576));
    isError(await create(server, 0), 400, 'empty_file');
    isError(await create(server, -1), 400, 'invalid');
    isError(await create(server, '5x'), 400, 'invalid');
    isError(await create(server, 5, {}, { 'Upload-Defer-Length': '1' }), 400, 'invalid');
    isError(await ask(server, 'POST', '/uploads'), 400, 'invalid');
    isError(await ask(server, 'POST', '/uploads', { 'Upload-Defer-Length': '2' }), 400, 'invalid');
    isError(await create(server, 5, { model: 'enormous' }), 400, 'invalid');
    isError(await create(server, 5, { model: 'medium' }), 400, 'model_not_found');
    isError(await create(server, 5, { language: 'klingon' }), 400, 'invalid');
    isError(await create(server, 5, { beam_size: '99' }), 400, 'invalid');
    isError(await create(server, 5, {}, { 'Upload-Metadata': 'filename ***' }), 400, 'invalid');
    isError(await create(server, 5, {}, { 'Upload-Metadata': 'a YQ==,a YQ==' }), 400, 'invalid');
    isError(await create(server, 5, {}, { 'Upload-Metadata': `a ${Buffer.from([0xff, 0xfe]).toString('base64')}` }), 400, 'invalid');
    isError(await create(server, 9, {}, { 'Content-Type': 'text/plain' }, Buffer.from('some text')), 415, 'unsupported');
    isError(await ask(server, 'POST', '/uploads', { 'Tus-Resumable': '0.2.2', 'Upload-Length': '5' }), 412, 'tus_version');
    for (const [method, where] of [['HEAD', unknown], ['PATCH', unknown], ['DELETE', unknown], ['PATCH', 'x'], ['DELETE', '..%2f..']]) {
      const answer = await ask(server, method, `/uploads/${where}`,
        method === 'PATCH' ? { ...bytesType, 'Upload-Offset': '0' } : {});
      assert.equal(answer.status, 404, `${method} ${where}`);
      assert.equal(answer.offset, null);
    }
    const where = (await create(server, recording.length)).h('location');
    isError(await patch(server, where, 5, Buffer.from('x')), 409, 'offset_conflict');
    isError(await ask(server, 'PATCH', where, bytesType, Buffer.from('x')), 400, 'invalid');
    isError(await patch(server, where, 0, Buffer.from('x'), { 'Content-Type': 'text/plain' }), 415, 'unsupported');
    isError(await patch(server, where, 0, Buffer.from('x'), { 'Upload-Length': '7' }), 400, 'invalid');
    isError(await patch(server, where, 0, Buffer.concat([recording, recording])), 413, 'too_large');
    isError(await patch(server, where, 0, Buffer.from('x'), { 'Tus-Resumable': '2.0.0' }), 412, 'tus_version');
    assert.equal((await ask(server, 'HEAD', where)).offset, 0);
    assert.equal((await ask(server, 'DELETE', where)).status, 204);
    isError(await ask(server, 'DELETE', where), 404, 'not_found');
  });

  test('turns away what is no recording while it comes', async () => {
    const page = Buffer.from(`<!DOCTYPE html><html><body>${'hello '.repeat(400)}</body></html>`);
    const where = (await create(server, page.length, { filename: 'a.mp3' })).h('location');
    isError(await patch(server, where, 0, page.subarray(0, 1000)), 415, 'not_media');
    assert.equal((await ask(server, 'HEAD', where)).status, 404);
    const short = Buffer.from('<!DOCTYPE html><html></html>');
    isError(await create(server, short.length, {}, bytesType, short), 415, 'not_media');
    assert.deepEqual(server.stored().filter((name) => name.startsWith('parts/')), []);
  });

  // The connection is there, but nothing comes: it may have died without a word.
  for (const [what, headers] of [['HEAD', undefined], ['PATCH', {}], ['DELETE', undefined]]) {
    test(`lets ${what} take over an upload from a request that rests`, seen, async () => {
      const where = (await create(server, recording.length)).h('location');
      const socket = net.connect(server.port, '127.0.0.1');
      socket.on('error', () => {});
      let answered = '';
      socket.on('data', (text) => { answered += text; });
      socket.write(patchHead(where, recording.length));
      socket.write(recording.subarray(0, 4000));
      await until(() => arrived(server, where), (n) => n === 4000);
      const began = Date.now();
      if (what === 'DELETE') {
        assert.equal((await ask(server, 'DELETE', where)).status, 204);
        assert.equal((await ask(server, 'HEAD', where)).status, 404);
      } else if (what === 'HEAD') {
        assert.equal((await ask(server, 'HEAD', where)).offset, 4000);
        const end = await patch(server, where, 4000, recording.subarray(4000));
        assert.equal(end.status, 204, JSON.stringify(end.body));
        assert.equal(sha256(blob(server, end.h('job-id'))), sha256(recording));
      } else {
        // Without having asked: it is told where the upload stands.
        const first = await patch(server, where, 0, recording, headers);
        isError(first, 409, 'offset_conflict');
        assert.equal(first.offset, 4000);
        const end = await patch(server, where, 4000, recording.subarray(4000));
        assert.equal(end.status, 204, JSON.stringify(end.body));
        assert.equal(sha256(blob(server, end.h('job-id'))), sha256(recording));
      }
      assert.ok(Date.now() - began < 10000, `it took ${Date.now() - began} ms`);
      // What the older one still sends is not taken, and it hears so.
      await until(() => { socket.write(recording.subarray(4000, 4100)); return answered; }, (text) => text.startsWith('HTTP/1.1 423 '));
      socket.destroy();
    });
  }

  test('keeps what is secret to itself', async () => {
    const metadata = {
      filename: 'a.wav', webhook_secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', language: 'de',
    };
    const where = (await create(server, recording.length, metadata)).h('location');
    for (const method of ['HEAD', 'GET']) {
      const answer = await ask(server, method, where);
      assert.equal(answer.h('upload-metadata'), `filename ${base64('a.wav')},language ${base64('de')}`);
    }
    assert.equal((await ask(server, 'DELETE', where)).status, 204);
  });

  test('keeps what a broken request brought', seen, async () => {
    const where = (await create(server, recording.length)).h('location');
    const socket = net.connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(patchHead(where, recording.length));
    socket.write(recording.subarray(0, 4000));
    await until(() => arrived(server, where), (n) => n === 4000);
    socket.destroy();
    const { offset } = await until(() => ask(server, 'HEAD', where), (a) => a.offset === 4000);
    const end = await until(() => patch(server, where, offset, recording.subarray(offset)), (a) => a.status !== 423);
    assert.equal(end.status, 204, JSON.stringify(end.body));
    assert.equal(sha256(blob(server, end.h('job-id'))), sha256(recording));
  });

  test('its own client uploads one file in several parts at once', async () => {
    const bytes = wav({ seconds: 20, sample: tone });
    const upload = await new Promise((resolve, reject) => {
      const one = new tus.Upload(bytes, {
        endpoint: `${server.url}/uploads`,
        parallelUploads: 4,
        metadata: { filename: 'joined.wav', language: 'en' },
        onError: reject,
        onSuccess: () => resolve(one),
      });
      one.start();
    });
    const head = await ask(server, 'HEAD', upload.url);
    assert.equal(head.offset, bytes.length);
    assert.match(head.h('upload-concat'), /^final;/);
    const id = head.h('job-id');
    assert.equal(sha256(blob(server, id)), sha256(bytes));
    const job = await waitForJob(server, id);
    assert.equal(job.status, 'completed', job.error_message);
    assert.equal(job.original_filename, 'joined.wav');
    assert.equal((await getJson(server, '/jobs?search=joined')).body.total, 1);
    const parts = head.h('upload-concat').slice(6).split(' ');
    assert.equal(parts.length, 4);
    for (const part of parts) assert.equal((await ask(server, 'HEAD', part)).status, 404);
    assert.equal((await patch(server, upload.url, bytes.length, Buffer.from('x'))).status, 403);
  });

  test('parts are joined only when they are parts, and whole', async () => {
    const partial = { 'Upload-Concat': 'partial' };
    const final = (...where) => ask(server, 'POST', '/uploads', { 'Upload-Concat': `final;${where.join(' ')}` });
    const one = (await create(server, 1000, {}, partial)).h('location');
    await patch(server, one, 0, recording.subarray(0, 1000));
    const head = await ask(server, 'HEAD', one);
    assert.equal(head.h('upload-concat'), 'partial');
    assert.equal(head.h('job-id'), null);
    const half = (await create(server, 1000, {}, partial)).h('location');
    await patch(server, half, 0, recording.subarray(1000, 1500));
    const whole = (await create(server, 1000, {})).h('location');
    isError(await final(one, half), 409, 'not_complete');
    isError(await final(one, whole), 400, 'invalid');
    isError(await final(one, `/uploads/${unknown}`), 404, 'not_found');
    isError(await final('/uploads/x'), 400, 'invalid');
    isError(await final(), 400, 'invalid');
    isError(await create(server, 5, {}, { 'Upload-Concat': 'some' }), 400, 'invalid');
    isError(await create(server, 5, {}, { 'Upload-Concat': `final;${one}` }), 400, 'invalid');
    isError(await final(...Array(101).fill(one)), 400, 'invalid');
    await patch(server, half, 500, recording.subarray(1500, 2000));
    const joined = await final(one, half);
    assert.equal(joined.status, 201, JSON.stringify(joined.body));
    assert.equal(sha256(blob(server, joined.h('job-id'))), sha256(recording.subarray(0, 2000)));
    // What is no recording shows when it is joined: a part alone may be anything.
    const text = Buffer.from('<!DOCTYPE html><html></html>');
    const page = (await create(server, text.length, {}, { ...partial, ...bytesType }, text));
    assert.equal(page.status, 201, JSON.stringify(page.body));
    isError(await final(page.h('location')), 415, 'not_media');
  });

  test('its own client uploads several files at once', async () => {
    const files = [1, 2, 3, 4, 5].map((seconds) => wav({ seconds, sample: (t) => 0.2 * Math.sin(seconds * 900 * t) }));
    const ids = await Promise.all(files.map((bytes, i) => new Promise((resolve, reject) => {
      let id;
      new tus.Upload(bytes, {
        endpoint: `${server.url}/uploads`,
        chunkSize: 30000,
        metadata: { filename: `file-${i}.wav`, language: 'en' },
        onAfterResponse: (_, response) => { id = response.getHeader('Job-Id') ?? id; },
        onError: reject,
        onSuccess: () => resolve(id),
      }).start();
    })));
    assert.equal(new Set(ids).size, files.length);
    for (const [i, id] of ids.entries()) {
      const job = await waitForJob(server, id);
      assert.equal(job.status, 'completed', job.error_message);
      assert.equal(job.original_filename, `file-${i}.wav`);
      assert.equal(sha256(blob(server, id)), sha256(files[i]));
    }
  });
});

/**
 * A port that leads to the service, whichever is running, and lets `budget` bytes of the
 * uploads through. Then it holds everything, calls `spent`, and breaks the connections off
 * when that is done: how fast anybody sends says nothing about where an upload is broken.
 */
async function narrow(budget, spent) {
  const through = { port: 0, url: '', breaks: 0 };
  through.failed = new Promise((_, reject) => { through.fail = reject; });
  through.failed.catch(() => {}); // it may come while nobody looks
  let left = Infinity;
  let held = null;
  const lines = new Set();
  async function breakOff() {
    await spent(++through.breaks).catch(through.fail);
    lines.forEach((line) => line.destroy());
    left = budget(through.breaks);
    held = null;
  }
  const listener = net.createServer(async (client) => {
    client.on('error', () => {});
    await held;
    const service = net.connect(through.port, '127.0.0.1');
    service.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.on('close', () => service.destroy());
    for (const socket of [client, service]) {
      lines.add(socket);
      socket.on('close', () => lines.delete(socket));
    }
    service.pipe(client);
    client.on('data', (bytes) => {
      if (held) return;
      left -= bytes.length;
      if (left <= 0) held = breakOff();
      else if (!service.write(bytes)) client.pause();
    });
    service.on('drain', () => client.resume());
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  left = budget(0);
  through.url = `http://127.0.0.1:${listener.address().port}`;
  through.close = () => { lines.forEach((line) => line.destroy()); listener.close(); };
  return through;
}

describe('tus, when the service dies', needsModel, () => {
  for (const chunkSize of [5e6, Infinity]) test(`an upload goes on after kill -9, to the byte (${chunkSize} at once)`, async (t) => {
    const folder = tempFolder();
    const big = wav({ seconds: 1500, sample: (t) => (t % 7 < 0.01 ? 0.3 : 0) });
    const env = { WORKER_CONCURRENCY: '1', LOG_LEVEL: 'INFO' };
    let server = await startServer({ folder, env });
    let where;
    const durable = [0]; // at each death
    const resumedAt = [];
    const kills = 3;
    const through = await narrow((breaks) => (breaks < kills ? 12e6 : Infinity), async () => {
      // A request that is broken off has not brought its bytes in vain: of twelve million it has made some count.
      // HEAD would take the upload from the request, with what has been read by then, be it nothing.
      await until(() => Number(readDatabase(folder, `SELECT received FROM uploads WHERE id = '${where.slice(9)}'`)), (n) => n >= durable.at(-1) + 8e6);
      const { offset } = await ask(server, 'HEAD', where);
      durable.push(offset);
      await server.kill();
      server = await startServer({ folder, env });
      through.port = server.port;
    });
    t.after(() => through.close());
    through.port = server.port;
    const id = await Promise.race([through.failed, new Promise((resolve, reject) => {
      let job;
      const upload = new tus.Upload(big, {
        endpoint: `${through.url}/uploads`,
        chunkSize,
        retryDelays: Array(60).fill(200),
        metadata: { filename: 'big.wav' },
        onUploadUrlAvailable: () => { where = new URL(upload.url).pathname; },
        onAfterResponse: (request, response) => {
          job = response.getHeader('Job-Id') ?? job;
          if (request.getMethod() === 'HEAD') resumedAt.push(Number(response.getHeader('Upload-Offset')));
        },
        onError: reject,
        onSuccess: () => resolve(job),
      });
      upload.start();
    })]);
    assert.equal(through.breaks, kills);
    // What was told to be durable is, and the client goes on from there.
    assert.deepEqual(resumedAt, durable.slice(1));
    assert.ok(resumedAt.every((at, i) => at > durable[i] && at < big.length), `went on at ${resumedAt}`);
    assert.ok(id);
    assert.equal(sha256(blob(server, id)), sha256(big));
    assert.equal((await getJson(server, '/jobs')).body.total, 1);
    await server.kill();
  });

  test('only what is durable counts, and a complete upload becomes a job by itself', seen, async () => {
    const folder = tempFolder();
    const env = { WORKER_CONCURRENCY: '1' };
    let server = await startServer({ folder, env });
    const where = (await create(server, recording.length)).h('location');
    const id = where.slice(9);
    await patch(server, where, 0, recording.subarray(0, 3000));
    await server.kill();
    // What a power cut may leave: bytes behind those that were promised.
    fs.appendFileSync(parts(folder, id)[0], Buffer.alloc(5000, 7));
    server = await startServer({ folder, env });
    assert.equal((await ask(server, 'HEAD', where)).offset, 3000);
    assert.equal((await patch(server, where, 3000, recording.subarray(3000, 50000))).offset, 50000);
    await server.kill();
    // As if it had died between the last byte and the job.
    fs.appendFileSync(parts(folder, id)[0], recording.subarray(50000));
    assert.equal(parts(folder, id).length, 1);
    editDatabase(folder, `UPDATE uploads SET received = ${recording.length}, state = '{"pieces":[["${path.basename(parts(folder, id)[0]).slice(37)}",${recording.length}]]}'`);
    server = await startServer({ folder, env });
    const job = await waitForJob(server, id);
    assert.equal(job.status, 'completed', job.error_message);
    assert.equal(sha256(blob(server, id)), sha256(recording));
    assert.equal((await ask(server, 'HEAD', where)).h('job-id'), id);
    await server.kill();
  });

  test('an upload that rests for a day goes', async () => {
    const folder = tempFolder();
    let server = await startServer({ folder });
    const [old, young] = [await create(server, 5000), await create(server, 5000)].map((a) => a.h('location'));
    await patch(server, old, 0, recording.subarray(0, 3000));
    await patch(server, young, 0, recording.subarray(0, 3000));
    assert.equal(server.stored().filter((name) => name.startsWith('parts/')).length, 2);
    await server.stop();
    editDatabase(folder, `UPDATE uploads SET expires_ms = ${Date.now() - 1} WHERE id = '${old.slice(9)}'`);
    server = await startServer({ folder });
    assert.equal((await ask(server, 'HEAD', old)).status, 404);
    await until(() => server.stored().filter((name) => name.startsWith('parts/')).length, (n) => n === 1);
    assert.equal((await ask(server, 'HEAD', young)).offset, 3000);
    await server.stop();
  });
});

const small = path.join(tempFolder(), 'small');
fs.mkdirSync(small);
let noMount = needsModel.skip;
if (!noMount && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=72m', 'tmpfs', small]).status !== 0)
  noMount = 'no right to mount a small file system';

describe('tus, on a full disk', { skip: noMount || (onS3 && 'a bucket has no disk') }, () => {
  let server;
  before(async () => { server = await startServer({ env: { STORAGE_DIR: small } }); });
  after(async () => {
    await server.stop();
    assert.equal(spawnSync('umount', ['-l', small]).status, 0);
  });

  test('answers 507, keeps the offset, and goes on when there is room', async () => {
    const where = (await create(server, recording.length)).h('location');
    assert.equal((await patch(server, where, 0, recording.subarray(0, 2000))).offset, 2000);
    const filler = path.join(small, 'filler');
    fs.writeFileSync(filler, Buffer.alloc(16 * 1048576));
    const full = await patch(server, where, 2000, recording.subarray(2000));
    isError(full, 507, 'disk_full');
    assert.equal((await ask(server, 'HEAD', where)).offset, 2000);
    isError(await create(server, 5000), 507, 'disk_full');
    fs.rmSync(filler);
    const end = await patch(server, where, 2000, recording.subarray(2000));
    assert.equal(end.status, 204, JSON.stringify(end.body));
    const id = end.h('job-id');
    assert.equal(sha256(fs.readFileSync(path.join(small, 'uploads', id))), sha256(recording));
  });
});
