"""The table of docs/pytorch.md: each of its cells is what trying it gives, with every style."""

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from columns import load_module
from mutants.cases import CASES
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

PAGE = Path(__file__).parent.parent / "docs" / "pytorch.md"
STYLES = {
    "bionic": "bionic units",
    "recurrent": "recurrent parts",
    "mimetic": "mimetic paper",
    "mousenet": "mousenet masked",
    "ncap": "ncap clamp",
}


def answer(net: Any, x: Tensor) -> Tensor:
    """Return the output alone; a controller starts at its first step."""
    if hasattr(net, "reset"):
        net.reset()
    made = net(x)
    found: Tensor = made[0] if isinstance(made, tuple) else made
    return found


def example(net: Any, batch: int = 3) -> Tensor:
    x: Tensor = net.example_input(batch)
    return x.to(next(net.parameters()))


def same(net: Any, other: Any) -> None:
    """Compare answers and effective weights."""
    x = example(net)
    torch.testing.assert_close(answer(other.eval(), x), answer(net.eval(), x))
    for key, weight in net.effective_weights().items():
        torch.testing.assert_close(other.effective_weights()[key].to_dense(), weight.to_dense())


def averages(build: Callable[..., Any]) -> None:
    net = build()
    for decay in (0.9, 0.9995):
        mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        for _ in range(3):
            mean.update_parameters(net)
        same(net, mean.module)


def precisions(build: Callable[..., Any]) -> None:
    net = build()
    for kind in (torch.float16, torch.bfloat16):
        low = copy.deepcopy(net).to(kind)
        other = build()
        other.load_state_dict(low.state_dict())
        other.load_state_dict(low.float().state_dict())
        same(low, other)


def emptied(build: Callable[..., Any]) -> None:
    net = build()
    with torch.device("meta"):
        other = build()
    other.to_empty(device="cpu").load_state_dict(net.state_dict())
    same(net, other)


def assigned(build: Callable[..., Any]) -> None:
    net, other = build(), build(device="meta")
    other.load_state_dict(net.state_dict(), assign=True)
    same(net, other)


def in_part(build: Callable[..., Any]) -> None:
    net, other = build(), build(seed=5)
    numbers = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    other.load_state_dict(numbers, strict=False)
    same(net, other)


def copied(build: Callable[..., Any]) -> None:
    net = build()
    same(net, copy.deepcopy(net))


def built(build: Callable[..., Any]) -> None:
    before = torch.get_rng_state()
    net = build(seed=3, dtype=torch.float64, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    same(build().double(), net)


def checkpointed(build: Callable[..., Any]) -> None:
    net, found = build().eval(), []
    for call in (answer, lambda *x: checkpoint(answer, *x, use_reentrant=False)):
        net.zero_grad()
        call(net, example(net)).square().sum().backward()
        found.append([p.grad for p in net.parameters() if p.grad is not None])
    torch.testing.assert_close(*found)


def functional(net: Any, along: int) -> tuple[dict[str, Tensor], Callable[..., Tensor]]:
    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        made = torch.func.functional_call(net, parameters, (x.unsqueeze(along),))
        total: Tensor = (made[0] if isinstance(made, tuple) else made).square().sum()
        return total

    return {name: p.detach() for name, p in net.named_parameters()}, loss


def along(net: Any) -> int:
    return int(hasattr(net, "batch_first") and not net.batch_first)


def per_sample(build: Callable[..., Any]) -> None:
    net = build().eval()
    axis = along(net)
    parameters, loss = functional(net, axis)
    each = torch.func.vmap(torch.func.grad(loss), (None, axis))(parameters, example(net))
    answer(net, example(net)).square().sum().backward()
    for name, p in net.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(each[name].sum(0), p.grad, rtol=1e-3, atol=1e-4)


def ensembles(build: Callable[..., Any]) -> None:
    nets = [build(seed=k).eval() for k in range(2)]
    state = torch.func.stack_module_state(nets)
    x, base = example(nets[0]), copy.deepcopy(nets[0])

    def call(parameters: Any, buffers: Any) -> Tensor:
        made = torch.func.functional_call(base, (parameters, buffers), (x,))
        found: Tensor = made[0] if isinstance(made, tuple) else made
        return found

    found = torch.func.vmap(call)(*state)
    torch.testing.assert_close(found, torch.stack([answer(net, x) for net in nets]))


def jacobians(build: Callable[..., Any]) -> None:
    net = build().eval().double()
    x = example(net, 2)
    wanted = torch.autograd.functional.jacobian(lambda x: answer(net, x), x)
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(transform(lambda x: answer(net, x))(x), wanted)


def twice(build: Callable[..., Any]) -> None:
    net = build().eval().double()
    x = example(net, 2).requires_grad_()
    (grad,) = torch.autograd.grad(answer(net, x).sin().sum(), x, create_graph=True)
    grad.square().sum().backward()
    assert x.grad is not None


def exported(build: Callable[..., Any]) -> None:
    net = build().eval()
    net.be_plain()
    program = torch.export.export(net, (example(net),))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert not [name for name in names if "connectome" in name]
    torch.testing.assert_close(answer(program.module(), example(net)), answer(net, example(net)))


def traced(build: Callable[..., Any]) -> None:
    net = build().eval()
    x = example(net)
    torch.testing.assert_close(answer(torch.jit.trace(net, x), x), answer(net, x))


def onnx(build: Callable[..., Any]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net = build().eval()
    x = example(net)
    program = torch.onnx.export(net, (x,), dynamo=True, verbose=False)
    assert program is not None
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), answer(net, x), rtol=1e-3, atol=1e-4)


def fake(build: Callable[..., Any]) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    net = build().eval()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        made = answer(net, mode.from_tensor(example(net)))
    assert made.shape == answer(net, example(net)).shape


def hooked(build: Callable[..., Any]) -> None:
    net, calls = build().eval(), []
    x = example(net)
    wanted = answer(net, x)
    layers = [layer for *_, layer in net.named_projections()]
    for layer in layers:
        layer.register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(answer(net, x), wanted)
    assert len(calls) >= len(layers)


def decay(build: Callable[..., Any]) -> None:
    net = build()
    decayed, rest = (group["params"] for group in net.parameter_groups(0.1))
    assert {*map(id, decayed), *map(id, rest)} == {*map(id, net.parameters())}
    assert all(any(layer.weight is p for p in decayed) for *_, layer in net.named_projections()
               if isinstance(layer, torch.nn.Module))  # fmt: skip
    torch.optim.AdamW(net.parameter_groups(0.1))


ROWS: dict[str, Callable[[Callable[..., Any]], None]] = {
    "averaged weights and buffers (EMA, Lightning's `WeightAveraging`)": averages,
    "half precision and back; its checkpoints": precisions,
    '`with torch.device("meta")`, `to_empty`, `load_state_dict`': emptied,
    '`build(device="meta")`, `load_state_dict(assign=True)`': assigned,
    "parameters and buffers alone, `strict=False`": in_part,
    "`deepcopy`": copied,
    "`build(device=, dtype=, seed=)`": built,
    "`parameter_groups(weight_decay)`": decay,
    "`checkpoint(use_reentrant=False)`": checkpointed,
    "per-sample gradients: `vmap(grad)`": per_sample,
    "ensembles: `stack_module_state`, `vmap`": ensembles,
    "`jacrev`, `jacfwd`, `jvp`": jacobians,
    "second derivatives": twice,
    "`be_plain()`, `torch.export`, `.pt2` for other processes": exported,
    "`torch.jit.trace`": traced,
    "ONNX (`dynamo=True`)": onnx,
    "`FakeTensorMode(allow_non_fake_inputs=True)`": fake,
    "forward hooks of projections": hooked,
}


@pytest.fixture(scope="module")
def builders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[..., Any]]:
    folder, found = tmp_path_factory.mktemp("styles"), {}
    for style, case in STYLES.items():
        _, emission = CASES[case].emit()
        emission.write(folder / f"{style}.py")
        found[style] = load_module(folder / f"{style}.py").build
    return found


def cells() -> Iterator[tuple[str, str, str]]:
    """Yield row, style and what the page says."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        parts = [part.strip() for part in line.strip("| ").split(" | ")]
        if parts[0] in ROWS:
            for style, cell in zip(STYLES, parts[1:], strict=True):
                yield parts[0], style, cell


@pytest.mark.parametrize("row", ROWS)
def test_the_page_says_what_works(row: str, builders: dict[str, Callable[..., Any]]) -> None:
    said = {style: cell for name, style, cell in cells() if name == row}
    assert said.keys() == STYLES.keys(), "the page has no such row"
    found = {}
    for style, build in builders.items():
        torch.manual_seed(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ROWS[row](build)
            found[style] = "yes"
        except Exception as error:  # whatever torch says
            found[style] = "no"
            print(row, style, type(error), re.sub(r"\s+", " ", str(error))[:500])
    assert found == {style: cell.split()[0].rstrip(":") for style, cell in said.items()}


def test_the_page_has_no_other_rows() -> None:
    assert [row for row, style, _ in cells() if style == "bionic"] == list(ROWS)
