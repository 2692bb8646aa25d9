"""Whatever is done to an emitted module, validation finds it and names it."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from columns import column, laminar
from worms import driven, worm

from connectome_compiler.certify.certificate import validate
from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.fresh import run_fresh
from connectome_compiler.certify.process import probe
from connectome_compiler.emit.arrays import pack
from connectome_compiler.emit.carries import only
from connectome_compiler.emit.literal import packed
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import Graph
from connectome_compiler.ir.digest import statement_digest
from connectome_compiler.ir.laws import AllToAll
from connectome_compiler.options import configure
from connectome_compiler.passes.attach_ports import AttachPorts
from connectome_compiler.passes.runner import run
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.recurrent.style import Recurrent


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
    assert "axon coverage unknown" in text


def test_a_flipped_sign_is_named(module: Path) -> None:
    replaced(module, r"sign=-1,", "sign=1,")
    with pytest.raises(VerifyError, match=r"L4.inh->L4.inh: has other signs"):
        validate(module)


def test_a_lost_sign_is_named(module: Path) -> None:
    replaced(module, r"sign=1,", "sign=0,")
    with pytest.raises(VerifyError, match="has other signs"):
        validate(module)


@pytest.mark.parametrize(("port", "words"), [("into", "in"), ("out_of", "out")])
def test_a_read_in_of_other_units_is_named(
    port: str, words: str, graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read-in and read-out are layers of a style's own; the graph says of which units."""
    bare = replace(graph, populations=graph.biological, projections=graph.connectome, ports=())
    options = {"image": (1, 8, 8), "into": "", "out_of": "", port: "neuron_id < 1005"}
    half = run(bare, [configure("attach-ports", AttachPorts, options)])
    monkeypatch.setattr(Bionic, "carries", replace(Bionic.carries, ports=(only(AllToAll),)))
    module, saved = tmp_path / "net.py", half.save(tmp_path / "graph")
    Bionic(steps=2).emit(half, "toy").write(module)
    with pytest.raises(VerifyError, match=rf"has a read-{words} of \d+ units, in the g"):
        validate(module, saved)


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
    arrays, _ = emission.write(path)
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
    with pytest.raises(VerifyError, match=r"net\.connectome-\w+\.safetensors"):
        validate(path)


@pytest.mark.parametrize("rebuilt", [True, False])
def test_a_module_that_is_built_again_meanwhile_is_read_anew(
    rebuilt: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectome_compiler.emit.arrays.MOST_INLINE_EDGES", 0)
    path = tmp_path / "net.py"
    first, second = (Bionic().emit(laminar(column(seed=k)), "toy") for k in (0, 1))
    arrays, _ = first.write(path)
    calls = list[Any]()

    def between(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            arrays.unlink()  # as two builds do between a reading of the module and of its arrays
        done = run_fresh(*args)
        if len(calls) == 1 and rebuilt:
            second.write(path)
        return done

    monkeypatch.setattr("connectome_compiler.certify.certificate.run_fresh", between)
    if not rebuilt:
        with pytest.raises(VerifyError, match="is missing"):
            validate(path)
        assert len(calls) == 1
        return
    assert validate(path).n_connections == laminar(column(seed=1)).n_connections
    assert len(calls) == 2


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


def test_the_graph_of_another_stage_is_told_apart(
    module: Path, graph: Graph, tmp_path: Path
) -> None:
    stages = tmp_path / "net.graphs"
    column(40, 0.6).save(stages / "00-source")
    graph.save(stages / "01-last")
    with pytest.raises(VerifyError) as found:
        validate(module, stages / "00-source")
    assert found.value.hint == f"give it the graph after the last pass: --graph {stages}/01-last"
    with pytest.raises(VerifyError, match="saved by the build of this module"):
        validate(module, column(40, 0.6).save(tmp_path / "elsewhere" / "graph"))


def test_a_graph_of_another_format_has_one_hint(module: Path, graph: Graph, tmp_path: Path) -> None:
    saved = graph.save(tmp_path / "net.graphs" / "01-last")
    page = json.loads((saved / "graph.json").read_text())
    (saved / "graph.json").write_text(json.dumps({**page, "format": 4}))
    with pytest.raises(VerifyError) as found:
        validate(module, saved)
    assert found.value.problem.endswith("graph.json: has format 4; this version reads format 6")
    assert str(found.value).count("hint: ") == 1
    assert found.value.hint.endswith("make it again: ccompile build RECIPE --save-after all")


def without(path: Path, *left_out: str) -> Path:
    """State less, with a hash that fits, as another ccompile might."""
    head, mark, rest = path.read_text().partition("PROVENANCE: dict[str, Any] = ")
    text, _, code = rest.partition("\n}  # fmt: skip\n")
    stated = ast.literal_eval(text + "\n}")
    stated = {name: value for name, value in stated.items() if name not in left_out}
    stated["sha256"] = statement_digest(stated)
    path.write_text(head + mark + packed(stated) + "\n" + code)
    return path


def test_an_earlier_module_is_to_be_built_again(tmp_path: Path) -> None:
    path = without(recurrent("types", tmp_path), "statement")
    problem = "PROVENANCE: has the format 1; this ccompile reads 4"
    with pytest.raises(VerifyError, match=problem) as found:
        validate(path)
    assert found.value.hint.startswith(
        "build it again with this ccompile: it was made by connectome-"
    )


@pytest.mark.parametrize("name", ["options", "state"])
def test_no_statement_can_be_left_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="does not state"):
        probe(without(recurrent("types", tmp_path), name), None)


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
    code = "import sys, connectome_compiler.certify.certificate; sys.exit('torch' in sys.modules)"
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
    with pytest.raises(VerifyError, match="not those stated"):
        validate(module)


def test_a_forged_certificate_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    Bionic().emit(laminar(column()), "toy").write(path)
    answer = '{"class_name": "X", "checks": [], "notes": []}'
    forged = f"import os\nprint({answer!r}, flush=True)\nos._exit(0)"
    replaced(path, r"\nimport torch\n", f"\n{forged}\nimport torch\n")
    with pytest.raises(VerifyError):
        validate(path)


# --- recurrent networks: checked in this process, since a fresh one takes seconds -----------------


def recurrent(kind: str, folder: Path) -> Path:
    """Emit one of three networks: in parts, with types that share weights, with frozen ones."""
    style = Recurrent(kernel="edges")
    if kind == "parts":
        graph = driven(worm(12, 0.4), partition="role")
    elif kind == "types":
        dynamics = {"tau_per": "cell_type", "bias_per": "shared"}
        graph = driven(worm(12, 0.4), weights={"share": "type-pair"}, dynamics=dynamics)
    else:
        weights = {"start": "weight", "trained": False}
        graph = driven(worm(12, 0.4), weights=weights, dynamics={"tau_per": "fixed"})
        style = Recurrent(spectral_radius=0.9)
    path = folder / "net.py"
    style.emit(graph, "toy").write(path)
    return path


SIGN = r"sign=arrays\["
OPTIONS = (
    r"(outputs: int \| Sequence\[Any\] = 2,\n"
    r'        activation: str = "tanh",\n        tau_ms: float = )'
)
MADE = r"        if spectral_radius is not None:"
RECURRENT_EDITS = {
    "a sign flipped": ("parts", SIGN, "sign=-arrays[", "has other signs"),
    "a sign lost": ("parts", SIGN, "sign=0 * arrays[", "has other signs"),
    "signs of another projection": (
        "types",
        r'sign=arrays\["neurons->neurons.sign"\]',
        'sign=arrays["neurons->neurons.sign"].flip(0)',
        "has other signs",
    ),
    "a block in another place": (
        "parts",
        r"\(self\.sensory_to_inter, 4, 0\)",
        "(self.sensory_to_inter, 0, 4)",
        "not what the graph says",
    ),
    "a block left out": (
        "parts",
        r"weights = \{k: _effective\(layers\[k\]\) for k in needed\}\n",
        r"\g<0>        weights = {k: w * (k != 2) for k, w in weights.items()}\n",
        "not what the graph says",
    ),
    "weights turned round": (
        "types",
        r"k: _effective\(layers\[k\]\) for",
        "k: -_effective(layers[k]) for",
        "not what the graph says",
    ),
    "weights that do not learn": (
        "types",
        r"k: _effective\(layers\[k\]\) for",
        "k: _effective(layers[k]).detach() for",
        "has another gradient",
    ),
    "directions of a junction apart": (
        "parts",
        r"            weight=self\.\w+_electrical\.weight,\n",
        "",
        "do not conduct equally both ways",
    ),
    "junctions that share": (
        "types",
        r'arrays\["neurons->neurons:electrical.group"\]',
        '0 * arrays["neurons->neurons:electrical.group"]',
        "group differs",
    ),
    "other types share": (
        "types",
        r'arrays\["neurons->neurons.group"\]',
        'arrays["neurons->neurons.group"].flip(0)',
        "group differs",
    ),
    "other synapse counts": (
        "types",
        r'scale=arrays\["neurons->neurons.scale"\]',
        'scale=1 + arrays["neurons->neurons.scale"]',
        "scale differs",
    ),
    "no synapse counts": (
        "types",
        r'            scale=arrays\["neurons->neurons:electrical.scale"\],\n',
        "",
        "scale differs",
    ),
    "current that does not flow out": (
        "parts",
        MADE,
        f"        self.units.hold(gap_post=None)\n{MADE}",
        "not what the graph says",
    ),
    "junctions taken for synapses": (
        "parts",
        r'kind = "electrical"',
        'kind = "chemical"',
        "not what the graph says",
    ),
    "time constants of other types": (
        "types",
        r'tau_of=arrays\["tau_of"\]',
        'tau_of=arrays["tau_of"].flip(0)',
        "tau_of: are other units",
    ),
    "one time constant for all": (
        "parts",
        r"tau_of=torch\.arange\(12, device=\"cpu\"\)",
        "tau_of=torch.zeros(12, dtype=torch.int64)",
        "tau_of: are other units",
    ),
    "a time constant that is fixed": (
        "parts",
        r"tau_of=torch\.arange\(12, device=\"cpu\"\)",
        "tau_of=None",
        "tau_of: are other units",
    ),
    "a time constant that is not": ("frozen", r"tau_of=None", "tau_of=torch.arange(12)", "tau_of"),
    "biases of other units": (
        "types",
        r'bias_of=arrays\["bias_of"\]',
        "bias_of=torch.arange(12)",
        "bias_of: are other units",
    ),
    "no biases": ("types", r'bias_of=arrays\["bias_of"\]', "bias_of=None", "bias_of"),
    "another time constant": (
        "frozen",
        OPTIONS + r"50\.0",
        r"\g<1>60.0",
        "do not start at a time constant of 50.0 ms",
    ),
    "another step": (
        "frozen",
        OPTIONS + r"50\.0,\n        dt_ms: float = 20\.0",
        r"\g<1>50.0,\n        dt_ms: float = 10.0",
        "not those stated",
    ),
    "another activation": (
        "types",
        r"activation=activation",
        'activation="sigmoid"',
        "not what the graph says",
    ),
    "another spectral radius": (
        "frozen",
        r"spectral_radius: float \| None = 0\.9",
        "spectral_radius: float | None = 1.2",
        "starts at a spectral radius of 1.2, not 0.9",
    ),
    "frozen weights that learn": (
        "frozen",
        r"\.weight\.requires_grad_\(False\)",
        ".weight.requires_grad_(True)",
        "is trained",
    ),
    "weights that are frozen": (
        "types",
        r"\n\n        # The units",
        r"\n        self.neurons_to_neurons.weight.requires_grad_(False)\g<0>",
        "is not trained",
    ),
    "other starts": (
        "frozen",
        r'start=arrays\["neurons->neurons.start"\]',
        'start=arrays["neurons->neurons.start"].flip(0)',
        "does not start at the weights of the graph",
    ),
    "a state that is lost": (
        "types",
        r"driven, units, state, held\)",
        "driven, units, None, held)",
        "goes on from its state is another",
    ),
    "a state of the first step": (
        "types",
        r"rates, state = self\.units\(",
        "rates, _ = self.units(",
        "state",
    ),
    "other units driven": (
        "types",
        r'driven, read = arrays\["input_units"\]',
        'driven, read = arrays["input_units"] + 1',
        "input_units: are other units",
    ),
    "other units driven in the end": (
        "types",
        r"self\.units\(drive, self\._layers\(\), driven,",
        "self.units(drive, self._layers(), driven + 1,",
        "not what the graph says",
    ),
    "other units read": (
        "types",
        r'(driven, read = .+, arrays\["output_units"\])',
        r"\1.flip(0)",
        "output_units: are other units",
    ),
    "inputs that teach nothing": (
        "types",
        r"drive = self\.input_to_neurons\(u\)",
        "drive = self.input_to_neurons(u).detach()",
        "has another gradient",
    ),
    "silence in training": (
        "parts",
        r"        if one_step:\n            rates",
        r"        rates = rates * (not self.training)\n\g<0>",
        "not what the graph says",
    ),
    "right for one batch size alone": (
        "parts",
        r"        if one_step:\n            rates",
        r"        rates = rates * (rates.shape[1] != 13)\n\g<0>",
        "not what the graph says",
    ),
    "a statement that was altered": ("types", r'"dt_ms": 20\.0', '"dt_ms": 10.0', "PROVENANCE"),
}


@pytest.mark.parametrize("edit", RECURRENT_EDITS)
def test_every_edit_of_a_recurrent_network_is_found(edit: str, tmp_path: Path) -> None:
    kind, pattern, to, message = RECURRENT_EDITS[edit]
    path = replaced(recurrent(kind, tmp_path), pattern, to)
    with pytest.raises(Wrong) as found:
        probe(path, None)
    assert message in f"{found.value.where}: {found.value.problem}"


@pytest.mark.parametrize("kind", ["parts", "types", "frozen"])
def test_what_changes_nothing_is_no_finding(kind: str, tmp_path: Path) -> None:
    path = recurrent(kind, tmp_path)
    was = "dense=False" if "dense=False" in path.read_text() else "dense=True"
    replaced(path, was, "dense=True" if was == "dense=False" else "dense=False")
    replaced(path, MADE, f"        # a remark\n{MADE}")
    assert len(probe(path, None)["checks"]) == 18


def test_a_recurrent_network_gets_its_certificate(tmp_path: Path) -> None:
    graph = driven(worm(12, 0.4), weights={"trained": False}, partition="role")
    path = tmp_path / "net.py"
    Recurrent().emit(graph, "toy").write(path)
    certificate = validate(path, graph.save(tmp_path / "graph"))
    text = "\n".join(certificate.lines())
    gaps = sum(graph.count(q) for q in graph.connectome if q.kind == "electrical")
    assert f"{gaps} connections are gap junctions, counted in both directions" in text
    assert certificate.measured
    # What is frozen is no parameter to train: read-in, read-out, time constants and biases are.
    assert certificate.n_parameters == 3 * 4 + (4 + 1) * 2 + 12 + 12
    replaced(path, SIGN, "sign=-arrays[")
    with pytest.raises(VerifyError, match="has other signs"):
        validate(path)
