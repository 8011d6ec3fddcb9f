"""
`kubectl_complete-tradingbot`: kubectl asks this program how a command line of the plugin may go on.

The answer is one proposal per line, with its meaning after a tab, and last a colon with a number of bits for the shell.
"""

import sys
from collections.abc import Sequence

from click.shell_completion import ShellComplete

from tradingbot_operator.commands.kubectl.cli import main as plugin

NO_FILES = 4
"""cobra's directive: propose no file names."""


def answer(words: Sequence[str]) -> str:
    """Return the answer to the words behind `kubectl tradingbot`; the last of them is the one that is being written."""
    *before, incomplete = words or [""]
    found = ShellComplete(plugin, {}, "kubectl tradingbot", "_UNUSED").get_completions(list(before), incomplete)
    lines = [f"{item.value}\t{item.help}" if item.help else str(item.value) for item in found if item.type == "plain"]
    return "\n".join([*lines, f":{NO_FILES}"])


def main() -> None:
    """Answer kubectl."""
    sys.stdout.write(answer(sys.argv[1:]) + "\n")


if __name__ == "__main__":
    main()
