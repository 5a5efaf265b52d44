"""What states a model completely: encoders (F), metric groups (C) and metrics (M)."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from urgentmos.config import check_at_least
from urgentmos.metrics import NATURALNESS, check_metrics, get_metric, resolve_metrics
from urgentmos.rates import SAMPLE_RATE

# Of the range of a metric: beyond it, predictions of 32 bits have no decimals left.
_LARGEST_BOUND = 1e6
LONGEST_SHORTEST_S = 20
"""Most that recordings are repeated or padded up to: every one costs as much as one of this."""


@dataclass
class EncoderConfig:
    """One encoder.

    Attributes:
        family: Name in ``ENCODERS``.
        options: Options of that family, checked when the encoder is built.
    """

    family: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class FusionConfig:
    """Joint features of all encoders.

    Attributes:
        dim: Size of the joint features, which is also the width of every group encoder.
    """

    dim: int = 768

    def __post_init__(self) -> None:
        """Check the size."""
        check_at_least(self, dim=1)


@dataclass
class GroupConfig:
    """One metric group and its Transformer encoder.

    Attributes:
        metrics: Metrics predicted from this group.
        layers: Transformer layers; with 0 its heads hear the joint features.
        heads: Attention heads; they divide the width.
        feedforward: Inner size of a layer's feed-forward part.
        dropout: Share of features dropped in training.
    """

    metrics: list[str]
    layers: int = 6
    heads: int = 8
    feedforward: int = 2048
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Check the metric names and the ranges."""
        if not self.metrics:
            raise ValueError("a group predicts at least one metric")
        self.metrics = resolve_metrics(self.metrics)
        check_at_least(self, layers=0, feedforward=1)
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout: expected 0 to 1, got {self.dropout}")


@dataclass
class PreferenceConfig:
    """The preference module.

    Attributes:
        group: Group whose frames it compares.
        heads: Attention heads.
        features: What is averaged over A's frames: ``attended`` is what A's frames find in B, as
            in the public UrgentMOS models; ``difference`` is A's frames minus that, so that a
            linear output can state how much better A is.
    """

    group: str = NATURALNESS
    heads: int = 4
    features: Literal["attended", "difference"] = "attended"


@dataclass
class NativeScoreConfig:
    """The scores of an encoder's own head, and how much they count beside the model's heads.

    They count when recordings are scored; in training, where the encoder's own head is trained too.

    Attributes:
        encoder: Number of the encoder, from 0.
        metric: Metric that it predicts, and that ``shares`` are of; null where ``shares`` are each
            of what the encoder predicts for that very metric.
        shares: For each metric of the same group: the fraction of (encoder's score - prediction of
            the head of ``metric``) that is added to its score. For ``metric`` itself, 1 replaces
            the prediction and 0.5 averages the two.
    """

    encoder: int
    shares: dict[str, float]
    metric: str | None = None

    def __post_init__(self) -> None:
        """Check the shares."""
        for name, share in self.shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"shares.{name}: expected 0 to 1, got {share}")

    @property
    def followed(self) -> dict[str, str]:
        """For each metric that the encoder has a share in: which of its scores that is of."""
        return {name: self.metric or name for name in self.shares}


@dataclass
class ModelConfig:
    """A whole model.

    Attributes:
        encoders: Encoders in order.
        fusion: Joint features.
        groups: Metric groups by name.
        preference: The preference module, or None for a model that only scores.
        native_score: The scores of an encoder's own head that count beside the heads, or those of
            several encoders as a list, or None.
        test_time_augmentation: Outside of training, each encoder hears every recording a second
            time, with opposite polarity and 5 ms later, and gives the mean. It takes twice as long.
        level: ``rms`` brings each recording to one level first, so that scores do not depend on
            gain; ``none`` leaves it as it is.
        shortest_s: Recordings shorter than this are repeated from their start up to it; seconds,
            20 at most.
        sample_rate: Rate in Hz of the waveforms the model takes; every encoder hears 16000.
        bounds: Range of a metric's head where it is not that of the metrics table: lowest and
            highest value, null where there is none.
    """

    encoders: list[EncoderConfig]
    fusion: FusionConfig
    groups: dict[str, GroupConfig]
    preference: PreferenceConfig | None = None
    native_score: NativeScoreConfig | list[NativeScoreConfig] | None = None
    test_time_augmentation: bool = False
    level: Literal["rms", "none"] = "rms"
    shortest_s: float = 1.0
    sample_rate: int = SAMPLE_RATE
    bounds: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what no single part can see."""
        if not self.encoders:
            raise ValueError("a model has at least one encoder")
        if not self.groups:
            raise ValueError("a model has at least one metric group")
        seen: dict[str, str] = {}
        for name, group in self.groups.items():
            for metric in group.metrics:
                if metric in seen:
                    raise ValueError(
                        f"metric {metric!r} is in group {seen[metric]!r} and again in {name!r}"
                    )
                seen[metric] = name
        self._check_bounds(seen)
        self._check_input()
        self._check_heads()
        if self.preference is not None and self.preference.group not in self.groups:
            raise ValueError(
                f"preference.group is {self.preference.group!r}; "
                f"the groups are {', '.join(self.groups)}"
            )
        counted: set[str] = set()
        for native in self.native_scores:
            self._check_native_score(native)
            if twice := counted.intersection(native.shares):
                raise ValueError(f"native_score: two encoders have a share of {min(twice)}")
            counted.update(native.shares)

    def _check_bounds(self, known: Collection[str]) -> None:
        names = check_metrics(self.bounds, known)
        self.bounds = dict(zip(names, self.bounds.values(), strict=True))
        for name, (low, high) in self.bounds.items():
            # NaN is above nothing.
            if any(b is not None and not abs(b) <= _LARGEST_BOUND for b in (low, high)):
                raise ValueError(
                    f"bounds.{name}: expected at most {_LARGEST_BOUND:g}, and null where there is "
                    f"no bound, got {low} and {high}"
                )
            if low is not None and high is not None and low >= high:
                raise ValueError(f"bounds.{name}: expected low < high, got {low} and {high}")

    def _check_native_score(self, native: NativeScoreConfig) -> None:
        if not 0 <= native.encoder < len(self.encoders):
            raise ValueError(
                f"native_score.encoder: expected 0 to {len(self.encoders) - 1}, got "
                f"{native.encoder}"
            )
        if native.metric is None:
            check_metrics(native.shares, self.metrics)
            return
        metrics = next((g.metrics for g in self.groups.values() if native.metric in g.metrics), [])
        if not metrics:
            raise ValueError(f"native_score.metric: the model has no metric {native.metric!r}")
        for name in native.shares:
            if name not in metrics:
                raise ValueError(
                    f"native_score.shares: {name!r} is not in the group of {native.metric!r}, "
                    f"which has {', '.join(metrics)}"
                )

    def _check_input(self) -> None:
        if not 0 <= self.shortest_s <= LONGEST_SHORTEST_S:
            raise ValueError(
                f"shortest_s: expected 0 to {LONGEST_SHORTEST_S} seconds, got {self.shortest_s}"
            )
        if self.sample_rate != SAMPLE_RATE:
            raise ValueError(
                f"sample_rate: expected {SAMPLE_RATE}, which every encoder hears, "
                f"got {self.sample_rate}"
            )

    def _check_heads(self) -> None:
        heads = {f"groups.{name}.heads": group.heads for name, group in self.groups.items()}
        if self.preference is not None:
            heads["preference.heads"] = self.preference.heads
        for where, count in heads.items():
            if count < 1 or self.fusion.dim % count:
                raise ValueError(
                    f"{where}: {count} heads do not divide fusion.dim = {self.fusion.dim}"
                )

    def head_bounds(self, metric: str) -> tuple[float | None, float | None]:
        """Lowest and highest value a metric's head gives."""
        described = get_metric(metric)
        return self.bounds.get(metric, (described.low, described.high))

    @property
    def native_scores(self) -> list[NativeScoreConfig]:
        """Encoders whose own scores count: none, one or several."""
        stated = self.native_score
        if stated is None:
            return []
        return stated if isinstance(stated, list) else [stated]

    @property
    def metrics(self) -> list[str]:
        """Every metric the model predicts, group by group."""
        return [metric for group in self.groups.values() for metric in group.metrics]
