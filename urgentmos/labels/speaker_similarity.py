"""Speaker similarity: cosine of the speaker embeddings of recording and reference."""

import warnings
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32

from urgentmos.extras import require
from urgentmos.labels.labeller import (
    LabelError,
    ReferenceCache,
    Waveform,
    package_version,
    require_reference,
    require_sound,
)
from urgentmos.ndarray import NDArray

Embedding = Float32[NDArray[np.float32], " dim"]


class SpeakerSimilarity:
    """Cosine of two GE2E embeddings by package ``resemblyzer``, after its own preprocessing.

    The URGENT challenges use RawNet3, whose weights need a download; the two do not share a scale.
    """

    metrics = ("spksim",)

    def __init__(self) -> None:
        """State the version."""
        self.version = package_version("Resemblyzer")
        self._reference_embedding = ReferenceCache(self._embed)

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute the speaker similarity of one recording.

        Raises:
            LabelError: No or silent reference, silent recording, or no voice in either.
        """
        reference = require_reference(reference)
        require_sound(recording)
        theirs = self._reference_embedding.get(reference)
        return {"spksim": float(self._embed(recording) @ theirs)}

    def _embed(self, waveform: Waveform) -> Embedding:
        trimmed = self._audio.preprocess_wav(waveform) if len(waveform) >= 480 else waveform[:0]
        if not len(trimmed):
            raise LabelError("no voice found for the speaker embedding")
        embedding: Embedding = self._encoder.embed_utterance(trimmed)
        if not np.isfinite(embedding).all():
            raise LabelError("no speaker embedding: the network gave no number")
        return embedding

    @cached_property
    def _encoder(self) -> Any:
        module = _require_quietly("resemblyzer.voice_encoder")
        return module.VoiceEncoder("cpu", verbose=False)

    @cached_property
    def _audio(self) -> Any:
        return _require_quietly("resemblyzer.audio")


def _require_quietly(module: str) -> Any:
    with warnings.catch_warnings():
        # resemblyzer and webrtcvad import deprecated names of scipy and pkg_resources.
        warnings.simplefilter("ignore")
        return require(module, extra="labels")
