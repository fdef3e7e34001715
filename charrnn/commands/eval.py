"""`charrnn eval`: the loss of a checkpoint on a text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from charrnn.commands.common import SETTINGS, note, one_checkpoint
from charrnn.commands.legacy_options import LegacyOptions
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.checkpoints.checkpoint import Checkpoint
    from charrnn.data.batches import Loader
    from charrnn.data.encoding import EncodedCorpus


@click.command(cls=LegacyOptions, context_settings=SETTINGS)
@click.argument("name", metavar="[CHECKPOINT]", required=False)
@click.option("--checkpoint", help="The same as the argument.", hidden=True)
@click.option("--data", multiple=True, help="A named corpus, a file, folder or pattern, or -. [shakespeare]")
@click.option("--split", help="interleaved (char-rnn's) or contiguous. [as trained]")
@click.option("--part", default="validation", show_default=True, help="validation, train, test, or all of the text.")
@click.option("--train-frac", type=float, help="Share of the text that was trained on. [as trained]")
@click.option("--val-frac", type=float, help="Share of the text to validate on. [as trained]")
@click.option("--batch-size", type=int, help="Streams that the text is cut into. [as trained]")
@click.option("--seq-length", type=int, help="Characters of a stream in a batch. [as trained]")
@click.option(
    "--streams",
    type=int,
    help="With a contiguous split or all: read the text as this many streams; 1 carries the state. [batch size]",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, auto, cuda, cuda:N or mps.")
@click.option("--per-character", is_flag=True, help="Also print the loss of each character, in nats, in text order.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    name: str | None, checkpoint: str | None, device: str, per_character: bool, as_json: bool, **given: Any
) -> None:
    """Measure a network's loss on a text: nats and bits a character, perplexity.

    The hidden state is zero at the start of each stream, and of each record if the network was trained with
    --reset-state-on. Never compare losses on different splits: interleaved is far easier.
    """
    from charrnn.checkpoints import checkpoint as checkpoints
    from charrnn.checkpoints.folder import find
    from charrnn.data import corpora
    from charrnn.network.device import resolve_device

    path = find(one_checkpoint(name, checkpoint))
    loaded = checkpoints.load(path, training=False)
    corpus = corpora.load(given["data"] or (corpora.DEFAULT_CORPUS,), vocabulary=loaded.vocabulary, report=note)
    for message in corpus.messages:
        note(message)
    loader, about = _part(loaded, corpus, given)
    result = _measure(loaded.model().to(resolve_device(device)), loader, loaded, per_character)
    rows = result.pop("scores", None)
    about = {"checkpoint": str(path), **result, **about, "dtype": loaded.dtype, "corpus": corpus.describe()}
    if as_json:
        click.echo(json.dumps(about if rows is None else {**about, "scores": rows}))
        return
    if rows is not None:
        for offset, symbol, nats in rows:
            click.echo(f"{offset}\t{json.dumps(symbol, ensure_ascii=False)}\t{nats:.4f}")
        return
    where = f"{about['part']} of the {about['split']} split" if about["split"] else "all of the text"
    click.echo(
        f"{about['loss']:.4f} nats/char, {about['bits_per_char']:.4f} bits/char, perplexity {about['perplexity']:.3f}"
        f" ({where}, {about['characters']:,} characters of {corpus.name})"
    )


def _part(loaded: Checkpoint, corpus: EncodedCorpus, given: dict[str, Any]) -> tuple[Loader, dict[str, Any]]:
    """The batches to score, and what is said about them."""
    from charrnn.data.batches import Loader, make_splits

    options = loaded.options
    batch = int(options.get("batch_size", 50)) if given["batch_size"] is None else given["batch_size"]
    length = int(options.get("seq_length", 50)) if given["seq_length"] is None else given["seq_length"]
    split = given["split"] or loaded.split
    reset_on = loaded.vocabulary.encode_separator(options.get("reset_state_on"))  # as trained
    if given["streams"] is not None and given["streams"] < 1:
        raise UsageError(f"--streams {given['streams']}: give at least 1")
    if given["part"] == "all":
        if length < 1:
            raise UsageError(f"a sequence length of {length}: it must be at least 1")
        total = len(corpus.ids) - 1  # the first character has nothing before it
        if total < 1:
            raise UsageError(f"{corpus.name} has a single character: there is nothing to predict")
        streams = max(1, min(given["streams"] or batch, total // length))
        size = total // streams
        loader = Loader(
            corpus.ids,
            first=0,
            stride=size,
            length=size,
            streams=streams,
            sequence_length=length,
            reset_on=reset_on,
        )
        return loader, {"split": None, "part": "all"}
    same = split == loaded.split
    splits = make_splits(
        corpus.ids,
        kind=split,
        batch_size=batch,
        sequence_length=length,
        train_fraction=_first(given["train_frac"], options.get("train_frac") if same else None),
        validation_fraction=_first(given["val_frac"], options.get("val_frac") if same else None),
        reset_on=reset_on,
        evaluation_streams=given["streams"],
    )
    return splits.loader(given["part"]), {"split": split, "part": given["part"], "split_details": splits.description}


def _first(given: float | None, stored: Any) -> float | None:
    return given if given is not None else None if stored is None else float(stored)


def _measure(model: Any, loader: Loader, loaded: Checkpoint, per_character: bool) -> dict[str, Any]:
    from charrnn.evaluation import Evaluation, scores

    rows: list[tuple[int, str, float]] = []
    total, characters, column = 0.0, 0, 0
    symbols = loaded.vocabulary.symbols
    for number, nats in enumerate(scores(model, loader.once())):
        total += float(nats.sum())
        characters += nats.numel()
        if per_character:
            targets = loader.batch(number).y.tolist()
            for stream, (line, costs) in enumerate(zip(targets, nats.tolist(), strict=True)):
                start = loader.first + stream * loader.stride + column + 1
                for offset, (symbol, cost) in enumerate(zip(line, costs, strict=True), start):
                    # The target of the very last character is the very first.
                    rows.append((0 if offset == loader.wrap_at else offset, symbols[symbol], cost))
        column += nats.shape[1]
    result = Evaluation(total / characters, characters)
    measured: dict[str, Any] = {
        "loss": result.loss,
        "bits_per_char": result.bits_per_char,
        "perplexity": result.perplexity,
        "characters": characters,
    }
    return {**measured, "scores": sorted(rows)} if per_character else measured
