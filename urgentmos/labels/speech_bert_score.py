"""SpeechBERTScore: how much of the reference's speech content a recording holds."""

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from urgentmos.labels.hub_model import INSTALL_TRANSFORMERS, load_pretrained
from urgentmos.labels.labeller import (
    LabelError,
    ReferenceCache,
    Waveform,
    package_version,
    require_reference,
    require_sound,
)

MODEL = "facebook/hubert-base-ls960"
LAYER = 8
_MIN_SAMPLES = 400


class SpeechBertScore:
    """Precision of SpeechBERTScore: HuBERT base, hidden state 8 (Saeki et al. 2024)."""

    metrics = ("sbert",)

    def __init__(self) -> None:
        """State the version."""
        version = package_version("transformers", install=INSTALL_TRANSFORMERS)
        self.version = f"{version}, {MODEL} layer {LAYER}"
        self._reference_features = ReferenceCache(self._features)

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute the SpeechBERTScore precision of one recording.

        Raises:
            LabelError: No or silent reference, silent recording, or under 25 ms.
            MissingExtraError: transformers or the model is not here and cannot be fetched.
        """
        reference = require_reference(reference)
        require_sound(recording)
        theirs = self._reference_features.get(reference)
        return {"sbert": precision(self._features(recording), theirs)}

    @torch.inference_mode()
    def _features(self, waveform: Waveform) -> Float[Tensor, "frames dim"]:
        if len(waveform) < _MIN_SAMPLES:
            raise LabelError(f"too short: {len(waveform)} samples, expected {_MIN_SAMPLES}")
        outputs = self._model(torch.from_numpy(waveform)[None], output_hidden_states=True)
        features: Tensor = outputs.hidden_states[LAYER][0]
        return features

    @cached_property
    def _model(self) -> Any:
        return load_pretrained("HubertModel", MODEL).eval()


def precision(
    ours: Float[Tensor, "frames dim"], theirs: Float[Tensor, "other_frames dim"]
) -> float:
    """Average, over our frames, the cosine with the nearest frame of the reference."""
    ours = torch.nn.functional.normalize(ours, dim=1)
    theirs = torch.nn.functional.normalize(theirs, dim=1)
    return float((ours @ theirs.T).amax(dim=1).mean())
