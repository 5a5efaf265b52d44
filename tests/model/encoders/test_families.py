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
