// What openapi.json promises, for tests: requests made from it, answers held against it.
import Ajv from 'ajv/dist/2020.js';
import fc from 'fast-check';

/** Texts that mean nothing in most places, and bytes that parsers trip over. */
const nonsense = fc.oneof(
  fc.constantFrom('', ' ', '0', '-1', '+5', ' 5', '5 ', '1e999', 'NaN', 'null', 'none', 'true', '[]', '{}', '{"a":1}',
    '99999999999999999999', '9223372036854775807', '-9223372036854775808', '0x10', '../../etc/passwd', '/', '\\', '.', '..',
    '\' OR 1=1 --', '"', '""', '*', '"a*', 'a AND', 'NEAR(', '\u0000', 'a\u0000b', '\r\n', '%', '%n%s', '💥', '\u202e', '\uffff',
    '<script>', 'x'.repeat(600), '界'.repeat(300), 'a '.repeat(500)),
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
);

const brokenEscapes = ['%', '%z', '%zz', '%ff', '%c0%af', '%00', '%2f', '%2e%2e', '%ed%a0%80', 'a%', '%25', '+', ';', '..'];

const ignored = (number) => (number === 0 ? 0 : number); // -0 is written as 0

export class Description {
  constructor(document) {
    this.document = document;
    this.ajv = new Ajv({ strict: false, allErrors: true });
    this.ajv.addFormat('date-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
    this.ajv.addFormat('uuid', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    this.ajv.addFormat('binary', true);
    this.ajv.addSchema(document, 'openapi.json');
    this.validators = new Map();
    this.operations = Object.entries(document.paths).flatMap(([path, item]) => Object.entries(item)
      .map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })));
  }

  follow(node) {
    if (!node?.$ref) return node;
    return this.follow(node.$ref.slice(2).split('/').reduce((at, key) => at[key], this.document));
  }

  operation(method, path) {
    return this.operations.find((o) => o.method === method && o.path === path);
  }

  /** Whether a value is what a schema of the document says; the errors, or null. */
  errors(pointer, value) {
    if (!this.validators.has(pointer)) this.validators.set(pointer, this.ajv.compile({ $ref: `openapi.json#${pointer}` }));
    const validate = this.validators.get(pointer);
    return validate(value) ? null : this.ajv.errorsText(validate.errors);
  }

  /** What is wrong with an answer to an operation: a sentence, or null. */
  judge(operation, answer) {
    const { status, type, text } = answer;
    const base = `/paths/${operation.path.replaceAll('~', '~0').replaceAll('/', '~1')}/${operation.method.toLowerCase()}/responses/${status}`;
    if (!operation.responses[status]) return `${status} is not described: ${text?.slice(0, 300)}`;
    const ref = operation.responses[status].$ref;
    const described = this.follow(operation.responses[status]).content;
    if (text === null || (!text && !described)) return null;
    const media = Object.keys(described ?? {}).find((name) => name === type || name === '*/*');
    if (!media) return `${status} comes as ${type}, which is not described: ${text.slice(0, 300)}`;
    if (type !== 'application/json' || !described[media].schema || media === '*/*') return null;
    const pointer = `${ref ? ref.slice(1) : base}/content/${media.replace('/', '~1')}/schema`;
    const errors = this.errors(pointer.split('/').map(encodeURIComponent).join('/'), JSON.parse(text));
    return errors && `${status} is not as described (${errors}): ${text.slice(0, 600)}`;
  }

  /** A value as a schema has it. */
  valid(node) {
    const schema = this.follow(node);
    const type = [].concat(schema.type ?? [])[0];
    if (schema.const !== undefined) return fc.constant(schema.const);
    if (schema.enum) return fc.constantFrom(...schema.enum);
    if (schema.examples) return fc.constantFrom(...schema.examples);
    if (schema.anyOf) return fc.oneof(...schema.anyOf.map((s) => this.valid(s)));
    if (type === 'integer') {
      const { minimum = 0, maximum = 1e6 } = schema;
      return fc.integer({ min: minimum, max: Math.min(maximum, 2 ** 31 - 1) });
    }
    if (type === 'number') {
      const { minimum = 0, maximum = 1e6 } = schema;
      return fc.double({ min: minimum, max: maximum, noNaN: true }).map(ignored);
    }
    if (type === 'boolean') return fc.boolean();
    if (type === 'null') return fc.constant(null);
    if (type === 'array') return fc.array(this.valid(schema.items), { minLength: schema.minItems ?? 0, maxLength: 3 });
    if (type === 'object') {
      return fc.record(Object.fromEntries(Object.entries(schema.properties ?? {}).map(([k, s]) => [k, this.valid(s)])),
        { requiredKeys: schema.required ?? [] });
    }
    if (schema.pattern) return fc.stringMatching(new RegExp(schema.pattern));
    return fc.string({ minLength: schema.minLength ?? 0, maxLength: 30 });
  }

  /** Whether a text of a query or a form cannot be what the schema says. */
  forbids(node, text) {
    const schema = this.follow(node);
    const types = [].concat(schema.type ?? []);
    if (text === '') return false; // as if it were missing
    if (schema.enum) return !schema.enum.includes(text);
    if (types.includes('string') || !(types.includes('integer') || types.includes('number'))) return false;
    const number = Number(text);
    return Number.isNaN(number) || number < schema.minimum || number > schema.maximum;
  }

  /** All members of a form, those of `allOf` too. */
  members(node) {
    const schema = this.follow(node);
    return Object.assign({}, schema.properties, ...(schema.allOf ?? []).map((s) => this.members(s)));
  }
}

/* ---- parts of requests ------------------------------------------------------------- */

const often = (a, b) => fc.oneof({ arbitrary: a, weight: 4 }, { arbitrary: b, weight: 1 });
const mostly = (a, b) => fc.oneof({ arbitrary: a, weight: 12 }, { arbitrary: b, weight: 1 });
const written = (value) => (value === null || typeof value === 'object' ? JSON.stringify(value) : String(value));

function pathValue(known) {
  const strings = known.length ? fc.oneof({ arbitrary: fc.constantFrom(...known), weight: 3 }, { arbitrary: nonsense, weight: 1 }) : nonsense;
  return often(strings.map(encodeURIComponent), fc.constantFrom(...brokenEscapes));
}

const headerText = fc.oneof(
  fc.stringMatching(/^[ -~\xa0-\xff]{0,40}$/),
  fc.constantFrom('', ',', ';', '=', ':', '"', 'x'.repeat(1000), '*', '*/*;q=0', 'é'),
);

/** Headers that mean something to a server, with what they may hold and with what not. */
const oddHeaders = fc.dictionary(
  fc.constantFrom('accept', 'accept-encoding', 'accept-language', 'authorization', 'x-api-key', 'cookie', 'origin', 'referer',
    'range', 'if-range', 'if-none-match', 'if-modified-since', 'last-event-id', 'x-request-id', 'x-forwarded-for', 'x-forwarded-proto',
    'x-forwarded-host', 'forwarded', 'idempotency-key', 'content-encoding', 'sec-websocket-key', 'sec-websocket-version',
    'upgrade-insecure-requests', 'x-http-method-override', 'prefer', 'te', 'user-agent'),
  fc.oneof(headerText, fc.constantFrom('text/html', 'application/json', 'gzip', 'gzip;q=0', 'identity', 'bytes=0-', 'bytes=-5', 'bytes=9-1',
    'bytes=99999999999999999999-', 'bytes=0-1,3-4', '127.0.0.1', '::1', 'http://evil.example', 'null', '13', 'Bearer ', 'Basic Og==',
    'wt_session=x', '0', '-1', '9999999999')),
  { maxKeys: 3 },
);

function query(description, parameters) {
  const each = parameters.map((p) => fc.option(
    often(
      description.valid(p.schema).map((value) => [p.name, written(value), p.schema, true]),
      nonsense.map((text) => [p.name, text, p.schema, false]),
    ),
    { nil: null, freq: 2 },
  ));
  const extra = fc.array(fc.tuple(nonsense, nonsense, fc.constant(null), fc.constant(false)), { maxLength: 2 });
  return fc.tuple(fc.tuple(...each), fc.oneof({ arbitrary: fc.constant([]), weight: 4 }, { arbitrary: extra, weight: 1 }))
    .map(([list, more]) => [...list.filter(Boolean), ...more]);
}

function jsonBody(description, schema) {
  const value = description.valid(schema).map((v) => JSON.stringify(v));
  const bent = fc.tuple(description.valid(schema), fc.constantFrom(...Object.keys(description.follow(schema).properties)), fc.jsonValue())
    .map(([v, key, wrong]) => JSON.stringify({ ...v, [key]: wrong }));
  const bytes = fc.oneof(
    { arbitrary: value, weight: 5 },
    { arbitrary: bent, weight: 4 },
    { arbitrary: fc.json(), weight: 2 },
    { arbitrary: nonsense, weight: 1 },
    { arbitrary: fc.constantFrom('['.repeat(5000), '{"a":'.repeat(3000), '{"name":"x","name":"y"}', '{"name":"\\ud800"}', '{"name":"\\u0000"}', 'x'.repeat(20000)), weight: 1 },
  ).map((text) => Buffer.from(text));
  return fc.record({ bytes, type: often(fc.constant('application/json'), fc.oneof(headerText, fc.constantFrom('text/plain', 'application/json;x', 'a+json'))) });
}

const boundary = 'x-boundary-x';

function encodePart([name, value, filename]) {
  const escaped = (text) => text.replace(/["\r\n\0]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
  const file = filename === undefined ? '' : `; filename="${escaped(filename)}"`;
  return Buffer.concat([Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${escaped(name)}"${file}\r\n\r\n`), Buffer.from(value), Buffer.from('\r\n')]);
}

function formBody(description, schema, files) {
  const members = description.members(schema);
  const isFile = (name) => name === 'file' || name === 'audio_file';
  const fields = Object.entries(members).filter(([name]) => !isFile(name))
    .map(([name, s]) => often(description.valid(s).map(written), nonsense).map((text) => [name, text]));
  const fileName = Object.keys(members).find(isFile);
  const file = fc.tuple(
    mostly(fc.constant(fileName), nonsense),
    fc.oneof({ arbitrary: fc.constant(files[0]), weight: 6 }, { arbitrary: fc.constantFrom(...files), weight: 3 }, { arbitrary: fc.uint8Array({ maxLength: 300 }), weight: 1 }),
    mostly(fc.constant('a.wav'), nonsense),
  );
  const model = fields.length ? mostly(fc.constant([['model', 'tiny']]), fc.constant([])) : fc.constant([]);
  const none = fc.constant([]);
  const some = fields.length ? fc.oneof(none, fc.array(fc.oneof(...fields), { maxLength: 3 })) : none;
  const parts = fc.tuple(model, some, mostly(none, fc.tuple(fc.tuple(nonsense, nonsense))),
    mostly(fc.tuple(file), fc.array(file, { maxLength: 3 })), fc.boolean())
    .map(([first, more, odd, sent, before]) => [...first, ...(before ? [...more, ...odd, ...sent] : [...sent, ...more, ...odd])]);
  const bytes = fc.tuple(parts, mostly(fc.constant('--\r\n'), fc.constantFrom('\r\n', '', 'x')))
    .map(([list, end]) => Buffer.concat([...list.map(encodePart), Buffer.from(`--${boundary}${end}`)]));
  const type = mostly(
    fc.constant(`multipart/form-data; boundary=${boundary}`),
    fc.oneof(headerText, fc.constantFrom('multipart/form-data', 'application/json', 'multipart/form-data; boundary=')),
  );
  return fc.record({ bytes, type });
}

/** A request in a line. */
export const show = ({ method, path, headers, body }) => `${method} ${path} ${JSON.stringify(headers)} ${body ? body.toString('latin1').slice(0, 2000) : ''}`;

/**
 * Requests to one operation, right and wrong. `known` has values of parts of paths, `files`
 * recordings to send.
 */
export function requestsTo(description, operation, { known = {}, files = [] } = {}) {
  const parameters = (operation.parameters ?? []).map((p) => description.follow(p));
  const named = (where) => parameters.filter((p) => p.in === where);
  const places = named('path').map((p) => pathValue(known[`${operation.path}:${p.name}`] ?? known[p.name] ?? []).map((v) => [p.name, v]));
  const headers = named('header').map((p) => fc.option(often(
    fc.oneof(headerText, ...(p.schema.pattern ? [description.valid(p.schema)] : [])),
    fc.constantFrom('bytes=0-9', 'bytes=5-', 'text/html', '1', 'key-1'),
  ).map((v) => [p.name.toLowerCase(), v])));
  const content = description.follow(operation.requestBody)?.content ?? {};
  const json = content['application/json'];
  const form = content['multipart/form-data'];
  const strayBody = fc.oneof(
    { arbitrary: fc.constant(null), weight: 9 },
    { arbitrary: fc.record({ bytes: fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from(b)), type: headerText }), weight: 1 },
  );
  const real = json ? jsonBody(description, json.schema) : form ? formBody(description, form.schema, files) : null;
  const body = real ? fc.oneof({ arbitrary: real, weight: 19 }, { arbitrary: fc.constant(null), weight: 1 }) : strayBody;
  const webSocket = 101 in operation.responses
    ? often(fc.constant({ connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }), fc.constant({}))
    : fc.constant({});
  return fc.record({
    operation: fc.constant(operation),
    method: operation.method === 'GET' ? fc.constantFrom('GET', 'GET', 'GET', 'GET', 'GET', 'HEAD') : fc.constant(operation.method),
    places: fc.tuple(...places),
    query: query(description, named('query')),
    own: fc.tuple(...headers),
    webSocket,
    odd: fc.oneof({ arbitrary: fc.constant({}), weight: 3 }, { arbitrary: oddHeaders, weight: 2 }),
    body,
  }).map((r) => {
    let path = operation.path;
    for (const [name, value] of r.places) path = path.replace(`{${name}}`, () => value);
    const pairs = r.query.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
    const all = { ...r.odd, ...r.webSocket, ...Object.fromEntries(r.own.filter(Boolean)) };
    if (r.body) all['content-type'] = r.body.type;
    const request = {
      operation, method: r.method, path: pairs.length ? `${path}?${pairs.join('&')}` : path, headers: all,
      body: r.body?.bytes ?? null, query: r.query,
      plain: !Object.keys(r.odd).length && !r.body && !r.own.some(Boolean),
    };
    return { ...request, [fc.toStringMethod]: () => show(request) };
  });
}
