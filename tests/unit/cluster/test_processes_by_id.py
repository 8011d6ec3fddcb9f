"""A process is the same only while number and moment of start are."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import psutil

from tradingbot_cluster.processes import Process


def a_sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


def test_a_process_is_alive_until_it_ended_even_if_nobody_asked_for_its_exit_code() -> None:
    """What is left of an ended process until its parent asks is no process."""
    child = a_sleeper()
    process = Process.of(child.pid)
    assert process
    assert process.alive()
    process.signal(signal.SIGKILL)
    assert process.wait(10)
    assert not process.alive()
    assert psutil.pid_exists(child.pid)
    child.wait()
    assert Process.of(child.pid) is None


def test_another_process_with_the_same_number_is_never_signalled() -> None:
    """The number alone says nothing: it may have been given again."""
    child = a_sleeper()
    try:
        process = Process.of(child.pid)
        assert process
        stranger = replace(process, started=process.started - 1)
        assert not stranger.alive()
        stranger.signal(signal.SIGKILL)
        stranger.stop(grace_s=0.1)
        assert process.alive()
    finally:
        child.kill()
        child.wait()


def test_stop_ends_what_does_not_listen() -> None:
    """After its grace, a process is killed."""
    deaf = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()",
        ],
        stdout=subprocess.PIPE,
    )
    assert deaf.stdout
    deaf.stdout.readline()
    process = Process.of(deaf.pid)
    assert process
    process.stop(grace_s=0.2)
    assert deaf.wait() == -signal.SIGKILL
    deaf.stdout.close()


def test_a_child_started_with_the_words_ends_when_its_parent_is_killed() -> None:
    """The kernel sees to it, so `kill -9` of a test leaves no server behind."""
    code = """
import subprocess, time
from tradingbot_cluster.processes import die_with_parent
print(subprocess.Popen(["sleep", "60"], preexec_fn=die_with_parent()).pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "hack/cluster"}
    )
    assert parent.stdout
    process = Process.of(int(parent.stdout.readline()))
    assert process
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert process.wait(10)
