{{- /*
What the operator may do in the namespaces that it looks after. A test takes each right away and sees what it was for.
It grants its bots no more than it has: `get` on pods and all of leases stand here because an engine's own Role holds them.
*/ -}}
{{- define "operator.rules" -}}
# The resource: its spec read, the finalizer set, the status reported.
- apiGroups: [tradingbot.dev]
  resources: [tradingbots]
  verbs: [list, watch, patch]
- apiGroups: [tradingbot.dev]
  resources: [tradingbots/status]
  verbs: [patch]
# Children name their bot as the owner that blocks deletion, which some API servers check.
- apiGroups: [tradingbot.dev]
  resources: [tradingbots/finalizers]
  verbs: [update]
# What a bot becomes. Server-side apply is a patch, and a create where nothing is there yet.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
# Never deleted: a ledger may be in it.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, create, patch]
# These go with their bot.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [list, watch, create, patch]
# By name alone: whether those that a manifest names are there, and the tokens of admin ports. Never listed or watched, never changed.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, delete]
# Why a pod does not start.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Of the bots' members: see them, renew them.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, update]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{- /* In its own namespace: the Lease by which a second operator, started by mistake, changes nothing. */ -}}
{{- define "operator.own-rules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [tradingbot-operator]
  verbs: [get, update]
{{- end }}

{{- /* Of the cluster: the uid of one namespace, by which clusters are told apart. */ -}}
{{- define "operator.cluster-rules" -}}
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [kube-system]
  verbs: [get]
{{- end }}
