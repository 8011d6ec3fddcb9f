"""
YAML and JSON text as plain data that remembers its lines.

Built from parser events, not by a YAML constructor: nothing is ever instantiated, duplicate keys are seen, and depth,
size and alias expansion are bounded, so that no text can make a reader slow or large. Scalars mean what they mean to
kubectl: timestamps and sexagesimal numbers stay strings, yes/no/on/off are booleans.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1_500_000
"""etcd refuses larger objects, so nothing larger can be meant."""
MAX_DEPTH = 40
MAX_NODES = 200_000
MAX_ALIASED_NODES = 20_000
MAX_NUMBER_CHARS = 400

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
MAX_ESCAPED_CHARS = 200_000
"""JSON writes characters beyond the 16-bit plane as two escapes; only the slower parser reads those."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"), False),
}
NULLS = {"", "~", "null", "Null", "NULL"}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
RADIX = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0o?[0-7_]+|0b[01_]+)")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class ManifestError(Exception):
    """A text that cannot be read: told with its line, nothing of it is used."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.message, self.line = message, line


@dataclass
class Node:
    """A value, the line it stands on, and for maps the line of every key."""

    line: int
    value: Any = None
    items: "dict[str, Node] | list[Node] | None" = None
    key_lines: dict[str, int] = field(default_factory=dict)
    duplicates: list[tuple[str, int]] = field(default_factory=list)
    size: int = 1

    def data(self) -> Any:
        """Return the plain value: dict, list, str, int, float, bool or None."""
        if isinstance(self.items, dict):
            return {key: node.data() for key, node in self.items.items()}
        if isinstance(self.items, list):
            return [node.data() for node in self.items]
        return self.value

    def walk(self, path: tuple[str | int, ...] = ()) -> "Iterator[tuple[tuple[str | int, ...], Node]]":
        """Yield every node below with its path, itself first."""
        yield path, self
        if isinstance(self.items, dict):
            for key, node in self.items.items():
                yield from node.walk((*path, key))
        elif isinstance(self.items, list):
            for index, node in enumerate(self.items):
                yield from node.walk((*path, index))

    def line_of(self, path: tuple[str | int, ...]) -> int:
        """Return the line of the deepest existing node on a path; of a map's entry the line of its key."""
        node, line = self, self.line
        for step in path:
            if isinstance(node.items, dict) and isinstance(step, str) and step in node.items:
                line, node = node.key_lines[step], node.items[step]
            elif isinstance(node.items, list) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                line = node.line
            else:
                break
        return line


def parse(raw: bytes) -> list[Node]:
    """
    Return the documents of a YAML or JSON text; empty ones are left out.

    Raises:
        ManifestError: It is no text, no YAML, too large, too deep, or expands its aliases too far.
    """
    if len(raw) > MAX_BYTES:
        raise ManifestError(f"is larger than {MAX_BYTES} bytes: no cluster would store it, split it")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ManifestError("is no UTF-8 text: save it as UTF-8", line) from None
    try:
        documents = list(_documents(_for_yaml(text)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        last = max(1, len(text.splitlines()))
        raise ManifestError(f"is no YAML: {what}", min(mark.line + 1, last) if mark else 1) from None
    return [node for node in documents if node.items is not None or node.value is not None]


def _for_yaml(text: str) -> str:
    """Return JSON as YAML reads it: literal tabs stand only between tokens there, and YAML refuses them."""
    if "\t" not in text or text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


def _documents(text: str) -> Iterator[Node]:
    paired = len(text) <= MAX_ESCAPED_CHARS and SURROGATE.search(text) is not None
    events = yaml.parse(text, Loader=yaml.SafeLoader if paired else LOADER)
    builder = _Builder()
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            builder = _Builder(builder.nodes)
        elif isinstance(event, yaml.DocumentEndEvent):
            yield builder.root or Node(line=_line(event))
        elif not isinstance(event, yaml.StreamStartEvent | yaml.StreamEndEvent):
            builder.take(event)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Builder:
    """Builds one document from its events, without recursion."""

    def __init__(self, nodes: int = 0) -> None:
        self.nodes, self.aliased = nodes, 0
        self.root: Node | None = None
        self._open: list[tuple[Node, str | None]] = []  # (container, its anchor)
        self._keys: list[tuple[str, int] | None] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: yaml.Event) -> None:
        line = _line(event)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._check_tag(event.tag, line, "map" if isinstance(event, yaml.MappingStartEvent) else "seq")
            if self._open and self._waits_for_key():
                raise ManifestError("a key must be text", line)
            if len(self._open) >= MAX_DEPTH:
                raise ManifestError(f"is nested more than {MAX_DEPTH} levels deep", line)
            node = Node(line=line, items={} if isinstance(event, yaml.MappingStartEvent) else [])
            self._open.append((node, event.anchor))
            self._keys.append(None)
            self._count(1, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            node, anchor = self._open.pop()
            self._keys.pop()
            self._finish(node, anchor, line)
        elif isinstance(event, yaml.AliasEvent):
            target = self._anchors.get(str(event.anchor))
            if target is None:
                raise ManifestError(f"alias *{event.anchor} refers to nothing before it", line)
            self.aliased += target.size
            if self.aliased > MAX_ALIASED_NODES:
                raise ManifestError(f"its aliases expand to more than {MAX_ALIASED_NODES} values", line)
            if self._open and self._waits_for_key():
                if not isinstance(target.value, str):
                    raise ManifestError("a key must be text", line)
                self._keys[-1] = (target.value, line)
                return
            if len(self._open) + _depth(target) > MAX_DEPTH:
                raise ManifestError(f"is nested more than {MAX_DEPTH} levels deep", line)
            self._place(target, line)
        elif isinstance(event, yaml.ScalarEvent):
            self._count(1, line)
            value = _scalar(event, line)
            if self._open and self._waits_for_key():
                if event.implicit[0] and event.value == "<<":
                    raise ManifestError("merge keys (<<) are not supported: write the fields out", line)
                if not isinstance(value, str):
                    raise ManifestError(f'a key must be text: write "{event.value[:40]}" in quotes', line)
                self._keys[-1] = (value, line)
                return
            self._finish(Node(line=line, value=value), event.anchor, line)

    def _waits_for_key(self) -> bool:
        return isinstance(self._open[-1][0].items, dict) and self._keys[-1] is None

    def _count(self, nodes: int, line: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise ManifestError(f"has more than {MAX_NODES} values", line)

    def _finish(self, node: Node, anchor: str | None, line: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._place(node, line)

    def _place(self, node: Node, line: int) -> None:
        if not self._open:
            self.root = node
            return
        parent, _ = self._open[-1]
        parent.size += node.size
        if isinstance(parent.items, list):
            parent.items.append(node)
        elif isinstance(parent.items, dict):
            key, key_line = self._keys[-1] or ("", line)
            self._keys[-1] = None
            if key in parent.items:
                parent.duplicates.append((key, key_line))
            parent.items[key] = node
            parent.key_lines[key] = key_line

    @staticmethod
    def _check_tag(tag: str | None, line: int, kind: str) -> None:
        if tag not in (None, "!", f"tag:yaml.org,2002:{kind}"):
            raise ManifestError(f"the tag {tag[:60]} is not supported: remove it", line)


def _depth(node: Node) -> int:
    return max(len(path) for path, _ in node.walk()) + 1


def _scalar(event: yaml.ScalarEvent, line: int) -> Any:
    text: str = event.value
    if any(0xD800 <= ord(c) < 0xE000 for c in text):
        try:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise ManifestError("a string holds half a surrogate pair: it is no text", line) from None
    tag = event.tag.removeprefix("tag:yaml.org,2002:") if event.tag and event.tag != "!" else None
    if tag not in (None, "str", "int", "float", "bool", "null"):
        raise ManifestError(f"the tag {str(event.tag)[:60]} is not supported: remove it", line)
    if tag == "str" or event.tag == "!" or (tag is None and not event.implicit[0]):
        return text
    value = _plain(text, line)
    if tag is not None and type(value).__name__ != {"null": "NoneType"}.get(tag, tag):
        raise ManifestError(f"the value does not fit its tag !!{tag}", line)
    return value


def _plain(text: str, line: int) -> Any:
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    if not text[0].isdigit() and text[0] not in "+-.":
        return text
    if len(text) > MAX_NUMBER_CHARS and FLOAT.fullmatch(text.replace("_", "")):
        raise ManifestError(f"a number of {len(text)} digits: put it in quotes if it is text", line)
    if INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    if RADIX.fullmatch(text):
        return _radix(text.replace("_", ""))
    return float(text) if FLOAT.fullmatch(text) else text


def _radix(text: str) -> Any:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").lower()
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)):
        if digits.startswith(prefix):
            rest = digits[len(prefix) :]
            return sign * int(rest, base) if rest else text
    return text
