import os
from pathlib import Path

import pytest
import torch
from torch import nn

from urgentmos.training.run_state import RunState, load_run_state, save_run_state


def test_a_kill_while_a_checkpoint_is_replaced_leaves_one_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, module = tmp_path / "last", nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(module.parameters())

    def save(step: int) -> None:
        save_run_state(
            folder,
            RunState(step=step),
            module=module,
            optimizer=optimizer,
            average=None,
            rank=0,
            barrier=lambda: None,
        )

    def load() -> int:
        return load_run_state(folder, module=module, optimizer=optimizer, average=None, rank=0).step

    replace = os.replace

    def replace_unless_killed(source: Path, target: Path) -> None:
        if source.name == "last.partial":
            raise KeyboardInterrupt
        replace(source, target)

    save(1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace_unless_killed)
        with pytest.raises(KeyboardInterrupt):
            save(2)
    assert load() == 1
    save(3)
    assert load() == 3
    assert list(tmp_path.iterdir()) == [folder]
