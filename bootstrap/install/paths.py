"""Every path that the install makes or reads, in one place: the prefix is root's, the home the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_PREFIX = Path("/opt/charrnn")
LINKS = Path("/usr/local/bin")
PROGRAMS = ("charrnn", "charrnn-bootstrap")
LOCK = Path("/run/charrnn-bootstrap.lock")


@dataclass(frozen=True, slots=True)
class Prefix:
    """The stack: read-only for everyone but root."""

    root: Path = DEFAULT_PREFIX

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / "venv"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.venv / "bin" / "python"

    @property
    def uv(self) -> Path:
        """The installer of the packages."""
        return self.venv / "bin" / "uv"

    @property
    def state(self) -> Path:
        """One small file a finished step, and `.working` while one is under way: how a cut run is told from a whole."""
        return self.root / "state"

    @property
    def cache(self) -> Path:
        """The cache of uv, on the same file system so that files are linked and not copied. Gone at the end."""
        return self.root / "cache"

    @property
    def tmp(self) -> Path:
        """For temporary files: /tmp is in memory on some distros, and wheels are large. Gone at the end."""
        return self.root / "tmp"

    @property
    def log(self) -> Path:
        """A log for each run."""
        return self.root / "log"

    @property
    def events(self) -> Path:
        """The last run's stream of events."""
        return self.root / "events.jsonl"

    @property
    def receipt(self) -> Path:
        """What was installed, and how long it took. `uninstall` goes by it."""
        return self.root / "receipt.json"

    @property
    def corpora(self) -> Path:
        """The texts fetched at install, for every user."""
        return self.root / "corpora"

    @property
    def threads(self) -> Path:
        """What the machine was measured to do best."""
        return self.root / "threads.json"

    @property
    def swapfile(self) -> Path:
        """Made on hosts with little memory."""
        return self.root / "swapfile"


@dataclass(frozen=True, slots=True)
class Home:
    """What belongs to the user who called: sessions and checkpoints."""

    home: Path

    @property
    def root(self) -> Path:
        """The folder that training runs in, so that `charrnn sample` there finds `./cv`."""
        return self.home / "charrnn"

    @property
    def checkpoints(self) -> Path:
        """The checkpoints."""
        return self.root / "cv"

    @property
    def sessions(self) -> Path:
        """A folder for each detached session."""
        return self.root / "sessions"

    @property
    def events(self) -> Path:
        """The stream of events of the user's last first-checkpoint run."""
        return self.root / "events.jsonl"
