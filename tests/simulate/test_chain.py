import numpy as np
import pytest

from urgentmos.simulate.chain import Step, apply_chain, chain_name, draw_chain, versions
from urgentmos.simulate.distortion import DistortionKind
from urgentmos.simulate.kinds import DISTORTIONS

WEIGHTS = {"recorded_noise": 5.0, "low_pass": 1.0, "mnru": 1.0, "hard_clipping": 1.0, "opus": 0.0}


def test_a_chain_never_repeats_a_kind_and_draws_none_of_weight_zero():
    chains = [
        draw_chain(WEIGHTS, DISTORTIONS, length=3, rng=np.random.default_rng(i)) for i in range(50)
    ]
    for chain in chains:
        assert len({step.kind for step in chain}) == 3
    assert not any(step.kind == "opus" for chain in chains for step in chain)


def test_weights_decide_how_often_a_kind_comes():
    first = [
        draw_chain(WEIGHTS, DISTORTIONS, length=1, rng=np.random.default_rng(i))[0].kind
        for i in range(800)
    ]
    assert first.count("recorded_noise") / 800 == pytest.approx(5 / 8, abs=0.06)


def test_distortions_of_a_chain_are_milder_than_a_lone_one():
    chains = {
        length: [
            draw_chain(WEIGHTS, DISTORTIONS, length=length, rng=np.random.default_rng(i))
            for i in range(800)
        ]
        for length in (1, 2)
    }
    means = {
        length: np.mean([step.strength for chain in drawn for step in chain])
        for length, drawn in chains.items()
    }
    # The means of u and of u^1.5.
    assert means == {1: pytest.approx(0.5, abs=0.03), 2: pytest.approx(0.4, abs=0.03)}


def test_four_chains_in_five_are_in_the_order_of_a_real_path_and_the_others_in_any():
    weights = {"room": 1.0, "packet_loss": 1.0}
    kinds = [
        [step.kind for step in draw_chain(weights, DISTORTIONS, length=2, rng=each)]
        for each in map(np.random.default_rng, range(800))
    ]
    assert kinds.count(["room", "packet_loss"]) / 800 == pytest.approx(0.8 + 0.2 / 2, abs=0.03)


def test_versions_differ_in_one_strength_alone(sources):
    chain = draw_chain(WEIGHTS, DISTORTIONS, length=3, rng=np.random.default_rng(1))
    made = versions(chain, DISTORTIONS, sources, count=4, rng=np.random.default_rng(2))
    strengths = [strength for strength, _ in made]
    assert strengths == sorted(strengths)
    assert len(made) == 4
    changed = [
        [a.kind for a, b in zip(one, made[0][1], strict=True) if a != b] for _, one in made[1:]
    ]
    assert len({kind for kinds in changed for kind in kinds}) == 1
    assert all(a.seed == b.seed for _, one in made for a, b in zip(one, chain, strict=True))


def test_no_strength_exceeds_the_severest(sources):
    chains = [
        draw_chain(WEIGHTS, DISTORTIONS, length=2, rng=np.random.default_rng(i), severest=0.3)
        for i in range(50)
    ]
    strengths = [step.strength for chain in chains for step in chain]
    assert 0.25 < max(strengths) <= 0.3
    rng = np.random.default_rng(0)
    made = versions(chains[0], DISTORTIONS, sources, count=4, rng=rng, severest=0.3)
    assert 0.2 < made[-1][0] <= 0.3


def test_versions_with_equal_parameters_are_left_out(sources):
    chain = [Step("coarse", 0.5, seed=1)]
    kinds = {"coarse": DistortionKind(lambda s, r, o: {"on": s > 0.5}, lambda w, p, r, o: w, 1)}
    made = versions(chain, kinds, sources, count=4, rng=np.random.default_rng(0))
    assert len(made) == 2


def test_what_was_applied_is_enough_to_apply_it_again(speech, sources):
    chain = [Step("recorded_noise", 0.5, seed=7), Step("mnru", 0.3, seed=8)]
    distorted, applied = apply_chain(speech(1.0), chain, DISTORTIONS, sources)
    steps = [Step(a["kind"], a["strength"], a["seed"]) for a in applied]
    again, _ = apply_chain(speech(1.0), steps, DISTORTIONS, sources)
    assert np.array_equal(distorted, again)
    assert chain_name(chain) == "recorded_noise@0.5+mnru@0.3"
    assert chain_name([]) == "clean"


def test_a_kind_that_changes_the_length_is_refused_by_name(speech, sources):
    kinds = {"cutter": DistortionKind(lambda s, r, o: {}, lambda w, p, r, o: w[:-1], 1)}
    with pytest.raises(ValueError, match="cutter must keep 16000 finite samples"):
        apply_chain(speech(1.0), [Step("cutter", 0.5, 1)], kinds, sources)


def test_a_kind_that_gives_no_finite_sample_is_refused_by_name(speech, sources):
    kinds = {"burnt": DistortionKind(lambda s, r, o: {}, lambda w, p, r, o: w * np.nan, 1)}
    with pytest.raises(ValueError, match=r"burnt must keep .* 16000 not finite"):
        apply_chain(speech(1.0), [Step("burnt", 0.5, 1)], kinds, sources)
