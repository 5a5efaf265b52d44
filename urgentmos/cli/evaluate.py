"""``urgentmos evaluate``: how models, other tools and tables of scores agree with listeners."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from urgentmos.data.manifest import Recording
    from urgentmos.data.pairs import Matching
    from urgentmos.evaluation.bootstrap import Resampling
    from urgentmos.evaluation.judges import Judges
    from urgentmos.evaluation.pair_sets import PairSet
    from urgentmos.evaluation.predictors import PreferenceComparer, ScorePredictor
    from urgentmos.evaluation.ratings import RatedCorpus
    from urgentmos.evaluation.report import PairAnswers
    from urgentmos.evaluation.tables import Table
    from urgentmos.model.assessor import Assessor

_FAILURES_SHOWN = 5
_FILES_ONLY = ("Confusion",)


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
    metric: Annotated[
        str, typer.Option(help="The model's metric that is set against ratings.")
    ] = "mos",
    labels: Annotated[
        list[Path] | None, typer.Option(help="Label table to merge into the manifests.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only recordings whose meta.split is this.")
    ] = None,
    matching: Annotated[
        str, typer.Option(help="Pairs of the same reference (ref), corpus, any, or none.")
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
    peer_cache: Annotated[
        Path | None, typer.Option(help="Table that keeps the scores of peers.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes for the peers.")] = 1,
) -> None:
    """Print how well predictors agree with listeners, each corpus apart.

    Rated manifests give correlations per file and system, and accuracies over pairs; manifests with
    several labels a correlation per metric; paired manifests accuracies. Exit status 1 if a
    recording could not be scored, 2 for wrong usage.
    """
    from urgentmos.evaluation.bootstrap import Resampling
    from urgentmos.evaluation.judges import Judges
    from urgentmos.evaluation.tables import to_markdown, write_tables

    corpora, pair_sets = _read(manifests, labels or [], split)
    pair_sets += _pair(corpora, matching, delta=delta, seed=seed)
    recordings = _unique_recordings(corpora, pair_sets)
    assessors = {name: _load(name, device, metric=metric) for name in model or ["default"]}
    predictors, failures = _score(assessors, recordings)
    beside = _peers(peer or [], recordings, cache=peer_cache or _default_cache(), workers=workers)
    beside += _columns(scores or [], recordings)
    judges = Judges(
        comparers=_comparers(assessors),
        scorers=[predictor for predictor in predictors if predictor.metric == metric] + beside,
    )
    answers = [judges.answer(pairs, delta=delta) for pairs in pair_sets]
    tables = _tabulate(corpora, predictors, judges, answers, Resampling(bootstrap, seed))
    for table in tables:
        if table.title not in _FILES_ONLY:
            typer.echo(to_markdown(table))
    if output is not None:
        for path in write_tables(tables, output):
            typer.echo(f"wrote {path}", err=True)
    if failures:
        _tell(failures)
        raise typer.Exit(1)


def _read(
    manifests: "Sequence[Path]", labels: "Sequence[Path]", split: str | None
) -> "tuple[list[RatedCorpus], list[PairSet]]":
    from urgentmos.data.manifest import read_pairs
    from urgentmos.evaluation.pair_sets import build_pair_set, is_pair_manifest
    from urgentmos.evaluation.ratings import read_rated_corpora

    corpora: list[RatedCorpus] = []
    pair_sets: list[PairSet] = []
    for path in manifests:
        if is_pair_manifest(path):
            pair_sets.append(build_pair_set(path.stem, read_pairs(path)))
        else:
            corpora += read_rated_corpora(path, labels=labels, split=split)
    return corpora, pair_sets


def _pair(
    corpora: "Sequence[RatedCorpus]", matching: str, *, delta: float, seed: int
) -> "list[PairSet]":
    from urgentmos.evaluation.pair_sets import EVALUATED_MATCHINGS

    if matching == "none":
        return []
    if matching not in EVALUATED_MATCHINGS:
        choices = ", ".join([*EVALUATED_MATCHINGS, "none"])
        raise typer.BadParameter(f"--matching: expected one of {choices}, got {matching!r}")
    paired = (
        _pair_corpus(corpus, EVALUATED_MATCHINGS[matching], delta=delta, seed=seed)
        for corpus in corpora
    )
    return [pairs for pairs in paired if pairs is not None]


def _pair_corpus(
    corpus: "RatedCorpus", matching: "Matching", *, delta: float, seed: int
) -> "PairSet | None":
    from urgentmos.data.pairs import PairError
    from urgentmos.evaluation.pair_sets import BENCHMARK_CAP, pair_rated_corpus

    try:
        return pair_rated_corpus(
            corpus, matching=matching, delta=delta, cap=BENCHMARK_CAP, seed=seed
        )
    except PairError as error:
        typer.echo(f"{corpus.name}: {error}", err=True)
        return None


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


def _load(name: str, device: str, *, metric: str) -> "Assessor":
    from urgentmos.metrics import check_metrics
    from urgentmos.model.checkpoint import load_model

    assessor = load_model(name, device=device)
    check_metrics([metric], assessor.metrics)
    return assessor


def _score(
    assessors: "dict[str, Assessor]", recordings: "Sequence[Recording]"
) -> "tuple[list[ScorePredictor], dict[Path, str]]":
    """Score every recording with every model; also tell which ones failed and why."""
    from tqdm import tqdm

    from urgentmos.evaluation.predictors import ScorePredictor
    from urgentmos.scoring import score_files

    paths = [recording.audio_path for recording in recordings]
    predictors: list[ScorePredictor] = []
    failures: dict[Path, str] = {}
    for name, assessor in assessors.items():
        progress = tqdm(
            score_files(assessor, paths), desc=f"scoring, {name}", total=len(paths), unit="file"
        )
        rows = dict(zip(paths, progress, strict=True))
        failures.update({path: row.error for path, row in rows.items() if row.status == "failed"})
        predictors += [
            ScorePredictor(
                _short(name),
                {path: row.scores[metric] for path, row in rows.items() if metric in row.scores},
                metric=metric,
            )
            for metric in assessor.metrics
        ]
    return predictors, failures


def _comparers(assessors: "dict[str, Assessor]") -> "dict[str, PreferenceComparer]":
    from urgentmos.evaluation.predictors import PreferenceComparer

    return {
        _short(name): PreferenceComparer(assessor)
        for name, assessor in assessors.items()
        if assessor.network.preference is not None
    }


def _peers(
    peers: "Sequence[str]", recordings: "Sequence[Recording]", *, cache: Path, workers: int
) -> "list[ScorePredictor]":
    if not peers:
        return []
    from urgentmos.cli.evaluate_peers import score_with_peers

    return score_with_peers(recordings, peers, cache=cache, workers=workers)


def _columns(options: "Sequence[str]", recordings: "Sequence[Recording]") -> "list[ScorePredictor]":
    from urgentmos.evaluation.score_tables import read_score_column

    predictors = []
    for option in options:
        table, colon, column = option.rpartition(":")
        if not colon:
            raise typer.BadParameter(f"--scores: expected FILE.csv:COLUMN, got {option!r}")
        predictors.append(read_score_column(table, column, recordings=recordings))
    return predictors


def _tabulate(
    corpora: "Sequence[RatedCorpus]",
    predictors: "Sequence[ScorePredictor]",
    judges: "Judges",
    answers: "Sequence[PairAnswers]",
    resampling: "Resampling",
) -> "list[Table]":
    from urgentmos.evaluation import report

    tables = [
        report.summary_table(corpora, judges.scorers, answers),
        report.rating_table(corpora, judges.scorers, resampling=resampling),
        report.system_table(corpora, judges.scorers, resampling=resampling),
        report.metric_table(corpora, predictors, resampling=resampling),
        report.preference_table(answers, resampling=resampling),
        report.confusion_table(answers),
        report.rating_difference_table(corpora, judges.scorers, resampling=resampling),
        report.preference_difference_table(answers, resampling=resampling),
    ]
    return [table for table in tables if table.rows]


def _tell(failures: "dict[Path, str]") -> None:
    typer.echo(f"{len(failures)} recordings could not be scored:", err=True)
    for path, reason in list(failures.items())[:_FAILURES_SHOWN]:
        typer.echo(f"  {path}: {reason}", err=True)
    if len(failures) > _FAILURES_SHOWN:
        typer.echo(f"  and {len(failures) - _FAILURES_SHOWN} more", err=True)


def _short(name: str) -> str:
    return Path(name).name


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "urgentmos" / "peers.csv"
