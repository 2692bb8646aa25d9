"""The tree tells the architecture: imports point one way, and one wheel holds one name."""

import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import networkx
import pytest

from connectome_compiler.certify.meaning import Meaning, meaning_of
from connectome_compiler.templates import BUILTIN

ROOT = Path(__file__).parents[1]
PACKAGE = "connectome_compiler"

# Every file has a room: a folder, or a file by itself. A room may import of the package itself,
# what is said here, and what these may.
ROOMS: dict[str, set[str]] = {
    "__init__": set(),
    "text": set(),
    "errors": {"text"},
    "files": {"errors"},
    "reading": {"errors"},
    "sources": {"errors"},
    "options": {"errors", "sources"},
    "own_code": {"reading"},
    "registry": {"own_code"},
    "lazy": {"registry"},
    "nn": {"nn/window_rules"},
    "nn/window_rules": set(),  # the standard library alone: graphs and layers share them
    "ir": {"files", "nn/window_rules", "registry"},
    "lower": {"ir"},
    "statement": {"lower"},
    "passes": {"ir", "lazy", "options"},
    "questions": {"passes"},
    "emit": {"nn", "statement", "files", "options"},
    "certify": {"nn", "statement", "files", "registry", "options"},
    "plots": {"ir", "options"},
    "recipe": {"options", "reading", "registry", "sources"},
    "recipes": set(),
    "controls": {"emit", "lower", "passes", "recipe"},
    "pipeline": {"certify", "controls", "emit", "passes", "reading", "recipe"},
    "analysis": {"certify", "options", "recipe"},
    "tasks": {"certify", "options", "recipe"},
    "views": {"analysis", "pipeline", "questions"},
    "mimetic": {"nn", "errors"},
    "data_adapters": {"passes", "reading", "options", "sources", "nn"},
    "templates": {"emit", "lazy", "options"},
    "templates/*/*meaning": {"certify"},
    "cli": {"views", "tasks", "plots"},
    "__main__": {"cli"},
}
MEANING = "templates/*/*meaning"
LAZY = {  # what imports more when asked for it, and may be imported by that
    PACKAGE: {"ir", "passes", "pipeline", "recipe", "templates"},  # its face
    f"{PACKAGE}.ir.graph": {"passes", "plots", "questions"},  # Graph's methods: `run` runs passes
    f"{PACKAGE}.ir.nodes": set(),  # types of what they are checked against, in signatures
    f"{PACKAGE}.ir.weights": set(),
}
OUTSIDE = {"cli", "data_adapters", "templates"}  # these import the compiler, not the reverse
HEAVY = {"numpy", "torch", "pandas", "pyarrow", "networkx", "scipy", "duckdb", "caveclient"}
CHECKOUT = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="the sources are not here"
)


def sources(*parts: str) -> list[Path]:
    return sorted(p for part in parts for p in (ROOT / part).rglob("*.py"))


def module(path: Path) -> str:
    """Return the dotted name under which a file is imported, less ``__init__``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == PACKAGE else (PACKAGE, *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module(path): path
    for path in [*sources(PACKAGE, "data_adapters", "templates"), ROOT / "cli.py"]
    if path.exists()
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the dotted names that a file imports, and whether as soon as it is imported itself.

    Of the package, they are names of modules.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for node in ast.walk(outer)
    }
    package = module(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            parts = [f"{stem}.{a.name}" for a in node.names]
            names = [part if part in MODULES else stem for part in parts]
        else:
            continue
        for name in names:
            yield name, id(node) not in inner


def room(name: str) -> str:
    """Return the room of a module: the narrowest that fits."""
    path = MODULES[name].relative_to(ROOT).with_suffix("").as_posix().removeprefix(f"{PACKAGE}/")
    fitting = [r for r in ROOMS if path == r or path.startswith(f"{r}/") or fnmatchcase(path, r)]
    return max(fitting, key=len, default="")


def within_reach(start: str) -> set[str]:
    """Return the rooms that ``start`` may import of: those stated, and those that these may."""
    found, waiting = {start}, [start]
    while waiting:
        new = ROOMS[waiting.pop()] - found
        found |= new
        waiting += new
    return found


@CHECKOUT
def test_every_file_has_a_room() -> None:
    assert {room(name) for name in MODULES} == set(ROOMS)


@CHECKOUT
@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name: str) -> None:
    for target, at_top in imports(MODULES[name]):
        if target not in MODULES or target == PACKAGE:  # its version
            continue
        allowed = within_reach(room(name)) | (set() if at_top else LAZY.get(name, set()))
        assert room(target) in allowed, f"{name} imports {target}"


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return what imports itself by way of others: the components of more than one module."""
    graph = networkx.DiGraph([(a, b) for a, many in edges.items() for b in many])
    return [sorted(part) for part in networkx.strongly_connected_components(graph) if len(part) > 1]


@CHECKOUT
def test_nothing_imports_itself_by_way_of_others() -> None:
    edges = {
        name: {
            target
            for target, at_top in imports(path)
            if target in MODULES and (at_top or name not in LAZY)
        }
        for name, path in MODULES.items()
    }
    assert circles(edges) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == [["a", "b", "c"]]


@CHECKOUT
def test_the_proof_and_what_is_proven_share_no_code() -> None:
    for name, path in MODULES.items():
        part = room(name)
        for target, _ in imports(path):
            there = room(target) if target in MODULES else ""
            assert (part, there) != ("certify", "emit"), f"{name} imports {target}"
            assert (part, there) != ("emit", "certify"), f"{name} imports {target}"
            if part == "templates":  # what a style says of its meaning stands in a room of its own
                assert there not in {"certify", MEANING}, f"{name} imports {target}"
            elif part == MEANING:
                assert there not in {"emit", "templates"}, f"{name} imports {target}"


STYLES = "|".join(BUILTIN)


@CHECKOUT
@pytest.mark.parametrize("part", ["emit", "certify", "analysis", "views"])
def test_no_style_is_named(part: str) -> None:
    """What all styles share knows none of them, neither by name nor by its own words."""
    own = {key for name in BUILTIN for key in meaning_of({"template": name}).keys} - Meaning.keys
    assert {"stack", "dynamics"} <= own
    for path in sources(f"{PACKAGE}/{part}"):
        text = path.read_text(encoding="utf-8")
        found = re.search(rf"(?i)\b({STYLES})\b", text)
        assert not found, f"{path.relative_to(ROOT)} names {found[0]}"
        for node in ast.walk(ast.parse(text)):
            asked = [node.slice] if isinstance(node, ast.Subscript) else []
            asked += [node.left] if isinstance(node, ast.Compare) else []
            asked += node.args[:1] if isinstance(node, ast.Call) else []
            for key in asked:
                words = key.value if isinstance(key, ast.Constant) else ""
                assert words not in own, f"{path.relative_to(ROOT)}:{node.lineno} asks for {words}"  # type: ignore[attr-defined]


@CHECKOUT
def test_the_layers_need_torch_alone() -> None:
    # Their source is copied into emitted modules.
    allowed = {*sys.stdlib_module_names, "torch", PACKAGE}
    for path in sources(f"{PACKAGE}/nn"):
        for name, _ in imports(path):
            assert name.split(".")[0] in allowed, f"{path.relative_to(ROOT)} imports {name}"


@CHECKOUT
def test_the_compiler_imports_neither_commands_nor_adapters() -> None:
    for path in sources(PACKAGE):
        if path in {ROOT / PACKAGE / "__main__.py", ROOT / PACKAGE / "__init__.py"}:
            continue  # where the command begins; the face, which imports when it is asked
        for name, _ in imports(path):
            target = [*name.split("."), ""][1] if name.startswith(f"{PACKAGE}.") else name
            assert target not in OUTSIDE, f"{path.relative_to(ROOT)} imports {name}"


@CHECKOUT
def test_everything_is_imported_under_its_installed_name() -> None:
    for path in sources(PACKAGE, "data_adapters", "templates", "tests", "benchmarks"):
        for name, _ in imports(path):
            assert name.split(".")[0] not in OUTSIDE, f"{path.relative_to(ROOT)} imports {name}"


def run(code: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.skipif(not (ROOT / "scripts").exists(), reason="the scripts are not here")
def test_every_file_that_is_mutated_has_tests() -> None:
    code = (
        "import runpy; m = runpy.run_path('scripts/mutate.py'); print(*m['targets'](m['TARGETS']))"
    )
    assert "connectome_compiler/passes/keep_core.py" in run(code).split()


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, {PACKAGE}, {PACKAGE}.errors, {PACKAGE}.registry; print(*sys.modules)"
    assert not HEAVY & set(run(code).split())
    code = f"import sys, {PACKAGE}.passes, {PACKAGE}.templates; print(*sys.modules)"
    assert f"{PACKAGE}.registry" not in run(code).split()  # it comes with the first class


def test_listing_what_there_is_imports_none_of_it() -> None:
    code = f"import sys; from {PACKAGE}.views import catalogue; catalogue.everything()"
    assert not {*HEAVY, "pydantic"} & set(run(f"{code}; print(*sys.modules)").split())


def test_importing_the_ir_imports_no_view() -> None:
    code = f"import sys, {PACKAGE}.ir, {PACKAGE}.ir.storage; print(*sys.modules)"
    assert not {"torch", "pandas", "networkx", "caveclient"} & set(run(code).split())


@CHECKOUT
@pytest.mark.parametrize("name", ["data_adapters", "templates", f"{PACKAGE}.{PACKAGE}"])
def test_a_second_name_is_refused(name: str) -> None:
    message = run(
        f"""
try:
    import {name}
except ImportError as error:
    print(error)
"""
    )
    assert f"import {PACKAGE}" in message


@CHECKOUT
def test_only_known_files_at_the_root() -> None:
    # In a checkout they could be imported as connectome_compiler.<name>.
    assert {p.name for p in ROOT.glob("*.py")} <= {"cli.py", "model.py"}
    packages = {p.parent.name for p in (ROOT / "tests").rglob("__init__.py")}
    assert packages == {"spiking_nets"}  # which stands for one of somebody else


# --- the wheel ------------------------------------------------------------------------------------

KINDS = (".py", ".toml", ".csv", ".jinja")


def build(source: Path, out: Path, what: str) -> Path:
    command = [sys.executable, "-m", "build", f"--{what}", "--no-isolation", "--outdir", str(out)]
    ran = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (made,) = out.iterdir()
    return made


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {n for n in archive.namelist() if ".dist-info/" not in n}


@CHECKOUT
@pytest.mark.slow
def test_the_wheel_has_one_name_and_all_files(tmp_path: Path) -> None:
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    direct = names_in(build(ROOT, tmp_path / "direct", "wheel"))
    assert {n.split("/")[0] for n in direct} == {PACKAGE}

    parts = (PACKAGE, "data_adapters", "templates")
    expected = {f"{PACKAGE}/cli.py"} | {
        ("" if part == PACKAGE else f"{PACKAGE}/") + p.relative_to(ROOT).as_posix()
        for part in parts
        for p in (ROOT / part).rglob("*")
        if p.suffix in KINDS and "__pycache__" not in p.parts
    }
    assert expected <= direct
    assert any(n.startswith(f"{PACKAGE}/recipes/") and n.endswith(".toml") for n in direct)
    assert any(n.startswith(f"{PACKAGE}/templates/") and n.endswith(".jinja") for n in direct)
    assert any(n.startswith(f"{PACKAGE}/data_adapters/facts/") for n in direct)
    assert f"{PACKAGE}/tests" not in {"/".join(n.split("/")[:2]) for n in direct}

    sdist = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert names_in(build(unpacked, tmp_path / "again", "wheel")) == direct

    code = f"""
import sys
sys.path[:0] = [{str(tmp_path / "site")!r}]
import {PACKAGE}.registry as registry
assert registry.__file__.startswith({str(tmp_path / "site")!r}), registry.__file__
for kind in ("adapter", "pass", "template"):
    for name in registry.known(kind):
        registry.find(kind, name)
ours = [m for n, m in list(sys.modules.items()) if n.startswith({PACKAGE!r})]
files = [m.__file__ for m in ours if m.__file__]
assert len(files) == len(set(files)), files
"""
    with zipfile.ZipFile(next((tmp_path / "direct").iterdir())) as archive:
        archive.extractall(tmp_path / "site")
    away = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert away.returncode == 0, away.stderr


def test_no_source_file_is_imported_under_two_names() -> None:
    code = f"""
import sys
import {PACKAGE}.registry as registry
for kind in ("adapter", "pass", "template"):
    for name in registry.known(kind):
        registry.find(kind, name)
import {PACKAGE}.cli
import os
files = [os.path.realpath(m.__file__) for m in list(sys.modules.values())
         if getattr(m, "__file__", None) and m.__file__.startswith({str(ROOT)!r})
         and "site-packages" not in m.__file__]
print(len(files), len(set(files)))
"""
    n_modules, n_files = run(code).split()
    assert n_modules == n_files
