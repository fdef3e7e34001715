"""What hosts cost, where AWS says so. Never a price from memory: one that cannot be learnt is unknown."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bootstrap.providers.aws import ASIDE, AwsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.providers.aws import Aws

BURSTABLE = ("t2.", "t3.", "t3a.", "t4g.")
_SYSTEMS = {"rhel": "RHEL", "suse": "SUSE"}  # all others are billed as Linux
# Families of instance types: first letters, and Service Quotas' codes on demand and for spot.
_QUOTAS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "standard": (("a", "c", "d", "h", "i", "m", "r", "t", "z"), "L-1216C47A", "L-34B43A08"),
    "G and VT": (("g", "vt"), "L-DB2E81BA", "L-3819A6DF"),
    "P": (("p",), "L-417A185B", "L-7212CCBC"),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What hosts cost in US dollars. None: unknown."""

    per_hour: float | None
    at_most: float | None

    def __str__(self) -> str:
        if self.per_hour is None or self.at_most is None:
            return "cost unknown"
        return f"${self.per_hour:.4f} an hour, at most ${self.at_most:.2f}"


def total(hosts: Iterable[tuple[float | None, str]], hours: float) -> Cost:
    """Add up hosts given as (price an hour, billing by `second` or `hour`). One unknown price makes the sum unknown."""
    listed = list(hosts)
    prices = [price for price, _ in listed if price is not None]
    if len(prices) < len(listed):
        return Cost(None, None)
    at_most = sum(
        price * (math.ceil(hours) if billing == "hour" else max(hours, 1 / 60)) for price, billing in listed if price
    )
    return Cost(sum(prices), at_most)


def dearest(prices: Iterable[float | None]) -> float | None:
    """Return the highest of prices; one that is unknown makes it unknown."""
    listed = list(prices)
    known = [price for price in listed if price is not None]
    return max(known) if len(known) == len(listed) else None


def so_far(price: float | None, billing: str, seconds: float) -> float | None:
    """Return what a host has cost after running for `seconds`: at least a minute of it, or each started hour."""
    if price is None:
        return None
    return price * (math.ceil(max(seconds, 1) / 3600) if billing == "hour" else max(seconds, 60) / 3600)


def on_demand(aws: Aws, instance_type: str, distro: str) -> float | None:
    """Ask AWS's price list for the price of an hour; None where it does not say."""
    family = distro.partition(":")[0]
    filters = {
        "instanceType": instance_type,
        "regionCode": aws.region,
        "operatingSystem": _SYSTEMS.get(family, "Linux"),
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    with suppress(AwsError, KeyError, ValueError, IndexError, TypeError):
        # The price list is served from few regions; us-east-1 has all of it.
        pricing = aws.client("pricing", region="us-east-1", config=ASIDE)
        answer = aws.ask_aside(
            "GetProducts",
            pricing.get_products,
            ServiceCode="AmazonEC2",
            Filters=[{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in filters.items()],
        )
        product: Any = json.loads(answer["PriceList"][0])
        term = next(iter(product["terms"]["OnDemand"].values()))
        dimension = next(iter(term["priceDimensions"].values()))
        price = float(dimension["pricePerUnit"]["USD"])
        return price if price > 0 else None
    return None


def spot(aws: Aws, instance_type: str, distro: str) -> float | None:
    """Return the highest spot price of the region's zones now; None where AWS does not say."""
    family = distro.partition(":")[0]
    description = {"rhel": "Red Hat Enterprise Linux", "suse": "SUSE Linux"}.get(family, "Linux/UNIX")
    with suppress(AwsError, KeyError, ValueError):
        answer = aws.ask_aside(
            "DescribeSpotPriceHistory",
            aws.client("ec2", config=ASIDE).describe_spot_price_history,
            InstanceTypes=[instance_type],
            ProductDescriptions=[description],
            MaxResults=20,
        )
        prices = [float(one["SpotPrice"]) for one in answer["SpotPriceHistory"]]
        return max(prices) if prices else None
    return None


@dataclass(frozen=True, slots=True)
class Quota:
    """How many vCPUs of a family an account may run at once (None: unknown), and how many a plan needs."""

    family: str
    code: str
    limit: float | None
    needed: int

    @property
    def exceeded(self) -> bool:
        """Whether the plan needs more than there can be."""
        return self.limit is not None and self.needed > self.limit


def quota(aws: Aws, instance_type: str, vcpus: int, *, is_spot: bool) -> Quota | None:
    """Ask Service Quotas about the family of an instance type; None for a family that is not known here."""
    match = re.match(r"[a-z]+", instance_type)
    letters = match.group() if match else ""
    family = next((name for name, (firsts, _, _) in _QUOTAS.items() if letters in firsts), None)
    if family is None:
        return None
    _, demand_code, spot_code = _QUOTAS[family]
    code = spot_code if is_spot else demand_code
    limit = None
    with suppress(AwsError, KeyError, ValueError):
        client = aws.client("service-quotas", config=ASIDE)
        answer = aws.ask_aside("GetServiceQuota", client.get_service_quota, ServiceCode="ec2", QuotaCode=code)
        limit = float(answer["Quota"]["Value"])
    return Quota(family, code, limit, vcpus)
