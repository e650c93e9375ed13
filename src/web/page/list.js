// The list of jobs. Rows are changed in place, so that focus and scroll stay where they are.
import { byId, clock, el, moment, setText, wholeMoment } from './dom.js';
import { left } from './eta.js';
import { place } from './line.js';

const list = byId('list');
const rows = new Map();

export const chosen = new Set(); // the ids of those to do something with

export const labels = {
  pending: 'Waiting', processing: 'Transcribing', completed: 'Done', failed: 'Failed', cancelled: 'Cancelled',
};

export const isActive = (job) => job.status === 'pending' || job.status === 'processing';

function makeRow(id) {
  const name = el('bdi', { class: 'name' });
  const badge = el('span', { class: 'badge' });
  const meta = el('span', { class: 'meta' });
  const link = el('a', { class: 'job', href: `#/jobs/${id}` }, name, badge, meta);
  const box = el('input', { type: 'checkbox', class: 'pick', onchange: () => choose(id, box.checked) });
  return { row: el('li', {}, box, link), link, name, badge, meta, box, bar: null };
}

/** Choose a job or not. */
export function choose(id, on) {
  if (on) chosen.add(id);
  else chosen.delete(id);
  const box = rows.get(id)?.box;
  if (box) box.checked = on;
}

/** Whether there are boxes to choose with; without them nothing is chosen. */
export function setChoosing(on) {
  list.classList.toggle('choosing', on);
  if (!on) for (const id of [...chosen]) choose(id, false);
}

function fill(view, job) {
  setText(view.name, job.original_filename);
  view.name.title = job.original_filename;
  view.box.setAttribute('aria-label', `Choose ${job.original_filename}`);
  setText(view.badge, job.status === 'processing' ? `${job.progress} %` : labels[job.status]);
  view.badge.className = `badge ${job.status}`;
  const eta = job.status === 'processing' ? left(job.id) : place(job.id);
  view.meta.title = wholeMoment(job.created_at);
  const parts = [eta || moment(job.created_at), job.duration ? clock(job.duration) : null, job.model_used];
  setText(view.meta, parts.filter(Boolean).join(' · '));
  if (job.status === 'processing') {
    if (!view.bar) {
      view.bar = el('progress', { max: 100, 'aria-label': `Progress of ${job.original_filename}` });
      view.link.append(view.bar);
    }
    view.bar.value = job.progress;
  } else if (view.bar) {
    view.bar.remove();
    view.bar = null;
  }
}

/** Show these jobs in this order; `openId` is the one that is being read. */
export function showJobs(jobs, openId) {
  const wanted = new Set(jobs.map((job) => job.id));
  for (const [id, view] of rows) {
    if (!wanted.has(id)) {
      view.row.remove();
      rows.delete(id);
      chosen.delete(id);
    }
  }
  let before = list.firstElementChild;
  for (const job of jobs) {
    let view = rows.get(job.id);
    if (!view) rows.set(job.id, view = makeRow(job.id));
    if (view.row === before) before = before.nextElementSibling;
    else list.insertBefore(view.row, before);
    fill(view, job);
    markOpen(view, job.id === openId);
  }
}

function markOpen(view, open) {
  view.row.classList.toggle('open', open);
  if (open) view.link.setAttribute('aria-current', 'true');
  else view.link.removeAttribute('aria-current');
}

export function setOpen(openId) {
  for (const [id, view] of rows) markOpen(view, id === openId);
}
