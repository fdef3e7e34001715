"""Fixtures that every test may use."""

import signal

from hypothesis import settings

pytest_plugins = ["tests.corpora", "tests.lab.fixtures"]

# A shell that starts the tests in the background (`make test &`) has them ignore Ctrl-C, and whatever they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline says something of time, and fails where the machine has other work.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
