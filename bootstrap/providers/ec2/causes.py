"""What boto3 raises where AWS was never asked, or never answered: what it means, and what to do about it."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.providers.ec2.profile import Profile


@dataclass(frozen=True, slots=True)
class Case:
    """Errors of boto3's that are told alike. Both texts are made from the error and the profile."""

    errors: Any
    kind: str
    message: Callable[[Any, str | None, Profile], str]
    remedy: Callable[[Any, Profile], str] | None = None
    fits: Callable[[Any, str | None, Profile], bool] = lambda _error, _region, _profile: True


def find(error: Exception, region: str | None, profile: Profile) -> Case | None:
    """Return the case of an error; None for one that is none of these."""
    return next((case for case in _CASES if isinstance(error, case.errors) and case.fits(error, region, profile)), None)


def line(error: Exception) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


_SSO = (boto.SSOError, boto.TokenRetrievalError)
_BROKEN = (boto.InvalidConfigError, boto.UnknownCredentialError, boto.MetadataRetrievalError)

# The first that fits counts.
_CASES = (
    # What is wrong in the settings.
    Case(
        boto.NoRegionError,
        "region",
        lambda *_: "no region is set",
        lambda *_: "give --region, or set AWS_REGION",
    ),
    Case(
        boto.InvalidRegionError,
        "settings",
        lambda _, region, __: f"{region!r} is no region's name",
        lambda *_: "write it as in us-east-1",
    ),
    Case(
        boto.EndpointConnectionError,  # nothing is at the address that was made up from its name
        "settings",
        lambda _, region, __: f"there is no region {region}, as far as boto3 knows",
        lambda *_: "check --region and AWS_REGION",
        fits=lambda _, region, profile: region is not None and not profile.knows(region),
    ),
    Case(
        ValueError,
        "settings",
        lambda error, *_: line(error),
        lambda *_: "AWS_ENDPOINT_URL, and its like, begin with https://",
        fits=lambda error, *_: str(error).startswith("Invalid endpoint"),
    ),
    Case(
        boto.ProfileNotFound,
        "credentials",
        lambda error, *_: f"there is no AWS profile {error.kwargs['profile']}",
        lambda _, profile: profile.others(),
    ),
    Case(
        boto.ConfigParseError,
        "settings",
        lambda error, *_: f"{error.kwargs['path']}{_lineno(error)}: this is no file of AWS settings",
        lambda *_: "sections are [default] or [profile NAME], lines are name = value, in UTF-8 without a mark",
    ),
    # Between here and AWS.
    Case(
        boto.SSLError,
        "settings",
        lambda *_: "the certificates to trust cannot be read",
        lambda *_: "check AWS_CA_BUNDLE, and ca_bundle in the profile",
        fits=lambda error, *_: "[Errno " in str(error),
    ),
    Case(
        boto.SSLError,
        "settings",
        lambda error, *_: f"AWS's certificate is not trusted: {line(error)}",
        lambda *_: "where a proxy opens the traffic, AWS_CA_BUNDLE names its certificate",
    ),
    Case(
        boto.ProxyConnectionError,
        "settings",
        lambda error, *_: f"{_socks(error.kwargs['proxy_url'])} is a SOCKS proxy, and boto3 takes none",
        lambda *_: "set HTTPS_PROXY to an HTTP proxy",
        fits=lambda error, *_: "://socks" in error.kwargs["proxy_url"],
    ),
    Case(
        (boto.InvalidProxiesConfigError, boto.HTTPClientError),
        "settings",
        lambda *_: "the proxy's address cannot be read",
        lambda *_: "check HTTPS_PROXY: it is written http://HOST:PORT",
        fits=lambda error, *_: type(error) is not boto.HTTPClientError or "Failed to parse" in str(error),
    ),
    Case(
        boto.HTTPClientError,  # its own words hold the header, and so the key or the token
        "credentials",
        lambda _, __, profile: f"a key or token of {profile} cannot be sent: it has a line break in it",
        lambda *_: "take that out where it is set",
        fits=lambda error, *_: isinstance(error.kwargs.get("error"), ValueError),
    ),
    Case(
        (boto.ConnectionError, boto.HTTPClientError),
        "network",
        lambda error, *_: f"AWS cannot be reached: {line(error)}",
    ),
    Case(
        ResponseParserError,
        "transient",
        lambda *_: "the answer is not AWS's",
        lambda *_: "a proxy or a captive portal may have answered; try again",
    ),
    # Who has to log in.
    Case(
        _SSO,
        "credentials",
        lambda _, __, profile: f"the SSO login of {profile} is over, or was never made",
        lambda _, profile: profile.sign_in("sso"),
    ),
    Case(
        boto.LoginError,
        "credentials",
        lambda error, _, profile: f"the login of {profile} is of no use any more: {line(error)}",
        lambda _, profile: profile.sign_in("login"),
    ),
    Case(
        boto.MissingDependencyException,
        "credentials",
        lambda _, __, profile: f"{profile} is logged in by `aws login`, and boto3 reads that only with botocore[crt]",
        lambda _, profile: f"pip install 'botocore[crt]' beside this, or {profile.exported}",
    ),
    Case(
        (getpass.GetPassWarning, EOFError),
        "credentials",
        lambda _, __, profile: f"{profile} asks for an MFA code, and there is no terminal to ask on",
        lambda _, profile: f"run it on a terminal, or {profile.exported}",
    ),
    Case(
        boto.RefreshWithMFAUnsupportedError,
        "credentials",
        lambda _, __, profile: f"the session of {profile}, opened with an MFA code, is over",
        lambda *_: "run it again, with a new code; duration_seconds in the profile gives more time",
    ),
    Case(
        boto.NoCredentialsError,
        "credentials",
        lambda *_: "no credentials are found",
        lambda *_: "set AWS_PROFILE, or run aws configure",
    ),
    Case(
        boto.PartialCredentialsError,
        "credentials",
        lambda error, *_: f"half of the credentials is missing: {error.kwargs['cred_var']}",
        lambda *_: "give both, or neither",
    ),
    Case(
        boto.CredentialRetrievalError,
        "credentials",
        lambda error, _, profile: f"{profile}: no credentials from {error.kwargs['provider']}: {_last(error.kwargs)}",
    ),
    Case(
        _BROKEN, "credentials", lambda error, _, profile: f"the credentials of {profile} cannot be had: {line(error)}"
    ),
)


def _lineno(error: boto.ConfigParseError) -> str:
    """Return the line where a file cannot be read, and not what it holds: that may be a secret."""
    cause = error.kwargs.get("error")
    errors = getattr(cause, "errors", None)
    line = getattr(cause, "lineno", None) or (errors[0][0] if errors else None)
    return f", line {line}" if line else ""


def _socks(url: str) -> str:
    """Return the proxy that boto3 wrote as http://socks5://…, without its password: boto3 hides only an HTTP one's."""
    scheme, _, place = url.removeprefix("http://").partition("://")
    return f"{scheme}://{place.rpartition('@')[2]}"


def _last(said: dict[str, Any]) -> str:
    lines = str(said.get("error_msg", "")).strip().splitlines() or ["it says nothing"]
    return lines[-1][:300]
