// A client of the Wyoming protocol that writes what the published library for Python writes, byte for byte: the header
// as json.dumps puts it, the data behind it, then the payload.
import { once } from 'node:events';
import net from 'node:net';

const VERSION = '1.7.2';

/** JSON with the spaces of Python's json.dumps. */
export function dumps(value) {
  if (Array.isArray(value)) return `[${value.map(dumps).join(', ')}]`;
  if (value && typeof value === 'object') {
    return `{${Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${dumps(v)}`).join(', ')}}`;
  }
  return JSON.stringify(value);
}

/** The bytes of one event. */
export function event(type, data, payload) {
  const header = { type, version: VERSION };
  const bytes = data && Object.keys(data).length ? Buffer.from(dumps(data)) : Buffer.alloc(0);
  if (bytes.length) header.data_length = bytes.length;
  if (payload?.length) header.payload_length = payload.length;
  return Buffer.concat([Buffer.from(`${dumps(header)}\n`), bytes, payload ?? Buffer.alloc(0)]);
}

export class Client {
  #bytes = Buffer.alloc(0);
  #wake = () => {};
  ended = false;

  static async connect(port) {
    const client = new Client();
    client.socket = net.connect(port, '127.0.0.1');
    await once(client.socket, 'connect');
    client.socket.on('data', (data) => { client.#bytes = Buffer.concat([client.#bytes, data]); client.#wake(); });
    client.socket.on('error', () => {});
    client.socket.on('close', () => { client.ended = true; client.#wake(); });
    return client;
  }

  send(type, data, payload) { this.socket.write(event(type, data, payload)); }

  raw(bytes) { this.socket.write(bytes); }

  async #until(enough) {
    while (!enough() && !this.ended) await new Promise((resolve) => { this.#wake = resolve; });
    return enough();
  }

  #take(n) {
    const part = this.#bytes.subarray(0, n);
    this.#bytes = this.#bytes.subarray(n);
    return part;
  }

  /** The next event, or null when the server has closed; header and data are held to the protocol. */
  async read() {
    if (!await this.#until(() => this.#bytes.includes(10))) return null;
    const header = JSON.parse(this.#take(this.#bytes.indexOf(10) + 1).toString());
    let data = header.data ?? {};
    if (header.data_length) {
      await this.#until(() => this.#bytes.length >= header.data_length);
      data = { ...data, ...JSON.parse(this.#take(header.data_length).toString()) };
    }
    if (header.payload_length) {
      await this.#until(() => this.#bytes.length >= header.payload_length);
      this.#take(header.payload_length);
    }
    return { type: header.type, data };
  }

  /** Every event up to the one of that type, or to the end. */
  async readUntil(type) {
    const events = [];
    for (;;) {
      const e = await this.read();
      if (e) events.push(e);
      if (!e || e.type === type) return events;
    }
  }

  /** What Home Assistant does for one voice command. */
  speak(pcm, { rate = 16000, width = 2, channels = 1, language = 'en', piece = 2048, ask = {} } = {}) {
    const format = { rate, width, channels, timestamp: null };
    this.send('transcribe', { ...ask, language });
    this.send('audio-start', format);
    for (let at = 0; at < pcm.length; at += piece) this.send('audio-chunk', format, pcm.subarray(at, at + piece));
    this.send('audio-stop', { timestamp: null });
  }

  close() { this.socket.destroy(); }
}
