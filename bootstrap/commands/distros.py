"""`charrnn-bootstrap distros`: the known distros, and what would be installed on each."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bootstrap.distros.schema import Distro, Release
    from bootstrap.packages.client import Request


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """List the known distros; `show` one."""
    if context.invoked_subcommand is not None:
        return
    from bootstrap import distros

    known = distros.load_all()
    if as_json:
        click.echo(json.dumps([_row(distro) for distro in known.values()], indent=2, ensure_ascii=False))
        return
    rows: list[tuple[str, ...]] = [("name", "distro", "manager", "releases (* the default)", "login", "billed by")]
    rows += [_line(distro) for distro in known.values()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    click.echo("\nWhat of this was run, and where: docs/distros.md. NAME or NAME:RELEASE selects one: ubuntu:22.04")


@command.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--arch", type=click.Choice(["x86_64", "arm64"]), default="x86_64", show_default=True)
def show(name: str, *, as_json: bool, arch: str) -> None:
    """Print what would be installed on a bare host of NAME (or NAME:RELEASE), and how EC2's image is found."""
    from bootstrap import distros

    release = distros.find(name)
    details = _details(release, arch)
    if as_json:
        click.echo(json.dumps(details, indent=2, ensure_ascii=False))
        return
    click.echo(f"{release.title}, release {release.version} ({release.name})")
    if release.refuse:
        click.echo(f"  refused: {release.refuse}")
        return
    for key, value in details.items():
        if key in ("name", "title", "release", "refuse") or value in (None, [], {}):
            continue
        _print_item(key, value)


def _print_item(key: str, value: Any) -> None:
    label = f"  {key.replace('_', ' ')}"
    if isinstance(value, dict):
        click.echo(label)
        for name, words in value.items():
            shown = " ".join(words) if isinstance(words, list) else words
            click.echo(f"    {name.replace('_', ' '):14} {shown if shown not in (None, '') else 'none'}")
    elif isinstance(value, list):
        click.echo(label)
        for line in value:
            click.echo(f"    {line}")
    else:
        click.echo(f"{label}: {value}")


def _row(distro: Distro) -> dict[str, Any]:
    default = distro.release()
    return {
        "name": distro.name,
        "title": distro.title,
        "id": list(distro.identify.id),
        "manager": default.manager,
        "releases": list(distro.releases),
        "default": distro.default,
        "refused": {key: release.refuse for key, release in distro.releases.items() if release.refuse},
        "user": default.ec2.user if default.ec2 else None,
        "billing": default.ec2.billing if default.ec2 else None,
    }


def _line(distro: Distro) -> tuple[str, ...]:
    row = _row(distro)
    keys = [f"{key}*" if key == distro.default and len(distro.releases) > 1 else key for key in distro.releases]
    shown = ", ".join(f"{key} (refused)" if key.rstrip("*") in row["refused"] else key for key in keys)
    return (distro.name, distro.title, row["manager"], shown, row["user"] or "-", row["billing"] or "-")


def _printed(request: Request) -> list[str] | None:
    """Return the commands as the package-manager client prints them; None where there is no bash to run it."""
    try:
        return request.commands()
    except (OSError, subprocess.CalledProcessError):
        click.echo("note: the commands are not shown: they are printed by bash, which does not run here", err=True)
        return None


def _details(release: Release, arch: str) -> dict[str, Any]:
    from bootstrap.distros import requirements
    from bootstrap.packages import nvidia
    from bootstrap.packages.client import Request
    from bootstrap.system.facts import Facts
    from bootstrap.system.os_release import OsRelease

    bare = Facts(
        OsRelease(id=release.distro, version_id=release.version),
        arch="aarch64" if arch == "arm64" else arch,
        kernel="$(uname -r)",
    )
    required, optional = requirements.wanted(release, bare)
    python = release.python[0].packages if release.python else ()
    request = Request(release.manager, (*requirements.names(required.values()), *python), tuple(optional.values()))
    driver = _printed(nvidia.plan(release.manager, release.nvidia, bare)) if release.nvidia else []
    image = release.ec2.image if release.ec2 else None
    return {
        "name": release.name,
        "title": release.title,
        "release": release.version,
        "refuse": release.refuse,
        "glibc": release.glibc,
        "python": [
            f"{p.command} ({p.python_version}) from {' '.join(p.packages)}{f'; {p.note}' if p.note else ''}"
            for p in release.python
        ]
        + [f"else a Python {release.managed_python} that uv brings (from GitHub; planned, not proven)"],
        "packages_by_need": {need: list(names) or None for need, names in release.packages.items()},
        "commands_on_a_bare_host": _printed(request),
        "waits_at_first_boot": list(release.first_boot),
        "nvidia_driver": driver[1:] if driver else driver,
        "ec2": {
            "user": release.ec2.user,
            "owner": image.owner,
            "image_name": image.name_for(arch),
            "ssm_parameter": image.ssm_for(arch),
            "root_volume_gib": release.ec2.root_gib,
            "root_volume_gib_with_gpu": release.ec2.root_gib_gpu,
            "billed_by_the": release.ec2.billing,
        }
        if release.ec2 and image
        else None,
    }
