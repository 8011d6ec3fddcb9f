"""A real Kubernetes for tests and trials: kind on any Linux machine, with whatever the machine lacks supplied."""
