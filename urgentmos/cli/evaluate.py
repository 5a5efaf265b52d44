"""``urgentmos evaluate``: how models, other tools and tables of scores agree with listeners."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from urgentmos.cli import EXIT_SOME_FAILED
from urgentmos.cli.model_options import load_assessor
from urgentmos.cli.progress import Failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from urgentmos.data.manifest import Recording
    from urgentmos.data.pairs import Matching
    from urgentmos.evaluation.bootstrap import Resampling
    from urgentmos.evaluation.judges import Judges
    from urgentmos.evaluation.mos_rmbench import Benchmark
    from urgentmos.evaluation.pair_sets import PairSet
    from urgentmos.evaluation.predictors import ScorePredictor
    from urgentmos.evaluation.ratings import RatedCorpus
    from urgentmos.evaluation.report import PairAnswers
    from urgentmos.evaluation.tables import Table
    from urgentmos.model.assessor import Assessor

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
        typer.Option(help="Pairs of the same reference, the same corpus, any two, or no pairs."),
    ] = "ref",
    delta: Annotated[
        float, typer.Option(min=0.0, help="Tie threshold on a five-point scale.")
    ] = 0.5,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamples for intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of pairs and resamples.")] = 0,
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
    several labels a correlation per metric; paired manifests accuracies. Exit status 1 if a
    recording could not be scored, 2 for wrong usage.
    """
    from urgentmos.cli.evaluate_judges import gather_judges, gather_others, score_with_models
    from urgentmos.evaluation.bootstrap import Resampling
    from urgentmos.evaluation.urgentmos_benchmark import count_table
    from urgentmos.metrics import check_metrics

    if figures and output is None:
        raise typer.BadParameter("--figures needs --output: the folder to draw into")
    assessors = _load(model or ["default"], device)
    for assessor in assessors.values():
        (metric,) = check_metrics([metric], assessor.metrics)

    is_rmbench = benchmark == "mos-rmbench"
    split = split or ("test" if is_rmbench else None)
    corpora, pair_sets = _read(manifests, labels or [], split)
    _check_labelled(corpora, pair_sets, assessors)
    if is_rmbench and pair_sets:
        raise typer.BadParameter(
            f"MOS-RMBench draws its pairs from rated corpora; {pair_sets[0].name} holds pairs"
        )
    rmbench = _draw(corpora, split or "test", seed=seed, pin=pin) if is_rmbench else None
    if rmbench is not None:
        pair_sets = [*rmbench.pair_sets.values(), *rmbench.triplets.values()]
    elif matching != "none":
        ordered = benchmark == "urgentmos"
        pair_sets += _pair(corpora, matching, ordered=ordered, delta=delta, seed=seed)

    recordings = _unique_recordings(corpora, pair_sets)
    # Before the models: a table that cannot be read or a tool that is missing is told at once.
    beside = gather_others(
        recordings,
        peers=peer or [],
        columns=scores or [],
        cache=peer_cache or _default_cache(),
        workers=workers,
    )
    failures = Failures()
    predictors = score_with_models(assessors, recordings, failures)
    judges = gather_judges(assessors, predictors, metric=metric, beside=beside)
    answers = [judges.answer(pairs, delta=delta) for pairs in pair_sets]

    resampling = Resampling(bootstrap, seed)
    if rmbench is not None:
        tables = _tabulate_rmbench(rmbench, answers, resampling)
    else:
        tables = _tabulate(corpora, predictors, judges, answers, resampling)
    if benchmark == "urgentmos":
        tables.insert(0, count_table(pair_sets))
    _show([*tables, _name_models(assessors)], output)
    if figures and output is not None:
        # Triplets have tables of their own; their panels would bear the names of the pairs'.
        drawn = answers if rmbench is None else answers[: len(rmbench.pair_sets)]
        _draw_figures(corpora, judges, drawn, output)
    failures.tell(len(recordings) * len(assessors))
    if failures.count:
        raise typer.Exit(EXIT_SOME_FAILED)


def _load(models: "Sequence[str]", device: str | None) -> "dict[str, Assessor]":
    """Load models under short names, or as they were given where those are not enough."""
    short = [Path(name).name for name in models]
    names = short if len(set(short)) == len(short) else models
    return {name: load_assessor(path, device) for name, path in zip(names, models, strict=True)}


def _read(
    manifests: "Sequence[Path]", labels: "Sequence[Path]", split: str | None
) -> "tuple[list[RatedCorpus], list[PairSet]]":
    from urgentmos.data.manifest import is_pair_manifest, read_pairs
    from urgentmos.evaluation.pair_sets import build_pair_set
    from urgentmos.evaluation.ratings import read_rated_corpora

    corpora: list[RatedCorpus] = []
    pair_sets: list[PairSet] = []
    for path in manifests:
        if is_pair_manifest(path):
            pair_sets.append(build_pair_set(path.stem, read_pairs(path)))
        else:
            corpora += read_rated_corpora(path, labels=labels, split=split)
    names = [corpus.name for corpus in corpora] + [pairs.name for pairs in pair_sets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise typer.BadParameter(
            f"several manifests hold a corpus named {repeated[0]!r}; evaluate one at a time"
        )
    return corpora, pair_sets


def _check_labelled(
    corpora: "Sequence[RatedCorpus]",
    pair_sets: "Sequence[PairSet]",
    assessors: "dict[str, Assessor]",
) -> None:
    predicted = [name for assessor in assessors.values() for name in assessor.metrics]
    metrics = list(dict.fromkeys(["mos", *predicted]))
    found = {name for corpus in corpora for each in corpus.recordings for name in each.metrics}
    if not pair_sets and found.isdisjoint(metrics):
        raise typer.BadParameter(
            f"nothing to agree with in {', '.join(corpus.name for corpus in corpora)}: expected a "
            f"'rating', or 'metrics' with one of {', '.join(metrics)}; found "
            f"{', '.join(sorted(found)) or 'no labels'}"
        )


def _draw(
    corpora: "Sequence[RatedCorpus]", split: str, *, seed: int, pin: str | None
) -> "Benchmark":
    from urgentmos.evaluation.mos_rmbench import build_benchmark

    drawn = build_benchmark(corpora, split=split, seed=seed)
    if pin is not None and drawn.digest != pin:
        raise typer.BadParameter(
            f"--pin: expected pairs with digest {pin}, drew {drawn.digest}: the recordings, their "
            "ids or ratings, the split or the seed differ"
        )
    return drawn


def _pair(
    corpora: "Sequence[RatedCorpus]",
    matching: "Matching",
    *,
    ordered: bool,
    delta: float,
    seed: int,
) -> "list[PairSet]":
    from urgentmos.evaluation.pair_sets import BENCHMARK_CAP, can_pair, pair_rated_corpus

    pair_sets = []
    for corpus in corpora:
        if not can_pair(corpus, matching):
            typer.echo(f"{corpus.name}: no rated pairs by {matching!r}", err=True)
            continue
        pair_sets.append(
            pair_rated_corpus(
                corpus,
                matching=matching,
                delta=delta,
                ordered=ordered,
                cap=BENCHMARK_CAP,
                seed=seed,
            )
        )
    return pair_sets


def _unique_recordings(
    corpora: "Sequence[RatedCorpus]", pair_sets: "Sequence[PairSet]"
) -> "list[Recording]":
    from urgentmos.data.manifest import Recording

    unique = {
        recording.audio_path: recording for corpus in corpora for recording in corpus.recordings
    }
    for path in (path for pairs in pair_sets for path in pairs.paths):
        # A native pair says nothing of its members but where they are.
        unique.setdefault(path, Recording(path, str(path), "-", "-", duration=1.0))
    return list(unique.values())


def _tabulate(
    corpora: "Sequence[RatedCorpus]",
    predictors: "Sequence[ScorePredictor]",
    judges: "Judges",
    answers: "Sequence[PairAnswers]",
    resampling: "Resampling",
) -> "list[Table]":
    from urgentmos.evaluation import report

    return [
        report.summary_table(corpora, judges.scorers, answers),
        report.rating_table(corpora, judges.scorers, resampling=resampling),
        report.system_table(corpora, judges.scorers, resampling=resampling),
        report.metric_table(corpora, predictors, resampling=resampling),
        report.preference_table(answers, resampling=resampling),
        report.confusion_table(answers),
        report.rating_difference_table(corpora, judges.scorers, resampling=resampling),
        report.preference_difference_table(answers, resampling=resampling),
    ]


def _tabulate_rmbench(
    rmbench: "Benchmark", answers: "Sequence[PairAnswers]", resampling: "Resampling"
) -> "list[Table]":
    from urgentmos.evaluation import mos_rmbench_report, report

    on_pairs, on_triplets = answers[: len(rmbench.pair_sets)], answers[len(rmbench.pair_sets) :]
    return [
        mos_rmbench_report.composition_table(rmbench),
        *mos_rmbench_report.accuracy_tables(on_pairs, resampling=resampling),
        mos_rmbench_report.percentile_table(on_pairs),
        *mos_rmbench_report.triplet_tables(on_triplets),
        report.preference_difference_table(on_pairs, resampling=resampling),
    ]


def _name_models(assessors: "dict[str, Assessor]") -> "Table":
    from urgentmos.evaluation.tables import Table
    from urgentmos.scoring.provenance import model_id

    table = Table("Models", "Content hash and version of this package.")
    for name, assessor in assessors.items():
        table.rows.append({"predictor": name, "model": model_id(assessor)})
    return table


def _show(tables: "Sequence[Table]", output: Path | None) -> None:
    from urgentmos.evaluation.tables import to_markdown, write_tables

    filled = [table for table in tables if table.rows]
    for table in filled:
        if table.title not in _ONLY_IN_FILES:
            typer.echo(to_markdown(table))
    if output is not None:
        written = write_tables(filled, output)
        typer.echo(f"{output}: {', '.join(path.name for path in written)}", err=True)


def _draw_figures(
    corpora: "Sequence[RatedCorpus]",
    judges: "Judges",
    answers: "Sequence[PairAnswers]",
    output: Path,
) -> None:
    from urgentmos.evaluation import figures
    from urgentmos.evaluation.tables import file_name

    rated = [corpus for corpus in corpora if any("mos" in r.metrics for r in corpus.recordings)]
    if rated and judges.scorers:
        figures.draw_scatter(rated, judges.scorers, output / "scatter.png")
    with_ties = [judged for judged in answers if judged.pair_set.delta > 0]
    if with_ties:
        figures.draw_sweep(with_ties, judges.scorers, output / "sweep.png")
    graded = [judged for judged in answers if judged.pair_set.is_graded]
    if graded:
        figures.draw_bins(graded, output / "bins.png")
    for corpus in corpora:
        columns = figures.matrix_columns(corpus, judges.scorers)
        path = output / f"correlation_{file_name(corpus.name)}.png"
        figures.draw_correlation_matrix(columns, path, title=corpus.name)


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "urgentmos" / "peers.csv"
