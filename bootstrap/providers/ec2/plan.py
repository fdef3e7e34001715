"""Deciding what a launch on EC2 would create. Everything here only looks."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bootstrap import distros
from bootstrap.errors import UnsupportedSystemError, UsageError
from bootstrap.providers.base import Plan, PlanError, PlannedHost
from bootstrap.providers.ec2 import images, network, tags
from bootstrap.providers.ec2 import prices as cost
from bootstrap.providers.ec2 import schedule as order

if TYPE_CHECKING:
    from bootstrap.distros.schema import Release
    from bootstrap.providers.base import Request
    from bootstrap.providers.ec2.api import Aws

DEFAULT_TYPE, DEFAULT_GPU_TYPE = "t3.micro", "g4dn.xlarge"
_BOOT_MINUTES = 5  # from where AWS counts to where the host's own clock runs, and to end itself: paid for, too


@dataclass(frozen=True, slots=True)
class System:
    """How a distro is started: its image, the user to log in as, the size of the root volume, and how it is billed."""

    user: str
    image: images.Image
    volume_gib: int
    billing: str


@dataclass(frozen=True, slots=True)
class Ec2Plan(Plan):
    """A plan with all that `create` needs. Zones and types are in the order in which they are tried."""

    region: str = ""
    owner: str = ""
    places: tuple[network.Place, ...] = ()
    types: tuple[network.InstanceType, ...] = ()
    offers: tuple[tuple[str, str], ...] = ()  # (instance type, zone) pairs to try, the best first
    systems: tuple[tuple[str, System], ...] = ()
    batches: tuple[order.Batch, ...] = ()
    ssh_from: str | None = None
    spot: bool = False
    minutes: int = 120
    expires: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    name: str | None = None
    profile: str | None = None  # as given by --profile

    @property
    def removal(self) -> str:
        """See `Plan.removal`; in the account that the run is in."""
        account = f" --profile {shlex.quote(self.profile)}" if self.profile else ""
        return f"charrnn-bootstrap down {self.run_id}{account}"

    def lines(self) -> list[str]:
        """See `Plan.lines`: where, which images, what it costs, when it ends."""
        money = self.detail["cost"]
        types = ", then ".join(one.name for one in self.types)
        zones = ", ".join(dict.fromkeys(zone for _, zone in self.offers))
        lines = [
            f"  where     {self.region}: {zones} (the first that has room) · {types}{' · spot' if self.spot else ''}"
        ]
        counts = {name: sum(host.distro == name for host in self.hosts) for name, _ in self.systems}
        for name, system in self.systems:
            price = self.detail["prices"][name]
            each = f"${price:.4f} an hour" if price is not None else "price unknown"
            lines.append(
                f"  {name:<12}{counts[name]} of {system.image.id}  {system.image.name}  "
                f"{system.volume_gib} GiB  login {system.user}  {each}"
            )
        if money["at_most"] is None:
            lines.append("  cost      unknown")
        else:
            lines.append(
                f"  cost      ${money['per_hour']:.4f} an hour, at most ${money['at_most']:.2f} until all have ended"
            )
        for quota in self.detail["quotas"]:
            limit = "unknown" if quota["limit"] is None else f"{quota['limit']:.0f}"
            lines.append(f"  quota     {quota['needed']} vCPUs needed, {limit} allowed for {quota['family']} instances")
        if not self.detail["quotas"]:
            lines.append(f"  quota     {self.detail['vcpus']} vCPUs needed, unknown allowed")
        ends = f"{self.expires:%Y-%m-%d %H:%M} UTC"
        lines.append(f"  ends      {ends}: each host ends itself {self.minutes} minutes after its boot")
        lines.append(f"  SSH from  {self.ssh_from or 'unknown'}")
        lines.append(f"  also      1 security group, 1 key pair; owner {self.owner}")
        return lines

    def system(self, distro: str) -> System:
        """Return how a distro is started."""
        return dict(self.systems)[distro]

    def place(self, zone: str) -> network.Place:
        """Return the subnet of a zone."""
        return next(place for place in self.places if place.zone == zone)


def decide(aws: Aws, request: Request, now: datetime | None = None) -> Ec2Plan:
    """Plan a launch. Raises PlanError or AwsError for what cannot be had, UsageError for what makes no sense."""
    batches = order.batches(request.distros, request.replicas, request.seed)
    releases = {name: _usable(name) for name in request.distros}
    minutes = round(request.max_hours * 60)
    if minutes < 5:
        raise UsageError("--max-hours must be at least five minutes (0.1)")
    names = request.instance_types or ((DEFAULT_GPU_TYPE if request.accelerator == "cuda" else DEFAULT_TYPE),)
    types = network.instance_types(aws, tuple(dict.fromkeys(names)))
    if request.accelerator == "cuda" and (plain := [one.name for one in types if not one.gpus]):
        raise UsageError(f"{plain[0]} has no GPU, and --accelerator cuda asks for one")
    places = network.places(aws, request.subnet, request.zone)
    offers = _offers(aws, types, places)
    found = images.resolve(aws, releases, types[0].architecture)
    systems = {
        name: _system(name, release, found[name], request, gpu=any(one.gpus for one in types))
        for name, release in releases.items()
    }
    owner = tags.owner_of(aws.ask("GetCallerIdentity", aws.client("sts").get_caller_identity)["Arn"])
    ask = cost.spot if request.spot else cost.on_demand
    prices = {one.name: {name: ask(aws, one.name, name) for name in systems} for one in types}
    money = _money(request, types[0], systems, prices) | _quotas(aws, request, types, len(systems) * request.replicas)
    hosts = tuple(
        PlannedHost(
            host,
            batch.distro,
            position,
            {
                "image": found[batch.distro].id,
                "instance_type": types[0].name,
                "prices": {one.name: prices[one.name][batch.distro] for one in types},
                "billing": systems[batch.distro].billing,
            },
        )
        for position, (batch, host) in enumerate((batch, host) for batch in batches for host in batch.names)
    )
    return Ec2Plan(
        run_id=request.run_id,
        provider="ec2",
        hosts=hosts,
        detail=money,
        notes=tuple(_notes(request, types, offers, places, money)),
        region=aws.region,
        owner=owner,
        places=tuple(places),
        types=tuple(types),
        offers=tuple(offers),
        systems=tuple(systems.items()),
        batches=tuple(batches),
        ssh_from=network.cidr(request.ssh_from) if request.ssh_from else None,
        spot=request.spot,
        minutes=minutes,
        expires=(now or datetime.now(UTC)) + timedelta(minutes=minutes + _BOOT_MINUTES),
        name=request.name,
        profile=request.profile,
    )


def _usable(name: str) -> Release:
    release = distros.find(name)
    if release.refuse:
        raise UnsupportedSystemError(f"{name}: {release.refuse}")
    if release.ec2 is None:
        raise PlanError(f"{name}: nothing is known about its images on EC2")
    return release


def _offers(aws: Aws, types: list[network.InstanceType], places: list[network.Place]) -> list[tuple[str, str]]:
    """Return the (type, zone) pairs in the order to try them: all zones for the first type, then for the next."""
    zones = network.offered(aws, tuple(one.name for one in types))
    pairs = [(one.name, place.zone) for one in types for place in places if place.zone in zones[one.name]]
    if not pairs:
        wanted = ", ".join(one.name for one in types)
        there = ", ".join(place.zone for place in places)
        raise PlanError(f"{wanted} is not offered in {there}", remedy="try another --zone or --instance-type")
    return pairs


def _system(name: str, release: Release, image: images.Image, request: Request, *, gpu: bool) -> System:
    assert release.ec2 is not None  # noqa: S101  (_usable looked)
    least = max(image.root_gib, release.ec2.root_gib_gpu if gpu else release.ec2.root_gib)
    if request.volume_gib is not None and request.volume_gib < image.root_gib:
        raise UsageError(f"--volume-size {request.volume_gib} is less than {name}'s image needs: {image.root_gib} GiB")
    return System(release.ec2.user, image, request.volume_gib or least, release.ec2.billing)


def _money(
    request: Request,
    best: network.InstanceType,
    systems: dict[str, System],
    prices: dict[str, dict[str, float | None]],
) -> dict[str, Any]:
    """Add prices up; one that cannot be learnt is None, and an error only where a budget was given."""

    def total(price: dict[str, float | None], starts: int) -> cost.Cost:
        each = [(price[name], system.billing) for name, system in systems.items()] * (request.replicas * starts)
        return cost.total(each, request.max_hours + _BOOT_MINUTES / 60)

    # A host may become any of the types, and where spot takes it back its time begins anew.
    dearest = {name: cost.dearest(of[name] for of in prices.values()) for name in systems}
    sum_of = cost.Cost(total(prices[best.name], 1).per_hour, total(dearest, 1 + request.retry_spot).at_most)
    if request.budget is not None:
        if sum_of.at_most is None:
            kind, name = next(
                (kind, name) for kind, of in prices.items() for name, price in of.items() if price is None
            )
            raise PlanError(
                f"the price of {kind} for {name} cannot be learnt, so --budget cannot be kept",
                remedy="launch without --budget, or allow pricing:GetProducts",
            )
        if sum_of.at_most > request.budget:
            message = f"it may cost ${sum_of.at_most:.2f}, and --budget is ${request.budget:.2f}"
            raise PlanError(message, remedy="fewer --replicas, a smaller --instance-type, or fewer --max-hours")
    return {"prices": prices[best.name], "cost": asdict(sum_of)}


def _quotas(aws: Aws, request: Request, types: list[network.InstanceType], hosts: int) -> dict[str, Any]:
    """Learn the quotas of every type that a host may become. Raises PlanError for one that is too small.

    One that cannot be learnt is None, and an error only where a budget was given.
    """
    limits = [cost.learnt(aws, one) for one in cost.wanted(types, hosts, is_spot=request.spot)]
    for one in limits:
        if one.limit is None and request.budget is not None:
            message = f"the quota for {one.family} instances ({one.code}) cannot be learnt"
            raise PlanError(message, remedy="launch without --budget, or allow servicequotas:GetServiceQuota")
        if one.exceeded:
            of, without = (f" of {one.instance_type}", f", or leave {one.instance_type} out") if types[1:] else ("", "")
            raise PlanError(
                f"{one.needed} vCPUs{of} are needed, and the account's quota for {one.family} instances is "
                f"{one.limit:.0f}",
                remedy=f"ask for more of {one.code} in the Service Quotas console, or launch fewer hosts{without}",
            )
    return {"quotas": [asdict(one) for one in limits], "vcpus": types[0].vcpus * hosts}


def _notes(
    request: Request,
    types: list[network.InstanceType],
    offers: list[tuple[str, str]],
    places: list[network.Place],
    money: dict[str, Any],
) -> list[str]:
    notes = []
    if request.ssh_from and network.cidr(request.ssh_from).endswith("/0"):
        notes.append("--ssh-from lets the whole world try to log in")
    place = next(place for place in places if place.zone == offers[0][1])
    if not place.public:
        notes.append(f"{place.subnet} gives no public addresses: hosts are reached by their private ones")
    if types[0].name.startswith(cost.BURSTABLE) and not types[0].name.startswith("t2."):
        notes.append("CPU credits are unlimited, as T3 starts with none: they may be billed on top")
    if money["cost"]["at_most"] is None:
        notes.append("the price cannot be learnt: it is unknown what this will cost")
    return notes
