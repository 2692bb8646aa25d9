"""SmallMasked: areas by hand.

NOT KNOWN TO BE MEASURED: how these connections were obtained is not stated. Check the origin of the
files before you interpret results as those of a brain.

Populations are maps, whose units stand for the neurons of an area and layer. What reaches one is
summed, then normalised over the batch, then rectified. Of each convolution's weights only some are
open, drawn once from an anatomical probability; the others are zero in every forward pass, whatever
draws or trains the weights.

473 of 5,336 weights of the convolutions are open (8.86%). 5,561 numbers are trained, 698 of them
act: open weights, 32 biases, 193 of normalisation and read-out.

Data       areas by hand (unknown; signs: none)
Signs      0 known (0 excitatory, 0%; 0 inhibitory, 0%), 0 enforced, 473 unknown
Licence    not stated by the source

Made by connectome-compiler 0.1.0 as small-masked: level-areas, wire-levels, normalise-in-degree,
size-maps, lay-kernels, materialise-laws, mousenet. What each step did stands below, in PROVENANCE.
"""

import base64
import hashlib
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import load
from torch import Tensor, nn

# --- the network ----------------------------------------------------------------------------------

# Whose maps are read out, in the order of the classifier's inputs, and their channels.
READ_OUT = {
    "W5": 4,
    "V5": 3,
}


class SmallMasked(nn.Module):
    """An image, through the areas of visual cortex, to classes.

    Maps images ``(batch, 3, 16, 16)`` to logits ``(batch, classes)``, read out of W5, V5,
    averaged and concatenated in this order. Weights start within ``1 / sqrt(fan_in)``: "dense"
    counts the whole kernel, "open" what is open.
    """

    def __init__(
        self,
        *,
        classes: int = 5,
        fan_in: str = "dense",
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes is {classes}: at least one is needed")
        arrays = read_arrays()

        def conv(key: str, pre: int, post: int, kernel: int, **geometry: Any) -> MaskedConv2d:
            shape = (post, pre, kernel, kernel)
            return MaskedConv2d(
                pre,
                post,
                kernel,
                mask=open_entries(arrays[f"{key}.open"], shape),
                fan_in=fan_in,
                **geometry,
            )

        # Projections: channels of source and target, size of the kernel.
        self.input_to_t4 = conv("input->T4", 3, 3, 3, padding=1)
        self.t4_to_v4 = conv("T4->V4", 3, 3, 3, padding=1)
        self.v4_to_v2_3 = conv("V4->V2/3", 3, 3, 9, padding=4)
        self.v4_to_w4 = conv("V4->W4", 3, 4, 9, stride=2, padding=3, end_padding=1)
        self.v2_3_to_v5 = conv("V2/3->V5", 3, 3, 9, padding=4)
        self.v2_3_to_w4 = conv("V2/3->W4", 3, 4, 9, stride=2, padding=3, end_padding=1)
        self.w4_to_w2_3 = conv("W4->W2/3", 4, 4, 5, padding=2)
        self.v5_to_w4 = conv("V5->W4", 3, 4, 9, stride=2, padding=3, end_padding=1)
        self.w2_3_to_w5 = conv("W2/3->W5", 4, 4, 5, padding=2)

        # Populations, in the order of evaluation.
        self.t4_norm = nn.BatchNorm2d(3)
        self.v4_norm = nn.BatchNorm2d(3)
        self.v2_3_norm = nn.BatchNorm2d(3)
        self.v5_norm = nn.BatchNorm2d(3)
        self.w4_norm = nn.BatchNorm2d(4)
        self.w2_3_norm = nn.BatchNorm2d(4)
        self.w5_norm = nn.BatchNorm2d(4)

        self.pool = nn.AdaptiveAvgPool2d(2)
        self.read_out = nn.Linear(sum(READ_OUT.values()) * 2**2, classes)

    def forward(self, input: Tensor) -> Tensor:
        """Return the logits of each image."""
        rates = self.rates(input)
        pooled = [self.pool(rates[name]).flatten(1) for name in READ_OUT]
        logits: Tensor = self.read_out(torch.cat(pooled, 1))
        return logits

    def rates(self, input: Tensor) -> dict[str, Tensor]:
        """Return the activity of every population, the input included."""
        if input.shape[1:] != (3, 16, 16):
            expected = "(batch, 3, 16, 16)"
            raise ValueError(f"input is {tuple(input.shape)}, expected {expected}")
        input_to_t4 = self.input_to_t4(input)
        t4 = torch.relu(self.t4_norm(input_to_t4))
        t4_to_v4 = self.t4_to_v4(t4)
        v4 = torch.relu(self.v4_norm(t4_to_v4))
        (
            v4_to_v2_3,
            v4_to_w4,
        ) = convolve_together(
            v4,
            self.v4_to_v2_3,
            self.v4_to_w4,
        )
        v2_3 = torch.relu(self.v2_3_norm(v4_to_v2_3))
        (
            v2_3_to_v5,
            v2_3_to_w4,
        ) = convolve_together(
            v2_3,
            self.v2_3_to_v5,
            self.v2_3_to_w4,
        )
        v5 = torch.relu(self.v5_norm(v2_3_to_v5))
        v5_to_w4 = self.v5_to_w4(v5)
        w4 = v4_to_w4
        w4 = w4 + v2_3_to_w4
        w4 = w4 + v5_to_w4
        w4 = torch.relu(self.w4_norm(w4))
        w4_to_w2_3 = self.w4_to_w2_3(w4)
        w2_3 = torch.relu(self.w2_3_norm(w4_to_w2_3))
        w2_3_to_w5 = self.w2_3_to_w5(w2_3)
        w5 = torch.relu(self.w5_norm(w2_3_to_w5))
        return {
            "input": input,
            "T4": t4,
            "V4": v4,
            "V2/3": v2_3,
            "V5": v5,
            "W4": w4,
            "W2/3": w2_3,
            "W5": w5,
        }

    def example_input(self, batch: int = 1) -> Tensor:
        """Return images of uniform noise, the same at every call."""
        source = torch.Generator().manual_seed(0)
        images = torch.rand(batch, 3, 16, 16, generator=source)
        return images.to(self.read_out.weight)

    def named_projections(self) -> Iterator[tuple[str, str, nn.Module]]:
        """Yield ``(pre, post, layer)`` of each projection, in graph order."""
        yield "input", "T4", self.input_to_t4
        yield "T4", "V4", self.t4_to_v4
        yield "V4", "V2/3", self.v4_to_v2_3
        yield "V4", "W4", self.v4_to_w4
        yield "V2/3", "V5", self.v2_3_to_v5
        yield "V2/3", "W4", self.v2_3_to_w4
        yield "W4", "W2/3", self.w4_to_w2_3
        yield "V5", "W4", self.v5_to_w4
        yield "W2/3", "W5", self.w2_3_to_w5

    def effective_weights(self, all: bool = False) -> dict[str, Tensor]:
        """Return the weights that act, as sparse COO tensors in torch's layout, by projection.

        ``all`` adds the read-out, ``[class, feature]`` by the map that is read.
        """
        weights = {
            f"{pre}->{post}": open_weight(layer).detach()
            for pre, post, layer in self.named_projections()
        }
        if all:
            parts = self.read_out.weight.detach().split(
                [channels * 2**2 for channels in READ_OUT.values()], 1
            )
            for name, part in zip(READ_OUT, parts, strict=True):
                weights[f"{name}->classes"] = part.to_sparse()
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
) -> SmallMasked:
    """Return the network; ``options`` are those of `SmallMasked`.

    With a ``seed`` it starts as after ``torch.manual_seed(seed)``, which is not called.
    """
    return build_network(SmallMasked, options, device, dtype, seed)


# --- layers ---------------------------------------------------------------------------------------

# as in connectome_compiler.nn

# --- provenance -----------------------------------------------------------------------------------

PROVENANCE: dict[str, Any] = {
    "name": "small-masked", "dataset": "areas by hand", "version": "", "title": "",
    "measured": False, "connectivity": "unknown", "made": "", "signs": "none", "licence": "",
    "citations": [], "files": [],
    "steps": [
        {"name": "level-areas", "options": 'by="table"', "neurons": [4080, 4080],
         "connections": [88400, 88400], "notes": ["level 0: T", "level 1: V", "level 2: W"]},
        {"name": "wire-levels",
         "options": 'within=["4->2/3", "2/3->5"], sources=["2/3", "4", "5"], targets=["4"], '
                    'skips=[], feedback="none", within_feedback=["2/3->4", "5->2/3"]',
         "neurons": [4080, 4080], "connections": [88400, 46000],
         "notes": ["9 projections forward: 1 from the input, 4 to the next level, 4 within areas",
                   "8 projections dropped: 8 within areas"]},
        {"name": "normalise-in-degree", "options": "total=20.0", "neurons": [4080, 4080],
         "connections": [46000, 64599],
         "notes": ["V2/3: 1 projection of in-degree 10, now 20",
                   "W4: 3 projections of in-degree 30, now 20",
                   "V5: 1 projection of in-degree 10, now 20",
                   "W2/3: 1 projection of in-degree 10, now 20",
                   "W5: 1 projection of in-degree 10, now 20"]},
        {"name": "size-maps", "options": "input_size=16, halve_at=[2]", "neurons": [4080, 3840],
         "connections": [64599, 61441],
         "notes": [
             "4,080 neurons -> 3,840 units, since channels are whole: 5.9% lost, most in T4, 14.7%",
             "T4: 3 x 16 x 16 for 900 neurons, 14.7% lost",
             "V4: 3 x 16 x 16 for 800 neurons, 4.0% lost",
             "V2/3: 3 x 16 x 16 for 800 neurons, 4.0% lost",
             "V5: 3 x 16 x 16 for 800 neurons, 4.0% lost",
             "W4: 4 x 8 x 8 for 260 neurons, 1.5% lost",
             "W2/3: 4 x 8 x 8 for 260 neurons, 1.5% lost",
             "W5: 4 x 8 x 8 for 260 neurons, 1.5% lost"]},
        {"name": "lay-kernels", "options": "z=1.0", "neurons": [3840, 3840],
         "connections": [61441, 471],
         "notes": [
             "9 kernels of 3 to 9 pixels: 470 of 5,336 weights open on average (8.80%)",
             "from here on a connection is one kernel weight, shared by all positions of a map",
             "2 keep their peak and cover 48% to 48% of their Gaussian"]},
        {"name": "materialise-laws", "options": 'seed=3, stream="fast"', "neurons": [3840, 3840],
         "connections": [471, 473], "notes": ["473 of 5,336 weights of 9 kernels are open"]}],
    "template": 'mousenet(classes=5, pool=2, weights="masked", fan_in="dense", bias=true, '
                'steps=0, allow_free_signs=false, class_name="")',
    "populations": {"columns": ["name", "units", "layer"],
        "each": {"axons_read": None, "normalisation": "batch", "noise_std": 0.0,
                 "inhibition": "none"},
        "rows": [
            ["T4", 768, "t4_norm"], ["V4", 768, "v4_norm"], ["V2/3", 768, "v2_3_norm"],
            ["V5", 768, "v5_norm"], ["W4", 256, "w4_norm"], ["W2/3", 256, "w2_3_norm"],
            ["W5", 256, "w5_norm"]]},
    "projections": {
        "columns": ["key", "shape", "connections", "density", "weights", "unknown",
                    "indices_sha256"],
        "each": {"delay": 0, "excitatory": 0, "inhibitory": 0, "free": 0},
        "rows": [
            ["input->T4", [3, 27], 51, 0.62963, 51, 51,
             "ccaf74d6a15ac04e01af186fcefabfd6bfc79904b97eb48e7d204d6e4e22e2aa"],
            ["T4->V4", [3, 27], 64, 0.790123, 64, 64,
             "20c1eb8d2bc1783818fcdf071260e2f2da736d45431167e3a6709b57bbfc731d"],
            ["V4->V2/3", [3, 243], 65, 0.089163, 65, 65,
             "e73d2c2c5a35240a109c53dc2f020b25642c38e09833adebad8f807fe11e7631"],
            ["V4->W4", [4, 243], 24, 0.024691, 24, 24,
             "e6b404c81034a8b24245fe14fbd37629ad54dc21af93e5928ae7a69d4a0bdb0b"],
            ["V2/3->V5", [3, 243], 54, 0.074074, 54, 54,
             "b7840f084d65533a00ddf96ff4149cf229337a96c5e1975c1589fa4c83e311f0"],
            ["V2/3->W4", [4, 243], 30, 0.030864, 30, 30,
             "dada242e9d6d35eaf7624d2e2e720dd1fac095a1c5fd92142f4a2370505f1773"],
            ["W4->W2/3", [4, 100], 80, 0.2, 80, 80,
             "9c3edaf3fc2ae56e8ff7515e35dcefa8f56562d529bf87248506b991c2472c11"],
            ["V5->W4", [4, 243], 27, 0.027778, 27, 27,
             "97288132724741f988e0ec37457ba27e752f8a68e05023ff926d14d520425d2f"],
            ["W2/3->W5", [4, 100], 78, 0.195, 78, 78,
             "49d80174c4f15a3f035d30ba49aa7dc6c66b265798c035a438e67e0c78eff3b1"]]},
    "read_in": {}, "read_out": {"W5": "read_out", "V5": "read_out"},
    "stack": {
        "units": {"columns": ["name", "shape", "normalisation"], "each": {"activation": "relu"},
            "rows": [
                ["input", [3, 16, 16], "", {"activation": "linear"}],
                ["T4", [3, 16, 16], "t4_norm"], ["V4", [3, 16, 16], "v4_norm"],
                ["V2/3", [3, 16, 16], "v2_3_norm"], ["V5", [3, 16, 16], "v5_norm"],
                ["W4", [4, 8, 8], "w4_norm"], ["W2/3", [4, 8, 8], "w2_3_norm"],
                ["W5", [4, 8, 8], "w5_norm"]]},
        "layers": {"columns": ["pre", "post", "layer", "operator"],
            "each": {
                "operator": {"kind": "Conv2d", "dilation": [1, 1], "groups": 1,
                    "per_position": True}},
            "rows": [
                ["input", "T4", "input_to_t4",
                 {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "end_padding": [0, 0]}],
                ["T4", "V4", "t4_to_v4",
                 {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "end_padding": [0, 0]}],
                ["V4", "V2/3", "v4_to_v2_3",
                 {"kernel": [9, 9], "stride": [1, 1], "padding": [4, 4], "end_padding": [0, 0]}],
                ["V4", "W4", "v4_to_w4",
                 {"kernel": [9, 9], "stride": [2, 2], "padding": [3, 3], "end_padding": [1, 1]}],
                ["V2/3", "V5", "v2_3_to_v5",
                 {"kernel": [9, 9], "stride": [1, 1], "padding": [4, 4], "end_padding": [0, 0]}],
                ["V2/3", "W4", "v2_3_to_w4",
                 {"kernel": [9, 9], "stride": [2, 2], "padding": [3, 3], "end_padding": [1, 1]}],
                ["W4", "W2/3", "w4_to_w2_3",
                 {"kernel": [5, 5], "stride": [1, 1], "padding": [2, 2], "end_padding": [0, 0]}],
                ["V5", "W4", "v5_to_w4",
                 {"kernel": [9, 9], "stride": [2, 2], "padding": [3, 3], "end_padding": [1, 1]}],
                ["W2/3", "W5", "w2_3_to_w5",
                 {"kernel": [5, 5], "stride": [1, 1], "padding": [2, 2], "end_padding": [0, 0]}]]},
        "sweeps": 1, "read_out": {"layer": "read_out", "pool": 2, "maps": ["W5", "V5"]}},
    "options": {"classes": 5, "fan_in": "dense"},
    "state": {"columns": ["shape"], "each": {},
        "rows": {"input_to_t4.mask": [[3, 3, 3, 3], {"held": True}],
            "input_to_t4.weight": [
                [3, 3, 3, 3], {"start": "uniform", "fan_in": 27, "post_axis": 0}],
            "input_to_t4.bias": [[3], {"start": "uniform", "fan_in": 27, "post_axis": 0}],
            "t4_to_v4.mask": [[3, 3, 3, 3], {"held": True}],
            "t4_to_v4.weight": [[3, 3, 3, 3], {"start": "uniform", "fan_in": 27, "post_axis": 0}],
            "t4_to_v4.bias": [[3], {"start": "uniform", "fan_in": 27, "post_axis": 0}],
            "v4_to_v2_3.mask": [[3, 3, 9, 9], {"held": True}],
            "v4_to_v2_3.weight": [
                [3, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v4_to_v2_3.bias": [[3], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v4_to_w4.mask": [[4, 3, 9, 9], {"held": True}],
            "v4_to_w4.weight": [[4, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v4_to_w4.bias": [[4], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v2_3_to_v5.mask": [[3, 3, 9, 9], {"held": True}],
            "v2_3_to_v5.weight": [
                [3, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v2_3_to_v5.bias": [[3], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v2_3_to_w4.mask": [[4, 3, 9, 9], {"held": True}],
            "v2_3_to_w4.weight": [
                [4, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v2_3_to_w4.bias": [[4], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "w4_to_w2_3.mask": [[4, 4, 5, 5], {"held": True}],
            "w4_to_w2_3.weight": [
                [4, 4, 5, 5], {"start": "uniform", "fan_in": 100, "post_axis": 0}],
            "w4_to_w2_3.bias": [[4], {"start": "uniform", "fan_in": 100, "post_axis": 0}],
            "v5_to_w4.mask": [[4, 3, 9, 9], {"held": True}],
            "v5_to_w4.weight": [[4, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v5_to_w4.bias": [[4], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "w2_3_to_w5.mask": [[4, 4, 5, 5], {"held": True}],
            "w2_3_to_w5.weight": [
                [4, 4, 5, 5], {"start": "uniform", "fan_in": 100, "post_axis": 0}],
            "w2_3_to_w5.bias": [[4], {"start": "uniform", "fan_in": 100, "post_axis": 0}],
            "t4_norm.weight": [[3], {"start": 1.0}], "t4_norm.bias": [[3], {"start": 0.0}],
            "t4_norm.running_mean": [[3], {"start": 0.0, "trained": False}],
            "t4_norm.running_var": [[3], {"start": 1.0, "trained": False}],
            "t4_norm.num_batches_tracked": [[], {"start": 0, "trained": False}],
            "v4_norm.weight": [[3], {"start": 1.0}], "v4_norm.bias": [[3], {"start": 0.0}],
            "v4_norm.running_mean": [[3], {"start": 0.0, "trained": False}],
            "v4_norm.running_var": [[3], {"start": 1.0, "trained": False}],
            "v4_norm.num_batches_tracked": [[], {"start": 0, "trained": False}],
            "v2_3_norm.weight": [[3], {"start": 1.0}], "v2_3_norm.bias": [[3], {"start": 0.0}],
            "v2_3_norm.running_mean": [[3], {"start": 0.0, "trained": False}],
            "v2_3_norm.running_var": [[3], {"start": 1.0, "trained": False}],
            "v2_3_norm.num_batches_tracked": [[], {"start": 0, "trained": False}],
            "v5_norm.weight": [[3], {"start": 1.0}], "v5_norm.bias": [[3], {"start": 0.0}],
            "v5_norm.running_mean": [[3], {"start": 0.0, "trained": False}],
            "v5_norm.running_var": [[3], {"start": 1.0, "trained": False}],
            "v5_norm.num_batches_tracked": [[], {"start": 0, "trained": False}],
            "w4_norm.weight": [[4], {"start": 1.0}], "w4_norm.bias": [[4], {"start": 0.0}],
            "w4_norm.running_mean": [[4], {"start": 0.0, "trained": False}],
            "w4_norm.running_var": [[4], {"start": 1.0, "trained": False}],
            "w4_norm.num_batches_tracked": [[], {"start": 0, "trained": False}],
            "w2_3_norm.weight": [[4], {"start": 1.0}], "w2_3_norm.bias": [[4], {"start": 0.0}],
            "w2_3_norm.running_mean": [[4], {"start": 0.0, "trained": False}],
            "w2_3_norm.running_var": [[4], {"start": 1.0, "trained": False}],
            "w2_3_norm.num_batches_tracked": [[], {"start": 0, "trained": False}],
            "w5_norm.weight": [[4], {"start": 1.0}], "w5_norm.bias": [[4], {"start": 0.0}],
            "w5_norm.running_mean": [[4], {"start": 0.0, "trained": False}],
            "w5_norm.running_var": [[4], {"start": 1.0, "trained": False}],
            "w5_norm.num_batches_tracked": [[], {"start": 0, "trained": False}],
            "read_out.weight": [[5, 28], {"start": "uniform", "fan_in": 28}],
            "read_out.bias": [[5], {"start": "uniform", "fan_in": 28}]}},
    "graph_sha256": "87a467179b1bc816abf3f64809a35b791494b4f3b1672d8c521cd07c60ffbde3",
    "header_sha256": "6648ba414ec9cfd2a1971acbe78fbdb0b88c9f22d306e1abf877bae9460209c4",
    "compiler": "connectome-compiler 0.1.0", "statement": 4,
    "sha256": "ddbd0f6b3e1b257b9c2dc7dc539d4699a853c807105059edd9e742d61cb22e9d",
}  # fmt: skip

# --- data -----------------------------------------------------------------------------------------

ARRAYS_SHA256 = "9bb42d7f2a832b3a686aba14a6e0ef2ce5983e93655522bda8b0551e8ea08c39"
ARRAYS = """
as in the graph
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
