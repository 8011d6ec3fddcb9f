"""`python hack/cluster …`: see `--help`, and docs/cluster.md."""

from tradingbot_cluster.cli import main

if __name__ == "__main__":
    main(prog_name="hack/cluster")
