"""A small PostgreSQL for e2e, from Debian's own package: one database, trust inside the pod's network, no volume."""

from __future__ import annotations

from pathlib import Path

from images.base import tarball
from images.store import Store

PACKAGES = ("usr-is-merged", "ca-certificates", "postgresql-15")
START = """\
#!/bin/sh
# Makes the data folder on the first start, then becomes the server. POSTGRES_PASSWORD is asked for by every client.
set -eu
bin=/usr/lib/postgresql/15/bin data=${PGDATA:-/var/lib/postgresql/data}
: "${POSTGRES_PASSWORD:?set it: clients give it}"
if [ ! -s "$data/PG_VERSION" ]; then
  umask 077
  printf '%s\\n' "$POSTGRES_PASSWORD" >/tmp/password
  "$bin/initdb" --pgdata="$data" --username=postgres --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 --no-locale
  rm /tmp/password
  printf 'host all all all scram-sha-256\\n' >>"$data/pg_hba.conf"
fi
exec "$bin/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
"""


def make(store: Store, cache: Path, name: str) -> str:
    """
    Make the image and return its id.

    Raises:
        ImageError: mmdebstrap or buildah is missing or failed.
    """
    archive = tarball(cache, PACKAGES)
    script = store.folder / "start-postgres"
    store.folder.mkdir(parents=True, exist_ok=True)
    script.write_text(START)
    script.chmod(0o755)
    container = store.run("from", "scratch")
    store.run("add", "--quiet", container, str(archive), "/")
    store.run("copy", "--quiet", "--chmod=0755", container, str(script), "/usr/local/bin/start-postgres")
    store.run(
        "config", "--entrypoint", '["start-postgres"]', "--user", "postgres", "--port", "5432",
        "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/lib/postgresql/15/bin", "--env", "LANG=C.UTF-8", container,
    )  # fmt: skip
    return store.run("commit", "--quiet", "--rm", "--timestamp=0", container, name)
