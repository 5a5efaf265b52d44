"""Pretrained bundles of torchaudio: WAV2VEC2, HUBERT and WAVLM.

The group-norm front ends take statistics over padding, and the bundles that normalise waveforms do
so over a whole batch. Here recordings are encoded in batches of one length, each normalised alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from urgentmos.extras import require
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.encoders.equal_lengths import encode_in_equal_lengths
from urgentmos.model.encoders.pretrained import PretrainedConfig, PretrainedEncoder
from urgentmos.rates import SAMPLE_RATE

_STRIDE = 320


@dataclass
class TorchaudioConfig(PretrainedConfig):
    """Options of a torchaudio bundle.

    Attributes:
        bundle: Name in ``torchaudio.pipelines``, as ``WAVLM_BASE_PLUS``.
    """

    bundle: str = ""


def as_saved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a saved model's bundle, whose weights are not downloaded."""
    return {**options, "pretrained": False}


class TorchaudioEncoder(PretrainedEncoder):
    """Outputs of each layer, as the bundle's ``extract_features`` gives them."""

    frame_rate = SAMPLE_RATE / _STRIDE
    min_samples = 400
    dropped_parts = ("tower.aux",)

    def __init__(self, model: Any, *, normalise: bool, config: TorchaudioConfig) -> None:
        """Wrap a model; ``normalise`` brings recordings to zero mean and unit variance."""
        layers = list(model.encoder.transformer.layers)
        # Of the bundles for speech recognition: the letters' weights, which no feature depends on.
        model.aux = None
        super().__init__(model, layers, config=config)
        if not model.encoder.transformer.layer_norm_first:
            # Comes after the last layer, of which `extract_features` gives what is before it.
            # Without a gradient, DDP would wait for one and no checkpoint could be resumed from.
            model.encoder.transformer.layer_norm.requires_grad_(False)
        self.dim = model.encoder.transformer.layer_norm.normalized_shape[0]
        self.num_layers = len(layers)
        self.normalise = normalise

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Encode recordings; the convolutions have no padding, so frames are what fits."""
        return encode_in_equal_lengths(self._encode, waveform, lengths)

    def _encode(
        self, waveform: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch layers frames dim"]:
        if self.normalise:
            waveform = functional.layer_norm(waveform, waveform.shape[-1:])
        states, _ = self.recompute(self.tower.extract_features, waveform)
        return torch.stack(states, dim=1)


def build_torchaudio(config: TorchaudioConfig) -> TorchaudioEncoder:
    """Make the encoder.

    Raises:
        MissingExtraError: torchaudio is not installed, or fails next to this PyTorch.
        ValueError: It has no such bundle, or cannot download its weights.
    """
    pipelines = require("torchaudio.pipelines", extra="s3prl")
    bundles = [
        name
        for name in dir(pipelines)
        if isinstance(getattr(pipelines, name), pipelines.Wav2Vec2Bundle)
    ]
    if config.bundle not in bundles:
        raise ValueError(f"bundle: torchaudio has no {config.bundle!r}; it has {bundles}")
    bundle = getattr(pipelines, config.bundle)
    encoder = TorchaudioEncoder(
        _get_model(bundle, pretrained=config.pretrained),
        normalise=bundle._normalize_waveform,
        config=config,
    )
    encoder.stored_options = {"pretrained": False}
    return encoder


def _get_model(bundle: Any, *, pretrained: bool) -> Any:
    if not pretrained:
        models = require("torchaudio.models", extra="s3prl")
        make = {"Wav2Vec2": models.wav2vec2_model, "WavLM": models.wavlm_model}
        return make[bundle._model_type](**bundle._params)
    try:
        model = bundle.get_model(dl_kwargs={"weights_only": True})
    except OSError as error:  # which names no file
        raise ValueError(
            f"bundle: its weights, {bundle._path}, could not be downloaded, as torchaudio does on "
            f"first use: {error}"
        ) from error
    # A bundle that normalises wraps the model in a module that does so over the whole batch.
    return getattr(model, "model", model)
