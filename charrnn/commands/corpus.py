"""`charrnn corpus`: the named corpora, and what a text is like."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from charrnn.commands.common import SETTINGS, note
from charrnn.errors import CorpusError

if TYPE_CHECKING:
    from charrnn.data.encoding import EncodedCorpus

_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


@click.group("corpus", context_settings=SETTINGS)
def command() -> None:
    """List and fetch the named corpora; statistics of a text."""


@command.command("list", context_settings=SETTINGS)
@_json
def list_corpora(as_json: bool) -> None:
    """List the named corpora, and whether they are on this machine."""
    from charrnn.data import corpora

    rows = [_about(corpora.CORPORA[name]) for name in corpora.CORPORA]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        default = " (default)" if row["default"] else ""
        click.echo(f"{row['name']}{default}: {row['title']}; {row['bytes']:,} bytes; {row['licence']}")
        click.echo(f"  {row['path'] or 'not here: charrnn corpus get ' + row['name']}")


def _about(corpus: Any) -> dict[str, Any]:
    from charrnn.data import corpora

    path = corpora.find(corpus.name)
    return {
        "name": corpus.name,
        "title": corpus.title,
        "default": corpus.name == corpora.DEFAULT_CORPUS,
        "bytes": corpus.size,
        "sha256": corpus.sha256,
        "licence": corpus.licence,
        "origin": corpus.origin,
        "path": None if path is None else str(path),
    }


@command.command("get", context_settings=SETTINGS)
@click.argument("name")
@_json
def get_corpus(name: str, as_json: bool) -> None:
    """Fetch a corpus, unless it is here, and print its path."""
    from charrnn.data import corpora

    path = corpora.get(name, None if as_json else note)
    click.echo(json.dumps(_about(corpora.corpus_named(name))) if as_json else os.fsencode(path))


@command.command("path", context_settings=SETTINGS)
@click.argument("name")
@_json
def corpus_path(name: str, as_json: bool) -> None:
    """Print the path of a corpus; fail if it is not on this machine."""
    from charrnn.data import corpora

    path = corpora.find(name)
    if path is None:
        looked = ", ".join(str(folder) for folder in corpora.folders())
        raise CorpusError(f"the corpus {name} is not in {looked}: charrnn corpus get {name}")
    click.echo(json.dumps(_about(corpora.corpus_named(name))) if as_json else os.fsencode(path))


@command.command("stats", context_settings=SETTINGS)
@click.argument("data", nargs=-1, required=True)
@click.option("--tokens", type=click.Choice(["characters", "bytes"]), default="characters", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=50, show_default=True)
@click.option("--seq-length", type=click.IntRange(1), default=50, show_default=True)
@_json
def stats(data: tuple[str, ...], tokens: str, batch_size: int, seq_length: int, as_json: bool) -> None:
    """Size, symbols and entropy of a corpus, file, folder, pattern, or - for standard input."""
    from charrnn.data import corpora

    corpus = corpora.load(data, tokens=tokens, report=note)
    about = _statistics(corpus, batch_size * seq_length)
    if as_json:
        click.echo(json.dumps(about))
        return
    for message in corpus.messages:
        note(message)
    click.echo(f"{about['name']}: {about['characters']:,} {about['tokens']} in {about['bytes']:,} bytes")
    click.echo(f"sha256         {about['sha256']}")
    click.echo(f"symbols        {about['symbols']}")
    click.echo(f"lines          {about['lines']:,}")
    click.echo(
        f"entropy        {about['entropy_bits']:.4f} bits/char by single symbols, {about['bigram_bits']:.4f} by pairs"
    )
    click.echo(f"batches        {about['batches']:,} of {batch_size} x {seq_length}")
    common = ", ".join(f"{json.dumps(row['symbol'], ensure_ascii=False)} {row['share']:.1%}" for row in about["common"])
    click.echo(f"most common    {common}")


def _statistics(corpus: EncodedCorpus, block: int) -> dict[str, Any]:
    """What `stats` tells. Entropies are of the text itself: bits to code a symbol, alone or after the one before."""
    import numpy as np

    size, piece = len(corpus.vocabulary), 1 << 22
    counts = np.zeros(size, np.int64)
    pairs = np.zeros(size * size if size <= 1024 else 0, np.int64)
    for start in range(0, len(corpus.ids), piece):
        part = corpus.ids[start : start + piece + 1].astype(np.int64)
        counts += np.bincount(part[:piece], minlength=size)
        if pairs.size:
            pairs += np.bincount(part[:-1] * size + part[1:], minlength=size * size)
    order = np.argsort(-counts, kind="stable")[:10].tolist()
    symbols = corpus.vocabulary.symbols
    newline = symbols.index("\n") if "\n" in symbols else None
    total = len(corpus.ids)
    single = _entropy(counts)
    joint = _entropy(pairs) - _entropy(pairs.reshape(size, size).sum(axis=1)) if pairs.any() else None
    return {
        **corpus.describe(),
        "tokens": corpus.vocabulary.kind,
        "symbols": size,
        "lines": int(counts[newline]) if newline is not None else 1,
        "entropy_bits": single,
        "bigram_bits": single if joint is None else joint,
        "batches": total // block,
        "common": [{"symbol": symbols[k], "count": int(counts[k]), "share": counts[k] / total} for k in order],
    }


def _entropy(counts: Any) -> float:
    import numpy as np

    shares = counts[counts > 0] / counts.sum()
    return float(0 - (shares * np.log2(shares)).sum())  # 0, not -0, where there is but one


@command.command("novel", context_settings=SETTINGS)
@click.argument("sampled")
@click.argument("training")
@click.option("--longest", type=int, default=49, show_default=True, help="The longest substrings to look for.")
@_json
def novel(sampled: str, training: str, longest: int, as_json: bool) -> None:
    """N-gram novelty: the share of a sample's substrings that are not in the training text."""
    import numpy as np

    from charrnn.data import corpora
    from charrnn.sampling.novelty import novel_substrings

    known = corpora.load(training, report=note)
    text = corpora.load(sampled, tokens=known.vocabulary.kind)
    # A symbol that only the sample has gets a number of its own.
    index = {symbol: number for number, symbol in enumerate(known.vocabulary.symbols)}
    fresh = [index.setdefault(symbol, len(index)) for symbol in text.vocabulary.symbols]
    rows = list(novel_substrings(np.array(fresh)[text.ids], known.ids, longest))
    if as_json:
        click.echo(
            json.dumps([{"length": row.length, "substrings": row.substrings, "novel": row.share} for row in rows])
        )
        return
    for row in rows:
        click.echo(f"{row.length:>4}  {row.share:.4f}")
