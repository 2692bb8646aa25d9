"""The installed command, end to end: what it prints, what it writes, how it fails."""

import errno
import hashlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from connectome_compiler.cli import main
from connectome_compiler.ir import Graph, Provenance
from connectome_compiler.pipeline import load_graph
from connectome_compiler.recipe import load_recipe
from connectome_compiler.registry import recipe_names

CCOMPILE = Path(sys.executable).parent / "ccompile"
if not CCOMPILE.exists():
    pytest.skip("the package is not installed", allow_module_level=True)

MINE = 'extends = "microns-v1-surrogate"\n'  # needs no network
POPULATIONS = ("L4.exc", "L2/3.exc", "L5.exc", "L6.exc")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def ccompile(*words: str | Path, cwd: Path | str, stdin: str | None = None, **env: str) -> Said:
    done = subprocess.run(
        [CCOMPILE, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        input=stdin,
        env={**os.environ, **env},
        timeout=120,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def must_fail(said: Said, *words: str, code: int = 1) -> None:
    """Check a failure: where, what and what to do on standard error, nothing else."""
    assert "Traceback" not in said.err
    assert said.code == code, said
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if not line.startswith("Warning: ")]
    if code == 1:
        assert lines[0].startswith("Error: ")
        assert all(line.startswith("  ") for line in lines[1:]), lines
        asks = any("--set " in line for line in lines)  # shows the first lines of a file
        assert len(lines) <= 3 or lines[0].endswith("errors:") or asks
    for word in words:
        assert word in said.err


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="session")
def built(folder: Path) -> Said:
    """A verified build with a saved graph; many tests look at its files."""
    return ccompile(
        *("build", "microns-v1-surrogate", "--out", "made/column.py"),
        *("--save-after", "attach-ports", "--print-after", "laminar-partition"),
        cwd=folder,
    )


@pytest.fixture(scope="session")
def module(folder: Path, built: Said) -> Path:
    assert built.code == 0, built
    return folder / "made" / "column.py"


def arrays_of(module: Path) -> Path:
    """Find the file of arrays beside a module that was built once."""
    (found,) = module.parent.glob(f"{module.stem}.connectome-*.safetensors")
    return found


# --- build ----------------------------------------------------------------------------------------


def test_build_tells_a_newcomer_all_that_matters(built: Said, module: Path) -> None:
    assert built.code == 0
    assert "MODELLED, NOT MEASURED" in built.out
    for name in POPULATIONS:
        assert name in built.out
    for words in ("CC BY", "neurons", "connections", "parameters", "verified column.py"):
        assert words in built.out
    for path in (module, arrays_of(module), module.parent / "column.graphs" / "12-attach-ports"):
        assert str(path.relative_to(module.parents[1])) in built.out
        assert path.exists()
    assert "inspect made/column.py" in built.out
    assert "microns-v1-surrogate" in built.out.splitlines()[-1]
    assert "not measured" in built.out.splitlines()[-1]
    assert built.err == "Warning: microns-v1-surrogate@seed=0 is modelled, not measured\n"


def test_build_fits_on_a_screen_and_a_half(built: Said) -> None:
    printed, _, result = built.out.partition("\n\nmicrons-v1-surrogate: ")
    assert printed.startswith("--- after laminar-partition\n")
    assert "L4.inh" in printed
    lines = result.splitlines()
    assert len(lines) <= 75
    long = [line for line in lines if len(line) > 100 and "python" not in line]
    assert [line for line in long if not line.startswith("parameters")] == []


def test_what_to_type_next_works(built: Said, folder: Path) -> None:
    lines = built.out.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("next "))
    for line in lines[start : start + 2]:
        done = subprocess.run(
            line.removeprefix("next").strip(),
            shell=True,
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout
    assert "torch.Size([4, 7])" in done.stdout


def test_only_what_was_asked_for_is_written(module: Path) -> None:
    assert sorted(p.name for p in module.parent.iterdir() if p.name != "__pycache__") == [
        arrays_of(module).name,
        "column.graphs",
        "column.py",
    ]


def test_build_from_a_file_with_settings(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    said = ccompile(
        *("build", "mine.toml", "--no-verify", "--set", "classes=3", "--set", "seed=5"),
        *("--set", 'where=cortical_layer in ("L4", "L2/3")', "--set", "attach-ports.image=1,48,32"),
        *("--save-after", "all", "--print-after", "source"),
        cwd=tmp_path,
    )
    assert said.code == 0, said
    assert "image 1 x 48 x 32 -> L4.exc" in said.out
    assert "classes 3" in said.out
    assert "L5" not in said.out.partition("\nnetwork")[2]
    assert "not verified: run" in said.out
    assert said.out.splitlines()[-1].startswith("microns-v1-surrogate@seed=5 is modelled")
    saved = sorted(p.name for p in (tmp_path / "model.graphs").iterdir())
    assert saved[0] == "00-source"
    assert saved[-1] == "12-attach-ports"  # its place in the recipe, whatever is left out
    assert len(saved) == 10
    assert Graph.load(tmp_path / "model.graphs" / saved[-1]).population("classes").n_units == 3


def test_build_leaves_other_files_alone_and_replaces_its_own(tmp_path: Path) -> None:
    build = ("build", "microns-v1-surrogate", "--no-verify")
    (tmp_path / "model.py").write_text("a day of work")
    said = ccompile(*build, cwd=tmp_path)
    must_fail(said, "Error: model.py: exists and was not made by ccompile")
    assert (tmp_path / "model.py").read_text() == "a day of work"
    (tmp_path / "model.py").unlink()
    (tmp_path / "other.txt").write_text("mine")
    for _ in range(2):
        said = ccompile(*build, cwd=tmp_path)
        assert said.code == 0
    assert (tmp_path / "model.py").read_text().startswith('"""MicronsV1Surrogate')
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        arrays_of(tmp_path / "model.py").name,
        "model.py",
        "other.txt",
    ]


@pytest.mark.parametrize("n_connections", ["few", "many"])
def test_weights_that_were_trained_survive_every_build(n_connections: str, tmp_path: Path) -> None:
    """Named like the module, as one does, beside a module with arrays and one without."""
    rows = range(20 if n_connections == "few" else 200)
    table = "".join(f"{a},{b}\n" for a in rows for b in rows if (a * b) % 7)
    (tmp_path / "edges.csv").write_text(f"pre,post\n{table}")
    build = ["build", "table", "--set", "edges=edges.csv", "--out", "worm.py", "--no-verify"]
    theirs = tmp_path / "worm.safetensors"
    theirs.write_bytes(b"a day of training")
    for options in ([], [], ["--set", "min_weight=1"]):
        said = run_inside([*build, *options], tmp_path)
        assert said.code == 0, said
        assert theirs.read_bytes() == b"a day of training"
    assert len(list(tmp_path.glob("worm.connectome-*"))) == (n_connections == "many")
    assert "worm.safetensors" not in said.out


def test_a_module_that_was_edited_is_not_built_over(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    build = ["build", "mine.toml", "--no-verify"]
    assert run_inside(build, tmp_path).code == 0
    module = tmp_path / "model.py"
    module.write_text(module.read_text().replace("channels: int = 1", "channels: int = 3"))
    edited = module.read_text()
    must_fail(
        run_inside(build, tmp_path),
        "Error: model.py: was edited since ccompile wrote it\n",
        "rename model.py",
    )
    assert module.read_text() == edited
    module.rename(tmp_path / "kept.py")
    assert run_inside(build, tmp_path).code == 0
    assert (tmp_path / "kept.py").read_text() == edited


def test_saved_stages_are_those_of_one_build(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    build = ["build", "mine.toml", "--no-verify", "--save-after"]
    graphs = tmp_path / "model.graphs"
    (graphs / "mine").mkdir(parents=True)
    (graphs / "99-notes.txt").write_text("a day of work")

    def stages() -> list[str]:
        return sorted(p.name for p in graphs.iterdir() if p.name not in ("mine", "99-notes.txt"))

    assert run_inside([*build, "all"], tmp_path).code == 0
    first = stages()
    assert len(first) > 5
    # One that fails changes nothing, even if it fails late.
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    failing = [*build, "all", "--set", "attach-ports.out_of=nobody"]
    must_fail(run_inside(failing, tmp_path), "nobody")
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    # What somebody put into a stage stays, whether or not the stage does.
    notes = [graphs / name / "connections" / "notes.txt" for name in first[:2]]
    for path in notes:
        path.write_text("a day of work")
    assert run_inside([*build, "source"], tmp_path).code == 0
    assert [path.read_text() for path in notes] == ["a day of work"] * 2
    assert stages() == first[:2]
    assert [p.name for p in (graphs / first[1]).rglob("*")] == ["connections", "notes.txt"]
    for path in notes:
        path.unlink()
    assert run_inside([*build, "all"], tmp_path).code == 0
    # One that succeeds leaves its own alone.
    Graph.load(graphs / first[0]).save(graphs / "05-kept")  # not where ccompile would put it
    assert run_inside([*build, "source", "--set", "seed=5"], tmp_path).code == 0
    assert stages() == ["00-source", "05-kept"]
    assert Graph.load(graphs / "00-source").provenance.version == "seed=5"
    assert (graphs / "99-notes.txt").read_text() == "a day of work"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_stages_of_another_format_are_to_be_moved_away(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    build = ["build", "mine.toml", "--no-verify", "--save-after", "source"]
    assert run_inside(build, tmp_path).code == 0
    page = tmp_path / "model.graphs" / "00-source" / "graph.json"
    page.write_text(json.dumps({**json.loads(page.read_text()), "format": 4}))
    must_fail(
        run_inside(build, tmp_path), "holds a graph of format 4", "hint: move model.graphs away"
    )
    (tmp_path / "model.graphs").rename(tmp_path / "old.graphs")  # The hint is true.
    assert run_inside(build, tmp_path).code == 0


def test_stages_of_a_build_that_fails_leave_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    failing = ["build", "mine.toml", "--save-after", "all", "--set", "attach-ports.out_of=nobody"]
    must_fail(run_inside([*failing, "--out", "deep/er/model.py"], tmp_path), "nobody")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize("what", ["file", "folder", "graph", "link"])
def test_where_something_else_stands_no_stage_is_saved(what: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    order = [*load_recipe(tmp_path / "mine.toml").stages]
    name = f"{order.index('laminar-partition'):02d}-laminar-partition"
    place = tmp_path / "model.graphs" / name
    place.parent.mkdir()
    if what == "file":
        place.write_text("a day of work")
    elif what == "link":
        place.symlink_to(tmp_path)
    elif what == "folder":
        place.mkdir()
        (place / "notes.txt").write_text("a day of work")
    else:
        Graph((), (), Provenance("mine")).save(place)
    before = sorted(tmp_path.rglob("*"))
    build = ["build", "mine.toml", "--no-verify", "--save-after", "all"]
    must_fail(run_inside(build, tmp_path), "laminar-partition: ")
    assert sorted(tmp_path.rglob("*")) == before


BAD_BUILDS: list[tuple[Sequence[str], Sequence[str]]] = [
    (["micron-v1"], ["recipe 'micron-v1'", "did you mean 'microns-v1'"]),
    (["none.toml"], ["none.toml: no such file"]),
    (["."], ["recipe '.'"]),
    (["mine.toml", "--set", "min_synapse=2"], ["'min_synapse'", "did you mean 'min_synapses'"]),
    (["mine.toml", "--set", "split-flo.skip=keep"], ["stage 'split-flo'", "'split-flow'"]),
    (["mine.toml", "--set", "split-flow.skp=keep"], ["option 'skp'", "'skip'"]),
    (["mine.toml", "--set", "skip=maybe"], ["Error: skip: ", "'keep' or 'drop'"]),
    (["mine.toml", "--set", "skip=kep"], ["did you mean 'keep'"]),
    (["mine.toml", "--set", "classes=many"], ["Error: classes: ", "'many'"]),
    (["mine.toml", "--set", "classes=0"], ["Error: classes: ", "must be positive"]),
    (
        ["mine.toml", "--set", "min_synapses=-1"],
        ["Error: min_synapses: ", "must be finite and at least 0"],
    ),
    (["mine.toml", "--set", "policy=drop"], ["apply-dale and fold", "set apply-dale.policy or"]),
    (
        ["mine.toml", "--set", "skip=x", "--set", "classes=0", "--set", "split-flow.within=y"],
        ["Error: 3 errors:\n  ", "  skip: is 'x'", "  split-flow.within: is 'y'", "  classes: "],
    ),
    (["mine.toml", "--pass", "keep-core"], ["--pass 'keep-core'", "for example --pass 'keep-core"]),
    (["mine.toml", "--pass", "keep-core after dale"], ["stage 'dale'", "'apply-dale'"]),
    (["mine.toml", "--pass", "apply-dale after source"], ["as 'apply-dale'", "another id: ... as"]),
    (["mine.toml", "--pass", "mine.py after source"], ["has no NAME", "mine.py:NAME"]),
    (["mine.toml", "--set", "noise_std=nan"], ["noise_std", "nan"]),
    (["mine.toml", "--set", "steps"], ["--set steps", "not key=value"]),
    (
        ["mine.toml", "--set", "where=cell_typ == 4"],
        ["column 'cell_typ'", "did you mean 'cell_type'"],
    ),
    (["mine.toml", "--set", "where=x_um > "], ["not an expression", "for example"]),
    (["mine.toml", "--set", "where=__import__('os')"], ["does not allow"]),
    (
        ["mine.toml", "--set", "where=x_um > 1e9"],
        ["none of 1,347 neurons", "in pass select-neurons"],
    ),
    (["mine.toml", "--set", "laminar-partition.order=L4"], ["neurons of L2/3", "others"]),
    (["mine.toml", "--print-after", "split"], ["--print-after: pass 'split'", "'split-flow'"]),
    (["mine.toml", "--save-after", "nope"], ["--save-after: pass 'nope'"]),
    (["mine.toml", "--require", "measured"], ["not measured"]),
    (["mine.toml", "--out", "model"], ["model", ".py"]),
    (["mine.toml", "--out", "my-model.py"], ["my-model.py", "cannot be imported"]),
    (["mine.toml", "--out", "."], [".py"]),
    (["mine.toml", "--out", "file/model.py"], ["file: is a file, not a folder"]),
    (["mine.toml", "--out", "folder.py"], ["folder.py"]),
    (["mine.toml", "--out", "/proc/model.py"], ["/proc/model.py", "cannot be written"]),
    (["wrong.toml"], ["key 'sourse'", "did you mean 'source'"]),
    (["latin.toml"], ["latin.toml", "cannot be read"]),
    (["itself.toml"], ["itself.toml", "extends itself"]),
    (["folder.toml"], ["folder.toml", "Is a directory"]),
]


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of things that cannot be used."""
    where = tmp_path_factory.mktemp("bad")
    (where / "mine.toml").write_text(MINE)
    (where / "wrong.toml").write_text('[sourse]\nuse = "x"\n')
    (where / "latin.toml").write_bytes(b'name = "S\xe4ule"')
    (where / "itself.toml").write_text('extends = "itself.toml"')
    (where / "file").write_text("not a folder")
    (where / "folder.py").mkdir()
    (where / "folder.toml").mkdir()
    return where


@pytest.mark.parametrize(("words", "expected"), BAD_BUILDS, ids=lambda v: " ".join(v)[-40:])
def test_a_bad_build_says_what_to_do_and_writes_nothing(
    words: Sequence[str], expected: Sequence[str], bad: Path
) -> None:
    before = sorted(bad.rglob("*"))
    said = run_inside(["build", *words, "--no-verify"], bad)
    must_fail(said, *expected)
    assert sorted(bad.rglob("*")) == before


def run_inside(words: Sequence[str], cwd: Path) -> Said:
    """Run a command in this process, which is faster by its imports; see `ccompile` for others."""
    here = Path.cwd()
    os.chdir(cwd)
    try:
        done = CliRunner().invoke(main, list(words), prog_name="ccompile")
    finally:
        os.chdir(here)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)


def test_the_same_in_a_process_of_its_own(bad: Path) -> None:
    said = ccompile("build", "mine.toml", "--set", "skip=maybe", cwd=bad)
    must_fail(said, "Error: skip: is 'maybe': expected 'keep' or 'drop'\n")


def test_a_name_that_cannot_be_imported_is_refused_as_it_was_given(tmp_path: Path) -> None:
    said = run_inside(["build", "microns-v1-surrogate", "--out", "my-model.py"], tmp_path)
    must_fail(said, "Error: my-model.py: 'my-model' cannot be imported")


@pytest.mark.parametrize(
    "words",
    [
        ["bild"],
        ["build"],
        ["build", "microns-v1", "--frobnicate"],
        ["build", "microns-v1", "--require", "maybe"],
        ["build", "microns-v1", "extra"],
        ["verify"],
        ["inspect"],
        ["plot"],
    ],
)
def test_misuse_is_exit_code_2(words: list[str], tmp_path: Path) -> None:
    must_fail(run_inside(words, tmp_path), "Usage: ccompile", code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(handle: int, data: bytes) -> int:
        write(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("connectome_compiler.files.os.write", full)
    words = ["build", "microns-v1-surrogate", "--out", "deep/model.py", "--no-verify"]
    said = run_inside(words, tmp_path)
    must_fail(said, "deep/model.py: cannot be written: No space left on device", "make room")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [CCOMPILE, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: output: No space left on device\n")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


SMALL = "build ncap-swimmer --no-verify --out model.py"


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        ("2>&-", 0, ""),
        ("<&-", 0, "Warning: "),
        ("2>/dev/full", 0, ""),
        (">&-", 1, "Error: output: standard output is closed\n  hint: only the report is lost"),
        (">/dev/full", 1, "Error: output: No space left on device\n  hint: only the report"),
        ("--print-after source >/dev/full", 1, "Error: output: No space left on device\n"),
        ("<&- >&- 2>&-", 1, ""),
    ],
)
def test_no_stream_costs_the_result(streams: str, code: int, said: str, tmp_path: Path) -> None:
    line = f"'{CCOMPILE}' {SMALL} {streams}"
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["model.py"]
    text = (tmp_path / "model.py").read_text()
    compile(text, "model.py", "exec")
    assert text.startswith('"""')
    assert "def build(" in text


HOSTILE = 'extends = "microns-v1-surrogate"\ntitle = "\\U0001F600 \\u001b]0;owned\\u0007 \\u202e"\n'


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_narrow_stream_gets_the_characters_spelled_out(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(HOSTILE)
    said = ccompile("list", "mine.toml", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert (said.code, said.err) == (0, "")
    assert ("\N{GRINNING FACE}" if encoding == "utf-8" else "\\U0001f600") in said.out
    assert "\\x1b]0;owned\\x07 \\u202e" in said.out
    assert "\x1b" not in said.out


def test_a_terminal_obeys_no_data(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_bytes(b"\x1b[2Jpre\x1b]0;owned\x07,\xc2\x9bpost\n1,2\n")
    said = run_inside(["build", "table", "--set", "edges=e.csv"], tmp_path)
    must_fail(said, "\\x1b]0;owned\\x07")
    assert not {"\x1b", "\x07", "\x9b"} & set(said.err)


@pytest.mark.parametrize(
    "words",
    [
        ["build", "ncap-swimmer", "--out", "a\0.py"],
        ["verify", "a\0.py"],
        ["verify", "model.py", "--graph", "a\0"],
        ["train", "model.py", "--out", "a\0"],
        ["analyse", "a\0.py"],
    ],
)
def test_no_path_has_a_nul(words: list[str], tmp_path: Path) -> None:
    must_fail(run_inside(words, tmp_path), "contains a NUL character", code=2)


def test_a_lack_of_memory_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes")

    monkeypatch.setattr("connectome_compiler.pipeline.build", line)
    said = run_inside(["build", "ncap-swimmer"], tmp_path)
    must_fail(said, "Error: build: not enough memory\n  hint: close other programs")


@pytest.mark.slow
def test_without_docstrings_it_works_and_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path,
) -> None:
    temporary, out = tmp_path / "tmp", tmp_path / "out"
    temporary.mkdir()
    out.mkdir()
    small = {"PYTHONOPTIMIZE": "2", "TMPDIR": str(temporary)}
    said = ccompile("build", "ncap-swimmer", cwd=out, **small)
    assert said.code == 0, said
    assert "verified model.py" in said.out
    said = ccompile("analyse", "model.py", "--inputs", "4", "--seeds", "1", cwd=out, **small)
    assert said.code == 0, said
    assert list(temporary.iterdir()) == []


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    done = subprocess.run(
        f"'{CCOMPILE}' list | head -n 0; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "1")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("moment", ["Warning", "verifying"])
def test_interrupt_leaves_nothing_behind(moment: str, name: str, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    out = tmp_path / "out"
    running = subprocess.Popen(
        [CCOMPILE, "build", "microns-v1-surrogate", "--out", out / "model.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    assert running.stderr is not None
    first = running.stderr.readline()  # the data are read, the passes run
    assert first.startswith("Warning: ")
    if moment == "verifying":
        end = time.monotonic() + 30
        while time.monotonic() < end and not list(temporary.rglob("ccompile-*/model.py")):
            time.sleep(0.02)
        assert list(temporary.rglob("ccompile-*/model.py"))
        os.killpg(running.pid, signal.Signals[name])  # as a terminal: to all of them
    else:
        running.send_signal(signal.Signals[name])
    said_out, said_err = running.communicate(timeout=30)
    assert running.returncode == 1
    assert said_out == ""
    assert said_err == "Error: interrupted: no partial files are left; run it again\n"
    assert not out.exists()
    assert list(temporary.iterdir()) == []


# --- the others -----------------------------------------------------------------------------------


def test_verify_passes_and_finds_what_was_altered(module: Path, tmp_path: Path) -> None:
    graph = next((module.parent / "column.graphs").iterdir())
    said = ccompile("verify", module, "--graph", graph, cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("verified column.py: ")
    assert "one by one" in said.out
    altered = tmp_path / "column.py"
    altered.write_text(module.read_text())
    arrays = bytearray(arrays_of(module).read_bytes())
    arrays[-1] ^= 1
    (tmp_path / arrays_of(module).name).write_bytes(bytes(arrays))
    must_fail(ccompile("verify", "column.py", cwd=tmp_path), "column.py", "build it again")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["verify", "none.py"], ["none.py: no such file"]),
        (["verify", "file"], ["file"]),
        (["verify", "folder.py"], ["folder.py: is a folder"]),
        (["verify", "plain.py"], ["plain.py"]),
        (["inspect", "none.py"], ["none.py: no such file", "ccompile build"]),
        (["inspect", "folder.py"], ["folder.py"]),
        (["inspect", "plain.py"], ["no PROVENANCE"]),
        (["inspect", "broken.py"], ["broken.py: is not a Python module"]),
        (["inspect", "altered.py"], ["altered.py: PROVENANCE: lacks 'sha256'"]),
        (["inspect", "runs.py"], ["runs.py: PROVENANCE: is not what ccompile wrote"]),
        (["inspect", "folder"], ["folder: is not a saved graph"]),
        (["inspect", "plain.py", "--set", "a=1"], ["only a recipe can be changed"]),
        (["inspect", "micron-v1"], ["did you mean 'microns-v1'"]),
        (["plot", "synthetic", "--kind", "rastr"], ["did you mean 'raster'"]),
        (["plot", "synthetic", "--kind", "raster", "--option", "b=1"], ["did you mean 'by'"]),
        (["plot", "synthetic", "--out", "model.py"], ["ends in .svg", "--out model.svg"]),
        (["plot", "synthetic", "--out", "folder"], ["folder: is a folder"]),
        (["plot", "folder"], ["folder: is not a saved graph"]),
        (["plot", "plain.py"], ["was not made by ccompile"]),
        (["list", "split-flo"], ["name 'split-flo'", "did you mean 'split-flow'"]),
        (["list", "none.toml"], ["none.toml: no such file"]),
        (["fetch", "micron-v1"], ["did you mean 'microns-v1'"]),
        (["list", "--toml", "ablate"], ["is not a recipe", "the name of a pass"]),
        (["build", "file"], ["is not a recipe", "ccompile build table --set edges=file"]),
        (["build", "plain.py"], ["is not a recipe", "ccompile inspect"]),
        (["build", "saved"], ["is not a recipe", "docs/python.md"]),
        (["fetch", "toy.toml"], ["nothing to download", "builds need no"]),
        (["fetch", "table"], ["edges: is not set", "--set edges="]),
    ],
)
def test_the_other_commands_fail_as_plainly(
    words: list[str], expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "graph.json").write_text("{}")
    (tmp_path / "plain.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("x = (\n")
    (tmp_path / "altered.py").write_text("PROVENANCE: dict = {'name': 'x'}\n")
    (tmp_path / "runs.py").write_text("PROVENANCE = dict(print('run'))\n")
    page = '[source]\nuse = "microns-v1-surrogate"\n[template]\nuse = "bionic"\n'
    (tmp_path / "toy.toml").write_text(page)
    must_fail(run_inside(words, tmp_path), *expected)


def test_inspect_a_module_without_running_it(module: Path, tmp_path: Path) -> None:
    alone = tmp_path / "column.py"
    alone.write_text(module.read_text() + "\nraise SystemExit('it was run')\n")
    said = run_inside(["inspect", str(alone)], tmp_path)
    assert (said.code, said.err) == (0, "")
    for words in (*POPULATIONS, "density", "signs ", "not measured", "split-flow", "CC BY"):
        assert words in said.out


def test_inspect_a_saved_graph_and_a_recipe(module: Path, tmp_path: Path) -> None:
    (graph,) = (module.parent / "column.graphs").iterdir()
    saved = run_inside(["inspect", str(graph)], tmp_path)
    made = run_inside(["inspect", "microns-v1-surrogate"], tmp_path)
    assert (saved.code, saved.err) == (made.code, made.err) == (0, "")
    assert saved.out == made.out
    for words in (*POPULATIONS, "signs: ", "coverage", "in-degree", "density", "split-flow"):
        assert words in saved.out


def test_plot_draws_a_recipe_and_a_saved_graph(tmp_path: Path) -> None:
    words = ["plot", "synthetic", "--set", "radius=0.4", "--kind", "raster"]
    said = run_inside([*words, "--option", "colour=sign", "--out", "a.svg"], tmp_path)
    assert (said.code, said.out) == (0, "a.svg\n")
    assert said.err == "Warning: synthetic-window@seed-0 is modelled, not measured\n"
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert run_inside([*words, "--out", "a.svg"], tmp_path).code == 0  # over our own
    first = (tmp_path / "a.svg").read_bytes()
    with pytest.warns(UserWarning, match="modelled"):
        load_graph("synthetic", radius=0.4).save(tmp_path / "saved")
    said = run_inside(["plot", "saved", "--kind", "raster", "--out", "b.svg"], tmp_path)
    assert said.code == 0, said
    assert (tmp_path / "b.svg").read_bytes() == first
    changed = run_inside(["plot", "saved", "--set", "radius=0.4"], tmp_path)
    must_fail(changed, "only a recipe can be changed")
    (tmp_path / "a.svg").write_bytes(first.replace(b"<svg", b"<svg id='mine'"))
    kept = (tmp_path / "a.svg").read_bytes()
    must_fail(
        run_inside([*words, "--out", "a.svg"], tmp_path), "or was edited since", "move it away"
    )
    assert (tmp_path / "a.svg").read_bytes() == kept


def test_a_folder_does_not_hide_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "microns-v1-surrogate").mkdir()
    assert run_inside(["inspect", "microns-v1-surrogate"], tmp_path).code == 0


def test_list_names_everything(tmp_path: Path) -> None:
    said = run_inside(["list"], tmp_path)
    assert (said.code, said.err) == (0, "")
    for name in (*recipe_names(), "bionic", "split-flow", "microns-v1-surrogate"):
        assert name in said.out
    for name in [*re.findall(r"^  (\S+)  ", said.out, re.MULTILINE)]:
        one = run_inside(["list", name], tmp_path)
        assert one.code == 0
        assert name in one.out
    (tmp_path / "mine.toml").write_text(MINE)
    mine = run_inside(["list", "mine.toml"], tmp_path)
    assert "min_synapses" in mine.out
    assert "statistics" in mine.out


def test_list_tells_types_defaults_and_what_an_option_means(tmp_path: Path) -> None:
    stage = run_inside(["list", "fold-inhibition"], tmp_path).out
    assert re.search(r'policy +"graded" +inhibitory neurons: .* \(graded \| units \| drop\)', stage)
    assert re.search(r"strength +0.5 +strength of .* \(number\)", stage)
    recipe = run_inside(["list", "microns-v1"], tmp_path).out
    assert re.search(r"min_synapses, min_weight +0 +smallest weight .* \(number\)", recipe)
    assert "seed sets source.seed, null-model.null_seed" in recipe
    assert "null-model (pass): left out unless null is set" in recipe
    assert re.search(r'dale +"majority"', recipe)
    assert re.search(r'assign-signs.column +"cell_class"', recipe)


def test_an_option_is_listed_once(tmp_path: Path) -> None:
    """Recipe and adapter have one name, and the recipe shows all that the adapter takes."""
    page = run_inside(["list", "table"], tmp_path).out
    assert len(re.findall("^  duplicates ", page, re.MULTILINE)) == 1
    assert re.search(r"edges +\(needed\) +connections: a list", page)
    assert "adapter table\n\nA connectome from files" in page


def test_passes_are_added_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_PASS)
    said = run_inside(
        [
            *("build", "synthetic", "--no-verify", "--save-after", "halve", "--save-after", "core"),
            *("--pass", "mine.py:halve before attach-ports", "--set", "halve.share=0.25"),
            *("--pass", "keep-core after halve as core", "--set", "k=1"),
        ],
        tmp_path,
    )
    assert said.code == 0, said
    graphs = tmp_path / "model.graphs"
    assert sorted(p.name for p in graphs.iterdir()) == ["06-halve", "07-keep-core"]
    assert Graph.load(graphs / "06-halve").n_neurons == 64
    halve, core = Graph.load(graphs / "07-keep-core").provenance.steps[-2:]
    assert (halve.name, halve.options, core.name) == ("halve", "share=0.25", "keep-core")
    digest = hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()
    assert halve.notes == (f"by code of mine.py, sha256 {digest[:16]}...",)
    assert core.notes == ("0 neurons outside the core of total degree 1 dropped",)
    shown = run_inside(["inspect", "synthetic", "--pass", "drop-autapses after source"], tmp_path)
    assert "drop-autapses" in shown.out
    must_fail(
        run_inside(["inspect", "model.py", "--pass", "drop-autapses after source"], tmp_path),
        "--pass drop-autapses after source",
    )


OWN_PASS = """
import numpy as np
from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.ir.graph import Graph

def halve(graph: Graph, share: float = 0.5) -> Graph:
    \"\"\"Keep the first neurons.\"\"\"
    kept = {p.name: np.arange(p.n_units) < share * p.n_units for p in graph.biological}
    return keep_neurons(graph, kept)
"""


def test_a_shipped_recipe_is_printed_to_start_from(tmp_path: Path) -> None:
    """What is printed builds the same files."""
    for name in ("synthetic", "microns-v1-surrogate"):  # one written out, one that extends
        printed = run_inside(["list", "--toml", name], tmp_path)
        assert (printed.code, printed.err) == (0, "")
        (tmp_path / "own.toml").write_text(printed.out)
        made = {}
        for recipe in (name, "own.toml"):
            folder = tmp_path / recipe.replace(".", "-")
            built = run_inside(
                ["build", recipe, "--no-verify", "--out", str(folder / "m.py")], tmp_path
            )
            assert built.code == 0, built
            made[recipe] = {p.name: p.read_bytes() for p in folder.iterdir()}
        assert made[name] == made["own.toml"]
    must_fail(run_inside(["list", "--toml", "split-flow"], tmp_path), "recipe 'split-flow'")
    must_fail(run_inside(["list", "--toml"], tmp_path), "--toml needs", code=2)


# --- starting up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["build", "--help"]])
def test_help_is_light(words: list[str], tmp_path: Path) -> None:
    code = """
import sys
from connectome_compiler.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
heavy = {"torch", "pandas", "networkx", "scipy", "numpy", "pyarrow", "caveclient", "duckdb"}
heavy |= {"rich", "pydantic", "jinja2", "requests"}
sys.exit(f"imported {heavy & set(sys.modules)}" if heavy & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ccompile" in done.stdout or "Usage" in done.stdout


def test_version_and_help(tmp_path: Path) -> None:
    from connectome_compiler import __version__

    assert __version__ in run_inside(["--version"], tmp_path).out
    page = run_inside(["-h"], tmp_path).out
    for command in ("build", "verify", "inspect", "plot", "list", "fetch"):
        assert f"  {command} " in page
    assert "..." not in page.partition("Commands:")[2]


def test_importing_the_package_has_no_side_effects() -> None:
    code = """
import sys, warnings
before = (warnings.filters[:], sys.excepthook, sys.stdout, sys.stderr)
import connectome_compiler, connectome_compiler.cli
assert before == (warnings.filters[:], sys.excepthook, sys.stdout, sys.stderr)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("build mic", ["microns-v1", "microns-v1-surrogate"]),
        ("inspect microns-v1-s", ["microns-v1-surrogate"]),
        ("fetch ", ["microns-v1"]),
        ("ver", ["verify"]),
        ("list split", ["split-flow"]),
    ],
)
def test_shell_completion(typed: str, expected: list[str], tmp_path: Path) -> None:
    words = f"ccompile {typed}"
    env = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    said = ccompile(cwd=tmp_path, _CCOMPILE_COMPLETE="bash_complete", **env)
    offered = [line.partition(",")[2] for line in said.out.splitlines()]
    assert set(expected) <= set(offered)
    assert said.err == ""


def test_progress_is_for_terminals_and_stays_out_of_the_results(tmp_path: Path) -> None:
    terminal, other_end = pty.openpty()
    with (tmp_path / "result.txt").open("w") as result:
        words = ["build", "microns-v1-surrogate", "--no-verify", "--print-after", "split-flow"]
        running = subprocess.Popen(
            [CCOMPILE, *words], stdout=result, stderr=other_end, cwd=tmp_path
        )
        os.close(other_end)
        shown = b""
        while running.poll() is None or select.select([terminal], [], [], 0)[0]:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 4096)
                except OSError:  # Linux says so where the other end is closed
                    break
    os.close(terminal)
    assert running.wait() == 0
    assert b"building microns-v1-surrogate: reading" in shown
    assert b"Warning: " in shown
    text = (tmp_path / "result.txt").read_text()
    assert text.startswith("--- after split-flow\n")
    assert "\x1b" not in text
    assert click.unstyle(shown.decode()).splitlines()[-1].strip("\r ") == ""
