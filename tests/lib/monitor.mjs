/*
 * A real Prometheus with the exporters that stand beside it, as deploy/prometheus sets them
 * up, but on ports of a test's own and asking every second.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import './end.mjs';
import { root } from './document.mjs';
import { freePort, tempFolder, until } from './server.mjs';

const programs = ['prometheus', 'promtool', 'prometheus-node-exporter', 'prometheus-blackbox-exporter'];
const lacking = programs.filter((name) => spawnSync(name, ['--version']).error);
export const skip = lacking.length ? `${lacking.join(', ')}: not installed` : false;

export const deployed = (name) => path.join(root, 'deploy/prometheus', name);

/** Run promtool: what it prints; throws when it is not content. */
export function promtool(args, input) {
  const run = spawnSync('promtool', args, { input, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`promtool ${args.join(' ')}: ${run.stdout}${run.stderr}`);
  return run.stdout + run.stderr;
}

const listens = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('connect', () => { socket.destroy(); resolve(true); });
  socket.on('error', () => resolve(false));
});

/** Start a program that listens on a port; it ends with the test. */
export async function startProgram(name, args, port, options = {}) {
  const child = spawn(name, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const exited = once(child, 'exit');
  const onExit = () => child.kill('SIGTERM');
  process.on('exit', onExit);
  exited.then(() => process.off('exit', onExit));
  const failed = exited.then(([code]) => { throw new Error(`${name} ended with ${code}: ${log}`); });
  failed.catch(() => {});
  await Promise.race([failed, until(() => listens(port), (up) => up)]);
  child.unref();
  child.stderr.unref();
  return { pid: child.pid, log: () => log, tell: (signal) => child.kill(signal), stop: () => { child.ref(); child.kill('SIGTERM'); return exited; } };
}

/**
 * Start Prometheus. `targets` are {services, workers, outside}: addresses, of the last URLs;
 * `rules` is the text of the rules. Returns {url, query(expression), alerts(), stop()}.
 */
export async function startPrometheus({ targets = {}, rules, token = 'none' }) {
  const folder = tempFolder();
  const [port, node, blackbox] = [await freePort(), await freePort(), await freePort()];
  const list = (addresses = []) => `[${addresses.map((a) => `'${a}'`).join(', ')}]`;
  const config = fs.readFileSync(deployed('prometheus.yml'), 'utf8')
    .replace(/(scrape_interval|evaluation_interval): 15s/g, '$1: 1s')
    .replace('scrape_timeout: 10s', 'scrape_timeout: 1s')
    .replace("['127.0.0.1:8000']", list(targets.services))
    .replace('targets: []', `targets: ${list(targets.workers)}`)
    .replace("'127.0.0.1:9100'", `'127.0.0.1:${node}'`)
    .replace("['https://whisper.example/health/live']", list(targets.outside))
    .replace('127.0.0.1:9115', `127.0.0.1:${blackbox}`);
  fs.writeFileSync(path.join(folder, 'prometheus.yml'), config);
  fs.writeFileSync(path.join(folder, 'alerts.yml'), rules ?? fs.readFileSync(deployed('alerts.yml'), 'utf8'));
  fs.writeFileSync(path.join(folder, 'whisper-transcriber.token'), token);
  const [nodeExporter, prober] = await Promise.all([
    startProgram('prometheus-node-exporter', ['--collector.disable-defaults', '--collector.cpu', '--collector.meminfo',
      `--web.listen-address=127.0.0.1:${node}`], node),
    startProgram('prometheus-blackbox-exporter', [`--config.file=${deployed('blackbox.yml')}`,
      `--web.listen-address=127.0.0.1:${blackbox}`], blackbox),
  ]);
  const prometheus = await startProgram('prometheus', [`--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=warn'], port);
  const url = `http://127.0.0.1:${port}`;
  let alerts = { at: 0 };
  await until(() => fetch(`${url}/-/ready`).catch(() => ({})), (answer) => answer.ok);
  const ask = async (where) => {
    const answer = await (await fetch(url + where)).json();
    if (answer.status !== 'success') throw new Error(`${where}: ${JSON.stringify(answer)}`);
    return answer.data;
  };
  return {
    url,
    /** Series of an instant query: [{metric, value: [time, text]}]. */
    query: async (expression) => (await ask(`/api/v1/query?query=${encodeURIComponent(expression)}`)).result,
    /**
     * Those that are pending or firing: [{labels, annotations, state}]. They change once a
     * second, so that many who wait for one ask together.
     */
    alerts: async () => {
      if (Date.now() - alerts.at > 300) alerts = { at: Date.now(), answer: ask('/api/v1/alerts') };
      return (await alerts.answer).alerts;
    },
    targets: async () => (await ask('/api/v1/targets?state=active')).activeTargets,
    stop: () => Promise.all([prometheus, nodeExporter, prober].map((program) => program.stop())),
  };
}
