"""The switch is there without a GPU too; what it does takes one."""

import threading
from typing import Any

import pytest
import torch

from urgentmos.model.assessor import Assessor
from urgentmos.model.tf32 import with_whole_products, without_tf32

CUDNN: Any = torch.backends.cudnn


@pytest.mark.parametrize("allowed", [True, False])
def test_it_is_off_meanwhile_and_then_as_before(
    allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CUDNN, "allow_tf32", allowed)
    with without_tf32():
        assert not CUDNN.allow_tf32
    assert CUDNN.allow_tf32 == allowed


def test_the_last_of_several_threads_turns_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CUDNN, "allow_tf32", True)
    entered, leave = threading.Event(), threading.Event()

    def score() -> None:
        with without_tf32():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=score)
    with without_tf32():
        thread.start()
        entered.wait()
    assert not CUDNN.allow_tf32
    leave.set()
    thread.join()
    assert CUDNN.allow_tf32


@pytest.mark.skipif(not hasattr(CUDNN, "conv"), reason="torch 2.9 has the newer name")
def test_it_is_off_where_all_of_torch_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends, "fp32_precision", "tf32")
    with without_tf32():
        assert CUDNN.conv.fp32_precision == "ieee"


@pytest.mark.skipif(not hasattr(CUDNN, "conv"), reason="torch 2.9 has the newer name")
def test_a_program_that_uses_the_newer_name_has_it_back() -> None:
    before = CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision
    # Where the two differ, torch refuses to tell allow_tf32.
    CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision = "tf32", "ieee"
    try:
        with without_tf32():
            assert CUDNN.conv.fp32_precision == "ieee"
        assert CUDNN.conv.fp32_precision == "tf32"
    finally:
        CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision = before


@pytest.mark.parametrize("asked_for", ["high", "medium", "highest"])
def test_products_are_whole_while_scoring_whatever_the_program_asked_for(
    tiny_assessor: Assessor, asked_for: str
) -> None:
    torch.set_float32_matmul_precision(asked_for)
    try:
        with tiny_assessor.inference():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == asked_for
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not hasattr(CUDNN, "conv"), reason="torch 2.9 has the newer names")
def test_products_asked_for_by_the_newer_names_are_whole_too() -> None:
    backends: Any = torch.backends
    products = backends.cuda.matmul, backends.mkldnn.matmul
    before = [product.fp32_precision for product in products]
    products[0].fp32_precision, products[1].fp32_precision = "tf32", "bf16"
    try:
        with with_whole_products():
            assert [product.fp32_precision for product in products] == ["ieee", "ieee"]
        assert [product.fp32_precision for product in products] == ["tf32", "bf16"]
    finally:
        products[0].fp32_precision, products[1].fp32_precision = before
