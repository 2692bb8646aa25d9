from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from connectome_compiler.data_adapters._download import UnreachableError
from connectome_compiler.data_adapters.microns_files import MicronsFiles
from connectome_compiler.data_adapters.microns_release import MicronsRelease
from connectome_compiler.data_adapters.microns_v1 import MicronsV1
from connectome_compiler.errors import CompileError

CELLS = ["id", "pt_root_id", "broad_type", "cell_type", "mtype", "cell_type_source"]
CELLS += ["pt_position_x", "pt_position_y", "pt_position_z"]


@pytest.fixture
def published(publish: Callable[..., Any]) -> Any:
    """Make the smallest release: two neurons and a connection."""
    manual = "allen_v1_column_types_slanted_ref"
    place = ["180000", "150000", "21500"]
    return publish(
        cells=(
            CELLS,
            [
                ["1", "11", "excitatory", "4P", "", manual, *place],
                ["2", "12", "inhibitory", "BC", "", manual, *place],
            ],
        ),
        proofreading=(
            ["pt_root_id", "valid_id", "status_axon", "strategy_axon"],
            [["11", "11", "t", "axon_fully_extended"]],
        ),
        synapses=(["pre_pt_root_id", "post_pt_root_id", "size"], [["11", "12", "100"]]),
    )


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "edges.csv").write_text("pre,post\n1,2\n")
    (tmp_path / "cells.csv").write_text("id,class\n1,e\n2,i\n")
    edges, cells = str(tmp_path / "edges.csv"), str(tmp_path / "cells.csv")
    return {"edges": edges, "cells": cells, "cortical_layer": "L4"}


def test_auto_takes_the_release_and_then_the_cache(published: Any, nobody: str) -> None:
    graph = MicronsV1().load()
    assert graph.provenance.source == "microns-v1@1507"
    assert graph.n_connections == 1
    offline = MicronsV1(address=nobody)  # nothing is asked of the network
    assert offline.load().digest() == graph.digest()
    assert offline.load().provenance == graph.provenance


def test_auto_falls_back_to_a_modelled_column_and_says_so(published: Any, nobody: str) -> None:
    graph = MicronsV1(address=nobody, seed=3).load()
    provenance = graph.provenance
    assert provenance.dataset == "microns-v1-surrogate"
    assert not provenance.measured
    last = provenance.steps[-1]
    assert last.name == "fall-back-to-statistics"
    assert "nothing is cached" in last.notes[0]
    assert nobody in last.notes[0]
    assert graph.digest() == MicronsV1(source="statistics", seed=3).load().digest()


def test_the_fallback_says_why_in_words_that_every_machine_shares(nobody: str) -> None:
    caveat = MicronsV1(address=nobody).load().provenance.caveat
    assert caveat.startswith("microns-v1-surrogate@seed=0 is modelled, not measured: nothing is ca")
    assert nobody in caveat


def test_a_named_release_never_falls_back(published: Any, nobody: str) -> None:
    with pytest.raises(UnreachableError):
        MicronsV1(source="release", address=nobody).load()


@pytest.mark.parametrize("fault", ["404", "403", "altered", "short"])
def test_a_bad_download_is_an_error_never_a_fallback(published: Any, fault: str) -> None:
    published.faults, published.stuck = [fault], True
    with pytest.raises(CompileError, match=r"404|403|is not the published file"):
        MicronsV1().load()


@pytest.mark.parametrize("fault", ["500", "cut"])
def test_a_failing_server_is_an_error_never_a_fallback(published: Any, fault: str) -> None:
    published.faults, published.stuck = [fault], True
    with pytest.raises(CompileError, match="4 times in a row"):
        MicronsV1().load()


def test_a_half_filled_cache_offline_is_an_error(
    published: Any, nobody: str, own_cache: Path
) -> None:
    MicronsV1().fetch()
    (own_cache / "minnie65-v1507" / "aibs_cell_info_merged.csv.gz").unlink()
    with pytest.raises(CompileError, match="does not have all files") as caught:
        MicronsV1(address=nobody).load()
    assert "source=statistics" in caught.value.hint


def test_an_unfinished_download_counts_as_begun(
    published: Any, nobody: str, own_cache: Path
) -> None:
    folder = own_cache / "minnie65-v1507"
    folder.mkdir(parents=True)
    (folder / "synapses_with_axon_proofreading.csv.gz.part").write_bytes(b"half")
    with pytest.raises(CompileError, match="does not have all files"):
        MicronsV1(address=nobody).load()


def test_an_altered_cache_offline_is_an_error(published: Any, nobody: str, own_cache: Path) -> None:
    for path in MicronsV1().fetch():
        path.write_bytes(b"altered")
    with pytest.raises(CompileError, match="was altered") as caught:
        MicronsV1(address=nobody).load()
    assert caught.value.hint.startswith("delete ")


def test_fetch_fills_the_cache(published: Any, own_cache: Path) -> None:
    files = MicronsV1().fetch()
    assert len(files) == 6
    assert all(own_cache in path.parents for path in files)


def test_only_the_release_is_downloaded(tables: dict[str, Any], own_cache: Path) -> None:
    given = {k: tables[k] for k in ("edges", "cells")}
    for adapter in (MicronsV1(source="statistics"), MicronsV1(source="files", **given)):
        with pytest.raises(CompileError, match=f"source={adapter.source} has nothing to download"):
            adapter.fetch()
    with pytest.raises(CompileError, match="nothing to download"):
        MicronsV1(**given).fetch()
    assert not own_cache.exists()


OTHER: dict[str, Any] = {
    "version": 1300,
    "address": "http://127.0.0.1:1/",
    "column": "all",
    "coverage": "all",
    "edges": "e.csv",
    "cells": "c.csv",
    "cortical_layer": "L4",
    "unconnected": "keep",
    "unknown_neurons": "drop",
    "calibrated": False,
}
FOREIGN = {
    "release": "edges cells cortical_layer unconnected unknown_neurons calibrated",
    "files": "version address calibrated",
    "statistics": (
        "version address column coverage edges cells cortical_layer unconnected unknown_neurons"
    ),
    "auto": "unconnected unknown_neurons",
}


@pytest.mark.parametrize(
    ("source", "option"), [(s, o) for s, options in FOREIGN.items() for o in options.split()]
)
def test_an_option_of_another_source_is_refused(
    tables: dict[str, Any], source: Any, option: str
) -> None:
    given = {option: OTHER[option]} | (tables if source == "files" else {})
    adapter = MicronsV1(source=source, **given)
    for use in (adapter.load, adapter.fetch):
        with pytest.raises(
            CompileError, match=rf"{option} is an option of .*, not source={source}\n"
        ) as e:
            use()
        assert f"leave out {option}, or set source=" in e.value.hint


def test_given_tables_refuse_what_belongs_to_the_release(tables: dict[str, Any]) -> None:
    with pytest.raises(
        CompileError, match="address is an option of source=release, not source=files"
    ):
        MicronsV1(address="http://127.0.0.1:1/", **tables).load()


def test_what_recipes_always_give_fits_every_source(published: Any, tables: dict[str, Any]) -> None:
    column: dict[str, Any] = {"cell_type_source": "another", "prism_width_um": 150.0}
    assert MicronsV1(source="statistics", **column).load().n_neurons > 1000
    assert MicronsV1(source="files", **column, **tables).load().n_neurons == 2
    with pytest.raises(CompileError, match="no cell was typed by 'another'"):
        MicronsV1(source="release", column="types", **column).load()


def test_the_recipe_and_the_code_mean_the_same_column() -> None:
    recipe = files("connectome_compiler.recipes").joinpath("microns-v1.toml").read_text("utf-8")
    source = tomllib.loads(recipe)["source"]
    for adapter in (MicronsV1(), MicronsRelease(), MicronsFiles("e", "c")):
        assert adapter.cell_type_source == source["cell_type_source"]
        assert adapter.prism_width_um == source["prism_width_um"]


def test_given_tables_mean_files(tables: dict[str, Any]) -> None:
    for source in ("auto", "files"):
        graph = MicronsV1(source=source, **tables).load()
        assert graph.provenance.dataset == "files:edges"
        assert graph.n_connections == 1


def test_options_that_do_not_fit_the_source_are_refused(tables: dict[str, Any]) -> None:
    with pytest.raises(CompileError, match="edges is an option of source=files"):
        MicronsV1(source="release", **tables).load()
    with pytest.raises(CompileError, match="source=files needs cells"):
        MicronsV1(edges=tables["edges"]).load()
    with pytest.raises(CompileError, match="source=files needs edges"):
        MicronsV1(source="files").load()
    with pytest.raises(CompileError, match="cortical_layer is an option of source=files"):
        MicronsV1(source="statistics", cortical_layer="L4").load()
    with pytest.raises(CompileError, match="there is no known export of version 9"):
        MicronsV1(version=9).load()


def test_importing_the_adapter_is_light() -> None:
    code = (
        "import sys, connectome_compiler.data_adapters.microns_v1; "
        "print([m for m in ('duckdb', 'pyarrow', 'numpy', 'requests') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr
