from dataclasses import replace

import pytest
from hypothesis import given
from references import edges, neurons, small
from strategies import graphs

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Evidence, Graph, Population, Provenance
from connectome_compiler.passes.assign_signs import AssignSigns
from connectome_compiler.passes.runner import run

STEP = AssignSigns("cell_type", excitatory=("23P", "é"), inhibitory=("BC", "MC"))
SIGN = {"23P": 1, "é": 1, "BC": -1, "MC": -1}


@given(graphs())
def test_known_signs_stay_and_words_give_the_others(graph: Graph) -> None:
    digest = graph.digest()
    after = STEP(graph)
    after.verify()
    for i, row in neurons(graph).items():
        wanted = row["sign"] if row["sign"] is not None else SIGN.get(row["cell_type"])
        assert neurons(after)[i] == {**row, "sign": wanted}
    assert edges(after) == edges(graph)
    again = STEP(after)
    assert again.digest() == after.digest()
    assert again.provenance == after.provenance
    assert graph.digest() == digest


@given(graphs())
def test_counts_and_names_what_gave_no_sign(graph: Graph) -> None:
    after = STEP(graph)
    counts, *more = STEP.report(graph, after)
    signs = [row["sign"] for row in neurons(after).values()]
    assert counts == (
        f"{signs.count(1)} excitatory, {signs.count(-1)} inhibitory, "
        f"{signs.count(None)} without sign (by cell_type)"
    )
    told = [(row["sign"], SIGN.get(row["cell_type"])) for row in neurons(graph).values()]
    differ = sum(known != said for known, said in told if None not in (known, said))
    stay = f"{differ} signs that were already known differ from these, and are kept"
    assert len(more) == (None in signs) + bool(differ)
    assert (stay in more) == bool(differ)


def test_names_the_words() -> None:
    graph = small({"cells": {"cell_class": ["excitatory", "unsure", None, "unsure"]}}, [])
    (step,) = run(graph, [AssignSigns()]).provenance.steps
    assert step.notes == (
        "1 excitatory, 0 inhibitory, 3 without sign (by cell_class)",
        "no sign from 'unsure' (2), no word (1)",
    )


def test_a_species_gives_its_transmitters_their_usual_signs() -> None:
    words = ["acetylcholine", "glutamate", "dopamine", None, "dopamine+gaba", "gaba"]
    cells = {"neurotransmitter": words, "sign": [None] * 5 + [1]}
    signs = {"worm": [1, 1, None, None, -1, 1], "fly": [1, -1, None, None, -1, 1]}
    for species, wanted in signs.items():
        graph = run(small({"cells": cells}, []), [AssignSigns(species=species)])  # type: ignore[arg-type]
        assert graph.populations[0].column("sign").to_pylist() == wanted
        assert graph.provenance.signs is Evidence.PREDICTED
    assert graph.provenance.steps[0].notes == (
        "2 excitatory, 2 inhibitory, 2 without sign (by neurotransmitter)",
        "convention for the fly: acetylcholine +; gaba, glutamate, histamine -",
        "1 signs that were already known differ from these, and are kept",
        "no sign from 'dopamine' (1), no word (1)",
    )
    other = small({"cells": {"transmitter": ["ach", "GABA"]}}, [])
    graph = AssignSigns("transmitter", species="mouse")(other)
    assert graph.populations[0].column("sign").to_pylist() == [None, -1]


def test_a_transmitter_that_the_species_lacks_is_named() -> None:
    graph = small({"cells": {"neurotransmitter": ["gaba", "gabba"]}}, [])
    with pytest.raises(CompileError, match="'gabba'") as caught:
        AssignSigns(species="fly")(graph)
    assert caught.value.where == "population cells, column neurotransmitter, row 2"
    assert caught.value.hint.startswith("did you mean 'gaba'?")


def test_no_sign_is_no_evidence_of_signs() -> None:
    graph = small({"cells": {"cell_class": ["unsure"]}}, [])
    assert AssignSigns()(graph).provenance.signs is Evidence.NONE
    areas = replace(graph, populations=(*graph.populations, Population("area", (3,))))
    assert AssignSigns()(areas).provenance.signs is Evidence.NONE


def test_evidence_is_never_made_better_nor_worse_than_it_is() -> None:
    words = small({"cells": {"cell_class": ["excitatory"]}}, [])
    assert AssignSigns()(words).provenance.signs is Evidence.PREDICTED
    modelled = replace(words, provenance=Provenance("m", connectivity=Evidence.MODELLED))
    assert AssignSigns()(modelled).provenance.signs is Evidence.MODELLED
    known = small({"cells": {"cell_class": ["excitatory"], "sign": [1]}}, [])
    measured = replace(known, provenance=Provenance("m", signs=Evidence.MEASURED))
    assert AssignSigns()(measured).provenance.signs is Evidence.MEASURED


def test_populations_without_a_table_are_left_alone() -> None:
    graph = Graph((Population("area", (3,)),), (), Provenance("counts only"))
    (step,) = run(graph, [AssignSigns()]).provenance.steps
    assert step.notes[0].startswith("0 excitatory, 0 inhibitory, 0 without")


def test_refuses_what_makes_no_sense() -> None:
    with pytest.raises(CompileError, match="'a' is both excitatory and inhibitory"):
        AssignSigns(excitatory=("a",), inhibitory=("b", "a"))
    with pytest.raises(CompileError, match="has both classes and a species"):
        AssignSigns(species="fly", excitatory=("acetylcholine",))
    with pytest.raises(UnknownNameError, match="did you mean 'fly'"):
        AssignSigns(species="flyy")  # type: ignore[arg-type]
    graph = small({"cells": {"x_um": [1.0]}}, [])
    with pytest.raises(CompileError, match="x_um must hold text, not double"):
        AssignSigns("x_um")(graph)
    with pytest.raises(UnknownNameError, match="did you mean 'cell_class'"):
        AssignSigns("cell_clas")(graph)
