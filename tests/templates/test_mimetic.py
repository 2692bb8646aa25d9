"""The emitted text is as recorded; run, it does what torch's own layers do with masked weights."""

import ast
import copy
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from columns import column, laminar, load_module
from stacks import stack
from torch.nn import functional

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.process import probe
from connectome_compiler.data_adapters.mimetic import Layer
from connectome_compiler.data_adapters.mimetic import Mimetic as Source
from connectome_compiler.emit.literal import literal
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph, Leaky, PerConnection, Swept, Window
from connectome_compiler.ir.digest import statement_digest
from connectome_compiler.passes.materialise_laws import MaterialiseLaws
from connectome_compiler.recipe import load_recipe
from connectome_compiler.statement import expanded
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.mimetic.style import Mimetic

pytestmark = pytest.mark.filterwarnings("ignore:.*leaves .* outputs without input:UserWarning")


PHI: dict[str, Any] = {
    "linear": torch.clone,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
}
CASES: dict[str, dict[str, Any]] = {
    "paper": {},
    "clean": {"mode": "clean", "torus": True},
    "band": {"form": "diagonal"},
    "kernels": {"form": "kernel", "reduction": 0.6, "seed": 5},
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("nets")
    made = {}
    for name, options in CASES.items():
        path = folder / f"{name}.py"
        Mimetic().emit(stack(**options), "small").write(path)
        assert not path.with_suffix(".safetensors").exists()  # masks are rules, not data
        made[name] = load_module(path)
    return made


# --- the text -------------------------------------------------------------------------------------


def test_source_is_as_recorded(golden: Callable[[str, str], None]) -> None:
    source = Mimetic().emit(stack(), "small-stack").source
    layers = re.compile(r"(# --- layers -+\n).*(?=# --- provenance)", re.DOTALL)
    golden("mimetic_stack.py", layers.sub(r"\1\n# as in connectome_compiler.nn\n\n", source))


def test_source_is_clean_and_stands_alone(case: str, modules: dict[str, Any]) -> None:
    path = modules[case].__file__
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--isolated", path], check=True)
    subprocess.run(
        [*ruff, "format", "--isolated", "--check", "--line-length=100", path], check=True
    )
    imported = set(re.findall(r"^(?:from|import) (\w+)", Path(path).read_text(), re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"torch"}


def test_names_of_populations_never_become_code(tmp_path: Path) -> None:
    names = ["self", "torch", 'a"""b', "tuple", "expected", "class", "{{ 1 }}"]
    g = stack()
    renamed = dict(zip([p.name for p in g.populations], names, strict=True))
    g = Graph(
        tuple(replace(p, name=renamed[p.name]) for p in g.populations),
        tuple(replace(q, pre=renamed[q.pre], post=renamed[q.post]) for q in g.projections),
        g.provenance,
        tuple(replace(port, population=renamed[port.population]) for port in g.ports),
    )
    path = tmp_path / "net.py"
    Mimetic().emit(g, "odd").write(path)
    net = load_module(path).build()
    assert list(net.rates(net.example_input(2))) == names
    with pytest.raises(ValueError, match=r"expected \(batch, 6\)"):
        net(torch.zeros(2, 7))


# --- what it does ---------------------------------------------------------------------------------


def by_torch(g: Graph, net: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Evaluate ``g`` with torch's functions and the raw weights times the masks of the graph."""
    state = net.state_dict()
    seen = {g.populations[0].name: x}
    for p, q in zip(g.populations[1:], g.projections, strict=True):
        name = f"{q.pre}_to_{q.post}"
        layer = getattr(net, name)
        n_post, n_pre = g.shape(q)
        mask = torch.zeros(n_post, n_pre, dtype=x.dtype)
        post, pre = q.connectivity.entries(n_post, n_pre)
        mask[post, pre] = 1
        weight, bias = layer.weight.detach(), state[f"{name}.bias"]
        operator: Any = q.operator
        kind = type(operator).__name__
        if kind == "Linear":
            y = functional.linear(seen[q.pre].flatten(1), weight * mask, bias)
        elif kind == "Conv2d":
            numbers = (operator.stride, operator.padding, operator.dilation, operator.groups)
            kernels = weight * mask[:, :, None, None]
            y = functional.conv2d(seen[q.pre], kernels, bias, *numbers)
        else:
            kernels = weight * mask.t()[:, :, None, None]
            y = functional.conv_transpose2d(
                seen[q.pre],
                kernels,
                bias,
                operator.stride,
                operator.padding,
                operator.output_padding,
                operator.groups,
                operator.dilation,
            )
        y = y.reshape(-1, *p.shape)
        assert isinstance(p.node, Swept)
        if p.node.normalisation == "batch":
            weight, bias = (state[f"{p.name}_norm.{part}"] for part in ("weight", "bias"))
            y = functional.batch_norm(y, None, None, weight, bias, training=True)
        seen[p.name] = PHI[p.node.activation](y)
    return seen


def test_agrees_with_torch(case: str, modules: dict[str, Any]) -> None:
    g = stack(**CASES[case])
    net = modules[case].build(kernel="dense").double()
    torch.manual_seed(0)
    for parameter in net.parameters():  # off the masks, too
        torch.nn.init.normal_(parameter)
    x = torch.randn(5, 6, dtype=torch.float64)
    with torch.no_grad():
        found, wanted = net.rates(x), by_torch(g, net, x)
    assert list(found) == [p.name for p in g.populations]
    for p in g.populations:
        assert found[p.name].shape == (5, *p.shape)
        torch.testing.assert_close(found[p.name], wanted[p.name], rtol=1e-9, atol=1e-9)
    assert torch.equal(net(x), found["classes"])


def test_passes_its_own_check(case: str, modules: dict[str, Any], tmp_path: Path) -> None:
    g = stack(**CASES[case])
    certificate = probe(Path(modules[case].__file__), g.save(tmp_path / "graph"))
    assert certificate["n_connections"] == g.n_connections
    assert certificate["n_projections"] == len(g.connectome)
    assert not any("unread" in note for note in certificate["notes"])


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_training_keeps_the_windows(
    kind: type[torch.optim.Optimizer], modules: dict[str, Any]
) -> None:
    g, net = stack(), modules["paper"].build()
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    optimiser = kind(net.parameters(), lr=0.02, weight_decay=0.01)  # type: ignore[call-arg]
    x = net.example_input(8)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = functional.cross_entropy(net(x), torch.arange(8) % 3)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    weights = net.effective_weights()
    assert list(weights) == [q.key for q in g.connectome]
    for q in g.connectome:
        w = weights[q.key]
        assert w.is_sparse
        n_post, n_pre = g.shape(q)
        transposed = type(q.operator).__name__ == "ConvTranspose2d"
        post, pre = w.indices().flip(0) if transposed else w.indices()
        wanted = q.connectivity.entries(n_post, n_pre)
        assert set(zip(post.tolist(), pre.tolist(), strict=True)) == set(
            zip(*(side.tolist() for side in wanted), strict=True)
        )
        assert (w.values() != 0).all()
    everything = net.effective_weights(all=True)
    assert sorted(everything) == sorted(q.key for q in g.projections)


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


def test_a_state_of_other_windows_is_refused(modules: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="another window"):
        modules["paper"].build().load_state_dict(modules["clean"].build().state_dict())


def test_compiles_and_exports(modules: dict[str, Any]) -> None:
    net = modules["paper"].build().eval()
    x = net.example_input(3)
    compiled: Any = torch.compile(net, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x))
    exported: Any = torch.export.export(net, (x,)).module()
    torch.testing.assert_close(exported(x), net(x))


def test_the_gain_is_an_option(modules: dict[str, Any]) -> None:
    g = stack()
    q = next(q for q in g.connectome if isinstance(q.connectivity, Window))
    n_post, n_pre = g.shape(q)
    share = g.count(q) / (n_post * n_pre)
    spread = {}
    for gain in ("none", "1/usage", "1/sqrt(usage)"):
        torch.manual_seed(0)
        weight = modules["paper"].build(gain=gain).effective_weights()[q.key]
        spread[gain] = float(weight.values().std())
    assert spread["1/usage"] == pytest.approx(spread["none"] / share)
    assert spread["1/sqrt(usage)"] == pytest.approx(spread["none"] / share**0.5)


def test_units_of_relu_start_he_normal(tmp_path: Path) -> None:
    g = stack()
    path = tmp_path / "net.py"
    Mimetic(start="he-normal").emit(g, "small").write(path)
    module = load_module(path)
    torch.manual_seed(0)
    nets = [module.build(gain="none") for _ in range(40)]
    for name, count in {"seed_to_maps": 6, "maps_to_wide": 16 * 9}.items():  # fan-in of torch
        layers = [getattr(net, name) for net in nets]
        on = getattr(layers[0], "mask", torch.ones_like(layers[0].weight)).bool()
        weights = torch.cat([layer.weight[on.expand_as(layer.weight)] for layer in layers])
        spread = (2 / count) ** 0.5
        assert weights.std().item() == pytest.approx(spread, rel=0.02)
        assert weights.abs().max().item() == pytest.approx(2 * spread / 0.8796, rel=0.01)
        assert not any(layer.bias.any() for layer in layers)
        assert not any(layer.weight[~on.expand_as(layer.weight)].any() for layer in layers)
    for name in ("wide_to_same", "flat_to_classes"):  # into other units: as torch does
        assert all(getattr(net, name).bias.all() for net in nets)
    for gain in ("1/usage", "fan-in"):  # of the same draws
        torch.manual_seed(0)
        plain = module.build(gain="none").maps_to_wide
        torch.manual_seed(0)
        gained = module.build(gain=gain).maps_to_wide
        factor = gained.weight[plain.mask] / plain.weight[plain.mask]
        assert (factor > 1).any()
        if gain == "1/usage":
            torch.testing.assert_close(factor, torch.full_like(factor, 1 / plain.usage))
    assert probe(path, None)["n_connections"] == g.n_connections


def test_he_normal_needs_relu() -> None:
    g = Source((Layer("a", (16,)), Layer("b", (16,), window=True)), radius=0.6).load()
    with pytest.raises(CompileError, match="no layer is of ReLU"):
        Mimetic(start="he-normal").emit(g, "small")


def test_the_schizophrenia_mimetic_network_starts_as_published() -> None:
    template = load_recipe("schizophrenia-mimetic").template.make()
    assert template == Mimetic(start="he-normal")


def test_usage_is_stated(modules: dict[str, Any]) -> None:
    g = stack()
    usage = expanded(modules["paper"].PROVENANCE["usage"])
    net = modules["paper"].build()
    for q in g.projections:
        layer = getattr(net, f"{q.pre}_to_{q.post}")
        kept = int(layer.mask.sum()) if hasattr(layer, "mask") else layer.weight.numel()
        total = layer.mask.numel() if hasattr(layer, "mask") else layer.weight.numel()
        assert usage[q.key] == [kept, total]
    masked = [usage[q.key] for q in g.projections if isinstance(q.connectivity, Window)]
    assert usage["layers with a window"] == np.sum(masked, 0).tolist()
    everything = [usage[q.key] for q in g.projections]
    assert usage["all layers"] == np.sum(everything, 0).tolist()


# --- what is found and refused --------------------------------------------------------------------


def altered(module: Any, folder: Path, *swaps: tuple[str, str]) -> Path:
    """Write the module with other text, its statement hashed anew."""
    text = Path(module.__file__).read_text()
    for old, new in swaps:
        assert text.count(old) >= 1
        text = text.replace(old, new)
    path = folder / "net.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("swap", "where"),
    [
        (("self.wide_to_same(wide)", "self.wide_to_same(wide.flip(1))"), "forward"),
        (("self.wide_to_same(wide)", "self.wide_to_same(wide.flip(2))"), "forward"),
        (("torch.tanh(same)", "torch.relu(same)"), "forward"),
        (("self.maps_norm(maps)", "maps"), "forward"),
        # Kernels without their mask, and a packed or dense matrix without its own.
        (("self.mask[..., :1, :1].to(self.weight.dtype)", "1.0"), ""),
        (("return {key: sparse_weight(layer)", "return {key: 2 * sparse_weight(layer)"), "->"),
        (('"2d", radius=0.6, pre_width=9', '"2d", radius=0.6, pre_width=6'), "more->flat"),
        (("output_padding=1,", "output_padding=0,"), ""),
    ],
)
def test_faults_are_found(
    swap: tuple[str, str], where: str, modules: dict[str, Any], tmp_path: Path
) -> None:
    path = altered(modules["paper"], tmp_path, swap)
    with pytest.raises(Wrong) as found:
        probe(path, None)
    assert where in found.value.where


def test_a_statement_of_other_windows_is_found(modules: dict[str, Any], tmp_path: Path) -> None:
    stated = modules["paper"].PROVENANCE
    columns, rows = stated["projections"]["columns"], stated["projections"]["rows"]
    before = rows[0][columns.index("indices_sha256")]
    other = ast.literal_eval(repr(stated).replace(before, "0" * 64))
    swaps = [(before, "0" * 64), (stated["sha256"], statement_digest(other))]
    with pytest.raises(Wrong, match="connects other neurons"):
        probe(altered(modules["paper"], tmp_path, *swaps), None)


def with_operator(g: Graph, name: str, value: Any) -> Graph:
    """Change an operator of one projection."""
    changed = []
    for q in g.projections:
        if q.key == "wide->same":
            operator: Any = replace(q.operator, **{name: value})
            q = replace(q, operator=operator)
        changed.append(q)
    return g.with_projections(changed)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda g: replace(g, ports=g.ports[:1]), "ports of direction 'out'"),
        (lambda g: MaterialiseLaws()(g), "is 90 connections, 90 synapses; the style has Window"),
        (
            lambda g: replace(
                g,
                populations=tuple(
                    replace(p, node=Leaky(5.0)) if p.name == "same" else p for p in g.populations
                ),
            ),
            "has units Leaky",
        ),
        (
            lambda g: g.with_projections([replace(q, delay=1) for q in g.projections]),
            "has delay 1; in this style every connection acts within the step",
        ),
        (lambda g: g.with_projections(g.projections[1:]), "not on a way"),
        (
            lambda g: g.with_projections(
                [replace(q, weights=PerConnection(sign="abs")) for q in g.projections]
            ),
            "has weights held as PerConnection",
        ),
        (
            lambda g: with_operator(g, "end_padding", (1, 1)),
            r"wide->same: acts as .*end_padding=\(1, 1\)",
        ),
        (
            lambda g: with_operator(g, "per_position", True),
            "wide->same: acts as .*per_position=True",
        ),
    ],
)
def test_other_graphs_are_refused(change: Any, problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        Mimetic().emit(change(stack()), "small")


def test_other_styles_refuse_convolutions() -> None:
    g = laminar(column())
    windowed = replace(stack(), ports=g.ports)
    with pytest.raises(CompileError):
        Bionic().emit(windowed, "small")
    assert literal(Mimetic().gain) == '"1/usage"'
