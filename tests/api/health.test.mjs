// Whether the service says truly that it can work, and names what is in its way.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { wanted as onServer } from '../lib/postgres.mjs';
import {
  form, getJson, hasModel, startServer, tempFolder, transcribe, until, wav,
} from '../lib/server.mjs';

async function becomesUnready(server, part) {
  const answer = await until(() => getJson(server, '/health/ready'), (a) => a.status === 503 && a.body.failing === part);
  assert.equal(answer.body.error_code, 'not_ready');
  assert.match(answer.body.detail, new RegExp(`^${part}: .+`));
  assert.ok(Number(answer.headers.get('retry-after')) > 0);
  // The oldest health check fails too, but only for programs.
  assert.equal((await fetch(`${server.url}/`)).status, 503);
  assert.equal((await fetch(`${server.url}/`, { headers: { accept: 'text/html' } })).status, 200);
  assert.deepEqual(await getJson(server, '/health/live').then(({ status, body }) => [status, body.status]), [200, 'alive']);
}

const becomesReady = (server) => until(() => getJson(server, '/health/ready'), (a) => a.status === 200);

describe('without a model', () => {
  let server;
  let folder;
  before(async () => {
    folder = tempFolder();
    fs.mkdirSync(path.join(folder, 'empty'));
    server = await startServer({ folder, env: { WHISPER_MODEL_DIR: path.join(folder, 'empty'), DEFAULT_WHISPER_MODEL: '' } });
  });
  after(() => server.stop());

  test('the service runs, is not ready, and says so', async () => {
    await becomesUnready(server, 'model');
    assert.match(server.log(), /no model/);
  });

  test('an upload is told whose turn it is', async () => {
    const answer = await transcribe(server, form(wav()));
    assert.equal(answer.status, 503);
    assert.equal(answer.body.error_code, 'no_model');
    assert.match(answer.body.detail, /models pull/);
  });
});

describe('with a model', { skip: hasModel('tiny') ? false : 'ggml-tiny.bin is not in WT_TEST_MODELS' }, () => {
  test('it is ready, and stops being so while its storage cannot be written', async () => {
    const server = await startServer();
    await becomesReady(server);
    const uploads = path.join(server.folder, 'storage', 'uploads');
    fs.renameSync(uploads, `${uploads}.away`);
    await becomesUnready(server, 'storage');
    const answer = await transcribe(server, form(wav()));
    assert.ok(answer.status >= 500, JSON.stringify(answer.body));
    assert.doesNotMatch(answer.body.detail, /\/|storage/, 'no paths for callers');
    fs.renameSync(`${uploads}.away`, uploads);
    await becomesReady(server);
    assert.equal((await transcribe(server, form(wav()))).status, 202);
    assert.equal((await server.stop()).code, 0);
  });

  test('a damaged database is one sentence and code 1', { skip: onServer ? 'of a file' : false }, async () => {
    const folder = tempFolder();
    fs.mkdirSync(path.join(folder, 'data'));
    fs.writeFileSync(path.join(folder, 'data', 'app.db'), Buffer.alloc(8192, 'not a database '));
    await assert.rejects(startServer({ folder }), /ended with 1: [^\n]*data\/app\.db[^\n]*\n$/);
  });

  test('a storage that cannot be made is one sentence and code 1', async () => {
    const folder = tempFolder();
    fs.writeFileSync(path.join(folder, 'storage'), 'a file is in the way');
    await assert.rejects(startServer({ folder }), /ended with 1: [^]*storage[^\n]*\n$/);
  });

  test('two services on one database are one too many', { skip: onServer ? 'of a file' : false }, async () => {
    const server = await startServer();
    await assert.rejects(startServer({ folder: server.folder }), /ended with 1: [^\n]+\n$/);
    assert.equal((await server.stop()).code, 0);
  });

  test('a monitor reads figures that follow what happens', async () => {
    const server = await startServer();
    const read = async () => {
      const response = await fetch(`${server.url}/metrics`);
      assert.equal(response.status, 200);
      assert.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
      const figures = new Map();
      for (const line of (await response.text()).trimEnd().split('\n')) {
        assert.match(line, /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+)$/);
        if (!line.startsWith('#')) figures.set(line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1)));
      }
      return figures;
    };
    await becomesReady(server);
    const before = await read();
    assert.equal(before.get('whisper_transcriber_jobs{status="completed"}'), 0);
    assert.equal(before.get('whisper_transcriber_ready'), 1);
    assert.ok(before.get('process_resident_memory_bytes') > 1e6);
    assert.equal((await transcribe(server, form(wav()))).status, 202);
    await until(read, (figures) => figures.get('whisper_transcriber_jobs{status="completed"}') === 1);
    assert.equal((await server.stop()).code, 0);
  });
});
