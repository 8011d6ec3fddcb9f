"""
Volumes of our node image, one process on each node: a directory of the node for each claim that the scheduler placed on it.

It runs inside a node with nothing but Python's standard library and the kubelet's own credentials.
"""
