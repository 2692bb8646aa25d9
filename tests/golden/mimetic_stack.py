"""SmallStack: A network with windowed layers.

MODELLED, NOT MEASURED: units are connected within windows over their positions. No such network was
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

Made by connectome-compiler 0.1.0 as small-stack: lay-windows, mimetic. What each step did stands
below, in PROVENANCE.
"""

import ctypes
import hashlib
import math
import random
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

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
) -> SmallStack:
    """Return the network; ``options`` are those of `SmallStack`.

    With a ``seed`` it starts as after ``torch.manual_seed(seed)``, which is not called.
    """
    return build_network(SmallStack, options, device, dtype, seed)


# --- layers ---------------------------------------------------------------------------------------

# as in connectome_compiler.nn

# --- provenance -----------------------------------------------------------------------------------

PROVENANCE: dict[str, Any] = {
    "name": "small-stack", "dataset": "small", "version": "",
    "title": "A network with windowed layers", "measured": False, "connectivity": "modelled",
    "made": "units are connected within windows over their positions", "signs": "none",
    "licence": "none needed: made by a rule",
    "citations": [
        ("Saiga et al. (2025). Structural differences between human and mouse neurons and their "
         "implementation in generative AIs. Scientific Reports 15:25091. "
         "https://doi.org/10.1038/s41598-025-10912-3")],
    "files": [],
    "steps": [
        {"name": "lay-windows", "options": 'form="2d", radius=0.6, mode="paper", torus=false',
         "neurons": [0, 1152], "connections": [0, 824],
         "notes": ["seed->maps: all to all, 100.00% kept",
                   "maps->wide: 2d window of radius 0.6, grid width 4 to 4 (paper), 70.31% kept",
                   "wide->same: 2d window of radius 0.6, grid width 4 to 4 (paper), 64.58% kept",
                   "same->more: all to all, 100.00% kept",
                   "more->flat: 2d window of radius 0.6, grid width 9 to 6 (paper), 61.73% kept",
                   "flat->classes: all to all, 100.00% kept"]}],
    "template": 'mimetic(start="torch", gain="1/usage", kernel="auto", class_name="")',
    "populations": {"columns": ["name", "units", "layer", "normalisation"],
        "each": {"axons_read": None, "noise_std": 0.0, "inhibition": "none"},
        "rows": [
            ["maps", 72, "maps_norm", "batch"], ["wide", 576, "wide_norm", "batch"],
            ["same", 432, "", "none"], ["more", 54, "", "none"],
            ["flat", 18, "flat_norm", "batch"]]},
    "projections": {
        "columns": ["key", "shape", "connections", "density", "unknown", "indices_sha256"],
        "each": {"delay": 0, "excitatory": 0, "inhibitory": 0, "free": 0},
        "rows": [
            ["maps->wide", [16, 8], 90, 0.703125, 90,
             "3d237a80aba2ef50213856512b56eccf4a09d48818c1c7ac539a7e6876f13fa2",
             {"weights": 810,
              "window": "WindowRule('2d', radius=0.6, pre_width=4, post_width=4, "
                        "transposed=True)"}],
            ["wide->same", [12, 8], 62, 0.645833, 62,
             "5249ddd1507bf8b80f4b97b1d82e37c8f01ceccf0f8cc4ff1cce80662357039a",
             {"weights": 558, "window": "WindowRule('2d', radius=0.6, pre_width=4, post_width=4)"}],
            ["same->more", [6, 12], 72, 1.0, 72,
             "bfcb93f703eeb69fb0cb7754c11aa41351590e760326dbac73e6287e08e78f2a", {"weights": 288}],
            ["more->flat", [18, 54], 600, 0.617284, 600,
             "a307bdd5978c8d77af8702edce3c293bee730852cb81d02f4ac2b8a7019d9a5a",
             {"window": "WindowRule('2d', radius=0.6, pre_width=9, post_width=6)"}]]},
    "read_in": {"maps": "seed_to_maps"}, "read_out": {"flat": "flat_to_classes"},
    "stack": {
        "units": {"columns": ["name", "shape", "activation", "normalisation"], "each": {},
            "rows": [
                ["seed", [6], "linear", ""], ["maps", [8, 3, 3], "relu", "maps_norm"],
                ["wide", [16, 6, 6], "relu", "wide_norm"], ["same", [12, 6, 6], "tanh", ""],
                ["more", [6, 3, 3], "softplus", ""], ["flat", [18], "sigmoid", "flat_norm"],
                ["classes", [3], "linear", ""]]},
        "layers": {"columns": ["pre", "post", "layer", "operator"], "each": {},
            "rows": [
                ["seed", "maps", "seed_to_maps", {"kind": "Linear"}],
                ["maps", "wide", "maps_to_wide",
                 {"kind": "ConvTranspose2d", "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1],
                  "output_padding": [1, 1], "dilation": [1, 1], "groups": 1,
                  "per_position": False}],
                ["wide", "same", "wide_to_same",
                 {"kind": "Conv2d", "kernel": [3, 3], "stride": [1, 1], "padding": [1, 1],
                  "dilation": [1, 1], "groups": 2, "end_padding": [0, 0], "per_position": False}],
                ["same", "more", "same_to_more",
                 {"kind": "Conv2d", "kernel": [2, 2], "stride": [2, 2], "padding": [0, 0],
                  "dilation": [1, 1], "groups": 1, "end_padding": [0, 0], "per_position": False}],
                ["more", "flat", "more_to_flat", {"kind": "Linear"}],
                ["flat", "classes", "flat_to_classes", {"kind": "Linear"}]]}},
    "usage": {"seed->maps": [432, 432], "maps->wide": [810, 1152], "wide->same": [558, 864],
        "same->more": [288, 288], "more->flat": [600, 972], "flat->classes": [54, 54],
        "layers with a window": [1968, 2988], "all layers": [2742, 3762]},
    "options": {"gain": "1/usage", "kernel": "auto"},
    "state": {"columns": ["shape"], "each": {},
        "rows": {"seed_to_maps.weight": [[72, 6], {"start": "uniform", "fan_in": 6}],
            "seed_to_maps.bias": [[72], {"start": "uniform", "fan_in": 6}],
            "maps_to_wide.mask": [[8, 16, 3, 3], {"held": True}],
            "maps_to_wide.weight": [
                [8, 16, 3, 3],
                {"start": "uniform", "fan_in": 144, "gain": "1/usage", "post_axis": 1}],
            "maps_to_wide.bias": [[16], {"start": "uniform", "fan_in": 144}],
            "wide_to_same.mask": [[12, 8, 3, 3], {"held": True}],
            "wide_to_same.weight": [
                [12, 8, 3, 3],
                {"start": "uniform", "fan_in": 72, "gain": "1/usage", "post_axis": 0}],
            "wide_to_same.bias": [[12], {"start": "uniform", "fan_in": 72}],
            "same_to_more.weight": [[6, 12, 2, 2], {"start": "uniform", "fan_in": 48}],
            "same_to_more.bias": [[6], {"start": "uniform", "fan_in": 48}],
            "more_to_flat.mask": [[18, 54], {"held": True}],
            "more_to_flat.weight": [
                [18, 54], {"start": "uniform", "fan_in": 54, "gain": "1/usage", "post_axis": 0}],
            "more_to_flat.bias": [[18], {"start": "uniform", "fan_in": 54}],
            "flat_to_classes.weight": [[3, 18], {"start": "uniform", "fan_in": 18}],
            "flat_to_classes.bias": [[3], {"start": "uniform", "fan_in": 18}],
            "maps_norm.weight": [[8], {"start": 1.0}], "maps_norm.bias": [[8], {"start": 0.0}],
            "maps_norm.running_mean": [[8], {"start": 0.0, "trained": False}],
            "maps_norm.running_var": [[8], {"start": 1.0, "trained": False}],
            "maps_norm.num_batches_tracked": [[], {"start": 0, "trained": False}],
            "wide_norm.weight": [[16], {"start": 1.0}], "wide_norm.bias": [[16], {"start": 0.0}],
            "wide_norm.running_mean": [[16], {"start": 0.0, "trained": False}],
            "wide_norm.running_var": [[16], {"start": 1.0, "trained": False}],
            "wide_norm.num_batches_tracked": [[], {"start": 0, "trained": False}],
            "flat_norm.weight": [[18], {"start": 1.0}], "flat_norm.bias": [[18], {"start": 0.0}],
            "flat_norm.running_mean": [[18], {"start": 0.0, "trained": False}],
            "flat_norm.running_var": [[18], {"start": 1.0, "trained": False}],
            "flat_norm.num_batches_tracked": [[], {"start": 0, "trained": False}]}},
    "graph_sha256": "3419bde6ed037fc717a172621f9ee1d03bef76f0cf1489fac89e8b5869d07551",
    "header_sha256": "d7ac150cfb3e403579fe79de15d43facdbb5f856c14af68a9862ef0c65c2c758",
    "compiler": "connectome-compiler 0.1.0", "statement": 4,
    "sha256": "2b85ce12078b17bcecab267f0366582e8d06f202917d0a7fd3d815f368361b09",
}  # fmt: skip
