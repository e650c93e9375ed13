"""Run the engine and its peers on the same work in turn and print ratios of medians, with the bars they are held to.

Peers: whisper.cpp with the f16 file and with q8_0 made of it by its own whisper-quantize, of which the better
counts; and CTranslate2 in 8 bits (bench/ct2.py says what is measured of it).

A figure of one run on a shared machine says little; a ratio of medians, all sides measured alternately in the same
minutes, says something.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path

import ggml
import limits
import saturation
import whole
from peers import ENGINE_BENCH, ROOT, CTranslate2, Peer, find_model, run
from report import Report, describe_machine

# The least ratios to the peers, by row; "most": the greatest value of ours.
BARS = {
    "encoder_ms": {"whisper.cpp": 5, "CTranslate2": 2.5},
    "decoder_ms_token": {"whisper.cpp": 2},
    "decoder_ms_token_batch8": {"whisper.cpp": 5},
    "times_limit": {"most": 2},
    "mel_ms": {"most": 5},
    "whole": {"whisper.cpp": 6, "CTranslate2": 3},
    "clip": {"whisper.cpp": 4},
    "memory": {"whisper.cpp": 1},
}
# With AVX2 alone, on both sides.
BARS_AVX2 = {name: {"whisper.cpp": 2} for name in BARS} | {
    "times_limit": {}, "mel_ms": {}, "memory": {"whisper.cpp": 1}}

ENGINE_ROWS = (("decoder, one sequence, per token", "decoder_ms_token", "decoder_ms_token"),
               ("decoder, five sequences, per token", "decoder_ms_token_batch", "decoder_ms_token_batch"),
               ("decoder, eight sequences beside its one, per token", "decoder_ms_token_batch8", "decoder_ms_token"))


def our_engine(model, *words):
    """engine-bench prints name, value and unit, separated by tabs."""
    lines = [line.split("\t") for line in run([ENGINE_BENCH, model, *words]).out.splitlines()]
    return {name: float(value) for name, value, _ in lines}


def peer_engine(peer, model, threads):
    done, figures = run(peer.command("whisper-bench", "-m", model, "-t", threads)), {}
    for name, label in (("encoder_ms", "encode"), ("decoder_ms_token", "decode"),
                        ("decoder_ms_token_batch", "batchd")):
        found = re.search(label + r" time = .*\(\s*([\d.]+) ms per run\)", done.out + done.err)
        if found:
            figures[name] = float(found.group(1))
    return figures


def collect(totals, figures):
    for name, value in figures.items():
        totals.setdefault(name, []).append(value)


def measure_engine(peer, ct2, model, options, bars, report):
    """Rows of the encoder, the decoder and the features. Ceilings are measured in the same minutes."""
    files, ceilings = peer.files(model), []
    figures = {side: {} for side in ("ours", *files)}
    encoder = []
    for _ in range(options.runs):
        ceilings.append(limits.measure(options.threads))
        collect(figures["ours"], our_engine(model, options.threads, 1 if options.brief else 5))
        collect(figures["ours"], {"mel_ms": our_mel(model)})
        for side, file in files.items():
            collect(figures[side], peer_engine(peer, file, options.threads))
        if ct2:
            encoder.append(ct2.run(model, options.threads)["encoder_ms"])
    ours = figures.pop("ours")
    theirs = {side: f.get("encoder_ms", []) for side, f in figures.items()}
    report.row("encoder, one 30 s window", "ms", ours["encoder_ms"], theirs | {"CTranslate2": encoder},
               bars["encoder_ms"])
    before = [c for table in report.facts.get("limits", []) for c in table["ceilings"]]  # of the models before it
    least = sum(limits.counted_ms(ggml.Ggml(model).config, limits.best(before + ceilings)).values())
    report.row("encoder, times the counted limit", "times", [ms / least for ms in ours["encoder_ms"]], {},
               bars["times_limit"], f"of {least:.4g} ms")
    for what, mine, their in ENGINE_ROWS:
        report.row(what, "ms", ours[mine], {side: f.get(their, []) for side, f in figures.items()},
                   bars.get(mine, {}))
    report.row("features of 30 s, one thread", "ms", ours["mel_ms"], {}, bars["mel_ms"])
    report.facts.setdefault("limits", []).append({"table": report.title, "ceilings": ceilings, "counted_ms": least})
    report.facts.setdefault("engine", []).append({"table": report.title, "figures": ours})


def our_mel(model):
    figures = our_engine(model, 1, 5, "mel")
    return figures["mel_begin_ms"] + figures["mel_window_ms"]


def arguments():
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--limits", action="store_true", help="only what the machine can do at most, and each model's counted limit")
    add("--saturation", action="store_true", help="only the service under load: 16 recordings at once, and memory")
    add("--engine", action="store_true", help="only the rows of encoder, decoder and features")
    add("--whole", action="store_true", help="only the rows of whole recordings")
    add("--model", action="append", help="name, path or generated:SHAPE, which is drawn at random in the shape of "
        "medium, large-v3 or large-v3-turbo (default: tiny, base.en)")
    add("--audio", action="append", help="recording for the whole-file figures; its text in FILE.txt beside it, or its "
        "utterances in FILE.tsv; or a table of clips as for script/accuracy")
    add("--join", type=float, metavar="SECONDS", help="hear all of them one behind the other, up to so many seconds")
    add("--language", default="en", help="of the recordings, and of the clips that are taken from a table")
    add("--beam-size", type=int, action="append", help="of the whole-file figures (default: 1 and 5)")
    add("--runs", type=int, default=5)
    add("--brief", action="store_true", help="engine-bench measures once a run, not five times: for large models")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--level", help="instructions that ours may use (WT_CPU_LEVEL), such as avx2; whisper.cpp's are those that "
        "it was built for: name that build with --peer")
    add("--json", type=Path, help="write all figures into this file, too")
    add("--peer", default=os.environ.get("WHISPER_CPP"), help="folder of whisper-cli, whisper-bench, whisper-quantize "
        "and whisper-server")
    add("--ct2", metavar="PYTHON", help="a Python with the packages ctranslate2 and numpy (default: one in the cache, "
        "which they are installed for)")
    add("--no-ct2", action="store_true", help="without CTranslate2")
    add("--workers", type=int, help="of the service under load (default: its own)")
    add("--worker-threads", type=int, help="of each (default: its own)")
    return parser.parse_args()


def title(name):
    return f"{name.removeprefix('generated:')}, generated weights" if name.startswith("generated:") else name


def default_audio(folder):
    """A clip, and the same over and over: 300 s."""
    clip = (ROOT / "tests" / "engine" / "golden" / "clean.wav").resolve()
    out = Path(folder) / "clip over and over.wav"
    run(["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", clip, "-t", "300", "-c:a", "pcm_s16le", out])
    return [clip, out]


def compare(options, models, scratch, report, peer, ct2):
    bars = BARS_AVX2 if options.level else BARS
    spoken = [] if options.engine else whole.prepare(options.audio or default_audio(scratch), options.language,
                                                     options.join)
    for name, model in models.items():
        sides = list(peer.files(model))
        if ct2:
            sides += [] if options.whole else ["CTranslate2"]
            sides += list(whole.CT2_SIDES) if spoken else []
        report.head(title(name), sides)
        if not options.whole:
            measure_engine(peer, ct2, model, options, bars, report)
        notes = []
        if not name.startswith("generated:"):  # what has not been trained does not end its texts
            for recording in spoken:
                notes += whole.measure(peer, ct2, model, recording, options, bars, report)
        if any(row["partial"] for row in report.rows if row["table"] == report.title):
            notes.append(f"\\* its text has less than {whole.WHOLE_TEXT:.0%} of our words: not compared.")
        print("\n" + "\n\n".join([*notes, ""]), flush=True)


def main():
    options = arguments()
    if options.level:
        os.environ["WT_CPU_LEVEL"] = options.level
    models = {name: find_model(name) for name in options.model or ["tiny", "base.en"]}
    report = Report(threads=options.threads, level=options.level, runs=options.runs)
    about = f"{describe_machine()}; {options.threads} threads"
    if options.limits:
        print(about + "\n")
        ceilings = limits.best([limits.measure(options.threads) for _ in range(options.runs)])
        report.facts |= {"ceilings": ceilings, "counted_ms": limits.report(models, ceilings)}
    else:
        peer = Peer.find(options.peer)
        ct2 = None if options.no_ct2 or options.saturation else CTranslate2.find(options.ct2)
        report.facts["peers"] = [p.version() for p in (peer, ct2) if p]
        print(f"{about}; medians of {options.runs}, in turn; peers: {'; '.join(report.facts['peers'])}\n")
        with tempfile.TemporaryDirectory() as scratch:
            if options.saturation:
                audio = whole.prepare(options.audio or default_audio(scratch), options.language, options.join)
                for name, model in models.items():
                    saturation.measure(peer, name, model, audio, options, report)
            else:
                compare(options, models, scratch, report, peer, ct2)
    if options.json:
        report.write(options.json)


if __name__ == "__main__":
    main()
