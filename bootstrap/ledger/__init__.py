"""What happened: runs, hosts, phases, facts. Reports are made of it and of nothing else.

It is not the truth about what is running: the cloud is (`ps`, `down` and `sweep` ask the provider).
"""

from bootstrap.ledger.files import DamagedLedgerError, default_path
from bootstrap.ledger.store import Ledger, new_run_id

__all__ = ["DamagedLedgerError", "Ledger", "default_path", "new_run_id"]
