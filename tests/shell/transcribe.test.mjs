// `transcribe` as people use it: real speech, real weights, every format, every mistake.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { folder, heard, modelFile, run, root, start, until, wav } from './helper.mjs';

const speech = path.join(root, 'tests/engine/golden/clean.wav');
const model = ['tiny', 'tiny-q5_1'].find(modelFile);
const english = ['base.en', 'tiny.en'].find(modelFile);
const needsModel = { skip: !model && 'no model tiny or tiny-q5_1 in the test models folder', timeout: 300_000 };
const needsEnglish = { skip: !english && 'no English-only model in the test models folder', timeout: 300_000 };
const needsFfmpeg = { skip: spawnSync('ffmpeg', ['-version']).status !== 0 && 'no ffmpeg here' };
const words = (text) => text.toLowerCase().replace(/[^a-z ]+/g, ' ').trim().split(/\s+/);

let spoken; // the plain text, once it is known
async function plain() {
  spoken ??= (async () => {
    const r = await run(['transcribe', '-m', model, speech]);
    assert.equal(r.code, 0, r.err);
    return r.out;
  })();
  return spoken;
}

test('the text goes to standard output and nothing else anywhere', needsModel, async () => {
  const r = await run(['transcribe', '-m', model, speech]);
  assert.equal(r.code, 0, r.err);
  assert.equal(heard(r.err), '');
  assert.ok(words(r.out).length >= 5, r.out);
  assert.ok(r.out.endsWith('\n'));
});

test('srt', needsModel, async () => {
  const r = await run(['transcribe', '-m', model, '-f', 'srt', speech]);
  assert.equal(r.code, 0, r.err);
  assert.match(r.out, /^1\n00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}\n\S[^\n]*\n\n/);
  assert.ok(r.out.endsWith('\n\n'));
});

test('vtt', needsModel, async () => {
  const r = await run(['transcribe', '-m', model, '-f', 'vtt', speech]);
  assert.equal(r.code, 0, r.err);
  assert.match(r.out, /^WEBVTT\n\n00:\d\d\.\d{3} --> 00:\d\d\.\d{3}\n\S[^\n]*\n\n/);
});

// "00:01:02,003" or "01:02.003" in milliseconds.
const ms = (time) => time.split(/[:,.]/).reverse()
  .reduce((sum, n, i) => sum + Number(n) * [1, 1000, 60_000, 3_600_000][i], 0);

// [{ start, end, lines }] of an srt or vtt file.
function cues(text) {
  return text.split('\n\n').filter((block) => block.includes(' --> ')).map((block) => {
    const lines = block.split('\n');
    const at = lines.findIndex((line) => line.includes(' --> '));
    const [start, end] = lines[at].split(' --> ').map(ms);
    return { start, end, lines: lines.slice(at + 1) };
  });
}

test('subtitles conform, unless they are to be raw', needsModel, async () => {
  const all = cues((await run(['transcribe', '-m', model, '-f', 'srt', speech])).out);
  const raw = cues((await run(['transcribe', '-m', model, '-f', 'srt', '--raw-subtitles', speech])).out);
  const small = cues((await run(['transcribe', '-m', model, '-f', 'vtt', '--max_line_width', '20', '--max-line-count=1',
    speech])).out);
  assert.deepEqual(words(all.flatMap((c) => c.lines).join(' ')), words(await plain()));
  assert.deepEqual(words(small.flatMap((c) => c.lines).join(' ')), words(await plain()));
  assert.ok(raw.every((c) => c.lines.length === 1) && raw.length <= all.length && all.length < small.length);
  for (const [list, width, count] of [[all, 42, 2], [small, 20, 1]])
    for (const [i, c] of list.entries()) {
      assert.ok(c.lines.length <= count && c.lines.every((line) => line.length <= width), c.lines.join('/'));
      assert.ok(c.end > c.start && c.end - c.start <= 7000);
      assert.ok(i === 0 || c.start >= list[i - 1].end);
    }
});

test('a player reads the subtitles', { ...needsModel, ...(needsFfmpeg.skip ? needsFfmpeg : {}) }, async (t) => {
  const dir = folder(t);
  for (const format of ['srt', 'vtt']) {
    const file = path.join(dir, `talk.${format}`);
    const made = await run(['transcribe', '-m', model, '-f', format, '--max-line-width', '30', speech]);
    fs.writeFileSync(file, made.out);
    const read = spawnSync('ffmpeg', ['-v', 'error', '-i', file, '-f', 'srt', '-'], { encoding: 'utf8' });
    assert.equal(read.status, 0, read.stderr);
    assert.equal(read.stderr, '');
    assert.deepEqual(cues(read.stdout.replaceAll('\r', '')), cues(made.out));
  }
});

test('highlighted words ask for their times', needsModel, async () => {
  const r = await run(['transcribe', '-m', model, '-f', 'srt', '--highlight-words', speech]);
  assert.equal(r.code, 0, r.err);
  assert.ok(cues(r.out).length > 0);
  const t = JSON.parse((await run(['transcribe', '-m', model, '-f', 'json', '--word_timestamps', 'True', speech])).out);
  const timed = t.segments.flatMap((s) => s.words);
  const marked = cues(r.out).filter((c) => c.lines.join('').includes('<u>'));
  assert.ok(marked.length >= timed.length / 2, `${marked.length} of ${timed.length} words are marked`);
  for (const c of marked) assert.match(c.lines.join('\n'), /^[^<]*(<u>[^<]+<\/u>\n?)+[^<]*$/);
});

test('tsv', needsModel, async () => {
  const r = await run(['transcribe', '-m', model, '-f', 'tsv', speech]);
  assert.equal(r.code, 0, r.err);
  assert.match(r.out, /^start\tend\ttext\n\d+\t\d+\t\S/);
});

test('json has all that is known of every segment', needsModel, async () => {
  const r = await run(['transcribe', '-m', model, '--format', 'json', '--language', 'English', speech]);
  assert.equal(r.code, 0, r.err);
  const t = JSON.parse(r.out);
  assert.equal(t.language, 'en');
  assert.equal(t.language_name, 'english');
  assert.equal(t.language_probability, 1);
  assert.equal(t.task, 'transcribe');
  assert.equal(t.model, model);
  assert.ok(t.duration > 5 && t.duration < 30);
  assert.deepEqual(words(t.text), words(await plain()));
  assert.ok(t.segments.length > 0);
  for (const [i, s] of t.segments.entries()) {
    assert.deepEqual(Object.keys(s).sort(), ['avg_logprob', 'compression_ratio', 'end', 'id', 'no_speech_prob',
      'seek', 'start', 'temperature', 'text', 'tokens']);
    assert.equal(s.id, i);
    assert.ok(s.start >= 0 && s.end > s.start && s.end <= t.duration + 30);
    assert.ok(s.avg_logprob < 0 && s.no_speech_prob >= 0 && s.compression_ratio > 0);
    assert.ok(s.tokens.every(Number.isInteger));
  }
});

test('json has the quality report', needsModel, async (t) => {
  const r = await run(['transcribe', '-m', model, '-f', 'json', speech]);
  const { quality, duration } = JSON.parse(r.out);
  assert.deepEqual(Object.keys(quality).sort(), ['audio_seconds', 'clipped_share', 'detector', 'dropped', 'heard_again',
    'language_votes', 'loops', 'low_confidence', 'no_text', 'peak_dbfs', 'speech_dbfs', 'speech_seconds', 'text_seconds',
    'warnings']);
  assert.equal(quality.audio_seconds, duration);
  assert.ok(quality.speech_seconds > 5 && quality.speech_seconds <= duration + 0.01);
  assert.ok(quality.text_seconds > 5 && quality.text_seconds <= duration);
  assert.ok(['silero', 'energy'].includes(quality.detector));
  const file = path.join(folder(t), 'silence.wav');
  fs.writeFileSync(file, wav(40));
  const silence = await run(['transcribe', '-m', model, '-f', 'json', file]);
  assert.match(silence.err, /silence\.wav: warning: [^\n]+\.\n$/);
  const found = JSON.parse(silence.out);
  assert.equal(found.text, '');
  assert.equal(found.quality.speech_seconds, 0);
  assert.equal(found.quality.warnings.length, 1);
  assert.equal((await run(['transcribe', '-q', '-m', model, file])).err, '');
});

test('options in our spelling and in that of the reference', needsModel, async () => {
  const said = words(await plain());
  for (const args of [
    ['--beam-size', '2', '--vad-filter=false', '--no-suppress-blank', '--seed', '3', '--compute-type', 'f32'],
    ['--beam_size', '2', '--vad_filter', 'True', '--condition_on_previous_text', 'False', '--temperature', '0',
      '--no_speech_threshold', 'None', '--best_of', '2', '--initial_prompt', 'Soup.', '--word_timestamps', 'False'],
    ['--suppress-tokens=-1', '--temperature', '0,0.4', '--vad-parameters', '{"threshold":0.4}', '--mode', 'sequential'],
  ]) {
    const r = await run(['transcribe', '-m', model, ...args, speech]);
    assert.equal(r.code, 0, r.err);
    assert.equal(heard(r.err), '');
    const same = words(r.out).filter((w) => said.includes(w)).length;
    assert.ok(same > said.length / 2, `${args.join(' ')}: ${r.out}`);
  }
});

test('the language is found', needsModel, async () => {
  const t = JSON.parse((await run(['transcribe', '-m', model, '-f', 'json', speech])).out);
  assert.equal(t.language, 'en');
  assert.ok(t.language_probability > 0.5 && t.language_probability <= 1);
});

test('standard input, whether a pipe or a file', needsModel, async (t) => {
  const wanted = await plain();
  const piped = await run(['transcribe', '-m', model, '-'], { input: fs.readFileSync(speech) });
  assert.equal(piped.code, 0, piped.err);
  assert.equal(piped.out, wanted);
  const dir = folder(t);
  const kept = await run(['transcribe', '-m', model, '-o', dir, '-'], { input: fs.readFileSync(speech) });
  assert.equal(kept.code, 0, kept.err);
  assert.equal(fs.readFileSync(path.join(dir, 'stdin.txt'), 'utf8'), wanted);
});

test('several files into a folder, in every format', needsModel, async (t) => {
  const dir = folder(t), out = path.join(dir, 'made', 'here');
  fs.copyFileSync(speech, path.join(dir, 'one.wav'));
  fs.writeFileSync(path.join(dir, 'two.wav'), wav(1));
  const r = await run(['transcribe', '-m', model, '-f', 'all', '-o', out, 'one.wav', 'two.wav'], { cwd: dir });
  assert.equal(r.code, 0, r.err);
  assert.equal(r.out, '');
  const formats = ['txt', 'srt', 'vtt', 'tsv', 'json'];
  assert.deepEqual(fs.readdirSync(out).sort(), formats.flatMap((f) => [`one.${f}`, `two.${f}`]).sort());
  assert.equal(fs.readFileSync(path.join(out, 'one.txt'), 'utf8'), await plain());
});

test('several files on standard output are told apart', needsModel, async (t) => {
  const dir = folder(t);
  fs.copyFileSync(speech, path.join(dir, 'a.wav'));
  fs.copyFileSync(speech, path.join(dir, 'b.wav'));
  const r = await run(['transcribe', '-m', model, 'a.wav', 'b.wav'], { cwd: dir });
  const text = await plain();
  assert.equal(r.code, 0, r.err);
  assert.equal(r.out, `==> a.wav <==\n${text}\n==> b.wav <==\n${text}`);
});

test('a bad file does not stop the others, and the exit code tells', needsModel, async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'empty.wav'), '');
  fs.writeFileSync(path.join(dir, 'letter.mp3'), 'Dear Sir or Madam, this is not a sound.\n'.repeat(50));
  fs.copyFileSync(speech, path.join(dir, 'good.wav'));
  const r = await run(['transcribe', '-m', model, '-o', 'out', 'missing.wav', 'empty.wav', 'letter.mp3', '.', 'good.wav'],
    { cwd: dir });
  assert.equal(r.code, 3);
  const lines = r.err.trim().split('\n');
  assert.equal(lines.length, 4, r.err);
  for (const [i, name] of ['missing.wav', 'empty.wav', 'letter.mp3', '. is a folder'].entries())
    assert.ok(lines[i].includes(name), lines[i]);
  assert.deepEqual(fs.readdirSync(path.join(dir, 'out')), ['good.txt']);
});

test('an output that is there is replaced', needsModel, async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'clean.txt'), 'older');
  const r = await run(['transcribe', '-m', model, '-o', dir, speech]);
  assert.equal(r.code, 0, r.err);
  assert.equal(fs.readFileSync(path.join(dir, 'clean.txt'), 'utf8'), await plain());
});

test('a model may be named by its path', needsModel, async () => {
  const r = await run(['transcribe', '-m', modelFile(model), '-f', 'json', speech], { env: { WHISPER_MODEL_DIR: '/nonexistent' } });
  assert.equal(r.code, 0, r.err);
  assert.equal(JSON.parse(r.out).model, model);
});

test('the default model is the one that is set', needsModel, async () => {
  const r = await run(['transcribe', '-f', 'json', speech], { env: { DEFAULT_WHISPER_MODEL: model } });
  assert.equal(r.code, 0, r.err);
  assert.equal(JSON.parse(r.out).model, model);
});

test('a damaged model is refused with a sentence', { skip: needsModel.skip }, async (t) => {
  const dir = folder(t);
  const bytes = fs.readFileSync(modelFile(model));
  fs.writeFileSync(path.join(dir, 'ggml-tiny.bin'), bytes.subarray(0, bytes.length >> 1));
  const r = await run(['transcribe', '-m', 'tiny', speech], { env: { WHISPER_MODEL_DIR: dir } });
  assert.equal(r.code, 4);
  assert.equal(r.out, '');
  assert.match(r.err, /^whisper-transcriber: .*ggml-tiny\.bin.*\n$/);
});

test('Ctrl-C ends it at once, with 130 and nothing half done left behind', needsModel, async (t) => {
  const dir = folder(t), out = path.join(dir, 'out');
  fs.copyFileSync(speech, path.join(dir, 'short.wav'));
  // A sound that no network finds easy, long enough to be at work when the signal comes.
  fs.writeFileSync(path.join(dir, 'long.wav'), wav(1200, (i) => 0.3 * Math.sin(i * i * 1e-6)));
  for (const signal of ['SIGINT', 'SIGTERM']) {
    const { child, done } = start(['transcribe', '-m', model, '-o', out, 'short.wav', 'long.wav'], { cwd: dir });
    await until(() => fs.existsSync(path.join(out, 'short.txt')) || child.exitCode !== null);
    child.kill(signal);
    const r = await done;
    assert.equal(r.code, 130, r.err);
    assert.deepEqual(fs.readdirSync(out), ['short.txt']);
    fs.rmSync(out, { recursive: true });
  }
});

test('an English-only model says what it cannot do', needsEnglish, async () => {
  const german = await run(['transcribe', '-m', english, '-l', 'de', speech]);
  assert.equal(german.code, 2);
  assert.match(german.err, /knows only English/);
  const translate = await run(['transcribe', '-m', english, '-t', 'translate', speech]);
  assert.equal(translate.code, 2);
  assert.match(translate.err, /cannot translate/);
});

test('a full standard output is an error', needsModel, async () => {
  const { spawnSync } = await import('node:child_process');
  const { binary, models } = await import('./helper.mjs');
  const r = spawnSync('sh', ['-c', '"$0" transcribe -m "$1" "$2" >/dev/full', binary, model, speech],
    { env: { PATH: process.env.PATH, WHISPER_MODEL_DIR: models } });
  assert.equal(r.status, 1);
  assert.match(r.stderr.toString(), /cannot write to standard output: No space left/);
});

// ---- the command line, which needs no model ---------------------------------------------

const mistakes = [
  ['no file', ['transcribe'], 2, /Name a file, or - for standard input/],
  ['an unknown option', ['transcribe', '--modle', 'x', 'a.wav'], 2, /no option --modle/],
  ['an unknown letter', ['transcribe', '-x', 'a.wav'], 2, /no option -x/],
  ['an option without its value', ['transcribe', 'a.wav', '--model'], 2, /--model needs a value/],
  ['an unknown language', ['transcribe', '-l', 'klingon', 'a.wav'], 2, /no language "klingon"/],
  ['an unknown task', ['transcribe', '-t', 'summarise', 'a.wav'], 2, /no task "summarise".*translate/],
  ['an unknown format', ['transcribe', '-f', 'docx', 'a.wav'], 2, /no format "docx".*txt, srt, vtt, tsv, json/],
  ['an unknown model', ['transcribe', '-m', 'gigantic', 'a.wav'], 2, /no model "gigantic"/],
  ['a model that would leave the folder', ['transcribe', '-m', '..', 'a.wav'], 2, /not a model's name/],
  ['a model path that is not there', ['transcribe', '-m', './no.bin', 'a.wav'], 4, /cannot open the model \.\/no\.bin/],
  ['threads out of range', ['transcribe', '--threads', '-1', 'a.wav'], 2, /WORKER_THREADS is "-1"/],
  ['a temperature out of range', ['transcribe', '--temperature', '3', 'a.wav'], 2, /temperature/],
  ['a temperature that is no number', ['transcribe', '--temperature', 'warm', 'a.wav'], 2, /0 to 1.*"warm"/],
  ['a temperature that is not a number', ['transcribe', '--temperature', 'nan', 'a.wav'], 2, /0 to 1.*"nan"/],
  ['beams out of range', ['transcribe', '--beam-size', '9', 'a.wav'], 2, /beam_size.*from 1 to 8/],
  ['beams in the spelling of the reference', ['transcribe', '--beam_size=0', 'a.wav'], 2, /beam_size.*from 1 to 8/],
  ['a switch that is neither', ['transcribe', '--vad-filter=maybe', 'a.wav'], 2, /vad_filter.*true or false/],
  ['a value for what is switched off', ['transcribe', '--no-vad-filter=1', 'a.wav'], 2, /no-vad-filter/],
  ['detector parameters of another name', ['transcribe', '--vad-parameters', '{"x":1}', 'a.wav'], 2, /no "x" in vad_parameters/],
  ['parts that overlap', ['transcribe', '--clip-timestamps', '0,9,5', 'a.wav'], 2, /clip_timestamps.*rising/],
  ['lines too narrow', ['transcribe', '--max-line-width', '3', 'a.wav'], 2, /max_line_width.*8 to 500/],
  ['a mode that is none', ['transcribe', '--mode', 'quick', 'a.wav'], 2, /mode.*sequential, batched/],
  ['numbers of another kind', ['transcribe', '--compute-type', 'f8', 'a.wav'], 2, /COMPUTE_TYPE/],
  ['a prompt that is no text', ['transcribe', '--prompt', 'x'.repeat(20000), 'a.wav'], 2, /option/],
  ['an unknown command', ['transcibe', 'a.wav'], 2, /no command "transcibe"/],
];
for (const [what, args, code, said] of mistakes)
  test(`${what} is refused in one sentence`, async () => {
    const r = await run(args, { cwd: '/' });
    assert.equal(r.code, code, r.err);
    assert.match(r.err, said);
    assert.equal(r.err.trim().split('\n').length, 1, r.err);
    assert.equal(r.out, '');
  });

test('a missing model, and a missing folder, say how to get one', async (t) => {
  const empty = folder(t);
  for (const dir of [empty, path.join(empty, 'nowhere')])
    for (const args of [['-m', 'tiny'], []]) {
      const r = await run(['transcribe', ...args, 'a.wav'], { env: { WHISPER_MODEL_DIR: dir } });
      assert.equal(r.code, 4, r.err);
      assert.match(r.err, /models pull (tiny|small)/);
      assert.ok(r.err.includes(dir));
    }
});

test('several formats need a folder; two inputs of one name need two', async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'ggml-tiny.bin'), 'x');
  const env = { WHISPER_MODEL_DIR: dir };
  const formats = await run(['transcribe', '-m', 'tiny', '-f', 'txt,srt', 'a.wav'], { env });
  assert.equal(formats.code, 2);
  assert.match(formats.err, /--output-dir/);
  const same = await run(['transcribe', '-m', 'tiny', '-o', dir, 'a.wav', 'b/a.mp3'], { env });
  assert.equal(same.code, 2);
  assert.match(same.err, /a\.wav and b\/a\.mp3 would be written to one file/);
});

test('an output folder that cannot be is an error before any work', async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, 'ggml-tiny.bin'), 'x');
  fs.writeFileSync(path.join(dir, 'file'), '');
  for (const out of [path.join(dir, 'file'), path.join(dir, 'file', 'below'), '/proc/outputs']) {
    const r = await run(['transcribe', '-m', 'tiny', '-o', out, 'a.wav'], { env: { WHISPER_MODEL_DIR: dir } });
    assert.ok(r.code === 1 || r.code === 2, `${out}: ${r.code}`);
    assert.ok(r.err.includes(out) || r.err.includes(path.join(dir, 'file')), r.err);
  }
});

test('a setting that is wrong stops the program', async () => {
  const range = await run(['transcribe', 'a.wav'], { env: { PORT: '99999' } });
  assert.equal(range.code, 2);
  assert.match(range.err, /PORT is "99999"; it must be a whole number from 0 to 65535/);
  const misspelt = await run(['transcribe', 'a.wav'], { env: { WHISPER_MODLE_DIR: '/x' } });
  assert.equal(misspelt.code, 2);
  assert.match(misspelt.err, /WHISPER_MODLE_DIR is not a setting; did you mean WHISPER_MODEL_DIR\?/);
});

test('--help teaches and succeeds', async () => {
  for (const [args, said] of [[['--help'], /usage: whisper-transcriber <command>/], [['transcribe', '--help'], /examples:/],
    [['models', '--help'], /models pull NAME/], [['doctor', '--help'], /--settings-markdown/]]) {
    const r = await run(args);
    assert.equal(r.code, 0);
    assert.match(r.out, said);
    assert.equal(r.err, '');
  }
});

test('--help lists the options in groups, with defaults, on lines that fit', async () => {
  const { out } = await run(['transcribe', '--help']);
  assert.match(out, /decoding:\n +--beam-size N +.*\(5\)\n/);
  assert.match(out, /--vad-filter +.*\(on\)\n/);
  for (const line of out.split('\n')) assert.ok([...line].length <= 90, line);
});
