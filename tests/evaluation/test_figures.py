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
