from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import exp, pi, sqrt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.data_adapters._facts import read_fact
from connectome_compiler.data_adapters.mesoscale import Mesoscale
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Evidence, GaussianLaw, Graph, Port
from connectome_compiler.options import Raw, configure
from connectome_compiler.views.report import of_target

# --- the mouse ------------------------------------------------------------------------------------

AREAS = ("VISp", "VISl", "VISrl", "VISli", "VISpl", "VISal", "VISpor")
LAYERS = ("4", "2/3", "5")
# Stepanyants et al. 2008, Fig. 8B, and Billeh et al. 2020, Fig. 4A; rows source, columns target.
ORDER = ("2/3", "4", "5", "6")
CAT_UM = ((225, 50, 100, 50), (220, 180, 140, 110), (150, 100, 210, 125), (120, 20, 150, 150))
JOINED = (
    (0.160, 0.016, 0.083, 0),
    (0.14, 0.243, 0.104, 0.032),
    (0.021, 0.007, 0.116, 0.047),
    (0, 0, 0.012, 0.026),
)


@pytest.fixture(scope="module")
def mouse() -> Graph:
    graph: Graph = Mesoscale().load()
    return graph


def law(graph: Graph, key: str) -> GaussianLaw:
    (found,) = [q.connectivity for q in graph.projections if q.key == key]
    assert isinstance(found, GaussianLaw)
    return found


def notes(graph: Graph) -> str:
    (step,) = graph.provenance.steps
    return "\n".join(step.notes)


def test_populations_are_the_published_ones(mouse: Graph) -> None:
    names = ["input", "LGNd", *(a + layer for a, layer in product(AREAS, LAYERS))]
    assert [p.name for p in mouse.populations] == names
    assert mouse.n_neurons == 729_220
    assert mouse.population("input").artificial
    assert mouse.population("input").shape == (3,)
    for p in mouse.biological:
        assert p.place is not None
        assert p.name == p.place.area + (p.place.cortical_layer or "")
        assert p.shape == (p.place.n_neurons,)
        assert p.neurons is None
    places = {p.name: p.place for p in mouse.biological}
    levels = {p.area: p.level for p in places.values() if p is not None}
    assert levels == {"LGNd": 0, "VISp": 1, **dict.fromkeys(AREAS[1:6], 2), "VISpor": 3}
    lgn, por = places["LGNd"], places["VISpor2/3"]
    assert lgn is not None
    assert por is not None
    assert (lgn.cortical_layer, lgn.surface_mm2) == (None, None)
    assert por.n_neurons == 30_576
    assert por.surface_mm2 == pytest.approx(1.39366, abs=5e-6)


def test_ports_are_in_the_order_of_reading(mouse: Graph) -> None:
    read = ("VISpor5", "VISal5", "VISpl5", "VISli5", "VISrl5", "VISl5", "VISp5")
    assert mouse.ports == (Port("input", "input", "in"), *(Port(p, p, "out") for p in read))


def test_laws_within_areas_follow_from_the_two_papers(mouse: Graph) -> None:
    within = {
        (q.pre, q.post): q.connectivity
        for q in mouse.connectome
        if (pre := mouse.population(q.pre).place) and (post := mouse.population(q.post).place)
        if pre.area == post.area
    }
    # VISpor5 has no surface, so that nobody knows how densely its neurons lie.
    expected = {
        (area + pre, area + post)
        for area, pre, post in product(AREAS, LAYERS, LAYERS)
        if area + pre != "VISpor5"
    }
    assert set(within) == expected
    assert "VISpor5->VISpor4, VISpor5->VISpor2/3, VISpor5->VISpor5 left out" in notes(mouse)
    for (pre_name, post_name), found in within.items():
        assert isinstance(found, GaussianLaw)
        pre, post = (mouse.population(name).place for name in (pre_name, post_name))
        assert pre is not None
        assert post is not None
        i, j = (ORDER.index(str(p.cortical_layer)) for p in (pre, post))
        sigma = CAT_UM[i][j] / 180 * 114
        peak = JOINED[i][j] / exp(-(75**2) / (2 * sigma**2))
        assert pre.n_neurons is not None
        assert pre.surface_mm2 is not None
        density = pre.n_neurons / (pre.surface_mm2 * 1e6)
        assert found.width == pytest.approx(sigma)
        assert found.peak == pytest.approx(peak)
        assert found.in_degree == pytest.approx(density * 2 * pi * sigma**2 * peak)
        assert found.unit == "um"


def test_widths_and_peaks_within_areas_are_the_published_ones(mouse: Graph) -> None:
    up, down = law(mouse, "VISp4->VISp2/3"), law(mouse, "VISal2/3->VISal5")
    assert (up.width, up.peak) == pytest.approx((139.33333333333334, 0.1618247181204468), abs=1e-12)
    assert (down.width, down.peak) == pytest.approx((63.333333333333336, 0.16733836379893013))


def test_the_way_from_the_image_is_chosen_in_pixels(mouse: Graph) -> None:
    assert law(mouse, "input->LGNd") == GaussianLaw(4, 3 * 2 * pi * 4**2, 1, "px")
    assert law(mouse, "LGNd->VISp4") == GaussianLaw(1, 5 * 2 * pi, 1, "px")
    assert law(Mesoscale(input_channels=1).load(), "input->LGNd").in_degree == 2 * pi * 4**2


def test_shares_between_areas_sum_to_the_placeholder(mouse: Graph) -> None:
    for graph, total in ((mouse, 1000), (Mesoscale(in_degree=250.0).load(), 250)):
        sums: dict[str, float] = {}
        for q in graph.projections:
            found = q.connectivity
            if isinstance(found, GaussianLaw) and found.peak is None:
                sums[q.post] = sums.get(q.post, 0) + found.in_degree
        assert sums == {f"{area}4": pytest.approx(total, abs=1e-9) for area in AREAS[1:]}
    assert "shares of 1000, a placeholder" in notes(mouse)
    assert "shares of 250\n" in notes(Mesoscale(in_degree=250.0).load())
    found = law(mouse, "VISp4->VISl4")
    assert (found.width, found.in_degree) == pytest.approx((313.1697503589799, 207.07500232951406))


# Channels and widths in pixels of kernels as published, 64 or 32 pixels to a side.
@pytest.mark.parametrize(
    ("key", "channels", "width_px"),
    [
        ("VISp4->VISp2/3", 26, 4.329425562171221),
        ("VISp2/3->VISrl4", 42, 10.011694060566054),
        ("VISp5->VISpor4", 32, 9.379908041624509),
        ("VISpl4->VISpl2/3", 3, 9.399823496821757),
        ("VISal2/3->VISpor4", 15, 0.6051654386085802),
        ("VISpor2/3->VISpor5", 29, 1.7419912949280951),
    ],
)
def test_surfaces_turn_micrometres_into_the_published_pixels(
    mouse: Graph, key: str, channels: int, width_px: float
) -> None:
    place = mouse.population(key.split("->")[0]).place
    assert place is not None
    assert place.n_neurons is not None
    assert place.surface_mm2 is not None
    px_per_um = sqrt(place.n_neurons / channels) / (1000 * sqrt(place.surface_mm2))
    assert law(mouse, key).width * px_per_um == pytest.approx(width_px, abs=1e-9)


def test_nothing_counts_as_measured_and_every_table_says_so(mouse: Graph) -> None:
    p = mouse.provenance
    assert p.source == "mouse-visual@mousenet-2022"
    assert (p.connectivity, p.signs) == (Evidence.MODELLED, Evidence.NONE)
    assert len(p.files) == 3
    assert len(p.citations) == 6
    assert "measured" not in notes(mouse)
    assert "width 33 derived, 2 chosen" in notes(mouse)


@pytest.mark.parametrize("table", ["populations", "interlaminar", "interareal"])
def test_every_shipped_number_has_status_and_source(table: str) -> None:
    rows = read_fact(f"mouse_visual_{table}").rows
    stated = [name.removesuffix("_status") for name in rows[0] if name.endswith("_status")]
    assert stated
    for row, name in product(rows, stated):
        assert bool(row[name]) == bool(row[f"{name}_status"]) == bool(row[f"{name}_source"])
    numbers = {name for name in rows[0] for row in rows if row[name].replace(".", "").isdigit()}
    assert numbers - {"layer", "pre_layer", "post_layer", "at_um"} == set(stated)


def test_save_and_load_keep_it(mouse: Graph, tmp_path: Path) -> None:
    assert Graph.load(mouse.save(tmp_path / "mouse")).digest() == mouse.digest()
    assert Mesoscale().load().digest() == mouse.digest()


def test_inspect_tells_of_laws_before_anything_is_drawn(mouse: Graph, tmp_path: Path) -> None:
    text = of_target(str(mouse.save(tmp_path / "mouse")))
    assert "(modelled): 729,220 neurons in 22 populations" in text
    (lgn,) = [line for line in text.splitlines() if line.startswith("LGNd ")]
    assert lgn.split() == ["LGNd", "21,200", "-", "-", "level", "0"]
    (seen,) = [line for line in text.splitlines() if line.startswith("input->LGNd ")]
    assert seen.split()[1:4] == ["6,393,769", "-", "free"]  # no density: pixels of no map yet
    assert f"0 enforced, {mouse.n_connections:,} unknown" in text


def test_inspect_counts_the_inputs_of_maps() -> None:
    text = of_target("mousenet", ("rng=legacy", "mask_seed=2021"))
    (signs,) = [line for line in text.splitlines() if line.startswith("signs:")]
    assert signs.endswith("0 enforced, 86,164 unknown")
    assert "0 neurons without input from neurons" in text


# --- own tables -----------------------------------------------------------------------------------

POPULATIONS = """area,layer,n_neurons,level,surface_mm2,output,also_called
LGN,,400,0,,,dLGN
V1,4,2000,1,0.5,,
V1,2/3,3000,1,0.6,2,
V2,4,700,2,0.25,,
V2,2/3,900,2,0.25,1,
"""
INTERLAMINAR = """pre_layer,post_layer,probability,at_um,width_um
4,2/3,0.2,,100
2/3,4,0.1,50,80
2/3,2/3,0,,90
4,4,,,
"""
INTERAREAL = """pre,post,width,unit,share,in_degree,peak
input,LGN,2,px,,,0.5
LGN,V14,1,px,,9,1
V14,V24,200,,0.25,,
V12/3,V24,150,um,0.75,,
V24,V12/3,120,um,,33,
V22/3,V14,70,um,0,,
V22/3,V12/3,60,um,,,0.01
"""
TABLES = {"populations": POPULATIONS, "interlaminar": INTERLAMINAR, "interareal": INTERAREAL}


def own(folder: Path, **texts: str) -> Mesoscale:
    """Write the small tables, some replaced, and return the adapter that reads them."""
    paths = {}
    for name, text in {**TABLES, **texts}.items():
        path = folder / f"{name}.csv"
        path.write_text(text, encoding="utf-8")
        paths[name] = str(path)
    return Mesoscale(**paths)


def test_own_tables_make_these_laws(tmp_path: Path) -> None:
    graph = own(tmp_path).load()
    v1, v2 = 3000 / 0.6e6, 900 / 0.25e6  # neurons of layers 2/3 per square micrometre
    peak = 0.1 * exp(50**2 / (2 * 80**2))
    expected = {
        "input->LGN": GaussianLaw(2, 3 * 2 * pi * 4 * 0.5, 0.5, "px"),
        "LGN->V14": GaussianLaw(1, 9, 1, "px"),
        "V14->V12/3": GaussianLaw(100, 2000 / 0.5e6 * 2 * pi * 100**2 * 0.2, 0.2),
        "V14->V24": GaussianLaw(200, 250),
        "V12/3->V14": GaussianLaw(80, v1 * 2 * pi * 80**2 * peak, peak),
        "V12/3->V24": GaussianLaw(150, 750),
        "V24->V12/3": GaussianLaw(120, 33),
        "V24->V22/3": GaussianLaw(100, 700 / 0.25e6 * 2 * pi * 100**2 * 0.2, 0.2),
        "V22/3->V12/3": GaussianLaw(60, v2 * 2 * pi * 60**2 * 0.01, 0.01),
        "V22/3->V24": GaussianLaw(80, v2 * 2 * pi * 80**2 * peak, peak),
    }
    assert [q.key for q in graph.projections] == list(expected)  # in the order of populations
    for q in graph.projections:
        found, wanted = q.connectivity, expected[q.key]
        assert isinstance(found, GaussianLaw)
        assert found.in_degree == pytest.approx(wanted.in_degree)
        assert found.peak == (None if wanted.peak is None else pytest.approx(wanted.peak))
        assert (found.width, found.unit) == (wanted.width, wanted.unit)
        assert (q.delay, q.kind) == (1, "chemical")
    assert [p.name for p in graph.ports] == ["input", "V22/3", "V12/3"]
    assert "rows with share 0 left out: 1" in notes(graph)
    assert "4 pairs of layers without probability or width left out" in notes(graph)


def test_shares_keep_the_unit_of_their_width(tmp_path: Path) -> None:
    text = INTERAREAL.replace("V14,V24,200,,", "V14,V24,200,px,")
    graph = own(tmp_path, interareal=text).load()
    assert law(graph, "V14->V24") == GaussianLaw(200, 250, unit="px")
    assert law(graph, "V12/3->V24") == GaussianLaw(150, 750, unit="um")


def test_own_tables_are_named_and_cite_no_paper(tmp_path: Path) -> None:
    graph = own(tmp_path).load()
    p = graph.provenance
    assert (p.source, p.citations) == ("mesoscale:populations", ())
    assert str(tmp_path) not in f"{p}"
    assert p.licence == "populations.csv, interlaminar.csv, interareal.csv: not stated"
    mixed = replace(own(tmp_path), interlaminar="", interareal=str(tmp_path / "interareal.csv"))
    stated = mixed.load().provenance
    assert len(stated.citations) == 4
    assert "Shi et al." in stated.licence
    assert "interareal.csv: not stated" in stated.licence


def test_columns_may_stand_anywhere_and_more_are_named(tmp_path: Path) -> None:
    lines = [line.split(",") for line in INTERLAMINAR.splitlines()]
    told = ["Mood", "Width_um_status", "width_um_source"], *[["", "measured", "us"]] * 4
    turned = [[*more, *reversed(cells)] for more, cells in zip(told, lines, strict=True)]
    text = "\ufeff" + "".join("; ".join(cells) + "\r\n" for cells in turned) + ";;;;;;;\n\n"
    graph = own(tmp_path, interlaminar=text).load()
    assert graph.digest() == own(tmp_path).load().digest()
    graph = own(tmp_path, interlaminar=text).load()
    unread = [note for note in notes(graph).splitlines() if "columns that are not read" in note]
    assert unread == ["interlaminar.csv: columns that are not read: mood"]
    assert "interlaminar.csv: width_um 4 measured" in notes(graph)


def test_a_population_may_have_another_name(tmp_path: Path) -> None:
    renamed = INTERAREAL.replace("LGN", "dLGN")
    assert own(tmp_path, interareal=renamed).load().digest() == own(tmp_path).load().digest()
    between = tmp_path / "between.csv"
    between.write_text("pre,post,width,unit,peak,in_degree\ninput,LGNv,4,px,1,\n")
    assert law(Mesoscale(interareal=str(between)).load(), "input->LGNd").width == 4


def test_an_area_of_its_own_called_like_an_alias_elsewhere_is_itself(tmp_path: Path) -> None:
    text = POPULATIONS.replace("dLGN", "") + "dLGN,,70,0,,,\n"
    graph = own(tmp_path, populations=text, interareal=INTERAREAL + "input,dLGN,3,px,,,1\n").load()
    assert {"input->LGN", "input->dLGN"} <= {q.key for q in graph.projections}


def test_levels_may_be_unknown(tmp_path: Path) -> None:
    text = "area,layer,n_neurons,output\nLGN,,400,\nV1,4,2000,1\nV1,2/3,30,\nV2,4,70,\nV2,2/3,9,\n"
    between = "pre,post,width,unit,peak,share\ninput,LGN,2,px,1,\nLGN,V14,9,um,,0.3\n"
    graph = own(tmp_path, populations=text, interareal=between).load()
    assert {p.place.level for p in graph.biological if p.place} == {None}
    assert "V14->V12/3, V12/3->V14" in notes(graph)  # no surface, so no density


@given(st.permutations(INTERAREAL.splitlines()[1:]), st.permutations(INTERLAMINAR.splitlines()[1:]))
def test_order_of_rows_decides_nothing(
    tmp_path_factory: pytest.TempPathFactory, between: list[str], within: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    shuffled = own(
        folder,
        interareal="\n".join([INTERAREAL.splitlines()[0], *between]),
        interlaminar="\n".join([INTERLAMINAR.splitlines()[0], *within]),
    )
    assert shuffled.load().digest() == own(folder).load().digest()


# --- bad input ------------------------------------------------------------------------------------

BAD = {
    # table, text that is replaced, by what, where it is, what is said
    "no column": ("populations", "n_neurons", "neurons", "line 1: column 'n_neurons'", "no such"),
    "twice a column": ("populations", "level", "layer", "line 1", "column 'layer' occurs twice"),
    "no area": ("populations", "V2,4,700", ",4,700", "line 5, column area", "is missing"),
    "no number": ("populations", "V2,4,700", "V2,4,", "line 5, column n_neurons", "is missing"),
    "a word": ("populations", "700", "many", "line 5, column n_neurons", "'many' is not a number"),
    "negative": ("populations", "700", "-700", "line 5, column n_neurons", "-700 is below 0"),
    "zero": (
        "populations",
        "700",
        "0",
        "line 5, column n_neurons",
        "0 is not a whole number of at least 1",
    ),
    "too many": ("populations", "700", "7e12", "line 5, column n_neurons", "7e12 is above 1e+09"),
    "half": ("populations", "700", "7.5", "line 5, column n_neurons", "7.5 is not a whole number"),
    "nan": ("populations", "700", "nan", "line 5, column n_neurons", "nan is not finite"),
    "flat": ("populations", "0.6", "0", "line 4, column surface_mm2", "0 is not above 0"),
    "endless": ("populations", "0.6", "inf", "line 4, column surface_mm2", "inf is not finite"),
    "level": ("populations", "V2,4,700,2", "V2,4,700,1", "line 6, column level", "different level"),
    "levels": ("populations", "V2,4,700,2", "V2,4,700,-1", "line 5, column level", "-1 is below 0"),
    "layer": ("populations", "V2,4", "V2,IV", "line 5, column layer: layer 'IV'", "no such name"),
    "twice": ("populations", "V2,4", "V1,4", "line 5", "V14 occurs twice: see"),
    "input": (
        "populations",
        "LGN,,",
        "input,,",
        "line 2, column area",
        "'input' is the name of the image",
    ),
    "outputs": (
        "populations",
        "0.25,1",
        "0.25,2",
        "line 6, column output",
        "2 is also that of V12/3",
    ),
    "alias": (
        "populations",
        "dLGN",
        "V14",
        "line 2, column also_called",
        "name of another population",
    ),
    "more": ("populations", "700,", "7,00,", "line 5", "has 8 values, expected 7"),
    "unlikely": ("interlaminar", "0.2,", "1.2,", "line 2, column probability", "1.2 is above 1"),
    "far": ("interlaminar", "50,80", "500,80", "line 3, column probability", "0.1 at 500 um, with"),
    "further": ("interlaminar", "50,80", "1e6,1", "line 3, column probability", "a width of 1 um"),
    "pair": ("interlaminar", "4,4", "4,2/3", "line 5", "4 -> 2/3 occurs twice: see"),
    "no layer": ("interlaminar", "4,4", "4,", "line 5, column post_layer", "is missing"),
    "no source": ("interareal", "V14,V24", "V34,V24", "line 4, column pre: population 'V34'", "no"),
    "no target": ("interareal", "V14,V24", "V14,V9", "line 4, column post: population 'V9'", "no"),
    "end": ("interareal", "V14,V24", "V14,input", "line 4, column post", "cannot be a target"),
    "one area": (
        "interareal",
        "V14,V24",
        "V24,V22/3",
        "line 4, column post",
        "are in the same area",
    ),
    "again": ("interareal", "V12/3,V24", "V14,V24", "line 5", "V14 -> V24 occurs twice: see"),
    "share": ("interareal", "0.75", "1.75", "line 5, column share", "1.75 is above 1"),
    "lost": ("interareal", "0.75", "-0.75", "line 5, column share", "-0.75 is below 0"),
    "peak": ("interareal", ",,0.5", ",,2", "line 2, column peak", "2 is above 1"),
    "no peak": ("interareal", ",,0.5", ",,0", "line 2, column peak", "0 is not above 0"),
    "strength": ("interareal", "0.75", "", "line 5", "has no strength"),
    "both": ("interareal", "0.75,", "0.75,20", "line 5", "has share and in_degree, but"),
    "width": ("interareal", "150", "0", "line 5, column width", "0 is not above 0"),
    "no width": ("interareal", "150", "", "line 5, column width", "is missing"),
    "unit": ("interareal", "150,um", "150,mm", "line 5, column unit 'mm'", "no such name"),
    "image": (
        "interareal",
        "2,px",
        "2,um",
        "line 2, column unit",
        "the image has no physical size",
    ),
    "unknown": ("interareal", ",9,", ",,", "line 3, column in_degree", "the density of LGN"),
    "no input": ("interareal", "input,LGN", "LGN,V22/3", "line 2", "the density of LGN per px"),
    "status": ("populations", "level", "n_neurons_status", "n_neurons_status '0'", "no such name"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_file_line_and_column(case: str, tmp_path: Path) -> None:
    table, old, new, where, problem = BAD[case]
    assert old in TABLES[table]
    bad = own(tmp_path, **{table: TABLES[table].replace(old, new, 1)})
    with pytest.raises(CompileError) as refused:
        bad.load()
    assert f"{table}.csv" in refused.value.where
    assert where in refused.value.where
    assert problem in refused.value.problem


def test_a_network_needs_an_input_and_an_output(tmp_path: Path) -> None:
    blind = "\n".join(x for x in INTERAREAL.splitlines() if not x.startswith("input"))
    with pytest.raises(CompileError, match="no row starts from input"):
        own(tmp_path, interareal=blind).load()
    mute = POPULATIONS.replace("0.6,2", "0.6,").replace("0.25,1", "0.25,")
    with pytest.raises(CompileError, match="no population is read out"):
        own(tmp_path, populations=mute).load()


def test_shipped_names_that_own_populations_lack_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"mouse_visual_interareal\.csv, line 2, column post"
    ):
        replace(own(tmp_path), interareal="").load()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1: is blank"),
        (b"area,layer,n_neurons\n", "has no rows"),
        (b"area,layer,n_neurons\nV\xff1,4,10\n", "line 2: is not UTF-8 text"),
        (b'area,layer,n_neurons\n"V1,4,10\n', "is not CSV"),
        (b"area,layer,n_neurons\nV1,4\n", "line 2: has 2 values, expected 3"),
        (b"PK\x03\x04\x00\x00", "column 'area': no such name"),
    ],
)
def test_files_that_are_no_table_are_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(CompileError, match=problem) as refused:
        Mesoscale(populations=str(path)).load()
    assert "broken.csv" in refused.value.where


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for path, problem in (
        (str(tmp_path / "none.csv"), "no such file"),
        (str(tmp_path), "cannot be read"),
        ("a\x00b", "cannot be read"),
    ):
        with pytest.raises(CompileError, match=problem):
            Mesoscale(interlaminar=path).load()


@pytest.mark.parametrize(
    ("option", "value"),
    [("in_degree", "0"), ("in_degree", "nan"), ("in_degree", "-1"), ("input_channels", "0")],
)
def test_options_out_of_range_are_refused(option: str, value: str) -> None:
    with pytest.raises(CompileError, match=f"mesoscale.{option}"):
        configure("source", Mesoscale, {option: Raw(value)})
