"""The kinds of objects that the operator reads or writes, and where the API server keeps them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of a namespaced object."""

    name: str
    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL's path of an object, or of all objects of a namespace or (None or empty) of the cluster."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        parts += ["namespaces", namespace] if namespace else []
        parts += [part for part in (self.plural, name, subresource) if part is not None]
        return "/".join(parts)


TRADING_BOT = Kind("TradingBot", "tradingbot.dev", "v1alpha1", "tradingbots")
DEPLOYMENT = Kind("Deployment", "apps", "v1", "deployments")
SERVICE_ACCOUNT = Kind("ServiceAccount", "", "v1", "serviceaccounts")
ROLE = Kind("Role", "rbac.authorization.k8s.io", "v1", "roles")
ROLE_BINDING = Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings")
CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
SERVICE = Kind("Service", "", "v1", "services")
BUDGET = Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets")
NETWORK_POLICY = Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies")
CLAIM = Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims")
SECRET = Kind("Secret", "", "v1", "secrets")
JOB = Kind("Job", "batch", "v1", "jobs")
POD = Kind("Pod", "", "v1", "pods")
LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")
EVENT = Kind("Event", "", "v1", "events")
NAMESPACE = Kind("Namespace", "", "v1", "namespaces")
"""Of the cluster: its path takes no namespace."""

WRITTEN = (
    SERVICE_ACCOUNT, ROLE, ROLE_BINDING, CONFIG_MAP, SERVICE, BUDGET, NETWORK_POLICY, CLAIM, SECRET, DEPLOYMENT, JOB,
)  # fmt: skip
"""What a bot becomes; SECRET is read by name only, never listed or watched: the operator sees no secret that it needs not."""
WATCHED = (*(kind for kind in WRITTEN if kind is not SECRET), POD)
"""Children whose changes wake their bot; pods are read and never written."""
BY_NAME = {kind.name: kind for kind in (TRADING_BOT, *WRITTEN, POD, LEASE, EVENT)}
