"""`kubectl-tradingbot`, found by kubectl on PATH; `kubectl_complete-tradingbot` completes its command line."""

from tradingbot_operator.commands.kubectl.cli import main

if __name__ == "__main__":
    main(prog_name="kubectl tradingbot")
