"""Any s3prl upstream, by name or from a local checkpoint.

s3prl takes several recordings at once, but many of its upstreams mix padding into features, so
recordings are encoded in batches of one length.
"""

import sys
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from urgentmos.extras import require
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.encoders.equal_lengths import encode_in_equal_lengths
from urgentmos.model.encoders.pretrained import PretrainedConfig, PretrainedEncoder
from urgentmos.model.encoders.s3prl_structure import (
    COMPUTED,
    FAMILIES,
    S3prlStructure,
    build_upstream,
    noting_checkpoints,
)
from urgentmos.rates import SAMPLE_RATE

# s3prl pads what is shorter than 50 ms with zeros.
_MIN_SAMPLES = 800
_WHAT_LOADS = (
    f"of s3prl's upstreams, a saved model holds those of {', '.join(FAMILIES)} and the computed "
    f"{', '.join(COMPUTED)}"
)


@dataclass
class S3prlConfig(PretrainedConfig):
    """Options of an s3prl upstream.

    Attributes:
        upstream: Name in s3prl's collection, as ``wavlm_local`` or ``hubert``.
        checkpoint: Local file or folder, for the names that take one; the others are downloaded.
        structure: What a saved model notes of the upstream; then nothing is read, nothing is
            downloaded, and ``pretrained`` must be false.
    """

    upstream: str = ""
    checkpoint: str | None = None
    structure: S3prlStructure | None = None

    def __post_init__(self) -> None:
        """Check that one thing describes the upstream."""
        if self.structure is not None and self.pretrained:
            raise ValueError("structure describes an upstream without weights: pretrained is false")
        if self.structure is None and not self.pretrained:
            raise ValueError(
                "pretrained: an s3prl upstream is defined by its checkpoint, so it can neither be "
                "built nor described by --dry-run without it"
            )
        if self.upstream in COMPUTED and self.checkpoint is not None:
            raise ValueError(
                f"checkpoint: {self.upstream} is computed and has no weights; leave it out, or "
                f"name an upstream that takes one, got {self.checkpoint!r}"
            )


class S3prlEncoder(PretrainedEncoder):
    """Hidden states of an s3prl upstream.

    Upstreams may give states of several widths and frame rates; those that have the last one's are
    given, the others are dropped, as they cannot be mixed.
    """

    min_samples = _MIN_SAMPLES

    def __init__(self, upstream: Any, *, config: S3prlConfig) -> None:
        """Wrap an upstream, its gradient switched on, and see whether gradient gets through."""
        super().__init__(upstream, _heaviest_list(upstream), config=config)
        sizes, strides = upstream.hidden_sizes, upstream.downsample_rates
        self.kept = [
            index
            for index in range(upstream.num_layers)
            if (sizes[index], strides[index]) == (sizes[-1], strides[-1])
        ]
        self.dim = sizes[-1]
        self.num_layers = len(self.kept)
        self.computed = config.upstream in COMPUTED
        self.frame_rate = SAMPLE_RATE / strides[-1]
        for module in upstream.modules():
            if hasattr(module, "feature_grad_mult"):
                module.feature_grad_mult = 1.0
        # Through weights of zero there is no gradient to look for.
        self.differentiable = (
            config.structure.differentiable if config.structure else self._gradient_arrives()
        )
        if not self.differentiable:
            self.gradient_note = (
                f"s3prl's {config.upstream} computes its features outside of PyTorch's graph, so "
                "no gradient reaches the waveform"
            )

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Encode recordings; ``ceil(samples / stride)`` frames, as s3prl counts them."""
        return encode_in_equal_lengths(self._encode, waveform, lengths)

    def _encode(
        self, waveform: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch layers frames dim"]:
        lengths = torch.full((len(waveform),), waveform.shape[1], device=waveform.device)
        # Their norm magnifies what 16 bits round.
        whole = torch.autocast(waveform.device.type, enabled=False)
        with whole if self.computed else nullcontext():
            states, _ = self.recompute(self.tower, waveform, lengths)
        return torch.stack([states[index] for index in self.kept], dim=1)

    def _gradient_arrives(self) -> bool:
        """Tell whether gradient reaches the waveform; what it never reaches is not trained."""
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, SAMPLE_RATE // 4, generator=generator) * 0.1
        states = self._encode(noise.requires_grad_())
        if not states.requires_grad:
            return False
        trained = [weight for weight in self.parameters() if weight.requires_grad]
        gradient, *others = torch.autograd.grad(
            states.square().sum(), [noise, *trained], allow_unused=True
        )
        for weight, found in zip(trained, others, strict=True):
            # Parts for training objectives. DDP would wait for their gradient, and a checkpoint
            # without their moments could not be resumed from.
            weight.requires_grad_(found is not None)
        return gradient is not None and bool((gradient != 0).any())


def build_s3prl(config: S3prlConfig) -> S3prlEncoder:
    """Make the encoder.

    Raises:
        MissingExtraError: s3prl or torchaudio is not installed.
        ValueError: s3prl has no such upstream, its checkpoint is not there, is damaged or holds
            code, or s3prl cannot make an upstream of the noted structure.
    """
    with _old_torchaudio():
        nn_module = require("s3prl.nn", extra="s3prl")
        if config.structure is not None:
            upstream = build_upstream(nn_module.S3PRLUpstream, config.structure)
            return S3prlEncoder(upstream, config=config)
        names = nn_module.S3PRLUpstream.available_names()
        if config.upstream not in names:
            raise ValueError(f"upstream: s3prl has no {config.upstream!r}; it has {names}")
        with noting_checkpoints() as notes:
            upstream = _make(nn_module.S3PRLUpstream, config)
    encoder = S3prlEncoder(upstream, config=config)
    if config.upstream not in COMPUTED:
        encoder.stored_options = _note_structure(encoder, notes)
    return encoder


def _make(upstream_class: Any, config: S3prlConfig) -> Any:
    try:
        return upstream_class(config.upstream, path_or_url=config.checkpoint)
    except ImportError:  # of a package that this upstream needs, which the error names
        raise
    # Each upstream fails in a way of its own: where a file is missing, with an empty message.
    except Exception as error:
        source = "its own checkpoint" if config.checkpoint is None else repr(config.checkpoint)
        # PyTorch goes on to advise reading a pickle with its code.
        what = str(error).partition(". ")[0]
        raise ValueError(
            f"s3prl cannot make {config.upstream!r} of {source} (names that end in _local or "
            f"_custom take a checkpoint, others download theirs): {type(error).__name__}: {what}"
        ) from error


def as_saved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a saved model's upstream, without what s3prl would read or download.

    Raises:
        ValueError: They leave to a checkpoint what the upstream is.
    """
    if options.get("structure") is not None:
        return {**options, "pretrained": False, "checkpoint": None}
    if options.get("upstream") in COMPUTED:
        return {**options, "checkpoint": None}
    raise ValueError(
        f"structure is missing: s3prl's {options.get('upstream')!r} is built from its own "
        f"checkpoint, and none is read when a saved model is loaded; {_WHAT_LOADS}"
    )


def _note_structure(encoder: S3prlEncoder, notes: Sequence[Any]) -> dict[str, Any]:
    folder = type(encoder.tower.upstream).__module__.split(".")[-2]
    if folder in FAMILIES and len(notes) == 1 and isinstance(notes[0], dict):
        structure = {
            "family": folder,
            "checkpoint": notes[0],
            "differentiable": encoder.differentiable,
        }
        return {"pretrained": False, "checkpoint": None, "structure": structure}
    warnings.warn(
        f"a model with s3prl's {folder} can be trained and saved, but not loaded again: "
        f"{_WHAT_LOADS}",
        stacklevel=2,
    )
    return {}


@contextmanager
def _old_torchaudio() -> Iterator[None]:
    """Give torchaudio what s3prl 0.4 asks for at import and 2.9 lacks; it is never used."""
    torchaudio: Any = require("torchaudio", extra="s3prl")
    stub: Any = types.ModuleType("torchaudio.sox_effects")
    stub.apply_effects_tensor = None
    missing_module = "torchaudio.sox_effects" not in sys.modules
    missing_function = not hasattr(torchaudio, "set_audio_backend")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if missing_module:
            sys.modules["torchaudio.sox_effects"] = stub
        if missing_function:
            torchaudio.set_audio_backend = lambda backend: None
        try:
            yield
        finally:
            if missing_module:
                del sys.modules["torchaudio.sox_effects"]
            if missing_function:
                del torchaudio.set_audio_backend


def _heaviest_list(upstream: nn.Module) -> list[nn.Module]:
    """The layers: of all lists of modules, the one with the most weights."""
    lists = [module for module in upstream.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=_count_weights, default=[]))


def _count_weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
