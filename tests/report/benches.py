"""Files as `charrnn bench --json` writes them, for machines that do not exist."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def point(
    *, threads: int = 1, size: int = 128, rate: float = 100_000.0, device: str = "cpu", precision: str = "bf16"
) -> dict[str, Any]:
    """A point of the grid: 10,000 operations a character at 128 units, as the square of the size above it."""
    operations = 10_000 * (size / 128) ** 2

    def spread(value: float) -> dict[str, float]:
        return {"median": value, "least": value * 0.97, "most": value * 1.02, "count": 3}

    return {
        "device": "auto",
        "threads": 0,
        "model": "lstm",
        "rnn_size": size,
        "num_layers": 2,
        "batch_size": 50,
        "seq_length": 50,
        "precision": "auto",
        "execution": {"device": device, "threads": threads, "precision": precision, "kernel": "compiled"},
        "milliseconds": spread(2500e3 / rate),
        "iterations_per_second": spread(rate / 2500),
        "characters_per_second": spread(rate),
        "gigaflops": rate * operations / 1e9,
        "first_checkpoint_seconds": spread(6.0),
        "iterations": 220,
        "val_loss": 1.9,
        "split": "interleaved",
        "peak_memory_bytes": 300_000_000,
        "symbols": 65,
    }


def document(points: Sequence[dict[str, Any]], *, host: str = "here", cpu: str = "Some CPU") -> dict[str, Any]:
    """The whole of a file; the peak is ten times the arithmetic of the first point, a thread."""
    first = points[0]["gigaflops"]
    keys = {(p["execution"]["device"], p["execution"]["precision"], p["execution"]["threads"]) for p in points}
    return {
        "format": 1,
        "kind": "bench",
        "machine": {"host": host, "cpu": cpu, "cpus": 8, "cpus_allowed": 8},
        "peaks": [
            {"device": device, "precision": precision, "threads": threads, "gigaflops": 10 * first * threads}
            for device, precision, threads in sorted(keys)
        ],
        "points": list(points),
    }


def write(folder: Path, name: str, whole: dict[str, Any]) -> Path:
    file = folder / name
    file.write_text(json.dumps(whole))
    return file
