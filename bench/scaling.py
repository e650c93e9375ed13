#!/usr/bin/env python3
"""How many workers a load needs: a simulation of the service's own rules, and closed formulas beside it.

A machine has slots (worker processes). A job that has one for itself takes `fixed + seconds / speed` seconds, or what
a measured table says. When no slot of a machine is free, its slots take short recordings beside what they have, eight
at most; those that share a slot, and the slots that share a machine, slow each other down by what `beside` and
`neighbour` say: k jobs in one slot take (1 + beside (k - 1)) times as long as one, and m busy slots (1 + neighbour
(m - 1)) times. The order is that of arrival (SQLite, PostgreSQL), or the fair one of Redis.

The formulas, for Poisson arrivals:

* the wait for a slot of one's own: Erlang's C and Allen and Cunneen's approximation of G/G/c, which for Poisson
  arrivals is Lee and Longton's of M/G/c (A. O. Allen, Probability, Statistics and Queueing Theory with Computer Science
  Applications, 2nd ed. 1990, 5.2; A. M. Lee, P. A. Longton, Queueing Processes Associated with Airline Passenger
  Check-in, Operational Research Quarterly 10, 1959): W = C(c, a) / (c/S - r) * (1 + cs^2) / 2. That somebody who waits
  does so for an exponential time is a second approximation, from which its percentiles come;
* the time until a job is done where jobs share the slots: a birth-and-death chain whose rates of death are what so
  many jobs get done together. For symmetric sharing it does not depend on how the lengths are distributed (F. P. Kelly,
  Reversibility and Stochastic Networks, 1979, 3.3), and every job is slowed down by the same factor.
"""

import argparse
import heapq
import json
import math
import random
import statistics
import sys
from collections import deque
from dataclasses import dataclass, field

from table import table

BESIDE_MOST = 8        # jobs in a slot: WORKER_JOBS
BESIDE_SECONDS = 262   # 8 MiB of 16 kHz, 16 bits: QUEUE_BESIDE_BYTES
SHORT_SECONDS, SHORT_EVERY = 60, 3  # Redis: the short lane


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


# ---- what a job costs -------------------------------------------------------------------------------------------

class Cost:
    """Seconds of work for a length of audio, in a slot of its own: by a table [(length, seconds)], between its points
    on a line, beyond them on that of the last two."""

    def __init__(self, points, beside=0.8, neighbour=0.0):
        self.points = sorted(points)
        self.beside, self.neighbour = beside, neighbour

    @classmethod
    def of_speed(cls, fixed, speed, **more):
        return cls([(0, fixed), (speed, fixed + 1)], **more)

    def work(self, seconds):
        points = self.points
        if len(points) == 1:
            return points[0][1]
        i = 1
        while i < len(points) - 1 and points[i][0] < seconds:
            i += 1
        (x0, y0), (x1, y1) = points[i - 1], points[i]
        return max(y0 + (y1 - y0) * (seconds - x0) / (x1 - x0), 1e-6)


@dataclass
class Job:
    at: float
    seconds: float
    work: float
    caller: int = 0
    began: float = None
    ended: float = None
    left: float = None


def poisson(rate, count, lengths, cost, callers=1, seed=1):
    """Jobs that come by chance; lengths: [(share, seconds)], the seconds a number or a function of the chance."""
    chance, now, jobs = random.Random(seed), 0.0, []
    shares = [share for share, _ in lengths]
    for _ in range(count):
        now += chance.expovariate(rate)
        seconds = chance.choices(lengths, shares)[0][1]
        seconds = seconds(chance) if callable(seconds) else seconds
        jobs.append(Job(now, seconds, cost.work(seconds), chance.randrange(callers)))
    return jobs


# ---- the queue --------------------------------------------------------------------------------------------------

class Line:
    """What waits, in order of arrival."""

    def __init__(self, beside_seconds):
        self.jobs, self.small, self.count, self.most = deque(), deque(), 0, beside_seconds

    def push(self, job):
        self.jobs.append(job)
        self.count += 1
        if job.seconds <= self.most:
            self.small.append(job)

    @staticmethod
    def first(line):
        while line and line[0].began is not None:
            line.popleft()
        return line[0] if line else None

    def next(self, beside):
        return self.first(self.small if beside else self.jobs)

    def take(self, job, now):
        job.began = now
        self.count -= 1


class Fair(Line):
    """As on Redis: callers share seconds of audio, and short recordings have a lane of their own."""

    def __init__(self, beside_seconds):
        super().__init__(beside_seconds)
        self.lanes = {"short": {}, "long": {}}
        self.had, self.virtual, self.passed = {}, 0.0, 0

    def push(self, job):
        super().push(job)
        lane = self.lanes["short" if job.seconds < SHORT_SECONDS else "long"]
        if not any(job.caller in of for of in self.lanes.values()):
            self.had[job.caller] = max(self.had.get(job.caller, 0.0), self.virtual)
        lane.setdefault(job.caller, deque()).append(job)

    def front(self, lane):
        best = None
        for caller, line in list(self.lanes[lane].items()):
            job = self.first(line)
            if job is None:
                del self.lanes[lane][caller]
            elif best is None or job.at + self.had[caller] < best[0]:
                best = (job.at + self.had[caller], job)
        return best

    def next(self, beside):
        if beside:
            return self.first(self.small)
        short, long = self.front("short"), self.front("long")
        if long and (not short or long[0] < short[0]):
            if not short or self.passed + 1 < SHORT_EVERY:
                return long[1]
        return short[1] if short else None

    def take(self, job, now):
        short = job.seconds < SHORT_SECONDS
        self.passed = 0 if short else self.passed + (1 if self.lanes["short"] else 0)
        waiting = [self.had[c] for of in self.lanes.values() for c in of]
        self.virtual = max(self.virtual, min(waiting, default=0.0))
        self.had[job.caller] += job.seconds
        super().take(job, now)


# ---- the machines -----------------------------------------------------------------------------------------------

@dataclass
class Setup:
    machines: int = 1
    slots: int = 1            # of each
    workers: int = 1          # processes of `worker` on each, which divide the slots between them
    fair: bool = False        # the queue on Redis
    beside_most: int = BESIDE_MOST
    beside_seconds: float = BESIDE_SECONDS
    idle_first: bool = True   # a busy worker leaves a short job to an idle one
    seed: int = 1


@dataclass
class Machine:
    cost: Cost
    slots: list               # lists of jobs
    at: float = 0.0
    version: int = 0
    busy_seconds: float = 0.0
    rates: list = field(default_factory=list)

    def advance(self, now):
        passed = now - self.at
        for jobs, rate in zip(self.slots, self.rates):
            for job in jobs:
                job.left -= rate * passed
        self.busy_seconds += passed * sum(map(bool, self.slots))
        self.at = now

    def settle(self):
        """The rates of its slots, and when the next job is done (None: nothing to do)."""
        busy = sum(map(bool, self.slots))
        self.rates = [1 / ((1 + self.cost.beside * (len(jobs) - 1)) * (1 + self.cost.neighbour * (busy - 1)))
                      if jobs else 0 for jobs in self.slots]
        self.version += 1
        due = [max(job.left, 0) / rate for jobs, rate in zip(self.slots, self.rates) for job in jobs]
        return self.at + min(due) if due else None


class Pool:
    """A set out of which one is drawn by chance."""

    def __init__(self, chance):
        self.items, self.place, self.chance = [], {}, chance

    def put(self, item, wanted):
        if wanted and item not in self.place:
            self.place[item] = len(self.items)
            self.items.append(item)
        elif not wanted and item in self.place:
            i, last = self.place.pop(item), self.items.pop()
            if last != item:
                self.items[i] = last
                self.place[last] = i

    def draw(self):
        return self.items[int(self.chance.random() * len(self.items))]


class World:
    def __init__(self, jobs, cost, setup):
        self.setup, self.jobs, self.chance = setup, jobs, random.Random(setup.seed)
        self.line = (Fair if setup.fair else Line)(setup.beside_seconds)
        self.machines = [Machine(cost, [[] for _ in range(setup.slots)]) for _ in range(setup.machines)]
        # Who decides is a process of `worker`: (machine, its slots).
        each = max(1, setup.slots // setup.workers)
        self.workers = [(m, range(i, min(i + each, setup.slots))) for m in range(setup.machines)
                        for i in range(0, setup.slots, each)]
        self.of_machine = {}
        for w, (m, _) in enumerate(self.workers):
            self.of_machine.setdefault(m, []).append(w)
        self.idle, self.roomy = Pool(self.chance), Pool(self.chance)
        self.events = []
        for w in range(len(self.workers)):
            self.note(w)

    def note(self, w):
        m, slots = self.workers[w]
        of = [len(self.machines[m].slots[i]) for i in slots]
        self.idle.put(w, 0 in of)
        self.roomy.put(w, 0 not in of and min(of) < self.setup.beside_most)

    def touch(self, m):
        due = self.machines[m].settle()
        if due is not None:
            heapq.heappush(self.events, (due, m, self.machines[m].version))
        for w in self.of_machine[m]:
            self.note(w)

    def choose(self):
        """Who takes what next: a worker and a job, or None."""
        small = self.line.next(True) if self.roomy.items else None
        if self.idle.items and not (small and not self.setup.idle_first and self.chance.random() * (
                len(self.idle.items) + len(self.roomy.items)) >= len(self.idle.items)):
            return self.idle.draw(), self.line.next(False)
        return (self.roomy.draw(), small) if small else None

    def dispatch(self, now):
        while self.line.count:
            chosen = self.choose()
            if not chosen:
                return
            w, job = chosen
            m, slots = self.workers[w]
            machine = self.machines[m]
            machine.advance(now)
            of = machine.slots
            slot = next(i for i in slots if not of[i]) if w in self.idle.place else \
                next(i for i in slots if len(of[i]) < self.setup.beside_most)
            self.line.take(job, now)
            job.left = job.work
            of[slot].append(job)
            self.touch(m)

    def finish(self, m, now):
        machine = self.machines[m]
        machine.advance(now)
        for i, jobs in enumerate(machine.slots):
            for job in jobs:
                if job.left <= 1e-9:
                    job.ended = now
            machine.slots[i] = [job for job in jobs if job.ended is None]
        self.touch(m)

    def run(self):
        coming = iter(self.jobs)
        job = next(coming, None)
        while job or self.events:
            if self.events and self.machines[self.events[0][1]].version != self.events[0][2]:
                heapq.heappop(self.events)
            elif job and (not self.events or job.at <= self.events[0][0]):
                self.line.push(job)
                self.dispatch(job.at)
                job = next(coming, None)
            else:
                now, m, _ = heapq.heappop(self.events)
                self.finish(m, now)
                self.dispatch(now)


def simulate(jobs, cost, setup):
    """Fills in when each began and ended; returns the figures of all."""
    world = World(jobs, cost, setup)
    world.run()
    first, last = jobs[0].at, max(job.ended for job in jobs)
    slots = setup.machines * setup.slots
    return figures([job.began - job.at for job in jobs], [job.ended - job.at for job in jobs]) | {
        "busy": sum(m.busy_seconds for m in world.machines) / (slots * (last - first))}


def figures(waits, dones):
    return {"jobs": len(waits), "wait_mean": statistics.fmean(waits), "wait_p50": percentile(waits, 0.5),
            "wait_p95": percentile(waits, 0.95), "done_mean": statistics.fmean(dones),
            "done_p50": percentile(dones, 0.5), "done_p95": percentile(dones, 0.95)}


# ---- the formulas -----------------------------------------------------------------------------------------------

def erlang_c(count, offered):
    """The probability that who comes must wait: M/M/c with this offered load (arrival rate times service time)."""
    if offered >= count:
        return 1.0
    b = 1.0
    for n in range(1, count + 1):
        b = offered * b / (n + offered * b)
    return b / (1 - offered / count * (1 - b))


def alone(rate, works, count):
    """Each job has a slot for itself: Allen and Cunneen's wait. `works` are samples of the service time."""
    mean = statistics.fmean(works)
    squared = statistics.pvariance(works, mean) / mean ** 2
    offered = rate * mean
    if offered >= count:
        return {"load": offered / count, "wait_mean": math.inf, "wait_p50": math.inf, "wait_p95": math.inf,
                "done_mean": math.inf}
    waits = erlang_c(count, offered)
    wait = waits * mean / (count - offered) * (1 + squared) / 2

    def at(share):
        return max(0.0, wait / waits * math.log(waits / (1 - share))) if waits > 1 - share else 0.0
    return {"load": offered / count, "waits": waits, "wait_mean": wait, "wait_p50": at(0.5), "wait_p95": at(0.95),
            "done_mean": wait + mean}


def speed_together(n, cost, slots, most):
    """How much work n jobs get done in a second on a machine, evenly spread over its slots."""
    n = min(n, slots * most)
    busy = min(n, slots)
    if not busy:
        return 0.0
    fuller, each = n % slots if n > slots else 0, max(1, n // slots)
    neighbour = 1 + cost.neighbour * (busy - 1)
    rest = (busy - fuller) * each / (1 + cost.beside * (each - 1))
    return (rest + fuller * (each + 1) / (1 + cost.beside * each)) / neighbour


def shared(rate, works, cost, machines, slots, most=BESIDE_MOST):
    """Jobs share the slots: by how much each is slowed down. Several machines count as one of all their slots."""
    mean = statistics.fmean(works)
    offered, total = rate * mean, machines * slots

    def speed(n):
        here = min(n, total)
        if n <= total:  # spread over the machines first
            each, more = divmod(here, machines)
            return (machines - more) * speed_together(each, cost, slots, most) + \
                more * speed_together(each + 1, cost, slots, most)
        each, more = divmod(min(n, total * most), machines)
        return (machines - more) * speed_together(each, cost, slots, most) + \
            more * speed_together(each + 1, cost, slots, most)
    top = speed(total * most)
    if offered >= top:
        return {"load": offered / top, "done_mean": math.inf, "slowdown": math.inf}
    weight, total_weight, sum_n, n = 1.0, 1.0, 0.0, 0
    while True:
        n += 1
        weight *= offered / speed(n)
        total_weight += weight
        sum_n += n * weight
        if total_weight > 1e200:
            weight, total_weight, sum_n = weight / 1e200, total_weight / 1e200, sum_n / 1e200
        if n > total and weight * n < 1e-12 * total_weight and offered < speed(n):
            break
    done = sum_n / total_weight / rate
    return {"load": offered / top, "done_mean": done, "slowdown": done / mean}


def workers_needed(rate, works, wait, share=0.95):
    """The least number of slots with which this share of the jobs begins within `wait` seconds."""
    mean = statistics.fmean(works)
    count = max(1, math.floor(rate * mean) + 1)
    while True:
        f = alone(rate, works, count)
        p = f.get("waits", 1.0)
        late = p * math.exp(-wait * p / f["wait_mean"]) if f["wait_mean"] > 0 else 0.0
        if late <= 1 - share:
            return count
        count += 1


# ---- does it compute what is known? -----------------------------------------------------------------------------

def near(what, value, known, tolerance):
    if abs(value - known) > tolerance * abs(known):
        raise SystemExit(f"{what}: {value:.4f}, and {known:.4f} is known")


def run_known(rate, count, draw, servers, setup=None, cost=None, seed=3):
    chance, now, jobs = random.Random(seed), 0.0, []
    for _ in range(count):
        now += chance.expovariate(rate)
        work = draw(chance)
        jobs.append(Job(now, 1, work))
    cost = cost or Cost([(0, 0)])
    got = simulate(jobs, cost, setup or Setup(slots=servers, beside_most=1))
    return got, jobs


def self_test():
    exponential, even = (lambda c: c.expovariate(1)), (lambda c: 1.0)
    near("C(1, 0.8)", erlang_c(1, 0.8), 0.8, 1e-9)
    near("C(2, 1)", erlang_c(2, 1), 1 / 3, 1e-9)
    near("C(10, 8)", erlang_c(10, 8), 0.4092, 1e-3)
    # The samples of an exponential time: its mean is 1, and its variation, too.
    works = [-math.log(1 - (i + 0.5) / 20000) for i in range(20000)]
    near("M/M/1's wait by the formula", alone(0.8, works, 1)["wait_mean"], 4, 0.01)
    near("M/D/1's wait by the formula", alone(0.8, [1.0], 1)["wait_mean"], 2, 1e-9)
    near("M/M/1's 95 % by the formula", alone(0.8, works, 1)["wait_p95"], math.log(0.8 / 0.05) / 0.2, 0.01)
    near("M/M/1's wait, simulated", run_known(0.7, 150000, exponential, 1)[0]["wait_mean"], 0.7 / 0.3, 0.06)
    near("M/D/1's wait, simulated", run_known(0.7, 80000, even, 1)[0]["wait_mean"], 0.7 / 0.6, 0.05)
    got = run_known(2.8, 100000, exponential, 4)[0]
    near("M/M/4's wait, simulated", got["wait_mean"], alone(2.8, works, 4)["wait_mean"], 0.06)
    near("M/M/4's load, simulated", got["busy"], 0.7, 0.02)
    # Machines instead of slots make no difference as long as nothing is shared.
    spread = run_known(2.8, 100000, exponential, 4, Setup(machines=4, slots=1, beside_most=1))[0]
    near("four machines of one slot", spread["wait_mean"], got["wait_mean"], 0.02)
    # One server that all share: who has x to do is there for x / (1 - load).
    together = Setup(slots=1, beside_most=10 ** 9)
    got, jobs = run_known(0.6, 40000, exponential, 1, together, Cost([(0, 0)], beside=1.0))
    near("M/M/1-PS, simulated", got["done_mean"], 1 / 0.4, 0.06)
    small = [job.ended - job.at for job in jobs if job.work < 0.5]
    near("short jobs of M/M/1-PS", statistics.fmean(small) / statistics.fmean(j.work for j in jobs if j.work < 0.5),
         1 / 0.4, 0.06)
    near("M/G/1-PS by the formula", shared(0.6, works, Cost([(0, 0)], beside=1.0), 1, 1, 10 ** 6)["done_mean"],
         1 / 0.4, 0.01)
    near("nothing is shared: M/M/4 by the chain", shared(3.2, works, Cost([(0, 0)]), 1, 4, 1)["done_mean"],
         alone(3.2, works, 4)["done_mean"], 0.01)
    near("slots for M/M/c", workers_needed(3.2, works, 2.0), 5, 0)
    fair_test()
    print("ok")


def fair_test():
    """One caller's flood: with Redis another's job does not wait for all of it; short ones have their lane."""
    cost = Cost.of_speed(0, 10)
    for fair, most in ((False, 60), (True, 9)):
        flood = [Job(0.0, 30, cost.work(30), 1) for _ in range(20)] + [Job(1.0, 30, cost.work(30), 2)]
        simulate(flood, cost, Setup(fair=fair, beside_most=1))
        wait = flood[-1].began - 1.0
        if not (most - 9 <= wait <= most):
            raise SystemExit(f"a job of another caller waits for {wait:.1f} s, fair: {fair}")
    lane = [Job(0.0, 600, 60, 1) for _ in range(10)] + [Job(1.0, 10, 1, 1)]
    simulate(lane, cost, Setup(fair=True, beside_most=1))
    if lane[-1].began > 60 * SHORT_EVERY:
        raise SystemExit(f"a short job begins after {lane[-1].began:.0f} s")
    # Who is idle takes it, and the busy one does not slow its long one down.
    for first, ended in ((True, 1.0), (False, None)):
        jobs = [Job(0.0, 100, 10, 1)] + [Job(0.5, 10, 1, 1)]
        simulate(jobs, Cost.of_speed(0, 10, beside=1.0), Setup(machines=2, idle_first=first, seed=1))
        if first and jobs[1].ended - 0.5 != ended:
            raise SystemExit("an idle worker left the short job to a busy one")


# ---- on the command line ----------------------------------------------------------------------------------------

def lengths_of(text):
    """"60" or "8x0.7,60x0.2,1800x0.1"."""
    parts = [part.partition("x") for part in text.split(",")]
    return [(float(share or 1), float(seconds)) for seconds, _, share in parts]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--self-test", action="store_true", help="compare with what is known of M/M/1, M/M/c, M/D/1 and M/G/1-PS")
    add("--rate", type=float, default=1.0, help="recordings a second")
    add("--lengths", type=lengths_of, default=[(1.0, 60.0)], help="seconds, or SECONDSxSHARE,…")
    add("--fixed", type=float, default=0.15, help="seconds of work that each job costs, however short")
    add("--speed", type=float, default=30.0, help="seconds of audio in a second of a slot (metric real_time_factor)")
    add("--beside", type=float, default=0.8, help="what a second job in a slot adds to the time of the first")
    add("--neighbour", type=float, default=0.0, help="what a second busy slot of a machine adds to the first's time")
    add("--machines", type=int, default=1)
    add("--slots", type=int, default=1, help="of each machine (WORKER_CONCURRENCY)")
    add("--callers", type=int, default=1)
    add("--fair", action="store_true", help="the queue is on Redis")
    add("--wait", type=float, help="say how many slots begin 95 %% of the jobs within so many seconds")
    add("--jobs", type=int, default=20000)
    add("--seed", type=int, default=1)
    add("--json", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    cost = Cost.of_speed(options.fixed, options.speed, beside=options.beside, neighbour=options.neighbour)
    jobs = poisson(options.rate, options.jobs, options.lengths, cost, options.callers, options.seed)
    works = [job.work for job in jobs]
    slots = options.machines * options.slots
    result = {"simulated": simulate(jobs, cost, Setup(options.machines, options.slots, fair=options.fair,
                                                      seed=options.seed)),
              "alone": alone(options.rate, works, slots),
              "shared": shared(options.rate, works, cost, options.machines, options.slots)}
    if options.wait is not None:
        result["slots_needed"] = workers_needed(options.rate, works, options.wait)
    if options.json:
        print(json.dumps(result, indent=1))
        return None
    show(result)
    return None


def show(result):
    def cell(row, name):
        return f"{result[row][name]:.2f}" if name in result[row] else ""
    names = ("busy", "load", "wait_mean", "wait_p50", "wait_p95", "done_mean", "done_p50", "done_p95", "slowdown")
    print(table(["", *names], [[row] + [cell(row, name) for name in names]
                               for row in ("simulated", "alone", "shared")]))
    if "slots_needed" in result:
        print(f"\nslots: {result['slots_needed']}")


if __name__ == "__main__":
    sys.exit(main())
