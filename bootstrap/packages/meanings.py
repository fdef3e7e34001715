"""What exit codes and words of apt, dnf, yum and zypper mean. Pure; the words are those of the C locale.

Sources: zypper(8) "EXIT CODES"; apt-get(8): 100 on error; dnf(8): 1 on error, 200 when a lock could not be taken;
the words were seen from the real clients (tests/distros/outputs holds the captures).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bootstrap.packages.base import SUCCESS, Cause, Kind, Meaning, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

_WAIT = "wait for it to end, or end it, then run this again"
_SPACE = "free some space, then run this again"
_SOURCES = "look at the repositories and the network, then run this again"
_NAME = "look for its name in this distro, or install it by hand"


_NO_REPOSITORIES = Meaning("retry", "repositories", "no repository is set up", _SOURCES)


@dataclass(frozen=True, slots=True)
class _Sign:
    """Words that tell a cause. The first sign that fits counts."""

    meaning: Meaning
    words: tuple[str, ...]


_SIGNS = (
    _Sign(
        Meaning("error", "disk", "no space left on the disk", _SPACE),
        (
            "No space left on device",
            r"needs [0-9]+ *[KMG]i?B more space",
            "don.t have enough free space",
            "more space needed on",
        ),
    ),
    _Sign(
        Meaning("error", "rights", "not allowed without root's rights", "run it as root"),
        (r"are you root\?", "superuser privileges", "Root privileges are required", "must be root"),
    ),
    _Sign(
        Meaning("retry", "locked", "another process holds the package manager's lock", _WAIT),
        (
            "Could not get lock",
            "Unable to acquire the dpkg frontend lock",
            "Unable to lock (the administration )?directory",
            "already locked by",
            "System management is locked",
            "another copy is running",
            "existing lock .*: another",
            "[Ff]ailed to obtain .*lock",
        ),
    ),
    _Sign(
        Meaning("retry", "interrupted", "an earlier run of dpkg was cut off", "dpkg --configure -a"),
        ("dpkg was interrupted",),
    ),
    _Sign(
        _NO_REPOSITORIES,
        ("There are no enabled repo", "No repositories defined", "without at least one repository"),
    ),
    _Sign(
        Meaning("error", "missing", "no repository has it", _NAME),
        (
            "Unable to locate package",
            "has no installation candidate",
            "No match for argument",
            "Unable to find a match",
            "No provider of .* found",
            "not found in package names",
            "Couldn.t find any package by",
            "No package .* available",
        ),
    ),
    _Sign(
        Meaning("retry", "network", "a repository does not answer", _SOURCES),
        (
            "Failed to download metadata",
            "Cannot download repomd",
            "Cannot prepare internal mirrorlist",
            "Cannot retrieve metalink",
            "Failed to fetch",
            "Unable to fetch some archives",
            "repositories have not been refreshed",
            "Valid metadata not found",
            "Error downloading packages",
            "Librepo error",
            "Curl error",
            r"Download \(curl\) error",
            "File .* not found on medium",
            "Timeout exceeded when accessing",
            "Temporary failure resolving",
            "Could not resolve host",
            "Connection (timed out|refused)",
        ),
    ),
    _Sign(
        Meaning("error", "conflict", "the packages cannot be installed together", "see the log for what conflicts"),
        ("conflicts with", "conflicting requests", "nothing provides", "unmet dependencies", "Problem: "),
    ),
)

_ZYPPER: dict[int, tuple[Verdict, Cause, str, str]] = {
    4: ("retry", "network", "libzypp failed", _SOURCES),
    5: ("error", "rights", "not allowed without root's rights", "run it as root"),
    6: ("retry", "repositories", "no repository is set up", "on SUSE: registercloudguest --force-new"),
    7: ("retry", "locked", "another process holds the package manager's lock", _WAIT),
    8: ("retry", "interrupted", "the transaction could not be committed", _SOURCES),
    104: ("error", "missing", "no repository has it", _NAME),
    106: ("warn", "network", "a repository was skipped", ""),
    107: ("warn", "", "a package was installed but one of its scripts failed", ""),
}
_ZYPPER_SUCCESS = (0, 102, 103)  # 102: a reboot is advised; 103: zypper itself was updated

_NAMES = re.compile(
    r"Unable to locate package (\S+)|Package '?([^\s']+)'? has no installation candidate|No match for argument: (\S+)"
    r"|No provider of '([^']+)' found|'([^']+)' not found in package names|Couldn't find any package by \w+ '([^']+)'"
    r"|No package (\S+) available"
)
_APT_ANSWER = re.compile(r"^(Get|Hit):\d", re.MULTILINE)
_APT_REFUSES = re.compile(r"^E: The repository .* (ha(s|ve) a Release file|is not signed)", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def signs() -> dict[str, tuple[str, ...]]:
    """Return cause → words, in the order in which they are looked for: extended regular expressions of grep, too."""
    return {sign.meaning.cause: sign.words for sign in _SIGNS}


def meaning(kind: Kind, argv: Sequence[str], exit_code: int, output: str) -> Meaning:
    """Say what a command's end means. `output` is what it wrote, both streams together."""
    text = _COLOUR.sub("", output)
    if exit_code in (137, -9):
        message = "the package manager was killed: most likely the machine ran out of memory"
        return Meaning("error", "killed", message, "use a machine with more memory, or add swap")
    if exit_code == 124:
        return Meaning("error", "time", "the package manager did not end in its time", _SOURCES)
    if kind == "zypper":
        return _zypper(exit_code, text)
    if exit_code == 0:
        return _quiet_success(argv, text)
    if exit_code == 200 and kind == "dnf4":
        return Meaning("retry", "locked", "another process holds the package manager's lock", _WAIT)
    words = _by_words(text)
    if _APT_REFUSES.search(text) and _APT_ANSWER.search(text) and (not words or words.cause == "network"):
        words = Meaning("warn", "network", "a repository has no signed Release file", _SOURCES)
    return words or Meaning("error", "", _last_words(text, exit_code), "see the log")


def _quiet_success(argv: Sequence[str], text: str) -> Meaning:
    """Judge exit code 0 of apt and dnf: both read no repository at all without complaint."""
    if argv[0].endswith("apt-get") and "update" in argv:
        return _apt_update(text)
    return _dnf_makecache(text) if "makecache" in argv else SUCCESS


def _dnf_makecache(text: str) -> Meaning:
    """Judge `makecache`, which in dnf 5 ends with 0 though no repository has answered."""
    if "no enabled repositories" in text:
        return _NO_REPOSITORIES
    if "Usable URL not found" not in text:
        return SUCCESS
    if re.search(r" 100% \|", text):
        return Meaning("warn", "network", "a repository does not answer", _SOURCES)
    return Meaning("retry", "network", "no repository answers", _SOURCES)


def _zypper(exit_code: int, text: str) -> Meaning:
    if exit_code in _ZYPPER_SUCCESS:
        return SUCCESS
    if exit_code == 104 and "No repositories defined" in text:
        exit_code = 6
    if exit_code == 4 and re.search(r"^Some of the repositories have not been refreshed", text, re.MULTILINE):
        exit_code = 106  # the others were; "Could not refresh the repositories" says that none was
    words = _by_words(text)
    if exit_code in (1, 4, 8) and words and words.cause in ("disk", "rights", "conflict", "network"):
        return words
    if exit_code not in _ZYPPER:
        return words or Meaning("error", "", _last_words(text, exit_code), "see the log")
    verdict, cause, message, remedy = _ZYPPER[exit_code]
    return Meaning(verdict, cause, message, remedy, missing=_missing(text) if cause == "missing" else ())


def _apt_update(text: str) -> Meaning:
    """Judge `apt-get update`, which ends with 0 though a repository, or every one, has not answered."""
    if not _APT_ANSWER.search(text):
        failed = re.search(r"^(Err|Ign):\d", text, re.MULTILINE)
        if failed:
            return Meaning("retry", "network", "no repository answers", _SOURCES)
        return _NO_REPOSITORIES
    if re.search(r"^Err:\d|Some index files failed to download", text, re.MULTILINE):
        return Meaning("warn", "network", "a repository does not answer", _SOURCES)
    return SUCCESS


def _by_words(text: str) -> Meaning | None:
    for sign in _SIGNS:
        if any(re.search(words, text) for words in sign.words):
            return replace(sign.meaning, missing=_missing(text)) if sign.meaning.cause == "missing" else sign.meaning
    return None


def _missing(text: str) -> tuple[str, ...]:
    names = [next(group for group in match.groups() if group) for match in _NAMES.finditer(text)]
    return tuple(dict.fromkeys(names))


def _last_words(text: str, exit_code: int) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(E|Error|error|ERROR)\b:?", line)]
    said = (errors or lines or [""])[-1]
    return f"exit code {exit_code}" + (f": {said[:200]}" if said else "")
