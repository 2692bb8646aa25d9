"""Closed forms and proofs, read off a network's operations."""

import numpy as np
import pytest
import torch
from faulty_nets import Bent, Branching, Faulty, InPlace, Layered, Small
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from connectome_compiler.analysis.follow import closed_form, what_reaches_the_output
from connectome_compiler.analysis.inputs import Call, draw, first_output
from connectome_compiler.analysis.ramps import NoFormula


def test_what_cannot_act_is_proved_and_nothing_else() -> None:
    net = Faulty()
    acting, n_cases = what_reaches_the_output(net, draw(net, 1, 0))
    assert acting == {"scale", "asleep", "wrong"}
    assert n_cases > 1


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (Branching(a=1.0), "depends on a computed number"),
        (InPlace(a=1.0), "in place"),
        (Bent(a=1.0), "tanh"),
    ],
)
def test_what_cannot_be_followed_is_no_proof(net: Small, why: str) -> None:
    for follow in (what_reaches_the_output, closed_form):
        with pytest.raises(NoFormula, match=why):
            follow(net, draw(net, 1, 0))


def test_layers_have_a_closed_form_and_checks_of_finite_numbers_pass() -> None:
    net = Layered()
    form = closed_form(net, draw(net, 1, 0))
    corners = "(0, 0), (18, 18); slopes 0 and 1.5 beyond"
    assert form.lines == (f"output[0] = piecewise(x[0]: {corners})",)


class Random(Small):
    """A chain of clamps and products, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(**{f"w{k}": (-1.0) ** k for k in range(3)})
        self.plan = np.random.default_rng(seed).integers(0, 5, (4, 3)).tolist()

    def forward(self, x: Tensor) -> Tensor:
        weights = list(self.parameters())
        seen = [x[:, :1].clamp(0, 1), -x[:, :1].clamp(-1, 0), x[:, 1:2].clamp(0, 1)]
        for kind, k, j in self.plan:
            a, b, w = seen[-1], seen[j % len(seen)], weights[k % len(weights)]
            new = [
                (a + b * w.clamp(max=0)).clamp(0, 1),
                (a * w.clamp(min=0) + b).clamp(0, 1),
                (b * w).clamp(-1, 1),
                torch.where(x[:, 2:] < 0.5, a, b * w),
                a - b,
            ][kind]
            seen.append(new)
        return torch.cat(seen[-2:], 1)


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10**6))
def test_proofs_and_formulas_of_random_networks_hold(seed: int) -> None:
    net = Random(seed)
    call = draw(net, 1, 0)
    acting, _ = what_reaches_the_output(net, call)
    many = draw(net, 256, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name in acting:
                continue
            before = first_output(net, many)
            for value in (-30.0, 0.0, 7.0):
                kept = p.clone()
                p.fill_(value)
                assert torch.equal(first_output(net, many), before), name
                p.copy_(kept)
        for p in net.parameters():
            p.copy_(torch.randn(1, generator=generator))
        form = closed_form(net, call)
        x = many.tensors["x"]
        given_ = {f"x[{k}]": x[:, k].double().numpy() for k in range(3)}
        np.testing.assert_allclose(form.evaluate(given_), net(x).numpy(), atol=1e-5)


def test_outputs_that_differ_by_their_place_alone_are_one_line() -> None:
    class Shifted(Small):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((x[:, 2:] * 0 + 1, x[:, :2].clamp(-1, 1) * self.a), 1)

    net = Shifted(a=1.0)
    assert closed_form(net, draw(net, 1, 0)).lines == (
        "output[0] = 1",
        "output[i] = clamp(x[i - 1], -1, 1), i = 1..2",
    )


def test_cases_are_told_apart() -> None:
    class Waves(Small):
        def forward(self, x: Tensor, step: Tensor) -> Tensor:
            high = torch.remainder(torch.round(step), 7) < 3
            return torch.where(high, x[:, :1], -x[:, :1]) * self.a + (~high).to(x)

    net = Waves(a=2.0)
    form = closed_form(net, draw(net, 1, 0))
    condition = "round(step) mod 7 < 3"
    assert form.lines == (f"output[0] = 2 * x[0] where {condition}, else -2 * x[0] + 1",)
    steps = np.array([0.5, 2.5, 3.5, 6.5, 7.5, 9.0])  # halves go to the even number
    x = torch.ones(len(steps), 3)
    call = Call({"x": x, "step": torch.tensor(steps[:, None], dtype=torch.float32)})
    found = form.evaluate({"x[0]": np.ones(len(steps)), "step": steps})
    np.testing.assert_array_equal(found, first_output(net, call).detach().numpy())


def test_bounds_split_the_signs_of_a_few_inputs_only() -> None:
    class Wide(Small):
        def example_input(self, batch: int = 1) -> Tensor:
            return torch.zeros(batch, 9)

        def forward(self, x: Tensor) -> Tensor:
            total = x[:, :1].clamp(0, 1)
            for k in range(1, 9):
                total = total + x[:, k : k + 1].clamp(0, 1)
            return (total * self.a.clamp(max=0)).clamp(0, 1)

    net = Wide(a=-1.0)
    acting, n_cases = what_reaches_the_output(net, draw(net, 1, 0))
    assert not acting
    assert n_cases == 1  # no sign is needed, and nine would be too many


def test_two_sides_that_are_never_active_together() -> None:
    class Sided(Small):
        def forward(self, x: Tensor) -> Tensor:
            d, v = x[:, :1].clamp(0, 1), -x[:, :1].clamp(-1, 0)
            w = self.contra.clamp(max=0) if self.signed else self.contra
            return (d + v * w).clamp(0, 1) - (v + d * w).clamp(0, 1)

        signed = True

    net = Sided(contra=-1.0)
    assert what_reaches_the_output(net, draw(net, 1, 0))[0] == set()
    net.signed = False
    assert what_reaches_the_output(net, draw(net, 1, 0))[0] == {"contra"}
    assert closed_form(net, draw(net, 1, 0)).lines == ("output[0] = clamp(x[0], -1, 1)",)


def test_a_weight_that_only_decides_acts() -> None:
    class Deciding(Small):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(torch.lt(x[:, :1], self.a), x[:, 1:2], x[:, 2:])

    net = Deciding(a=0.5)
    assert what_reaches_the_output(net, draw(net, 1, 0))[0] == {"a"}
    (line,) = closed_form(net, draw(net, 1, 0)).lines
    assert line == "output[0] = x[1] where x[0] < 0.5, else x[2]"
