"""The directory in which a bot lives on a laptop: one runner at a time, readable by its owner alone."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from tradingbot_operator.crd.v1alpha1 import TradingBot, effective_cluster
from tradingbot_operator.errors import BadInput, Failed
from tradingbot_operator.local.processes import ProcessId, identify

MAX_LOG_BYTES = 20_000_000


def default_path(namespace: str, name: str) -> Path:
    """Return $XDG_STATE_HOME/tradingbot/<namespace>-<name>; the base is ~/.local/state where the variable is not set."""
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    return root / "tradingbot" / f"{namespace}-{name}"


def write_private(path: Path, data: str | bytes) -> None:
    """Write a file for the owner's eyes only, all or nothing."""
    scratch = path.with_name(path.name + ".new")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(data.encode() if isinstance(data, str) else data)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)


class StateDir:
    """Paths within the directory, its lock, and what is remembered between runs."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.ledger = self.path / "ledger.db"
        self.engine_config = self.path / "engine.json"
        self.admin_port = self.path / "admin.port"
        self.admin_token = self.path / "admin.token"
        self.last_status = self.path / "last-status.json"
        self.wallet = self.path / "wallet.json"
        self.wallet_copy = self.path / "wallet.key"
        self.localnet = self.path / "localnet"
        self.localnet_out = self.path / "localnet.json"
        self.logs = self.path / "logs"
        self._lock: int | None = None

    @property
    def exists(self) -> bool:
        """Whether a run ever used it."""
        return (self.path / "bot.json").is_file()

    def open(self) -> None:
        """
        Make the directory and take its lock.

        Raises:
            Failed: Another run holds it, or it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.chmod(0o700)
            self.logs.mkdir(exist_ok=True, mode=0o700)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Failed(f"the state directory {self.path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            self._lock = None
            raise Failed(
                f"another run (pid {holder}) uses the state directory {self.path}: end it first (kill {holder}),"
                " or use another --state-dir"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def claim_for(self, bot: TradingBot, fingerprint: str) -> dict[str, Any]:
        """
        Tie the directory to one bot, and return what is remembered of it.

        Args:
            bot: The bot that runs here from now on.
            fingerprint: Of all that may change while it runs; a new one gives a new generation.

        Returns:
            {"namespace", "name", "cluster", "id", "generation", "fingerprint"}; the id is random and stays for ever.

        Raises:
            BadInput: As `check_owner`.
        """
        self.check_owner(bot)
        meta, cluster = bot.metadata, effective_cluster(bot.spec)
        known = self._read("bot.json")
        generation = max(int(known.get("generation", 0)), bot.metadata.generation or 0)
        if not known or known.get("fingerprint") != fingerprint:
            generation += 1
        remembered = {
            "namespace": meta.namespace,
            "name": meta.name,
            "cluster": cluster,
            "id": known.get("id") or secrets.token_hex(8),
            "generation": generation,
            "fingerprint": fingerprint,
        }
        write_private(self.path / "bot.json", json.dumps(remembered))
        return remembered

    def check_owner(self, bot: TradingBot) -> None:
        """Raise BadInput if the directory is another bot's, or was used on another cluster."""
        known = self._read("bot.json")
        meta, cluster = bot.metadata, effective_cluster(bot.spec)
        for key, wanted in (("namespace", meta.namespace), ("name", meta.name), ("cluster", cluster)):
            if known and known.get(key) != wanted:
                raise BadInput(
                    f"the state directory {self.path} belongs to {key} {known.get(key)}, not {wanted}:"
                    " use another --state-dir"
                )

    def remembered(self) -> dict[str, Any]:
        """Return what `claim_for` wrote, or nothing."""
        return self._read("bot.json")

    def record(self, role: str, pid: int | None) -> None:
        """Remember a child, so that a later run finds it when this one is killed; None forgets it."""
        known = self._read("processes.json")
        known.pop(role, None)
        if pid is not None:
            known[role] = {"pid": pid, "started": identify(pid).started}
        write_private(self.path / "processes.json", json.dumps(known))

    def recorded(self) -> dict[str, ProcessId]:
        """Return the remembered children that still run, by role."""
        known = self._read("processes.json")
        found = {}
        for role, entry in known.items():
            with contextlib.suppress(TypeError, KeyError, ValueError):
                process = ProcessId(int(entry["pid"]), str(entry["started"]))
                if process.alive():
                    found[role] = process
        return found

    def log(self, role: str) -> Path:
        """Return the log file of a child."""
        return self.logs / f"{role}.log"

    def trim_logs(self) -> None:
        """Put large logs aside, one generation; children write on, since they append."""
        for path in self.logs.glob("*.log"):
            if path.stat().st_size > MAX_LOG_BYTES:
                shutil.copyfile(path, path.with_suffix(".log.1"))
                os.truncate(path, 0)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            data = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}
