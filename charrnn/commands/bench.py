"""`charrnn bench`: parse, call, present."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from charrnn.errors import UsageError
from charrnn.network.cells import CELLS

if TYPE_CHECKING:
    from charrnn.benchmark import ThreadTiming
    from charrnn.network.autotune import Choice


def _list_of(kind: type) -> Callable[[click.Context, click.Parameter, str | None], tuple[Any, ...]]:
    """A callback that splits an option's value at commas and converts each part."""

    def split(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[Any, ...]:
        try:
            return tuple(kind(part.strip()) for part in (value or "").split(",") if part.strip())
        except ValueError as error:
            raise click.BadParameter(f"{value!r}: give whole numbers with commas between them") from error

    return split


NUMBERS, NAMES = _list_of(int), _list_of(str)


@click.group(invoke_without_command=True)
@click.option("--data", multiple=True, metavar="NAME|PATH", help="What to train on.  [shakespeare]")
@click.option("--device", callback=NAMES, metavar="LIST", help="Devices.  [auto]")
@click.option("--threads", callback=NUMBERS, metavar="LIST", help="CPU threads; 0: what is fastest.  [0]")
@click.option("--model", "--cell", "model", callback=NAMES, metavar="LIST", help=f"Cells: {', '.join(CELLS)}.  [lstm]")
@click.option("--rnn-size", "--size", "rnn_size", callback=NUMBERS, metavar="LIST", help="Hidden units.  [128]")
@click.option("--num-layers", "--layers", "num_layers", callback=NUMBERS, metavar="LIST", help="Layers.  [2]")
@click.option("--batch-size", "--batch", "batch_size", callback=NUMBERS, metavar="LIST", help="Streams.  [50]")
@click.option(
    "--seq-length", "--seq", "seq_length", callback=NUMBERS, metavar="LIST", help="Characters a window.  [50]"
)
@click.option("--precision", callback=NAMES, metavar="LIST", help="auto, fp32, bf16.  [auto]")
@click.option("--iterations", type=click.IntRange(1), help="Measured iterations of a run.  [200; quick: 60]")
@click.option("--warm-up", type=click.IntRange(0), help="Iterations before these.  [20; quick: 10]")
@click.option("--repetitions", type=click.IntRange(1), help="Runs of every point.  [3; quick: 2]")
@click.option("--quick", is_flag=True, help="Less of everything: under a minute for one point.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Measure how fast this machine trains.

    Every combination of the lists is trained in a process of its own, several times: iterations and characters a
    second, time to the first checkpoint, validation loss, memory. The machine's fastest matrix product is measured
    beside them, as the ceiling.
    """
    if context.invoked_subcommand is not None:
        return
    from charrnn import benchmark

    quick = given["quick"]
    plan = benchmark.Plan(
        iterations=given["iterations"] or (60 if quick else 200),
        warm_up=given["warm_up"] if given["warm_up"] is not None else (10 if quick else 20),
        repetitions=given["repetitions"] or (2 if quick else 3),
        data=given["data"] or ("shakespeare",),
    )
    points = benchmark.grid({name: given[name] for name in benchmark.GRID if given[name]})
    machine = benchmark.describe_machine()
    say = (lambda _text: None) if given["as_json"] else click.echo
    say(_machine_line(machine))
    results = []
    for point in points:
        results.append(benchmark.measure_point(point, plan))
        say(_point_line(results[-1]) if len(results) > 1 else f"{_HEADER}\n{_point_line(results[-1])}")
    peaks = [
        {
            "precision": precision,
            "threads": threads,
            "device": device,
            "gigaflops": benchmark.matrix_peak(precision, threads, device),
        }
        for precision, threads, device in sorted(
            {tuple(result["execution"][key] for key in ("precision", "threads", "device")) for result in results}
        )
    ]
    if given["as_json"]:
        whole = {"format": benchmark.FORMAT, "kind": "bench", "machine": machine, "peaks": peaks, "points": results}
        click.echo(json.dumps(whole, indent=1))
    for peak in peaks:
        say(
            f"fastest matrix product here: {peak['gigaflops']:,.0f} GFLOP/s "
            f"({peak['precision']}, {_count(peak['threads'], 'thread')}, {peak['device']})"
        )


_HEADER = (
    f"{'network':<12}{'batch×seq':>10}  {'computed by':<22}{'ms/iteration':>13}{'min–max':>15}"
    f"{'chars/s':>10}{'GFLOP/s':>9}{'first cp':>10}{'memory':>9}{'val loss':>10}"
)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _machine_line(machine: dict[str, Any]) -> str:
    reason = machine["no_compiled_kernels_because"]
    compiled = "compiled kernels" if reason is None else f"no compiled kernels ({reason})"
    return (
        f"{machine['cpu']}, {machine['cpus_allowed']} of {_count(machine['cpus'], 'CPU')}, "
        f"{machine['memory_bytes'] / 2**30:.1f} GiB; torch {machine['torch']}, {machine['instruction_set']}, {compiled}"
    )


def _point_line(point: dict[str, Any]) -> str:
    how, ms = point["execution"], point["milliseconds"]
    by = f"{how['kernel']} {how['precision']} ×{how['threads']}"
    network = f"{point['model']} {point['num_layers']}×{point['rnn_size']}"
    loss = "–" if point["val_loss"] is None else f"{point['val_loss']:.4f}"
    return (
        f"{network:<12}{point['batch_size']:>5}×{point['seq_length']:<4}  {by:<22}{ms['median']:>13.2f}"
        f"{ms['least']:>8.2f}–{ms['most']:<6.2f}{point['characters_per_second']['median']:>10,.0f}"
        f"{point['gigaflops']:>9,.0f}{point['first_checkpoint_seconds']['median']:>8.1f} s"
        f"{point['peak_memory_bytes'] / 2**20:>6.0f} MB{loss:>10}"
    )


@command.command("threads")
@click.option("--model", "--cell", "model", type=click.Choice(tuple(CELLS)), default="lstm")
@click.option("--rnn-size", "--size", "rnn_size", type=click.IntRange(1), default=128, show_default=True)
@click.option("--num-layers", "--layers", "num_layers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--batch-size", "--batch", "batch_size", type=click.IntRange(1), default=50, show_default=True)
@click.option("--seq-length", "--seq", "seq_length", type=click.IntRange(1), default=50, show_default=True)
@click.option("--symbols", type=click.IntRange(2), default=65, show_default=True, help="Size of the vocabulary.")
@click.option("--precision", type=click.Choice(("auto", "fp32", "bf16")), default="auto", show_default=True)
@click.option(
    "--load", type=click.IntRange(0), default=1, show_default=True, help="Busy processes for the second round."
)
@click.option("--windows", type=click.IntRange(1), default=15, show_default=True, help="Measurements of each.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def threads_command(as_json: bool, load: int, windows: int, symbols: int, precision: str, **given: Any) -> None:
    """Measure thread counts, alone and beside a competing load, and keep the best for `charrnn train`.

    First kernel and precision are chosen by measurement, then the threads, never more than the control group and
    the affinity mask allow. The choice is kept by machine and shape; `charrnn train` uses it.
    """
    from charrnn.benchmark import time_threads
    from charrnn.network import autotune as choices
    from charrnn.network.cpus import allowed_cpus
    from charrnn.network.model import ModelConfig

    config = ModelConfig(symbols, given["model"], given["rnn_size"], given["num_layers"])
    shape = choices.Shape(config, given["batch_size"], given["seq_length"])
    measurement = choices.Measurement()
    options = list(choices.candidates(precision))
    if not options:
        raise UsageError(f"nothing here computes in {precision}")
    chosen = choices.fastest(shape, options, measurement)
    counts = sorted(choices.thread_counts(allowed_cpus()))
    timings = time_threads(shape, chosen, counts, load=load, windows=windows, measure=measurement)
    kept = choices.save_cached(shape, f"{precision}-0", chosen, choices.cache_files())
    if as_json:
        click.echo(
            json.dumps(
                {
                    "format": 1,
                    "kind": "threads",
                    "shape": shape.name,
                    "allowed": allowed_cpus(),
                    "load": load,
                    "timings": [asdict(timing) for timing in timings],
                    "choice": asdict(chosen),
                    "kept_in": None if kept is None else str(kept),
                },
                indent=1,
            )
        )
        return
    _present_threads(timings, chosen, load)
    click.echo(f"kept for charrnn train in {kept}" if kept else "the choice could not be kept: no folder to write to")


def _present_threads(timings: "list[ThreadTiming]", chosen: "Choice", load: int) -> None:
    beside = f"beside {_count(load, 'busy process') if load == 1 else f'{load} busy processes'}"
    click.echo(f"{'threads':>7}  {'alone, ms':>24}  {beside + ', ms':>32}")
    for timing in timings:
        row = f"{timing.idle.median:.2f} ({timing.idle.least:.2f}–{timing.idle.most:.2f})"
        loaded = timing.loaded
        other = f"{loaded.median:.2f} ({loaded.least:.2f}–{loaded.most:.2f})" if loaded else "–"
        mark = "  ← chosen" if timing.threads == chosen.threads else ""
        click.echo(f"{timing.threads:>7}  {row:>24}  {other:>32}{mark}")
    under = [timing for timing in timings if timing.loaded]
    if under:
        best = min(under, key=lambda timing: timing.loaded.median if timing.loaded else 0.0).threads
        if best != chosen.threads:
            click.echo(f"beside that load {_count(best, 'thread')} would be fastest: --threads {best}")
    click.echo(f"fastest here: {chosen.kernel}, {chosen.precision}, {_count(chosen.threads, 'thread')}")
