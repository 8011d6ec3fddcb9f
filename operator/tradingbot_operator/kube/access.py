"""How to reach the API server: a kubeconfig, or the ServiceAccount of the pod."""

import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

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
    found = await _configuration(kubeconfig, context)
    # Left to itself the client reads ~/.netrc and the environment's proxies for every single request, in a thread; and what a
    # netrc says of the host is an error beside the token.
    found.client_session_kwargs = {"trust_env": False}
    found.proxy = found.proxy or _proxy(found.host)
    return found


def _proxy(url: str) -> str | None:
    """Return the environment's proxy for a URL."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


async def _configuration(kubeconfig: str | None, context: str | None) -> Configuration:
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
        proxy_url=found.proxy,
    )
