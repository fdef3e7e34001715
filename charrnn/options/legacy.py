"""Legacy options: command lines written for char-rnn and torch-rnn mean here what they meant there."""

import difflib
from collections.abc import Iterable
from pathlib import PurePath

from charrnn.errors import UsageError
from charrnn.options.table import LEGACY_ONLY, flags

COMMAND_LINE_ONLY = ("resume", "help")
"""Options of the command that are not options of a run."""


def modernise(arguments: Iterable[str]) -> list[str]:
    """The arguments as today's options: `-rnn_size 512` becomes `--rnn-size 512`.

    One dash or two, underscores or dashes, `-name value` or `-name=value`; the switches' 0 and 1 too. Raises
    UsageError for a name that none of the programs knows, with the nearest one that there is.
    """
    left = list(arguments)
    done: list[str] = []
    while left:
        argument = left.pop(0)
        if argument == "--":
            return [*done, argument, *left]
        if not _is_option(argument):
            done.append(argument)
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        done += _translate(name.replace("_", "-"), value if equals else None, left)
    return done


def legacy_options(incomplete: str) -> list[str]:
    """The originals' options that begin like this, for the shell's completion: -rnn_size for -rnn."""
    known = {name for flag in flags().values() for name in (flag.char_rnn, flag.torch_rnn)}
    known |= {flag.name for flag in LEGACY_ONLY}
    return sorted(f"-{name}" for name in known if name and f"-{name}".startswith(incomplete))


def _is_option(argument: str) -> bool:
    """Whether this is an option with a long name (-1 is a value; -h is click's)."""
    bare = argument.lstrip("-")
    return argument.startswith("-") and bare[:1].isalpha() and (len(bare) > 1 or argument.startswith("--"))


def _names() -> dict[str, str]:
    return {spelling: name for name, flag in flags().items() for spelling in flag.names}


def _translate(name: str, value: str | None, left: list[str]) -> list[str]:
    """One of today's options; takes its value from `left` where it stands there."""
    if name in COMMAND_LINE_ONLY:
        return [f"--{name}" if value is None else f"--{name}={value}"]
    negated = name.startswith("no-") and name not in _names()
    known = _names().get(name.removeprefix("no-") if negated else name)
    if known is None:
        return _old_only(name, value, left)
    flag = flags()[known]
    if flag.kind is bool:
        if value is None and left and left[0] in ("0", "1"):
            value = left.pop(0)
        return [_switch(flag.name, name, value, negated=negated)]
    if negated:
        raise UsageError(f"{flag.option} takes a value: there is no --{name}")
    if value is None:
        value = _next(name, left)
    if not value and flag.default is None and (flag.char_rnn or flag.torch_rnn):
        return []  # an empty name was the originals' way of naming none (-init_from "")
    return [f"{flag.option}={value}"]


def _switch(flag: str, name: str, value: str | None, *, negated: bool) -> str:
    if value not in (None, "0", "1"):
        raise UsageError(f"-{name} {value}: it is 1 or 0")
    on = (value != "0") != negated
    return ("--" if on else "--no-") + flag.replace("_", "-")


def _next(name: str, left: list[str]) -> str:
    # A value may begin with a dash (-gpuid -1), but where it is an option's name, the value was forgotten.
    if not left or (left[0].startswith("--") and left[0][2:].partition("=")[0].replace("_", "-") in _names()):
        raise UsageError(f"-{name} needs a value")
    return left.pop(0)


def _old_only(name: str, value: str | None, left: list[str]) -> list[str]:
    """Options of the originals that have no namesake here."""
    old = name.replace("-", "_")
    known = [flag.name for flag in LEGACY_ONLY]
    if old not in known:
        names = [*_names(), *(name.replace("_", "-") for name in known), *COMMAND_LINE_ONLY]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean --{near[0]}?" if near else "see charrnn train --help"
        raise UsageError(f"there is no option --{name}: {hint}")
    if value is None:
        value = _next(name, left)
    if old in ("input_h5", "input_json", "output_h5", "output_json"):
        raise UsageError(f"-{old}: charrnn reads text itself and needs no preprocessing; give the text, by --data FILE")
    if old == "test_frac":
        raise UsageError(f"-{old}: the test split is what --train-frac and --val-frac leave of 1; give those two")
    if old in ("gpuid", "gpu"):
        number = gpu_number(old, value)
        return ["--device=cpu" if number < 0 else f"--device=cuda:{number}"]
    if old == "encoding":
        return [f"--tokens={'bytes' if value == 'bytes' else _utf8(value)}"]
    if old == "checkpoint_name":
        path = PurePath(value)
        return [f"--checkpoint-dir={path.parent}", f"--savefile={path.name}"]
    refuse_opencl(old, value)
    return []  # -opencl 0, -gpu_backend cuda, -accurate_gpu_timing: nothing to do


def _utf8(encoding: str) -> str:
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        raise UsageError(
            f"-encoding {encoding}: text is UTF-8 or bytes here; convert it (iconv -f {encoding} -t UTF-8)"
        )
    return "characters"


def gpu_number(option: str, value: str) -> int:
    """The number after -gpuid or -gpu; -1 is the CPU."""
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"-{option} {value}: give the GPU's number, or -1 for the CPU") from None


def refuse_opencl(option: str, value: str) -> None:
    """Raises UsageError for -opencl 1 and -gpu_backend opencl; what else they say, there is nothing to do for."""
    if (option, value) in {("opencl", "1"), ("gpu_backend", "opencl")}:
        raise UsageError(f"-{option} {value}: there is no OpenCL here; use --device cuda, mps or cpu")
