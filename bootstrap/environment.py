"""The environment that other programs get from us, so that they do and say the same on everybody's machine.

What a person's own settings do to a tool (its language, its options, where Python looks for modules) may end an
install, or have us misread what was said. So a list says what is handed on: what a login gives, and what says where
things come from or how they are reached. `bootstrap.sh` has the same list, in its generated block; through sudo and
without it the same variables count.

Everything else is left out, LANGUAGE too: gettext obeys it over LC_ALL, unless that is plain `C`; Python's gettext,
which dnf has, even then.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bootstrap.install.pip_settings import CERTIFICATES, SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGIN = (
    "PATH|HOME|USER|LOGNAME|SHELL|TERM|COLORTERM|COLUMNS|LINES|TMPDIR|SUDO_.*|SSH_AUTH_SOCK|XDG_CONFIG_HOME"
    "|XDG_CONFIG_DIRS"
)
"""What a login gives a process. (SSH_AUTH_SOCK: some sudo ask an agent.)"""

_PIP = "|".join(("CONFIG_FILE", *(name.upper().replace("-", "_") for name in SOURCES)))
_UV = (
    "DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_STRATEGY|INDEX_.*_(USERNAME|PASSWORD)|FIND_LINKS|INSECURE_HOST"
    "|KEYRING_PROVIDER|CREDENTIALS_DIR|OFFLINE|NATIVE_TLS|SYSTEM_CERTS|HTTP_TIMEOUT|HTTP_CONNECT_TIMEOUT|HTTP_RETRIES"
    "|REQUEST_TIMEOUT|CONCURRENT_DOWNLOADS|PYTHON_INSTALL_MIRROR|PYTHON_DOWNLOADS_JSON_URL"
)
SETTINGS = (
    f"CHARRNN_.*|PIP_({_PIP})|UV_({_UV})"
    "|(http|https|ftp|all|no)_proxy|(HTTP|HTTPS|FTP|ALL|NO)_PROXY"
    "|SSL_CERT_FILE|SSL_CERT_DIR|SSL_CLIENT_CERT|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC"
    "|APT_CONFIG|DNF[0-9]|DNF_VAR_.*|YUM[0-9]|CC|NO_COLOR|TZ"
)
"""What a person may have set for us: where packages come from, how that is reached, and which compiler there is."""

OVER_SSH = ("env", "-u", "LANGUAGE", "LC_ALL=C.UTF-8")
"""What begins each command on a host: a login there may set a language. In UTF-8, for the user's own data."""

_KEPT = re.compile(f"{LOGIN}|{SETTINGS}")
_OTHER_WAYS = re.compile(
    "LANGUAGE|PYTHON(HOME|PATH|STARTUP|USERBASE|NOUSERSITE|OPTIMIZE|SAFEPATH|IOENCODING|UTF8|PLATLIBDIR)|VIRTUAL_ENV"
    "|BASH_ENV|ENV|POSIXLY_CORRECT|SHELLOPTS|BASHOPTS|TMUX|TMUX_TMPDIR|STY|SCREENDIR"
)


def plain(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a tool gets whose words and exit code are read: plain English, and nothing of a person's habits.

    A Python under LC_ALL=C works in UTF-8 all the same (PEP 540). Certificates that only some of the tools would find
    under the name they are given by are told to the others, too.
    """
    kept = {name: value for name, value in environ.items() if _KEPT.fullmatch(name)} | {"LC_ALL": "C"}
    if certificates := next((kept[name] for name in CERTIFICATES if kept.get(name)), ""):
        kept["SSL_CERT_FILE"] = certificates
    return kept


def for_commands(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a user's own commands on this machine get: all of it, in English, for their ends are judged, too.

    In UTF-8, for their own data. Not what is set for another Python than theirs, and nothing of the tmux or screen that
    this may run in: our sessions are found at their usual place.
    """
    return {name: value for name, value in environ.items() if not _OTHER_WAYS.fullmatch(name)} | {"LC_ALL": "C.UTF-8"}
