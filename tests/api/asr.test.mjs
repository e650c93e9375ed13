// The door of whisper-asr-webservice, spoken to as Bazarr's whisper provider does.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { children, getJson, hasModel, startServer, ticks, wav } from '../lib/server.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const speech = fs.readFileSync(path.join(root, 'engine/golden/clean.wav'));
const spanish = fs.readFileSync(path.join(root, 'speech/audio/spanish.opus'));
const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };

/**
 * The message of Python's requests for `files={'audio_file': bytes}`: one part, which is
 * called what the field is called, in a body that says how long it is.
 */
function bazarr(server, where, params, bytes) {
  const boundary = '8a41f2c7d0b3495e9a6c1d2e3f405162';
  const query = new URLSearchParams(params);
  return fetch(`${server.url}${where}?${query}`, {
    method: 'POST',
    headers: {
      'User-Agent': 'Subliminal/2.1', Accept: '*/*', 'Accept-Encoding': 'gzip, deflate',
      'Content-Type': `multipart/form-data; boundary=${boundary}`,
    },
    body: Buffer.concat([
      Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="audio_file"; filename="audio_file"\r\n\r\n`),
      bytes,
      Buffer.from(`\r\n--${boundary}--\r\n`),
    ]),
  });
}

function upload(server, where, bytes, name = 'Ün film.mkv') {
  const body = new FormData();
  body.append('audio_file', new Blob([bytes]), name);
  return fetch(server.url + where, { method: 'POST', body });
}

describe('the /asr door', needsModel, () => {
  let server;
  before(async () => { server = await startServer({ env: { WORKER_CONCURRENCY: '1' } }); });
  after(async () => {
    const { code } = await server.stop();
    assert.equal(code, 0, server.log());
  });
  const jobs = async () => (await getJson(server, '/jobs?limit=500')).body.jobs;
  afterEach(async () => {
    for (const job of await jobs()) await getJson(server, `/jobs/${job.id}`, { method: 'DELETE' });
  });

  const pcm = speech.subarray(44);

  test('does what Bazarr asks for: the language, then subtitles', async () => {
    const detected = await (await bazarr(server, '/detect-language',
      { encode: 'false', video_file: '/films/a.mkv' }, pcm)).json();
    assert.deepEqual(Object.keys(detected), ['detected_language', 'language_code', 'confidence']);
    assert.equal(detected.detected_language, 'english');
    assert.equal(detected.language_code, 'en');
    assert.ok(detected.confidence > 0.5 && detected.confidence <= 1);

    const response = await bazarr(server, '/asr',
      { task: 'transcribe', language: 'en', output: 'srt', encode: 'false', video_file: '/films/a.mkv' }, pcm);
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type'), /^text\/plain/);
    assert.equal(response.headers.get('asr-engine'), 'whisper-transcriber');
    assert.match(response.headers.get('content-disposition'), /^attachment; filename="audio_file\.srt"/);
    const srt = await response.text();
    assert.match(srt, /^1\n00:00:0\d,\d{3} --> 00:00:\d\d,\d{3}\n/);
    assert.match(srt.replaceAll('\n', ' '), /stew for dinner/);

    const list = await jobs();
    assert.deepEqual(list.map((job) => [job.task, job.status]), [['transcribe', 'completed'], ['detect', 'completed']]);
    // It hears what the WAV file would say.
    const same = await upload(server, '/asr?language=en&output=srt', speech);
    assert.equal(await same.text(), srt);
  });

  test('only tells the language when that is all that is wanted', async () => {
    const answer = await (await upload(server, '/detect-language', spanish, 'es.opus')).json();
    assert.equal(answer.language_code, 'es');
    const [job] = await jobs();
    assert.equal(job.task, 'detect');
    assert.equal(job.language, 'es');
    const { body } = await getJson(server, `/jobs/${job.id}`);
    assert.equal(body.transcript, '');
    // Of an hour it hears a few minutes.
    const hour = wav({ seconds: 3600 });
    for (let at = 44; at + pcm.length < hour.length; at += 12 * pcm.length) pcm.copy(hour, at);
    const [worker] = children(server.pid);
    const begun = ticks(worker);
    const long = await (await upload(server, '/detect-language', hour, 'hour.wav')).json();
    assert.equal(long.language_code, 'en');
    const seconds = (ticks(worker) - begun) / 100;
    assert.ok(seconds < 5, `the worker needed ${seconds} s of a processor`);
    // The native door has no such task.
    const native = new FormData();
    native.append('file', new Blob([speech]), 'a.wav');
    const refused = await getJson(server, '/transcribe?task=detect', { method: 'POST', body: native });
    assert.equal(refused.status, 400);
  });

  test('knows when nobody speaks', async () => {
    const answer = await (await upload(server, '/detect-language', wav({ seconds: 3 }))).json();
    assert.deepEqual(answer, { detected_language: 'undetermined', language_code: 'und', confidence: 0 });
  });

  test('has every output', async () => {
    const get = async (output, more = '') => {
      const response = await upload(server, `/asr?output=${output}&language=en${more}`, speech);
      assert.equal(response.status, 200);
      assert.match(response.headers.get('content-type'), /^text\/plain/);
      assert.ok(response.headers.get('content-disposition').endsWith(
        `filename="_n film.mkv.${output}"; filename*=UTF-8''%C3%9Cn%20film.mkv.${output}`),
      response.headers.get('content-disposition'));
      return response.text();
    };
    const txt = await get('txt');
    assert.match(txt, /stew for dinner[^]*\n$/);
    assert.equal(await (await upload(server, '/asr?language=en', speech)).text(), txt);
    assert.match(await get('vtt'), /^WEBVTT\n\n00:0\d\.\d{3} --> /);
    assert.match(await get('tsv'), /^start\tend\ttext\n\d+\t\d+\t\S/);
    const json = JSON.parse(await get('json'));
    assert.deepEqual(Object.keys(json), ['text', 'segments', 'language']);
    assert.equal(json.language, 'en');
    assert.equal(json.segments[0].words, undefined);
    assert.equal((await jobs()).length, 1); // they are views of one
    const words = JSON.parse(await get('json', '&word_timestamps=true&vad_filter=false&initial_prompt=Stew.'));
    assert.deepEqual(Object.keys(words.segments[0].words[0]), ['word', 'start', 'end', 'probability']);
  });

  test('translates', async () => {
    const response = await upload(server, '/asr?task=translate&language=es&output=json', spanish, 'es.opus');
    assert.equal(response.status, 200);
    assert.equal((await jobs())[0].task, 'translate');
    assert.ok(JSON.parse(await response.text()).text.length > 10);
  });

  test('says what is wrong', async () => {
    for (const [where, status, word] of [
      ['/asr?output=pdf', 422, /output.*txt, vtt, srt, tsv or json/],
      ['/asr?encode=perhaps', 422, /encode.*true or false/],
      ['/asr?diarize=true', 422, /speakers/],
      ['/asr?vad_filter=sometimes', 422, /vad_filter/],
      ['/asr?language=klingon', 400, /klingon/],
      ['/asr?task=detect', 400, /task/],
    ]) {
      const response = await upload(server, where, speech);
      const body = await response.json();
      assert.equal(response.status, status, JSON.stringify(body));
      assert.match(body.detail, word);
    }
    const body = new FormData();
    body.append('other', 'x');
    for (const where of ['/asr', '/detect-language'])
      assert.equal((await fetch(server.url + where, { method: 'POST', body })).status, 422);
    assert.equal((await upload(server, '/asr', Buffer.alloc(0))).status, 400);
    assert.equal((await upload(server, '/asr', Buffer.from('<html><body>no sound</body></html>'.repeat(40)))).status, 415);
    const odd = await bazarr(server, '/asr', { encode: 'false', output: 'txt' }, pcm.subarray(0, 32001));
    assert.equal(odd.status, 200);
    assert.deepEqual((await jobs()).length, 1);
  });
});
