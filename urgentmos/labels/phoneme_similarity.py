"""LPS: Levenshtein phoneme similarity (Pirklbauer et al. 2023)."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from urgentmos.extras import MissingExtraError, require
from urgentmos.labels.hub_model import INSTALL_TRANSFORMERS, load_pretrained
from urgentmos.labels.labeller import (
    LabelError,
    ReferenceCache,
    Waveform,
    package_version,
    require_reference,
    require_sound,
)

MODEL = "facebook/wav2vec2-lv-60-espeak-cv-ft"
_MIN_SAMPLES = 400


class PhonemeSimilarity:
    """1 - Levenshtein distance / reference length, on phonemes recognised in both recordings."""

    metrics = ("lps",)

    def __init__(self) -> None:
        """State the version."""
        version = package_version("transformers", install=INSTALL_TRANSFORMERS)
        self.version = f"{version}, {MODEL}"
        self._reference_phonemes = ReferenceCache(self._phonemes)

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute the phoneme similarity of one recording; it may be below 0.

        Raises:
            LabelError: No or silent reference, silent recording, under 25 ms, or no phoneme
                recognised in the reference.
            MissingExtraError: transformers or the model is not here and cannot be fetched.
        """
        reference = require_reference(reference)
        require_sound(recording)
        theirs = self._reference_phonemes.get(reference)
        if not theirs:
            raise LabelError("no phoneme recognised in the reference")
        return {"lps": 1.0 - edit_distance(self._phonemes(recording), theirs) / len(theirs)}

    @torch.inference_mode()
    def _phonemes(self, waveform: Waveform) -> str:
        if len(waveform) < _MIN_SAMPLES:
            raise LabelError(f"too short: {len(waveform)} samples, expected {_MIN_SAMPLES}")
        # The model's feature extractor normalises level; its tokenizer would need espeak.
        normal = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
        logits = self._model(torch.from_numpy(normal.astype(np.float32))[None]).logits
        return decode(logits[0].argmax(dim=1).tolist(), self._symbols)

    @cached_property
    def _model(self) -> Any:
        return load_pretrained("Wav2Vec2ForCTC", MODEL).eval()

    @cached_property
    def _symbols(self) -> dict[int, str]:
        hub = require("huggingface_hub", extra="encoders")
        try:
            path = Path(hub.hf_hub_download(MODEL, "vocab.json"))
        except OSError as error:
            raise MissingExtraError(
                f"vocab.json of {MODEL} is not on this machine and cannot be fetched; "
                f"on a machine with a network run 'hf download {MODEL}'"
            ) from error
        return {index: symbol for symbol, index in json.loads(path.read_text("utf-8")).items()}


def decode(frames: Sequence[int], symbols: dict[int, str]) -> str:
    """Join frame-wise CTC decisions into a string of phoneme letters.

    Repeats are merged, then special symbols (``<pad>``, which is CTC's blank, and the like) and
    word boundaries are dropped. The URGENT scripts compare letters, not phonemes: a long vowel is
    two.
    """
    merged = [new for new, old in zip(frames, [None, *frames], strict=False) if new != old]
    kept = (symbols[index] for index in merged)
    return "".join(symbol for symbol in kept if not symbol.startswith("<")).replace("|", "")


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Count the insertions, deletions and substitutions that turn one string into the other."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            substituted = diagonal + (left != right)
            diagonal = row[j]
            row[j] = min(substituted, row[j] + 1, row[j - 1] + 1)
    return row[-1]
