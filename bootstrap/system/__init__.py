"""What is this machine? Pure readers over a root folder; nothing is run and nothing is changed."""

from bootstrap.system.facts import Facts, read
from bootstrap.system.os_release import OsRelease

__all__ = ["Facts", "OsRelease", "read"]
