/*
 * What clients of all kinds do all the time, through a proxy: uploads in one piece, slowly and
 * by tus, reads, downloads, transcriptions that are waited for, WebSockets and streams of
 * events. What they were told is kept, to be compared with what happened.
 */
import assert from 'node:assert/strict';
import http from 'node:http';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { chance, sleep } from './faults.mjs';
import { History } from './history.mjs';
import { form, hasEnded, until, wav } from './server.mjs';
import { long as lasting } from './worker.mjs';

/** A second of silence that no other is equal to. */
const unlike = (number) => wav({ seconds: 1, sample: (t) => (t < 0.001 ? ((number % 9973) + 1) / 32768 : 0) });

/** Long enough to be told of by more than one service. */
const speech = lasting(120);

/** What clients do all the time, until they are told to end. */
export class Load {
  constructor(url) {
    this.url = url;
    this.history = new History();
    this.statuses = {};
    this.broken = [];
    this.wrong = [];
    this.counts = { uploads: 0, slow: 0, reads: 0, tus: 0, waited: 0, sockets: 0, resumed: 0, events: 0, reconnections: 0 };
    this.over = false;
    this.loops = [];
    this.number = 0;
    this.streams = [];
  }

  note(what, status, body = '') {
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
    // Who says 503, the proxy or a service and why, is in its body.
    if (status >= 500) this.wrong.push(`${what}: ${status}${status === 503 ? ` ${body.slice(0, 200)}` : ''}`);
  }

  /** One request; undefined when its connection broke. */
  async ask(what, where, init) {
    try {
      const response = await fetch(this.url + where, init);
      const body = await response.text();
      this.note(what, response.status, body);
      return { status: response.status, headers: response.headers, body };
    } catch (error) {
      this.broken.push(`${what}: ${error.cause?.code ?? error.message}`);
      return undefined;
    }
  }

  loop(work, pause) {
    this.loops.push((async () => {
      while (!this.over) {
        await work();
        await sleep(pause);
      }
    })());
  }

  async post(what, where, body, key, idOf) {
    for (;;) {
      const answer = await this.ask(what, where, { method: 'POST', body: body(), headers: { 'Idempotency-Key': key } });
      if (answer && answer.status < 300) {
        this.history.acknowledge(key, idOf(answer));
        return idOf(answer);
      }
      if (!answer) this.history.unanswered++;
      else if (answer.status < 500) throw new Error(`${what}: ${answer.status} ${answer.body}`);
      await sleep(50);
    }
  }

  async upload(bytes) {
    const number = this.number++;
    const id = await this.post('upload', '/transcribe', () => form(bytes ?? unlike(number)), `key-${number}`, (a) => JSON.parse(a.body).job_id);
    this.counts.uploads++;
    return id;
  }

  /** Until a job has ended: who asks for one after the other never fills the queue. */
  async finish(id) {
    for (let job; id && !(job && hasEnded(job)); await sleep(200)) {
      const answer = await this.ask('GET /jobs/', `/jobs/${id}`);
      if (answer?.status === 200) job = JSON.parse(answer.body);
      if (job) this.history.saw(id, job.status, 'finish');
    }
  }

  /** A body that takes a second and a half: it is under way when a service stops. */
  async slow() {
    const number = this.number++;
    const key = `slow-${number}`;
    const body = Buffer.concat([Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="slow.wav"\r\n\r\n'), unlike(number), Buffer.from('\r\n--b--\r\n')]);
    const answer = await new Promise((resolve) => {
      const request = http.request(`${this.url}/transcribe`, {
        method: 'POST', agent: false, headers: { 'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': body.length, 'Idempotency-Key': key },
      }, (response) => {
        let text = '';
        response.on('data', (piece) => { text += piece; });
        response.on('end', () => resolve({ status: response.statusCode, text }));
        response.on('error', (error) => resolve({ error }));
      });
      request.on('error', (error) => resolve({ error }));
      const piece = Math.ceil(body.length / 15);
      (async () => {
        for (let i = 0; i < body.length && !request.destroyed; i += piece) {
          request.write(body.subarray(i, i + piece));
          await sleep(100);
        }
        request.end();
      })();
    });
    if (answer.error) {
      this.broken.push(`slow upload: ${answer.error.code}`);
      this.history.unanswered++;
      return;
    }
    this.note('slow upload', answer.status);
    if (answer.status === 202) this.history.acknowledge(key, JSON.parse(answer.text).job_id);
    this.counts.slow++;
  }

  async read(random, channel) {
    const ids = this.history.ids;
    const where = random.pick(['/jobs?limit=5', '/', '/openapi.json', '/v1/models', ...ids.slice(-20).map((id) => `/jobs/${id}`)]);
    const answer = await this.ask(`GET ${where}`, where, { headers: { Accept: 'text/html' } });
    this.counts.reads++;
    if (!answer || !where.startsWith('/jobs/') || answer.status !== 200) return;
    const job = JSON.parse(answer.body);
    this.history.saw(job.id, job.status, channel);
    if (job.status !== 'completed') return;
    const text = await this.ask('download', `${where}/download?format=txt`);
    if (text?.status === 200) this.history.read(job.id, text.body);
  }

  /** A resumable upload in three pieces, each wherever the proxy sends it. */
  async tus() {
    const bytes = unlike(this.number++);
    const head = { 'Tus-Resumable': '1.0.0' };
    let place;
    while (!place) {
      const made = await this.ask('tus POST', '/uploads', { method: 'POST', headers: { ...head, 'Upload-Length': bytes.length, 'Upload-Metadata': `filename ${Buffer.from('tus.wav').toString('base64')}` } });
      place = made?.status === 201 && new URL(made.headers.get('location'), this.url).pathname;
    }
    const step = Math.ceil(bytes.length / 3);
    for (let at = 0; at < bytes.length;) {
      const sent = await this.ask('tus PATCH', place, { method: 'PATCH', body: bytes.subarray(at, at + step), headers: { ...head, 'Upload-Offset': at, 'Content-Type': 'application/offset+octet-stream' } });
      if (sent?.status === 204) at = Number(sent.headers.get('upload-offset'));
      else {
        const known = await this.ask('tus HEAD', place, { method: 'HEAD', headers: head });
        at = Number(known?.headers.get('upload-offset') ?? at);
      }
    }
    this.history.acknowledge(place, place.split('/').at(-1));
    this.counts.tus++;
    await this.finish(place.split('/').at(-1));
  }

  /** OpenAI's door, which answers when the job is done. */
  async wait() {
    const number = this.number++;
    const body = () => { const f = form(unlike(number)); f.append('model', 'whisper-1'); return f; };
    const id = await this.post('transcription', '/v1/audio/transcriptions', body, `openai-${number}`, (a) => a.headers.get('x-job-id'));
    this.history.saw(id, 'completed');
    this.counts.waited++;
  }

  /** A WebSocket for a new job, again and again until it has said the end. */
  async follow() {
    const id = await this.upload(speech);
    for (let last = -1, ended = false, times = 0; !ended; times++) {
      const socket = new WebSocket(`${this.url.replace('http', 'ws')}/ws/jobs/${id}`);
      const code = await new Promise((resolve) => {
        socket.on('message', (text) => {
          const said = JSON.parse(text);
          if (said.progress < last) this.wrong.push(`WebSocket: ${last} %, then ${said.progress} %`);
          last = said.progress;
          this.history.saw(id, said.status, 'follow');
          ended = hasEnded(said);
        });
        socket.on('unexpected-response', (_, response) => { this.note('WebSocket', response.statusCode); resolve(0); });
        socket.on('error', (error) => { this.broken.push(`WebSocket: ${error.code ?? error.message}`); resolve(0); });
        socket.on('close', resolve);
      });
      if (code === 1000 && !ended) this.wrong.push('WebSocket: closed before the end');
      else if (![0, 1000, 1001].includes(code)) this.broken.push(`WebSocket: closed with ${code}`);
      this.counts.sockets++;
      if (times) this.counts.resumed++;
      if (!ended) await sleep(100);
    }
  }

  /** A listener to all events, which goes on from the last one it has heard. */
  listen() {
    const stream = { heard: [], first: 0 };
    const hear = (event) => {
      const number = Number(event.lastEventId);
      if (stream.heard.length && number <= stream.heard.at(-1)) this.wrong.push(`event ${number} came after ${stream.heard.at(-1)}`);
      stream.heard.push(number);
      this.counts.events++;
    };
    const connect = () => {
      const source = new EventSource(`${this.url}/events`, {
        fetch: (where, init) => fetch(where, { ...init, headers: { ...init.headers, ...(stream.last && { 'Last-Event-ID': stream.last }) } }),
      });
      source.addEventListener('ready', (event) => { stream.first = Number(event.lastEventId); stream.last = event.lastEventId; });
      source.addEventListener('reset', () => this.wrong.push('events: reset'));
      for (const type of ['job', 'deleted']) source.addEventListener(type, (event) => { stream.last = event.lastEventId; hear(event); });
      source.onerror = (error) => {
        this.counts.reconnections++;
        if (error.code) {
          this.note('events', error.code);
          source.close(); // an EventSource gives up then; a page begins a new one
          if (!this.over) setTimeout(connect, 200);
        }
      };
      stream.source = source;
    };
    connect();
    this.streams.push(stream);
  }

  async start() {
    const random = chance(this.url);
    this.listen();
    this.listen();
    await until(() => this.streams.every(({ last }) => last), (all) => all);
    for (let i = 0; i < 2; i++) this.loop(async () => this.finish(await this.upload()), 100);
    for (let i = 0; i < 2; i++) this.loop(() => this.read(random, `read-${i}`), 30);
    for (const what of ['slow', 'tus', 'wait', 'follow']) this.loop(() => this[what](), 200);
  }

  /** Every state that the log in the database has must have come, to each, once. */
  checkEvents(at) {
    for (const { heard, first } of this.streams) {
      const states = at.rows(`SELECT number FROM job_events WHERE is_state AND number > ${first} ORDER BY number`).map(([n]) => Number(n));
      const got = new Set(heard);
      assert.equal(got.size, heard.length, 'events that came twice');
      assert.deepEqual(states.filter((n) => !got.has(n)), [], `events that never came, of ${states.length}`);
    }
  }

  async end(at) {
    this.over = true;
    await Promise.all(this.loops);
    const open = () => Number(at.rows("SELECT count(*) FROM jobs WHERE status IN ('pending', 'processing')")[0][0]);
    await until(open, (n) => n === 0);
    const newest = Number(at.rows('SELECT max(number) FROM job_events WHERE is_state')[0][0]);
    await until(() => this.streams.every(({ heard }) => heard.at(-1) >= newest), (all) => all);
    this.streams.forEach(({ source }) => source.close());
  }

  figures() {
    const { broken, statuses } = this;
    return { ...this.counts, statuses, broken: broken.length };
  }
}
