// The OpenAI door, spoken to by OpenAI's own client.
import assert from 'node:assert/strict';
import buffer from 'node:buffer';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  form, freePort, getJson, hasEnded, hasModel, models, raw, startServer, tempFolder, tone, transcribe, until, wav,
} from '../lib/server.mjs';
import { parseSrt, parseVtt } from '../lib/subtitles.mjs';

globalThis.File ??= buffer.File; // Node 18 has it there
const { default: OpenAI, toFile } = await import('openai');

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const speechFile = path.join(root, 'engine/golden/clean.wav');
const speech = fs.readFileSync(speechFile);
const spanish = fs.readFileSync(path.join(root, 'speech/audio/spanish.opus'));
const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const hasDecoder = !spawnSync('ffmpeg', ['-version']).error;

/** Samples of a WAV file so many times over, as one recording. */
function repeated(bytes, times) {
  const header = Buffer.from(bytes.subarray(0, 44));
  const samples = Buffer.concat(Array(times).fill(bytes.subarray(44)));
  header.writeUInt32LE(36 + samples.length, 4);
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}

/** A recording of its own: what comes twice is not transcribed twice. */
let serial = 0;
function fresh(bytes = speech) {
  const copy = Buffer.from(bytes);
  copy.writeInt16LE(++serial, copy.length - 2);
  return copy;
}

const clientOf = (server, options) =>
  new OpenAI({ apiKey: 'none', baseURL: `${server.url}/v1`, maxRetries: 0, ...options });
const file = (bytes = fresh(), name = 'talk.wav') => toFile(bytes, name);
const jobs = async (server) => (await getJson(server, '/jobs?limit=500')).body.jobs;

/** Tokens in OpenAI's shape, whose bytes are the text. */
function isSure(logprobs, text) {
  assert.ok(logprobs.length > 5);
  for (const token of logprobs) {
    assert.deepEqual(Object.keys(token), ['token', 'bytes', 'logprob']);
    assert.ok(token.logprob <= 0 && token.logprob > -20);
    assert.equal(token.token, Buffer.from(token.bytes).toString());
  }
  // Of bytes that are no character each reader makes as many signs as it likes.
  const readable = (bytes) => bytes.toString().trim().replace(/\uFFFD+/g, '\uFFFD');
  assert.equal(readable(Buffer.concat(logprobs.map((token) => Buffer.from(token.bytes)))), readable(Buffer.from(text)));
}

/** What the client throws. */
async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return assert.fail('nothing was refused');
}

function isError(error, status, code, param) {
  assert.equal(error.status, status, String(error));
  assert.deepEqual(Object.keys(error.error).sort(), ['code', 'message', 'param', 'type']);
  assert.equal(error.code, code);
  assert.equal(error.param ?? null, param ?? null);
  assert.equal(error.headers.get('x-should-retry'), 'false');
  assert.match(error.error.message, /^[A-Z0-9"].{10,}/s);
}

describe('the OpenAI door', needsModel, () => {
  let server, client;
  before(async () => {
    server = await startServer({ env: { MAX_FILE_SIZE_MB: '64', WORKER_CONCURRENCY: '1' } });
    client = clientOf(server);
  });
  after(async () => {
    const { code } = await server.stop();
    assert.equal(code, 0, server.log());
  });
  afterEach(async () => {
    for (const job of await jobs(server)) await getJson(server, `/jobs/${job.id}`, { method: 'DELETE' });
  });

  const ask = async (more = {}, bytes = speech) =>
    client.audio.transcriptions.create({ file: await file(bytes), model: 'whisper-1', ...more });

  describe('a transcription', () => {
    test('is json when nothing is said', async () => {
      const answer = await ask();
      assert.deepEqual(Object.keys(answer).sort(), ['text', 'usage']);
      assert.match(answer.text, /^[A-Z].*stew for dinner/);
      assert.deepEqual(answer.usage, { type: 'duration', seconds: Math.ceil((speech.length - 44) / 32000) });
      assert.match(answer._request_id, /^[\w-]+$/);
      const [job] = await jobs(server);
      assert.equal(job.status, 'completed');
      assert.equal(job.original_filename, 'talk.wav');
    });

    test('is a plain body as text, srt and vtt', async () => {
      const { text } = await ask({ response_format: 'json' });
      assert.equal(await ask({ response_format: 'text' }), `${text}\n`);
      assert.match(await ask({ response_format: 'srt' }), /^1\n00:00:0\d,\d{3} --> 00:00:\d\d,\d{3}\n\S/);
      assert.match(await ask({ response_format: 'vtt' }), /^WEBVTT\n\n00:00:0\d\.\d{3} --> /);
      assert.equal((await jobs(server)).length, 1);
    });

    test('has a cue for each segment as srt and vtt, unless subtitles are ordered', async () => {
      const bytes = fresh(repeated(speech, 8));
      const { segments } = await ask({ response_format: 'verbose_json' }, bytes);
      const wanted = segments.map((s) => [Math.round(1000 * s.start), Math.round(1000 * s.end), s.text.trim()]);
      const isWanted = (found) => {
        assert.deepEqual(found.map((cue) => cue[2]), wanted.map((cue) => cue[2]));
        found.forEach((cue, i) => [0, 1].forEach((k) => assert.ok(Math.abs(cue[k] - wanted[i][k]) <= 1)));
      };
      const srt = parseSrt(await ask({ response_format: 'srt' }, bytes));
      isWanted(srt);
      isWanted(parseVtt(await ask({ response_format: 'vtt' }, bytes)));
      const shaped = parseSrt(await ask({ response_format: 'srt', raw_subtitles: false }, bytes));
      assert.ok(shaped.length > srt.length);
      assert.ok(shaped.every(([, , text]) => text.split('\n').length <= 2 && text.split('\n').every((l) => l.length <= 42)));
      const narrow = parseSrt(await ask({ response_format: 'srt', max_line_width: 20, max_line_count: 1 }, bytes));
      assert.ok(narrow.length > shaped.length && narrow.every(([, , text]) => text.length <= 20));
    });

    test('tells how sure it is of each token', async () => {
      const bytes = fresh();
      const answer = await ask({ include: ['logprobs'] }, bytes);
      assert.deepEqual(Object.keys(answer), ['text', 'logprobs', 'usage']);
      isSure(answer.logprobs, answer.text);
      // What is kept with that job is not asked of others, nor kept with them.
      assert.deepEqual(Object.keys(await ask({}, bytes)), ['text', 'usage']);
      const kept = await Promise.all((await jobs(server)).map(async ({ id }) =>
        (await (await fetch(`${server.url}/jobs/${id}/download?format=json`)).json()).segments[0]));
      assert.deepEqual(kept.map((segment) => Array.isArray(segment.logprobs)).sort(), [false, true]);
      // They are those from which the mean of the segments is made.
      const { segments: [first, ...others] } = await ask({ response_format: 'verbose_json' }, bytes);
      if (!others.length) {
        const mean = answer.logprobs.reduce((sum, t) => sum + t.logprob, 0) / answer.logprobs.length;
        assert.ok(Math.abs(mean - first.avg_logprob) < 0.25, `${mean} ${first.avg_logprob}`);
      }
    });

    test('tells so of tokens that are parts of a character', { skip: hasDecoder ? false : 'there is no decoder' }, async () => {
      const answer = await ask({ include: ['logprobs'], language: 'ja' });
      isSure(answer.logprobs, answer.text);
    });

    test('has segments of exactly ten keys as verbose_json', async () => {
      const answer = await ask({ response_format: 'verbose_json' });
      assert.deepEqual(Object.keys(answer), ['task', 'language', 'duration', 'text', 'segments', 'usage']);
      assert.equal(answer.task, 'transcribe');
      assert.equal(answer.language, 'english');
      assert.ok(Math.abs(answer.duration - (speech.length - 44) / 32000) < 0.01);
      assert.ok(answer.segments.length > 0);
      for (const s of answer.segments) {
        assert.deepEqual(Object.keys(s), ['id', 'seek', 'start', 'end', 'text', 'tokens', 'temperature',
          'avg_logprob', 'compression_ratio', 'no_speech_prob']);
        assert.ok(s.end > s.start && s.start >= 0);
        assert.ok(s.tokens.length > 2 && s.tokens.every((t) => Number.isInteger(t) && t >= 0 && t < 51866));
        assert.ok(s.avg_logprob < 0 && s.avg_logprob > -1.5);
        assert.ok(s.compression_ratio > 0.5 && s.compression_ratio < 2.5);
        assert.ok(s.no_speech_prob >= 0 && s.no_speech_prob < 1);
        assert.equal(s.temperature, 0);
      }
      assert.equal(answer.segments.map((s) => s.text).join('').trim(), answer.text);
      const [job] = await jobs(server);
      const kept = await (await fetch(`${server.url}/jobs/${job.id}/download?format=json`)).json();
      assert.deepEqual(answer.segments.map((s) => s.tokens), kept.segments.map((s) => s.tokens));
    });

    test('has the times of words, of segments or of both', async () => {
      const words = await ask({ response_format: 'verbose_json', timestamp_granularities: ['word'] });
      assert.equal(words.segments, undefined);
      assert.ok(words.words.length > 10);
      for (const w of words.words) {
        assert.deepEqual(Object.keys(w), ['word', 'start', 'end']);
        assert.equal(w.word, w.word.trim());
        assert.ok(w.end >= w.start && w.end <= words.duration + 0.01);
      }
      assert.equal(words.words.map((w) => w.word).join(' '), words.text);
      const both = await ask({ response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'] });
      assert.deepEqual(both.words, words.words);
      assert.equal(Object.keys(both.segments[0]).length, 10);
      const segments = await ask({ response_format: 'verbose_json', timestamp_granularities: ['segment'] });
      assert.equal(segments.words, undefined);
      assert.ok(segments.segments.length > 0);
      // Times of words are another job, in whatever form the answer comes.
      assert.equal((await jobs(server)).length, 2);
    });

    test('takes everything that is documented, with and without brackets', async () => {
      await ask({
        language: 'en', prompt: 'Stew.', temperature: 0.2,
        chunking_strategy: { type: 'server_vad', threshold: 0.4, prefix_padding_ms: 300, silence_duration_ms: 500 },
        languages: ['en'], keywords: ['turnips', 'mutton'],
      });
      const [job] = await jobs(server);
      assert.equal(job.language, 'en');
      await ask({ chunking_strategy: 'auto', response_format: 'json', stream: false });
      const body = new FormData();
      for (const [name, value] of [['model', 'gpt-4o-mini-transcribe-2030'], ['response_format', 'verbose_json'],
        ['timestamp_granularities', 'word'], ['timestamp_granularities', 'segment'], ['keywords', 'stew'],
        ['chunking_strategy', '{"type":"server_vad","threshold":0.5}'], ['temperature', '0'], ['user', 'x'],
        ['beam_size', '2']]) body.append(name, value);
      body.append('file', new Blob([speech]), 'a.wav');
      const response = await fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', body });
      const answer = await response.json();
      assert.equal(response.status, 200, JSON.stringify(answer));
      assert.ok(answer.words.length > 10 && answer.segments.length > 0);
      assert.match(response.headers.get('x-job-id'), /^[0-9a-f-]{36}$/);
    });

    test('of silence is an empty text', async () => {
      assert.equal((await ask({}, wav({ seconds: 2 }))).text, '');
      const answer = await ask({ response_format: 'verbose_json' }, wav({ seconds: 2 }));
      assert.deepEqual(answer.segments, []);
    });
  });

  test('a translation is English', { skip: hasDecoder ? false : 'there is no decoder' }, async () => {
    const answer = await client.audio.translations.create({
      file: await file(spanish, 'es.opus'), model: 'whisper-1', response_format: 'verbose_json' });
    assert.equal(answer.task, 'translate');
    assert.equal(answer.language, 'english');
    assert.ok(answer.text.length > 10);
    const [job] = await jobs(server);
    assert.equal(job.task, 'translate');
    const same = await client.audio.transcriptions.create({
      file: await file(spanish, 'es.opus'), model: 'whisper-1', response_format: 'verbose_json' });
    assert.equal(same.language, 'spanish');
    assert.notEqual(same.text, answer.text);
  });

  describe('a stream', () => {
    async function events(bytes, more = {}) {
      const stream = await client.audio.transcriptions.create({
        file: await file(bytes), model: 'whisper-1', stream: true, ...more });
      const all = [];
      for await (const event of stream) all.push(event);
      return all;
    }

    function isWhole(all) {
      const last = all.at(-1);
      assert.deepEqual(Object.keys(last), ['type', 'text', 'usage']);
      assert.equal(last.type, 'transcript.text.done');
      assert.equal(last.usage.type, 'duration');
      const deltas = all.slice(0, -1);
      for (const event of deltas) {
        assert.deepEqual(Object.keys(event), ['type', 'delta']);
        assert.equal(event.type, 'transcript.text.delta');
      }
      assert.equal(deltas.map((event) => event.delta).join(''), last.text);
      return last.text;
    }

    test('tells how sure it is of each piece, then of all', async () => {
      const all = await events(fresh(repeated(speech, 12)), { include: ['logprobs'] });
      const last = all.at(-1);
      assert.deepEqual(Object.keys(last), ['type', 'text', 'usage', 'logprobs']);
      isSure(last.logprobs, last.text);
      assert.ok(all.length > 2, `${all.length} events`);
      assert.deepEqual(all.slice(0, -1).flatMap((event) => event.logprobs), last.logprobs);
      for (const event of all.slice(0, -1)) isSure(event.logprobs, event.delta);
    });

    test('has the text in pieces, window by window, then whole', async () => {
      const bytes = fresh(repeated(speech, 12));
      const all = await events(bytes, { response_format: 'text' });
      const text = isWhole(all);
      assert.ok(all.length > 2, `${all.length} events`);
      assert.equal((await ask({}, bytes)).text, text);
      assert.equal((await jobs(server)).length, 1);
      // Asked for again, it is there at once.
      assert.equal(isWhole(await events(bytes)), text);
    });

    test('is data lines alone', async () => {
      const body = form(fresh(), 'a.wav', { model: 'whisper-1', stream: 'true' });
      const response = await fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', body });
      assert.match(response.headers.get('content-type'), /^text\/event-stream/);
      const text = await response.text();
      assert.match(text, /^(data: \{.*\}\n\n|:\n\n)+$/);
      assert.match(text, /transcript\.text\.done/);
    });

    test('that comes late begins with what was said before', async () => {
      const bytes = fresh(repeated(speech, 12));
      const first = events(bytes);
      await until(async () => (await jobs(server))[0], (job) => job?.progress > 20);
      assert.equal(isWhole(await events(bytes)), isWhole(await first));
      assert.equal((await jobs(server)).length, 1);
    });

    test('of a job that is cancelled, or of no recording, ends with an error', async () => {
      const bytes = fresh(wav({ seconds: 600, sample: tone }));
      const ended = refusal(events(bytes));
      const [job] = await until(() => jobs(server), (list) => list[0]?.status === 'processing');
      await getJson(server, `/jobs/${job.id}/cancel`, { method: 'POST' });
      assert.equal((await ended).code, 'cancelled');
      const none = await refusal(events(Buffer.concat([Buffer.from('OggS'), Buffer.alloc(4000, 7)])));
      assert.equal(none.code, 'not_media', String(none));
    });
  });

  describe('is refused', () => {
    test('without a file, a model, or with an empty file', async () => {
      const send = async (fields, bytes) => {
        const response = await fetch(`${server.url}/v1/audio/transcriptions`, {
          method: 'POST', body: form(bytes, 'a.wav', fields) });
        const { error } = await response.json();
        return { status: response.status, error, code: error.code, param: error.param, headers: response.headers };
      };
      isError(await send({ model: 'whisper-1' }, null), 400, 'missing_required_parameter', 'file');
      isError(await send({}, speech), 400, 'missing_required_parameter', 'model');
      isError(await send({ model: '' }, speech), 400, 'missing_required_parameter', 'model');
      isError(await send({ model: 'whisper-1' }, Buffer.alloc(0)), 400, 'empty_file');
    });

    test('with a value that is wrong or means something that we cannot', async () => {
      for (const [fields, status, code, param] of [
        [{ model: 'enormous' }, 404, 'model_not_found', 'model'],
        [{ model: 'large-v3' }, 404, 'model_not_found', 'model'],
        [{ model: '../../etc/passwd' }, 404, 'model_not_found', 'model'],
        [{ response_format: 'xml' }, 400, 'invalid_value', 'response_format'],
        [{ response_format: 'diarized_json' }, 400, 'unsupported_value', 'response_format'],
        [{ known_speaker_names: ['Ann'] }, 400, 'unsupported_value', 'known_speaker_names[]'],
        [{ include: ['logprobs'], response_format: 'verbose_json' }, 400, 'invalid_value', 'include[]'],
        [{ include: ['gossip'] }, 400, 'invalid_value', 'include[]'],
        [{ language: 'klingon' }, 400, 'invalid_value', 'language'],
        [{ languages: ['en', 'xx'] }, 400, 'invalid_value', 'languages[]'],
        [{ temperature: 7 }, 400, 'invalid_value', 'temperature'],
        [{ timestamp_granularities: ['word'] }, 400, 'invalid_value', 'timestamp_granularities[]'],
        [{ timestamp_granularities: ['letter'], response_format: 'verbose_json' }, 400, 'invalid_value',
          'timestamp_granularities[]'],
        [{ chunking_strategy: { type: 'psychic' } }, 400, 'invalid_value', 'chunking_strategy[type]'],
        [{ chunking_strategy: { type: 'server_vad', threshold: 9 } }, 400, 'invalid_value',
          'chunking_strategy[threshold]'],
        [{ chunking_strategy: { type: 'server_vad', volume: 9 } }, 400, 'unknown_parameter',
          'chunking_strategy[volume]'],
        [{ stream: true, response_format: 'srt' }, 400, 'invalid_value', 'stream'],
        [{ beam_size: 99 }, 400, 'invalid_value', 'beam_size'],
      ]) isError(await refusal(ask(fields)), status, code, param);
      assert.equal((await jobs(server)).length, 0);
      await until(() => server.stored(), (left) => left.length === 0);
    });

    test('when the file is none, at once or when it is decoded', async () => {
      isError(await refusal(ask({}, fs.readFileSync(fileURLToPath(import.meta.url)))), 400, 'not_media');
      const broken = Buffer.concat([Buffer.from('OggS'), Buffer.alloc(4000, 7)]);
      isError(await refusal(ask({}, broken)), 400, 'not_media', 'file');
      // It is tried anew when it comes again.
      isError(await refusal(ask({}, broken)), 400, 'not_media', 'file');
      assert.equal((await jobs(server)).length, 2);
    });

    test('in the same shape by whatever stands in front of the door', async () => {
      const shape = async (where, init, status) => {
        const { status: is, body, headers } = await getJson(server, where, init);
        assert.equal(is, status);
        assert.deepEqual(Object.keys(body), ['error']);
        assert.deepEqual(Object.keys(body.error), ['message', 'type', 'param', 'code']);
        assert.equal(headers.get('x-should-retry'), 'false');
        return body.error;
      };
      assert.equal((await shape('/v1/nothing', {}, 404)).type, 'invalid_request_error');
      await shape('/v1/audio/transcriptions', {}, 405);
      await shape('/v1/audio/transcriptions', { method: 'POST', body: '{}' }, 400); // no form
      await shape('/v1/models?a=%zz', {}, 400);
      const twice = await raw(server, 'POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\n' +
        'Content-Length: 5\r\nContent-Length: 5\r\n\r\n');
      assert.match(twice, /^HTTP\/1\.1 400 .*\{"error":\{"message"/s);
      const large = await raw(server, 'POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\n' +
        'Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 99000000\r\n\r\n');
      assert.match(large, /^HTTP\/1\.1 413 .*"code":"too_large"/s);
      // Elsewhere it is ours.
      assert.ok((await getJson(server, '/nothing')).body.detail);
    });
  });

  test('models are listed and told one by one', async () => {
    const list = [];
    for await (const model of client.models.list()) list.push(model);
    assert.deepEqual(Object.keys(list[0]).sort(), ['created', 'id', 'object', 'owned_by']);
    assert.ok(list.some((model) => model.id === 'tiny') && list.some((model) => model.id === 'whisper-1'));
    const tiny = await client.models.retrieve('tiny');
    assert.equal(tiny.object, 'model');
    assert.equal(tiny.created, Math.floor(fs.statSync(path.join(models, 'ggml-tiny.bin')).mtimeMs / 1000));
    isError(await refusal(client.models.retrieve('enormous')), 404, 'model_not_found', 'model');
  });

  describe('what comes twice is transcribed once', () => {
    test('after the first is done, or while it runs, or while both come in', async () => {
      const bytes = fresh(repeated(speech, 4));
      const many = await Promise.all([1, 2, 3, 4, 5].map(() => ask({}, bytes)));
      assert.equal(new Set(many.map((answer) => answer.text)).size, 1);
      const again = await ask({ response_format: 'verbose_json' }, bytes);
      assert.equal(again.text, many[0].text);
      const list = await jobs(server);
      assert.equal(list.length, 1);
      assert.deepEqual(server.stored(), [path.join('uploads', list[0].id)]);
      // Other parameters are another job, and so is the native door's.
      await ask({ prompt: 'Stew.' }, bytes);
      await ask({ prompt: 'Stew.', language: 'en' }, bytes);
      assert.equal((await jobs(server)).length, 3);
      await transcribe(server, form(bytes, 'talk.wav'));
      assert.equal((await jobs(server)).length, 4);
    });

    test('but once it is deleted it is gone', async () => {
      const bytes = fresh();
      await ask({}, bytes);
      const [{ id }] = await jobs(server);
      await getJson(server, `/jobs/${id}`, { method: 'DELETE' });
      await ask({}, bytes);
      assert.notEqual((await jobs(server))[0].id, id);
    });

    test('and a client that hangs up does not lose it', async () => {
      const bytes = fresh(repeated(speech, 12));
      const leave = new AbortController();
      const gone = client.audio.transcriptions.create({ file: await file(bytes), model: 'tiny' },
        { signal: leave.signal });
      await until(() => jobs(server), (list) => list[0]?.status === 'processing');
      leave.abort();
      await refusal(gone);
      const answer = await client.audio.transcriptions.create({ file: await file(bytes), model: 'tiny' });
      assert.match(answer.text, /stew for dinner/);
      const list = await jobs(server);
      assert.equal(list.length, 1);
      assert.equal(list[0].status, 'completed');
    });
  });

  test('a job that is cancelled or deleted ends the request', async () => {
    for (const [end, code] of [[(id) => [`/jobs/${id}/cancel`, { method: 'POST' }], 'cancelled'],
      [(id) => [`/jobs/${id}`, { method: 'DELETE' }], 'deleted']]) {
      const waiting = refusal(ask({}, fresh(wav({ seconds: 600, sample: tone }))));
      const [job] = await until(() => jobs(server), (list) => list[0]?.status === 'processing');
      await getJson(server, ...end(job.id));
      isError(await waiting, 409, code);
      await getJson(server, `/jobs/${job.id}`, { method: 'DELETE' });
    }
  });

  test('a recording of 30 MB comes through', async () => {
    const bytes = fresh(wav({ seconds: 983 }));
    assert.ok(bytes.length > 30e6);
    const answer = await ask({ response_format: 'verbose_json' }, bytes);
    assert.ok(Math.abs(answer.duration - 983) < 0.1);
    assert.equal((await jobs(server))[0].file_size, bytes.length);
  });
});

describe('OpenAI\'s client goes on', needsModel, () => {
  const env = { WORKER_CONCURRENCY: '1', WORKER_THREADS: '1' };

  test('when the service is killed in the middle and started again: one text, one job', async () => {
    const folder = tempFolder();
    const bytes = repeated(speech, 16);
    // The client knows one address, so the next one has to have the same.
    const again = { folder, env: { ...env, PORT: String(await freePort()) } };
    // By another service: here the same would be known already.
    const calm = await startServer({ env });
    const undisturbed = await clientOf(calm).audio.transcriptions.create({ file: await file(bytes), model: 'tiny' });
    await calm.stop();
    let server = await startServer(again);
    const client = clientOf(server, { maxRetries: 8 });
    const answer = client.audio.transcriptions.create({
      file: await file(bytes), model: 'tiny', response_format: 'verbose_json' });
    const running = (list) => list[0] && (hasEnded(list[0]) || (list[0].status === 'processing' && list[0].progress > 0));
    for (let i = 0; i < 2; i++) {
      const [job] = await until(() => jobs(server), running);
      assert.equal(job.status, 'processing', 'it was done before it could be disturbed');
      await server.kill();
      server = await startServer(again);
    }
    const { text } = await answer;
    const list = await jobs(server);
    assert.equal(list.length, 1);
    assert.equal(list[0].status, 'completed');
    assert.match(text, /stew for dinner/);
    assert.equal(text, undisturbed.text);
    assert.equal((await server.stop()).code, 0);
  });

  test('when the service is stopped while it waits, and started again', async () => {
    const folder = tempFolder();
    const bytes = repeated(speech, 30);
    let server = await startServer({ folder, env });
    const port = String(server.port);
    const answers = [];
    const client = clientOf(server, {
      maxRetries: 2,
      fetch: async (...args) => {
        const answer = await fetch(...args);
        if (String(args[0]).startsWith('http')) answers.push(answer); // it also asks for data: URLs
        return answer;
      },
    });
    const asked = client.audio.transcriptions.create({ file: await file(bytes), model: 'tiny' });
    await until(() => jobs(server), (list) => list[0]?.status === 'processing');
    assert.equal((await server.stop()).code, 0);
    assert.doesNotMatch(server.log(), /cut off/);
    server = await startServer({ folder, env: { ...env, PORT: port } });
    assert.match((await asked).text, /stew for dinner/);
    assert.deepEqual(answers.map((each) => each.status), [503, 200]);
    const [told] = answers;
    assert.ok(Number(told.headers.get('retry-after')) <= 30);
    assert.equal(told.headers.get('connection'), 'close');
    assert.equal(told.headers.get('x-should-retry'), null);
    const list = await jobs(server);
    assert.equal(list.length, 1);
    assert.equal(list[0].status, 'completed');
    assert.equal((await server.stop()).code, 0);
  });

  test('after the time that it is told to wait, which is never long', async () => {
    const server = await startServer({ env: { ...env, RATE_LIMIT: '1/hour' } });
    const client = clientOf(server);
    await client.audio.transcriptions.create({ file: await file(), model: 'tiny' });
    const error = await refusal(client.audio.transcriptions.create({ file: await file(), model: 'tiny' }));
    assert.equal(error.status, 429);
    assert.equal(error.type, 'rate_limit_error');
    assert.equal(error.code, 'rate_limit_exceeded');
    assert.equal(error.headers.get('retry-after'), '120');
    assert.equal(error.headers.get('x-should-retry'), null);
    assert.equal((await server.stop()).code, 0);
  });
});
