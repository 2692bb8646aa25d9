import tracemalloc

import pytest
from hypothesis import given
from references import edges, neurons, small
from strategies import connectomes

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Graph, Provenance
from connectome_compiler.ir.laws import AllToAll
from connectome_compiler.passes.attach_io import AttachIo
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.split_flow import stages


@given(connectomes(min_populations=1))
def test_adds_ports_and_changes_nothing_between_neurons(graph: Graph) -> None:
    digest = graph.digest()
    after = AttachIo(channels=2, height=4, width=5, classes=3)(graph)
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
    assert [q.pre for q in made if q.post == "classes"] == last or [graph.biological[-1].name]
    assert graph.digest() == digest


@given(connectomes(min_populations=1))
def test_counts_the_neurons_that_nothing_reaches(graph: Graph) -> None:
    if not graph.n_neurons:
        return
    after = run(graph, [AttachIo(height=4, width=4)])
    entered = {q.post for q in after.projections if q.pre == "image"}
    reached = {post for _, _, post in edges(graph)}
    silent = sum(
        i not in reached and row["population"] not in entered for i, row in neurons(graph).items()
    )
    notes = after.provenance.steps[-1].notes
    assert len(notes) == 1 + bool(silent)
    if silent:
        assert notes[1].startswith(f"{silent} neurons have no input left")


COLUMN = small(
    {
        "L4.exc": {"cortical_layer": ["L4"], "sign": [1]},
        "L5.exc": {"cortical_layer": ["L5"], "sign": [1]},
        "L5.inh": {"cortical_layer": ["L5"], "sign": [-1]},
    },
    [("L4.exc", "L5.exc", [(0, 0)])],
)


def test_where_images_enter_and_classes_leave() -> None:
    after = run(COLUMN, [AttachIo()])
    assert after.provenance.steps[-1].notes == (
        "image -> L4.exc; L5.exc -> classes",
        "1 neurons have no input left: their activity is constant",
    )
    chosen = AttachIo(inputs=("L5.inh", "L5.exc"), outputs=("L4.exc",))(COLUMN)
    keys = [q.key for q in chosen.projections]
    assert keys == [
        "image->L5.inh",
        "image->L5.exc",
        "L4.exc->L5.exc",
        "L4.exc->classes",
    ]


def test_unsigned_neurons_are_read_from_the_last_population() -> None:
    graph = small({"a": {"sign": [None]}, "b": {"sign": [None]}}, [("a", "b", [(0, 0)])])
    assert [q.pre for q in AttachIo()(graph).projections if q.post == "classes"] == ["b"]


def test_refuses_what_makes_no_sense() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'L5.exc'"):
        AttachIo(outputs=("L5.ex",))(COLUMN)
    with pytest.raises(CompileError, match=r"attach-io.inputs: 'L4.exc' occurs twice"):
        AttachIo(inputs=("L4.exc", "L4.exc"))(COLUMN)
    with pytest.raises(CompileError, match="has ports already"):
        AttachIo()(AttachIo()(COLUMN))
    with pytest.raises(CompileError, match="called image or classes already"):
        AttachIo()(small({"image": {"sign": [1]}}, []))
    with pytest.raises(CompileError, match="no neurons to attach"):
        AttachIo()(Graph((), (), Provenance("nobody")))


@pytest.mark.parametrize("field", ["channels", "height", "width", "classes"])
@pytest.mark.parametrize("value", [0, -1])
def test_refuses_sizes_below_one(field: str, value: int) -> None:
    with pytest.raises(CompileError, match=f"{field}: {value} is not positive"):
        AttachIo(**{field: value})  # type: ignore[arg-type]


def test_large_images_cost_no_memory() -> None:
    tracemalloc.start()
    try:
        run(COLUMN, [AttachIo(height=20_000, width=20_000)])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10e6
