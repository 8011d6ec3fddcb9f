"""
The pods' network of our node image, one process on each node: addresses and routes for pods, and NetworkPolicies enforced.

It runs inside a node with nothing but Python's standard library, `ip`, `nft` and the kubelet's own credentials.
"""
