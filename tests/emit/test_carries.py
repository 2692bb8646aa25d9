"""What a style does not carry is refused with a way out, and the way is one."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from areas import LAID, mousenet
from columns import column, laminar
from stacks import stack
from worms import driven, worm

from connectome_compiler.emit.carries import LISTS, Carries, faults, must_carry, only
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.ir.nodes import Leaky, Swept
from connectome_compiler.ir.weights import PerConnection
from connectome_compiler.options import configure
from connectome_compiler.passes.attach_ports import AttachPorts
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.set_dynamics import SetDynamics
from connectome_compiler.passes.set_weights import SetWeights
from connectome_compiler.passes.split_flow import SplitFlow
from connectome_compiler.registry import find, known
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.mimetic.style import Mimetic
from connectome_compiler.templates.mousenet.style import Mousenet
from connectome_compiler.templates.ncap.style import Ncap
from connectome_compiler.templates.recurrent.style import Recurrent
from connectome_compiler.views import catalogue

STYLES = [Bionic, Mimetic, Mousenet, Ncap, Recurrent]


@dataclass(frozen=True)
class Fixed:
    """A style for units that are fixed in time, and weights with signs."""

    name: ClassVar[str] = "fixed"
    carries: ClassVar[Carries] = Carries(
        units=(only(Leaky, tau_per=("fixed",), bias_per=("none",)),),
        weights=(only(PerConnection, sign=("abs",)),),
        kinds=("chemical", "electrical"),
        connections=(LISTS,),
        ends=("input", "output"),
    )


def refusal(style: Any, graph: Graph) -> CompileError:
    with pytest.raises(CompileError) as found:
        must_carry(style, graph)
    return found.value


def added(hint: str) -> Any:
    """Return the pass that a hint says to add, with its options."""
    way = re.search(r'add \[\[pass\]\] use = "([\w-]+)"(?: with (.+?))?(?:, or use the|$)', hint)
    assert way, hint
    options = tomllib.loads("\n".join((way[2] or "").split(" and ")))
    return find("pass", way[1])(**options)


SIGNED: Callable[[], Graph] = lambda: driven(worm(junctions=False))  # noqa: E731
FOLLOWED: dict[str, tuple[Any, Callable[[], Graph], list[str]]] = {
    "a connectome as it is loaded": (Recurrent(), worm, ["attach-ports", "set-dynamics"]),
    "a column as it is loaded": (Bionic(), column, ["attach-ports"]),
    "constants that are trained": (Fixed(), SIGNED, ["set-dynamics"]),
    "weights without signs": (
        Fixed(),
        lambda: run(
            SIGNED().map_connectome(lambda q: replace(q, weights=PerConnection())),
            [SetDynamics(tau_per="fixed", bias_per="none")],
        ),
        ["apply-dale"],
    ),
    "shared weights": (
        Bionic(),
        lambda: run(laminar(column()), [SetWeights(share="pre-type")]),
        ["set-weights"],
    ),
    "frozen weights": (
        Bionic(),
        lambda: run(laminar(column()), [SetWeights(trained=False)]),
        ["set-weights"],
    ),
    "units that are normalised otherwise": (
        Bionic(),
        lambda: laminar(column()).map_populations(
            lambda p: p if p.artificial else replace(p, node=Swept(normalisation="batch"))
        ),
        ["set-node-model"],
    ),
    "delays": (
        Bionic(),
        lambda: laminar(column()).map_connectome(lambda q: replace(q, delay=2)),
        ["split-flow"],
    ),
    "kernels that are not drawn": (Mousenet(), lambda: mousenet(*LAID), ["materialise-laws"]),
}


@pytest.mark.parametrize("case", FOLLOWED)
def test_a_pass_that_is_named_does_what_it_is_named_for(case: str) -> None:
    style, made, names = FOLLOWED[case]
    graph = made()
    for name in names:
        step = added(refusal(style, graph).hint)
        assert step.name == name
        graph = run(graph, [step])
    must_carry(style, graph)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("graph", [lambda: driven(worm()), lambda: laminar(column()), stack])
def test_a_style_that_is_named_carries_all_of_the_graph(
    style: Any, graph: Callable[[], Graph]
) -> None:
    made = graph()
    if not any(faults(style.carries, made)):
        assert style().emit(made, "toy")
        return
    named = re.search(r"use the (\w+) style", refusal(style(), made).hint)
    assert named
    assert find("template", named[1])().emit(made, "toy")


def test_of_what_a_style_carries_in_part_it_is_said_so() -> None:
    graph = laminar(column()).map_connectome(lambda q: replace(q, kind="electrical"))
    error = refusal(Bionic(), graph)
    assert str(error).startswith("bionic: L4.exc->L4.exc:electrical: is electrical; the style has")
    assert error.hint == "the recurrent style carries this, but not all of the graph"


def test_a_pass_that_took_it_away_is_to_be_left_out() -> None:
    split = run(driven(worm(junctions=False), partition="role"), [SplitFlow(feedback="keep")])
    error = refusal(Recurrent(), split)
    assert "has delay 0; in this style every connection acts on the step before" in error.problem
    assert error.hint == "leave split-flow out"


def test_what_nobody_carries_is_said_to_be_so() -> None:
    noisy = Swept("tanh", noise_std=0.5)
    graph = driven(worm()).map_populations(lambda p: replace(p, node=noisy))
    assert refusal(Recurrent(), graph).hint == "no installed style carries it"


@pytest.mark.parametrize("port", ["into", "out_of"])
def test_ports_of_some_units_are_for_styles_that_have_them(port: str) -> None:
    """Bionic joins image and classes to whole populations: it made a module of all units."""

    def ports(chosen: dict[str, str]) -> AttachPorts:
        made: AttachPorts = configure("ports", AttachPorts, {"image": (1, 8, 8), **chosen})
        return made

    first = 'neuron_id == 1000 or cortical_layer == "L6"'
    graph = laminar(column(), inhibition="units")
    graph = replace(graph, populations=graph.biological, projections=graph.connectome, ports=())
    half = run(graph, [ports({port: first})])
    error = refusal(Bionic(), half)
    assert "L4.exc" in error.where
    assert "; the style has all to all of whole populations" in error.problem
    assert error.hint.startswith("let into and out_of of attach-ports choose whole populations")
    whole = run(graph, [ports({port: 'cortical_layer == "L6"'})])
    must_carry(Bionic(), whole)
    assert "all to all of whole populations" in catalogue.one("bionic")


def test_styles_show_what_they_carry() -> None:
    for style in STYLES:
        page = catalogue.one(style.name)
        for _, words in style.carries.rows():
            assert words in page
    assert 'Swept (normalisation "none" or "batch"' in catalogue.one("mimetic")
    assert {style.name for style in STYLES} == set(known("template"))
