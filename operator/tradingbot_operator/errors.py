"""What went wrong, named for what the person who typed the command does next."""


class UserError(Exception):
    """Shown as one line, without a traceback; the command ends with `exit_code`."""

    exit_code = 1


class BadInput(UserError):
    """The command, a manifest or a file is wrong: put it right and try again."""

    exit_code = 2


class Failed(UserError):
    """It was right, and yet it did not work; the text says where to look."""

    exit_code = 1


class LeftOpen(Failed):
    """It failed while trades were open: they are journalled, and only the next run, or a person, brings them to their end."""

    exit_code = 3
