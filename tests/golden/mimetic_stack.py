"""SmallStack: A network with windowed layers.

MODELLED, NOT MEASURED: units are joined where windows over their places say so. No such network was
seen in a brain, and results obtained with it say nothing about a particular brain.

Where a layer has a window, only units (of maps: channels) near each other are joined. The mask of
each is computed from the numbers of its rule, saved with the weights and applied in every forward
pass, whatever draws or trains the weights.

Weights kept of those of ordinary layers, biases apart:
  seed->maps                     432 of          432  100.00%
  maps->wide                     810 of        1,152   70.31%
  wide->same                     558 of          864   64.58%
  same->more                     288 of          288  100.00%
  more->flat                     600 of          972   61.73%
  flat->classes                   54 of           54  100.00%
  layers with a window         1,968 of        2,988   65.86%
  all layers                   2,742 of        3,762   72.89%

Data       small (modelled; signs: none)
Signs      0 known (0 excitatory, 0%; 0 inhibitory, 0%), 0 enforced, 824 unknown
Licence    none needed: made by a rule
Cite       Saiga et al. (2025). Structural differences between human and mouse neurons and their
           implementation in generative AIs. Scientific Reports 15:25091.
           https://doi.org/10.1038/s41598-025-10912-3

Made by connectome-compiler 0.1.0 from the recipe small-stack:
  lay-windows(form="2d", radius=0.6, mode="paper", torus=false): 0 -> 1,152 neurons, 0 -> 824
      connections
    - seed->maps: all to all, 100.00% kept
    - maps->wide: 2d window of radius 0.6, grid width 4 to 4 (paper), 70.31% kept
    - wide->same: 2d window of radius 0.6, grid width 4 to 4 (paper), 64.58% kept
    - same->more: all to all, 100.00% kept
    - more->flat: 2d window of radius 0.6, grid width 9 to 6 (paper), 61.73% kept
    - flat->classes: all to all, 100.00% kept
  mimetic(start="torch", gain="1/usage", kernel="auto", class_name="")
"""

import hashlib
import math
import random
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

PROVENANCE: dict[str, Any] = {
    "recipe": "small-stack",
    "dataset": "small",
    "version": "",
    "title": "A network with windowed layers",
    "measured": False,
    "connectivity": "modelled",
    "made": "units are joined where windows over their places say so",
    "signs": "none",
    "licence": "none needed: made by a rule",
    "citations": [
        "Saiga et al. (2025). Structural differences between human and mouse neurons and their implementation in generative AIs. Scientific Reports 15:25091. https://doi.org/10.1038/s41598-025-10912-3",
    ],
    "files": [],
    "steps": [
        {
            "name": "lay-windows",
            "options": 'form="2d", radius=0.6, mode="paper", torus=false',
            "neurons": [0, 1152],
            "connections": [0, 824],
            "notes": [
                "seed->maps: all to all, 100.00% kept",
                "maps->wide: 2d window of radius 0.6, grid width 4 to 4 (paper), 70.31% kept",
                "wide->same: 2d window of radius 0.6, grid width 4 to 4 (paper), 64.58% kept",
                "same->more: all to all, 100.00% kept",
                "more->flat: 2d window of radius 0.6, grid width 9 to 6 (paper), 61.73% kept",
                "flat->classes: all to all, 100.00% kept",
            ],
        },
    ],
    "template": 'mimetic(start="torch", gain="1/usage", kernel="auto", class_name="")',
    "populations": [
        {
            "name": "maps",
            "units": 72,
            "layer": "maps_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "wide",
            "units": 576,
            "layer": "wide_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "same",
            "units": 432,
            "layer": "",
            "axons_read": None,
            "normalisation": "none",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "more",
            "units": 54,
            "layer": "",
            "axons_read": None,
            "normalisation": "none",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "flat",
            "units": 18,
            "layer": "flat_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
    ],
    "projections": [
        {
            "key": "maps->wide",
            "shape": [16, 8],
            "delay": 0,
            "connections": 90,
            "density": 0.703125,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 90, "enforced": 0},
            "indices_sha256": "3d237a80aba2ef50213856512b56eccf4a09d48818c1c7ac539a7e6876f13fa2",
            "signs_sha256": "db04ab15db0c2a0ab47d2fcbe9360b789b3ccc214c84fb3f15c96ac052640cb0",
            "weights": 810,
            "window": "WindowRule('2d', radius=0.6, pre_width=4, post_width=4, transposed=True)",
        },
        {
            "key": "wide->same",
            "shape": [12, 8],
            "delay": 0,
            "connections": 62,
            "density": 0.645833,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 62, "enforced": 0},
            "indices_sha256": "5249ddd1507bf8b80f4b97b1d82e37c8f01ceccf0f8cc4ff1cce80662357039a",
            "signs_sha256": "d1eeda692dca504ff7c78aea0fafc1b6efe9e692270b727b3a00fc3f64ba74f0",
            "weights": 558,
            "window": "WindowRule('2d', radius=0.6, pre_width=4, post_width=4)",
        },
        {
            "key": "same->more",
            "shape": [6, 12],
            "delay": 0,
            "connections": 72,
            "density": 1.0,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 72, "enforced": 0},
            "indices_sha256": "bfcb93f703eeb69fb0cb7754c11aa41351590e760326dbac73e6287e08e78f2a",
            "signs_sha256": "d1785b60bd1f5f0e7e39bcddd0ee4ffb6b9bf60f907b11ae9e1d979836a56e68",
            "weights": 288,
        },
        {
            "key": "more->flat",
            "shape": [18, 54],
            "delay": 0,
            "connections": 600,
            "density": 0.617284,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 600, "enforced": 0},
            "indices_sha256": "a307bdd5978c8d77af8702edce3c293bee730852cb81d02f4ac2b8a7019d9a5a",
            "signs_sha256": "de1f9f549e3ed664135bf458c7610888ca1e857ee194e78ef52d8b0efc47437b",
            "window": "WindowRule('2d', radius=0.6, pre_width=9, post_width=6)",
        },
    ],
    "read_in": {"maps": "seed_to_maps"},
    "read_out": {"flat": "flat_to_classes"},
    "stack": {
        "units": [
            {"name": "seed", "shape": [6], "activation": "linear", "normalisation": ""},
            {
                "name": "maps",
                "shape": [8, 3, 3],
                "activation": "relu",
                "normalisation": "maps_norm",
            },
            {
                "name": "wide",
                "shape": [16, 6, 6],
                "activation": "relu",
                "normalisation": "wide_norm",
            },
            {"name": "same", "shape": [12, 6, 6], "activation": "tanh", "normalisation": ""},
            {"name": "more", "shape": [6, 3, 3], "activation": "softplus", "normalisation": ""},
            {"name": "flat", "shape": [18], "activation": "sigmoid", "normalisation": "flat_norm"},
            {"name": "classes", "shape": [3], "activation": "linear", "normalisation": ""},
        ],
        "layers": [
            {
                "pre": "seed",
                "post": "maps",
                "layer": "seed_to_maps",
                "operator": {"kind": "Linear"},
            },
            {
                "pre": "maps",
                "post": "wide",
                "layer": "maps_to_wide",
                "operator": {
                    "kind": "ConvTranspose2d",
                    "kernel": [3, 3],
                    "stride": [2, 2],
                    "padding": [1, 1],
                    "output_padding": [1, 1],
                    "dilation": [1, 1],
                    "groups": 1,
                    "per_position": False,
                },
            },
            {
                "pre": "wide",
                "post": "same",
                "layer": "wide_to_same",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [3, 3],
                    "stride": [1, 1],
                    "padding": [1, 1],
                    "dilation": [1, 1],
                    "groups": 2,
                    "end_padding": [0, 0],
                    "per_position": False,
                },
            },
            {
                "pre": "same",
                "post": "more",
                "layer": "same_to_more",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [2, 2],
                    "stride": [2, 2],
                    "padding": [0, 0],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": False,
                },
            },
            {
                "pre": "more",
                "post": "flat",
                "layer": "more_to_flat",
                "operator": {"kind": "Linear"},
            },
            {
                "pre": "flat",
                "post": "classes",
                "layer": "flat_to_classes",
                "operator": {"kind": "Linear"},
            },
        ],
    },
    "usage": {
        "seed->maps": [432, 432],
        "maps->wide": [810, 1152],
        "wide->same": [558, 864],
        "same->more": [288, 288],
        "more->flat": [600, 972],
        "flat->classes": [54, 54],
        "layers with a window": [1968, 2988],
        "all layers": [2742, 3762],
    },
    "options": {"gain": "1/usage", "kernel": "auto"},
    "state": {
        "seed_to_maps.weight": {"shape": [72, 6], "start": "uniform", "fan_in": 6},
        "seed_to_maps.bias": {"shape": [72], "start": "uniform", "fan_in": 6},
        "maps_to_wide.mask": {"shape": [8, 16, 3, 3], "held": True},
        "maps_to_wide.weight": {
            "shape": [8, 16, 3, 3],
            "start": "uniform",
            "fan_in": 144,
            "gain": "1/usage",
            "post_axis": 1,
        },
        "maps_to_wide.bias": {"shape": [16], "start": "uniform", "fan_in": 144},
        "wide_to_same.mask": {"shape": [12, 8, 3, 3], "held": True},
        "wide_to_same.weight": {
            "shape": [12, 8, 3, 3],
            "start": "uniform",
            "fan_in": 72,
            "gain": "1/usage",
            "post_axis": 0,
        },
        "wide_to_same.bias": {"shape": [12], "start": "uniform", "fan_in": 72},
        "same_to_more.weight": {"shape": [6, 12, 2, 2], "start": "uniform", "fan_in": 48},
        "same_to_more.bias": {"shape": [6], "start": "uniform", "fan_in": 48},
        "more_to_flat.mask": {"shape": [18, 54], "held": True},
        "more_to_flat.weight": {
            "shape": [18, 54],
            "start": "uniform",
            "fan_in": 54,
            "gain": "1/usage",
            "post_axis": 0,
        },
        "more_to_flat.bias": {"shape": [18], "start": "uniform", "fan_in": 54},
        "flat_to_classes.weight": {"shape": [3, 18], "start": "uniform", "fan_in": 18},
        "flat_to_classes.bias": {"shape": [3], "start": "uniform", "fan_in": 18},
        "maps_norm.weight": {"shape": [8], "start": 1.0},
        "maps_norm.bias": {"shape": [8], "start": 0.0},
        "maps_norm.running_mean": {"shape": [8], "start": 0.0, "trained": False},
        "maps_norm.running_var": {"shape": [8], "start": 1.0, "trained": False},
        "maps_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
        "wide_norm.weight": {"shape": [16], "start": 1.0},
        "wide_norm.bias": {"shape": [16], "start": 0.0},
        "wide_norm.running_mean": {"shape": [16], "start": 0.0, "trained": False},
        "wide_norm.running_var": {"shape": [16], "start": 1.0, "trained": False},
        "wide_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
        "flat_norm.weight": {"shape": [18], "start": 1.0},
        "flat_norm.bias": {"shape": [18], "start": 0.0},
        "flat_norm.running_mean": {"shape": [18], "start": 0.0, "trained": False},
        "flat_norm.running_var": {"shape": [18], "start": 1.0, "trained": False},
        "flat_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
    },
    "graph_sha256": "3419bde6ed037fc717a172621f9ee1d03bef76f0cf1489fac89e8b5869d07551",
    "header_sha256": "566e26f7f0366387272afe7cb214f7a95e5796d03a78f8cb3f280ccd9ed1f738",
    "compiler": "connectome-compiler 0.1.0",
    "statement": 2,
    "sha256": "00bdbdede55acca7d26f7e9b79132c3a1f3700b8020169d7c8bc902e92660e6d",
}

# --- layers ---------------------------------------------------------------------------------------

# as in connectome_compiler.nn

# --- the network ----------------------------------------------------------------------------------


class SmallStack(nn.Module):
    """6 layers, 3 of them with a window.

    Maps seed ``(batch, 6)`` to classes ``(batch, 3)``. ``gain`` is what weights on a mask are
    multiplied by at the start: "1/usage", "1/sqrt(usage)", "fan-in" (of each unit) or "none".
    ``kernel`` is how linear layers multiply: "auto", "dense" or "patches".
    """

    def __init__(self, *, gain: str = "1/usage", kernel: str = "auto") -> None:
        super().__init__()
        self.seed_to_maps = nn.Linear(6, 72)
        self.maps_to_wide = WindowConvTranspose2d(
            8,
            16,
            3,
            stride=2,
            padding=1,
            output_padding=1,
            window=WindowRule("2d", radius=0.6, pre_width=4, post_width=4, transposed=True),
            gain=gain,
        )
        self.wide_to_same = WindowConv2d(
            16,
            12,
            3,
            padding=1,
            groups=2,
            window=WindowRule("2d", radius=0.6, pre_width=4, post_width=4),
            gain=gain,
        )
        self.same_to_more = nn.Conv2d(12, 6, 2, stride=2)
        self.more_to_flat = WindowLinear(
            54,
            18,
            window=WindowRule("2d", radius=0.6, pre_width=9, post_width=6),
            gain=gain,
            kernel=kernel,
        )
        self.flat_to_classes = nn.Linear(18, 3)
        self.maps_norm = nn.BatchNorm2d(8)
        self.wide_norm = nn.BatchNorm2d(16)
        self.flat_norm = nn.BatchNorm1d(18)

    def forward(self, seed: Tensor) -> Tensor:
        """Return the activity of the last layer."""
        return self.rates(seed)["classes"]

    def rates(self, seed: Tensor) -> dict[str, Tensor]:
        """Return the activity of every layer, the input included."""
        if seed.shape[1:] != (6,):
            expected = "(batch, 6)"
            raise ValueError(f"input is {tuple(seed.shape)}, expected {expected}")
        maps = self.seed_to_maps(seed).unflatten(1, (8, 3, 3))
        maps = torch.relu(self.maps_norm(maps))
        wide = self.maps_to_wide(maps)
        wide = torch.relu(self.wide_norm(wide))
        same = self.wide_to_same(wide)
        same = torch.tanh(same)
        more = self.same_to_more(same)
        more = nn.functional.softplus(more)
        flat = self.more_to_flat(more.flatten(1))
        flat = torch.sigmoid(self.flat_norm(flat))
        classes = self.flat_to_classes(flat)
        return {
            "seed": seed,
            "maps": maps,
            "wide": wide,
            "same": same,
            "more": more,
            "flat": flat,
            "classes": classes,
        }

    def example_input(self, batch: int = 1) -> Tensor:
        """Return uniform noise, the same at every call."""
        source = torch.Generator().manual_seed(0)
        noise = torch.rand(batch, 6, generator=source)
        return noise.to(self.seed_to_maps.weight)

    def named_projections(self) -> Iterator[tuple[str, str, nn.Module]]:
        """Yield ``(pre, post, layer)`` of each projection between neurons, in graph order."""
        yield "maps", "wide", self.maps_to_wide
        yield "wide", "same", self.wide_to_same
        yield "same", "more", self.same_to_more
        yield "more", "flat", self.more_to_flat

    def effective_weights(self, all: bool = False) -> dict[str, Tensor]:
        """Return the weights that act, as sparse COO tensors ``[post, pre]`` by projection.

        Those of convolutions have torch's own layout and list whole kernels. ``all`` adds the
        layers that are not between neurons.
        """
        layers = {
            "maps->wide": self.maps_to_wide,
            "wide->same": self.wide_to_same,
            "same->more": self.same_to_more,
            "more->flat": self.more_to_flat,
        }
        if all:
            layers["seed->maps"] = self.seed_to_maps
            layers["flat->classes"] = self.flat_to_classes
        return {key: sparse_weight(layer).detach() for key, layer in layers.items()}


def build(**options: Any) -> SmallStack:
    """Return the network; ``options`` are those of `SmallStack`."""
    return SmallStack(**options)
