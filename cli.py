"""The `charrnn-bootstrap` command."""


def main() -> None:
    """Placeholder until the verbs stand."""
