import json

import pytest

from urgentmos.data.manifest import ManifestError
from urgentmos.simulate.config import SimulationConfig
from urgentmos.simulate.material import read_material
from urgentmos.simulate.sources import MissingMaterialError


@pytest.mark.parametrize("row", [{"path": "a.wav"}, {"kind": "noise"}, {"path": "a", "kind": "x"}])
def test_a_row_without_a_path_or_a_known_kind_is_named(tmp_path, row):
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps(row) + "\n")
    with pytest.raises(ManifestError, match=r"manifest\.jsonl:1: expected a 'path', and a 'kind'"):
        read_material(SimulationConfig(manifest=str(manifest)))


def test_speech_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("none")
    with pytest.raises(
        MissingMaterialError, match=r"a\.wav cannot be read as audio: .*take it out"
    ):
        read_material(SimulationConfig(speech=[str(tmp_path)]))
