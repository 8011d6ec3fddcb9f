"""A PostgreSQL for one namespace's bots: a pod that forgets everything with its end, a Service, and the address in a Secret."""

from __future__ import annotations

from e2e.bot import Bot, manifest
from e2e.kube import Json, Kube, wait_for

NAME, SECRET, KEY = "database", "database-url", "url"
PASSWORD = "of-a-trial"
LABELS = {"app": NAME}


def url(kube: Kube) -> str:
    """Return its address within the cluster."""
    return f"postgresql://postgres:{PASSWORD}@{NAME}.{kube.namespace}.svc:5432/postgres"


def begin(kube: Kube, *, image: str, secret: bool = True) -> None:
    """Start it and wait until it answers; without `secret` nobody is told its address."""
    kube.apply(_pod(image), _service())
    if secret:
        kube.apply(address(kube))
    ask = (
        "exec",
        f"pod/{NAME}",
        "--",
        "env",
        f"PGPASSWORD={PASSWORD}",
        "psql",
        "--host=/tmp",
        "--username=postgres",
        "--command=SELECT 1",
    )
    wait_for("the database", lambda: bool(kube.run(*ask)))


def address(kube: Kube) -> Json:
    """Return the Secret with its address."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {KEY: url(kube)}}


def bot_on_it(kube: Kube, name: str = "first-bot") -> Bot:
    """Apply the sample with its ledger in that database."""
    bot = Bot(kube, name)
    kube.apply(manifest(name, ledger={"urlFrom": {"secretKeyRef": {"name": SECRET, "key": KEY}}}))
    return bot


def _pod(image: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "labels": LABELS},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "containers": [
                {
                    "name": "postgres",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "env": [{"name": "POSTGRES_PASSWORD", "value": PASSWORD}],
                    "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql"}],
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }


def _service() -> Json:
    spec = {"selector": LABELS, "ports": [{"port": 5432}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": spec}
