"""Fixtures that every test may use."""

pytest_plugins = ["tests.corpora", "tests.lab.fixtures"]
