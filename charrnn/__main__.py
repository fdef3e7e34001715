"""The `charrnn` command from its first moment: Ctrl-C while it is still being imported ends it quietly."""

import sys


def main() -> None:
    """The console script, and `python -m charrnn`."""
    try:
        from charrnn import cli  # noqa: PLC0415 - brings click, which takes a moment

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
