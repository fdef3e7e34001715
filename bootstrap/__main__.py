"""The `charrnn-bootstrap` command from its first moment: Ctrl-C while it is still being imported ends it quietly."""

from __future__ import annotations

import sys


def main() -> None:
    """Be the console script, and `python -m bootstrap`."""
    try:
        import cli  # noqa: PLC0415 - brings click, which takes a moment

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
