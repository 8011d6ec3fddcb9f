"""The packaging rules that a newcomer would break by habit."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_source_roots_hold_no_package_marker():
    """An `operator/__init__.py` would shadow the standard library's `operator` for anyone who runs Python in the root."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "engine" / "__init__.py").exists()


def test_standard_library_imports_from_the_repository_root():
    """`import collections` needs the standard library's `operator`, also with the root first on the path."""
    answer = subprocess.run(
        [sys.executable, "-c", "import collections, operator; print(operator.add(1, 2))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "3"


def test_no_package_markers_under_tests():
    """pytest runs with importlib mode; a marker would make two test modules of one name clash."""
    assert [str(p) for p in (ROOT / "tests").rglob("__init__.py")] == []
