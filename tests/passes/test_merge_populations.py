import pytest
from hypothesis import given
from references import edges, neurons, small
from strategies import connectomes

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.passes.merge_populations import MergePopulations
from connectome_compiler.passes.partition_by import PartitionBy
from connectome_compiler.passes.runner import run


@given(connectomes(min_populations=1))
def test_one_population_of_the_same_neurons(graph: Graph) -> None:
    digest = graph.digest()
    after = MergePopulations()(graph)
    after.verify()
    assert edges(after) == edges(graph)
    assert [p.name for p in after.populations] == ["neurons"]
    assert list(neurons(after)) == list(neurons(graph))
    keys = {"neurons->neurons", "neurons->neurons:electrical"}
    assert {q.key for q in after.projections} <= keys
    assert MergePopulations()(after).digest() == after.digest()
    assert graph.digest() == digest


@given(connectomes(min_populations=1))
def test_undoes_a_partition_but_for_the_order(graph: Graph) -> None:
    if not graph.n_neurons:
        return
    one = MergePopulations("all")(graph)
    back = MergePopulations("all")(PartitionBy("cortical_layer")(one))
    assert neurons(back) == neurons(one)
    assert edges(back) == edges(one)


def test_report_and_bad_names() -> None:
    graph = small({"a": {"sign": [1]}, "b": {"sign": [1]}}, [("a", "b", [(0, 0)])])
    after = run(graph, [MergePopulations("cells")])
    assert after.provenance.steps[0].notes == ("2 populations and 1 projection merged",)
    for name in ("", "a->b", "a\n"):
        with pytest.raises(CompileError, match=r"merge-populations.population: .* cannot name"):
            MergePopulations(name)
