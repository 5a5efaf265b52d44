"""Corpora made on the spot: large enough for a benchmark, and with little in them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from urgentmos.data.manifest import Recording
from urgentmos.evaluation.mos_rmbench import Benchmark, build_benchmark
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.ratings import RatedCorpus


def _make_corpus(
    name: str, *, systems: int = 12, contents: int = 10, speakers: int = 3
) -> RatedCorpus:
    # Arithmetic, not a random generator: the digest of these corpora is pinned in a test.
    recordings = [
        Recording(
            Path(f"{name}/{system}_{content}.wav"),
            f"s{system}:c{content}",
            f"s{system}",
            f"c{content}",
            2.0,
            {"mos": 1 + (7 * system + 5 * content + system * content * len(name)) % 9 / 2},
            {"speaker": f"p{(system + content) % speakers}"},
        )
        for system in range(systems)
        for content in range(contents)
    ]
    return RatedCorpus(name, recordings)


@pytest.fixture
def make_corpus() -> Callable[..., RatedCorpus]:
    """Make a rated corpus: ``make_corpus(name, systems=12, contents=10, speakers=3)``."""
    return _make_corpus


@pytest.fixture(scope="session")
def corpora() -> list[RatedCorpus]:
    """A dataset of one listening test, and one of two."""
    return [
        _make_corpus("bvcc", systems=16, contents=20),
        _make_corpus("nisqa_for"),
        _make_corpus("nisqa_p501"),
    ]


@pytest.fixture(scope="session")
def benchmark_pairs(corpora: list[RatedCorpus]) -> Benchmark:
    """The test pairs drawn from them."""
    return build_benchmark(corpora)


def _make_little_corpus(*systems: str, rated: tuple[str, ...] | None = None) -> RatedCorpus:
    """Two recordings of each system, rated by their place, of the systems that are rated."""
    return RatedCorpus(
        "little",
        [
            Recording(
                Path(f"{number}.wav"), f"u{number}", system, f"r{number % 2}", 1.0,
                {"mos": 1 + number / 4} if rated is None or system in rated else {},
            )
            for number, system in enumerate(sorted(systems * 2))
        ],
    )  # fmt: skip


def _predict_place(
    corpus: RatedCorpus, *, fails_on: str = "", constant: bool = False
) -> ScorePredictor:
    scores = {
        recording.audio_path: 3.0 if constant else float(place)
        for place, recording in enumerate(corpus.recordings)
        if recording.system_id != fails_on
    }
    return ScorePredictor("p", scores)


@pytest.fixture
def little_corpus() -> Callable[..., RatedCorpus]:
    """Make a corpus: ``little_corpus("a", "b", rated=None)``, two recordings of each system."""
    return _make_little_corpus


@pytest.fixture
def predict_place() -> Callable[..., ScorePredictor]:
    """Make a predictor ``p``: ``predict_place(corpus, fails_on="", constant=False)``."""
    return _predict_place
