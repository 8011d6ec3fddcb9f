"""How to reach the API server: a kubeconfig, or the ServiceAccount of the pod."""

import os
from pathlib import Path

import kopf
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from tradingbot_operator.errors import BadInput


async def configuration(*, kubeconfig: str | None = None, context: str | None = None) -> Configuration:
    """
    Return the client's configuration: the named kubeconfig, else the pod's ServiceAccount, else the user's kubeconfig.

    Raises:
        BadInput: There is none, or it is wrong.
    """
    found = Configuration()
    if kubeconfig is None and context is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
        try:
            load_incluster_config(client_configuration=found)
        except ConfigException as error:
            raise BadInput(f"the pod's ServiceAccount cannot be used: {error}") from None
        return found
    path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    try:
        await load_kube_config(config_file=path, context=context, client_configuration=found, persist_config=False)
    except (ConfigException, OSError, ValueError) as error:
        raise BadInput(
            f"no cluster can be reached by {path}: {error}; name one with --kubeconfig and --context"
        ) from None
    return found


async def kopf_login(found: Configuration) -> kopf.ConnectionInfo:
    """Return the same access for kopf's watches; called again when a token was refused."""
    auth = (await found.auth_settings()).get("BearerToken")
    scheme, _, token = str(auth["value"]).rpartition(" ") if auth else ("", "", "")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        scheme=(scheme or "Bearer").capitalize() if token else None,
        token=token or None,
    )
