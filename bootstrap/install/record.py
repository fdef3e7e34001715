"""Puts a local run into the ledger of the user who called: `python -m bootstrap.install.record`, run as that user.

The stream of events comes on standard input: the install's, and the first checkpoint's where there was one. It is
kept beside the sessions too, for whoever wants it raw.
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

from bootstrap import console, events
from bootstrap.errors import BootstrapError
from bootstrap.install.paths import Home
from bootstrap.ledger import Ledger


def main(arguments: list[str] | None = None) -> int:
    """Store the run and print its id."""
    parser = argparse.ArgumentParser(prog="bootstrap.install.record")
    parser.add_argument("--status", choices=["ok", "failed", "interrupted"], default="ok")
    parser.add_argument("--distro", required=True)
    parser.add_argument("--message")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args(arguments)
    text = sys.stdin.read()
    stream = list(events.parse(text.splitlines()))
    try:
        home = Home(Path.home())
        home.root.mkdir(parents=True, exist_ok=True)
        home.events.write_text(text)
        with Ledger() as ledger:
            if ledger.note:
                sys.stderr.write(f"{ledger.note}\n")
            begun = stream[0].instant.wall if stream else None
            run = ledger.start_run("local", options.command, started_wall=begun)
            host = ledger.add_host(run, platform.node() or "local", options.distro)
            ledger.replace_phases(host, "host", stream)
            ledger.update_host(host, status=options.status, failure_message=options.message)
            ledger.finish_run(run, options.status)
    except BootstrapError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{error.strerror}: {error.filename}\n")
        return 1
    sys.stdout.write(f"{run}\n")
    return 0


if __name__ == "__main__":
    console.prepare()
    sys.exit(main())
