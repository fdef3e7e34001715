"""Hosts on EC2: planned, created, found by their tags, and removed."""
