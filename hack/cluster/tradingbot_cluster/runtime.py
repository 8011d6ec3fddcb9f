"""
runc for machines whose root lacks CAP_SYS_RESOURCE; started by the container engine in runc's place.

Docker before version 23 asks for every capability with `--privileged`, and runc then fails with "unable to apply caps: operation not
permitted". This takes the one that can't be had out of what is asked for, then becomes runc.

It is started some hundred times while a cluster comes up, so it imports only what Python has in memory anyway.
"""

import os
import sys

RUNC = ("/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc", "/usr/local/bin/runc")
MISSING = b'"CAP_SYS_RESOURCE"'


def documents(arguments: list[str]) -> list[str]:
    """Return the files in which a runc command line asks for capabilities."""
    found = []
    for position, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if not equals and position + 1 < len(arguments):
            value = arguments[position + 1]
        if name in {"--bundle", "-b"}:
            found.append(value + "/config.json")
        elif name in {"--process", "-p"}:
            found.append(value)
    return found


def without(document: bytes) -> bytes:
    """Return a document in JSON with the capability taken out of every list, where it has a neighbour as in all of Docker's."""
    return document.replace(MISSING + b",", b"").replace(b"," + MISSING, b"")


def main(arguments: list[str]) -> None:
    """Correct the documents, then become runc."""
    for path in documents(arguments):
        if os.path.isfile(path):
            with open(path, "r+b") as file:
                before = file.read()
                after = without(before)
                if after != before:
                    file.seek(0)
                    file.write(after)
                    file.truncate()
    for runc in RUNC:
        if os.path.exists(runc):
            os.execv(runc, ["runc", *arguments])
    sys.exit("runc: not found")


if __name__ == "__main__":
    main(sys.argv[1:])
