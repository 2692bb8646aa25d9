"""ToyColumn: A toy column.

MODELLED, NOT MEASURED: how the connections were made is not stated. No such network was seen in a
brain, and results obtained with it say nothing about a particular brain.

BioNIC-style (after Prasanth & Tivnan 2026, arXiv 2601.20876). Reported of the original: a cortical
column of 266, 349, 185 and 383 excitatory cells in the order L4, L2/3, L5, L6; weights masked by
the connectome between and within layers; layer norm, graded inhibition, lateral inhibition,
attention, synaptic noise. Its equations were not at hand: those used here are a proposed reading.

Every weight between neurons stands for a connection of the graph below, and each has its own. Front
end, read-in (image -> column) and read-out (column -> classes) do not: no connectome says how an
image enters a column, or what it means.

67 connection weights; forecast for training on one CPU core: 0.0 MB of state, 8.6 ms for the
connections in a step of 32 images.

Data       toy@1 (modelled; signs: modelled)
Signs      67 known (52 excitatory, 78%; 15 inhibitory, 22%), 67 enforced, 0 unknown
Licence    CC0

Made by connectome-compiler 0.1.0 as toy-column: assign-signs, apply-dale, laminar-partition,
set-node-model, fold-inhibition, split-flow, attach-ports, bionic. What each step did stands below,
in PROVENANCE.
"""

import base64
import difflib
import hashlib
import math
import warnings
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache, wraps
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

# --- the network ----------------------------------------------------------------------------------


class ToyColumn(nn.Module):
    """Modelled, not measured: an image, through the layers of a cortical column, to classes.

    Maps images ``(batch, channels, height, width)`` to logits ``(batch, classes)``. The options
    switch its parts: ``lateral_inhibition`` (strength; 0 is none) and ``attention`` in the
    front end, ``normalisation`` ("layer", "rms", "none"), ``noise_std`` of the synaptic noise
    in training, the connections ``within`` a population, and the number of sweeps (``steps``)
    over which feedback acts. ``balanced`` starts at weights that sum to 1 for each neuron where
    they excite, and to 0.75 where they inhibit, and see contrast in the image; else all start
    as `nn.Linear`.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        image_size: int | tuple[int, int] = 8,
        classes: int = 3,
        filters: tuple[int, int] = (8, 16),
        lateral_inhibition: float = 0.1,
        attention: bool = True,
        normalisation: str = "rms",
        noise_std: float = 0.0,
        within: bool = True,
        steps: int = 3,
        balanced: bool = True,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes is {classes}: at least one is needed")
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.front_end = ImageFrontEnd(
            channels, size, filters, lateral_inhibition=lateral_inhibition, attention=attention
        )
        self.image_shape = (channels, *size)
        if steps < 2:
            raise ValueError(f"steps is {steps}: feedback acts from the second sweep on")
        self.steps = steps
        arrays = read_arrays()

        # Read-in and read-out: free weights, not of the connectome.
        self.image_to_l4_inh = nn.Linear(self.front_end.n_features, 1)
        self.image_to_l4_exc = nn.Linear(self.front_end.n_features, 3)
        self.l6_exc_to_classes = nn.Linear(3, classes)

        # Populations, in the order of evaluation.
        self.l4_inh = RateUnits(1, normalisation=normalisation, noise_std=noise_std)
        self.l4_exc = RateUnits(3, normalisation=normalisation, noise_std=noise_std)
        self.l2_3_inh = RateUnits(1, normalisation=normalisation, noise_std=noise_std)
        self.l2_3_exc = RateUnits(3, normalisation=normalisation, noise_std=noise_std)
        self.l5_inh = RateUnits(1, normalisation=normalisation, noise_std=noise_std)
        self.l5_exc = RateUnits(3, normalisation=normalisation, noise_std=noise_std)
        self.l6_inh = RateUnits(1, normalisation=normalisation, noise_std=noise_std)
        self.l6_exc = RateUnits(3, normalisation=normalisation, noise_std=noise_std)

        # Projections of the connectome: one weight per connection.
        self.l4_inh_to_l4_inh = (
            EdgeLinear(
                1,
                arrays["L4.inh->L4.inh.ptr"],
                arrays["L4.inh->L4.inh.pre"],
                sign=-1,
                kernel="dense",
            )
            if within
            else None
        )
        self.l4_exc_to_l4_inh = EdgeLinear(
            3,
            arrays["L4.exc->L4.inh.ptr"],
            arrays["L4.exc->L4.inh.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l2_3_inh_to_l4_inh = EdgeLinear(
            1,
            arrays["L2/3.inh->L4.inh.ptr"],
            arrays["L2/3.inh->L4.inh.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l2_3_exc_to_l4_inh = EdgeLinear(
            3,
            arrays["L2/3.exc->L4.inh.ptr"],
            arrays["L2/3.exc->L4.inh.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l5_inh_to_l4_inh = EdgeLinear(
            1,
            arrays["L5.inh->L4.inh.ptr"],
            arrays["L5.inh->L4.inh.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l5_exc_to_l4_inh = EdgeLinear(
            3,
            arrays["L5.exc->L4.inh.ptr"],
            arrays["L5.exc->L4.inh.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l6_exc_to_l4_inh = EdgeLinear(
            3,
            arrays["L6.exc->L4.inh.ptr"],
            arrays["L6.exc->L4.inh.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l4_inh_to_l4_exc = EdgeLinear(
            1,
            arrays["L4.inh->L4.exc.ptr"],
            arrays["L4.inh->L4.exc.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l4_exc_to_l4_exc = (
            EdgeLinear(
                3,
                arrays["L4.exc->L4.exc.ptr"],
                arrays["L4.exc->L4.exc.pre"],
                sign=1,
                kernel="dense",
            )
            if within
            else None
        )
        self.l2_3_exc_to_l4_exc = EdgeLinear(
            3,
            arrays["L2/3.exc->L4.exc.ptr"],
            arrays["L2/3.exc->L4.exc.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l5_inh_to_l4_exc = EdgeLinear(
            1,
            arrays["L5.inh->L4.exc.ptr"],
            arrays["L5.inh->L4.exc.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l6_inh_to_l4_exc = EdgeLinear(
            1,
            arrays["L6.inh->L4.exc.ptr"],
            arrays["L6.inh->L4.exc.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l6_exc_to_l4_exc = EdgeLinear(
            3,
            arrays["L6.exc->L4.exc.ptr"],
            arrays["L6.exc->L4.exc.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l4_exc_to_l2_3_inh = EdgeLinear(
            3,
            arrays["L4.exc->L2/3.inh.ptr"],
            arrays["L4.exc->L2/3.inh.pre"],
            sign=1,
            bias=True,
            kernel="dense",
        )
        self.l2_3_inh_to_l2_3_inh = (
            EdgeLinear(
                1,
                arrays["L2/3.inh->L2/3.inh.ptr"],
                arrays["L2/3.inh->L2/3.inh.pre"],
                sign=-1,
                kernel="dense",
            )
            if within
            else None
        )
        self.l2_3_exc_to_l2_3_inh = EdgeLinear(
            3,
            arrays["L2/3.exc->L2/3.inh.ptr"],
            arrays["L2/3.exc->L2/3.inh.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l6_inh_to_l2_3_inh = EdgeLinear(
            1,
            arrays["L6.inh->L2/3.inh.ptr"],
            arrays["L6.inh->L2/3.inh.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l6_exc_to_l2_3_inh = EdgeLinear(
            3,
            arrays["L6.exc->L2/3.inh.ptr"],
            arrays["L6.exc->L2/3.inh.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l4_exc_to_l2_3_exc = EdgeLinear(
            3,
            arrays["L4.exc->L2/3.exc.ptr"],
            arrays["L4.exc->L2/3.exc.pre"],
            sign=1,
            bias=True,
            kernel="dense",
        )
        self.l2_3_exc_to_l2_3_exc = (
            EdgeLinear(
                3,
                arrays["L2/3.exc->L2/3.exc.ptr"],
                arrays["L2/3.exc->L2/3.exc.pre"],
                sign=1,
                kernel="dense",
            )
            if within
            else None
        )
        self.l5_exc_to_l2_3_exc = EdgeLinear(
            3,
            arrays["L5.exc->L2/3.exc.ptr"],
            arrays["L5.exc->L2/3.exc.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l6_inh_to_l2_3_exc = EdgeLinear(
            1,
            arrays["L6.inh->L2/3.exc.ptr"],
            arrays["L6.inh->L2/3.exc.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l6_exc_to_l2_3_exc = EdgeLinear(
            3,
            arrays["L6.exc->L2/3.exc.ptr"],
            arrays["L6.exc->L2/3.exc.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l2_3_exc_to_l5_inh = EdgeLinear(
            3,
            arrays["L2/3.exc->L5.inh.ptr"],
            arrays["L2/3.exc->L5.inh.pre"],
            sign=1,
            bias=True,
            kernel="dense",
        )
        self.l5_exc_to_l5_inh = EdgeLinear(
            3,
            arrays["L5.exc->L5.inh.ptr"],
            arrays["L5.exc->L5.inh.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l6_exc_to_l5_inh = EdgeLinear(
            3,
            arrays["L6.exc->L5.inh.ptr"],
            arrays["L6.exc->L5.inh.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l4_exc_to_l5_exc = EdgeLinear(
            3,
            arrays["L4.exc->L5.exc.ptr"],
            arrays["L4.exc->L5.exc.pre"],
            sign=1,
            bias=True,
            kernel="dense",
        )
        self.l2_3_exc_to_l5_exc = EdgeLinear(
            3,
            arrays["L2/3.exc->L5.exc.ptr"],
            arrays["L2/3.exc->L5.exc.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l5_exc_to_l5_exc = (
            EdgeLinear(
                3,
                arrays["L5.exc->L5.exc.ptr"],
                arrays["L5.exc->L5.exc.pre"],
                sign=1,
                kernel="dense",
            )
            if within
            else None
        )
        self.l6_inh_to_l5_exc = EdgeLinear(
            1,
            arrays["L6.inh->L5.exc.ptr"],
            arrays["L6.inh->L5.exc.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l6_exc_to_l5_exc = EdgeLinear(
            3,
            arrays["L6.exc->L5.exc.ptr"],
            arrays["L6.exc->L5.exc.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l4_exc_to_l6_inh = EdgeLinear(
            3,
            arrays["L4.exc->L6.inh.ptr"],
            arrays["L4.exc->L6.inh.pre"],
            sign=1,
            bias=True,
            kernel="dense",
        )
        self.l5_exc_to_l6_inh = EdgeLinear(
            3,
            arrays["L5.exc->L6.inh.ptr"],
            arrays["L5.exc->L6.inh.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l4_inh_to_l6_exc = EdgeLinear(
            1,
            arrays["L4.inh->L6.exc.ptr"],
            arrays["L4.inh->L6.exc.pre"],
            sign=-1,
            bias=True,
            kernel="dense",
        )
        self.l4_exc_to_l6_exc = EdgeLinear(
            3,
            arrays["L4.exc->L6.exc.ptr"],
            arrays["L4.exc->L6.exc.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l2_3_exc_to_l6_exc = EdgeLinear(
            3,
            arrays["L2/3.exc->L6.exc.ptr"],
            arrays["L2/3.exc->L6.exc.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l5_inh_to_l6_exc = EdgeLinear(
            1,
            arrays["L5.inh->L6.exc.ptr"],
            arrays["L5.inh->L6.exc.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l5_exc_to_l6_exc = EdgeLinear(
            3,
            arrays["L5.exc->L6.exc.ptr"],
            arrays["L5.exc->L6.exc.pre"],
            sign=1,
            bias=False,
            kernel="dense",
        )
        self.l6_inh_to_l6_exc = EdgeLinear(
            1,
            arrays["L6.inh->L6.exc.ptr"],
            arrays["L6.inh->L6.exc.pre"],
            sign=-1,
            bias=False,
            kernel="dense",
        )
        self.l6_exc_to_l6_exc = (
            EdgeLinear(
                3,
                arrays["L6.exc->L6.exc.ptr"],
                arrays["L6.exc->L6.exc.pre"],
                sign=1,
                kernel="dense",
            )
            if within
            else None
        )
        if balanced:
            centre(self.image_to_l4_inh, filters[1])
            centre(self.image_to_l4_exc, filters[1])
            # What settles within a population is a drive of its own.
            balance(((post, pre == post), layer) for pre, post, layer in self.named_projections())

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of each image."""
        rates = self.rates(image)
        return self.l6_exc_to_classes(rates["L6.exc"])

    def rates(self, image: Tensor) -> dict[str, Tensor]:
        """Return the firing rates of every population, ``(batch, neurons)``."""
        features = self.front_end(image)
        seen_l4_inh = self.image_to_l4_inh(features)
        seen_l4_exc = self.image_to_l4_exc(features)
        l4_exc = features.new_zeros(len(features), 3)
        l2_3_inh = features.new_zeros(len(features), 1)
        l2_3_exc = features.new_zeros(len(features), 3)
        l5_inh = features.new_zeros(len(features), 1)
        l5_exc = features.new_zeros(len(features), 3)
        l6_inh = features.new_zeros(len(features), 1)
        l6_exc = features.new_zeros(len(features), 3)
        for _ in range(self.steps):  # feedback acts on the rates of the sweep before
            drive = seen_l4_inh
            drive = drive + self.l4_exc_to_l4_inh(l4_exc)
            drive = drive + self.l2_3_inh_to_l4_inh(l2_3_inh)
            drive = drive + self.l2_3_exc_to_l4_inh(l2_3_exc)
            drive = drive + self.l5_inh_to_l4_inh(l5_inh)
            drive = drive + self.l5_exc_to_l4_inh(l5_exc)
            drive = drive + self.l6_exc_to_l4_inh(l6_exc)
            l4_inh = self.l4_inh(drive, self.l4_inh_to_l4_inh)
            drive = seen_l4_exc
            drive = drive + self.l4_inh_to_l4_exc(l4_inh)
            drive = drive + self.l2_3_exc_to_l4_exc(l2_3_exc)
            drive = drive + self.l5_inh_to_l4_exc(l5_inh)
            drive = drive + self.l6_inh_to_l4_exc(l6_inh)
            drive = drive + self.l6_exc_to_l4_exc(l6_exc)
            l4_exc = self.l4_exc(drive, self.l4_exc_to_l4_exc)
            drive = self.l4_exc_to_l2_3_inh(l4_exc)
            drive = drive + self.l2_3_exc_to_l2_3_inh(l2_3_exc)
            drive = drive + self.l6_inh_to_l2_3_inh(l6_inh)
            drive = drive + self.l6_exc_to_l2_3_inh(l6_exc)
            l2_3_inh = self.l2_3_inh(drive, self.l2_3_inh_to_l2_3_inh)
            drive = self.l4_exc_to_l2_3_exc(l4_exc)
            drive = drive + self.l5_exc_to_l2_3_exc(l5_exc)
            drive = drive + self.l6_inh_to_l2_3_exc(l6_inh)
            drive = drive + self.l6_exc_to_l2_3_exc(l6_exc)
            l2_3_exc = self.l2_3_exc(drive, self.l2_3_exc_to_l2_3_exc)
            drive = self.l2_3_exc_to_l5_inh(l2_3_exc)
            drive = drive + self.l5_exc_to_l5_inh(l5_exc)
            drive = drive + self.l6_exc_to_l5_inh(l6_exc)
            l5_inh = self.l5_inh(drive)
            drive = self.l4_exc_to_l5_exc(l4_exc)
            drive = drive + self.l2_3_exc_to_l5_exc(l2_3_exc)
            drive = drive + self.l6_inh_to_l5_exc(l6_inh)
            drive = drive + self.l6_exc_to_l5_exc(l6_exc)
            l5_exc = self.l5_exc(drive, self.l5_exc_to_l5_exc)
            drive = self.l4_exc_to_l6_inh(l4_exc)
            drive = drive + self.l5_exc_to_l6_inh(l5_exc)
            l6_inh = self.l6_inh(drive)
            drive = self.l4_inh_to_l6_exc(l4_inh)
            drive = drive + self.l4_exc_to_l6_exc(l4_exc)
            drive = drive + self.l2_3_exc_to_l6_exc(l2_3_exc)
            drive = drive + self.l5_inh_to_l6_exc(l5_inh)
            drive = drive + self.l5_exc_to_l6_exc(l5_exc)
            drive = drive + self.l6_inh_to_l6_exc(l6_inh)
            l6_exc = self.l6_exc(drive, self.l6_exc_to_l6_exc)
        return {
            "L4.inh": l4_inh,
            "L4.exc": l4_exc,
            "L2/3.inh": l2_3_inh,
            "L2/3.exc": l2_3_exc,
            "L5.inh": l5_inh,
            "L5.exc": l5_exc,
            "L6.inh": l6_inh,
            "L6.exc": l6_exc,
        }

    def calibrate(self, image: Tensor) -> None:
        """Set biases and scales so that drives have mean 0 and variance 1 over these images.

        Population by population, without noise. Signs, and ratios of weights within a population's
        drive, stay. Nothing calls this but you: before training, with some images of the data.
        """
        populations: dict[str, tuple[nn.Module, list[nn.Module]]] = {
            "L4.inh": (self.l4_inh, [self.image_to_l4_inh]),
            "L4.exc": (self.l4_exc, [self.image_to_l4_exc]),
            "L2/3.inh": (self.l2_3_inh, []),
            "L2/3.exc": (self.l2_3_exc, []),
            "L5.inh": (self.l5_inh, []),
            "L5.exc": (self.l5_exc, []),
            "L6.inh": (self.l6_inh, []),
            "L6.exc": (self.l6_exc, []),
        }
        for pre, post, layer in self.named_projections():
            if pre != post:  # what settles comes after the drive
                populations[post][1].append(layer)
        training = self.training
        self.eval()
        try:
            calibrate(lambda: self.rates(image), populations.values())
        finally:
            self.train(training)

    def example_input(self, batch: int = 1) -> Tensor:
        """Return images of uniform noise, the same at every call."""
        source = torch.Generator().manual_seed(0)
        images = torch.rand(batch, *self.image_shape, generator=source)
        return images.to(self.front_end.conv1.weight)

    def neurons(self) -> dict[str, list[Any]]:
        """Return what is known of the neuron of each unit, as columns for ``pandas.DataFrame``.

        ``unit`` counts through all populations, ``index`` within one. None is not known.
        """
        return {name: list(column) for name, column in read_neurons().columns.items()}

    def index(self, neurons: Any = None, **where: Any) -> Any:
        """Return the unit of a neuron, by id or name, or those of a list, as a tensor.

        Keywords choose by column, ``role="motor"``.
        """
        return read_neurons().index(neurons, **where)

    def named_projections(self) -> Iterator[tuple[str, str, "EdgeLinear"]]:
        """Yield ``(pre, post, layer)`` of each projection of the connectome, in graph order."""
        layers = (
            ("L4.inh", "L4.inh", self.l4_inh_to_l4_inh),
            ("L4.exc", "L4.inh", self.l4_exc_to_l4_inh),
            ("L2/3.inh", "L4.inh", self.l2_3_inh_to_l4_inh),
            ("L2/3.exc", "L4.inh", self.l2_3_exc_to_l4_inh),
            ("L5.inh", "L4.inh", self.l5_inh_to_l4_inh),
            ("L5.exc", "L4.inh", self.l5_exc_to_l4_inh),
            ("L6.exc", "L4.inh", self.l6_exc_to_l4_inh),
            ("L4.inh", "L4.exc", self.l4_inh_to_l4_exc),
            ("L4.exc", "L4.exc", self.l4_exc_to_l4_exc),
            ("L2/3.exc", "L4.exc", self.l2_3_exc_to_l4_exc),
            ("L5.inh", "L4.exc", self.l5_inh_to_l4_exc),
            ("L6.inh", "L4.exc", self.l6_inh_to_l4_exc),
            ("L6.exc", "L4.exc", self.l6_exc_to_l4_exc),
            ("L4.exc", "L2/3.inh", self.l4_exc_to_l2_3_inh),
            ("L2/3.inh", "L2/3.inh", self.l2_3_inh_to_l2_3_inh),
            ("L2/3.exc", "L2/3.inh", self.l2_3_exc_to_l2_3_inh),
            ("L6.inh", "L2/3.inh", self.l6_inh_to_l2_3_inh),
            ("L6.exc", "L2/3.inh", self.l6_exc_to_l2_3_inh),
            ("L4.exc", "L2/3.exc", self.l4_exc_to_l2_3_exc),
            ("L2/3.exc", "L2/3.exc", self.l2_3_exc_to_l2_3_exc),
            ("L5.exc", "L2/3.exc", self.l5_exc_to_l2_3_exc),
            ("L6.inh", "L2/3.exc", self.l6_inh_to_l2_3_exc),
            ("L6.exc", "L2/3.exc", self.l6_exc_to_l2_3_exc),
            ("L2/3.exc", "L5.inh", self.l2_3_exc_to_l5_inh),
            ("L5.exc", "L5.inh", self.l5_exc_to_l5_inh),
            ("L6.exc", "L5.inh", self.l6_exc_to_l5_inh),
            ("L4.exc", "L5.exc", self.l4_exc_to_l5_exc),
            ("L2/3.exc", "L5.exc", self.l2_3_exc_to_l5_exc),
            ("L5.exc", "L5.exc", self.l5_exc_to_l5_exc),
            ("L6.inh", "L5.exc", self.l6_inh_to_l5_exc),
            ("L6.exc", "L5.exc", self.l6_exc_to_l5_exc),
            ("L4.exc", "L6.inh", self.l4_exc_to_l6_inh),
            ("L5.exc", "L6.inh", self.l5_exc_to_l6_inh),
            ("L4.inh", "L6.exc", self.l4_inh_to_l6_exc),
            ("L4.exc", "L6.exc", self.l4_exc_to_l6_exc),
            ("L2/3.exc", "L6.exc", self.l2_3_exc_to_l6_exc),
            ("L5.inh", "L6.exc", self.l5_inh_to_l6_exc),
            ("L5.exc", "L6.exc", self.l5_exc_to_l6_exc),
            ("L6.inh", "L6.exc", self.l6_inh_to_l6_exc),
            ("L6.exc", "L6.exc", self.l6_exc_to_l6_exc),
        )
        yield from ((pre, post, layer) for pre, post, layer in layers if layer is not None)

    def effective_weights(self, all: bool = False) -> dict[str, Tensor]:
        """Return the weights that act, as sparse COO tensors ``[post, pre]`` by projection.

        ``all`` adds what is not of the connectome: read-in, read-out, and the kernels of the front
        end in their own layout.
        """
        weights = {
            f"{pre}->{post}": layer.sparse_weight().detach()
            for pre, post, layer in self.named_projections()
        }
        if all:
            weights["image->L4.inh"] = self.image_to_l4_inh.weight.detach().to_sparse()
            weights["image->L4.exc"] = self.image_to_l4_exc.weight.detach().to_sparse()
            weights["L6.exc->classes"] = self.l6_exc_to_classes.weight.detach().to_sparse()
            for name, parameter in self.front_end.named_parameters():
                if name.endswith("weight"):
                    key = f"front_end.{name.removesuffix('.weight')}"
                    weights[key] = parameter.detach().to_sparse()
        return weights

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Return what is trained for an optimiser; biases, time constants, norms do not decay."""
        return decay_groups(self, weight_decay)

    def be_plain(self, plain: bool = True) -> None:
        """Compute in torch's own functions alone, for files that run without this module."""
        set_plain(self, plain)


def build(
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    seed: int | None = None,
    **options: Any,
) -> ToyColumn:
    """Return the network; ``options`` are those of `ToyColumn`.

    With a ``seed`` it starts as after ``torch.manual_seed(seed)``, which is not called.
    """
    return build_network(ToyColumn, options, device, dtype, seed)


# --- layers ---------------------------------------------------------------------------------------


@torch.no_grad()
def calibrate(
    run: Callable[[], object], populations: Iterable[tuple[nn.Module, Sequence[nn.Module]]]
) -> None:
    """Give each unit a mean drive of 0 over what ``run`` runs, each population one of variance 1.

    ``populations`` are units, called with their drive, and the layers that add up to it, in the
    order in which ``run`` calls them. The mean is taken off the bias of that layer which has one,
    and the weights and bias of all are divided by one number. Of several calls the last counts. A
    population whose drive does not vary keeps its weights.
    """
    for units, layers in populations:
        drives: list[Tensor] = []
        hook = units.register_forward_pre_hook(lambda _, given, into=drives: into.append(given[0]))
        try:
            run()
        finally:
            hook.remove()
        drive = drives[-1].double()
        spread = (drive - drive.mean(0)).square().mean().sqrt()
        varies = spread > LEAST * drive.abs().max()
        for layer in layers:
            held = [x for x in (layer.bias, layer.weight) if isinstance(x, Tensor)]
            if len(held) == 2:
                held[0].sub_(drive.mean(0))
            for parameter in held:
                parameter.div_(torch.where(varies, spread, 1.0))


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


def build_network(
    make: Callable[..., Any],
    options: dict[str, Any],
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    seed: int | None,
) -> Any:
    """Return ``make(**options)``, with numbers drawn on the CPU, on a device and in a precision.

    With a ``seed`` it starts as it would after ``torch.manual_seed(seed)``, on any device, and
    torch's own generator goes on as if nothing had been drawn. On "meta" nothing is drawn.
    """
    place = torch.get_default_device() if device is None else torch.device(device)
    with (
        torch.device("meta" if place.type == "meta" else "cpu"),
        torch.random.fork_rng(devices=[], enabled=seed is not None),
    ):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        network = make(**options)
    return network.to(device=place, dtype=dtype)


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return what is trained as groups for an optimiser: with ``weight_decay``, and without.

    All weights decay, those of synapses, read-in, read-out and kernels. What has its natural size
    elsewhere than at 0 does not: biases, time constants, and the gains of normalisations.
    """
    norms = (nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d)
    decay: dict[nn.Parameter, bool] = {}  # each once, also if layers share it
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            free = name == "bias" or name.startswith("log_") or isinstance(module, norms)
            decay.setdefault(parameter, not free)
    return [
        {
            "params": [p for p, decays in decay.items() if decays == wanted and p.requires_grad],
            "weight_decay": weight_decay if wanted else 0.0,
        }
        for wanted in (True, False)
    ]


def set_plain(network: nn.Module, plain: bool) -> None:
    """Let all layers compute in torch's own functions alone, or by their own ones again."""
    for layer in network.modules():
        if isinstance(getattr(layer, "plain", None), bool):
            layer.plain = plain  # type: ignore[assignment]


class NeuronTable:
    """The neurons of a network as columns, with an item for each unit; None is not known.

    ``sizes`` are how many units each population has, in their order.
    """

    def __init__(self, sizes: Mapping[str, int], columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns: dict[str, list[Any]] = {
            "population": [name for name, n in sizes.items() for _ in range(n)],
            "index": [k for n in sizes.values() for k in range(n)],
            "unit": list(range(sum(sizes.values()))),
            **{name: list(column) for name, column in columns.items()},
        }
        ids = self.columns.get("neuron_id", [])
        self.unit_of: dict[Any, int] = dict(zip(ids, range(len(ids)), strict=True))

    def index(self, neurons: Any = None, **where: Any) -> Any:
        """Return the unit of a neuron, by id or name, or of a list of them, as a tensor.

        Keywords choose by column: ``cell_type="PVC"``. Units in a tensor are returned as integers.
        """
        if (neurons is None) != bool(where):
            raise ValueError('index() takes "AVAL", or ["AVAL", "AVAR"], or cell_type="AVA"')
        if where:
            return self._chosen(where)
        if isinstance(neurons, Tensor):
            n = len(self.columns["unit"])
            odd = neurons.is_floating_point() or neurons.dtype == torch.bool
            if odd or bool(((neurons < 0) | (neurons >= n)).any()):
                raise ValueError(f"a tensor has units, from 0 to {n - 1}, not {neurons}")
            return neurons.long()
        if isinstance(neurons, str) or not isinstance(neurons, Iterable):
            return self._unit(neurons)
        units = [self._unit(neuron) for neuron in neurons]
        return torch.tensor(units, dtype=torch.int64, device="cpu")

    def _unit(self, neuron: Any) -> int:
        if (unit := self.unit_of.get(neuron)) is not None:
            return unit
        names = self.columns.get("name", [])
        found = [unit for unit, name in enumerate(names) if name == neuron]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(repr(self.columns["neuron_id"][unit]) for unit in found[:4])
            raise ValueError(f"{neuron!r} is the name of {len(found)} neurons: use ids, {ids}")
        for name, column in self.columns.items():
            if isinstance(neuron, str) and neuron in column:
                n = column.count(neuron)
                hint = f"it is the {name} of {n}: index({name}={neuron!r})"
                raise ValueError(f"there is no neuron {neuron!r}; {hint}")
        raise ValueError(
            f"there is no neuron {neuron!r}{_nearest(neuron, [*self.unit_of, *names])}"
        )

    def _chosen(self, where: Mapping[str, Any]) -> Tensor:
        """Return the units whose columns have these values."""
        chosen = self.columns["unit"]
        for name, value in where.items():
            if (column := self.columns.get(name)) is None:
                raise ValueError(f"there is no column {name!r}; known: {', '.join(self.columns)}")
            if value not in column:
                raise ValueError(f"no neuron has {name} {value!r}{_nearest(value, column)}")
            chosen = [unit for unit in chosen if column[unit] == value]
        return torch.tensor(chosen, dtype=torch.int64, device="cpu")


def listed_neurons(names: Sequence[str], runs: Mapping[str, Sequence[Any]]) -> NeuronTable:
    """Read, by population, runs of neurons that are alike: their ids, then what they share."""
    sizes = {name: sum(len(ids) for ids, *_ in some) for name, some in runs.items()}
    rows = [(one, *alike) for some in runs.values() for ids, *alike in some for one in ids]
    return NeuronTable(sizes, dict(zip(names, zip(*rows, strict=True), strict=True)))


class SameStructure(nn.Module):
    """A layer that keeps its structure, whatever becomes of its weights.

    The structure lies beside parameters and buffers, so that nothing averages, rounds, empties or
    shards it. Its tensors are attributes, which go along to other devices and precisions; they are
    copies of what the layer was made with, which is what states have, and are compared with. A
    state that differs in a part is refused whole, strict or not; one that lacks a part is refused
    if torch is told to be strict.
    """

    structure: tuple[str, ...] = ()  # what is saved; a part that is None must not be in a state
    advice = ""  # what to do with the weights of another layer
    kept: Mapping[str, Any] = {}  # the structure as it was made, on the CPU; tensors, or None
    _at = torch.device("cpu")  # where the attributes are

    def hold(self, device: torch.device | str | None = None, **parts: Tensor | None) -> None:
        """Make tensors part of the structure; ``device`` is torch's default one, if not given."""
        made = {name: None if part is None else part.cpu() for name, part in parts.items()}
        self.kept = {**self.kept, **made}
        for name, part in made.items():
            setattr(self, name, part)
        self.follow(torch.get_default_device() if device is None else torch.device(device))

    def follow(self, device: torch.device) -> None:
        """Have the structure on a device."""
        self._at = device
        for name, part in self.kept.items():
            if (now := getattr(self, name)) is not None:
                setattr(self, name, part.to(device, now.dtype))

    def join(self, x: Tensor) -> None:
        """Have the structure where ``x`` is: not everything that moves parameters asks layers."""
        if has_shape(x) and x.device != self._at:
            self.follow(x.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Convert as torch does; the structure is converted from what it was made as."""
        before = dict(self._parameters)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._share_again(before)
        for name, part in self.kept.items():
            if (now := getattr(self, name)) is not None:
                like = fn(now.new_empty(0))
                self._at = like.device
                setattr(self, name, part.to(like.device, like.dtype))
        return self

    def _share_again(self, before: Mapping[str, nn.Parameter | None]) -> None:
        """Let layers that shared a parameter share the one that torch has put in its place."""
        for name, old in before.items():
            new = self._parameters[name]
            if old is not None and new is not old:
                vars(new).pop("_replaced_by", None)  # it may have been here before
                self._parameters[name] = vars(old).setdefault("_replaced_by", new)

    def _own_structure(self) -> dict[str, Tensor | None]:
        """Return the parts of a saved state that must match, by name."""
        return {name: self.kept[name] for name in self.structure}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, own in self._own_structure().items():
            if own is not None:
                destination[prefix + name] = own.clone()  # what is done to a state stays there

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: Any, strict: bool, *lists: Any
    ) -> None:
        """Load a state, or report how its structure differs."""
        missing, _, errors = lists
        rest = dict(state_dict)
        for name, own in self._own_structure().items():
            stored = rest.pop(prefix + name, None)
            if stored is None and own is not None:
                missing.append(prefix + name)
            elif problem := self._foreign(stored, own):
                errors.append(f"{prefix}{name} {problem}{self.advice}")
                return
        before = dict(self._parameters)
        self._load_same(rest, prefix, metadata, strict, *lists)
        self._share_again(before)
        for parameter in self.parameters(recurse=False):  # assigned, they may be elsewhere
            self.join(parameter)

    def _load_same(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state of the same structure, which is not in it."""
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _foreign(self, stored: Any, own: Tensor | None) -> str:
        """Return why one part of a state is not this layer's, or "" if it is."""
        if own is None:
            return "" if stored is None else "is not of this layer, which has none"
        if not isinstance(stored, Tensor):
            return f"is of type {type(stored).__name__}, not a tensor"
        if stored.is_meta:
            return "is on the meta device: it cannot be compared"
        return self._difference(stored, own)

    def _difference(self, stored: Tensor, own: Tensor) -> str:
        """Return how a part of a state differs from this layer's, or "" if it does not."""
        where, stored = "", stored.to(own.device)
        floats = stored.is_floating_point() and own.is_floating_point()
        if stored.shape != own.shape:
            where = f"in shape, {tuple(stored.shape)} instead of {tuple(own.shape)}"
        elif stored.dtype != own.dtype and not floats:
            where = f"in type, {stored.dtype} instead of {own.dtype}"
        elif not _same_numbers(stored, own):
            kind = max(stored.dtype, own.dtype, key=_coarseness)
            n = int((stored.to(kind) != own.to(kind)).sum()) or own.numel()
            where = f"in {n} of {own.numel()} places"
        return where and f"differs {where}: the weights are of another network"


class RateUnits(SameStructure):
    """Turn drive ``(batch, n)`` into rates ``(batch, n)``, which are never negative.

    The drive is normalised over the population and rectified. A layer of connections ``within`` the
    population then lets the rates settle once: ``relu(drive + within(rates))``. Last, each unit is
    attenuated by its ``inhibition`` ``r`` in 0..1: ``a (1 - strength r)`` ("multiplicative"), or
    ``relu(a - strength r)`` ("subtractive"). In training, Gaussian synaptic noise is added before
    the rates are rectified again.

    ``normalisation`` is "layer" (Ba et al. 2016), "rms" (division by the population's root mean
    square, without gain: no drive changes sign, but units compete, as in Carandini & Heeger 2012,
    Nat. Rev. Neurosci. 13:51) or "none".
    """

    inhibition: Tensor | None  # (n,), saved, never trained

    def __init__(
        self,
        n: int,
        *,
        normalisation: str = "layer",
        noise_std: float = 0.0,
        inhibition: Tensor | None = None,
        form: str = "multiplicative",
        strength: float = 0.0,
    ) -> None:
        super().__init__()
        normalisers: dict[str, nn.Module] = {
            "layer": nn.LayerNorm(n),
            "rms": nn.RMSNorm(n, eps=1e-5, elementwise_affine=False),
            "none": nn.Identity(),
        }
        if normalisation not in normalisers:
            raise ValueError(
                f"normalisation must be one of {', '.join(normalisers)}, not {normalisation!r}"
            )
        if form not in ("multiplicative", "subtractive"):
            raise ValueError(f"inhibition must be multiplicative or subtractive, not {form!r}")
        if not (noise_std >= 0 and 0 <= strength <= 1):
            raise ValueError(
                f"need noise_std >= 0 and strength in 0..1, not {noise_std} and {strength}"
            )
        self.normalise = normalisers[normalisation]
        self.noise_std, self.form, self.strength = noise_std, form, strength
        self.hold(inhibition=inhibition)

    def forward(self, drive: Tensor, within: nn.Module | None = None) -> Tensor:
        """Return the rates."""
        self.join(drive)
        drive = self.normalise(drive)
        rates = torch.relu(drive)
        if within is not None:
            rates = torch.relu(drive + within(rates))
        if self.inhibition is not None:
            amount = self.strength * self.inhibition
            subtract = self.form == "subtractive"
            rates = torch.relu(rates - amount) if subtract else rates * (1 - amount)
        if self.training and self.noise_std:
            rates = torch.relu(rates + self.noise_std * torch.randn_like(rates))
        return rates

    def _own_structure(self) -> dict[str, Tensor | None]:
        # Units without inhibition take a state that has it, if torch is told not to be strict.
        return {name: part for name, part in self.kept.items() if part is not None}

    def extra_repr(self) -> str:
        """Return what `print` shows of the units."""
        parts = [f"noise_std={self.noise_std}"]
        if self.inhibition is not None:
            parts.append(f"inhibition={self.form}, strength={self.strength}")
        return ", ".join(parts)


class EdgeLinear(SameStructure):
    """Linear map with one weight per connection: ``y[i] = sum over j of weight[i, j] * x[j]``.

    Target ``i`` has the connections ``ptr[i]:ptr[i + 1]``, from the neurons ``pre`` of this range,
    in ascending order. The weight that acts is ``sign * |weight|`` where a connection has a sign,
    and ``weight`` itself where ``sign`` is 0: no update can flip it.

    ``kernel`` selects how the product is computed, with the same result: "edges" uses the list of
    connections; "dense" writes it, strip by strip, into a dense matrix, which is faster when more
    than about a third of all possible connections exist.

    ``start`` gives the initial weights, ``(n_connections,)``; without it they are drawn by
    `reset_parameters`. The layer is made on ``device``, by default that of ``ptr`` or, if this is
    the CPU, torch's default device. Raises `ValueError` if the connections are malformed.
    """

    weight: nn.Parameter  # (n_connections,), before the sign is applied
    bias: nn.Parameter | None  # (n_post,)
    ptr: Tensor  # int32, (n_post + 1,)
    pre: Tensor  # int32, (n_connections,)
    sign: Tensor  # int8, () if all connections share it, else (n_connections,): +1, -1, 0 = free

    kind = "chemical"
    plain = False  # whether `multiply` always uses torch's own functions
    structure: tuple[str, ...] = ("ptr", "pre", "sign")

    def __init__(
        self,
        n_pre: int,
        ptr: Tensor,
        pre: Tensor,
        *,
        sign: Tensor | int = 0,
        bias: bool = False,
        kernel: str = "edges",
        start: Tensor | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if kernel not in KERNELS:
            raise ValueError(f"no kernel {kernel!r}; there are {', '.join(KERNELS)}")
        _check_connections(n_pre, ptr, pre)
        if device is None:
            device = torch.get_default_device() if ptr.device.type == "cpu" else ptr.device
        self.n_pre, self.n_post, self.kernel = n_pre, ptr.numel() - 1, kernel
        ptr, pre = (index.to("cpu", torch.int32).contiguous() for index in (ptr, pre))
        sign = _compact_sign(sign, pre.numel())
        # Asked once, not at each step: signs cannot change.
        self._any_sign, self._any_free = bool(sign.any()), bool((sign == 0).any())
        self.hold("cpu", ptr=ptr, pre=pre, sign=sign)
        self._plan()
        with warnings.catch_warnings():  # torch says once per process that its CSR is beta
            warnings.simplefilter("ignore")
            _csr(ptr, pre, torch.empty(pre.numel(), device="cpu"), n_pre)

        self.weight = nn.Parameter(torch.empty(pre.numel(), device=device, dtype=dtype))
        self.register_parameter(
            "bias",
            nn.Parameter(torch.empty(self.n_post, device=device, dtype=dtype)) if bias else None,
        )
        self.join(self.weight)
        if start is None or bias:
            self.reset_parameters()
        if start is not None:
            if start.shape != self.weight.shape:
                raise ValueError(f"start is {tuple(start.shape)}, not {tuple(self.weight.shape)}")
            with torch.no_grad():
                self.weight.copy_(start)

    def _plan(self) -> None:
        """Derive from the connections what the kernel needs; saved nowhere.

        "edges": the transpose, with ``tpost`` the targets of each source and ``order`` the place
        of each of these connections in the list. "dense": ``order`` is the place of each
        connection in the matrix of its strip.
        """
        device = self.ptr.device
        empty = torch.empty(0, dtype=torch.int32, device=device)
        degree = self.ptr.diff()
        post = torch.arange(self.n_post, dtype=torch.int32, device=device)
        post = post.repeat_interleave(degree, output_size=self.pre.numel())
        self.cuts: list[int] = []
        if self.kernel == "edges":
            pre, order = torch.sort(self.pre, stable=True)
            sources = torch.arange(self.n_pre + 1, dtype=torch.int32, device=device)
            tptr = torch.searchsorted(pre, sources, out_int32=True)
            tpost, order = post.index_select(0, order), order.to(torch.int32)
        else:
            tptr = tpost = empty
            self.cuts, order = _cut_strips(self.n_pre, self.ptr, self.pre, post)
        self.hold("cpu", tptr=tptr, tpost=tpost, order=order)

    def reset_parameters(self) -> None:
        """Draw weights and bias uniformly within ``1 / sqrt(in-degree of the target)``.

        That is what `nn.Linear` does, with the fan-in that exists. Weights that act by their size,
        since their connection has a sign, start at 0 or above: so a step that adds to a weight
        strengthens its synapse.
        """
        degree = self.ptr.diff()
        bound = degree.clamp(min=1).rsqrt()
        with torch.no_grad():
            per_connection = bound.repeat_interleave(degree, output_size=self.pre.numel())
            self.weight.uniform_(-1, 1).mul_(per_connection)
            start_as_sizes(self.weight, self.sign)
            if self.bias is not None:
                self.bias.uniform_(-1, 1).mul_(bound * (degree > 0))

    def effective_weight(self) -> Tensor:
        """Return the weights that act, ``(n_connections,)``; differentiable."""
        self.join(self.weight)
        return self._signed(self.weight)

    def _signed(self, weight: Tensor) -> Tensor:
        """Give weights, ``(n_connections,)``, the signs of their connections."""
        if not self._any_sign:
            return weight
        return size_with_sign(weight, self.sign, self._any_free)

    def sparse_weight(self) -> Tensor:
        """Return the weights that act as a coalesced sparse COO tensor, ``[post, pre]``."""
        weight = self.effective_weight()
        return torch.sparse_coo_tensor(
            torch.stack((self._targets(), self.pre.long())),
            weight,
            (self.n_post, self.n_pre),
            is_coalesced=True,
            check_invariants=False,
        )

    def _targets(self) -> Tensor:
        """Return the target of each connection: how many end before it, ``(n_connections,)``."""
        ends = self.ptr[1:].long()  # ONNX cannot repeat each target by its in-degree
        ended = ends.new_zeros(self.pre.numel() + 1).index_add(0, ends, torch.ones_like(ends))
        return ended.cumsum(0)[:-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map activity ``(..., n_pre)`` to drive ``(..., n_post)``."""
        return self.multiply(x, self.effective_weight())

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        """`forward` with a given `effective_weight`, to compute that once before a time loop."""
        if x.shape[-1:] != (self.n_pre,):
            raise ValueError(f"activity is {tuple(x.shape)}, expected (..., {self.n_pre})")
        dtype = torch.promote_types(x.dtype, weight.dtype)
        # The CPU has no sparse kernels for half precision, and float32 sums are the better ones.
        precision = torch.promote_types(dtype, torch.float32)
        columns = x.reshape(math.prod(x.shape[:-1]), self.n_pre).t().to(precision)
        weight = weight.to(precision)
        if self.plain or is_taken_apart(x, weight):
            y = plain_product(weight, self._targets(), self.pre, self.n_post, self.n_pre)(columns)
        else:
            y = connection_product(
                # The list is read with a row of memory per neuron; no copy if x came from a layer.
                columns if self.kernel == "dense" else columns.contiguous(),
                weight,
                self.ptr,
                self.pre,
                self.tptr,
                self.tpost,
                self.order,
                self.cuts,
                self.n_pre,
                False,
            )
        y = y.t().reshape(*x.shape[:-1], self.n_post).to(dtype)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        return (
            f"n_pre={self.n_pre}, n_post={self.n_post}, n_connections={self.pre.numel()}, "
            f"bias={self.bias is not None}, kernel={self.kernel!r}"
        )


@torch.no_grad()
def balance(layers: Iterable[tuple[Hashable, EdgeLinear]]) -> None:
    """Scale weights: of each unit those that excite sum to 1, those that inhibit to `INHIBITION`.

    Layers of one name add up to one drive, so one scale holds over all of their connections. Free
    weights, drawn for the in-degree in their layer, are scaled to that in all layers. A weight that
    is shared takes the mean of what its connections would. Biases are set to 0.
    """
    drives: dict[Hashable, list[EdgeLinear]] = {}
    for name, layer in layers:
        drives.setdefault(name, []).append(layer)
    for joined in drives.values():
        n = joined[0].n_post
        excitation, inhibition = joined[0].weight.new_zeros(2, n)
        degree = joined[0].ptr.new_zeros(n)
        for layer in joined:
            weight, post = layer.effective_weight(), _post(layer)
            excitation.index_add_(0, post, torch.where(layer.sign > 0, weight, 0))
            inhibition.index_add_(0, post, torch.where(layer.sign < 0, -weight, 0))
            degree += layer.ptr.diff()
        least = torch.finfo(excitation.dtype).tiny
        for layer in joined:
            post, share = _post(layer), (layer.ptr.diff() / degree.clamp(min=1)).sqrt()
            factor = torch.where(
                layer.sign == 0,
                share.index_select(0, post),
                torch.where(
                    layer.sign > 0,
                    1 / excitation.clamp(min=least).index_select(0, post),
                    INHIBITION / inhibition.clamp(min=least).index_select(0, post),
                ),
            )
            layer.weight.mul_(_of_weights(layer, factor))
            if layer.bias is not None:
                layer.bias.zero_()


@torch.no_grad()
def centre(read_in: nn.Module, n_maps: int) -> None:
    """Let what a read-in weighs of each map sum to 0: contrast is seen, not brightness.

    Features are ``n_maps`` maps, one after the other; those of a single place stay as they are. A
    read-in of low rank weighs them by ``inward``. The bias is set to 0.
    """
    weight = read_in.get_parameter("inward" if hasattr(read_in, "inward") else "weight")
    of_maps = weight.view(len(weight), n_maps, -1)
    if of_maps.shape[-1] > 1:
        of_maps.sub_(of_maps.mean(-1, keepdim=True))
    read_in.get_parameter("bias").zero_()


LEAST = 1e-5  # of the largest drive: what varies less does so by rounding

# Whether a transform of `torch.func` is running, such as grad or vmap; torch does not document it.
in_transform = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def has_shape(x: Tensor) -> bool:
    """Return whether ``x`` has a numeric shape; a `torch.fx` proxy or nested tensor does not."""
    return not isinstance(x, torch.fx.Proxy) and not x.is_nested


def is_stand_in(x: Tensor) -> bool:
    """Return whether a tensor has a shape but no numbers: on the meta device, or a fake one."""
    return x.is_meta or type(x) is not Tensor


def is_taken_apart(*tensors: Tensor) -> bool:
    """Return whether torch transforms, traces or exports a call, and so needs its own functions.

    What it compiles it takes as one step, but for ONNX, which has no others than torch's.
    """
    if torch.compiler.is_compiling():
        return torch.onnx.is_in_onnx_export()
    return (
        in_transform()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or any(torch.autograd.forward_ad.unpack_dual(x).tangent is not None for x in tensors)
    )


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


MANY = 10_000  # words among which the nearest take seconds to find


def size_with_sign(weight: Tensor, sign: Tensor | int, any_free: bool = False) -> Tensor:
    """Let a weight act by its magnitude, with its prescribed sign: ``sign * |weight|``.

    Where ``sign`` is 0 the weight is free and acts as it is; ``any_free`` says if there are any.
    """
    if is_taken_apart() and not in_transform():  # ONNX has no copysign, which is much faster
        return weight * torch.where(weight.detach() * sign < 0, -1, 1)
    # Written as weight * 1 or weight * -1, since `abs` has no slope at zero.
    signed = weight.detach() * sign
    if any_free:
        signed = signed + 0.0  # -0.0 becomes 0.0: a weight whose sign is free keeps its own
    return weight * torch.copysign(signed.new_ones(()), signed)


@torch.no_grad()
def start_as_sizes(weight: Tensor, sign: Tensor) -> None:
    """Let weights that act by their size, where ``sign`` is not 0, start at 0 or above: in place.

    None acts otherwise for it.
    """
    weight.copy_(torch.where(sign == 0, weight, weight.abs()))


OP_LIBRARY = "connectome_compiler_4e9ca08966b4"  # the torch.library namespace of the operators
KERNELS = ("edges", "dense")

# Columns are the samples of a batch: the kernels hold activity as (neurons, samples). A CSR product
# is faster for few of them, embedding_bag for many; measured on one x86 core.
EMBEDDING_BAG_COLUMNS = 12
TILE_COLUMNS = 64  # of embedding_bag: the rows that it gathers from should stay in the L2 cache

# A strip of the "dense" kernel: 2 MiB of float32 stay in the cache between their uses, and are far
# below the 32 MiB from which glibc maps and clears fresh pages at every step.
STRIP_CELLS = 2**19
PLAIN_CELLS = 2**22  # of a matrix that torch's own functions multiply by: 16 MiB of float32


def plain_product(
    weight: Tensor, post: Tensor, pre: Tensor, n_post: int, n_pre: int
) -> Callable[[Tensor], Tensor]:
    """Return the product with activity ``(n_pre, columns)``, in functions that are torch's own.

    So torch can transform, trace and export it, and differentiate it as often as one likes.
    Connection ``k`` leads from ``pre[k]`` to ``post[k]``.
    """
    if n_post * n_pre <= PLAIN_CELLS:
        cells = weight.new_zeros(n_post * n_pre).index_add(0, post * n_pre + pre, weight)
        matrix = cells.view(n_post, n_pre)
        return lambda x: matrix @ x

    def product(x: Tensor) -> Tensor:
        sent = x.index_select(0, pre) * weight.unsqueeze(1)
        return x.new_zeros(n_post, x.shape[1]).index_add(0, post, sent)

    return product


# Measured: at 1, which is balance at equal rates, up to a quarter of a population stays silent.
INHIBITION = 0.75  # sum of the weights that inhibit, where those that excite sum to 1


def _nearest(word: Any, words: Iterable[Any]) -> str:
    """Return a hint at what may have been meant."""
    known = {str(other): other for other in words if other is not None}
    nearest = difflib.get_close_matches(str(word), known if len(known) < MANY else [], 3)
    return f"; nearest: {', '.join(repr(known[other]) for other in nearest)}" if nearest else ""


def _coarseness(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps if dtype.is_floating_point else 0


def _same_numbers(stored: Tensor, own: Tensor) -> bool:
    """Return whether numbers are equal, or one of them is the other in a lower precision."""
    if torch.equal(stored.to(own.dtype), own):
        return True
    kinds = (torch.float32, torch.float16, torch.bfloat16) if own.is_floating_point() else ()
    return any(torch.equal(stored.double(), own.to(kind).double()) for kind in kinds)


def _operator(
    fake: Callable[..., Tensor], save: Callable[..., None], formula: Callable[..., Any]
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Make a function differentiable by ``formula``, in two ways that compute the same.

    As a torch operator of that name, which `torch.compile` and `torch.export` see as one step (an
    operator that is already registered is reused); and as an autograd function for all other calls,
    since the overhead of an operator written in Python exceeds the run time of a small layer.
    """

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @wraps(function)
        def in_full_precision(x: Tensor, *rest: Any) -> Tensor:
            if not torch.is_autocast_enabled(x.device.type):
                return function(x, *rest)
            with torch.autocast(x.device.type, enabled=False):
                return function(x, *rest)

        name = function.__name__
        library = getattr(torch.ops, OP_LIBRARY)
        if not hasattr(library, name):
            op = torch.library.custom_op(
                f"{OP_LIBRARY}::{name}", in_full_precision, mutates_args=()
            )
            op.register_fake(fake)
            op.register_autograd(
                lambda ctx, grad: formula(
                    ctx, grad, library.connection_product, library.connection_gradient
                ),
                setup_context=save,
            )
        operator = getattr(library, name).default

        class Eager(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *inputs: Any) -> Tensor:
                output = in_full_precision(*inputs)
                save(ctx, inputs, output)
                return output

            @staticmethod
            def backward(ctx: Any, grad: Tensor) -> Any:
                return formula(ctx, grad, connection_product, connection_gradient)

        class Transformed(torch.autograd.Function):
            """`Eager` in the form that `torch.func` requires, which is slower to call."""

            forward = staticmethod(in_full_precision)
            setup_context = staticmethod(save)
            backward = staticmethod(Eager.backward)

            @staticmethod
            def vmap(info: Any, dims: Any, *inputs: Any) -> tuple[Tensor, int]:
                pairs = list(zip(inputs, dims, strict=True))
                one_by_one = (  # simple, not fast: a batch belongs in the shape of the activity
                    call(*(x.select(d, k) if isinstance(d, int) else x for x, d in pairs))
                    for k in range(info.batch_size)
                )
                return torch.stack(list(one_by_one)), 0

        @wraps(function)
        def call(*inputs: Any) -> Tensor:
            if torch.compiler.is_compiling() or is_stand_in(inputs[0]):
                run = operator
            elif in_transform():
                run = Transformed.apply
            else:
                run = Eager.apply if torch.is_grad_enabled() else in_full_precision
            result: Tensor = run(*inputs)
            return result

        return call

    return register


def _csr(ptr: Tensor, index: Tensor, values: Tensor, n_columns: int) -> Tensor:
    return torch.sparse_csr_tensor(
        ptr,
        index,
        values,
        (ptr.numel() - 1, n_columns),
        device=values.device,  # else torch would take the default device
        check_invariants=False,
    )


def _edge_product(ptr: Tensor, index: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """Multiply a matrix in compressed rows by ``x`` ``(n, columns)``."""
    x = x.contiguous()
    if x.shape[1] == 1:
        return (_csr(ptr, index, values, x.shape[0]) @ x.squeeze(1)).unsqueeze(1)
    if x.is_cuda or x.shape[1] < EMBEDDING_BAG_COLUMNS:
        return _csr(ptr, index, values, x.shape[0]) @ x
    if x.shape[1] > TILE_COLUMNS:
        starts = range(0, x.shape[1], TILE_COLUMNS)
        tiles = [_edge_product(ptr, index, values, x[:, k : k + TILE_COLUMNS]) for k in starts]
        return torch.cat(tiles, 1)
    return nn.functional.embedding_bag(
        index, x, ptr, mode="sum", per_sample_weights=values, include_last_offset=True
    )


def _edge_gradient(ptr: Tensor, pre: Tensor, g: Tensor, x: Tensor) -> Tensor:
    """Return the entries of ``g @ x.T`` at the connections: ``(n_connections,)``."""
    if 1 < x.shape[1] < 8:  # torch is 5-10 times slower for 2 to 7 columns than for 8
        pad = (0, 8 - x.shape[1])
        g, x = nn.functional.pad(g, pad), nn.functional.pad(x, pad)
    out = _csr(ptr, pre, g.new_zeros(pre.numel()), x.shape[0])
    torch.sparse.sampled_addmm(out, g.contiguous(), x.contiguous().t(), beta=0.0, out=out)
    return out.values()


def _strips(strips: list[int]) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the targets, the sources and the connections of each strip."""
    for a, b, c, d, e, f in zip(*[iter(strips)] * 6, strict=True):
        yield slice(a, b), slice(c, d), slice(e, f)


def _strip_matrix(values: Tensor, cell: Tensor, n_post: int, n_pre: int) -> Tensor:
    """Write the weights of one strip into a dense matrix ``(n_post, n_pre)``."""
    if values.numel() == n_post * n_pre:  # all to all: the list is the matrix
        return values.view(n_post, n_pre)
    return values.new_zeros(n_post * n_pre).scatter_(0, cell, values).view(n_post, n_pre)


def _strip_product(
    x: Tensor, weight: Tensor, cell: Tensor, strips: list[int], n_out: int, transposed: bool
) -> Tensor:
    """Multiply by the matrix of all strips, or by its transpose, one dense product per strip."""
    rows = x.t()
    out = rows.new_zeros(rows.shape[0], n_out)
    for post, pre, edges in _strips(strips):
        shape = post.stop - post.start, pre.stop - pre.start
        matrix = _strip_matrix(weight[edges], cell[edges], *shape)
        if transposed:
            out[:, pre].addmm_(rows[:, post], matrix)
        else:
            torch.mm(rows[:, pre], matrix.t(), out=out[:, post])
    return out.t()


def _strip_gradient(cell: Tensor, strips: list[int], g: Tensor, x: Tensor) -> Tensor:
    """Return the entries of ``g @ x.T`` at the connections, one dense product per strip."""
    out = g.new_empty(cell.numel())
    for post, pre, edges in _strips(strips):
        product = (g[post] @ x[pre].t()).reshape(-1)
        if product.numel() == edges.stop - edges.start:
            out[edges] = product
        else:
            torch.index_select(product, 0, cell[edges], out=out[edges])
    return out


def _fake_product(
    x: Tensor,
    weight: Tensor,
    ptr: Tensor,
    pre: Tensor,
    tptr: Tensor,
    tpost: Tensor,
    order: Tensor,
    strips: list[int],
    n_pre: int,
    transposed: bool,
) -> Tensor:
    n_out = n_pre if transposed else ptr.shape[0] - 1
    if strips:
        return x.new_empty(x.shape[1], n_out).t()
    return x.new_empty(n_out, x.shape[1])


def _save_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:7])
    ctx.strips, ctx.n_pre, ctx.transposed = inputs[7:]


def _product_backward(
    ctx: Any, grad: Tensor, product: Callable[..., Tensor], gradient: Callable[..., Tensor]
) -> tuple[Tensor | None, ...]:
    x, weight, *index = ctx.saved_tensors
    structure = *index, ctx.strips, ctx.n_pre
    grad_x = grad_weight = None
    if ctx.needs_input_grad[0]:
        grad_x = product(grad, weight, *structure, not ctx.transposed)
    if ctx.needs_input_grad[1]:
        g, x = (x, grad) if ctx.transposed else (grad, x)
        grad_weight = gradient(g, x, *structure)
    return grad_x, grad_weight, *[None] * 8


@_operator(_fake_product, _save_product, _product_backward)
def connection_product(
    x: Tensor,
    weight: Tensor,
    ptr: Tensor,
    pre: Tensor,
    tptr: Tensor,
    tpost: Tensor,
    order: Tensor,
    strips: list[int],
    n_pre: int,
    transposed: bool,
) -> Tensor:
    """Multiply activity by the weights of the connections, from pre to post or ``transposed``.

    ``x`` is ``(n_pre, columns)`` and the result ``(n_post, columns)``; transposed, the other way
    round. ``strips`` is empty for the "edges" kernel; `EdgeLinear._plan` explains the rest.
    """
    n_post = ptr.numel() - 1
    n_out = n_pre if transposed else n_post
    if not (weight.numel() and x.numel()):
        return _fake_product(
            x, weight, ptr, pre, tptr, tpost, order, strips, n_pre, transposed
        ).zero_()
    if not strips:
        if transposed:
            return _edge_product(tptr, tpost, weight.index_select(0, order), x)
        return _edge_product(ptr, pre, weight, x)
    if x.is_cuda or math.isfinite(x.sum().item()):  # a GPU would have to wait for the sum
        return _strip_product(x, weight, order, strips, n_out, transposed)
    # 0 * nan is nan: in a dense matrix one bad neuron would reach those it has no connection to.
    layout = torch.sparse_csc_tensor if transposed else torch.sparse_csr_tensor
    size = (n_out, x.shape[0])
    matrix = layout(ptr, pre, weight, size, device=weight.device, check_invariants=False)
    return (matrix @ x.contiguous()).t().contiguous().t()


def _fake_gradient(
    g: Tensor,
    x: Tensor,
    ptr: Tensor,
    pre: Tensor,
    tptr: Tensor,
    tpost: Tensor,
    order: Tensor,
    strips: list[int],
    n_pre: int,
) -> Tensor:
    return g.new_empty(pre.shape[0])


def _save_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:7])
    ctx.strips, ctx.n_pre = inputs[7:]


def _gradient_backward(
    ctx: Any, grad: Tensor, product: Callable[..., Tensor], gradient: Callable[..., Tensor]
) -> tuple[Tensor | None, ...]:
    g, x, *index = ctx.saved_tensors
    structure = *index, ctx.strips, ctx.n_pre
    grad_g = grad_x = None
    if ctx.needs_input_grad[0]:
        grad_g = product(x, grad, *structure, False)
    if ctx.needs_input_grad[1]:
        grad_x = product(g, grad, *structure, True)
    return grad_g, grad_x, *[None] * 7


@_operator(_fake_gradient, _save_gradient, _gradient_backward)
def connection_gradient(
    g: Tensor,
    x: Tensor,
    ptr: Tensor,
    pre: Tensor,
    tptr: Tensor,
    tpost: Tensor,
    order: Tensor,
    strips: list[int],
    n_pre: int,
) -> Tensor:
    """Return ``(g @ x.T)[post, pre]`` at the connections only: ``(n_connections,)``.

    ``g`` is ``(n_post, columns)``, ``x`` is ``(n_pre, columns)``.
    """
    if strips:
        return _strip_gradient(order, strips, g, x)
    return _edge_gradient(ptr, pre, g, x)


def _check_connections(n_pre: int, ptr: Tensor, pre: Tensor) -> None:
    """Raise `ValueError` unless the connections are sorted by post, then pre, and unique."""
    for name, index in (("ptr", ptr), ("pre", pre)):
        if index.dim() != 1 or index.is_floating_point() or index.dtype == torch.bool:
            raise ValueError(f"{name} must be a list of integers")
    if ptr.is_meta or pre.is_meta:
        raise ValueError("ptr and pre have no numbers on the meta device: give device='meta'")
    n_connections = pre.numel()
    if not ptr.numel() or int(ptr[0]) != 0 or int(ptr[-1]) != n_connections:
        raise ValueError(f"ptr must go from 0 to the number of connections, {n_connections}")
    if bool((ptr[1:] < ptr[:-1]).any()):
        raise ValueError("ptr must not decrease")
    if not n_connections:
        return
    low, high = (int(end) for end in pre.aminmax())
    if low < 0 or high >= n_pre:
        raise ValueError(f"pre must lie in 0..{n_pre - 1}, found {low}..{high}")
    ascending = torch.cat((pre.new_zeros(1, dtype=torch.bool), pre[1:] > pre[:-1]))
    ascending[ptr[:-1][ptr.diff() > 0].long()] = True  # the first source of a target may be any
    if not bool(ascending.all()):
        raise ValueError("pre must ascend within each target, without repeats")


def _compact_sign(sign: Tensor | int, n_connections: int) -> Tensor:
    """Return signs as int8, ``(n_connections,)``, or ``()`` when they are all the same."""
    if not isinstance(sign, Tensor):
        sign = torch.tensor(sign, device="cpu")
    if sign.shape not in ((), (n_connections,)):
        raise ValueError(f"sign is {tuple(sign.shape)}, expected () or ({n_connections},)")
    low, high = (int(end) for end in sign.aminmax()) if sign.numel() else (0, 0)
    if low < -1 or high > 1:
        raise ValueError("sign must be +1, -1 or 0")
    if low == high:
        return torch.tensor(low, dtype=torch.int8, device=sign.device)
    return sign.to(torch.int8).contiguous()


def _cut_strips(n_pre: int, ptr: Tensor, pre: Tensor, post: Tensor) -> tuple[list[int], Tensor]:
    """Cut the matrix into strips of targets, each over the range of sources that it uses.

    Returns six numbers per strip (first and last target, source, connection; the last excluded)
    and, for each connection, its place in the matrix of its strip.
    """
    n_post = ptr.numel() - 1
    height = max(1, min(n_post, STRIP_CELLS // max(1, n_pre)))
    strips, cells = [], []
    for first in range(0, n_post, height):
        last = min(first + height, n_post)
        start, stop = int(ptr[first]), int(ptr[last])
        if start == stop:
            continue
        sources = pre[start:stop].long()
        low, high = (int(end) for end in sources.aminmax())
        strips += [first, last, low, high + 1, start, stop]
        cells.append((post[start:stop] - first).long() * (high + 1 - low) + sources - low)
    return strips, torch.cat(cells) if cells else pre.long()


def _post(layer: EdgeLinear) -> Tensor:
    """Return the target of each connection."""
    post = torch.arange(layer.n_post, device=layer.ptr.device)
    return post.repeat_interleave(layer.ptr.diff(), output_size=layer.pre.numel())


def _of_weights(layer: EdgeLinear, factor: Tensor) -> Tensor:
    """Return the factor of each weight from those of connections: the mean, where it is shared."""
    group: Tensor | None = getattr(layer, "group", None)
    if group is None:
        return factor
    none = torch.zeros_like(layer.weight)
    n_sharing = none.index_add(0, group, torch.ones_like(factor))
    return none.index_add(0, group, factor) / n_sharing.clamp(min=1)


# --- provenance -----------------------------------------------------------------------------------

PROVENANCE: dict[str, Any] = {
    "name": "toy-column", "dataset": "toy", "version": "1", "title": "A toy column",
    "measured": False, "connectivity": "modelled", "made": "", "signs": "modelled",
    "licence": "CC0", "citations": [], "files": [],
    "steps": [
        {"name": "assign-signs",
         "options": 'column="", excitatory=["excitatory"], inhibitory=["inhibitory"], species=""',
         "neurons": [16, 16], "connections": [67, 67],
         "notes": ["12 excitatory, 4 inhibitory, 0 without sign (by cell_class)"]},
        {"name": "apply-dale", "options": 'policy="majority", unsigned="keep"', "neurons": [16, 16],
         "connections": [67, 67],
         "notes": ["0 connections violate Dale's principle", "0 connections of unknown sign"]},
        {"name": "laminar-partition",
         "options": 'order=["L4", "L2/3+L1", "L5", "L6"], others="error"', "neurons": [16, 16],
         "connections": [67, 67],
         "notes": [
             "L4.inh 1, L4.exc 3, L2/3.inh 1, L2/3.exc 3, L5.inh 1, L5.exc 3, L6.inh 1, L6.exc 3",
             "no neurons in L1"]},
        {"name": "set-node-model",
         "options": 'activation="relu", normalisation="rms", noise_std=0.0', "neurons": [16, 16],
         "connections": [67, 67], "notes": []},
        {"name": "fold-inhibition",
         "options": 'policy="units", measure="synapses", form="multiplicative", strength=0.5',
         "neurons": [16, 16], "connections": [67, 67], "notes": ["4 inhibitory units kept"]},
        {"name": "split-flow", "options": 'skip="keep", within="keep", feedback="keep"',
         "neurons": [16, 16], "connections": [67, 67],
         "notes": ["kept: 13 forward, 10 skip, 19 within, 25 feedback"]},
        {"name": "attach-ports",
         "options": 'inputs=8, outputs=3, into="auto", out_of="auto", read_in="linear", '
                    'read_out="linear", image=[1, 8, 8]',
         "neurons": [16, 16], "connections": [67, 67],
         "notes": ["4 of 16 neurons are driven: L4.inh, L4.exc",
                   "3 of 16 neurons are read: L6.exc"]}],
    "template": "bionic(filters=[8, 16], lateral_inhibition=0.1, attention=true, steps=0, "
                'read_in="dense", read_in_window=3, read_in_rank=8, balanced=true, kernel="auto", '
                'batch=32, allow_free_signs=false, keep=[], class_name="")',
    "populations": {"columns": ["name", "units", "layer"],
        "each": {"axons_read": None, "normalisation": "rms", "noise_std": 0.0,
                 "inhibition": "none"},
        "rows": [
            ["L4.inh", 1, "l4_inh"], ["L4.exc", 3, "l4_exc"], ["L2/3.inh", 1, "l2_3_inh"],
            ["L2/3.exc", 3, "l2_3_exc"], ["L5.inh", 1, "l5_inh"], ["L5.exc", 3, "l5_exc"],
            ["L6.inh", 1, "l6_inh"], ["L6.exc", 3, "l6_exc"]]},
    "projections": {
        "columns": ["key", "shape", "delay", "connections", "density", "excitatory", "inhibitory",
                    "indices_sha256"],
        "each": {"unknown": 0, "free": 0},
        "rows": [
            ["L4.inh->L4.inh", [1, 1], 1, 1, 0.0, 0, 1,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L4.exc->L4.inh", [1, 3], 1, 1, 0.333333, 1, 0,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L2/3.inh->L4.inh", [1, 1], 1, 1, 1.0, 0, 1,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L2/3.exc->L4.inh", [1, 3], 1, 1, 0.333333, 1, 0,
             "5e99716a539d47054f2626f5140ee9860108e5efd960411f23f9300801c29a9a"],
            ["L5.inh->L4.inh", [1, 1], 1, 1, 1.0, 0, 1,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L5.exc->L4.inh", [1, 3], 1, 1, 0.333333, 1, 0,
             "4fc58fa9100d40fc12c53b4f3892590e1b554b510b979db7b4c16fc80ab7cd5e"],
            ["L6.exc->L4.inh", [1, 3], 1, 2, 0.666667, 2, 0,
             "405d62716154e962bf4a4ebb278e0f7c94e0739cb556f3e2f8bce5979f003876"],
            ["L4.inh->L4.exc", [3, 1], 0, 1, 0.333333, 0, 1,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L4.exc->L4.exc", [3, 3], 1, 4, 0.666667, 4, 0,
             "d972dc8d979b9d797ec6faf5f05dc6e4e733d23ecc5b53424c2d5fa730967d3c"],
            ["L2/3.exc->L4.exc", [3, 3], 1, 2, 0.222222, 2, 0,
             "5ba7e28cb8310674c5b7085bbf16c61504e499fda38b9d43ced4a9254993a1c7"],
            ["L5.inh->L4.exc", [3, 1], 1, 1, 0.333333, 0, 1,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L6.inh->L4.exc", [3, 1], 1, 1, 0.333333, 0, 1,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L6.exc->L4.exc", [3, 3], 1, 2, 0.222222, 2, 0,
             "d330a56a4be01c5e5fa52026053b750422def5f42f15a8d9dbcafb1c21e819d1"],
            ["L4.exc->L2/3.inh", [1, 3], 0, 1, 0.333333, 1, 0,
             "5e99716a539d47054f2626f5140ee9860108e5efd960411f23f9300801c29a9a"],
            ["L2/3.inh->L2/3.inh", [1, 1], 1, 1, 0.0, 0, 1,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L2/3.exc->L2/3.inh", [1, 3], 1, 1, 0.333333, 1, 0,
             "5e99716a539d47054f2626f5140ee9860108e5efd960411f23f9300801c29a9a"],
            ["L6.inh->L2/3.inh", [1, 1], 1, 1, 1.0, 0, 1,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L6.exc->L2/3.inh", [1, 3], 1, 2, 0.666667, 2, 0,
             "d1edfda93446f206fcdfe244f2b73f397b6d33afad804a54d33b2633d071ba6a"],
            ["L4.exc->L2/3.exc", [3, 3], 0, 3, 0.333333, 3, 0,
             "5da301e9da3e5c7d60f12bb6af75f03721fcaafa7b21e99a7e44972ae66f43a1"],
            ["L2/3.exc->L2/3.exc", [3, 3], 1, 2, 0.333333, 2, 0,
             "51050247bcba412515e4ebeb51109f87cb4baaef35e7483671e2fa6189f3f193"],
            ["L5.exc->L2/3.exc", [3, 3], 1, 2, 0.222222, 2, 0,
             "b1d5eff9ba01c32eeac64d3468ef1f8b2c186ff718acec92d79f39387f4873ca"],
            ["L6.inh->L2/3.exc", [3, 1], 1, 1, 0.333333, 0, 1,
             "085049f12bf8082bb0cdc6d7ff8c3baf958f53a36736763b4fd10a7bec46d195"],
            ["L6.exc->L2/3.exc", [3, 3], 1, 2, 0.222222, 2, 0,
             "b1d5eff9ba01c32eeac64d3468ef1f8b2c186ff718acec92d79f39387f4873ca"],
            ["L2/3.exc->L5.inh", [1, 3], 0, 2, 0.666667, 2, 0,
             "405d62716154e962bf4a4ebb278e0f7c94e0739cb556f3e2f8bce5979f003876"],
            ["L5.exc->L5.inh", [1, 3], 1, 1, 0.333333, 1, 0,
             "5e99716a539d47054f2626f5140ee9860108e5efd960411f23f9300801c29a9a"],
            ["L6.exc->L5.inh", [1, 3], 1, 1, 0.333333, 1, 0,
             "4fc58fa9100d40fc12c53b4f3892590e1b554b510b979db7b4c16fc80ab7cd5e"],
            ["L4.exc->L5.exc", [3, 3], 0, 3, 0.333333, 3, 0,
             "fb13fcf0330e69ac6595e7c1be6b1b1cd0bb952387df8818229ea58ca378d437"],
            ["L2/3.exc->L5.exc", [3, 3], 0, 3, 0.333333, 3, 0,
             "32af148127488e6aac013dcc6edefc61aed9af66b67a2e6eba5144ffa179cd9f"],
            ["L5.exc->L5.exc", [3, 3], 1, 2, 0.333333, 2, 0,
             "c605f9266a281a0a22d06e5a19332c0d1c27e1f8219f5fb960d30a27cdcca805"],
            ["L6.inh->L5.exc", [3, 1], 1, 2, 0.666667, 0, 2,
             "ca8862a5debca24b7c9a4787caf0feb651738836863b371f4a9c1f0650d50be5"],
            ["L6.exc->L5.exc", [3, 3], 1, 2, 0.222222, 2, 0,
             "60bc54910a67dee8c98a42d6076121021084864744452c1e67214ffd57cfcb32"],
            ["L4.exc->L6.inh", [1, 3], 0, 1, 0.333333, 1, 0,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L5.exc->L6.inh", [1, 3], 0, 1, 0.333333, 1, 0,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L4.inh->L6.exc", [3, 1], 0, 1, 0.333333, 0, 1,
             "085049f12bf8082bb0cdc6d7ff8c3baf958f53a36736763b4fd10a7bec46d195"],
            ["L4.exc->L6.exc", [3, 3], 0, 2, 0.222222, 2, 0,
             "cd185bd0d3988539963ff259604acf8ee17343e8d0a7618d9c3c09e3895aa124"],
            ["L2/3.exc->L6.exc", [3, 3], 0, 3, 0.333333, 3, 0,
             "3c4bb76f431608eeaaa4bbd18b8c21e37e2bb54ff770546265c5b48beda7f676"],
            ["L5.inh->L6.exc", [3, 1], 0, 1, 0.333333, 0, 1,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["L5.exc->L6.exc", [3, 3], 0, 2, 0.222222, 2, 0,
             "d330a56a4be01c5e5fa52026053b750422def5f42f15a8d9dbcafb1c21e819d1"],
            ["L6.inh->L6.exc", [3, 1], 0, 2, 0.666667, 0, 2,
             "ca8862a5debca24b7c9a4787caf0feb651738836863b371f4a9c1f0650d50be5"],
            ["L6.exc->L6.exc", [3, 3], 1, 3, 0.333333, 3, 0,
             "b365cbda7dc957cebaeb04ad7f0c1132dd3f08385627b0395a06c6fc88bbf1e0"]]},
    "read_in": {"L4.inh": "image_to_l4_inh", "L4.exc": "image_to_l4_exc"},
    "read_out": {"L6.exc": "l6_exc_to_classes"}, "sweeps": 3,
    "options": {"channels": 1, "image_size": 8, "classes": 3, "filters": [8, 16],
        "lateral_inhibition": 0.1, "attention": True, "normalisation": "rms", "noise_std": 0.0,
        "within": True, "steps": 3, "balanced": True},
    "seen": {"by": "dense"},
    "state": {"columns": ["shape"], "each": {},
        "rows": {"front_end.conv1.weight": [[8, 1, 3, 3], {"start": "uniform", "fan_in": 9}],
            "front_end.conv1.bias": [[8], {"start": "uniform", "fan_in": 9}],
            "front_end.conv2.weight": [[16, 8, 3, 3], {"start": "uniform", "fan_in": 72}],
            "front_end.conv2.bias": [[16], {"start": "uniform", "fan_in": 72}],
            "front_end.attention.squeeze.weight": [[4, 16], {"start": "uniform", "fan_in": 16}],
            "front_end.attention.excite.weight": [[16, 4], {"start": "uniform", "fan_in": 4}],
            "front_end.attention.place.weight": [[1, 2, 7, 7], {"start": "uniform", "fan_in": 98}],
            "image_to_l4_inh.weight": [[1, 64], {"start": "uniform", "fan_in": 64}],
            "image_to_l4_inh.bias": [[1], {"start": "uniform", "fan_in": 64}],
            "image_to_l4_exc.weight": [[3, 64], {"start": "uniform", "fan_in": 64}],
            "image_to_l4_exc.bias": [[3], {"start": "uniform", "fan_in": 64}],
            "l6_exc_to_classes.weight": [[3, 3], {"start": "uniform", "fan_in": 3}],
            "l6_exc_to_classes.bias": [[3], {"start": "uniform", "fan_in": 3}],
            "l4_inh_to_l4_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_inh_to_l4_inh.ptr": [[2], {"held": True}],
            "l4_inh_to_l4_inh.pre": [[1], {"held": True}],
            "l4_inh_to_l4_inh.sign": [[], {"held": True}],
            "l4_exc_to_l4_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l4_inh.ptr": [[2], {"held": True}],
            "l4_exc_to_l4_inh.pre": [[1], {"held": True}],
            "l4_exc_to_l4_inh.sign": [[], {"held": True}],
            "l2_3_inh_to_l4_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_inh_to_l4_inh.ptr": [[2], {"held": True}],
            "l2_3_inh_to_l4_inh.pre": [[1], {"held": True}],
            "l2_3_inh_to_l4_inh.sign": [[], {"held": True}],
            "l2_3_exc_to_l4_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_exc_to_l4_inh.ptr": [[2], {"held": True}],
            "l2_3_exc_to_l4_inh.pre": [[1], {"held": True}],
            "l2_3_exc_to_l4_inh.sign": [[], {"held": True}],
            "l5_inh_to_l4_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l5_inh_to_l4_inh.ptr": [[2], {"held": True}],
            "l5_inh_to_l4_inh.pre": [[1], {"held": True}],
            "l5_inh_to_l4_inh.sign": [[], {"held": True}],
            "l5_exc_to_l4_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l5_exc_to_l4_inh.ptr": [[2], {"held": True}],
            "l5_exc_to_l4_inh.pre": [[1], {"held": True}],
            "l5_exc_to_l4_inh.sign": [[], {"held": True}],
            "l6_exc_to_l4_inh.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_exc_to_l4_inh.ptr": [[2], {"held": True}],
            "l6_exc_to_l4_inh.pre": [[2], {"held": True}],
            "l6_exc_to_l4_inh.sign": [[], {"held": True}],
            "l4_inh_to_l4_exc.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_inh_to_l4_exc.ptr": [[4], {"held": True}],
            "l4_inh_to_l4_exc.pre": [[1], {"held": True}],
            "l4_inh_to_l4_exc.sign": [[], {"held": True}],
            "l4_exc_to_l4_exc.weight": [[4], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l4_exc.ptr": [[4], {"held": True}],
            "l4_exc_to_l4_exc.pre": [[4], {"held": True}],
            "l4_exc_to_l4_exc.sign": [[], {"held": True}],
            "l2_3_exc_to_l4_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_exc_to_l4_exc.ptr": [[4], {"held": True}],
            "l2_3_exc_to_l4_exc.pre": [[2], {"held": True}],
            "l2_3_exc_to_l4_exc.sign": [[], {"held": True}],
            "l5_inh_to_l4_exc.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l5_inh_to_l4_exc.ptr": [[4], {"held": True}],
            "l5_inh_to_l4_exc.pre": [[1], {"held": True}],
            "l5_inh_to_l4_exc.sign": [[], {"held": True}],
            "l6_inh_to_l4_exc.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_inh_to_l4_exc.ptr": [[4], {"held": True}],
            "l6_inh_to_l4_exc.pre": [[1], {"held": True}],
            "l6_inh_to_l4_exc.sign": [[], {"held": True}],
            "l6_exc_to_l4_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_exc_to_l4_exc.ptr": [[4], {"held": True}],
            "l6_exc_to_l4_exc.pre": [[2], {"held": True}],
            "l6_exc_to_l4_exc.sign": [[], {"held": True}],
            "l4_exc_to_l2_3_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l2_3_inh.bias": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l2_3_inh.ptr": [[2], {"held": True}],
            "l4_exc_to_l2_3_inh.pre": [[1], {"held": True}],
            "l4_exc_to_l2_3_inh.sign": [[], {"held": True}],
            "l2_3_inh_to_l2_3_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_inh_to_l2_3_inh.ptr": [[2], {"held": True}],
            "l2_3_inh_to_l2_3_inh.pre": [[1], {"held": True}],
            "l2_3_inh_to_l2_3_inh.sign": [[], {"held": True}],
            "l2_3_exc_to_l2_3_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_exc_to_l2_3_inh.ptr": [[2], {"held": True}],
            "l2_3_exc_to_l2_3_inh.pre": [[1], {"held": True}],
            "l2_3_exc_to_l2_3_inh.sign": [[], {"held": True}],
            "l6_inh_to_l2_3_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_inh_to_l2_3_inh.ptr": [[2], {"held": True}],
            "l6_inh_to_l2_3_inh.pre": [[1], {"held": True}],
            "l6_inh_to_l2_3_inh.sign": [[], {"held": True}],
            "l6_exc_to_l2_3_inh.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_exc_to_l2_3_inh.ptr": [[2], {"held": True}],
            "l6_exc_to_l2_3_inh.pre": [[2], {"held": True}],
            "l6_exc_to_l2_3_inh.sign": [[], {"held": True}],
            "l4_exc_to_l2_3_exc.weight": [[3], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l2_3_exc.bias": [[3], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l2_3_exc.ptr": [[4], {"held": True}],
            "l4_exc_to_l2_3_exc.pre": [[3], {"held": True}],
            "l4_exc_to_l2_3_exc.sign": [[], {"held": True}],
            "l2_3_exc_to_l2_3_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_exc_to_l2_3_exc.ptr": [[4], {"held": True}],
            "l2_3_exc_to_l2_3_exc.pre": [[2], {"held": True}],
            "l2_3_exc_to_l2_3_exc.sign": [[], {"held": True}],
            "l5_exc_to_l2_3_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l5_exc_to_l2_3_exc.ptr": [[4], {"held": True}],
            "l5_exc_to_l2_3_exc.pre": [[2], {"held": True}],
            "l5_exc_to_l2_3_exc.sign": [[], {"held": True}],
            "l6_inh_to_l2_3_exc.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_inh_to_l2_3_exc.ptr": [[4], {"held": True}],
            "l6_inh_to_l2_3_exc.pre": [[1], {"held": True}],
            "l6_inh_to_l2_3_exc.sign": [[], {"held": True}],
            "l6_exc_to_l2_3_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_exc_to_l2_3_exc.ptr": [[4], {"held": True}],
            "l6_exc_to_l2_3_exc.pre": [[2], {"held": True}],
            "l6_exc_to_l2_3_exc.sign": [[], {"held": True}],
            "l2_3_exc_to_l5_inh.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_exc_to_l5_inh.bias": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_exc_to_l5_inh.ptr": [[2], {"held": True}],
            "l2_3_exc_to_l5_inh.pre": [[2], {"held": True}],
            "l2_3_exc_to_l5_inh.sign": [[], {"held": True}],
            "l5_exc_to_l5_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l5_exc_to_l5_inh.ptr": [[2], {"held": True}],
            "l5_exc_to_l5_inh.pre": [[1], {"held": True}],
            "l5_exc_to_l5_inh.sign": [[], {"held": True}],
            "l6_exc_to_l5_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_exc_to_l5_inh.ptr": [[2], {"held": True}],
            "l6_exc_to_l5_inh.pre": [[1], {"held": True}],
            "l6_exc_to_l5_inh.sign": [[], {"held": True}],
            "l4_exc_to_l5_exc.weight": [[3], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l5_exc.bias": [[3], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l5_exc.ptr": [[4], {"held": True}],
            "l4_exc_to_l5_exc.pre": [[3], {"held": True}],
            "l4_exc_to_l5_exc.sign": [[], {"held": True}],
            "l2_3_exc_to_l5_exc.weight": [[3], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_exc_to_l5_exc.ptr": [[4], {"held": True}],
            "l2_3_exc_to_l5_exc.pre": [[3], {"held": True}],
            "l2_3_exc_to_l5_exc.sign": [[], {"held": True}],
            "l5_exc_to_l5_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l5_exc_to_l5_exc.ptr": [[4], {"held": True}],
            "l5_exc_to_l5_exc.pre": [[2], {"held": True}],
            "l5_exc_to_l5_exc.sign": [[], {"held": True}],
            "l6_inh_to_l5_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_inh_to_l5_exc.ptr": [[4], {"held": True}],
            "l6_inh_to_l5_exc.pre": [[2], {"held": True}],
            "l6_inh_to_l5_exc.sign": [[], {"held": True}],
            "l6_exc_to_l5_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_exc_to_l5_exc.ptr": [[4], {"held": True}],
            "l6_exc_to_l5_exc.pre": [[2], {"held": True}],
            "l6_exc_to_l5_exc.sign": [[], {"held": True}],
            "l4_exc_to_l6_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l6_inh.bias": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l6_inh.ptr": [[2], {"held": True}],
            "l4_exc_to_l6_inh.pre": [[1], {"held": True}],
            "l4_exc_to_l6_inh.sign": [[], {"held": True}],
            "l5_exc_to_l6_inh.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l5_exc_to_l6_inh.ptr": [[2], {"held": True}],
            "l5_exc_to_l6_inh.pre": [[1], {"held": True}],
            "l5_exc_to_l6_inh.sign": [[], {"held": True}],
            "l4_inh_to_l6_exc.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_inh_to_l6_exc.bias": [[3], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_inh_to_l6_exc.ptr": [[4], {"held": True}],
            "l4_inh_to_l6_exc.pre": [[1], {"held": True}],
            "l4_inh_to_l6_exc.sign": [[], {"held": True}],
            "l4_exc_to_l6_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l4_exc_to_l6_exc.ptr": [[4], {"held": True}],
            "l4_exc_to_l6_exc.pre": [[2], {"held": True}],
            "l4_exc_to_l6_exc.sign": [[], {"held": True}],
            "l2_3_exc_to_l6_exc.weight": [[3], {"start": "uniform", "fan_in": "in-degree"}],
            "l2_3_exc_to_l6_exc.ptr": [[4], {"held": True}],
            "l2_3_exc_to_l6_exc.pre": [[3], {"held": True}],
            "l2_3_exc_to_l6_exc.sign": [[], {"held": True}],
            "l5_inh_to_l6_exc.weight": [[1], {"start": "uniform", "fan_in": "in-degree"}],
            "l5_inh_to_l6_exc.ptr": [[4], {"held": True}],
            "l5_inh_to_l6_exc.pre": [[1], {"held": True}],
            "l5_inh_to_l6_exc.sign": [[], {"held": True}],
            "l5_exc_to_l6_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l5_exc_to_l6_exc.ptr": [[4], {"held": True}],
            "l5_exc_to_l6_exc.pre": [[2], {"held": True}],
            "l5_exc_to_l6_exc.sign": [[], {"held": True}],
            "l6_inh_to_l6_exc.weight": [[2], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_inh_to_l6_exc.ptr": [[4], {"held": True}],
            "l6_inh_to_l6_exc.pre": [[2], {"held": True}],
            "l6_inh_to_l6_exc.sign": [[], {"held": True}],
            "l6_exc_to_l6_exc.weight": [[3], {"start": "uniform", "fan_in": "in-degree"}],
            "l6_exc_to_l6_exc.ptr": [[4], {"held": True}],
            "l6_exc_to_l6_exc.pre": [[3], {"held": True}],
            "l6_exc_to_l6_exc.sign": [[], {"held": True}]}},
    "neurons": {"neuron_id": "4643d0888535c25742c8c0f28a7467776796ea2fb32b58dd84507748ffc91d1c",
        "cell_class": "3097c528aa386e300dcbb46272716b579e2aec1b9a42e8fe502a98bf182982be",
        "cortical_layer": "951c4ee9bd7f35d9575648b6daadb592f1667aac86a368695e21dd02be24c14c"},
    "graph_sha256": "b52c47f91ac3d8b5db8366e90c2448f8a48f1a8aa21d8c66d129d6101f704a79",
    "header_sha256": "e594d65d3d05e095676695b2abf5dcd0e242764498aeb75f97197169fca923f1",
    "compiler": "connectome-compiler 0.1.0", "statement": 4,
    "sha256": "688bfedd61f897fbb75692d27b4e2942fc929a8e320ef38e301b5dd9530b8374",
}  # fmt: skip

# --- data -----------------------------------------------------------------------------------------

ARRAYS_SHA256 = "79fb80486214f21278f59ea20f5935875185661bc467e60728c245882b095231"
ARRAYS = """
eNqlmM9u2zAMxp1277Dr4DPXyRJFyzvsPmAPMGAohqJ/0F22os1hQ9F335fV6SyZbkI5QBDHcX7++EkkZX192/x7PbZf/Idw
dv378v2n/dHZ3f11+/Gxvdr+ucNB+zn4ltqH24vdt2/+nNqri+3F9183Nw/X2weccpTOn0glbe+XSTwnJfKsoH78vH1dVDdH
eSafllivyVIC9ImCFCyusioIMesko1XMJG5GqnFKHAnrJKNPwtT7ghQP+xTmpN5TYp1knVJMnXMz1EGjlPDAASvpLKNV4FDX
lZNKqswCh7rZZJcqu8ChbjJFEduKJAQJtLREs3rG0BaloNVNenComyRQxrLqQgZ18hwlW2qpNpaCGJPTWdaxTNA1yIxV5dcg
5J3TWdZyijzyLvfriHLKGgkdY2wZvKqc+l2/YFeQ6hoPomPWSFafkD0++oxUV05BIS+skaw+ya6v5j5JVSsEBaSkkayaEvqz
44JUM3aggJQ0knHsQKHQ7XNvX10O+qRpQnUP3mkko0+gUAilpiqfsI4J7DSS1SdkS+CUkaTOJ3SH8JItGcnqE7IljPU8rlwb
g0OhF51l1dXD9cFnrMrxGxDhIBrJOn7oCzzmXjy+RikkUIg7r5GsS+POE/tUkGp8AoU4eI1k9AkUrPxdRqqrm6CAlDSS+REC
0QkXpCqf0BVYkkay+oR84Zd8WVM3QSFOTiNZfUKn4qHUVOUTsiU6p5GMPoECUspIdXUTFIovebemboJCccw7WVk3waE49ipZ
WTfBoTh2BrGsgzVd6A1xfG6QletgcMDK/arbVgCFYi8ayeoVsiYOviBVOYUeI85pJOu2Aua6uNynuh4DCkknGsnoEygkwRek
qu0XdAYJopGsPmGey/jkIat2FGS3uxRFI1l9wnO29Huf/j//11QqcMASnWXVhXkuw1xX1QjuZvogOss6hugQveOMVdf/QAEp
aSSjV6BQ73NNdfkHCvXBaySrJmRNz3l0despUKiPopGsmjDX+91cf3q3aZpm87zF3uyPT4pz089m/L285mTynp47nRw3k8+m
uPZ0fDfK/TYL/53yS/3ltbvr3ijMUtupolljlvo2C5qbI86Vvi3FqsWpfbfq035vFH+m2pbuX/qp3ffkgPbpWLzm4TExaGNX
nv8LmA8IyA==
"""  # safetensors, deflated, in base64


def read_arrays() -> dict[str, Tensor]:
    """Return what comes from data: the rows and sources of the connections, signs and so on.

    Raises `RuntimeError` if it is not what this module was written with.
    """
    data = zlib.decompress(base64.b64decode(ARRAYS))
    where = f"ARRAYS in {__file__}"
    if hashlib.sha256(data).hexdigest() != ARRAYS_SHA256:
        raise RuntimeError(f"{where}: not the data this module was written with; build it again")
    return load(data)


NEURON_COLUMNS = ("neuron_id", "cell_class", "cortical_layer")
# By population, runs of neurons that are alike: their ids, then the rest of the columns.
NEURONS: dict[str, Any] = {
    "L4.inh": [[[1003], "inhibitory", "L4"]], "L4.exc": [[[1000, 1001, 1002], "excitatory", "L4"]],
    "L2/3.inh": [[[1007], "inhibitory", "L2/3"]],
    "L2/3.exc": [[[1004, 1005, 1006], "excitatory", "L2/3"]],
    "L5.inh": [[[1011], "inhibitory", "L5"]], "L5.exc": [[[1008, 1009, 1010], "excitatory", "L5"]],
    "L6.inh": [[[1015], "inhibitory", "L6"]], "L6.exc": [[[1012, 1013, 1014], "excitatory", "L6"]],
}  # fmt: skip


@cache
def read_neurons() -> NeuronTable:
    """Return which neuron each unit is."""
    return listed_neurons(NEURON_COLUMNS, NEURONS)
