"""The header says how a graph came about in the words of whoever made it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from worms import driven, worm

from connectome_compiler.ir import Evidence, Graph
from connectome_compiler.passes.null_model import NullModel
from connectome_compiler.passes.runner import run
from connectome_compiler.templates.recurrent.style import Recurrent


@dataclass(frozen=True, slots=True)
class Grown:
    """An adapter that no part of the compiler has heard of."""

    name: ClassVar[str] = "grown"

    made: str = "axons grew towards a gradient until they met somebody"

    def load(self) -> Graph:
        graph = worm(junctions=False)
        origin = replace(
            graph.provenance,
            dataset=self.name,
            connectivity=Evidence.MODELLED,
            made=self.made,
        )
        return replace(graph, provenance=origin)


def header(graph: Graph) -> str:
    """Return the module's docstring, on one line."""
    source = Recurrent().emit(driven(graph), "toy").source
    return " ".join(source.split('"""')[1].split())


@pytest.mark.parametrize("made", [Grown().made, ""])
def test_an_adapter_from_outside_speaks_for_itself(made: str) -> None:
    said = made or "how the connections were made is not stated"
    text = header(Grown(made).load())
    assert f"MODELLED, NOT MEASURED: {said}. No such network was seen in a brain" in text
    assert "statistics" not in text
    assert "MODELLED" not in header(worm())


def test_a_null_model_says_so_and_of_what() -> None:
    text = header(run(Grown().load(), [NullModel("degrees", null_seed=3)]))
    assert "NOT MEASURED: this is a null model, a control, not the connectome" in text
    assert f"null model 'degrees', null_seed 3; before that, {Grown().made}." in text
    of_data = header(run(worm(junctions=False), [NullModel("degrees", null_seed=3)]))
    assert "null model 'degrees', null_seed 3. No such network was seen in a brain" in of_data
