"""What holds for every family: a recording's features belong to it, and gradient reaches it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.encoders import ENCODERS, Encoder, EncoderOutput, build_encoder
from urgentmos.model.encoders.audio_tower import TowerConfig
from urgentmos.model.encoders.pretrained import PretrainedConfig
from urgentmos.model.tf32 import without_tf32
from urgentmos.model.unfilled import Unfilled

from . import tiny

# s3prl and what it imports warn of their own age.
pytestmark = pytest.mark.filterwarnings("ignore")

Batch = tuple[Tensor, Tensor]
Recordings = Callable[..., Batch]
Speech = Callable[..., np.ndarray]
DISTILL_MOS_WINDOW = 122_880
COMMON_SAMPLES = (12_000, 19_000)


@dataclass(frozen=True)
class Case:
    """An encoder, and what is particular to checking it.

    Attributes:
        family: Its family.
        options: That family's options; of our own encoders those of the tiny model when None.
        layers: Where a pretrained encoder has its layers.
        samples: Lengths beside the common ones and the shortest at which padding could show, as
            those beyond a window.
        gradient_samples: Lengths at which the gradient is compared.
        step: Step of the finite difference. Where the features bend sharply, at a logarithm's floor
            or where a compressed spectrum is almost silent, it is tiny.
    """

    family: str
    options: dict[str, Any] | None = None
    layers: str = ""
    samples: tuple[int, ...] = ()
    gradient_samples: tuple[int, ...] = (3000, 2000)
    step: float = 1e-6


def tower(architecture: dict[str, Any], **options: object) -> dict[str, Any]:
    return {"architecture": architecture, "pretrained": False, **options}


# One more or less than a frame, and odd numbers of them.
OWN_SAMPLES = (159, 160, 161, 3199, 4801, 7777)
CASES = {
    "log_mel": Case("log_mel", samples=OWN_SAMPLES, step=1e-9),
    "complex_spectrum": Case("complex_spectrum", samples=OWN_SAMPLES, step=1e-9),
    "spectral_transformer": Case(
        "spectral_transformer",
        {**tiny.SPECTRAL_TRANSFORMER, "window_frames": 7, "averaged_frames": 2},
        samples=OWN_SAMPLES,
        step=1e-9,
    ),
    "spectral_transformer with heads": Case(
        "spectral_transformer",
        {
            **tiny.SPECTRAL_TRANSFORMER,
            "window_frames": 7,
            "peak_head": {"metrics": ["dnsmos_sig"], "channels": [4, 4]},
            "frame_head": {"metrics": ["lsd"], "channels": [4, 4], "frame_dim": 6},
        },
        samples=OWN_SAMPLES,
        step=1e-9,
    ),
    "distill_mos": Case(
        "distill_mos",
        {},
        layers="tower.layers",
        samples=(DISTILL_MOS_WINDOW + 5000,),
        gradient_samples=(6000, 4000),
        step=1e-9,
    ),
    **{
        name: Case(
            family,
            tower(architecture, normalise=architecture.get("feat_extract_norm") == "layer"),
            layers="tower.encoder.layers",
            samples=(4321,),
        )
        for name, (family, architecture) in tiny.WAVEFORM_TRANSFORMERS.items()
    },
    **{
        family: Case(
            family,
            tower(tiny.WHISPER),
            layers="tower.layers",
            samples=(2 * tiny.WHISPER_PIECE_SAMPLES + 3000,),
            gradient_samples=(6000, 3000),
            step=1e-8,
        )
        for family in tiny.WHISPER_FAMILIES
    },
    "qwen3_omni": Case(
        "qwen3_omni",
        tower(tiny.QWEN3_OMNI),
        layers="tower.layers",
        samples=(50_000, 20_321),
        gradient_samples=(18_000, 3000),
        step=1e-8,
    ),
    **{
        f"wav2vec2_bert {positions}": Case(
            "wav2vec2_bert",
            tower({**tiny.WAV2VEC2_BERT, "position_embeddings_type": positions}),
            layers="tower.encoder.layers",
            samples=(4321,),
            step=1e-8,
        )
        for positions in tiny.WAV2VEC2_BERT_POSITIONS
    },
    **{
        f"torchaudio {bundle}": Case(
            "torchaudio",
            {"bundle": bundle, "pretrained": False},
            layers="tower.encoder.transformer.layers",
            samples=(6000, 4321, 6000),
        )
        for bundle in tiny.BUNDLES
    },
    "s3prl fbank": Case("s3prl", {"upstream": "fbank"}, step=1e-8),
    # Its authors switch the gradient off, and the encoder on again.
    "s3prl wavlm_local": Case(
        "s3prl",
        {"upstream": "wavlm_local"},
        layers="tower.upstream.model.encoder.layers",
        samples=(6000, 4321, 6000),
    ),
}
NEEDS = {"distill_mos": "distillmos", "torchaudio": "torchaudio", "s3prl": "s3prl"}
PRETRAINED = [
    name for name, case in CASES.items()
    if issubclass(ENCODERS[case.family].config_class, PretrainedConfig) and case.layers
]  # fmt: skip
# Distill-MOS comes with its package; how s3prl's structures are stored is tested with them.
STORED = [name for name in CASES if CASES[name].family not in ("distill_mos", "s3prl")]

Build = Callable[..., Encoder]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Each encoder in turn."""
    return CASES[request.param]


pretrained = pytest.mark.parametrize("case", [CASES[name] for name in PRETRAINED], ids=PRETRAINED)
stored = pytest.mark.parametrize("case", [CASES[name] for name in STORED], ids=STORED)


@pytest.fixture
def options(
    case: Case, tiny_config: ModelConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, Any]:
    """The options from which the case's encoder is built."""
    if issubclass(ENCODERS[case.family].config_class, TowerConfig):
        pytest.importorskip("transformers")
    if case.family in NEEDS:
        pytest.importorskip(NEEDS[case.family], exc_type=(ImportError, OSError))
    if case.options is None:
        return next(each.options for each in tiny_config.encoders if each.family == case.family)
    if case.family == "torchaudio":
        tiny.shrink_bundle(case.options["bundle"], monkeypatch)
    if case.options.get("upstream") == "wavlm_local":
        checkpoint = tiny.save_s3prl_wavlm(tmp_path / "wavlm.pt")
        return {**case.options, "checkpoint": str(checkpoint)}
    return case.options


@pytest.fixture
def build(case: Case, options: dict[str, Any]) -> Build:
    """Build the case's encoder, always with the same random weights: ``build(**more_options)``."""

    def make(**changes: object) -> Encoder:
        torch.manual_seed(0)
        built = build_encoder(EncoderConfig(case.family, {**options, **changes})).eval()
        if isinstance(options.get("architecture"), dict):
            tiny.shake(built)
        return built

    return make


@pytest.fixture
def encoder(build: Build) -> Encoder:
    """The case's encoder."""
    return build()


def test_no_family_is_left_out() -> None:
    assert {case.family for case in CASES.values()} == set(ENCODERS)


def test_padding_batch_mates_and_their_order_change_nothing(
    case: Case, encoder: Encoder, recordings: Recordings, speech: Speech
) -> None:
    samples = [*COMMON_SAMPLES, *case.samples, encoder.min_samples, 4_800]
    waveform, lengths = recordings(samples, padded_to=max(samples) + 2_000)
    waveform[-1, :4_800] = torch.from_numpy(0.99 * np.sign(speech(0.3, seed=99)))
    with torch.no_grad():
        together, backward = encoder(waveform, lengths), encoder(waveform.flip(0), lengths.flip(0))
        for row, count in enumerate(lengths.tolist()):
            alone = encoder(waveform[row : row + 1, :count], lengths[row : row + 1])
            frames = int(alone.lengths[0])
            # Over that many frames the last digits depend on the order in which they are added up.
            tolerance = 5e-5 if count in COMMON_SAMPLES else 1e-5
            assert alone.hidden_states.shape == (1, encoder.num_layers, frames, encoder.dim)
            for output, place in ((together, row), (backward, len(lengths) - 1 - row)):
                assert int(output.lengths[place]) == frames
                torch.testing.assert_close(
                    output.hidden_states[place, :, :frames],
                    alone.hidden_states[0],
                    atol=tolerance,
                    rtol=tolerance,
                )


def test_a_second_run_is_the_same_and_threads_change_nothing(
    encoder: Encoder, recordings: Recordings
) -> None:
    batch = recordings([12_000, 7_000])
    outputs = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 1, 2):
            torch.set_num_threads(threads)
            with torch.no_grad():
                outputs.append(encoder(*batch).hidden_states)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2], atol=5e-5, rtol=5e-5)


def test_a_gpu_hears_what_the_processor_hears(
    encoder: Encoder, recordings: Recordings, gpu: torch.device
) -> None:
    """In a batch and alone, with the gradient of one random mixture of all features."""
    waveform, lengths = recordings([18_000, 6_000])
    outputs, gradients = [], []
    for device in (torch.device("cpu"), gpu):
        encoder = encoder.to(device)
        leaf = waveform.to(device, copy=True).requires_grad_()
        with without_tf32():
            output = encoder(leaf, lengths.to(device))
            weights = torch.randn(
                output.hidden_states.shape, generator=torch.Generator().manual_seed(0)
            )
            (output.hidden_states * weights.to(device)).sum().backward()
        assert output.hidden_states.device.type == output.lengths.device.type == device.type
        outputs.append(output.hidden_states.detach().cpu())
        assert leaf.grad is not None
        gradients.append(leaf.grad.double().cpu())
    with torch.no_grad(), without_tf32():
        alone = encoder(waveform[1:, :6_000].to(gpu), lengths[1:].to(gpu))
    frames = int(alone.lengths[0])
    # Convolutions there may be computed by transforms, and by others in a batch of another shape.
    torch.testing.assert_close(outputs[1][0], outputs[0][0], atol=1e-3, rtol=1e-3)
    for short in (outputs[1][1, :, :frames], alone.hidden_states[0].cpu()):
        torch.testing.assert_close(short, outputs[0][1, :, :frames], atol=1e-3, rtol=1e-3)
    assert torch.cosine_similarity(*gradients, dim=1).min() > 0.99


def test_bfloat16_stays_close(encoder: Encoder, recordings: Recordings) -> None:
    batch = recordings([18_000, 6_000])
    with torch.no_grad():
        expected = encoder(*batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = encoder(*batch)
    valid = torch.arange(expected.hidden_states.shape[2]) < expected.lengths[:, None]
    difference = (output.hidden_states.float() - expected.hidden_states).abs().mean(dim=(1, 3))
    size = expected.hidden_states.abs().mean(dim=(1, 3))
    assert float(difference[valid].mean()) < 0.05 * float(size[valid].mean())


def test_what_the_encoder_says_of_itself_is_true(encoder: Encoder, speech: Speech) -> None:
    waveform = torch.from_numpy(speech(2.0))[None].requires_grad_()
    output = encoder(waveform, torch.tensor([32_000]))
    _, layers, frames, dim = output.hidden_states.shape
    assert (layers, dim) == (encoder.num_layers, encoder.dim)
    assert abs(frames / 2.0 - encoder.frame_rate) < 1
    # Weighted at random: the plain sum of a normalised state is constant.
    weights = torch.randn(frames, dim, generator=torch.Generator().manual_seed(0))
    (output.hidden_states[0, -1] * weights).sum().backward()
    assert encoder.differentiable
    assert waveform.grad is not None
    assert float((waveform.grad != 0).float().mean()) > 0.99


def test_layers_differ(encoder: Encoder, recordings: Recordings) -> None:
    states = encoder(*recordings([8000])).hidden_states[0]
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in pairwise(states))


def test_gradient_agrees_with_finite_differences(
    case: Case, encoder: Encoder, recordings: Recordings
) -> None:
    """Along a random direction, of a random mixture of all features."""
    encoder = encoder.double()
    waveform, lengths = recordings(case.gradient_samples)
    waveform = waveform.double().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    output = encoder(waveform, lengths)
    weights = torch.randn(output.hidden_states.shape, generator=generator, dtype=torch.float64)
    valid = torch.arange(weights.shape[2]) < output.lengths[:, None]
    weights = weights * valid[:, None, :, None]

    def head(result: EncoderOutput) -> Tensor:
        return (result.hidden_states * weights).sum()

    (gradient,) = torch.autograd.grad(head(output), waveform)
    assert torch.isfinite(gradient).all()
    direction = torch.randn(waveform.shape, generator=generator, dtype=torch.float64)
    direction = direction * (torch.arange(waveform.shape[1]) < lengths[:, None])
    with torch.no_grad():
        ahead = head(encoder(waveform + case.step * direction, lengths))
        behind = head(encoder(waveform - case.step * direction, lengths))
    expected = float(ahead - behind) / (2 * case.step)
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-3)
    assert abs(expected) > 1e-9


@pytest.mark.parametrize("kind", ["silence", "shortest", "dc", "clipped", "loud", "impulse"])
def test_features_and_gradient_are_finite_on_anything(
    encoder: Encoder, speech: Speech, kind: str
) -> None:
    waveform = {
        "silence": torch.zeros(1, 4000),
        "shortest": torch.full((1, encoder.min_samples), 0.5),
        "dc": torch.full((1, 4000), 0.5),
        "clipped": torch.from_numpy(np.sign(speech(0.25)))[None],
        "loud": 1e4 * torch.from_numpy(speech(0.25))[None],
        "impulse": torch.eye(1, 4000),
    }[kind].requires_grad_()
    output: EncoderOutput = encoder(waveform, torch.tensor([waveform.shape[1]]))
    output.hidden_states.square().sum().backward()
    assert bool(torch.isfinite(output.hidden_states).all())
    assert waveform.grad is not None
    assert bool(torch.isfinite(waveform.grad).all())


@pretrained
def test_gradient_checkpointing_changes_nothing(
    case: Case, build: Build, recordings: Recordings
) -> None:
    waveform, lengths = recordings([case.gradient_samples[0], 2000])
    gradients = []
    for saving in (False, True):
        leaf = waveform.clone().requires_grad_()
        encoder = build(gradient_checkpointing=saving)
        encoder(leaf, lengths).hidden_states.square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


@pretrained
@pytest.mark.parametrize(("trainable", "trained"), [(0, 0), (1, 1), ("all", None)])
def test_last_layers_are_trained(
    case: Case, build: Build, trainable: int | str, trained: int | None
) -> None:
    encoder = build(trainable_layers=trainable).train()
    layers = list(encoder.get_submodule(case.layers).children())
    count = len(layers) if trained is None else trained
    expected = [False] * (len(layers) - count) + [True] * count
    assert [all(p.requires_grad for p in layer.parameters()) for layer in layers] == expected
    assert [any(p.requires_grad for p in layer.parameters()) for layer in layers] == expected
    assert [layer.training for layer in layers] == expected


@pretrained
@pytest.mark.parametrize("trainable", [1, "all"])
def test_gradient_reaches_every_weight_that_is_trained(
    build: Build, recordings: Recordings, trainable: int | str
) -> None:
    """Without one, DDP waits for it, and a checkpoint cannot be resumed from."""
    encoder = build(trainable_layers=trainable).train()
    states = encoder(*recordings([18_000])).hidden_states
    states.sin().sum().backward()
    weights = encoder.named_parameters()
    assert not [name for name, each in weights if each.requires_grad and each.grad is None]


@stored
def test_a_loaded_encoder_hears_the_same(
    case: Case, options: dict[str, Any], encoder: Encoder, recordings: Recordings
) -> None:
    """It is built of what a saved model notes, and filled with its weights."""
    stated = options
    if "architecture" in options:
        # A tower is described by what was noted of it, and nothing else is looked at.
        stated = {"checkpoint": "nowhere/at-all"}
    noted = {**stated, **encoder.stored_options}
    weights = encoder.state_dict()
    with Unfilled(weights.values()):
        again = build_encoder(EncoderConfig(case.family, json.loads(json.dumps(noted)))).eval()
    again.load_state_dict(weights, assign=True)
    batch = recordings([18_000])
    torch.testing.assert_close(again(*batch).hidden_states, encoder(*batch).hidden_states)
