"""What `bootstrap.sh` must know of each distro before there is a Python: a table generated from `distros/*.yml`.

`python -m bootstrap.build.shell_table --write` puts it into the script, `--check` fails when it is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import distros, environment, resources
from bootstrap.distros import requirements
from bootstrap.errors import UsageError
from bootstrap.system.facts import Facts
from bootstrap.system.os_release import OsRelease

if TYPE_CHECKING:
    from bootstrap.distros.schema import Distro, Release

_BEGIN = "# ---- generated from distros/*.yml by `python -m bootstrap.build.shell_table --write`: begin\n"
_END = "# ---- generated: end\n"


def render(known: dict[str, Distro]) -> str:
    """Return what is known here only: uv's version, which variables are kept, the table.

    The shell function that prints the table: one line a release, oldest first within a distro.

    Columns: os-release IDs, VARIANT_IDs, a derivative's marks as `mark=version`, release, `default` or nothing,
    manager, Pythons as `command=package,package`, the Python that uv brings else as `version=package`, required
    packages, optional ones as `need=package,package/else`, what registers more repositories, why it is refused, title.
    Distros that ask for a variant come first: they are special cases.
    """
    ordered = sorted(known.values(), key=lambda distro: (not distro.identify.variant, distro.name))
    rows = [_row(distro, release) for distro in ordered for release in distro.releases.values()]
    table = "distro_table() {\n    cat <<'TABLE'\n" + "\n".join(rows) + "\nTABLE\n}\n"
    return (
        f"readonly UV={_uv()}\n"
        f"readonly LOGIN='^({environment.LOGIN})$' # bootstrap/environment.py says why\n"
        f"readonly SETTINGS='^({environment.SETTINGS})$'\n" + table
    )


def _uv() -> str:
    """Return the version of uv that hosts get."""
    pins = (Path(__file__).parents[1] / "install" / "requirements.txt").read_text().splitlines()
    return next(pin.removeprefix("uv==") for pin in pins if pin.startswith("uv=="))


def _row(distro: Distro, release: Release) -> str:
    required, optional = requirements.wanted(release, Facts(OsRelease()))  # of a machine that has nothing
    columns = (
        " ".join(distro.identify.id),
        " ".join(distro.identify.variant),
        " ".join(f"{mark}={version}" for mark, version in distro.marks.items()),
        release.version,
        "default" if release.version == distro.default else "",
        release.manager,
        " ".join(f"{python.command}={','.join(python.packages)}" for python in release.python),
        f"{release.managed_python}={','.join(release.packages['pip'])}",
        " ".join(required.values()).replace(",", " "),
        " ".join(f"{need}={group}" for need, group in optional.items()),
        release.registration or "",
        release.refuse or "",
        distro.title,
    )
    if any("|" in column or "\n" in column for column in columns):
        raise UsageError(
            f"distros/{distro.name}.yml: release {release.version}: no | or line break may stand in a value"
        )
    return "|".join(columns)


def splice(script: str, block: str) -> str:
    """Return the script with the block between its marks replaced."""
    before, begin, rest = script.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise UsageError("bootstrap.sh has lost the marks of its generated block")
    return before + begin + block + end + after


def main(arguments: list[str], script: Path | None = None) -> int:
    """Write the block, or check it; return the exit code."""
    if arguments not in (["--write"], ["--check"]):
        raise UsageError("give --write or --check")
    path = script or resources.root() / "bootstrap.sh"
    old = path.read_text()
    new = splice(old, render(distros.load_all()))
    if arguments == ["--check"]:
        if new != old:
            sys.stderr.write(f"{path} is stale: run python -m bootstrap.build.shell_table --write\n")
        return int(new != old)
    path.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
