"""`charrnn-bootstrap completion`: print the completion script for a shell."""

from __future__ import annotations

import click

_PROGRAMS = ("charrnn-bootstrap", "charrnn")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(*, shell: str) -> None:
    r"""Print the script that completes charrnn-bootstrap and charrnn in SHELL.

    \b
    bash   charrnn-bootstrap completion bash > ~/.local/share/bash-completion/completions/charrnn-bootstrap
    zsh    charrnn-bootstrap completion zsh > "${fpath[1]}/_charrnn-bootstrap"
    fish   charrnn-bootstrap completion fish > ~/.config/fish/completions/charrnn-bootstrap.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click knows its own three shells
    empty = click.Group()  # the script only names the program; the program itself is asked at each completion
    for program in _PROGRAMS:
        variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
        source = kind(empty, {}, program, variable).source()
        click.echo(source)
