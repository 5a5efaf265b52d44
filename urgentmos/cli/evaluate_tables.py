"""What ``urgentmos evaluate`` shows: tables on stdout and in files, and figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from urgentmos.evaluation import figures, mos_rmbench_report, report
from urgentmos.evaluation.bootstrap import Resampling
from urgentmos.evaluation.judges import Judges
from urgentmos.evaluation.mos_rmbench import Benchmark
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.ratings import RatedCorpus
from urgentmos.evaluation.report import PairAnswers
from urgentmos.evaluation.tables import Table, file_name, to_markdown, write_tables
from urgentmos.model.assessor import Assessor
from urgentmos.scoring.provenance import model_id

_ONLY_IN_FILES = ("Confusion",)


def tabulate(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    judges: Judges,
    answers: Sequence[PairAnswers],
    resampling: Resampling,
) -> list[Table]:
    """Make the tables of an evaluation; some stay empty."""
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


def tabulate_rmbench(
    rmbench: Benchmark, answers: Sequence[PairAnswers], resampling: Resampling
) -> list[Table]:
    """Make the tables of MOS-RMBench, from the answers on its pairs and then its triplets."""
    on_pairs, on_triplets = answers[: len(rmbench.pair_sets)], answers[len(rmbench.pair_sets) :]
    return [
        mos_rmbench_report.composition_table(rmbench),
        *mos_rmbench_report.accuracy_tables(on_pairs, resampling=resampling),
        mos_rmbench_report.percentile_table(on_pairs),
        *mos_rmbench_report.triplet_tables(on_triplets),
        report.preference_difference_table(on_pairs, resampling=resampling),
    ]


def name_models(assessors: Mapping[str, Assessor]) -> Table:
    """Say which models were judged, by their content."""
    table = Table("Models", "Content hash and version of this package.")
    for name, assessor in assessors.items():
        table.rows.append({"predictor": name, "model": model_id(assessor)})
    return table


def show(tables: Sequence[Table], output: Path | None) -> None:
    """Print what is filled, and write it into a folder where there is one."""
    filled = [table for table in tables if table.rows]
    for table in filled:
        if table.title not in _ONLY_IN_FILES:
            typer.echo(to_markdown(table))
    if output is not None:
        written = write_tables(filled, output)
        typer.echo(f"{output}: {', '.join(path.name for path in written)}", err=True)


def draw_figures(
    corpora: Sequence[RatedCorpus],
    judges: Judges,
    answers: Sequence[PairAnswers],
    output: Path,
) -> None:
    """Draw what there is data for: scatter, sweep of the tie threshold, bins, correlations."""
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
