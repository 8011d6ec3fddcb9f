"""Generate what the Helm charts state twice: values, their schema and their reference from one model, CRDs from crds/."""
