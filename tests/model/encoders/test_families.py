import pytest

from urgentmos.config import ConfigError
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import build_encoder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EncoderConfig("log_mell"), r"model\.encoders\.0\.family: .*did you mean 'log_mel'"),
        (EncoderConfig("log_mel", {"band": 3}), r"model\.encoders\.0\.options: .*'bands'"),
        (EncoderConfig("log_mel", {"dim": "3"}), r"options\.dim: expected int, got '3'"),
        (EncoderConfig("log_mel", {"bands": 999}), "options: 999 mel bands are too many"),
        (EncoderConfig("complex_spectrum", {"channels": [1]}), "options: .*of one length"),
    ],
)
def test_a_wrong_encoder_is_refused_by_its_place(config: EncoderConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_encoder(config, where="model.encoders.0")


@pytest.mark.parametrize("family", ["log_mel", "complex_spectrum", "spectral_transformer"])
def test_default_options_build(family: str) -> None:
    encoder = build_encoder(EncoderConfig(family))
    assert encoder.num_layers > 1


def test_encoders_trained_from_scratch_see_speech_at_different_time_resolutions() -> None:
    families = ("log_mel", "complex_spectrum")
    rates = [build_encoder(EncoderConfig(family)).frame_rate for family in families]
    assert rates[0] != rates[1]
