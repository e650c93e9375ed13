// What PostgreSQL's clients commit, read off the wire of a proxy (tests/lib/tcp.mjs): each
// transaction has a name, made of the statements in it, and the one of a chosen name can be
// cut off before its COMMIT has arrived, or after it was done and before that was told.
// The protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html

/** The whole messages of one direction; what is cut short waits for the rest. */
class Messages {
  constructor(greets) {
    this.rest = Buffer.alloc(0);
    this.greets = greets; // what a client sends first has no type
  }

  * take(data) {
    this.rest = Buffer.concat([this.rest, data]);
    for (;;) {
      const head = this.greets ? 0 : 1;
      if (this.rest.length < head + 4) return;
      const length = head + this.rest.readInt32BE(head);
      if (this.rest.length < length) return;
      const message = this.rest.subarray(0, length);
      this.rest = this.rest.subarray(length);
      if (this.greets) {
        // A question for encryption is answered by one letter, and asked before the greeting.
        this.greets = length === 8;
        continue;
      }
      yield { type: String.fromCharCode(message[0]), body: message.subarray(5) };
    }
  }
}

const textAt = (body, from = 0) => body.toString('utf8', from, body.indexOf(0, from));

/** "INSERT jobs": the verb and the table. */
function nameOf(sql) {
  const words = /^\s*(?:WITH\b.*?\b)?(INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)/s.exec(sql);
  return words && `${words[1].split(' ')[0]} ${words[2]}`;
}

/** What becomes of a job is always UPDATE jobs: say which of them it is. */
function detailOf(sql) {
  const set = /^UPDATE jobs SET (?:status = '(\w+)'|(\w+))/.exec(sql.trim());
  if (!set) return '';
  if (set[1] !== 'pending') return `(${set[1] ?? set[2]})`;
  return /crashes = 0/.test(sql) ? '(again)' : /lease_until_ms </.test(sql) ? '(lapsed)' : /holder/.test(sql) ? '(left)' : '(back)';
}

/**
 * Returns {names, lose(name, what), on(name, fn)}. `names` counts each kind of commit that was
 * made. `lose` resolves when the next one of this name was cut off: what: 'answer', or
 * 'question' for a COMMIT that does not arrive. `on` calls fn once, when the answer to the
 * next one of this name has been passed on.
 */
export function commits(proxy) {
  const names = new Map();
  const wanted = [];
  let awaited = null;
  const stateOf = (pair) => {
    pair.wire ??= { messages: new Messages(true), prepared: new Map(), inside: null, committing: null, doomed: null };
    return pair.wire;
  };
  const run = (wire, sql) => {
    if (/^BEGIN/.test(sql)) wire.inside = new Set();
    else if (/^ROLLBACK/.test(sql)) wire.inside = null;
    else if (/^COMMIT/.test(sql) && wire.inside) {
      // Which of the texts lie on a lock or a number says nothing of what is done.
      wire.committing = [...wire.inside].join(', ') || 'nothing';
      wire.inside = null;
    } else {
      const name = nameOf(sql);
      if (name && name !== 'INSERT commits') wire.inside?.add(name + detailOf(sql));
    }
  };
  proxy.intercept(({ pair, from, data }) => {
    const wire = stateOf(pair);
    if (from === 'server') {
      if (!wire.committing) return 'pass';
      const name = wire.committing;
      wire.committing = null;
      if (wire.doomed) { wire.doomed.happened(); return 'cut'; }
      if (awaited?.name === name) { const { fn } = awaited; awaited = null; setImmediate(fn); }
      return 'pass';
    }
    for (const { type, body } of wire.messages.take(data)) {
      if (type === 'P') {
        const name = textAt(body);
        wire.prepared.set(name, textAt(body, Buffer.byteLength(name) + 1));
      } else if (type === 'B') {
        const portal = textAt(body);
        run(wire, wire.prepared.get(textAt(body, Buffer.byteLength(portal) + 1)) ?? '');
      } else if (type === 'Q') {
        run(wire, textAt(body));
      }
    }
    if (!wire.committing || wire.doomed) return 'pass';
    names.set(wire.committing, (names.get(wire.committing) ?? 0) + 1);
    const at = wanted.findIndex(({ name }) => name === wire.committing);
    if (at < 0) return 'pass';
    const [loss] = wanted.splice(at, 1);
    if (loss.what === 'question') { loss.happened(); return 'cut'; }
    wire.doomed = loss;
    return 'pass';
  });
  return {
    names,
    lose: (name, what) => new Promise((happened) => { wanted.push({ name, what, happened }); }),
    on: (name, fn) => { awaited = { name, fn }; },
  };
}
