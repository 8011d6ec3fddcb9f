"""Chain values in the JSON forms that validators serve."""
