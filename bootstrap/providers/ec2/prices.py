"""What hosts cost, where AWS says so. Never a price from memory: one that cannot be learnt is unknown."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bootstrap import distros
from bootstrap.distros.schema import Ec2, Image
from bootstrap.providers.ec2.api import ASIDE, AwsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.providers.ec2.api import Aws
    from bootstrap.providers.ec2.network import InstanceType

BURSTABLE = ("t2.", "t3.", "t3a.", "t4g.")
# Service Quotas counts vCPUs by families of instance types: how their names begin, its codes on demand and for spot.
# https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
_QUOTAS: tuple[tuple[str, str, str, str | None], ...] = (
    ("standard", r"([acdhimrtz]|im|is)\d", "L-1216C47A", "L-34B43A08"),
    ("F", r"f\d", "L-74FC7D96", "L-88CF9481"),
    ("G and VT", r"(g|gr|vt)\d", "L-DB2E81BA", "L-3819A6DF"),
    ("P", r"p[2-4]", "L-417A185B", "L-7212CCBC"),
    ("P", r"p5", "L-417A185B", "L-C4BD4855"),
    ("P", r"p\d", "L-417A185B", None),
    ("Inf", r"inf\d", "L-1945791B", "L-B5D1601B"),
    ("Trn", r"trn\d", "L-2C3B7624", "L-6B0D517C"),
    ("X", r"x\d", "L-7295265B", "L-E3A00192"),
    ("DL", r"dl\d", "L-6E869C2A", "L-85EED4F7"),
    ("HPC", r"hpc\d", "L-F7808C92", None),
    ("high memory", r"u(-|\d)", "L-43DA4232", None),
)


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


def listed(distro: str) -> Ec2:
    """Return how a distro is billed, by its name or NAME:RELEASE; as Linux where this version does not know it."""
    known = distros.load_all().get(distro.partition(":")[0])
    return (known.release().ec2 if known else None) or Ec2(user="", image=Image(owner="", name=""))


def on_demand(aws: Aws, instance_type: str, distro: str) -> float | None:
    """Ask AWS's price list for the price of an hour; None where it does not say."""
    filters = {
        "instanceType": instance_type,
        "regionCode": aws.region,
        "operatingSystem": listed(distro).price_list,
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
    with suppress(AwsError, KeyError, ValueError):
        answer = aws.ask_aside(
            "DescribeSpotPriceHistory",
            aws.client("ec2", config=ASIDE).describe_spot_price_history,
            InstanceTypes=[instance_type],
            ProductDescriptions=[listed(distro).spot_prices],
            MaxResults=20,
        )
        prices = [float(one["SpotPrice"]) for one in answer["SpotPriceHistory"]]
        return max(prices) if prices else None
    return None


@dataclass(frozen=True, slots=True)
class Quota:
    """How many vCPUs of a family an account may run at once (None: unknown), and how many a plan may need.

    `instance_type` is the one that needs so many.
    """

    family: str
    code: str
    limit: float | None
    needed: int
    instance_type: str

    @property
    def exceeded(self) -> bool:
        """Whether the plan needs more than there can be."""
        return self.limit is not None and self.needed > self.limit


def wanted(types: Iterable[InstanceType], hosts: int, *, is_spot: bool) -> list[Quota]:
    """Return the quotas that so many hosts fall under, whichever of the types each becomes, limits still unknown.

    A type of a family that is not known here is left out. Pure.
    """
    found: dict[str, Quota] = {}
    for one in types:
        family, code = _family(one.name, is_spot=is_spot)
        if code and (code not in found or found[code].needed < one.vcpus * hosts):
            found[code] = Quota(family, code, None, one.vcpus * hosts, one.name)
    return list(found.values())


def _family(instance_type: str, *, is_spot: bool) -> tuple[str, str | None]:
    for family, begins, on_demand_code, spot_code in _QUOTAS:
        if re.match(begins, instance_type):
            return family, spot_code if is_spot else on_demand_code
    return "", None


def learnt(aws: Aws, quota: Quota) -> Quota:
    """Ask Service Quotas for the limit; where it does not say, it stays unknown."""
    with suppress(AwsError, KeyError, ValueError):
        client = aws.client("service-quotas", config=ASIDE)
        answer = aws.ask_aside("GetServiceQuota", client.get_service_quota, ServiceCode="ec2", QuotaCode=quota.code)
        return replace(quota, limit=float(answer["Quota"]["Value"]))
    return quota
