import json

import numpy as np

from connectome_compiler.ir import Evidence, Provenance, SourceFile, Step
from connectome_compiler.ir.provenance import FALLBACK, NULL_MODEL

FULL = Provenance(
    "microns-v1",
    "1507",
    connectivity=Evidence.MEASURED,
    signs=Evidence.PREDICTED,
    licence="CC BY 4.0",
    citations=("MICrONS Consortium 2025, Nature 640:435",),
    files=(SourceFile("cells.csv.gz", "ab" * 32, 12, "https://example.org/cells.csv.gz"),),
    steps=(Step("drop-autapses", "", 5, 5, 9, 8, ("one autapse",)),),
)


def test_round_trip_through_json() -> None:
    values = FULL.to_dict()
    assert Provenance.from_dict(json.loads(json.dumps(values))) == FULL
    values["files"], values["steps"] = map(list, (values["files"], values["steps"]))
    assert Provenance.from_dict(values) == FULL
    assert [type(values[name][0]) for name in ("files", "steps")] == [dict, dict]  # still theirs


def test_plain_words_lists_and_numpy_counts_are_taken_as_what_they_mean() -> None:
    step = Step("x", "", np.int64(1), np.int32(1), np.int64(2), np.int64(1), ["a"])  # type: ignore[arg-type]
    p = Provenance("d", connectivity="measured", citations=["c"], steps=[step])  # type: ignore[arg-type]
    assert p.measured
    assert p.citations == ("c",)
    assert json.loads(json.dumps(p.to_dict()))["steps"][0]["n_connections_before"] == 2


def test_only_the_measured_is_called_measured() -> None:
    assert FULL.measured
    for known in (Evidence.MODELLED, Evidence.PREDICTED, Evidence.UNKNOWN, Evidence.NONE):
        assert not Provenance("d", connectivity=known).measured


def test_nothing_is_measured_unless_it_is_stated() -> None:
    assert Provenance("d").connectivity is Evidence.UNKNOWN
    assert Provenance("d").caveat == "d is not known to be measured"


def test_the_caveat_says_why() -> None:
    assert FULL.caveat == ""
    why = (
        Step(FALLBACK, "", 1, 1, 1, 1, ("nothing is cached", "at all")),
        Step("other", "", 1, 1, 1, 1, ("of no interest",)),
        Step(NULL_MODEL, "", 1, 1, 1, 1),  # did nothing
        Step(NULL_MODEL, "", 1, 1, 1, 1, ("rewired", "9 of 9")),
    )
    p = Provenance("worm-null", connectivity=Evidence.MODELLED, steps=why)
    assert p.caveat == "worm-null is modelled, not measured: nothing is cached; rewired"


def test_a_notebook_shows_the_steps_as_a_table() -> None:
    page = FULL._repr_html_()
    assert "<caption style='caption-side:bottom'>microns-v1@1507, measured</caption>" in page
    assert ">drop-autapses</td>" in page
    assert ">one autapse</td>" in page


def test_source_and_steps_as_text() -> None:
    assert FULL.source == "microns-v1@1507"
    assert Provenance("worm").source == "worm"
    assert str(FULL.steps[0]) == "drop-autapses: 5 neurons, 9 -> 8 connections"
    assert str(Step("a", "k=1", 1, 1, 1000, 1000)) == "a(k=1): 1 neuron, 1,000 connections"
    assert FULL.with_step(FULL.steps[0]).steps == FULL.steps * 2
