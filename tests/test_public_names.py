import subprocess
import sys

import pytest

import urgentmos


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, urgentmos; urgentmos.METRICS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", [*urgentmos.__all__, "UrgentMOSMetric"])
def test_every_public_name_is_there(name: str) -> None:
    if name == "UrgentMOSMetric":
        pytest.importorskip("torchmetrics")
    assert getattr(urgentmos, name) is not None
    assert name in dir(urgentmos)


def test_all_names_can_be_imported_at_once_without_optional_packages() -> None:
    code = "import sys; sys.modules['torchmetrics'] = None; from urgentmos import *; QualityLoss"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_goes_through_all_names_meets_none_that_is_not_there() -> None:
    code = (
        "import importlib.util, inspect\n"
        "importlib.util.find_spec = lambda name: None\n"
        "import sys; sys.modules['torchmetrics'] = None\n"
        "import urgentmos; print(dict(inspect.getmembers(urgentmos)).keys())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "QualityLoss" in run.stdout
    assert "UrgentMOSMetric" not in run.stdout


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = urgentmos.laod
