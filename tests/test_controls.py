"""A control either changes what is emitted, and says how much, or is refused with what would."""

import ast
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worms import driven, worm

import connectome_compiler as cc
from connectome_compiler.controls import difference, is_control
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.ir.edit import set_column
from connectome_compiler.ir.nodes import Swept
from connectome_compiler.ir.provenance import NULL_MODELS
from connectome_compiler.lower import lower
from connectome_compiler.passes.ablate import Ablate
from connectome_compiler.passes.null_model import NullModel
from connectome_compiler.passes.runner import run
from connectome_compiler.pipeline import Built, load_graph
from connectome_compiler.recipe import Recipe, load_recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*not (known to be )?measured")


# --- every null model of every recipe -------------------------------------------------------------


RECIPES: dict[str, dict[str, Any]] = {
    "celegans-cook2019": {},
    "microns-v1-surrogate": {},
    "microns-v1": {"source": "statistics", "measure": "connections"},
    "microns-v1-dale": {"source": "statistics"},
    "synthetic": {"grids": [[8, 8]]},
    "table": {},
    "fly-visual": {"extent": 2},
}
# The null models that are refused, and what would act; neurons of some have no positions.
REFUSED = {
    ("celegans-cook2019", "weights"): "with start=weight they would",
    ("microns-v1", "weights"): "with start=weight they would",
    ("microns-v1-dale", "weights"): "with start=weight they would",
    ("synthetic", "weights"): "another control would act: null=degrees",
    ("table", "weights"): "with start=weight they would",
}
UNPLACED = {"synthetic", "table", "fly-visual"}


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "edges.csv"
    lines = [f"n{a},n{b},{rng.integers(1, 9)}" for a in range(20) for b in rng.choice(20, 4, False)]
    path.write_text("\n".join(["pre,post,weight", *lines]) + "\n")
    return path


def options_of(name: str, edges: Path) -> dict[str, Any]:
    given = dict(RECIPES[name])
    if name == "table":
        given["edges"] = str(edges)
    if name == "fly-visual":
        if path := os.environ.get("CCOMPILE_FLYVIS", ""):
            given["path"] = path
        elif find_spec("flyvis") is None:
            pytest.skip("needs flyvis, or CCOMPILE_FLYVIS=its wheel or its connectome file")
    return given


def built(name: str, folder: Path, **options: Any) -> Built:
    return cc.build(name, folder / "net.py", verify=False, **options)


def code(of: Built) -> str:
    """Return all that runs of a module, and its arrays, whatever its name is."""
    text = of.emission.source.replace(of.emission.class_name, "Net")
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    body = [n for n in tree.body if not ast.unparse(n).startswith("PROVENANCE")]
    return "\n".join([*map(ast.unparse, body), repr(of.emission.arrays)])


def joined(graph: Graph) -> set[tuple[Any, ...]]:
    table = graph.connections()
    return set(table[["pre", "post", "kind"]].itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def plain(edges: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    """Return networks without controls, each made once."""
    folder = tmp_path_factory.mktemp("plain")
    return cache(lambda name: built(name, folder, **options_of(name, edges)))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (name, model)
        for name in RECIPES
        for model in NULL_MODELS
        if name != "microns-v1"  # it is the surrogate, but for its weights
        and (name, model) not in REFUSED
        and not (name in UNPLACED and model == "distance")
    ],
)
def test_a_null_model_says_how_far_it_is(
    name: str, model: str, plain: Callable[[str], Built], edges: Path, tmp_path: Path
) -> None:
    data = plain(name)
    assert data.graph.provenance.control is None
    assert "Control " not in data.emission.source.split('"""')[1]
    null = built(name, tmp_path, **options_of(name, edges), null=model)
    assert code(null) != code(data)
    assert null.emission.class_name == f"{data.emission.class_name}Null{model.capitalize()}"
    assert null.graph.provenance.dataset == f"{data.graph.provenance.dataset}-null-{model}"
    control = null.graph.provenance.control
    assert control is not None
    assert not control.nothing
    both = joined(null.graph) & joined(data.graph)
    counts = (null.graph.n_connections, data.graph.n_connections, len(both))
    assert control.connections == counts
    header = " ".join(null.emission.source.split('"""')[1].split())
    assert f"Control {control}" in header
    assert f"null model {model!r}, null_seed 0" in header


@pytest.mark.parametrize(("name", "model"), REFUSED)
def test_a_null_model_without_effect_is_refused(
    name: str, model: str, plain: Callable[[str], Built], edges: Path, tmp_path: Path
) -> None:
    given = options_of(name, edges)
    with pytest.raises(CompileError) as caught:
        built(name, tmp_path, **given, null=model)
    assert caught.value.where == f"null={model}"
    assert caught.value.problem.startswith("changes nothing in this network: ")
    hint = REFUSED[name, model]
    assert caught.value.hint == hint
    key, _, value = re.sub(r"^.*?(\w+=\w+).*$", r"\1", hint).partition("=")
    followed = built(name, tmp_path, **{**given, "null": model, key: value})
    other = {} if key == "null" else {key: value}
    without = built(name, tmp_path, **{**given, **other}) if other else plain(name)
    assert code(followed) != code(without)


def test_a_null_of_weights_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        built("celegans-cook2019", tmp_path, null="weights")
    assert str(caught.value) == (
        "null=weights: changes nothing in this network: synapse counts enter it nowhere"
        " (start=uniform, share=none)\n  hint: with start=weight they would"
    )
    assert not [*tmp_path.iterdir()]
    for entering in ({"start": "weight"}, {"share": "type-pair"}):
        control = built(
            "celegans-cook2019", tmp_path, null="weights", **entering
        ).graph.provenance.control
        assert control is not None
        assert control.connections == (5891,) * 3
        assert (control.starts is None, control.counts is None) == (
            "start" not in entering,
            "share" not in entering,
        )
        assert (control.starts or control.counts or 0) > 4000


def test_counts_that_are_all_alike_are_no_control(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="the graph is the same with and without it") as caught:
        built("synthetic", tmp_path, grids=[[8, 8]], null="weights", start="weight")
    assert caught.value.hint == "another control would act: null=degrees"


# --- ablations, and passes of others --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Toy:
    """A small nervous system."""

    name: ClassVar[str] = "toy"

    seed: int = 0

    def load(self) -> Graph:
        return worm(20, 0.3, self.seed)


@dataclass(frozen=True, slots=True)
class Rename:
    """Changes what no network uses, though a module may tell of it."""

    name: ClassVar[str] = "rename"
    control: ClassVar[bool] = True

    def __call__(self, graph: Graph) -> Graph:
        return graph.map_populations(
            lambda p: set_column(p, "region", pa.array(["brain"] * p.n_units))
        )


@dataclass(frozen=True, slots=True)
class Picky:
    """Cannot do with more than some neurons."""

    name: ClassVar[str] = "picky"

    most: int = 19

    def __call__(self, graph: Graph) -> Graph:
        if graph.n_neurons > self.most:
            raise CompileError(self.name, "too many")
        return graph


@pytest.fixture
def toy(tmp_path: Path) -> Recipe:
    (tmp_path / "toy.toml").write_text(
        '[source]\nuse = "celegans"\n[[pass]]\nuse = "apply-dale"\npolicy = "report"\n'
        '[[pass]]\nuse = "set-dynamics"\n[[pass]]\nuse = "attach-ports"\n'
        'into = ""\nout_of = ""\n[template]\nuse = "recurrent"\n'
    )
    recipe = load_recipe(tmp_path / "toy.toml")
    return replace(recipe, source=replace(recipe.source, cls=Toy, options={}, use="toy"))


def made(recipe: Recipe, folder: Path, **options: Any) -> Built:
    return cc.build(recipe, folder / "net.py", verify=False, **options)


def silent(graph: Graph) -> str:
    """Return the id of a neuron that has no chemical outputs."""
    (neurons,) = graph.biological
    (q,) = (q for q in graph.connectome if q.kind == "chemical")
    missing = np.setdiff1d(np.arange(neurons.n_units), q.synapses.pre)
    assert len(missing)
    return str(neurons.column("neuron_id")[int(missing[0])].as_py())


def test_an_ablation_says_what_it_took(toy: Recipe, tmp_path: Path) -> None:
    plain = made(toy, tmp_path)
    first = plain.graph.biological[0].column("neuron_id")[0].as_py()
    cut = made(toy.with_pass(Ablate(f"neuron_id == {first!r}"), after="source"), tmp_path)
    control = cut.graph.provenance.control
    assert control is not None
    assert control.controls == ("ablate",)
    assert control.neurons == (19, 20, 19)
    n, m = cut.graph.n_connections, plain.graph.n_connections
    assert control.connections == (n, m, n)
    assert (control.signs, control.starts) == (0, None)
    assert cut.graph.provenance.measured == plain.graph.provenance.measured
    assert cut.emission.class_name == plain.emission.class_name


def test_an_ablation_of_nothing_is_refused(toy: Recipe, tmp_path: Path) -> None:
    graph = Toy().load()
    sparse = toy.with_pass("drop-weak-connections", min_weight=4, after="source")
    kept = load_graph(sparse)
    where = f"neuron_id == {silent(kept)!r}"
    step = Ablate(where, what="outputs", kind="chemical")
    with pytest.raises(CompileError) as caught:
        made(sparse.with_pass(step, after="drop-weak-connections"), tmp_path)
    assert caught.value.where == "ablate"
    assert caught.value.problem.endswith("the graph is the same with and without it")
    assert caught.value.hint == "leave it out"
    assert not (tmp_path / "net.py").exists()

    gone = graph.biological[0].column("neuron_id")[0].as_py()
    early = toy.with_pass(Ablate(f"neuron_id == {gone!r}"), after="source").with_pass(
        "select-neurons", where=f"neuron_id != {gone!r}", after="ablate"
    )
    with pytest.raises(CompileError, match=r"ablate: .* what it changed is gone after select-neu"):
        made(early, tmp_path)


def test_each_control_must_act(toy: Recipe, tmp_path: Path) -> None:
    """Beside one that acts, another that does not is found, and named."""
    first = Toy().load().biological[0].column("neuron_id")[0].as_py()
    cut = toy.with_pass(Ablate(f"neuron_id == {first!r}"), after="source")
    with pytest.raises(CompileError, match=r"null-model: changes nothing .* enter it nowhere"):
        made(cut.with_pass(NullModel("weights"), after="ablate"), tmp_path)
    both = made(cut.with_pass(NullModel("density"), after="ablate"), tmp_path)
    control = both.graph.provenance.control
    assert control is not None
    assert control.controls == ("ablate", "null-model")
    assert control.neurons == (19, 20, 19)
    assert control == difference(both.graph, load_graph(toy), control.controls)


def test_a_pass_of_others_may_be_a_control(toy: Recipe, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"rename: .* it uses nothing of what was changed"):
        made(toy.with_pass(Rename(), after="source"), tmp_path)
    assert is_control(Rename())
    assert is_control(Ablate("x == 1"))
    assert not is_control(Picky())
    assert not is_control(NullModel())


def test_what_cannot_do_without_its_control_is_built(toy: Recipe, tmp_path: Path) -> None:
    first = Toy().load().biological[0].column("neuron_id")[0].as_py()
    cut = toy.with_pass(Ablate(f"neuron_id == {first!r}"), after="source")
    found = made(cut.with_pass(Picky(), after="ablate"), tmp_path)
    assert found.graph.provenance.control is None


# --- graphs without a recipe ----------------------------------------------------------------------


def test_graphs_remember_how_far_they_are(toy: Recipe, tmp_path: Path) -> None:
    null = toy.with_pass(NullModel("density"), after="source")
    graph = load_graph(null)
    again = cc.build(graph, tmp_path / "net.py", style="recurrent", verify=False)
    assert f"Control    {str(graph.provenance.control)[:40]}" in again.emission.source
    void = load_graph(toy.with_pass(NullModel("weights"), after="source"))
    with pytest.raises(CompileError, match=r"null-model: changes nothing that the network uses"):
        cc.build(void, tmp_path / "net.py", style="recurrent", verify=False)
    other = graph.map_connectome(  # what it says is of another graph
        lambda q: replace(q, connectivity=q.synapses.keep(q.synapses.weight > 1))
    )
    later = cc.build(other, tmp_path / "net.py", style="recurrent", verify=False)
    assert "Control   " not in later.emission.source


def test_after_sees_the_graph_that_is_built(toy: Recipe, tmp_path: Path) -> None:
    seen: list[Graph] = []
    null = toy.with_pass(NullModel("degrees"), after="apply-dale")
    out = made(null, tmp_path, after=lambda ran: seen.append(ran.graph))
    assert len(seen) == 4
    assert seen[-1] is out.graph
    assert [g.provenance.control is None for g in seen] == [True, True, True, False]


# --- the counts, by a plain reading ---------------------------------------------------------------


def plainly(graph: Graph) -> Iterator[tuple[tuple[Any, ...], tuple[int, Any, Any]]]:
    """Yield what a network uses of each connection, one by one."""
    for e in lower(graph).edges.values():
        q = e.projection
        ids = [graph.population(name).column("neuron_id").to_pylist() for name in (q.post, q.pre)]
        for k, (post, pre) in enumerate(zip(e.post.tolist(), e.pre.tolist(), strict=True)):
            weight = k if e.group is None else int(e.group[k])
            yield (
                (q.kind, ids[0][post], ids[1][pre]),
                (
                    int(e.enforced[k]),
                    None if e.start is None else float(e.start[weight]),
                    None if e.scale is None else float(e.scale[k]),
                ),
            )


WAYS: tuple[dict[str, Any], ...] = ({}, {"start": "weight"}, {"share": "type-pair"})


@settings(max_examples=25, deadline=None)
@given(
    model=st.sampled_from([m for m in NULL_MODELS if m != "distance"]),
    seed=st.integers(0, 5),
    way=st.sampled_from(WAYS),
    split=st.booleans(),
)
def test_counts_are_those_of_a_plain_reading(
    model: Any, seed: int, way: dict[str, Any], split: bool
) -> None:
    data = worm(14, 0.4, seed)
    by = "cell_type" if split and "share" not in way else ""
    null = run(data, [NullModel(model, seed), Ablate(f"neuron_id == {name_of(data)!r}")])
    graph, without = driven(null, weights=way, partition=by), driven(data, weights=way)
    told = difference(graph, without, ("null-model", "ablate"))
    here, there = dict(plainly(graph)), dict(plainly(without))
    both = here.keys() & there.keys()
    assert told.connections == (len(here), len(there), len(both))
    assert told.neurons == (13, 14, 13)

    def differ(k: int) -> int:
        return sum(here[key][k] != there[key][k] for key in both)

    assert told.signs == differ(0)
    assert told.starts == (differ(1) if way.get("start") else None)
    assert told.counts == (differ(2) if way.get("share") else None)
    assert told.inhibition is None
    same = difference(without, without, ("null-model",))
    assert same.nothing


def name_of(graph: Graph) -> Any:
    return graph.biological[0].column("neuron_id")[3].as_py()


def test_counts_neurons_whose_inhibition_differs() -> None:
    plain = load_graph("microns-v1-surrogate")
    null = load_graph("microns-v1-surrogate", null="weights")

    def graded(graph: Graph) -> dict[Any, float]:
        found: dict[Any, float] = {}
        for p in graph.biological:
            assert isinstance(p.node, Swept)
            assert p.node.inhibition
            found |= dict(zip(p.column("neuron_id").to_pylist(), p.attenuation(), strict=True))
        return found

    a, b = graded(plain), graded(null)
    control = null.provenance.control
    assert control is not None
    assert control.inhibition == sum(a[k] != b[k] for k in a)
    assert control.inhibition > 1000
    dropped = load_graph("microns-v1-surrogate", inhibition="drop")
    told = difference(dropped, plain, ("x",))
    assert told.inhibition == sum(value != 0 for value in a.values())


def test_a_control_costs_only_where_it_is_asked_for(
    toy: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("it was compared")

    monkeypatch.setattr("connectome_compiler.controls.difference", never)
    monkeypatch.setattr("connectome_compiler.controls._used", never)
    made(toy, tmp_path)
    with pytest.raises(AssertionError):
        made(toy.with_pass(NullModel("density"), after="source"), tmp_path)
