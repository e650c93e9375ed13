// What a process holds, what a folder holds, and whether figures stay flat over time.
import fs from 'node:fs';
import path from 'node:path';
import { children } from './server.mjs';

const otherwise = (what, value) => { try { return what(); } catch { return value; } };

/** A process now: {role, rssKb (its own memory, without what is mapped from files), fds, threads}; null when it is gone. */
export function processNow(pid) {
  return otherwise(() => {
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    const number = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? NaN);
    const [, role = ''] = fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
    const fds = fs.readdirSync(`/proc/${pid}/fd`).length;
    if (Number.isNaN(number('RssAnon'))) return null; // it has ended and waits for its parent
    return { pid, role, rssKb: number('RssAnon'), fds, threads: number('Threads') };
  }, null);
}

/** A service and all that it has started. */
export function family(pid) {
  return [pid, ...children(pid).flatMap((child) => family(child))];
}

export const sizeOf = (file) => otherwise(() => fs.statSync(file).size, 0);
export const filesIn = (folder) => otherwise(() => fs.readdirSync(folder), []);

/** Files that have no name any more and are open in one of these processes. */
export function unnamedIn(pids, folder) {
  return pids.flatMap((pid) => otherwise(() => fs.readdirSync(`/proc/${pid}/fd`), [])
    .map((fd) => otherwise(() => fs.readlinkSync(`/proc/${pid}/fd/${fd}`), ''))
    .filter((name) => name.startsWith(path.join(folder, '/')) && name.endsWith(' (deleted)'))).length;
}

/** A straight line through points by least squares: {slope, at0, noise (standard deviation around it)}. */
export function line(points) {
  const n = points.length;
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  const [mx, my] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const sxx = points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
  const slope = sxx ? points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / sxx : 0;
  const at0 = my - slope * mx;
  const squares = points.reduce((sum, [x, y]) => sum + (y - at0 - slope * x) ** 2, 0);
  return { slope, at0, mean: my, noise: n > 2 ? Math.sqrt(squares / (n - 2)) : 0, error: n > 2 && sxx ? Math.sqrt(squares / (n - 2) / sxx) : 0 };
}

/**
 * Whether figures rise over the second half of a run: [[seconds, value], …] → {first, last
 * (of the fit), rise, allowed, flat}. What is allowed is three times what chance alone makes
 * of the slope, and a share of the mean or a least amount, whichever is more.
 */
export function flatness(points, { share = 0.05, least = 0 } = {}) {
  const end = points.at(-1)?.[0] ?? 0;
  const half = points.filter(([x]) => x >= end / 2);
  const fit = line(half);
  const span = end - (half[0]?.[0] ?? 0);
  const rise = fit.slope * span;
  const allowed = Math.max(3 * fit.error * span, share * fit.mean, least);
  return { mean: fit.mean, rise, allowed, flat: rise <= allowed, most: Math.max(...points.map(([, y]) => y)) };
}
