"""The whole network: encoders, fusion, group encoders, heads."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from urgentmos.config import ConfigError
from urgentmos.masks import check_lengths, lengths_to_mask, masked_mean
from urgentmos.metrics import check_metrics
from urgentmos.model.build_errors import BUILD_ERRORS
from urgentmos.model.config import ModelConfig, NativeScoreConfig
from urgentmos.model.encoders import (
    Encoder,
    EncoderOutput,
    brings_weights,
    build_encoder,
    runs_when_built,
)
from urgentmos.model.fusion import Fusion
from urgentmos.model.groups import GroupEncoder
from urgentmos.model.heads import MetricHead, PreferenceHead, PreferenceOutput
from urgentmos.model.inaudible_twin import inaudible_twin, mean_output
from urgentmos.model.level import LEVELS
from urgentmos.model.unfilled import Bounded, Unfilled


class NetworkOutput(NamedTuple):
    """Scores of a batch, and what the preference head compares.

    Attributes:
        scores: Per metric, in its unit and inside its range.
        features: Joint features of all encoders.
        frames: Frames of the preference group; None where the model has no preference head, or
            only other metrics were asked for.
        mask: True on real frames.
        group_frames: Frames of every group that was run.
    """

    scores: dict[str, Float[Tensor, " batch"]]
    features: Float[Tensor, "batch frames dim"]
    frames: Float[Tensor, "batch frames dim"] | None
    mask: Bool[Tensor, "batch frames"]
    group_frames: Mapping[str, Float[Tensor, "batch frames dim"]] = MappingProxyType({})


class AssessorNetwork(nn.Module):
    """Waveforms to scores and preferences."""

    def __init__(
        self,
        *,
        encoders: Sequence[Encoder],
        fusion: Fusion,
        groups: Mapping[str, GroupEncoder],
        heads: Mapping[str, MetricHead],
        group_metrics: Mapping[str, Sequence[str]],
        level: Callable[[Tensor, Tensor], Tensor],
        min_samples: int,
        preference: PreferenceHead | None,
        preference_group: str | None,
        native_scores: Sequence[NativeScoreConfig] = (),
        test_time_augmentation: bool = False,
    ) -> None:
        """Compose the parts.

        Args:
            encoders: Encoders in order.
            fusion: Joins them.
            groups: Group encoder by group name.
            heads: Head by metric name.
            group_metrics: Metrics of each group.
            level: Brings recordings to the level the encoders expect.
            min_samples: Shorter recordings are repeated up to this, or to what the encoders need.
            preference: Compares two recordings, or None.
            preference_group: Group whose frames it compares, or None.
            native_scores: How much the scores of encoders' own heads count.
            test_time_augmentation: Hear each recording's inaudible twin too, outside of training.
        """
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.fusion = fusion
        self.groups = nn.ModuleDict(groups)
        self.heads = nn.ModuleDict(heads)
        self.preference = preference
        self.preference_group = preference_group
        self.group_metrics = {name: list(metrics) for name, metrics in group_metrics.items()}
        self.metrics = [metric for names in self.group_metrics.values() for metric in names]
        self.min_samples = max(min_samples, *(encoder.min_samples for encoder in encoders))
        self._level = level
        self._native_scores = list(native_scores)
        self._fused = [index for index, each in enumerate(encoders) if each.num_layers]
        self._augmented = test_time_augmentation

    def forward(
        self,
        waveform: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
        *,
        metrics: Collection[str] | None = None,
        encoded: Mapping[int, EncoderOutput] = MappingProxyType({}),
    ) -> NetworkOutput:
        """Score recordings.

        Args:
            waveform: 16 kHz; what lies beyond a recording's length is ignored.
            lengths: Samples of each recording, at least one. A recording shorter than
                ``min_samples`` is repeated up to that.
            metrics: Metrics wanted, all when None; groups without any of them are not run.
            encoded: What some encoders, by number, gave for these recordings; they are not run.

        Raises:
            ValueError: A recording is empty or longer than the waveform.
            UnknownMetricError: The model does not predict one of the metrics.
        """
        wanted = self.metrics if metrics is None else check_metrics(metrics, self.metrics)
        natives = self._native_scores
        asked = {
            metric
            for native in natives
            for name, metric in native.followed.items()
            if name in wanted
        }
        outputs = self.encode(waveform, lengths, encoded=encoded, native=asked)
        features, mask = self._fuse(outputs)
        given = [self._given(native, outputs) for native in natives]
        scores: dict[str, Tensor] = {}
        group_frames: dict[str, Tensor] = {}
        for group, names in self.group_metrics.items():
            group_wanted = [name for name in names if name in wanted]
            if not group_wanted:
                continue
            frames = group_frames[group] = self.groups[group](features, mask)
            pooled = masked_mean(frames, mask)
            scores.update({name: self.heads[name](pooled) for name in group_wanted})
            for native, own in zip(natives, given, strict=True):
                if own:
                    self._add_native_scores(scores, group_wanted, pooled, native, own)
        ordered = {name: scores[name] for name in wanted}
        compared = self.preference_group
        frames = None if compared is None else group_frames.get(compared)
        return NetworkOutput(ordered, features, frames, mask, group_frames)

    def features(
        self,
        waveform: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
        *,
        encoded: Mapping[int, EncoderOutput] = MappingProxyType({}),
    ) -> tuple[Float[Tensor, "batch frames dim"], Bool[Tensor, "batch frames"]]:
        """Give the joint features of all encoders, and True on real frames."""
        return self._fuse(self.encode(waveform, lengths, encoded=encoded))

    def encode(
        self,
        waveform: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
        *,
        encoded: Mapping[int, EncoderOutput] = MappingProxyType({}),
        native: Collection[str] = (),
    ) -> list[EncoderOutput]:
        """Give what every encoder makes of recordings, or made of them before.

        Args:
            waveform: 16 kHz.
            lengths: Samples of each recording.
            encoded: What some encoders, by number, gave for these recordings.
            native: Metrics of which scores by the encoders' own heads are wanted.
        """
        check_lengths(lengths, waveform.shape[1])
        waveform, lengths = self.prepare(waveform, lengths)
        return [
            encoded[index]
            if index in encoded
            else self._run(cast(Encoder, encoder), waveform, lengths, native=native)
            for index, encoder in enumerate(self.encoders)
        ]

    def _run(
        self, encoder: Encoder, waveform: Tensor, lengths: Tensor, *, native: Collection[str]
    ) -> EncoderOutput:
        own = {"native": native} if encoder.native_metrics else {}
        output: EncoderOutput = encoder(waveform, lengths, **own)
        if self._augmented and not self.training:
            twin = inaudible_twin(waveform, lengths)
            output = mean_output(output, encoder(twin, lengths, **own))
        return output

    def _fuse(
        self, outputs: Sequence[EncoderOutput]
    ) -> tuple[Float[Tensor, "batch frames dim"], Bool[Tensor, "batch frames"]]:
        fused, frame_lengths = self.fusion([outputs[index] for index in self._fused])
        return fused, lengths_to_mask(frame_lengths, fused.shape[1])

    def _given(
        self, native: NativeScoreConfig, outputs: Sequence[EncoderOutput]
    ) -> Mapping[str, Tensor]:
        """Give an encoder's own scores; in training only if its head learns."""
        learns = cast(Encoder, self.encoders[native.encoder]).learns_native_scores
        # None where the hidden states were stored.
        return {} if self.training and not learns else outputs[native.encoder].native_scores

    def _add_native_scores(
        self,
        scores: dict[str, Tensor],
        names: Collection[str],
        pooled: Float[Tensor, "batch dim"],
        native: NativeScoreConfig,
        given: Mapping[str, Tensor],
    ) -> None:
        """Add to each score its share of (encoder's score - prediction of the head)."""
        followed = {name: metric for name, metric in native.followed.items() if name in names}
        differences = {
            metric: given[metric] - self.heads[metric](pooled)
            for metric in dict.fromkeys(followed.values())
        }
        for name, metric in followed.items():
            head = cast(MetricHead, self.heads[name])
            added = native.shares[name] * differences[metric]
            scores[name] = head.constraint.clamp(scores[name] + added)

    def prepare(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch out_samples"], Int[Tensor, " batch"]]:
        """Make what the encoders hear: nothing beyond the end, long enough, at the level."""
        waveform = waveform.masked_fill(~lengths_to_mask(lengths, waveform.shape[1]), 0.0)
        waveform, lengths = repeat_short(waveform, lengths, min_samples=self.min_samples)
        return self._level(waveform, lengths), lengths

    def preference_frames(
        self,
        waveform: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
        *,
        encoded: Mapping[int, EncoderOutput] = MappingProxyType({}),
    ) -> tuple[Float[Tensor, "batch frames dim"], Bool[Tensor, "batch frames"]]:
        """Give only what the preference head compares: its group's frames and their mask.

        Raises:
            ValueError: The model has no preference head.
        """
        if self.preference_group is None:
            raise ValueError("this model has no preference head, so it cannot compare recordings")
        features, mask = self.features(waveform, lengths, encoded=encoded)
        return self.groups[self.preference_group](features, mask), mask

    def compare_frames(
        self,
        frames_a: Float[Tensor, "batch frames_a dim"],
        mask_a: Bool[Tensor, "batch frames_a"],
        frames_b: Float[Tensor, "batch frames_b dim"],
        mask_b: Bool[Tensor, "batch frames_b"],
    ) -> PreferenceOutput:
        """Compare A with B, in this order only, from their preference-group frames.

        Raises:
            ValueError: The model has no preference head.
        """
        if self.preference is None:
            raise ValueError("this model has no preference head, so it cannot compare recordings")
        output: PreferenceOutput = self.preference(frames_a, mask_a, frames_b, mask_b)
        return output


def repeat_short(
    waveform: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"],
    *,
    min_samples: int,
) -> tuple[Float[Tensor, "batch out_samples"], Int[Tensor, " batch"]]:
    """Repeat recordings from their start until they have ``min_samples``; leave others alone."""
    if int(lengths.min()) >= min_samples:
        return waveform, lengths
    samples = max(waveform.shape[1], min_samples)
    index = torch.arange(samples, device=waveform.device).expand(len(waveform), samples)
    repeated = torch.where(
        (lengths < min_samples)[:, None],
        index % lengths[:, None],
        index.clamp_max(waveform.shape[1] - 1),
    )
    lengths = lengths.clamp_min(min_samples)
    mask = lengths_to_mask(lengths, samples)
    return waveform.gather(1, repeated).masked_fill(~mask, 0.0), lengths


def build_assessor(
    config: ModelConfig,
    *,
    filled_by: Collection[Tensor] | None = None,
) -> AssessorNetwork:
    """Make an untrained network.

    Args:
        config: What it is made of.
        filled_by: Weights that will be put in place of its own: it takes no memory for these, but
            in encoders that run when they are built, and is no larger than they can fill. Encoders
            that read their weights are made as ever.

    Raises:
        ConfigError: An encoder's family or options do not exist or do not fit, or a part cannot be
            made; the message names the key.
    """
    unguarded = contextlib.nullcontext()
    unfilled = unguarded if filled_by is None else Unfilled(filled_by)
    bounded = unguarded if filled_by is None else Bounded(filled_by)
    encoders = []
    for index, encoder in enumerate(config.encoders):
        around = unguarded if brings_weights(encoder) else unfilled
        with bounded if runs_when_built(encoder) else around:
            encoders.append(build_encoder(encoder, where=f"model.encoders.{index}"))
    with unfilled:
        return _build_network(config, encoders)


def _build_network(config: ModelConfig, encoders: Sequence[Encoder]) -> AssessorNetwork:
    dim = config.fusion.dim
    _check_native_scores(config, encoders)
    with _naming("model.groups"):
        # Its names are those of attributes.
        nn.ModuleDict(dict.fromkeys(config.groups, nn.Identity()))
    with _naming("model.fusion"):
        # Without hidden states, an encoder is there for its own heads alone.
        fused = [encoder for encoder in encoders if encoder.num_layers]
        if not fused:
            raise ConfigError("model.encoders: no encoder gives hidden states")
        fusion = Fusion(
            layers=[encoder.num_layers for encoder in fused],
            dims=[encoder.dim for encoder in fused],
            dim=dim,
        )
    groups = _build_groups(config)
    preference = _build_preference(config)
    heads = {}
    for name in config.metrics:
        low, high = config.head_bounds(name)
        heads[name] = MetricHead(dim, low=low, high=high)
    return AssessorNetwork(
        encoders=encoders,
        fusion=fusion,
        groups=groups,
        heads=heads,
        group_metrics={name: group.metrics for name, group in config.groups.items()},
        level=LEVELS[config.level],
        min_samples=round(config.shortest_s * config.sample_rate),
        preference=preference,
        preference_group=None if config.preference is None else config.preference.group,
        native_scores=config.native_scores,
        test_time_augmentation=config.test_time_augmentation,
    )


def _check_native_scores(config: ModelConfig, encoders: Sequence[Encoder]) -> None:
    """Refuse scores of encoders' own heads that are asked for and not given, or the reverse."""
    counted: dict[int, set[str]] = {}
    for native in config.native_scores:
        followed = set(native.followed.values())
        counted.setdefault(native.encoder, set()).update(followed)
        metrics = encoders[native.encoder].native_metrics
        who = f"encoder {native.encoder} ({config.encoders[native.encoder].family})"
        if not metrics:
            raise ConfigError(
                f"model.native_score.encoder: {who} gives no score of its own; distill_mos does, "
                "and spectral_transformer with a peak_head or a frame_head"
            )
        for metric in followed.difference(metrics):
            raise ConfigError(
                f"model.native_score: {who} gives no score of its own for {metric!r}; it gives "
                f"{', '.join(metrics)}"
            )
    for index, encoder in enumerate(encoders):
        untrained = [m for m in encoder.native_metrics if m not in counted.get(index, ())]
        if encoder.learns_native_scores and untrained:
            raise ConfigError(
                f"model.encoders.{index}.options: nothing would train the encoder's own head for "
                f"{', '.join(untrained)}: give it model.native_score.shares"
            )


def _build_groups(config: ModelConfig) -> dict[str, GroupEncoder]:
    groups = {}
    for name, group in config.groups.items():
        with _naming(f"model.groups.{name}"):
            groups[name] = GroupEncoder(
                config.fusion.dim,
                layers=group.layers,
                heads=group.heads,
                feedforward=group.feedforward,
                dropout=group.dropout,
            )
    return groups


def _build_preference(config: ModelConfig) -> PreferenceHead | None:
    preference = config.preference
    if preference is None:
        return None
    return PreferenceHead(config.fusion.dim, heads=preference.heads, features=preference.features)


@contextlib.contextmanager
def _naming(where: str) -> Iterator[None]:
    try:
        yield
    except BUILD_ERRORS as error:
        # The text of a KeyError is that of its argument with quotes around it.
        raise ConfigError(f"{where}: {error.args[0] if error.args else error}") from error
