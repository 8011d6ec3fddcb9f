"""What was built is found under the hash of its inputs, and nobody sees it half made."""

import os
import threading
import time
from pathlib import Path

import pytest

from tradingbot_cluster.built import UNUSED_FOR_S, fingerprint, kept


def test_the_fingerprint_changes_with_contents_names_modes_and_words(tmp_path: Path) -> None:
    """Whatever goes into a build is in its key."""
    one = tmp_path / "one"
    one.write_text("x")
    seen = {fingerprint([one], "w", base=tmp_path)}
    one.write_text("y")
    seen.add(fingerprint([one], "w", base=tmp_path))
    one.chmod(0o755)
    seen.add(fingerprint([one], "w", base=tmp_path))
    one.rename(tmp_path / "two")
    seen.add(fingerprint([tmp_path / "two"], "w", base=tmp_path))
    seen.add(fingerprint([tmp_path / "two"], "w", "", base=tmp_path))
    assert len(seen) == 5


def test_the_fingerprint_does_not_depend_on_the_order_of_files_or_the_place(tmp_path: Path) -> None:
    """Two checkouts find the same build."""
    keys = set()
    for place in ("a", "b"):
        folder = tmp_path / place
        folder.mkdir()
        files = [folder / "1", folder / "2"]
        for file in files:
            file.write_text("same")
        keys |= {fingerprint(files, base=folder), fingerprint(files[::-1], base=folder)}
    assert len(keys) == 1


def test_a_build_runs_once_also_when_two_want_it_at_a_time(tmp_path: Path) -> None:
    """The second waits, and finds what the first made."""
    runs: list[Path] = []

    def make(folder: Path) -> None:
        runs.append(folder)
        time.sleep(0.2)
        (folder / "result").write_text("whole")

    threads = [threading.Thread(target=kept, args=(tmp_path, "thing", "0" * 16, make)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1
    assert (tmp_path / f"thing-{'0' * 16}" / "result").read_text() == "whole"


def test_a_build_that_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    """A half made folder under the key would be taken for the whole."""

    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        kept(tmp_path, "thing", "0" * 16, fail)
    assert [p.name for p in tmp_path.iterdir()] == [".thing.lock"]
    assert kept(tmp_path, "thing", "0" * 16, lambda folder: None).is_dir()


def test_versions_that_nobody_used_for_a_month_make_room(tmp_path: Path) -> None:
    """Only when a new version is made, and only of the same name."""
    for name in ("thing-" + "1" * 16, "thing-" + "2" * 16, "thing-other-" + "1" * 16):
        (tmp_path / name).mkdir()
    old = time.time() - UNUSED_FOR_S - 60
    for name in ("thing-" + "1" * 16, "thing-other-" + "1" * 16):
        os.utime(tmp_path / name, (old, old))
    kept(tmp_path, "thing", "3" * 16, lambda folder: None)
    left = {p.name for p in tmp_path.iterdir() if p.is_dir()}
    assert left == {"thing-" + "2" * 16, "thing-" + "3" * 16, "thing-other-" + "1" * 16}
