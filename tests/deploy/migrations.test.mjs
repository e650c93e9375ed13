// Forward and back, and two versions at the same time: this version with a database that is
// one step newer, as its successor will leave it, and what is refused. With WT_FORMER, another
// binary, the real former version beside this one: script/former-version makes one.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { command, kinds, place } from '../lib/faults.mjs';
import { form, getJson, startServer, transcribe, waitForJob, wav } from '../lib/server.mjs';

const former = process.env.WT_FORMER;

async function done(server) {
  const { status, body } = await transcribe(server, form(wav()));
  assert.equal(status, 202, JSON.stringify(body));
  await waitForJob(server, body.job_id);
  return body.job_id;
}

const status = (at) => {
  const r = command(at, 'migrate', 'status', '--json');
  return { code: r.status, err: r.err, ...(r.out && JSON.parse(r.out)) };
};

/** What the next version might do: a column more, and a table of its own. */
function expand(at, { known, oldest }) {
  at.change('ALTER TABLE jobs ADD COLUMN of_the_next_version TEXT');
  at.change(`INSERT INTO schema_version (version, name, applied_ms, oldest) VALUES (${known + 1}, 'next', 1, ${oldest})`);
}

for (const { name, skip } of kinds.filter((kind) => kind.name !== 'redis')) {
  describe(`schema on ${name}`, { skip, timeout: 120_000 }, () => {
    test('a database of the next version that allows this one is used, by all that run', async () => {
      const at = await place(name);
      assert.equal(command(at, 'migrate', 'status').status, name === 'sqlite' ? 1 : 0); // a server has a database
      let server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const before = await done(server);
      const { schema, known, runs, services, code } = status(at);
      assert.equal(code, 0);
      assert.equal(schema, known);
      assert.equal(runs, true);
      assert.equal(services, 1);
      // Under the service that runs, as the next version would do on a server.
      expand(at, { known, oldest: known });
      assert.equal(status(at).schema, known + 1);
      assert.equal(status(at).runs, true);
      await done(server);
      // It starts anew, and so do the verbs.
      await server.stop();
      server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      assert.match(server.log(), /newer version .* allows this one/);
      const id = await done(server);
      assert.equal((await getJson(server, `/jobs/${before}`)).body.status, 'completed');
      assert.equal(command(at, 'queue', 'ls').status, 0);
      assert.equal(command(at, 'database', 'check').status, 0);
      assert.equal((await getJson(server, `/jobs/${id}`, { method: 'DELETE' })).status, 200);
      await server.stop();
      // A step that this one does not know, it cannot take back.
      const back = command(at, 'migrate', 'down');
      assert.equal(back.status, 1);
      assert.match(back.err, /knows only up to/);
    });

    test('one that does not allow it is refused, in a sentence that helps', async () => {
      const at = await place(name);
      const server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const { known } = status(at);
      await server.stop();
      expand(at, { known, oldest: known + 1 });
      await assert.rejects(at.serve({ EMBEDDED_WORKERS: 'on' }), (error) => {
        assert.match(error.message, new RegExp(`newer version.*migrate down --to ${known}`));
        return true;
      });
      assert.equal(command(at, 'queue', 'ls').status, 1);
      const now = status(at);
      assert.equal(now.code, 1);
      assert.equal(now.runs, false);
    });

    test('back by one step and forward again, with all that is kept', async () => {
      const at = await place(name);
      let server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      const id = await done(server);
      const { known } = status(at);
      assert.equal(command(at, 'hold', 'add', id, '--reason', 'evidence').status, 0);
      const refused = command(at, 'migrate', 'down');
      assert.equal(refused.status, 1, 'a service of this version runs');
      assert.match(refused.err, name === 'sqlite' ? /used by another running service/ : /needs schema/);
      await server.stop();
      assert.equal(command(at, 'migrate', 'down').status, 0);
      assert.equal(status(at).schema, known - 1);
      // Held all the same, for the former version.
      try { at.change('DELETE FROM jobs'); } catch { /* SQLite says so */ }
      assert.equal(at.rows('SELECT count(*) FROM jobs')[0][0], '1');
      assert.equal(command(at, 'migrate', 'up').status, 0);
      assert.equal(status(at).schema, known);
      assert.equal(command(at, 'migrate', 'up').status, 0, 'nothing left to do');
      assert.match(command(at, 'migrate', 'down', '--to', '1').err, /no way back/);
      assert.equal(status(at).schema, known, 'all or nothing');
      assert.equal(command(at, 'migrate', 'up', '--to', '99999').status, 2);
      server = await at.serve({ EMBEDDED_WORKERS: 'on' });
      assert.equal((await getJson(server, `/jobs/${id}`)).body.hold.reason, 'evidence');
      await server.stop();
    });
  });
}

test('the real former version, and this one beside it', { skip: !former && 'WT_FORMER names no binary', timeout: 300_000 }, async () => {
  for (const { name, skip } of kinds.filter((kind) => kind.name !== 'redis')) {
    if (skip) continue;
    const at = await place(name);
    const env = { ...at.env, EMBEDDED_WORKERS: 'on' };
    let old = await startServer({ folder: at.folder, program: former, env });
    const first = await done(old);
    if (name === 'sqlite') await old.stop();
    let fresh = await startServer({ folder: at.folder, env });
    if (name === 'postgresql') { // both at work
      const [a, b] = [await done(old), await done(fresh)];
      assert.equal((await getJson(old, `/jobs/${b}`)).body.status, 'completed');
      assert.equal((await getJson(fresh, `/jobs/${a}`)).body.status, 'completed');
      assert.equal(command(at, 'hold', 'add', a, '--reason', 'x').status, 0);
      assert.notEqual((await getJson(old, `/jobs/${a}`, { method: 'DELETE' })).status, 200);
      assert.equal((await getJson(fresh, `/jobs/${a}`)).status, 200);
      await old.stop();
    }
    assert.equal((await getJson(fresh, `/jobs/${first}`)).body.status, 'completed');
    await fresh.stop();
    // And back: nothing is lost.
    assert.equal(command(at, 'migrate', 'down').status, 0);
    old = await startServer({ folder: at.folder, program: former, env });
    assert.equal((await getJson(old, `/jobs/${first}`)).body.status, 'completed');
    await done(old);
    await old.stop();
    fresh = await startServer({ folder: at.folder, env });
    assert.equal((await getJson(fresh, `/jobs/${first}`)).body.status, 'completed');
    await fresh.stop();
  }
});
