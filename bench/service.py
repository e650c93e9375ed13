"""A server with all its processes: started in a folder of its own, asked over loopback, measured from /proc."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

from peers import environment

PORT = "its port"
START_SECONDS, JOB_SECONDS = 60, 3600


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """Use in a with statement."""

    def __init__(self, command, folder, ready, **more):
        """In `command` and in the environment, PORT stands for the port. `ready`: a path that answers 200 when it
        can work."""
        self.port = free_port()
        self.log = open(Path(folder) / "log", "wb")  # closed in __exit__
        words = [str(self.port) if word == PORT else str(word) for word in command]
        settings = {name: str(self.port) if value == PORT else value for name, value in more.items()}
        self.process = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, env=environment(**settings))
        self.ready = ready

    def __enter__(self):
        for _ in range(START_SECONDS * 20):
            try:
                if self.process.poll() is None and self.ask("GET", self.ready)[0] == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__()
        text = Path(self.log.name).read_text(encoding="utf-8", errors="replace")
        return sys.exit(f"{self.process.args[0]} does not answer:\n{text[-2000:]}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=JOB_SECONDS)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, path, file, **fields):
        """A form with a file; what is answered, as JSON."""
        line = uuid.uuid4().hex
        parts = [f'--{line}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
                 for name, value in fields.items()]
        head = f'--{line}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n' \
               "Content-Type: audio/wav\r\n\r\n"
        body = b"".join([*parts, head.encode(), file.read_bytes(), f"\r\n--{line}--\r\n".encode()])
        status, answer = self.ask("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={line}"})
        if status not in (200, 202):
            sys.exit(f"{path} answered {status}: {answer[:500]!r}")
        return json.loads(answer)

    def processes(self):
        return descent(self.process.pid)

    def processor_seconds(self):
        return processor_seconds(self.process.pid)

    def pss_mib(self):
        """Memory of all its processes; what several share counts once."""
        total = 0
        for pid in self.processes():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            except OSError:  # it has ended
                pass
        return total / 1024


def descent(pid):
    """A process and all that descend from it."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        fields = stat(place.parent.name)
        if fields:
            parents.setdefault(int(fields[1]), []).append(int(place.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def processor_seconds(pid):
    """Of a process and its descent, those that have ended among them: each is in its parent's sum then."""
    stats = filter(None, map(stat, descent(pid)))
    return sum(int(n) for fields in stats for n in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def stat(pid):
    """The fields behind the program's name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
