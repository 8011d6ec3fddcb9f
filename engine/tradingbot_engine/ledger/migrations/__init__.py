"""How a ledger of any older revision becomes one of the newest; see `ledger.migrate`."""
