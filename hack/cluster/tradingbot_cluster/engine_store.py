"""
The private engine's store with the node image already in it.

Loading the image takes seconds on an idle disk and a minute on a busy one, each time. So it is loaded once, and each new engine
borrows the layers, which are read, never written.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tradingbot_cluster.built import kept
from tradingbot_cluster.engine import start_private_engine
from tradingbot_cluster.errors import Failed
from tradingbot_cluster.keeper import ENGINE_DATA, take_away, try_lock
from tradingbot_cluster.places import Places
from tradingbot_cluster.programs import Say
from tradingbot_cluster.store_links import lay_down


def engine_store(places: Places, archive: Path, say: Say) -> Path:
    """
    Return the folder of a store that holds the image of an archive, made if need be.

    Args:
        places: Where it is kept, under the archive's own hash.
        archive: As `node_image` returned it.
        say: Is told if it is made.
    """

    def make(folder: Path) -> None:
        say("loading the node image into a store (once)")
        name = "node-image-store"  # one at a time: we hold the lock of what is built
        lock = try_lock(places, name)
        if lock is None:
            raise Failed(f"another process holds the lock of {name}")
        try:
            places.cluster(name).mkdir(parents=True)
            with socket.socket() as listening:
                listening.bind(("127.0.0.1", 0))
                listening.listen()
                starting = start_private_engine(
                    places, name, lock=lock, listening=listening, owner=os.getpid(), store=None
                )
            try:
                starting.engine.docker("load", "--input", archive)
                lay_down(places.cluster(name) / ENGINE_DATA, folder)
            finally:
                starting.give_up()
        finally:
            if places.cluster(name).exists():
                take_away(places, name)
            os.close(lock)

    return kept(places.built, "engine-store", archive.parent.name.rpartition("-")[2], make)
