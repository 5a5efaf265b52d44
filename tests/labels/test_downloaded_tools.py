"""Tools whose networks are fetched: what they do with one, and what they say without."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch

from urgentmos.extras import MissingExtraError
from urgentmos.labels.nisqa import Nisqa
from urgentmos.labels.phoneme_similarity import PhonemeSimilarity, decode, edit_distance
from urgentmos.labels.scoreq import Scoreq
from urgentmos.labels.speech_bert_score import SpeechBertScore, precision
from urgentmos.labels.utmos import Utmos


def _fail(error: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    return fail


def _install(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> None:
    module = ModuleType(name)
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, name, module)


def test_utmos_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", _fail(_not_found("torchaudio")))
    with pytest.raises(MissingExtraError, match=r"torchaudio.*pip install 'urgentmos\[labels\]'"):
        Utmos()


def test_utmos_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch, noisy: np.ndarray) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    monkeypatch.setattr(torch.hub, "load", _fail(URLError("no route")))
    with pytest.raises(MissingExtraError, match=r"tarepan/SpeechMOS.*no route.*copy"):
        Utmos().label(noisy, None)


def test_utmos_gives_the_networks_score(monkeypatch: pytest.MonkeyPatch, noisy: np.ndarray) -> None:
    class Mean(torch.nn.Module):
        def forward(self, waveform: torch.Tensor, rate: int) -> torch.Tensor:
            assert waveform.shape == (1, len(noisy))
            assert rate == 16000
            return waveform.mean(dim=1)

    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    monkeypatch.setattr(torch.hub, "load", lambda *args, **kwargs: Mean())
    assert Utmos().label(noisy, None)["utmos"] == pytest.approx(noisy.mean(), abs=1e-6)


def test_scoreq_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", _fail(_not_found("scoreq")))
    with pytest.raises(MissingExtraError, match=r"pip install 'urgentmos\[labels\]'"):
        Scoreq()


def test_scoreq_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch, noisy: np.ndarray) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    _install(monkeypatch, "scoreq")
    _install(monkeypatch, "scoreq.scoreq", Scoreq=_fail(URLError("no route")))
    with pytest.raises(MissingExtraError, match=r"adapt_nr_telephone\.onnx"):
        Scoreq().label(noisy, None)


def test_scoreq_pads_to_whole_frames_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, noisy: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    class Session:
        def get_inputs(self) -> list[Any]:
            return [SimpleNamespace(name="wave")]

        def run(self, outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.array([[inputs["wave"].shape[1]]])]

    def build(**kwargs: str) -> Any:
        sys.stdout.write("Downloading\n")
        return SimpleNamespace(session=Session())

    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    _install(monkeypatch, "scoreq")
    _install(monkeypatch, "scoreq.scoreq", Scoreq=build)
    assert Scoreq().label(noisy[:321], None) == {"scoreq": 640.0}
    assert capsys.readouterr().out == ""


def test_nisqa_says_what_to_fetch(
    package, monkeypatch: pytest.MonkeyPatch, noisy: np.ndarray
) -> None:
    package("torchmetrics")
    error = package("requests").ConnectionError("no route")
    nisqa = {"non_intrusive_speech_quality_assessment": _fail(error)}
    _install(monkeypatch, "torchmetrics.functional.audio.nisqa", **nisqa)
    with pytest.raises(MissingExtraError, match=r"nisqa\.tar"):
        Nisqa().label(noisy, None)


def test_nisqa_gives_the_first_of_five_scores(
    package, monkeypatch: pytest.MonkeyPatch, noisy: np.ndarray
) -> None:
    package("torchmetrics")
    nisqa = {
        "non_intrusive_speech_quality_assessment": lambda waveform, rate: torch.tensor(
            [3.5, 1.0, 2.0, 3.0, 4.0]
        )
    }
    _install(monkeypatch, "torchmetrics.functional.audio.nisqa", **nisqa)
    assert Nisqa().label(noisy, None) == {"nisqa_mos": 3.5}


@pytest.mark.parametrize(
    ("tool", "class_name", "model"),
    [
        (SpeechBertScore, "HubertModel", "facebook/hubert-base-ls960"),
        (PhonemeSimilarity, "Wav2Vec2ForCTC", "facebook/wav2vec2-lv-60-espeak-cv-ft"),
    ],
)
def test_hub_models_say_what_to_fetch(
    package,
    monkeypatch: pytest.MonkeyPatch,
    noisy: np.ndarray,
    *,
    tool: type,
    class_name: str,
    model: str,
) -> None:
    package("transformers")
    absent = SimpleNamespace(from_pretrained=_fail(OSError("We couldn't connect")))
    _install(monkeypatch, "transformers", **{class_name: absent})
    with pytest.raises(MissingExtraError, match=f"hf download {model}"):
        tool().label(noisy, noisy)


def test_speech_bert_precision_is_the_mean_of_best_cosines() -> None:
    ours = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    theirs = torch.tensor([[0.0, 3.0], [5.0, 0.0], [-1.0, 0.0]])
    assert precision(ours, theirs) == pytest.approx((1 + 0.5**0.5) / 2)
    assert precision(ours, ours) == pytest.approx(1.0)


def test_speech_bert_score_reads_hidden_state_8(
    package, monkeypatch: pytest.MonkeyPatch, noisy: np.ndarray
) -> None:
    package("transformers")
    states = [torch.full((1, 3, 2), float(index)) for index in range(13)]
    states[8] = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])

    class Hubert(torch.nn.Module):
        def forward(self, waveform: torch.Tensor, output_hidden_states: bool) -> Any:
            assert output_hidden_states
            return SimpleNamespace(hidden_states=states)

    loader = SimpleNamespace(from_pretrained=lambda name: Hubert())
    _install(monkeypatch, "transformers", HubertModel=loader)
    assert SpeechBertScore().label(noisy, noisy)["sbert"] == pytest.approx(1.0)


def test_phonemes_are_merged_before_blanks_go() -> None:
    symbols = {0: "<pad>", 1: "a", 2: "tʃ", 3: "|"}
    assert decode([0, 1, 1, 0, 1, 3, 2, 2, 0], symbols) == "aatʃ"


@pytest.mark.parametrize(
    ("a", "b", "edits"), [("", "", 0), ("kitten", "sitting", 3), ("", "abc", 3), ("abc", "ac", 1)]
)
def test_edit_distance(a: str, b: str, edits: int) -> None:
    assert edit_distance(a, b) == edits
    assert edit_distance(b, a) == edits


def _not_found(name: str) -> Exception:
    from importlib.metadata import PackageNotFoundError

    return PackageNotFoundError(name)
