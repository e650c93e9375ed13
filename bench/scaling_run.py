"""The sizing model against the product: script/bench --scaling.

A service and `worker` processes on PostgreSQL, with the queue on Redis where both are installed, all on this machine.
First what a recording of each length costs in a worker of its own, then what jobs in one worker and workers beside each
other cost each other, then the capacity: what gets done while the queue is never empty. Then recordings come by chance
(Poisson, the same seed each time) at shares of that capacity. When each began and ended, the service says; the
simulation of scaling.py and its formulas get the same arrivals.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path

import scaling
from cluster import ROOT, kinds, place
from queue_limits import jobs_of, wait_for_all
from table import table

CLIP = ROOT / "tests" / "engine" / "golden" / "clean.wav"
SPEECH = ROOT.parent / "shared" / "audio" / "long" / "read-continuous.flac"
# Dictation, voice messages, calls: seconds and how many of a hundred.
MIX = [(4, 40), (10, 30), (30, 20), (120, 10)]
RATE = 16000


def read_wav(path):
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def speech(folder, audio):
    """Samples of real speech: of the recording that is named, or the tests' clip over and over."""
    if audio:
        out = Path(folder) / "speech.wav"
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(audio), "-ac", "1", "-ar", str(RATE), str(out)],
                       check=True)
        return read_wav(out)
    return read_wav(CLIP)


class Recordings:
    """Cut anew for each job, so that none is what was there before."""

    def __init__(self, folder, samples):
        self.folder, self.samples, self.at, self.count = Path(folder), samples, 0, 0

    def cut(self, seconds):
        need, parts = int(seconds * RATE) * 2, []
        while need:
            part = self.samples[self.at:self.at + need]
            parts.append(part)
            need -= len(part)
            self.at = (self.at + len(part)) % len(self.samples)
        self.count += 1
        path = self.folder / f"{self.count}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(b"".join(parts))
        return path


def submit(service, path):
    return service.post("/transcribe", path, model="tiny", language="en")["job_id"]


def times_of(service, ids):
    found = {job["id"]: job for job in jobs_of(service)}
    return [found[i] for i in ids]


def work_of(job):
    return job["completed_at"] - job["started_at"]


def together(service, paths):
    """All at once; their times."""
    ids = [None] * len(paths)

    def one(i):
        ids[i] = submit(service, paths[i])
    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for_all(service)
    return times_of(service, ids)


def span(jobs):
    return max(j["completed_at"] for j in jobs) - min(j["started_at"] for j in jobs)


class Bench:
    def __init__(self, folder, at, options):
        self.at, self.options = at, options
        self.threads = {"WORKER_CONCURRENCY": "1", "WORKER_THREADS": str(options.threads)}
        self.service = at.service(EMBEDDED_WORKERS="off")
        self.recordings = Recordings(folder, speech(folder, options.audio))
        self.workers = 0

    def add_worker(self):
        self.at.worker(**self.threads)
        self.workers += 1
        for _ in range(2):  # its model is loaded then
            together(self.service, [self.recordings.cut(4) for _ in range(self.workers)])

    def alone(self):
        """[(seconds of audio, seconds of work)], medians, and the wait of who finds everything idle."""
        points, waits = [], []
        for seconds in sorted({1, *(s for s, _ in MIX)}):
            jobs = [together(self.service, [self.recordings.cut(seconds)])[0] for _ in range(self.options.runs)]
            points.append((seconds, statistics.median(map(work_of, jobs))))
            waits += [j["started_at"] - j["created_at"] for j in jobs]
        return points, statistics.median(waits)

    def beside(self, base):
        """What each further job in one worker adds to the time of one."""
        seconds, found = 30, []
        for count in (2, 4, 8):
            jobs = together(self.service, [self.recordings.cut(seconds) for _ in range(count)])
            found.append((span(jobs) / base - 1) / (count - 1))
        return max(0.0, statistics.median(found))

    def neighbour(self, base):
        """What the second worker at work adds to the time of the first."""
        found = []
        for _ in range(self.options.runs):
            jobs = together(self.service, [self.recordings.cut(120) for _ in range(self.workers)])
            found.append(span(jobs) / base - 1)
        return max(0.0, statistics.median(found) / max(1, self.workers - 1))

    def mix(self, count, seed):
        jobs = scaling.poisson(1.0, count, [(share, s) for s, share in MIX], scaling.Cost([(0, 1)]), seed=seed)
        return [job.seconds for job in jobs], [job.at for job in jobs]

    def capacity(self):
        """Jobs of the mix a second, while the queue is never empty."""
        lengths, _ = self.mix(self.options.saturate, 7)
        jobs = together(self.service, [self.recordings.cut(s) for s in lengths])
        ends = sorted(j["completed_at"] for j in jobs)
        cut = ends[:max(2, int(0.8 * len(ends)))]  # the last ones are alone
        return len(cut) / (cut[-1] - min(j["started_at"] for j in jobs))

    def arrivals(self, rate, seconds, seed):
        """Recordings by chance; what became of them, and what was given to the simulation."""
        count = max(10, int(rate * seconds))
        lengths, at = self.mix(count, seed)
        paths, ids, threads = [self.recordings.cut(s) for s in lengths], [None] * count, []

        def one(i):
            ids[i] = submit(self.service, paths[i])
        begun = time.monotonic()
        for i, when in enumerate(at):
            time.sleep(max(0.0, begun + when / rate - time.monotonic()))
            threads.append(threading.Thread(target=one, args=(i,)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        wait_for_all(self.service)
        return lengths, times_of(self.service, ids)


def compare(jobs, lengths, cost, dispatch, setup, rate):
    """Measured, simulated and by the formulas, for the same arrivals."""
    measured = scaling.figures([j["started_at"] - j["created_at"] for j in jobs],
                               [j["completed_at"] - j["created_at"] for j in jobs])
    first = min(j["created_at"] for j in jobs)
    same = sorted((scaling.Job(j["created_at"] - first, s, cost.work(s)) for j, s in zip(jobs, lengths)),
                  key=lambda job: job.at)
    simulated = scaling.simulate(same, cost, setup)
    for name in simulated:
        if name.startswith(("wait", "done")):
            simulated[name] += dispatch
    works = [job.work for job in same]
    slots = setup.machines * setup.slots
    return {"rate": rate, "measured": measured, "simulated": simulated,
            "alone": scaling.alone(rate, works, slots),
            "shared": scaling.shared(rate, works, cost, setup.machines, setup.slots)}


def show(result):
    print(f"\nload average before: {result['load_before']:.1f} on {os.cpu_count()} processors; {result['kind']}, "
          f"{result['workers']} workers of {result['threads']} thread(s), tiny; mix {result['mix']}")
    print("seconds of work alone: " + ", ".join(f"{s} s {w:.2f}" for s, w in result["points"])
          + f"; beside {result['beside']:.2f}, neighbour {result['neighbour']:.2f}, begins after "
          f"{1000 * result['dispatch']:.0f} ms; capacity {result['capacity']:.2f} jobs/s, simulated "
          f"{result['capacity_simulated']:.2f}, so that all work is taken for "
          f"{max(1.0, result['capacity_simulated'] / result['capacity']):.2f} times as long below\n")
    rows = []
    for run in result["runs"]:
        for name, where in (("wait, mean", "wait_mean"), ("wait, 95 %", "wait_p95"), ("done after, mean", "done_mean"),
                            ("done after, median", "done_p50"), ("done after, 95 %", "done_p95")):
            measured, simulated = run["measured"][where], run["simulated"][where]
            formula = run["shared"].get(where, run["alone"].get(where))
            rows.append([f"{100 * run['share']:.0f} %", run["measured"]["jobs"], name, f"{measured:.2f}",
                         f"{simulated:.2f}", f"{100 * (simulated / measured - 1):+.0f} %" if measured > 0.05 else "–",
                         "–" if formula is None else f"{formula:.2f}"])
    print(table(["load", "jobs", "seconds", "measured", "simulated", "difference", "formula"], rows, 3))


def measure(folder, at, options, result):
    bench = Bench(folder, at, options)
    bench.add_worker()
    points, dispatch = bench.alone()
    base = dict(points)
    beside = bench.beside(base[30])
    while bench.workers < options.workers:
        bench.add_worker()
    neighbour = bench.neighbour(base[120]) if options.workers > 1 else 0.0
    cost = scaling.Cost(points, beside, neighbour)
    setup = scaling.Setup(1, options.workers, options.workers, fair=at.redis is not None)
    capacity = bench.capacity()
    lengths, _ = bench.mix(options.saturate, 7)
    full = [scaling.Job(0.0, s, cost.work(s)) for s in lengths]
    scaling.simulate(full, cost, setup)
    ends = sorted(job.ended for job in full)[:max(2, int(0.8 * len(full)))]
    result.update(points=points, dispatch=dispatch, beside=beside, neighbour=neighbour, capacity=capacity,
                  capacity_simulated=len(ends) / ends[-1])
    # What each length costs was measured with one job at work. With all of them at work, the service, the database and
    # the decoders of media take their part of the same processors: an operator's speed, from the metrics, has that in it.
    stretch = max(1.0, result["capacity_simulated"] / capacity)
    cost = scaling.Cost([(s, w * stretch) for s, w in points], beside, neighbour)
    for share in (0.3, 0.6, 0.85):
        rate = share * capacity
        lengths, jobs = bench.arrivals(rate, options.seconds, options.seed)
        result["runs"].append(compare(jobs, lengths, cost, dispatch, setup, rate) | {"share": share})


def main():
    parser = argparse.ArgumentParser(prog="script/bench --scaling", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="two minutes instead of ten")
    add("--workers", type=int, default=2, help="processes of `worker`, of one slot each")
    add("--threads", type=int, default=1, help="of each slot")
    add("--seconds", type=float, help="of each of the three loads")
    add("--runs", type=int, help="of each length alone")
    add("--saturate", type=int, help="jobs at once, for the capacity")
    add("--audio", type=Path, help="real speech to cut from (default: a recording beside the checkout, else a clip)")
    add("--kind", choices=("postgresql", "postgresql+redis"), help="default: the last that is installed")
    add("--seed", type=int, default=1)
    add("--json", type=Path, help="write the figures into this file, too")
    options = parser.parse_args()
    short = options.quick
    options.seconds = options.seconds or (15 if short else 120)
    options.runs = options.runs or (2 if short else 5)
    options.saturate = options.saturate or (30 if short else 120)
    if not options.audio and SPEECH.is_file():
        options.audio = SPEECH
    kind = options.kind or kinds()[-1]
    if kind == "sqlite":
        sys.exit("PostgreSQL is not installed: apt-get install postgresql redis-server")
    result = {"load_before": os.getloadavg()[0], "kind": kind, "workers": options.workers, "threads": options.threads,
              "mix": ", ".join(f"{s} s {share} %" for s, share in MIX), "seed": options.seed, "runs": []}
    with tempfile.TemporaryDirectory() as folder, place(folder, kind) as at:
        measure(folder, at, options, result)
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
