"""`charrnn-bootstrap fetch`: copy a host's logs and checkpoints here."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

import click


@click.command("fetch")
@click.argument("host")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Default: the run's folder.")
@click.option("--region", help="Default: as recorded at its launch, else every region.")
@click.option("--profile", help="AWS profile. Default: AWS_PROFILE.")
@click.option("--json", "as_json", is_flag=True, help="Print data instead of text.")
def command(*, host: str, output: Path | None, region: str | None, profile: str | None, as_json: bool) -> None:
    """Copy the logs and the checkpoints of HOST here, each as one archive (.tar.gz)."""
    from bootstrap.hosts.base import check
    from bootstrap.launch import collect, hosts, state
    from bootstrap.playbook.runner import FOLDER

    login = hosts.find(host, region, profile)
    there = login.host()
    target = output or state.fetched(login.run, login.name)
    target.mkdir(parents=True, exist_ok=True)
    files = [collect.logs(there, target, login.run)]
    has = there.run(["sh", "-c", "cd && [ -d charrnn/cv ]"], timeout=60).ok
    if has:
        packed = f"{FOLDER}/{login.run}/cv.tar.gz"
        check(there, ["sh", "-c", 'cd && tar -czf "$1" -C charrnn cv', "sh", packed], timeout=1800)
        there.get(PurePosixPath(packed), target / "cv.tar.gz")
        files.append(target / "cv.tar.gz")
    there.close()
    if as_json:
        click.echo(json.dumps([str(path) for path in files]))
        return
    for path in files:
        click.echo(os.fsencode(path))
    if not has:
        click.echo("There is no checkpoint on the host yet.", err=True)
