from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from connectome_compiler.errors import VerifyError
from connectome_compiler.ir import (
    AllToAll,
    Attenuation,
    Conv2d,
    GaussianLaw,
    Graph,
    Leaky,
    Named,
    OneToOne,
    PerConnection,
    Place,
    Population,
    Port,
    Projection,
    Provenance,
    Shift,
    SquareWave,
    Swept,
    Synapses,
    Tied,
    neuron_table,
)


def population(name: str = "a", n: int = 3, first: int = 1, **columns: Any) -> Population:
    ids = list(range(first, first + n))
    return Population(name, (n,), neuron_table({"neuron_id": ids, **columns}))


def edges(
    post: Any = (0, 1, 1), pre: Any = (1, 0, 2), weight: Any = (1, 2, 3), **more: Any
) -> Synapses:
    return Synapses(np.asarray(post), np.asarray(pre), np.asarray(weight), **more)


A, B = population("a"), population("b", 2, first=10)
AB = Projection("a", "b", edges((0, 1, 1), (1, 0, 2)))
BA = Projection("b", "a", edges((0, 1, 2), (1, 0, 1), (2, 1, 3)))
GAP = (replace(AB, kind="electrical"), replace(BA, kind="electrical"))
IMAGE = Population("image", (1, 2, 2), artificial=True)
C = Population("c", (2,))
WAVE = Population("wave", (2,), node=SquareWave(3))


ATTENUATED = Swept(inhibition=Attenuation("subtractive", 0.5))
MAP = Population("map", (2, 3, 3))


class Loose(Swept):
    """What a package brings that forgot to write the line above a class."""


class LooseLaw(AllToAll):
    """As `Loose`."""


class LooseWeights(PerConnection):
    """As `Loose`."""


def graph(*parts: Population | Projection | Port) -> Graph:
    """Put parts together; populations that are not given are A and B."""
    populations = tuple(p for p in parts if isinstance(p, Population)) or (A, B)
    projections = tuple(p for p in parts if isinstance(p, Projection))
    return Graph(
        populations, projections, Provenance("t"), tuple(p for p in parts if isinstance(p, Port))
    )


def gap_back(post: Any, pre: Any, weight: Any) -> Projection:
    return Projection("b", "a", edges(post, pre, weight), kind="electrical")


def shared(polarity: int = 1) -> Projection:
    return Projection("b", "c", OneToOne(), Named("w", polarity))


def of_unit(q: Projection, factor: float) -> Synapses:
    return replace(q.synapses, weight=q.synapses.weight.astype(np.float64) * factor, unit="nS")


def signed(q: Projection) -> Synapses:
    return replace(q.synapses, sign=np.ones(3, np.int8))


def with_column(name: str, values: Any) -> Population:
    table = A.neurons
    assert table is not None
    if name in table.column_names:
        return replace(A, neurons=table.set_column(table.column_names.index(name), name, values))
    return replace(A, neurons=table.append_column(name, values))


# For each rule: a graph that keeps it, the nearest that breaks it, and the message's first line.
RULES: dict[str, tuple[Callable[[], Graph], Callable[[], Graph], str]] = {
    "population names are unique": (
        lambda: graph(A, B),
        lambda: graph(A, replace(B, name="a")),
        "populations: 'a' occurs twice",
    ),
    "populations have names": (
        lambda: graph(replace(A, name="..")),
        lambda: graph(replace(A, name="")),
        "populations: a population has no name",
    ),
    "names are one line": (
        lambda: graph(replace(A, name="L2/3 é")),
        lambda: graph(replace(A, name="L2\n3")),
        r"population 'L2\n3': is not a name",
    ),
    "names are text": (
        lambda: graph(replace(A, name="a-b")),
        lambda: graph(replace(A, name="a\u202eb")),
        r"population 'a\u202eb': is not a name",
    ),
    "names cannot be taken for projections": (
        lambda: graph(replace(A, name="a>-b")),
        lambda: graph(replace(A, name="a->b")),
        "population 'a->b': is not a name",
    ),
    "names cannot be taken for kinds": (
        lambda: graph(replace(A, name="electrical:a")),
        lambda: graph(replace(A, name="a:electrical")),
        "population 'a:electrical': is not a name",
    ),
    "shapes are shapes": (
        lambda: graph(replace(IMAGE, shape=(0,))),
        lambda: graph(replace(IMAGE, shape=(1, -2))),
        "population image: invalid shape (1, -2",
    ),
    "shapes have sides": (
        lambda: graph(replace(IMAGE, shape=(1,))),
        lambda: graph(replace(IMAGE, shape=())),
        "population image: invalid shape",
    ),
    "levels of areas begin at 0": (
        lambda: graph(replace(A, place=Place("V1", level=0, n_neurons=0))),
        lambda: graph(replace(A, place=Place("V1", level=-1))),
        "population a: level -1 is negative",
    ),
    "an area has no fewer than no neurons": (
        lambda: graph(replace(A, place=Place("V1"))),
        lambda: graph(replace(A, place=Place("V1", n_neurons=-1))),
        "population a: n_neurons -1 is negative",
    ),
    "an area has a surface": (
        lambda: graph(replace(A, place=Place("V1", surface_mm2=0.5))),
        lambda: graph(replace(A, place=Place("V1", surface_mm2=0.0))),
        "population a: surface_mm2 must be positive and finite, not 0.0",
    ),
    "one row per unit": (
        lambda: graph(A),
        lambda: graph(replace(A, shape=(4,))),
        "population a: 4 units, but 3 neurons",
    ),
    "columns occur once": (
        lambda: graph(with_column("more", pa.nulls(3))),
        lambda: graph(replace(A, neurons=A.neurons.append_column("sign", pa.nulls(3)))),  # type: ignore[union-attr]
        "population a, columns: 'sign' occurs twice",
    ),
    "standard columns are there": (
        lambda: graph(A),
        lambda: graph(replace(A, neurons=A.neurons.drop_columns(["sign", "region"]))),  # type: ignore[union-attr]
        "population a: neuron table lacks sign, region",
    ),
    "standard columns have their types": (
        lambda: graph(with_column("sign", pa.array([1, None, -1], pa.int8()))),
        lambda: graph(with_column("sign", pa.array([1, None, -1], pa.int64()))),
        "population a.sign: must be int8, not int64",
    ),
    "ids are integers or text": (
        lambda: graph(with_column("neuron_id", pa.array(["1", "2", "3"]))),
        lambda: graph(with_column("neuron_id", pa.array([1.0, 2.0, 3.0]))),
        "population a.neuron_id: must be int64 or string, not double",
    ),
    "ids are not missing": (
        lambda: graph(with_column("neuron_id", pa.array([1, 2, 3]))),
        lambda: graph(with_column("neuron_id", pa.array([1, None, 3]))),
        "population a.neuron_id, row 1: an id is missing",
    ),
    "ids are unique in a population": (
        lambda: graph(with_column("neuron_id", pa.array([7, 8, 9]))),
        lambda: graph(with_column("neuron_id", pa.array([7, 8, 7]))),
        "population a, row 0, and a, row 2: neuron_id 7 stands for 2 neurons",
    ),
    "ids are unique among populations": (
        lambda: graph(A, population("b", first=4)),
        lambda: graph(A, population("b", first=3)),
        "population a, row 2, and b, row 0: neuron_id 3 stands for 2 neurons",
    ),
    "ids have one type": (
        lambda: graph(A, B),
        lambda: graph(with_column("neuron_id", pa.array(["1", "2", "3"])), B),
        "neuron_id: is a number in one population and a string in another",
    ),
    "missing is null": (
        lambda: graph(with_column("x_um", pa.array([1.0, None, 3.0]))),
        lambda: graph(with_column("x_um", pa.array([1.0, None, float("nan")]))),
        "population a.x_um, row 2: NaN",
    ),
    "also in more columns": (
        lambda: graph(with_column("mine", pa.array([1.0, None, 3.0], pa.float32()))),
        lambda: graph(with_column("mine", pa.array([float("nan"), None, 3.0], pa.float32()))),
        "population a.mine, row 0: NaN",
    ),
    "columns are plain": (
        lambda: graph(with_column("mine", pa.array([b"a", None, b""]))),
        lambda: graph(with_column("mine", pa.array([[1], None, []]))),
        "population a.mine: a neuron table cannot hold list<item: int64>",
    ),
    "signs are +1, -1, null": (
        lambda: graph(with_column("sign", pa.array([1, None, -1], pa.int8()))),
        lambda: graph(with_column("sign", pa.array([1, None, 0], pa.int8()))),
        "population a.sign, row 2: must be one of 1, -1, not 0",
    ),
    "coverages are known": (
        lambda: graph(population(axon_coverage=["none", "full", None])),
        lambda: graph(population(axon_coverage=["none", "Full", None])),
        "population a.axon_coverage, row 1: must be one of none, partial, full, not 'Full'",
    ),
    "roles are known": (
        lambda: graph(population(role=["motor", None, None])),
        lambda: graph(population(role=["motor", "mover", None])),
        "population a.role, row 1: must be one of sensory, inter, motor, muscle, not 'mover'",
    ),
    "projections are unique": (
        lambda: graph(AB, *GAP),
        lambda: graph(AB, replace(AB, delay=2)),
        "projections: 'a->b' occurs twice",
    ),
    "projections end in populations": (
        lambda: graph(AB),
        lambda: graph(replace(AB, post="c")),
        "projection a->c: no population 'c'",
    ),
    "gap junctions conduct both ways": (
        lambda: graph(*GAP),
        lambda: graph(GAP[0]),
        "projection a->b:electrical: has no mirror image b->a:electrical",
    ),
    "gap junctions join the same cells both ways": (
        lambda: graph(*GAP),
        lambda: graph(GAP[0], gap_back((0, 1, 2), (1, 0, 0), (2, 1, 3))),
        "projection a->b:electrical: is not the mirror image of b->a:electrical",
    ),
    "gap junctions conduct equally both ways": (
        lambda: graph(*GAP),
        lambda: graph(GAP[0], gap_back((0, 1, 2), (1, 0, 1), (2, 1, 4))),
        "projection a->b:electrical, connection 2: conducts 3 in one direction and 4 in the other",
    ),
    "conductances are not negative": (
        lambda: graph(*(replace(q, connectivity=of_unit(q, 1)) for q in GAP)),
        lambda: graph(*(replace(q, connectivity=of_unit(q, -1)) for q in GAP)),
        "projection a->b:electrical, connection 0: conductance -1.0 is negative",
    ),
    "gap junctions have no sign": (
        lambda: graph(*GAP),
        lambda: graph(*(replace(q, connectivity=signed(q)) for q in GAP)),
        "projection a->b:electrical: has signs, but current flows through a gap junction in both",
    ),
    "gap junctions are listed": (
        lambda: graph(*GAP),
        lambda: graph(*(replace(q, connectivity=AllToAll()) for q in GAP)),
        "projection a->b:electrical: is all to all, but gap junctions need an edge list",
    ),
    "gap junctions have one unit": (
        lambda: graph(*(replace(q, connectivity=of_unit(q, 1)) for q in GAP)),
        lambda: graph(GAP[0], replace(GAP[1], connectivity=of_unit(GAP[1], 1))),
        "projection a->b:electrical: and b->a:electrical differ in their unit or weights",
    ),
    "gap junctions are held alike": (
        lambda: graph(*(replace(q, weights=PerConnection(trained=False)) for q in GAP)),
        lambda: graph(GAP[0], replace(GAP[1], weights=PerConnection(trained=False))),
        "projection a->b:electrical: and b->a:electrical differ in their unit or weights",
    ),
    "selected units are those of the population": (
        lambda: graph(Projection("a", "b", AllToAll((0, 1), (2,)))),
        lambda: graph(Projection("a", "b", AllToAll((0, 2), (2,)))),
        "projection a->b: selected post units: the selected units must be ascending indices within",
    ),
    "delays are not negative": (
        lambda: graph(replace(AB, delay=0)),
        lambda: graph(replace(AB, delay=-1)),
        "projection a->b: delay -1 is negative",
    ),
    "laws fit": (
        lambda: graph(B, replace(B, name="c", neurons=None), Projection("b", "c", OneToOne())),
        lambda: graph(A, B, Projection("a", "b", OneToOne())),
        "projection a->b: one-to-one: 3 units cannot be paired with 2",
    ),
    "arrays are of one length": (
        lambda: graph(replace(AB, connectivity=edges((0, 1), (1, 0), (1, 2)))),
        lambda: graph(replace(AB, connectivity=edges((0, 1), (1, 0), (1, 2, 3)))),
        "projection a->b.weight: shape (3,), expected (2,)",
    ),
    "arrays are of one dimension": (
        lambda: graph(replace(AB, connectivity=edges((), (), np.zeros(0, int)))),
        lambda: graph(replace(AB, connectivity=edges([[0, 1]], [[1, 0]], [[1, 2]]))),
        "projection a->b.post: shape (1, 2), expected (2,)",
    ),
    "indices are inside": (
        lambda: graph(replace(AB, connectivity=edges((0, 1), (1, 2), (1, 1)))),
        lambda: graph(replace(AB, connectivity=edges((0, 1), (1, 3), (1, 1)))),
        "projection a->b, connection 1: pre index 3 is outside 0..2",
    ),
    "indices are not negative": (
        lambda: graph(replace(AB, connectivity=edges((0, 1), (1, 2), (1, 1)))),
        lambda: graph(replace(AB, connectivity=edges((-1, 1), (1, 2), (1, 1)))),
        "projection a->b, connection 0: post index -1 is outside 0..1",
    ),
    "edges are sorted by post": (
        lambda: graph(replace(AB, connectivity=edges((0, 1), (1, 0), (1, 1)))),
        lambda: graph(replace(AB, connectivity=edges((1, 0), (0, 1), (1, 1)))),
        "projection a->b, connection 1: not sorted by post, then pre",
    ),
    "edges are sorted by pre": (
        lambda: graph(replace(AB, connectivity=edges((0, 0), (0, 1), (1, 1)))),
        lambda: graph(replace(AB, connectivity=edges((0, 0), (1, 0), (1, 1)))),
        "projection a->b, connection 1: not sorted by post, then pre",
    ),
    "pairs occur once": (
        lambda: graph(replace(AB, connectivity=edges((0, 1, 1), (0, 0, 1), (1, 1, 1)))),
        lambda: graph(replace(AB, connectivity=edges((0, 1, 1), (0, 1, 1), (1, 1, 1)))),
        "projection a->b, connection 2: occurs twice",
    ),
    "weights are finite": (
        lambda: graph(replace(AB, connectivity=edges(weight=(1.0, -2.0, 0.5), unit="um2"))),
        lambda: graph(replace(AB, connectivity=edges(weight=(1.0, np.nan, 0.5), unit="um2"))),
        "projection a->b, connection 1: weight is nan",
    ),
    "sizes are finite": (
        lambda: graph(replace(AB, connectivity=edges(size=[1, 2, 3]))),
        lambda: graph(replace(AB, connectivity=edges(size=[1, 2, np.inf]))),
        "projection a->b, connection 2: size is inf",
    ),
    "counts are integers": (
        lambda: graph(replace(AB, connectivity=edges(weight=(1.0, 2.0, 3.0), unit="sections"))),
        lambda: graph(replace(AB, connectivity=edges(weight=(1.0, 2.0, 3.0)))),
        "projection a->b.weight: counts of synapses must be integers",
    ),
    "counts are positive": (
        lambda: graph(replace(AB, connectivity=edges(weight=(1, 1, 1)))),
        lambda: graph(replace(AB, connectivity=edges(weight=(1, 0, 1)))),
        "projection a->b, connection 1: 0 synapses",
    ),
    "signs of connections are +1, -1, 0": (
        lambda: graph(replace(AB, connectivity=edges(sign=[1, 0, -1]))),
        lambda: graph(replace(AB, connectivity=edges(sign=[1, 0, -2]))),
        "projection a->b, connection 2: sign must be +1, -1 or 0 (unknown), not -2",
    ),
    "a sign is given once": (
        lambda: graph(B, C, shared()),
        lambda: graph(
            replace(AB, weights=PerConnection(polarity=1), connectivity=edges(sign=[1, 0, 0]))
        ),
        "projection a->b: has a polarity, but its connections or neurons have signs of their own",
    ),
    "what is drawn has its sign later": (
        lambda: graph(
            replace(AB, connectivity=GaussianLaw(1.0, 2.0), weights=PerConnection(polarity=1))
        ),
        lambda: graph(
            population(sign=[1, 1, 1]), B, replace(AB, weights=PerConnection(polarity=1))
        ),
        "projection a->b: has a polarity, but its connections or neurons have signs of their own",
    ),
    "gap junctions have no polarity": (
        lambda: graph(replace(AB, weights=PerConnection(polarity=1))),
        lambda: graph(*(replace(q, weights=PerConnection(polarity=1)) for q in GAP)),
        "projection a->b:electrical: has a polarity, but current flows",
    ),
    "what has one name is held in one way": (
        lambda: graph(B, C, shared(), replace(shared(), pre="c", post="b")),
        lambda: graph(B, C, shared(), replace(shared(-1), pre="c", post="b")),
        "projection b->c: and c->b share the weight 'w', but hold it differently",
    ),
    "gap junctions share no weight by name": (
        lambda: graph(B, C, shared()),
        lambda: graph(*(replace(q, weights=shared().weights) for q in GAP)),
        "projection a->b:electrical: shares its weights by name",
    ),
    "graded inhibition has a column": (
        lambda: graph(
            replace(with_column("inhibition", pa.array([0.0, 0.5, 1.0])), node=ATTENUATED)
        ),
        lambda: graph(replace(A, node=ATTENUATED)),
        "population a: has graded inhibition, but no column 'inhibition'",
    ),
    "constants per type have types": (
        lambda: graph(replace(A, node=Leaky(20.0, tau_per="cell_type"))),
        lambda: graph(replace(C, node=Leaky(20.0, tau_per="cell_type"))),
        "population c: has constants per cell type, but no neuron table",
    ),
    "node models are frozen dataclasses": (
        lambda: graph(replace(A, node=Swept())),
        lambda: graph(replace(A, node=Loose())),
        "population a, node: Loose is not a frozen dataclass",
    ),
    "weights are frozen dataclasses": (
        lambda: graph(replace(AB, weights=PerConnection())),
        lambda: graph(replace(AB, weights=LooseWeights())),
        "projection a->b, weights: LooseWeights is not a frozen dataclass",
    ),
    "laws are frozen dataclasses": (
        lambda: graph(replace(AB, connectivity=AllToAll())),
        lambda: graph(replace(AB, connectivity=LooseLaw())),
        "projection a->b, connectivity: LooseLaw is not a frozen dataclass",
    ),
    "channels have no types": (
        lambda: graph(MAP, Projection("map", "map", AllToAll(), operator=Conv2d((1, 1)))),
        lambda: graph(
            MAP, Projection("map", "map", AllToAll(), Tied("pre-type"), operator=Conv2d((1, 1)))
        ),
        "projection map->map: is a convolution, whose channels have no types",
    ),
    "square waves have two units": (
        lambda: graph(WAVE),
        lambda: graph(replace(WAVE, shape=(3,))),
        "population wave: must have two units for a square wave, not shape (3",
    ),
    "shifts fit": (
        lambda: graph(B, C, replace(shared(), connectivity=Shift(5))),
        lambda: graph(A, B, Projection("a", "b", Shift(1))),
        "projection a->b: shift: 3 units cannot be paired with 2",
    ),
    "no cycle is without delay": (
        lambda: graph(replace(AB, delay=0), Projection("b", "a", AllToAll(), delay=1)),
        lambda: graph(replace(AB, delay=0), Projection("b", "a", AllToAll(), delay=0)),
        "projections: a cycle without delay: ",
    ),
    "no population acts on itself at once": (
        lambda: graph(A, Projection("a", "a", AllToAll(), delay=1)),
        lambda: graph(A, Projection("a", "a", AllToAll(), delay=0)),
        "projections: a cycle without delay: a -> a",
    ),
    "populations stand in order": (
        lambda: graph(A, B, replace(AB, delay=0)),
        lambda: graph(B, A, replace(AB, delay=0)),
        "projection a->b: has no delay, but a is evaluated after b",
    ),
    "port names are unique": (
        lambda: graph(Port("x", "a", "in"), Port("x", "b", "out")),
        lambda: graph(Port("x", "a", "in"), Port("x", "b", "in")),
        "ports: 'in x' occurs twice",
    ),
    "ports are on populations": (
        lambda: graph(Port("x", "a", "in")),
        lambda: graph(Port("x", "c", "in")),
        "port x: no population 'c'",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    valid, invalid, message = RULES[rule]
    valid().verify()
    with pytest.raises(VerifyError) as caught:
        invalid().verify()
    assert str(caught.value).startswith(message)
    assert repr(invalid())  # a graph that breaks a rule can still be looked at


def test_swapped_ends_are_recognised() -> None:
    turned = replace(AB, connectivity=edges((0, 1, 2), (1, 1, 0)))
    with pytest.raises(VerifyError) as caught:
        graph(turned).verify()
    assert caught.value.hint == "post and pre seem to be swapped"


def test_an_empty_graph_is_valid() -> None:
    Graph((), (), Provenance("t")).verify()
