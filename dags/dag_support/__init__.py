"""What the DAGs share: one place for defaults, tags, assets, the shop's days and what happens on failure."""
