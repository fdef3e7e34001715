"""Which image a distro starts from: the publisher's SSM parameter, else the newest of the owner that fits a pattern.

What a pattern also finds and nobody wants is left out: betas, images for ECS and EKS, bring-your-own-subscription,
SAP and hardened variants, and anything deprecated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bootstrap.providers.base import PlanError
from bootstrap.providers.ec2.api import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.distros.schema import Release
    from bootstrap.providers.ec2.api import Aws

_UNWANTED = re.compile(
    r"(?i)(^|[-_/.])(beta|ecs|eks|byos|byol|sap|sapcal|chost|minimal|pro|fips|hardened|test)([-_/.]|$)"
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was found. `root_gib` is the least its root volume may be; `source` says how it was found."""

    id: str
    name: str
    architecture: str
    created: str
    root_device: str
    root_gib: int
    source: str


def newest(found: Iterable[Any], architecture: str, source: str, now: datetime | None = None) -> Image | None:
    """Return the newest image that is wanted, of those that describe_images gave; None where there is none."""
    moment = (now or datetime.now(UTC)).isoformat()
    fitting = [
        image
        for image in found
        if image.get("State", "available") == "available"
        and image.get("Architecture") == architecture
        and image.get("RootDeviceType", "ebs") == "ebs"
        and not _UNWANTED.search(image.get("Name", ""))
        and image.get("DeprecationTime", "9999") > moment
    ]
    if not fitting:
        return None
    image = max(fitting, key=lambda one: (one.get("CreationDate", ""), one.get("Name", "")))
    root = image.get("RootDeviceName") or "/dev/xvda"
    sizes = [
        mapping.get("Ebs", {}).get("VolumeSize") or 0
        for mapping in image.get("BlockDeviceMappings", [])
        if mapping.get("DeviceName") == root
    ]
    return Image(
        id=image["ImageId"],
        name=image.get("Name", ""),
        architecture=architecture,
        created=image.get("CreationDate", ""),
        root_device=root,
        root_gib=max([8, *sizes]),
        source=source,
    )


def resolve(aws: Aws, releases: dict[str, Release], architecture: str) -> dict[str, Image]:
    """Find the image of each release, by the name it was asked for. Raises PlanError for one that has none."""
    parameters = _parameters(aws, releases, architecture)
    known = _describe(aws, sorted(set(parameters.values())))
    images = {}
    for name, release in releases.items():
        if release.ec2 is None:
            raise PlanError(f"{name}: nothing is known about its images on EC2")
        published = release.ec2.image.ssm_for(architecture)
        image = None
        if published and (image_id := parameters.get(published)) and image_id in known:
            image = newest([known[image_id]], architecture, f"SSM parameter {published}")
        images[name] = image or _by_pattern(aws, name, release, architecture)
    return images


def _parameters(aws: Aws, releases: dict[str, Release], architecture: str) -> dict[str, str]:
    """Read every public parameter that is wanted, in as few calls as AWS allows (10 names each)."""
    wanted = {
        parameter
        for release in releases.values()
        if release.ec2 and (parameter := release.ec2.image.ssm_for(architecture))
    }
    names = sorted(wanted)
    ssm = aws.client("ssm")
    values: dict[str, str] = {}
    for start in range(0, len(names), 10):
        try:
            answer = aws.ask("GetParameters", ssm.get_parameters, Names=names[start : start + 10])
        except AwsError as error:
            if error.kind in ("denied", "other", "missing"):
                return {}  # the pattern finds the image without it
            raise
        values |= {one["Name"]: one["Value"] for one in answer["Parameters"]}
    return values


def _describe(aws: Aws, ids: list[str]) -> dict[str, Any]:
    if not ids:
        return {}
    # By filter: an id that does not exist is then simply not in the answer.
    found = aws.pages("DescribeImages", "describe_images", "Images", Filters=[{"Name": "image-id", "Values": ids}])
    return {image["ImageId"]: image for image in found}


def _by_pattern(aws: Aws, name: str, release: Release, architecture: str) -> Image:
    assert release.ec2 is not None  # noqa: S101  (resolve looked)
    pattern, owner = release.ec2.image.name_for(architecture), release.ec2.image.owner
    filters = [
        {"Name": "name", "Values": [pattern]},
        {"Name": "architecture", "Values": [architecture]},
        {"Name": "state", "Values": ["available"]},
    ]
    found = aws.pages("DescribeImages", "describe_images", "Images", Owners=[owner], Filters=filters)
    image = newest(found, architecture, f"owner {owner}, name {pattern}")
    if image is None:
        raise PlanError(
            f"{name}: no image for {architecture} in {aws.region}: owner {owner} has none named {pattern}",
            remedy="try another region or release",
        )
    return image
