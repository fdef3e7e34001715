"""`charrnn sample`: text from a checkpoint, as it is made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn import console
from charrnn.commands.common import SETTINGS, note, one_checkpoint
from charrnn.commands.legacy_options import LegacyOptions
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charrnn.data.vocabulary import Vocabulary


@click.command(cls=LegacyOptions, context_settings=SETTINGS)
@click.argument("name", metavar="[CHECKPOINT]", required=False)
@click.option("--checkpoint", help="The same as the argument.", hidden=True)
@click.option("--prime", help="Start text.")
@click.option("--prime-file", metavar="FILE|-", help="Read the start text from a file; - is standard input.")
@click.option("--length", type=int, default=2000, show_default=True, help="Characters after the start text; 0: no end.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Higher is bolder; 0 is --sample 0.")
@click.option("--sample", type=click.IntRange(0, 1), default=1, help="0: always the likeliest character (greedy).")
@click.option("--top-k", type=int, default=0, help="Sample from the k likeliest characters; 0: all.")
@click.option("--top-p", type=float, default=1.0, help="Sample from the fewest characters whose probabilities reach p.")
@click.option("--seed", type=int, default=123, show_default=True, help="The same seed gives the same text.")
@click.option("--count", type=int, default=1, help="Texts, printed one after the other; the k-th has seed + k.")
@click.option("--strict", is_flag=True, help="Fail on characters of the start text that the network does not know.")
@click.option("--verbose", type=click.IntRange(0, 1), default=1, help="0: print start text, text and newline only.")
@click.option("--device", default="cpu", show_default=True, help="cpu, auto, cuda, cuda:N or mps.")
def command(name: str | None, checkpoint: str | None, device: str, **options: Any) -> None:
    """Write text with a trained network.

    CHECKPOINT is a checkpoint, or a folder of them: then the last one. By default it is the last one in ./cv, else the
    last one of the last run.
    """
    _run(one_checkpoint(name, checkpoint), device, **options)


def _run(
    named: Path | None,
    device: str,
    *,
    prime: str | None,
    prime_file: str | None,
    length: int,
    temperature: float,
    sample: int,
    top_k: int,
    top_p: float,
    seed: int,
    count: int,
    strict: bool,
    verbose: int,
) -> None:
    from charrnn.checkpoints import checkpoint as checkpoints
    from charrnn.checkpoints.folder import find
    from charrnn.network.device import resolve_device
    from charrnn.sampling.generation import SamplingConfig, encode_prime, generate

    choice = SamplingConfig(temperature=temperature, argmax=sample == 0, top_k=top_k, top_p=top_p)
    if length < 0:
        raise UsageError(f"a length of {length}: it must be 0 (without end) or more")
    if length == 0 and count > 1:
        raise UsageError("--length 0 has no end, so only one stream can be printed: leave out --count")
    begin = _prime(prime, prime_file)
    path = find(named)
    loaded = checkpoints.load(path, training=False)
    model, vocabulary = loaded.model().to(resolve_device(device)), loaded.vocabulary
    say = (lambda _: None) if verbose == 0 else note
    if named is None:
        say(f"sampling from {path}")
    known = encode_prime(vocabulary, begin, strict=strict, report=note)
    if not known.size:
        say("no prime: the first character is drawn uniformly")
    output = _Output(count, vocabulary, known.tolist(), seed, verbose)
    pieces = generate(
        model, vocabulary, prime=begin, length=length, choice=choice, seed=seed, count=count,
        reset_state_on=loaded.options.get("reset_state_on"),
    )  # fmt: skip
    output.write(pieces)


def _prime(text: str | None, file: str | None) -> bytes:
    """The prime's bytes: as given on the command line, or of a file."""
    if text is not None and file is not None:
        raise UsageError("--prime and --prime-file are both given: choose one")
    if file is None:
        return (text or "").encode("utf-8", "surrogateescape")  # also where the terminal speaks another encoding
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        content.decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the prime {file}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        pass  # a network of bytes takes it; for any other, encoding says what is wrong
    return content


class _Output:
    """Writes the first stream as it is made, and the others after it."""

    def __init__(self, count: int, vocabulary: Vocabulary, prime: list[int], seed: int, verbose: int) -> None:
        self._count, self._verbose, self._seed = count, verbose, seed
        self._prime = vocabulary.decode(prime)

    def write(self, pieces: Iterator[tuple[str, ...]]) -> None:
        """All streams, in order."""
        waiting: list[list[str]] = [[] for _ in range(self._count)]
        self._begin(0)
        try:
            for first, *rest in pieces:
                self._put(first)
                if console.lost():  # nobody gets the rest, which may have no end
                    return
                for stream, piece in zip(waiting[1:], rest, strict=True):
                    stream.append(piece)
        except KeyboardInterrupt:
            self._put("\n")
            raise
        self._put("\n")
        for number, stream in enumerate(waiting[1:], 1):
            self._begin(number)
            self._put("".join(stream) + "\n")

    def _begin(self, number: int) -> None:
        if self._verbose and self._count > 1:
            self._put(f"--- {number + 1} of {self._count}, seed {self._seed + number} ---\n")
        self._put(self._prime)

    @staticmethod
    def _put(text: str) -> None:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
