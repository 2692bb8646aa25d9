"""Trainings: resumed ones end with the same bytes, interrupted ones lose nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectome_compiler.cli import main
from connectome_compiler.errors import CompileError
from connectome_compiler.pipeline import build

for needed in ("gymnasium", "dm_control", "stable_baselines3", "matplotlib"):
    pytest.importorskip(needed)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from connectome_compiler.tasks import (  # noqa: E402
    evolution,
    pictures,
    policy,
    policy_gradient,
    swim,
)
from connectome_compiler.tasks.train import CHECKPOINT, train  # noqa: E402

NCAP = Path(__file__).with_name("ncap_reference.py")
SMALL = {"es": {"es.population": 4}, "ppo": {"ppo.episodes": 2, "ppo.epochs": 3}}
FILES = ("checkpoint.safetensors", "policy.safetensors", "history.json", "curves.png", "frames.png")


@pytest.fixture(autouse=True)
def _short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (swim, evolution, policy, policy_gradient, pictures):
        monkeypatch.setattr(module, "N_STEPS", 30)
    for name, value in {"FIRST_FRAME": 5, "BETWEEN": 2, "N_FRAMES": 2, "DPI": 50}.items():
        monkeypatch.setattr(pictures, name, value)


def small(method: str, out: Path, iterations: int = 3, **options: Any) -> Any:
    settings = {"n_joints": 2, **SMALL[method], **options.pop("settings", {})}
    return train(NCAP, out, method=method, iterations=iterations, settings=settings, **options)


@pytest.mark.parametrize("method", SMALL)
@pytest.mark.parametrize("kind", ["module", "mlp"])
def test_resumed_and_uninterrupted_end_alike(method: str, kind: str, tmp_path: Path) -> None:
    small(method, tmp_path / "one", policy=kind)
    small(method, tmp_path / "two", 1, policy=kind)
    torch.rand(3), np.random.rand()  # noqa: NPY002  what others draw meanwhile
    small(method, tmp_path / "two", policy=kind, resume=True)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    rows = json.loads((tmp_path / "one" / "history.json").read_text())["history"]
    per_iteration = 30 * (4 if method == "es" else 2)
    assert [row["steps"] for row in rows] == [k * per_iteration for k in range(4)]
    assert [len(row["reached"]) for row in rows] == [0] + [per_iteration // 30] * 3


@pytest.mark.parametrize("method", SMALL)
def test_weights_move_and_another_seed_moves_them_elsewhere(method: str, tmp_path: Path) -> None:
    ends = []
    for seed in (0, 1):
        small(method, tmp_path / str(seed), seed=seed)
        ends.append(load_file(tmp_path / str(seed) / CHECKPOINT)["policy.net.ipsi"])
    assert ends[0] != 1
    assert ends[0] != ends[1]


@pytest.mark.parametrize("seed", range(3))
def test_the_weights_that_did_best_are_written(seed: int, tmp_path: Path) -> None:
    trained = small("es", tmp_path / "all", 4, seed=seed)
    history = json.loads((tmp_path / "all" / "history.json").read_text())["history"]
    means = [np.mean(row["test"]) for row in history]
    assert means[trained.best_iteration] == max(means)
    written = load_file(tmp_path / "all" / "policy.safetensors")
    assert list(written) == ["contra", "ipsi", "osc", "prop"]  # load_state_dict takes it
    if trained.best_iteration:
        small("es", tmp_path / "up to it", trained.best_iteration, seed=seed)
        there = load_file(tmp_path / "up to it" / CHECKPOINT)
        assert all(value == there[f"policy.net.{name}"] for name, value in written.items())
    else:
        assert [value.item() for value in written.values()] == [-1, 1, 1, 1]


@pytest.mark.parametrize("method", SMALL)
def test_ctrl_c_leaves_a_checkpoint(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(method, tmp_path / "whole")
    real, calls = swim.Swim.step, 0

    def step(self: Any, action: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 500:  # within an iteration
            raise KeyboardInterrupt
        return real(self, action)

    with monkeypatch.context() as patched:
        patched.setattr(swim.Swim, "step", step)
        with pytest.raises(CompileError, match=r"interrupted after [12] of 3") as caught:
            small(method, tmp_path / "cut")
    assert "--resume" in caught.value.hint
    assert [p.name for p in (tmp_path / "cut").iterdir()] == [CHECKPOINT]
    small(method, tmp_path / "cut", resume=True)
    for name in FILES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_library_gets_no_global_generator_for_good(tmp_path: Path) -> None:
    np.random.seed(5)  # noqa: NPY002
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    small("ppo", tmp_path, 1)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index] # noqa: NPY002


def test_noise_of_the_gradient_stays_what_it_is(tmp_path: Path) -> None:
    small("ppo", tmp_path)
    state = load_file(tmp_path / CHECKPOINT)
    assert torch.allclose(state["critic.log_std"].exp(), torch.full((2,), 0.1))


def test_a_training_is_not_overwritten(tmp_path: Path) -> None:
    small("es", tmp_path, 1)
    with pytest.raises(CompileError, match="already holds a training"):
        small("es", tmp_path, 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed was 0, now 1"),
        ({"policy": "mlp"}, "policy was module, now mlp"),
        ({"settings": {"n_joints": 3}}, "options was"),
        ({"settings": {"es.sigma": 0.2}}, r"method was {.sigma.: 0.1}, now {.sigma.: 0.2}"),
    ],
)
def test_another_training_is_not_resumed(
    change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    small("es", tmp_path, 1)
    with pytest.raises(CompileError, match=named):
        small("es", tmp_path, 2, resume=True, **change)


@pytest.mark.parametrize("damage", [b"", b"nonsense" * 50, None])
def test_a_damaged_checkpoint_is_named(damage: bytes | None, tmp_path: Path) -> None:
    small("es", tmp_path, 1)
    file = tmp_path / CHECKPOINT
    file.write_bytes(file.read_bytes()[:-3] if damage is None else damage)
    with pytest.raises(CompileError, match="is not a checkpoint"):
        small("es", tmp_path, 2, resume=True)


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="no such file"):
        small("es", tmp_path / "nothing", resume=True)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"task": "swin"}, "did you mean 'swim'"),
        ({"method": "sac"}, "known: es, ppo"),
        ({"policy": "cnn"}, "known: mlp, module"),
        ({"seed": -1}, "--seed"),
        ({"iterations": 0}, "--iterations"),
        ({"settings": ["es.sigm=1"]}, "did you mean 'sigma'"),
        ({"settings": ["ppo.noise=1"]}, "stage 'ppo'"),
        ({"settings": ["es.population=many"]}, "es.population"),
        ({"settings": ["n_joints=1"]}, "n_joints"),
        ({"settings": ["n_joints"]}, "key=value"),
    ],
)
def test_words_that_make_no_sense(options: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=problem):
        train(NCAP, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_settings_are_read_as_what_they_are(tmp_path: Path) -> None:
    texts = ["n_joints=2", "weight_sharing=false", "es.population=2", "es.sigma=0.3"]
    train(NCAP, tmp_path, settings=texts, iterations=1)
    record = json.loads((tmp_path / "history.json").read_text())
    assert record["options"] == {"n_joints": 2, "weight_sharing": False}
    assert record["method"]["sigma"] == 0.3
    assert len(load_file(tmp_path / "policy.safetensors")) == 12


def test_the_pictures_are_pictures(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    small("es", tmp_path, 2)
    for name, least in (("curves.png", 200), ("frames.png", 50)):
        with image.open(tmp_path / name) as picture:
            assert min(picture.size) >= least
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", str(NCAP), "--out", str(out), "--iterations", "1"]
    done = CliRunner().invoke(
        main, [*words, "--set", "n_joints=2", "--set", "es.population=2"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("trained 4 parameters for 1 iterations")
    assert f"wrote {out / 'frames.png'}" in done.stdout
    again = CliRunner().invoke(main, words, catch_exceptions=False)
    assert again.exit_code == 1
    assert "Error:" in again.stderr


def test_the_compiled_swimmer_is_trained_and_needs_nothing_of_this(tmp_path: Path) -> None:
    module = tmp_path / "swimmer.py"
    build("ncap-swimmer", module, verify=False, loaded=lambda graph: None)
    train(module, tmp_path / "run", settings=SMALL["es"] | {"n_joints": 3}, iterations=1)
    code = "import sys; sys.path[:0] = sys.argv[1:]; import swimmer; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = {"gymnasium", "stable_baselines3", "dm_control", "mujoco", "connectome_compiler"}
    assert not theirs & {name.split(".")[0] for name in done.stdout.split()}
