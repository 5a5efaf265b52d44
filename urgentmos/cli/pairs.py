"""``urgentmos pairs``: rated recordings to pairs with a preference."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from urgentmos.verdict import VERDICTS


def pairs(
    manifest: Annotated[
        Path, typer.Argument(help="Rated recordings, or native pairs (JSON lines).")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Pairs to write (JSON lines).")],
    matching: Annotated[
        Literal["ref", "corpus", "any", "strength"],
        typer.Option(help="May be compared: same content, same corpus, any, same family."),
    ] = "ref",
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Also (B, A) for each pair (A, B).")
    ] = False,
    cap: Annotated[
        int | None, typer.Option(min=1, help="At most this many, drawn at random.")
    ] = None,
    drop_ties_within: Annotated[
        float | None, typer.Option(min=0.0, help="Leave out pairs whose MOS differ by no more.")
    ] = None,
    delta: Annotated[
        float, typer.Option(min=0.0, help="Largest difference counted as a tie in the summary.")
    ] = 0.5,
    labels: Annotated[
        list[Path] | None, typer.Option(help="Label table merged onto the recordings.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
) -> None:
    """Write pairs of recordings with their comparison score, positive where A is better.

    Natively paired corpora pass through, capped and thinned by the same rules.
    """
    import numpy as np

    from urgentmos.data.manifest import is_pair_manifest, read_manifest, read_pairs, write_pairs
    from urgentmos.data.pairs import cap_pairs, make_pairs, preference

    if output.exists() and output.samefile(manifest):
        raise typer.BadParameter("--output is the manifest itself, which it would replace")
    if is_pair_manifest(manifest):
        made = cap_pairs(
            read_pairs(manifest), cap=cap, drop_ties_within=drop_ties_within, seed=seed
        )
    else:
        made = make_pairs(
            read_manifest(manifest, labels=labels or []),
            matching=matching,
            ordered=ordered,
            cap=cap,
            drop_ties_within=drop_ties_within,
            seed=seed,
        )
    write_pairs(output, made)
    verdicts = Counter(preference(np.array([pair.cmos for pair in made]), delta=delta).tolist())
    counts = (f"{name} {verdicts[sign]:,}" for name, sign in zip(VERDICTS, (1, 0, -1), strict=True))
    typer.echo(f"{len(made):,} pairs in {output}: {', '.join(counts)} (delta {delta:g})")
