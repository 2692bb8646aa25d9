"""What changes what a network computes, starts from, learns or takes for its own is found."""

import importlib.util
import marshal
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from areas import areas
from columns import column, laminar
from worms import driven, worm

from connectome_compiler.certify import meaning
from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.process import probe
from connectome_compiler.certify.state import unlike_uniform
from connectome_compiler.certify.stepping import OPTIMIZERS, Stepper
from connectome_compiler.data_adapters.mimetic import Layer
from connectome_compiler.data_adapters.mimetic import Mimetic as Layers
from connectome_compiler.data_adapters.ncap import Ncap as Motif
from connectome_compiler.emit.emission import Emission
from connectome_compiler.ir import GaussianLaw, PerConnection, Port, Swept, Tied, Weights
from connectome_compiler.passes.lay_kernels import LayKernels
from connectome_compiler.passes.level_areas import LevelAreas
from connectome_compiler.passes.materialise_laws import MaterialiseLaws
from connectome_compiler.passes.normalise_in_degree import NormaliseInDegree
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.size_maps import SizeMaps
from connectome_compiler.passes.wire_levels import WireLevels
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.mimetic.style import Mimetic
from connectome_compiler.templates.mousenet.style import Mousenet
from connectome_compiler.templates.ncap.style import Ncap
from connectome_compiler.templates.recurrent.style import Recurrent

NODES: tuple[tuple[Any, Any], ...] = (("relu", "batch"), ("linear", "none"))


def bionic() -> Emission:
    made: Emission = Bionic(kernel="edges").emit(laminar(column(24, 0.6)), "toy")
    return made


def shared() -> Emission:
    dynamics = {"tau_per": "cell_type", "bias_per": "shared"}
    graph = driven(worm(12, 0.4), weights={"share": "type-pair"}, dynamics=dynamics)
    made: Emission = Recurrent(kernel="edges").emit(graph, "toy")
    return made


def scaled() -> Emission:
    weights = {"start": "weight", "trained": False}
    graph = driven(worm(12, 0.4), weights=weights, dynamics={"tau_per": "fixed"})
    made: Emission = Recurrent(spectral_radius=0.9).emit(graph, "toy")
    return made


def low_rank() -> Emission:
    graph = driven(worm(12, 0.9), weights={"start": "low-rank", "rank": 2})
    made: Emission = Recurrent(batch_first=True).emit(graph, "toy")
    return made


def mimetic() -> Emission:
    layers = (
        Layer("image", (4, 6, 6)),
        Layer("a", (6, 6, 6), "conv2d", 3, padding=1, window=True, normalisation="batch"),
        Layer("b", (16,), window=True, activation="relu"),
        Layer("c", (4,)),
    )
    graph = Layers(layers=layers, form="diagonal", reduction=0.3).load()
    made: Emission = Mimetic(start="he-normal", gain="1/usage").emit(graph, "toy")
    return made


def mousenet() -> Emission:
    near = GaussianLaw(1.5, 10.0, 0.9, "px")
    graph = areas(
        {"T": 0, "V": 1},
        [("input", "T4", near), ("T4", "V4", near)],
        layers=("4",),
        n_neurons={"T4": 900, "V4": 800},
    )
    maps, image = (Swept(kind, norm) for kind, norm in NODES)
    people = [replace(p, node=image if p.artificial else maps) for p in graph.populations]
    ports = (Port("input", "input", "in"), Port("V4", "V4", "out"))
    graph = replace(graph, populations=tuple(people), ports=ports)
    wire = WireLevels(within=(), sources=("4",), skips=(), within_feedback=())
    lay = (NormaliseInDegree(total=20.0), SizeMaps(input_size=16), LayKernels())
    graph = run(graph, (LevelAreas(), wire, *lay, MaterialiseLaws()))
    made: Emission = Mousenet(classes=3, pool=2).emit(graph, "toy")
    return made


def ncap() -> Emission:
    made: Emission = Ncap().emit(Motif().load(), "toy")
    return made


NETWORKS = (bionic, shared, scaled, low_rank, mimetic, mousenet, ncap)
SIGNED = "    return weight * torch.copysign(signed.new_ones(()), signed)"
COUNTS = "            weight = weight * self.scale\n"
NOISE = "self.noise_std * torch.randn_like(rates)"
DRIVE = "drive = self.normalise(drive)"
DRAWN = "self.weight.uniform_(-1, 1).mul_(per_connection)"
BIAS = "self.bias.uniform_(-1, 1).mul_(bound * (degree > 0))"
READ = "        arrays = read_arrays()"
FILTERS = "(8, 16),\n        lateral_inhibition: float = 0.1"
OPEN = "return torch.where(self.mask, self.weight, 0)"
SECOND = "(self.mask.flatten().cumsum(0) != 1).view(self.mask.shape)"
ACTS = "not sign x"
BALANCED = "does not start balanced"
LAW = "does not start as is stated"
ALIEN = "is not refused"
FOREIGN = "elif problem := self._foreign(stored, own)"
HELD = "for name, part in self.kept.items() if part is not None"
Edit = tuple[Callable[[], Emission], str, str, str]
EDITS: dict[str, Edit] = {
    "all connections dead": (
        bionic,
        "copysign(signed.new_ones(())",
        "copysign(0 * signed[0]",
        BALANCED,
    ),
    "one connection dead": (
        bionic,
        SIGNED,
        f"{SIGNED} * (torch.arange(len(weight)) != 3)",
        BALANCED,
    ),
    "only positive numbers act": (
        bionic,
        "    signed = weight.detach() * sign",
        "    weight = weight.clamp(min=0)\n    signed = weight.detach() * sign",
        ACTS,
    ),
    "large weights cut": (
        bionic,
        SIGNED,
        SIGNED.replace("weight *", "weight.clamp(-9, 9) *"),
        ACTS,
    ),
    "starts times 100": (bionic, DRAWN, DRAWN.replace("per_", "100 * per_"), LAW),
    "starts at 0": (bionic, DRAWN, DRAWN.replace("per_", "0 * per_"), LAW),
    "normal starts": (bionic, DRAWN, DRAWN.replace("uniform_(-1, 1)", "normal_(0, 0.5)"), LAW),
    "fan-in ignored": (bionic, DRAWN, DRAWN.replace("per_connection", "per_connection.min()"), ""),
    "biases at 1": (bionic, BIAS, "self.bias.fill_(1)", LAW),
    "starts without chance": (bionic, DRAWN, f"torch.manual_seed(0)\n            {DRAWN}", LAW),
    "no bias of a population": (bionic, "bias=True,", "bias=False,", "is not in the state"),
    "noise doubled": (bionic, NOISE, f"2 * {NOISE}", "other noise"),
    "uniform noise": (
        bionic,
        NOISE,
        "self.noise_std * 12**0.5 * (torch.rand_like(rates) - 0.5)",
        "other noise",
    ),
    "one noise for all units": (
        bionic,
        NOISE,
        "self.noise_std * torch.randn_like(rates[:, :1])",
        "other noise",
    ),
    "wrong above a batch of 32": (bionic, DRIVE, f"{DRIVE} + (len(drive) > 32)", "a batch of"),
    "wrong in single precision": (
        bionic,
        DRIVE,
        f"{DRIVE}.float() * (1 + 0.1 * (drive.dtype == torch.float32))",
        "forward",
    ),
    "no refusal of connections": (bionic, FOREIGN, f"{FOREIGN} and False", ALIEN),
    "no refusal of cells": (bionic, HELD, f"{HELD} and False", "is not in the state"),
    "another front end": (bionic, "value=-self.strength / 8", "value=self.strength / 8", "forward"),
    "another default": (bionic, FILTERS, FILTERS.replace("0.1", "0.2"), "build()"),
    "a hook": (
        bionic,
        READ,
        "        self.front_end.conv1.weight.register_hook(lambda g: 2 * g)\n" + READ,
        "has a hook",
    ),
    "counts doubled": (shared, COUNTS, COUNTS.replace("self", "2 * self"), BALANCED),
    "counts squared": (shared, COUNTS, COUNTS.replace("scale", "scale**2"), BALANCED),
    "counts not used": (shared, COUNTS, COUNTS.replace("self.scale", "(self.scale > 0)"), BALANCED),
    "shared starts too small": (
        shared,
        "strength = degree if scale is None else scale.square()",
        "strength = 4 * scale.square()",
        LAW,
    ),
    "another time constant": (
        shared,
        "fill_(self.start_tau_ms)",
        "fill_(self.start_tau_ms + 4e-4)",
        "time constant",
    ),
    "no refusal of types": (shared, '("tau_of", "bias_of")', '("bias_of",)', "is not in the state"),
    "another radius": (
        scaled,
        "layer.weight.mul_(scale)",
        "layer.weight.mul_(1.0005 * scale)",
        "radius",
    ),
    "low rank, another size": (low_rank, "(3 * square * degree)", "(30 * square * degree)", LAW),
    "another rank": (low_rank, "for _ in range(rank):", "for _ in range(rank + 2):", LAW),
    "another momentum": (
        mimetic,
        "nn.BatchNorm2d(6)",
        "nn.BatchNorm2d(6, momentum=0.2)",
        "after a pass",
    ),
    "another gain": (mimetic, "gain=gain", 'gain="none"', LAW),
    "he-normal left out": (mimetic, "draw_he_normal(self.a_to_b)", "pass", ""),
    "no refusal of masks": (
        mimetic,
        "problem = super()._difference(stored, own)",
        'problem = ""',
        ALIEN,
    ),
    "an open weight dead": (mousenet, OPEN, f"{OPEN} * {SECOND}", ACTS),
    "no bias of convolutions": (
        mousenet,
        "fan_in=fan_in,",
        "fan_in=fan_in,\n                bias=False,",
        "is not in the state",
    ),
    "another fan-in": (
        mousenet,
        'classes: int = 3,\n        fan_in: str = "dense"',
        'classes: int = 3,\n        fan_in: str = "open"',
        "build()",
    ),
    "another fan-in in the end": (mousenet, "fan_in=fan_in,", 'fan_in="open",', LAW),
    "no bias of the classifier": (
        mousenet,
        "**2, classes)",
        "**2, classes, bias=False)",
        "is not in the state",
    ),
    "no refusal of open weights": (
        mousenet,
        "return self._difference(stored, own)",
        'return ""',
        ALIEN,
    ),
    "coins that are loaded": (
        ncap,
        "torch.full((1,), 0.5)",
        "torch.full((1,), 0.9)",
        "equal chances",
    ),
}


@pytest.mark.parametrize("made", NETWORKS)
def test_a_sound_network_passes(made: Callable[[], Emission], tmp_path: Path) -> None:
    made().write(tmp_path / "net.py")
    assert probe(tmp_path / "net.py", None)["checks"]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_found(edit: str, tmp_path: Path) -> None:
    made, part, other, message = EDITS[edit]
    path = tmp_path / "net.py"
    made().write(path)
    head, mark, code = path.read_text().partition("# --- the network")
    assert part in code
    path.write_text(head + mark + code.replace(part, other, 1))
    with pytest.raises(Wrong) as found:
        probe(path, None)
    assert message in f"{found.value.where}: {found.value.problem}"


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put every network to the tests of large ones."""
    monkeypatch.setattr(meaning, "MANY", -1)


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("made", NETWORKS)
def test_a_sound_large_network_passes(made: Callable[[], Emission], tmp_path: Path) -> None:
    test_a_sound_network_passes(made, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_a_large_network_is_found(edit: str, tmp_path: Path) -> None:
    test_an_edit_is_found(edit, tmp_path)


def plant(path: Path, text: str) -> None:
    """Put ``text`` into the cache that an import of ``path`` would trust, by its time and size."""
    cache, found = Path(importlib.util.cache_from_source(str(path))), path.stat()
    cache.parent.mkdir()
    stamp = struct.pack("<III", 0, int(found.st_mtime), found.st_size)
    code = marshal.dumps(compile(text, str(path), "exec"))
    cache.write_bytes(importlib.util.MAGIC_NUMBER + stamp + code)


def test_what_stands_in_a_cache_is_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "net.py", tmp_path / "ran"
    bionic().write(path)
    plant(path, f"open({str(mark)!r}, 'w')")
    before = sorted(path.parent.rglob("*"))
    probe(path, None)
    assert sorted(path.parent.rglob("*")) == before  # nor is one written
    spec = importlib.util.spec_from_file_location("net", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert mark.exists()  # as an import would have it


def test_a_sound_cache_does_not_hide_an_edit(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    bionic().write(path)
    sound = path.read_text()
    edited = sound.replace(SIGNED, SIGNED.replace("weight *", "weight -"))
    assert len(edited) == len(sound)
    assert edited != sound
    path.write_text(edited)
    plant(path, sound)
    with pytest.raises(Wrong):
        probe(path, None)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_are_those_of_torch(kind: str) -> None:
    start = torch.linspace(-1, 1, 7)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    options: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1}
    pairs = [
        (ours, Stepper(kind, [ours], **options)),
        (theirs, getattr(torch.optim, kind)([theirs], **options)),
    ]
    for step in range(4):
        for parameter, optimizer in pairs:
            optimizer.zero_grad()
            (parameter - step).square().sum().backward()
            optimizer.step()
    assert torch.allclose(ours, theirs, rtol=1e-5)


def test_uniform_numbers_pass_and_others_do_not() -> None:
    source = np.random.default_rng(0)
    for n in (1, 3, 30, 300, 3000):
        for _ in range(30):
            assert not unlike_uniform(torch.from_numpy(source.random((2, n))))
    for wrong in (source.random((2, 300)) ** 1.5, np.full((2, 8), 0.5), np.full((1, 1), np.nan)):
        assert unlike_uniform(torch.from_numpy(wrong))


@pytest.mark.parametrize("weights", [PerConnection(), Tied("type-pair")])
def test_a_network_whose_signs_are_all_free_passes(weights: Weights, tmp_path: Path) -> None:
    graph = driven(worm(12, 0.4)).map_connectome(lambda q: replace(q, weights=weights))
    made = Recurrent(allow_free_signs=True).emit(graph, "toy")
    assert probe(made.write(tmp_path / "toy.py")[-1], None)["checks"]
