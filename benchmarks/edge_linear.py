"""Training step of `EdgeLinear` against masked layers, the cost of signs, and accuracy.

    python benchmarks/edge_linear.py [random laminar window signs accuracy] [--repetitions 15]

"w*m" is ``F.linear(x, weight * mask)``; a step is forward, backward to input and weights, and
fused Adam, in float32 on one thread.
"""

from collections.abc import Callable, Mapping

import torch
from _common import (
    Connections,
    GatherScatter,
    MaskedGradient,
    MaskedLinear,
    NativeSparse,
    connections,
    edge_linear,
    parser,
    report,
    time_in_turn,
    training_step,
)
from torch import nn

Builder = Callable[[Connections], nn.Module]
MASKED: Mapping[str, Builder] = {"w*m": MaskedLinear, "masked gradient": MaskedGradient}
SPARSE: Mapping[str, Builder] = {"torch CSR": NativeSparse, "gather, index_add": GatherScatter}
OURS: Mapping[str, Builder] = {
    "edges": edge_linear,
    "dense": lambda c: edge_linear(c, kernel="dense"),
}


def compare(
    case: str, batches: tuple[int, ...], builders: Mapping[str, Builder], repetitions: int
) -> None:
    """Time all variants of one case."""
    c = connections(case)
    layers = {name: build(c) for name, build in builders.items()}
    for batch in batches:
        x, g = torch.randn(batch, c.n, requires_grad=True), torch.randn(batch, c.n)
        steps = {name: training_step(layer, x, g) for name, layer in layers.items()}
        report(f"{case}, batch {batch}", time_in_turn(steps, repetitions), "w*m")


def compare_signs(repetitions: int) -> None:
    """Time free and signed weights."""
    c = connections("random:2048:0.05")
    sign = torch.where(torch.rand(c.n) < 0.8, 1, -1)[c.pre.long()]
    some_free = torch.where(torch.arange(len(sign)) % 10 == 0, 0, sign)
    for batch in (1, 64):
        x, g = torch.randn(batch, c.n, requires_grad=True), torch.randn(batch, c.n)
        steps = {
            name: training_step(edge_linear(c, kernel, s), x, g)
            for kernel in ("edges",)
            for name, s in (
                ("free", 0),
                ("all excitatory", 1),
                ("all inhibitory", -1),
                ("sign by connection", sign),
                ("some free", some_free),
            )
        }
        report(
            f"signs, random:2048:0.05, batch {batch}", time_in_turn(steps, 4 * repetitions), "free"
        )


def print_errors() -> None:
    """Print relative errors of output and gradients against float64."""
    print(f"\nrelative norm of the error against float64\n{'':40}{'y':>10}{'dx':>10}{'dw':>10}")
    for case in ("random:2048:0.05", "laminar:5000:0.03", "window:1024:0.3"):
        c = connections(case)
        matrix = c.dense().double()
        for batch in (1, 4, 64, 256):
            x, g = torch.randn(batch, c.n, requires_grad=True), torch.randn(batch, c.n)
            wanted = (
                x.detach().double() @ matrix.T,
                g.double() @ matrix,
                (g.T.double() @ x.detach().double())[c.post, c.pre.long()],
            )
            for name, build in OURS.items():
                layer, x.grad = build(c), None
                y = layer(x)
                y.backward(g)
                weight = next(layer.parameters())
                found = (y.detach(), x.grad, weight.grad)
                errors = [
                    float((f.double() - w).norm() / w.norm())
                    for f, w in zip(found, wanted, strict=True)
                    if f is not None
                ]
                shown = "".join(f"{error:10.1e}" for error in errors)
                print(f"{f'{case}, batch {batch}, {name}':40}{shown}")


def main() -> None:
    """Run the parts asked for."""
    p = parser(__doc__)
    parts = ("random", "laminar", "window", "signs", "accuracy")
    p.add_argument("parts", nargs="*", metavar="part", default=parts, help=", ".join(parts))
    p.add_argument("--repetitions", type=int, default=15)
    options = p.parse_args()
    torch.manual_seed(0)
    if "random" in options.parts:
        case = "random:2048:0.05"
        compare(case, (1, 64), {**MASKED, **SPARSE, **OURS}, options.repetitions)
        compare(case, (256,), {**MASKED, **OURS}, options.repetitions)
    if "laminar" in options.parts:
        masked = {"w*m": MaskedLinear}
        compare("laminar:5000:0.03", (1, 64), {**masked, **OURS}, options.repetitions)
        edges = {"edges": OURS["edges"]}
        compare("laminar:10000:0.01", (1, 64), {**masked, **edges}, options.repetitions)
    if "window" in options.parts:
        compare("window:4096:0.3", (1, 64, 256), {**MASKED, **OURS}, options.repetitions)
    if "signs" in options.parts:
        compare_signs(options.repetitions)
    if "accuracy" in options.parts:
        print_errors()


if __name__ == "__main__":
    main()
