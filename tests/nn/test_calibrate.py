"""What drives are after calibration, and what stays as it was."""

import pytest
import torch
from torch import Tensor, nn

from connectome_compiler.nn.calibrate import calibrate


class Chain(nn.Module):
    """Two populations, of which the second is also driven by itself, a sweep before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.again = (
            nn.Linear(4, 6),
            nn.Linear(6, 5),
            nn.Linear(5, 5, False),
        )
        self.one, self.other = nn.ReLU(), nn.ReLU()
        self.drives: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        y = x.new_zeros(len(x), 5)
        for _ in range(2):
            self.drives["one"] = self.first(x)
            z = self.one(self.drives["one"])
            self.drives["other"] = self.second(z) + self.again(y)
            y = self.other(self.drives["other"])
        return y

    def calibrate(self, x: Tensor) -> None:
        calibrate(
            lambda: self(x),
            [(self.one, [self.first]), (self.other, [self.second, self.again])],
        )


def test_feedforward_drives_have_mean_0_and_variance_1() -> None:
    torch.manual_seed(0)
    net = Chain().double()
    nn.init.zeros_(net.again.weight)
    x = torch.rand(50, 4, dtype=torch.float64)
    net.calibrate(x)
    net(x)
    for drive in net.drives.values():
        torch.testing.assert_close(drive.mean(0), torch.zeros_like(drive[0]))
        assert float(drive.detach().square().mean()) == pytest.approx(1)


def test_weights_of_a_drive_keep_their_ratios_and_signs() -> None:
    torch.manual_seed(0)
    net = Chain().double()
    before = [p.detach().clone() for p in (net.second.weight, net.again.weight)]
    net.calibrate(torch.rand(50, 4, dtype=torch.float64))
    factors = torch.cat(
        [
            (p / q).flatten()
            for p, q in zip((net.second.weight, net.again.weight), before, strict=True)
        ]
    )
    assert float(factors[0].detach()) > 0
    torch.testing.assert_close(factors, factors[0].expand_as(factors))


def test_the_same_inputs_give_the_same_network() -> None:
    x, states = torch.rand(50, 4), []
    for _ in range(2):
        torch.manual_seed(0)
        net = Chain()
        net.calibrate(x)
        states.append(net.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_what_does_not_vary_is_only_centred() -> None:
    net = Chain()
    before = net.first.weight.detach().clone()
    net.calibrate(torch.ones(50, 4))
    assert torch.equal(net.first.weight, before)
    assert float(net.first(torch.ones(4)).detach().abs().max()) < 1e-6


def test_no_hook_stays_behind() -> None:
    net = Chain()
    with pytest.raises(RuntimeError):
        net.calibrate(torch.ones(50, 9))  # of another size
    assert not net.one._forward_pre_hooks
