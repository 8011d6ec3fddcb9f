"""The Debian part of the node image, made by mmdebstrap from packages; rebuilt once a month, so that it takes up security fixes."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tradingbot_cluster.built import fingerprint, kept
from tradingbot_cluster.commands import run
from tradingbot_cluster.errors import Missing
from tradingbot_cluster.places import Places
from tradingbot_cluster.programs import Say

SUITE = "bookworm"
PACKAGES = (
    "usr-is-merged", "systemd", "iptables", "nftables", "conntrack", "iproute2", "ethtool", "util-linux", "mount", "kmod",
    "procps", "containerd", "runc", "containernetworking-plugins", "ca-certificates", "python3",
)  # fmt: skip
LEFT_OUT = (
    "/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*",
    "/usr/bin/containerd-stress", "/usr/bin/containerd-shim", "/usr/bin/containerd-shim-runc-v1",
    *(f"/usr/lib/cni/{name}" for name in (
        "bandwidth", "bridge", "dhcp", "firewall", "host-device", "ipvlan", "macvlan", "sbr", "static", "tuning", "vlan", "vrf",
    )),
)  # fmt: skip
NFT = "/usr/sbin/nft"
REBUILT_EVERY_S = 30 * 86_400


def recipe_key(now_s: float) -> str:
    """Return the hash of what the base is made from at a moment, in seconds since the epoch."""
    return fingerprint([], SUITE, *PACKAGES, *LEFT_OUT, str(int(now_s // REBUILT_EVERY_S)), base=Path())


def debian_base(places: Places, say: Say) -> Path:
    """
    Return a folder with `base.tar` (the layer) and `nft/` (nft and its libraries alone, for kube-proxy), made if need be.

    Raises:
        Missing: There is no mmdebstrap.
        Failed: It could not be made.
    """

    def make(folder: Path) -> None:
        if shutil.which("mmdebstrap") is None:
            raise Missing("mmdebstrap is needed to make the node image (hack/system-packages cluster)")
        say("making the node image's Debian base (once a month)")
        log = places.built / "debian-base.log"
        log.write_text("")
        root = folder / "root"
        words = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
        words += [
            "--variant=minbase",
            "--aptopt=APT::Install-Recommends false",
            "--format=directory",
            f"--include={','.join(PACKAGES)}",
        ]
        # In the installed system /bin is a link from the start, or systemd's package refuses.
        words += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
        run("mmdebstrap", *words, SUITE, root, log=log)
        _copy_with_libraries(root, NFT, folder / "nft")
        for name in ("dev", "proc", "sys", "run", "tmp"):  # their contents are mounts of a running container
            shutil.rmtree(root / name)
            (root / name).mkdir(mode=0o1777 if name == "tmp" else 0o755)
        run("tar", "--numeric-owner", "--xattrs", "--sort=name", "-C", root, "-cf", folder / "base.tar", ".")
        shutil.rmtree(root)

    return kept(places.built, "debian-base", recipe_key(time.time()), make)


def _copy_with_libraries(root: Path, program: str, out: Path) -> None:
    """Copy a program, and the libraries that it is linked with, out of a root to where an image of its own needs them."""
    printed = run("chroot", root, "ldd", program)
    libraries = [word for line in printed.splitlines() for word in line.split() if word.startswith("/")]
    for path in [program, *libraries]:
        target = out / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2((root / path.lstrip("/")).resolve(), target)
