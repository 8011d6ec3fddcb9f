"""An engine's images kept on disk: laid down once, and lent to engines whose own data is in memory."""

from __future__ import annotations

from pathlib import Path

from tradingbot_cluster.commands import run

IMAGE, LAYERS = "image", "overlay2"
"""The folders of the engine's data that hold images; the others are each engine's own."""
SHORT_NAMES, CONTENTS = "l", "diff"


def lay_down(data: Path, store: Path) -> None:
    """Copy the images of an engine into an empty store on the same file system; layers are hard links, so that this takes no time."""
    store.mkdir(parents=True, exist_ok=True)
    run("cp", "--archive", data / IMAGE, store / IMAGE)
    run("cp", "--archive", "--link", data / LAYERS, store / LAYERS)


def lend(store: Path, data: Path) -> None:
    """
    Give an engine that was not started yet the images of a store, in this mount namespace.

    What the engine writes is a copy. Layers' contents are mounted, read-only: they take neither memory nor time.
    """
    run("cp", "--archive", store / IMAGE, data / IMAGE)
    (data / LAYERS).mkdir(mode=0o710)
    for layer in sorted((store / LAYERS).iterdir()):
        own = data / LAYERS / layer.name
        if layer.name == SHORT_NAMES:
            run("cp", "--archive", layer, own)
            continue
        own.mkdir(mode=0o710)
        for part in layer.iterdir():
            if part.name == CONTENTS:
                (own / CONTENTS).mkdir()
                run("mount", "--bind", "--options", "ro", part, own / CONTENTS)
            else:
                run("cp", "--archive", part, own / part.name)
