"""Manifests from files, directories and standard input: bots, Secrets, and everything that is wrong with them."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from tradingbot_operator.catalogue import Catalogue
from tradingbot_operator.crd.v1alpha1 import API_VERSION, KIND, TradingBot
from tradingbot_operator.manifest.in_force import notes_of
from tradingbot_operator.manifest.nodes import MAX_BYTES, ManifestError, Node, parse
from tradingbot_operator.manifest.problem import Path, Problem, shown_text
from tradingbot_operator.manifest.secrets import Secrets, secret_problems
from tradingbot_operator.manifest.verdict import problems_of

SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Finding:
    """A problem or a note with its place in a file."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(frozen=True)
class LoadedBot:
    """A sound bot and where it stands."""

    bot: TradingBot
    file: str
    line: int


@dataclass
class Bundle:
    """Everything that was read."""

    bots: list[LoadedBot] = field(default_factory=list)
    secrets: Secrets = field(default_factory=Secrets)
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    documents: int = 0


def load(sources: Iterable[str], catalogue: Catalogue) -> Bundle:
    """
    Read every source to its end, whatever is wrong with the others.

    Args:
        sources: Files, directories (their *.yaml, *.yml and *.json), or "-" for standard input.
        catalogue: What the engine offers.
    """
    bundle = Bundle()
    names: dict[tuple[str, str], str] = {}
    for source in sources:
        for file in _expand(source, bundle):
            try:
                nodes = parse(_read(file))
            except ManifestError as error:
                bundle.problems.append(Finding(file, error.line, error.message))
                continue
            except OSError as error:
                bundle.problems.append(Finding(file, 1, f"cannot be read: {error.strerror or error}"))
                continue
            if not nodes:
                bundle.problems.append(Finding(file, 1, "holds no document: write a TradingBot (`tradingbot init`)"))
            for node in nodes:
                for document, path in _items(node):
                    _take(bundle, file, document, path, names, catalogue)
    return bundle


def _expand(source: str, bundle: Bundle) -> list[str]:
    if source == "-" or not FilePath(source).is_dir():
        return [source]
    found = sorted(str(p) for p in FilePath(source).iterdir() if p.suffix in SUFFIXES and p.is_file())
    if not found:
        bundle.problems.append(Finding(source, 1, "is a directory without *.yaml, *.yml or *.json"))
    return found


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    if FilePath(file).exists() and not FilePath(file).is_file() and not FilePath(file).is_fifo():
        raise ManifestError("is no file: name a file with manifests")
    with open(file, "rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _items(node: Node) -> Iterator[tuple[Node, Path]]:
    """Yield the document, or the documents that a List holds."""
    items = node.items
    kind = items["kind"].value if isinstance(items, dict) and "kind" in items else None
    if isinstance(items, dict) and kind in ("List", f"{KIND}List") and "items" in items:
        inner = items["items"].items
        for index, item in enumerate(inner if isinstance(inner, list) else []):
            yield item, ("items", index)
    else:
        yield node, ()


def _take(
    bundle: Bundle, file: str, node: Node, prefix: Path, names: dict[tuple[str, str], str], catalogue: Catalogue
) -> None:
    bundle.documents += 1

    def add(problem: Problem) -> None:
        placed = Problem((*prefix, *problem.path), problem.message, problem.value)
        bundle.problems.append(Finding(file, node.line_of(problem.path), str(placed)))

    for path, inner in node.walk():
        for key, line in inner.duplicates:
            at = Problem((*prefix, *path, key), "stands twice in the same map: remove one")
            bundle.problems.append(Finding(file, line, str(at)))
    if not isinstance(node.items, dict):
        add(Problem((), "must be a map with apiVersion, kind, metadata and spec"))
        return
    data = node.data()
    kind, version = data.get("kind"), data.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        if not isinstance(version, str):
            add(Problem(("apiVersion",), f"missing: state apiVersion: {API_VERSION}"))
        if not isinstance(kind, str):
            add(Problem(("kind",), f"missing: state kind: {KIND}"))
        return
    if kind == KIND or version.startswith("tradingbot.dev/"):
        bot, problems = problems_of(data, catalogue)
        for problem in sorted(problems, key=lambda p: node.line_of(p.path)):
            add(problem)
        for note in notes_of(data):
            placed = Problem((*prefix, *note.path), note.message, note.value)
            bundle.notes.append(Finding(file, node.line_of(note.path), str(placed)))
        name = _name(data)
        if name and name in names:
            add(Problem(("metadata", "name"), f"the same bot already stands at {names[name]}", shown_text(name[1])))
        elif name:
            names[name] = f"{file}:{node.line}"
        if bot is not None:
            bundle.bots.append(LoadedBot(bot, file, node.line))
    elif kind == "Secret" and version == "v1":
        problems = secret_problems(data)
        for problem in problems:
            add(problem)
        if not problems:
            bundle.secrets.add(data)
    else:
        text = f"kind: {shown_text(kind)} of {shown_text(version)} is not looked at: it is kubectl's"
        bundle.notes.append(Finding(file, node.line, text))


def _name(data: object) -> tuple[str, str] | None:
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return None
    return str(metadata.get("namespace") or "default"), metadata["name"]
