"""How right the transcripts are: ours and whisper.cpp's on the same weights, samples and settings.

Every result is kept in a cache under the checksums of what it was made from, so a run that is interrupted goes
on, and the peer runs again only when it, a model or a recording has changed. On a machine with two processors
the first run over a set of 300 clips with three models takes hours; what is asked for can be cut down with
--part, --model and --limit, and --cached-peer compares what the peer has done so far.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import clips
import fill
import longform
import nonspeech
import sameness
import wordtimes
from cache import DEFAULT, Cache
from peers import OURS, find_model
from recordings import read_long, read_manifest
from report import describe_machine
from systems import Ours, WhisperCpp
from table import replace_part

PARTS = {"clips": clips.report, "long": longform.report, "nonspeech": nonspeech.report, "words": wordtimes.report,
         "same": sameness.report}
ROOT = Path(__file__).resolve().parent.parent


class Setting:
    """What every part of the report needs."""

    def __init__(self, arguments, manifest):
        self.cache = Cache(arguments.cache)
        self.peer = WhisperCpp(self.cache, arguments.peer, arguments.peer_vad, arguments.threads)
        self.ours = Ours(self.cache, arguments.binary, arguments.threads)
        self.clips = read_manifest(manifest)
        self.clips = self.clips[:arguments.limit] if arguments.limit else self.clips
        self.long = read_long(arguments.long or manifest.resolve().parent / "long")
        self.models = arguments.model or ["tiny", "base.en", "small"]
        self.f32_clips = arguments.f32_clips
        self.cached_peer, self.worst, self.quiet = arguments.cached_peer, arguments.worst, arguments.quiet
        self.paths = {}

    def model(self, name):
        if name not in self.paths:
            self.paths[name] = find_model(name)
        return self.paths[name]

    def may_run_peer(self, wav, model, language, search, mode="default"):
        if mode == "vad" and not self.peer.vad:
            return False
        return not self.cached_peer or self.peer.has(wav, model, language, search, mode)

    def progress(self, line):
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)


def parse():
    parser = argparse.ArgumentParser(prog="script/accuracy", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", nargs="?", type=Path, help="table of clips: columns path (relative to it), language, "
                        "transcript; default: $ACCURACY_MANIFEST, else ../shared/audio/manifest.tsv")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part (may be given again)")
    parser.add_argument("--model", action="append", help="name or path (default: tiny, base.en and small)")
    parser.add_argument("--f32-clips", type=int, default=sys.maxsize, metavar="N", help="hear only the first N clips, a "
                        "fair sample, in f32 too (of a large model a quarter of them); 0: none (default: all)")
    parser.add_argument("--long", type=Path, help="folder of long recordings, each with its utterances (start, end, "
                        "transcript) in a .tsv of its name (default: long, beside the manifest)")
    parser.add_argument("--limit", type=int, default=0, help="only so many clips, a fair sample of the languages")
    parser.add_argument("--peer", default=os.environ.get("WHISPER_CPP"), help="folder of whisper-cli (default: "
                        "$WHISPER_CPP, else from PATH, else installed from Debian sid into the cache)")
    parser.add_argument("--peer-vad", type=Path, default=os.environ.get("WHISPER_CPP_VAD"),
                        help="Silero weights in ggml for whisper.cpp's --vad (default: $WHISPER_CPP_VAD, else that mode "
                        "is left out)")
    parser.add_argument("--cached-peer", action="store_true", help="compare over what the cache has of whisper.cpp "
                        "and do not run it")
    parser.add_argument("--fill-peer", action="store_true", help="only run whisper.cpp over all of it, into the cache")
    parser.add_argument("--cache", type=Path, default=DEFAULT, help=f"folder of results (default: {DEFAULT})")
    parser.add_argument("--binary", type=Path, default=OURS, help="our program (default: the build)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for both (default: all)")
    parser.add_argument("--worst", type=int, default=0, help="name this many files where we lose most")
    parser.add_argument("--write", type=Path, help="put the tables into this document, between the parts' markers")
    parser.add_argument("--quiet", action="store_true", help="no word of progress")
    return parser.parse_args()


def manifest_of(arguments):
    given = arguments.manifest or os.environ.get("ACCURACY_MANIFEST")
    path = Path(given) if given else ROOT.parent / "shared" / "audio" / "manifest.tsv"
    if not path.exists():
        sys.exit(f"error: {path} is not there. Name a manifest: script/accuracy MANIFEST.tsv, a table with tabs and the "
                 "columns path, language and transcript")
    return path


def heading(setting, began):
    found, made = (d.get(setting.peer.name, 0) for d in (setting.cache.found, setting.cache.computed))
    return (f"{describe_machine()}, {setting.ours.threads} threads, {time.strftime('%Y-%m-%d', began)}. "
            f"Ours: {setting.ours.version()}. Peer: {setting.peer.version()}; {found} of its results came from the "
            f"cache of earlier runs with the same checksum, {made} were made in this run.")


def main():
    arguments, began = parse(), time.gmtime()
    setting = Setting(arguments, manifest_of(arguments))
    if arguments.fill_peer:
        fill.fill(setting)
        return
    for name in arguments.part or PARTS:
        setting.cache.found, setting.cache.computed = {}, {}
        text = PARTS[name](setting) + "\n\n" + heading(setting, began)
        print(f"\n## {name}\n\n{text}", flush=True)
        if arguments.write:
            arguments.write.write_text(replace_part(arguments.write.read_text(), name, text))


if __name__ == "__main__":
    main()
