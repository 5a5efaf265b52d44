"""The one table of metrics: what each number is, where it lies and which way is better."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

NATURALNESS = "naturalness"
NOISE_AND_DISTORTION = "noise_and_distortion"
INTELLIGIBILITY = "intelligibility"
SPEAKER = "speaker"
SPECTRAL = "spectral"


class UnknownMetricError(ValueError):
    """A metric name that is not in the table."""


@dataclass(frozen=True)
class Metric:
    """One quality metric.

    Attributes:
        name: Column name in every table this project writes.
        title: What a person calls it.
        unit: ``MOS``, ``dB`` or ``1`` (a plain number).
        low: Smallest possible value; None where there is none.
        high: Largest possible value; None where there is none.
        higher_is_better: Direction.
        group: Which group encoder predicts it.
        needs_reference: Whether computing the label takes the clean reference.
        source: Where it is defined.
        scale: Width used when a difference is stated relative to the range. For a bounded metric
            this is ``high - low``; for the others, the spread met in practice.
        manifest_name: Key in the public UrgentMOS manifests where it differs from ``name``.
    """

    name: str
    title: str
    unit: str
    low: float | None
    high: float | None
    higher_is_better: bool
    group: str
    needs_reference: bool
    source: str
    scale: float
    manifest_name: str = ""

    def __post_init__(self) -> None:
        """Fill in the manifest name."""
        object.__setattr__(self, "manifest_name", self.manifest_name or self.name)


def _mos(
    name: str,
    title: str,
    source: str,
    *,
    group: str = NATURALNESS,
    low: float = 1.0,
    high: float = 5.0,
    needs_reference: bool = False,
    manifest_name: str = "",
) -> Metric:
    return Metric(
        name=name,
        title=title,
        unit="MOS",
        low=low,
        high=high,
        higher_is_better=True,
        group=group,
        needs_reference=needs_reference,
        source=source,
        scale=high - low,
        manifest_name=manifest_name,
    )


def _measure(
    name: str,
    title: str,
    source: str,
    *,
    group: str,
    low: float | None,
    high: float | None,
    scale: float,
    unit: str = "1",
    higher_is_better: bool = True,
) -> Metric:
    return Metric(
        name=name,
        title=title,
        unit=unit,
        low=low,
        high=high,
        higher_is_better=higher_is_better,
        group=group,
        needs_reference=True,
        source=source,
        scale=scale,
    )


# PESQ of a file against itself is 4.644 (wide band): the 4.5 of UrgentMOS, Table 1, would keep the
# head from ever reaching clean speech. Neural MOS predictors are regressors and overshoot 1 and 5 a
# little (Distill-MOS 5.1 on studio speech), so theirs are wider too.
_PESQ_LOW, _PESQ_HIGH = 1.0, 4.65
_PREDICTED_LOW, _PREDICTED_HIGH = 0.8, 5.2

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _mos(
            "pesq",
            "PESQ",
            "ITU-T P.862.2",
            group=NOISE_AND_DISTORTION,
            low=_PESQ_LOW,
            high=_PESQ_HIGH,
            needs_reference=True,
        ),
        _mos(
            "pesqc2",
            "PESQ, Corrigendum 2",
            "ITU-T P.862.2 Cor. 2",
            group=NOISE_AND_DISTORTION,
            low=_PESQ_LOW,
            high=_PESQ_HIGH,
            needs_reference=True,
        ),
        _mos(
            "dnsmos_ovrl", "DNSMOS overall", "Reddy et al. 2022 (P.835)", group=NOISE_AND_DISTORTION
        ),
        _mos(
            "dnsmos_sig", "DNSMOS speech", "Reddy et al. 2022 (P.835)", group=NOISE_AND_DISTORTION
        ),
        _mos(
            "dnsmos_bak",
            "DNSMOS background",
            "Reddy et al. 2022 (P.835)",
            group=NOISE_AND_DISTORTION,
        ),
        _mos(
            "dnsmos_p808", "DNSMOS P.808", "Reddy et al. 2021 (P.808)", group=NOISE_AND_DISTORTION
        ),
        _measure(
            "lsd",
            "Log-spectral distance",
            "Gray and Markel 1976",
            group=NOISE_AND_DISTORTION,
            low=0.0,
            high=None,
            scale=10.0,
            higher_is_better=False,
        ),
        _measure(
            "sdr",
            "Signal-to-distortion ratio",
            "Vincent et al. 2006",
            group=NOISE_AND_DISTORTION,
            low=None,
            high=None,
            scale=50.0,
            unit="dB",
        ),
        _mos("mos", "Mean opinion score", "ITU-T P.800", manifest_name="mos_overall"),
        _mos("utmos", "UTMOS", "Saeki et al. 2022"),
        _mos(
            "distill_mos",
            "Distill-MOS",
            "Stahl and Gamper 2025",
            low=_PREDICTED_LOW,
            high=_PREDICTED_HIGH,
        ),
        _mos("nisqa_mos", "NISQA", "Mittag et al. 2021", low=_PREDICTED_LOW, high=_PREDICTED_HIGH),
        _mos("scoreq", "SCOREQ", "Ragano et al. 2024", low=_PREDICTED_LOW, high=_PREDICTED_HIGH),
        _measure(
            "estoi",
            "ESTOI",
            "Jensen and Taal 2016",
            group=INTELLIGIBILITY,
            low=0.0,
            high=1.0,
            scale=1.0,
        ),
        _measure(
            "sbert",
            "SpeechBERTScore",
            "Saeki et al. 2024",
            group=INTELLIGIBILITY,
            low=-1.0,
            high=1.0,
            scale=2.0,
        ),
        _measure(
            "lps",
            "Levenshtein phoneme similarity",
            "Pirklbauer et al. 2023",
            group=INTELLIGIBILITY,
            low=None,
            high=1.0,
            scale=2.0,
        ),
        _measure(
            "spksim",
            "Speaker similarity",
            "cosine of speaker embeddings",
            group=SPEAKER,
            low=-1.0,
            high=1.0,
            scale=2.0,
        ),
        _measure(
            "mcd",
            "Mel-cepstral distortion",
            "Kubichek 1993",
            group=SPECTRAL,
            low=0.0,
            high=None,
            scale=20.0,
            unit="dB",
            higher_is_better=False,
        ),
    )
}
"""Every metric by name: UrgentMOS, Table 1, and the other DNSMOS outputs beside the overall one."""

_NAME_BY_MANIFEST_NAME = {metric.manifest_name: metric.name for metric in METRICS.values()}


def get_metric(name: str) -> Metric:
    """Look up one metric by its name or its name in public UrgentMOS manifests.

    Raises:
        UnknownMetricError: There is no such metric; the message names the nearest.
    """
    metric = METRICS.get(_NAME_BY_MANIFEST_NAME.get(name, name))
    if metric is None:
        raise UnknownMetricError(f"unknown metric {name!r}{_hint(name)}")
    return metric


def resolve_metrics(names: Iterable[str]) -> list[str]:
    """Resolve metric names, or one of them.

    Returns:
        The metrics under their own names, each once, in the order given.

    Raises:
        UnknownMetricError: A name is not in the table.
    """
    # A string is a sequence of strings too.
    wanted = [names] if isinstance(names, str) else names
    return list(dict.fromkeys(get_metric(name).name for name in wanted))


def check_metrics(names: Iterable[str], available: Iterable[str]) -> list[str]:
    """Resolve metric names and check that a model predicts each of them.

    Args:
        names: Wanted metrics, or one of them.
        available: Metrics that the model predicts.

    Returns:
        The wanted metrics under their own names, each once, in the order given.

    Raises:
        UnknownMetricError: A name is not in the table, or this model has no head for it.
    """
    predicted = list(available)
    resolved = resolve_metrics(names)
    for name in resolved:
        if name not in predicted:
            raise UnknownMetricError(
                f"this model does not predict {name!r}; it predicts {', '.join(predicted)}"
            )
    return resolved


def _hint(name: str) -> str:
    nearest = difflib.get_close_matches(name.lower(), METRICS, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(METRICS)}"
