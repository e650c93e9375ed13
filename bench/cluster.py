"""The parts of an installation on loopback, for measuring: PostgreSQL, Redis, PgBouncer, services, workers.

Each is started in a folder of its own and ended with it. PostgreSQL and Redis are Debian's; nothing is left behind.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import MODELS, ROOT, environment
from service import PORT, Server, free_port, processor_seconds

BINARY = Path(os.environ.get("WT_BINARY", ROOT / "build" / "src" / "whisper-transcriber"))
NOBODY = 65534  # PostgreSQL refuses to be root
START_SECONDS = 30


def postgres_folder():
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


def as_nobody(words):
    if os.getuid() == 0:
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words]
    return list(words)


def wait_until(what, ready, seconds=START_SECONDS):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return
        time.sleep(0.02)
    sys.exit(f"{what} does not come up")


class Process:
    """One that ends with the with statement."""

    def __init__(self, words, folder, stop=signal.SIGTERM, **settings):
        self.folder, self.stop = Path(folder), stop
        self.log = open(self.folder / f"{Path(words[-1]).name if len(words) == 1 else 'log'}", "wb")
        self.process = subprocess.Popen(list(map(str, words)), cwd="/", stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, env=environment(**settings))
        self.pid = self.process.pid

    def text(self):
        return Path(self.log.name).read_text(encoding="utf-8", errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(self.stop)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Postgres(Process):
    """With fsync, unless it is told otherwise: what a commit costs is what is measured."""

    def __init__(self, folder, connections=400, fsync=True):
        folder = Path(folder)
        programs = postgres_folder()
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            for parent in folder.parents:
                if parent != Path(tempfile.gettempdir()) and parent.stat().st_uid == 0 and parent.stat().st_mode & 0o005 == 0:
                    parent.chmod(parent.stat().st_mode | 0o055)
        self.port = free_port()
        subprocess.run(as_nobody([programs / "initdb", "-D", folder / "data", "-U", "postgres", "--auth=trust",
                                  "--no-sync", "--encoding=UTF8", "--locale=C"]),
                       check=True, stdout=subprocess.DEVNULL, cwd="/")
        super().__init__(as_nobody([programs / "postgres", "-D", folder / "data", "-p", str(self.port), "-k",
                                    str(folder), "-c", "listen_addresses=127.0.0.1", "-c",
                                    f"max_connections={connections}", "-c", f"fsync={'on' if fsync else 'off'}"]),
                         folder, signal.SIGINT)
        wait_until("PostgreSQL", lambda: self.psql("SELECT 1", check=False) == "1")
        self.psql("CREATE ROLE wt LOGIN")
        self.databases = 0

    def psql(self, text, database="postgres", check=True):
        done = subprocess.run([str(postgres_folder() / "psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                               f"postgresql://postgres@127.0.0.1:{self.port}/{database}"], input=text, text=True,
                              capture_output=True, check=False)
        if check and done.returncode:
            sys.exit(f"psql: {done.stderr}")
        return done.stdout.strip()

    def database(self):
        self.databases += 1
        name = f"d{self.databases}"
        self.psql(f"CREATE DATABASE {name} OWNER wt TEMPLATE template0")
        return name

    def url(self, database, port=None):
        return f"postgresql://wt@127.0.0.1:{port or self.port}/{database}"

    def statistics(self, database):
        """Transactions and connections of a database so far."""
        commits, backends = self.psql(
            "SELECT xact_commit + xact_rollback, numbackends FROM pg_stat_database WHERE datname = "
            f"'{database}'").split("|")
        return int(commits), int(backends)


class Redis(Process):
    def __init__(self, folder):
        self.socket = Path(folder) / "s"
        super().__init__(["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly",
                          "no", "--dir", folder], folder)
        self.url = f"unix://{self.socket}"
        wait_until("Redis", lambda: self.ask("PING") == "PONG")

    def ask(self, *words):
        return subprocess.run(["redis-cli", "-s", str(self.socket), *words], capture_output=True, text=True,
                              check=False).stdout.strip()

    def commands(self):
        """How often each was called so far. Those that a script calls are not told apart from others."""
        return {name: int(calls) for name, calls in
                re.findall(r"cmdstat_([^:]+):calls=(\d+)", self.ask("INFO", "commandstats"))}

    def clients(self):
        return int(re.search(r"connected_clients:(\d+)", self.ask("INFO", "clients"))[1]) - 1


class PgBouncer(Process):
    """In front of a PostgreSQL of ours, in the pool mode that is named."""

    def __init__(self, folder, postgres, mode, program):
        self.port = free_port()
        folder = Path(folder)
        (folder / "users").write_text('"wt" ""\n', encoding="utf-8")
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users\n"
            f"pool_mode = {mode}\nmax_client_conn = 500\ndefault_pool_size = 20\n"
            "ignore_startup_parameters = extra_float_digits,options\n", encoding="utf-8")
        if os.getuid() == 0:
            for path in (folder, folder / "users", folder / "ini"):
                os.chown(path, NOBODY, NOBODY)
        super().__init__(as_nobody([program, folder / "ini"]), folder, signal.SIGINT)
        wait_until("PgBouncer", lambda: "process up" in self.text())


class Service(Server):
    """`serve` on a free port."""

    def __init__(self, folder, **settings):
        given = {"HOST": "127.0.0.1", "PORT": PORT, "RATE_LIMIT": "off", "AUTH": "off", "LOG_LEVEL": "WARNING",
                 "WHISPER_MODEL_DIR": str(MODELS.resolve()), "DEFAULT_WHISPER_MODEL": "tiny", "HOME": str(folder)}
        super().__init__([BINARY, "serve"], folder, "/health/live", **(given | settings))
        self.pid = self.process.pid


class Worker(Process):
    def __init__(self, folder, **settings):
        given = {"WHISPER_MODEL_DIR": str(MODELS.resolve()), "LOG_LEVEL": "INFO", "HOME": str(folder)}
        super().__init__([BINARY, "worker"], folder, **(given | settings))
        wait_until("a worker", lambda: "is up, process" in self.text() or self.process.poll() is not None)
        if self.process.poll() is not None:
            sys.exit(f"a worker ended: {self.text()[-1000:]}")


class Place:
    """Folders, a database, Redis where it is wanted, and the environment of all that work on them."""

    def __init__(self, folder, kind, stack):
        """`kind`: "sqlite", "postgresql" or "postgresql+redis"; the stack is the caller's, and ends everything."""
        self.folder, self.kind, self.stack, self.count = Path(folder), kind, stack, 0
        self.parts = {}
        self.postgres = self.redis = self.name = None
        self.settings = {"STORAGE_DIR": str(self.folder / "storage")}
        if kind != "sqlite":
            self.postgres = self.part("postgresql", Postgres(self.new("postgres")))
            self.name = self.postgres.database()
            self.settings["DATABASE_URL"] = self.postgres.url(self.name)
        if kind.endswith("redis"):
            self.redis = self.part("redis", Redis(self.new("redis")))
            self.settings["REDIS_URL"] = self.redis.url

    def new(self, name):
        self.count += 1
        folder = self.folder / f"{name}{self.count}"
        folder.mkdir()
        return folder

    def part(self, name, one):
        self.parts.setdefault(name, []).append(self.stack.enter_context(one).process.pid)
        return one

    def service(self, **more):
        return self.part("service", Service(self.new("service"), **(self.settings | more)))

    def worker(self, **more):
        return self.part("worker", Worker(self.new("worker"), **(self.settings | more)))

    def processor_seconds(self):
        """So far, of each kind of part."""
        return {name: sum(map(processor_seconds, pids)) for name, pids in self.parts.items()}


@contextlib.contextmanager
def place(folder, kind):
    with contextlib.ExitStack() as stack:
        yield Place(folder, kind, stack)


def kinds():
    """The kinds of a place that this machine can have."""
    found = ["sqlite"]
    if postgres_folder():
        found.append("postgresql")
        if shutil.which("redis-server"):
            found.append("postgresql+redis")
    return found
