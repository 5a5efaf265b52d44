"""What ``urgentmos evaluate`` asks about: rated recordings and pairs of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from urgentmos.data.manifest import Recording, is_pair_manifest, read_pairs
from urgentmos.data.pairs import Matching
from urgentmos.evaluation.mos_rmbench import Benchmark, build_benchmark
from urgentmos.evaluation.pair_sets import (
    BENCHMARK_CAP,
    PairSet,
    build_pair_set,
    can_pair,
    pair_rated_corpus,
)
from urgentmos.evaluation.ratings import RatedCorpus, read_rated_corpora
from urgentmos.model.assessor import Assessor


def read_material(
    manifests: Sequence[Path], labels: Sequence[Path], split: str | None
) -> tuple[list[RatedCorpus], list[PairSet]]:
    """Read manifests: rated or labelled corpora, and sets of given pairs.

    Raises:
        BadParameter: Two of them hold a corpus of one name.
    """
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


def check_labelled(
    corpora: Sequence[RatedCorpus],
    pair_sets: Sequence[PairSet],
    assessors: Mapping[str, Assessor],
) -> None:
    """Refuse corpora without rating and without label of any metric that a model predicts.

    Raises:
        BadParameter: So it is, and there are no pairs either.
    """
    predicted = [name for assessor in assessors.values() for name in assessor.metrics]
    metrics = list(dict.fromkeys(["mos", *predicted]))
    found = {name for corpus in corpora for each in corpus.recordings for name in each.metrics}
    if not pair_sets and found.isdisjoint(metrics):
        raise typer.BadParameter(
            f"nothing to agree with in {', '.join(corpus.name for corpus in corpora)}: expected a "
            f"'rating', or 'metrics' with one of {', '.join(metrics)}; found "
            f"{', '.join(sorted(found)) or 'no labels'}"
        )


def draw_benchmark(
    corpora: Sequence[RatedCorpus], split: str, *, seed: int, pin: str | None
) -> Benchmark:
    """Draw the pairs of MOS-RMBench.

    Raises:
        BadParameter: They are not those of the digest that was asked for.
    """
    drawn = build_benchmark(corpora, split=split, seed=seed)
    if pin is not None and drawn.digest != pin:
        raise typer.BadParameter(
            f"--pin: expected pairs with digest {pin}, drew {drawn.digest}: the recordings, their "
            "ids or ratings, the split or the seed differ"
        )
    return drawn


def pair_corpora(
    corpora: Sequence[RatedCorpus],
    matching: Matching,
    *,
    ordered: bool,
    delta: float,
    seed: int,
) -> list[PairSet]:
    """Pair what is rated; a corpus in which nothing can be paired so is named on stderr."""
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


def unique_recordings(
    corpora: Sequence[RatedCorpus], pair_sets: Sequence[PairSet]
) -> list[Recording]:
    """Gather every recording once, by its path."""
    unique = {
        recording.audio_path: recording for corpus in corpora for recording in corpus.recordings
    }
    for path in (path for pairs in pair_sets for path in pairs.paths):
        # A native pair says nothing of its members but where they are.
        unique.setdefault(path, Recording(path, str(path), "-", "-", duration=1.0))
    return list(unique.values())
