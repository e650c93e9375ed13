// A proxy for TCP between the service and what it needs, which fails as networks do: it falls
// silent, cuts, refuses, is slow, or loses one answer.
import { once } from 'node:events';
import net from 'node:net';

/**
 * Listens on 127.0.0.1 and passes on to `target`: {port} or {path}, as it is when somebody
 * connects. Returns
 *   port
 *   silence(on)      takes everything and passes nothing on, as when a cable is pulled; what
 *                    was swallowed is never told later, so those connections end with it
 *   slow(ms)         each piece is that much later, in both directions; 0 ends it
 *   refuse(on)       whoever connects is cut off at once; those who are here stay
 *   cut()            ends all connections of now; how many
 *   loseAnswer(match)  cuts the next connection whose client sends something that contains
 *                    `match` (text), after the server has answered it and before the client
 *                    has seen the answer. Resolves when it has happened.
 *   intercept(fn)    fn({pair, from, data}) sees every piece; `from` is 'client' or 'server',
 *                    `pair` an object for each connection, the same each time. What it
 *                    returns happens: 'cut' ends the connection instead of passing this on,
 *                    'hold' passes nothing on and leaves the connection as it is; a promise
 *                    passes it on when it is kept
 *   count()          connections of now
 *   close()
 */
export async function tcpProxy(target) {
  const pairs = new Set();
  let silent = false;
  let delay = 0;
  let refusing = false;
  let loss = null;
  let judge = null;

  const server = net.createServer((client) => {
    client.on('error', () => {});
    if (refusing) { client.destroy(); return; }
    const upstream = net.connect(target.path ? { path: target.path } : { port: target.port, host: '127.0.0.1' });
    const pair = { sides: [client, upstream], doomed: null };
    pairs.add(pair);
    const end = () => { pairs.delete(pair); pair.sides.forEach((socket) => socket.destroy()); };
    const pass = (socket, data) => {
      if (delay) setTimeout(() => { if (!socket.destroyed) socket.write(data); }, delay);
      else if (!socket.destroyed) socket.write(data);
    };
    const stopped = (from, data) => {
      const verdict = judge?.({ pair, from, data });
      if (verdict === 'cut') end();
      verdict?.then?.(() => pass(from === 'client' ? upstream : client, data));
      return verdict === 'cut' || verdict === 'hold' || Boolean(verdict?.then);
    };
    client.on('data', (data) => {
      if (silent || stopped('client', data)) return;
      if (loss && data.includes(loss.match)) {
        pair.doomed = loss;
        loss = null;
      }
      pass(upstream, data);
    });
    upstream.on('data', (data) => {
      if (silent || stopped('server', data)) return;
      if (pair.doomed) {
        pair.doomed.happened();
        end();
        return;
      }
      pass(client, data);
    });
    for (const socket of pair.sides) {
      socket.on('error', () => {});
      socket.on('close', end);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();

  const cut = () => {
    const count = pairs.size;
    for (const pair of [...pairs]) pair.sides.forEach((socket) => socket.destroy());
    return count;
  };
  return {
    port: server.address().port,
    silence: (on) => { silent = on; if (!on) cut(); },
    slow: (ms) => { delay = ms; },
    refuse: (on) => { refusing = on; },
    cut,
    loseAnswer: (match) => new Promise((happened) => { loss = { match, happened }; }),
    intercept: (fn) => { judge = fn; },
    count: () => pairs.size,
    close: () => { cut(); server.close(); },
  };
}
