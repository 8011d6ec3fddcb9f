"""What a bot becomes on a cluster: pure functions from its spec to Kubernetes objects, one file per kind."""
