"""Where hosts come from. One protocol for all (`base.Provider`); a new one is a module here and a line in `KINDS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.ledger import Ledger
    from bootstrap.providers.base import Provider, Request


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of provider: what makes it, and the options of `launch` that are its own."""

    make: Callable[[Request, Ledger | None, float], Provider]
    options: frozenset[str] = frozenset()


def _ec2(request: Request, ledger: Ledger | None, settle: float) -> Provider:
    from bootstrap.providers.ec2.provider import provider as make  # noqa: PLC0415  (boto3 only where it is used)

    return make(request, ledger, settle)


def _inventory(request: Request, ledger: Ledger | None, settle: float) -> Provider:  # noqa: ARG001
    from bootstrap.providers.inventory import InventoryProvider  # noqa: PLC0415  (paramiko only where it is used)

    return InventoryProvider()


def _local(request: Request, ledger: Ledger | None, settle: float) -> Provider:  # noqa: ARG001
    from bootstrap.providers.local import LocalProvider  # noqa: PLC0415

    return LocalProvider()


_EC2 = ("distros", "replicas", "types", "region", "zone", "subnet", "profile", "spot", "volume_size", "budget")

KINDS = {
    "ec2": Kind(_ec2, frozenset({*_EC2, "max_hours", "ssh_from", "smoke"})),
    "inventory": Kind(_inventory, frozenset({"hosts_file"})),
    "local": Kind(_local),
}


def provider(kind: str, request: Request, *, ledger: Ledger | None = None, settle: float = 10.0) -> Provider:
    """Return the provider of a kind; its libraries are imported now.

    ledger: where it writes down what it does; settle: seconds between the two last looks of a removal.
    """
    return KINDS[kind].make(request, ledger, settle)
