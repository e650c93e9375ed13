// Recordings that are named by a URL: fetched, and only from where they may be.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { makeKey } from '../lib/keys.mjs';
import {
  form, getJson, hasModel, startServer, tempFolder, tone, transcribe, until, waitForJob, wav,
} from '../lib/server.mjs';

const needsModel = { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' };
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const recording = wav({ seconds: 4, sample: tone });

/** A server of recordings; `routes[path]` answers. Returns {url, port, requests, close()}. */
async function origin(routes) {
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push(request);
    const route = routes[new URL(request.url, 'http://x').pathname];
    if (route) route(request, response, requests.filter((r) => r.url === request.url).length);
    else response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  return {
    url: `http://127.0.0.1:${port}`, port, requests,
    close: () => { server.closeAllConnections(); server.close(); },
  };
}

const blob = (server, id) => server.recording(id);
const byUrl = (server, url, fields = {}) => transcribe(server, form(null, null, { url, ...fields }));

async function outcome(server, url, fields) {
  const answer = await byUrl(server, url, fields);
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return waitForJob(server, answer.body.job_id);
}

describe('a recording by URL', needsModel, () => {
  let server;
  let files;
  let forbidden; // a server beside, at a port that is not allowed
  const redirect = (to, status = 302) => (_, response) => response.writeHead(status, { Location: to }).end();
  const etag = { ETag: '"v1"' };
  before(async () => {
    forbidden = await origin({ '/secret.wav': (_, response) => response.end(recording) });
    files = await origin({
      '/My%20talk.wav': (_, response) => response.end(recording),
      '/here': (_, response) => redirect('/there')(_, response),
      '/there': redirect('/My%20talk.wav', 307),
      '/loop': redirect('/loop'),
      '/to-other-port': redirect(`${forbidden.url}/secret.wav`),
      '/to-metadata': redirect('http://169.254.169.254/latest/meta-data/'),
      '/to-file': redirect('file:///etc/passwd'),
      '/to-user': redirect('http://user:password@127.0.0.1/'),
      '/to-name': redirect('http://localhost:8080/'),
      '/page': (_, response) => response.end(`<!DOCTYPE html><html>${'x'.repeat(2000)}</html>`),
      '/empty': (_, response) => response.end(),
      '/gone': (_, response) => response.writeHead(410).end('gone'),
      '/busy': (_, response, n) => (n < 3 ? response.writeHead(503).end() : response.end(recording)),
      // Breaks off twice; what follows must be asked for, and be of the same version.
      '/broken': (request, response, n) => {
        const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
        if (from) {
          assert.equal(request.headers['if-range'], '"v1"');
          response.writeHead(206, { ...etag, 'Content-Range': `bytes ${from}-${recording.length - 1}/${recording.length}`, 'Content-Length': recording.length - from });
        } else {
          response.writeHead(200, { ...etag, 'Content-Length': recording.length });
        }
        if (n === 3) response.end(recording.subarray(from));
        else response.write(recording.subarray(from, from + 40000), () => setTimeout(() => response.destroy(), 100));
      },
      '/changed': (request, response, n) => {
        response.writeHead(200, { ETag: `"v${n}"`, 'Content-Length': recording.length });
        if (n > 1) response.end(recording);
        else response.write(Buffer.alloc(40000, 1), () => setTimeout(() => response.destroy(), 100));
      },
      '/endless': (_, response) => {
        const more = () => { while (!response.destroyed && response.write(Buffer.alloc(65536))); };
        response.on('drain', more).on('error', () => {});
        more();
      },
      '/huge': (_, response) => { response.writeHead(200, { 'Content-Length': 5e9 }); response.write('x'); },
      '/head': (_, response) => {
        const { socket } = response;
        socket.write('HTTP/1.1 200 OK\r\n');
        const more = setInterval(() => socket.write(`X-A: ${'y'.repeat(8000)}\r\n`), 1);
        socket.on('close', () => clearInterval(more)).on('error', () => {});
      },
      '/trickle': (_, response) => {
        response.writeHead(200, { 'Content-Length': recording.length });
        const more = setInterval(() => response.write('x'), 100);
        response.on('close', () => clearInterval(more));
      },
      '/slow': (_, response) => {
        response.writeHead(200, { 'Content-Length': recording.length });
        let at = 0;
        const more = setInterval(() => {
          response.write(recording.subarray(at, at += 2000));
          if (at >= recording.length) { response.end(); clearInterval(more); }
        }, 100);
        response.on('close', () => clearInterval(more));
      },
    });
    server = await startServer({
      env: {
        URL_FETCH: 'on',
        URL_FETCH_ALLOW: `127.0.0.1:${files.port}`,
        URL_FETCH_TIMEOUT_SECONDS: '1',
        MAX_FILE_SIZE_MB: '1',
        WORKER_CONCURRENCY: '1',
        // What a proxy is told would escape the guard: it must not be asked.
        http_proxy: forbidden.url, HTTP_PROXY: forbidden.url, https_proxy: forbidden.url, ALL_PROXY: forbidden.url,
      },
    });
  });
  after(async () => {
    const { code } = await server.stop();
    files.close();
    forbidden.close();
    assert.equal(code, 0, server.log());
  });

  test('becomes a job, with what the request asks for', async () => {
    const job = await outcome(server, `${files.url}/My%20talk.wav`, { language: 'de' });
    assert.equal(job.status, 'completed', job.error_message);
    assert.equal(job.original_filename, 'My talk.wav');
    assert.equal(job.language, 'de');
    assert.equal(job.file_size, recording.length);
    assert.equal(sha256(blob(server, job.id)), sha256(recording));
    const asked = files.requests.at(-1).headers;
    for (const name of ['cookie', 'authorization', 'referer', 'proxy-authorization']) assert.equal(asked[name], undefined);
    // As a parameter of the query, too.
    const answer = await transcribe(server, form(null, null, { task: 'transcribe' }), `?url=${encodeURIComponent(`${files.url}/My%20talk.wav`)}`);
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    assert.equal((await waitForJob(server, answer.body.job_id)).status, 'completed');
  });

  test('is fetched through redirects, but only to where it may', async () => {
    const job = await outcome(server, `${files.url}/here`);
    assert.equal(job.status, 'completed', job.error_message);
    for (const [where, code] of [['/to-other-port', 'denied'], ['/to-metadata', 'denied'], ['/to-name', 'denied'],
      ['/to-file', 'invalid'], ['/to-user', 'invalid'], ['/loop', 'invalid']]) {
      const { status, error_code, error_message } = await outcome(server, files.url + where);
      assert.equal(`${where} ${status} ${error_code}`, `${where} failed ${code}`, error_message);
    }
    assert.equal(forbidden.requests.length, 0);
    assert.ok(files.requests.filter((r) => r.url === '/loop').length <= 6);
  });

  test('is refused at once where the URL says enough', async () => {
    for (const url of ['http://127.0.0.1/', 'http://127.0.0.1:22/', 'http://[::1]/', 'http://169.254.169.254/', 'http://10.0.0.1/',
      'http://2130706433/', 'http://example.org:6379/', 'http://[::ffff:127.0.0.1]/']) {
      const answer = await byUrl(server, url);
      assert.equal(answer.status, 400, `${url} ${JSON.stringify(answer.body)}`);
      assert.equal(answer.body.error_code, 'forbidden_address', url);
    }
    for (const url of ['ftp://example.org/a', 'file:///etc/passwd', 'nonsense', 'http://a:b@example.org/', 'http://example.org/ x'])
      assert.equal((await byUrl(server, url)).status, 400, url);
    const both = await transcribe(server, form(recording, 'a.wav', { url: `${files.url}/here` }));
    assert.equal(both.status, 400);
    assert.equal((await transcribe(server, form(recording, 'a.wav', { url: `${files.url}/here` }, { fieldsFirst: true }))).status, 400);
    assert.equal((await byUrl(server, `${files.url}/here`, { model: 'enormous' })).status, 400);
  });

  test('is judged by the address of each connection, whatever its name is', async () => {
    // This name is no address, and its port is the web's: only the socket shows where it leads.
    const before = files.requests.length;
    const listener = net.createServer(() => assert.fail('somebody connected')).listen(8080, '127.0.0.1');
    const listening = await Promise.race([once(listener, 'listening').then(() => true), once(listener, 'error').then(() => false)]);
    const job = await outcome(server, 'http://localhost:8080/x.wav');
    assert.equal(job.status, 'failed');
    assert.equal(job.error_code, 'denied');
    assert.match(job.error_message, /public internet/);
    assert.equal(files.requests.length, before);
    if (listening) listener.close();
  });

  test('is tried again when the server is busy or breaks off, and goes on where it was', async () => {
    for (const where of ['/busy', '/broken', '/changed']) {
      const job = await outcome(server, files.url + where);
      assert.equal(job.status, 'completed', `${where} ${job.error_message}`);
      assert.equal(sha256(blob(server, job.id)), sha256(recording), where);
    }
    assert.ok(files.requests.some((r) => r.url === '/broken' && r.headers.range === 'bytes=40000-'));
  });

  test('has the limits of an upload', async () => {
    for (const [where, code] of [['/endless', 'too_large'], ['/huge', 'too_large'], ['/page', 'not_media'], ['/empty', 'invalid'],
      ['/gone', 'not_found'], ['/nowhere', 'not_found']]) {
      const { status, error_code, error_message } = await outcome(server, files.url + where);
      assert.equal(`${where} ${status} ${error_code}`, `${where} failed ${code}`, error_message);
    }
    await until(() => server.stored().filter((name) => name.endsWith('.part')), (list) => list.length === 0);
  });

  test('does not wait for ever for a server that trickles, or whose head does not end', async () => {
    const [trickle, head] = await Promise.all([outcome(server, `${files.url}/trickle`), outcome(server, `${files.url}/head`)]);
    assert.equal(`${trickle.status} ${trickle.error_code}`, 'failed timeout');
    assert.equal(`${head.status} ${head.error_code}`, 'failed network', head.error_message);
    assert.equal(files.requests.filter((r) => r.url === '/trickle').length, 4);
  });

  const folder = tempFolder();
  const key = path.join(folder, 'key.pem');
  const cert = path.join(folder, 'cert.pem');
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert,
    '-days', '1', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']).status === 0;
  test('is not taken from a server whose certificate nobody vouches for', { skip: made ? false : 'no openssl' }, async () => {
    let asked = 0;
    const secure = https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) }, (_, response) => {
      asked++;
      response.end(recording);
    }).listen(0, '127.0.0.1');
    await once(secure, 'listening');
    const other = await startServer({ env: { URL_FETCH: 'on', URL_FETCH_ALLOW: 'loopback' } });
    const job = await outcome(other, `https://127.0.0.1:${secure.address().port}/a.wav`);
    assert.equal(`${job.status} ${job.error_code}`, 'failed network');
    assert.match(job.error_message, /certificate/i);
    assert.equal(asked, 0);
    await other.stop();
    secure.close();
  });

  test('can be cancelled, tried again and deleted while it comes', async () => {
    const { body: { job_id: id } } = await byUrl(server, `${files.url}/slow`);
    await until(async () => (await getJson(server, `/jobs/${id}`)).body, (job) => /^Downloading, /.test(job.message));
    assert.equal((await getJson(server, `/jobs/${id}`)).body.status, 'pending');
    assert.equal((await getJson(server, `/jobs/${id}/cancel`, { method: 'POST' })).status, 200);
    await until(() => server.stored().filter((name) => name.startsWith(`uploads/${id}`)), (list) => list.length === 0);
    assert.equal((await getJson(server, `/jobs/${id}/retry`, { method: 'POST' })).status, 200);
    const { body: { job_id: other } } = await byUrl(server, `${files.url}/slow`);
    await until(async () => (await getJson(server, `/jobs/${other}`)).body, (job) => /^Downloading, /.test(job.message));
    assert.equal((await getJson(server, `/jobs/${other}`, { method: 'DELETE' })).status, 200);
    await until(() => server.stored().filter((name) => name.startsWith(`uploads/${other}`)), (list) => list.length === 0);
    assert.equal((await waitForJob(server, id)).status, 'completed');
  });
});

describe('a recording by URL, when the service dies', needsModel, () => {
  test('is fetched by the next one', async () => {
    const folder = tempFolder();
    let stall = true;
    const files = await origin({
      '/a.wav': (_, response) => {
        response.writeHead(200, { 'Content-Length': recording.length });
        if (stall) response.write(recording.subarray(0, 9000));
        else response.end(recording);
      },
    });
    const env = { URL_FETCH: 'on', URL_FETCH_ALLOW: 'loopback' };
    let server = await startServer({ folder, env });
    const { body: { job_id: id } } = await byUrl(server, `${files.url}/a.wav`);
    await until(() => files.requests.length, (n) => n === 1);
    await server.kill();
    stall = false;
    server = await startServer({ folder, env });
    const job = await waitForJob(server, id);
    assert.equal(job.status, 'completed', job.error_message);
    assert.equal(sha256(blob(server, id)), sha256(recording));
    // And one that waits when it is switched off is told so.
    stall = true;
    const { body: { job_id: late } } = await byUrl(server, `${files.url}/a.wav`);
    await until(() => files.requests.length, (n) => n === 3);
    await server.stop();
    server = await startServer({ folder });
    const left = await waitForJob(server, late);
    assert.equal(`${left.status} ${left.error_code}`, 'failed denied');
    const off = await byUrl(server, `${files.url}/a.wav`);
    assert.equal(off.status, 422, JSON.stringify(off.body));
    assert.match(off.body.detail, /URL_FETCH/);
    await server.stop();
    files.close();
  });
});

describe('many recordings by URL at once', needsModel, () => {
  test('do not slip past the minutes that a key has for a day', async () => {
    const long = wav({ seconds: 800 }); // 133 seconds, by its size
    const files = await origin({ '/long.wav': (_, response) => response.end(long) });
    const server = await startServer({
      env: {
        AUTH: 'key', WORKER_CONCURRENCY: '1', MAX_FILE_SIZE_MB: '50',
        URL_FETCH: 'on', URL_FETCH_ALLOW: `127.0.0.1:${files.port}`,
      },
    });
    const headers = { Authorization: `Bearer ${makeKey(server.folder, { 'minutes-per-day': 5 })}` };
    await until(() => fetch(`${server.url}/health/ready`), (response) => response.status === 200);
    // The only worker stands still: nothing is decoded.
    const workers = fs.readdirSync(`/proc/${server.pid}/task`).flatMap((task) =>
      fs.readFileSync(`/proc/${server.pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number));
    assert.ok(workers.length > 0);
    workers.forEach((pid) => process.kill(pid, 'SIGSTOP'));
    const answers = await Promise.all(Array.from({ length: 100 }, async () => {
      const body = form(null, null, { url: `${files.url}/long.wav` });
      const response = await fetch(`${server.url}/transcribe`, { method: 'POST', headers, body });
      return { status: response.status, wait: response.headers.get('retry-after'), body: await response.json() };
    }));
    const refused = answers.filter((each) => each.status !== 202);
    assert.ok(refused.length >= 90, String(refused.length)); // of five each has a minute
    for (const each of refused) {
      assert.equal(each.status, 429);
      assert.equal(each.body.error_code, 'quota_exceeded');
      assert.ok(Number(each.wait) > 0);
    }
    const ids = answers.filter((each) => each.status === 202).map((each) => each.body.job_id);
    const jobs = await Promise.all(ids.map((id) => until(
      async () => (await getJson(server, `/jobs/${id}`, { headers })).body,
      (job) => job.status === 'failed' || job.file_size > 0,
    )));
    const failed = jobs.filter((job) => job.status === 'failed');
    assert.equal(jobs.length - failed.length, 3); // the third begins with something left
    for (const job of failed) {
      assert.equal(job.error_code, 'quota_exceeded');
      assert.match(job.error_message, /5 minutes of audio/);
    }
    assert.equal(server.stored().filter((name) => name.startsWith('uploads/')).length, 3);
    workers.forEach((pid) => process.kill(pid, 'SIGCONT'));
    files.close();
    await server.stop();
  });
});
