"""How an image becomes the input of a cortical column. No connectome says how: all of it is free.

Our interpretation of BioNIC's front end (Prasanth & Tivnan 2026, arXiv 2601.20876), whose
equations were not available: 3 x 3 convolutions of 8 and 16 filters, each followed by 2 x 2 max
pooling.
"""

import torch
from torch import Tensor, nn


class LateralInhibition(nn.Module):
    """Rectified difference to the neighbours: ``relu(x - strength * mean of the 8 around)``.

    Maps ``(batch, channels, height, width)`` to the same shape, with zero padding.
    """

    def __init__(self, strength: float = 0.1) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        """Return the inhibited maps."""
        # As one convolution of each channel: on the CPU, avg_pool2d costs a third of a step.
        channels = x.shape[1]
        centre = torch.ones(channels, 1, 1, 1, dtype=x.dtype, device=x.device)
        around = nn.functional.pad(centre, (1, 1, 1, 1), value=-self.strength / 8)
        return torch.relu(nn.functional.conv2d(x, around, padding=1, groups=channels))

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        return f"strength={self.strength}"


class Attention(nn.Module):
    """Channel attention, then spatial attention (CBAM; Woo et al. 2018, arXiv 1807.06521).

    Maps ``(batch, channels, height, width)`` to the same shape.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted maps."""
        pooled = torch.stack((x.mean((2, 3)), x.amax((2, 3))))  # (2, batch, channels)
        of_channel = self.excite(torch.relu(self.squeeze(pooled))).sum(0).sigmoid()
        x = x * of_channel[:, :, None, None]
        of_place: Tensor = self.place(torch.stack((x.mean(1), x.amax(1)), 1)).sigmoid()
        return x * of_place


class ImageFrontEnd(nn.Module):
    """Two convolutions with pooling: ``(batch, channels, height, width)`` to ``(batch, features)``.

    ``lateral_inhibition`` is the strength of `LateralInhibition` after the first convolution (0:
    plain rectification); ``attention`` switches `Attention` on after the second. Raises
    `ValueError` for images under 4 x 4 pixels, of which pooling would leave nothing.
    """

    n_features: int

    def __init__(
        self,
        channels: int,
        image_size: tuple[int, int],
        filters: tuple[int, int] = (8, 16),
        *,
        lateral_inhibition: float = 0.1,
        attention: bool = True,
    ) -> None:
        super().__init__()
        height, width = image_size
        if min(height, width) < 4 or channels < 1:
            raise ValueError(f"no front end for {channels} channels of {height} x {width} pixels")
        self.conv1 = nn.Conv2d(channels, filters[0], 3, padding=1)
        self.rectify = LateralInhibition(lateral_inhibition) if lateral_inhibition else nn.ReLU()
        self.conv2 = nn.Conv2d(filters[0], filters[1], 3, padding=1)
        self.attention = Attention(filters[1]) if attention else nn.Identity()
        self.image_shape = (channels, height, width)
        self.n_features = filters[1] * (height // 4) * (width // 4)

    def forward(self, image: Tensor) -> Tensor:
        """Return the features of each image."""
        if image.shape[1:] != self.image_shape:
            expected = ", ".join(str(n) for n in self.image_shape)
            raise ValueError(f"images are {tuple(image.shape)}, expected (batch, {expected})")
        x = nn.functional.max_pool2d(self.rectify(self.conv1(image)), 2)
        x = nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        attended: Tensor = self.attention(x)
        return attended.flatten(1)
