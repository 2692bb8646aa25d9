"""The parts of the image front end against plain definitions."""

import pytest
import torch

from connectome_compiler.nn.front_end import Attention, ImageFrontEnd, LateralInhibition


def test_lateral_inhibition_subtracts_the_mean_of_eight_neighbours() -> None:
    x = torch.rand(2, 3, 5, 6)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    expected = torch.zeros_like(x)
    for i in range(5):
        for j in range(6):
            square = padded[:, :, i : i + 3, j : j + 3].sum((2, 3)) - x[:, :, i, j]
            expected[:, :, i, j] = torch.relu(x[:, :, i, j] - 0.1 * square / 8)
    torch.testing.assert_close(LateralInhibition(0.1)(x), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(2, 3, 5, 6), (1, 1, 2, 2), (0, 8, 4, 4), (3, 8, 1, 7)])
def test_lateral_inhibition_is_that_of_pooling(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Values, gradients and slopes of the form that it had, in every precision."""

    def pooled(x: torch.Tensor) -> torch.Tensor:
        around = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1) * 9 - x
        return torch.relu(x - 0.3 / 8 * around)

    layer = LateralInhibition(0.3)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    wanted = pooled(x.double())
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(layer(x).double(), wanted, rtol=2 * eps, atol=3 * eps)
    if dtype == torch.float64 and x.numel():
        step = torch.randn_like(x)
        for of in (lambda f: torch.func.jvp(f, (x,), (step,)), lambda f: torch.func.jacrev(f)(x)):
            torch.testing.assert_close(of(layer), of(pooled))
        singly = torch.func.vmap(lambda one: layer(one[None])[0])(x)
        torch.testing.assert_close(singly, wanted)


def test_lateral_inhibition_has_no_parameters() -> None:
    assert not list(LateralInhibition().parameters())


def test_attention_has_the_stated_size_and_only_weakens() -> None:
    attention = Attention(16)
    assert sum(p.numel() for p in attention.parameters()) == 226
    x = torch.rand(2, 16, 5, 5)
    y = attention(x)
    assert y.shape == x.shape
    assert (y <= x).all()
    assert (y >= 0).all()


def test_sizes_are_those_of_the_reading() -> None:
    front = ImageFrontEnd(1, (48, 48))
    assert front.n_features == 16 * 12 * 12
    assert sum(p.numel() for p in front.conv1.parameters()) == 80
    assert sum(p.numel() for p in front.conv2.parameters()) == 1168
    assert front(torch.rand(3, 1, 48, 48)).shape == (3, 2304)


def test_parts_switch_off() -> None:
    front = ImageFrontEnd(3, (9, 7), lateral_inhibition=0, attention=False)
    assert front(torch.rand(2, 3, 9, 7)).shape == (2, front.n_features)
    assert sum(p.numel() for p in front.parameters()) == (27 * 8 + 8) + (72 * 16 + 16)


@pytest.mark.parametrize(("channels", "size"), [(1, (3, 48)), (0, (48, 48)), (1, (48, 0))])
def test_images_that_vanish_are_refused(channels: int, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no front end"):
        ImageFrontEnd(channels, size)


def test_wrong_images_are_named() -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 1, 8, 8\)"):
        ImageFrontEnd(1, (8, 8))(torch.rand(2, 3, 8, 8))
