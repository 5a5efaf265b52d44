from pathlib import Path

import urgentmos
from urgentmos import __version__
from urgentmos.scoring.provenance import model_id


def test_a_row_names_the_hash_the_version_and_a_precision_other_than_the_usual(
    tiny_model_dir: Path,
) -> None:
    usual = urgentmos.load(tiny_model_dir)
    rounded = urgentmos.load(tiny_model_dir, precision="bfloat16")
    assert model_id(usual) == f"{usual.model_hash}+{__version__}"
    assert model_id(rounded) == f"{usual.model_hash}+{__version__}+bfloat16"
