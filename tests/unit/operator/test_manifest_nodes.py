"""Text becomes data with lines, and no text makes the reader slow, large or silent."""

import json

import pytest

from tradingbot_operator.manifest.nodes import MAX_BYTES, ManifestError, parse


def one(text: str):
    (node,) = parse(text.encode())
    return node


def test_every_value_knows_its_line():
    """People find a problem by its line; an entry of a map by the line of its key."""
    node = one("spec:\n  a: 1\n  b:\n    - x\n    - c: 2\n")
    assert node.line_of(("spec", "a")) == 2
    assert node.line_of(("spec", "b", 1, "c")) == 5
    assert node.line_of(("spec", "nothing", "below")) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("'yes'", "yes"),
        ("Off", False),
        ("None", "None"),
        ("~", None),
        ("1e3", 1000.0),
        ("0x10", 16),
        ("0o17", 15),
        ("017", 15),
        ("1_000", 1000),
        ("12:30:00", "12:30:00"),
        ("2026-01-01", "2026-01-01"),
        ("+5", 5),
        ("-.5", -0.5),
        ("!!str 5", "5"),
        ('"5"', "5"),
    ],
)
def test_scalars_mean_what_they_mean_to_kubectl(text: str, value: object):
    """The same file must not say one thing here and another on a cluster."""
    found = one(f"a: {text}").data()["a"]
    assert (found, type(found)) == (value, type(value))


def test_json_with_tabs_and_escapes_reads_as_json():
    """JSON is a manifest too, however it is indented."""
    data = {"a": [1, 2.5, '\U0001f600 \\ " \t'], "b": {"c": None, "d": True}}
    assert one(json.dumps(data, indent="\t")).data() == data


def test_duplicate_keys_are_seen_with_their_line():
    """YAML forbids them and most readers take the last in silence."""
    assert one("a: 1\nb: 2\na: 3\n").duplicates == [("a", 3)]


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases expand"),
        ("[" * 5000, "nested more than"),
        ("{a: " * 300, "nested more than"),
        ("a: &a [*a]", "refers to nothing before it"),
        ("a: *b", "refers to nothing before it"),
        ("? [1, 2]\n: 3", "a key must be text"),
        ("1: 2", "a key must be text"),
        ("<<: {a: 1}", "merge keys"),
        ("a: !!python/object/apply:os.system [ls]", "is not supported"),
        ("a: !!binary aGk=", "is not supported"),
        ("a: !!int hello", "does not fit its tag"),
        ("a: [1, 2", "is no YAML"),
        ("a: b: c", "is no YAML"),
        ("a: \x07", "is no YAML"),
        ("a: " + "9" * 5000, "5000 digits"),
        ('a: "\\ud800"', "surrogate"),
        ("[" + "1," * 300_000 + "]", "more than 200000 values"),
    ],
)
def test_hostile_texts_are_refused_in_words(text: str, message: str):
    """Deep, self-referring, exploding or instantiating YAML is refused before it costs anything."""
    with pytest.raises(ManifestError, match=message):
        parse(text.encode())


def test_what_is_no_text_or_too_large_is_refused_with_its_line():
    """A binary named by mistake gets a sentence, not a dump."""
    with pytest.raises(ManifestError, match="no UTF-8") as caught:
        parse(b"a: 1\nb: \xff\n")
    assert caught.value.line == 2
    with pytest.raises(ManifestError, match="larger than"):
        parse(b"#" * (MAX_BYTES + 1))


def test_aliases_within_bounds_are_followed():
    """Anchors are ordinary YAML: the same list twice is no attack."""
    assert one("a: &x {k: 1}\nb: *x\n").data() == {"a": {"k": 1}, "b": {"k": 1}}


def test_several_documents_keep_their_lines_and_empty_ones_vanish():
    """A file may hold the bot and its Secrets."""
    nodes = parse(b"---\na: 1\n---\n---\nb: 2\n...\n")
    assert [(n.line, n.data()) for n in nodes] == [(2, {"a": 1}), (5, {"b": 2})]
