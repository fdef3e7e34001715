"""Where instances go, and who may reach them."""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.errors import UsageError
from bootstrap.providers.base import PlanError

if TYPE_CHECKING:
    from bootstrap.providers.ec2.api import Aws

CHECK_IP = "https://checkip.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Place:
    """A subnet to start instances in. `public`: whether they get a public address there."""

    zone: str
    subnet: str
    vpc: str
    public: bool


@dataclass(frozen=True, slots=True)
class InstanceType:
    """What matters of an instance type."""

    name: str
    architecture: str
    vcpus: int
    gpus: int


def places(aws: Aws, subnet: str | None, zone: str | None) -> list[Place]:
    """Return where instances can go, by zone: the subnet named, else the default VPC's. Raises PlanError."""
    # By filter: one that does not exist is then simply not in the answer, and can be named.
    wanted = {"Name": "subnet-id", "Values": [subnet]} if subnet else {"Name": "default-for-az", "Values": ["true"]}
    found = [
        Place(one["AvailabilityZone"], one["SubnetId"], one["VpcId"], bool(one.get("MapPublicIpOnLaunch")))
        for one in aws.pages("DescribeSubnets", "describe_subnets", "Subnets", Filters=[wanted])
        if one.get("State", "available") == "available"
    ]
    if subnet and [place.subnet for place in found] != [subnet]:
        raise PlanError(f"there is no subnet {subnet} in {aws.region}", remedy="check --subnet and --region")
    if not found:
        raise PlanError(
            f"{aws.region} has no default VPC to start instances in",
            remedy="give --subnet, or make one: aws ec2 create-default-vpc",
        )
    fitting = sorted((place for place in found if zone in (None, place.zone)), key=lambda place: place.zone)
    if not fitting:
        zones = ", ".join(sorted({place.zone for place in found}))
        raise PlanError(f"there is no subnet in zone {zone}", remedy=f"there are subnets in {zones}")
    return fitting


def offered(aws: Aws, instance_types: tuple[str, ...]) -> dict[str, set[str]]:
    """Return the zones in which each instance type is offered."""
    offers = aws.pages(
        "DescribeInstanceTypeOfferings",
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": list(instance_types)}],
    )
    zones: dict[str, set[str]] = {name: set() for name in instance_types}
    for offer in offers:
        zones[offer["InstanceType"]].add(offer["Location"])
    return zones


def instance_types(aws: Aws, names: tuple[str, ...]) -> list[InstanceType]:
    """Look up instance types, in the order given. Raises PlanError for one unknown, or of another architecture."""
    # By filter: a name that does not exist is then simply not in the answer, and can be named.
    listed = aws.pages(
        "DescribeInstanceTypes",
        "describe_instance_types",
        "InstanceTypes",
        Filters=[{"Name": "instance-type", "Values": list(names)}],
    )
    known = {}
    for one in listed:
        supported = one.get("ProcessorInfo", {}).get("SupportedArchitectures", ["x86_64"])
        known[one["InstanceType"]] = InstanceType(
            name=one["InstanceType"],
            architecture=next((name for name in ("x86_64", "arm64") if name in supported), supported[0]),
            vcpus=one.get("VCpuInfo", {}).get("DefaultVCpus", 1),
            gpus=sum(gpu.get("Count", 0) for gpu in one.get("GpuInfo", {}).get("Gpus", [])),
        )
    if unknown := [name for name in names if name not in known]:
        raise PlanError(f"there is no instance type {unknown[0]} in {aws.region}", remedy="check --instance-type")
    if len({known[name].architecture for name in names}) > 1:
        raise PlanError("the instance types are of different architectures", remedy="they take turns: name alike ones")
    return [known[name] for name in names]


def cidr(text: str) -> str:
    """Return an address or a network in CIDR notation. Raises UsageError."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise UsageError(
            f"--ssh-from {text!r} is no address or network", remedy="write 203.0.113.7 or 203.0.113.0/24"
        ) from error


def own_address(url: str = CHECK_IP) -> str:
    """Return this machine's address as AWS sees it, as a network of one. Raises PlanError when it cannot be learnt."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  (a constant https address)
            return cidr(answer.read(100).decode("ascii").strip())
    except (OSError, UsageError, UnicodeDecodeError, urllib.error.URLError) as error:
        raise PlanError(
            f"your own address cannot be learnt from {url}: {getattr(error, 'reason', error)}",
            remedy="give it: --ssh-from ADDRESS",
        ) from error
