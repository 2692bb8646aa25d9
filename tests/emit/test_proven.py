"""Source is proven only where data are literals of their own; all else is refused."""

import builtins
import sys
from pathlib import Path

import pytest

from connectome_compiler.emit.literal import Source, code, docstring, identifier, literal
from connectome_compiler.emit.names import MODULE
from connectome_compiler.emit.proven import Proven, proven
from connectome_compiler.emit.render import render
from connectome_compiler.errors import CompileError, VerifyError

HEAD = code(
    "{}\nPROVENANCE: dict = {}\n\n\nclass Net:\n    {}\n",
    docstring("m"),
    literal({}),
    docstring("c", 4),
)


def test_a_module_with_literals_of_data_is_proven() -> None:
    made = code("{}\nX = {}, {}\n", HEAD, literal('"""'), literal(["é", {"a": float("inf")}]))
    checked = proven(made, "Net")
    assert isinstance(checked, Proven)
    assert checked == made
    assert proven(checked, "Net") is checked


# Each template is wrong whatever the data say: the harmless text shows it as the hostile one does.
WRONG = {
    "in quotes": lambda text: code('X = "{}"\n', literal(text)),
    "in a docstring": lambda text: code('def f():\n    """{}"""\n', literal(text)),
    "in a comment": lambda text: code("X = 1  # {}\n", literal(text)),
    "in an f-string": lambda text: code("X = f'''{}'''\n", literal(text)),
    "after a prefix": lambda text: code("X = f{}\n", literal(text)),
    "raw": lambda text: code("X = r{}\n", literal(text)),
    "beside a string": lambda text: code('X = "a" {}\n', literal(text)),
    "as a name": lambda text: code("X = self.{}\n", literal(text)),
    "a docstring in quotes": lambda text: code('X = """{}"""\n', docstring(text)),
    "another value": lambda text: code("X = {}\n", Source(literal("b"), literal(text).data)),
}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("text", ["a", "+canary()+", "{canary()}", "\\", '"""'])
def test_what_is_misplaced_is_refused_whatever_it_says(how: str, text: str) -> None:
    with pytest.raises(VerifyError, match=r"literal of its own|not valid Python"):
        proven(code("{}\n{}", HEAD, WRONG[how](text)), "Net")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1\n", "plain text"),
        (code("x = 1\n"), "docstring"),
        (code("{}\nx = 1\n", docstring("m")), "docstring"),
        (code("{}\nclass Net:\n    {}\n", docstring("m"), docstring("c")), "PROVENANCE"),
        (code("{}\nPROVENANCE: dict = dict()\n", HEAD), "PROVENANCE"),
        (
            code('"""m"""\nPROVENANCE: dict = {}\nclass Net:\n    """c"""\n', literal({})),
            "docstring",
        ),
        (code("{}\nx = (\n", HEAD), "not valid Python"),
        (code("{}\nx = '\u202e'\n", HEAD), "invisible characters"),
        (code("{}\n\x0cx = 1\n", HEAD), "invisible characters"),
    ],
)
def test_what_is_not_meant_is_refused(source: str, problem: str) -> None:
    with pytest.raises(VerifyError, match=problem):
        proven(source, "Net")


def test_code_is_a_constant_of_the_program() -> None:
    name = "L4.exc".removesuffix(".exc")
    with pytest.raises(CompileError, match="constant of the program"):
        code(f"self.{name}")
    with pytest.raises(CompileError, match="plain text"):
        code("self.{}", name)
    with pytest.raises(CompileError, match="2 parts for 1 places"):
        code("self.{}", 1, 2)
    assert code("self.{}[{}]", identifier(name), 3) == "self.L4[3]"


@pytest.mark.parametrize("name", ["", "a b", "1a", "class", "ｅval", "ﬁ", "a\n", "a;b", "self.x"])
def test_identifiers_are_one_name(name: str) -> None:
    with pytest.raises(CompileError, match="not a valid Python name"):
        identifier(name)


# --- templates ------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "their_styles"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_styles", raising=False)
    return folder


def test_templates_of_other_packages_are_rendered(package: Path) -> None:
    text = "{% macro m(x) %}{{ x }}{% endmacro %}{% set s %}<{{ a }}>{% endset %}"
    (package / "net.jinja").write_text(text + "{{ m(a) }}={{ s }}{{ n }}{{ none }}{{ t }}\n")
    context = {"a": literal("{{ 7*7 }}"), "n": 3, "none": None, "t": (1.5, True)}
    made = render("their_styles:net.jinja", context)
    assert made == '"{{ 7*7 }}"=<"{{ 7*7 }}">3None(1.5, True)\n'
    assert [made[d.start : d.end] for d in made.data][:2] == ['"{{ 7*7 }}"'] * 2


@pytest.mark.parametrize(
    "place", ["{{ name }}", "{{ source ~ name }}", "{{ name | upper }}", "{{ source | upper }}"]
)
def test_templates_place_no_plain_text(place: str, package: Path) -> None:
    (package / "net.jinja").write_text(f"x = {place}\n")
    with pytest.raises(CompileError, match=r"plain text where source is built"):
        render("their_styles:net.jinja", {"name": "L4", "source": code("x")})


def test_attributes_of_modules_are_known() -> None:
    from torch import nn

    module = nn.Module()
    public = {n for n in {*dir(module), *vars(module)} if not n.startswith("_")}
    assert public <= MODULE
    assert not MODULE & {"self", *dir(builtins)} - {"type", "float", "compile", "eval"}
