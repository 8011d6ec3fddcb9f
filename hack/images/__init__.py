"""Build the project's container images: by Docker where it reaches a registry, else by buildah on a base of Debian packages."""
