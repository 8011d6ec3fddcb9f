"""The engine's subcommands, one file each."""
