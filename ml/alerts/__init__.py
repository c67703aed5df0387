"""Speaks to operators: incidents, and the alerts that tell of them."""
