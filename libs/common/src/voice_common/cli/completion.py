"""``voice completion``: the script that completes commands in a shell."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import get_completion_class

from voice_common.cli.options import CommandError, common_options
from voice_common.cli.output import print_json
from voice_common.cli.root import main


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
def completion(*, shell: str, as_json: bool, data_dir: Path | None) -> None:  # noqa: ARG001 - as every command
    """Print the script that completes commands in a shell.

    \b
    Examples:
      eval "$(voice completion bash)"                                    (in ~/.bashrc)
      eval "$(voice completion zsh)"                                     (in ~/.zshrc)
      voice completion fish > ~/.config/fish/completions/voice.fish
    """  # noqa: D301 - click's mark for lines that stay as they are
    chosen = get_completion_class(shell)
    if chosen is None:
        raise CommandError(f"There is no completion for {shell}; there is one for bash, zsh and fish")
    script = chosen(main, {}, "voice", "_VOICE_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
