"""Which profile, region and credentials are used: as the AWS CLI and the other SDKs find them."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.exceptions import BotoCoreError
from botocore.utils import IMDSRegionProvider

from bootstrap import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

# The AWS CLI (version 2) and the SDKs take AWS_REGION before AWS_DEFAULT_REGION, both before the profile's region,
# and AWS_PROFILE before AWS_DEFAULT_PROFILE. boto3 alone knows no AWS_REGION, and takes AWS_DEFAULT_PROFILE first.
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html
# https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")


def session(profile: str | None, environ: Mapping[str, str] = os.environ) -> botocore.session.Session:
    """Open a session. A variable that is set to nothing counts as not set. Raises BotoCoreError."""
    set_ones = [name for name in _PROFILES if environ.get(name)][:1]
    variables = {"profile": (None, set_ones or None, None, None)}
    return botocore.session.Session(session_vars=variables, profile=profile or None)


def region_of(
    opened: botocore.session.Session, given: str | None, environ: Mapping[str, str] = os.environ
) -> str | None:
    """Return the region: as given, else of the environment, else the profile's, else the one that this machine is in.

    The last is asked of EC2's metadata service, once, for a second. Raises BotoCoreError, for a missing profile too.
    """
    configured = opened.get_scoped_config().get("region")  # and see that there is such a profile
    named = given or next((environ[name] for name in _REGIONS if environ.get(name)), None)
    found = named or configured or IMDSRegionProvider(opened).provide()
    return str(found) if found else None


class Profile:
    """The profile that a session really uses, in words, and how one logs in to it."""

    def __init__(self, opened: botocore.session.Session, method: str | None = None) -> None:
        self._session = opened
        self.name: str = opened.profile or "default"
        self.method = method  # how its credentials were found, as boto3 calls it

    def __str__(self) -> str:
        if self.method == "env":
            return "the environment"
        return f"profile {self.name}"

    @property
    def process(self) -> bool:
        """Whether its credentials come from a program."""
        return any("credential_process" in config for _, config in self._chain())

    @property
    def asks(self) -> bool:
        """Whether somebody is asked for a code before its credentials are given out."""
        return any("mfa_serial" in config for _, config in self._chain())

    @property
    def exported(self) -> str:
        """The command that hands its credentials over as variables."""
        return f'eval "$(aws configure export-credentials --profile {shlex.quote(self.name)} --format env)"'

    def sign_in(self, how: str | None = None) -> str:
        """Return what to do for new credentials; `how`: sso, login, or as they were found."""
        chain = self._chain()
        sso = next((name for name, config in chain if "sso_account_id" in config or "sso_session" in config), None)
        how = how or self.method
        if how == "env":
            return "log in again, and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN anew"
        if how == "sso" or (sso and how != "login"):
            return f"aws sso login --profile {shlex.quote(sso or self.name)}"
        login = next((name for name, config in chain if "login_session" in config), None)
        if how == "login" or login:
            return f"aws login --profile {shlex.quote(login or self.name)}"
        return f"log in again, so that {self} has new credentials"

    def others(self) -> str:
        """Return which profiles there are, and the one that was meant, perhaps."""
        names = self._session.available_profiles
        if not names:
            files = " or ".join(self._session.get_config_variable(one) for one in ("config_file", "credentials_file"))
            return f"none is in {files}: aws configure makes one"
        return suggest.hint(self.name, names, f"there are {', '.join(sorted(names)[:8])}")

    def knows(self, region: str) -> bool:
        """Whether boto3 knows a region of that name."""
        partitions = self._session.get_available_partitions()
        return any(region in self._session.get_available_regions("ec2", one) for one in partitions)

    def _chain(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the profile and those that its role is taken on from, by source_profile: (name, settings)."""
        try:
            profiles = self._session.full_config.get("profiles", {})
        except BotoCoreError:
            return []
        chain: list[tuple[str, dict[str, Any]]] = []
        name = self.name
        while name in profiles and name not in [one for one, _ in chain]:
            chain.append((name, profiles[name]))
            name = profiles[name].get("source_profile", "")
        return chain
