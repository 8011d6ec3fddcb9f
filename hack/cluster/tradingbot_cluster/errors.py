"""Errors, named for what the caller does next; each text says what to do."""

from __future__ import annotations


class ClusterError(Exception):
    """Base of every error that ends a command with one line."""

    exit_code = 1


class Missing(ClusterError):
    """Install or provide what the text names, then try again."""

    exit_code = 3


class NotRunning(ClusterError):
    """There is no such cluster: start it first."""

    exit_code = 4


class Failed(ClusterError):
    """A step failed; the text ends with the last lines of what it printed and names its log."""
