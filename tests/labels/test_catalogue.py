import pytest

from urgentmos.extras import MissingExtraError
from urgentmos.labels.catalogue import LABELLERS, UnknownLabelError, resolve_labels
from urgentmos.metrics import METRICS


@pytest.mark.parametrize("name", LABELLERS)
def test_tools_give_known_metrics_and_state_their_version(name: str) -> None:
    tool = LABELLERS[name]
    assert set(tool.metrics) <= set(METRICS)
    try:
        labeller = tool.build("float32")
    except MissingExtraError as error:
        assert not tool.installed
        pytest.skip(str(error))
    assert labeller.metrics == tool.metrics
    assert labeller.version


def test_every_metric_but_the_listeners_own_has_a_tool() -> None:
    given = {metric for tool in LABELLERS.values() for metric in tool.metrics}
    assert given == set(METRICS) - {"mos"}


def test_a_metric_asks_for_the_tool_that_gives_it_once() -> None:
    names = ["dnsmos_sig", "pesq", "dnsmos", "dnsmos_p808", "pesq"]
    assert resolve_labels(names) == ["dnsmos", "pesq", "dnsmos_p808"]


def test_an_unknown_label_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownLabelError, match=r"'pesk'; did you mean 'pesq'\?"):
        resolve_labels(["pesk"])
