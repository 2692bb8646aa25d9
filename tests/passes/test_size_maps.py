from dataclasses import replace

import pytest
from areas import WIRED, areas, mousenet, published_kernels
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Population, neuron_table
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.size_maps import SizeMaps


def test_the_published_maps() -> None:
    graph = mousenet(*WIRED, SizeMaps())
    for row in published_kernels():
        size = row["post_size"]
        assert graph.population(row["post"]).shape == (row["post_channels"], size, size)
        assert graph.population(row["pre"]).shape[0] == row["pre_channels"]
    assert graph.population("input").shape == (3, 64, 64)
    assert graph.n_neurons == 712_704
    notes = graph.provenance.steps[-1].notes
    assert notes[0] == (
        "729,220 neurons -> 712,704 units, since channels are whole: "
        "2.3% lost, most in VISpl4, 21.5%"
    )
    assert notes[1] == "LGNd: 5 x 64 x 64 for 21,200 neurons, 3.4% lost"
    assert len(notes) == 23


numbers = st.lists(st.integers(1, 5000), min_size=1, max_size=5)


@given(numbers, st.integers(1, 80), st.lists(st.integers(0, 4), max_size=4))
def test_channels_hold_the_neurons(counts: list[int], size: int, halve_at: list[int]) -> None:
    names = [f"A{k}" for k in range(len(counts))]
    levels = {name: k for k, name in enumerate(names)}
    graph = areas(levels, [], n_neurons=dict(zip(names, counts, strict=True)))
    sizing = SizeMaps(size, tuple(halve_at))
    try:
        after = run(graph, [sizing])
    except CompileError as error:
        hint = error.hint
        if "no size fits" in hint:
            smallest = 2 ** max(sum(at <= k for at in halve_at) for k in levels.values())
            with pytest.raises(CompileError):
                run(graph, [SizeMaps(smallest, tuple(halve_at))])
            return
        most = int(hint.split("up to ")[1].split(" fit")[0])
        run(graph, [replace(sizing, input_size=most)])  # what the hint says does go
        with pytest.raises(CompileError):  # and nothing larger does
            run(graph, [replace(sizing, input_size=most + 1)])
        return
    for level, (p, n) in enumerate(zip(after.biological, counts, strict=True)):
        channels, height, width = p.shape
        assert height == width == size / 2 ** sum(at <= level for at in halve_at)
        assert channels * height * width <= n < (channels + 1) * height * width


def test_too_few_neurons_are_refused_with_the_numbers() -> None:
    with pytest.raises(CompileError) as error:
        mousenet(*WIRED, SizeMaps(128))
    assert str(error.value) == (
        "size-maps.input_size: no channel for VISpl4 (3,912 of 64 x 64): "
        "fewer neurons than positions in the map\n"
        "  hint: set a smaller input_size (up to 124 fit), or add levels to halve_at"
    )
    assert mousenet(*WIRED, SizeMaps(124)).population("VISpl4").shape == (1, 62, 62)


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(CompileError, match="50 cannot be halved 2 times") as error:
        mousenet(*WIRED, SizeMaps(50, (2, 3)))
    assert error.value.hint == "use a multiple of 4; up to 124 fit these numbers of neurons"


def test_what_is_missing_is_refused_by_name() -> None:
    graph = areas({"V1": None, "V2": 1}, [])
    with pytest.raises(CompileError, match="the hierarchy level of V1 is unknown"):
        run(graph, [SizeMaps()])
    v1 = areas({"V1": 0}, []).populations[1]
    assert v1.place is not None
    uncounted = replace(v1, place=replace(v1.place, n_neurons=None))
    with pytest.raises(CompileError, match="no number of neurons for V1"):
        run(replace(graph, populations=(uncounted,)), [SizeMaps()])
    cells = Population("V1", (1,), neuron_table({"neuron_id": [1]}), place=v1.place)
    with pytest.raises(CompileError, match="V1 has a neuron table"):
        run(replace(graph, populations=(cells,)), [SizeMaps()])


def test_maps_are_sized_once() -> None:
    with pytest.raises(CompileError, match=r"input has shape \(3, 64, 64\)"):
        mousenet(*WIRED, SizeMaps(), SizeMaps())


def test_senseless_options_are_refused() -> None:
    with pytest.raises(CompileError, match=r"size-maps\.input_size: must be positive, not 0"):
        SizeMaps(0)
    with pytest.raises(CompileError, match=r"size-maps\.halve_at: level -1 is negative"):
        SizeMaps(64, (2, -1))
