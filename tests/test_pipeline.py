"""The whole line: what is written, what is not, and that it is the same every time."""

import ast
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from columns import column, load_module
from fake_modules import fake

from connectome_compiler import pipeline, registry
from connectome_compiler.emit.emission import Emission
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import Evidence, Graph, Provenance
from connectome_compiler.passes.runner import Ran
from connectome_compiler.pipeline import build, load_graph, shown_name
from connectome_compiler.recipe import Recipe, load_recipe, parse

PASSES = ("assign-signs", "apply-dale", "laminar-partition", "fold-inhibition", "split-flow")


@dataclass(frozen=True)
class Toy:
    """A small column."""

    name: ClassVar[str] = "toy"

    seed: int = 0
    connectivity: Evidence = field(default=Evidence.MEASURED, init=False)

    def load(self) -> Graph:
        graph = column(24, seed=self.seed)
        return replace(graph, provenance=replace(graph.provenance, connectivity=self.connectivity))


@dataclass(frozen=True)
class Modelled(Toy):
    connectivity: Evidence = field(default=Evidence.MODELLED, init=False)


@dataclass(frozen=True)
class Surrogate(Modelled):
    def load(self) -> Graph:
        graph = Modelled().load()
        origin = replace(graph.provenance, dataset="toy-surrogate", made="cells were invented")
        return replace(graph, provenance=origin)


@dataclass(frozen=True)
class Fails:
    """Fails in a pass, in the template, or only when the module is checked."""

    name: ClassVar[str] = "fails"

    def __call__(self, graph: Graph) -> Graph:
        raise CompileError("fails", "on purpose")

    def emit(self, graph: Graph, recipe: str) -> Emission:
        raise CompileError("fails", "on purpose")


@dataclass(frozen=True)
class Broken:
    """Emits what is no module."""

    name: ClassVar[str] = "broken"

    def emit(self, graph: Graph, recipe: str) -> Emission:
        return fake(b"arrays", "raise ImportError('on purpose')\n")


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {
        "toy": Toy,
        "modelled": Modelled,
        "surrogate": Surrogate,
        "fails": Fails,
        "broken": Broken,
    }
    find: Callable[..., Any] = registry.find

    def found(kind: registry.Kind, name: str, *given: Any) -> Any:
        return mine.get(name) or find(kind, name, *given)

    monkeypatch.setattr("connectome_compiler.recipe.find", found)


def recipe(source: str = "toy", passes: tuple[str, ...] = PASSES, template: str = "bionic") -> Any:
    page = f'name = "toy-column"\n[source]\nuse = "{source}"\n'
    page += "".join(f'[[pass]]\nuse = "{name}"\n' for name in passes)
    page += '[[pass]]\nuse = "attach-ports"\nimage = [1, 8, 8]\noutputs = 3\n'
    return parse("toy.toml", page + f'[template]\nuse = "{template}"\n')


def test_writes_the_module_and_a_certificate(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "net.py"
    seen: list[str] = []

    def after(ran: Ran) -> None:
        seen.append(ran.step.name)

    built = build(
        recipe(), out, loaded=lambda g: seen.append(f"{g.n_neurons} neurons"), after=after
    )
    assert seen == ["24 neurons", *PASSES, "attach-ports"]
    assert sorted(built.written) == sorted(out.parent.iterdir())
    assert out in built.written
    assert built.name == "toy-column"
    assert built.certificate is not None
    assert built.certificate.module == "net.py"
    assert built.certificate.n_connections == built.graph.n_connections
    assert [s.name for s in built.graph.provenance.steps] == [*PASSES, "attach-ports"]


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (lambda: recipe(passes=("fails",)), CompileError),
        (lambda: recipe(template="fails"), CompileError),
        (lambda: recipe(template="broken"), VerifyError),
        (lambda: recipe().having({"attach-ports.out_of": "nobody"}), CompileError),
        (lambda: recipe().having({"template.steps": -1}), CompileError),
        (lambda: recipe().having({"source.seed": "x"}), CompileError),
    ],
)
def test_writes_nothing_where_anything_fails(
    broken: Callable[[], Recipe], error: type[CompileError], tmp_path: Path
) -> None:
    with pytest.raises(error):
        build(broken(), tmp_path / "deep" / "net.py")
    assert list(tmp_path.iterdir()) == []


def test_what_stood_there_stays_where_a_build_fails(tmp_path: Path) -> None:
    out = tmp_path / "net.py"
    fake(None).write(out)
    standing = out.read_bytes()
    with pytest.raises(VerifyError):
        build(recipe(template="broken"), out)
    assert out.read_bytes() == standing
    assert list(tmp_path.iterdir()) == [out]


def test_wrong_options_show_before_data_is_read(tmp_path: Path) -> None:
    def loaded(_: Graph) -> None:
        raise AssertionError("data was read")

    for key, value in (("template.steps", -1), ("attach-ports.outputs", 0)):
        with pytest.raises(CompileError, match=r"steps|outputs"):
            build(recipe().having({key: value}), tmp_path / "net.py", loaded=loaded)


def test_measured_is_required_before_any_pass_runs(tmp_path: Path) -> None:
    def never(_: Ran) -> None:
        raise AssertionError("a pass was run")

    out = tmp_path / "net.py"
    with pytest.raises(CompileError, match="toy@1 is modelled, not measured"):
        build(recipe("modelled"), out, require="measured", after=never)
    with pytest.raises(CompileError, match="did you mean 'measured'"):
        build(recipe(), out, require="mesured")
    assert list(tmp_path.iterdir()) == []
    build(recipe(), out, require="measured", verify=False)
    assert out.exists()


def test_the_user_has_to_vouch_for_files(tmp_path: Path) -> None:
    (tmp_path / "edges.csv").write_text("pre,post\na,b\nb,a\n")
    given, out = {"edges": str(tmp_path / "edges.csv")}, tmp_path / "net.py"
    with pytest.raises(CompileError, match="table:edges is not known to be measured") as caught:
        build("table", out, settings=given, require="measured", verify=False)
    assert "--set evidence=measured" in caught.value.hint
    build("table", out, settings=given | {"evidence": "measured"}, require="measured", verify=False)
    with pytest.warns(UserWarning, match="table:edges is not known to be measured"):
        build("table", out, settings=given, verify=False)


def test_modelled_data_never_go_by_a_measured_name() -> None:
    def name(recipe_name: str, dataset: str) -> str:
        chosen = replace(recipe(), name=recipe_name)
        return shown_name(chosen, Graph((), (), Provenance(dataset)))

    assert name("microns-v1", "microns-v1") == "microns-v1"
    assert name("microns-v1", "microns-v1-surrogate") == "microns-v1-surrogate"
    assert name("microns-v1-surrogate", "microns-v1-surrogate") == "microns-v1-surrogate"
    assert name("mine", "microns-v1-surrogate") == "mine-surrogate"
    assert name("mine", "microns-v1-null-blocks") == "mine-null-blocks"


def test_a_null_model_never_goes_by_the_name_of_the_data(tmp_path: Path) -> None:
    out = tmp_path / "net.py"
    chosen = recipe(passes=("null-model", *PASSES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = build(chosen, out, require="measured", verify=False)
    assert plain.name == "toy-column"

    settings = {"null-model.model": "density", "null-model.null_seed": 5}
    because = "connections were randomised by the null model 'density', null_seed 5"
    caveat = f"toy-null-density@1 is modelled, not measured: {because}"
    with pytest.warns(UserWarning, match=caveat) as warned:
        built = build(chosen.having(settings), out)
    assert [w.filename for w in warned] == [__file__]
    assert built.name == "toy-column-null-density"
    module = load_module(out)
    assert type(module.build()).__name__ == "ToyColumnNullDensity"
    assert module.PROVENANCE["dataset"] == "toy-null-density"
    assert module.PROVENANCE["measured"] is False
    title, first, *_ = (module.__doc__ or "").split("\n\n")
    assert title == "ToyColumnNullDensity: Null model (density) of A toy column."
    assert first.startswith("MODELLED, NOT MEASURED: this is a null model")
    assert f"its {because}." in first.replace("\n", " ")
    with pytest.raises(CompileError, match="leave the null model out"):
        build(chosen.having(settings), out, require="measured", after=lambda _: None)


def test_a_null_model_of_a_surrogate_is_both(tmp_path: Path) -> None:
    chosen = recipe("surrogate", ("null-model", *PASSES)).having({"null-model.model": "degrees"})
    with pytest.warns(UserWarning, match="not measured"):
        built = build(chosen, tmp_path / "net.py", verify=False)
    assert built.name == "toy-column-surrogate-null-degrees"
    text = " ".join(built.emission.source.split())
    assert "class ToyColumnSurrogateNullDegrees(nn.Module)" in text
    assert "this is a null model" in text
    assert "before that, cells were invented." in text


def test_settings_may_be_texts_or_values(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "microns-v1"\n')
    by_text = load_recipe(path, ["source=statistics", "seed=2"])
    by_value = load_recipe(path, {"source": "statistics", "seed": 2})
    assert by_text.source.make() == by_value.source.make()
    with pytest.raises(CompileError, match="did you mean 'seed'"):
        load_graph(path, sed=2)


def test_settings_are_keyword_arguments_of_a_build(tmp_path: Path) -> None:
    out = tmp_path / "net.py"
    by_word = build("synthetic", out, verify=False, grids=[[5, 5]], seed=2)
    by_dict = build("synthetic", out, verify=False, settings={"grids": [[5, 5]], "seed": 2})
    of_recipe = build(load_recipe("synthetic", seed=2), out, verify=False, grids=[[5, 5]])
    digests = {b.graph.digest() for b in (by_word, by_dict, of_recipe)}
    assert (len(digests), by_word.graph.n_neurons) == (1, 25)
    with pytest.raises(CompileError, match="option 'seed': is given twice"):
        build("synthetic", out, settings=["seed=1"], seed=2)
    edges = tmp_path / "edges.csv"
    edges.write_text("pre,post\na,b\nb,a\n")
    with pytest.warns(UserWarning, match="not known to be measured") as warned:
        assert load_graph("table", edges=edges).n_connections >= 2
    assert [w.filename for w in warned] == [__file__]


# --- the same bytes -------------------------------------------------------------------------------

BUILD = """
import sys
from connectome_compiler.pipeline import build
build("microns-v1-surrogate", sys.argv[1], verify=False)
heavy = {"torch", "networkx", "scipy", "caveclient"} & set(sys.modules)
assert not heavy, heavy
"""


def test_two_builds_are_the_same_bytes_and_need_no_torch(tmp_path: Path) -> None:
    found = []
    for k, seed in enumerate(("0", "4711")):
        folder = tmp_path / f"folder{k}"
        folder.mkdir()
        out = folder / "model.py"
        given = str(out) if k else "model.py"
        env = {**os.environ, "PYTHONHASHSEED": seed, "COLUMNS": str(60 + 40 * k)}
        subprocess.run(
            [sys.executable, "-c", BUILD, given],
            check=True,
            cwd="/" if k else folder,
            env={**env, "PYTHONPATH": str(Path(pipeline.__file__).parents[1])},
        )
        found.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert found[0] == found[1]
    arrays, module = sorted(found[0])
    assert module == "model.py"
    assert re.fullmatch(r"model\.connectome-[0-9a-f]{12}\.safetensors", arrays)
    source = found[0]["model.py"].decode()
    assert str(tmp_path) not in source
    assert "class MicronsV1Surrogate(nn.Module)" in source


def test_in_one_process_too(tmp_path: Path) -> None:
    a, b = (build(recipe(), tmp_path / f"{n}" / "net.py", verify=False) for n in "ab")
    assert a.graph.digest() == b.graph.digest()
    assert [p.read_bytes() for p in a.written] == [p.read_bytes() for p in b.written]
    other = build(recipe().having({"source.seed": 1}), tmp_path / "c" / "net.py", verify=False)
    assert other.graph.digest() != a.graph.digest()


# --- names of untrusted recipes reach the source only as text -------------------------------------


STRANGE_PATHS: list[Any] = ["a\0b.py", "x" * 5_000 + ".py", "x" * 5_000 + "/m.py", "\ud800.py"]
STRANGE_PATHS += [b"m.py", 123, None]


@pytest.mark.parametrize("given", STRANGE_PATHS, ids=lambda given: ascii(given)[:10])
def test_what_can_be_no_path_is_said(given: Any, tmp_path: Path) -> None:
    for use in (lambda: build(recipe(), out=given), lambda: load_graph(given)):
        with pytest.raises(CompileError) as caught:
            use()
        assert len(str(caught.value)) < 2_000
    with pytest.raises(CompileError):
        build(given, out=tmp_path / "m.py")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("settings", [5, None, "seed=1", [1], {1: 2}, b"seed=1"])
def test_what_can_be_no_settings_is_said(settings: Any, tmp_path: Path) -> None:
    for use in (
        lambda: load_recipe("microns-v1", settings),
        lambda: build("microns-v1", out=tmp_path / "m.py", settings=settings),
    ):
        with pytest.raises(CompileError, match=r"settings: must be options by name, not"):
            use()
    with pytest.raises(CompileError, match="--require"):
        build(recipe(), out=tmp_path / "m.py", require=settings)


@pytest.mark.parametrize("name", ['"""; import os #', "a'b", "\\", "L4 → L5", "class", "{{ 7 }}"])
def test_a_recipe_cannot_write_code(name: str, tmp_path: Path) -> None:
    built = build(replace(recipe(), name=name, title=name), tmp_path / "net.py", verify=False)
    plain = build(recipe(), tmp_path / "plain.py", verify=False)

    def shape(text: str) -> list[str]:
        return [type(node).__name__ for node in ast.parse(text).body]

    assert shape(built.emission.source) == shape(plain.emission.source)
    stated = next(
        ast.literal_eval(node.value)
        for node in ast.parse(built.emission.source).body
        if isinstance(node, ast.AnnAssign)
        and node.value
        and "PROVENANCE" in ast.unparse(node.target)
    )
    assert stated["name"] == name
