import pytest

from urgentmos.metrics import METRICS, UnknownMetricError, check_metrics, get_metric


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_states_a_consistent_range(metric) -> None:
    assert metric.source
    assert metric.scale > 0
    if metric.low is not None and metric.high is not None:
        assert metric.scale == pytest.approx(metric.high - metric.low)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_is_found_by_its_name_and_by_its_name_in_public_manifests(metric) -> None:
    assert get_metric(metric.name) is metric
    assert get_metric(metric.manifest_name) is metric


def test_the_metrics_of_the_paper_are_there_and_fall_into_its_groups() -> None:
    public = (
        "mos_overall pesq pesqc2 dnsmos_ovrl lsd sdr utmos distill_mos nisqa_mos scoreq estoi "
        "sbert lps spksim mcd"
    )
    groups = {get_metric(name).group for name in public.split()}
    assert groups == {metric.group for metric in METRICS.values()}
    assert len(groups) == 5


def test_pesq_can_reach_the_value_of_a_file_against_itself() -> None:
    for name in ("pesq", "pesqc2"):
        high = get_metric(name).high
        assert high is not None
        assert high >= 4.644


def test_only_distances_are_better_when_lower() -> None:
    assert {m.name for m in METRICS.values() if not m.higher_is_better} == {"lsd", "mcd"}


def test_an_unknown_metric_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownMetricError, match="did you mean 'pesq'"):
        get_metric("peqs")
    with pytest.raises(UnknownMetricError, match="did you mean 'mos'"):
        get_metric("MOS")


def test_a_metric_without_a_head_is_answered_with_what_the_model_predicts() -> None:
    with pytest.raises(UnknownMetricError, match="does not predict 'utmos'; it predicts mos, sdr"):
        check_metrics(["utmos"], ["mos", "sdr"])


def test_a_single_name_is_not_taken_apart() -> None:
    assert check_metrics("mos", ["mos", "sdr"]) == ["mos"]


def test_wanted_metrics_come_back_in_order_under_their_own_names() -> None:
    assert check_metrics(["sdr", "mos_overall"], ["mos", "sdr"]) == ["sdr", "mos"]


def test_a_metric_wanted_twice_comes_once() -> None:
    assert check_metrics(["sdr", "mos", "mos_overall", "sdr"], ["mos", "sdr"]) == ["sdr", "mos"]
