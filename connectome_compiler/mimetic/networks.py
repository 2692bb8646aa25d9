"""Two ordinary networks that the mouse-mimetic papers made windowed: a DCGAN generator, a U-Net.

Plain torch, without windows: `connectome_compiler.mimetic.mimic` puts them in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

LATENT = 100  # numbers that a picture is made from


def dcgan_generator(
    widths: Sequence[int] = (1024, 512, 256, 128),
    *,
    latent: int = LATENT,
    side: int = 4,
    out_channels: int = 3,
    kernel_size: int = 5,
) -> nn.Sequential:
    """Return a generator ``(batch, latent) -> (batch, out_channels, s, s)``, values in 0..1.

    A dense layer makes ``widths[0]`` maps of ``side`` x ``side``; a transposed convolution of
    stride 2 leads to each further width and one to the picture, so ``s = side * 2**len(widths)``.
    The defaults are the generator of Saiga et al. 2025, Sci. Rep. 15:25091.
    """

    def twice(n_in: int, n_out: int) -> nn.ConvTranspose2d:
        pad, more = (kernel_size - 1) // 2, kernel_size % 2
        return nn.ConvTranspose2d(n_in, n_out, kernel_size, 2, padding=pad, output_padding=more)

    maps = nn.Unflatten(1, (widths[0], side, side))
    layers: list[nn.Module] = [nn.Linear(latent, widths[0] * side * side), maps]
    for n_in, n_out in pairwise(widths):
        layers += [nn.BatchNorm2d(n_in), nn.ReLU()]
        layers += [twice(n_in, n_out)]
    layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU()]
    layers += [twice(widths[-1], out_channels)]
    return nn.Sequential(*layers, nn.Sigmoid())


class DiffusionUNet(nn.Module):
    """Predict the noise in pictures ``(batch, channels, s, s)``, given its level ``(batch,)``.

    ``depth`` residual blocks for each width on the way down, for the last one in the middle, and
    for each on the way up, where a block takes one skip connection by concatenation. ``size`` is
    the side of the pictures; attention stands where maps are ``attention_at`` wide. The level
    enters as sines and cosines, ``embedding`` maps beside those of the first convolution.

    Sizes are those of Saiga et al. 2025, Sci. Rep. 15:25091; what its text leaves open was chosen
    so that the counts agree: with the 3x3 convolutions of ``down.2``, ``middle``, ``up.0`` and
    ``up.1`` windowed (16 layers, radius 0.4), 44 % of all convolution weights are left.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512),
        *,
        depth: int = 2,
        channels: int = 3,
        size: int = 64,
        attention_at: int = 16,
        embedding: int = 32,
        groups: int = 8,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.first = nn.Conv2d(channels, widths[0], 1)
        self.down = nn.ModuleList()
        levels = range(len(widths) - 1)
        attend = [size >> level == attention_at for level in (*levels, len(levels))]
        n, skips = widths[0] + embedding, []
        for level in levels:
            blocks = []
            for _ in range(depth):
                blocks.append(_Block(n, n := widths[level], groups, attend[level]))
                skips.append(n)
            self.down.append(nn.Sequential(*blocks))
        self.middle = nn.Sequential()
        for _ in range(depth):
            self.middle.append(_Block(n, n := widths[-1], groups, attend[-1]))
        self.up = nn.ModuleList()
        for level in reversed(levels):
            blocks = []
            for _ in range(depth):
                n_in = n + skips.pop()
                blocks.append(_Block(n_in, n := widths[level], groups, attend[level]))
            self.up.append(nn.Sequential(*blocks))
        self.last = nn.Conv2d(n, channels, 1)
        nn.init.zeros_(self.last.weight)

    def forward(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Return the noise that is expected in ``noisy``."""
        x = self.first(noisy)
        steps = torch.linspace(0.0, math.log(1000.0), self.embedding // 2, device=x.device)
        angles = 2 * math.pi * steps.exp().to(x.dtype) * level.to(x.dtype)[:, None]
        waves = torch.cat([angles.sin(), angles.cos()], 1)
        x = torch.cat([x, waves[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
        skips = []
        for blocks in self.down:
            for block in blocks.children():
                x = block(x)
                skips.append(x)
            x = functional.avg_pool2d(x, 2)
        x = self.middle(x)
        for blocks in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear")
            for block in blocks.children():
                x = block(torch.cat([x, skips.pop()], 1))
        out: Tensor = self.last(x)
        return out


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, then attention over places if asked for."""

    def __init__(self, n_in: int, n_out: int, groups: int, attend: bool) -> None:
        super().__init__()
        self.shortcut = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1)
        self.norm1, self.norm2 = nn.GroupNorm(groups, n_in), nn.GroupNorm(groups, n_out)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.attention = _Attention(n_out, groups) if attend else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(x)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        out: Tensor = self.attention(self.shortcut(x) + inner)
        return out


class _Attention(nn.Module):
    """Every place of a map asks all others; all four projections are 1x1 convolutions."""

    def __init__(self, n: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, n)
        self.query, self.key = nn.Conv2d(n, n, 1), nn.Conv2d(n, n, 1)
        self.value, self.out = nn.Conv2d(n, n, 1), nn.Conv2d(n, n, 1)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        q, k, v = (f(normed).flatten(2).mT for f in (self.query, self.key, self.value))
        answer = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = x + self.out(answer.mT.reshape(x.shape))
        return out
