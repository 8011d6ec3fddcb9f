"""
The image of kind's nodes, from the Debian base, the built Kubernetes and the files under `node/`.

A node starts quickly because the images of the control plane stand unpacked in its containerd: importing them at boot would cost
six seconds each time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tradingbot_cluster.built import files_below, fingerprint, kept
from tradingbot_cluster.commands import run
from tradingbot_cluster.debian_base import debian_base
from tradingbot_cluster.errors import Failed, Missing
from tradingbot_cluster.image_archive import Image, layer_of, write_archive
from tradingbot_cluster.places import RECIPES, Places
from tradingbot_cluster.programs import COREDNS, KUBEBOX, KUBERNETES, PAUSE, Say

REGISTRY = "registry.k8s.io"
# kubeadm asks for its own tags, whatever is inside.
ETCD_TAG, COREDNS_TAG, PAUSE_TAG = "etcd:3.6.6-0", "coredns/coredns:v1.13.1", "pause:3.10.1"
NODE = RECIPES / "node"
SERVICES = (RECIPES / "pod_network", RECIPES / "pod_volumes")
"""Python packages that run as a service on each node."""
ARCHIVE = "node.tar"


def tag(key: str) -> str:
    """Return the node image's name."""
    return f"tradingbot.dev/kind-node:{KUBERNETES}-{key}"


def node_image(places: Places, say: Say) -> tuple[Path, str]:
    """
    Return the archive of the node image and the image's name, made if need be.

    Raises:
        Missing: A program that it is made with is not there.
        Failed: It could not be made.
    """
    with ThreadPoolExecutor(1) as beside:  # it waits for downloads and dpkg while the compilers work
        debian = beside.submit(debian_base, places, say)
        programs = {program.name: program.build(places, say) for program in (KUBEBOX, COREDNS, PAUSE)}
        base = debian.result()
    recipe = [*files_below(NODE, *SERVICES), Path(__file__)]
    key = fingerprint(recipe, base.name, *(p.parent.name for p in programs.values()), base=RECIPES)

    def make(folder: Path) -> None:
        say("putting the node image together")
        work = folder / "work"
        work.mkdir()
        kube = _kube_layers(work, base, programs)
        own = layer_of(_own_files(work / "own", programs["kubebox"]), work / "own.tar")
        unpacked = _unpacked(kube, work, places.built / "node-image.log")
        config = {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=docker"],
            "Entrypoint": ["/usr/local/bin/node-entrypoint"],
            "Cmd": ["/usr/lib/systemd/systemd"],
            "StopSignal": "SIGRTMIN+3",
        }
        write_archive(folder / ARCHIVE, [Image([tag(key)], [base / "base.tar", own, unpacked], config)])
        shutil.rmtree(work)

    return kept(places.built, "node-image", key, make) / ARCHIVE, tag(key)


def _kube_layers(work: Path, base: Path, programs: dict[str, Path]) -> Path:
    """Write the archive of the control plane's own images and return it."""
    kube = work / "kube/usr/local/bin"
    kube.mkdir(parents=True)
    shutil.copy2(programs["kubebox"], kube / "kubebox")
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "kubectl"):
        (kube / name).symlink_to("kubebox")
    nft = work / "nft"
    shutil.copytree(base / "nft", nft)
    for name in ("run", "tmp"):
        (nft / name).mkdir(mode=0o1777 if name == "tmp" else 0o755)
    for name in ("coredns", "pause"):
        (work / name).mkdir()
        shutil.copy2(programs[name], work / name / name)
    layer = {name: layer_of(work / name, work / f"{name}.tar") for name in ("kube", "nft", "coredns", "pause")}
    images = [
        Image([f"{REGISTRY}/{name}:{KUBERNETES}"], [layer["kube"]])
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ]
    images += [
        Image([f"{REGISTRY}/{ETCD_TAG}"], [layer["kube"]]),
        Image([f"{REGISTRY}/kube-proxy:{KUBERNETES}"], [layer["kube"], layer["nft"]]),
        Image([f"{REGISTRY}/{COREDNS_TAG}"], [layer["coredns"]], {"Entrypoint": ["/coredns"]}),
        Image([f"{REGISTRY}/{PAUSE_TAG}"], [layer["pause"]], {"Entrypoint": ["/pause"]}),
    ]
    archive = work / "kube-images.tar"
    write_archive(archive, images)
    return archive


def _own_files(own: Path, kubebox: Path) -> Path:
    """Lay out what the node has beyond Debian and return the folder."""
    shutil.copytree(NODE / "rootfs", own)
    for service in SERVICES:
        shutil.copytree(service, own / "usr/local/lib" / service.name, ignore=shutil.ignore_patterns("__pycache__"))
    (own / "kind/version").write_text(KUBERNETES)
    for folder in ("usr/bin", "usr/sbin", "opt/cni", "etc/systemd/system/multi-user.target.wants"):
        (own / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy2(kubebox, own / "usr/bin/kubebox")
    for name in ("kubelet", "kubeadm", "kubectl"):
        (own / "usr/bin" / name).symlink_to("kubebox")
    (own / "usr/sbin/init").symlink_to("../lib/systemd/systemd")
    (own / "opt/cni/bin").symlink_to("/usr/lib/cni")
    units = own / "etc/systemd/system"
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    for unit in ("kubelet.service", "pod-network.service", "pod-volumes.service"):
        (units / "multi-user.target.wants" / unit).symlink_to(f"/etc/systemd/system/{unit}")
    for unit in (NODE / "masked-units.txt").read_text().split():
        (units / unit).symlink_to("/dev/null")
    return own


def _unpacked(images: Path, work: Path, log: Path) -> Path:
    """Import images into a containerd of our own and return its data as a layer."""
    for name in ("unshare", "containerd", "ctr"):
        if shutil.which(name) is None:
            raise Missing(f"{name} is needed to make the node image (hack/system-packages cluster)")
    layer, run_folder = work / "var", work / "run"
    data = layer / "var/lib/containerd"
    data.mkdir(parents=True)
    run_folder.mkdir()
    socket = run_folder / "containerd.sock"
    config = run_folder / "config.toml"
    unwanted = ("io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt")
    config.write_text(
        f'version = 2\nroot = "{data}"\nstate = "{run_folder / "state"}"\n'
        f"disabled_plugins = [{', '.join(repr(name) for name in unwanted)}]\n"
        f'[grpc]\naddress = "{socket}"\n[ttrpc]\naddress = "{socket}.ttrpc"\n'
    )
    with log.open("wb") as out:
        # In a mount namespace of its own: its mounts go with it.
        words = ["unshare", "--mount", "--propagation", "private", "--", "containerd", "--config", str(config)]
        daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            _wait_for(socket, daemon)
            run(
                "ctr",
                "--address",
                socket,
                "--namespace",
                "k8s.io",
                "images",
                "import",
                "--all-platforms",
                images,
                log=log,
            )
        finally:
            daemon.terminate()
            daemon.wait(30)
    tar = work / "var.tar"
    run("tar", "--numeric-owner", "--xattrs", "--sort=name", "-C", layer, "-cf", tar, ".")
    return tar


def _wait_for(socket: Path, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not os.path.exists(socket):
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise Failed("containerd did not start (its log: node-image.log in the cache)")
        time.sleep(0.05)
