// The Wyoming door: what Home Assistant sends, and what nobody should.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort, getJson, hasModel, startServer, until } from '../lib/server.mjs';
import { Client, event } from '../lib/wyoming.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS', timeout: 900_000 };
const pcm = fs.readFileSync(path.join(root, 'tests/engine/golden/noisy.wav')).subarray(44); // 16 kHz, mono
const long = fs.readFileSync(path.join(root, 'tests/engine/golden/clean.wav')).subarray(44);
const said = /bring th[eo]se things.*from the store/i;

// The same sound in another form: each sample of the source `times`, in a frame of `channels`.
function remake({ width, channels = 1, times = 1, source = pcm }) {
  const count = source.length >> 1;
  const out = Buffer.alloc(count * times * width * channels);
  let at = 0;
  for (let i = 0; i < count; i++) {
    const s = source.readInt16LE(2 * i);
    for (let k = 0; k < times * channels; k++, at += width) {
      if (width === 1) out.writeUInt8((s >> 8) + 128, at);
      else if (width === 2) out.writeInt16LE(s, at);
      else out.writeInt32LE(s * 65536, at);
    }
  }
  return out;
}

describe('the Wyoming door', needsModel, () => {
  let server, port;
  const clients = [];
  const connect = async () => {
    const client = await Client.connect(port);
    clients.push(client);
    return client;
  };
  const jobs = async () => (await getJson(server, '/jobs?limit=500')).body;

  before(async () => {
    port = await freePort();
    server = await startServer({ env: { WYOMING_PORT: String(port), MAX_FILE_SIZE_MB: '4', AUTH: 'off', URL_FETCH: 'on' } });
    const about = await (await fetch(server.url)).json();
    for (const name of ['wyoming', 'url_submission']) assert.ok(about.features.includes(name), name);
    assert.equal(about.wyoming_port, port);
    assert.equal(about.auth, 'off');
  });
  after(async () => {
    const { code } = await server.stop();
    assert.equal(code, 0, server.log());
  });
  afterEach(async () => {
    clients.splice(0).forEach((client) => client.close());
    // Nothing that was said is kept: neither job nor recording.
    await until(jobs, (all) => all.total === 0);
    await until(() => server.stored(), (files) => files.length === 0);
  });

  test('tells its models and languages', async () => {
    const client = await connect();
    client.send('describe');
    const { type, data } = await client.read();
    assert.equal(type, 'info');
    assert.deepEqual(Object.keys(data).sort(), ['asr', 'handle', 'intent', 'mic', 'snd', 'tts', 'wake']);
    const [program] = data.asr;
    assert.equal(program.installed, true);
    for (const key of ['supports_transcript_streaming', 'requires_external_vad', 'prefers_auto_gain_enabled',
      'prefers_noise_reduction_enabled']) assert.equal(program[key], true, key);
    assert.equal(typeof program.attribution.name, 'string');
    assert.match(program.attribution.url, /^https:/);
    assert.match(program.version, /^\d+\./);
    assert.equal(program.models[0].name, 'tiny'); // the default comes first
    for (const model of program.models) {
      for (const key of ['name', 'description', 'version']) assert.equal(typeof model[key], 'string', key);
      assert.equal(model.installed, true);
      assert.deepEqual(Object.keys(model.attribution).sort(), ['name', 'url']);
    }
    const languages = Object.fromEntries(program.models.map((m) => [m.name, m.languages]));
    assert.ok(languages.tiny.includes('de') && languages.tiny.length === 99);
    if (languages['base.en']) assert.deepEqual(languages['base.en'], ['en']);
  });

  test('answers a ping with the same text', async () => {
    const client = await connect();
    client.send('ping', { text: 'grüß' });
    assert.deepEqual(await client.read(), { type: 'pong', data: { text: 'grüß' } });
    client.send('ping', { text: null });
    assert.deepEqual(await client.read(), { type: 'pong', data: { text: null } });
  });

  test('hears a command, and tells it in the order of a server that streams', async () => {
    const client = await connect();
    client.speak(pcm);
    const events = await client.readUntil('transcript-stop');
    const types = events.map((e) => e.type);
    assert.equal(types[0], 'transcript-start');
    assert.deepEqual(types.slice(-2), ['transcript', 'transcript-stop']);
    const chunks = events.filter((e) => e.type === 'transcript-chunk');
    assert.equal(chunks.length, events.length - 3);
    const whole = events.at(-2).data;
    assert.match(whole.text, said);
    assert.equal(whole.text, whole.text.trim());
    assert.equal(whole.language, 'en');
    assert.equal(chunks.map((e) => e.data.text).join('').trim(), whole.text);
    // The connection is good for another one.
    client.speak(pcm);
    assert.match((await client.readUntil('transcript')).at(-1).data.text, said);
  });

  for (const [name, form] of [
    ['8 bits', { width: 1 }], ['32 bits', { width: 4 }], ['stereo', { width: 2, channels: 2 }],
    ['48 kHz', { width: 2, times: 3 }], ['more than fits into memory', { width: 4, channels: 2, times: 3 }],
  ]) {
    test(`hears sound of ${name}`, async () => {
      const client = await connect();
      client.speak(remake(form), {
        rate: 16000 * (form.times ?? 1), width: form.width, channels: form.channels ?? 1, piece: 40000,
      });
      const { type, data } = (await client.readUntil('transcript')).at(-1);
      assert.equal(type, 'transcript');
      assert.match(data.text, said);
    });
  }

  test('tells what it has heard while it goes on hearing', async () => {
    const client = await connect();
    client.speak(Buffer.concat(Array(11).fill(long)), { piece: 60000 }); // two minutes: several windows
    const events = [];
    let running = 0;
    for (;;) {
      const e = await client.read();
      events.push(e.type);
      if (e.type === 'transcript-chunk') {
        const { jobs: [job] } = await jobs();
        running += job?.status === 'processing';
        client.text = (client.text ?? '') + e.data.text;
      }
      if (e.type === 'transcript') assert.equal(client.text.trim(), e.data.text);
      if (e.type === 'transcript-stop') break;
    }
    assert.ok(running > 1, `${running} of ${events.length} while it ran`);
    assert.equal(events[0], 'transcript-start');
    assert.equal(events.filter((type) => type === 'transcript-start').length, 1);
    assert.deepEqual(events.slice(-2), ['transcript', 'transcript-stop']);
  });

  test('keeps a connection on which nothing is said longer than it waits within an utterance', async () => {
    const client = await connect();
    client.send('describe');
    await client.readUntil('info');
    await new Promise((resolve) => { setTimeout(resolve, 33_000); });
    client.send('ping', {});
    assert.deepEqual(await client.read(), { type: 'pong', data: { text: null } });
    client.speak(pcm);
    assert.match((await client.readUntil('transcript')).at(-1).data.text, said);
  });

  test('hears sound of 24 bits and many channels, and passes over what the newest clients add', async () => {
    const samples = Buffer.alloc((pcm.length >> 1) * 3 * 6);
    for (let i = 0; i < pcm.length >> 1; i++)
      for (let k = 0; k < 6; k++) samples.writeIntLE(pcm.readInt16LE(2 * i) * 256, (i * 6 + k) * 3, 3);
    const client = await connect();
    client.speak(samples, { width: 3, channels: 6, piece: 36000, language: 'en',
      ask: { name: 'tiny', context: { conversation: 7 }, vad_sensitivity: 'relaxed' } });
    assert.match((await client.readUntil('transcript')).at(-1).data.text, said);
  });

  test('hears sound without an announcement, in whatever pieces', async () => {
    const client = await connect();
    const format = { rate: 16000, width: 2, channels: 1, timestamp: null };
    const bytes = Buffer.concat([event('audio-chunk', format, pcm), event('audio-stop', { timestamp: null })]);
    for (let at = 0; at < bytes.length; at += 3001) client.raw(bytes.subarray(at, at + 3001));
    assert.match((await client.readUntil('transcript')).at(-1).data.text, said);
  });

  test('takes data in the line, as the first servers wrote it', async () => {
    const client = await connect();
    client.raw('{"type":"transcribe","data":{"language":"en-US","name":"tiny"}}\n');
    client.raw(`{"type":"audio-chunk","data":{"rate":16000,"width":2,"channels":1},"payload_length":${pcm.length}}\n`);
    client.raw(pcm);
    client.raw('{"type":"audio-stop"}\n');
    assert.match((await client.readUntil('transcript')).at(-1).data.text, said);
  });

  test('expects the names that it is told of', async () => {
    const client = await connect();
    client.speak(pcm, { ask: { transcript_names: ['Stella', 7, 'Bob'], transcript_terms: ['lights'] } });
    assert.match((await client.readUntil('transcript')).at(-1).data.text, /things/i);
  });

  test('twenty clients at once', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, connect));
    all.forEach((client) => client.speak(pcm));
    for (const client of all) assert.match((await client.readUntil('transcript')).at(-1).data.text, said);
  });

  test('a client that hangs up is not worked for', async () => {
    const client = await connect();
    client.speak(Buffer.concat(Array(6).fill(long)), { piece: 60000 });
    await until(jobs, (all) => all.total === 1);
    client.close();
    await until(jobs, (all) => all.total === 0);
  });

  const refused = [
    ['no JSON', 'GET / HTTP/1.1\r\n\r\n', 'corrupt'],
    ['no object', '[1]\n', 'corrupt'],
    ['no type', '{"data":{}}\n', 'corrupt'],
    ['a type without end', `{"type":"${'x'.repeat(100)}"}\n`, 'corrupt'],
    ['data that is no object', '{"type":"describe","data":5}\n', 'corrupt'],
    ['a negative length', '{"type":"audio-chunk","payload_length":-1}\n', 'corrupt'],
    ['a length that is a text', '{"type":"audio-chunk","data_length":"9"}\n', 'corrupt'],
    ['a length beyond all numbers', '{"type":"audio-chunk","payload_length":99999999999999999999}\n', 'corrupt'],
    ['a payload beyond the limit', '{"type":"audio-chunk","payload_length":1048577}\n', 'too_large'],
    ['data beyond the limit', '{"type":"transcribe","data_length":1048577}\n', 'too_large'],
    ['data that is no JSON', '{"type":"transcribe","data_length":4}\nnope', 'corrupt'],
    ['a line without end', 'x'.repeat(70000), 'too_large'],
    ['sound without a format', event('audio-chunk', {}, Buffer.alloc(4)), 'invalid'],
    ['a width of five', event('audio-start', { rate: 16000, width: 5, channels: 1 }), 'invalid'],
    ['no rate', event('audio-start', { rate: 0, width: 2, channels: 1 }), 'invalid'],
    ['an end without sound', event('audio-stop', { timestamp: null }), 'invalid'],
    ['a format that changes', Buffer.concat([
      event('audio-chunk', { rate: 16000, width: 2, channels: 1 }, Buffer.alloc(4)),
      event('audio-chunk', { rate: 8000, width: 2, channels: 1 }, Buffer.alloc(4))]), 'invalid'],
    ['an unknown model', Buffer.concat([event('transcribe', { name: 'enormous' }),
      event('audio-chunk', { rate: 16000, width: 2, channels: 1 }, Buffer.alloc(4)), event('audio-stop')]), 'invalid'],
    ['a language that is cut within a letter', Buffer.concat([event('transcribe', { language: 'ü'.repeat(60) }),
      event('audio-chunk', { rate: 16000, width: 2, channels: 1 }, Buffer.alloc(4)), event('audio-stop')]), 'invalid'],
    ['an unknown language', Buffer.concat([event('transcribe', { language: 'elvish' }),
      event('audio-chunk', { rate: 16000, width: 2, channels: 1 }, Buffer.alloc(4)), event('audio-stop')]), 'invalid'],
  ];
  for (const [what, bytes, code] of refused) {
    test(`refuses ${what}, and says so`, async () => {
      const client = await connect();
      client.raw(bytes);
      const { type, data } = await client.read();
      assert.equal(type, 'error');
      assert.equal(data.code, code, data.text);
      assert.ok(data.text.length > 10);
      assert.equal(await client.read(), null); // Home Assistant waits for the end, not for an error
    });
  }

  test('sound without end is refused where an upload would be', async () => {
    const client = await connect();
    const format = { rate: 16000, width: 2, channels: 1 };
    for (let i = 0; i < 5; i++) client.send('audio-chunk', format, Buffer.alloc(1 << 20));
    const { type, data } = await client.read();
    assert.equal(type, 'error');
    assert.match(data.text, /larger than 4 MB/);
    assert.equal(await client.read(), null);
  });

  // A reset in front of the error would take it away from who is still sending.
  test('who goes on sending hears why nobody listens', async () => {
    const format = { rate: 16000, width: 2, channels: 1 };
    const piece = event('audio-chunk', format, Buffer.alloc(65536));
    for (let turn = 0; turn < 5; turn++) {
      const client = await connect();
      client.socket.pause();
      for (let i = 0; i < 200; i++) client.raw(piece);
      await sleep(200);
      client.socket.resume();
      const { type } = (await client.read()) ?? {};
      assert.equal(type, 'error', `turn ${turn}`);
      client.close();
    }
  });

  test('passes over events of other services', async () => {
    const client = await connect();
    client.send('synthesize', { text: 'hello' });
    client.send('run-satellite');
    client.send('ping', { text: 'x' });
    assert.equal((await client.read()).type, 'pong');
  });

  test('too many connections are told so', async () => {
    const all = await Promise.all(Array.from({ length: 64 }, connect));
    all.forEach((client) => client.send('ping', { text: '' }));
    for (const client of all) assert.equal((await client.read()).type, 'pong');
    for (let turn = 0; turn < 20; turn++) {
      const client = await connect();
      client.send('describe');
      client.raw(Buffer.alloc(200000, 'x'));
      assert.equal((await client.read())?.data.code, 'busy', `turn ${turn}`);
      assert.equal(await client.read(), null);
    }
  });
});

test('what was said before a crash is forgotten, and the port is off by default', needsModel, async () => {
  const port = await freePort();
  const env = { WYOMING_PORT: String(port) };
  const first = await startServer({ env });
  const client = await Client.connect(port);
  client.speak(Buffer.concat(Array(6).fill(long)), { piece: 60000 });
  await until(async () => (await getJson(first, '/jobs')).body, (all) => all.total === 1);
  await first.kill();
  client.close();
  const second = await startServer({ folder: first.folder, env });
  await until(async () => (await getJson(second, '/jobs')).body, (all) => all.total === 0);
  assert.equal((await second.stop()).code, 0, second.log());
  const third = await startServer();
  await assert.rejects(Client.connect(port), /ECONNREFUSED/);
  assert.equal((await third.stop()).code, 0);
});
