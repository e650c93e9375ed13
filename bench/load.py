#!/usr/bin/env python3
"""The service's doors under load: many that wait, many that dawdle, many that bring something, too many that ask.

The worker is stopped (SIGSTOP) once it is up, so that only the server is measured and a job stays open for as long
as somebody listens to it. Memory is the anonymous memory of the serving process; the kernel's buffers are not in it.
"""

import argparse
import base64
import http.client
import json
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from peers import MODELS, ROOT
from service import PORT, Server

BINARY = ROOT / "build" / "src" / "whisper-transcriber"
MODEL = "tiny"
MIB = 1 << 20


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def wav_head(length):
    """Of a WAV file with so many bytes of sound: 16 kHz, mono, 16 bits."""
    def word(value, size=4):
        return value.to_bytes(size, "little")
    return (b"RIFF" + word(36 + length) + b"WAVEfmt " + word(16) + word(1, 2) + word(1, 2) + word(16000) + word(32000)
            + word(2, 2) + word(16, 2) + b"data" + word(length))


class Service(Server):
    def __init__(self, folder, **more):
        binary = os.environ.get("WT_BINARY", BINARY)
        super().__init__([binary, "serve"], folder, "/health/live", PORT=PORT, RATE_LIMIT="off",
                         WHISPER_MODEL_DIR=str(MODELS.resolve()), DEFAULT_WHISPER_MODEL=MODEL, **more)
        self.folder = Path(folder)
        self.stopped = []

    def stop_worker(self):
        """Its children wait; __exit__ lets them end."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        self.stopped = [int(pid) for file in children for pid in file.read_text().split()]
        for pid in self.stopped:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *arguments):
        for pid in self.stopped:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        super().__exit__(*arguments)

    def memory(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", text)[1]) * 1024

    def dial(self):
        s = socket.create_connection(("127.0.0.1", self.port), 30)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def get(self, path="/jobs"):
        """The milliseconds of one request on a connection of its own."""
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status}")
        return (time.perf_counter() - begun) * 1000

    def upload(self, length, piece=bytes(MIB)):
        """POST /transcribe of so many bytes of silence, between boundaries like curl's; status, seconds and answer."""
        line = b"-" * 24 + b"0123456789abcdefABCDEF"
        head = (b"--" + line + b"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n" + wav_head(length))
        tail = b"\r\n--" + line + b"--\r\n"
        s = self.dial()
        begun = time.perf_counter()
        s.sendall(b"POST /transcribe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                  b"Content-Type: multipart/form-data; boundary=" + line + b"\r\n"
                  + f"Content-Length: {len(head) + length + len(tail)}\r\n\r\n".encode() + head)
        left = length
        while left:
            left -= s.send(piece[:min(left, len(piece))])
        s.sendall(tail)
        answer = b""
        while True:
            more = s.recv(65536)
            if not more:
                break
            answer += more
        s.close()
        return int(answer.split(b" ")[1]), time.perf_counter() - begun, answer


def waiting_service(folder):
    return Service(folder, MAX_CONNECTIONS="10000", WORKER_CONCURRENCY="1")


def job_of(answer):
    return json.loads(answer.partition(b"\r\n\r\n")[2])["job_id"]


def steady(service, seconds, gap=0.002):
    """Good requests one after the other: their milliseconds."""
    end, took = time.perf_counter() + seconds, []
    while time.perf_counter() < end:
        took.append(service.get())
        time.sleep(gap)
    return took


class Peak:
    """The most memory of the service within a with statement, beyond what it had."""

    def __init__(self, service):
        self.service = service

    def __enter__(self):
        self.before = self.most = self.service.memory()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.over.wait(0.02):
            self.most = max(self.most, self.service.memory())

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.more = max(self.most, self.service.memory()) - self.before


# ---- what is measured -------------------------------------------------------------------------------------------

def open_many(service, count, request, wanted):
    """Sockets that have asked and got the beginning of an answer."""
    sockets = []
    for i in range(count):
        s = service.dial()
        s.sendall(request)
        sockets.append(s)
        if i % 50 == 49:  # no more than the line of the pool holds
            first_bytes(sockets[-50:], wanted)
    first_bytes(sockets, wanted)
    return sockets


def first_bytes(sockets, wanted):
    for s in sockets:
        text = s.recv(4096, socket.MSG_PEEK)
        if not text.startswith(wanted):
            raise RuntimeError(f"not {wanted}, but {text[:200]}")


def idle(service, job, count, kind):
    key = base64.b64encode(bytes(16)).decode()
    request, wanted = {
        "WebSockets": (f"GET /ws/jobs/{job} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n", b"HTTP/1.1 101"),
        "streams": ("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n", b"HTTP/1.1 200"),
    }[kind]
    before = service.memory()
    sockets = open_many(service, count, request.encode(), wanted)
    time.sleep(2)
    each = (service.memory() - before) / count
    threads = len(list(Path(f"/proc/{service.process.pid}/task").iterdir()))
    took = steady(service, 5)
    for s in sockets:
        s.close()
    return {"what": f"{count} idle {kind}", "kib_each": each / 1024, "threads": threads,
            "p99_ms_meanwhile": percentile(took, 0.99)}


def established(service):
    return subprocess.run(["ss", "-Htn", "state", "established", f"( sport = :{service.port} )"],
                          capture_output=True, text=True, check=True).stdout.count("\n")


def slow_heads(service, count, seconds):
    usual = steady(service, 10)
    command = ["slowhttptest", "-H", "-c", str(count), "-r", "2000", "-i", "5", "-l", str(seconds), "-x", "8",
               "-u", f"http://127.0.0.1:{service.port}/", "-p", "30"]
    tool = shutil.which("slowhttptest")
    sockets, process = [], None
    if tool:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(60):
            time.sleep(0.25)
            if established(service) >= count:
                break
    else:
        for _ in range(count):
            sockets.append(service.dial())
            sockets[-1].sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX")
    there = established(service)
    took = steady(service, 10)
    if process:
        process.terminate()
        process.wait()
    for s in sockets:
        s.close()
    return {"what": f"{count} slow heads", "tool": " ".join(command) if tool else "own sockets",
            "open": there, "p99_ms_usual": percentile(usual, 0.99), "p99_ms": percentile(took, 0.99),
            "p50_ms_usual": percentile(usual, 0.5), "p50_ms": percentile(took, 0.5)}


def many_uploads(service, count, length):
    answers = []

    def one():
        try:
            answers.append(service.upload(length)[0])
        except (OSError, IndexError, ValueError) as error:
            answers.append(repr(error))

    threads = [threading.Thread(target=one) for _ in range(count)]
    begun = time.perf_counter()
    with Peak(service) as peak:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return {"what": f"{count} uploads at once of {length / MIB:.0f} MiB", "accepted": answers.count(202),
            "others": sorted({str(a) for a in answers if a != 202}), "seconds": time.perf_counter() - begun,
            "more_mib": peak.more / MIB}


def disk_speed(folder, length):
    """Bytes a second of a plain write with an fsync, where the uploads go."""
    piece = bytes(MIB)
    begun = time.perf_counter()
    with open(Path(folder) / "plain", "wb") as file:
        left = length
        while left > 0:
            left -= file.write(piece[:min(left, MIB)])
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - begun
    os.unlink(Path(folder) / "plain")
    return length / seconds


def large_upload(service, length, runs=3):
    rows = []
    for _ in range(runs):
        disk = disk_speed(service.folder, length)
        with Peak(service) as peak:
            status, seconds, answer = service.upload(length)
        if status != 202:
            raise RuntimeError(f"the upload was answered {answer[:300]}")
        service.ask("DELETE", f"/jobs/{job_of(answer)}")
        rows.append((length / seconds / 1e6, disk / 1e6, peak.more / MIB))
    rows.sort()
    speed, disk, more = rows[len(rows) // 2]
    return {"what": f"one upload of {length / 1e6:.0f} MB", "mb_per_s": speed, "disk_mb_per_s": disk,
            "more_mib": max(row[2] for row in rows)}


def short_upload():
    """POST /transcribe of a second of silence, whole."""
    body = (b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n" + wav_head(32000)
            + bytes(32000) + b"\r\n--b--\r\n")
    return (b"POST /transcribe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n" + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


def flood(service, rate, seconds, most):
    """Uploads on connections of their own: `rate` a second (0: as fast as they are answered), `most` at once."""
    selector, request, open_now = selectors.DefaultSelector(), short_upload(), 0
    heard = {"offered": 0, "served": 0, "refused": 0, "without_retry_after": 0, "broken_off": 0}
    begun = time.perf_counter()
    while (now := time.perf_counter() - begun) < seconds:
        while open_now < most and (not rate or heard["offered"] < rate * now):
            s = service.dial()
            s.setblocking(False)
            s.send(request)  # the buffers of both sides hold it
            selector.register(s, selectors.EVENT_READ)
            heard["offered"] += 1
            open_now += 1
        for key, _ in selector.select(0.001):
            try:
                text = key.fileobj.recv(4096)
            except OSError:
                text = b""
            heard["served"] += text.startswith(b"HTTP/1.1 202")
            heard["broken_off"] += not text
            if text.startswith(b"HTTP/1.1 503"):
                heard["refused"] += 1
                heard["without_retry_after"] += b"Retry-After" not in text
            selector.unregister(key.fileobj)
            key.fileobj.close()
            open_now -= 1
    return heard


def in_child(work):
    """What `work` gives, from another process, so that its labour is not in what this one measures; call for it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps(work()).encode())
        os._exit(0)
    os.close(writer)

    def result():
        with os.fdopen(reader) as pipe:
            given = json.loads(pipe.read())
        os.waitpid(child, 0)
        return given

    return result


def overload(service, times, seconds):
    """As many uploads as can be served, then `times` that; this process asks now and then, and times its refusals."""
    able = in_child(lambda: flood(service, 0, seconds / 2, 64))()["served"] / (seconds / 2)
    heard = in_child(lambda: flood(service, times * able, seconds, 4000))
    time.sleep(2)
    refusals, end = [], time.perf_counter() + seconds - 3
    while time.perf_counter() < end:
        begun = time.perf_counter()
        status = service.ask("GET", "/jobs?limit=1")[0]
        if status == 503:
            refusals.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.01)
    heard = heard()
    log = Path(service.log.name).read_text(encoding="utf-8", errors="replace")
    took = [float(ms) for ms in re.findall(r"-> 503, .* ([\d.]+) ms", log)]
    return {"what": f"{times} times as many uploads as can be served", "able_per_s": able,
            "offered_per_s": heard.pop("offered") / seconds} | heard | {
        "refusal_ms_p50": percentile(refusals, 0.5), "refusal_ms_p99": percentile(refusals, 0.99),
        "refusal_ms_p99_in_server": percentile(took, 0.99)}


# ---- all of it --------------------------------------------------------------------------------------------------

def show(row):
    figures = ", ".join(f"{name} {value:.1f}" if isinstance(value, float) else f"{name} {value}"
                        for name, value in row.items() if name != "what")
    print(f"| {row['what']} | {figures} |", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="script/bench --load", description=__doc__)
    add = parser.add_argument
    add("--connections", type=int, default=5000, help="idle WebSockets, and streams")
    add("--slow", type=int, default=4000, help="connections with slow heads")
    add("--uploads", type=int, default=200)
    add("--megabytes", type=int, default=500, help="of the large upload")
    add("--overload", type=int, default=10, help="times as many uploads as can be served")
    add("--folder", help="where storage is made (default: the temporary folder)")
    add("--json", type=Path, help="write the figures into this file, too")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows = []

    def note(row):
        rows.append(row)
        show(row)

    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n\n| what | figures |\n|---|---|")
    # Each kind of idle connection in a service of its own: what one gave back would hide what the next needs.
    for kind in ("WebSockets", "streams"):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder, waiting_service(folder) as service:
            service.stop_worker()
            job = job_of(service.upload(32000 * 60)[2])
            steady(service, 2)
            note(idle(service, job, options.connections, kind))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, waiting_service(folder) as service:
        service.stop_worker()
        steady(service, 2)
        note(slow_heads(service, options.slow, 60))
        note(large_upload(service, options.megabytes * 1000000))
        note(many_uploads(service, options.uploads, 5 * MIB))
        note(overload(service, options.overload, 10))
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "load_before": os.getloadavg()}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
