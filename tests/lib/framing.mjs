/*
 * Requests that two servers could read in two ways, and what must come of them: one refusal,
 * and nothing of what follows is taken for a request. Raw sockets: no client library sends
 * these.
 */
import assert from 'node:assert/strict';
import net from 'node:net';

/** A socket with what it has heard so far. */
export function dial(server) {
  const socket = net.connect(server.port, '127.0.0.1');
  const heard = { text: '', closed: false, socket };
  socket.setEncoding('latin1').on('data', (text) => { heard.text += text; });
  socket.on('error', () => {});
  heard.end = new Promise((resolve) => socket.on('close', () => { heard.closed = true; resolve(heard); }));
  heard.send = (text) => socket.write(text);
  return heard;
}

/** Send and wait until the server closes; the answer as text. */
export async function say(server, text) {
  const line = dial(server);
  line.send(text);
  await line.end;
  line.socket.destroy();
  return line.text;
}

export const upload = 'POST /transcribe HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n';
const rest = 'Host: a\r\nConnection: close\r\n';

export const ambiguousHeads = {
  'two lengths': `${upload}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
  'two lengths that are equal': `${upload}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
  'a length and chunks': `${upload}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'a space before the colon': `${upload}Content-Length : 3\r\n\r\nabc`,
  'a bare LF after the request line': 'GET / HTTP/1.1\nHost: a\r\nConnection: close\r\n\r\n',
  'a bare LF after a header': 'GET / HTTP/1.1\r\nHost: a\nConnection: close\r\n\r\n',
  'a bare LF at the end': 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\n',
  'a bare CR': 'GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\nConnection: close\r\n\r\n',
  'a folded line': 'GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\nConnection: close\r\n\r\n',
  'a NUL': 'GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\nConnection: close\r\n\r\n',
  'a NUL that hides a byte and a bare LF': 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: a\0*\n\n',
  'a line without a name behind a bare LF': 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\n:1\n',
  'two hosts': 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n',
  'no host': 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n',
  'a space in the path': 'GET /jobs x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  'a NUL in the method': `GET\0 / HTTP/1.1\r\n${rest}\r\n`,
  'a NUL in the path': `GET /\0x HTTP/1.1\r\n${rest}\r\n`,
  'a NUL in the query': `GET /?a\0b HTTP/1.1\r\n${rest}\r\n`,
  'a NUL in the version': `GET / HTTP/1.1\0\r\n${rest}\r\n`,
  'two spaces before the path': `GET  / HTTP/1.1\r\n${rest}\r\n`,
  'a folded line in front': `GET / HTTP/1.1\r\n X: y\r\n${rest}\r\n`,
  'a line without a name': `GET / HTTP/1.1\r\n: x\r\n${rest}\r\n`,
  'a line without a colon': `GET / HTTP/1.1\r\nX\r\n${rest}\r\n`,
};

/** One of the right form, with everything that is allowed in it. */
export const goodHead = `GET /health/live?a=b&c HTTP/1.1\r\nCookie: a=b; c=d\r\nEmpty:\r\nBlank: \t\r\nX: \t two  spaces \t\r\n${rest}\r\n`;

const statuses = (answer) => answer.match(/^HTTP\/1\.[01] \d{3} /gm) ?? [];

/** The answer is one refusal. Only a line with a NUL may be no request to the library: then it closes. */
export function assertRefused(name, answer) {
  if (answer === '' && /^a NUL in the (method|path|query|version)$/.test(name)) return;
  assert.match(answer, /^HTTP\/1\.1 400 /, name);
  assert.equal(statuses(answer).length, 1, `${name}: ${answer}`);
}

/** Whether the server stands on libmicrohttpd 1.0, which closes at such a line; 0.9 lets us answer. */
export async function isVersion1(server) { return (await say(server, ambiguousHeads['a NUL in the path'])) === ''; }
