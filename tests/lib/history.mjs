// What clients were told, written down as it is told, and compared at the end with what
// happened: every promise of the service is kept, and kept once.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { EventSource } from 'eventsource';
import { form, hasEnded } from './server.mjs';

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export class History {
  constructor() {
    this.promises = new Map(); // idempotency key → {id, acknowledged: [ms], answers}
    this.answers = []; // every answer to a submission: {key, status, ms, retryAfter, at}
    this.unanswered = 0; // submissions whose connection broke
    this.told = new Map(); // channel and id → [status] as a client saw it change
    this.texts = new Map(); // id → the result a client has read
    this.ends = new Map(); // id → how many events told a follower of an end
    this.resets = 0; // times a follower was told that lines of the log are gone
    this.hooks = new Map(); // id → Map of Webhook-Id → deliveries
  }

  /**
   * Upload until it is accepted, as a client does that wants it done once. `url()` gives the
   * service to ask, anew for each attempt. Returns the id. Fails when the same key is ever
   * answered with another id.
   */
  async submit(url, key, bytes, { name = `${key}.wav`, fields = {}, headers = {}, more = () => true } = {}) {
    for (let attempt = 0; more(); attempt++) {
      const began = performance.now();
      let response;
      let body;
      try {
        response = await fetch(`${url()}/transcribe`, {
          method: 'POST', body: form(bytes, name, fields), headers: { 'Idempotency-Key': key, ...headers },
        });
        body = await response.json();
      } catch {
        this.unanswered++;
        await pause(20 + Math.min(attempt, 20) * 10);
        continue;
      }
      this.answers.push({
        key, status: response.status, ms: performance.now() - began, retryAfter: response.headers.get('retry-after'), at: Date.now(), body,
      });
      if (response.ok) {
        this.acknowledge(key, body.job_id);
        return body.job_id;
      }
      assert.ok([429, 503, 507].includes(response.status), `${key}: ${response.status} ${JSON.stringify(body)}`);
      await pause(50);
    }
    return undefined;
  }

  acknowledge(key, id) {
    const known = this.promises.get(key);
    if (!known) this.promises.set(key, { id, times: 1 });
    else {
      assert.equal(id, known.id, `${key} was accepted twice, as two jobs`);
      known.times++;
    }
  }

  get ids() { return [...this.promises.values()].map(({ id }) => id); }

  /**
   * What a client has seen of a job's state: an end is the end. A channel is one client who
   * asks one question after the other, or one stream: between two of them, an answer that was
   * longer on its way may be older.
   */
  saw(id, status, channel = '') {
    const list = this.told.get(`${channel} ${id}`) ?? [];
    if (list.at(-1) === status) return;
    assert.ok(!hasEnded({ status: list.at(-1) }), `${id} was told to be ${list.at(-1)}, then ${status}`);
    list.push(status);
    this.told.set(`${channel} ${id}`, list);
  }

  /** What a client has read as the result: it never changes. */
  read(id, text) {
    if (this.texts.has(id)) assert.equal(text, this.texts.get(id), `${id}: another result than before`);
    this.texts.set(id, text);
  }

  /**
   * Follow the stream of events of whichever service `url()` names now; after a break it goes
   * on behind the last id it got, as browsers do. Resolves when it hears. Returns {close(),
   * heard(): events, breaks()}.
   */
  async follow(url) {
    let [heard, breaks, last] = [0, 0, -1];
    const source = new EventSource('http://service/events', { fetch: (_, init) => fetch(`${url()}/events`, init) });
    source.addEventListener('error', () => { breaks++; });
    source.addEventListener('reset', () => { this.resets++; });
    source.addEventListener('job', ({ data, lastEventId }) => {
      heard++;
      assert.ok(Number(lastEventId) > last, `event ${lastEventId} behind ${last}`);
      last = Number(lastEventId);
      const { job_id: id, status } = JSON.parse(data);
      if (hasEnded({ status })) this.ends.set(id, (this.ends.get(id) ?? 0) + 1);
      this.saw(id, status, 'stream');
    });
    await once(source, 'ready');
    return { close: () => source.close(), heard: () => heard, breaks: () => breaks };
  }

  /**
   * Receive webhooks: `refuse()` true answers 503, and it has to come again. Returns
   * {url, origin, close()}; what has come is in `hooks`.
   */
  async receive({ refuse = () => false } = {}) {
    const server = http.createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8').on('data', (piece) => { text += piece; }).on('end', () => {
        const taken = !refuse();
        if (taken) this.hooked(JSON.parse(text), request.headers['webhook-id']);
        response.writeHead(taken ? 204 : 503).end();
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    server.unref();
    const origin = `127.0.0.1:${server.address().port}`;
    return { origin, url: `http://${origin}/hook`, close: () => { server.closeAllConnections(); server.close(); } };
  }

  hooked(body, delivery) {
    const { id } = body.job;
    assert.ok(delivery, `${id}: a webhook without an id`);
    const known = this.hooks.get(id) ?? new Map();
    known.set(delivery, (known.get(delivery) ?? 0) + 1);
    this.hooks.set(id, known);
  }

  /** Each of these jobs was told of by one notice, whose deliveries have one id. */
  checkHooks(ids) {
    for (const id of ids) assert.equal(this.hooks.get(id)?.size, 1, `${id}: ${this.hooks.get(id)?.size ?? 0} notices`);
    const deliveries = [...this.hooks.values()].flatMap((each) => [...each.values()]);
    return { notices: this.hooks.size, deliveries: deliveries.reduce((a, b) => a + b, 0) };
  }

  /** Who follows has heard of the end of each of these jobs, and once. */
  checkEnds(ids = this.ids) {
    const otherwise = ids.filter((id) => this.ends.get(id) !== 1).map((id) => [id, this.ends.get(id) ?? 0]);
    assert.deepEqual(otherwise.slice(0, 5), [], `${otherwise.length} ends not told of once`);
  }

  /** How many answers had each status. */
  statuses() {
    const counts = {};
    for (const { status } of this.answers) counts[status] = (counts[status] ?? 0) + 1;
    return counts;
  }

  /**
   * Compare with the database of a place (tests/lib/faults.mjs): each acknowledged job is
   * there and ended as `status`, once; each has one transcript; what nobody was told of is
   * at most what was uploaded without an answer. Returns figures.
   */
  check(at, { status = 'completed' } = {}) {
    const jobs = new Map(at.rows('SELECT id, status, attempt, coalesce(error_message, \'\') FROM jobs').map(([id, ...rest]) => [id, rest]));
    const lost = this.ids.filter((id) => !jobs.has(id));
    assert.deepEqual(lost, [], 'acknowledged and gone');
    const otherwise = this.ids.map((id) => [id, ...jobs.get(id)]).filter(([, now]) => now !== status);
    assert.deepEqual(otherwise.slice(0, 5), [], `${otherwise.length} did not end as ${status}`);
    const [[twice]] = at.rows('SELECT count(*) FROM (SELECT job_id FROM job_events WHERE '
      + `status = '${status}' AND is_state GROUP BY job_id HAVING count(*) > 1) AS e`);
    assert.equal(Number(twice), 0, 'jobs that ended twice');
    if (status === 'completed') {
      const texts = new Set(at.rows('SELECT job_id FROM transcripts').map(([id]) => id));
      assert.deepEqual(this.ids.filter((id) => !texts.has(id)), [], 'completed without a transcript');
    }
    for (const [told, list] of this.told) {
      const id = told.slice(told.indexOf(' ') + 1);
      if (hasEnded({ status: list.at(-1) })) assert.equal(jobs.get(id)?.[0], list.at(-1), `${id} was told to be ${list.at(-1)}`);
    }
    const known = new Set(this.ids);
    const unknown = [...jobs.keys()].filter((id) => !known.has(id)).length;
    assert.ok(unknown <= this.unanswered, `${unknown} jobs of which nobody was told, ${this.unanswered} uploads without an answer`);
    const attempts = [...jobs.values()].map(([, attempt]) => Number(attempt));
    return {
      jobs: this.ids.length,
      uploads: this.answers.length + this.unanswered,
      unanswered: this.unanswered,
      statuses: this.statuses(),
      attempts: attempts.reduce((a, b) => a + b, 0),
      mostAttempts: Math.max(0, ...attempts),
    };
  }
}


/**
 * Every id that a storage folder keeps must have a row, and every row that has not lost its
 * recording by rule a file. `at.rows` as above; `files` are names in uploads/.
 */
export function checkFiles(at, files) {
  const rows = new Set(at.rows('SELECT id FROM jobs UNION SELECT id FROM uploads').map(([id]) => id));
  const orphans = files.filter((name) => !rows.has(name.replace(/\..*$/, '')));
  assert.deepEqual(orphans, [], 'files of which no row knows');
  const there = new Set(files);
  const bare = at.rows("SELECT id FROM jobs WHERE status IN ('pending', 'processing')").map(([id]) => id)
    .filter((id) => !there.has(id));
  assert.deepEqual(bare, [], 'jobs whose recording is gone');
}
