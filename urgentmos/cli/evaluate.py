"""``urgentmos evaluate``: how models, other tools and tables of scores agree with listeners."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from urgentmos.cli import EXIT_SOME_FAILED
from urgentmos.cli.model_options import DeviceOption, load_assessor
from urgentmos.cli.progress import Failures, track
from urgentmos.user_cache import UserCacheError, user_cache

if TYPE_CHECKING:
    from urgentmos.data.manifest import Recording
    from urgentmos.data.pairs import Matching
    from urgentmos.evaluation.material import Material
    from urgentmos.evaluation.mos_rmbench import Benchmark
    from urgentmos.evaluation.pair_sets import PairSet
    from urgentmos.evaluation.predictors import ScorePredictor
    from urgentmos.evaluation.ratings import RatedCorpus
    from urgentmos.evaluation.tables import Table
    from urgentmos.model.assessor import Assessor
    from urgentmos.scoring import Row

_ONLY_IN_FILES = ("Confusion",)


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
        typer.Option(
            help="Pairs of the same reference, of any two (corpus, any: within a corpus), or none."
        ),
    ] = "ref",
    delta: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Largest difference that is a tie: on a five-point scale, and in the comparison "
            "scores of pairs.",
        ),
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
        Path | None,
        typer.Option(help="CSV that keeps the scores of peers; one in the user's cache otherwise."),
    ] = None,
    device: DeviceOption = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes for the peers.")] = 1,
) -> None:
    """Print how well predictors agree with listeners, each corpus apart.

    Rated manifests give correlations per file and system, and accuracies over pairs; manifests with
    several labels a correlation per metric; paired manifests accuracies. Exit status 1 if a model
    or a peer could not score a recording, 2 for wrong usage.
    """
    from urgentmos.evaluation.bootstrap import Resampling
    from urgentmos.evaluation.figures import draw_figures, remove_figures
    from urgentmos.evaluation.judges import gather_judges
    from urgentmos.evaluation.material import read_material
    from urgentmos.evaluation.mos_rmbench_report import benchmark_tables
    from urgentmos.evaluation.report import evaluation_tables, model_table
    from urgentmos.evaluation.score_tables import read_score_columns
    from urgentmos.evaluation.urgentmos_benchmark import count_table
    from urgentmos.metrics import check_metrics

    is_rmbench = benchmark == "mos-rmbench"
    if pin is not None and not is_rmbench:
        raise typer.BadParameter("--pin is for the pairs of --benchmark mos-rmbench")
    _check_output(output, figures=figures)
    assessors = _load(model or ["default"], device)
    for assessor in assessors.values():
        (metric,) = check_metrics([metric], assessor.metrics)

    split = split or ("test" if is_rmbench else None)
    material = read_material(manifests, labels=labels or [], split=split, delta=delta)
    material.check_labelled([name for each in assessors.values() for name in each.metrics])
    rmbench = _draw_rmbench(material, split or "test", seed=seed, pin=pin) if is_rmbench else None
    pair_sets = list(rmbench.pair_sets.values() if rmbench else material.pair_sets)
    if rmbench is None and matching != "none":
        ordered = benchmark == "urgentmos"
        pair_sets += _pair(material.corpora, matching, ordered=ordered, delta=delta, seed=seed)

    recordings, paths, failures = material.recordings, material.paths, Failures()
    peers = list(dict.fromkeys(peer or []))
    # Before the models: a table that cannot be read or a tool that is missing is told at once.
    columns = read_score_columns(scores or [], recordings=recordings)
    beside = [*_score_with_peers(recordings, peers, peer_cache, workers, failures), *columns]
    predictors = _score_with_models(assessors, paths, failures)
    judges = gather_judges(assessors, predictors, metric=metric, beside=beside)

    answers = [judges.answer(pairs, delta=delta) for pairs in pair_sets]
    resampling = Resampling(bootstrap, seed)
    if rmbench is not None:
        on_triplets = [judges.answer(pairs, delta=delta) for pairs in rmbench.triplets.values()]
        tables = benchmark_tables(rmbench, answers, on_triplets, resampling=resampling)
    else:
        tables = evaluation_tables(
            material.corpora,
            answers,
            scorers=judges.scorers,
            predictors=predictors,
            resampling=resampling,
        )
    if benchmark == "urgentmos":
        tables.insert(0, count_table(pair_sets))
    _show([*tables, model_table(assessors)], output)
    if output is not None:
        remove_figures(output)
    if figures and output is not None:
        draw_figures(material.corpora, judges.scorers, answers, output)
    failures.tell(len(paths) * (len(assessors) + len(peers)))
    if failures.count:
        raise typer.Exit(EXIT_SOME_FAILED)


def _check_output(output: Path | None, *, figures: bool) -> None:
    """Make the folder, and refuse now what could not be written when everything is scored."""
    from urgentmos.extras import require

    if figures and output is None:
        raise typer.BadParameter("--figures needs --output: the folder to draw into")
    if figures:
        require("matplotlib", extra="evaluate")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        if not os.access(output, os.W_OK):
            raise typer.BadParameter(f"the folder {str(output)!r} may not be written")


def _load(models: Sequence[str], device: str | None) -> "dict[str, Assessor]":
    """Load models under short names, or as they were given where those are not enough."""
    short = [Path(name).name for name in models]
    names = short if len(set(short)) == len(short) else models
    return {name: load_assessor(path, device) for name, path in zip(names, models, strict=True)}


def _draw_rmbench(material: "Material", split: str, *, seed: int, pin: str | None) -> "Benchmark":
    from urgentmos.evaluation.mos_rmbench import build_benchmark

    if material.pair_sets:
        raise typer.BadParameter(
            "MOS-RMBench draws its pairs from rated corpora; "
            f"{material.pair_sets[0].name} holds pairs"
        )
    return build_benchmark(material.corpora, split=split, seed=seed, pin=pin)


def _pair(
    corpora: "Sequence[RatedCorpus]",
    matching: "Matching",
    *,
    ordered: bool,
    delta: float,
    seed: int,
) -> "Iterator[PairSet]":
    """Pair what is rated; a corpus in which nothing can be paired so is named on stderr."""
    from urgentmos.evaluation.pair_sets import BENCHMARK_CAP, can_pair, pair_rated_corpus

    for corpus in corpora:
        if not can_pair(corpus, matching):
            typer.echo(f"{corpus.name}: no rated pairs by {matching!r}", err=True)
            continue
        yield pair_rated_corpus(
            corpus, matching=matching, delta=delta, ordered=ordered, cap=BENCHMARK_CAP, seed=seed
        )


def _score_with_peers(
    recordings: "Sequence[Recording]",
    peers: Sequence[str],
    cache: Path | None,
    workers: int,
    failures: Failures,
) -> "list[ScorePredictor]":
    if not peers:
        return []
    from urgentmos.evaluation.peers import score_with_peers
    from urgentmos.metrics import METRICS

    scored = score_with_peers(
        recordings,
        peers,
        cache=cache or _default_cache(),
        workers=workers,
        progress=sys.stderr.isatty(),
    )
    for metric, reasons in scored.missing.items():
        typer.echo(
            f"{METRICS[metric].title}: no score of {sum(reasons.values())} recordings, most often: "
            f"{next(iter(reasons))}",
            err=True,
        )
    for path, reason in scored.failures:
        failures.add(str(path), reason)
    return scored.predictors


def _default_cache() -> Path:
    try:
        return user_cache() / "peers.csv"
    except UserCacheError as error:
        raise typer.BadParameter(f"{error}, or name a table: --peer-cache") from error


def _score_with_models(
    assessors: "Mapping[str, Assessor]", paths: Sequence[Path], failures: Failures
) -> "list[ScorePredictor]":
    """Score every file once with every model."""
    from urgentmos.evaluation.predictors import predictors_of_model
    from urgentmos.scoring import score_files

    predictors: list[ScorePredictor] = []
    for name, assessor in assessors.items():
        rows = track(score_files(assessor, paths), total=len(paths), rows_on_stdout=False)
        rows = _watched(rows, failures)
        predictors += predictors_of_model(name, assessor.metrics, paths, rows)
    return predictors


def _watched(rows: "Iterable[Row]", failures: Failures) -> "Iterator[Row]":
    for row in rows:
        if row.status == "failed":
            failures.add(row.path, row.error)
        yield row


def _show(tables: "Sequence[Table]", output: Path | None) -> None:
    """Print what is filled, and write it into a folder where there is one."""
    from urgentmos.evaluation.tables import to_markdown, write_tables

    filled = [table for table in tables if table.rows]
    for table in filled:
        if table.title not in _ONLY_IN_FILES:
            typer.echo(to_markdown(table))
    if output is not None:
        written = write_tables(filled, output)
        typer.echo(f"{output}: {', '.join(path.name for path in written)}", err=True)
