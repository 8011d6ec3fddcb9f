"""The pure parts of hack/cluster: archives, configurations, commands and rules that are made from plain data."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
import yaml

from tradingbot_cluster import components, images, partition
from tradingbot_cluster.capabilities import CAP_SYS_RESOURCE, bounding_set
from tradingbot_cluster.errors import ClusterError, Missing
from tradingbot_cluster.image_archive import Image, layer_of, write_archive
from tradingbot_cluster.kind_config import kind_config
from tradingbot_cluster.places import Places
from tradingbot_cluster.programs import KUBERNETES, PROGRAMS
from tradingbot_cluster.runtime import documents, without
from tradingbot_cluster.sandbox import Sandbox, engine_command
from tradingbot_cluster.store_links import lay_down


def test_the_caches_folder_follows_the_specification_of_base_directories(tmp_path: Path) -> None:
    """An absolute XDG_CACHE_HOME wins; a relative one counts as unset."""
    assert Places.of({"XDG_CACHE_HOME": "/c", "HOME": "/h"}).root == Path("/c/tradingbot")
    assert Places.of({"XDG_CACHE_HOME": "c", "HOME": "/h"}).root == Path("/h/.cache/tradingbot")
    assert Places.of({"HOME": "/h"}).root == Path("/h/.cache/tradingbot")


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a/b", "..", "a" * 31, "a_b"])
def test_a_name_that_no_host_could_have_is_refused(name: str) -> None:
    """Names become parts of container names, host names and paths."""
    with pytest.raises(ClusterError, match="can't name a cluster"):
        Places(Path("/c")).cluster(name)


def test_the_same_files_give_the_same_layer(tmp_path: Path) -> None:
    """Times and owners of the files on this machine don't matter; links stay links."""
    layers = []
    for name in ("a", "b"):
        folder = tmp_path / name
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/tool").write_text("x")
        (folder / "bin/link").symlink_to("tool")
        layers.append(layer_of(folder, tmp_path / f"{name}.tar").read_bytes())
    assert layers[0] == layers[1]
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert [(m.name, m.linkname, m.uid) for m in tar] == [
            ("bin", "", 0),
            ("bin/link", "tool", 0),
            ("bin/tool", "", 0),
        ]


def test_an_archive_holds_shared_layers_once_and_names_them_by_their_hash(tmp_path: Path) -> None:
    """Engines check the hashes when they read it."""
    (tmp_path / "low").mkdir()
    (tmp_path / "high").mkdir()
    (tmp_path / "high/f").write_text("y")
    low, high = (layer_of(tmp_path / n, tmp_path / f"{n}.tar") for n in ("low", "high"))
    write_archive(tmp_path / "out.tar", [Image(["r/one:1"], [low]), Image(["r/two:1"], [low, high], {"Cmd": ["run"]})])
    with tarfile.open(tmp_path / "out.tar") as tar:
        contents = {m.name: content.read() for m in tar if (content := tar.extractfile(m))}
    manifest = json.loads(contents["manifest.json"])
    assert [one["RepoTags"] for one in manifest] == [["r/one:1"], ["r/two:1"]]
    assert len([name for name in contents if name.endswith(".tar")]) == 2
    for one in manifest:
        config = contents[one["Config"]]
        assert hashlib.sha256(config).hexdigest() + ".json" == one["Config"]
        ids = json.loads(config)["rootfs"]["diff_ids"]
        assert ids == ["sha256:" + hashlib.sha256(contents[layer]).hexdigest() for layer in one["Layers"]]


def test_laying_down_a_store_links_layers_and_copies_what_the_engine_rewrites(tmp_path: Path) -> None:
    """Layers take no room and no time; an engine that writes its lists of images leaves the store as it was."""
    for name in ("image/overlay2/repositories.json", "overlay2/layer/diff/usr/bin/tool"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_text("{}")
    lay_down(tmp_path / "data", tmp_path / "store")
    (tmp_path / "data/image/overlay2/repositories.json").write_text("changed")
    assert (tmp_path / "store/image/overlay2/repositories.json").read_text() == "{}"
    assert (tmp_path / "data/overlay2/layer/diff/usr/bin/tool").samefile(
        tmp_path / "store/overlay2/layer/diff/usr/bin/tool"
    )


def test_workers_and_the_port_are_added_to_what_all_clusters_share() -> None:
    """Without a port kind chooses one."""
    config = kind_config(workers=2, port=1234)
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    assert config["networking"]["apiServerPort"] == 1234
    assert "apiServerPort" not in kind_config(workers=0, port=None)["networking"]


def test_the_node_image_and_kinds_configuration_agree_on_the_ranges_of_addresses() -> None:
    """The node's network service is told the same ranges as Kubernetes."""
    networking = kind_config(workers=0, port=None)["networking"]
    unit = (Path("hack/cluster/node/rootfs/etc/systemd/system/pod-network.service")).read_text()
    assert f"%H {networking['podSubnet']} {networking['serviceSubnet'].removesuffix('0/16')}1\n" in unit


def test_every_file_of_the_node_that_is_yaml_can_be_read() -> None:
    """A slip there shows only when a node boots."""
    found = [path for path in Path("hack/cluster").rglob("*.yaml") if list(yaml.safe_load_all(path.read_text()))]
    assert len(found) >= 3


def test_the_version_of_kubernetes_is_the_one_that_its_module_demands() -> None:
    """It is written in one place, go.mod."""
    assert f"k8s.io/kubernetes {KUBERNETES}\n" in Path("hack/cluster/kubebox/go.mod").read_text()
    assert KUBERNETES in PROGRAMS["kubebox"].flags


def test_a_capability_that_can_not_be_had_is_taken_out_of_every_list() -> None:
    """Docker writes five lists; nothing else of the document changes."""
    lists = {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_KILL"], "effective": ["CAP_SYS_RESOURCE", "CAP_KILL"]}
    lists["ambient"] = ["CAP_KILL", "CAP_SYS_RESOURCE"]
    document = {"process": {"capabilities": lists, "args": ["a"]}}
    after = json.loads(without(json.dumps(document, separators=(",", ":")).encode()))
    left = {"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    assert after == {"process": {"capabilities": left, "args": ["a"]}}


def test_the_bounding_set_is_read_from_the_kernels_own_words() -> None:
    """Bit 24 is CAP_SYS_RESOURCE."""
    assert CAP_SYS_RESOURCE not in bounding_set("CapBnd:\t000001fffeffffff\n")
    assert CAP_SYS_RESOURCE in bounding_set("CapBnd:\t000001ffffffffff\n")


def test_the_engine_gets_another_runtime_only_where_the_capability_is_missing() -> None:
    """Elsewhere it is plain runc."""
    sandbox = Sandbox("/d", None, "/s", "/runtime", "/g", 3, 4)
    assert "--default-runtime=own" in engine_command(sandbox, frozenset())
    assert not [word for word in engine_command(sandbox, frozenset({CAP_SYS_RESOURCE})) if "runtime" in word]


def test_the_runtime_finds_its_documents_in_either_way_to_write_an_option() -> None:
    """`create` has a bundle, `exec` a process."""
    assert documents(["create", "--bundle", "/b", "id"]) == ["/b/config.json"]
    assert documents(["exec", "--process=/p.json", "-d", "id"]) == ["/p.json"]
    assert documents(["delete", "id"]) == []


def test_a_partition_drops_what_the_node_sends_and_not_what_others_send_to_it() -> None:
    """Cutting one node off from the database must not cut off the clients of a database on that node."""
    rules = partition.rules("db", "10.244.1.0/24")
    assert all("dport 5432 drop" in rule for rule in rules)
    assert [
        rule for rule in rules if rule.startswith(("forward", "input")) and "ip saddr 10.244.1.0/24" not in rule
    ] == []


def test_partitions_add_up_and_healing_leaves_no_rule() -> None:
    """One table, replaced as a whole."""
    both = partition.script({"db", "api"}, "10.244.1.0/24")
    assert both.count("drop") == 6
    assert partition.script(set(), "") == "table inet partition\ndelete table inet partition\n"


@pytest.mark.parametrize("name", components.COMPONENTS)
def test_every_component_has_a_way_to_stop_and_back(name: str) -> None:
    """Hanging is undone by the same start."""
    assert components.stop_commands(name, hang=True)[0][:2] == ["pkill", "-STOP"]
    assert "CONT" in " ".join(components.start_commands(name)[0])
    stop, start = components.stop_commands(name, hang=False), components.start_commands(name)
    assert ("mv" in stop[0][-1] and "mv" in start[1][-1]) or (stop[0][0], start[1][0]) == ("systemctl", "systemctl")


def test_an_archive_that_is_not_there_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    """Else kind would look for an image with such a name."""
    archive = tmp_path / "a.tar"
    archive.write_text("")
    assert images.split([str(archive), "app:1"]) == ([str(archive)], ["app:1"])
    with pytest.raises(Missing, match=r"no\.tar: no such archive"):
        images.split([str(tmp_path / "no.tar")])
