"""A plain client of an API server, by HTTP alone: what it answers, untouched by anybody's models."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml


class KubeClient:
    """
    One connection to the server of a kubeconfig, as its first user.

    Args:
        kubeconfig: With the certificates inside, or beside it.
        folder: Where keys may be written for as long as the connection is made.
    """

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trust = ssl.create_default_context(cafile=str(_file(cluster, "certificate-authority", kubeconfig, folder)))
        certificate = _file(user, "client-certificate", kubeconfig, folder)
        trust.load_cert_chain(str(certificate), str(_file(user, "client-key", kubeconfig, folder)))
        server = urlsplit(cluster["server"])
        self._connection = http.client.HTTPSConnection(str(server.hostname), server.port, context=trust, timeout=60)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
    ) -> tuple[int, Any]:
        """Return status and JSON of one request."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": kind, "Accept": accept}
        self._connection.request(method, path, body=data, headers=headers)
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

    def close(self) -> None:
        self._connection.close()


def _file(entry: dict[str, Any], name: str, kubeconfig: Path, folder: Path) -> Path:
    if name in entry:
        return kubeconfig.parent / entry[name]
    path = folder / f"{name}.pem"
    path.write_bytes(base64.b64decode(entry[f"{name}-data"]))
    path.chmod(0o600)
    return path
