// Two services behind nginx and Caddy, with the files of deploy/ and a certificate: what comes
// through, what does not, and what a client is told when the proxy itself has to answer.
// WT_LONG=1: an upload of 500 MB and all of testssl.sh.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { certify } from '../lib/certificates.mjs';
import { blocks, root, runBlock } from '../lib/document.mjs';
import { kinds, place, sleep } from '../lib/faults.mjs';
import { makeKey } from '../lib/keys.mjs';
import { host, proxies, read, startProxy } from '../lib/proxy.mjs';
import { binary, children, freePort, hasEnded, startServer, tempFolder, until, wav } from '../lib/server.mjs';

const long = process.env.WT_LONG === '1';
const { skip } = kinds.find(({ name }) => name === 'postgresql');

let at;
let certificate;
let key;
let two; // the services
let ports;

const start = (i) => startServer({ folder: at.folder, env: { ...at.env, PORT: String(ports[i]), AUTH: 'key' } });

before(async () => {
  if (skip) return;
  certificate = certify(host);
  at = await place('postgresql');
  ports = [await freePort(), await freePort()];
  two = [await start(0)];
  two.push(await start(1));
  key = makeKey(at.folder, { scope: 'admin' }, at.env);
}, { timeout: 60000 });

after(() => Promise.all((two ?? []).map((service) => service.stop())));

/** One address for each thing that is tried, so that no limit of one meets another. */
let address = 10;
const elsewhere = () => `127.0.0.${address++}`;

const secure = (front) => ({ host: '127.0.0.1', port: front.port, servername: host, ca: certificate.ca });

/** A request through the proxy: {status, headers, raw, body}. `body` may be an async iterable. */
function ask(front, where, { method = 'GET', headers = {}, body, from = '127.0.0.1', plain = false, anonymous = false } = {}) {
  const options = {
    ...(plain ? { host: '127.0.0.1', port: front.plain } : secure(front)), path: where, method, agent: false, localAddress: from,
    headers: { Host: `${host}:${front.port}`, ...(!anonymous && { 'X-API-Key': key }), ...headers },
  };
  return new Promise((resolve, reject) => {
    const request = (plain ? http : https).request(options, async (response) => {
      let text = '';
      try {
        for await (const piece of response.setEncoding('utf8')) text += piece;
      } catch (error) { reject(error); return; }
      resolve({ status: response.statusCode, headers: response.headers, raw: response.rawHeaders, body: text });
    });
    request.on('error', reject);
    if (!body || Buffer.isBuffer(body)) request.end(body);
    else {
      (async () => {
        for await (const piece of body) if (!request.write(piece)) await once(request, 'drain');
        request.end();
      })().catch(reject);
    }
  });
}

const json = (answer) => JSON.parse(answer.body);
const formOf = (bytes, fields = {}) => Buffer.concat([
  ...Object.entries(fields).map(([name, value]) => Buffer.from(`--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)),
  Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'), bytes, Buffer.from('\r\n--b--\r\n'),
]);
const multipart = { 'Content-Type': 'multipart/form-data; boundary=b' };
const upload = (front, bytes, { where = '/transcribe', from = elsewhere(), fields, headers, ...more } = {}) => ask(front, where, {
  method: 'POST', from, body: formOf(bytes, fields), headers: { ...multipart, 'Content-Length': formOf(bytes, fields).length, ...headers }, ...more,
});
const job = async (front, id) => json(await ask(front, `/jobs/${id}`, { from: elsewhere() }));

/** What every answer must carry, once, whoever gave it. */
function checkHeaders({ status, raw, headers }, what) {
  const count = (name) => raw.filter((text, i) => i % 2 === 0 && text.toLowerCase() === name).length;
  for (const name of ['strict-transport-security', 'content-security-policy', 'x-content-type-options', 'x-frame-options', 'referrer-policy',
    'cross-origin-resource-policy', 'cross-origin-opener-policy', 'cache-control']) {
    assert.equal(count(name), 1, `${name}, ${what}, ${status}: ${JSON.stringify(headers)}`);
  }
  assert.doesNotMatch(headers.server ?? '', /[0-9]/, `a version in an answer: ${what}`);
}

function checkRefusal(answer, status, code, what) {
  assert.equal(answer.status, status, `${what}: ${answer.body}`);
  checkHeaders(answer, what);
  assert.match(answer.headers['content-type'], /^application\/json/, what);
  const { detail, error_code: said, timestamp } = json(answer);
  assert.equal(said, code, what);
  assert.ok(detail && !Number.isNaN(Date.parse(timestamp)), answer.body);
}

/** Peak of the memory of a proxy and its processes, MB. */
const memory = (front) => Math.max(...[front.pid, ...children(front.pid)].map((pid) => (
  Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024)));

/** A form with a WAV of that many MB in it, made as it is sent. */
function* soundOf(megabytes) {
  const piece = Buffer.alloc(1 << 20);
  const head = wav({ seconds: 0 });
  head.writeUInt32LE(36 + (megabytes << 20), 4);
  head.writeUInt32LE(megabytes << 20, 40);
  const [first, last] = [formOf(head).subarray(0, -9), Buffer.from('\r\n--b--\r\n')];
  yield first;
  for (let i = 0; i < megabytes; i++) yield piece;
  yield last;
}
const sizeOf = (megabytes) => [...soundOf(0)].reduce((sum, piece) => sum + piece.length, 0) + megabytes * (1 << 20);

/** testssl.sh: its findings of a severity that is one. */
function testssl(front, ...args) {
  const out = path.join(front.folder, `testssl-${Date.now()}.json`);
  const run = spawnSync('testssl', ['--quiet', '--warnings', 'off', '--color', '0', '--ip', '127.0.0.1', '--add-ca', certificate.authority,
    '--jsonfile', out, ...args, front.url], { encoding: 'utf8', input: '', env: { ...process.env, LC_ALL: 'C' } });
  const all = fs.existsSync(out) ? JSON.parse(fs.readFileSync(out, 'utf8')) : [];
  // WARN: what testssl.sh could not find out here.
  return { all, bad: all.filter(({ severity }) => ['LOW', 'MEDIUM', 'HIGH', 'CRITICAL', 'FATAL'].includes(severity)), output: run.stdout + run.stderr };
}
const noTestssl = spawnSync('which', ['testssl']).status !== 0 && 'testssl.sh is not installed';

// What it finds that is not for a proxy to mend, and why.
const excused = {
  nginx: { DNS_CAArecord: 'a record of the domain, which a test has none of' },
  caddy: {
    DNS_CAArecord: 'the same',
    TLS_session_ticket: 'a week is what Go writes into every ticket; the keys that open them are new every 12 hours, four of them are kept',
  },
};

for (const proxy of proxies) {
  describe(`behind ${proxy.name}`, { skip: skip || proxy.skip, timeout: long ? 2400000 : 300000 }, () => {
    let front;
    before(async () => { front = await startProxy(proxy.name, ports, { tls: certificate }); });
    after(() => front?.stop());

    test('its own check finds nothing', () => {
      const { status, stdout, stderr } = front.check();
      assert.equal(status, 0, stderr);
      assert.doesNotMatch(stdout + stderr, /\[(warn|error)\]|"level":"(warn|error)".*(deprecated|not formatted)/);
    });

    test('the page and answers come with every security header once, over HTTP/1.1 and HTTP/2', async () => {
      const page = await ask(front, '/', { headers: { Accept: 'text/html' } });
      assert.equal(page.status, 200);
      assert.match(page.body, /<title>/);
      checkHeaders(page, 'page');
      for (const where of ['/jobs', '/nowhere', '/openapi.json']) checkHeaders(await ask(front, where), where);
      checkHeaders(await ask(front, '/jobs', { anonymous: true }), '401');
      const session = http2.connect(front.url, { ...secure(front), createConnection: () => tls.connect({ ...secure(front), ALPNProtocols: ['h2'] }) });
      const stream = session.request({ ':path': '/jobs', 'x-api-key': key });
      const [headers] = await once(stream, 'response');
      assert.equal(headers[':status'], 200);
      session.destroy();
    });

    test('TLS 1.2 and 1.3, nothing older, and no weak cipher', async () => {
      const shake = (more) => new Promise((resolve) => {
        const socket = tls.connect({ ...secure(front), ...more }, () => { resolve(socket.getProtocol()); socket.destroy(); });
        socket.on('error', ({ code }) => resolve(code));
      });
      assert.equal(await shake({ minVersion: 'TLSv1.3' }), 'TLSv1.3');
      assert.equal(await shake({ maxVersion: 'TLSv1.2' }), 'TLSv1.2');
      assert.match(await shake({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }), /PROTOCOL_VERSION|ECONNRESET|EPROTO/);
      for (const weak of ['AES128-SHA', 'ECDHE-ECDSA-AES128-SHA256', 'DHE-RSA-AES128-GCM-SHA256']) {
        assert.match(await shake({ maxVersion: 'TLSv1.2', ciphers: `${weak}:@SECLEVEL=0` }), /HANDSHAKE|ECONNRESET|EPROTO/, weak);
      }
    });

    test('what comes without TLS is led on, and what may hold a key is refused', async () => {
      const led = await ask(front, '/jobs?limit=3', { plain: true, anonymous: true });
      assert.deepEqual([led.status, led.headers.location], [301, `${front.url}/jobs?limit=3`]);
      assert.equal((await upload(front, wav(), { plain: true })).status, 403);
    });

    test('a large upload is stored nowhere on the way, and one that is too large is refused before it is sent', async (t) => {
      const megabytes = long ? 499 : 48;
      const stores = fs.readdirSync(front.folder).filter((name) => name.startsWith('temp-'));
      if (proxy.name === 'nginx') assert.ok(stores.length >= 2);
      // What wanted to store a piece would find no folder, and say 500.
      for (const name of stores) fs.rmdirSync(path.join(front.folder, name));
      await upload(front, wav()); // what the first one takes once
      const [began, held] = [performance.now(), memory(front)];
      const answer = await ask(front, '/transcribe', { method: 'POST', body: soundOf(megabytes), from: elsewhere(), headers: { ...multipart, 'Content-Length': sizeOf(megabytes) } });
      assert.equal(answer.status, 202, answer.body);
      const more = memory(front) - held;
      t.diagnostic(`${proxy.name}: ${megabytes} MB in ${((performance.now() - began) / 1000).toFixed(1)} s, peak of its memory ${memory(front).toFixed(1)} MB, ${more.toFixed(1)} more than before`);
      assert.ok(more < 16, `${more} MB more`);
      await ask(front, `/jobs/${json(answer).job_id}`, { method: 'DELETE' });

      // Caddy answers when the next piece has come, nginx at once.
      const socket = tls.connect(secure(front));
      socket.write(`POST /transcribe HTTP/1.1\r\nHost: ${host}\r\nX-API-Key: ${key}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${600 << 20}\r\n\r\n--b`);
      let text = '';
      socket.setEncoding('utf8').on('data', (piece) => { text += piece; });
      socket.on('error', () => {});
      let sent = 0;
      for (const piece = Buffer.alloc(1 << 16); !text.includes('}') && sent < 64 << 20; sent += piece.length) {
        socket.write(piece, () => {});
        await sleep(20);
      }
      socket.destroy();
      t.diagnostic(`${proxy.name}: 600 MB refused after ${sent >> 10} KB`);
      assert.match(text, /^HTTP\/1.1 413 /);
      assert.match(text, /"error_code":"too_large"/);
      assert.match(text, /Strict-Transport-Security/i);
    });

    test('a resumable upload goes on in pieces, over either service', async () => {
      const bytes = wav({ seconds: 2 });
      const from = elsewhere();
      const head = { 'Tus-Resumable': '1.0.0' };
      const made = await ask(front, '/uploads', { from, method: 'POST', headers: { ...head, 'Upload-Length': bytes.length, 'Upload-Metadata': `filename ${btoa('a.wav')}` } });
      assert.equal(made.status, 201, made.body);
      const location = new URL(made.headers.location, front.url);
      assert.equal(location.origin, front.url);
      const step = Math.ceil(bytes.length / 4);
      for (let sent = 0; sent < bytes.length; sent += step) {
        const piece = bytes.subarray(sent, sent + step);
        const put = await ask(front, location.pathname, { from, method: 'PATCH', body: piece, headers: { ...head, 'Upload-Offset': sent, 'Content-Type': 'application/offset+octet-stream', 'Content-Length': piece.length } });
        assert.equal(put.status, 204, put.body);
      }
      const done = await until(() => job(front, location.pathname.split('/').at(-1)), hasEnded);
      assert.equal(done.status, 'completed', done.error_message);
    });

    test('events come as they happen, WebSockets go through, and answers that wait do', async (t) => {
      const events = [];
      const stream = https.request({ ...secure(front), path: '/events', agent: false, headers: { Host: host, 'X-API-Key': key, Accept: 'text/event-stream' } });
      stream.on('response', (response) => response.setEncoding('utf8').on('data', (text) => events.push({ at: performance.now(), text })));
      stream.on('error', () => {});
      stream.end();
      await until(() => events.length, (n) => n > 0);
      const made = json(await upload(front, wav()));
      await until(() => events.some(({ text }) => text.includes(made.job_id)), (heard) => heard);
      const late = performance.now() - events.find(({ text }) => text.includes(made.job_id)).at;
      stream.destroy();
      const { job_id: id } = json(await upload(front, wav({ seconds: 3 })));
      const socket = new WebSocket(`wss://127.0.0.1:${front.port}/ws/jobs/${id}`, { servername: host, ca: certificate.ca, headers: { Host: host, 'X-API-Key': key } });
      const said = [];
      socket.on('message', (text) => said.push(JSON.parse(text)));
      const [code] = await once(socket, 'close');
      assert.equal(code, 1000);
      assert.equal(said.at(-1).status, 'completed');
      const waited = await upload(front, wav({ seconds: 4 }), { where: '/v1/audio/transcriptions', fields: { model: 'whisper-1' } });
      assert.equal(waited.status, 200, waited.body);
      t.diagnostic(`${proxy.name}: an event was there ${late.toFixed(0)} ms before the test looked`);
    });

    test('a service that dies is passed over, and one that comes back is used again', async (t) => {
      for (const i of [0, 1]) {
        await two[i].kill();
        const answers = [];
        for (let n = 0; n < 20; n++) answers.push((await ask(front, '/jobs?limit=1', { from: '127.0.0.250' })).status);
        answers.push((await upload(front, wav())).status);
        assert.deepEqual(answers, [...Array(20).fill(200), 202]);
        two[i] = await start(i);
        const other = two[1 - i];
        if (i === 0) await until(async () => (await ask(front, '/health/ready')).status, (status) => status === 200);
        assert.ok(other.pid);
      }
      // Both are asked: each logs its own requests.
      const heard = () => two.map((service) => (service.log().match(/GET \/jobs/g) ?? []).length);
      for (let n = 0; Math.min(...heard()) === 0 && n < 200; n++) {
        await Promise.all(Array.from({ length: 8 }, () => ask(front, '/jobs?limit=1', { from: '127.0.0.251' })));
      }
      assert.ok(Math.min(...heard()) > 0, heard().join());
      t.diagnostic(`${proxy.name}: requests answered by each: ${heard().join(', ')}`);
    });

    test('what a client says about itself counts for nothing', async () => {
      // Uploads of one address are counted, whatever addresses it claims to have.
      const counting = await startServer({ env: { AUTH: 'off', RATE_LIMIT: '4/minute', EMBEDDED_WORKERS: 'on' } });
      const fair = await startProxy(proxy.name, [counting.port, counting.port], { tls: certificate });
      const claims = (n) => ({ 'X-Forwarded-For': `8.8.8.${n}`, Forwarded: `for=8.8.8.${n}`, 'X-Real-IP': `8.8.8.${n}` });
      const from = elsewhere();
      const statuses = [];
      for (let n = 0; n < 6; n++) statuses.push((await upload(fair, Buffer.from('no sound'), { from, anonymous: true, headers: claims(n) })).status);
      assert.deepEqual(statuses, [415, 415, 415, 415, 429, 429]);
      assert.equal((await upload(fair, Buffer.from('no sound'), { anonymous: true })).status, 415, 'somebody else');
      await Promise.all([fair.stop(), counting.stop()]);
      // Nor who it is: with AUTH=proxy the services believe the proxy, which has asked nobody.
      const believing = await startServer({ env: { AUTH: 'proxy', AUTH_PROXY_SCOPES_HEADER: 'X-Remote-Scopes' } });
      const claim = { 'X-Remote-User': 'root', 'X-Remote-Scopes': 'admin', X_Remote_User: 'root', X_Remote_Scopes: 'admin' };
      const direct = await fetch(`${believing.url}/jobs`, { headers: claim });
      assert.equal(direct.status, 200);
      const trusting = await startProxy(proxy.name, [believing.port, believing.port], { tls: certificate });
      const claimed = await ask(trusting, '/jobs', { anonymous: true, headers: claim });
      assert.equal(claimed.status, 401, claimed.body);
      await Promise.all([trusting.stop(), believing.stop()]);
    });

    test('metrics and health are for the machine itself', async () => {
      assert.equal((await ask(front, '/metrics')).status, 200);
      assert.equal((await ask(front, '/health/ready')).status, 200);
      const from = elsewhere();
      for (const where of ['/metrics', '/health/live', '/health/ready']) checkRefusal(await ask(front, where, { from }), 403, 'forbidden', where);
      for (const where of ['/metrics/', '//metrics', '/%6detrics', '/./metrics', '/x/../metrics', '/metrics?x=1', '/METRICS', '/metrics%00', '/health%2flive']) {
        const { status, body } = await ask(front, where, { from });
        assert.ok(status >= 300 && !body.includes('whisper_transcriber_') && !body.includes('alive'), `${where}: ${status} ${body}`);
      }
    });

    test('too many requests of one address', { skip: proxy.name === 'caddy' && 'Debian\'s Caddy has no limiter: the services count uploads (above)' }, async () => {
      // One a second instead of twenty: a busy machine could not ask more than those.
      const slow = await startProxy(proxy.name, ports, { tls: certificate, change: [['rate=20r/s', 'rate=1r/s']] });
      const from = elsewhere();
      const many = [];
      while (many.length < 240) many.push(...await Promise.all(Array.from({ length: 16 }, (_, i) => ask(slow, i % 2 ? '/jobs?limit=1' : '/v1/models', { from }))));
      const refused = many.filter(({ status }) => status === 429);
      assert.ok(refused.length > 16 && refused.length < 240 - 100, `${refused.length} refused`);
      assert.equal(many.filter(({ status }) => status === 200).length, 240 - refused.length);
      const [native, openai] = ['detail', 'error'].map((name) => refused.find((answer) => json(answer)[name]));
      checkRefusal(native, 429, 'rate_limited', 'too many');
      for (const answer of [native, openai]) assert.equal(answer.headers['retry-after'], '1');
      assert.deepEqual(json(openai).error, { message: json(native).detail, type: 'rate_limit_error', param: null, code: 'rate_limit_exceeded' });
      // Somebody else notices nothing, and streams are not counted among these.
      assert.equal((await ask(slow, '/jobs', { from: elsewhere() })).status, 200);
      const stream = https.get({ ...secure(slow), path: '/events', agent: false, localAddress: from, headers: { Host: host, 'X-API-Key': key } });
      const [response] = await once(stream, 'response');
      assert.equal(response.statusCode, 200);
      stream.destroy();
      await slow.stop();
    });

    test('the services themselves are on loopback alone', async () => {
      const own = Object.values(os.networkInterfaces()).flat().find(({ family, internal }) => family === 'IPv4' && !internal);
      if (!own) return;
      const socket = net.connect(ports[0], own.address);
      const [error] = await once(socket, 'error');
      assert.equal(error.code, 'ECONNREFUSED');
    });

    test('HTTP/3 is offered, and something speaks QUIC there', { skip: proxy.name === 'nginx' && 'Debian\'s nginx has no HTTP/3' }, async () => {
      assert.match((await ask(front, '/')).headers['alt-svc'], new RegExp(`h3=":${front.port}"`));
      // A version that nobody knows is answered with those that the server does know: RFC 9000, 6.
      const socket = dgram.createSocket('udp4');
      const packet = Buffer.alloc(1200);
      Buffer.from([0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0]).copy(packet);
      socket.send(packet, front.port, '127.0.0.1');
      const [answer] = await once(socket, 'message');
      socket.close();
      assert.equal(answer.readUInt32BE(1), 0, 'version negotiation');
      assert.ok(answer.includes(Buffer.from([0, 0, 0, 1])), 'QUIC version 1');
    });

    test('when no service is there the proxy says so as a service would', async () => {
      const alone = await startProxy(proxy.name, [await freePort(), await freePort()], { tls: certificate });
      const answer = await ask(alone, '/jobs?token=secret');
      checkRefusal(answer, proxy.name === 'nginx' ? 502 : 503, 'unavailable', 'nobody there');
      assert.ok(Number(answer.headers['retry-after']) > 0);
      const openai = await ask(alone, '/v1/models');
      assert.equal(json(openai).error.type, 'server_error');
      checkHeaders(openai, 'nobody there, /v1/');
      await alone.stop();
    });

    test('times and sizes are those of the settings', { skip: proxy.name === 'caddy' && 'it has no such limits' }, () => {
      const row = (name) => Number(new RegExp(`\`${name}\`[^|]*\\|[^|]*?(\\d+)`).exec(fs.readFileSync(new URL('../../docs/settings.md', import.meta.url), 'utf8'))[1]);
      const [, megabytes] = /client_max_body_size (\d+)m;/.exec(read('nginx'));
      assert.equal(Number(megabytes), row('MAX_FILE_SIZE_MB') + 1);
      const [, hours] = /proxy_read_timeout (\d+)h;/.exec(read('nginx'));
      assert.ok(3600 * hours >= row('CELERY_TASK_TIME_LIMIT'));
    });

    test('testssl.sh finds nothing', { skip: noTestssl }, (t) => {
      const { all, bad, output } = testssl(front, ...(long ? [] : ['--protocols']));
      assert.ok(all.length > (long ? 80 : 6), output.slice(-3000));
      const ours = bad.filter(({ id }) => !excused[proxy.name][id]);
      assert.deepEqual(ours.map(({ id, severity, finding }) => `${severity} ${id}: ${finding}`), []);
      t.diagnostic(`${proxy.name}: ${all.length} findings, excused: ${bad.map(({ id }) => id).join(', ') || 'none'}; not found out: ${all.filter(({ severity }) => severity === 'WARN').map(({ id }) => id).join(', ') || 'nothing'}`);
    });

    test('no key and no query is in any log of it', () => {
      const logs = fs.readdirSync(front.folder).filter((name) => name.endsWith('.log'));
      const text = logs.map((name) => fs.readFileSync(path.join(front.folder, name), 'utf8')).join('') + front.log();
      assert.ok(text.includes('/jobs'));
      assert.ok(!text.includes(key) && !text.includes(key.split('_').at(-1)), 'a key');
      assert.ok(!text.includes('limit=1'), 'a query');
    });
  });
}

test('docs/operations.md: what "Secure" says is what happens', { skip: skip || proxies[0].skip, timeout: 120000 }, async (t) => {
  const name = 'speech.example.org';
  const folder = tempFolder();
  const its = certify(name);
  const [port, plain] = [await freePort(), await freePort()];
  const own = Object.values(os.networkInterfaces()).flat().find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
  for (const made of ['conf.d', `live/${name}`, 'log', 'bin']) fs.mkdirSync(path.join(folder, made), { recursive: true });
  fs.copyFileSync(its.certificate, path.join(folder, 'live', name, 'fullchain.pem'));
  fs.copyFileSync(its.key, path.join(folder, 'live', name, 'privkey.pem'));
  fs.writeFileSync(path.join(folder, 'nginx.conf'), `${process.getuid() === 0 ? 'user root;' : ''} pid ${folder}/pid; error_log stderr warn;
    events {} http { ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((one) => `${one}_temp_path ${folder}/${one};`).join(' ')} include conf.d/*.conf; }`);
  // The programs as they are on the machine of the page; only their places are the test's.
  const which = (program) => spawnSync('which', [program], { encoding: 'utf8' }).stdout.trim();
  const stand = (program, text) => fs.writeFileSync(path.join(folder, 'bin', program), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  stand('nginx', `exec ${which('nginx')} -p ${folder} -e stderr -c ${folder}/nginx.conf "$@"`);
  stand('systemctl', '[ "$*" = "reload nginx" ] && exec nginx </dev/null >/dev/null 2>&1');
  stand('curl', `case "$*" in *:8000/*) from= ;; *) from="--interface 127.0.0.99" ;; esac
    exec ${which('curl')} $from --cacert ${its.authority} --connect-to ${name}:443:127.0.0.1:${port} \\
      --connect-to ${name}:80:127.0.0.1:${plain} --connect-to ${name}:8000:${own}:${own === '127.0.0.1' ? plain + 1 : ports[0]} "$@"`);
  t.after(() => spawnSync(path.join(folder, 'bin/nginx'), ['-s', 'stop']));
  const options = {
    env: { ...at.env, PATH: `${path.join(folder, 'bin')}:${process.env.PATH}` },
    replace: [
      ['/usr/share/whisper-transcriber/deploy', path.join(root, 'deploy')],
      ["speech.example.org/' whisper", `speech.example.org/; s|/etc/letsencrypt|${folder}|; s|/var/log/nginx|${folder}/log|; `
        + `s|listen 443|listen 127.0.0.1:${port}|; s|listen 80;|listen 127.0.0.1:${plain};|; /\\[::\\]/d' whisper`],
      ['cp whisper-transcriber-upstream.conf /etc/nginx/conf.d/',
        `sed 's|:8000|:${ports[0]}|; s|:8001|:${ports[1]}|' whisper-transcriber-upstream.conf > ${folder}/conf.d/upstream.conf`],
      ['/etc/nginx/', `${folder}/`],
      ['whisper-transcriber keys', `${binary} keys`],
    ],
  };
  const all = blocks('Secure');
  const expected = all.filter(({ language }) => language === 'text').map(({ text }) => text);
  const [install, outside, make] = all.filter(({ language }) => language === 'sh');
  runBlock(install, options);
  assert.equal(runBlock(outside, options), expected[0]);
  assert.match(runBlock(make, options), /^wt_\S+\n[^]*operator/m);
});
