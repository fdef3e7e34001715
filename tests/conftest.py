"""Fixtures that every test may use."""

import signal

pytest_plugins = ["tests.corpora", "tests.lab.fixtures"]

# A shell that starts the tests in the background (`make test &`) has them ignore Ctrl-C, and whatever they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)
