"""Command lines written for the originals' sample.lua, eval.lua and inspect_checkpoint.lua, as today's verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from charrnn.errors import UsageError
from charrnn.options.legacy import gpu_number, refuse_opencl

if TYPE_CHECKING:
    from collections.abc import Iterator

RENAMED = {"primetext": "--prime", "start-text": "--prime"}
"""What the originals called options that have another name here."""

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""What torch-rnn's eval.lua takes as its -split."""

_DEVICE, _BACKEND = ("gpuid", "gpu"), ("opencl", "gpu-backend")


class LegacyOptions(click.Command):
    """Takes `-primetext X`, `-gpuid -1` and so on for what they meant in the original programs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's own, after the options were translated."""
        if ctx.resilient_parsing:  # the shell's completion: the line is not finished, and wrong as it stands
            return super().parse_args(ctx, args)
        flags = {name for option in self.params if getattr(option, "is_flag", False) for name in option.opts}
        known = {name for option in self.params for name in option.opts}
        return super().parse_args(ctx, list(_modernised(list(args), known, flags | {"--help", "-h"})))


def _modernised(args: list[str], known: set[str], flags: set[str]) -> Iterator[str]:
    while args:
        argument = args.pop(0)
        bare = argument.lstrip("-")
        if argument == "--":
            yield from [argument, *args]
            return
        if not argument.startswith("-") or not bare[:1].isalpha() or (len(bare) == 1 and argument != "--" + bare):
            yield argument
            continue
        name, equals, value = bare.partition("=")
        name = name.replace("_", "-")
        option = RENAMED.get(name, f"--{name}")
        if option in flags or (option not in known and name not in (*_DEVICE, *_BACKEND)):
            yield f"{option}={value}" if equals else option  # click says what is wrong with an unknown one
            continue
        if not equals:
            if not args:
                raise UsageError(f"{argument} needs a value")
            value = args.pop(0)
        yield from _translated(name, option, value, known)


def _translated(name: str, option: str, value: str, known: set[str]) -> Iterator[str]:
    if name in _BACKEND:
        refuse_opencl(name.replace("-", "_"), value)
    elif name in _DEVICE:
        # The originals' default was GPU 0 with a fall back to the CPU, so that is what it asks for.
        device = "cpu" if gpu_number(name, value) < 0 else "auto"
        if "--device" in known:
            yield f"--device={device}"
    elif name == "split" and value in PARTS and "--part" in known:
        yield f"--part={PARTS[value]}"
    else:
        yield f"{option}={value}"
