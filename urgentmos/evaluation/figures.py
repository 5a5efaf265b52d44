"""Figures of an evaluation as PNG files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from urgentmos.correlation import srcc
from urgentmos.evaluation.mos_rmbench import NUM_BINS, error_by_percentile
from urgentmos.evaluation.pair_answers import PairAnswers, strictly_correct
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.preference import correct_verdicts
from urgentmos.evaluation.ratings import RatedCorpus
from urgentmos.evaluation.tables import file_name
from urgentmos.extras import require
from urgentmos.metrics import METRICS
from urgentmos.ndarray import NDArray

SWEEP_DELTAS = tuple(np.linspace(0, 2, 41).tolist())
"""Tie thresholds of the sweep, on a five-point scale."""

_PANEL_INCHES = 3.2
# Bytes of a PNG within which its texts end.
_TEXTS_END = 2048


def draw_figures(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    answers: Sequence[PairAnswers],
    folder: Path,
) -> None:
    """Draw what there is data for: scatter, sweep of the tie threshold, bins, correlations.

    Args:
        corpora: Rated or labelled recordings.
        predictors: Of one score of quality each.
        answers: What was said about each set of pairs.
        folder: Where ``scatter.png``, ``sweep.png``, ``bins.png`` and, for each corpus,
            ``correlation_CORPUS.png`` go; it must exist.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rated = [corpus for corpus in corpora if np.isfinite(corpus.ratings).any()]
    if rated and predictors:
        draw_scatter(rated, predictors, folder / "scatter.png")
    with_ties = [judged for judged in answers if judged.pair_set.delta > 0]
    if with_ties:
        draw_sweep(with_ties, predictors, folder / "sweep.png")
    graded = [judged for judged in answers if judged.pair_set.is_graded]
    if graded:
        draw_bins(graded, folder / "bins.png")
    for corpus in corpora:
        columns = matrix_columns(corpus, predictors)
        path = folder / f"correlation_{file_name(corpus.name)}.png"
        draw_correlation_matrix(columns, path, title=corpus.name)


def remove_figures(folder: Path) -> None:
    """Remove the figures that an earlier ``draw_figures`` left in a folder, and no other file."""
    for path in filter(Path.is_file, folder.glob("*.png")):
        with path.open("rb") as file:
            # Texts come before the image; those that Latin-1 cannot hold are in UTF-8.
            head = file.read(_TEXTS_END)
        source = _source(path)
        if any(source.encode(code, "replace") in head for code in ("latin-1", "utf-8")):
            path.unlink()


def draw_scatter(
    corpora: Sequence[RatedCorpus], predictors: Sequence[ScorePredictor], path: str | Path
) -> None:
    """Plot scores against ratings: a row per corpus, a column per predictor.

    Args:
        corpora: Rated recordings.
        predictors: At least one.
        path: PNG to write.
    """
    figure, panels = _panels(len(corpora), len(predictors))
    for row, corpus in enumerate(corpora):
        for column, predictor in enumerate(predictors):
            scores, panel = predictor.score(corpus.recordings), panels[row][column]
            usable = ~(np.isnan(scores) | np.isnan(corpus.ratings))
            panel.scatter(corpus.ratings[usable], scores[usable], s=10, alpha=0.6, linewidths=0)
            found = srcc(corpus.ratings[usable], scores[usable])
            panel.set_title(f"{corpus.name}, SRCC {found:.2f}", fontsize=9)
            panel.set_xlabel("rating")
            panel.set_ylabel(predictor.name)
    _save(figure, path)


def draw_sweep(
    answers: Sequence[PairAnswers], predictors: Sequence[ScorePredictor], path: str | Path
) -> None:
    """Plot accuracy against the tie threshold of the predictor (UrgentMOS, Figs. 4 and 5).

    Comparisons do not depend on it and are level lines.

    Args:
        answers: What was said about each set of pairs: a panel each.
        predictors: Whose threshold is varied, on a five-point scale.
        path: PNG to write.
    """
    figure, panels = _panels(1, len(answers))
    scorers = {predictor.name: predictor for predictor in predictors}
    for judged, panel in zip(answers, panels[0], strict=True):
        pairs, labels = judged.pair_set, judged.pair_set.labels
        colors = _colors(len(judged.preferences))
        for color, (name, preferences) in zip(colors, judged.preferences.items(), strict=True):
            if not preferences.has_answers:
                continue
            if name in scorers:
                sweep = [
                    correct_verdicts(labels, scorers[name].prefer(pairs, delta=delta)).mean()
                    for delta in SWEEP_DELTAS
                ]
                panel.plot(SWEEP_DELTAS, 100 * np.array(sweep), color=color, label=name)
            else:
                level = 100 * correct_verdicts(labels, preferences).mean()
                panel.axhline(level, color=color, linestyle="--", label=name)
        panel.set_title(pairs.name, fontsize=9)
        panel.set_xlabel("tie threshold δ of the predictor")
        panel.set_ylabel("accuracy (%)")
    _legend(figure, panels[0])
    _save(figure, path)


def draw_bins(answers: Sequence[PairAnswers], path: str | Path) -> None:
    """Plot error rates by percentile of ΔMOS (MOS-RMBench, Fig. 3).

    Args:
        answers: What was said about each set of pairs: a panel each.
        path: PNG to write.
    """
    figure, panels = _panels(1, len(answers))
    places = (np.arange(NUM_BINS) + 0.5) * 100 / NUM_BINS
    for judged, panel in zip(answers, panels[0], strict=True):
        pairs = judged.pair_set
        colors = _colors(len(judged.preferences))
        for color, (name, preferences) in zip(colors, judged.preferences.items(), strict=True):
            if not preferences.has_answers:
                continue
            correct = strictly_correct(pairs, preferences)
            errors = error_by_percentile(pairs.differences[pairs.strict], correct)
            panel.plot(places, 100 * errors, marker="o", markersize=3, color=color, label=name)
        panel.set_title(pairs.name, fontsize=9)
        panel.set_xlabel("percentile of the rating difference")
        panel.set_ylabel("pairs in the wrong order (%)")
        panel.set_ylim(bottom=0)
    _legend(figure, panels[0])
    _save(figure, path)


def draw_correlation_matrix(
    columns: Mapping[str, Float[NDArray[np.float64], " recordings"]],
    path: str | Path,
    *,
    title: str = "",
) -> None:
    """Plot Spearman correlations between columns of one corpus (UrgentMOS, Fig. 3).

    Args:
        columns: Values per recording by name, NaN where missing: labels, or scores of predictors.
        path: PNG to write.
        title: Name of the corpus.
    """
    names = list(columns)
    matrix = np.array([[_srcc_where_known(columns[a], columns[b]) for b in names] for a in names])
    figure, panels = _panels(1, 1, width=1.8 + 0.55 * len(names), height=1.5 + 0.5 * len(names))
    panel = panels[0][0]
    image = panel.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu")
    for (row, column), value in np.ndenumerate(matrix):
        color = "white" if abs(value) > 0.7 else "black"
        panel.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set_title(title, fontsize=9)
    figure.colorbar(image, ax=panel, label="SRCC", shrink=0.8)
    _save(figure, path)


def matrix_columns(
    corpus: RatedCorpus, predictors: Sequence[ScorePredictor]
) -> dict[str, NDArray[np.float64]]:
    """Gather the columns of a correlation matrix: every label of a corpus, then every predictor.

    Returns:
        Values per recording by title or name; NaN where there is none.
    """
    labelled = {metric for recording in corpus.recordings for metric in recording.metrics}
    columns = {
        "rating" if metric == "mos" else METRICS[metric].title: corpus.labels(metric)
        for metric in METRICS
        if metric in labelled
    }
    return columns | {
        predictor.name: predictor.score(corpus.recordings) for predictor in predictors
    }


def _srcc_where_known(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    known = ~(np.isnan(a) | np.isnan(b))
    return srcc(a[known], b[known])


def _panels(
    rows: int, columns: int, *, width: float | None = None, height: float | None = None
) -> tuple[Any, Any]:
    # The canvas is given explicitly: pyplot would choose one by display and keep global state.
    canvas = require("matplotlib.backends.backend_agg", extra="evaluate")
    figure = require("matplotlib.figure", extra="evaluate").Figure(
        figsize=(width or _PANEL_INCHES * columns, height or _PANEL_INCHES * rows),
        layout="constrained",
        dpi=150,
    )
    canvas.FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _colors(count: int) -> list[Any]:
    """Give each of up to twenty lines a colour of its own."""
    name = "tab10" if count <= 10 else "tab20"
    colormap = require("matplotlib", extra="evaluate").colormaps[name]
    return [colormap(number % colormap.N) for number in range(count)]


def _legend(figure: Any, panels: Iterable[Any]) -> None:
    """Name every line of any panel below them, in as many columns as find room."""
    handles: dict[str, Any] = {}
    for panel in panels:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    for columns in (4, 3, 2, 1):
        legend = figure.legend(
            list(handles.values()), list(handles), loc="outside lower center", ncols=columns,
            fontsize=8,
        )  # fmt: skip
        if legend.get_window_extent(figure.canvas.get_renderer()).width <= figure.bbox.width:
            return
        if columns > 1:
            legend.remove()


def _save(figure: Any, path: str | Path) -> None:
    figure.savefig(path, metadata={"Source": _source(Path(path))})


def _source(path: Path) -> str:
    """Give what a figure says of itself; a copy under another name is no longer ours to remove."""
    return f"urgentmos evaluate: {path.name}"
