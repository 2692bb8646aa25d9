import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from columns import column, laminar
from worms import driven, worm

from connectome_compiler import registry
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import (
    Attenuation,
    Graded,
    Graph,
    Leaky,
    Node,
    OneToOne,
    PerConnection,
    Population,
    Projection,
    Provenance,
    SquareWave,
    Swept,
    Tied,
    Weights,
    neuron_table,
)
from connectome_compiler.ir.nodes import words
from connectome_compiler.ir.records import check_fields
from connectome_compiler.passes.set_dynamics import SetDynamics
from connectome_compiler.passes.set_weights import SetWeights
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.recurrent.style import Recurrent

REFUSED: dict[str, Callable[[], Node]] = {
    "Swept.activation: must be 'relu', 'linear', 'tanh', 'sigmoid' or 'softplus', not 'step'": (
        lambda: Swept("step")  # type: ignore[arg-type]
    ),
    "Swept.normalisation: must be": lambda: Swept(normalisation="group"),  # type: ignore[arg-type]
    "Swept.noise_std: must be finite and at least 0": lambda: Swept(noise_std=-0.1),
    "Swept.inhibition: is 'subtractive', expected": lambda: Swept(inhibition="subtractive"),  # type: ignore[arg-type]
    "Attenuation.form: must be": lambda: Swept(inhibition=Attenuation("none", 0.5)),  # type: ignore[arg-type]
    "Attenuation.strength: must be finite, not nan": (
        lambda: Swept(inhibition=Attenuation("subtractive", nan))
    ),
    "Swept.noise_std: must be finite and at least 0, not inf": (lambda: Swept(noise_std=inf)),
    "Leaky.tau_ms: must be positive and finite, not 0.0": lambda: Leaky(0.0),
    "Leaky.tau_ms: must be positive and finite, not -1": lambda: Leaky(-1.0),
    "Leaky.tau_ms: must be positive and finite, not inf": lambda: Leaky(inf),
    "Leaky.tau_per: must be 'fixed', 'shared', 'cell_type' or 'neuron', not 'none'": (
        lambda: Leaky(1.0, tau_per="none")  # type: ignore[arg-type]
    ),
    "Graded.rest: must be finite, not inf": lambda: Graded(rest=inf),
    "Leaky.tau_ms: must be positive and finite, not nan": lambda: Leaky(nan),
    "Leaky.tau_ms: is 'fast', expected a number": lambda: Leaky("fast"),  # type: ignore[arg-type]
    "Graded.activation: must be 'graded',": lambda: Graded("step"),  # type: ignore[arg-type]
    "Graded.rest: must be finite, not nan": lambda: Graded(rest=nan),
    "SquareWave.period_steps: is 2.5, expected a whole number": (
        lambda: SquareWave(2.5)  # type: ignore[arg-type]
    ),
    "SquareWave.period_steps: must be at least 1, not 0": lambda: SquareWave(0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_no_unit_has_is_refused_where_it_is_said(message: str) -> None:
    with pytest.raises(CompileError) as caught:
        REFUSED[message]()
    assert str(caught.value).startswith(message)


def test_constants_per_type_need_types_and_others_do_not() -> None:
    bare = Population("a", (2,))
    typed = replace(bare, neurons=neuron_table({"neuron_id": [1, 2]}))
    for tau_per, bias_per in (("cell_type", "none"), ("fixed", "cell_type")):
        per_type = Leaky(1.0, tau_per=tau_per, bias_per=bias_per)  # type: ignore[arg-type]
        per_type.check(typed)
        with pytest.raises(VerifyError, match=r"^population a: "):
            per_type.check(bare)
    for node in (Leaky(1.0), Swept(), Graded(rest=-0.5), SquareWave(1)):
        node.check(bare)
        node.check(typed)


def test_graded_inhibition_needs_its_column() -> None:
    node = Swept(inhibition=Attenuation("multiplicative", -0.5))
    bare = Population("a", (1,))
    for population in (bare, replace(bare, neurons=neuron_table({"neuron_id": [1]}))):
        with pytest.raises(VerifyError, match=r"^population a: .*'inhibition'"):
            node.check(population)
    node.check(replace(bare, neurons=neuron_table({"neuron_id": [1], "inhibition": [0.5]})))


WORDS: list[tuple[Node, dict[str, Any]]] = [
    (
        Swept("tanh", noise_std=0.1),
        {"activation": "tanh", "normalisation": "none", "noise_std": 0.1, "inhibition": "none"},
    ),
    (
        Swept(inhibition=Attenuation("subtractive", 0.5)),
        {
            "activation": "relu",
            "normalisation": "none",
            "noise_std": 0.0,
            "inhibition": "subtractive",
            "inhibition_strength": 0.5,
        },
    ),
    (
        Leaky(2.0, tau_per="fixed"),
        {"tau_ms": 2.0, "activation": "tanh", "tau_per": "fixed", "bias_per": "neuron"},
    ),
    (Graded(), {"activation": "graded", "rest": 0.0}),
    (SquareWave(3), {"activation": "square-wave", "period_steps": 3}),
]


@pytest.mark.parametrize(("node", "stated"), WORDS)
def test_modules_state_the_fields_of_a_unit(node: Node, stated: dict[str, Any]) -> None:
    assert words(node) == stated


# --- of another package ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spiking:
    """A leaky integrate-and-fire unit."""

    threshold_mv: float
    reset_mv: float = -65.0
    refractory_ms: float = 2.0

    def __post_init__(self) -> None:
        check_fields(self)

    def check(self, population: Population) -> None:
        if len(population.shape) > 1:
            raise VerifyError(f"population {population.name}", "maps do not spike")


@dataclass(frozen=True, slots=True)
class Plastic:
    """Weights that learn by the times of spikes, and never change their sign."""

    window_ms: float
    polarity: int = 0
    trained: bool = False
    holds_signs: bool = True

    def holding_signs(self) -> Weights:
        return self

    def check(self, graph: Graph, projection: Projection) -> None:
        if projection.delay == 0:
            raise VerifyError(f"projection {projection.key}", "spikes take their time")


def spiking(node: Node = Spiking(-50.0), weights: Weights = Plastic(20.0), delay: int = 1) -> Graph:
    return Graph(
        (Population("a", (3,), node=node),),
        (Projection("a", "a", OneToOne(), weights, delay=delay),),
        Provenance("t"),
    )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that lists node models and weights as a package does."""

    def install(nodes: dict[str, str], weights: dict[str, str]) -> None:
        listed = {"connectome_compiler.nodes": nodes, "connectome_compiler.weights": weights}

        def points(group: str) -> list[EntryPoint]:
            return [EntryPoint(n, value, group) for n, value in listed.get(group, {}).items()]

        monkeypatch.setattr(registry, "entry_points", points)
        registry._plugins.cache_clear()

    package = SimpleNamespace(Spiking=Spiking, Plastic=Plastic, Layer=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "spikes", package)
    yield install
    registry._plugins.cache_clear()


SPIKING, PLASTIC = {"Spiking": "spikes:Spiking"}, {"Plastic": "spikes:Plastic"}


def test_records_of_another_package_are_like_ours(tmp_path: Path, installed: Any) -> None:
    installed(SPIKING, PLASTIC)
    graph = spiking()
    graph.verify()
    again = Graph.load(graph.save(tmp_path / "g"))
    assert again == graph
    assert again["a"].node == Spiking(-50.0)
    assert again.projection("a->a").weights == Plastic(20.0)
    others = [
        spiking(Spiking(-40.0)),
        spiking(Swept()),
        spiking(weights=Plastic(10.0)),
        spiking(weights=PerConnection()),
    ]
    assert len({graph, *others}) == 5


def test_records_of_another_package_check_what_they_need() -> None:
    with pytest.raises(VerifyError, match="projection a->a: spikes take their time"):
        spiking(delay=0).verify()
    with pytest.raises(CompileError, match=r"Spiking.threshold_mv: is 'high', expected a number"):
        Spiking("high")  # type: ignore[arg-type]


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path: Path, installed: Any) -> None:
    for nodes, weights, what in (
        ({}, PLASTIC, "population a: node Spiking"),
        ({"Spiking": "spikes:Plastic"}, PLASTIC, "population a: node Spiking"),
        (SPIKING, {}, "projection a->a: weights Plastic"),
    ):
        installed(nodes, weights)
        with pytest.raises(CompileError, match=f"{what} could not be loaded again") as found:
            spiking().save(tmp_path / "g")
        assert f"{__name__}:" in found.value.hint
        assert not (tmp_path / "g").exists()


def test_a_package_that_is_missing_is_named(tmp_path: Path, installed: Any) -> None:
    installed(SPIKING, PLASTIC)
    folder = spiking().save(tmp_path / "g")
    for nodes, weights, problem in (
        ({}, PLASTIC, r"populations\[0\].node: holds the node 'Spiking', which no installed"),
        (SPIKING, {}, r"projections\[0\].weights: holds the weights 'Plastic', which no installed"),
        (
            {"Spiking": "spikes:Layer"},
            PLASTIC,
            "holds the node 'Spiking', but .* does not make one",
        ),
        ({"Spiking": "spikes:Plastic"}, PLASTIC, r"populations\[0\].node: has no field"),
        ({"Spiking": "no_such_package:Spiking"}, PLASTIC, "cannot be imported"),
    ):
        installed(nodes, weights)
        with pytest.raises(CompileError, match=problem):
            Graph.load(folder)


def test_passes_say_that_they_do_not_know_a_unit() -> None:
    with pytest.raises(CompileError, match=r"population a: has Spiking\("):
        spiking(weights=PerConnection()).run(SetDynamics())
    with pytest.raises(CompileError, match=r"projection a->a: has Plastic\("):
        spiking().run(SetWeights())


def test_styles_say_that_they_have_no_layers_for_it() -> None:
    for style, graph in ((Recurrent(), driven(worm(12))), (Bionic(), laminar(column()))):
        units = graph.map_populations(
            lambda p: p if p.artificial else replace(p, node=Spiking(-50.0))
        )
        weights = graph.map_connectome(lambda q: replace(q, weights=Plastic(20.0)))
        for other in (units, weights):
            with pytest.raises(CompileError):
                style.emit(other, "toy")


def test_a_record_has_only_its_own_fields() -> None:
    fields = {k.__name__: set(k.__dataclass_fields__) for k in (Leaky, SquareWave, Tied)}
    assert fields["Leaky"] == {"tau_ms", "activation", "tau_per", "bias_per"}
    assert fields["SquareWave"] == {"period_steps"}
    assert "start" not in fields["Tied"]
