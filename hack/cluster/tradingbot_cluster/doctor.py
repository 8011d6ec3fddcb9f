"""What this machine has, what `hack/cluster` will supply, and what is missing and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tradingbot_cluster.capabilities import CAP_SYS_ADMIN, bounding_set
from tradingbot_cluster.commands import run
from tradingbot_cluster.debian_base import recipe_key
from tradingbot_cluster.engine import machine_engine, missing_programs
from tradingbot_cluster.errors import Failed
from tradingbot_cluster.keeper import NAMESPACES
from tradingbot_cluster.places import Places
from tradingbot_cluster.programs import COREDNS, KIND, KUBEBOX, NEWEST_GO_DEMANDED, PAUSE, Program, go_version

HAS, SUPPLIED, LACKS = "has", "supplied", "missing"
GIB = 2**30
MEMORY_BYTES = 4 * GIB

DISK_TO_BUILD_BYTES = 8 * GIB
DISK_TO_RUN_BYTES = 4 * GIB
CGROUPS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids")
HOW_TO_INSTALL = "hack/system-packages cluster (Debian, as root)"


@dataclass(frozen=True)
class Finding:
    """One thing that a cluster needs."""

    what: str
    verdict: str
    """HAS, SUPPLIED (it will be) or LACKS."""
    detail: str
    """What was found; for what is missing, how to get it."""


def doctor(places: Places, *, now_s: float) -> list[Finding]:
    """Return what a cluster needs of this machine, in the order in which it is needed; `now_s` in seconds since the epoch."""
    found = [_machine()]
    if engine := machine_engine():
        found.append(
            Finding("container engine", HAS, engine.docker("info", "--format=Docker {{.ServerVersion}}").strip())
        )
    else:
        found += _private_engine()
    found += _programs(places)
    found += _debian(places, now_s=now_s, own=engine is not None)
    building = any(f.verdict == SUPPLIED and "built" in f.detail for f in found)
    found += _room(places, DISK_TO_BUILD_BYTES if building else DISK_TO_RUN_BYTES)
    return found


def suited(findings: list[Finding]) -> bool:
    """Say whether a cluster can be brought up."""
    return all(finding.verdict != LACKS for finding in findings)


def _machine() -> Finding:
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        return Finding(
            "machine",
            LACKS,
            f"{system} on {machine}: Linux on x86_64 is needed; elsewhere use Docker and kind themselves",
        )
    return Finding("machine", HAS, f"Linux {platform.release()}")


def _private_engine() -> Iterator[Finding]:
    what = "container engine"
    if os.geteuid() != 0 or CAP_SYS_ADMIN not in bounding_set():
        yield Finding(
            what, LACKS, "none answers (docker info), and a private one needs root: start Docker, or run this as root"
        )
        return
    if lacking := missing_programs():
        yield Finding(
            what, LACKS, f"none answers (docker info); a private one needs {', '.join(lacking)}: {HOW_TO_INSTALL}"
        )
    elif refused := _namespaces_are_refused():
        yield Finding(
            what,
            LACKS,
            f"none answers (docker info), and a private one needs namespaces and mounts, which are refused here ({refused}): "
            "start Docker, or use a machine whose root may have them",
        )
    else:
        yield Finding(what, SUPPLIED, "a private one in its own namespaces")
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        yield Finding("cgroups", HAS, "version 2")
    elif absent := [name for name in CGROUPS if not (top / name).is_dir() and not (top / "cpu,cpuacct").is_dir()]:
        yield Finding("cgroups", LACKS, f"version 1 without {', '.join(absent)}: mount these below {top}")
    else:
        yield Finding("cgroups", HAS, "version 1")


def _namespaces_are_refused() -> str:
    """Return why this process may not have what the private engine begins with, empty if it may: root in a container often may not."""
    try:
        run(
            "unshare",
            *NAMESPACES,
            "--fork",
            "--propagation=private",
            "mount",
            "-t",
            "tmpfs",
            "tmpfs",
            "/run",
            timeout_s=20,
        )
    except Failed as error:
        return str(error).splitlines()[-1].strip()
    return ""


def _program(program: Program, places: Places) -> Finding:
    if path := program.find(places):
        return Finding(program.name, HAS, str(path))
    version = go_version()
    demanded = tuple(int(part) for part in NEWEST_GO_DEMANDED.split("."))
    if version is None or version < demanded:
        has = "there is no Go" if version is None else f"Go is {version[0]}.{version[1]}"
        return Finding(
            program.name,
            LACKS,
            f"built from Go modules, but {has}: install Go {NEWEST_GO_DEMANDED} or newer (https://go.dev/dl)",
        )
    return Finding(program.name, SUPPLIED, "built from Go modules, once")


def _programs(places: Places) -> Iterator[Finding]:
    for program in (KUBEBOX, COREDNS, PAUSE, KIND):
        yield _program(program, places)


def _debian(places: Places, *, now_s: float, own: bool) -> Iterator[Finding]:
    what = "node image"
    if (places.built / f"debian-base-{recipe_key(now_s)}").is_dir():
        yield Finding(what, HAS, "its Debian base is at hand")
    elif shutil.which("mmdebstrap"):
        yield Finding(
            what, SUPPLIED, "built from Debian packages, once a month" + (", if kind's own can't be had" if own else "")
        )
    elif own:
        yield Finding(what, SUPPLIED, f"kind's own, if a registry answers; else it needs mmdebstrap: {HOW_TO_INSTALL}")
    else:
        yield Finding(what, LACKS, f"it needs mmdebstrap: {HOW_TO_INSTALL}")


def _room(places: Places, disk_bytes: int) -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield _amount("memory", memory, MEMORY_BYTES, "give this machine more")
    there = next(path for path in (places.root, *places.root.parents) if path.exists())
    yield _amount(
        "disk", shutil.disk_usage(there).free, disk_bytes, f"make room below {places.root}, or set XDG_CACHE_HOME"
    )


def _amount(what: str, has_bytes: int, needed_bytes: int, advice: str) -> Finding:
    sizes = f"{has_bytes / GIB:.1f} GiB, {needed_bytes / GIB:g} GiB are needed"
    return Finding(what, HAS, sizes) if has_bytes >= needed_bytes else Finding(what, LACKS, f"{sizes}: {advice}")
