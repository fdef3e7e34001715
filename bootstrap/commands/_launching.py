"""What `plan` and `launch` share: their options, and how a plan is shown."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bootstrap.commands._options import together
from bootstrap.errors import UsageError
from bootstrap.providers import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.launch.start import Settings
    from bootstrap.providers.base import Plan, Provider, Request

options = together(
    click.option("--provider", "kind", type=click.Choice(list(KINDS)), default="ec2", show_default=True),
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
    from bootstrap.launch.start import DEFAULT_DISTROS, Settings
    from bootstrap.ledger.store import new_run_id
    from bootstrap.providers.base import Request

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
    for kind, provider in KINDS.items():
        for name in sorted(provider.options - KINDS[given["kind"]].options):
            if given[name]:
                shown = {"types": "instance-type", "hosts_file": "hosts"}.get(name, name.replace("_", "-"))
                raise UsageError(f"--{shown} goes with --provider {kind}, not with {given['kind']}")
    if given["retry_spot"] and not given["spot"]:
        raise UsageError("--retry-spot goes with --spot")
    _check_values(given)


def _check_values(given: dict[str, Any]) -> None:
    if given["max_hours"] is not None and not 0.1 <= given["max_hours"] <= 24 * 14:
        raise UsageError("--max-hours must be between 0.1 and 336")
    if given["budget"] is not None and not 0 < given["budget"] < float("inf"):
        raise UsageError("--budget must be more than nothing")
    if given["name"] is not None:
        from bootstrap.launch import state

        state.check_name(given["name"])
    if given["ssh_from"]:
        from bootstrap.providers.ec2 import network

        network.cidr(given["ssh_from"])
    if given["ssh_timeout"] is not None and not 1 <= given["ssh_timeout"] <= 3600:
        raise UsageError("--ssh-timeout must be between 1 and 3600 seconds")


def completed(source: Provider, request: Request, *, needed: bool) -> tuple[Request, str | None]:
    """Fill in what the provider finds out for itself. Where it is not needed, what went wrong is returned instead."""
    from bootstrap.providers.base import PlanError

    try:
        return source.complete(request), None
    except PlanError as error:
        if needed:
            raise
        return request, str(error)


def ways(source: Provider, plan: Plan) -> Iterator[str]:
    """Yield how each host that is there already will be reached, a line for each hop, or why it cannot be."""
    if source.makes_hosts:
        return
    from bootstrap.hosts import route
    from bootstrap.hosts.ssh import SSHHost

    for machine in source.look(plan):
        if isinstance(machine.host, SSHHost):
            yield from route.describe(machine.name, machine.host.target)


def show(plan: Plan, settings: Settings) -> str:
    """Return a plan as text."""
    count = "1 host" if len(plan.hosts) == 1 else f"{len(plan.hosts)} hosts"
    lines = [f"run {plan.run_id} · {count} · {plan.provider} · playbook {settings.playbook}"]
    return "\n".join([*lines, *plan.lines(), *(f"  note: {note}" for note in plan.notes)])


def as_json(value: Any) -> str:
    """Return data as JSON."""
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)
