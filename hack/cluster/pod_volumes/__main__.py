"""`python3 -m pod_volumes NODE`: make the volumes of claims placed on this node, and remove those whose claims are gone."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import Any
from urllib.error import HTTPError

from pod_network.api import Access, Watched
from pod_volumes.claims import FOLDER, released, wanted

VOLUMES = "/api/v1/persistentvolumes"
ANEW_AFTER_S = 10.0
CONFLICT, NOT_FOUND = 409, 404


class Volumes:
    """Follows claims and volumes, and keeps this node's directories by them."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._changed = threading.Event()
        self._claims = Watched("/api/v1/persistentvolumeclaims", self._changed.set)
        self._volumes = Watched(VOLUMES, self._changed.set)

    def run(self) -> None:
        """Do so for ever."""
        while (access := Access.of_kubelet()) is None:
            time.sleep(0.2)
        for watched in (self._claims, self._volumes):
            watched.start(lambda: access)
        while True:
            self._changed.wait(ANEW_AFTER_S)
            self._changed.clear()
            try:
                self._keep(access)
            except (OSError, KeyError) as error:
                print(f"not kept, tried again: {error}", flush=True)
                time.sleep(1)
                self._changed.set()

    def _keep(self, access: Access) -> None:
        if not (self._claims.listed and self._volumes.listed):
            return
        known = {found["metadata"]["name"] for found in self._volumes.items()}
        for made in wanted(self._claims.items(), self.node):
            if made["metadata"]["name"] not in known:
                self._make(access, made)
        for name in released(self._volumes.items(), self.node):
            self._remove(access, name)

    @staticmethod
    def _make(access: Access, made: dict[str, Any]) -> None:
        name = made["metadata"]["name"]
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # whoever the pod runs as; nobody else comes to these directories
        try:
            access.open(VOLUMES, method="POST", body=made).close()
        except HTTPError as error:
            if error.code != CONFLICT:
                raise
        print(f"made {name}", flush=True)

    @staticmethod
    def _remove(access: Access, name: str) -> None:
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        try:
            access.open(f"{VOLUMES}/{name}", method="DELETE").close()
        except HTTPError as error:
            if error.code != NOT_FOUND:
                raise
        print(f"removed {name}", flush=True)


if __name__ == "__main__":
    Volumes(sys.argv[1]).run()
