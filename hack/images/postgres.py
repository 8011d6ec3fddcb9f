"""A small PostgreSQL for e2e, from Debian's own package: one database, trust inside the pod's network, no volume."""

from __future__ import annotations

from pathlib import Path

from images.base import Recipe, tarball
from images.prove import Trial, prove
from images.store import Store

RECIPE = Recipe(
    ("usr-is-merged", "ca-certificates", "postgresql-15"),
    left_out=(
        "/usr/lib/*/libLLVM*", "/usr/lib/*/libz3*", "/usr/lib/postgresql/15/lib/llvmjit*",
        "/usr/lib/postgresql/15/lib/bitcode/*", "/usr/share/i18n/*",
    ),
    removed="usr/share/perl usr/lib/*/perl var/lib/postgresql/15",
)  # fmt: skip
"""Without the compiler of queries (220 MB, for reports over millions of rows) and the cluster that the package makes."""
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


TRY = """\
export PGDATA=/tmp/data POSTGRES_PASSWORD=try PGPASSWORD=try
start-postgres >/tmp/log 2>&1 & server=$!
for _ in $(seq 150); do
  found=$(psql --host=/tmp --username=postgres --tuples-only --no-align --command='show server_version_num' 2>/dev/null) && break
  sleep 0.2
done
kill "$server"; wait "$server" || true
echo "answers as $found"; cat /tmp/log >&2
"""
"""Starts the server as a pod does, asks it by its password, and stops it."""


def trial() -> Trial:
    """Return what the image must be able to do."""
    return Trial(("sh", "-c", TRY), "answers as 15")


def user_of(passwd: str) -> str:
    """Return uid:gid of the account postgres: in figures, or a pod that must not be root refuses the image."""
    fields = next(line.split(":") for line in passwd.splitlines() if line.startswith("postgres:"))
    return f"{fields[2]}:{fields[3]}"


def make(store: Store, cache: Path, name: str) -> str:
    """
    Make the image, try it, and return its id.

    Raises:
        ImageError: mmdebstrap or buildah is missing or failed.
    """
    archive = tarball(cache, RECIPE)
    script = store.folder / "start-postgres"
    store.folder.mkdir(parents=True, exist_ok=True)
    script.write_text(START)
    script.chmod(0o755)
    container = store.run("from", "scratch")
    store.run("add", "--quiet", container, str(archive), "/")
    store.run("copy", "--quiet", "--chmod=0755", container, str(script), "/usr/local/bin/start-postgres")
    user = user_of((Path(store.run("mount", container)) / "etc/passwd").read_text())
    store.run("unmount", container)
    store.run(
        "config", "--entrypoint", '["start-postgres"]', "--user", user, "--port", "5432",
        "--env", "PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/bin:/bin", "--env", "LANG=C.UTF-8", container,
    )  # fmt: skip
    image_id = store.run("commit", "--quiet", "--rm", "--timestamp=0", container, name)
    prove(store, name, [trial()], user=user)
    return image_id
