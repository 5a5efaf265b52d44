"""UTMOS: the strong learner of Saeki et al. 2022, without a reference."""

from functools import cached_property
from typing import Any
from urllib.error import URLError

import torch

from urgentmos.extras import MissingExtraError
from urgentmos.labels.labeller import SAMPLE_RATE, Waveform, package_version, require_sound

REPOSITORY = "tarepan/SpeechMOS:v1.2.0"
ENTRY = "utmos22_strong"


class Utmos:
    """UTMOS from torch.hub ``tarepan/SpeechMOS``, whose code and weights are fetched once."""

    metrics = ("utmos",)
    version = f"{REPOSITORY} {ENTRY}"

    def __init__(self) -> None:
        """Check for torchaudio: the fetched code imports it, and torch.hub refuses it without."""
        package_version("torchaudio")

    def label(self, recording: Waveform, reference: Waveform | None = None) -> dict[str, float]:
        """Compute UTMOS of one recording; the reference is not used.

        Raises:
            LabelError: The recording is silent.
            MissingExtraError: Neither in torch.hub's folder nor to be had from the network.
        """
        require_sound(recording)
        with torch.inference_mode():
            score = self._model(torch.from_numpy(recording)[None], SAMPLE_RATE)
        return {"utmos": score.item()}

    @cached_property
    def _model(self) -> Any:
        try:
            hub: Any = torch.hub
            return hub.load(REPOSITORY, ENTRY, trust_repo=True).eval()
        except (URLError, ConnectionError, TimeoutError) as error:
            raise MissingExtraError(
                f"UTMOS needs code and weights of github.com/tarepan/SpeechMOS and they cannot be "
                f"fetched ({error}); on a machine with a network run "
                f"torch.hub.load({REPOSITORY!r}, {ENTRY!r}, trust_repo=True), then copy "
                f"{torch.hub.get_dir()} here"
            ) from error
