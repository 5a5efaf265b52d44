"""Frozen encoders run once over a corpus: find the store of their hidden states, or make it."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE
from urgentmos.data.array_store import Made, open_arrays
from urgentmos.data.features import FeatureStore
from urgentmos.data.sampler import plan_whole_recordings
from urgentmos.data.waveforms import Waveforms, read_whole
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder
from urgentmos.model.network import AssessorNetwork
from urgentmos.ndarray import NDArray
from urgentmos.precision import Precision
from urgentmos.terminal_size import bar_size

# The waveforms of one batch; what an encoder makes of it is many times as large.
_BATCH_SECONDS = 40
_LARGEST = torch.finfo(torch.float16).max


class FeatureStores:
    """The stores of one corpus.

    A recording's hidden states are computed over all of it, at the model's level, and training that
    hears a part of a recording reads the part of them. They are the encoder's on that part alone up
    to what the encoder hears around it.

    Args:
        folder: Where the stores are.
        waveforms: All recordings that are trained or validated on.
        keys: Key of each of them (`urgentmos.data.array_store.recording_keys`).
        precision: ``bfloat16`` runs the encoders in it; stores hold float16 in any case.
    """

    def __init__(
        self, folder: Path, waveforms: Waveforms, *, keys: Sequence[str], precision: Precision
    ) -> None:
        self._folder = folder
        self._waveforms = waveforms
        self._keys = keys
        self._precision = precision

    def find(
        self,
        encoder: Encoder,
        config: EncoderConfig,
        *,
        network: AssessorNetwork,
        level: str,
        layers: list[int] | None = None,
    ) -> FeatureStore:
        """Open the store of an encoder, computing first what it lacks of these recordings.

        A run that was killed while at it goes on where it stood.

        Args:
            encoder: Frozen encoder.
            config: What it was built from.
            network: Network whose recordings it hears: their level and their shortest length.
            level: The network's level, by name.
            layers: Hidden states that are read; all when None.

        Raises:
            ManifestError: A recording cannot be decoded.
            FileLockedError: Another run is adding to the store.
        """
        key = hashlib.sha256(_weights_digest(encoder))
        setting = [asdict(config), level, network.min_samples, self._precision]
        key.update(json.dumps(setting, sort_keys=True).encode())
        path = self._folder / f"{config.family}-{key.hexdigest()[:16]}.f16"

        def encode(missing: NDArray[np.int64]) -> Made:
            description = f"hidden states of {type(encoder).__name__}"
            with tqdm(total=len(missing), desc=description, **bar_size()) as bar:
                for batch, states in self._encode(encoder, network, missing):
                    yield zip(batch.tolist(), states, strict=True)
                    bar.update(len(batch))

        shape = (encoder.num_layers, encoder.dim)
        arrays = open_arrays(path, self._keys, encode, dtype="<f2", row_shape=shape)
        return FeatureStore(arrays, selected=layers)

    def _encode(
        self, encoder: Encoder, network: AssessorNetwork, positions: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], list[NDArray[np.float16]]]]:
        """Give batches of positions, and (frames, layers, dim) of each recording."""
        device = next(network.parameters()).device
        encoder.eval().to(device)
        batches = plan_whole_recordings(
            self._waveforms.lengths[positions], batch_samples=_BATCH_SECONDS * SAMPLE_RATE
        )
        halved = self._precision == "bfloat16"
        for chosen in batches:
            batch = positions[chosen]
            waveform, lengths = self._read(batch)
            waveform, lengths = network.prepare(waveform.to(device), lengths.to(device))
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=halved):
                output = encoder(waveform, lengths)
            # Large encoders have single values beyond what 16 bits hold.
            clamped = output.hidden_states.float().clamp(-_LARGEST, _LARGEST)
            hidden = clamped.transpose(1, 2).to("cpu", torch.float16).numpy()
            yield batch, [h[:n] for h, n in zip(hidden, output.lengths.tolist(), strict=True)]

    def _read(self, batch: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        waveform, lengths = read_whole(self._waveforms, batch)
        return torch.from_numpy(waveform), torch.from_numpy(lengths)


def _weights_digest(encoder: Encoder) -> bytes:
    digest = hashlib.sha256()
    for name, tensor in [*encoder.named_parameters(), *encoder.named_buffers()]:
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()
