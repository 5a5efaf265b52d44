"""The configuration of a simulation: material, shares, weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from urgentmos.config import ConfigError, to_dict
from urgentmos.simulate.kinds import DISTORTIONS

MAX_VERSIONS = 8
"""Most strengths in which one utterance comes."""

DEFAULT_WEIGHTS: dict[str, float] = {
    **dict.fromkeys(DISTORTIONS, 1.0),
    # Recorded and background noise is met most often.
    "recorded_noise": 5.0,
    "stationary_noise": 2.0,
    "babble": 2.0,
    "room": 2.5,
    "measured_room": 2.0,
    # Re-synthesis and enhancement are what is learned last and scored most.
    "spectral_subtraction": 2.0,
    "wiener": 2.0,
    "log_mmse": 2.5,
    "mask_errors": 2.0,
    "unsteady_mask": 2.0,
    "over_suppression": 1.5,
    "griffin_lim": 1.5,
    "mel_griffin_lim": 1.5,
    # Only where asked for: it came after the plans that published labels belong to.
    "predicted_spectrum": 0.0,
    "world": 3.0,
    "linear_prediction": 2.0,
    "opus": 2.0,
    # Variants of one codec share its weight, and slow ones are rare.
    "opus_low_delay": 0.5,
    "mp3_low_rate": 0.4,
    "mp2": 0.4,
    "g722": 0.5,
    "g726": 0.7,
    "tandem_codecs": 0.7,
    "g723_1": 0.3,
    "ima_adpcm": 0.3,
    "real_144": 0.3,
    "cvsd": 0.4,
    "lpc10": 0.4,
    "packet_loss": 3.0,
    "mu_law": 0.5,
    "a_law": 0.5,
    "aliasing": 0.5,
    "tilt": 0.7,
    "hum": 0.7,
    "echo": 0.7,
}


@dataclass(frozen=True)
class SourceShares:
    """How often a recording starts from each source.

    Attributes:
        clean: Clean speech.
        processed: Speech that came out of some system already.
        synthesised: Speech synthesised here from text.
    """

    clean: float = 0.85
    processed: float = 0.07
    synthesised: float = 0.08


@dataclass(frozen=True)
class SimulationConfig:
    """What to simulate; every field has a default except the material.

    Attributes:
        num_recordings: Recordings to make.
        manifest: JSON lines with ``path kind language speaker source_path reference system split
            seconds``, of which the first two are needed; ``kind`` is clean, noise, rir, processed
            or reference. Where ``split`` says ``train`` or ``validation`` it is kept; rows of
            ``test``, of whatever kind, are left out.
        manifest_root: Folder that its paths are relative to; its own folder when None.
        speech: Folders of clean speech; a file's parent folder is its speaker. A single folder of
            files is split file by file.
        noise: Folders of noise.
        responses: Folders of impulse responses.
        shares: Where recordings start from.
        as_they_are: Whether each processed recording and each reference also comes undistorted.
        num_distortions: Weights of 0, 1, 2 and 3 distortions on clean speech.
        distorted_share: Share of processed and synthesised speech that is distorted further.
        weights: Kind → weight, 0 for never. A file's replace the default weights as a whole; on the
            command line ``weights.opus=3`` changes one of them.
        extra_weights: Kind → weight, on top of ``weights``.
        severest: Largest strength of a distortion, above 0 (barely audible) and at most 1.
        family_share: Share of distorted utterances that come in several strengths.
        family_versions: Fewest and most strengths, 1 to ``MAX_VERSIONS``.
        validation_share: Share of speakers, noises, responses and voices kept for validation.
        min_seconds: Shorter utterances are left out.
        crop_seconds: Shortest and longest crop of a longer utterance.
        crops: Different crops of a longer utterance.
        level_dbfs: Lowest and highest speech level, or None to keep the files' own.
        text: File of ``language<TAB>sentence`` lines to synthesise, or None for built-in ones.
        engines: Speech synthesis engines.
        skip_missing: Leave out kinds and engines whose tool is not installed.
    """

    num_recordings: int = 1000
    manifest: str | None = None
    manifest_root: str | None = None
    speech: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)
    responses: list[str] = field(default_factory=list)
    shares: SourceShares = field(default_factory=SourceShares)
    as_they_are: bool = True
    num_distortions: list[float] = field(default_factory=lambda: [0.04, 0.56, 0.27, 0.13])
    distorted_share: float = 0.35
    weights: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    extra_weights: dict[str, float] = field(default_factory=dict)
    severest: float = 1.0
    family_share: float = 0.15
    family_versions: list[int] = field(default_factory=lambda: [3, 4])
    validation_share: float = 0.1
    min_seconds: float = 2.0
    crop_seconds: list[float] = field(default_factory=lambda: [4.55, 5.4])
    crops: int = 4
    level_dbfs: list[float] | None = field(default_factory=lambda: [-34.0, -20.0])
    text: str | None = None
    engines: list[str] = field(default_factory=lambda: ["espeak-ng", "flite", "festival"])
    skip_missing: bool = False

    def __post_init__(self) -> None:
        self._check_weights()
        self._check_pairs()
        for name in ("num_recordings", "crops"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 <= self.min_seconds < math.inf:
            raise ConfigError(f"min_seconds: expected at least 0, got {self.min_seconds}")
        for name in ("distorted_share", "family_share", "validation_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        if not 0 < self.severest <= 1:
            raise ConfigError(f"severest: expected above 0 and at most 1, got {self.severest}")

    def _check_weights(self) -> None:
        if len(self.num_distortions) != 4 or sum(self.num_distortions) == 0:
            raise ConfigError(
                "num_distortions: expected 4 weights, for 0 to 3 distortions, got "
                f"{self.num_distortions}"
            )
        shares = to_dict(self.shares)
        if sum(shares.values()) == 0:
            raise ConfigError(f"shares: expected one above 0, got {shares}")
        _check_weights("num_distortions", dict(enumerate(self.num_distortions)))
        _check_weights("shares", shares)
        _check_weights("weights", self.weights)
        _check_weights("extra_weights", self.extra_weights)

    def _check_pairs(self) -> None:
        for name in ("crop_seconds", "family_versions", "level_dbfs"):
            pair = getattr(self, name)
            if pair is None:
                continue
            if len(pair) != 2 or not -math.inf < pair[0] <= pair[1] < math.inf:
                raise ConfigError(f"{name}: expected [lowest, highest], finite, got {pair}")
        if self.crop_seconds[0] <= 0:
            raise ConfigError(f"crop_seconds: expected above 0, got {self.crop_seconds}")
        fewest, most = self.family_versions
        if fewest < 1 or most > MAX_VERSIONS:
            raise ConfigError(
                f"family_versions: expected 1 to {MAX_VERSIONS}, got {self.family_versions}"
            )

    @property
    def all_weights(self) -> dict[str, float]:
        """Weights of the kinds that can be drawn; none where nothing is to be distorted."""
        if not any(self.num_distortions[1:]):
            return {}
        return {k: w for k, w in (self.weights | self.extra_weights).items() if w > 0}


def _check_weights(key: str, weights: Mapping[Any, float]) -> None:
    """Refuse what cannot be drawn by; 0 is never drawn."""
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ConfigError(f"{key}.{name}: expected a finite weight of at least 0, got {weight}")
