"""The journal of calls that change something in AWS, kept in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootstrap.ledger import Ledger


class LedgerJournal:
    """The ledger as a provider's `Journal`."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        self._ledger, self._run_id = ledger, run_id

    def intent(self, action: str, parameters: dict[str, Any], token: str | None) -> int:
        return self._ledger.record_intent(self._run_id, action, parameters, token)

    def outcome(self, number: int, result: Any = None, error: str | None = None) -> None:
        self._ledger.record_outcome(number, result, error)
