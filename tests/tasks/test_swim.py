"""The task swim, against dm_control's own environment, and how it refuses nonsense."""

import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from connectome_compiler.errors import CompileError

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("dm_control")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from connectome_compiler.tasks import _physics  # noqa: E402
from connectome_compiler.tasks.policy import acting, load_policy  # noqa: E402
from connectome_compiler.tasks.swim import N_STEPS, Swim, joint_limit, returns  # noqa: E402

NCAP = Path(__file__).with_name("ncap_reference.py")


def untrained(n_joints: int, n_seeds: int) -> list[float]:
    swimmers = [Swim(n_joints, clock=True) for _ in range(n_seeds)]
    return returns(acting(load_policy(NCAP, {"n_joints": n_joints})), swimmers, range(n_seeds))


def test_ncap_swims_as_published_before_any_training() -> None:
    reached = untrained(5, 20)
    assert np.mean(reached) == pytest.approx(798.3, abs=0.1)
    assert np.std(reached, ddof=1) == pytest.approx(5.2, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_joints", "mean"), [(2, 289.5), (3, 344.2), (7, 902.1), (9, 908.8), (11, 904.4), (13, 915.0)]
)
def test_ncap_swims_in_other_bodies(n_joints: int, mean: float) -> None:
    assert np.mean(untrained(n_joints, 10)) == pytest.approx(mean, abs=0.1)


@pytest.mark.parametrize("n_joints", [2, 5])
def test_it_is_the_swimmer_of_dm_control_with_another_reward(n_joints: int) -> None:
    from dm_control.suite import swimmer

    stock = swimmer.swimmer(n_links=n_joints + 1, random=3)
    ours = Swim(n_joints)
    draw = np.random.default_rng(0)
    for seed in (3, None):  # the second episode goes on in the stream of the first
        there = stock.reset()
        here, _ = ours.reset(seed=seed)
        for _ in range(50):
            seen = [there.observation["joints"], there.observation["body_velocities"]]
            np.testing.assert_array_equal(here, np.concatenate(seen).astype(np.float32))
            action = draw.uniform(-1, 1, n_joints)
            there = stock.step(action)
            here, reward, ended, truncated, info = ours.step(action)
            speed = -stock.physics.named.data.sensordata["head_vel"][1]
            assert info["speed"] == speed
            assert reward == np.clip(speed / 0.1, 0, 1)
            assert (ended, truncated) == (False, False)


@pytest.mark.filterwarnings("ignore:.*Box observation space")  # joints and velocities, unbounded
def test_gymnasium_accepts_it() -> None:
    check_env(Swim(3, clock=True), skip_render_check=True)


def test_an_episode_has_1000_steps_and_nothing_is_paid_for_rest() -> None:
    swim = Swim(2, clock=True)
    observation, _ = swim.reset(seed=0)
    assert observation[-1] == -1
    for step in range(N_STEPS):
        observation, reward, ended, truncated, _ = swim.step([0, 0])
        assert reward < 0.01
        assert not ended
        assert truncated == (step == N_STEPS - 1)
    assert observation[-1] == 1
    with pytest.raises(CompileError, match="no episode") as caught:
        swim.step([0, 0])
    assert "reset()" in caught.value.hint


def test_a_seed_is_an_episode() -> None:
    one, two = Swim(3), Swim(3)
    first, again, other = (s.reset(seed=k)[0] for s, k in ((one, 7), (two, 7), (two, 8)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    one.step([1, -1, 1])
    np.testing.assert_array_equal(one.reset(seed=7)[0], first)


def test_angles_start_within_what_counts_as_one() -> None:
    swim = Swim(4)
    starts = np.array([swim.reset(seed=s)[0][:4] for s in range(200)]) / joint_limit(4)
    assert 0.95 < abs(starts).max() <= 1


def test_the_midline_is_a_chain_of_links_that_bend_by_the_joint_angles() -> None:
    swim = Swim(4)
    observation, _ = swim.reset(seed=1)
    links = np.diff(swim.midline(), axis=0)
    np.testing.assert_allclose(np.hypot(*links.T), 0.1, atol=1e-9)
    angles = np.diff(np.unwrap(np.arctan2(links[:, 1], links[:, 0])))
    np.testing.assert_allclose(angles, observation[:4], atol=1e-6)


@pytest.mark.parametrize("action", [[0, 0], [[0, 0, 0]], 0.0])
def test_a_torque_per_joint(action: object) -> None:
    swim = Swim(3)
    swim.reset(seed=0)
    with pytest.raises(CompileError, match="shape"):
        swim.step(action)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_torques_are_numbers(bad: float) -> None:
    swim = Swim(3)
    swim.reset(seed=0)
    with pytest.raises(CompileError, match=f"joint 1 at step 0 is {bad}"):
        swim.step([0, bad, 0])


@pytest.mark.parametrize("n_joints", [1, 0, -3, 2.5, True, "5"])
def test_a_body_has_two_joints_or_more(n_joints: object) -> None:
    with pytest.raises(CompileError, match="n_joints"):
        Swim(n_joints)  # type: ignore[arg-type]


def test_another_simulator_is_refused_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metadata, "version", {"dm_control": "1.0.50", "mujoco": "4.0.0"}.get)
    with pytest.raises(
        CompileError, match=r"mujoco: is 4\.0\.0, but the task needs 3\.17\.0"
    ) as caught:
        Swim(5)
    assert caught.value.hint == "pip install dm_control==1.0.50 mujoco==3.17.0"


def test_a_missing_simulator_is_refused_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    with pytest.raises(CompileError, match="dm_control: is not installed") as caught:
        Swim(5)
    assert caught.value.hint == "pip install dm_control==1.0.50 mujoco==3.17.0"
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    with pytest.raises(CompileError, match=r"does not install with Python 3\.13") as caught:
        Swim(5)
    assert caught.value.hint == "train in an environment with Python 3.12"


def test_a_missing_package_is_named() -> None:
    with pytest.raises(CompileError, match="gymnasium9: is not installed") as caught:
        _physics.require("gymnasium9")
    assert "[swimmer]" in caught.value.hint
