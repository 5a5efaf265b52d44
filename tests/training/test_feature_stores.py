from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from urgentmos.data.manifest import read_manifest
from urgentmos.data.waveforms import DecodedWaveforms
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.encoders import Encoder, build_encoder
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.training.feature_stores import FeatureStores

CONFIG = EncoderConfig("complex_spectrum", {"dim": 8, "channels": [4] * 4, "blocks": 1})


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build_encoder(CONFIG).eval()


@pytest.fixture
def network(tiny_config: ModelConfig) -> AssessorNetwork:
    return build_assessor(replace(tiny_config, level="rms"))


@pytest.fixture
def waveforms(manifest: Path) -> DecodedWaveforms:
    return DecodedWaveforms(read_manifest(manifest))


def stores(folder: Path, waveforms: DecodedWaveforms, **changes: str) -> FeatureStores:
    keys = [str(position) for position in range(len(waveforms.lengths))]
    return FeatureStores(folder, waveforms, keys=keys, **({"precision": "float32"} | changes))


def test_stored_states_are_those_of_the_encoder_at_the_model_s_level(
    tmp_path: Path, encoder: Encoder, network: AssessorNetwork, waveforms: DecodedWaveforms
) -> None:
    store = stores(tmp_path, waveforms).find(encoder, CONFIG, network=network, level="rms")
    stored = store.read(np.array([5]))
    waveform = torch.from_numpy(waveforms.read(5))[None]
    with torch.no_grad():
        expected = encoder(*network.prepare(waveform, torch.tensor([waveform.shape[1]])))
    assert stored.lengths.tolist() == expected.lengths.tolist()
    # float16 has 11 bits.
    assert torch.allclose(stored.hidden_states, expected.hidden_states, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_beyond_16_bits_do_not_become_infinite(
    tmp_path: Path,
    encoder: Encoder,
    network: AssessorNetwork,
    waveforms: DecodedWaveforms,
    dtype: torch.dtype,
) -> None:
    encoder.register_forward_hook(
        lambda _, __, output: output._replace(hidden_states=(output.hidden_states * 1e6).to(dtype))
    )
    store = stores(tmp_path, waveforms).find(encoder, CONFIG, network=network, level="rms")
    states = store.read(np.array([5])).hidden_states
    assert states.isfinite().all()
    assert states.abs().max() == torch.finfo(torch.float16).max


def test_an_interrupted_store_goes_on_and_equals_an_uninterrupted_one(
    tmp_path: Path,
    encoder: Encoder,
    network: AssessorNetwork,
    waveforms: DecodedWaveforms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("urgentmos.training.feature_stores._BATCH_SECONDS", 1)
    whole = stores(tmp_path / "whole", waveforms).find(
        encoder, CONFIG, network=network, level="rms"
    )
    calls = []
    forward = encoder.forward

    def stop_at_the_third(*arguments: torch.Tensor) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(*arguments)

    monkeypatch.setattr(encoder, "forward", stop_at_the_third)
    again = stores(tmp_path / "again", waveforms)
    with pytest.raises(KeyboardInterrupt):
        again.find(encoder, CONFIG, network=network, level="rms")
    before = len(calls)
    resumed = again.find(encoder, CONFIG, network=network, level="rms")
    everything = np.arange(12)
    assert len(calls) - before == 4, "two of six batches were kept"
    assert torch.equal(resumed.read(everything).hidden_states, whole.read(everything).hidden_states)


def test_another_encoder_level_or_precision_is_another_store(
    tmp_path: Path, encoder: Encoder, network: AssessorNetwork, waveforms: DecodedWaveforms
) -> None:
    def names() -> set[str]:
        return {path.name for path in tmp_path.glob("*.f16")}

    stores(tmp_path, waveforms).find(encoder, CONFIG, network=network, level="rms")
    first = names()
    stores(tmp_path, waveforms).find(encoder, CONFIG, network=network, level="rms")
    assert names() == first
    stores(tmp_path, waveforms, precision="bfloat16").find(
        encoder, CONFIG, network=network, level="rms"
    )
    stores(tmp_path, waveforms).find(encoder, CONFIG, network=network, level="none")
    with torch.no_grad():
        next(encoder.parameters()).add_(1.0)
    stores(tmp_path, waveforms).find(encoder, CONFIG, network=network, level="rms")
    assert len(names()) == 4
