"""The text is as recorded; run, it does what torch does with masked weights."""

import copy
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from areas import LAID, areas, mousenet, published_kernels
from columns import load_module
from torch.nn import functional

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.process import probe
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import GaussianLaw, Graph, Port, Swept
from connectome_compiler.passes.lay_kernels import LayKernels
from connectome_compiler.passes.level_areas import LevelAreas
from connectome_compiler.passes.materialise_laws import MaterialiseLaws
from connectome_compiler.passes.normalise_in_degree import NormaliseInDegree
from connectome_compiler.passes.runner import Pass, run
from connectome_compiler.passes.set_node_model import SetNodeModel
from connectome_compiler.passes.sign_channels import SignChannels
from connectome_compiler.passes.size_maps import SizeMaps
from connectome_compiler.passes.wire_levels import WireLevels
from connectome_compiler.templates.mousenet.style import Mousenet


def small(*further: Pass, feedback: str = "none") -> Graph:
    """Make two areas of three layers, 16 and 8 pixels wide, and a thalamus."""
    layers = ("4", "2/3", "5")
    wide, eyes = GaussianLaw(300.0, 10.0), GaussianLaw(1.5, 10.0, 0.9, "px")
    within = [(f"{a}{s}", f"{a}{t}", wide) for a in "VW" for s in layers for t in layers if s != t]
    n = {
        f"{a}{layer}": size for a, size in (("T", 900), ("V", 800), ("W", 260)) for layer in layers
    }
    graph = areas(
        {"T": 0, "V": 1, "W": 2},
        [
            ("input", "T4", eyes),
            ("T4", "V4", eyes),
            *within,
            *((f"V{layer}", "W4", wide) for layer in layers),
        ],
        layers=layers,
        n_neurons=n,
    )
    maps = Swept("relu", "batch")
    image = Swept("linear")
    keep = [
        replace(p, node=image if p.artificial else maps)
        for p in graph.populations
        if p.name not in ("T2/3", "T5")
    ]
    ports = (Port("input", "input", "in"), Port("W5", "W5", "out"), Port("V5", "V5", "out"))
    graph = replace(graph, populations=tuple(keep), ports=ports)
    return run(
        graph,
        (
            LevelAreas(),
            WireLevels(skips=(), feedback=feedback),  # type: ignore[arg-type]
            NormaliseInDegree(total=20.0),
            SizeMaps(input_size=16),
            LayKernels(),
            MaterialiseLaws(seed=3),
            *further,
        ),
    )


CASES: dict[str, tuple[Mousenet, Callable[[], Graph]]] = {
    "masked": (Mousenet(classes=5, pool=2), small),
    "live": (Mousenet(classes=5, pool=2, weights="live"), small),
    "dale": (Mousenet(classes=5, pool=3), lambda: small(SignChannels("dale", 0.3))),
    "feedback": (
        Mousenet(classes=5, pool=2, steps=3, bias=False),
        lambda: small(feedback="mirrored"),
    ),
    "live feedback": (
        Mousenet(classes=5, pool=2, weights="live", fan_in="open"),
        lambda: small(SignChannels("dale", 0.4), feedback="mirrored"),
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("nets")
    made = {}
    for name, (style, graph) in CASES.items():
        path = folder / f"{name.replace(' ', '_')}.py"
        style.emit(graph(), "small").write(path)
        made[name] = load_module(path)
    return made


# --- the text -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["masked", "feedback"])
def test_source_is_as_recorded(case: str, golden: Callable[[str, str], None]) -> None:
    style, graph = CASES[case]
    source = style.emit(graph(), f"small-{case}").source
    layers = re.compile(r"(# --- layers -+\n).*(?=# --- provenance)", re.DOTALL)
    short = layers.sub(r"\1\n# as in connectome_compiler.nn\n\n", source)
    inline = re.compile(r'(ARRAYS = """\n).*?(\n""")', re.DOTALL)
    golden(f"mousenet_{case}.py", inline.sub(r"\1as in the graph\2", short))


def test_source_is_clean_and_stands_alone(case: str, modules: dict[str, Any]) -> None:
    path = modules[case].__file__
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--isolated", path], check=True)
    subprocess.run(
        [*ruff, "format", "--isolated", "--check", "--line-length=100", path], check=True
    )
    imported = set(re.findall(r"^(?:from|import) (\w+)", Path(path).read_text(), re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) <= {"torch", "safetensors"}


# --- what it does ---------------------------------------------------------------------------------


def by_torch(g: Graph, net: Any, x: torch.Tensor, pool: int, sweeps: int) -> torch.Tensor:
    """Evaluate ``g`` with torch's functions, in training, and masks made anew of the graph."""
    layers = {f"{a}->{b}": layer for a, b, layer in net.named_projections()}
    seen = {p.name: x.new_zeros(len(x), *p.shape) for p in g.populations} | {"input": x}
    for _ in range(sweeps):
        for p in g.populations[1:]:
            total = x.new_zeros(())
            for q in (q for q in g.projections if q.post == p.name):
                operator: Any = q.operator
                layer, (high, wide) = layers[q.key], operator.kernel
                n_post, n_pre = p.shape[0], g.population(q.pre).shape[0]
                mask = torch.zeros(n_post, n_pre, high, wide, dtype=x.dtype)
                edges = q.synapses
                mask.view(n_post, -1)[torch.tensor(edges.post), torch.tensor(edges.pre)] = 1
                transposed = type(operator).__name__ == "ConvTranspose2d"
                mask = mask.transpose(0, 1) if transposed else mask
                kernel = torch.zeros_like(mask)
                if layer.weight.dim() == 4:
                    kernel = layer.weight.detach() * mask
                else:
                    kernel[mask.bool()] = layer.weight.detach()
                if q.weights.holds_signs:
                    signs = torch.zeros(n_post, n_pre * high * wide, dtype=x.dtype)
                    signs[torch.tensor(edges.post), torch.tensor(edges.pre)] = torch.tensor(
                        g.signs(q)
                    ).to(x.dtype)
                    signs = signs.view(n_post, n_pre, high, wide)
                    signs = signs.transpose(0, 1) if transposed else signs
                    kernel = torch.where(signs == 0, kernel, signs * kernel.abs())
                if transposed:
                    y = functional.conv_transpose2d(
                        seen[q.pre],
                        kernel,
                        layer.bias,
                        operator.stride,
                        operator.padding,
                        operator.output_padding,
                    )
                else:
                    (top, left), (down, right) = operator.padding, operator.end_padding
                    padded = functional.pad(seen[q.pre], (left, left + right, top, top + down))
                    y = functional.conv2d(padded, kernel, layer.bias, operator.stride)
                total = total + y
            norm = net.state_dict()
            name = next(n for n in norm if n == f"{_attribute(p.name)}_norm.weight")
            weight, bias = norm[name], norm[name.replace("weight", "bias")]
            seen[p.name] = functional.batch_norm(
                total, None, None, weight, bias, training=True
            ).relu()
    read = [functional.adaptive_avg_pool2d(seen[name], pool).flatten(1) for name in ("W5", "V5")]
    return functional.linear(torch.cat(read, 1), net.read_out.weight, net.read_out.bias)


def _attribute(name: str) -> str:
    return name.lower().replace("/", "_")


def test_agrees_with_torch(case: str, modules: dict[str, Any]) -> None:
    style, graph = CASES[case]
    g, net = graph(), modules[case].build().double()
    torch.manual_seed(0)
    for parameter in net.parameters():  # off the masks, too
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    sweeps = 1 if not any(q.delay for q in g.projections) else style.steps or 6
    with torch.no_grad():
        wanted = by_torch(g, net, x, style.pool, sweeps)
        torch.testing.assert_close(net(x), wanted, rtol=1e-9, atol=1e-9)


def test_passes_its_own_check(case: str, modules: dict[str, Any], tmp_path: Path) -> None:
    g = CASES[case][1]()
    certificate = probe(Path(modules[case].__file__), g.save(tmp_path / "graph"))
    assert certificate["n_connections"] == g.n_connections
    assert certificate["n_projections"] == len(g.projections)
    net = modules[case].build()
    trained = sum(p.numel() for p in net.parameters())
    held = f"{trained:,} numbers are trained"
    assert held in " ".join(modules[case].__doc__.split())


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_training_opens_no_weight(
    kind: type[torch.optim.Optimizer], case: str, modules: dict[str, Any]
) -> None:
    g, net = CASES[case][1](), modules[case].build()
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    optimiser = kind(net.parameters(), lr=0.02, weight_decay=0.01)  # type: ignore[call-arg]
    x, losses = net.example_input(8), []
    for _ in range(15):
        optimiser.zero_grad()
        loss = functional.cross_entropy(net(x), torch.arange(8) % 5)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    masks = {f"{a}->{b}": layer.mask for a, b, layer in net.named_projections()}
    weights = net.effective_weights()
    assert list(weights) == [q.key for q in g.projections]
    for q in g.projections:
        assert weights[q.key].is_sparse
        assert weights[q.key]._nnz() == g.count(q) == int(masks[q.key].sum())
        assert not weights[q.key].to_dense()[~masks[q.key]].any()
        signs = g.enforced_signs(q)
        acting = weights[q.key].values()
        assert int((acting > 0).sum()) >= int((signs > 0).sum())
    assert sorted(net.effective_weights(all=True)) == sorted(
        [*weights, "V5->classes", "W5->classes"]
    )


def test_saved_loaded_copied(case: str, modules: dict[str, Any]) -> None:
    net, other = modules[case].build(), modules[case].build()
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    x = net.example_input(4)
    expected = net.eval()(x)
    assert torch.equal(other.eval()(x), expected)
    assert torch.equal(copy.deepcopy(net)(x), expected)


def test_compiles_and_exports(case: str, modules: dict[str, Any]) -> None:
    net = modules[case].build().eval()
    x = net.example_input(3)
    compiled: Any = torch.compile(net, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x))
    exported: Any = torch.export.export(net, (x,)).module()
    torch.testing.assert_close(exported(x), net(x))


def test_masked_and_live_are_the_same_network(modules: dict[str, Any]) -> None:
    torch.manual_seed(0)
    masked = modules["masked"].build()
    torch.manual_seed(0)
    live = modules["live"].build()
    x = masked.example_input(4)
    torch.testing.assert_close(live(x), masked(x))
    assert sum(p.numel() for p in live.parameters()) < sum(p.numel() for p in masked.parameters())


def test_open_fan_in_gives_every_projection_its_share(modules: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = modules["masked"].build(fan_in="open")
    for _, _, layer in net.named_projections():
        fan_in = layer.mask.flatten(1).sum(1).clamp(min=1)
        bound = fan_in.rsqrt().view(-1, 1, 1, 1)
        assert (layer.weight.abs() <= bound * 1.0001).all()
        assert (layer.weight.abs() / bound).amax() > 0.8


def test_wrong_images_and_options_are_refused(modules: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 3, 16, 16\)"):
        modules["masked"].build()(torch.zeros(2, 3, 17, 16))
    with pytest.raises(ValueError, match="classes is 0"):
        modules["masked"].build(classes=0)
    with pytest.raises(ValueError, match="steps is 1"):
        modules["feedback"].build(steps=1)
    with pytest.raises(ValueError, match="fan_in"):
        modules["masked"].build(fan_in="half")


# --- the published network ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("net") / "net.py"
    graph = mousenet(*LAID, MaterialiseLaws(seed=2021, stream="legacy"))
    Mousenet().emit(graph, "mousenet").write(path)
    return load_module(path)


def test_it_is_the_published_network(published: Any) -> None:
    net = published.build()
    found = list(net.named_projections())
    rows = published_kernels()
    assert len(found) == len(rows) == 49
    for (pre, post, layer), row in zip(found, rows, strict=True):
        assert (pre, post) == (row["pre"], row["post"])
        assert layer.weight.shape[2:] == (row["kernel"], row["kernel"])
        assert layer.stride[0] == row["stride"]
        assert layer.weight.shape == layer.mask.shape
        assert layer.mask.dtype == torch.bool
        assert "mask" in layer.state_dict()
    assert sum(int(layer.mask.sum()) for *_, layer in found) == 86_164
    assert sum(layer.mask.numel() for *_, layer in found) == 2_151_649
    assert sum(p.numel() for p in net.parameters()) == 4_457_969
    linear = [m for m in net.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(2304, 1000)]
    order = ["VISpor5", "VISal5", "VISpl5", "VISli5", "VISrl5", "VISl5", "VISp5"]
    assert list(published.READ_OUT) == order
    assert sum(1 for p in net.rates(net.example_input()) if p != "input") == 22


# --- what is found and refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stride=2", "stride=1"),
        ("v4 = torch.relu(self.v4_norm(t4_to_v4))", "v4 = self.v4_norm(t4_to_v4)"),
        ("w4 = w4 + v5_to_w4", "w4 = w4 - v5_to_w4"),
        ("for name in READ_OUT", "for name in reversed(READ_OUT)"),
        ("self.pool = nn.AdaptiveAvgPool2d(2)", "self.pool = nn.AdaptiveMaxPool2d(2)"),
    ],
)
def test_altered_modules_are_found_out(
    old: str, new: str, modules: dict[str, Any], tmp_path: Path
) -> None:
    text = Path(modules["masked"].__file__).read_text()
    body = text.index("class Small")
    assert old in text[body:]
    path = tmp_path / "net.py"
    path.write_text(text[:body] + text[body:].replace(old, new))
    with pytest.raises(Wrong):
        probe(path, None)


@pytest.mark.parametrize(
    ("style", "graph", "problem"),
    [
        (Mousenet(), lambda: mousenet(), "size-maps"),
        (Mousenet(), lambda: mousenet(*LAID), "materialise-laws"),
        (Mousenet(), lambda: replace(small(), ports=small().ports[:1]), "no population is read"),
        (Mousenet(), lambda: replace(small(), ports=small().ports[1:]), "0 ports"),
        (Mousenet(steps=3), small, "nothing acts on the sweep before"),
        (Mousenet(steps=1), lambda: small(feedback="mirrored"), "would never act"),
        (Mousenet(pool=9), small, "9 x 9 means of the 8 pixels a side of W5"),
        (Mousenet(), lambda: small(SetNodeModel(noise_std=0.1)), "set-node-model.*noise_std = 0.0"),
    ],
)
def test_graphs_that_are_no_stack_of_maps_are_refused(
    style: Mousenet, graph: Callable[[], Graph], problem: str
) -> None:
    with pytest.raises(CompileError, match=problem):
        style.emit(graph(), "small")


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"classes": 0}, "classes"), ({"pool": 0}, "pool"), ({"class_name": "1"}, "class_name")],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        Mousenet(**options)
