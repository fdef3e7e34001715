"""Recipes of what is done on a host, in order: read from YAML, checked, then run through a host's small protocol."""
