"""The market of localnet: tokens, pools, traders that move them, their history, and the APIs that quote them."""
