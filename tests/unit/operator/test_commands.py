"""What people type: validate, explain, init, completion, and how errors are told."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tradingbot_operator.__main__ import main
from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.commands.explain import explain
from tradingbot_operator.crd.v1alpha1 import TradingBot

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "crds" / "samples" / "first-bot.yaml"


def run(*args: str, stdin: str | None = None):
    return CliRunner().invoke(main, list(args), input=stdin)


def test_the_first_sample_is_sound():
    """It is what `make run` starts."""
    answer = run("validate", "-f", str(SAMPLE))
    assert (answer.exit_code, answer.stderr) == (0, "")
    spec = TradingBot.model_validate(yaml.safe_load(SAMPLE.read_text())).spec
    assert (spec.mode, spec.cluster, len(spec.market.tokens)) == ("Live", "localnet", 2)
    assert [s.type for s in spec.strategies] == ["momentum_5m", "mean_revert_1h"]


def test_problems_of_all_files_are_told_with_file_and_line(tmp_path: Path):
    """The last file is read although the first cannot be; exit code 2; nothing on standard output."""
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_text(SAMPLE.read_text().replace("mode: Live", "mode: Lve"))
    (tmp_path / "c.json").write_bytes(b"\xff\xfe")
    (tmp_path / "d.yaml").write_text("")
    answer = run("validate", "-f", str(tmp_path), "-f", str(tmp_path / "missing.yaml"))
    assert (answer.exit_code, answer.stdout) == (2, "")
    lines = answer.stderr.replace(str(tmp_path) + "/", "").splitlines()
    line = 1 + SAMPLE.read_text().splitlines().index(next(x for x in SAMPLE.read_text().splitlines() if "mode:" in x))
    assert [text.split(" ")[0] for text in lines] == [
        "a.yaml:1:",
        f"b.yaml:{line}:",
        "c.json:1:",
        "d.yaml:1:",
        "missing.yaml:1:",
    ]
    assert "No such file" in lines[-1]


def test_standard_input_secrets_and_foreign_kinds():
    """A stream of documents is read to its end; what is kubectl's is left to kubectl, and said."""
    text = SAMPLE.read_text() + (
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: hidden-value}\n"
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
    )
    answer = run("validate", "-f", "-", stdin=text)
    assert answer.exit_code == 0
    assert "ConfigMap" in answer.stderr
    assert "hidden-value" not in answer.output


@pytest.mark.parametrize(
    "document",
    [
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {key: 'hidden value'}",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: [hidden value]}",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringdata: {key: hidden value}",
        "apiVersion: v1\nkind: Secret\nstringData: {key: hidden value}",
    ],
)
def test_broken_secrets_are_told_without_their_values(document: str):
    """Values of a Secret never reach a message."""
    answer = run("validate", "-f", "-", stdin=document)
    assert answer.exit_code == 2
    assert "hidden" not in answer.output


def test_the_same_bot_twice_is_a_problem():
    """Two runs of one state directory are what the runner refuses."""
    answer = run("validate", "-f", str(SAMPLE), str(SAMPLE))
    assert answer.exit_code == 2
    assert "the same bot already stands at" in answer.stderr


def test_a_list_is_read_item_by_item(tmp_path: Path):
    """`kubectl get tb -o yaml` answers with a List."""
    item = yaml.safe_load(SAMPLE.read_text())
    item["spec"]["bogus"] = 1
    file = tmp_path / "list.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [item]}))
    answer = run("validate", "-f", str(file))
    assert "items[0].spec.bogus: unknown field" in answer.stderr


def test_parts_of_later_versions_are_accepted_and_said_to_be_without_force(tmp_path: Path):
    """Nobody may rely on what does nothing yet."""
    data = yaml.safe_load(SAMPLE.read_text())
    data["spec"] |= {
        "replicas": 2,
        "ledger": {"urlFrom": {"secretKeyRef": {"name": "a", "key": "b"}}},
        "deletionPolicy": "ClosePositions",
        "scaling": {"maxReplicas": 4},
    }
    data["spec"]["market"]["screen"] = {"minEdgeScore": 60}
    data["spec"]["market"]["feeds"] = [{"name": "x", "type": "posts"}]
    answer = run("validate", "-f", "-", stdin=yaml.safe_dump(data))
    assert answer.exit_code == 0
    notes = [line for line in answer.stderr.splitlines() if line.startswith("note: -:")]
    for path in ("replicas", "scaling", "market.screen", "market.feeds", "deletionPolicy"):
        assert any(f"spec.{path}: " in note for note in notes), path


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"execution": {"mark": "None"}}, 'spec.execution.mark: value "None": no audit can prove'),
        (
            {"execution": {"expiryProof": {"providers": 4}}},
            "spec.execution.expiryProof.providers: value 4: the bot has 3",
        ),
        ({"localnet": {"nodes": 1}}, "spec.execution.expiryProof.providers: value 2 (default): the bot has 1 node(s)"),
    ],
)
def test_marks_and_proofs_that_will_not_come_about_are_told_before_they_are_missed(
    tmp_path: Path, change: dict, note: str
):
    """Sound by the schema, but the engine refuses it, or a trade would stay open for ever."""
    data = yaml.safe_load(SAMPLE.read_text())
    sound = run("validate", "-f", "-", stdin=yaml.safe_dump(data))
    data["spec"] |= change
    answer = run("validate", "-f", "-", stdin=yaml.safe_dump(data))
    assert answer.exit_code == 0
    assert note in answer.stderr
    assert "spec.execution" not in sound.stderr
    data["spec"]["mode"] = "Paper"
    paper = run("validate", "-f", "-", stdin=yaml.safe_dump(data))
    assert "providers" not in paper.stderr  # nothing is sent, so nothing can expire


def test_explain_tells_every_field_of_the_models():
    """Walks the schema that pydantic publishes itself: no field may be missing, none without a meaning."""
    schema = TradingBot.model_json_schema(by_alias=True)
    text = explain(None, catalogue())

    def walk(node: dict, prefix: str):
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
        for option in node.get("anyOf", []):
            yield from walk(option, prefix)
        if node.get("type") == "array":
            yield from walk(node["items"], prefix)
        for name, inner in node.get("properties", {}).items():
            yield f"{prefix}{name}"
            yield from walk(inner, f"{prefix}{name}.")

    paths = list(walk({"$ref": "#/$defs/TradingBotSpec"}, "spec."))
    assert len(paths) > 100
    shown = {line.split("  <")[0].replace("[]", ""): line for line in text.splitlines() if not line.startswith(" ")}
    assert [path for path in paths if path not in shown] == []
    lines = text.splitlines()
    assert [lines[i] for i, line in enumerate(lines[:-1]) if "  <" in line and not lines[i + 1].strip()] == []


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("spec.queue.maxSize", "[10000], from 1 to 1000000, signals"),
        ("queue", "spec.queue.deadlineMilliseconds"),
        ("spec.rpc.endpoints[].url", "HTTP address"),
        ("risk", "Balanced: max_position_percent 2"),
        ("strategies", "momentum_5m  version"),
        ("mean_revert_1h", "mean_revert_1h  version"),
        ("metadata.name", "required"),
        ("status.drawdownTier", "emergency"),
    ],
)
def test_explain_tells_one_field_with_all_below_it(field: str, says: str):
    """With or without spec. before it; strategies bring the catalogue, risk its profiles."""
    answer = run("explain", field)
    assert answer.exit_code == 0
    assert says in answer.output


def test_explain_writes_numbers_as_manifests_do():
    """No exponent, no fraction of zero: what is shown can be copied into a manifest."""
    facts = [line.split("  <")[1] for line in run("explain", "spec").output.splitlines() if "  <" in line]
    assert "number, from 0 to 1000000000000000, USD>" in facts
    assert [fact for fact in facts if re.search(r"\d\.0\b|\de[+-]?\d", fact)] == []


def test_explain_of_no_field_suggests_one():
    """A typo costs nothing."""
    answer = run("explain", "spec.que")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "did you mean spec.queue" in answer.stderr


def test_init_writes_a_sound_sample_and_never_overwrites(tmp_path: Path):
    """The sample validates as it is."""
    file = tmp_path / "bot.yaml"
    assert run("init", str(file)).exit_code == 0
    assert run("validate", "-f", str(file)).exit_code == 0
    file.write_text("mine")
    answer = run("init", str(file))
    assert (answer.exit_code, file.read_text()) == (2, "mine")
    assert run("init", str(tmp_path / "no" / "bot.yaml")).exit_code == 2


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --no")])
def test_completion_scripts_are_printed_for_three_shells(shell: str, word: str):
    """Without asking which shell is installed here."""
    answer = run("completion", shell)
    assert answer.exit_code == 0
    assert word in answer.output
    assert "_TRADINGBOT_COMPLETE" in answer.output


def test_completion_completes_commands():
    """What the script calls answers with the commands."""
    answer = subprocess.run(
        [sys.executable, "-m", "tradingbot_operator"],
        env={"_TRADINGBOT_COMPLETE": "bash_complete", "COMP_WORDS": "tradingbot va", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "plain,validate" in answer.stdout


def test_a_traceback_is_shown_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One line for people; --debug for those who fix it."""
    monkeypatch.setattr("tradingbot_operator.commands.validate.load", lambda *_: 1 / 0)
    answer = run("validate", "-f", "x")
    assert answer.exit_code == 1
    assert answer.stderr.splitlines() == ["tradingbot: ZeroDivisionError: division by zero (--debug shows where)"]
    monkeypatch.setenv("TRADINGBOT_DEBUG", "1")
    assert isinstance(run("validate", "-f", "x").exception, ZeroDivisionError)


def test_usage_errors_end_with_2():
    """Bad input is 2 everywhere."""
    assert run("validate").exit_code == 2
    assert run("nonsense").exit_code == 2
    assert run("--version").output.startswith("tradingbot, version ")


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({"replicas": 2, "ledger": {"urlFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}}, [], "spec.replicas: value 2"),
        ({"market": {"screen": {"minEdgeScore": 5}}}, [], "spec.market.tokens"),
        ({"cluster": "devnet", "localnet": None}, [], "spec.rpc.endpoints"),
        ({"mode": "Lve"}, [], "did you mean Live?"),
        ({}, ["--replay", "/no/such/file"], "--replay: there is no file"),
        ({}, ["--faults", "/no/such/file"], "--faults: there is no file"),
        ({}, ["--secrets", "/no/such/dir"], "--secrets: there is no directory"),
        ({}, ["--speed", "0"], "--speed"),
        ({}, ["--duration", "soon"], "write 60s, 5m or 2h"),
        ({}, ["--duration", "0s"], "write 60s, 5m or 2h"),
        ({}, ["--seed", "-1"], "--seed"),
        ({}, ["--scenario", "Boom"], "--scenario"),
        ({"cluster": "devnet", "localnet": None, "mode": "Paper",
          "rpc": {"endpoints": [{"name": "a", "url": "http://x"}]}}, ["--seed", "5"], "--seed needs cluster: localnet"),
    ],
)  # fmt: skip
def test_run_refuses_bad_input_before_anything_starts(tmp_path: Path, changes: dict, options: list[str], says: str):
    """Exit code 2, and no state directory is made."""
    data = yaml.safe_load(SAMPLE.read_text())
    data["spec"] |= changes
    file = tmp_path / "bot.yaml"
    file.write_text(yaml.safe_dump(data))
    answer = run("run", "-f", str(file), "--state-dir", str(tmp_path / "state"), *options)
    assert answer.exit_code == 2, answer.output
    assert says in answer.stderr
    assert answer.stdout == ""
    assert not (tmp_path / "state").exists()


def test_run_takes_one_bot(tmp_path: Path):
    """None, or two, is a question, not a guess."""
    other = SAMPLE.read_text().replace("name: first-bot", "name: other")
    (tmp_path / "two.yaml").write_text(SAMPLE.read_text() + "---\n" + other)
    answer = run("run", "-f", str(tmp_path / "two.yaml"))
    assert answer.exit_code == 2
    assert "the files hold 2 bots (default/first-bot, default/other)" in answer.stderr
    (tmp_path / "none.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")
    assert "hold no TradingBot" in run("run", "-f", str(tmp_path / "none.yaml")).stderr


def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path):
    """With the place and what to do; a limit of the size of files stands for the disk."""
    answer = subprocess.run(
        [sys.executable, "-m", "tradingbot_operator", "run", "-f", str(SAMPLE), "--state-dir", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16)),  # enough for the lock, not for a key
    )
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"tradingbot: the state directory {tmp_path / 's'} cannot be written (")
    assert "make room" in line
