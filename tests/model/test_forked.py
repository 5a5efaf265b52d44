import multiprocessing
import os
import subprocess
import sys

import pytest

# With one thread nothing is shared out, and none is waited for.
_PROGRAM = """
import multiprocessing, torch, urgentmos

assessor = urgentmos.load()
tone = 0.1 * torch.sin(torch.arange(32000) / 9)

def score(loaded):
    ours = urgentmos.load() if loaded else assessor
    return ours.score(tone, 16000, metrics=["mos"])["mos"].item()

assert torch.get_num_threads() == 2
expected = score(loaded=False)
with multiprocessing.get_context("fork").Pool(1) as pool:
    for value in pool.map(score, [False, True]):
        assert abs(value - expected) < 4e-4
assert torch.get_num_threads() == 2
"""


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)
def test_a_forked_process_scores_and_loads_while_its_parent_keeps_its_threads() -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        check=True,
        timeout=120,
    )
