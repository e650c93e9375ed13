// Object storage: jobs, ranges, uploads in several sittings, what a crash leaves, and a server
// that is wrong, refuses, or is away.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Postgres, available, editDatabase } from '../lib/postgres.mjs';
import { BUCKET, KEY, S3, SECRET } from '../lib/s3.mjs';
import {
  binary, form, getJson, hasModel, hold, models, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const small = wav({ seconds: 4, sample: tone });
const large = wav({ seconds: 400 }); // three parts of 5 MiB

async function tus(server, method, where, headers = {}, body = undefined) {
  const response = await fetch(server.url + where, {
    method, headers: { 'Tus-Resumable': '1.0.0', ...headers }, body, ...(body ? { duplex: 'half' } : {}),
  });
  const offset = response.headers.get('upload-offset');
  return { status: response.status, text: await response.text(), h: (name) => response.headers.get(name), offset: offset === null ? undefined : Number(offset) };
}
const create = async (server, length, headers = {}) => (await tus(server, 'POST', '/uploads', { 'Upload-Length': String(length), ...headers })).h('location');
const patch = (server, where, offset, bytes, headers = {}) => tus(server, 'PATCH', where, { 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream', ...headers }, bytes);
const stored = (s3) => [...s3.keys(), ...[...s3.uploads.values()].map((u) => `${u.key} in parts`)];

describe('object storage', needsModel, () => {
  let s3;
  let server;
  before(async () => {
    s3 = await new S3().start();
    server = await startServer({ env: { ...s3.env('some/where'), LOG_LEVEL: 'DEBUG' } });
  });
  after(async () => {
    const { code } = await server.stop();
    assert.equal(code, 0, server.log());
    assert.ok(!server.log().includes(SECRET), 'the secret is in the log');
    await s3.stop();
  });

  test('keeps a recording, and gives all of it or a range', async () => {
    const { status, body } = await transcribe(server, form(small));
    assert.equal(status, 202);
    const job = await waitForJob(server, body.job_id);
    assert.equal(job.status, 'completed', job.error_message);
    assert.deepEqual(stored(s3), [`some/where/uploads/${job.id ?? body.job_id}`]);
    const where = `${server.url}/jobs/${body.job_id}/audio`;
    const whole = await fetch(where);
    assert.equal(whole.headers.get('content-type'), 'audio/wav');
    assert.equal(Number(whole.headers.get('content-length')), small.length);
    assert.equal(sha256(Buffer.from(await whole.arrayBuffer())), sha256(small));
    const head = await fetch(where, { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(Number(head.headers.get('content-length')), small.length);
    s3.requests.length = 0;
    const range = await fetch(where, { headers: { range: 'bytes=1000-1999' } });
    assert.equal(range.status, 206);
    assert.equal(range.headers.get('content-range'), `bytes 1000-1999/${small.length}`);
    assert.deepEqual(Buffer.from(await range.arrayBuffer()), small.subarray(1000, 2000));
    // Only that much was asked of the bucket, and what tells its kind.
    assert.ok(s3.requests.filter((r) => r.method === 'GET').some((r) => r.range === 'bytes=1000-1999'));
    assert.ok(s3.requests.filter((r) => r.method === 'GET').every((r) => /^bytes=(0-\d{1,3}|1000-1999)$/.test(r.range)));
    assert.equal((await fetch(where, { headers: { range: 'bytes=9999999-' } })).status, 416);
    assert.equal((await getJson(server, `/jobs/${body.job_id}/waveform`)).status, 200);
    assert.equal((await fetch(`${server.url}/jobs/${body.job_id}`, { method: 'DELETE' })).status, 200);
    assert.deepEqual(stored(s3), []);
  });

  test('takes a large recording in parts, and streams it', async () => {
    s3.requests.length = 0;
    const { body } = await transcribe(server, form(large));
    const sent = s3.requests.filter((r) => r.query.includes('partNumber')).map((r) => r.bytes);
    assert.deepEqual(sent, [5 << 20, 5 << 20, large.length - (10 << 20)]);
    assert.equal(sha256(s3.object(`some/where/uploads/${body.job_id}`)), sha256(large));
    assert.deepEqual(stored(s3), [`some/where/uploads/${body.job_id}`]);
    const job = await waitForJob(server, body.job_id);
    assert.equal(job.status, 'completed', job.error_message);
    const whole = await fetch(`${server.url}/jobs/${body.job_id}/audio`);
    assert.equal(sha256(Buffer.from(await whole.arrayBuffer())), sha256(large));
    // Who goes away in the middle leaves nobody waiting.
    const gone = new AbortController();
    const half = await fetch(`${server.url}/jobs/${body.job_id}/audio`, { signal: gone.signal });
    await half.body.getReader().read();
    gone.abort();
    assert.equal((await fetch(`${server.url}/jobs/${body.job_id}`, { method: 'DELETE' })).status, 200);
  });

  test('leaves nothing of what is refused or broken off', async () => {
    const page = Buffer.from(`<!DOCTYPE html><html><body>${'hello '.repeat(400)}</body></html>`);
    assert.equal((await transcribe(server, form(page))).status, 415);
    const boundary = 'x';
    const controller = new AbortController();
    const request = fetch(`${server.url}/transcribe`, {
      method: 'POST',
      duplex: 'half',
      signal: controller.signal,
      headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
      body: new ReadableStream({
        start(c) {
          c.enqueue(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n`));
          c.enqueue(large.subarray(0, 8 << 20));
        },
      }),
    }).catch(() => {});
    await until(() => s3.uploads.size, (n) => n === 1);
    controller.abort();
    await request;
    await until(() => stored(s3).length, (n) => n === 0);
  });

  test('an upload of several sittings is one recording', async () => {
    const where = await create(server, large.length);
    let at = 0;
    // Odd pieces: what is too small for a part is kept as an object of its own.
    for (const size of [100, 3 << 20, 3 << 20, 1, 6 << 20]) {
      const answer = await patch(server, where, at, large.subarray(at, at + size));
      assert.equal(answer.status, 204, answer.text);
      at = answer.offset;
      assert.ok(s3.keys().length <= 1, `more than the rest is kept: ${s3.keys()}`);
    }
    const end = await patch(server, where, at, large.subarray(at));
    assert.equal(end.status, 204, end.text);
    assert.equal(sha256(s3.object(`some/where/uploads/${end.h('job-id')}`)), sha256(large));
    assert.deepEqual(stored(s3), [`some/where/uploads/${end.h('job-id')}`]);
    const job = await waitForJob(server, end.h('job-id'));
    assert.equal(job.status, 'completed', job.error_message);
    await fetch(`${server.url}/jobs/${end.h('job-id')}`, { method: 'DELETE' });
  });

  test('an upload that is given up leaves nothing', async () => {
    const where = await create(server, large.length);
    await patch(server, where, 0, large.subarray(0, 7 << 20));
    assert.equal(stored(s3).length, 2);
    assert.equal((await tus(server, 'DELETE', where)).status, 204);
    assert.deepEqual(stored(s3), []);
  });

  test('parts that are sent at once are joined', async () => {
    const half = 6 << 20;
    const parts = [];
    for (const bytes of [large.subarray(0, half), large.subarray(half)]) {
      const where = await create(server, bytes.length, { 'Upload-Concat': 'partial' });
      assert.equal((await patch(server, where, 0, bytes)).status, 204);
      parts.push(where);
    }
    const joined = await tus(server, 'POST', '/uploads', { 'Upload-Concat': `final;${parts.join(' ')}` });
    assert.equal(joined.status, 201, joined.text);
    const id = joined.h('job-id');
    assert.equal(sha256(s3.object(`some/where/uploads/${id}`)), sha256(large));
    assert.deepEqual(stored(s3), [`some/where/uploads/${id}`]);
    await fetch(`${server.url}/jobs/${id}`, { method: 'DELETE' });
  });

  test('what passes is tried again', async () => {
    for (const fault of [{ status: 503, code: 'SlowDown' }, { status: 500 }, { status: 429 }, 'break']) {
      let left = 2;
      s3.fault = (r) => (r.method === 'PUT' && left-- > 0 ? fault : undefined);
      const { status, body } = await transcribe(server, form(small));
      s3.fault = undefined;
      assert.equal(status, 202, `${JSON.stringify(fault)}: ${JSON.stringify(body)}`);
      assert.equal(left, -1);
      await fetch(`${server.url}/jobs/${body.job_id}`, { method: 'DELETE' });
    }
    // The answer to the last request is lost: it was done all the same.
    let lost = 1;
    s3.after = (r) => (r.method === 'POST' && r.query.includes('uploadId') && lost-- > 0 ? 'break' : undefined);
    const { status, body } = await transcribe(server, form(large));
    s3.after = undefined;
    assert.equal(status, 202, JSON.stringify(body));
    await fetch(`${server.url}/jobs/${body.job_id}`, { method: 'DELETE' });
  });

  test('a recording that breaks off goes on where it stood', async () => {
    const { body } = await transcribe(server, form(small));
    await waitForJob(server, body.job_id);
    s3.requests.length = 0;
    s3.half = 1;
    const whole = await fetch(`${server.url}/jobs/${body.job_id}/audio`);
    assert.equal(sha256(Buffer.from(await whole.arrayBuffer())), sha256(small));
    assert.equal(s3.half, 0);
    assert.ok(s3.requests.some((r) => /^bytes=[1-9]\d{3,}-/.test(r.range)), 'all of it was sent again');
    await fetch(`${server.url}/jobs/${body.job_id}`, { method: 'DELETE' });
  });

  test('a full bucket is 507', async () => {
    s3.fault = (r) => (r.method === 'PUT' ? { status: 507, code: 'XMinioStorageFull' } : undefined);
    const { status } = await transcribe(server, form(small));
    s3.fault = undefined;
    assert.equal(status, 507);
  });

  test('while the bucket is away uploads are refused, accepted jobs wait, and nothing is lost', async () => {
    const goOn = await hold(server);
    const { body } = await transcribe(server, form(small));
    const other = await transcribe(server, form(wav({ seconds: 2 })));
    const where = await create(server, large.length);
    assert.equal((await patch(server, where, 0, large.subarray(0, 6 << 20))).offset, 6 << 20);
    await s3.stop();
    goOn();
    const refused = await transcribe(server, form(small));
    assert.equal(refused.status, 503);
    assert.equal(refused.body.error_code, 'storage_error');
    assert.ok(refused.headers.get('retry-after'));
    assert.ok((await patch(server, where, 6 << 20, large.subarray(6 << 20))).status >= 500);
    await until(() => getJson(server, '/health/ready'), (a) => a.status === 503);
    await s3.start();
    for (const id of [body.job_id, other.body.job_id]) {
      const job = await waitForJob(server, id);
      assert.equal(job.status, 'completed', job.error_message);
    }
    const { offset } = await tus(server, 'HEAD', where);
    assert.ok(offset >= 6 << 20, `acknowledged bytes are lost: ${offset}`);
    const end = await until(() => patch(server, where, offset, large.subarray(offset)), (a) => a.status === 204 || a.status < 500);
    assert.equal(end.status, 204, end.text);
    assert.equal(sha256(s3.object(`some/where/uploads/${end.h('job-id')}`)), sha256(large));
    await until(() => getJson(server, '/health/ready'), (a) => a.status === 200);
  });
});

describe('object storage, when the service dies or begins', needsModel, () => {
  test('what a crash left is swept, and what is wanted stays', async () => {
    const s3 = await new S3().start();
    const folder = tempFolder();
    const env = s3.env();
    let server = await startServer({ folder, env });
    const { body } = await transcribe(server, form(small));
    await waitForJob(server, body.job_id);
    const where = await create(server, large.length);
    await patch(server, where, 0, large.subarray(0, 7 << 20));
    const gone = await create(server, large.length);
    await patch(server, gone, 0, large.subarray(0, 7 << 20));
    await server.kill();
    editDatabase(folder, `DELETE FROM uploads WHERE id = '${gone.slice(9)}'`);
    server = await startServer({ folder, env });
    assert.ok(s3.keys().every((key) => !key.includes(gone.slice(9))), `${s3.keys()}`);
    assert.deepEqual([...s3.uploads.values()].map((u) => u.key), [`uploads/${where.slice(9)}`]);
    assert.equal((await tus(server, 'HEAD', where)).offset, 7 << 20);
    const end = await patch(server, where, 7 << 20, large.subarray(7 << 20));
    assert.equal(end.status, 204, end.text);
    assert.equal(sha256(s3.object(`uploads/${where.slice(9)}`)), sha256(large));
    await server.stop();
    await s3.stop();
  });

  test('recordings that are old go', async () => {
    const s3 = await new S3().start();
    const folder = tempFolder();
    const env = s3.env();
    let server = await startServer({ folder, env });
    const { body } = await transcribe(server, form(small));
    await waitForJob(server, body.job_id);
    await server.stop();
    editDatabase(folder, `UPDATE jobs SET created_ms = created_ms - ${10 * 86400000}, completed_ms = completed_ms - ${10 * 86400000}`);
    server = await startServer({ folder, env });
    await until(() => stored(s3).length, (n) => n === 0);
    assert.equal((await fetch(`${server.url}/jobs/${body.job_id}/audio`)).status, 410);
    await server.stop();
    await s3.stop();
  });

  test('two services go on with one upload, and a late one harms nothing', { skip: available ? false : 'PostgreSQL is not installed' }, async () => {
    const s3 = await new S3().start();
    const folder = tempFolder();
    const env = { ...s3.env(), DATABASE_URL: new Postgres().url(folder) };
    const [one, two] = [await startServer({ env }), await startServer({ env })];
    const where = await create(one, large.length);
    assert.equal((await patch(one, where, 0, large.subarray(0, 1 << 20))).offset, 1 << 20);
    assert.equal((await patch(two, where, 1 << 20, large.subarray(1 << 20, 7 << 20))).offset, 7 << 20);
    // One more is at it, and stops before its part is stored: another service goes on.
    let release;
    const stopped = new Promise((resolve) => {
      s3.fault = (r) => {
        if (!r.query.includes('partNumber')) return undefined;
        s3.fault = undefined;
        resolve();
        return new Promise((go) => { release = go; });
      };
    });
    const garbage = Buffer.alloc(large.length - (7 << 20), 7);
    const late = patch(one, where, 7 << 20, garbage);
    await stopped;
    const end = await patch(two, where, 7 << 20, large.subarray(7 << 20));
    assert.equal(end.status, 204, end.text);
    release();
    const answer = await late;
    assert.ok(answer.status >= 400, `${answer.status}`);
    assert.equal(sha256(s3.object(`uploads/${where.slice(9)}`)), sha256(large));
    const job = await waitForJob(two, where.slice(9));
    assert.equal(job.status, 'completed', job.error_message);
    await one.stop();
    await two.stop();
    await s3.stop();
  });
});

// What NFS would be: one folder, several services, no lock that all of them see.
describe('a folder that several services share', { skip: needsModel.skip || (available ? false : 'PostgreSQL is not installed') }, () => {
  test('an upload goes on elsewhere, and whoever was overtaken harms nothing', async () => {
    const folder = tempFolder();
    const env = { STORAGE_URL: `file://${folder}/shared`, SCRATCH_DIR: `${folder}/scratch`, DATABASE_URL: new Postgres().url(folder) };
    const [one, two] = [await startServer({ env }), await startServer({ env })];
    const where = await create(one, large.length);
    const id = where.slice(9);
    const files = () => fs.readdirSync(`${folder}/shared/parts`).filter((name) => name.startsWith(id));
    assert.equal((await patch(one, where, 0, large.subarray(0, 1 << 20))).offset, 1 << 20);
    assert.equal((await patch(two, where, 1 << 20, large.subarray(1 << 20, 2 << 20))).offset, 2 << 20);
    assert.equal(files().length, 1, 'each had let go, and the next went on in its file');
    // One more is at it, and stands still in the middle of it.
    const garbage = Buffer.alloc(large.length - (2 << 20), 7);
    let more;
    const late = patch(one, where, 2 << 20, new ReadableStream({
      start(c) { more = c; c.enqueue(garbage.subarray(0, 1 << 20)); },
    }), { 'Content-Length': String(garbage.length) }).catch((error) => ({ status: 499, text: String(error) }));
    await until(() => files().reduce((sum, name) => sum + fs.statSync(`${folder}/shared/parts/${name}`).size, 0), (n) => n > 2 << 20);
    process.kill(one.pid, 'SIGSTOP');
    more.enqueue(garbage.subarray(1 << 20));
    more.close();
    const end = await patch(two, where, 2 << 20, large.subarray(2 << 20));
    assert.equal(end.status, 204, end.text);
    process.kill(one.pid, 'SIGCONT');
    const answer = await late;
    assert.ok(answer.status >= 400, `${answer.status} ${answer.text}`);
    const whole = fs.readFileSync(`${folder}/shared/uploads/${id}`);
    assert.equal(sha256(whole), sha256(large));
    const job = await waitForJob(two, id);
    assert.equal(job.status, 'completed', job.error_message);
    // A third one that begins sweeps nothing that is young or wanted.
    const resting = await create(one, large.length);
    await patch(one, resting, 0, large.subarray(0, 1 << 20));
    const three = await startServer({ env });
    assert.equal((await tus(three, 'HEAD', resting)).offset, 1 << 20);
    const goesOn = await patch(three, resting, 1 << 20, large.subarray(1 << 20));
    assert.equal(goesOn.status, 204, goesOn.text);
    assert.equal(sha256(fs.readFileSync(`${folder}/shared/uploads/${resting.slice(9)}`)), sha256(large));
    for (const server of [one, two, three]) await server.stop();
  });
});

describe('object storage that is set up wrongly', () => {
  let s3;
  before(async () => { s3 = await new S3().start(); });
  after(() => s3.stop());
  const doctor = (env) => new Promise((resolve) => {
    import('node:child_process').then(({ execFile }) => execFile(binary, ['doctor'], {
      env: { PATH: process.env.PATH, WHISPER_MODEL_DIR: models, ...env }, cwd: tempFolder(),
    }, (error, stdout, stderr) => resolve({ code: error?.code ?? 0, text: stdout + stderr })));
  });

  test('doctor says that all is well, and leaves nothing', async () => {
    const { text } = await doctor(s3.env('x'));
    assert.match(text, /ok +storage: the bucket recordings at 127\.0\.0\.1:\d+ takes, gives and removes/);
    assert.ok(!text.includes(SECRET));
    assert.deepEqual(s3.keys(), []);
  });

  const wrongs = [
    ['a key that is not known', { S3_ACCESS_KEY_ID: 'nobody' }, /S3_ACCESS_KEY_ID/],
    ['a wrong secret', { S3_SECRET_ACCESS_KEY: 'something-else' }, /S3_SECRET_ACCESS_KEY/],
    ['a bucket that is not there', { STORAGE_URL: 's3://elsewhere' }, /no such bucket/],
    ['a server that is not there', { S3_ENDPOINT: 'http://127.0.0.1:9' }, /127\.0\.0\.1:9: .*connect/i],
    ['no key at all', { S3_ACCESS_KEY_ID: '', S3_SECRET_ACCESS_KEY: '' }, /set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY/],
  ];
  for (const [what, env, sentence] of wrongs)
    test(`doctor names ${what}`, async () => {
      const { code, text } = await doctor({ ...s3.env(), ...env });
      assert.equal(code, 1, text);
      assert.match(text.split('\n').find((line) => line.startsWith('WRONG storage')) ?? text, sentence);
      assert.ok(!text.includes(SECRET) && !text.includes('something-else'));
    });

  for (const [code, status, sentence] of [['AccessDenied', 403, /may not do that/], ['RequestTimeTooSkewed', 403, /clock/], ['AuthorizationHeaderMalformed', 400, /S3_REGION/]])
    test(`doctor explains ${code}`, async () => {
      s3.fault = () => ({ status, code });
      const { text } = await doctor(s3.env());
      s3.fault = undefined;
      assert.match(text, sentence);
    });

  test('a service that begins says it, and begins all the same', async () => {
    const server = await startServer({ env: { ...s3.env(), S3_SECRET_ACCESS_KEY: 'something-else' } });
    assert.match(server.log(), /ERROR.*the storage cannot be used now: .*S3_SECRET_ACCESS_KEY/);
    const { status, body } = await transcribe(server, form(small));
    assert.equal(status, 503);
    assert.equal(body.error_code, 'storage_error');
    assert.doesNotMatch(JSON.stringify(body), /bucket|SECRET/, 'callers are told too much');
    assert.equal((await getJson(server, '/health/ready')).status, 503);
    assert.ok(!server.log().includes('something-else'));
    await server.stop();
  });

  test('secrets may stand in files, or under the names of Amazon', async () => {
    const folder = tempFolder();
    fs.writeFileSync(path.join(folder, 'id'), `${KEY}\n`);
    fs.writeFileSync(path.join(folder, 'secret'), `${SECRET}\n`);
    const place = { STORAGE_URL: `s3://${BUCKET}` };
    const files = { S3_ENDPOINT: s3.url, S3_ACCESS_KEY_ID_FILE: path.join(folder, 'id'), S3_SECRET_ACCESS_KEY_FILE: path.join(folder, 'secret') };
    const amazon = { AWS_ENDPOINT_URL: s3.url, AWS_ACCESS_KEY_ID: KEY, AWS_SECRET_ACCESS_KEY: SECRET };
    for (const env of [files, amazon]) assert.match((await doctor({ ...place, ...env })).text, /ok +storage: the bucket/);
  });

  test('what can be none is refused when it starts', () => {
    for (const url of ['s3://', 's3://a b', 'ftp://x', 's3://x/../y', 'file://relative']) {
      const r = spawnSync(binary, ['serve'], { env: { PATH: process.env.PATH, STORAGE_URL: url }, cwd: tempFolder(), encoding: 'utf8' });
      assert.equal(r.status, 2, r.stderr);
      assert.match(r.stderr, /STORAGE_URL/);
    }
  });
});
