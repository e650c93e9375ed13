// What programs send that were written for other services: their requests, byte by byte
// where that matters, and the recordings that browsers and telephones make.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { getJson, hasModel, startServer, tempFolder } from '../lib/server.mjs';
import { parseSrt } from '../lib/subtitles.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const speech = fs.readFileSync(path.join(root, 'engine/golden/clean.wav'));
const pcm = speech.subarray(44);
const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const needsFfmpeg = { skip: spawnSync('ffmpeg', ['-version']).error ? 'there is no ffmpeg' : false };
const said = /stew for dinner/;

/** The speech, made by ffmpeg into a pipe: like a browser, it cannot go back to write a length. */
const made = new Map();
function recorded(...args) {
  const key = args.join(' ');
  if (!made.has(key)) {
    const { stdout, stderr, status } = spawnSync('ffmpeg',
      ['-nostdin', '-v', 'error', '-i', path.join(root, 'engine/golden/clean.wav'), ...args, 'pipe:1'],
      { maxBuffer: 64 << 20 });
    assert.equal(status, 0, String(stderr));
    made.set(key, stdout);
  }
  return made.get(key);
}

/** A WAV file whose header says so many bytes of sound. */
function wavSaying(bytes) {
  const copy = Buffer.from(speech);
  copy.writeUInt32LE(bytes === 0 ? 0 : bytes, 40);
  copy.writeUInt32LE(bytes === 0 ? 0 : bytes, 4);
  return copy;
}

/**
 * A form as text: parts of [headers, bytes]. `chunked`: without a length, as streams are sent.
 */
async function post(url, parts, { chunked = false, headers = {} } = {}) {
  const boundary = '----WebKitFormBoundary7MA4YWxkTrZu0gW';
  const pieces = parts.flatMap(([head, bytes]) => [
    Buffer.from(`--${boundary}\r\n${head.join('\r\n')}\r\n\r\n`), Buffer.from(bytes), Buffer.from('\r\n')]);
  pieces.push(Buffer.from(`--${boundary}--\r\n`));
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}`, ...headers },
    body: chunked ? Readable.toWeb(Readable.from(pieces)) : Buffer.concat(pieces),
    ...(chunked ? { duplex: 'half' } : {}),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) };
}

const field = (name, value) => [[`Content-Disposition: form-data; name="${name}"`], value];
const part = (filename, type, bytes) => [
  [`Content-Disposition: form-data; name="file"${filename === null ? '' : `; filename="${filename}"`}`,
    ...(type ? [`Content-Type: ${type}`] : [])], bytes];

describe('programs that know other services', needsModel, () => {
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
  const transcribe = (parts, more) => post(`${server.url}/v1/audio/transcriptions`, parts, more);
  const hears = async (parts, more) => {
    const answer = await transcribe(parts, more);
    assert.equal(answer.status, 200, answer.text);
    assert.match(answer.json().text, said);
    return answer.json();
  };

  test('Open WebUI: a model and a file, and a header of its own', async () => {
    await hears([field('model', 'whisper-1'), part('0b1f0a2e.wav', null, speech)],
      { headers: { Authorization: 'Bearer none', 'User-Agent': 'python-requests/2.32.3', 'X-OpenWebUI-User-Name': 'Ann' } });
    await hears([field('model', 'whisper-1'), field('language', 'en'), part('0b1f0a2e.wav', null, speech)]);
  });

  test('LibreChat: a stream without a length', needsFfmpeg, async () => {
    await hears([part('audio.webm', 'audio/webm', recorded('-c:a', 'libopus', '-f', 'webm')), field('model', 'whisper-1'),
      field('language', 'en')], { chunked: true });
  });

  test('Obsidian: a blob first, then a language that is empty', needsFfmpeg, async () => {
    const blob = recorded('-c:a', 'libopus', '-f', 'webm');
    await hears([part('2026-11-29T10-00-00.webm', 'audio/webm;codecs=opus', blob), field('model', 'whisper-1'),
      field('language', '')]);
    await hears([part('blob', 'audio/webm', blob), field('model', 'gpt-4o-mini-transcribe'), field('language', 'en'),
      field('prompt', ''), field('temperature', '')]);
  });

  test('n8n: a temperature as text', async () => {
    await hears([field('model', 'whisper-1'), field('language', 'en'), field('temperature', '0.2'),
      part('data.wav', 'audio/x-wav', speech)]);
  });

  test('Home Assistant: a prompt, languages with their odd codes', async () => {
    await hears([field('model', 'gpt-4o-mini-transcribe'), field('language', 'en'), field('prompt', 'Turn on the lights.'),
      field('response_format', 'json'), part('a.wav', 'application/octet-stream', speech)]);
    for (const [language, code] of [['fil', 'tl'], ['no', 'no'], ['en-US', 'en'], ['zh-CN', 'zh']]) {
      const { status, text } = await transcribe([field('model', 'gpt-4o-transcribe'), field('language', language),
        part('a.wav', null, speech)]);
      assert.equal(status, 200, text);
      assert.equal((await jobs())[0].language, code);
    }
  });

  test('every name that is used for a model', async () => {
    for (const model of ['whisper-1', 'gpt-4o-transcribe', 'gpt-4o-mini-transcribe', 'gpt-4o-mini-transcribe-2025-12-15',
      'gpt-4o-transcribe-diarize', 'tiny', 'whisper-tiny', 'openai/whisper-tiny', 'Systran/faster-whisper-tiny',
      'faster-whisper-tiny']) await hears([field('model', model), part('a.wav', null, speech)]);
  });

  describe('recordings as they come', () => {
    const kinds = {
      'WebM of a browser, without a length': ['a.webm', ['-c:a', 'libopus', '-f', 'webm', '-live', '1']],
      'WebM of a browser with clusters of a second': ['a.webm', ['-c:a', 'libopus', '-f', 'webm', '-cluster_time_limit', '1000']],
      'Ogg with Opus': ['a.ogg', ['-c:a', 'libopus', '-f', 'ogg']],
      'MP4 in fragments, as Safari makes it': ['a.mp4', ['-c:a', 'aac', '-f', 'mp4', '-movflags', 'frag_keyframe+empty_moov+default_base_moof']],
      'AAC as ADTS': ['a.aac', ['-c:a', 'aac', '-f', 'adts']],
      'MP3 called WAV': ['a.wav', ['-c:a', 'libmp3lame', '-f', 'mp3']],
      'FLAC without a name': ['', ['-c:a', 'flac', '-f', 'flac']],
      'WAV of ffmpeg into a pipe': ['a.wav', ['-f', 'wav']],
      'WAV of 24 bits in stereo at 18.9 kHz': ['a.wav', ['-c:a', 'pcm_s24le', '-ac', '2', '-ar', '18900', '-f', 'wav']],
      'WAV of 8 bits at 11 kHz': ['a.wav', ['-c:a', 'pcm_u8', '-ar', '11000', '-f', 'wav']],
    };
    for (const [what, [name, args]] of Object.entries(kinds))
      test(what, needsFfmpeg, () => hears([field('model', 'whisper-1'), part(name, null, recorded(...args))]));

    test('M4A with its index at the end', needsFfmpeg, async () => {
      const file = path.join(tempFolder(), 'a.m4a');
      const { status } = spawnSync('ffmpeg', ['-nostdin', '-v', 'error', '-i', path.join(root, 'engine/golden/clean.wav'),
        '-c:a', 'aac', file]);
      assert.equal(status, 0);
      await hears([field('model', 'whisper-1'), part('Voice 001.m4a', 'audio/x-m4a', fs.readFileSync(file))]);
    });

    for (const size of [0, 0xFFFFFFFF, 0x7FFFFFFF])
      test(`WAV that says ${size} bytes of sound`, () =>
        hears([field('model', 'whisper-1'), part('a.wav', 'audio/wav', wavSaying(size))]));

    test('without a file name at all', async () => {
      await hears([field('model', 'whisper-1'), part(null, 'application/octet-stream', speech)]);
      await hears([field('model', 'whisper-1'), part(null, null, speech)]);
      assert.equal((await jobs())[0].original_filename, 'recording');
    });

    test('half of a WebM that a browser was still writing', needsFfmpeg, async () => {
      const whole = recorded('-c:a', 'libopus', '-f', 'webm', '-cluster_time_limit', '1000');
      const answer = await transcribe([field('model', 'whisper-1'), part('a.webm', null, whole.subarray(0, whole.length >> 1))]);
      assert.equal(answer.status, 200, answer.text);
      assert.ok(answer.json().text.length > 10);
    });
  });

  describe('Bazarr', () => {
    /** As requests encodes `files={'audio_file': bytes}`. */
    const send = (where, params) => post(`${server.url}${where}?${new URLSearchParams(params)}`,
      [[['Content-Disposition: form-data; name="audio_file"; filename="audio_file"'], pcm]],
      { headers: { 'User-Agent': 'Subliminal/2.1', 'Accept-Encoding': 'gzip, deflate', Accept: '*/*' } });

    // The languages that it asks for, by the code, and the name that it understands.
    const languages = {
      en: 'english', zh: 'chinese', de: 'german', es: 'spanish', ru: 'russian', ko: 'korean', fr: 'french', ja: 'japanese',
      pt: 'portuguese', tr: 'turkish', pl: 'polish', ca: 'catalan', nl: 'dutch', ar: 'arabic', sv: 'swedish', it: 'italian',
      id: 'indonesian', hi: 'hindi', fi: 'finnish', vi: 'vietnamese', he: 'hebrew', uk: 'ukrainian', el: 'greek', ms: 'malay',
      cs: 'czech', ro: 'romanian', da: 'danish', hu: 'hungarian', ta: 'tamil', no: 'norwegian', th: 'thai', ur: 'urdu',
      hr: 'croatian', bg: 'bulgarian', lt: 'lithuanian', la: 'latin', mi: 'maori', ml: 'malayalam', cy: 'welsh', sk: 'slovak',
      te: 'telugu', fa: 'persian', lv: 'latvian', bn: 'bengali', sr: 'serbian', az: 'azerbaijani', sl: 'slovenian',
      kn: 'kannada', et: 'estonian', mk: 'macedonian', br: 'breton', eu: 'basque', is: 'icelandic', hy: 'armenian',
      ne: 'nepali', mn: 'mongolian', bs: 'bosnian', kk: 'kazakh', sq: 'albanian', sw: 'swahili', gl: 'galician',
      mr: 'marathi', pa: 'punjabi', si: 'sinhala', km: 'khmer', sn: 'shona', yo: 'yoruba', so: 'somali', af: 'afrikaans',
      oc: 'occitan', ka: 'georgian', be: 'belarusian', tg: 'tajik', sd: 'sindhi', gu: 'gujarati', am: 'amharic',
      yi: 'yiddish', lo: 'lao', uz: 'uzbek', fo: 'faroese', ht: 'haitian creole', ps: 'pashto', tk: 'turkmen',
      nn: 'nynorsk', mt: 'maltese', sa: 'sanskrit', lb: 'luxembourgish', my: 'myanmar', bo: 'tibetan', tl: 'tagalog',
      mg: 'malagasy', as: 'assamese', tt: 'tatar', haw: 'hawaiian', ln: 'lingala', ha: 'hausa', ba: 'bashkir',
      jw: 'javanese', su: 'sundanese',
    };

    test('asks for the language, with and without the name of the film', async () => {
      for (const more of [{}, { video_file: '/films/Ünder & Über (2026).mkv' }]) {
        const answer = await send('/detect-language', { encode: 'false', ...more });
        assert.equal(answer.status, 200, answer.text);
        const { language_code: code, detected_language: name } = answer.json();
        assert.equal(languages[code], name);
        assert.equal(code, 'en');
      }
    });

    test('asks for subtitles of its own language, or in English', async () => {
      for (const [task, language] of [['transcribe', 'en'], ['translate', 'de']]) {
        const answer = await send('/asr', { task, language, output: 'srt', encode: 'false', video_file: '/films/a.mkv' });
        assert.equal(answer.status, 200, answer.text);
        const cues = parseSrt(answer.text);
        assert.ok(cues.length > 1);
        assert.ok(cues.every(([from, to, text]) => to - from <= 7001 && text.split('\n').length <= 2), answer.text);
        assert.equal((await jobs())[0].task, task);
      }
    });

    test('knows every language by the code that is taken here', async () => {
      // What is wrong is said before anything is heard: the end of the form is not needed.
      const all = await Promise.all(Object.keys(languages).map(async (language) => {
        const body = new FormData();
        body.append('other', 'x');
        const { status } = await fetch(`${server.url}/asr?task=transcribe&language=${language}&output=srt&encode=false`,
          { method: 'POST', body });
        return [language, status];
      }));
      assert.deepEqual(all.filter(([, status]) => status !== 422), []); // there is no file; the language is no reason
      const body = new FormData();
      body.append('other', 'x');
      assert.equal((await fetch(`${server.url}/asr?language=xx`, { method: 'POST', body })).status, 400);
    });
  });

  test('the documents of whisper-asr-webservice: curl with a type of its own, and every parameter', async () => {
    const file = path.join(tempFolder(), 'talk.wav');
    fs.writeFileSync(file, speech);
    const curl = (query) => spawnSync('curl', ['-s', '-X', 'POST', '-H', 'content-type: multipart/form-data',
      '-F', `audio_file=@${file}`, `${server.url}/asr?${query}`], { encoding: 'utf8' }).stdout;
    const json = JSON.parse(curl('output=json'));
    assert.deepEqual(Object.keys(json), ['text', 'segments', 'language']);
    assert.match(json.text, said);
    const text = curl('output=text&task=transcribe&language=en&initial_prompt=Stew.&vad_filter=true&word_timestamps=true' +
      '&encode=true&diarize=false&min_speakers=1&max_speakers=2');
    assert.match(text, said);
    assert.ok(!text.startsWith('{'));
    const words = JSON.parse(curl('output=json&word_timestamps=true&vad_filter=false'));
    assert.ok(words.segments[0].words[0].word);
  });
});
