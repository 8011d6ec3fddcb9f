"""Reading manifests: files and standard input, YAML and JSON, with the line of every value."""
