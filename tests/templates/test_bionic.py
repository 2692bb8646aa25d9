"""The emitted text is as recorded; and run, it does what a slow, plain reference does."""

import ast
import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner
from columns import column, laminar, load_module, placed
from hypothesis import given, settings
from hypothesis import strategies as st

from connectome_compiler.certify.process import probe
from connectome_compiler.cli import main
from connectome_compiler.emit.emission import Emission
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    Graph,
    Population,
    Projection,
    Provenance,
    Swept,
    Synapses,
    neuron_table,
)
from connectome_compiler.passes.attach_ports import AttachPorts
from connectome_compiler.passes.laminar_partition import LaminarPartition
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.set_weights import SetWeights
from connectome_compiler.statement import Statement
from connectome_compiler.templates.bionic.style import Bionic

Array = npt.NDArray[np.float64]
MODES: list[dict[str, Any]] = [
    {},
    {"form": "subtractive"},
    {"inhibition": "units", "flow": "keep", "normalisation": "rms"},
    {"inhibition": "drop", "flow": "keep", "normalisation": "none"},
]


def emitted(graph: Graph, folder: Path, **options: Any) -> Any:
    """Return the imported module of ``graph``."""
    path = folder / "net.py"
    Bionic(**options).emit(graph, "toy").write(path)
    return load_module(path)


def test_units_are_the_neurons_of_the_graph(tmp_path: Path) -> None:
    graph = laminar(column(), **MODES[2])
    net = emitted(graph, tmp_path, keep=("counts",)).build().eval()
    frame, columns = graph.neurons(), net.neurons()
    for name in ("neuron_id", "population", "index", "cell_class", "cortical_layer"):
        assert columns[name] == frame[name].tolist()
    rates = net.rates(net.example_input(2))
    whole = torch.cat(list(rates.values()), -1)
    for unit, neuron in enumerate(columns["neuron_id"]):
        assert net.index(neuron) == unit
        place = columns["population"][unit], columns["index"][unit]
        assert torch.equal(rates[place[0]][:, place[1]], whole[:, unit])
    with pytest.raises(ValueError, match="there is no neuron 999"):
        net.index(999)
    for (_, _, layer), q in zip(net.named_projections(), graph.connectome, strict=True):
        np.testing.assert_array_equal(layer.count, q.synapses.weight)


# --- the text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0, 2], ids=["chain", "units"])
def test_source_is_as_recorded(mode: int, golden: Callable[[str, str], None]) -> None:
    graph = laminar(column(16), **MODES[mode])
    source = Bionic().emit(graph, "toy-column").source
    golden(f"bionic_{'chain' if mode == 0 else 'units'}.py", source)


@pytest.mark.parametrize("mode", range(len(MODES)))
def test_source_is_clean_and_stands_alone(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    emission = Bionic().emit(laminar(column(), **MODES[mode]), "toy")
    emission.write(path)
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--isolated", path], check=True)
    subprocess.run(
        [*ruff, "format", "--isolated", "--check", "--line-length=100", path], check=True
    )
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(ast.parse(emission.source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    outside = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert outside == {"torch", "safetensors"}


def test_text_depends_on_the_graph_alone(tmp_path: Path) -> None:
    first = Bionic().emit(laminar(column()), "toy")
    second = Bionic().emit(laminar(column()), "toy")
    assert first == second
    assert str(Path.cwd()) not in first.source
    assert Bionic().emit(laminar(column(seed=1)), "toy") != first


def test_names_from_data_never_become_code(tmp_path: Path) -> None:
    evil = 'L4""",__import__("os").abort(),"""{{ 1 }}\\'
    graph = column(8, layers=(evil,))
    graph = run(graph, (LaminarPartition(order=(evil,)), AttachPorts(outputs=7, image=(1, 8, 8))))
    module = emitted(graph, tmp_path)
    assert next(iter(module.build().effective_weights())).startswith(evil)


# --- what it does -----------------------------------------------------------------------------


def conv(x: Array, weight: Array, bias: Array | float) -> Array:
    """Cross-correlate ``(channels, h, w)`` with kernels, zero beyond the border."""
    out_channels, _, k, _ = weight.shape
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    out = np.zeros((out_channels, *x.shape[1:]))
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            out[:, i, j] = np.einsum("ocij,cij->o", weight, padded[:, i : i + k, j : j + k])
    biased: Array = out + np.reshape(bias, (-1, 1, 1))
    return biased


def pool(x: Array) -> Array:
    c, h, w = x.shape
    pooled: Array = x[:, : h // 2 * 2, : w // 2 * 2].reshape(c, h // 2, 2, w // 2, 2).max((2, 4))
    return pooled


def sigmoid(x: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-x))
    return y


def relu(x: Array) -> Array:
    y: Array = np.maximum(x, 0)
    return y


def front_end(s: dict[str, Array], x: Array) -> Array:
    """Convolution, lateral inhibition, pooling, convolution, pooling, attention."""
    x = conv(x, s["front_end.conv1.weight"], s["front_end.conv1.bias"])
    ring = np.ones((3, 3)) / 8
    ring[1, 1] = 0
    around = np.concatenate([conv(m[None], ring[None, None], 0) for m in x])
    x = pool(relu(x - 0.1 * around))
    x = pool(relu(conv(x, s["front_end.conv2.weight"], s["front_end.conv2.bias"])))
    squeeze, excite = (
        s["front_end.attention.squeeze.weight"],
        s["front_end.attention.excite.weight"],
    )
    pooled = (x.mean((1, 2)), x.max((1, 2)))
    x = x * sigmoid(np.sum([excite @ relu(squeeze @ v) for v in pooled], 0))[:, None, None]
    of_place = conv(np.stack((x.mean(0), x.max(0))), s["front_end.attention.place.weight"], 0)
    return (x * sigmoid(of_place)).ravel()


def reference(
    graph: Graph, s: dict[str, Array], names: dict[str, str], image: Array, steps: int
) -> Array:
    """Evaluate ``graph`` with dense matrices, one image, one unit after the other."""
    features = front_end(s, image)
    rates = {p.name: np.zeros(p.n_units) for p in graph.biological}
    dense = {}
    for q in graph.connectome:
        w = np.zeros(graph.shape(q))
        name = f"{names[q.pre]}_to_{names[q.post]}"
        raw = s[f"{name}.weight"]
        for k, (i, j) in enumerate(zip(q.synapses.post, q.synapses.pre, strict=True)):
            sign = graph.population(q.pre).column("sign")[int(j)].as_py()
            w[i, j] = raw[k] if sign is None else sign * abs(raw[k])
        dense[q.key] = w, s.get(f"{name}.bias", np.zeros(len(w)))
    for _ in range(steps):
        for p in graph.biological:
            drive = np.zeros(p.n_units)
            for q in graph.projections:
                if q.post != p.name or q.pre == p.name:
                    continue
                if q.pre == "image":
                    w, b = (s[f"image_to_{names[p.name]}.{part}"] for part in ("weight", "bias"))
                    drive += w @ features + b
                else:
                    drive += dense[q.key][0] @ rates[q.pre] + dense[q.key][1]
            assert isinstance(p.node, Swept)
            if p.node.normalisation == "layer":
                gain, shift = (s[f"{names[p.name]}.normalise.{x}"] for x in ("weight", "bias"))
                drive = (drive - drive.mean()) / np.sqrt(drive.var() + 1e-5) * gain + shift
            elif p.node.normalisation == "rms":
                drive = drive / np.sqrt((drive**2).mean() + 1e-5)
            a = relu(drive)
            for q in graph.connectome:
                if q.pre == q.post == p.name:
                    a = relu(drive + dense[q.key][0] @ a)
            if p.node.inhibition:
                r = 0.5 * p.column("inhibition").to_numpy().astype(np.float32).astype(float)
                a = relu(a - r) if p.node.inhibition.form == "subtractive" else a * (1 - r)
            rates[p.name] = a
    logits = np.zeros(graph.population("classes").n_units)
    for q in graph.projections:
        if q.post == "classes":
            read_out = f"{names[q.pre]}_to_classes"
            logits += s[f"{read_out}.weight"] @ rates[q.pre] + s.get(f"{read_out}.bias", 0)
    return logits


@pytest.mark.parametrize("mode", range(len(MODES)))
@given(seed=st.integers(0, 99), density=st.sampled_from([0.4, 0.7, 1.0]))
@settings(max_examples=6)
def test_agrees_with_a_dense_reference(
    mode: int, seed: int, density: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    graph = laminar(column(20, density, seed), **MODES[mode])
    module = emitted(graph, tmp_path_factory.mktemp("net"))
    torch.manual_seed(seed)
    net = module.build().double().eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    state = {k: v.numpy().astype(np.float64) for k, v in net.state_dict().items()}
    names = {p.name: p.name.lower().replace("/", "_").replace(".", "_") for p in graph.biological}
    images = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    steps = 3 if any(q.delay and q.pre != q.post for q in graph.connectome) else 1
    expected = np.stack([reference(graph, state, names, x.numpy(), steps) for x in images])
    with torch.no_grad():
        np.testing.assert_allclose(net(images).numpy(), expected, rtol=1e-7, atol=1e-9)


@given(seed=st.integers(0, 10_000), initialiser=st.sampled_from(["normal_", "uniform_", "ones_"]))
@settings(max_examples=4)
def test_weights_that_act_are_the_connections(
    seed: int, initialiser: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    graph = laminar(column(24, 0.2, seed), inhibition="units", flow="keep", normalisation="rms")
    net = emitted(graph, tmp_path_factory.mktemp("net")).build()
    for parameter in net.parameters():
        getattr(torch.nn.init, initialiser)(parameter)
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.3, weight_decay=0.5)
    for _ in range(3):
        net(net.example_input(2)).square().sum().backward()
        optimiser.step()
    weights = net.effective_weights()
    assert list(weights) == [q.key for q in graph.connectome]
    assert [(pre, post) for pre, post, _ in net.named_projections()] == [
        (q.pre, q.post) for q in graph.connectome
    ]
    for q in graph.connectome:
        w = weights[q.key]
        assert w.is_sparse
        assert tuple(w.shape) == graph.shape(q)
        post, pre = w.coalesce().indices().numpy()
        np.testing.assert_array_equal(post, q.synapses.post)
        np.testing.assert_array_equal(pre, q.synapses.pre)
        assert (w.coalesce().values().numpy() * graph.signs(q) >= 0).all()


def test_every_part_is_a_switch(tmp_path: Path) -> None:
    module = emitted(laminar(column(160)), tmp_path)
    torch.manual_seed(0)
    whole = module.build()
    sizes = {}
    switches: dict[str, dict[str, Any]] = {
        "lateral": {"lateral_inhibition": 0.0},
        "attention": {"attention": False},
        "norm": {"normalisation": "none"},
        "within": {"within": False},
        "graded": {"graded_inhibition": False},
        "noise": {"noise_std": 0.5},
    }
    for name, options in switches.items():
        net = module.build(**options)
        net.load_state_dict(whole.state_dict(), strict=False)
        images = whole.example_input(4)
        torch.manual_seed(1)
        assert not torch.equal(net(images), whole(images)), name
        sizes[name] = sum(p.numel() for p in net.parameters())
    full = sum(p.numel() for p in whole.parameters())
    assert sizes["attention"] == full - (16 * 4 * 2 + 2 * 49)
    assert sizes["within"] < full
    assert "L4.exc->L4.exc" not in module.build(within=False).effective_weights()


def test_noise_is_for_training_only(tmp_path: Path) -> None:
    net = emitted(laminar(column()), tmp_path).build(noise_std=0.5)
    images = net.example_input(2)
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))


@pytest.mark.parametrize("balanced", [True, False])
def test_starts_from_synapse_counts(balanced: bool, tmp_path: Path) -> None:
    graph = laminar(column(), **MODES[2]).run(SetWeights(start="weight"))
    net = emitted(graph, tmp_path).build(balanced=balanced)
    counts = {q.key: q.synapses for q in graph.connectome}
    sums: dict[tuple[Any, ...], float] = {}
    for pre, post, _ in net.named_projections():
        listed = counts[f"{pre}->{post}"]
        for i, weight in zip(listed.post, listed.weight, strict=True):
            # Balanced, excitation and inhibition are apart, and what settles from the rest.
            at = (post, i, pre.endswith("inh"), pre == post) if balanced else (post, i)
            sums[at] = sums.get(at, 0) + abs(float(weight))
    for pre, post, layer in net.named_projections():
        listed, inhibits = counts[f"{pre}->{post}"], pre.endswith("inh")
        size = 0.75 if balanced and inhibits else 1.0
        for i, count, weight in zip(listed.post, listed.weight, layer.weight, strict=True):
            at = (post, i, inhibits, pre == post) if balanced else (post, i)
            assert float(weight.detach()) == pytest.approx(size * count / sums[at], rel=1e-5)


def test_starts_from_synapse_counts_are_certified(tmp_path: Path) -> None:
    graph = laminar(column(12), inhibition="units").run(SetWeights(start="weight"))
    Bionic().emit(graph, "toy").write(tmp_path / "net.py")
    assert probe(tmp_path / "net.py", None)["n_connections"] == graph.n_connections


@pytest.mark.parametrize("kind", ["local", "low-rank"])
def test_structured_read_ins_are_certified(kind: Any, tmp_path: Path) -> None:
    graph = placed(laminar(column(16), inhibition="units", normalisation="rms", size=20))
    style = Bionic(read_in=kind, read_in_window=2, read_in_rank=3)
    style.emit(graph, "toy").write(tmp_path / "net.py")
    certificate = probe(tmp_path / "net.py", None)
    module = load_module(tmp_path / "net.py")
    net, n, maps = module.build(), 0, 16 * 5 * 5
    for post in ("L4.exc", "L4.inh"):
        units = graph.population(post).n_units
        n += units * (16 * 2 * 2 + 1) if kind == "local" else 3 * maps + units * (3 + 1)
    layers = [net.image_to_l4_exc, net.image_to_l4_inh]
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == n
    assert certificate["n_parameters"] == sum(p.numel() for p in net.parameters())
    stated = Statement.read(module.PROVENANCE, module.__doc__).plain()
    assert f"{n:,} numbers" in style.told(stated)["read-in"]
    assert f"{n:,}" in CliRunner().invoke(main, ["inspect", str(tmp_path / "net.py")]).output


def test_local_read_ins_follow_the_column(tmp_path: Path) -> None:
    graph = placed(laminar(column(40), size=32))
    net = emitted(graph, tmp_path, read_in="local", read_in_window=1).build(
        channels=1, image_size=32
    )
    p = graph.population("L4.exc")
    x, z = (np.array(p.column(axis).to_pylist()) for axis in ("x_um", "z_um"))
    row, place = net.image_to_l4_exc.window[:, 0] // 8, net.image_to_l4_exc.window[:, 0] % 8
    assert np.corrcoef(row, z)[0, 1] > 0.95
    assert np.corrcoef(place, x)[0, 1] > 0.95


def test_local_read_ins_need_positions(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="3 driven neurons have no x_um and z_um") as found:
        Bionic(read_in="local").emit(laminar(column(16)), "toy")
    assert found.value.hint == "read_in=dense, or read_in=low-rank"
    for kind in ("dense", "low-rank"):
        emitted(laminar(column(16)), tmp_path, read_in=kind).build()


@pytest.mark.parametrize("mode", [0, 1])
def test_calibration_centres_drives(mode: int, tmp_path: Path) -> None:
    net = emitted(laminar(column(40, 0.5), **MODES[mode]), tmp_path).build(balanced=False).double()
    images = net.example_input(32)
    net.calibrate(images)
    assert net.training
    drives: list[torch.Tensor] = []
    for layer in (net.image_to_l4_exc, net.l4_exc_to_l2_3_exc):
        layer.register_forward_hook(lambda *given: drives.append(given[2].detach()))
    net.eval()(images)
    for drive in drives:
        torch.testing.assert_close(drive.mean(0), torch.zeros_like(drive[0]))
        assert float(drive.square().mean()) == pytest.approx(1)


def test_image_channels_and_classes_are_options(tmp_path: Path) -> None:
    module = emitted(laminar(column()), tmp_path)
    net = module.build(image_size=(20, 12), channels=3, classes=5)
    assert net.example_input(2).shape == (2, 3, 20, 12)
    assert net(net.example_input(2)).shape == (2, 5)
    with pytest.raises(ValueError, match="expected"):
        net(torch.rand(2, 3, 12, 20))
    with pytest.raises(ValueError, match="pixels"):
        module.build(image_size=3)


def test_all_weights_are_there_on_request(tmp_path: Path) -> None:
    net = emitted(laminar(column()), tmp_path).build()
    weights = net.effective_weights(all=True)
    assert weights["image->L4.exc"].shape[0] == net.image_to_l4_exc.out_features
    assert weights["front_end.conv1"].shape == (8, 1, 3, 3)
    assert "L6.exc->classes" in weights
    assert set(net.effective_weights()) < set(weights)


def test_state_round_trips_and_foreign_state_is_refused(tmp_path: Path) -> None:
    net = emitted(laminar(column()), tmp_path).build()
    twin = emitted(laminar(column()), tmp_path).build()
    twin.load_state_dict(net.state_dict())
    images = net.example_input(2)
    assert torch.equal(twin.eval()(images), net.eval()(images))
    assert torch.equal(copy.deepcopy(net)(images), net(images))
    other = emitted(laminar(column(seed=7)), tmp_path).build()
    with pytest.raises(RuntimeError, match=r"another network|size mismatch"):
        other.load_state_dict(net.state_dict())


def test_export_sees_one_graph(tmp_path: Path) -> None:
    net = emitted(laminar(column(12)), tmp_path).build().eval()
    images = net.example_input(2)
    export: Any = torch.export.export
    torch.testing.assert_close(export(net, (images,)).module()(images), net(images))


@pytest.mark.slow
def test_compiles_whole(tmp_path: Path) -> None:
    net = emitted(laminar(column(12)), tmp_path).build().eval()
    compiled: Any = torch.compile(net, fullgraph=True)
    torch.testing.assert_close(compiled(net.example_input(2)), net(net.example_input(2)))


def test_two_models_live_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = emitted(laminar(column()), tmp_path / "a").build()
    second = emitted(laminar(column(seed=3)), tmp_path / "b").build()
    for net in (first, second, first):
        net(net.example_input(2)).sum().backward()


def test_many_edges_go_beside_the_module(tmp_path: Path) -> None:
    small, large = laminar(column(24)), laminar(column(400, 0.9))
    assert Bionic().emit(small, "toy").arrays is None
    emission: Emission = Bionic().emit(large, "toy")
    assert emission.arrays is not None
    arrays, module = emission.write(tmp_path / "net.py")
    assert module == tmp_path / "net.py"
    assert sorted(tmp_path.iterdir()) == [arrays, module]
    assert load_module(tmp_path / "net.py").build().effective_weights()
    arrays.write_bytes(emission.arrays[:-1] + b"x")
    with pytest.raises(RuntimeError, match="not the data"):
        load_module(tmp_path / "net.py").build()
    arrays.unlink()
    with pytest.raises(RuntimeError, match="is missing"):
        load_module(tmp_path / "net.py").build()


def test_a_graph_without_ports_is_refused() -> None:
    with pytest.raises(CompileError, match="the graph has no image"):
        Bionic().emit(column(), "toy")


@pytest.mark.parametrize(
    "options",
    [
        {"steps": -1},
        {"batch": 0},
        {"filters": (0, 4)},
        {"lateral_inhibition": -1.0},
        {"class_name": "a b"},
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(CompileError, match=next(iter(options))):
        Bionic(**options)


def test_a_network_that_cannot_see_the_image_is_refused() -> None:
    graph = laminar(column(24, 0.0))
    with pytest.raises(CompileError, match="no path of connections leads from the image"):
        Bionic().emit(graph, "toy")


def test_sweeps_fit_the_graph() -> None:
    chain = laminar(column())
    loops = laminar(column(40), inhibition="units", flow="keep")
    with pytest.raises(CompileError, match="nothing acts on the sweep before"):
        Bionic(steps=3).emit(chain, "toy")
    with pytest.raises(CompileError, match="would never act"):
        Bionic(steps=1).emit(loops, "toy")
    assert "steps: int = 3," in Bionic().emit(loops, "toy").source
    assert "steps: int" not in Bionic().emit(chain, "toy").source


def test_delays_that_it_does_not_carry_are_refused() -> None:
    graph = laminar(column())
    slow = graph.with_projections([replace(q, delay=q.delay + 1) for q in graph.projections])
    with pytest.raises(CompileError, match="delay"):
        Bionic().emit(slow, "toy")
    electrical = graph.with_projections([replace(q, kind="electrical") for q in graph.projections])
    with pytest.raises(CompileError, match="is electrical; the style has chemical"):
        Bionic().emit(electrical, "toy")


@pytest.mark.parametrize("name", ["nn", "EdgeLinear", "Tensor", "build", "PROVENANCE", "print"])
def test_class_names_in_use_are_refused(name: str) -> None:
    with pytest.raises(CompileError, match="is taken"):
        Bionic(class_name=name).emit(laminar(column()), "toy")


def test_a_surrogate_is_called_one_whatever_is_asked() -> None:
    graph = laminar(column())
    origin = replace(graph.provenance, dataset="toy-surrogate")
    source = Bionic(class_name="Brain").emit(replace(graph, provenance=origin), "toy").source
    assert "class BrainSurrogate(nn.Module)" in source


@pytest.mark.parametrize(
    "options",
    [{"inhibition_strength": 3.0}, {"noise_std": -1.0}, {"classes": 0}, {"normalisation": "batch"}],
)
def test_the_network_refuses_senseless_options(options: dict[str, Any], tmp_path: Path) -> None:
    module = emitted(laminar(column()), tmp_path)
    with pytest.raises(ValueError, match=r"strength|noise_std|classes|normalisation"):
        module.build(**options)


def test_inhibition_of_other_cells_is_refused(tmp_path: Path) -> None:
    net = emitted(laminar(column(40, 0.5)), tmp_path).build()
    state = net.state_dict()
    state["l4_exc.inhibition"] = 1 - state["l4_exc.inhibition"]
    with pytest.raises(RuntimeError, match="inhibition differs"):
        net.load_state_dict(state)


def test_a_path_must_fit_into_the_sweeps() -> None:
    """Three steps inside L2/3 need more settling than one sweep has."""
    layers = ["L4", "L2/3", "L2/3", "L2/3", "L5", "L6"]
    table = neuron_table(
        {"neuron_id": range(6), "cell_class": ["excitatory"] * 6, "cortical_layer": layers}
    )
    chain = Synapses.from_edges(np.arange(1, 6), np.arange(5), np.ones(5, np.int32))
    graph = Graph(
        (Population("neurons", (6,), table),),
        (Projection("neurons", "neurons", chain),),
        Provenance("toy"),
    )
    with pytest.raises(CompileError, match="no path of connections"):
        Bionic().emit(laminar(graph, normalisation="none"), "toy")


def test_one_neuron_alone_cannot_be_normalised() -> None:
    graph = column(4, 1.0)
    with pytest.raises(CompileError, match="no path of connections"):
        Bionic().emit(laminar(graph, inhibition="drop"), "toy")
    assert Bionic().emit(laminar(graph, inhibition="drop", normalisation="none"), "toy")
