"""The emitted text is as recorded; and run, it does what a slow, plain reference does."""

import ast
import copy
import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from columns import column, laminar, load_module
from torch.nn import functional
from worms import driven, worm

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.process import probe
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    AllToAll,
    Graph,
    Leaky,
    OneToOne,
    Population,
    Projection,
    Provenance,
    Swept,
    Synapses,
    Tied,
    neuron_table,
)
from connectome_compiler.ir.ties import groups
from connectome_compiler.passes.ablate import Ablate
from connectome_compiler.passes.apply_dale import ApplyDale
from connectome_compiler.passes.attach_ports import AttachPorts
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.set_dynamics import SetDynamics
from connectome_compiler.passes.set_weights import SetWeights
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.recurrent.style import Recurrent

Array = npt.NDArray[np.float64]

# Every choice of every stage occurs, and every two stages meet in other choices.
CASES: dict[str, dict[str, Any]] = {
    "whole": {},
    "parts": {
        "partition": "role",
        "weights": {"share": "type-pair"},
        "dynamics": {"activation": "relu", "tau_per": "cell_type", "bias_per": "shared"},
        "ports": {"read_in": "direct"},
    },
    "senders": {
        "weights": {"share": "pre-type", "column": "role"},
        "dynamics": {"activation": "softplus", "tau_per": "shared", "bias_per": "none"},
        "ports": {"read_out": "direct"},
        "style": {"batch_first": True},
    },
    "reservoir": {
        "weights": {"start": "weight", "trained": False},
        "dynamics": {"tau_per": "fixed", "tau_ms": 10},
        "style": {"spectral_radius": 0.9, "dt_ms": 5.0},
    },
    "low rank": {
        "partition": "role",
        "weights": {"start": "low-rank", "rank": 2},
        "dynamics": {"activation": "sigmoid", "bias_per": "cell_type"},
        "ports": {"into": "", "out_of": "", "read_in": "direct", "read_out": "direct"},
        "style": {"kernel": "dense", "spectral_radius": 1.5},
    },
    "counts in parts": {
        "partition": "cell_type",
        "weights": {"start": "weight"},
        "dynamics": {"activation": "linear", "tau_per": "shared", "tau_ms": 200.0},
        "ports": {"into": 'role != "motor"', "out_of": 'cell_type in ("AVA", "RIM")'},
        "style": {"kernel": "edges", "batch_first": True},
    },
    "no junctions": {"junctions": False, "dynamics": {"bias_per": "shared"}},
}


def made(case: str, n: int = 12, seed: int = 0) -> Graph:
    options = {k: v for k, v in CASES[case].items() if k not in ("style", "junctions")}
    return driven(worm(n, seed=seed, junctions=CASES[case].get("junctions", True)), **options)


def style(case: str, **more: Any) -> Recurrent:
    return Recurrent(**{**CASES[case].get("style", {}), **more})


def emitted(graph: Graph, folder: Path, **options: Any) -> Any:
    """Return the imported module of ``graph``."""
    path = folder / "net.py"
    Recurrent(**options).emit(graph, "toy").write(path)
    return load_module(path)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All cases, emitted into one folder and imported."""
    folder = tmp_path_factory.mktemp("recurrent")
    found = {}
    for k, name in enumerate(CASES):
        path = folder / f"net{k}.py"
        style(name).emit(made(name), "toy").write(path)
        found[name] = load_module(path)
    return found


def noise(net: Any, steps: int = 6, batch: int = 3, seed: int = 0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    shape = (batch, steps) if net.batch_first else (steps, batch)
    return torch.randn(*shape, net.n_inputs, generator=source).to(net.units.log_tau)


# --- the text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["whole", "parts"])
def test_source_is_as_recorded(case: str, golden: Callable[[str, str], None]) -> None:
    """All but the layers, which are the source of `connectome_compiler.nn`."""
    source = style(case).emit(made(case, 6), "toy-worm").source
    layers = re.compile(r"(?<=# --- layers -{87}\n\n).*?(?=\n# --- provenance)", re.DOTALL)
    short, n = layers.subn("...\n\n", source)
    assert n == 1
    golden(f"recurrent_{case}.py", short)


def test_source_is_clean_and_stands_alone(modules: dict[str, Any]) -> None:
    paths = [Path(m.__file__) for m in modules.values()]
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--isolated", *paths], check=True)
    subprocess.run(
        [*ruff, "format", "--isolated", "--check", "--line-length=100", *paths], check=True
    )
    for path in paths:
        imported = {
            (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        outside = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names)
        assert outside == {"torch", "safetensors"}


def test_text_depends_on_the_graph_alone() -> None:
    """Another process, whose sets have another order, writes the same bytes."""
    code = (
        "import sys, hashlib; sys.path[:0] = ['tests', 'tests/templates']\n"
        "from test_recurrent import made, style, CASES\n"
        "for case in CASES:\n"
        "    source = style(case).emit(made(case), 'toy').source\n"
        "    print(hashlib.sha256(source.encode()).hexdigest())\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    sources = [style(case).emit(made(case), "toy").source for case in CASES]
    assert done.stdout.split() == [hashlib.sha256(s.encode()).hexdigest() for s in sources]
    assert not any(str(root) in s for s in sources)
    assert style("whole").emit(made("whole", seed=1), "toy").source not in sources


ODD = ('evil""",__import__("os").abort(),"""{{ 1 }}\\', "input.", "input_", "to", "units", "1 - ü")


def test_names_from_data_never_become_code(tmp_path: Path) -> None:
    """Nor does one name take the place of another: ``input.`` is not ``input``."""
    graph = worm(12)
    (p,) = graph.populations
    assert p.neurons is not None
    column = p.neurons.column_names.index("region")
    table = p.neurons.set_column(column, "region", [[ODD[k // 2] for k in range(12)]])
    graph = driven(
        replace(graph, populations=(replace(p, neurons=table),)),
        partition="region",
        ports={"into": "", "out_of": ""},
    )
    module = emitted(graph, tmp_path)
    net = module.build()
    assert list(net.rates(net.example_input())) == [p.name for p in graph.biological]
    assert sorted(p.name for p in graph.biological) == sorted(ODD)
    assert list(net.effective_weights()) == [q.key for q in graph.connectome]
    assert probe(tmp_path / "net.py", graph.save(tmp_path / "graph"))["n_neurons"]


# --- what it does -----------------------------------------------------------------------------

PHI: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "linear": lambda x: x,
}


def matrices(graph: Graph, net: Any) -> tuple[Array, Array]:
    """Return chemical weights and conductances of all neurons, ``[post, pre]``, from raw ones."""
    starts = dict(zip([p.name for p in graph.biological], placed(graph), strict=False))
    n = placed(graph)[-1]
    both = {"chemical": np.zeros((n, n)), "electrical": np.zeros((n, n))}
    for q, (pre, post, layer) in zip(graph.connectome, net.named_projections(), strict=True):
        assert (q.pre, q.post) == (pre, post)
        raw = layer.weight.detach().numpy().astype(np.float64)
        tied, signs = groups(graph, q), graph.signs(q)
        for k, (i, j) in enumerate(zip(q.synapses.post, q.synapses.pre, strict=True)):
            w = raw[k if tied is None else tied[k]]
            if isinstance(q.weights, Tied):
                w *= abs(float(q.synapses.weight[k]))
            if q.kind == "electrical":
                w = abs(w)
            elif signs[k]:
                w = signs[k] * abs(w)
            both[q.kind][starts[q.post] + i, starts[q.pre] + j] = w
    return both["chemical"], both["electrical"]


def placed(graph: Graph) -> list[int]:
    """Return the place of each population's first unit among those of all, and their number."""
    places: list[int] = np.cumsum([0, *(p.n_units for p in graph.biological)]).tolist()
    return places


def index(graph: Graph, per: str) -> npt.NDArray[np.intp] | None:
    """Return which value each neuron has: populations share none, neurons of one type do."""
    if per in ("fixed", "none"):
        return None
    seen: dict[Any, int] = {}
    found = []
    for p in graph.biological:
        types = p.column("cell_type").to_pylist()
        for kind in sorted({t for t in types if t}, key=str) if per == "cell_type" else ():
            if None in types:
                seen.setdefault((p.name, None), len(seen))
            seen.setdefault((p.name, kind), len(seen))
        for k, kind in enumerate(types):
            key = {"neuron": (p.name, k), "cell_type": (p.name, kind), "shared": p.name}[per]
            found.append(seen.setdefault(key, len(seen)))
    return np.array(found)


def reference(
    graph: Graph, net: Any, dt_ms: float, u: Array, state: Array | None = None
) -> tuple[Array, Array]:
    """Roll ``graph`` over ``u`` ``(steps, batch, inputs)`` with dense matrices, step by step."""
    node = graph.biological[0].node
    assert isinstance(node, Leaky)
    chemical, electrical = matrices(graph, net)
    n = len(chemical)
    tau, bias = np.full(n, node.tau_ms), np.zeros(n)
    if (at := index(graph, node.tau_per)) is not None:
        tau = np.exp(net.units.log_tau.detach().numpy())[at]
    if (at := index(graph, node.bias_per)) is not None:
        bias = net.units.bias.detach().numpy()[at]
    alone, total = 1 - np.exp(-dt_ms / tau), electrical.sum(1)
    alpha = 1 / np.sqrt(alone**-2 + (1 + 2 * total) ** 2 - 1)
    read_in, read_out = np.zeros((n, u.shape[2])), []
    offset = np.zeros(graph.population("output").n_units)
    first = dict(zip([p.name for p in graph.biological], placed(graph), strict=False))
    outer = np.zeros((len(offset), n))
    ports = net.effective_weights(all=True)
    for q in graph.projections:
        if q in graph.connectome:
            continue
        post, pre = q.connectivity.entries(*graph.shape(q))
        dense = np.ones(len(post))
        if isinstance(q.connectivity, AllToAll):
            dense = ports[q.key].to_dense().detach().numpy().ravel()
        if q.pre == "input":
            read_in[post + first[q.post], pre] = dense
        else:
            outer[post, pre + first[q.pre]] = dense
            read_out.append(q)
    if isinstance(read_out[0].connectivity, AllToAll):
        (name, *_) = [k for k, _ in net.named_parameters() if k.endswith("_to_output.bias")]
        offset = net.get_parameter(name).detach().numpy()
    r = np.zeros((u.shape[1], n)) if state is None else state
    outputs = []
    for now in u:
        drive = r @ chemical.T + now @ read_in.T + bias
        current = r @ electrical.T - r * total
        r = r + alpha * (PHI[node.activation](drive) + current - r)
        outputs.append(r @ outer.T + offset)
    return np.stack(outputs), r


def test_agrees_with_a_dense_reference(case: str, modules: dict[str, Any]) -> None:
    graph, net = made(case), modules[case].build().double()
    torch.manual_seed(1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if net.units.log_tau.requires_grad:
        torch.nn.init.uniform_(net.units.log_tau, 1, 5)
    dt_ms = style(case).dt_ms
    u = noise(net)
    turned = (u.transpose(0, 1) if net.batch_first else u).numpy()
    before = np.random.default_rng(0).normal(size=(3, 12))
    for state in (None, before):
        given = None if state is None else torch.from_numpy(state)
        wanted, last = reference(graph, net, dt_ms, turned, state)
        for learns in (False, True):  # other code runs where gradients are kept
            with torch.set_grad_enabled(learns):
                output, end = net(u, given)
            found = (output.transpose(0, 1) if net.batch_first else output).detach().numpy()
            np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-7)
            np.testing.assert_allclose(end.detach().numpy(), last, rtol=1e-7, atol=1e-7)


def test_a_state_carries_a_sequence_on(case: str, modules: dict[str, Any]) -> None:
    net = modules[case].build()
    u = noise(net)
    along = int(net.batch_first)
    whole, last = net(u)
    first, state = net(u.narrow(along, 0, 2))
    rest, end = net(u.narrow(along, 2, 4), state)
    torch.testing.assert_close(torch.cat([first, rest], along), whole)
    torch.testing.assert_close(end, last)
    state = None
    for k, step in enumerate(u.unbind(along)):
        output, state = net(step, state)
        torch.testing.assert_close(output, whole.select(along, k))
    torch.testing.assert_close(state, last)
    rates = net.rates(u)
    assert [x.shape[:2] for x in rates.values()] == [u.shape[:2]] * len(rates)
    torch.testing.assert_close(torch.cat(list(rates.values()), -1).select(along, -1), last)


def test_passes_its_own_check(case: str, modules: dict[str, Any], tmp_path: Path) -> None:
    graph = made(case)
    certificate = probe(Path(modules[case].__file__), graph.save(tmp_path / "graph"))
    assert certificate["n_connections"] == graph.n_connections
    assert certificate["n_projections"] == len(graph.connectome)


@pytest.mark.parametrize("case", ["parts", "low rank"], indirect=True)
def test_projections_that_lost_all_connections_pass_too(case: str, tmp_path: Path) -> None:
    step = Ablate(what="connections", pre='role == "sensory"', post='role == "inter"')
    graph = run(made(case), [step])
    assert [q.kind for q in graph.connectome if not graph.count(q)].count("electrical") == 2
    path = tmp_path / "net.py"
    style(case).emit(graph, "toy").write(path)
    assert probe(path, graph.save(tmp_path / "graph"))["n_connections"] == graph.n_connections


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_training_keeps_connections_signs_and_symmetry(
    case: str, kind: type[torch.optim.Optimizer], modules: dict[str, Any]
) -> None:
    graph, net = made(case), modules[case].build()
    torch.manual_seed(0)
    for parameter in net.parameters():  # any start
        torch.nn.init.normal_(parameter)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimiser = kind(net.parameters(), lr=0.3, weight_decay=0.5)  # type: ignore[call-arg]
    for seed in range(3):
        optimiser.zero_grad()
        output, state = net(noise(net, seed=seed))
        (output.tanh().sum() + state.tanh().sum()).backward()
        optimiser.step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    inner = {name for name in before if name.split(".")[0] in of_connectome(net)}
    frozen = not graph.connectome[0].weights.trained
    assert moved == before.keys() - (inner if frozen else set())
    weights = net.effective_weights()
    assert list(weights) == [q.key for q in graph.connectome]
    for q in graph.connectome:
        w = weights[q.key]
        assert w.is_sparse
        assert tuple(w.shape) == graph.shape(q)
        post, pre = w.coalesce().indices().numpy()
        np.testing.assert_array_equal(post, q.synapses.post)
        np.testing.assert_array_equal(pre, q.synapses.pre)
        values = w.coalesce().values().numpy()
        assert (values * graph.signs(q) >= 0).all()
        if q.kind == "electrical":
            mirror = weights[f"{q.post}->{q.pre}:electrical"]
            assert torch.equal(w.to_dense(), mirror.to_dense().t())
            assert (values >= 0).all()


def of_connectome(net: Any) -> set[str]:
    """Return the attributes of a network that are projections of the connectome."""
    layers = {id(layer) for _, _, layer in net.named_projections()}
    return {name for name, child in net.named_children() if id(child) in layers}


def test_saved_loaded_copied(case: str, modules: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net, other = modules[case].build(), modules[case].build()
    u = noise(net)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    same = copy.deepcopy(net)
    assert torch.equal(other(u)[0], net(u)[0])
    assert torch.equal(same(u)[0], net(u)[0])
    for one in (other, same):
        for a, b, layer in one.named_projections():  # what was shared is shared
            if layer.kind == "electrical":
                back = [w for x, y, w in one.named_projections() if (x, y) == (b, a)]
                assert any(w.weight is layer.weight for w in back)


def test_weights_of_another_network_are_refused(modules: dict[str, Any], tmp_path: Path) -> None:
    other = emitted(made("whole", seed=1), tmp_path).build()
    with pytest.raises(RuntimeError, match=r"differs|size mismatch"):
        modules["whole"].build().load_state_dict(other.state_dict())


@pytest.mark.parametrize("case", ["whole", "parts"])
def test_compiles_and_exports(case: str, modules: dict[str, Any]) -> None:
    net = modules[case].build()
    u = noise(net)
    compiled: Any = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(u), net(u))
    compiled(u)[0].sum().backward()
    exported: Any = torch.export.export(net, (u,)).module()
    torch.testing.assert_close(exported(u), net(u))


@pytest.mark.parametrize("chemical", [True, False])
def test_networks_without_a_cycle_pass_too(chemical: bool, tmp_path: Path) -> None:
    """Their spectral radius is 0, so no other can be chosen, and that is checked."""
    graph = forward_only(chemical)
    path = tmp_path / "net.py"
    Recurrent().emit(graph, "toy").write(path)
    assert probe(path, graph.save(tmp_path / "graph"))["n_connections"] == graph.n_connections
    source = path.read_text()
    for text, other in (
        ("if not _has_cycle(units, weights):\n        raise", "if False:\n        raise"),
        ("scale = radius / before", "scale = radius"),
        ("if not all(chemical):", "if False:"),
    ):
        assert source.count(text) == 1
        source = source.replace(text, other)
    path.write_text(source)
    with pytest.raises(Wrong, match=r"takes spectral_radius=0\.7, which means nothing"):
        probe(path, None)


def test_weights_start_where_it_is_said(modules: dict[str, Any]) -> None:
    """Synapse counts over what each neuron receives in all: partition or not, it is the same.

    Of gap junctions, over what the end with more of them has.
    """
    for case in ("reservoir", "counts in parts"):
        graph, net = made(case), modules[case].build(spectral_radius=None)
        chemical, electrical = matrices(graph, net)
        totals = np.abs(chemical).sum(1)
        np.testing.assert_allclose(totals[totals > 0], 1, rtol=1e-6)
        counts = np.zeros_like(electrical)
        first = dict(zip([p.name for p in graph.biological], placed(graph), strict=False))
        for q in graph.connectome:
            if q.kind == "electrical":
                ends = q.synapses.post + first[q.post], q.synapses.pre + first[q.pre]
                counts[ends] = q.synapses.weight
        most = np.maximum(counts.sum(1)[:, None], counts.sum(0))
        np.testing.assert_allclose(electrical, counts / np.maximum(most, 1), rtol=1e-6)
        assert electrical.sum(1).max() <= 1 + 1e-6


def test_gap_junctions_are_drawn_below_the_leak(case: str, modules: dict[str, Any]) -> None:
    """Partition or not, shared or not: no neuron conducts more than 1 in all."""
    highest = 0.0
    for seed in range(5):
        torch.manual_seed(seed)
        _, electrical = matrices(made(case), modules[case].build())
        highest = max(highest, electrical.sum(1).max())
    assert highest <= 1 + 1e-6
    assert highest > 0.4 or case == "no junctions"


def test_weights_of_functional_data_keep_their_sign_where_it_is_free(tmp_path: Path) -> None:
    edges = Synapses([0, 1, 1], [1, 0, 1], np.array([0.5, -3.0, 1.0]), "correlation")  # type: ignore[arg-type]
    table = neuron_table({"neuron_id": [1, 2]})
    graph = Graph(
        (Population("a", (2,), table),), (Projection("a", "a", edges),), Provenance("toy")
    )
    graph = run(graph, (SetWeights(start="weight"), SetDynamics(), AttachPorts()))
    (weight,) = emitted(graph, tmp_path).build().effective_weights().values()
    assert weight.to_dense().tolist() == [[0, 1], [-0.75, 0.25]]


def test_the_spectral_radius_is_reached(tmp_path: Path) -> None:
    for k, options in enumerate([{}, {"share": "type-pair"}, {"start": "low-rank"}]):
        graph = driven(worm(60, 0.1, seed=k), weights=options, partition="role")
        net = emitted(graph, tmp_path).build(spectral_radius=0.8)
        chemical, electrical = matrices(graph, net)
        pulled = (chemical + electrical) / (1 + electrical.sum(1, keepdims=True))
        assert abs(np.linalg.eigvals(pulled)).max() == pytest.approx(0.8, rel=1e-4)


def test_a_spectral_radius_that_gap_junctions_may_have_alone_is_refused(tmp_path: Path) -> None:
    graph = driven(worm())
    with pytest.raises(CompileError, match=r"radius: is 0\.5, .* as 0\.5\n.*larger"):
        Recurrent(spectral_radius=0.5).emit(graph, "toy")
    Recurrent(spectral_radius=0.5).emit(driven(worm(junctions=False)), "toy")
    path = tmp_path / "net.py"
    Recurrent(spectral_radius=0.51).emit(graph, "toy").write(path)
    probe(path, None)  # the hint followed


def test_a_low_rank_start_is_one(tmp_path: Path) -> None:
    """Free weights, all to all: the matrix that they are the entries of can be looked at."""
    graph = worm(20, 1.1, junctions=False)
    graph = run(graph, (SetWeights(start="low-rank", rank=3), SetDynamics(), AttachPorts()))
    module = emitted(graph, tmp_path, allow_free_signs=True)
    (weight,) = module.build().effective_weights().values()
    assert np.linalg.matrix_rank(weight.to_dense().numpy(), tol=1e-5) == 3


def hexagonal(radius: int = 3) -> Graph:
    """Make two types of cells at every place of a grid, joined by four kernels."""
    rng = np.random.default_rng(0)
    side = range(-radius, radius + 1)
    places = [(u, v) for u in side for v in side if abs(u + v) <= radius]
    cells = [(kind, u, v) for kind in ("Mi1", "T4a") for u, v in places]
    number = {cell: k for k, cell in enumerate(cells)}
    near = [(u, v) for u in (-1, 0, 1) for v in (-1, 0, 1) if abs(u + v) <= 1]
    counts = {(a, b, d): int(rng.integers(0, 4)) for a in "MT" for b in "MT" for d in near}
    edges = [
        (number[post], number[pre], count)
        for pre in cells
        for post in cells
        for d in [(post[1] - pre[1], post[2] - pre[2])]
        if (count := counts.get((pre[0][0], post[0][0], d), 0))
    ]
    table = neuron_table(
        {
            "neuron_id": np.arange(len(cells)),
            "cell_type": [c[0] for c in cells],
            "sign": [1 if c[0] == "Mi1" else -1 for c in cells],
            "u": np.array([c[1] for c in cells]),
            "v": np.array([c[2] for c in cells]),
        }
    )
    return Graph(
        (Population("eye", (len(cells),), table),),
        (Projection("eye", "eye", Synapses.from_edges(*np.array(edges).T)),),
        Provenance("toy-eye"),
    )


def test_a_kernel_is_a_convolution(tmp_path: Path) -> None:
    graph = hexagonal()
    graph = run(graph, (ApplyDale(), SetWeights(share="kernel"), SetDynamics(), AttachPorts()))
    net = emitted(graph, tmp_path).build()
    ((_, _, layer),) = net.named_projections()
    q = graph.connectome[0]
    columns = graph.population("eye").neurons
    assert columns is not None
    kind = (np.array(columns["cell_type"].to_pylist()) == "T4a").astype(int)
    u, v = (columns[c].to_numpy() + 3 for c in "uv")
    # The kernel, from the first connection of each pair of types and distance.
    kernel = torch.zeros(2, 2, 3, 3)
    weight = layer.effective_weight().detach()
    used = set()
    for k, (i, j) in enumerate(zip(q.synapses.post, q.synapses.pre, strict=True)):
        place = int(kind[i]), int(kind[j]), 1 - int(u[i] - u[j]), 1 - int(v[i] - v[j])
        if place not in used:
            kernel[place] = weight[k]
        used.add(place)
    assert len(used) == layer.weight.numel() < graph.n_connections / 10
    x = torch.randn(4, len(kind))
    image, inside = torch.zeros(4, 2, 7, 7), torch.zeros(2, 7, 7, dtype=torch.bool)
    image[:, kind, u, v] = x
    inside[kind, u, v] = True
    there = functional.conv2d(image, kernel, padding=1)[:, kind, u, v]
    torch.testing.assert_close(layer(x), there)


def test_learns_a_small_task(tmp_path: Path) -> None:
    """Remember the difference of two inputs, longer than any neuron does at the start."""
    torch.manual_seed(0)
    graph = driven(worm(30, 0.2), ports={"inputs": 2, "outputs": 1, "into": "", "out_of": ""})
    net = emitted(graph, tmp_path).build()
    source = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(150):
        u = torch.randn(16, 32, 2, generator=source)
        trace, wanted = torch.zeros(32), []
        for now in u:
            trace = 0.9 * trace + 0.3 * (now[:, 0] - now[:, 1])
            wanted.append(trace)
        output, _ = net(u)
        target = torch.stack(wanted)
        loss = (output.squeeze(-1) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.05 * target.square().mean()  # what saying nothing would cost
    q = graph.connectome[0]
    values = net.effective_weights()[q.key].values().numpy()
    assert (values * graph.signs(q) >= 0).all()


def test_many_edges_go_beside_the_module(tmp_path: Path) -> None:
    emission = Recurrent().emit(driven(worm(260, 0.25)), "toy")
    assert emission.arrays is not None
    written = emission.write(tmp_path / "net.py")
    assert set(tmp_path.iterdir()) == set(written)
    assert len(written) == 2
    net = load_module(tmp_path / "net.py").build()
    assert net(net.example_input(2))[0].shape == (10, 2, 2)


def test_inputs_of_another_shape_are_refused(modules: dict[str, Any]) -> None:
    for case, order in (("whole", "steps, batch"), ("senders", "batch, steps")):
        net = modules[case].build()
        for shape in ((3,), (2, 2, 4), (2, 2, 2, 3)):
            with pytest.raises(ValueError, match=rf"expected \({order}, 3\) or \(batch, 3\)"):
                net(torch.zeros(shape))
        with pytest.raises(ValueError, match="state is"):
            net(torch.zeros(2, 3), torch.zeros(2, 5))


def test_options_of_the_network(modules: dict[str, Any]) -> None:
    build = modules["whole"].build
    net = build(inputs=5, outputs=7, dt_ms=1.0, tau_ms=30.0, activation="relu", batch_first=True)
    y, state = net(torch.zeros(2, 4, 5))
    assert y.shape == (2, 4, 7)
    assert state.shape == (2, 12)
    torch.testing.assert_close(net.units.log_tau.exp(), torch.full((12,), 30.0))
    wrong = [("activation", "step"), ("dt_ms", 0.0), ("tau_ms", -1.0)]
    wrong += [("spectral_radius", radius) for radius in (0.0, -1.0, float("nan"), float("inf"))]
    for option, value in wrong:
        with pytest.raises(ValueError, match=option):
            build(**{option: value})


# --- by name ----------------------------------------------------------------------------------


def by_hand(
    graph: Graph,
    net: Any,
    u: torch.Tensor,
    current: dict[str, torch.Tensor],
    held: dict[str, torch.Tensor],
) -> torch.Tensor:
    """Return the rates of N0, N1, ..., step by step: those that are held are put back after each.

    ``u`` ``(steps, batch, inputs)`` has an input for each neuron, ``held`` rates ``(batch,)``.
    """
    ids = graph.neurons()["neuron_id"].tolist()
    unit = {name: ids.index(name) for name in ids}
    state = u.new_zeros(u.shape[1], len(ids))
    found = []
    for t, step in enumerate(u):
        step = step.clone()
        for name, value in current.items():
            step[:, int(name[1:])] += value[t]
        for name, rate in held.items():
            state[:, unit[name]] = rate
        _, state = net(step, state)
        for name, rate in held.items():
            state[:, unit[name]] = rate
        found.append(state[:, [unit[f"N{k}"] for k in range(len(ids))]])
    return torch.stack(found)


def everyone(module: Any, **options: Any) -> Any:
    """Return a network in which each neuron is an input and an output."""
    torch.manual_seed(0)
    names = [f"N{k}" for k in range(12)]
    return module.build(inputs=names, outputs=names, **options).double()


@pytest.mark.parametrize("batch_first", [False, True])
def test_neurons_are_driven_silenced_and_clamped_by_name(
    case: str, batch_first: bool, modules: dict[str, Any]
) -> None:
    net = everyone(modules[case], batch_first=batch_first)
    plain = everyone(modules[case], batch_first=batch_first)
    plain.batch_first, names = False, [f"N{k}" for k in range(12)]
    u = torch.randn(5, 3, 12, dtype=torch.float64)
    pulse, level = torch.randn(5, 3, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(5, 3, dtype=torch.float64)
    wanted = by_hand(
        made(case), plain, u, {"N2": pulse, "N7": 0.5 * one}, {"N4": level, "N9": zero, "N10": zero}
    )
    laid = u.transpose(0, 1) if batch_first else u
    done = {
        "current": {"N2": pulse.t() if batch_first else pulse, "N7": 0.5},
        "silence": ["N9", "N10"],
        "clamp": {"N4": level},
    }
    for learns in (False, True):  # other code runs where gradients are kept
        with torch.set_grad_enabled(learns):
            y, state = net(laid, **done)
            rates = net.rates(laid, neurons=["N4", "N2"], **done)
        y = y.transpose(0, 1) if batch_first else y
        torch.testing.assert_close(y, wanted)
        torch.testing.assert_close(state[:, net.index(names)], wanted[-1])
        assert list(rates) == ["N4", "N2"]
        for name, found in rates.items():
            found = found.t() if batch_first else found
            torch.testing.assert_close(found, wanted[:, :, int(name[1:])])


def test_gradients_reach_currents_clamps_and_states(case: str, modules: dict[str, Any]) -> None:
    net = everyone(modules[case])
    u = noise(net, steps=4, batch=2).requires_grad_()
    pulse, level, state = (
        torch.rand(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((4,), (2,), (2, 12))
    )

    def outcome(*ends: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        u, pulse, level, state = ends
        y, last = net(u, state, current={"N3": pulse}, silence="N5", clamp={"N8": level})
        return y, last

    assert torch.autograd.gradcheck(outcome, (u, pulse, level, state))


def test_held_rates_stay_over_a_state_that_is_given(modules: dict[str, Any]) -> None:
    net = modules["whole"].build()
    u, state = noise(net), torch.rand(3, 12)
    kept = state.clone()
    _, last = net(u, state, silence=net.index(role="motor"), clamp={"N1": 0.25})
    assert torch.equal(state, kept)
    assert torch.equal(last[:, [1, 8, 9, 10, 11]], torch.tensor([[0.25, 0, 0, 0, 0]] * 3))
    one, _ = net(u[0], state, clamp={"N1": 0.25})
    torch.testing.assert_close(one, net(u[:1], state, clamp={"N1": 0.25})[0][0])
    low = modules["whole"].build().bfloat16()
    _, last = low(noise(low), clamp={"N1": 0.3})
    assert last.dtype == torch.float32
    assert torch.equal(last[:, 1], torch.full((3,), 0.3))


def test_a_silent_neuron_sends_nothing_and_leaves_others(modules: dict[str, Any]) -> None:
    """As if all its connections were cut."""
    net = everyone(modules["whole"])
    u = noise(net)
    silent = torch.cat(list(net.rates(u, silence="N3").values()), -1)
    with torch.no_grad():
        for layer in (net.neurons_to_neurons, net.neurons_to_neurons_electrical):
            gone = layer.pre == 3
            if layer.kind == "electrical":  # nothing leaves it, but it goes on to draw currents
                continue
            layer.weight[gone] = 0
    others = [k for k in range(12) if k != 3]
    for_all = net.rates(u, silence="N3")["neurons"]
    torch.testing.assert_close(silent[..., others], for_all[..., others])
    assert not silent[..., 3].any()


def test_neurons_are_called_by_the_ids_of_the_graph(case: str, modules: dict[str, Any]) -> None:
    graph, net = made(case), modules[case].build()
    frame, columns = graph.neurons(), net.neurons()
    assert columns["neuron_id"] == frame["neuron_id"].tolist()
    assert columns["population"] == frame["population"].tolist()
    assert columns["index"] == frame["index"].tolist()
    assert columns["unit"] == list(range(12))
    assert columns["role"] == frame["role"].tolist()
    rates = net.rates(noise(net))
    whole = torch.cat(list(rates.values()), -1)
    by_name = net.rates(noise(net), neurons=columns["neuron_id"])
    torch.testing.assert_close(torch.stack(list(by_name.values()), -1), whole)
    name = columns["neuron_id"][5]
    unit, place = net.index(name), columns["index"][5]
    torch.testing.assert_close(rates[columns["population"][5]][..., place], whole[..., unit])
    columns["role"][0] = "changed"  # by whoever got it, for himself
    assert net.neurons()["role"][0] != "changed"


def test_ports_are_neurons_by_name(modules: dict[str, Any]) -> None:
    net = modules["whole"].build(inputs=["N7", "N0"], outputs=["N11"])
    assert not [name for name, _ in net.named_parameters() if "put" in name]
    assert list(net.effective_weights(all=True)) == list(net.effective_weights())
    assert net.example_input(2).shape == (10, 2, 2)
    u = noise(net)
    y, _ = net(u)
    assert y.shape == (6, 3, 1)
    torch.testing.assert_close(y[..., 0], net.rates(u, neurons=["N11"])["N11"])
    torch.testing.assert_close(y[..., 0], net.rates(u, neurons=net.index(["N11"]))[11])
    same = modules["whole"].build(inputs=["N0"], outputs=2)
    same.load_state_dict(net.state_dict(), strict=False)
    driven = same.rates(0 * u[..., :1], current={"N7": u[..., 0], "N0": u[..., 1]})
    torch.testing.assert_close(driven, net.rates(u))
    with torch.device("meta"):
        empty = modules["whole"].build(inputs=["N7", "N0"], outputs=["N11"])
    empty.to_empty(device="cpu").load_state_dict(net.state_dict())
    torch.testing.assert_close(empty(u)[0], y)


def test_states_of_other_ports_are_refused(modules: dict[str, Any]) -> None:
    build = modules["whole"].build
    with pytest.raises(RuntimeError, match=r"Missing key.*input_to_neurons\.weight"):
        build().load_state_dict(build(inputs=["N0"]).state_dict())
    with pytest.raises(RuntimeError, match=r"Unexpected key.*neurons_to_output\.weight"):
        build(outputs=["N0"]).load_state_dict(build().state_dict())
    state = build(inputs=["N0"]).state_dict()
    build(inputs=["N1"]).load_state_dict(state)  # ports hold no numbers


@pytest.mark.parametrize(
    ("case", "options", "problem"),
    [
        ("whole", {"inputs": ["N13"]}, "there is no neuron 'N13'; nearest: 'N3', "),
        ("whole", {"outputs": []}, "outputs must name neurons, each once, not \\[\\]"),
        ("whole", {"inputs": ["N1", "N1"]}, "inputs must name neurons, each once"),
        ("whole", {"outputs": "AVA"}, "it is the cell_type of 3: index\\(cell_type='AVA'\\)"),
        ("parts", {"inputs": 3}, "inputs is 3: it takes a list of neurons"),
        ("low rank", {"outputs": 3}, "outputs is 3: it takes a list of neurons"),
    ],
)
def test_ports_that_do_not_fit_are_refused(
    case: str, options: dict[str, Any], problem: str, modules: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=problem):
        modules[case].build(**options)


def test_acts_that_do_not_fit_are_refused(modules: dict[str, Any]) -> None:
    net = modules["senders"].build()
    u = noise(net)  # (batch, steps, inputs)
    with pytest.raises(
        ValueError, match=r"current of 'N1' is \(6, 3\), expected a number or \(3, 6\)"
    ):
        net(u, current={"N1": torch.zeros(6, 3)})
    with pytest.raises(ValueError, match="there is no neuron 'n10'; nearest: 'N10'"):
        net(u, silence=["n10"])
    with pytest.raises(ValueError, match="'N1' is silenced or clamped twice"):
        net.rates(u, silence=["N1"], clamp={"N1": 1.0})
    with pytest.raises(ValueError, match="state is"):
        net(u, torch.zeros(3, 5), silence=["N1"])
    with pytest.raises(TypeError, match="lesion"):
        net.rates(u, lesion=["N1"])


@pytest.mark.parametrize("case", ["whole", "senders"], indirect=True)
def test_counts_and_positions_are_kept_if_asked_for(case: str, tmp_path: Path) -> None:
    graph = made(case)
    net = emitted(graph, tmp_path, **CASES[case].get("style", {})).build()
    assert not any(hasattr(layer, "count") for _, _, layer in net.named_projections())

    def placed(p: Population) -> Population:
        if p.neurons is None:
            return p
        at = p.neurons.column_names.index("y_um")
        where = [None, *map(float, range(1, p.n_units))]
        return replace(p, neurons=p.neurons.set_column(at, "y_um", pa.array(where, pa.float64())))

    graph = graph.map_populations(placed)
    options = {**CASES[case].get("style", {}), "keep": ("counts", "positions")}
    net = emitted(graph, tmp_path, **options).build()
    for (_, _, layer), q in zip(net.named_projections(), graph.connectome, strict=True):
        np.testing.assert_array_equal(layer.count, q.synapses.weight)
        assert layer.count.dtype == torch.int32
    assert not [name for name in net.state_dict() if "count" in name]
    known = [None if y is None else float(y) for y in net.neurons()["y_um"]]
    wanted = [None if np.isnan(y) else y for y in graph.neurons()["y_um"]]
    assert known == wanted
    saved = graph.save(tmp_path / "graph")
    assert probe(tmp_path / "net.py", saved)["n_neurons"]
    text = (tmp_path / "net.py").read_text()
    (tmp_path / "net.py").write_text(text.replace('.count"]  #', '.count"] + 1  #'))
    with pytest.raises(Wrong, match="has other counts of synapses than the graph"):
        probe(tmp_path / "net.py", saved)


def test_numbers_that_are_no_counts_are_not_kept_as_such() -> None:
    graph = made("whole")
    edges = graph.connectome[0].synapses
    half = Synapses.from_edges(edges.post, edges.pre, edges.weight / 2, unit="um2")
    graph = changed(graph, "neurons->neurons", connectivity=half)
    with pytest.raises(CompileError, match=r"numbers that are not counts \(um2\)"):
        Recurrent(keep=("counts",)).emit(graph, "toy")


def test_networks_without_ids_count_their_units(tmp_path: Path) -> None:
    graph = made("whole").map_populations(lambda p: replace(p, neurons=None))
    net = emitted(graph, tmp_path, allow_free_signs=True).build()
    assert net.neurons()["unit"] == list(range(12))
    units = torch.tensor([4, 2])
    _, state = net(noise(net), silence=units)
    assert not state[:, units].any()
    assert probe(tmp_path / "net.py", graph.save(tmp_path / "graph"))["n_neurons"]


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"batch": 0},
        {"dt_ms": 0.0},
        {"dt_ms": float("inf")},
        {"spectral_radius": -1.0},
        {"spectral_radius": float("nan")},
        {"class_name": "a b"},
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(CompileError, match=f"template.{next(iter(options))}"):
        Recurrent(**options)


def changed(graph: Graph, key: str, **fields: Any) -> Graph:
    found = [replace(q, **fields) if q.key == key else q for q in graph.projections]
    return graph.with_projections(found)


def forward_only(chemical: bool = True) -> Graph:
    """Make a worm without a cycle of chemical connections, or without any of them."""
    graph = worm(8)
    q = graph.projections[0]
    below = q.synapses.keep((q.synapses.post > q.synapses.pre) & chemical)
    return driven(graph.with_projections([replace(q, connectivity=below), graph.projections[1]]))


REFUSED: dict[str, tuple[Callable[[], Graph], str, str]] = {
    "a column that sees images": (
        lambda: laminar(column()),
        "recurrent: has no place for image",
        "use the bionic style",
    ),
    "a graph without ports": (worm, "recurrent: the graph has no input", "attach-ports"),
    "units without memory": (
        lambda: run(worm(), [AttachPorts()]),
        "recurrent: neurons: has units Swept(",
        "set-dynamics",
    ),
    "noisy units": (
        lambda: made("whole").map_populations(lambda p: replace(p, node=Swept(noise_std=0.1))),
        "recurrent: neurons: has units Swept(",
        "the bionic style carries this, but not all of the graph",
    ),
    "populations that differ": (
        lambda: made("parts").map_populations(
            lambda p: replace(p, node=Leaky(9.0, "tanh")) if p.name == "inter" else p
        ),
        "recurrent: inter has Leaky(tau_ms=9.0, activation='tanh'",
        "set-dynamics",
    ),
    "delays": (
        lambda: changed(made("whole"), "neurons->neurons", delay=2),
        "recurrent: neurons->neurons: has delay 2",
        "split-flow",
    ),
    "no connections": (
        lambda: made("whole").with_projections(
            [q for q in made("whole").projections if "put" in q.key]
        ),
        "recurrent: the graph has no connections",
        "keep some",
    ),
    "inputs that nobody gets": (
        lambda: made("whole").with_projections(
            [q for q in made("whole").projections if q.pre != "input"]
        ),
        "recurrent: input: is not joined to neurons alone",
        "attach-ports",
    ),
    "channels in another order": (
        lambda: changed(
            driven(worm(12), ports={"into": "", "read_in": "direct"}, partition="role"),
            "input->sensory",
            connectivity=OneToOne(pre_units=(4, 5, 6, 7)),
        ),
        "recurrent: input: has channels that are not in order",
        "attach-ports",
    ),
    "some channels of a linear read-in": (
        lambda: changed(made("whole"), "input->neurons", connectivity=AllToAll(pre_units=(0, 2))),
        "recurrent: input: has channels that are not in order",
        "attach-ports",
    ),
    "a delayed read-out": (
        lambda: changed(made("whole"), "neurons->output", delay=1),
        "recurrent: neurons->output: is all to all, from 4 selected, delay 1",
        "attach-ports",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_it_cannot_carry_is_refused(what: str) -> None:
    make, message, hint = REFUSED[what]
    graph = make()
    graph.verify()
    with pytest.raises(CompileError) as found:
        Recurrent().emit(graph, "toy")
    assert str(found.value).startswith(message)
    assert hint in found.value.hint


def test_a_radius_that_cannot_be_is_refused() -> None:
    with pytest.raises(CompileError, match=r"template.spectral_radius: no chemical connection"):
        Recurrent(spectral_radius=0.9).emit(forward_only(), "toy")
    assert Recurrent().emit(forward_only(), "toy")


def test_a_matrix_of_too_many_neurons_is_refused() -> None:
    n = 5000
    ring = Synapses(np.arange(n), np.roll(np.arange(n), 1), np.ones(n, np.int32))
    table = neuron_table({"neuron_id": np.arange(n)})
    graph = Graph(
        (Population("a", (n,), table),), (Projection("a", "a", ring),), Provenance("ring")
    )
    graph = run(graph, (SetDynamics(), AttachPorts()))
    with pytest.raises(CompileError, match=r"template.kernel: a dense matrix of 5,000 neurons"):
        Recurrent(kernel="dense").emit(graph, "toy")
    assert "dense=False" in Recurrent().emit(graph, "toy").source


@pytest.mark.parametrize(
    "step",
    [SetWeights(share="type-pair"), SetWeights(trained=False), SetWeights(start="low-rank")],
)
def test_the_other_style_does_not_forget_in_silence(step: Any) -> None:
    with pytest.raises(CompileError, match="has weights held as") as found:
        Bionic().emit(run(laminar(column()), [step]), "toy")
    assert found.value.hint == 'add [[pass]] use = "set-weights"'


def test_the_other_style_does_not_forget_time_constants_in_silence() -> None:
    leaky = laminar(column()).map_populations(
        lambda p: p if p.artificial else replace(p, node=Leaky(50.0, "relu"))
    )
    with pytest.raises(CompileError, match=r"has units Leaky\(tau_ms=50.0") as found:
        Bionic().emit(leaky, "toy")
    assert found.value.hint == "the recurrent style carries this, but not all of the graph"
