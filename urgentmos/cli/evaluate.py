"""``urgentmos evaluate``: how models, other tools and tables of scores agree with listeners."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from urgentmos.cli import EXIT_SOME_FAILED
from urgentmos.cli.model_options import load_assessor
from urgentmos.cli.progress import Failures
from urgentmos.user_cache import UserCacheError, user_cache

if TYPE_CHECKING:
    from urgentmos.model.assessor import Assessor


def evaluate(
    manifests: Annotated[list[Path], typer.Argument(help="Rated, labelled or paired manifests.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Name, folder or Hub id; several are compared. Default: default."),
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="Label tool to set beside, as distill_mos.")
    ] = None,
    scores: Annotated[
        list[str] | None, typer.Option(help="FILE.csv:COLUMN: scores to set beside.")
    ] = None,
    benchmark: Annotated[
        Literal["urgentmos", "mos-rmbench"] | None,
        typer.Option(help="Pairs and tables of a published benchmark."),
    ] = None,
    pin: Annotated[
        str | None, typer.Option(help="Stop unless the MOS-RMBench pairs have this digest.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="The models' metric that is set against ratings.")
    ] = "mos",
    labels: Annotated[
        list[Path] | None, typer.Option(help="Label table to merge into the manifests.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only recordings whose meta.split is this.")
    ] = None,
    matching: Annotated[
        Literal["ref", "corpus", "any", "none"],
        typer.Option(help="Pairs of the same reference, the same corpus, any two, or no pairs."),
    ] = "ref",
    delta: Annotated[
        float, typer.Option(min=0.0, help="Tie threshold on a five-point scale.")
    ] = 0.5,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamples for intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of pairs and resamples.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for Markdown, CSV and JSON.")
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also draw figures (PNG) into the output folder.")
    ] = False,
    peer_cache: Annotated[
        Path | None, typer.Option(help="Table that keeps the scores of peers.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 …; a GPU if there is one otherwise.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes for the peers.")] = 1,
) -> None:
    """Print how well predictors agree with listeners, each corpus apart.

    Rated manifests give correlations per file and system, and accuracies over pairs; manifests with
    several labels a correlation per metric; paired manifests accuracies. Exit status 1 if a model
    or a peer could not score a recording, 2 for wrong usage.
    """
    from urgentmos.cli.evaluate_judges import gather_judges, gather_others, score_with_models
    from urgentmos.cli.evaluate_material import (
        check_labelled,
        draw_benchmark,
        pair_corpora,
        read_material,
        unique_recordings,
    )
    from urgentmos.cli.evaluate_tables import (
        draw_figures,
        name_models,
        show,
        tabulate,
        tabulate_rmbench,
    )
    from urgentmos.evaluation.bootstrap import Resampling
    from urgentmos.evaluation.urgentmos_benchmark import count_table
    from urgentmos.metrics import check_metrics

    if figures and output is None:
        raise typer.BadParameter("--figures needs --output: the folder to draw into")
    _make_writable(output)
    assessors = _load(model or ["default"], device)
    for assessor in assessors.values():
        (metric,) = check_metrics([metric], assessor.metrics)

    is_rmbench = benchmark == "mos-rmbench"
    split = split or ("test" if is_rmbench else None)
    corpora, pair_sets = read_material(manifests, labels or [], split)
    check_labelled(corpora, pair_sets, assessors)
    if is_rmbench and pair_sets:
        raise typer.BadParameter(
            f"MOS-RMBench draws its pairs from rated corpora; {pair_sets[0].name} holds pairs"
        )
    rmbench = draw_benchmark(corpora, split or "test", seed=seed, pin=pin) if is_rmbench else None
    if rmbench is not None:
        pair_sets = [*rmbench.pair_sets.values(), *rmbench.triplets.values()]
    elif matching != "none":
        ordered = benchmark == "urgentmos"
        pair_sets += pair_corpora(corpora, matching, ordered=ordered, delta=delta, seed=seed)

    recordings = unique_recordings(corpora, pair_sets)
    peers = list(dict.fromkeys(peer or []))
    failures = Failures()
    # Before the models: a table that cannot be read or a tool that is missing is told at once.
    beside = gather_others(
        recordings,
        peers=peers,
        columns=scores or [],
        cache=_peer_cache(peer_cache, peers),
        workers=workers,
        failures=failures,
    )
    predictors = score_with_models(assessors, recordings, failures)
    judges = gather_judges(assessors, predictors, metric=metric, beside=beside)
    answers = [judges.answer(pairs, delta=delta) for pairs in pair_sets]

    resampling = Resampling(bootstrap, seed)
    if rmbench is not None:
        tables = tabulate_rmbench(rmbench, answers, resampling)
    else:
        tables = tabulate(corpora, predictors, judges, answers, resampling)
    if benchmark == "urgentmos":
        tables.insert(0, count_table(pair_sets))
    show([*tables, name_models(assessors)], output)
    if figures and output is not None:
        # Triplets have tables of their own; their panels would bear the names of the pairs'.
        drawn = answers if rmbench is None else answers[: len(rmbench.pair_sets)]
        draw_figures(corpora, judges, drawn, output)
    failures.tell(len(recordings) * (len(assessors) + len(peers)))
    if failures.count:
        raise typer.Exit(EXIT_SOME_FAILED)


def _load(models: "Sequence[str]", device: str | None) -> "dict[str, Assessor]":
    """Load models under short names, or as they were given where those are not enough."""
    short = [Path(name).name for name in models]
    names = short if len(set(short)) == len(short) else models
    return {name: load_assessor(path, device) for name, path in zip(names, models, strict=True)}


def _make_writable(output: Path | None) -> None:
    # Now, and not when everything is scored.
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        if not os.access(output, os.W_OK):
            raise typer.BadParameter(f"the folder {str(output)!r} may not be written")


def _peer_cache(stated: Path | None, peers: Sequence[str]) -> Path | None:
    if not peers:
        return None
    if stated is not None:
        return stated
    try:
        return user_cache() / "peers.csv"
    except UserCacheError as error:
        raise typer.BadParameter(f"{error}, or name a table: --peer-cache") from error
