"""Whether groups of customers are served alike."""
