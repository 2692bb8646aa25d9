"""The networks that are mutated: small ones of every style, in which every option occurs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from areas import areas
from columns import column, placed
from stacks import stack
from worms import driven, worm

from connectome_compiler.data_adapters.mimetic import Layer
from connectome_compiler.data_adapters.mimetic import Mimetic as Windowed
from connectome_compiler.data_adapters.ncap import Ncap as Motif
from connectome_compiler.emit.emission import Emission
from connectome_compiler.ir import GaussianLaw, Graph, Port, Swept, neuron_table
from connectome_compiler.passes.apply_dale import ApplyDale
from connectome_compiler.passes.assign_signs import AssignSigns
from connectome_compiler.passes.attach_ports import AttachPorts
from connectome_compiler.passes.fold_inhibition import FoldInhibition
from connectome_compiler.passes.laminar_partition import LaminarPartition
from connectome_compiler.passes.lay_kernels import LayKernels
from connectome_compiler.passes.level_areas import LevelAreas
from connectome_compiler.passes.materialise_laws import MaterialiseLaws
from connectome_compiler.passes.normalise_in_degree import NormaliseInDegree
from connectome_compiler.passes.runner import Pass, run
from connectome_compiler.passes.set_node_model import SetNodeModel
from connectome_compiler.passes.sign_channels import SignChannels
from connectome_compiler.passes.size_maps import SizeMaps
from connectome_compiler.passes.split_flow import SplitFlow
from connectome_compiler.passes.wire_levels import WireLevels
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.mimetic.style import Mimetic
from connectome_compiler.templates.mousenet.style import Mousenet
from connectome_compiler.templates.ncap.style import Ncap
from connectome_compiler.templates.recurrent.style import Recurrent


@dataclass(frozen=True, slots=True)
class Case:
    """A graph and the style that it is emitted in."""

    graph: Callable[[], Graph]
    style: Any

    def emit(self) -> tuple[Graph, Emission]:
        """Return the graph and its module."""
        graph = self.graph()
        emission: Emission = self.style.emit(graph, "mutants")
        return graph, emission


def _column(
    layers: tuple[str, ...] = ("L4", "L2/3", "L5", "L6"),
    unsigned: int = 0,
    inhibition: Any = "graded",
    form: Any = "multiplicative",
    flow: Any = "drop",
    normalisation: Any = "layer",
    noise_std: float = 0.1,
    size: int = 8,
) -> Graph:
    return run(
        column(24, 0.5, layers=layers, unsigned=unsigned),
        (
            AssignSigns(),
            ApplyDale(),
            LaminarPartition(),
            SetNodeModel(normalisation=normalisation, noise_std=noise_std),
            FoldInhibition(policy=inhibition, form=form),
            SplitFlow(skip=flow, feedback=flow),
            AttachPorts(image=(1, size, size), outputs=3),
        ),
    )


def _worm(junctions: bool = True, **options: Any) -> Graph:
    return driven(worm(12, 0.4, junctions=junctions), **options)


def _kernels() -> Graph:
    """Make a worm on a grid: every neuron has a column, of which three types have four each."""
    graph = worm(12, 0.4, junctions=False)
    (neurons,) = graph.populations
    columns = {"u": np.arange(12, dtype=np.int32) // 3 % 2, "v": np.arange(12, dtype=np.int32) // 6}
    assert neurons.neurons is not None
    rows = neurons.neurons.to_pydict()
    rows["cell_type"] = ["AVA", "AVB", "RIM"] * 4
    table = neuron_table({**rows, **columns})
    return driven(
        replace(graph, populations=(replace(neurons, neurons=table),)), weights={"share": "kernel"}
    )


def _sheets(**options: Any) -> Graph:
    layers = (
        Layer("image", (1, 6, 6)),
        Layer("sheet1", (36,), activation="relu"),
        Layer("sheet2", (36,), window=True, activation="relu"),
        Layer("classes", (4,)),
    )
    graph: Graph = Windowed(layers, **options).load()
    return graph


def _cortex(*further: Pass, feedback: Any = "none", more: int = 1) -> Graph:
    """Make two areas of three layers, 8 and 4 pixels wide, and a thalamus; ``more`` channels."""
    layers = ("4", "2/3", "5")
    wide, eyes = GaussianLaw(300.0, 10.0), GaussianLaw(1.5, 10.0, 0.9, "px")
    within = [(f"{a}{s}", f"{a}{t}", wide) for a in "VW" for s in layers for t in layers if s != t]
    sizes = {"T": 220, "V": 200 * more, "W": 65 * more}
    n = {f"{a}{s}": size for a, size in sizes.items() for s in layers}
    upwards = [(f"V{layer}", "W4", wide) for layer in layers]
    joined = [("input", "T4", eyes), ("T4", "V4", eyes), *within, *upwards]
    graph = areas({"T": 0, "V": 1, "W": 2}, joined, layers=layers, n_neurons=n)
    maps = Swept("relu", "batch")
    image = Swept("linear")
    kept = tuple(
        replace(p, node=image if p.artificial else maps)
        for p in graph.populations
        if p.name not in ("T2/3", "T5")
    )
    ports = (Port("input", "input", "in"), Port("W5", "W5", "out"), Port("V5", "V5", "out"))
    return run(
        replace(graph, populations=kept, ports=ports),
        (
            LevelAreas(),
            WireLevels(skips=(), feedback=feedback),
            NormaliseInDegree(total=20.0),
            SizeMaps(input_size=8),
            LayKernels(),
            MaterialiseLaws(seed=3),
            *further,
        ),
    )


TYPES = {"share": "type-pair"}
CASES: dict[str, Case] = {
    "bionic chain": Case(_column, Bionic(kernel="edges")),
    "bionic subtractive": Case(lambda: _column(form="subtractive"), Bionic(kernel="dense")),
    "bionic units": Case(
        lambda: _column(("L4", "L5"), inhibition="units", flow="keep", normalisation="rms"),
        Bionic(steps=3, kernel="edges"),
    ),
    "bionic plain": Case(
        lambda: _column(
            ("L4", "L5"), 5, inhibition="units", flow="keep", normalisation="none", noise_std=0.0
        ),
        Bionic(kernel="dense", lateral_inhibition=0.0, attention=False),
    ),
    "bionic local": Case(
        lambda: placed(_column(("L4", "L5"), inhibition="units", size=20)),
        Bionic(read_in="local", read_in_window=2, kernel="edges"),
    ),
    "bionic low rank": Case(
        lambda: _column(("L4", "L5"), size=20), Bionic(read_in="low-rank", read_in_rank=2)
    ),
    "recurrent whole": Case(_worm, Recurrent(kernel="edges")),
    "recurrent parts": Case(
        lambda: _worm(
            partition="role",
            weights=TYPES,
            dynamics={"activation": "relu", "tau_per": "cell_type", "bias_per": "shared"},
            ports={"read_in": "direct"},
        ),
        Recurrent(kernel="edges"),
    ),
    "recurrent senders": Case(
        lambda: _worm(
            weights={"share": "pre-type", "column": "role"},
            dynamics={"activation": "softplus", "tau_per": "shared", "bias_per": "none"},
            ports={"read_out": "direct"},
        ),
        Recurrent(kernel="dense", batch_first=True),
    ),
    "recurrent reservoir": Case(
        lambda: _worm(
            weights={"start": "weight", "trained": False},
            dynamics={"tau_per": "fixed", "tau_ms": 10},
        ),
        Recurrent(spectral_radius=0.9, dt_ms=5.0, kernel="edges"),
    ),
    "recurrent low rank": Case(
        lambda: _worm(
            partition="role",
            weights={"start": "low-rank", "rank": 2},
            dynamics={"activation": "sigmoid", "bias_per": "cell_type"},
            ports={"into": "", "out_of": "", "read_in": "direct", "read_out": "direct"},
        ),
        Recurrent(kernel="dense", spectral_radius=1.5),
    ),
    "recurrent counts": Case(
        lambda: _worm(
            partition="cell_type",
            weights={"start": "weight"},
            dynamics={"activation": "linear", "tau_per": "shared", "tau_ms": 200.0},
            ports={"into": 'role != "motor"', "out_of": 'cell_type in ("AVA", "RIM")'},
        ),
        Recurrent(kernel="edges", batch_first=True),
    ),
    "recurrent chemical": Case(
        lambda: _worm(junctions=False, dynamics={"bias_per": "shared"}), Recurrent(kernel="edges")
    ),
    "recurrent kernels": Case(_kernels, Recurrent(kernel="edges")),
    "mimetic paper": Case(stack, Mimetic()),
    "mimetic clean": Case(
        lambda: stack(mode="clean", torus=True), Mimetic(gain="fan-in", start="he-normal")
    ),
    "mimetic band": Case(
        lambda: stack(form="diagonal"), Mimetic(gain="1/sqrt(usage)", start="he-normal")
    ),
    "mimetic random": Case(lambda: _sheets(form="random", seed=2), Mimetic(gain="none")),
    "mimetic kernels": Case(lambda: stack(form="kernel", reduction=0.6, seed=5), Mimetic()),
    "mimetic sheets": Case(_sheets, Mimetic(kernel="patches")),
    "mousenet masked": Case(_cortex, Mousenet(classes=5, pool=2)),
    "mousenet live": Case(_cortex, Mousenet(classes=5, pool=2, weights="live")),
    "mousenet open": Case(lambda: _cortex(more=6), Mousenet(classes=5, pool=2, weights="live")),
    "mousenet dale": Case(
        lambda: _cortex(SignChannels("dale", 0.3)), Mousenet(classes=5, pool=3, fan_in="open")
    ),
    "mousenet feedback": Case(
        lambda: _cortex(feedback="mirrored"), Mousenet(classes=5, pool=2, steps=3, bias=False)
    ),
    "mousenet live feedback": Case(
        lambda: _cortex(SignChannels("dale", 0.4), feedback="mirrored"),
        Mousenet(classes=5, pool=2, weights="live", fan_in="open"),
    ),
    "ncap clamp": Case(lambda: Motif(n_joints=4).load(), Ncap(turn_control=True)),
    "ncap abs": Case(
        lambda: Motif(n_joints=3, n_turn_joints=2, oscillator_period=7, mechanism="abs").load(),
        Ncap(constant_init=False, speed_control=True),
    ),
    "ncap smooth": Case(lambda: Motif(mechanism="smooth").load(), Ncap(weight_sharing=False)),
}
