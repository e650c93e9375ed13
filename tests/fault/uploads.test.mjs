// Services die under their uploads: each is killed again and again while clients upload by
// every door, and killed at every single call that matters of one upload. What was accepted ends
// once, and what was not leaves nothing behind.
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  chance, kinds, long, place, seed, size, sleep,
} from '../lib/faults.mjs';
import { History } from '../lib/history.mjs';
import {
  freePort, getJson, hasEnded, hold, tempFolder, until, wav,
} from '../lib/server.mjs';
import { shim, skip as needsCompiler } from '../lib/shim.mjs';
import {
  byUrl, checkStorage, joined, openai, origin, submitSlowly, tus,
} from '../lib/uploading.mjs';

/** Recordings of 20 kB to some MB that are heard fast, each other bytes than the last. */
function recordingOf({ whole, pick }, n) {
  const seconds = pick([0.7, 1, 2, 4, 10, 40, 100]);
  const bytes = wav({ seconds });
  bytes.writeInt16LE(1 + (n % 30000), 44 + 2 * whole(0, 100));
  bytes.writeInt16LE(1 + (Math.floor(n / 30000) % 30000), 44 + 2 * 200);
  return bytes;
}

/** A service at a port of its own that comes back when it was killed. */
async function phoenix(at, more) {
  const port = await freePort();
  const folder = tempFolder();
  const start = () => at.serve({ ...more, folder, PORT: String(port) });
  let server = await start();
  return {
    url: () => server.url,
    kill: () => server.kill(),
    start: async () => { server = await start(); },
    stop: () => server.stop(),
    log: () => server.log(),
  };
}

for (const { name: kind, skip } of kinds) {
  describe(`services that are killed under 50 clients, on ${kind}`, { skip }, () => {
    test(`each job that was acknowledged ends once (WT_FAULT_SEED=${seed})`, { timeout: size(600, 1800) * 1000 }, async (t) => {
      const { pick, between } = chance(`kills ${kind}`);
      const fetched = { 'a.wav': wav({ seconds: 2 }), 'b.wav': wav({ seconds: 20 }) };
      const files = await origin(fetched, { pieces: 6, ms: 30 });
      const speech = joined('noisy.wav');
      const at = await place(kind, { env: { URL_FETCH: 'on', URL_FETCH_ALLOW: files.allow, LOG_LEVEL: 'INFO' } });
      const alone = kind === 'sqlite';
      const services = [];
      for (let i = 0; i < (alone ? 1 : 2); i++) services.push(await phoenix(at, { EMBEDDED_WORKERS: alone ? 'on' : 'off' }));
      const workers = alone ? [] : [await at.work(), await at.work()];

      const history = new History();
      const texts = new Set();
      // So long at least, and so many kills.
      const end = Date.now() + size(8, 180) * 1000;
      let kills = 0;
      const more = () => Date.now() < end || kills < size(4, 20);
      let number = 0;
      const client = async (n) => {
        const my = chance(`client ${n} ${kind}`);
        const url = () => my.pick(services).url();
        for (let i = 0; more(); i++) {
          const key = `${kind}-${n}-${i}`;
          const bytes = recordingOf(my, number++);
          if (n === 0) texts.add(await openai(history, url, speech));
          else if (n < 10) await tus(history, url, key, bytes, { pieces: my.whole(2, 5) });
          else if (n < 14) await byUrl(history, url, key, `${files.url}/${my.pick(Object.keys(fetched))}?${n}-${i}`);
          else if (n < 24) await submitSlowly(history, url, key, bytes, { pieces: 8, ms: my.whole(5, 80) });
          else await history.submit(url, key, bytes);
          await sleep(my.between(300, size(3000, 6000)));
        }
      };
      const clients = Promise.all(Array.from({ length: 50 }, (_, n) => client(n)));
      const killing = (async () => {
        for (let i = 0; more(); i++) {
          const service = services[i % services.length];
          await sleep(between(1600, 2400));
          await service.kill();
          kills++;
          await sleep(pick([0, 0, 200]));
          await service.start();
        }
      })();
      await Promise.all([clients, killing]);

      // Every one that was acknowledged, and every one that was made of an upload without an answer.
      const url = () => services[0].url();
      await until(async () => (await (await fetch(`${url()}/jobs?limit=1&status=pending`)).json()).total
        + (await (await fetch(`${url()}/jobs?limit=1&status=processing`)).json()).total, (left) => left === 0);
      for (const service of services) assert.equal((await service.stop()).code, 0, service.log());
      for (const worker of workers) assert.equal((await worker.stop()).code, 0);
      // One that begins alone sweeps what the killed ones have left.
      const last = await at.serve({ EMBEDDED_WORKERS: alone ? 'on' : 'off' });
      assert.equal((await last.stop()).code, 0);
      const figures = history.check(at);
      const { files: kept } = checkStorage(at);
      texts.delete(undefined);
      assert.ok(texts.size <= 1, `one recording, several texts: ${[...texts]}`);
      files.close();
      t.diagnostic(`${kind}: ${JSON.stringify({ seed, kills, ...figures, kept })}`);
    });
  });
}

/** Which of the calls that were seen to die at: all, or the first and last of each kind in a row. */
function moments(names) {
  const all = names.map((_, i) => i + 1);
  return long ? all : all.filter((n) => names[n - 1] !== names[n - 2] || names[n - 1] !== names[n]);
}

const ways = {
  form: (history, url, key, bytes) => history.submit(url, key, bytes),
  tus: (history, url, key, bytes) => tus(history, url, key, bytes, { pieces: 2 }),
  url: (history, url, key, _, from) => byUrl(history, url, key, `${from}/a.wav?${key}`),
};

for (const { name: kind, skip } of kinds.filter(({ name }) => name !== 'redis')) {
  describe(`a service that is killed at each call of one upload, on ${kind}`, { skip: skip || needsCompiler }, () => {
    for (const [way, upload] of Object.entries(ways)) {
      test(`by ${way}: one job with its recording, whenever that was`, { timeout: size(600, 1500) * 1000 }, async (t) => {
        const silence = wav({ seconds: 2 });
        const files = await origin({ 'a.wav': silence });
        const at = await place(kind, { env: { URL_FETCH: 'on', URL_FETCH_ALLOW: files.allow } });
        const folders = { uploads: path.join(at.storage, 'uploads') };
        if (kind === 'sqlite') folders.data = path.join(at.folder, 'data');
        const switches = shim(folders);
        const more = { ...switches.env, EMBEDDED_WORKERS: kind === 'sqlite' ? 'on' : 'off' };
        const history = new History();
        let server = await at.serve(more);
        const url = () => server.url;
        const known = () => at.rows("SELECT 1 FROM job_sources s JOIN jobs j ON j.id = s.job_id WHERE NOT fetched").length === 0;

        // What is there to die at: the calls of one that is left alone.
        const goOn = kind === 'sqlite' ? await hold(server) : () => {};
        switches.killAt(server.pid, 0);
        await upload(history, url, 'undisturbed', silence, files.url);
        if (way === 'url') await until(known, Boolean);
        const { names } = switches.calls();
        goOn();

        const when = moments(names).filter((_, i) => long || way === 'form' || i % 3 === seed % 3);
        let died = 0;
        let coming = Promise.resolve();
        let closing = false;
        // It comes back as soon as it has died, and its clients go on.
        const watch = () => server.exited.then(({ signal }) => {
          if (closing) return;
          assert.equal(signal, 'SIGKILL');
          coming = at.serve(more).then((next) => { server = next; watch(); });
        });
        watch();
        for (const n of when) {
          const mortal = server;
          switches.killAt(mortal.pid, n);
          await upload(history, url, `key-${n}`, silence, files.url);
          if (way === 'url') await until(known, Boolean);
          // The calls are counted from its start on: each begins with a new one.
          if (switches.calls().count >= n) died++;
          else await mortal.kill();
          await mortal.exited; // it may be dying just now, and `coming` not be begun
          await coming;
        }
        closing = true;
        await until(async () => (await getJson(server, '/jobs?limit=500')).body.jobs,
          (list) => kind !== 'sqlite' ? known() : list.every(hasEnded));
        await server.kill();
        const worker = kind === 'sqlite' ? null : await at.work();
        server = await at.serve({ EMBEDDED_WORKERS: kind === 'sqlite' ? 'on' : 'off' });
        await until(async () => (await getJson(server, '/jobs?limit=500')).body.jobs, (list) => list.every(hasEnded));
        await worker?.stop();
        assert.equal((await server.stop()).code, 0);
        server = await at.serve({ EMBEDDED_WORKERS: kind === 'sqlite' ? 'on' : 'off' });
        assert.equal((await server.stop()).code, 0);
        const figures = history.check(at);
        checkStorage(at);
        // An upload may make a call less than the first one did. Of few moments one is enough.
        assert.ok(died > (when.length < 6 ? 0 : when.length / 3), `it died ${died} times of ${when.length}`);
        files.close();
        t.diagnostic(`${kind}, ${way}: ${JSON.stringify({ calls: names.length, died, ...figures })}`);
      });
    }
  });
}
