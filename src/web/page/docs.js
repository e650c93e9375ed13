// The interface, from its own description (OpenAPI): to read, and to try what only reads.
import { byId, el, setText } from './dom.js';

const METHODS = ['get', 'post', 'put', 'patch', 'delete', 'head', 'options'];
const SHOWN = 20000; // characters of an answer

let root;

/** {"$ref": "#/components/…"} → what it names. */
function follow(node) {
  let at = node;
  for (let hops = 0; at?.$ref && hops < 8; hops++) {
    at = at.$ref.slice(2).split('/').reduce((from, key) => from?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], root);
  }
  return at ?? {};
}

const idOf = (method, path) => `${method}-${path.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '')}`;

/** `code` in a description becomes code; nothing else does. */
function prose(text, tag = 'p') {
  const node = el(tag, {});
  (text ?? '').split('`').forEach((part, i) => node.append(i % 2 ? el('code', {}, part) : part));
  return node;
}

/** "whole number, 1 to 8, default 5" */
function typeText(schema) {
  const s = follow(schema);
  const types = [].concat(s.type ?? (s.anyOf ?? s.oneOf ?? []).map((each) => follow(each).type ?? 'text'));
  const names = { string: 'text', integer: 'whole number', number: 'number', boolean: 'true or false', array: 'list', object: 'object' };
  const parts = [[...new Set(types)].map((type) => names[type] ?? type).join(' or ') || 'text'];
  if (s.enum) parts[0] = s.enum.filter((value) => value !== null).join(', ');
  if (s.format === 'binary') parts[0] = 'file';
  if (s.minimum != null && s.maximum != null) parts.push(`${s.minimum} to ${s.maximum}`);
  if (s.default != null) parts.push(`default ${s.default}`);
  return parts.join('; ');
}

function table(heads, rows) {
  return el('table', {}, el('thead', {}, el('tr', {}, ...heads.map((head) => el('th', { scope: 'col' }, head)))),
    el('tbody', {}, ...rows.map((cells) => el('tr', {}, ...cells.map((cell, i) => el('td', { 'data-head': heads[i] }, cell))))));
}

/** The fields of an object, those that it takes from others too. */
function fieldsOf(schema) {
  const s = follow(schema);
  const own = Object.entries(s.properties ?? {}).map(([name, each]) => ({ name, schema: each, required: s.required?.includes(name) }));
  return [...own, ...(s.allOf ?? []).flatMap(fieldsOf)];
}

function fieldTable(fields) {
  return table(['Name', 'Value', 'Meaning'], fields.map(({ name, schema, required }) => [
    el('span', {}, el('code', {}, name), required ? ' (required)' : ''), typeText(schema), prose(follow(schema).description, 'span')]));
}

function parameterRows(parameters) {
  return fieldTable(parameters.map((p) => ({
    name: p.name, required: p.required, schema: { ...follow(p.schema), description: p.description ?? follow(p.schema).description },
  })));
}

function bodyOf(operation) {
  const content = follow(operation.requestBody).content;
  if (!content) return [];
  return Object.entries(content).flatMap(([type, media]) => {
    const fields = fieldsOf(media.schema ?? {});
    return [el('h4', {}, 'Body: ', el('code', {}, type)), fields.length ? fieldTable(fields) : prose(follow(operation.requestBody).description)];
  });
}

function responsesOf(operation) {
  const rows = Object.entries(operation.responses ?? {}).map(([status, ref]) => {
    const response = follow(ref);
    return [el('b', {}, status), el('code', {}, Object.keys(response.content ?? {}).join(', ') || '–'), prose(response.description, 'span')];
  });
  return [el('h4', {}, 'Answers'), table(['Status', 'Type', 'When'], rows)];
}

/* ---- to try ---- */

function inputFor(p) {
  const schema = follow(p.schema);
  const attributes = { name: p.name, required: p.required ?? false, autocomplete: 'off' };
  if (schema.enum || schema.type === 'boolean') {
    const values = (schema.enum ?? ['true', 'false']).map(String);
    return el('select', attributes, el('option', { value: '' }, p.required ? 'choose' : 'not said'),
      ...values.map((value) => el('option', { value }, value)));
  }
  return el('input', { type: 'text', placeholder: schema.default ?? '', ...attributes });
}

function addressOf(path, parameters, form) {
  const query = new URLSearchParams();
  let address = path.slice(1);
  for (const p of parameters) {
    const value = form.elements[p.name].value;
    if (p.in === 'path') address = address.replace(`{${p.name}}`, encodeURIComponent(value));
    else if (value) query.append(p.name, value);
  }
  const rest = query.toString();
  return `${address || '.'}${rest ? `?${rest}` : ''}`;
}

async function answerText(response) {
  const type = response.headers.get('content-type') ?? '';
  if (!/json|text/.test(type)) return `${response.headers.get('content-length') ?? '?'} bytes of ${type || 'something'}`;
  const text = await response.text();
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function tryForm(path, parameters) {
  const asked = parameters.filter((p) => p.in === 'path' || p.in === 'query');
  const out = el('pre', { tabindex: '0', role: 'region', 'aria-label': `Answer of GET ${path}`, hidden: true });
  async function submit(event) {
    event.preventDefault();
    const stop = AbortSignal.timeout(15000);
    out.hidden = false;
    setText(out, 'Asking…');
    try {
      const response = await fetch(addressOf(path, asked, event.target), { headers: { accept: 'application/json' }, signal: stop });
      const text = await answerText(response);
      setText(out, `${response.status} ${response.statusText}\n\n${text.length > SHOWN ? `${text.slice(0, SHOWN)}\n…` : text}`);
    } catch {
      setText(out, 'There was no answer.');
    }
  }
  return [el('h4', {}, 'Try it'), el('form', { class: 'try', onsubmit: submit },
    asked.length ? el('div', { class: 'fields' }, ...asked.map((p) => el('label', {}, p.name, inputFor(p)))) : null,
    el('div', { class: 'row' }, el('button', { class: 'button strong small' }, 'Send', el('span', { class: 'hidden' }, ` GET ${path}`))), out)];
}

/** What never ends, or is no answer to show, is not tried here. */
const mayTry = (method, operation) => method === 'get' && !operation.responses?.['101']
  && !Object.values(operation.responses ?? {}).some((r) => follow(r).content?.['text/event-stream']);

function operationNode(path, method, operation, shared) {
  const parameters = [...shared, ...(operation.parameters ?? [])].map(follow);
  const inside = () => [
    ...(operation.description ? [prose(operation.description)] : []),
    ...(parameters.length ? [el('h4', {}, 'Parameters'), parameterRows(parameters)] : []),
    ...bodyOf(operation), ...responsesOf(operation),
    ...(mayTry(method, operation) ? tryForm(path, parameters) : []),
  ];
  const body = el('div', { class: 'inside' });
  return el('details', {
    class: 'operation', id: idOf(method, path),
    // Made when it is wanted: there is a lot of it.
    ontoggle: (event) => { if (event.target === event.currentTarget && event.target.open && !body.childElementCount) body.append(...inside()); },
  }, el('summary', {}, el('h3', {}, el('span', { class: `method ${method}` }, method.toUpperCase()), el('code', {}, path)),
    el('span', { class: 'what' }, operation.summary)), body);
}

function openNamed() {
  const node = location.hash && document.getElementById(location.hash.slice(1));
  if (node && node.matches('details')) node.open = true;
}

function show() {
  const groups = new Map((root.tags ?? []).map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(root.paths)) {
    for (const method of METHODS.filter((each) => item[each])) {
      const tag = item[method].tags?.[0] ?? 'Other';
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([path, method, item[method], item.parameters ?? []]);
    }
  }
  const content = [el('h1', {}, root.info.title), prose(root.info.description),
    el('p', {}, 'For programs: ', el('a', { href: 'openapi.json' }, 'openapi.json'), `, version ${root.info.version}.`)];
  const toc = [];
  for (const [tag, operations] of groups) {
    if (!operations.length) continue;
    content.push(el('h2', {}, tag), ...operations.map((each) => operationNode(...each)));
    toc.push(el('h2', {}, tag), ...operations.map(([path, method]) => el('a', { href: `#${idOf(method, path)}` },
      el('span', { class: `method ${method}` }, method.toUpperCase()), path)));
  }
  byId('content').replaceChildren(...content);
  byId('toc').replaceChildren(...toc);
  openNamed();
  window.addEventListener('hashchange', openNamed);
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  root = await (await fetch('openapi.json')).json();
} catch {
  byId('content').replaceChildren(el('p', { class: 'notice bad', role: 'alert' }, 'The description cannot be loaded: the service cannot be reached.'));
}
if (root) show();
