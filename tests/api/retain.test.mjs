// retain: how long a job is kept, and nothing left behind where that was asked for.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, test } from 'node:test';
import { databaseText, wanted as onServer } from '../lib/postgres.mjs';
import {
  form, getJson, hasModel, hold, raw, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const speech = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));

async function submit(server, bytes, name, fields) {
  const { status, body } = await transcribe(server, form(bytes, name, fields));
  assert.equal(status, 202, JSON.stringify(body));
  return body.job_id;
}

/** Ends the job without reading its transcript. */
async function ended(server, id) {
  return until(async () => (await getJson(server, '/jobs')).body.jobs.find((job) => job.id === id),
    (job) => ['completed', 'failed', 'cancelled'].includes(job.status));
}

/** Every file below the folder that holds one of the words. */
function holding(folder, words) {
  return fs.readdirSync(folder, { recursive: true }).map((name) => path.join(folder, name))
    .filter((name) => fs.statSync(name).isFile())
    .filter((name) => { const bytes = fs.readFileSync(name); return words.some((word) => bytes.includes(word)); })
    .map((name) => path.relative(folder, name));
}

const isGone = async (server, where) => {
  const { status, body } = await getJson(server, where);
  assert.equal(status, 410, JSON.stringify(body));
  assert.equal(body.error_code, 'gone');
  assert.match(body.detail, /retain=none/);
};

describe('retain', needsModel, () => {
  test('is default, none or a number of days, and said of each job', async () => {
    const server = await startServer();
    for (const [retain, shown] of [['default', 'default'], ['none', 'none'], ['30', 30]]) {
      const id = await submit(server, wav(), 'a.wav', { retain });
      const { body } = await getJson(server, '/jobs');
      assert.equal(body.jobs.find((job) => job.id === id).retain, shown);
    }
    for (const retain of ['0', '-1', '4000', 'never', '1.5']) {
      const { status, body } = await transcribe(server, form(wav(), 'a.wav', { retain }));
      assert.equal(status, 400);
      assert.match(body.detail, /retain.*none.*days/);
    }
    await server.stop();
  });

  test('none leaves nothing behind once the transcript was fetched', { timeout: 120_000 }, async () => {
    const folder = tempFolder();
    const log = path.join(folder, 'server.log');
    const env = { LOG_LEVEL: 'DEBUG', LOG_FILE: log };
    let server = await startServer({ folder, env });
    const kept = await submit(server, speech, 'kept.wav', { language: 'en' });
    const { transcript } = await waitForJob(server, kept);
    const words = ['dinner', 'turnips', 'carrots', 'confession', 'marsupial']
      .filter((word) => transcript.includes(word) || /confession|marsupial/.test(word));
    assert.ok(words.length > 3, transcript);
    await fetch(`${server.url}/jobs/${kept}`, { method: 'DELETE' });

    const id = await submit(server, speech, 'confession.wav', { language: 'en', retain: 'none', prompt: 'marsupial' });
    const job = await ended(server, id);
    assert.equal(job.status, 'completed', job.error_message);
    await until(() => server.stored().filter((name) => name.includes(id)), (n) => n.length === 0);
    assert.deepEqual((await getJson(server, '/jobs?search=dinner')).body.jobs, []);

    // Neither a HEAD nor an answer that is a mistake is a fetch.
    await raw(server, `HEAD /jobs/${id}/download HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    await fetch(`${server.url}/jobs/${id}/download?format=srt&highlight_words=true`);
    const answer = await fetch(`${server.url}/jobs/${id}/download`);
    assert.equal(answer.status, 200);
    assert.equal((await answer.text()).trim().toLowerCase().includes(words[0]), true);

    await until(() => fetch(`${server.url}/jobs/${id}`), (r) => r.status === 410);
    await isGone(server, `/jobs/${id}`);
    await isGone(server, `/jobs/${id}/download?format=json`);
    const { body: list } = await getJson(server, '/jobs');
    assert.equal(list.jobs.find((j) => j.id === id).original_filename, 'recording');
    // The other job's words are taken out of the index as well, though not at once.
    await until(() => holding(folder, words), (files) => files.length === 0);
    await server.stop();
    assert.deepEqual(holding(folder, words), []);
    assert.ok(!words.some((word) => server.log().includes(word)));

    server = await startServer({ folder, env });
    await isGone(server, `/jobs/${id}`);
    assert.equal((await fetch(`${server.url}/jobs/${id}`, { method: 'DELETE' })).status, 200);
    assert.equal((await fetch(`${server.url}/jobs/${id}`)).status, 404);
    await server.stop();
  });

  test('none drops the transcript with GET as well', async () => {
    const server = await startServer();
    const id = await submit(server, wav(), 'a.wav', { retain: 'none' });
    assert.equal((await ended(server, id)).status, 'completed');
    assert.equal((await fetch(`${server.url}/jobs/${id}`)).status, 200);
    await until(() => fetch(`${server.url}/jobs/${id}`), (r) => r.status === 410);
    await server.stop();
  });

  test('none drops the recording of a job that is cancelled, which cannot be retried', async () => {
    const server = await startServer({ env: { WORKER_CONCURRENCY: '1' } });
    const goOn = await hold(server);
    const id = await submit(server, wav({ seconds: 60, sample: tone }), 'a.wav', { retain: 'none', vad_filter: 'false' });
    assert.equal((await getJson(server, `/jobs/${id}/cancel`, { method: 'POST' })).status, 200);
    goOn();
    await until(() => server.stored().filter((name) => name.includes(id)), (n) => n.length === 0);
    const { status, body } = await getJson(server, `/jobs/${id}/retry`, { method: 'POST' });
    assert.equal(status, 409);
    assert.match(body.detail, /removed.*send it again/s);
    assert.equal((await getJson(server, `/jobs/${id}`)).body.status, 'cancelled');
    await server.stop();
  });

  test('none leaves nothing of an upload in parts, of a URL, nor of a webhook that was told', async () => {
    const told = [];
    const place = http.createServer((request, response) => {
      let text = '';
      request.on('data', (data) => { text += data; }).on('end', () => {
        if (request.method === 'POST') told.push(JSON.parse(text));
        response.end(request.method === 'GET' ? wav() : '');
      });
    });
    place.listen(0, '127.0.0.1').unref();
    await once(place, 'listening');
    const here = `127.0.0.1:${place.address().port}`;
    const server = await startServer({ env: { URL_FETCH: 'on', URL_FETCH_ALLOW: here, WEBHOOK_ALLOW: here } });
    const hook = { retain: 'none', webhook_url: `http://${here}/armadillo`, webhook_transcript: 'true' };
    const byUrl = await transcribe(server, form(null, null, { url: `http://${here}/pangolin.wav`, ...hook }));
    assert.equal(byUrl.status, 202, JSON.stringify(byUrl.body));
    const metadata = Object.entries({ filename: 'wombat.wav', ...hook, webhook_url: hook.webhook_url + 2 })
      .map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`).join(',');
    const inParts = await fetch(`${server.url}/uploads`, {
      method: 'POST', body: wav(),
      headers: {
        'tus-resumable': '1.0.0', 'upload-length': String(wav().length), 'upload-metadata': metadata,
        'content-type': 'application/offset+octet-stream',
      },
    });
    assert.equal(inParts.status, 201);
    const ids = [byUrl.body.job_id, inParts.headers.get('job-id')];
    for (const id of ids) await until(() => fetch(`${server.url}/jobs/${id}`, { method: 'HEAD' }), (r) => r.status === 410);
    assert.deepEqual(told.map((each) => [each.event, typeof each.job.transcript]), Array(2).fill(['job.completed', 'string']));
    assert.deepEqual(server.stored().filter((name) => ids.some((id) => name.includes(id))), []);
    const words = ['pangolin', 'wombat', 'armadillo'].flatMap((word) => [word, Buffer.from(`${word}.wav`).toString('base64').slice(0, 8)]);
    await until(() => (onServer ? words.filter((word) => databaseText(server.folder).includes(word))
      : holding(path.join(server.folder, 'data'), words)), (found) => found.length === 0);
    await server.stop();
    place.close();
  });

  test('none drops the recording of a job whose download fails', async () => {
    const place = http.createServer((_, response) => response.end('<!DOCTYPE html><html></html>'));
    place.listen(0, '127.0.0.1').unref();
    await once(place, 'listening');
    const here = `127.0.0.1:${place.address().port}`;
    const server = await startServer({ env: { URL_FETCH: 'on', URL_FETCH_ALLOW: here } });
    const { body } = await transcribe(server, form(null, null, { url: `http://${here}/a.wav`, retain: 'none' }));
    assert.equal((await ended(server, body.job_id)).status, 'failed');
    assert.deepEqual(server.stored().filter((name) => name.includes(body.job_id)), []);
    assert.equal((await getJson(server, `/jobs/${body.job_id}/retry`, { method: 'POST' })).status, 409);
    await server.stop();
    place.close();
  });

  test('none goes on when the service is killed before the end', async () => {
    const folder = tempFolder();
    let server = await startServer({ folder, env: { WORKER_CONCURRENCY: '1' } });
    const goOn = await hold(server);
    const id = await submit(server, wav({ seconds: 60, sample: tone }), 'a.wav', { retain: 'none', vad_filter: 'false' });
    await server.kill();
    goOn();
    server = await startServer({ folder });
    assert.equal((await ended(server, id)).status, 'completed');
    await until(() => server.stored().filter((name) => name.includes(id)), (n) => n.length === 0);
    await server.stop();
  });
});
