"""Whatever is done to an emitted module, validation finds it and names it."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from columns import column, laminar

from connectome_compiler.emit.arrays import pack
from connectome_compiler.emit.validate import validate
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import Graph
from connectome_compiler.templates.bionic.style import Bionic


@pytest.fixture(scope="module")
def graph() -> Graph:
    return laminar(column(40, 0.6), inhibition="units", flow="keep", normalisation="rms")


@pytest.fixture
def module(graph: Graph, tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    Bionic(steps=2, kernel="edges").emit(graph, "toy").write(path)
    return path


def replaced(module: Path, pattern: str, to: str | Callable[[re.Match[str]], str]) -> Path:
    """Edit the module; the edit must take."""
    source = module.read_text()
    edited = re.sub(pattern, to, source, count=1)
    assert edited != source
    module.write_text(edited)
    return module


def test_a_sound_module_gets_its_certificate(module: Path, graph: Graph, tmp_path: Path) -> None:
    saved = graph.save(tmp_path / "graph")
    certificate = validate(module, saved)
    assert certificate.n_connections == graph.n_connections
    assert certificate.n_projections == len(graph.connectome)
    assert certificate.n_pulses == certificate.n_neurons
    assert not certificate.measured
    text = "\n".join(certificate.lines())
    assert "one by one" in text
    assert "axon coverage not known" in text


def test_a_flipped_sign_is_named(module: Path) -> None:
    replaced(module, r"sign=-1,", "sign=1,")
    with pytest.raises(VerifyError, match=r"L4.inh->L4.inh: has other signs"):
        validate(module)


def test_a_lost_sign_is_named(module: Path) -> None:
    replaced(module, r"sign=1,", "sign=0,")
    with pytest.raises(VerifyError, match="has other signs"):
        validate(module)


def test_signs_not_applied_are_named(module: Path) -> None:
    replaced(module, r"if not self\._any_sign:", "if True:")
    with pytest.raises(VerifyError, match="wrong sign"):
        validate(module)


def test_altered_arrays_are_named(module: Path) -> None:
    def swap(found: re.Match[str]) -> str:
        text = found.group(0)
        return text[:40] + ("A" if text[40] != "A" else "B") + text[41:]

    replaced(module, r'ARRAYS = """\n[^"]+"""', swap)
    with pytest.raises(VerifyError, match=r"ARRAYS|decompress"):
        validate(module)


def test_arrays_of_another_network_are_named(module: Path, tmp_path: Path) -> None:
    """Even where the hash was made to fit: the digests in PROVENANCE tell."""
    other = laminar(column(40, 0.6, seed=5), inhibition="units", flow="keep", normalisation="rms")
    theirs = Bionic(steps=2).emit(other, "toy").source
    data = re.search(r'ARRAYS_SHA256 = "\w+"\nARRAYS = """\n[^"]+"""', theirs)
    assert data
    replaced(module, r'ARRAYS_SHA256 = "\w+"\nARRAYS = """\n[^"]+"""', data.group(0))
    with pytest.raises(VerifyError, match=r"L4\.inh->L4\.inh: (has|connects)"):
        validate(module)


@pytest.mark.parametrize("damage", ["cut", "altered", "swapped", "missing"])
def test_a_damaged_file_of_arrays_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    emission = Bionic().emit(laminar(column(300, 0.9)), "toy")
    emission.write(path)
    arrays = path.with_suffix(".safetensors")
    data = arrays.read_bytes()
    if damage == "missing":
        arrays.unlink()
    elif damage == "swapped":
        other = Bionic().emit(laminar(column(300, 0.9, seed=9)), "toy").arrays
        assert other
        arrays.write_bytes(other)
    else:
        changed = data[:-8] if damage == "cut" else data[:-8] + bytes(8)
        arrays.write_bytes(changed)
    with pytest.raises(VerifyError, match=r"net\.safetensors"):
        validate(path)


def test_edges_run_backwards_are_named(module: Path) -> None:
    """The layer multiplies by the transpose: same numbers, wrong direction."""
    replaced(
        module,
        r"return _edge_product\(ptr, pre, weight, x\)",
        "return _edge_product(tptr, tpost, weight.index_select(0, order), x)",
    )
    with pytest.raises(VerifyError):
        validate(module)


def test_a_projection_left_out_is_named(module: Path) -> None:
    replaced(module, r"drive = drive \+ self\.l4_exc_to_l2_3_exc\(l4_exc\)\n", "pass\n")
    with pytest.raises(VerifyError, match=r"L4\.exc->L2/3\.exc: is not used"):
        validate(module)


def test_a_leak_is_named(module: Path) -> None:
    replaced(
        module,
        r"return y if self\.bias is None",
        "y = y + 1e-3 * x.sum(-1, True)\n        return y if self.bias is None",
    )
    with pytest.raises(VerifyError, match="a pulse into neuron"):
        validate(module)


def test_another_graph_is_named(module: Path, tmp_path: Path) -> None:
    saved = laminar(column(40, seed=2)).save(tmp_path / "other")
    with pytest.raises(VerifyError, match="not the one"):
        validate(module, saved)


def test_a_module_that_needs_the_compiler_is_refused(module: Path) -> None:
    replaced(module, r"\nimport torch\n", "\nimport connectome_compiler.ir\nimport torch\n")
    with pytest.raises(VerifyError, match="import: ModuleNotFoundError"):
        validate(module)


@pytest.mark.parametrize("content", ["", "def build(): pass", "raise SystemExit(3)", "x ="])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "thing.py"
    path.write_text(content)
    with pytest.raises(CompileError):
        validate(path)


def test_what_is_not_there_is_said(tmp_path: Path, module: Path) -> None:
    with pytest.raises(CompileError, match="no such file"):
        validate(tmp_path / "none.py")
    with pytest.raises(CompileError, match="not a saved graph"):
        validate(module, tmp_path)


def test_the_probe_runs_apart(module: Path) -> None:
    """A module that prints and exits oddly cannot fake a certificate."""
    replaced(module, r"\nimport torch\n", '\nprint("{}")\nimport torch\n')
    assert validate(module).n_connections


def test_packing_is_deterministic() -> None:
    import numpy as np

    arrays = {"b": np.arange(5, dtype=np.int32), "a": np.ones((2, 2), np.float32)}
    backwards = dict(reversed(arrays.items()))
    assert pack(arrays, 1) == pack(backwards, 1)
    assert pack(arrays, 1_000_000).inline == ""


def test_importing_validation_needs_no_torch() -> None:
    code = "import sys, connectome_compiler.emit.validate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


CHAIN_EDITS = {
    "a drive turned round": (
        r"self\.l4_exc_to_l2_3_exc\(l4_exc\)",
        r"-self.l4_exc_to_l2_3_exc(l4_exc)",
    ),
    "another activation": (r"rates = torch\.relu\(drive\)", "rates = torch.sigmoid(drive)"),
    "a way around": (
        r"return self\.l6_exc_to_classes\(rates\[\"L6.exc\"\]\)",
        r'return self.l6_exc_to_classes(rates["L6.exc"]) + rates["L4.exc"].mean()',
    ),
    "inhibition that excites": (r"rates \* \(1 - amount\)", "rates * (1 + amount)"),
    "inhibition left out": ("graded_inhibition: bool = True", "graded_inhibition: bool = False"),
    "no settling": (
        r"rates = torch\.relu\(drive \+ within\(rates\)\)",
        "rates = torch.relu(drive + 0 * within(rates))",
    ),
    "another norm": (
        'attention: bool = True,\n        normalisation: str = "layer"',
        'attention: bool = True,\n        normalisation: str = "none"',
    ),
    "a gradient twice": (
        r"output = in_full_precision\(\*inputs\)",
        "output = 2 * in_full_precision(*inputs)",
    ),
    "a gradient reversed": (r"grad_weight = gradient\(g, x", "grad_weight = -gradient(g, x"),
    "a model called measured": ('"measured": False', '"measured": True'),
    "another licence": ('"licence": "CC0"', '"licence": "mine"'),
    "a lazy import": (
        r"arrays = read_arrays\(\)",
        "import connectome_compiler.ir\n        arrays = read_arrays()",
    ),
    "nothing upstream learns": (r"= self\.normalise\(drive\)", "= self.normalise(drive.detach())"),
    "the lateral path does not learn": (
        r"relu\(drive \+ within\(rates\)\)\n",
        "relu(drive + within(rates.detach()))\n",
    ),
    "silence in training": (
        r"        if self\.training and self\.noise_std:",
        "        rates = rates * (not self.training)\n        if self.training and self.noise_std:",
    ),
    "rates below zero in training": (
        r"rates = torch\.relu\(rates \+ self\.noise_std \* torch\.randn_like\(rates\)\)",
        "rates = rates + self.noise_std * torch.randn_like(rates)",
    ),
    "right for one batch size alone": (
        r"= self\.normalise\(drive\)",
        "= self.normalise(drive if len(drive) == 4 else 0 * drive)",
    ),
    "more noise": (
        r"noise_std: float = 0\.0,\n        within",
        "noise_std: float = 0.5,\n        within",
    ),
    "a header that boasts": ("MODELLED, NOT MEASURED", "MEASURED"),
    "another licence in the header": ("Licence    CC0", "Licence    mine"),
    "a crash": (r"features = self\.front_end\(image\)", "features = self.front_end(image) @ image"),
}


@pytest.mark.parametrize("edit", CHAIN_EDITS)
def test_every_edit_is_found(edit: str, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    Bionic(kernel="edges").emit(laminar(column(40, 0.6)), "toy").write(path)
    replaced(path, *CHAIN_EDITS[edit])
    with pytest.raises(VerifyError) as found:
        validate(path)
    assert "cannot be imported" not in str(found.value)


def test_fewer_sweeps_are_found(module: Path) -> None:
    replaced(module, "steps: int = 2", "steps: int = 4")
    with pytest.raises(VerifyError, match="is not what the graph says"):
        validate(module)


def test_a_forged_certificate_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    Bionic().emit(laminar(column()), "toy").write(path)
    answer = '{"class_name": "X", "checks": [], "notes": []}'
    forged = f"import os\nprint({answer!r}, flush=True)\nos._exit(0)"
    replaced(path, r"\nimport torch\n", f"\n{forged}\nimport torch\n")
    with pytest.raises(VerifyError):
        validate(path)
