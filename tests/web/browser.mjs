// What the tests of the page share: a browser, windows that report what goes wrong in them,
// the accessibility checker, pictures to look at.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { hasModel } from '../lib/server.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const executablePath = process.env.WT_CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  .find((file) => fs.existsSync(file));
const pictures = path.join(here, '../../build-test-results/page');

export const recording = path.join(here, '../engine/golden/clean.wav');

/** Why there is no browser or no model to test with; false: there are. */
export const reason = !executablePath ? 'no Chromium: install it, or name it in WT_CHROMIUM'
  : !hasModel('tiny') ? 'ggml-tiny.bin is not in WT_TEST_MODELS' : false;

export function launch() {
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--mute-audio', '--autoplay-policy=no-user-gesture-required'],
  });
}

/** A fresh window; what goes wrong in it is an error of the test. */
export async function openPage(browser, server, { at = '', prepare = () => {}, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  // Ends what is in vain; how fast the machine is, is not asked.
  context.setDefaultTimeout(300_000);
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (m) => {
    if (m.type() === 'error' && !/status of (4|5)\d\d|ERR_CONNECTION|ERR_INTERNET|ERR_INCOMPLETE_CHUNKED/.test(m.text())) problems.push(m.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(server.url) && !/^(data|blob):/.test(request.url())) problems.push(`fetched ${request.url()}`);
  });
  await prepare(page);
  await page.goto(`${server.url}/${at}`);
  return { page, problems, close: () => context.close() };
}

/** No violation, and nothing to scroll sideways. */
export async function accessible(page, where) {
  // The page's own policy lets no script in from outside; the checker comes in beside it.
  await page.evaluate(axe);
  // What fades in has its colours when it is there.
  await page.evaluate(() => Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {}))));
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  assert.deepEqual(violations.map((v) => `${where}: ${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join(', ')}`), []);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `${where}: ${wide} pixels to scroll sideways`);
}

/** A picture for people to look at, beside the results of the tests. */
export async function picture(page, name) {
  fs.mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: path.join(pictures, `${name}.png`) });
}

export const windows = ['light', 'dark'].flatMap((colorScheme) => [1280, 360].map((width) => ({
  name: `${colorScheme}-${width}`, options: { colorScheme, viewport: { width, height: width > 900 ? 800 : 740 } },
})));

/** A transcript as the service writes it, of so many words. */
export function longTranscript(count, { text = (i) => ` word${i}`, unsure = () => false } = {}) {
  const segments = [];
  for (let from = 0; from < count; from += 10) {
    const words = Array.from({ length: Math.min(10, count - from) }, (_, k) => ({
      word: text(from + k), start: (from + k) * 0.3, end: (from + k) * 0.3 + 0.28, probability: unsure(from + k) ? 0.2 : 0.9,
    }));
    segments.push({
      id: segments.length, seek: 0, start: words[0].start, end: words.at(-1).end, text: words.map((w) => w.word).join(''), words,
    });
  }
  return { text: segments.map((s) => s.text).join(''), language: 'en', segments };
}
