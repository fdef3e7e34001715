"""What `plan` and `launch` share: their options, and how a plan is shown."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bootstrap.commands._options import together
from bootstrap.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.launch.start import Settings
    from bootstrap.providers.base import Plan, Provider, Request

options = together(
    click.option(
        "--provider", "kind", type=click.Choice(["ec2", "inventory", "local"]), default="ec2", show_default=True
    ),
    click.option("--distros", help="Comma-separated: amazon,suse,rhel,ubuntu:22.04. Default: one of each family."),
    click.option("--replicas", type=click.IntRange(1, 1000), help="Hosts of each distro. Default: 1."),
    click.option("--instance-type", "types", help="Comma-separated, the preferred one first. Default: t3.micro."),
    click.option("--region", help="Default: AWS_REGION, or your AWS configuration."),
    click.option("--zone", help="Availability zone. Default: any that has room, the same for all where it can be."),
    click.option("--subnet", help="Default: the default VPC's."),
    click.option("--profile", help="AWS profile. Default: AWS_PROFILE."),
    click.option("--spot", is_flag=True, help="Spot instances."),
    click.option(
        "--retry-spot", type=click.IntRange(0, 10), default=0, help="How often a host taken back is started anew."
    ),
    click.option("--volume-size", type=click.IntRange(8, 16384), metavar="GIB", help="Root volume."),
    click.option("--accelerator", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--corpus", default="shakespeare", show_default=True, help="A name, a file, or a folder of texts."),
    click.option("--iterations", type=click.IntRange(1), default=1000, show_default=True),
    click.option("--playbook", help="A file, or the name of one of ours. Default: first-checkpoint."),
    click.option("--max-hours", type=float, help="Hosts end themselves after this. Default: 2."),
    click.option("--budget", type=float, metavar="DOLLARS", help="Refuse what may cost more, or cannot be priced."),
    click.option("--name", help="A name for the run."),
    click.option(
        "--ssh-from", metavar="ADDRESS", help="Who may log in. Default: this machine's address as AWS sees it."
    ),
    click.option("--ssh-timeout", type=float, metavar="SECONDS", help="How long to wait for a host's sshd."),
    click.option(
        "--parallel", type=click.IntRange(1, 256), default=32, show_default=True, help="Most connections at once."
    ),
    click.option("--seed", type=int, help="Draws the order of starting. Default: drawn, and recorded."),
    click.option("--hosts", "hosts_file", type=click.Path(path_type=Path), help="hosts.yml, for --provider inventory."),
    click.option("--smoke", is_flag=True, help="One smallest host, to the end of cloud-init: a first try."),
    click.option("--json", "as_json", is_flag=True, help="Print data instead of text."),
)


def request_of(given: dict[str, Any]) -> tuple[Request, Settings]:
    """Turn the options into what is asked for. Raises UsageError for options that do not go together."""
    from bootstrap.launch.start import DEFAULT_DISTROS, Settings  # noqa: PLC0415  (loaded by the verb, not by --help)
    from bootstrap.ledger.store import new_run_id  # noqa: PLC0415
    from bootstrap.providers.base import Request  # noqa: PLC0415

    _check_together(given)
    smoke = given["smoke"]
    distros = _words("distros", given["distros"]) or (DEFAULT_DISTROS[:1] if smoke else DEFAULT_DISTROS)
    if smoke and len(distros) * (given["replicas"] or 1) > 1:
        raise UsageError("--smoke starts one host", remedy="name one distro, or launch without --smoke")
    seed = given["seed"] if given["seed"] is not None else secrets.randbelow(2**31)
    request = Request(
        run_id=new_run_id(),
        distros=distros,
        replicas=given["replicas"] or 1,
        instance_types=_words("instance-type", given["types"]),
        region=given["region"],
        zone=given["zone"],
        subnet=given["subnet"],
        profile=given["profile"],
        spot=given["spot"],
        retry_spot=given["retry_spot"],
        volume_gib=given["volume_size"],
        accelerator=given["accelerator"],
        max_hours=given["max_hours"] or (0.5 if smoke else 2.0),
        budget=given["budget"],
        name=given["name"],
        ssh_from=given["ssh_from"],
        hosts_file=given["hosts_file"],
        seed=seed,
        ssh_timeout=given["ssh_timeout"],
    )
    settings = Settings(
        playbook=given["playbook"] or ("smoke" if smoke else "first-checkpoint"),
        corpus=given["corpus"],
        iterations=given["iterations"],
        keep=given.get("keep", False),
        parallel=given["parallel"],
        retry_spot=given["retry_spot"],
        settle=given.get("settle", 10.0),
    )
    return request, settings


def _words(option: str, text: str | None) -> tuple[str, ...]:
    words = tuple(word.strip() for word in (text or "").split(",") if word.strip())
    if text is not None and not words:
        raise UsageError(f"--{option} {text!r} names nothing")
    return words


def _check_together(given: dict[str, Any]) -> None:
    cloud_only = (
        "distros",
        "replicas",
        "types",
        "region",
        "zone",
        "subnet",
        "profile",
        "spot",
        "volume_size",
        "budget",
        "max_hours",
        "ssh_from",
        "smoke",
    )
    if given["kind"] != "ec2":
        for name in cloud_only:
            if given[name]:
                shown = {"types": "instance-type"}.get(name, name.replace("_", "-"))
                raise UsageError(f"--{shown} goes with --provider ec2, not with {given['kind']}")
    if given["hosts_file"] and given["kind"] != "inventory":
        raise UsageError("--hosts goes with --provider inventory")
    if given["retry_spot"] and not given["spot"]:
        raise UsageError("--retry-spot goes with --spot")
    _check_values(given)


def _check_values(given: dict[str, Any]) -> None:
    if given["max_hours"] is not None and not 0.1 <= given["max_hours"] <= 24 * 14:
        raise UsageError("--max-hours must be between 0.1 and 336")
    if given["budget"] is not None and not 0 < given["budget"] < float("inf"):
        raise UsageError("--budget must be more than nothing")
    if given["name"] is not None:
        from bootstrap.launch import state  # noqa: PLC0415

        state.check_name(given["name"])
    if given["ssh_from"]:
        from bootstrap.providers.ec2 import network  # noqa: PLC0415

        network.cidr(given["ssh_from"])
    if given["ssh_timeout"] is not None and not 1 <= given["ssh_timeout"] <= 3600:
        raise UsageError("--ssh-timeout must be between 1 and 3600 seconds")


def with_address(source: Provider, request: Request, *, needed: bool) -> tuple[Request, str | None]:
    """Fill in from where SSH is let in, for EC2. Where it is not needed, what went wrong is returned instead."""
    if source.kind != "ec2" or request.ssh_from:
        return request, None
    import dataclasses  # noqa: PLC0415

    from bootstrap.providers.base import PlanError  # noqa: PLC0415
    from bootstrap.providers.ec2 import network  # noqa: PLC0415

    try:
        return dataclasses.replace(request, ssh_from=network.own_address()), None
    except PlanError as error:
        if needed:
            raise
        return request, str(error)


def ways(source: Provider, plan: Plan) -> Iterator[str]:
    """Yield how each host of an inventory will be reached, a line for each hop, or why it cannot be."""
    if source.kind != "inventory":
        return
    from bootstrap.hosts import route  # noqa: PLC0415  (paramiko only where it is used)
    from bootstrap.hosts.ssh import SSHHost  # noqa: PLC0415

    for machine in source.look(plan):
        if isinstance(machine.host, SSHHost):
            yield from route.describe(machine.name, machine.host.target)


def show(plan: Plan, settings: Settings) -> str:
    """Return a plan as text."""
    count = "1 host" if len(plan.hosts) == 1 else f"{len(plan.hosts)} hosts"
    lines = [f"run {plan.run_id} · {count} · {plan.provider} · playbook {settings.playbook}"]
    detail = _ec2_lines(plan) if plan.provider == "ec2" else [f"  {host.name}  {host.distro}" for host in plan.hosts]
    return "\n".join([*lines, *detail, *(f"  note: {note}" for note in plan.notes)])


def _ec2_lines(plan: Any) -> list[str]:
    money = plan.detail["cost"]
    types = ", then ".join(one.name for one in plan.types)
    zones = ", ".join(dict.fromkeys(zone for _, zone in plan.offers))
    lines = [f"  where     {plan.region}: {zones} (the first that has room) · {types}{' · spot' if plan.spot else ''}"]
    counts = {name: sum(host.distro == name for host in plan.hosts) for name, _ in plan.systems}
    for name, system in plan.systems:
        price = plan.detail["prices"][name]
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
    for quota in plan.detail["quotas"]:
        limit = "unknown" if quota["limit"] is None else f"{quota['limit']:.0f}"
        lines.append(f"  quota     {quota['needed']} vCPUs needed, {limit} allowed for {quota['family']} instances")
    if not plan.detail["quotas"]:
        lines.append(f"  quota     {plan.detail['vcpus']} vCPUs needed, unknown allowed")
    lines.append(
        f"  ends      {plan.expires:%Y-%m-%d %H:%M} UTC: each host ends itself {plan.minutes} minutes after its boot"
    )
    lines.append(f"  SSH from  {plan.ssh_from or 'unknown'}")
    lines.append(f"  also      1 security group, 1 key pair; owner {plan.owner}")
    return lines


def as_json(value: Any) -> str:
    """Return data as JSON."""
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)
