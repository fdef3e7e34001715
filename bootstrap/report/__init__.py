"""Where the time went: the ledger's rows as statistics, sentences and pictures. Reads the ledger only."""

from bootstrap.report.data import Data, load
from bootstrap.report.summary import Report, summarise

__all__ = ["Data", "Report", "load", "summarise"]
