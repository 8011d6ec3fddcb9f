"""The build learns of this machine's package index, and of nothing else."""

import stat
from pathlib import Path

import pytest
from images.host_pip import CA_INSIDE, from_listing, secrets


def test_index_and_authorities_are_carried_and_paths_of_this_machine_are_not() -> None:
    """A wheel folder of this machine means nothing inside; the authorities are mounted at a path of the build's own."""
    found = from_listing(
        "global.index-url='https://index.example/simple'\n:env:.cert='/etc/ssl/bundle.pem'\n"
        ":env:.find-links='/opt/wheels'\nglobal.extra-index-url='\\nhttps://a.example\\nhttps://b.example'\n"
    )
    assert found.text == (
        "[global]\nindex-url = https://index.example/simple\nextra-index-url = https://a.example https://b.example\n"
        f"cert = {CA_INSIDE}\n"
    )
    assert found.ca_file == Path("/etc/ssl/bundle.pem")


def test_the_environment_wins_over_files() -> None:
    """As in pip itself, which lists it last."""
    found = from_listing("global.timeout='10'\n:env:.timeout='180'\n")
    assert found.text == "[global]\ntimeout = 180\n"


def test_a_machine_without_configuration_gives_an_empty_one() -> None:
    """The mount is then a file that says nothing."""
    found = from_listing("")
    assert found.text == "[global]\n"
    assert found.ca_file is None


def test_a_listing_that_is_not_understood_is_refused() -> None:
    """Guessing could drop the line that names the index."""
    with pytest.raises(ValueError, match="expected NAME"):
        from_listing("what is this\n")


def test_only_the_owner_reads_the_file_that_may_hold_a_password(tmp_path: Path) -> None:
    """And it is passed as a secret, which no layer keeps."""
    out = secrets(from_listing("global.index-url='https://me:hunter2@index.example/simple'\n"), tmp_path)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert out == [f"--secret=id=pip,src={path}"]


def test_an_authorities_file_is_passed_only_if_it_is_there(tmp_path: Path) -> None:
    """buildah refuses a secret without a file."""
    bundle = tmp_path / "bundle.pem"
    listing = f"global.cert='{bundle}'\n"
    assert len(secrets(from_listing(listing), tmp_path)) == 1
    bundle.write_text("")
    assert secrets(from_listing(listing), tmp_path)[1] == f"--secret=id=ca,src={bundle}"
