"""What the queue and its servers bear: script/bench --queue.

Jobs of a second of silence, so that what is measured is the way of a job and not the engine: uploads a second into a
service, then, with workers started beside the full queue, jobs a second from claim to commit, read from the jobs' own
times. Then what idle processes cost: connections, transactions, Redis's clients and commands, and how many of them one
job sets in motion.
"""

import argparse
import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from cluster import PgBouncer, Worker, kinds, place
from load import flood, in_child, percentile
from table import table

PAGE = 100
ONE = {"WORKER_CONCURRENCY": "1", "WORKER_THREADS": "1"}


def seconds_of(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def jobs_of(service):
    """All jobs, each with its times as seconds."""
    jobs, offset = [], 0
    while True:
        page = json.loads(service.ask("GET", f"/jobs?limit={PAGE}&offset={offset}")[1])["jobs"]
        for job in page:
            for name in ("created_at", "started_at", "completed_at"):
                job[name] = seconds_of(job[name]) if job[name] else None
        jobs += page
        offset += len(page)
        if len(page) < PAGE:
            return jobs


def wait_for_all(service, count=None):
    """Until so many jobs have ended, or all there are."""
    while True:
        text = service.ask("GET", "/metrics")[1].decode()
        states = {line.partition('status="')[2].partition('"')[0]: int(line.rpartition(" ")[2])
                  for line in text.splitlines() if line.startswith("whisper_transcriber_jobs{")}
        if not states["pending"] and not states["processing"] and (not count or states["completed"] >= count):
            return states
        time.sleep(0.05)


class Dialer:
    """What load.flood asks of a service."""

    def __init__(self, service):
        self.service = service

    def dial(self):
        s = socket.create_connection(("127.0.0.1", self.service.port), 30)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s


def upload_for(service, seconds, at_once=16):
    heard = in_child(lambda: flood(Dialer(service), 0, seconds, at_once))()
    time.sleep(0.5)  # those that were under way when the time was up
    return heard["served"] / seconds


def embedded(at, **settings):
    """A service that does the work itself, on a file; its processes stand still until they are told."""
    service = at.service(**settings)
    pids = [pid for pid in service.processes() if pid != service.pid]

    def tell(name):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, name)
    tell(signal.SIGSTOP)
    at.stack.callback(tell, signal.SIGCONT)
    return service, lambda: tell(signal.SIGCONT)


def throughput(kind, workers, seconds):
    """Uploads a second without workers, then what so many processes get done of what was uploaded."""
    with tempfile.TemporaryDirectory() as folder, place(folder, kind) as at:
        if kind == "sqlite":
            service, begin = embedded(at, WORKER_CONCURRENCY=str(workers), WORKER_THREADS="1")
            uploads = upload_for(service, seconds)
            begin()
        else:
            service = at.service(EMBEDDED_WORKERS="off")
            uploads = upload_for(service, seconds)
            for _ in range(workers):
                at.worker(**ONE)
        spent, waiting = at.processor_seconds(), len([job for job in jobs_of(service) if not job["completed_at"]])
        states = wait_for_all(service)
        spent = {f"{name}_ms": 1000 * (seconds - spent[name]) / waiting
                 for name, seconds in at.processor_seconds().items()}
        jobs = [job for job in jobs_of(service) if job["completed_at"]]
        # The first and the last tenth are left out: processes that start, and that have no more to do.
        ends = sorted(job["completed_at"] for job in jobs)
        cut = len(ends) // 10
        middle = ends[cut:len(ends) - cut]
        return {"kind": kind, "workers": workers, "uploads_per_s": uploads, "jobs": len(jobs),
                "failed": states["failed"], "jobs_per_s": (len(middle) - 1) / (middle[-1] - middle[0]),
                "work_ms": 1000 * percentile([j["completed_at"] - j["started_at"] for j in jobs], 0.5)} | spent


class Usage:
    """Between two moments: transactions, commands, processor seconds."""

    def __init__(self, at):
        self.at, self.began = at, time.monotonic()
        self.commits, self.backends = at.postgres.statistics(at.name)
        self.commands = at.redis.commands() if at.redis else {}
        self.spent = at.processor_seconds()

    def since(self):
        time.sleep(1.2)  # PostgreSQL tells of a transaction up to a second later
        seconds = time.monotonic() - self.began
        commits, backends = self.at.postgres.statistics(self.at.name)
        row = {"seconds": seconds, "transactions": commits - self.commits, "connections": backends}
        row |= {f"{name}_ms": 1000 * (now - self.spent[name]) for name, now in self.at.processor_seconds().items()}
        if self.at.redis:
            now = self.at.redis.commands()
            own = {"info": 1, "ping": 0}
            row["redis_clients"] = self.at.redis.clients()
            row["redis_scripts"] = now.get("evalsha", 0) - self.commands.get("evalsha", 0)
            row["redis_commands"] = sum(now.values()) - sum(self.commands.values()) - sum(own.values())
        return row


def idle_row(at, kind, workers, seconds, jobs):
    """So many idle processes: what they cost by themselves, and what jobs that come one by one set in motion."""
    usage = Usage(at)
    time.sleep(seconds)
    idle = usage.since()
    row = {"kind": kind, "workers": workers, "connections": idle["connections"],
           "transactions_per_s": idle["transactions"] / idle["seconds"]}
    per_second = {"transactions": row["transactions_per_s"]}
    if at.redis:
        row["redis_clients"] = idle["redis_clients"]
    for name in idle:
        if name.endswith(("_ms", "commands", "scripts")):
            row[f"{name}_per_s"] = per_second[name] = idle[name] / idle["seconds"]
    service, usage = at.first_service, Usage(at)
    for _ in range(jobs):
        flood(Dialer(service), 1000, 0.002, 1)
        time.sleep(0.5)  # long enough for it to end: to ask all the time would be counted as the job's
    wait_for_all(service)
    busy = usage.since()
    for name, each in per_second.items():
        row[f"{name}_per_job"] = (busy[name] - each * busy["seconds"]) / jobs
    done = [job for job in jobs_of(service) if job["completed_at"]][:jobs]
    row["begins_after_ms_p50"] = 1000 * percentile([j["started_at"] - j["created_at"] for j in done], 0.5)
    row["begins_after_ms_max"] = 1000 * max(j["started_at"] - j["created_at"] for j in done)
    return row


def idle(kind, counts, seconds, jobs):
    rows = []
    with tempfile.TemporaryDirectory() as folder, place(folder, kind) as at:
        at.first_service = at.service(EMBEDDED_WORKERS="off")
        had = 0
        for count in counts:
            while had < count:
                at.worker(**ONE)
                had += 1
            time.sleep(2)
            rows.append(idle_row(at, kind, count, seconds, jobs))
    return rows


def streams(count, seconds, kind):
    """Uploads a second, and events a second that all who listen get together."""
    with tempfile.TemporaryDirectory() as folder, place(folder, kind) as at:
        service = embedded(at, MAX_CONNECTIONS="2000", WORKER_CONCURRENCY="1")[0] if kind == "sqlite" else \
            at.service(EMBEDDED_WORKERS="off", MAX_CONNECTIONS="2000")
        sockets = [Dialer(service).dial() for _ in range(count)]
        for s in sockets:
            s.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
            s.recv(4096)
        listening = in_child(lambda: listen(sockets, seconds + 2))
        uploads = upload_for(service, seconds)
        events, late = listening()
        for s in sockets:
            s.close()
        return {"kind": kind, "listeners": count, "uploads_per_s": uploads, "events_per_s": events / seconds,
                "complete": events / max(1, count * len(jobs_of(service))), "quiet_after_s": late}


def listen(sockets, seconds):
    selector, events, begun, last = selectors.DefaultSelector(), 0, time.monotonic(), 0
    for s in sockets:
        s.setblocking(False)
        selector.register(s, selectors.EVENT_READ)
    while time.monotonic() < begun + seconds:
        for key, _ in selector.select(0.1):
            try:
                text = key.fileobj.recv(1 << 18)
            except OSError:
                continue
            found = text.count(b"\nid:") + text.startswith(b"id:")
            if found:
                last = time.monotonic() - begun
            events += found
    return events, last


def bouncer(program, mode):
    """Whether a service and a worker do a job through PgBouncer, and what they say."""
    with tempfile.TemporaryDirectory() as folder, place(folder, "postgresql") as at:
        pool = at.stack.enter_context(PgBouncer(at.new("bouncer"), at.postgres, mode, program))
        through = {"DATABASE_URL": at.postgres.url(at.name, pool.port)}
        try:
            service = at.service(EMBEDDED_WORKERS="off", **through)
            worker = at.stack.enter_context(Worker(at.new("worker"), **(at.settings | through | ONE)))
            for _ in range(10):
                flood(Dialer(service), 1000, 0.002, 1)
                time.sleep(0.2)
            end = time.monotonic() + 20
            while time.monotonic() < end and len([j for j in jobs_of(service) if j["completed_at"]]) < 10:
                time.sleep(0.1)
            done = len([j for j in jobs_of(service) if j["completed_at"]])
            return {"mode": mode, "jobs_done_of_10": done, "said": warnings(worker.text())}
        except (SystemExit, KeyError, ValueError) as error:
            return {"mode": mode, "jobs_done_of_10": 0, "said": str(error)[-400:]}


def warnings(text):
    return " / ".join(sorted({line.partition("] ")[2] or line for line in text.splitlines() if "WARN" in line or
                              "ERROR" in line}))[:400]


def show(title, rows):
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value):
        return "" if value is None else f"{value:.1f}" if isinstance(value, float) else value
    print(f"\n### {title}\n\n" + table(names, [[cell(row.get(name)) for name in names] for row in rows]), flush=True)


def main():
    parser = argparse.ArgumentParser(prog="script/bench --queue", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="less of everything: two minutes")
    add("--only", choices=("throughput", "idle", "streams", "pgbouncer"), help="one part alone")
    add("--kind", action="append", choices=("sqlite", "postgresql", "postgresql+redis"))
    add("--workers", type=int, action="append", help="idle or busy processes of `worker`")
    add("--pgbouncer", default=shutil.which("pgbouncer"), help="the program; without it that part is left out")
    add("--json", type=Path, help="write the figures into this file, too")
    options = parser.parse_args()
    wanted, load = options.kind or kinds(), os.getloadavg()[0]
    wanted = [kind for kind in wanted if kind in kinds()]
    print(f"load average before: {load:.1f} on {os.cpu_count()} processors")
    result = {"load_before": load}

    def part(name, title, rows):
        if options.only in (None, name):
            result[name] = list(rows())
            show(title, result[name])
    counts = options.workers or ([1, 4] if options.quick else [1, 4, 8])
    part("throughput", "The way of a job: a second of silence",
         lambda: [throughput(kind, n, 3 if options.quick else 8) for kind in wanted for n in counts])
    part("streams", "Events", lambda: [streams(n, 3 if options.quick else 8, kind) for kind in wanted[:2]
                                       for n in (1, 100)])
    counts = options.workers or ([1, 8] if options.quick else [1, 8, 32])
    part("idle", "Idle processes of `worker`, beside one service",
         lambda: [row for kind in wanted if kind != "sqlite"
                  for row in idle(kind, counts, 5 if options.quick else 15, 10 if options.quick else 30)])
    if options.pgbouncer and "postgresql" in kinds():
        part("pgbouncer", "Through PgBouncer",
             lambda: [bouncer(options.pgbouncer, mode) for mode in ("session", "transaction")])
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
