// What the server refuses before anybody works for it, and how it behaves when it is too much. Raw sockets: no client
// library sends what these tests send.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ambiguousHeads, assertRefused, dial, goodHead, isVersion1, say, upload } from '../lib/framing.mjs';
import { form, getJson, startServer, transcribe, until, wav } from '../lib/server.mjs';

describe('a head that can be read in two ways', () => {
  let server;
  before(async () => { server = await startServer(); });
  after(() => server.stop());

  for (const [name, text] of Object.entries(ambiguousHeads)) {
    test(name, async () => assertRefused(name, await say(server, text)));
  }

  test('a length that is no number', async () => {
    for (const length of ['+3', '3, 3', '0x3', '-3', '']) {
      const answer = await say(server, `${upload}Content-Length: ${length}\r\n\r\nabc`);
      assert.match(answer, /^HTTP\/1\.1 400 /, length);
    }
  });

  test('a coding that is not chunked', async () => {
    // libmicrohttpd 1.0 answers before we are asked.
    const expected = await isVersion1(server) ? /^HTTP\/1\.1 400 / : /^HTTP\/1\.1 501 /;
    assert.match(await say(server, `${upload}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`), expected);
  });

  test('and one of the right form', async () => {
    assert.match(await say(server, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 200 /);
    assert.match(await say(server, goodHead), /^HTTP\/1\.1 200 /);
  });

  test('is refused when it is too long, or has too many lines', async () => {
    const head = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n';
    const many = Array.from({ length: 99 }, (_, i) => `X-${i}: y\r\n`).join('');
    assert.match(await say(server, `${head}${many}\r\n`), /^HTTP\/1\.1 431 /);
    assert.match(await say(server, `${head}X: ${'y'.repeat(17000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
    assert.match(await say(server, `GET /${'y'.repeat(70000)} HTTP/1.1\r\nHost: a\r\n\r\n`), /^HTTP\/1\.1 414 /);
  });
});

describe('chunks', () => {
  let server;
  before(async () => { server = await startServer({ env: { DEFAULT_WHISPER_MODEL: '' } }); });
  after(() => server.stop());

  const head = 'PUT /models/default HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n';
  const smuggled = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';
  // 2 bytes, then 14.
  const good = '2\r\n{"\r\ne\r\nname":"tiny"} \r\n0\r\n\r\n';

  /** In one piece, and byte by byte. */
  const both = async (text) => {
    const line = dial(server);
    line.socket.setNoDelay(true);
    for (const byte of text) {
      line.send(byte);
      await sleep(2);
    }
    await Promise.race([line.end, sleep(2000)]);
    line.socket.destroy();
    return [await say(server, text), line.text];
  };

  test('of the right form are taken, and the connection is not used again', async () => {
    const extended = good.replace('2\r\n{', '0002;a=b\r\n{').replace('e\r\n', 'E;x="y"\r\n');
    // libmicrohttpd 1.0 takes the LF behind an extension for a byte of the chunk, and refuses what follows.
    const withExtension = await isVersion1(server) ? /^HTTP\/1\.1 400 / : /^HTTP\/1\.1 200 /;
    for (const [body, expected] of [[good, /^HTTP\/1\.1 200 /], [extended, withExtension]]) {
      for (const answer of await both(head + body + smuggled)) {
        assert.match(answer, expected);
        assert.match(answer, /\r\nConnection: close\r\n/i);
        assert.equal(answer.match(/HTTP\/1\.1/g).length, 1);
      }
    }
  });

  const malformed = {
    'a bare LF after a size': good.replace('e\r\n', 'e\n'),
    'a bare LF after the first size': good.replace('2\r\n', '2\n'),
    'a bare LF after an extension': good.replace('e\r\n', 'e;a\n'),
    'a bare LF within an extension': good.replace('e\r\n', 'e;a\nb\r\n'),
    'a bare LF after a chunk': good.replace('{"\r\n', '{"\n'),
    'a bare CR in an extension': good.replace('e\r\n', 'e;a\rb\r\n'),
    'an extension of absurd length': good.replace('e\r\n', `e;${'a'.repeat(3000)}\r\n`),
    'a size that overflows': good.replace('e\r\n', 'FFFFFFFFFFFFFFFF1\r\n'),
    'a size with 0x': good.replace('e\r\n', '0xe\r\n'),
    'a size with a plus': good.replace('e\r\n', '+e\r\n'),
    'a size with a minus': good.replace('e\r\n', '-e\r\n'),
    'a size with a space in front': good.replace('e\r\n', ' e\r\n'),
    'no size': good.replace('e\r\n', '\r\n'),
    'an extension without a size': good.replace('e\r\n', ';a\r\n'),
    'too many digits': good.replace('e\r\n', `${'0'.repeat(40)}e\r\n`),
    'no end of a chunk': good.replace('{"\r\n', '{"'),
    'a trailer': good.replace('0\r\n', '0\r\nX-A: b\r\n'),
    'a trailer that ends with a bare LF': good.replace('0\r\n', '0\r\nX-A: b\n'),
  };
  for (const [name, body] of Object.entries(malformed)) {
    test(`with ${name} are refused`, async () => {
      const answer = await say(server, head + body + smuggled);
      assert.match(answer, /^HTTP\/1\.1 4(00|13) /);
      assert.equal(answer.match(/HTTP\/1\.1/g).length, 1);
    });
  }

  test('that come in pieces hide no second request, well-formed or not', async () => {
    for (const name of ['a bare LF after a size', 'a bare LF within an extension', 'a bare LF after a chunk', 'a trailer that ends with a bare LF']) {
      const answer = (await both(head + malformed[name] + smuggled))[1];
      assert.equal(answer.match(/HTTP\/1\.1/g).length, 1, name);
      assert.match(answer, /\r\nConnection: close\r\n/i, name);
    }
  });

  test('of every size make up the same recording', { timeout: 120000 }, async () => {
    const boundary = 'x';
    const recording = wav({ seconds: 40, sample: (t) => 0.2 * Math.sin(900 * t * t) });
    const body = Buffer.concat([Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n`),
      recording, Buffer.from(`\r\n--${boundary}--\r\n`)]);
    for (const largest of [3, 50, 2000, 40000, 300000]) {
      const parts = [];
      const step = largest < 50 ? body.length / 50 : 0; // a few small ones among large ones
      for (let at = 0; at < body.length;) {
        const n = Math.min(body.length - at, 1 + Math.floor(Math.random() * (step && parts.length % 40 === 0 ? step : largest * (largest < 50 ? 20 : 1))));
        parts.push(Buffer.from(`${n.toString(16)}\r\n`), body.subarray(at, at + n), Buffer.from('\r\n'));
        at += n;
      }
      const whole = Buffer.concat([Buffer.from(`POST /transcribe HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=${boundary}\r\nTransfer-Encoding: chunked\r\n\r\n`),
        ...parts, Buffer.from('0\r\n\r\n')]);
      for (const piece of [whole.length, 1460, 997]) {
        const line = dial(server);
        for (let at = 0; at < whole.length; at += piece) {
          line.send(whole.subarray(at, at + piece));
          if (at / piece % 50 === 0) await sleep(1);
        }
        await Promise.race([line.end, sleep(20000)]);
        assert.match(line.text, /^HTTP\/1\.1 202 /, `${largest}, ${piece}`);
        const id = /"job_id":"([^"]+)"/.exec(line.text)[1];
        const kept = Buffer.from(await (await fetch(`${server.url}/jobs/${id}/audio`)).arrayBuffer());
        assert.ok(kept.equals(recording), `${largest}, ${piece}`);
      }
    }
  });
});

describe('connections of one client', () => {
  let server;
  before(async () => {
    server = await startServer({ env: { MAX_CONNECTIONS_PER_CLIENT: '4', TRUSTED_PROXIES: '192.0.2.1' } });
  });
  after(() => server.stop());

  test('are at most so many; the next is closed, the others live', async () => {
    const lines = Array.from({ length: 4 }, () => dial(server));
    await Promise.all(lines.map((line) => new Promise((resolve) => { line.socket.on('connect', resolve); })));
    for (const line of lines) line.send('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(async () => lines, (all) => all.every((line) => line.text.includes('alive')));
    const fifth = dial(server);
    fifth.send('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n');
    await fifth.end;
    assert.equal(fifth.text, '');
    lines[0].send('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(async () => lines[0].text, (text) => text.match(/alive/g).length === 2);
    // One goes, one may come.
    lines[1].socket.destroy();
    await until(async () => {
      const line = dial(server);
      line.send('GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      return (await line.end).text;
    }, (text) => text.includes('alive'));
    for (const line of lines) line.socket.destroy();
  });
});

describe('who dawdles', { concurrency: true }, () => {
  let server;
  before(async () => { server = await startServer(); });
  after(() => server.stop());

  // No JavaScript sets the size of a socket's buffer; with the usual one the kernel would read for us.
  const slowReader = `
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
s.connect(('127.0.0.1', int(sys.argv[1])))
s.sendall(('GET %s HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' % sys.argv[2]).encode())
begun = time.monotonic()
total = 0
try:
    while time.monotonic() < begun + 100:
        got = s.recv(200)
        if not got: break
        total += len(got)
        time.sleep(0.5)
except ConnectionError: pass
print(time.monotonic() - begun, total)
`;

  test('in reading is cut off, but not who has nothing to read', { timeout: 130000 }, async () => {
    const quiet = dial(server);
    quiet.send('GET /events HTTP/1.1\r\nHost: a\r\n\r\n');
    const { body } = await transcribe(server, form(wav({ seconds: 300 })));
    const child = spawn('python3', ['-c', slowReader, String(server.port), `/jobs/${body.job_id}/audio`]);
    let said = '';
    child.stdout.on('data', (data) => { said += data; });
    await once(child, 'close');
    const [seconds, bytes] = said.split(' ').map(Number);
    // Not even the kernel goes on with it.
    assert.ok(seconds > 25 && seconds < 75, `${seconds} s`);
    assert.ok(bytes > 5000 && bytes < 65536, `${bytes} bytes`);
    assert.ok(!quiet.closed);
    quiet.socket.destroy();
  });

  /** A byte now and then, until the server has enough; seconds that it took. */
  async function drip(head, every) {
    const begun = Date.now();
    const line = dial(server);
    line.send(head);
    const timer = setInterval(() => line.send('a'), every);
    await Promise.race([line.end, sleep(100000)]);
    clearInterval(timer);
    line.socket.destroy();
    assert.ok(line.closed, 'the connection is still open');
    return (Date.now() - begun) / 1000;
  }

  test('is cut off by a deadline for the whole, not by silence', { timeout: 130000 }, async () => {
    const slowly = [];
    for (let i = 0; i < 20; i++) slowly.push(drip('GET /hea', 1000));
    slowly.push(drip('POST /transcribe HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n'
      + 'Content-Length: 1000000\r\n\r\n', 1000));
    // Meanwhile the others are served.
    const { status } = await getJson(server, '/health/live');
    assert.equal(status, 200);
    const seconds = await Promise.all(slowly);
    const body = seconds.pop();
    assert.ok(Math.max(...seconds) < 36, `heads: ${Math.max(...seconds)} s`);
    assert.ok(Math.min(...seconds) > 25, `heads: ${Math.min(...seconds)} s`);
    assert.ok(body > 50 && body < 70, `body: ${body} s`);
  });
});

describe('too much at once', () => {
  let server;
  before(async () => { server = await startServer({ env: { LOG_LEVEL: 'INFO' } }); });
  after(() => server.stop());

  test('is refused at once, with a time to come back', { timeout: 120000 }, async (t) => {
    for (let i = 0; i < 3; i++) assert.equal((await transcribe(server, form(wav()))).status, 202);
    const lines = Array.from({ length: 1000 }, () => dial(server));
    await Promise.all(lines.map((line) => new Promise((resolve) => { line.socket.once('connect', resolve); })));
    const busy = () => lines.filter((line) => line.text.includes('HTTP/1.1 503')).length;
    // The machine may be fast: until some were refused.
    for (let round = 0; round < 20 && busy() === 0; round++) {
      for (const line of lines) line.text = '';
      for (const line of lines) line.send('GET /jobs?limit=500 HTTP/1.1\r\nHost: a\r\n\r\n');
      await until(async () => lines, (all) => all.every((line) => /"timestamp":|"total":/.test(line.text)));
    }
    if (busy() === 0) t.skip('this machine answers a thousand requests at once');
    for (const line of lines.filter((each) => each.text.includes('HTTP/1.1 503'))) {
      assert.match(line.text, /Retry-After: \d+\r\n/);
      assert.match(line.text, /"error_code":"busy"/);
    }
    for (const line of lines) line.socket.destroy();
    assert.equal((await getJson(server, '/jobs')).status, 200);
  });
});

describe('an upload', () => {
  let server;
  before(async () => { server = await startServer({ env: { MAX_FILE_SIZE_MB: '1' } }); });
  after(() => server.stop());

  test('that is too large is told so while it is being sent', async () => {
    const head = 'POST /transcribe HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n';
    const part = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n';
    assert.match(await say(server, `${head}Content-Length: 9000000\r\n\r\n`), /^HTTP\/1\.1 413 /);
    const piece = `10000\r\n${'a'.repeat(65536)}\r\n`;
    const chunks = `${part.length.toString(16)}\r\n${part}\r\n${piece.repeat(40)}`;
    assert.match(await say(server, `${head}Transfer-Encoding: chunked\r\n\r\n${chunks}`), /^HTTP\/1\.1 4(13|15) /);
  });

  test('with more parts or fields than anybody needs is refused', async () => {
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`field${i}`, 'x']));
    const answer = await transcribe(server, form(wav(), 'a.wav', many, { fieldsFirst: true }));
    assert.ok([400, 413].includes(answer.status), String(answer.status));
    const long = await transcribe(server, form(wav(), 'a.wav', { prompt: 'x'.repeat(70000) }, { fieldsFirst: true }));
    assert.equal(long.status, 413);
  });
});
