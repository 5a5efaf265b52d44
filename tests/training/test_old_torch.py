"""Training asks for a newer PyTorch than scoring does, and says so."""

import subprocess
import sys


def test_without_what_training_needs_of_torch_it_says_so() -> None:
    code = (
        "import sys, types; import torch.distributed;"
        "sys.modules['torch.distributed.fsdp'] = types.ModuleType('torch.distributed.fsdp');"
        "import urgentmos.training.sharding"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: training needs PyTorch 2.6 or later, and this is" in run.stderr
    assert "pip install 'urgentmos[train]'" in run.stderr
