"""The package's own interface: ten names, each documented on one page that is run by the tests."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from types import ModuleType

import pytest
from worms import worm

import connectome_compiler as cc
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.passes import BUILTIN as PASSES
from connectome_compiler.registry import find, recipe_names
from connectome_compiler.templates import BUILTIN as STYLES

ROOT = Path(__file__).resolve().parent.parent


def test_ten_names_are_public_and_there() -> None:
    assert len([name for name in cc.__all__ if name != "__version__"]) == 10
    for name in cc.__all__:
        assert getattr(cc, name) is not None
        assert name in dir(cc)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in set(cc.__all__) - {"__version__"}:
        assert f"cc.{name}" in page, f"docs/python.md says nothing of {name}"


def test_nothing_heavy_is_imported_with_the_package() -> None:
    code = "import connectome_compiler as cc, sys; dir(cc), cc.passes, cc.styles, dir(cc.passes)\n"
    code += "print({'torch', 'numpy', 'pandas', 'pyarrow', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("room", "kind", "names"), [
    (cc.passes, "pass", PASSES),
    (cc.styles, "template", STYLES),
])  # fmt: skip
def test_every_class_is_an_attribute(room: object, kind: str, names: dict[str, str]) -> None:
    """And editors know it: it is imported for them, though not when the program runs."""
    source = Path(str(room.__file__)).read_text(encoding="utf-8")  # type: ignore[attr-defined]
    for name, place in names.items():
        module, cls = place.split(":")
        assert getattr(room, cls) is find(kind, name)  # type: ignore[arg-type]
        assert cls in dir(room)
        assert f"import {cls} as {cls}" in source.replace("(\n        ", "").replace(",\n", "\n")
        assert module in source
    with pytest.raises(AttributeError, match=f"no {kind} has a class called 'Nonsense'"):
        room.Nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_a_graph_of_ones_own_is_built_loaded_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = worm(9).run(
        cc.passes.ApplyDale("report"), cc.passes.SetDynamics(), cc.passes.AttachPorts()
    )
    assert [step.name for step in graph.provenance.steps][-1] == "attach-ports"
    built = cc.build(graph, tmp_path / "own_net.py", style=cc.styles.Recurrent(dt_ms=5.0))
    assert built.name == "toy-worm"
    assert built.certificate is not None
    module = built.load()
    assert module.PROVENANCE["name"] == "toy-worm"
    assert str(module.__doc__).startswith("ToyWorm: A toy worm.")
    network = module.build()
    assert type(pickle.loads(pickle.dumps(network))) is type(network)
    assert built.load() is sys.modules.pop("own_net")  # once more, as a reload
    monkeypatch.setitem(sys.modules, "own_net", ModuleType("own_net"))
    with pytest.raises(CompileError, match="has the name of a module that is imported already"):
        built.load()
    assert cc.verify(tmp_path / "own_net.py", graph).n_connections == graph.n_connections
    with pytest.raises(VerifyError, match="not the one"):
        cc.verify(tmp_path / "own_net.py", worm(9))
    other = cc.build(graph, tmp_path / "o.py", style="recurrent", dt_ms=5.0, verify=False)
    assert other.emission.source == built.emission.source
    named = cc.build(graph, tmp_path / "n.py", style="recurrent", name="my net", verify=False)
    assert named.emission.class_name == "MyNet"


WRONG: dict[str, tuple[Callable[[cc.Graph, Path], object], str]] = {
    "no style": (lambda g, out: cc.build(g, out), "style: is not given"),
    "unknown style": (
        lambda g, out: cc.build(g, out, style="recurent"),
        "did you mean 'recurrent'",
    ),
    "a class": (lambda g, out: cc.build(g, out, style=cc.styles.Recurrent), "is not a style"),
    "options beside a style": (
        lambda g, out: cc.build(g, out, style=cc.styles.Recurrent(), dt_ms=3.0),
        "dt_ms: is given beside a style that was made",
    ),
    "an unknown option": (
        lambda g, out: cc.build(g, out, style="recurrent", dt=3.0),
        "option 'dt': no such name",
    ),
    "a style for a recipe": (
        lambda g, out: cc.build("celegans", out, style="bionic"),
        "the recipe celegans has its own",
    ),
    "a missing option": (lambda g, out: cc.load("table"), "table.edges: is not set"),
    "an unknown adapter": (lambda g, out: cc.load("celegan"), "did you mean 'celegans'"),
    "an unknown stage": (lambda g, out: cc.load_graph("celegans", after="dale"), "stage 'dale'"),
    "measured": (
        lambda g, out: cc.build(g, out, style="recurrent", require="mesured"),
        "did you mean 'measured'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_told(name: str, tmp_path: Path) -> None:
    make, message = WRONG[name]
    graph = worm(6).run(cc.passes.SetDynamics(), cc.passes.AttachPorts())
    with pytest.raises(CompileError) as caught:
        make(graph, tmp_path / "x.py")
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_recipe_stops_after_a_stage() -> None:
    raw = cc.load_graph("celegans-cook2019", after="source")
    strong = cc.load_graph("celegans-cook2019", min_synapses=3, after="drop-weak-connections")
    assert raw == cc.load("celegans")
    assert strong.n_connections < raw.n_connections
    assert strong.provenance.steps[-1].name == "drop-weak-connections"
    assert not strong.ports
    # A stage that takes no part is a place all the same.
    assert cc.load_graph("celegans-cook2019", after="select-neurons") == raw
    whole = cc.load_graph(cc.load_recipe("celegans-cook2019", min_synapses=3))
    assert whole.ports


def test_a_saved_graph_has_no_options(tmp_path: Path) -> None:
    saved = worm(6).save(tmp_path / "graph")
    assert cc.load_graph(saved) == worm(6)
    for settings in ({"min_synapses": 2}, {"after": "source"}):
        with pytest.raises(CompileError, match="is a saved graph"):
            cc.load_graph(saved, **settings)


@pytest.mark.parametrize("function", [cc.build, cc.load_graph, cc.load_recipe])
def test_no_option_is_called_as_an_argument(function: Callable[..., object]) -> None:
    """Options are keyword arguments: each recipe's must be free to be given."""
    own = {
        name
        for name, p in signature(function).parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    for name in recipe_names():
        assert not own & cc.load_recipe(name).options.keys(), name
