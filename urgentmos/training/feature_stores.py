"""Frozen encoders run once over a corpus: find the store of their hidden states, or make it."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE
from urgentmos.data.features import FeatureStore, open_features
from urgentmos.data.sampler import plan_whole_recordings
from urgentmos.data.waveforms import Waveforms, read_padded
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder
from urgentmos.model.network import AssessorNetwork

# The waveforms of one batch; what an encoder makes of it is many times as large.
_BATCH_SECONDS = 40


class FeatureStores:
    """The stores of one corpus.

    A recording's hidden states are computed over all of it, at the model's level, and training that
    hears a part of a recording reads the part of them. They are the encoder's on that part alone up
    to what the encoder hears around it.

    Args:
        folder: Where the stores are.
        waveforms: All recordings that are trained or validated on.
        audio_digest: Digest of these recordings.
        precision: ``bf16`` runs the encoders in bfloat16; stores hold float16 in any case.
    """

    def __init__(
        self, folder: Path, waveforms: Waveforms, *, audio_digest: str, precision: str
    ) -> None:
        self._folder = folder
        self._waveforms = waveforms
        self._audio_digest = audio_digest
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
        """Open the store of an encoder, making it first where there is none.

        A run that was killed while making one goes on where it stood.

        Args:
            encoder: Frozen encoder.
            config: What it was built from.
            network: Network whose recordings it hears: their level and their shortest length.
            level: The network's level, by name.
            layers: Hidden states that are read; all when None.

        Raises:
            ManifestError: A recording cannot be decoded.
        """
        key = hashlib.sha256(_weights_digest(encoder))
        setting = [asdict(config), level, network.min_samples, self._precision, self._audio_digest]
        key.update(json.dumps(setting, sort_keys=True).encode())
        path = self._folder / f"{config.family}-{key.hexdigest()[:16]}"
        store = open_features(path, selected=layers)
        if store is None:
            self._make(path, encoder, network)
            store = open_features(path, selected=layers)
        if store is None:
            raise FileNotFoundError(f"{path}.json was made and is gone")
        return store

    def _make(self, path: Path, encoder: Encoder, network: AssessorNetwork) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, index = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.made")
        shape = (encoder.num_layers, encoder.dim)
        begins, frames = _made(index, num_recordings=len(self._waveforms.lengths))
        partial.touch()
        end = int(frames.sum())
        os.truncate(partial, end * 2 * shape[0] * shape[1])
        missing = np.flatnonzero(frames == 0)
        description = f"hidden states of {type(encoder).__name__}"
        bar = tqdm(total=len(frames), initial=len(frames) - len(missing), desc=description)
        with partial.open("ab") as states_file, index.open("a") as index_file, bar:
            for batch, states in self._encode(encoder, network, missing):
                for position, recording_states in zip(batch.tolist(), states, strict=True):
                    begins[position], frames[position] = end, len(recording_states)
                    end += len(recording_states)
                    states_file.write(recording_states.tobytes())
                states_file.flush()
                lines = [f"{i} {begins[i]} {frames[i]}\n" for i in batch.tolist()]
                index_file.write("".join(lines))
                index_file.flush()
                bar.update(len(batch))
        os.replace(partial, path.with_name(f"{path.name}.f16"))
        content = {
            "layers": shape[0],
            "dim": shape[1],
            "begins": begins.tolist(),
            "frames": frames.tolist(),
        }
        index.write_text(json.dumps(content))
        os.replace(index, path.with_name(f"{path.name}.json"))

    def _encode(
        self, encoder: Encoder, network: AssessorNetwork, positions: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], list[NDArray[np.float16]]]]:
        """Give batches of positions, and (frames, layers, dim) of each recording."""
        device = next(network.parameters()).device
        encoder.eval().to(device)
        batches = plan_whole_recordings(
            self._waveforms.lengths[positions], batch_samples=_BATCH_SECONDS * SAMPLE_RATE
        )
        bf16 = self._precision == "bf16"
        for chosen in batches:
            batch = positions[chosen]
            waveform, lengths = self._read(batch)
            waveform, lengths = network.prepare(waveform.to(device), lengths.to(device))
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                output = encoder(waveform, lengths)
            hidden = output.hidden_states.transpose(1, 2).to("cpu", torch.float16).numpy()
            yield batch, [h[:n] for h, n in zip(hidden, output.lengths.tolist(), strict=True)]

    def _read(self, batch: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        lengths = self._waveforms.lengths[batch]
        waveform = read_padded(self._waveforms, batch, lengths=lengths)
        return torch.from_numpy(waveform), torch.from_numpy(lengths)


def _made(index: Path, *, num_recordings: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read what an interrupted run made: first frame and frames of each recording, 0 of others."""
    begins, frames = np.zeros(num_recordings, np.int64), np.zeros(num_recordings, np.int64)
    lines = index.read_text().splitlines(keepends=True) if index.exists() else []
    # A line without its end was cut by the kill, and what it speaks of is computed again.
    whole = [line for line in lines if line.endswith("\n")]
    for position, begin, count in (map(int, line.split()) for line in whole):
        begins[position], frames[position] = begin, count
    if len(whole) < len(lines):
        index.write_text("".join(whole))
    return begins, frames


def _weights_digest(encoder: Encoder) -> bytes:
    digest = hashlib.sha256()
    for name, tensor in [*encoder.named_parameters(), *encoder.named_buffers()]:
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()
