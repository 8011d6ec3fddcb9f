"""`tradingbot init`: a commented manifest to start from."""

import os
from importlib.resources import files
from pathlib import Path

from tradingbot_operator.errors import BadInput, Failed


def sample() -> str:
    """Return the commented sample that ships with the package."""
    return files("tradingbot_operator").joinpath("samples/bot.yaml").read_text(encoding="utf-8")


def init(file: str) -> None:
    """
    Write the sample; an existing file is never touched.

    Raises:
        BadInput: The file exists, or its directory does not.
        Failed: It cannot be written.
    """
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise BadInput(f"{file} exists and is left as it is: name another file (`tradingbot init FILE`)") from None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise BadInput(f"{file} cannot be written: there is no directory {Path(file).parent}") from None
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(sample())
