"""Tables of medians beside the peers', with the bars that they are held to; and the same as JSON."""

import datetime
import json
import os
import statistics
from pathlib import Path

PEERS = ("whisper.cpp", "CTranslate2")


def describe_machine():
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} processors"


def verdict(value, bar, greater):
    """A figure with its bar and whether it is met; alone where there is no bar."""
    if bar is None:
        return f"{value:.2f}"
    met = value >= bar if greater else value <= bar
    return f"{value:.2f} ({'≥' if greater else '≤'} {bar:g}: {'met' if met else 'missed'})"


class Report:
    def __init__(self, **facts):
        self.facts = {"date": datetime.date.today().isoformat(), "machine": describe_machine(), **facts}
        self.rows = []

    def head(self, title, sides):
        """A table begins; `sides` are the peers' names, which begin with one of PEERS."""
        self.title, self.sides = title, list(sides)
        self.against = [p for p in PEERS if any(s.startswith(p) for s in self.sides)]
        names = ["what", "ours", *self.sides, *(f"times as fast as {p}" for p in self.against), "unit",
                 "least–most, ours"]
        print(f"### {title}\n\n| {' | '.join(names)} |\n|---|{'---:|' * (len(names) - 3)}---|---|", flush=True)

    def row(self, what, unit, ours, theirs, bars=(), note="", partial=()):
        """`theirs`: values by side; a side may be missing. `bars`: the least ratio to the best of a peer's sides,
        by peer, or by "most" the greatest value of ours. `partial`: sides that did less, and are not compared."""
        bars = dict(bars)
        mine = statistics.median(ours)
        others = {side: statistics.median(values) for side, values in theirs.items() if values}
        cells = [verdict(mine, bars["most"], False) if "most" in bars else f"{mine:.4g}"]
        cells += [f"{others[s]:.4g}{' *' if s in partial else ''}" if s in others else "–" for s in self.sides]
        ratios = {}
        for peer in self.against:
            values = [v for side, v in others.items() if side.startswith(peer) and side not in partial]
            if values:
                ratios[peer] = min(values) / mine
            cells.append(verdict(ratios[peer], bars.get(peer), True) if values else "–")
        print(f"| {what}{' ' + note if note else ''} | {' | '.join(cells)} | {unit} | {min(ours):.4g}–{max(ours):.4g} |",
              flush=True)
        self.rows.append({"table": self.title, "what": what, "unit": unit, "ours": list(ours), "theirs": theirs,
                          "times": ratios, "bars": bars, "partial": sorted(partial)})

    def write(self, path):
        path.write_text(json.dumps({**self.facts, "rows": self.rows}, indent=1, ensure_ascii=False) + "\n")
