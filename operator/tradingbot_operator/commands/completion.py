"""`tradingbot completion`: the script that makes a shell complete commands, options and files."""

from click.shell_completion import BashComplete, ShellComplete, get_completion_class

from tradingbot_operator.errors import BadInput

SHELLS = ("bash", "zsh", "fish")


class _Bash(BashComplete):
    """click asks the installed bash for its version, even when the script is meant for another machine."""

    @staticmethod
    def _check_version() -> None:
        return None


def completion(shell: str, command: object) -> str:
    """
    Return the completion script for one shell, to be sourced by it.

    Raises:
        BadInput: The shell is none of bash, zsh and fish.
    """
    kind: type[ShellComplete] | None = _Bash if shell == "bash" else get_completion_class(shell)
    if kind is None or shell not in SHELLS:
        raise BadInput(f"no completion for {shell}: choose {', '.join(SHELLS)}")
    return kind(command, {}, "tradingbot", "_TRADINGBOT_COMPLETE").source()  # type: ignore[arg-type]
