// A PostgreSQL server of the tests' own, in a temporary folder and on a free port. It ends
// with the process. WT_TEST_STORE=postgresql makes every server of a test use it.
import { execFile, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const execFileSoon = promisify(execFile);
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export const wanted = process.env.WT_TEST_STORE === 'postgresql';

/** The folder of initdb and postgres; undefined where they are not installed. */
const bin = ['/usr/lib/postgresql'].flatMap((base) => (fs.existsSync(base) ? fs.readdirSync(base).map((v) => `${base}/${v}/bin`) : []))
  .filter((folder) => fs.existsSync(`${folder}/initdb`)).sort().at(-1);
export const available = Boolean(bin);
if (wanted && !available) throw new Error('WT_TEST_STORE=postgresql wants PostgreSQL: install postgresql');

// PostgreSQL refuses to be root.
const isRoot = process.getuid() === 0;
const drop = isRoot ? ['--reuid=65534', '--regid=65534', '--clear-groups'] : [];

function run(name, args, input) {
  const r = spawnSync('setpriv', [...drop, path.join(bin, name), ...args], { encoding: 'utf8', cwd: '/', input });
  if (r.status !== 0) throw new Error(`${name} ${args.join(' ')}: ${r.stderr}${r.stdout}`);
  return r.stdout;
}

/**
 * A port that nobody has. It is let go while the server is stopped, so it is none of those
 * that the system gives to whoever connects somewhere.
 */
function freePort() {
  const code = 'const s=require("net").createServer();'
    + 's.on("error",()=>process.exit(1));s.listen(Number(process.argv[1]),"127.0.0.1",()=>s.close())';
  for (;;) {
    const port = 15000 + Math.floor(17000 * Math.random());
    if (spawnSync(process.execPath, ['-e', code, String(port)]).status === 0) return port;
  }
}

export class Postgres {
  constructor() {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wt-pg-'));
    if (isRoot) fs.chownSync(this.folder, 65534, 65534);
    this.port = freePort();
    this.password = 's3cr3t-pw';
    this.made = new Map();
    process.on('exit', () => {
      this.stop();
      fs.rmSync(this.folder, { recursive: true, force: true });
    });
    fs.writeFileSync(path.join(this.folder, 'password'), this.password, { mode: 0o644 });
    run('initdb', ['-D', path.join(this.folder, 'data'), '-U', 'postgres', '--auth=scram-sha-256', '--no-sync',
      `--pwfile=${path.join(this.folder, 'password')}`, '--encoding=UTF8', '--locale=C']);
    this.start();
    this.sql('CREATE ROLE wt LOGIN PASSWORD \'s3cr3t-pw\'');
  }

  launch() {
    const log = fs.openSync(path.join(this.folder, 'log'), 'a');
    this.child = spawn('setpriv', [...drop, '--pdeathsig=QUIT', path.join(bin, 'postgres'), '-D', path.join(this.folder, 'data'),
      '-p', String(this.port), '-k', this.folder, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off', '-c', 'max_connections=80'],
    { cwd: '/', stdio: ['ignore', log, log] });
    fs.closeSync(log);
    this.child.unref();
  }

  /** Start it and wait until it answers. */
  start() {
    this.launch();
    for (let i = 0; ; i++) {
      try {
        return this.sql('SELECT 1');
      } catch (error) {
        if (i === 300) throw error;
        spawnSync('sleep', ['0.05']);
      }
    }
  }

  /** End it at once, without a word to anybody; waits until it is gone. */
  stop() {
    if (!this.child) return;
    const pidFile = path.join(this.folder, 'data/postmaster.pid');
    this.child.kill('SIGQUIT');
    for (let i = 0; i < 200 && fs.existsSync(pidFile); i++) spawnSync('sleep', ['0.02']);
    this.child = undefined;
  }

  /** As stop(), while the requests of a test go on. */
  async end() {
    const pidFile = path.join(this.folder, 'data/postmaster.pid');
    this.child.kill('SIGQUIT');
    for (let i = 0; i < 200 && fs.existsSync(pidFile); i++) await pause(20);
    this.child = undefined;
  }

  /** As start(), likewise; `unready`: do not wait until it answers. */
  async begin({ unready = false } = {}) {
    this.launch();
    while (!unready && !await this.ask('SELECT 1').then(() => true, () => false)) await pause(50);
  }

  /** As sql(), likewise. */
  async ask(text, database = 'postgres') {
    const { stdout } = await execFileSoon('setpriv', [...drop, path.join(bin, 'psql'), '-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-c', text,
      `postgresql://postgres:${this.password}@127.0.0.1:${this.port}/${database}`], { cwd: '/' });
    return stdout.trim();
  }

  sql(text, database = 'postgres') {
    return run('psql', ['-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1',
      `postgresql://postgres:${this.password}@127.0.0.1:${this.port}/${database}`], text).trim();
  }

  /**
   * A psql that stays: ask(sql) gives the rows, each an array of texts, without holding up
   * the test. It is started again when the server ended it; what was asked then rejects.
   */
  session(database, schema = 'whisper_transcriber') {
    let child = null;
    let asking = Promise.resolve();
    const start = () => {
      const psql = spawn('setpriv', [...drop, path.join(bin, 'psql'), '-X', '-A', '-t', '-q',
        `postgresql://postgres:${this.password}@127.0.0.1:${this.port}/${database}`], { cwd: '/', stdio: ['pipe', 'pipe', 'pipe'] });
      psql.stdout.setEncoding('utf8');
      psql.stdin.on('error', () => {});
      psql.stdin.write(`SET search_path = ${schema};\n`);
      return psql;
    };
    const once = (sql) => new Promise((resolve, reject) => {
      if (!child || child.exitCode !== null) child = start();
      const mine = child;
      const handles = [mine, mine.stdin, mine.stdout, mine.stderr];
      handles.forEach((handle) => handle.ref());
      let [out, err] = ['', ''];
      const over = (error) => {
        handles.forEach((handle) => handle.unref()); // it keeps nobody waiting between two questions
        mine.stdout.removeAllListeners('data');
        mine.stderr.removeAllListeners('data');
        mine.removeAllListeners('close');
        if (error || err) {
          child = null;
          mine.kill();
          reject(error ?? new Error(err));
        } else resolve(out.split('\n').filter(Boolean).map((line) => line.split('|')));
      };
      mine.stderr.on('data', (text) => { err += text; });
      mine.stdout.on('data', (text) => {
        out += text;
        if (!out.endsWith('\u0001\n')) return;
        out = out.slice(0, -2);
        over();
      });
      mine.on('close', () => over(new Error(`psql ended: ${err}`)));
      mine.stdin.write(`${sql};\n\\echo \u0001\n`);
    });
    return {
      ask: (sql) => {
        const answer = asking.then(() => once(sql));
        asking = answer.catch(() => {});
        return answer;
      },
      close: () => child?.kill(),
    };
  }

  urlOf(database, port = this.port) {
    return `postgresql://wt:${this.password}@127.0.0.1:${port}/${database}`;
  }

  /** The URL of a folder's database, which is made when it is asked for first. */
  url(folder) {
    if (!this.made.has(folder)) {
      const name = path.basename(folder);
      this.sql(`CREATE DATABASE "${name}" OWNER wt TEMPLATE template0`);
      this.made.set(folder, name);
    }
    return this.urlOf(this.made.get(folder));
  }
}

let shared;

/** What a server of a test in this folder needs in its environment. */
export function databaseOf(folder) {
  if (!wanted) return {};
  shared ??= new Postgres();
  return { DATABASE_URL: shared.url(folder) };
}

/** Everything that the database of a folder keeps, as one text. */
export function databaseText(folder) {
  if (wanted) return run('pg_dump', [`postgresql://postgres:${shared.password}@127.0.0.1:${shared.port}/${shared.made.get(folder)}`]);
  const data = path.join(folder, 'data');
  return fs.readdirSync(data).map((name) => fs.readFileSync(path.join(data, name), 'latin1')).join('');
}

/** The only value of a query of the database of a folder, as text; its service may run. */
export function readDatabase(folder, sql) {
  if (wanted) return shared.sql(`SELECT (${sql})`.replace(/(FROM|JOIN) (\w+)/g, '$1 whisper_transcriber.$2'), shared.made.get(folder));
  const script = 'import sqlite3,sys; print(sqlite3.connect(sys.argv[1], timeout=10).execute(sys.argv[2]).fetchone()[0])';
  const done = spawnSync('python3', ['-c', script, path.join(folder, 'data/app.db'), sql], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(done.stderr);
  return done.stdout.trim();
}

/** Change the database of a folder whose service does not run. */
export function editDatabase(folder, sql) {
  if (wanted) {
    shared.sql(`SET search_path = whisper_transcriber; ${sql}`, shared.made.get(folder));
    return;
  }
  const script = 'import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()';
  const done = spawnSync('python3', ['-c', script, path.join(folder, 'data/app.db'), sql], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(done.stderr);
}
