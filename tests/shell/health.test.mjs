// `health` asks the service as its callers would, and says what a container needs to know.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { binary, freePort, startServer } from '../lib/server.mjs';

const health = (env, ...args) => spawnSync(binary, ['health', ...args], { encoding: 'utf8', env: { PATH: process.env.PATH, ...env } });

test('a service that is ready, one that is not, and none', async () => {
  const server = await startServer();
  const env = { PORT: String(server.port) };
  for (const host of ['127.0.0.1', '0.0.0.0', 'localhost']) {
    const { status, stdout, stderr } = health({ ...env, HOST: host });
    assert.deepEqual([status, stdout, stderr], [0, 'ready\n', ''], host);
  }
  assert.equal(health(env, '--live').stdout, 'alive\n');
  await server.stop();
  const stopped = health(env);
  assert.equal(stopped.status, 1);
  assert.match(stopped.stderr, /^whisper-transcriber: .*connect/i);

  const stopping = await startServer({ env: { SHUTDOWN_DELAY: '60' } });
  const at = { PORT: String(stopping.port) };
  process.kill(stopping.pid, 'SIGTERM'); // it says that it is stopping, and goes on for a minute
  let not = health(at);
  for (; not.status === 0; not = health(at));
  assert.match(not.stderr, /^whisper-transcriber: the service answers 503: it is not ready/);
  assert.equal(health(at, '--live').status, 0);
  await stopping.kill();
});

test('what it cannot do', async () => {
  assert.equal(health({ PORT: '0' }).status, 2);
  assert.equal(health({ PORT: String(await freePort()) }).status, 1);
  assert.equal(health({}, 'now').status, 2);
  assert.equal(health({}, '--lively').status, 2);
});
