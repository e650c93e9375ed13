// The native door: every route, and everything that it refuses.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import {
  form, getJson, hasEnded, hasModel, hold, raw, startServer, tempFolder, tone, transcribe, until,
  waitForJob, wav,
} from '../lib/server.mjs';
import { wanted as onS3 } from '../lib/s3.mjs';

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const unknown = '01a20eeb-3efb-7eac-bbbd-01910af80753';
const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };

function isError(answer, status, code) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.error_code, code);
  assert.match(answer.body.detail, /^[A-Z0-9"].{10,}/s);
  assert.ok(!Number.isNaN(Date.parse(answer.body.timestamp)));
}

describe('the native door', needsModel, () => {
  let server;
  before(async () => { server = await startServer({ env: { MAX_FILE_SIZE_MB: '2', WORKER_CONCURRENCY: '1' } }); });
  after(async () => {
    const { code } = await server.stop();
    assert.equal(code, 0, server.log());
  });

  // What one test leaves must not keep the next one waiting.
  afterEach(async () => {
    const { body } = await getJson(server, '/jobs?limit=500');
    for (const job of body.jobs) await getJson(server, `/jobs/${job.id}`, { method: 'DELETE' });
  });

  async function accepted(body, query) {
    const answer = await transcribe(server, body, query);
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    return answer.body;
  }

  describe('the root', () => {
    test('describes the service to a program', async () => {
      await until(() => fetch(`${server.url}/health/ready`), (r) => r.status === 200);
      const { status, body, headers } = await getJson(server, '/');
      assert.equal(status, 200);
      assert.equal(body.service, 'Whisper Transcriber');
      assert.equal(body.status, 'online');
      assert.match(body.version, /^\d+\.\d+\.\d+$/);
      for (const name of ['transcription', 'search', 'webhooks', 'tus', 'openai', 'asr']) assert.ok(body.features.includes(name), name);
      for (const name of ['wyoming', 'url_submission']) assert.ok(!body.features.includes(name), name);
      assert.equal(body.auth, 'off');
      assert.equal(body.wyoming_port, null);
      assert.ok(body.models.includes('tiny'));
      assert.equal(body.default_model, 'tiny');
      assert.equal(body.languages.de, 'german');
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
      assert.match(headers.get('content-security-policy'), /frame-ancestors 'none'/);
      assert.equal(headers.get('referrer-policy'), 'no-referrer');
    });

    test('gives a browser the page, compressed, and 304 when it has it', async () => {
      const headers = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };
      const first = await fetch(`${server.url}/`, { headers });
      assert.equal(first.status, 200);
      assert.match(first.headers.get('content-type'), /^text\/html/);
      assert.equal(first.headers.get('content-encoding'), 'gzip');
      assert.match(await first.text(), /<!doctype html>/i);
      const again = await fetch(`${server.url}/`, {
        headers: { ...headers, 'if-none-match': first.headers.get('etag') },
      });
      assert.equal(again.status, 304);
      const plain = await raw(server, 'GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n' +
        'Connection: close\r\n\r\n');
      assert.match(plain, /<!doctype html>/i);
    });

    test('answers HEAD without a body', async () => {
      const text = await raw(server, 'HEAD /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      assert.match(text, /^HTTP\/1\.1 200 .*Content-Length: \d+.*\r\n\r\n$/s);
    });
  });

  describe('an upload', () => {
    test('is accepted with exactly the promised body', async () => {
      const answer = await transcribe(server, form(wav(), 'Talk 1.wav', { model: 'tiny' }));
      assert.equal(answer.status, 202);
      assert.deepEqual(Object.keys(answer.body).sort(),
        ['created_at', 'filename', 'job_id', 'model', 'status']);
      assert.match(answer.body.job_id, uuid);
      assert.equal(answer.body.status, 'pending');
      assert.equal(answer.body.filename, 'Talk 1.wav');
      assert.equal(answer.body.model, 'tiny');
      assert.ok(Math.abs(Date.parse(answer.body.created_at) - Date.now()) < 60000);
      assert.equal(answer.headers.get('location'), `/jobs/${answer.body.job_id}`);
    });

    test('takes its options from fields on either side of the file, and from the query', async () => {
      for (const [body, query] of [
        [form(wav(), 'a.wav', { language: 'german', task: 'translate' }), ''],
        [form(wav(), 'a.wav', { language: 'de', task: 'translate' }, { fieldsFirst: true }), ''],
        [form(wav(), 'a.wav'), '?language=DE&task=translate&unknown=1'],
        [form(wav(), 'a.wav', { language: 'de' }), '?language=fr&task=translate'],
      ]) {
        const { job_id: id } = await accepted(body, query);
        const { body: job } = await getJson(server, `/jobs/${id}`);
        assert.equal(job.language, 'de');
        assert.equal(job.task, 'translate');
      }
    });

    test('takes every option that is documented', async () => {
      await accepted(form(wav(), 'a.wav', {
        model: 'tiny', language: 'auto', task: 'transcribe', prompt: 'Größe, naïve, 漢字',
        temperature: '0.2', condition_on_previous_text: 'true', compression_ratio_threshold: '2.4',
        log_prob_threshold: '-1', no_speech_threshold: '0.6', word_timestamps: 'true',
        beam_size: '2', patience: '1.5', length_penalty: '1', best_of: '2', temperature_increment_on_fallback: 'none',
        repetition_penalty: '1.1', no_repeat_ngram_size: '3', max_new_tokens: '100', seed: '7',
        suppress_blank: 'false', suppress_tokens: '-1,50000', without_timestamps: 'no', max_initial_timestamp: '2',
        prefix: 'So', hotwords: 'stew', prompt_reset_on_temperature: '0.4', mode: 'sequential', batch_size: '4',
        clip_timestamps: '0,10,20', vad_filter: 'True', vad_parameters: '{"threshold": 0.4, "speech_pad_ms": 200}',
        vad_min_silence_duration_ms: '500', multilingual: 'off', language_detection_segments: '2',
        language_detection_threshold: '0.5', prepend_punctuations: '(', append_punctuations: ').',
      }));
      await accepted(form(wav(), 'a.wav'), '?temperature=0,0.5&initial_prompt=Hm&logprob_threshold=off');
    });

    test('is refused with a sentence when an option is wrong, wherever it stands', async () => {
      for (const [fields, status, code, word] of [
        [{ model: 'enormous' }, 400, 'invalid', /enormous/],
        [{ model: 'large-v3' }, 400, 'model_not_found', /Models on this server: .*tiny/],
        [{ model: '../../etc/passwd' }, 400, 'invalid', /model/],
        [{ language: 'klingon' }, 400, 'invalid', /klingon/],
        [{ task: 'sing' }, 400, 'invalid', /sing/],
        [{ temperature: 'warm' }, 400, 'invalid', /temperature/],
        [{ temperature: '7' }, 400, 'invalid', /temperature/],
        [{ condition_on_previous_text: 'maybe' }, 400, 'invalid', /condition_on_previous_text/],
        [{ word_timestamps: 'perhaps' }, 400, 'invalid', /word_timestamps.*true or false/],
        [{ beam_size: '0' }, 400, 'invalid', /beam_size.*1 to 8/],
        [{ beam_size: '5.5' }, 400, 'invalid', /beam_size.*whole number/],
        [{ vad_parameters: '{"treshold": 1}' }, 400, 'invalid', /treshold.*vad_parameters/],
        [{ clip_timestamps: '5,1' }, 400, 'invalid', /clip_timestamps.*rising/],
        [{ mode: 'quick' }, 400, 'invalid', /mode.*sequential, batched/],
        [{ langauge: 'de' }, 400, 'invalid', /no parameter "langauge".*"language"/],
        [{ word_timestamp: 'true' }, 400, 'invalid', /did you mean "word_timestamps"/],
      ]) {
        for (const fieldsFirst of [true, false]) {
          const answer = await transcribe(server, form(wav(), 'a.wav', fields, { fieldsFirst }));
          isError(answer, status, code);
          assert.match(answer.body.detail, word);
        }
        const query = `?${new URLSearchParams(fields)}`;
        isError(await transcribe(server, form(wav()), query), status, code);
      }
    });

    test('is taken with names that are like none of ours', async () => {
      await accepted(form(wav(), 'a.wav', { colour: 'green', fil: 'x', x: 'y' }), '?utm_source=mail');
    });

    test('is refused without a file, with an empty one, or in another part', async () => {
      isError(await transcribe(server, form(null, '', { model: 'tiny' })), 400, 'file_missing');
      isError(await transcribe(server, form(Buffer.alloc(0), 'empty.wav')), 400, 'empty_file');
      const other = new FormData();
      other.append('audio', new Blob([wav()]), 'b.wav');
      isError(await transcribe(server, other), 400, 'invalid');
    });

    test('is refused when the file is no recording, whatever it is called', async () => {
      for (const [bytes, what] of [
        ['just a text, renamed', /text/],
        ['<!doctype html><html></html>', /web page/],
        ['#EXTM3U\nhttp://127.0.0.1/secret', /playlist/],
        ['%PDF-1.7\n%\xE2', /PDF/],
        [Buffer.from('504b030414000000', 'hex'), /ZIP/],
        [Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.alloc(5000)]), /picture/],
      ]) {
        const answer = await transcribe(server, form(bytes, 'song.mp3'));
        isError(answer, 415, 'not_media');
        assert.match(answer.body.detail, what);
      }
    });

    test('is refused when it is no form', async () => {
      for (const [type, body, status] of [
        ['application/json', '{}', 415],
        ['application/x-www-form-urlencoded', 'file=x', 415],
        ['multipart/form-data', 'x', 400],
        ['multipart/form-data; boundary=XX', 'no boundary in here', 400],
        ['multipart/form-data; boundary=XX', '--XX\r\nContent-Disposition: form-data; name="file"; ' +
          'filename="a.wav"\r\n\r\nRIFF cut short', 400],
      ]) {
        const answer = await getJson(server, '/transcribe',
          { method: 'POST', headers: { 'content-type': type }, body });
        isError(answer, status, status === 415 ? 'unsupported' : 'invalid');
      }
    });

    test('keeps any name for display and none for paths', async () => {
      for (const [sent, shown] of [
        ['../../etc/passwd', 'passwd'],
        ['C:\\fakepath\\talk.wav', 'talk.wav'],
        ['a"b\'c;d=e.wav', 'a"b\'c;d=e.wav'],
        ['line\r\nbreak\u0007.wav', 'line__break_.wav'],
        ['Gespräch 漢字 🎙.wav', 'Gespräch 漢字 🎙.wav'],
        ['%00%2e%2e%2fx.wav', '%00%2e%2e%2fx.wav'],
        ['..', '..'],
        [`${'ü'.repeat(300)}.wav`, null],
      ]) {
        const { job_id: id, filename } = await accepted(form(wav(), sent));
        if (shown) assert.equal(filename, shown);
        assert.ok(Buffer.byteLength(filename) <= 255);
        const { body: job } = await getJson(server, `/jobs/${id}`);
        assert.equal(job.original_filename, filename);
        assert.ok(!job.filename.includes('/') && job.filename.startsWith(id));
      }
      for (const name of server.stored()) assert.match(path.basename(name), /^[0-9a-f-]{36}/);
    });

    test('is refused before its body is read when Content-Length says too much', async () => {
      const text = await raw(server, 'POST /transcribe HTTP/1.1\r\nHost: a\r\n' +
        'Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: 1000000000\r\n\r\n--XX');
      assert.match(text, /^HTTP\/1\.1 413 /);
      assert.match(text, /\r\nConnection: close\r\n/);
      assert.match(text, /"error_code":"too_large"/);
    });

    test('is not told to continue when it is refused', async () => {
      const text = await raw(server, 'POST /transcribe HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n' +
        'Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: 1000000000\r\n\r\n');
      assert.match(text, /^HTTP\/1\.1 413 /);
      const wrong = await raw(server, 'POST /transcribe?model=enormous HTTP/1.1\r\nHost: a\r\n' +
        'Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=XX\r\n' +
        'Content-Length: 1000\r\n\r\n');
      assert.match(wrong, /^HTTP\/1\.1 400 /);
    });

    test('is refused while it streams when it had not said how long it is', async () => {
      const request = http.request(`${server.url}/transcribe`, {
        method: 'POST', headers: { 'content-type': 'multipart/form-data; boundary=XX' },
      });
      const answered = once(request, 'response');
      request.on('error', () => {});
      request.write('--XX\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n');
      request.write(wav().subarray(0, 44));
      const block = Buffer.alloc(65536, 1);
      let response;
      answered.then(([r]) => { response = r; });
      // Endless, until the server says no.
      while (!response) {
        if (!request.write(block)) await Promise.race([once(request, 'drain'), answered]);
        else await new Promise(setImmediate);
      }
      assert.equal(response.statusCode, 413);
      assert.equal(response.headers.connection, 'close');
      request.destroy();
    });

    test('that is broken off leaves nothing behind', { skip: onS3 && 'what has come is not seen in a bucket' }, async () => {
      const parts = () => server.stored().filter((name) => name.endsWith('.part')).length;
      await until(parts, (n) => n === 0);
      const socket = net.connect(server.port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write('POST /transcribe HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n' +
        'Content-Type: multipart/form-data; boundary=XX\r\n\r\n--XX\r\n' +
        'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n');
      socket.write(wav({ seconds: 10 }));
      await until(parts, (n) => n === 1);
      socket.destroy();
      await until(parts, (n) => n === 0);
    });

    test('may come with many others at once', async () => {
      const names = Array.from({ length: 20 }, (_, i) => `parallel-${i}.wav`);
      const answers = await Promise.all(names.map((name) => accepted(form(wav(), name))));
      assert.equal(new Set(answers.map((a) => a.job_id)).size, names.length);
      const { body } = await getJson(server, '/jobs?search=parallel-&limit=500');
      assert.equal(body.total, names.length);
    });

    test('is refused when a page of another site sends it', async () => {
      const send = (origin) => getJson(server, '/transcribe',
        { method: 'POST', headers: { origin }, body: form(wav()) });
      isError(await send('http://evil.example'), 403, 'cross_origin');
      isError(await send('null'), 403, 'cross_origin');
      assert.equal((await send(server.url)).status, 202);
    });
  });

  describe('jobs', () => {
    test('are listed newest first, in pages, by status and by name', async () => {
      const ids = [];
      for (const name of ['needle-1.wav', 'needle-2.wav', 'needle-3.wav']) {
        ids.unshift((await accepted(form(wav(), name))).job_id);
      }
      const { body: all } = await getJson(server, '/jobs?search=needle-');
      assert.deepEqual(all.jobs.map((j) => j.id), ids);
      assert.deepEqual([all.total, all.limit, all.offset], [3, 50, 0]);
      const { body: page } = await getJson(server, '/jobs?search=needle-&limit=1&offset=1');
      assert.deepEqual(page.jobs.map((j) => j.id), [ids[1]]);
      assert.equal(page.total, 3);
      for (const status of ['pending', 'processing', 'completed', 'failed', 'cancelled']) {
        const { body } = await getJson(server, `/jobs?status=${status}`);
        assert.ok(body.jobs.every((j) => j.status === status));
      }
    });

    test('are not listed for values that mean nothing', async () => {
      for (const query of ['limit=0', 'limit=501', 'limit=x', 'limit=1e3', 'offset=-1', 'status=done']) {
        isError(await getJson(server, `/jobs?${query}`), 400, 'invalid');
      }
      assert.equal((await getJson(server, '/jobs?limit=500')).status, 200);
    });

    test('have every field that is promised', async () => {
      const { job_id: id } = await accepted(form(wav(), 'fields.wav'));
      const { body } = await getJson(server, `/jobs/${id}`);
      for (const key of ['id', 'status', 'filename', 'original_filename', 'model_used', 'language',
        'transcript', 'created_at', 'started_at', 'completed_at', 'file_size', 'duration',
        'progress', 'error_message']) {
        assert.ok(key in body, key);
      }
      assert.equal(body.id, id);
      assert.equal(body.file_size, wav().length);
    });

    test('that do not exist are 404, whatever is asked of them', async () => {
      for (const id of [unknown, 'x', '..%2f..%2fetc', '%27%20OR%201=1', 'A'.repeat(400)]) {
        for (const [method, suffix] of [['GET', ''], ['DELETE', ''], ['GET', '/download'],
          ['POST', '/cancel'], ['POST', '/retry']]) {
          isError(await getJson(server, `/jobs/${id}${suffix}`, { method }), 404, 'not_found');
        }
      }
    });

    test('can be deleted, with their recording', async () => {
      const { job_id: id } = await accepted(form(wav(), 'gone.wav'));
      const { status, body } = await getJson(server, `/jobs/${id}`, { method: 'DELETE' });
      assert.equal(status, 200);
      assert.deepEqual(body, { message: 'Job deleted successfully', job_id: id });
      isError(await getJson(server, `/jobs/${id}`), 404, 'not_found');
      isError(await getJson(server, `/jobs/${id}`, { method: 'DELETE' }), 404, 'not_found');
      await until(() => server.stored().filter((name) => name.includes(id)), (n) => n.length === 0);
    });

    test('can be cancelled once, and then retried', async () => {
      const goOn = await hold(server); // so that it is still there when it is cancelled
      const { job_id: id } = await accepted(form(wav({ seconds: 60, sample: tone }), 'long.wav', { vad_filter: 'false' }));
      const { status, body } = await getJson(server, `/jobs/${id}/cancel`, { method: 'POST' });
      assert.equal(status, 200);
      assert.equal(body.status, 'cancelled');
      isError(await getJson(server, `/jobs/${id}/cancel`, { method: 'POST' }), 409, 'conflict');
      isError(await getJson(server, `/jobs/${id}/download`), 409, 'not_finished');
      const again = await getJson(server, `/jobs/${id}/retry`, { method: 'POST' });
      assert.equal(again.status, 200);
      assert.ok(['pending', 'processing'].includes(again.body.status));
      isError(await getJson(server, `/jobs/${id}/retry`, { method: 'POST' }), 409, 'conflict');
      goOn();
    });

    test('are downloaded in five formats under a safe name', async () => {
      const name = 'Ein "Wort"; §1.wav';
      const { job_id: id } = await accepted(form(wav(), name, { language: 'en' }));
      const job = await waitForJob(server, id);
      assert.equal(job.status, 'completed', job.error_message);
      assert.equal(job.progress, 100);
      assert.equal(typeof job.transcript, 'string');
      assert.ok(Math.abs(job.duration - 1) < 0.05);
      assert.ok(Array.isArray(job.warnings));
      assert.ok(Math.abs(job.quality.audio_seconds - 1) < 0.05);
      assert.ok(Array.isArray(job.quality.dropped));
      for (const [format, type, begins] of [
        ['txt', 'text/plain', /^/], ['srt', 'application/x-subrip', /^/],
        ['vtt', 'text/vtt', /^WEBVTT\n\n/], ['tsv', 'text/tab-separated-values', /^start\tend\ttext\n/],
        ['json', 'application/json', /^\{/],
      ]) {
        const answer = await fetch(`${server.url}/jobs/${id}/download?format=${format}`);
        assert.equal(answer.status, 200);
        assert.ok(answer.headers.get('content-type').startsWith(type), answer.headers.get('content-type'));
        assert.equal(answer.headers.get('content-disposition'),
          `attachment; filename="Ein _Wort_; _1.${format}"; filename*=UTF-8''Ein%20%22Wort%22%3B%20%C2%A71.${format}`);
        assert.match(await answer.text(), begins);
      }
      const plain = await fetch(`${server.url}/jobs/${id}/download`);
      assert.match(plain.headers.get('content-type'), /^text\/plain/);
      isError(await getJson(server, `/jobs/${id}/download?format=docx`), 400, 'invalid');
    });

    test('give subtitles to order', { timeout: 300_000 }, async () => {
      const speech = fs.readFileSync(new URL('../engine/golden/clean.wav', import.meta.url));
      const { job_id: id } = await accepted(form(speech, 'talk.wav', { language: 'en', max_line_count: '1' }));
      const job = await waitForJob(server, id);
      assert.equal(job.status, 'completed', job.error_message);
      assert.ok(job.quality.text_seconds > 5);
      const lines = async (query) => {
        const answer = await fetch(`${server.url}/jobs/${id}/download?${query}`);
        assert.equal(answer.status, 200);
        return (await answer.text()).split('\n\n').filter((cue) => cue.includes('-->'))
          .map((cue) => cue.split('\n').filter((line) => !line.includes('-->') && !/^\d+$/.test(line)));
      };
      const usual = await lines('format=srt'); // as the upload asked
      assert.ok(usual.every((cue) => cue.length === 1 && cue[0].length <= 42));
      const small = await lines('format=vtt&max_line_width=20&max_line_count=2');
      assert.ok(small.flat().every((line) => line.length <= 20));
      assert.ok(small.some((cue) => cue.length === 2));
      assert.ok((await lines('format=srt&raw_subtitles=true')).some((cue) => cue[0].length > 42));
      isError(await getJson(server, `/jobs/${id}/download?format=srt&max_line_width=wide`), 400, 'invalid');
      const refused = await getJson(server, `/jobs/${id}/download?format=vtt&highlight_words=true`);
      isError(refused, 409, 'no_word_times');
      assert.match(refused.body.detail, /word_timestamps/);
      await lines('format=txt&highlight_words=true'); // concerns subtitles alone
    });

    test('that cannot be decoded fail with a sentence', async () => {
      const broken = Buffer.concat([wav().subarray(0, 20), Buffer.alloc(3000, 0xA5)]);
      const { job_id: id } = await accepted(form(broken, 'broken.wav'));
      const job = await waitForJob(server, id);
      assert.equal(job.status, 'failed');
      assert.match(job.error_message, /\w+ \w+/);
      isError(await getJson(server, `/jobs/${id}/download`), 409, 'not_finished');
    });
  });

  describe('progress', () => {
    const connect = (id, options) => new WebSocket(`${server.url.replace('http', 'ws')}/ws/jobs/${id}`, options);

    async function refused(ws) {
      const [, response] = await once(ws, 'unexpected-response');
      response.resume();
      ws.on('error', () => {});
      ws.terminate();
      return response.statusCode;
    }

    test('comes at once and until the end, then the socket closes in good order', async () => {
      const { job_id: id } = await accepted(form(wav({ seconds: 3 }), 'watched.wav', { language: 'en' }));
      const ws = connect(id);
      const messages = [];
      ws.on('message', (data) => messages.push(JSON.parse(data)));
      const [code] = await once(ws, 'close');
      assert.equal(code, 1000);
      for (const m of messages) {
        assert.deepEqual(Object.keys(m).sort(), ['job_id', 'message', 'progress', 'status', 'timestamp']);
        assert.equal(m.job_id, id);
        assert.ok(m.progress >= 0 && m.progress <= 100);
      }
      const last = messages.at(-1);
      assert.equal(last.status, 'completed');
      assert.equal(last.progress, 100);
      assert.equal(messages.filter((m) => hasEnded(m)).length, 1);
      for (let i = 1; i < messages.length; i++) {
        assert.ok(messages[i].progress >= messages[i - 1].progress);
      }
    });

    test('of a job that has ended is its end, and a close', async () => {
      const { job_id: id } = await accepted(form(wav(), 'over.wav', { language: 'en' }));
      await waitForJob(server, id);
      const ws = connect(id);
      const messages = [];
      ws.on('message', (data) => messages.push(JSON.parse(data)));
      const [code] = await once(ws, 'close');
      assert.equal(code, 1000);
      assert.equal(messages.length, 1);
      assert.equal(messages[0].status, 'completed');
    });

    test('tells of a cancellation', async () => {
      const goOn = await hold(server);
      const { job_id: id } = await accepted(form(wav({ seconds: 60, sample: tone }), 'watched-long.wav', { vad_filter: 'false' }));
      const ws = connect(id);
      const messages = [];
      ws.on('message', (data) => messages.push(JSON.parse(data)));
      const closed = once(ws, 'close');
      await once(ws, 'message');
      await getJson(server, `/jobs/${id}/cancel`, { method: 'POST' });
      goOn();
      const [code] = await closed;
      assert.equal(code, 1000);
      assert.equal(messages.at(-1).status, 'cancelled');
    });

    test('is refused before the upgrade for an unknown job and for a page of another site', async () => {
      assert.equal(await refused(connect(unknown)), 404);
      assert.equal(await refused(connect('x%2fy')), 404);
      const { job_id: id } = await accepted(form(wav(), 'origin.wav'));
      assert.equal(await refused(connect(id, { origin: 'http://evil.example' })), 403);
      const plain = await getJson(server, `/ws/jobs/${id}`);
      isError(plain, 426, 'upgrade_required');
    });

    test('survives many sockets that come and go', async () => {
      const goOn = await hold(server);
      const { job_id: id } = await accepted(form(wav({ seconds: 60, sample: tone }), 'crowd.wav', { vad_filter: 'false' }));
      const sockets = Array.from({ length: 60 }, () => connect(id));
      await Promise.all(sockets.map((ws) => once(ws, 'message')));
      sockets.forEach((ws, i) => (i % 2 ? ws.terminate() : ws.ping()));
      const closed = Promise.all(sockets.filter((_, i) => i % 2 === 0).map((ws) => once(ws, 'close')));
      await getJson(server, `/jobs/${id}`, { method: 'DELETE' });
      goOn();
      for (const [code] of await closed) assert.equal(code, 1000);
    });

    // What no client library sends.
    async function hostile(id, ...frames) {
      const socket = net.connect(server.port, '127.0.0.1');
      await once(socket, 'connect');
      let bytes = Buffer.alloc(0);
      socket.on('data', (data) => { bytes = Buffer.concat([bytes, data]); });
      socket.on('error', () => {});
      const closed = once(socket, 'close');
      socket.write(`GET /ws/jobs/${id} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n` +
        'Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
      for (const frame of frames) socket.write(Buffer.from(frame));
      await closed;
      const head = bytes.indexOf('\r\n\r\n');
      assert.match(bytes.subarray(0, head).toString(), /101 .*s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/s);
      // The last frame must be a close frame; what stands before it are text frames.
      let at = head + 4;
      let code;
      while (at < bytes.length) {
        const length = bytes[at + 1] < 126 ? bytes[at + 1] : bytes.readUInt16BE(at + 2);
        const start = at + (bytes[at + 1] < 126 ? 2 : 4);
        if ((bytes[at] & 15) === 8) code = length >= 2 ? bytes.readUInt16BE(start) : 1005;
        at = start + length;
      }
      return code;
    }

    test('closes hostile frames with the right code', async () => {
      const goOn = await hold(server); // so that it does not end meanwhile
      const { job_id: id } = await accepted(form(wav({ seconds: 60, sample: tone }), 'hostile.wav', { vad_filter: 'false' }));
      const mask = [1, 2, 3, 4];
      assert.equal(await hostile(id, [0x81, 0x01, 0x61]), 1002, 'not masked');
      assert.equal(await hostile(id, [0xF1, 0x80, ...mask]), 1002, 'reserved bits');
      assert.equal(await hostile(id, [0x83, 0x80, ...mask]), 1002, 'reserved opcode');
      assert.equal(await hostile(id, [0x09, 0x80, ...mask]), 1002, 'fragmented ping');
      assert.equal(await hostile(id, [0x80, 0x80, ...mask]), 1002, 'continuation of nothing');
      assert.equal(await hostile(id, [0x81, 0x81, ...mask, 0xFF ^ 1]), 1007, 'not UTF-8');
      assert.equal(await hostile(id, [0x82, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, ...mask, 7]), 1009, 'too big');
      assert.equal(await hostile(id, [0x88, 0x82, ...mask, 0x03 ^ 1, 0xE8 ^ 2]), 1000, 'close');
      goOn();
    });
  });

  describe('requests', () => {
    test('that nobody serves are 404 or 405 with Allow', async () => {
      isError(await getJson(server, '/nothing/here'), 404, 'not_found');
      isError(await getJson(server, '/assets/..%2f..%2fetc%2fpasswd'), 404, 'not_found');
      const wrong = await getJson(server, '/jobs', { method: 'PUT', body: 'x' });
      isError(wrong, 405, 'method_not_allowed');
      assert.equal(wrong.headers.get('allow'), 'GET, HEAD, DELETE');
      const both = await getJson(server, `/jobs/${unknown}`, { method: 'PATCH', body: 'x' });
      assert.equal(both.headers.get('allow'), 'GET, HEAD, DELETE');
    });

    test('with ambiguous framing are refused and the connection closed', async () => {
      const smuggled = 'GET /health/live HTTP/1.1\r\nHost: smuggled\r\n\r\n';
      for (const head of [
        'Content-Length: 5\r\nContent-Length: 5\r\n',
        'Content-Length: 5\r\nContent-Length: 6\r\n',
        'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
        'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n',
        'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n',
        'Content-Length: +5\r\n',
        'Content-Length: 5, 5\r\n',
        'Content-Length: -5\r\n',
        'Content-Length: 99999999999999999999999\r\n',
        'Transfer-Encoding: gzip, chunked\r\n',
        'Transfer-Encoding: xchunked\r\n',
      ]) {
        const text = await raw(server, `POST /jobs HTTP/1.1\r\nHost: a\r\n${head}\r\n0\r\n\r\n${smuggled}`);
        assert.match(text, /^HTTP\/1\.1 (400|413|501) /, head);
        assert.doesNotMatch(text, /HTTP\/1\.1 200|alive/, head);
      }
    });

    test('with NUL bytes and broken escapes are refused', async () => {
      for (const line of ['/jobs/%00', '/jobs/%', '/jobs/%zz', '/jobs?search=%00', '/jobs?search=%c3']) {
        const text = await raw(server, `GET ${line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
        assert.match(text, /^HTTP\/1\.1 400 /, line);
      }
      // The library ends such a line at the NUL; what is left is no path of ours.
      const text = await raw(server, 'GET /jo\0bs HTTP/1.1\r\nHost: a\r\n\r\n');
      assert.doesNotMatch(text, /^HTTP\/1\.1 200/);
    });

    test('carry an id, the caller\'s if it is fit for a log', async () => {
      const id = async (given) => (await fetch(`${server.url}/health/live`,
        { headers: given ? { 'x-request-id': given } : {} })).headers.get('x-request-id');
      assert.match(await id(), uuid);
      assert.equal(await id('trace-42.a_B'), 'trace-42.a_B');
      assert.match(await id('not fit "for" logs'), uuid);
      assert.match(await id('a'.repeat(65)), uuid);
      await fetch(`${server.url}/jobs`, { headers: { 'x-request-id': 'find-me-in-the-log' } });
      await until(() => server.log(), (log) => /find-me-in-the-log 127\.0\.0\.1 GET \/jobs -> 200/.test(log));
    });

    test('are limited in the size of their head and their fields', async () => {
      const head = await raw(server, `GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${'a'.repeat(200000)}\r\n\r\n`);
      assert.match(head, /^(HTTP\/1\.1 (413|431) |$)/);
      const field = await transcribe(server, form(wav(), 'a.wav', { prompt: 'x'.repeat(70000) }, { fieldsFirst: true }));
      isError(field, 413, 'too_large');
      const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`f${i}`, 'x']));
      isError(await transcribe(server, form(wav(), 'a.wav', many, { fieldsFirst: true })), 413, 'too_large');
      isError(await getJson(server, '/jobs?' + 'a=1&'.repeat(101)), 400, 'bad_request');
      isError(await getJson(server, `/jobs/${unknown}/cancel`, { method: 'POST', body: 'x'.repeat(100000) }), 413, 'too_large');
    });

    test('may follow each other on one connection', async () => {
      const one = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';
      const text = await raw(server, [one + one, one, 'GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n']);
      assert.equal(text.match(/HTTP\/1\.1 200/g).length, 4);
    });
  });
});

describe('the start', () => {
  test('teaches with --help and refuses what it does not know', async () => {
    const { spawnSync } = await import('node:child_process');
    const run = (args, env) => spawnSync(process.env.WT_BINARY, ['serve', ...args],
      { cwd: tempFolder(), env: { PATH: process.env.PATH, ...env }, encoding: 'utf8' });
    const help = run(['--help']);
    assert.equal(help.status, 0);
    for (const flag of ['--host', '--port', '--model']) assert.match(help.stdout, new RegExp(flag));
    const unknownFlag = run(['--prot', '1']);
    assert.equal(unknownFlag.status, 2);
    assert.match(unknownFlag.stderr, /--prot/);
    assert.equal(run(['--port']).status, 2);
    assert.equal(run(['--port', '70000']).status, 2);
    const setting = run([], { PORT: 'eighty' });
    assert.equal(setting.status, 2);
    assert.match(setting.stderr, /PORT/);
    const auth = run([], { AUTH: 'perhaps' });
    assert.equal(auth.status, 2);
    assert.match(auth.stderr, /AUTH/);
    const host = run(['--host', '192.0.2.1']);
    assert.equal(host.status, 1);
    assert.match(host.stderr, /192\.0\.2\.1/);
  });

  test('says in one sentence that the port is in use', async () => {
    const other = net.createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address();
    await assert.rejects(startServer({ env: { PORT: String(port) } }),
      new RegExp(`ended with 1: [^]*port ${port} on 127\\.0\\.0\\.1 is in use`));
    other.close();
  });

  test('warns when everybody may come in', async () => {
    const server = await startServer({ args: ['--host=0.0.0.0'], env: { AUTH: 'off' } });
    await until(() => server.log(), (log) => /WARNING .*ANYONE/.test(log));
    assert.equal((await server.stop()).code, 0);
  });

  test('opens its log again on SIGUSR1', async () => {
    const folder = tempFolder();
    const file = path.join(folder, 'app.log');
    const server = await startServer({ folder, env: { LOG_FILE: file } });
    fs.renameSync(file, `${file}.1`);
    process.kill(server.pid, 'SIGUSR1');
    await until(() => fs.existsSync(file) && fs.readFileSync(file, 'utf8'), (text) => /log reopened/.test(text));
    assert.equal((await server.stop()).code, 0);
  });
});

describe('the allowed formats', needsModel, () => {
  test('are judged by content, not by name', async () => {
    const server = await startServer({ env: { ALLOWED_AUDIO_FORMATS: 'mp3, flac' } });
    const answer = await transcribe(server, form(wav(), 'really.mp3'));
    isError(answer, 415, 'unsupported');
    assert.match(answer.body.detail, /wav.*mp3, flac/);
    assert.equal((await server.stop()).code, 0);
  });
});

describe('the rate limit', () => {
  let server;
  before(async () => { server = await startServer({ env: { RATE_LIMIT: '3/hour' } }); });
  after(() => server.stop());
  const upload = (headers) => getJson(server, '/transcribe',
    { method: 'POST', headers, body: form(wav(), 'a.wav', { task: 'nonsense' }) });

  test('counts uploads per client and says when to come back', async () => {
    const statuses = [];
    let last;
    for (let i = 0; i < 4; i++) {
      last = await upload();
      statuses.push(last.status);
    }
    assert.deepEqual(statuses.map((s) => s === 429), [false, false, false, true]);
    isError(last, 429, 'rate_limited');
    assert.ok(Number(last.headers.get('retry-after')) > 0);
    assert.equal((await getJson(server, '/jobs')).status, 200);
  });

  test('believes the address that a trusted proxy gives', async () => {
    assert.notEqual((await upload({ 'x-forwarded-for': '203.0.113.7' })).status, 429);
    assert.notEqual((await upload({ 'x-forwarded-for': '203.0.113.7, 203.0.113.8' })).status, 429);
    assert.equal((await upload({ 'x-forwarded-for': '203.0.113.9, 127.0.0.1' })).status === 429, false);
    assert.equal((await upload()).status, 429);
  });
});

describe('a stop', needsModel, () => {
  test('closes sockets with 1001 and ends with 0', async () => {
    const server = await startServer({ env: { WORKER_CONCURRENCY: '1' } });
    const goOn = await hold(server);
    const { body } = await transcribe(server, form(wav({ seconds: 120, sample: tone }), 'long.wav', { vad_filter: 'false' }));
    const ws = new WebSocket(`${server.url.replace('http', 'ws')}/ws/jobs/${body.job_id}`);
    await once(ws, 'message');
    const closed = once(ws, 'close');
    const stopped = server.stop();
    goOn();
    const { code } = await stopped;
    assert.equal(code, 0, server.log());
    assert.equal((await closed)[0], 1001);
  });
});
