import errno
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from urgentmos.tensor_file import save_tensors


def test_tensors_come_back(tmp_path: Path) -> None:
    save_tensors({"a": torch.arange(3)}, tmp_path / "t.safetensors")
    assert torch.equal(load_file(tmp_path / "t.safetensors")["a"], torch.arange(3))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_a_full_disk_is_an_error_of_the_system_that_names_the_file(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match=r"t\.safetensors") as full:
            save_tensors({"a": torch.zeros(10000)}, tmp_path / "t.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert full.value.errno == errno.EFBIG


def test_a_folder_that_is_not_there_is_told_as_by_open(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_tensors({"a": torch.zeros(1)}, tmp_path / "missing" / "t.safetensors")
