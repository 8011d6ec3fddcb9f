"""`kubectl tradingbot`: what a person asks of bots on a cluster, through the kubectl that is there."""
