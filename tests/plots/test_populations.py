"""The graph of populations: discs by sign, arrows by connections, places by what is known."""

from typing import Any

import numpy as np
import pytest
from areas import LAID, mousenet
from columns import column, laminar
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Wedge
from stacks import stack
from worms import driven, worm

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph, Population, Projection, Provenance, Synapses, neuron_table
from connectome_compiler.plots.canvas import COLOURS, ELECTRICAL, GREY
from connectome_compiler.plots.layout import from_pia, layer_of, layout, sign_of
from connectome_compiler.plots.populations import MOST, THINNEST, WIDEST


def arrows(axes: Any) -> list[FancyArrowPatch]:
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


def colours(patches: list[Any]) -> list[str]:
    return [to_hex(patch.get_facecolor()).upper() for patch in patches]


def test_every_sign_of_a_projection_is_an_arrow_as_wide_as_its_connections() -> None:
    graph = worm()
    axes: Any = graph.plot("populations")
    signs = graph.signs(graph.projections[0])
    counts = {sign: int((signs == sign).sum()) for sign in (1, -1, 0)}
    counts[ELECTRICAL] = graph.count(graph.projections[1])
    most = graph.count(graph.projections[0])
    drawn = arrows(axes)
    assert [to_hex(a.get_edgecolor()).upper() for a in drawn] == [COLOURS[e] for e in counts]
    widths = [a.get_linewidth() for a in drawn]
    assert widths == [max(THINNEST, WIDEST * n / most) for n in counts.values()]


def test_a_disc_is_shared_by_the_signs_of_its_neurons() -> None:
    graph = worm(12)  # a half excitatory, a quarter inhibitory, a quarter unknown
    wedges = [patch for patch in graph.plot("populations").patches if isinstance(patch, Wedge)]
    assert colours(wedges) == [COLOURS[1], COLOURS[-1], COLOURS[0]]
    assert [w.theta2 - w.theta1 for w in wedges] == pytest.approx([180, 90, 90])


def test_the_legend_names_what_is_there_and_nothing_else() -> None:
    def legend(graph: Graph, **options: Any) -> list[str]:
        shown = graph.plot("populations", **options).get_legend()
        assert shown is not None
        return [text.get_text() for text in shown.get_texts()]

    graph = laminar(column(60, 0.4))
    widest = max(graph.count(q) for q in graph.connectome)
    quarter = max(1, widest // 4)
    scale = [f"{n} connection{'s' * (n > 1)}" for n in (widest, quarter)]
    assert legend(graph) == ["excitatory", "read-in, read-out", *scale]
    assert "gap junctions" in legend(driven(worm()))
    layers = [f"layer {name}" for name in ("L2/3", "L4", "L5", "L6")]
    assert legend(graph, colour="layer")[:4] == layers


def test_unknown_signs_leave_colours_to_the_layers() -> None:
    axes: Any = mousenet(*LAID).plot("populations")
    legend = axes.get_legend()
    assert legend is not None
    words = [text.get_text() for text in legend.get_texts()]
    assert words[:4] == ["layer 2/3", "layer 4", "layer 5", "no layer"]
    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    assert len(wedges) == 22
    assert colours(wedges).count(GREY.upper()) == 1  # the thalamus


def test_cortical_layers_go_down_from_the_pia() -> None:
    graph = laminar(column(120, 0.3), inhibition="units", flow="keep")
    places = layout(graph).places
    depths = [places[f"{layer}.exc"][1] for layer in ("L2/3", "L4", "L5", "L6")]
    assert depths == sorted(depths, reverse=True)
    for layer in ("L2/3", "L4", "L5", "L6"):
        exc, inh = places[f"{layer}.exc"], places[f"{layer}.inh"]
        assert exc[1] == inh[1]
        assert exc[0] < inh[0]
    assert places["image"][0] < min(x for name, (x, _) in places.items() if name != "image")
    assert places["classes"][0] > max(x for name, (x, _) in places.items() if name != "classes")
    assert from_pia(["WM", "L6", "L2/3", "L1", "L5"]) == ["L1", "L2/3", "L5", "L6", "WM"]


def test_areas_go_from_left_to_right_by_level() -> None:
    graph = mousenet(*LAID)
    places = layout(graph).places
    for p in graph.biological:
        for q in graph.biological:
            assert p.place is not None
            assert q.place is not None
            if p.place.level < q.place.level:  # type: ignore[operator]
                assert places[p.name][0] < places[q.name][0]


def test_a_stack_goes_along_its_connections_and_a_circle_round() -> None:
    graph = stack()
    places = layout(graph).places
    xs = [places[p.name][0] for p in graph.populations]
    assert xs == sorted(xs)
    assert len(set(xs)) == len(xs)

    edges = Synapses([0], [0], [1])  # type: ignore[arg-type]
    names = "abcdef"
    many = tuple(Population(n, (1,), neuron_table({"neuron_id": [n]})) for n in names)
    ring = tuple(Projection(a, b, edges) for a, b in zip(names, names[1:] + "a", strict=True))
    round_ = layout(Graph(many, ring, Provenance("ring"))).places
    radii = [np.hypot(x, y) for x, y in round_.values()]
    assert radii == pytest.approx([radii[0]] * 6)


@pytest.mark.parametrize(
    "graph",
    [
        worm(),
        driven(worm()),
        laminar(column(120, 0.3), inhibition="units", flow="keep"),
        mousenet(*LAID),
        stack(),
    ],
    ids=["worm", "driven", "column", "areas", "stack"],
)
def test_no_two_discs_lie_on_each_other(graph: Graph) -> None:
    places = np.array(list(layout(graph).places.values()))
    assert len(places) == len(graph.populations)
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    assert (apart[np.triu_indices(len(places), 1)] > 0.7).all()


def test_most_decide_of_which_layer_and_sign_a_population_is() -> None:
    table = neuron_table(
        {
            "neuron_id": [1, 2, 3, 4],
            "cortical_layer": ["L4", "L5", "L4", None],
            "sign": [-1, None, -1, 1],
        }
    )
    p = Population("p", (4,), table)
    assert layer_of(p) == "L4"
    assert sign_of(p) == -1
    assert layer_of(Population("q", (4,))) == ""
    assert sign_of(Population("q", (4,))) == 0


def test_too_many_populations_are_refused_with_another_kind() -> None:
    many = tuple(Population(f"p{k}", (1,)) for k in range(MOST + 1))
    graph = Graph(many, (), Provenance("many"))
    with pytest.raises(CompileError, match="no room for their names") as caught:
        graph.plot()
    assert 'kind="raster", by="population"' in caught.value.hint
    graph.plot(kind="raster", by="population")
