"""The shell around the plan: watches wake bots, a pass observes, plans, applies and reports."""
