"""Mutate the compiler, one small change at a time, and see whether its own tests notice.

    python scripts/mutate.py --n 200 --seed 1
    python scripts/mutate.py --files connectome_compiler/passes/keep_core.py --json score.json

Passes, adapters and the IR, unless --files names others. A mutant is tried in a copy of the tree,
in a process forked from one that has the libraries loaded, against the tests that mirror its file:
those that reach the changed lines first, up to the first failure. Mutants of
scripts/equivalent_mutants.toml, which change nothing that a test could see, are left out; a key
there is what this script prints. Equal arguments draw equal mutants. Needs the extra [test].
"""

from __future__ import annotations

import argparse
import ast
import compileall
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from py_compile import PycInvalidationMode
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("connectome_compiler/passes", "connectome_compiler/ir", "data_adapters")
EQUIVALENT = ROOT / "scripts" / "equivalent_mutants.toml"
# What a copy of the tree needs for its tests.
COPIED = ("cli.py", "connectome_compiler", "data_adapters", "templates", "tests", "pyproject.toml")
# Loaded once, before forking; none of them starts a thread when imported.
LIBRARIES = (
    "pytest",
    "hypothesis.extra.numpy",
    "pandas",
    "pyarrow.compute",
    "pyarrow.feather",
    "pyarrow.parquet",
    "duckdb",
    "networkx",
    "scipy.sparse",
    "pydantic",
    "torch",
)
MEMORY = 16 << 30  # bytes of address space of a mutant: what has no end fails
WRITTEN = 1 << 30  # bytes of one file
NOT_RUN = 70  # exit code of a process that could not start its tests

# Tests of files that no test file mirrors, and of rules that have a test file of their own.
ADAPTERS = "tests/data_adapters"
TABLES = tuple(
    f"{ADAPTERS}/test_{name}.py" for name in ("table", "tables", "text_matrix", "graphml")
)
TESTS: dict[str, tuple[str, ...]] = {
    "connectome_compiler/ir/nodes.py": ("tests/ir/test_verify.py",),
    "connectome_compiler/ir/weights.py": ("tests/ir/test_verify.py",),
    "connectome_compiler/passes/_groups.py": (
        "tests/passes/test_merge_populations.py",
        "tests/passes/test_partition_by.py",
        "tests/passes/test_laminar_partition.py",
        "tests/passes/test_order_by_flow.py",
    ),
    "connectome_compiler/passes/_places.py": (
        "tests/passes/test_size_maps.py",
        "tests/passes/test_level_areas.py",
        "tests/passes/test_wire_levels.py",
    ),
    "connectome_compiler/passes/_rewire.py": ("tests/passes/test_null_model.py",),
    "data_adapters/_archives.py": (f"{ADAPTERS}/test_archives.py",),
    "data_adapters/_arrays.py": (f"{ADAPTERS}/test_arrays.py",),
    "data_adapters/_area_tables.py": (f"{ADAPTERS}/test_mesoscale.py",),
    "data_adapters/_ask.py": (f"{ADAPTERS}/test_cases.py", f"{ADAPTERS}/test_hints.py"),
    "data_adapters/_cect.py": (f"{ADAPTERS}/test_celegans.py",),
    "data_adapters/_cell_tables.py": (*TABLES, f"{ADAPTERS}/test_presets.py"),
    "data_adapters/_citations.py": (f"{ADAPTERS}/test_presets.py", f"{ADAPTERS}/test_celegans.py"),
    "data_adapters/_column.py": (
        f"{ADAPTERS}/test_microns_files.py",
        f"{ADAPTERS}/test_microns_release.py",
    ),
    "data_adapters/_connections.py": (*TABLES, f"{ADAPTERS}/test_microns_files.py"),
    "data_adapters/_content.py": (*TABLES, f"{ADAPTERS}/test_sonata.py"),
    "data_adapters/_evidence.py": TABLES,
    "data_adapters/_flyvis.py": (f"{ADAPTERS}/test_fly_visual.py",),
    "data_adapters/_frames.py": (f"{ADAPTERS}/test_memory.py",),
    "data_adapters/_hdf5.py": (f"{ADAPTERS}/test_arrays.py", f"{ADAPTERS}/test_sonata.py"),
    "data_adapters/_ids.py": (*TABLES, f"{ADAPTERS}/test_microns_files.py"),
    "data_adapters/_matrix.py": (
        f"{ADAPTERS}/test_text_matrix.py",
        f"{ADAPTERS}/test_arrays.py",
        f"{ADAPTERS}/test_cases.py",
    ),
    "data_adapters/_names.py": (*TABLES, f"{ADAPTERS}/test_presets.py"),
    "data_adapters/_outline.py": (f"{ADAPTERS}/test_cases.py",),
    "data_adapters/_raw.py": (*TABLES, f"{ADAPTERS}/test_cases.py"),
    "data_adapters/_readers.py": (*TABLES, f"{ADAPTERS}/test_sonata.py"),
    "data_adapters/_rules.py": (*TABLES, f"{ADAPTERS}/test_cases.py", f"{ADAPTERS}/test_hints.py"),
    "data_adapters/_text.py": (*TABLES, f"{ADAPTERS}/test_cases.py"),
    "data_adapters/_windows.py": (f"{ADAPTERS}/test_synthetic.py", f"{ADAPTERS}/test_mimetic.py"),
}

# --- mutants --------------------------------------------------------------------------------------

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
SWAPPED = {
    "pre": "post",
    "rows": "columns",
    "min": "max",
    "minimum": "maximum",
    "any": "all",
    "first": "last",
    "floor": "ceil",
    "argmin": "argmax",
    "less": "less_equal",
    "greater": "greater_equal",
    "equal": "not_equal",
    "and_": "or_",
    "and_kleene": "or_kleene",
    "left": "right",
    "in": "out",
    "lower": "upper",
    "EXCITATORY": "INHIBITORY",
    "CHEMICAL": "ELECTRICAL",
}
SWAPPED |= {b: a for a, b in SWAPPED.items()}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file: the text from ``start`` to ``end`` becomes ``new``."""

    file: str
    line: int
    last_line: int
    where: str  # qualified name of the function or class
    before: str
    after: str
    start: int
    end: int
    new: str
    key: str  # does not change when lines above do


def swapped(name: str) -> str | None:
    """Return the opposite of a name, as a whole or in one of its parts (``n_pre``, ``post_id``)."""
    if name in SWAPPED:
        return SWAPPED[name]
    parts = name.split("_")
    sides = [i for i, part in enumerate(parts) if part in ("pre", "post")]
    if len(sides) != 1:
        return None
    parts[sides[0]] = SWAPPED[parts[sides[0]]]
    return "_".join(parts)


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield each small change of a node itself."""
    match node:
        case ast.Compare():
            for i, sign in enumerate(node.ops):
                compare = deepcopy(node)
                compare.ops[i] = COMPARED[type(sign)]()
                yield compare
        case ast.BoolOp():
            yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
        case ast.BinOp() if not isinstance(node.op, ast.MatMult):
            yield ast.BinOp(node.left, COMPUTED[type(node.op)](), node.right)
        case ast.UnaryOp():
            yield node.operand
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.AugAssign():
            yield ast.Assign([node.target], node.value)
            yield ast.AugAssign(node.target, COMPUTED[type(node.op)](), node.value)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)) if name := swapped(value):
            yield ast.Constant(name)
        case ast.Name(ctx=ast.Load()) if name := swapped(node.id):
            yield ast.Name(name)
        case ast.Attribute(ctx=ast.Load()) if name := swapped(node.attr):
            yield ast.Attribute(node.value, name)
        case ast.Call() if not checks_itself(node):
            for i, keyword in enumerate(node.keywords):
                if keyword.arg:
                    others = node.keywords[:i] + node.keywords[i + 1 :]
                    yield ast.Call(node.func, node.args, others)
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()


def skipped(node: ast.AST) -> bool:
    """Whether nothing under this node is mutated: messages, types, our own assertions."""
    match node:
        case ast.Raise() | ast.Assert() | ast.Import() | ast.ImportFrom() | ast.JoinedStr():
            return True
        case ast.Expr(value=ast.Constant()):  # docstrings
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name.startswith("__")
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call(func=ast.Name(id=name)):  # their arguments are messages
            return name.endswith(("Error", "Warning"))
    return False


def checks_itself(node: ast.AST) -> bool:
    """Whether this is a ``zip``: its ``strict`` is an assertion of ours."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip"


def mutants(file: str, text: str) -> Iterator[Mutant]:
    """Yield every mutant of a file, in the order of its text."""
    lines = text.splitlines(keepends=True)
    begins = [0]
    for line in lines:
        begins.append(begins[-1] + len(line))

    def place(line: int, column: int) -> int:
        return begins[line - 1] + len(lines[line - 1].encode()[:column].decode())

    seen: Counter[str] = Counter()

    def make(node: Any, new: ast.AST, where: str) -> Mutant:
        words = ast.unparse(ast.fix_missing_locations(new))
        before = ast.unparse(node)
        key = f"{file} {where}: {before} -> {words}"
        seen[key] += 1
        if seen[key] > 1:
            key += f" #{seen[key]}"
        start = place(node.lineno, node.col_offset)
        end = place(node.end_lineno, node.end_col_offset)
        put = words if isinstance(node, ast.stmt | ast.Constant) else f"({words})"
        return Mutant(
            file, node.lineno, node.end_lineno, where, before, words, start, end, put, key
        )

    def walk(node: ast.AST, where: tuple[str, ...]) -> Iterator[Mutant]:
        if skipped(node):
            return
        at = ".".join(where) or "<module>"
        if isinstance(node, ast.expr | ast.stmt):
            for new in changed(node):
                yield make(node, new, at)
        if isinstance(node, ast.If):
            yield make(node.test, ast.Constant(True), at)
        if isinstance(node, ast.If | ast.While):
            yield make(node.test, ast.Constant(False), at)
        if isinstance(node, ast.comprehension):
            for test in node.ifs:
                yield make(test, ast.Constant(True), at)
        inner = where
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            inner = (*where, node.name)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "pattern"):
                continue
            if name == "keywords" and checks_itself(node):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(child, inner)

    yield from walk(ast.parse(text), ())


def mutated(text: str, mutant: Mutant) -> str:
    """Return the text of the file with the change in it."""
    return text[: mutant.start] + mutant.new + text[mutant.end :]


def tests_of(file: str) -> list[str]:
    """Return the test files that mirror a file."""
    path = Path(file)
    folder = path.parent.as_posix().removeprefix("connectome_compiler/")
    mirror = Path("tests", folder, f"test_{path.stem.lstrip('_')}.py")
    named = TESTS.get(file, ())
    return [*([mirror.as_posix()] if (ROOT / mirror).exists() else []), *named]


# --- one run of tests, in a forked process --------------------------------------------------------


@dataclass
class Found:
    """What a run of tests did."""

    seconds: dict[str, float] = field(default_factory=dict)  # by test
    lines: dict[str, dict[str, list[int]]] = field(default_factory=dict)  # reached, by file, test
    failed: list[str] = field(default_factory=list)


class Plugin:
    """Orders the tests, or records what they reach; no example is remembered between runs."""

    def __init__(self, tree: Path, first: list[str], traced: list[str]) -> None:
        self.rank = {name: k for k, name in enumerate(first)}
        self.traced = {str(tree / file): file for file in traced}
        self.found = Found()
        self.reached: dict[tuple[str, str], set[int]] = {}
        self.now = ""

    def pytest_configure(self, config: Any) -> None:
        """Draw examples as the tests do, but stop at the first failure and remember none."""
        from hypothesis import Phase, settings

        shared = settings.get_profile("shared")
        phases = (Phase.explicit, Phase.generate)  # the first failure is enough
        settings.register_profile("mutants", shared, database=None, phases=phases)
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Put the tests that reach the mutant first."""
        items.sort(key=lambda item: self.rank.get(item.nodeid, len(self.rank)))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note which test runs."""
        self.now = nodeid

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note that none runs."""
        self.now = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note how long a test took, and whether it failed."""
        if report.failed:
            self.found.failed.append(report.nodeid)
        if not report.skipped:
            took = self.found.seconds.get(report.nodeid, 0.0)
            self.found.seconds[report.nodeid] = took + report.duration

    def pytest_collectreport(self, report: Any) -> None:
        """Note a file that cannot be imported."""
        if report.failed:
            self.found.failed.append(report.nodeid)

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """Record the lines of the files in question; other functions are not followed."""
        file = self.traced.get(frame.f_code.co_filename)
        if file is None:
            return None
        lines = self.reached.setdefault((file, self.now), set())
        lines.add(frame.f_lineno)

        def line(frame: FrameType, event: str, _: object) -> Any:
            lines.add(frame.f_lineno)
            return line

        return line

    def write(self, path: Path) -> None:
        """Write what was found."""
        for (file, test), lines in self.reached.items():
            self.found.lines.setdefault(file, {})[test] = sorted(lines)
        path.write_text(json.dumps(asdict(self.found)))


class Place:
    """A copy of the tree in which one mutant at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.home = folder / "tree", folder / "home"
        self.home.mkdir(parents=True)
        self.result = folder / "result.json"
        self.tree.mkdir()
        for name in COPIED:
            source, copy = ROOT / name, self.tree / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy, ignore=ignored)
            else:
                shutil.copy2(source, copy)
        for name in ("connectome_compiler", "data_adapters", "templates"):
            # The mutated file alone has no compiled text, so that none can be stale.
            mode = PycInvalidationMode.UNCHECKED_HASH
            compileall.compile_dir(self.tree / name, quiet=2, invalidation_mode=mode)

    def put(self, file: str, text: str) -> None:
        """Put *text* in the place of a file."""
        target = self.tree / file
        for compiled in target.parent.glob(f"__pycache__/{target.stem}.*.pyc"):
            compiled.unlink()
        target.write_text(text, "utf-8")

    def start(self, tests: list[str], first: list[str], traced: list[str]) -> int:
        """Run tests in a new process, and return its id; *traced* are the files to follow."""
        self.result.unlink(missing_ok=True)
        if pid := os.fork():
            return pid
        code = NOT_RUN
        try:
            code = self._run(tests, first, traced)
        finally:
            os._exit(code)

    def _run(self, tests: list[str], first: list[str], traced: list[str]) -> int:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN, WRITTEN))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        os.chdir(self.tree)
        sys.path.insert(0, str(self.tree))
        os.environ.update(
            PYTHONPATH=str(self.tree),
            PYTHONDONTWRITEBYTECODE="1",
            OMP_NUM_THREADS="1",
            HOME=str(self.home),
            TMPDIR=str(self.home),
            XDG_CACHE_HOME=str(self.home / "cache"),
        )
        tempfile.tempdir = None
        sys.dont_write_bytecode = not traced  # the tests are compiled once
        import pytest

        plugin = Plugin(self.tree, first, traced)
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
        options += [f"--basetemp={self.home / 'tmp'}", *([] if traced else ["-x"])]
        if traced:
            sys.settrace(plugin.trace)
        code = int(pytest.main([*options, *tests], plugins=[plugin]))
        sys.settrace(None)
        plugin.write(self.result)
        return code

    def found(self) -> Found:
        """Return what the last run wrote; nothing if it was killed."""
        return Found(**json.loads(self.result.read_text())) if self.result.exists() else Found()

    def clean(self) -> None:
        """Drop what the tests left."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()


@dataclass
class Trial:
    """A run under way: of a mutant, or of a file of tests as it is."""

    place: Place
    pid: int
    ends: float
    what: Mutant | str
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: "killed", "survived" or "timeout" (which counts as killed)."""

    mutant: Mutant
    outcome: str
    by: str
    seconds: float


class Run:
    """Tries mutants, a few side by side."""

    def __init__(self, folder: Path, jobs: int, at_most: float, mutants: list[Mutant]) -> None:
        self.free = [Place(folder / str(k)) for k in range(jobs)]
        self.at_most = at_most
        self.mutants = mutants
        self.trials: list[Trial] = []
        self.unchanged: dict[str, Found] = {}  # by file of tests
        self.outcomes: list[Outcome] = []

    def all(self, at_once: bool) -> None:
        """Try all mutants, after their tests as they are unless *at_once*."""
        if not at_once:
            self._each(sorted({t for m in self.mutants for t in tests_of(m.file)}))
        self._each(self.mutants)
        print(file=sys.stderr)

    def stop(self) -> None:
        """End what is under way."""
        for trial in self.trials:
            os.killpg(trial.pid, signal.SIGKILL)
            os.waitpid(trial.pid, 0)

    def _each(self, whats: Sequence[Mutant | str]) -> None:
        for what in whats:
            while not self.free:
                self._wait()
            self._begin(what, self.free.pop())
        while self.trials:
            self._wait()

    def _begin(self, what: Mutant | str, place: Place) -> None:
        if isinstance(what, str):
            limit = 4 * self.at_most
            files = sorted({m.file for m in self.mutants if what in tests_of(m.file)})
            pid = place.start([what], [], files)
        else:
            place.put(what.file, mutated((ROOT / what.file).read_text("utf-8"), what))
            tests = tests_of(what.file)
            usual = [sum(self.unchanged[t].seconds.values()) for t in tests if t in self.unchanged]
            limit = min(self.at_most, 20 + 5 * sum(usual)) if usual else self.at_most
            pid = place.start(tests, self._reaching(what), [])
        self.trials.append(Trial(place, pid, time.monotonic() + limit, what))

    def _reaching(self, mutant: Mutant) -> list[str]:
        """Return the tests that reach a mutant, the fastest first."""
        seconds = {}
        for found in (self.unchanged.get(t, Found()) for t in tests_of(mutant.file)):
            for test, lines in found.lines.get(mutant.file, {}).items():
                if test and any(mutant.line <= line <= mutant.last_line for line in lines):
                    seconds[test] = found.seconds.get(test, 0.0)
        return sorted(seconds, key=lambda test: (seconds[test], test))

    def _wait(self) -> None:
        """Wait until a run ends, and take its outcome."""
        while True:
            for trial in self.trials:
                pid, status = os.waitpid(trial.pid, os.WNOHANG)
                if pid:
                    return self._end(trial, os.waitstatus_to_exitcode(status))
                if time.monotonic() > trial.ends:
                    os.killpg(trial.pid, signal.SIGKILL)
                    os.waitpid(trial.pid, 0)
                    return self._end(trial, None)
            time.sleep(0.02)

    def _end(self, trial: Trial, code: int | None) -> None:
        self.trials.remove(trial)
        found = trial.place.found()
        trial.place.clean()
        self.free.append(trial.place)
        took = time.monotonic() - trial.began
        if isinstance(trial.what, str):
            if code:
                sys.exit(f"{trial.what}: fails as it is: {', '.join(found.failed) or code}")
            self.unchanged[trial.what] = found
            return
        trial.place.put(trial.what.file, (ROOT / trial.what.file).read_text("utf-8"))
        if code in (5, NOT_RUN):  # 4: the mutant breaks what conftest.py imports
            sys.exit(f"{trial.what.key}: no test ran (exit code {code})")
        outcome = "timeout" if code is None else "killed" if code else "survived"
        by = found.failed[0] if found.failed else ""
        self.outcomes.append(Outcome(trial.what, outcome, by, round(took, 2)))
        survived = f"S\n{trial.what.key}\n"
        mark = {"killed": ".", "timeout": "t", "survived": survived}[outcome]
        print(mark, end="", file=sys.stderr, flush=True)


# --- the command ----------------------------------------------------------------------------------


def targets(names: list[str]) -> Iterator[str]:
    """Yield the files that can be mutated: those that have tests."""
    for name in names:
        path = ROOT / name
        for found in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            file = found.relative_to(ROOT).as_posix()
            if tests_of(file):
                yield file
            elif found.name != "__init__.py":
                sys.exit(f"{file}: no tests mirror it; list some in TESTS")


def main() -> None:
    """Draw mutants, try them, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", nargs="+", default=list(TARGETS), help="files or folders")
    parser.add_argument("--n", type=int, default=0, help="how many to draw; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--match", default="", help="only mutants whose key matches this")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=180, help="seconds for one mutant")
    parser.add_argument(
        "--at-once", action="store_true", help="do not run the tests as they are first: they pass"
    )
    parser.add_argument("--json", type=Path, help="also write the outcomes here")
    parser.add_argument("--list", action="store_true", help="print the mutants, try none")
    args = parser.parse_args()

    known = tomllib.loads(EQUIVALENT.read_text("utf-8"))
    files = list(targets(args.files))
    every = [m for file in files for m in mutants(file, (ROOT / file).read_text("utf-8"))]
    keys = {m.key for m in every}
    if stale := [key for key in known if key.split(" ")[0] in files and key not in keys]:
        sys.exit(f"{EQUIVALENT.name}: no such mutants any more: {', '.join(stale)}")
    every = [m for m in every if re.search(args.match, m.key)]
    random.Random(args.seed).shuffle(every)  # so that a smaller sample is part of a larger one
    drawn = every[: args.n or None]
    left = [m for m in drawn if m.key not in known]
    if args.list:
        return print(*(f"{m.file}:{m.line}  {m.key}" for m in left), sep="\n")

    for name in LIBRARIES:
        import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        run = Run(Path(folder), args.jobs, args.timeout, left)
        for ended in (signal.SIGINT, signal.SIGTERM):  # also where the shell ignores the first
            signal.signal(ended, signal.default_int_handler)
        try:
            run.all(at_once=args.at_once)
        except KeyboardInterrupt:
            print("\ninterrupted: of the sample, what was tried", file=sys.stderr)
        finally:
            run.stop()
        outcomes = sorted(run.outcomes, key=lambda o: (o.mutant.file, o.mutant.start))

    counts = Counter(o.outcome for o in outcomes)
    survivors = [o for o in outcomes if o.outcome == "survived"]
    n_killed = len(outcomes) - len(survivors)
    for o in survivors:
        print(f"{o.mutant.file}:{o.mutant.line}: {o.mutant.before} -> {o.mutant.after}")
        print(f"    {json.dumps(o.mutant.key)}")
    print(
        f"{n_killed} of {len(outcomes)} killed ({n_killed / max(len(outcomes), 1):.1%}),"
        f" {counts['timeout']} of them by time; {len(drawn) - len(left)} equivalent ones left out;"
        f" {len(every)} in all, seed {args.seed}"
    )
    if args.json:
        report = {
            "seed": args.seed,
            "n_all": len(every),
            "n_equivalent": len(drawn) - len(left),
            "n_killed": n_killed,
            "outcomes": [asdict(o) for o in outcomes],
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return None


if __name__ == "__main__":
    main()
