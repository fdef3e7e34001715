"""The host's pip settings, handed on to uv, which does not read them: a mirror set up for pip serves both.

The settings are what `pip config list` prints, a line each (`global.index-url='https://…'`,
`:env:.find-links='/srv/wheels'`): those of the files already merged, those of PIP_* variables apart.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

_SECTIONS = ("global", "install", ":env:")  # the later wins


@dataclass(frozen=True, slots=True)
class PipSettings:
    """Where this host's pip takes packages from. Empty: pypi.org."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    cert: str = ""
    proxy: str = ""
    timeout: str = ""
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
        """Return uv's options for the same places, the indexes apart: `uv_environment` has those.

        pip takes the best version of all its indexes, uv by default only looks into the first that has the package.
        """
        arguments = [f"--find-links={place}" for place in self.find_links]
        if self.no_index:
            return [*arguments, "--no-index"]
        if self.extra_index_urls:
            arguments += ["--index-strategy", "unsafe-best-match"]
        return arguments

    def uv_environment(self, *, index: str | None = None) -> dict[str, str]:
        """Return uv's variables: indexes, certificates, proxy, trust, patience; `index` replaces all indexes.

        An index's URL may hold a password, and everybody can list the arguments of a process.
        Without a certificate file of pip's, uv trusts what the system trusts: a company's proxy is known there.
        """
        environment = {"SSL_CERT_FILE": self.cert} if self.cert else {"UV_SYSTEM_CERTS": "1"}
        if index is not None:
            environment["UV_DEFAULT_INDEX"] = index
        elif not self.no_index:
            indexes = {"UV_DEFAULT_INDEX": self.index_url, "UV_INDEX": " ".join(self.extra_index_urls)}
            environment |= {name: value for name, value in indexes.items() if value}
        if self.proxy:
            environment |= {"HTTP_PROXY": self.proxy, "HTTPS_PROXY": self.proxy}
        if self.trusted_hosts:
            environment["UV_INSECURE_HOST"] = " ".join(self.trusted_hosts)
        if self.timeout.isdigit():
            environment["UV_HTTP_TIMEOUT"] = self.timeout
        return environment


def parse(listing: str) -> PipSettings:
    """Read what `pip config list` printed; empty values count as unset."""
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listing.splitlines():
        name, equals, quoted = line.partition("=")
        section, _, key = name.strip().rpartition(".")
        if equals and section in sections:
            try:
                sections[section][key.replace("_", "-")] = str(ast.literal_eval(quoted))
            except (ValueError, SyntaxError):
                continue
    values: dict[str, str] = {}
    for section in _SECTIONS:
        values |= {key: value for key, value in sections[section].items() if value}
    words = {key: tuple(value.split()) for key, value in values.items()}
    return PipSettings(
        index_url=values.get("index-url", values.get("i", "")),
        extra_index_urls=words.get("extra-index-url", ()),
        find_links=words.get("find-links", ()),
        trusted_hosts=words.get("trusted-host", ()),
        cert=values.get("cert", ""),
        proxy=values.get("proxy", ""),
        timeout=values.get("timeout", values.get("default-timeout", "")),
        no_index=values.get("no-index", "").lower() in ("1", "true", "yes", "on"),
    )


def without_credentials(url: str) -> str:
    """Return a URL without its user and password."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else url
