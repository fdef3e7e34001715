"""The host's pip settings, handed on to uv, which does not read them: a mirror set up for pip serves both.

The settings are what `pip config list` prints, a line each (`global.index-url='https://…'`,
`:env:.find-links='/srv/wheels'`): those of the files already merged, those of PIP_* variables apart.

Only those of `SOURCES` count: where packages come from. Where to and how they are installed (`user`, `target`,
`require-hashes`, `no-binary`, `constraint`, …) is meant for other environments: in the one that we make, it is ours
to say, and the versions are pinned.
"""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from pathlib import Path

SOURCES = (
    "index-url",
    "pypi-url",  # another spelling of it
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
    "keyring-provider",
    "use-feature",  # truststore: the system's certificates, to a pip that does not take them by itself
    "use-deprecated",
)
"""The settings that say where packages come from, and how that is reached."""

LISTING = ("config", "list")
LISTING_ENVIRONMENT = {"PIP_USER": "0", "PIP_SITE": "0", "PIP_GLOBAL": "0", "PIP_QUIET": "0", "PIP_LOG": os.devnull}
"""`pip config list` obeys the settings that it lists: `user = true` hides all files but one, `quiet` all of them."""

CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of certificates: pip takes the last two, uv the first alone."""

_SECTIONS = ("global", "install", ":env:")  # the later wins


@dataclass(frozen=True, slots=True)
class PipSettings:
    """Where this host's pip takes packages from. Empty: pypi.org."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    timeout: str = ""
    retries: str = ""
    no_index: bool = False

    @property
    def names_a_source(self) -> bool:
        """Whether somebody configured where packages come from."""
        return bool(self.index_url or self.extra_index_urls or self.find_links or self.no_index)

    def sources(self) -> list[str]:
        """Return the places in words, for messages. Credentials are left out."""
        index = [] if self.no_index else [self.index_url or "https://pypi.org/simple"]
        return [without_credentials(place) for place in (*self.find_links, *index, *self.extra_index_urls)]

    def uv_arguments(self) -> list[str]:
        """Return uv's options for the same places; the places themselves are in `uv_environment`.

        pip takes the best version of all its indexes, uv by default only looks into the first that has the package.
        """
        if self.no_index:
            return ["--no-index"]
        return ["--index-strategy", "unsafe-best-match"] if self.extra_index_urls else []

    def uv_environment(self, *, index: str | None = None) -> dict[str, str]:
        """Return uv's variables: places, certificates, proxy, trust, patience; `index` replaces all the places.

        A place's URL may hold a password, and everybody can list the arguments of a process.
        Without a certificate file of pip's, uv trusts what the system trusts: a company's proxy is known there.
        """
        environment = {"SSL_CERT_FILE": self.cert} if self.cert else {"UV_SYSTEM_CERTS": "1"}
        if index is not None:
            environment["UV_DEFAULT_INDEX"] = index
        else:
            places = {"UV_FIND_LINKS": ",".join(map(_without_comma, self.find_links))}
            if not self.no_index:
                places |= {"UV_DEFAULT_INDEX": self.index_url, "UV_INDEX": " ".join(self.extra_index_urls)}
            environment |= {name: value for name, value in places.items() if value}
        if self.client_cert:
            environment["SSL_CLIENT_CERT"] = self.client_cert
        if self.proxy:
            environment |= {"HTTP_PROXY": self.proxy, "HTTPS_PROXY": self.proxy}
        if self.trusted_hosts:
            environment["UV_INSECURE_HOST"] = " ".join(self.trusted_hosts)
        if self.timeout.isdigit():
            environment["UV_HTTP_TIMEOUT"] = self.timeout
        if self.retries.isdigit():
            environment["UV_HTTP_RETRIES"] = self.retries
        return environment


def _without_comma(place: str) -> str:
    """Write a folder or a URL so that uv, whose list is split at commas, takes it for one."""
    if "," not in place:
        return place
    return place.replace(",", "%2C") if "://" in place else Path(place).absolute().as_uri()


def sources(listing: str) -> dict[str, str]:
    """Read the settings of `SOURCES` from what `pip config list` printed; empty values count as unset."""
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listing.splitlines():
        name, equals, quoted = line.partition("=")
        section, _, key = name.strip().rpartition(".")
        key = key.replace("_", "-")
        if equals and section in sections and key in SOURCES:
            try:
                value = str(ast.literal_eval(quoted))
            except (ValueError, SyntaxError):
                continue
            if value:
                sections[section][key] = value
    return {key: value for section in _SECTIONS for key, value in sections[section].items()}


def pip_environment(listing: str) -> dict[str, str]:
    """Return the variables by which pip takes these settings and no others, whatever its files say."""
    named = {f"PIP_{key.upper().replace('-', '_')}": value for key, value in sources(listing).items()}
    return {"PIP_CONFIG_FILE": os.devnull, **named}


def parse(listing: str) -> PipSettings:
    """Read the settings that count from what `pip config list` printed."""
    values = sources(listing)
    words = {key: tuple(value.split()) for key, value in values.items()}
    return PipSettings(
        index_url=values.get("index-url", values.get("pypi-url", "")),
        extra_index_urls=words.get("extra-index-url", ()),
        find_links=words.get("find-links", ()),
        trusted_hosts=words.get("trusted-host", ()),
        cert=values.get("cert", ""),
        client_cert=values.get("client-cert", ""),
        proxy=values.get("proxy", ""),
        timeout=values.get("timeout", values.get("default-timeout", "")),
        retries=values.get("retries", ""),
        no_index=values.get("no-index", "").lower() in ("1", "true", "yes", "on"),
    )


def without_credentials(url: str) -> str:
    """Return a URL without its user and password."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else url
