"""What the operator tells engines: their settings, rendered from a manifest, on a laptop and in a pod alike."""
