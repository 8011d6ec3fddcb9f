"""Secrets of a laptop: documents of kind Secret in the files, or a directory of files. Values never reach a message."""

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from tradingbot_operator.crd.v1alpha1.base import SecretKeyRef
from tradingbot_operator.manifest.problem import Problem

MAX_SECRET_BYTES = 1_048_576


class SecretMissing(Exception):
    """A Secret or its key is named by the manifest, but nothing supplies it. Its text says what to add."""


@dataclass
class Secrets:
    """
    Values by namespace, Secret and key.

    A directory has the shape of mounted Secrets: DIR/<secret>/<key>, one value per file. It is asked when no document
    supplies the value.
    """

    values: dict[tuple[str, str, str], bytes] = field(default_factory=dict, repr=False)
    directory: FilePath | None = None

    def add(self, data: dict[str, Any]) -> None:
        """Take a sound Secret document; stringData wins over data, as in Kubernetes."""
        metadata = data["metadata"]
        place = (metadata.get("namespace") or "default", metadata["name"])
        for key, value in (data.get("data") or {}).items():
            self.values[(*place, key)] = base64.b64decode("".join((value or "").split()), validate=True)
        for key, value in (data.get("stringData") or {}).items():
            self.values[(*place, key)] = (value or "").encode()

    def get(self, namespace: str, ref: SecretKeyRef) -> str:
        """
        Return a value as text, without the white space around it.

        Raises:
            SecretMissing: Nothing supplies it, or it is no text.
        """
        raw = self.values.get((namespace, ref.name, ref.key))
        if raw is None and self.directory is not None:
            file = self.directory / ref.name / ref.key
            if ref.key not in (".", "..") and file.is_file():
                with file.open("rb") as stream:
                    raw = stream.read(MAX_SECRET_BYTES + 1)
        if raw is None:
            where = f" or a file {self.directory / ref.name / ref.key}" if self.directory else " or --secrets DIR"
            raise SecretMissing(
                f"Secret {ref.name} with key {ref.key} is not supplied: add a Secret document of namespace {namespace}"
                f" to the -f files{where}"
            )
        if len(raw) > MAX_SECRET_BYTES:
            raise SecretMissing(f"Secret {ref.name}, key {ref.key} is larger than {MAX_SECRET_BYTES} bytes")
        try:
            text = raw.decode().strip()
        except UnicodeDecodeError:
            raise SecretMissing(f"Secret {ref.name}, key {ref.key} is no text") from None
        if not text:
            raise SecretMissing(f"Secret {ref.name}, key {ref.key} is empty")
        return text


FIELDS = ("apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData")


def secret_problems(data: dict[str, Any]) -> list[Problem]:
    """Return what is wrong with a Secret document; values are never shown."""
    problems = [Problem((key,), "unknown field: remove it") for key in data if key not in FIELDS]
    metadata = data.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        problems.append(Problem(("metadata", "name"), "missing: name the Secret"))
    elif not isinstance(metadata.get("namespace") or "default", str):
        problems.append(Problem(("metadata", "namespace"), "must be a string: put it in quotes"))
    for part in ("data", "stringData"):
        entries = data.get(part)
        if entries is not None and not isinstance(entries, dict):
            problems.append(Problem((part,), "must be a map"))
            continue
        for key, value in (entries or {}).items():
            if value is not None and not isinstance(value, str):
                problems.append(Problem((part, key), "must be a string: put it in quotes"))
            elif part == "data" and not _is_base64(value or ""):
                problems.append(Problem((part, key), "must be base64; plain text goes into stringData"))
    return problems


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
