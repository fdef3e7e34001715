"""What happened: runs, hosts, phases, facts. Reports are made of it and of nothing else.

It is not the truth about what is running: the cloud is (`ps`, `down` and `sweep` ask the provider).
"""

from bootstrap.ledger.store import Ledger, default_path

__all__ = ["Ledger", "default_path"]
