"""Each image installs what its package imports, pinned with hashes, and nothing of the other's."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from images.pins import Pin, closure, group_of, name_of, normal, read
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PYPROJECT = ROOT / "pyproject.toml"
PINS = read((ROOT / "constraints.txt").read_text())
LAPTOP_ONLY = {"rich"}
"""Dependencies that neither image needs."""
LAPTOP_MODULES = ("local", "commands/run.py", "commands/audit.py", "commands/reset_tier.py")
"""Modules of the operator's package that run on a laptop and never in a pod."""
OPTIONAL = {"pyarrow"}
"""Imported where it is installed; its absence is told."""
SETS = {"engine": ("engine/tradingbot_engine", ()), "operator": ("operator/tradingbot_operator", LAPTOP_MODULES)}


@cache
def imports_of(folder: Path, left_out: tuple[str, ...]) -> frozenset[str]:
    """Return the distributions that the modules of a package import from elsewhere."""
    return frozenset(_imports_of(folder, left_out))


def _imports_of(folder: Path, left_out: tuple[str, ...]) -> Iterator[str]:
    distributions = packages_distributions()
    for path in folder.rglob("*.py"):
        if str(path.relative_to(folder)).startswith(left_out):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                root = name.split(".")[0]
                if root not in sys.stdlib_module_names and root != folder.name and root != "__future__":
                    yield normal(distributions[root][0])


@pytest.mark.parametrize("group", SETS)
def test_an_image_holds_every_package_that_its_code_imports(group: str) -> None:
    """A package that is missing from the group is a module that fails in a pod and nowhere else."""
    folder, left_out = SETS[group]
    held = {pin.name for pin in closure(group_of(PYPROJECT, group), PINS)}
    missing = imports_of(ROOT / folder, left_out) - OPTIONAL - held
    assert not missing, f"add to the dependency group {group!r} of pyproject.toml, from which its image is made"


@pytest.mark.parametrize("group", SETS)
def test_an_image_names_no_package_that_its_code_does_not_import(group: str) -> None:
    """What nothing imports is weight and attack surface."""
    folder, left_out = SETS[group]
    named = {name_of(requirement) for requirement in group_of(PYPROJECT, group)}
    idle = named - imports_of(ROOT / folder, left_out)
    assert not idle, f"remove from the dependency group {group!r} of pyproject.toml: nothing in its image imports it"


def test_the_groups_and_the_laptop_share_out_the_dependencies() -> None:
    """A new dependency is put where it belongs: into the engine's image, the operator's, or a laptop alone."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    declared = {name_of(requirement) for requirement in project["dependencies"]}
    grouped = {name_of(requirement) for group in SETS for requirement in group_of(PYPROJECT, group)}
    assert grouped | LAPTOP_ONLY == declared


@pytest.mark.parametrize("group", SETS)
def test_a_closure_lacks_nothing_that_its_packages_require(group: str) -> None:
    """Checked against what the installed packages themselves declare, not against the comments that the closure reads."""
    held = {pin.name for pin in closure(group_of(PYPROJECT, group), PINS)}
    for name in held:
        try:
            declared = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            continue  # of another platform
        needed = {normal(r.name) for r in declared if r.marker is None or r.marker.evaluate({"extra": ""})}
        assert needed <= held, name


@pytest.mark.parametrize("group", SETS)
def test_every_pin_has_one_version_and_hashes(group: str) -> None:
    """pip's --require-hashes takes nothing else."""
    for pin in closure(group_of(PYPROJECT, group), PINS):
        assert re.match(r"[a-z0-9-]+==[^ ]+( ; [^\\]+)? \\\n +--hash=sha256:[0-9a-f]{64}", pin.text), pin.text
        assert "#" not in pin.text
        assert not pin.text.rstrip().endswith("\\")


def test_the_operator_uses_none_of_the_classes_that_its_image_lacks() -> None:
    """The Kubernetes client's generated classes are left out; a module that used one would fail in a pod and nowhere else."""
    allowed = {
        "kubernetes.aio.client.api_client": {"ApiClient"},
        "kubernetes.aio.client.configuration": {"Configuration"},
        "kubernetes.aio.config": {"ConfigException", "load_incluster_config", "load_kube_config"},
    }
    for path in (ROOT / "operator/tradingbot_operator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.split(".")[0] == "kubernetes"], path
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kubernetes":
                assert {alias.name for alias in node.names} <= allowed.get(node.module, set()), path


def test_a_package_is_followed_through_its_reasons() -> None:
    """c is needed by b, which is needed by a; d is not needed by a."""
    pins = {
        "a": Pin("a", "a==1\n", frozenset()),
        "b": Pin("b", "b==1\n", frozenset({"a"})),
        "c": Pin("c", "c==1\n", frozenset({"b", "d"})),
        "d": Pin("d", "d==1\n", frozenset()),
    }
    assert [pin.name for pin in closure(["a>=1"], pins)] == ["a", "b", "c"]


def test_a_group_that_names_an_unpinned_package_is_refused() -> None:
    """Silence would build an image without it."""
    with pytest.raises(KeyError, match="absent-one"):
        closure(["absent_one"], PINS)
