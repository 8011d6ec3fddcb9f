"""
A private PostgreSQL server: started from the machine's own programs, on a free port of 127.0.0.1, in a temporary folder, with fsync
on, and stopped by its process id.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MISSING = "no PostgreSQL server program on this machine (Debian: apt-get install postgresql)"

INITDB = ("-U", "ledger", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")


def programs() -> Path | None:
    """Return the folder of the server's programs, the newest of the complete ones first; None if there is none."""
    found = shutil.which("postgres")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    if found:
        folders += [Path(found).resolve().parent, Path(found).parent]
    servers = [f for f in folders if (f / "postgres").exists() and (f / "initdb").exists()]
    return next((f for f in servers if (f / "pg_dump").exists()), servers[0] if servers else None)


@dataclass(frozen=True)
class Server:
    """A running server; `folder` holds its data and log, `bin` the programs that belong to it."""

    port: int
    pid: int
    folder: Path
    bin: Path

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        return f"postgresql://ledger@127.0.0.1:{port or self.port}/{database}"

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


def _drop_root(folder: Path) -> tuple[Callable[[], None] | None, dict[str, str]]:
    """PostgreSQL refuses root: hand its folder to another user, and become that user in the child."""
    if os.geteuid() != 0:
        return None, {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)

    def become() -> None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return become, {"HOME": str(folder), "USER": user.pw_name}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(**settings: str) -> Iterator[Server]:
    """Start a server, hand it out, stop it; `settings` are added to its configuration."""
    folder_of_programs = programs()
    if folder_of_programs is None:
        raise RuntimeError(MISSING)
    with tempfile.TemporaryDirectory(prefix="tb-pg-") as name:
        folder = Path(name)
        become, who = _drop_root(folder)
        environment = {**_plain_environment(), **who}
        subprocess.run(
            [str(folder_of_programs / "initdb"), "-D", str(folder / "data"), *INITDB],
            preexec_fn=become,
            env=environment,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        port = _free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "on",
            "max_connections": "120",
            "shared_buffers": "32MB",
            "max_wal_size": "256MB",
            **settings,
        }
        lines = [f"{key} = '{value}'\n" for key, value in options.items()]
        with (folder / "data" / "postgresql.conf").open("a") as conf:
            conf.writelines(lines)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [str(folder_of_programs / "postgres"), "-D", str(folder / "data")],
                preexec_fn=become,
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        running = Server(port, process.pid, folder, folder_of_programs)
        try:
            _wait_ready(running, process)
            yield running
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: the data go away with the folder
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()


def _plain_environment() -> Mapping[str, str]:
    """Without PG… variables: a server that somebody else configured must never be met by accident."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")}


def _wait_ready(running: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"PostgreSQL did not start:\n{running.log()}")
        with contextlib.suppress(OSError):
            lines = (running.folder / "data" / "postmaster.pid").read_text().splitlines()
            if len(lines) > 7 and lines[7].strip() == "ready":
                return
        time.sleep(0.02)
    raise RuntimeError(f"PostgreSQL is not ready:\n{running.log()}")
