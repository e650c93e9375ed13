// The recording of a job: whole, in ranges, and as a waveform.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv/dist/2020.js';
import {
  form, getJson, hasModel, startServer, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const recording = path.join(here, '../engine/golden/clean.wav');
const unknown = '0190b5d0-aaaa-7bbb-8ccc-0123456789ab';

describe('the recording of a job', { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' }, () => {
  let server;
  let job;
  let bytes;
  before(async () => {
    server = await startServer();
    await until(() => fetch(`${server.url}/health/ready`), (r) => r.status === 200);
    bytes = fs.readFileSync(recording);
    const { body } = await transcribe(server, form(bytes, 'cl"ean.wav', { language: 'en', word_timestamps: 'true' }));
    job = await waitForJob(server, body.job_id);
    assert.equal(job.status, 'completed');
  });
  after(() => server?.stop());

  const ask = (headers = {}, query = '', init = {}) => fetch(`${server.url}/jobs/${job.id}/audio${query}`, { headers, ...init });

  test('comes whole, as a file that no browser runs', async () => {
    const response = await ask();
    assert.equal(response.status, 200);
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), bytes);
    assert.equal(response.headers.get('content-type'), 'audio/wav');
    assert.equal(response.headers.get('accept-ranges'), 'bytes');
    assert.equal(response.headers.get('content-security-policy'), 'sandbox');
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
    assert.match(response.headers.get('content-disposition'), /^attachment; filename="cl.*ean\.wav"/);
    assert.equal((await ask({}, '?inline=1')).headers.get('content-disposition'), 'inline');
  });

  test('comes in ranges', async () => {
    const all = bytes.length;
    for (const [range, from, to] of [['bytes=0-0', 0, 0], ['bytes=44-1043', 44, 1043], [`bytes=${all - 7}-`, all - 7, all - 1],
      ['bytes=-10', all - 10, all - 1], [`bytes=5-${10 * all}`, 5, all - 1]]) {
      const response = await ask({ range });
      assert.equal(response.status, 206, range);
      assert.equal(response.headers.get('content-range'), `bytes ${from}-${to}/${all}`);
      assert.equal(Number(response.headers.get('content-length')), to - from + 1);
      assert.deepEqual(Buffer.from(await response.arrayBuffer()), bytes.subarray(from, to + 1));
    }
    const behind = await ask({ range: `bytes=${all}-` });
    assert.equal(behind.status, 416);
    assert.equal(behind.headers.get('content-range'), `bytes */${all}`);
    assert.equal((await behind.json()).error_code, 'range_not_satisfiable');
    for (const range of ['bytes=0-1,5-6', 'bytes=9-3', 'lines=0-1', 'bytes=x']) {
      const response = await ask({ range });
      assert.equal(response.status, 200, range);
      assert.equal((await response.arrayBuffer()).byteLength, all);
    }
  });

  test('gives a range only of what the client has', async () => {
    const tag = (await ask({}, '', { method: 'HEAD' })).headers.get('etag');
    assert.equal((await ask({ range: 'bytes=0-9', 'if-range': tag })).status, 206);
    const other = await ask({ range: 'bytes=0-9', 'if-range': '"other"' });
    assert.equal(other.status, 200);
    await other.arrayBuffer();
  });

  test('answers HEAD without a body', async () => {
    const response = await ask({}, '', { method: 'HEAD' });
    assert.equal(response.status, 200);
    assert.equal(Number(response.headers.get('content-length')), bytes.length);
    assert.equal((await response.arrayBuffer()).byteLength, 0);
  });

  test('has a type by its content, whatever its name says', async () => {
    // It begins like a page and is one; it never becomes one here.
    const { status } = await transcribe(server, form(Buffer.from('<html><script>alert(1)</script>'), 'x.html'));
    assert.equal(status, 415);
    const { body } = await transcribe(server, form(wav(), 'page.html'));
    await waitForJob(server, body.job_id);
    const response = await fetch(`${server.url}/jobs/${body.job_id}/audio?inline=1`);
    assert.equal(response.headers.get('content-type'), 'audio/wav');
    await response.arrayBuffer();
  });

  test('is read from the disk as it goes out', async () => {
    const big = wav({ seconds: 600 });
    const { body } = await transcribe(server, form(big, 'long.wav'));
    const response = await fetch(`${server.url}/jobs/${body.job_id}/audio`);
    const reader = response.body.getReader();
    await reader.read();
    await reader.cancel(); // a client that goes away is no harm
    const tail = await fetch(`${server.url}/jobs/${body.job_id}/audio`, { headers: { range: 'bytes=-4' } });
    assert.equal((await tail.arrayBuffer()).byteLength, 4);
    await getJson(server, `/jobs/${body.job_id}`, { method: 'DELETE' });
  });

  test('is gone when its file is', async () => {
    const { body } = await transcribe(server, form(wav(), 'gone.wav'));
    await waitForJob(server, body.job_id);
    server.removeRecording(body.job_id);
    const { status, body: answer } = await getJson(server, `/jobs/${body.job_id}/audio`);
    assert.equal(status, 410);
    assert.equal(answer.error_code, 'recording_removed');
    assert.equal((await getJson(server, `/jobs/${unknown}/audio`)).status, 404);
    assert.equal((await getJson(server, '/jobs/nonsense/audio')).status, 404);
  });

  test('has a waveform', async () => {
    const { status, body } = await getJson(server, `/jobs/${job.id}/waveform`);
    assert.equal(status, 200);
    assert.ok(Math.abs(body.duration - job.duration) < 0.001);
    // 50 in a second, and no more than are asked for.
    assert.equal(body.peaks.length, Math.min(1000, Math.ceil(50 * job.duration)));
    assert.ok(body.peaks.every((peak) => peak >= 0 && peak <= 1));
    const samples = new Int16Array(bytes.buffer.slice(bytes.byteOffset + 44, bytes.byteOffset + bytes.length - (bytes.length % 2)));
    const most = samples.reduce((a, b) => Math.max(a, Math.abs(b)), 0) / 32768;
    assert.ok(Math.abs(Math.max(...body.peaks) - most) < 0.02, `${Math.max(...body.peaks)} of ${most}`);
    const few = (await getJson(server, `/jobs/${job.id}/waveform?points=10`)).body;
    assert.equal(few.peaks.length, 10);
    assert.equal(Math.max(...few.peaks), Math.max(...body.peaks));
  });

  test('shows where it is loud', async () => {
    const sound = wav({ seconds: 10, sample: (t) => (t >= 4 && t < 5 ? tone(t) : 0) });
    const { body } = await transcribe(server, form(sound, 'beep.wav'));
    await waitForJob(server, body.job_id);
    const { peaks } = (await getJson(server, `/jobs/${body.job_id}/waveform?points=10`)).body;
    peaks.forEach((peak, second) => assert.ok(second === 4 ? Math.abs(peak - 0.3) < 0.01 : peak < 0.05, `${second}: ${peak}`));
  });

  test('says what is wrong with a request for a waveform', async () => {
    for (const points of ['0', '-1', '20001', 'many', '1e3']) {
      const { status, body } = await getJson(server, `/jobs/${job.id}/waveform?points=${points}`);
      assert.equal(status, 400, points);
      assert.match(body.detail, /points/);
    }
    assert.equal((await getJson(server, `/jobs/${unknown}/waveform`)).status, 404);
  });

  test('leaves no waveform behind', async () => {
    const { body } = await transcribe(server, form(wav({ seconds: 2 }), 'brief.wav'));
    await waitForJob(server, body.job_id);
    assert.equal((await getJson(server, `/jobs/${body.job_id}/waveform`)).status, 200);
    await getJson(server, `/jobs/${body.job_id}`, { method: 'DELETE' });
    assert.equal((await getJson(server, `/jobs/${body.job_id}/waveform`)).status, 404);
  });

  test('answers as it is described', async () => {
    const { body: description } = await getJson(server, '/openapi.json');
    const ajv = new Ajv({ strict: false, validateFormats: false });
    ajv.addSchema(description, 'api');
    const fits = (where, name, value) => {
      const check = ajv.compile({ $ref: `api#/components/schemas/${name}` });
      assert.ok(check(value), `${where}: ${ajv.errorsText(check.errors)}`);
    };
    const got = async (where) => (await getJson(server, where)).body;
    fits('job', 'Job', await got(`/jobs/${job.id}`));
    fits('list', 'JobList', await got('/jobs'));
    fits('waveform', 'Waveform', await got(`/jobs/${job.id}/waveform`));
    fits('transcript', 'Transcript', await got(`/jobs/${job.id}/download?format=json`));
    fits('service', 'Service', await got('/'));
    fits('error', 'Error', await got(`/jobs/${unknown}`));
    fits('accepted', 'Accepted', (await transcribe(server, form(wav(), 'a.wav'))).body);
    // What does not fit is noticed.
    assert.throws(() => fits('nothing', 'Job', {}));
  });

  test('is described, for programs and for people', async () => {
    const { status, body, headers } = await getJson(server, '/openapi.json');
    assert.equal(status, 200);
    assert.equal(headers.get('content-type'), 'application/json');
    assert.equal(body.openapi, '3.1.0');
    const verdict = await new Validator().validate(body);
    assert.ok(verdict.valid, JSON.stringify(verdict.errors));
    assert.ok(body.paths['/jobs/{id}/audio'].get);
    const page = await fetch(`${server.url}/docs`);
    assert.match(page.headers.get('content-type'), /^text\/html/);
    assert.match(page.headers.get('content-security-policy'), /script-src 'self'/);
  });
});
