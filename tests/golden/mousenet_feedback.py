"""SmallFeedback: areas by hand.

NOT KNOWN TO BE MEASURED: how these connections were obtained is not stated. Check the origin of the
files before you interpret results as those of a brain.

Populations are maps, whose units stand for the neurons of an area and layer. What reaches one is
summed, then normalised over the batch, then rectified. Of each convolution's weights only some are
open, drawn once from an anatomical probability; the others are zero in every forward pass, whatever
draws or trains the weights.

1,251 of 10,591 weights of the convolutions are open (11.81%). 10,784 numbers are trained, 1,444 of
them act: open weights, 0 biases, 193 of normalisation and read-out.

Data       areas by hand (unknown; signs: none)
Signs      0 known (0 excitatory, 0%; 0 inhibitory, 0%), 0 enforced, 1,251 unknown
Licence    not stated by the source

Made by connectome-compiler 0.1.0 as small-feedback: level-areas, wire-levels, normalise-in-degree,
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


class SmallFeedback(nn.Module):
    """An image, through the areas of visual cortex, to classes.

    Maps images ``(batch, 3, 16, 16)`` to logits ``(batch, classes)``, read out of W5, V5,
    averaged and concatenated in this order. Weights start within ``1 / sqrt(fan_in)``: "dense"
    counts the whole kernel, "open" what is open. Feedback acts over ``steps`` sweeps, on the
    activity of the one before.
    """

    def __init__(
        self,
        *,
        classes: int = 5,
        fan_in: str = "dense",
        steps: int = 3,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes is {classes}: at least one is needed")
        if steps < 2:
            raise ValueError(f"steps is {steps}: feedback acts from the second sweep on")
        self.steps = steps
        arrays = read_arrays()

        def conv(key: str, pre: int, post: int, kernel: int, **geometry: Any) -> MaskedConv2d:
            shape = (post, pre, kernel, kernel)
            return MaskedConv2d(
                pre,
                post,
                kernel,
                mask=open_entries(arrays[f"{key}.open"], shape),
                fan_in=fan_in,
                bias=False,
                **geometry,
            )

        def conv_transpose(
            key: str, pre: int, post: int, kernel: int, **geometry: Any
        ) -> MaskedConvTranspose2d:
            shape = (pre, post, kernel, kernel)
            return MaskedConvTranspose2d(
                pre,
                post,
                kernel,
                mask=open_entries(arrays[f"{key}.open"], shape),
                fan_in=fan_in,
                bias=False,
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
        self.v2_3_to_v4 = conv("V2/3->V4", 3, 3, 9, padding=4)
        self.v5_to_v2_3 = conv("V5->V2/3", 3, 3, 9, padding=4)
        self.w2_3_to_w4 = conv("W2/3->W4", 4, 4, 5, padding=2)
        self.w5_to_w2_3 = conv("W5->W2/3", 4, 4, 5, padding=2)
        self.v4_to_t4 = conv("V4->T4", 3, 3, 3, padding=1)
        self.w4_to_v4 = conv_transpose("W4->V4", 4, 3, 9, stride=2, padding=4, output_padding=1)
        self.w4_to_v2_3 = conv_transpose("W4->V2/3", 4, 3, 9, stride=2, padding=4, output_padding=1)
        self.w4_to_v5 = conv_transpose("W4->V5", 4, 3, 9, stride=2, padding=4, output_padding=1)

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
        v4 = input.new_zeros(len(input), 3, 16, 16)
        v2_3 = input.new_zeros(len(input), 3, 16, 16)
        v5 = input.new_zeros(len(input), 3, 16, 16)
        w4 = input.new_zeros(len(input), 4, 8, 8)
        w2_3 = input.new_zeros(len(input), 4, 8, 8)
        w5 = input.new_zeros(len(input), 4, 8, 8)
        for _ in range(self.steps):  # feedback acts on the activity of the sweep before
            v4_to_t4 = self.v4_to_t4(v4)
            v2_3_to_v4 = self.v2_3_to_v4(v2_3)
            v5_to_v2_3 = self.v5_to_v2_3(v5)
            (
                w4_to_v4,
                w4_to_v2_3,
                w4_to_v5,
            ) = convolve_together(
                w4,
                self.w4_to_v4,
                self.w4_to_v2_3,
                self.w4_to_v5,
            )
            w2_3_to_w4 = self.w2_3_to_w4(w2_3)
            w5_to_w2_3 = self.w5_to_w2_3(w5)
            input_to_t4 = self.input_to_t4(input)
            t4 = input_to_t4
            t4 = t4 + v4_to_t4
            t4 = torch.relu(self.t4_norm(t4))
            t4_to_v4 = self.t4_to_v4(t4)
            v4 = t4_to_v4
            v4 = v4 + v2_3_to_v4
            v4 = v4 + w4_to_v4
            v4 = torch.relu(self.v4_norm(v4))
            (
                v4_to_v2_3,
                v4_to_w4,
            ) = convolve_together(
                v4,
                self.v4_to_v2_3,
                self.v4_to_w4,
            )
            v2_3 = v4_to_v2_3
            v2_3 = v2_3 + v5_to_v2_3
            v2_3 = v2_3 + w4_to_v2_3
            v2_3 = torch.relu(self.v2_3_norm(v2_3))
            (
                v2_3_to_v5,
                v2_3_to_w4,
            ) = convolve_together(
                v2_3,
                self.v2_3_to_v5,
                self.v2_3_to_w4,
            )
            v5 = v2_3_to_v5
            v5 = v5 + w4_to_v5
            v5 = torch.relu(self.v5_norm(v5))
            v5_to_w4 = self.v5_to_w4(v5)
            w4 = v4_to_w4
            w4 = w4 + v2_3_to_w4
            w4 = w4 + v5_to_w4
            w4 = w4 + w2_3_to_w4
            w4 = torch.relu(self.w4_norm(w4))
            w4_to_w2_3 = self.w4_to_w2_3(w4)
            w2_3 = w4_to_w2_3
            w2_3 = w2_3 + w5_to_w2_3
            w2_3 = torch.relu(self.w2_3_norm(w2_3))
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
        yield "V2/3", "V4", self.v2_3_to_v4
        yield "V5", "V2/3", self.v5_to_v2_3
        yield "W2/3", "W4", self.w2_3_to_w4
        yield "W5", "W2/3", self.w5_to_w2_3
        yield "V4", "T4", self.v4_to_t4
        yield "W4", "V4", self.w4_to_v4
        yield "W4", "V2/3", self.w4_to_v2_3
        yield "W4", "V5", self.w4_to_v5

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
) -> SmallFeedback:
    """Return the network; ``options`` are those of `SmallFeedback`.

    With a ``seed`` it starts as after ``torch.manual_seed(seed)``, which is not called.
    """
    return build_network(SmallFeedback, options, device, dtype, seed)


# --- layers ---------------------------------------------------------------------------------------

# as in connectome_compiler.nn

# --- provenance -----------------------------------------------------------------------------------

PROVENANCE: dict[str, Any] = {
    "name": "small-feedback", "dataset": "areas by hand", "version": "", "title": "",
    "measured": False, "connectivity": "unknown", "made": "", "signs": "none", "licence": "",
    "citations": [], "files": [],
    "steps": [
        {"name": "level-areas", "options": 'by="table"', "neurons": [4080, 4080],
         "connections": [88400, 88400], "notes": ["level 0: T", "level 1: V", "level 2: W"]},
        {"name": "wire-levels",
         "options": 'within=["4->2/3", "2/3->5"], sources=["2/3", "4", "5"], targets=["4"], '
                    'skips=[], feedback="mirrored", within_feedback=["2/3->4", "5->2/3"]',
         "neurons": [4080, 4080], "connections": [88400, 100200],
         "notes": [
             "9 projections forward: 1 from the input, 4 to the next level, 4 within areas",
             "8 projections feedback: 4 within areas, 4 mirrored between areas (placeholders)",
             "4 projections dropped: 4 within areas"]},
        {"name": "normalise-in-degree", "options": "total=20.0", "neurons": [4080, 4080],
         "connections": [100200, 131999],
         "notes": ["V2/3: 1 projection of in-degree 10, now 20",
                   "W4: 3 projections of in-degree 30, now 20",
                   "V5: 1 projection of in-degree 10, now 20",
                   "W2/3: 1 projection of in-degree 10, now 20",
                   "W5: 1 projection of in-degree 10, now 20",
                   "V4: 2 projections of feedback of in-degree 20, now 20",
                   "V2/3: 2 projections of feedback of in-degree 20, now 20",
                   "W4: 1 projection of feedback of in-degree 10, now 20",
                   "W2/3: 1 projection of feedback of in-degree 10, now 20",
                   "V5: 1 projection of feedback of in-degree 10, now 20"]},
        {"name": "size-maps", "options": "input_size=16, halve_at=[2]", "neurons": [4080, 3840],
         "connections": [131999, 125441],
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
         "connections": [125441, 1226],
         "notes": [
             "17 kernels of 3 to 9 pixels: 1,224 of 10,591 weights open on average (11.56%)",
             "from here on a connection is one kernel weight, shared by all positions of a map",
             "3 keep their peak and cover 48% to 48% of their Gaussian"]},
        {"name": "materialise-laws", "options": 'seed=3, stream="fast"', "neurons": [3840, 3840],
         "connections": [1226, 1251], "notes": ["1,251 of 10,591 weights of 17 kernels are open"]}],
    "template": 'mousenet(classes=5, pool=2, weights="masked", fan_in="dense", bias=false, '
                'steps=3, allow_free_signs=false, class_name="")',
    "populations": {"columns": ["name", "units", "layer"],
        "each": {"axons_read": None, "normalisation": "batch", "noise_std": 0.0,
                 "inhibition": "none"},
        "rows": [
            ["T4", 768, "t4_norm"], ["V4", 768, "v4_norm"], ["V2/3", 768, "v2_3_norm"],
            ["V5", 768, "v5_norm"], ["W4", 256, "w4_norm"], ["W2/3", 256, "w2_3_norm"],
            ["W5", 256, "w5_norm"]]},
    "projections": {
        "columns": ["key", "shape", "delay", "connections", "density", "weights", "unknown",
                    "indices_sha256"],
        "each": {"excitatory": 0, "inhibitory": 0, "free": 0},
        "rows": [
            ["input->T4", [3, 27], 0, 51, 0.62963, 51, 51,
             "ccaf74d6a15ac04e01af186fcefabfd6bfc79904b97eb48e7d204d6e4e22e2aa"],
            ["T4->V4", [3, 27], 0, 64, 0.790123, 64, 64,
             "20c1eb8d2bc1783818fcdf071260e2f2da736d45431167e3a6709b57bbfc731d"],
            ["V4->V2/3", [3, 243], 0, 65, 0.089163, 65, 65,
             "e73d2c2c5a35240a109c53dc2f020b25642c38e09833adebad8f807fe11e7631"],
            ["V4->W4", [4, 243], 0, 24, 0.024691, 24, 24,
             "e6b404c81034a8b24245fe14fbd37629ad54dc21af93e5928ae7a69d4a0bdb0b"],
            ["V2/3->V5", [3, 243], 0, 54, 0.074074, 54, 54,
             "b7840f084d65533a00ddf96ff4149cf229337a96c5e1975c1589fa4c83e311f0"],
            ["V2/3->W4", [4, 243], 0, 30, 0.030864, 30, 30,
             "dada242e9d6d35eaf7624d2e2e720dd1fac095a1c5fd92142f4a2370505f1773"],
            ["W4->W2/3", [4, 100], 0, 80, 0.2, 80, 80,
             "9c3edaf3fc2ae56e8ff7515e35dcefa8f56562d529bf87248506b991c2472c11"],
            ["V5->W4", [4, 243], 0, 27, 0.027778, 27, 27,
             "97288132724741f988e0ec37457ba27e752f8a68e05023ff926d14d520425d2f"],
            ["W2/3->W5", [4, 100], 0, 78, 0.195, 78, 78,
             "49d80174c4f15a3f035d30ba49aa7dc6c66b265798c035a438e67e0c78eff3b1"],
            ["V2/3->V4", [3, 243], 1, 33, 0.045267, 33, 33,
             "52294ca8c777752d3b31c56b099154cee3b12f2b5b3df9d7c30f97fda8f05fd7"],
            ["V5->V2/3", [3, 243], 1, 23, 0.03155, 23, 23,
             "4dff419fe79e9f182ee8aa00b30a376a617ff3e02aa11b2e47b920862069b2f1"],
            ["W2/3->W4", [4, 100], 1, 92, 0.23, 92, 92,
             "0eaba1d5f872f1fe3e63ac41a2d07afc5abacf4ec6e365c0f957bf360b85b7d7"],
            ["W5->W2/3", [4, 100], 1, 71, 0.1775, 71, 71,
             "5c1651c3874d77e6941d319092c24d747c5a42c034c6b441b8c1945f00f872bf"],
            ["V4->T4", [3, 27], 1, 61, 0.753086, 61, 61,
             "aea8c79d1609d57032e1ea15055aa46faccb27182b16aa4245b4d37c11180c77"],
            ["W4->V4", [3, 324], 1, 127, 0.130658, 127, 127,
             "25d2c895fe0f70ac2c691261c00bcc8bc1d5aca4a5a83267148bfa79888ce16d"],
            ["W4->V2/3", [3, 324], 1, 127, 0.130658, 127, 127,
             "3d3b7b525eb07b444e51e3f54af6cc7d83067d1f598770f915b33c255e116af7"],
            ["W4->V5", [3, 324], 1, 244, 0.251029, 244, 244,
             "3c731436ed3017529b8c0a9ce3b89b6aa2d7b0b83008837cbcf895ea33e26194"]]},
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
                 {"kernel": [5, 5], "stride": [1, 1], "padding": [2, 2], "end_padding": [0, 0]}],
                ["V2/3", "V4", "v2_3_to_v4",
                 {"kernel": [9, 9], "stride": [1, 1], "padding": [4, 4], "end_padding": [0, 0]}],
                ["V5", "V2/3", "v5_to_v2_3",
                 {"kernel": [9, 9], "stride": [1, 1], "padding": [4, 4], "end_padding": [0, 0]}],
                ["W2/3", "W4", "w2_3_to_w4",
                 {"kernel": [5, 5], "stride": [1, 1], "padding": [2, 2], "end_padding": [0, 0]}],
                ["W5", "W2/3", "w5_to_w2_3",
                 {"kernel": [5, 5], "stride": [1, 1], "padding": [2, 2], "end_padding": [0, 0]}],
                ["V4", "T4", "v4_to_t4",
                 {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "end_padding": [0, 0]}],
                ["W4", "V4", "w4_to_v4",
                 {"kind": "ConvTranspose2d", "kernel": [9, 9], "stride": [2, 2], "padding": [4, 4],
                  "output_padding": [1, 1]}],
                ["W4", "V2/3", "w4_to_v2_3",
                 {"kind": "ConvTranspose2d", "kernel": [9, 9], "stride": [2, 2], "padding": [4, 4],
                  "output_padding": [1, 1]}],
                ["W4", "V5", "w4_to_v5",
                 {"kind": "ConvTranspose2d", "kernel": [9, 9], "stride": [2, 2], "padding": [4, 4],
                  "output_padding": [1, 1]}]]},
        "sweeps": 3, "read_out": {"layer": "read_out", "pool": 2, "maps": ["W5", "V5"]}},
    "options": {"classes": 5, "fan_in": "dense", "steps": 3},
    "state": {"columns": ["shape"], "each": {},
        "rows": {"input_to_t4.mask": [[3, 3, 3, 3], {"held": True}],
            "input_to_t4.weight": [
                [3, 3, 3, 3], {"start": "uniform", "fan_in": 27, "post_axis": 0}],
            "t4_to_v4.mask": [[3, 3, 3, 3], {"held": True}],
            "t4_to_v4.weight": [[3, 3, 3, 3], {"start": "uniform", "fan_in": 27, "post_axis": 0}],
            "v4_to_v2_3.mask": [[3, 3, 9, 9], {"held": True}],
            "v4_to_v2_3.weight": [
                [3, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v4_to_w4.mask": [[4, 3, 9, 9], {"held": True}],
            "v4_to_w4.weight": [[4, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v2_3_to_v5.mask": [[3, 3, 9, 9], {"held": True}],
            "v2_3_to_v5.weight": [
                [3, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v2_3_to_w4.mask": [[4, 3, 9, 9], {"held": True}],
            "v2_3_to_w4.weight": [
                [4, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "w4_to_w2_3.mask": [[4, 4, 5, 5], {"held": True}],
            "w4_to_w2_3.weight": [
                [4, 4, 5, 5], {"start": "uniform", "fan_in": 100, "post_axis": 0}],
            "v5_to_w4.mask": [[4, 3, 9, 9], {"held": True}],
            "v5_to_w4.weight": [[4, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "w2_3_to_w5.mask": [[4, 4, 5, 5], {"held": True}],
            "w2_3_to_w5.weight": [
                [4, 4, 5, 5], {"start": "uniform", "fan_in": 100, "post_axis": 0}],
            "v2_3_to_v4.mask": [[3, 3, 9, 9], {"held": True}],
            "v2_3_to_v4.weight": [
                [3, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "v5_to_v2_3.mask": [[3, 3, 9, 9], {"held": True}],
            "v5_to_v2_3.weight": [
                [3, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 0}],
            "w2_3_to_w4.mask": [[4, 4, 5, 5], {"held": True}],
            "w2_3_to_w4.weight": [
                [4, 4, 5, 5], {"start": "uniform", "fan_in": 100, "post_axis": 0}],
            "w5_to_w2_3.mask": [[4, 4, 5, 5], {"held": True}],
            "w5_to_w2_3.weight": [
                [4, 4, 5, 5], {"start": "uniform", "fan_in": 100, "post_axis": 0}],
            "v4_to_t4.mask": [[3, 3, 3, 3], {"held": True}],
            "v4_to_t4.weight": [[3, 3, 3, 3], {"start": "uniform", "fan_in": 27, "post_axis": 0}],
            "w4_to_v4.mask": [[4, 3, 9, 9], {"held": True}],
            "w4_to_v4.weight": [[4, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 1}],
            "w4_to_v2_3.mask": [[4, 3, 9, 9], {"held": True}],
            "w4_to_v2_3.weight": [
                [4, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 1}],
            "w4_to_v5.mask": [[4, 3, 9, 9], {"held": True}],
            "w4_to_v5.weight": [[4, 3, 9, 9], {"start": "uniform", "fan_in": 243, "post_axis": 1}],
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
    "graph_sha256": "98c85fdf11c5827e1c2399dd425f8248305cbce3a7927831ef00703e7fc7023f",
    "header_sha256": "b15f8411469f12132d9327a90436e0cfe05ee833f16dc447f6380c8d29490e7b",
    "compiler": "connectome-compiler 0.1.0", "statement": 4,
    "sha256": "caf82b2fa3b5c5bc99f004dbb9ef33ab81c817d8ab8047e1921fc613673d72d0",
}  # fmt: skip

# --- data -----------------------------------------------------------------------------------------

ARRAYS_SHA256 = "5af57ed20f1e33dd18e8894ca56d23457e233d5d842005eac228f9754ea8b633"
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
