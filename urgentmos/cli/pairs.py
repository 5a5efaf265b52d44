"""``urgentmos pairs``: rated recordings to pairs with a preference."""

import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from urgentmos.cli.input_paths import check_not_read
from urgentmos.cli.output_options import OverwriteOption
from urgentmos.verdict import VERDICTS
from urgentmos.whole_file import whole_file


def pairs(
    manifest: Annotated[
        Path, typer.Argument(help="Rated recordings, or native pairs (JSON lines).")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Pairs to write (JSON lines).")],
    matching: Annotated[
        Literal["ref", "corpus", "any", "strength"] | None,
        typer.Option(
            help="Pairs of the same reference (the default), of the same corpus, of any two "
            "recordings, or of one distortion in two strengths."
        ),
    ] = None,
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
    overwrite: OverwriteOption = False,
) -> None:
    """Write pairs of recordings with their comparison score, positive where A is better.

    Pairs that listeners judged as such (native pairs) pass through, capped and thinned by the same
    rules; --matching, --ordered and --labels are refused for them.
    """
    import numpy as np

    from urgentmos.data.manifest import is_pair_manifest, read_manifest, read_pairs, write_pairs
    from urgentmos.data.pairs import cap_pairs, make_pairs, preference

    check_not_read([manifest, *(labels or [])], [output])
    _check_output(output, overwrite=overwrite)
    if is_pair_manifest(manifest):
        unused = {"--labels": labels, "--ordered": ordered, "--matching": matching}
        given = ", ".join(name for name, value in unused.items() if value)
        if given:
            raise typer.BadParameter(
                f"{str(manifest)!r} holds pairs, which are only capped and thinned: "
                f"leave out {given}"
            )
        made = cap_pairs(
            read_pairs(manifest), cap=cap, drop_ties_within=drop_ties_within, seed=seed
        )
    else:
        made = make_pairs(
            read_manifest(manifest, labels=labels or []),
            matching=matching or "ref",
            ordered=ordered,
            cap=cap,
            drop_ties_within=drop_ties_within,
            seed=seed,
        )
    with whole_file(output) as unfinished:
        write_pairs(unfinished, made)
    verdicts = Counter(preference(np.array([pair.cmos for pair in made]), delta=delta).tolist())
    counts = (f"{name} {verdicts[sign]:,}" for name, sign in zip(VERDICTS, (1, 0, -1), strict=True))
    typer.echo(f"{len(made):,} pairs in {output}: {', '.join(counts)} (delta {delta:g})")


def _check_output(output: Path, *, overwrite: bool) -> None:
    from urgentmos.report.row_file import OutputError, check_place

    check_place(output)
    if not os.path.lexists(output):
        return
    # What is replaced is the name: /dev/stdout would become a file.
    if output.is_symlink() or not output.is_file():
        raise OutputError(f"{str(output)!r} is no plain file: name another output")
    if not overwrite:
        raise OutputError(
            f"{str(output)!r} exists: replace it with --overwrite, or write to another file"
        )
