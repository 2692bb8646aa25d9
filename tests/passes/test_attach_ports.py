import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, neurons, small
from strategies import connectomes
from worms import worm

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import (
    AllToAll,
    Graph,
    OneToOne,
    Population,
    Port,
    Projection,
    Provenance,
    Synapses,
)
from connectome_compiler.passes.attach_ports import AttachPorts
from connectome_compiler.passes.partition_by import PartitionBy
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.split_flow import stages

hows = st.sampled_from(["linear", "direct"])


def joined(graph: Graph, port: str) -> list[tuple[int, Any]]:
    """Return channel and neuron id of everything that a port is joined to."""
    found = []
    for q in graph.projections:
        if port not in (q.pre, q.post):
            continue
        post, pre = q.connectivity.entries(*graph.shape(q))
        channels, units, name = (pre, post, q.post) if port == q.pre else (post, pre, q.pre)
        ids = graph.population(name).column("neuron_id").to_pylist()
        found += [(int(c), ids[i]) for c, i in zip(channels, units, strict=True)]
    return found


@given(connectomes(min_populations=1), hows, hows, st.sampled_from(["", "sign == 1"]))
def test_joins_the_chosen_neurons(graph: Graph, read_in: Any, read_out: Any, where: str) -> None:
    step = AttachPorts(3, 2, into=where, read_in=read_in, read_out=read_out)
    rows = [r for p in graph.populations if p.neurons for r in p.neurons.to_pylist()]
    chosen = [r["neuron_id"] for r in rows if not where or r["sign"] == 1]
    everyone = [r["neuron_id"] for r in rows]
    if not chosen:
        with pytest.raises(CompileError, match=r"no neuron|none of [0-9,]+ neurons"):
            step(graph)
        return
    digest = graph.digest()
    after = step(graph)
    after.verify()
    assert graph.digest() == digest
    assert after.connectome == graph.projections
    assert after.biological == graph.populations
    assert after.ports == (Port("input", "input", "in"), Port("output", "output", "out"))
    for port, how, n, ids in (("input", read_in, 3, chosen), ("output", read_out, 2, everyone)):
        size = n if how == "linear" else len(ids)
        assert after.population(port).shape == (size,)
        assert after.population(port).artificial
        pairs = [(c, i) for c in range(n) for i in ids] if how == "linear" else enumerate(ids)
        assert sorted(joined(after, port), key=str) == sorted(pairs, key=str)
        law = OneToOne if how == "direct" else AllToAll
        kinds = {type(q.connectivity) for q in after.projections if port in (q.pre, q.post)}
        assert kinds == {law}


def test_takes_sensory_and_motor_neurons_by_itself() -> None:
    for start in (worm(12), run(worm(12), [PartitionBy("role")])):
        graph = run(start, [AttachPorts()])
        assert {i for _, i in joined(graph, "input")} == {f"N{k}" for k in range(4)}
        assert {i for _, i in joined(graph, "output")} == {f"N{k}" for k in range(8, 12)}
        notes = graph.provenance.steps[-1].notes
        assert notes[:2] == ("4 of 12 neurons are driven", "4 of 12 neurons are read")
        assert (graph["input"].shape, graph["output"].shape) == ((8,), (4,))


def test_takes_all_where_no_role_is_known() -> None:
    graph = worm(12)
    (p,) = graph.populations
    assert p.neurons is not None
    table = p.neurons.set_column(
        p.neurons.column_names.index("role"), "role", [[None] * 11 + ["inter"]]
    )
    graph = run(replace(graph, populations=(replace(p, neurons=table),)), [AttachPorts()])
    assert graph.provenance.steps[-1].notes[:2] == (
        "12 of 12 neurons are driven (none is known to be sensory)",
        "12 of 12 neurons are read (none is known to be motor)",
    )


def test_counts_the_neurons_that_nothing_reaches() -> None:
    graph = worm(12, 1.1, junctions=False)
    q = graph.projections[0]
    alone = q.synapses.keep((q.synapses.post != 7) & (q.synapses.post != 1))
    graph = run(graph.with_projections([replace(q, connectivity=alone)]), [AttachPorts()])
    notes = graph.provenance.steps[-1].notes
    # Neuron 1 is sensory, so driven; neuron 7 is not.
    assert notes[-1] == "1 neurons have no input: their activity is constant"


def test_names_words_that_occur_nowhere() -> None:
    graph = run(worm(12), [AttachPorts(into='cell_type in ("AVA", "AVC")')])
    assert "no neuron has cell_type 'AVC'" in graph.provenance.steps[-1].notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": 0}, "attach-ports.inputs: must be positive, not 0"),
        ({"outputs": -1}, "attach-ports.outputs: must be positive, not -1"),
        ({"into": "role ="}, "is not an expression"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        AttachPorts(**options)


def named(name: str) -> Graph:
    graph = worm(12)
    return replace(
        graph,
        populations=(replace(graph.populations[0], name=name),),
        projections=tuple(replace(q, pre=name, post=name) for q in graph.projections),
    )


def test_what_it_cannot_join_is_refused() -> None:
    once = run(worm(), [AttachPorts()])
    with pytest.raises(CompileError, match="already has ports"):
        run(once, [AttachPorts()])
    for name in ("input", "output"):
        with pytest.raises(CompileError, match="already called input or output"):
            run(named(name), [AttachPorts()])
    with pytest.raises(CompileError, match=r"attach-ports.out_of: none of 12 neurons") as found:
        run(worm(), [AttachPorts(out_of='role == "mtor"')])
    assert found.value.hint == "no neuron has role 'mtor'"
    with pytest.raises(UnknownNameError, match="did you mean 'role'"):
        run(worm(), [AttachPorts(into='rol == "motor"')])
    with pytest.raises(CompileError, match="the graph has no neurons"):
        run(Graph((), (), Provenance("t")), [AttachPorts()])
    units = Population("area", (2,))
    pair = Synapses([0], [1], np.ones(1, np.int32))  # type: ignore[arg-type]
    bare = Graph((units,), (Projection("area", "area", pair),), Provenance("t"))
    with pytest.raises(CompileError, match="area: has no neuron table to select from"):
        run(bare, [AttachPorts()])


# --- images and classes ---------------------------------------------------------------------------


@given(connectomes(min_populations=1))
def test_an_image_adds_ports_and_changes_nothing_between_neurons(graph: Graph) -> None:
    if not graph.n_neurons:
        return
    digest = graph.digest()
    after = AttachPorts(outputs=3, image=(2, 4, 5))(graph)
    after.verify()
    assert edges(after) == edges(graph)
    assert neurons(after) == neurons(graph)
    assert [p.name for p in after.populations] == [
        "image",
        *(p.name for p in graph.populations),
        "classes",
    ]
    assert after.population("image").shape == (2, 4, 5)
    assert after.population("classes").shape == (3,)
    assert [(p.name, p.population, p.direction) for p in after.ports] == [
        ("image", "image", "in"),
        ("classes", "classes", "out"),
    ]
    made = [q for q in after.projections if q not in graph.projections]
    assert all(q.connectivity == AllToAll() and q.delay == 0 for q in made)
    stage = stages(graph)
    first = [p.name for p in graph.biological if stage[p.name] == 0]
    excitatory = [p.name for p in graph.biological if 1 in p.column("sign").to_pylist()]
    last = [n for n in excitatory if stage[n] == max(stage[m] for m in excitatory)]
    assert [q.post for q in made if q.pre == "image"] == first
    read = last or [graph.biological[-1].name]
    assert [q.pre for q in made if q.post == "classes"] == read
    assert graph.digest() == digest


@given(connectomes(min_populations=1))
def test_counts_the_neurons_that_no_image_reaches(graph: Graph) -> None:
    if not graph.n_neurons:
        return
    after = run(graph, [AttachPorts(image=(1, 4, 4))])
    entered = {q.post for q in after.projections if q.pre == "image"}
    reached = {post for _, _, post in edges(graph)}
    silent = sum(
        i not in reached and row["population"] not in entered for i, row in neurons(graph).items()
    )
    notes = after.provenance.steps[-1].notes
    assert len(notes) == 2 + bool(silent)
    if silent:
        assert notes[2].startswith(f"{silent} neurons have no input")


IMAGE = AttachPorts(outputs=7, image=(1, 48, 48))
COLUMN = small(
    {
        "L4.exc": {"cortical_layer": ["L4"], "sign": [1]},
        "L5.exc": {"cortical_layer": ["L5"], "sign": [1]},
        "L5.inh": {"cortical_layer": ["L5"], "sign": [-1]},
    },
    [("L4.exc", "L5.exc", [(0, 0)])],
)


def test_where_images_enter_and_classes_leave() -> None:
    after = run(COLUMN, [IMAGE])
    assert after.provenance.steps[-1].notes == (
        "1 of 3 neurons are driven: L4.exc",
        "1 of 3 neurons are read: L5.exc",
        "1 neurons have no input: their activity is constant",
    )
    some = AttachPorts(
        into='population in ("L5.inh", "L5.exc")', out_of='population == "L4.exc"', image=(1, 4, 4)
    )
    keys = [q.key for q in some(COLUMN).projections]
    assert keys == [
        "image->L5.exc",
        "image->L5.inh",
        "L4.exc->L5.exc",
        "L4.exc->classes",
    ]


def test_unsigned_neurons_are_read_from_the_last_population() -> None:
    graph = small({"a": {"sign": [None]}, "b": {"sign": [None]}}, [("a", "b", [(0, 0)])])
    assert [q.pre for q in IMAGE(graph).projections if q.post == "classes"] == ["b"]


def test_an_image_is_refused_where_it_makes_no_sense() -> None:
    with pytest.raises(CompileError, match="none of 3 neurons matches") as caught:
        AttachPorts(out_of='population == "L5.ex"', image=(1, 4, 4))(COLUMN)
    assert caught.value.hint == "no neuron has population 'L5.ex'"
    with pytest.raises(CompileError, match="already has ports"):
        IMAGE(IMAGE(COLUMN))
    with pytest.raises(CompileError, match="already called image or classes"):
        IMAGE(small({"image": {"sign": [1]}}, []))
    with pytest.raises(CompileError, match="the graph has no neurons"):
        IMAGE(Graph((), (), Provenance("nobody")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": (0, 4, 4)}, "image: must be positive, not 0"),
        ({"image": (1, 4, -1)}, "image: must be positive, not -1"),
        ({"image": (4, 4)}, "image: must be 3 numbers, channels, height and width, not 2"),
        ({"image": (1, 4, 4), "outputs": 0}, "outputs: must be positive, not 0"),
        ({"image": (1, 4, 4), "read_in": "direct"}, "read_in: must be linear with an image"),
    ],
)
def test_refuses_what_is_no_image(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        AttachPorts(**options)


def test_large_images_cost_no_memory() -> None:
    tracemalloc.start()
    try:
        run(COLUMN, [AttachPorts(image=(1, 20_000, 20_000))])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10e6
