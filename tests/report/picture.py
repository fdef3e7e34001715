"""Draw the README's picture of the report page: `make picture`, with chromium."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from bootstrap.ledger import Ledger
from bootstrap.report import load, summarise
from bootstrap.report.present import page
from tests.report import synthetic

# What fits into a picture: one finding of each kind, and the hosts without their phases.
_CUT = "<style>#figures, .lanes, li:is(:nth-child(2), :nth-child(3), :nth-child(n+6))[class] { display: none }</style>"


def main(picture: Path) -> None:
    """Photograph a page over a made-up launch of six hosts of each of four distros."""
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "report.html"
        with Ledger(Path(folder) / "ledger.sqlite") as ledger:
            command = ["charrnn-bootstrap", "launch", "--replicas", "6"]
            run = ledger.start_run("ec2", command, run_id="k7f3mq", started_wall="2026-11-22T10:00:00.000Z")
            chance = random.Random(4)
            for kind in synthetic.FOUR:
                for number in range(1, 7):
                    synthetic.add_host(ledger, run, kind, f"{kind.distro}-{number}", chance)
            ledger.finish_run(run, "ok")
            html.write_text(page.text(summarise(load(ledger))) + _CUT)
        picture.parent.mkdir(exist_ok=True)
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1080,1600",
             f"--user-data-dir={folder}/profile", f"--screenshot={picture.absolute()}", html.as_uri()],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    Image.open(picture).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
