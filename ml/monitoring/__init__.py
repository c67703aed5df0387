"""Watches what is published: drift against the training window, quality against what was then bought."""
