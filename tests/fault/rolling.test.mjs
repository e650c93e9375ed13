// Two services behind nginx and behind Caddy, one after the other stopped, started and
// replaced under load: no client sees a 5xx or a broken connection, nothing is lost, events
// and WebSockets go on without a gap. Then the same with kill -9, where the proxy has to say
// 502 and clients who try again get their job once.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { kinds, long, place, seed, size } from '../lib/faults.mjs';
import { Load } from '../lib/load.mjs';
import { proxies, startProxy } from '../lib/proxy.mjs';
import { binary, freePort, startServer, tempFolder, until } from '../lib/server.mjs';

const turns = size(4, 20);
const kills = size(2, 10);
const limit = { timeout: long ? 900000 : 240000 };
const { skip } = kinds.find(({ name }) => name === 'postgresql');

/** Two services on one place, at ports that stay theirs; each can be another copy of the program. */
async function pair(at, more = {}) {
  const copy = path.join(tempFolder(), 'whisper-transcriber-next');
  fs.copyFileSync(binary, copy);
  const ports = [await freePort(), await freePort()];
  const programs = [binary, binary];
  const start = (i) => startServer({
    folder: at.folder, program: programs[i], env: { ...at.env, EMBEDDED_WORKERS: 'off', PORT: String(ports[i]), ...more },
  });
  const services = [await start(0), await start(1)];
  return {
    ports,
    services,
    replace: (i) => { programs[i] = programs[i] === binary ? copy : binary; },
    start: async (i) => { services[i] = await start(i); },
  };
}

const show = (figures) => JSON.stringify(figures).replace(/"/g, '');

for (const proxy of proxies) {
  describe(`behind ${proxy.name}`, { skip: skip || proxy.skip }, () => {
    test(`services are stopped, started and replaced ${turns} times, and nobody notices`, limit, async (t) => {
      const at = await place('postgresql');
      const worker = await at.work({ WORKER_CONCURRENCY: '2' });
      // Caddy asks for the health each second; nginx, without a price, never. Who waits for a
      // transcript waits as long as a busy machine takes.
      const two = await pair(at, { SHUTDOWN_DELAY: proxy.name === 'caddy' ? '2' : '0', SHUTDOWN_TIMEOUT: '600' });
      const front = await startProxy(proxy.name, two.ports);
      const load = new Load(front.url);
      const stops = [];
      await load.start();
      try {
        for (let turn = 0; turn < turns; turn++) {
          const i = turn % 2;
          const done = load.counts.uploads;
          await until(() => load.counts.uploads, (n) => n > done + 2); // what stops next is in use
          const began = performance.now();
          const { code } = await two.services[i].stop();
          stops.push(performance.now() - began);
          assert.equal(code, 0, two.services[i].log().slice(-2000));
          if (turn % 4 >= 2) two.replace(i);
          await two.start(i);
        }
      } finally {
        await load.end(at);
      }
      assert.deepEqual(load.wrong, [], `5xx and worse, seed ${seed}: ${front.log().slice(-3000)}`);
      assert.deepEqual(load.broken, [], front.log().slice(-3000));
      load.checkEvents(at);
      const checked = load.history.check(at);
      assert.equal(checked.unanswered, 0);
      t.diagnostic(`${proxy.name}: ${turns} stops of ${Math.round(Math.min(...stops))} to ${Math.round(Math.max(...stops))} ms, `
        + `${checked.jobs} jobs, 0 lost; ${show(load.figures())}; seed ${seed}`);
      await Promise.all([front.stop(), worker.stop(), ...two.services.map((s) => s.stop())]);
    });

    test(`services are killed ${kills} times: who tries again has each job once`, limit, async (t) => {
      const at = await place('postgresql');
      const worker = await at.work({ WORKER_CONCURRENCY: '2' });
      const two = await pair(at);
      const front = await startProxy(proxy.name, two.ports);
      const load = new Load(front.url);
      await load.start();
      try {
        for (let turn = 0; turn < kills; turn++) {
          const i = turn % 2;
          const done = load.counts.uploads;
          await until(() => load.counts.uploads, (n) => n > done + 5);
          await two.services[i].kill();
          await two.start(i);
        }
      } finally {
        await load.end(at);
      }
      load.checkEvents(at);
      const checked = load.history.check(at);
      const seen = {};
      for (const what of [...load.wrong, ...load.broken]) seen[what.replace(/\/jobs\/\S+/, '/jobs/…')] = (seen[what] ?? 0) + 1;
      assert.deepEqual(load.wrong.filter((what) => !/: 50[24]$/.test(what)), [], 'what a killed service is no reason for');
      assert.deepEqual(load.wrong.filter((what) => /^GET|^download/.test(what)), [], 'what another service could have answered');
      t.diagnostic(`${proxy.name}: ${kills} kills, ${checked.jobs} jobs, 0 lost; clients saw ${show(seen)}; ${show(load.figures())}; seed ${seed}`);
      await Promise.all([front.stop(), worker.stop(), ...two.services.map((s) => s.stop())]);
    });
  });
}
