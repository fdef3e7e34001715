"""docs/flags.md, made from the options themselves: `python -m charrnn.options.docs > docs/flags.md`."""

import sys
from typing import Any

import click

from charrnn.commands import eval as eval_verb
from charrnn.commands import inspect, sample
from charrnn.options.recipes import RECIPES, recipe_default
from charrnn.options.table import GROUPS, LEGACY_ONLY, Flag, flags

HEAD = """\
# Options of `charrnn train`, `sample`, `eval` and `inspect`

Made from the code by `python -m charrnn.options.docs > docs/flags.md`; a test fails when it is stale.

Legacy options are accepted as the originals wrote them: one dash or two, underscores or dashes, `-rnn_size 512` or
`-rnn_size=512`, and `1` or `0` after a switch. A default in the columns of the recipes is what `--recipe` sets;
an option on the command line overrides it. The first tables are those of `charrnn train`.
"""

SAMPLE_NOTE = """\
`-opencl 0` and `-gpu_backend cuda` are accepted and have no effect; `-opencl 1` and `-gpu_backend opencl` are errors.
`-gpuid N` means the GPU if there is one, else the CPU, as in the originals. torch-rnn's `-length` counted the
start text too; here it counts what comes after it, as char-rnn's.
"""

VERBS: dict[str, tuple[click.Command, dict[str, tuple[str, str]]]] = {
    "sample": (
        sample.command,
        {
            "--checkpoint": ("the argument", "-checkpoint"),
            "--prime": ("-primetext", "-start_text"),
            "--length": ("-length", "-length"),
            "--temperature": ("-temperature", "-temperature"),
            "--sample": ("-sample", "-sample"),
            "--seed": ("-seed", ""),
            "--verbose": ("-verbose", "-verbose"),
            "--device": ("-gpuid", "-gpu"),
        },
    ),
    "eval": (
        eval_verb.command,
        {"--checkpoint": ("", "-checkpoint"), "--part": ("", "-split val"), "--device": ("", "-gpu")},
    ),
    "inspect": (inspect.command, {}),
}
"""The other verbs, with the names of their options in the originals' sample.lua and eval.lua."""


def markdown() -> str:
    """The whole page."""
    lines = [HEAD]
    for group in GROUPS:
        lines += [f"## {group}", ""]
        lines += _table(
            ["option", "in char-rnn", "in torch-rnn", *(f"`{recipe}`" for recipe in RECIPES), "meaning"],
            [_row(flag) for flag in flags().values() if flag.group == group],
        )
    resume = ["`--resume [CHECKPOINT]`", "", "", "", "", "", "resume a run exactly where it stopped"]
    lines += ["## Other", ""]
    lines += _table(["option", "in char-rnn", "in torch-rnn", "", "", "", "meaning"], [resume])
    lines += ["## Options of the originals' training without a namesake", ""]
    rows = [[f"`-{old.name}`", old.program, f"`{old.default}`", old.becomes] for old in LEGACY_ONLY]
    lines += _table(["option", "program", "its default", "what becomes of it"], rows)
    for verb, (command, old) in VERBS.items():
        lines += [f"## charrnn {verb}", ""]
        options = [_verb_row(option, old) for option in command.params if isinstance(option, click.Option)]
        lines += _table(["option", "in char-rnn", "in torch-rnn", "default", "meaning"], options)
        lines += [SAMPLE_NOTE] if verb == "sample" else []
    return "\n".join(lines).rstrip() + "\n"


def _row(flag: Flag) -> list[str]:
    name = f"`--[no-]{flag.option[2:]}`" if flag.kind is bool else f"`{flag.option}`"
    further = [f"`--{spelling.replace('_', '-')}`" for spelling in flag.also]
    return [
        ", ".join([name, *further]),
        f"`-{flag.char_rnn}`" if flag.char_rnn else "",
        f"`-{flag.torch_rnn}`" if flag.torch_rnn else "",
        *(_default(flag, recipe) for recipe in RECIPES),
        flag.meaning + (f" ({', '.join(flag.choices)})" if flag.choices else ""),
    ]


def _verb_row(option: click.Option, old: dict[str, tuple[str, str]]) -> list[str]:
    name = option.opts[0]
    spellings = [f"`{spelling}`" if spelling.startswith("-") else spelling for spelling in old.get(name, ("", ""))]
    plain = isinstance(option.default, int | float | str) and not isinstance(option.default, bool)
    return [f"`{name}`", *spellings, f"`{option.default}`" if plain else "", option.help or ""]


def _default(flag: Flag, recipe: str) -> str:
    if flag.name == "recipe":
        return "default" if recipe == flag.default else ""
    if flag.shown_default:
        return flag.shown_default
    value: Any = recipe_default(recipe, flag.name)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines), ""]


if __name__ == "__main__":
    sys.stdout.write(markdown())
