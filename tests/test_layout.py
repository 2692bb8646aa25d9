"""The tree tells the architecture: imports point one way, and one wheel holds one name."""

import ast
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "connectome_compiler"

# What a part may import of the package, beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "text": set(),
    "errors": {"text"},
    "files": {"errors"},
    "ir": {"errors", "files", "registry", "text"},
    "passes": {"ir", "errors", "options"},
    "emit": {"ir", "errors", "files", "nn"},
    "nn": set(),
    "analysis": {"emit", "ir", "errors", "options", "recipe", "registry", "text"},
    "mimetic": {"errors", "nn", "text"},
    "tasks": {"emit", "errors", "files", "options", "recipe"},
}
# The one circle there is: `Graph.run` runs passes, which it imports when it is called.
OF_GRAPH = {f"{PACKAGE}/ir/graph.py": {"passes"}}
# The rules of windows need the standard library alone; graphs and layers share them.
SHARED = f"{PACKAGE}.nn.window_rules"
OUTSIDE = {"cli", "data_adapters", "templates"}  # these import the compiler, not the reverse
HEAVY = {"numpy", "torch", "pandas", "pyarrow", "networkx", "scipy", "duckdb", "caveclient"}
CHECKOUT = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="the sources are not here"
)


def sources(*parts: str) -> list[Path]:
    return sorted(p for part in parts for p in (ROOT / part).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the dotted names that a file imports of the package, and whether at its top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(outer)
    }
    here = path.relative_to(ROOT).with_suffix("").parts
    package = here[:-1] if here[0] == PACKAGE else (PACKAGE, *here[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [stem]
            if stem == PACKAGE:  # from connectome_compiler import ir
                names = [f"{stem}.{a.name}" for a in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) not in inner


@CHECKOUT
@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_point_one_way(part: str) -> None:
    folder = ROOT / PACKAGE / part
    files = sources(f"{PACKAGE}/{part}") if folder.is_dir() else [folder.with_suffix(".py")]
    assert files
    for path in files:
        for name, _ in imports(path):
            if not name.startswith(f"{PACKAGE}.") or (part == "ir" and name == SHARED):
                continue
            target = name.split(".")[1]
            own = OF_GRAPH.get(path.relative_to(ROOT).as_posix(), set())
            allowed = {part, "__version__"} | MAY_IMPORT[part] | own
            assert target in allowed, f"{path.relative_to(ROOT)} imports {name}"


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
        if path.name == "__main__.py":  # where the command begins
            continue
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
    assert not list((ROOT / "tests").rglob("__init__.py"))


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
