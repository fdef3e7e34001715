"""Sessions and ledgers belong to the user who called `sudo`, and so do the commands that look for them."""

from __future__ import annotations

import os
from typing import TypeVar

from bootstrap.errors import BootstrapError

_E = TypeVar("_E", bound=BootstrapError)


def without_sudo(error: _E) -> _E:
    """Give what was not found another remedy, where root looked among its own things for a user's."""
    user = os.environ.get("SUDO_USER", "root")
    if os.geteuid() == 0 and user != "root":
        error.remedy = f"run it as {user}, without sudo: what {user} started is not root's"
    return error
