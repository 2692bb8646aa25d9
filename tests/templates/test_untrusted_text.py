"""No text of a graph, whatever it says, becomes code in any style's module."""

import ast
import builtins
import keyword
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from areas import areas
from click.testing import CliRunner
from columns import column, laminar, load_module
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from worms import driven, worm

from connectome_compiler import registry
from connectome_compiler.cli import main
from connectome_compiler.data_adapters.mimetic import Layer
from connectome_compiler.data_adapters.mimetic import Mimetic as Windows
from connectome_compiler.data_adapters.ncap import Ncap as Swimmer
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import printable
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import GaussianLaw, Graph, Named, Port, Swept
from connectome_compiler.ir.provenance import SourceFile, Step
from connectome_compiler.passes.lay_kernels import LayKernels
from connectome_compiler.passes.level_areas import LevelAreas
from connectome_compiler.passes.materialise_laws import MaterialiseLaws
from connectome_compiler.passes.normalise_in_degree import NormaliseInDegree
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.size_maps import SizeMaps
from connectome_compiler.passes.wire_levels import WireLevels
from connectome_compiler.pipeline import build
from connectome_compiler.recipe import parse
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.mimetic.style import Mimetic
from connectome_compiler.templates.mousenet.style import Mousenet
from connectome_compiler.templates.ncap.style import Ncap
from connectome_compiler.templates.recurrent.style import Recurrent

pytestmark = pytest.mark.filterwarnings("ignore:.*modelled, not measured.*:UserWarning")


def windows() -> Graph:
    layers = [Layer("seen", (6,)), Layer("sheet", (8,), window=True, activation="relu")]
    layers += [Layer("more", (8,), normalisation="batch"), Layer("classes", (3,))]
    graph: Graph = Windows(tuple(layers), dataset="small", form="diagonal").load()
    return graph


def maps() -> Graph:
    near, eyes = GaussianLaw(300.0, 10.0), GaussianLaw(1.5, 10.0, 0.9, "px")
    laws = [("input", "T4", eyes), ("T4", "V4", eyes), ("V4", "V2/3", near), ("V4", "V5", near)]
    graph = areas(
        {"T": 0, "V": 1}, [*laws, ("V2/3", "V5", near)], layers=("4", "2/3", "5"), n_neurons=300
    )
    nodes = {True: Swept("linear"), False: Swept(normalisation="batch")}
    people = [replace(p, node=nodes[p.artificial]) for p in graph.populations]
    people = [p for p in people if p.name not in ("T2/3", "T5")]
    ports = (Port("input", "input", "in"), Port("V5", "V5", "out"))
    graph = replace(graph, populations=tuple(people), ports=ports)
    levels = (LevelAreas(), WireLevels(skips=()), NormaliseInDegree(total=20.0))
    return run(graph, (*levels, SizeMaps(input_size=16), LayKernels(), MaterialiseLaws()))


@dataclass(frozen=True)
class Case:
    """A style, a graph for it, and the names that it knows populations by."""

    style: Callable[..., Any]
    graph: Callable[[], Graph]
    fixed: tuple[str, ...] = ()

    def emit(self, graph: Graph, recipe: str = "toy", **options: Any) -> Emission:
        made: Emission = self.style(class_name="Net", **options).emit(graph, recipe)
        return made


CASES = {
    "bionic": Case(Bionic, cache(lambda: laminar(column(), flow="keep")), ("image", "classes")),
    "mimetic": Case(Mimetic, cache(windows)),
    "mousenet": Case(partial(Mousenet, classes=3, pool=1), cache(maps)),
    "ncap": Case(Ncap, cache(lambda: Swimmer().load())),
    "recurrent": Case(
        Recurrent, cache(lambda: driven(worm(), partition="role")), ("input", "output")
    ),
}
CODE = "builtins_canary()"
NASTY = (
    f'""";{CODE};"""',
    f"''';{CODE};'''",
    f'"{CODE}"',
    f"'+{CODE}+'",
    f'\\"\\"\\";{CODE}',
    '"""""',
    'x"',
    "x\\",
    'x\\"""',
    "{{ 7 * 7 }}{% raw %}{# #}",
    "{0} %s %(x)d {CODE!r} \\N{BULLET} \\x41 \\u0041",
    f"\n{CODE}\n",
    f"\r\n{CODE}\x0c\x0b\x1c\x85\u2028",
    "\u202e)(yranac\u2066\u200b\ufeff",
    "\x00\x1b[2J\x7f",
    "𝔘𝔫𝔦 ｅval 🧠 é",
    f"# -*- coding: utf-7 -*-\n{CODE}",
    "-null",
    "long " * 2000,
    "l" * 10_000,
)


def renamed(graph: Graph, by: str | Mapping[str, str], fixed: tuple[str, ...] = ()) -> Graph:
    """Return the graph with other names of populations, ports and shared weights, or a prefix."""

    def spell(name: str) -> str:
        return by + name if isinstance(by, str) else by.get(name, name)

    new = {p.name: p.name if p.name in fixed else spell(p.name) for p in graph.populations}
    weights = [
        replace(q.weights, name=spell(q.weights.name)) if isinstance(q.weights, Named) else None
        for q in graph.projections
    ]
    return replace(
        graph,
        populations=tuple(replace(p, name=new[p.name]) for p in graph.populations),
        projections=tuple(
            replace(q, pre=new[q.pre], post=new[q.post], weights=w or q.weights)
            for q, w in zip(graph.projections, weights, strict=True)
        ),
        ports=tuple(
            replace(p, name=spell(p.name), population=new[p.population]) for p in graph.ports
        ),
    )


def told(graph: Graph, text: str) -> Graph:
    """Return the graph with ``text`` in every field of its origin."""
    origin = replace(
        graph.provenance,
        dataset=text,
        version=text,
        title=text,
        licence=text,
        citations=(text, text),
        files=(SourceFile(text, text, 1, text),),
        steps=(Step(text, text, 1, 1, 1, 1, (text, text)),),
    )
    return replace(graph, provenance=origin)


def docstring(emission: Emission) -> str:
    return ast.get_docstring(ast.parse(emission.source), clean=False) or ""


def class_docstring(emission: Emission) -> str:
    made = [n for n in ast.parse(emission.source).body if isinstance(n, ast.ClassDef)]
    return ast.get_docstring(next(n for n in made if n.name == emission.class_name)) or ""


def stated(emission: Emission) -> Any:
    for node in ast.parse(emission.source).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "PROVENANCE":
            return ast.literal_eval(node.value)  # type: ignore[arg-type]
    raise AssertionError("no PROVENANCE")


def letters(text: str) -> str:
    """Leave out what breaking lines changes."""
    return "".join(printable(text).split())


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    fired: list[str] = []
    monkeypatch.setattr(builtins, "builtins_canary", lambda: fired.append("!"), raising=False)
    return fired


@pytest.mark.parametrize("case", CASES)
def test_hostile_text_is_imported_as_text(case: str, canary: list[str], tmp_path: Path) -> None:
    for k, text in enumerate(NASTY):
        graph = told(CASES[case].graph(), text)
        if text.isprintable() and len(text) < 1000:
            graph = renamed(graph, text, CASES[case].fixed)
        graph.verify()
        emission = CASES[case].emit(graph, text)
        said = stated(emission)
        for key in ("name", "dataset", "version", "title", "licence"):
            assert said[key] == text
        assert said["steps"][0]["notes"] == [text, text]
        assert letters(text) in letters(docstring(emission))
        if CODE in text:
            module = load_module(emission.write(tmp_path / f"net{k}.py")[-1])
            assert said == module.PROVENANCE
    assert not canary


@pytest.mark.parametrize("case", ["mimetic", "mousenet", "ncap"])
def test_docstrings_of_classes_say_names_as_they_are(case: str) -> None:
    name = '"" """x\\n{{ 1 }}\\'
    graph = renamed(CASES[case].graph(), name)
    assert letters(name) in letters(class_docstring(CASES[case].emit(graph)))


# What is not text (half a surrogate pair) no record takes: see tests of saved graphs.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
names = st.text(max_size=20).filter(lambda t: t.isprintable() and "->" not in t)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=6)
@given(texts, names)
def test_any_text_stays_text(case: str, text: str, name: str) -> None:
    graph = renamed(CASES[case].graph(), name, CASES[case].fixed)
    emission = CASES[case].emit(told(graph, text), "toy")
    said = stated(emission)
    assert [said[key] for key in ("dataset", "title", "licence")] == [text] * 3
    assert said["files"][0]["name"] == said["steps"][0]["options"] == text
    assert letters(text) in letters(docstring(emission))
    plain = CASES[case].emit(CASES[case].graph(), "toy")

    def shape(made: Emission) -> list[type]:
        return [type(n) for n in ast.walk(ast.parse(made.source)) if not _of_data(n)]

    assert shape(emission) == shape(plain)


def _of_data(node: ast.AST) -> bool:
    """Whether a node may stand for data: what is in lists, and the kinds of numbers and texts."""
    return isinstance(node, ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.Load)


# --- names that the module has a meaning for ------------------------------------------------------


def words_of(source: str) -> set[str]:
    """Return all names in a module that a population could be spelled as."""
    found = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *dir(nn.Module())}
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "arg", "name"):
            found.add(getattr(node, field, None) or "")
    return {word for word in found if word == word.strip("_").lower() != ""}


def chunks(words: list[str], n: int) -> Iterator[list[str]]:
    rest = iter(words)
    while chunk := list(islice(rest, n)):
        yield chunk + [f"other{k}" for k in range(n - len(chunk))]


def run_of(emission: Emission, path: Path) -> list[torch.Tensor]:
    net = load_module(emission.write(path)[-1]).build()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.uniform_(-1, 1)
        found = net.eval().rates(net.example_input(2))
    return [*found.values(), *net.effective_weights(all=True).values()]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_populations_may_be_called_like_anything_in_the_module(case: str, tmp_path: Path) -> None:
    chosen = CASES[case]
    plain = chosen.emit(chosen.graph())
    expected = run_of(plain, tmp_path / "plain.py")
    own = [p.name for p in chosen.graph().populations if p.name not in chosen.fixed]
    words = sorted(words_of(plain.source) - {*chosen.fixed})
    assert len(words) > 150
    for k, chunk in enumerate(chunks(words, len(own))):
        new = dict(zip(sorted(own), sorted(chunk), strict=True))  # junctions go by name
        graph = renamed(chosen.graph(), new, chosen.fixed)
        graph.verify()
        found = run_of(chosen.emit(graph), tmp_path / f"net{k}.py")
        for a, b in zip(found, expected, strict=True):
            assert torch.equal(a.to_dense(), b.to_dense()), new


@pytest.mark.parametrize("case", CASES)
def test_names_that_fall_together_are_kept_apart(case: str, tmp_path: Path) -> None:
    chosen = CASES[case]
    expected = run_of(chosen.emit(chosen.graph()), tmp_path / "plain.py")
    own = [p.name for p in chosen.graph().populations if p.name not in chosen.fixed]
    together = (
        "a",
        "A",
        "a_to_a",
        "a to a",
        "ａ",
        "a_2",
        "a_norm",
        "a_to_a_norm",
        "self",
        "_",
        "é",
    )
    for shift in range(3):
        chosen_names = sorted(islice(together, shift, shift + len(own)))
        new = dict(zip(sorted(own), chosen_names, strict=False))
        graph = renamed(chosen.graph(), new, chosen.fixed)
        found = run_of(chosen.emit(graph), tmp_path / f"net{shift}.py")
        for a, b in zip(found, expected, strict=True):
            assert torch.equal(a.to_dense(), b.to_dense()), new


@pytest.mark.parametrize("name", ["self", "range", "turn_control", "proprioception"])
def test_the_clock_of_a_motif_has_a_switch_of_its_own(name: str, tmp_path: Path) -> None:
    ncap = CASES["ncap"]
    expected = run_of(ncap.emit(ncap.graph()), tmp_path / "plain.py")
    found = run_of(ncap.emit(renamed(ncap.graph(), {"oscillator": name})), tmp_path / "net.py")
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.to_dense(), b.to_dense())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "name", ["torch", "ｔorch", "class", "a b", "x:\n pass", "Tensor", "build", "ﬁ", "READ_OUT"]
)
def test_classes_are_not_called_like_anything_else(case: str, name: str) -> None:
    with pytest.raises(CompileError, match="class"):
        replace(CASES[case].style(), class_name=name).emit(CASES[case].graph(), "toy")


# --- the attacks ----------------------------------------------------------------------------------

PAYLOAD = '""";__import__("pathlib").Path("PWNED").touch();"""'


def build_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, ["build", *words])
    assert done.exit_code == 0, done.output
    assert not (folder / "PWNED").exists()


def test_a_name_in_a_recipe_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.toml").write_text(
        f"""
        name = "evil"
        [source]
        use = "mimetic"
        dataset = "d"
        radius = 0.4
        [[source.layers]]
        name = 'image{PAYLOAD}'
        shape = [16]
        [[source.layers]]
        name = "sheet"
        shape = [16]
        window = true
        [[source.layers]]
        name = "classes"
        shape = [4]
        [template]
        use = "mimetic"
        """
    )
    build_in(tmp_path, monkeypatch, "evil.toml", "--out", "evil.py")


def test_a_name_in_a_table_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    area = PAYLOAD.replace('"', '""')
    (tmp_path / "areas.csv").write_text(
        "area,layer,level,n_neurons,surface_mm2,output\nLGN,,0,200,,\n"
        f'"V1{area}",4,1,1000,1,1\n"V1{area}",2/3,1,1000,1,\n"V1{area}",5,1,1000,1,\n'
    )
    (tmp_path / "wires.csv").write_text(
        f'pre,post,width,unit,share\ninput,LGN,1,px,1\nLGN,"V1{area}4",2,px,1\n'
    )
    tables = {"populations": "areas.csv", "interareal": "wires.csv"}
    options = {**tables, "classes": 4, "input_size": 8, "pool": 1, "halve_at": "[]", "skips": "[]"}
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    build_in(tmp_path, monkeypatch, "mousenet", *words, "--out", "evil.py")


# --- templates of others --------------------------------------------------------------------------


@dataclass(frozen=True)
class Careless:
    """Puts the first name into a docstring, as text of its own."""

    name: ClassVar[str] = "careless"

    def emit(self, graph: Graph, recipe: str) -> Emission:
        text = f'"""Maps {graph.populations[0].name}."""\nPROVENANCE: dict[str, Any] = {{}}\n'
        return Emission("Net", text + 'class Net:\n    """A net."""\n', None)


@dataclass(frozen=True)
class Patched:
    """Alters a module that another style made."""

    name: ClassVar[str] = "patched"

    def emit(self, graph: Graph, recipe: str) -> Emission:
        made: Emission = Mimetic().emit(graph, recipe)
        return replace(made, source=made.source.replace("layers", graph.populations[0].name))


RECIPE = f"""
[source]
use = "mimetic"
dataset = "d"
radius = 0.4
[[source.layers]]
name = 'x{PAYLOAD}'
shape = [4]
[[source.layers]]
name = "y"
shape = [4]
window = true
[template]
use = "other"
"""


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("template", [Careless, Patched])
def test_a_template_that_writes_plain_text_is_refused(
    template: type[Any], verify: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(kind: registry.Kind, name: str, *place: Any) -> type[Any]:
        return template if name == "other" else registry.find(kind, name, *place)

    monkeypatch.setattr("connectome_compiler.recipe.find", find)
    with pytest.raises(VerifyError, match="plain text"):
        build(parse("toy.toml", RECIPE), tmp_path / "net.py", verify=verify)
    assert not list(tmp_path.iterdir())
