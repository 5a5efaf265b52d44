"""All predictors of an evaluation together, asked about the same pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from urgentmos.evaluation.comparer import PreferenceComparer
from urgentmos.evaluation.pair_answers import PairAnswers, compared_by
from urgentmos.evaluation.pair_sets import PairSet
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.preference import DELTA
from urgentmos.model.assessor import Assessor


@dataclass(frozen=True)
class Judges:
    """Predictors in the order of the tables.

    Attributes:
        comparers: Preference heads by model.
        scorers: Predictors of one score of quality; a model's is named after the model.
    """

    comparers: Mapping[str, PreferenceComparer] = field(default_factory=dict)
    scorers: Sequence[ScorePredictor] = ()

    def answer(self, pairs: PairSet, *, delta: float = DELTA) -> PairAnswers:
        """Ask every predictor about every pair.

        Args:
            pairs: The pairs.
            delta: Largest score difference on a five-point scale that is a tie.
        """
        compared = {
            compared_by(name): comparer.prefer(pairs) for name, comparer in self.comparers.items()
        }
        return PairAnswers(
            pair_set=pairs,
            preferences={name: found.preferences for name, found in compared.items()}
            | {scorer.name: scorer.prefer(pairs, delta=delta) for scorer in self.scorers},
            compared=compared,
        )


def gather_judges(
    assessors: Mapping[str, Assessor],
    predictors: Sequence[ScorePredictor],
    *,
    metric: str,
    beside: Sequence[ScorePredictor] = (),
) -> Judges:
    """Put together who is asked about pairs: models first, then the others.

    Args:
        assessors: Models by name.
        predictors: Their scores.
        metric: Which of their metrics stands for quality.
        beside: Everybody else.
    """
    return Judges(
        comparers={
            name: PreferenceComparer(assessor)
            for name, assessor in assessors.items()
            if assessor.network.preference is not None
        },
        scorers=[*(each for each in predictors if each.metric == metric), *beside],
    )
