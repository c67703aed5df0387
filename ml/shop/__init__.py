"""The shop contract and the sources that fill it."""
