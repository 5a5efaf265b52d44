from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from urgentmos.data.manifest import Recording
from urgentmos.evaluation import figures
from urgentmos.evaluation.judges import Judges
from urgentmos.evaluation.pair_sets import pair_rated_corpus
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.ratings import RatedCorpus

pytest.importorskip("matplotlib")


@pytest.fixture
def corpus() -> RatedCorpus:
    generator = np.random.default_rng(0)
    return RatedCorpus(
        "noisy",
        [
            Recording(Path(f"{i}.wav"), f"s{i % 5}:r{i // 5}", f"s{i % 5}", f"r{i // 5}", 1.0,
                      {"mos": 1.0 + i % 5, "pesq": 1 + generator.uniform()})
            for i in range(20)
        ],
    )  # fmt: skip


@pytest.fixture
def predictors(corpus: RatedCorpus) -> list[ScorePredictor]:
    paths = [recording.audio_path for recording in corpus.recordings]
    good = dict(zip(paths, corpus.ratings, strict=True))
    return [ScorePredictor("good", good), ScorePredictor("flat", dict.fromkeys(paths[1:], 3.0))]


def _has_ink(path: Path) -> bool:
    """Whether a PNG was written that is more than an empty page."""
    image = pytest.importorskip("matplotlib.image").imread(path)
    return bool(image.shape[0] > 200 and image[..., :3].std() > 0.02)


def test_every_figure_is_drawn(
    corpus: RatedCorpus, predictors: list[ScorePredictor], tmp_path: Path
) -> None:
    answers = [Judges(scorers=predictors).answer(pair_rated_corpus(corpus))]
    figures.draw_scatter([corpus], predictors, tmp_path / "scatter.png")
    figures.draw_sweep(answers, predictors, tmp_path / "sweep.png")
    figures.draw_bins(answers, tmp_path / "bins.png")
    columns = figures.matrix_columns(corpus, predictors)
    figures.draw_correlation_matrix(columns, tmp_path / "matrix.png", title="noisy")
    assert list(columns) == ["PESQ", "rating", "good", "flat"]
    assert all(_has_ink(tmp_path / f"{n}.png") for n in ("scatter", "sweep", "bins", "matrix"))


def test_figures_of_an_earlier_run_are_removed_and_no_other_file(
    corpus: RatedCorpus, predictors: list[ScorePredictor], tmp_path: Path
) -> None:
    named = [replace(corpus, name=name) for name in ("noisy", "Café", "ψ")]
    figures.draw_figures(named, predictors, [], tmp_path)
    drawn = [path.name for path in tmp_path.iterdir()]
    assert len(drawn) == 4
    kept = tmp_path / "of_monday.png"
    kept.write_bytes((tmp_path / "scatter.png").read_bytes())
    (tmp_path / "sweep.png").write_bytes(b"of another program")
    figures.remove_figures(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [kept.name, "sweep.png"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """Figures, kept as they are saved."""
    kept: list = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: kept.append(figure))
    return kept


def test_the_legend_of_a_single_corpus_fits_the_page(
    corpus: RatedCorpus, predictors: list[ScorePredictor], drawn: list
) -> None:
    scorers = [replace(predictors[0], name=f"other tool {i}: score") for i in range(5)]
    answers = [Judges(scorers=scorers).answer(pair_rated_corpus(corpus))]
    figures.draw_sweep(answers, scorers, "sweep.png")
    figures.draw_bins(answers, "bins.png")
    for figure in drawn:
        figure.canvas.draw()
        (legend,) = figure.legends
        assert len(legend.get_texts()) == 5
        box = legend.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_the_legend_names_who_scored_another_corpus_than_the_first(
    corpus: RatedCorpus, predictors: list[ScorePredictor], drawn: list
) -> None:
    paths = [Path(f"second/{recording.audio_path}") for recording in corpus.recordings]
    again = zip(corpus.recordings, paths, strict=True)
    second = RatedCorpus("second", [replace(r, audio_path=path) for r, path in again])
    scorers = [*predictors, ScorePredictor("late", dict(zip(paths, second.ratings, strict=True)))]
    answers = [Judges(scorers=scorers).answer(pair_rated_corpus(c)) for c in (corpus, second)]
    figures.draw_sweep(answers, scorers, "sweep.png")
    (figure,) = drawn
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["good", "flat", "late"]
