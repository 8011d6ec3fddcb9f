"""Lists of the API server's objects, kept up to date by watches, with the kubelet's credentials."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

KUBELET = Path("/etc/kubernetes/kubelet.conf")
WATCH_FOR_S = 240
AGAIN_AFTER_S = 1.0


class Access:
    """How to reach the API server as this node."""

    def __init__(self, server: str, trust: ssl.SSLContext) -> None:
        self.server = server
        self.trust = trust

    @classmethod
    def of_kubelet(cls) -> Access | None:
        """Return the kubelet's own access, None while it has none yet."""
        if not KUBELET.exists():
            return None
        # kubectl reads YAML, which Python's standard library does not.
        shown = subprocess.run(
            ["kubectl", "config", "view", "--raw", "--output=json", f"--kubeconfig={KUBELET}"],
            capture_output=True,
            check=True,
        )
        config = json.loads(shown.stdout)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trust = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        if "client-certificate" in user:
            trust.load_cert_chain(user["client-certificate"], user["client-key"])
        else:
            own = Path(f"/run/kubelet-{os.getpid()}.pem")
            own.touch(mode=0o600)
            own.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
            trust.load_cert_chain(own)
        return cls(cluster["server"], trust)

    def open(
        self, path: str, *, method: str = "GET", body: object = None, server: str | None = None, timeout_s: float = 10.0
    ) -> Any:
        """
        Send a request and return the open answer.

        Raises:
            OSError: No answer, or one that says no.
        """
        request = urllib.request.Request(
            (server or self.server) + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        return urllib.request.urlopen(request, context=self.trust, timeout=timeout_s)


class Watched:
    """All objects of one kind, by uid; `changed` is called after each change."""

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        self.path = path
        self.listed = False
        self._changed = changed
        self._items: dict[str, Any] = {}
        self._lock = threading.Lock()

    def items(self) -> list[Any]:
        """Return the objects as they were last seen; while the API server is away these stay as they were."""
        with self._lock:
            return list(self._items.values())

    def follow(self, access: Callable[[], Access | None]) -> None:
        """List, then watch, for ever; list again when the watch has a gap."""
        while True:
            try:
                if way := access():
                    self._watch(way, self._list(way))
                    continue  # the watch ended in its own time
            except (OSError, HTTPException, ValueError, KeyError) as error:
                print(f"{self.path}: {error}", flush=True)
            time.sleep(AGAIN_AFTER_S)

    def start(self, access: Callable[[], Access | None]) -> None:
        """Follow in a thread of its own."""
        threading.Thread(target=self.follow, args=(access,), daemon=True).start()

    def _list(self, access: Access) -> str:
        with contextlib.closing(access.open(self.path)) as answer:
            found = json.load(answer)
        with self._lock:
            self._items = {item["metadata"]["uid"]: item for item in found["items"]}
        self.listed = True
        self._changed()
        return str(found["metadata"]["resourceVersion"])

    def _watch(self, access: Access, version: str) -> None:
        query = f"{self.path}?watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_FOR_S}&resourceVersion={version}"
        with contextlib.closing(access.open(query, timeout_s=WATCH_FOR_S + 10)) as answer:
            for line in answer:
                event = json.loads(line)
                item = event["object"]
                if event["type"] == "ERROR":
                    return  # our version is too old: list anew
                if event["type"] == "BOOKMARK":
                    continue
                with self._lock:
                    if event["type"] == "DELETED":
                        self._items.pop(item["metadata"]["uid"], None)
                    else:
                        self._items[item["metadata"]["uid"]] = item
                self._changed()
