from pathlib import Path

import pytest
import torch
from torch import nn

from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder

from . import tiny

transformers = pytest.importorskip("transformers")

PIECE = tiny.WHISPER_PIECE_SAMPLES
FRAME = {"whisper": 320, "kimi_audio": 320, "qwen2_audio": 640, "audio_flamingo3": 640}


def make_library_encoder(family: str) -> nn.Module:
    torch.manual_seed(0)
    if family in ("whisper", "kimi_audio"):
        return transformers.WhisperModel(
            transformers.WhisperConfig(
                **tiny.WHISPER, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=8,
                vocab_size=12, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                decoder_start_token_id=1, max_target_positions=8,
            )
        )  # fmt: skip
    if family == "qwen2_audio":
        return transformers.Qwen2AudioEncoder(transformers.Qwen2AudioEncoderConfig(**tiny.WHISPER))
    config = transformers.AudioFlamingo3EncoderConfig(**tiny.WHISPER)
    return transformers.AudioFlamingo3Encoder(config)


@pytest.fixture(params=FRAME)
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, nn.Module, Path]:
    """A family, the library's model with random weights, and that model on disk."""
    model = make_library_encoder(request.param).eval()
    tiny.shake(model)
    model.save_pretrained(tmp_path)
    return request.param, model, tmp_path


def build(checkpoint: tuple[str, nn.Module, Path], **options: object) -> Encoder:
    family, _, folder = checkpoint
    return build_encoder(EncoderConfig(family, {"checkpoint": str(folder), **options})).eval()


def library_states(family: str, model: nn.Module, waveform: torch.Tensor) -> list[torch.Tensor]:
    extractor = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    inputs = extractor(
        waveform[0].numpy(), sampling_rate=16000, return_tensors="pt", return_attention_mask=True
    )
    encoder = model.encoder if family in ("whisper", "kimi_audio") else model
    mask = {"input_features_mask": inputs.attention_mask} if family == "audio_flamingo3" else {}
    result = encoder(inputs.input_features, **mask, output_hidden_states=True)
    states = list(result.hidden_states)
    # The library's last state is pooled already, the others are not.
    pooled = [
        nn.functional.avg_pool1d(state.transpose(1, 2), 2).transpose(1, 2)
        if FRAME[family] == 640 and state.shape[1] == tiny.WHISPER_POSITIONS
        else state
        for state in states
    ]
    return [*pooled[:-1], result.last_hidden_state]


def test_hidden_states_are_those_of_the_library(checkpoint, recordings):
    family, model, _ = checkpoint
    waveform, lengths = recordings([11_111])
    encoder = build(checkpoint)
    with torch.no_grad():
        expected = torch.stack(library_states(family, model, waveform), dim=1)
        output = encoder(waveform, lengths)
    frames = -(-11_111 // 320) // (FRAME[family] // 320)
    assert output.hidden_states.shape == (1, 3, frames, 16)
    assert encoder.frame_rate == 16000 / FRAME[family]
    torch.testing.assert_close(output.hidden_states, expected[:, :, :frames], atol=1e-5, rtol=1e-5)


def test_pieces_of_a_long_recording_stay_aligned(checkpoint, recordings):
    encoder = build(checkpoint)
    frame = FRAME[checkpoint[0]]
    samples = PIECE + 5 * frame + 10
    waveform, lengths = recordings([samples])
    start = 6 * frame  # the first frame from which the recording fits one piece
    with torch.no_grad():
        whole = encoder(waveform, lengths)
        first = encoder(waveform[:, :PIECE], torch.tensor([PIECE]))
        last = encoder(waveform[:, start:], lengths - start)
    piece_frames = PIECE // frame
    torch.testing.assert_close(whole.hidden_states[:, :, :piece_frames], first.hidden_states)
    torch.testing.assert_close(
        whole.hidden_states[:, :, piece_frames:], last.hidden_states[:, :, piece_frames - 6 :]
    )
