"""What belongs to the whole machine is put back, and only what belongs to the cluster is removed."""

from pathlib import Path

from tradingbot_cluster import cgroups, sysctls


def a_kernel(folder: Path) -> Path:
    for name, value in (("vm/overcommit_memory", "0\n"), ("kernel/panic", "0\n"), ("fs/file-max", "99\n")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(value)
    return folder


def test_settings_that_changed_are_put_back_and_no_others(tmp_path: Path) -> None:
    """The names of what was changed are told."""
    sys = a_kernel(tmp_path / "sys")
    record = tmp_path / "record.json"
    sysctls.note(record, sys)
    (sys / "kernel/panic").write_text("10\n")
    untouched = (sys / "fs/file-max").stat().st_mtime_ns
    assert sysctls.restore(record, sys) == ["kernel/panic"]
    assert (sys / "kernel/panic").read_text() == "0"
    assert (sys / "fs/file-max").stat().st_mtime_ns == untouched


def test_a_second_cluster_does_not_take_the_firsts_changes_for_the_machines_own(tmp_path: Path) -> None:
    """The record is written once, by the first, and used once, by the last."""
    sys = a_kernel(tmp_path / "sys")
    record = tmp_path / "record.json"
    sysctls.note(record, sys)
    (sys / "vm/overcommit_memory").write_text("1\n")
    sysctls.note(record, sys)
    assert sysctls.restore(record, sys) == ["vm/overcommit_memory"]
    assert sysctls.read(sys)["vm/overcommit_memory"] == "0"
    assert sysctls.restore(record, sys) == []


def test_limits_that_several_clusters_need_are_raised_and_put_back(tmp_path: Path) -> None:
    """One that is high enough stays, and one that this kernel has not is no error."""
    sys = a_kernel(tmp_path / "sys")
    few, many = sys / "fs/inotify/max_user_instances", sys / "fs/inotify/max_user_watches"
    few.parent.mkdir()
    few.write_text("128\n")
    many.write_text("1000000\n")
    record = tmp_path / "record.json"
    sysctls.note(record, sys)
    sysctls.allow(sys)
    assert (few.read_text(), many.read_text()) == ("1024", "1000000\n")
    assert sysctls.restore(record, sys) == ["fs/inotify/max_user_instances"]
    assert few.read_text() == "128"
    many.unlink()
    sysctls.allow(sys)


def test_groups_of_one_cluster_go_and_those_of_others_stay(tmp_path: Path) -> None:
    """Under version 1 in every hierarchy, each from the deepest up."""
    for hierarchy in ("cpu", "memory"):
        (tmp_path / hierarchy / "tradingbot-clusters/one/node/kubelet/pod").mkdir(parents=True)
        (tmp_path / hierarchy / "foreign").mkdir()
    (tmp_path / "memory/tradingbot-clusters/two").mkdir()
    assert cgroups.remove("one", root=tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert left == {
        "cpu",
        "cpu/foreign",
        "memory",
        "memory/foreign",
        "memory/tradingbot-clusters",
        "memory/tradingbot-clusters/two",
    }


def test_a_busy_group_is_told_of_after_the_time_given(tmp_path: Path) -> None:
    """A group that holds something can't be removed."""
    busy = tmp_path / "cpu/tradingbot-clusters/one"
    busy.mkdir(parents=True)
    (busy / "a-process").write_text("")
    assert not cgroups.remove("one", root=tmp_path, timeout_s=0.2)
