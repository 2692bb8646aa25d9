"""SmallFeedback: areas by hand.

NOT KNOWN TO BE MEASURED: nothing says how these connections came about. Before results are taken
for those of a brain, ask where the files are from.

Populations are maps, whose units stand for the neurons of an area and layer. What reaches one is
summed, then normalised over the batch, then rectified. Of each convolution's weights only some are
open, drawn once from an anatomical probability; the others are zero in every forward pass, whatever
draws or trains the weights.

1,251 of 10,591 weights of the convolutions are open (11.81%). 10,784 numbers are trained, 1,444 of
them act: open weights, 0 biases, 193 of normalisation and read-out.

Data       areas by hand (unknown; signs: none)
Signs      0 known (0 excitatory, 0%; 0 inhibitory, 0%), 0 enforced, 1,251 unknown
Licence    not stated by the source

Made by connectome-compiler 0.1.0 from the recipe small-feedback:
  level-areas(by="table"): 4,080 neurons, 88,400 connections
    - level 0: T
    - level 1: V
    - level 2: W
  wire-levels(within=["4->2/3", "2/3->5"], sources=["2/3", "4", "5"], targets=["4"], skips=[],
      feedback="mirrored", within_feedback=["2/3->4", "5->2/3"]): 4,080 neurons, 88,400 -> 100,200
      connections
    - 9 projections forward: 1 from the input, 4 to the next level, 4 within areas
    - 8 projections feedback: 4 within areas, 4 mirrored between areas (placeholders)
    - 4 projections dropped: 4 within areas
  normalise-in-degree(total=20.0): 4,080 neurons, 100,200 -> 131,999 connections
    - V2/3: 1 projection of in-degree 10, now 20
    - W4: 3 projections of in-degree 30, now 20
    - V5: 1 projection of in-degree 10, now 20
    - W2/3: 1 projection of in-degree 10, now 20
    - W5: 1 projection of in-degree 10, now 20
    - V4: 2 projections of feedback of in-degree 20, now 20
    - V2/3: 2 projections of feedback of in-degree 20, now 20
    - W4: 1 projection of feedback of in-degree 10, now 20
    - W2/3: 1 projection of feedback of in-degree 10, now 20
    - V5: 1 projection of feedback of in-degree 10, now 20
  size-maps(input_size=16, halve_at=[2]): 4,080 -> 3,840 neurons, 131,999 -> 125,441 connections
    - 4,080 neurons -> 3,840 units, since channels are whole: 5.9% lost, most in T4, 14.7%
    - T4: 3 x 16 x 16 for 900 neurons, 14.7% lost
    - V4: 3 x 16 x 16 for 800 neurons, 4.0% lost
    - V2/3: 3 x 16 x 16 for 800 neurons, 4.0% lost
    - V5: 3 x 16 x 16 for 800 neurons, 4.0% lost
    - W4: 4 x 8 x 8 for 260 neurons, 1.5% lost
    - W2/3: 4 x 8 x 8 for 260 neurons, 1.5% lost
    - W5: 4 x 8 x 8 for 260 neurons, 1.5% lost
  lay-kernels(z=1.0): 3,840 neurons, 125,441 -> 1,226 connections
    - 17 kernels of 3 to 9 pixels: 1,224 of 10,591 weights open in the mean (11.56%)
    - a connection is from here on one weight of a kernel, shared by all places of a map
    - 3 keep their peak and hold 48% to 48% of their Gaussian
  materialise-laws(seed=3, stream="fast"): 3,840 neurons, 1,226 -> 1,251 connections
    - 1,251 of 10,591 weights of 17 kernels are open
  mousenet(classes=5, pool=2, weights="masked", fan_in="dense", bias=false, steps=3,
      allow_free_signs=false, class_name="")
"""

import base64
import hashlib
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import load
from torch import Tensor, nn

PROVENANCE: dict[str, Any] = {
    "recipe": "small-feedback",
    "dataset": "areas by hand",
    "version": "",
    "title": "",
    "measured": False,
    "connectivity": "unknown",
    "made": "",
    "signs": "none",
    "licence": "",
    "citations": [],
    "files": [],
    "steps": [
        {
            "name": "level-areas",
            "options": 'by="table"',
            "neurons": [4080, 4080],
            "connections": [88400, 88400],
            "notes": ["level 0: T", "level 1: V", "level 2: W"],
        },
        {
            "name": "wire-levels",
            "options": 'within=["4->2/3", "2/3->5"], sources=["2/3", "4", "5"], targets=["4"], skips=[], feedback="mirrored", within_feedback=["2/3->4", "5->2/3"]',
            "neurons": [4080, 4080],
            "connections": [88400, 100200],
            "notes": [
                "9 projections forward: 1 from the input, 4 to the next level, 4 within areas",
                "8 projections feedback: 4 within areas, 4 mirrored between areas (placeholders)",
                "4 projections dropped: 4 within areas",
            ],
        },
        {
            "name": "normalise-in-degree",
            "options": "total=20.0",
            "neurons": [4080, 4080],
            "connections": [100200, 131999],
            "notes": [
                "V2/3: 1 projection of in-degree 10, now 20",
                "W4: 3 projections of in-degree 30, now 20",
                "V5: 1 projection of in-degree 10, now 20",
                "W2/3: 1 projection of in-degree 10, now 20",
                "W5: 1 projection of in-degree 10, now 20",
                "V4: 2 projections of feedback of in-degree 20, now 20",
                "V2/3: 2 projections of feedback of in-degree 20, now 20",
                "W4: 1 projection of feedback of in-degree 10, now 20",
                "W2/3: 1 projection of feedback of in-degree 10, now 20",
                "V5: 1 projection of feedback of in-degree 10, now 20",
            ],
        },
        {
            "name": "size-maps",
            "options": "input_size=16, halve_at=[2]",
            "neurons": [4080, 3840],
            "connections": [131999, 125441],
            "notes": [
                "4,080 neurons -> 3,840 units, since channels are whole: 5.9% lost, most in T4, 14.7%",
                "T4: 3 x 16 x 16 for 900 neurons, 14.7% lost",
                "V4: 3 x 16 x 16 for 800 neurons, 4.0% lost",
                "V2/3: 3 x 16 x 16 for 800 neurons, 4.0% lost",
                "V5: 3 x 16 x 16 for 800 neurons, 4.0% lost",
                "W4: 4 x 8 x 8 for 260 neurons, 1.5% lost",
                "W2/3: 4 x 8 x 8 for 260 neurons, 1.5% lost",
                "W5: 4 x 8 x 8 for 260 neurons, 1.5% lost",
            ],
        },
        {
            "name": "lay-kernels",
            "options": "z=1.0",
            "neurons": [3840, 3840],
            "connections": [125441, 1226],
            "notes": [
                "17 kernels of 3 to 9 pixels: 1,224 of 10,591 weights open in the mean (11.56%)",
                "a connection is from here on one weight of a kernel, shared by all places of a map",
                "3 keep their peak and hold 48% to 48% of their Gaussian",
            ],
        },
        {
            "name": "materialise-laws",
            "options": 'seed=3, stream="fast"',
            "neurons": [3840, 3840],
            "connections": [1226, 1251],
            "notes": ["1,251 of 10,591 weights of 17 kernels are open"],
        },
    ],
    "template": 'mousenet(classes=5, pool=2, weights="masked", fan_in="dense", bias=false, steps=3, allow_free_signs=false, class_name="")',
    "populations": [
        {
            "name": "T4",
            "units": 768,
            "layer": "t4_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "V4",
            "units": 768,
            "layer": "v4_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "V2/3",
            "units": 768,
            "layer": "v2_3_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "V5",
            "units": 768,
            "layer": "v5_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "W4",
            "units": 256,
            "layer": "w4_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "W2/3",
            "units": 256,
            "layer": "w2_3_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
        {
            "name": "W5",
            "units": 256,
            "layer": "w5_norm",
            "axons_read": None,
            "normalisation": "batch",
            "noise_std": 0.0,
            "inhibition": "none",
        },
    ],
    "projections": [
        {
            "key": "input->T4",
            "shape": [3, 27],
            "delay": 0,
            "connections": 51,
            "density": 0.62963,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 51, "enforced": 0},
            "indices_sha256": "ccaf74d6a15ac04e01af186fcefabfd6bfc79904b97eb48e7d204d6e4e22e2aa",
            "signs_sha256": "28f67c21e37b181b816272814d26aaed9e4a283642a076f72f566ca0be3333ea",
            "weights": 51,
        },
        {
            "key": "T4->V4",
            "shape": [3, 27],
            "delay": 0,
            "connections": 64,
            "density": 0.790123,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 64, "enforced": 0},
            "indices_sha256": "20c1eb8d2bc1783818fcdf071260e2f2da736d45431167e3a6709b57bbfc731d",
            "signs_sha256": "74fb3800fc8a8a97365eb301952651584c08c77e45127a3be55bad37b717c884",
            "weights": 64,
        },
        {
            "key": "V4->V2/3",
            "shape": [3, 243],
            "delay": 0,
            "connections": 65,
            "density": 0.089163,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 65, "enforced": 0},
            "indices_sha256": "e73d2c2c5a35240a109c53dc2f020b25642c38e09833adebad8f807fe11e7631",
            "signs_sha256": "c345853832fe1b46bc81b2d1eea8d583724e1c3c65c58588e0702eb962571068",
            "weights": 65,
        },
        {
            "key": "V4->W4",
            "shape": [4, 243],
            "delay": 0,
            "connections": 24,
            "density": 0.024691,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 24, "enforced": 0},
            "indices_sha256": "e6b404c81034a8b24245fe14fbd37629ad54dc21af93e5928ae7a69d4a0bdb0b",
            "signs_sha256": "cb9a601e5407e04203982acd736a8b2b1aa283bfd2be6373a5e2cd973d9e7b47",
            "weights": 24,
        },
        {
            "key": "V2/3->V5",
            "shape": [3, 243],
            "delay": 0,
            "connections": 54,
            "density": 0.074074,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 54, "enforced": 0},
            "indices_sha256": "b7840f084d65533a00ddf96ff4149cf229337a96c5e1975c1589fa4c83e311f0",
            "signs_sha256": "6ed1b9807f70ab16803e3eb152a0b13e84fb6d829e8c362957e72a9bbd522659",
            "weights": 54,
        },
        {
            "key": "V2/3->W4",
            "shape": [4, 243],
            "delay": 0,
            "connections": 30,
            "density": 0.030864,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 30, "enforced": 0},
            "indices_sha256": "dada242e9d6d35eaf7624d2e2e720dd1fac095a1c5fd92142f4a2370505f1773",
            "signs_sha256": "2a9971eef3e6ee66a9638ea33807e56475b55104ee1ea1a23622f808b9360dc4",
            "weights": 30,
        },
        {
            "key": "W4->W2/3",
            "shape": [4, 100],
            "delay": 0,
            "connections": 80,
            "density": 0.2,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 80, "enforced": 0},
            "indices_sha256": "9c3edaf3fc2ae56e8ff7515e35dcefa8f56562d529bf87248506b991c2472c11",
            "signs_sha256": "cd1b4d2d3e98fffcd9c1a65fe187f3a1bbca154a43334be066f6e70fb036d267",
            "weights": 80,
        },
        {
            "key": "V5->W4",
            "shape": [4, 243],
            "delay": 0,
            "connections": 27,
            "density": 0.027778,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 27, "enforced": 0},
            "indices_sha256": "97288132724741f988e0ec37457ba27e752f8a68e05023ff926d14d520425d2f",
            "signs_sha256": "24f5e40dc5cb4440fcac2916145145c85d32533888bbc948f6003100f339cd67",
            "weights": 27,
        },
        {
            "key": "W2/3->W5",
            "shape": [4, 100],
            "delay": 0,
            "connections": 78,
            "density": 0.195,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 78, "enforced": 0},
            "indices_sha256": "49d80174c4f15a3f035d30ba49aa7dc6c66b265798c035a438e67e0c78eff3b1",
            "signs_sha256": "cd81f823690587da953c218cea429870325ffc0e558e9fd80c8c70842ba0419b",
            "weights": 78,
        },
        {
            "key": "V2/3->V4",
            "shape": [3, 243],
            "delay": 1,
            "connections": 33,
            "density": 0.045267,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 33, "enforced": 0},
            "indices_sha256": "52294ca8c777752d3b31c56b099154cee3b12f2b5b3df9d7c30f97fda8f05fd7",
            "signs_sha256": "fba213979b4d6ef9d430007e45c5204f913eda0712fff84cb6ac5259a1b453cf",
            "weights": 33,
        },
        {
            "key": "V5->V2/3",
            "shape": [3, 243],
            "delay": 1,
            "connections": 23,
            "density": 0.03155,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 23, "enforced": 0},
            "indices_sha256": "4dff419fe79e9f182ee8aa00b30a376a617ff3e02aa11b2e47b920862069b2f1",
            "signs_sha256": "557b3987cd18a4e7b1bcc4186ed74c448a79e975e8a9c2ed1144f1f4123fd8cc",
            "weights": 23,
        },
        {
            "key": "W2/3->W4",
            "shape": [4, 100],
            "delay": 1,
            "connections": 92,
            "density": 0.23,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 92, "enforced": 0},
            "indices_sha256": "0eaba1d5f872f1fe3e63ac41a2d07afc5abacf4ec6e365c0f957bf360b85b7d7",
            "signs_sha256": "578373ec9fb5131ef7644ae89f33359816ed47cbda1d49f6e6cc541fed25921e",
            "weights": 92,
        },
        {
            "key": "W5->W2/3",
            "shape": [4, 100],
            "delay": 1,
            "connections": 71,
            "density": 0.1775,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 71, "enforced": 0},
            "indices_sha256": "5c1651c3874d77e6941d319092c24d747c5a42c034c6b441b8c1945f00f872bf",
            "signs_sha256": "952a874b42e32f4d9018be164e87db9ea95a26d6d57fc5df9d3e4d33dc54bb16",
            "weights": 71,
        },
        {
            "key": "V4->T4",
            "shape": [3, 27],
            "delay": 1,
            "connections": 61,
            "density": 0.753086,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 61, "enforced": 0},
            "indices_sha256": "aea8c79d1609d57032e1ea15055aa46faccb27182b16aa4245b4d37c11180c77",
            "signs_sha256": "cda3554c202c356e883381ecd9a321a9b7d0fd453f192a9e27145a0a0999c74c",
            "weights": 61,
        },
        {
            "key": "W4->V4",
            "shape": [3, 324],
            "delay": 1,
            "connections": 127,
            "density": 0.130658,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 127, "enforced": 0},
            "indices_sha256": "25d2c895fe0f70ac2c691261c00bcc8bc1d5aca4a5a83267148bfa79888ce16d",
            "signs_sha256": "92760222d815141499c111c49de46b3f424bcf70174d1d9dd0c447fbf543e8db",
            "weights": 127,
        },
        {
            "key": "W4->V2/3",
            "shape": [3, 324],
            "delay": 1,
            "connections": 127,
            "density": 0.130658,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 127, "enforced": 0},
            "indices_sha256": "3d3b7b525eb07b444e51e3f54af6cc7d83067d1f598770f915b33c255e116af7",
            "signs_sha256": "92760222d815141499c111c49de46b3f424bcf70174d1d9dd0c447fbf543e8db",
            "weights": 127,
        },
        {
            "key": "W4->V5",
            "shape": [3, 324],
            "delay": 1,
            "connections": 244,
            "density": 0.251029,
            "excitatory": 0,
            "inhibitory": 0,
            "signs": {"excitatory": 0, "inhibitory": 0, "unknown": 244, "enforced": 0},
            "indices_sha256": "3c731436ed3017529b8c0a9ce3b89b6aa2d7b0b83008837cbcf895ea33e26194",
            "signs_sha256": "13a840070143cc72d1001a2a6c2d5972f554f195b4451535a081f829fa073c54",
            "weights": 244,
        },
    ],
    "read_in": {},
    "read_out": {"W5": "read_out", "V5": "read_out"},
    "stack": {
        "units": [
            {"name": "input", "shape": [3, 16, 16], "activation": "linear", "normalisation": ""},
            {"name": "T4", "shape": [3, 16, 16], "activation": "relu", "normalisation": "t4_norm"},
            {"name": "V4", "shape": [3, 16, 16], "activation": "relu", "normalisation": "v4_norm"},
            {
                "name": "V2/3",
                "shape": [3, 16, 16],
                "activation": "relu",
                "normalisation": "v2_3_norm",
            },
            {"name": "V5", "shape": [3, 16, 16], "activation": "relu", "normalisation": "v5_norm"},
            {"name": "W4", "shape": [4, 8, 8], "activation": "relu", "normalisation": "w4_norm"},
            {
                "name": "W2/3",
                "shape": [4, 8, 8],
                "activation": "relu",
                "normalisation": "w2_3_norm",
            },
            {"name": "W5", "shape": [4, 8, 8], "activation": "relu", "normalisation": "w5_norm"},
        ],
        "layers": [
            {
                "pre": "input",
                "post": "T4",
                "layer": "input_to_t4",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [3, 3],
                    "stride": [1, 1],
                    "padding": [1, 1],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "T4",
                "post": "V4",
                "layer": "t4_to_v4",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [3, 3],
                    "stride": [1, 1],
                    "padding": [1, 1],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "V4",
                "post": "V2/3",
                "layer": "v4_to_v2_3",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [9, 9],
                    "stride": [1, 1],
                    "padding": [4, 4],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "V4",
                "post": "W4",
                "layer": "v4_to_w4",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [9, 9],
                    "stride": [2, 2],
                    "padding": [3, 3],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [1, 1],
                    "per_position": True,
                },
            },
            {
                "pre": "V2/3",
                "post": "V5",
                "layer": "v2_3_to_v5",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [9, 9],
                    "stride": [1, 1],
                    "padding": [4, 4],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "V2/3",
                "post": "W4",
                "layer": "v2_3_to_w4",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [9, 9],
                    "stride": [2, 2],
                    "padding": [3, 3],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [1, 1],
                    "per_position": True,
                },
            },
            {
                "pre": "W4",
                "post": "W2/3",
                "layer": "w4_to_w2_3",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [5, 5],
                    "stride": [1, 1],
                    "padding": [2, 2],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "V5",
                "post": "W4",
                "layer": "v5_to_w4",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [9, 9],
                    "stride": [2, 2],
                    "padding": [3, 3],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [1, 1],
                    "per_position": True,
                },
            },
            {
                "pre": "W2/3",
                "post": "W5",
                "layer": "w2_3_to_w5",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [5, 5],
                    "stride": [1, 1],
                    "padding": [2, 2],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "V2/3",
                "post": "V4",
                "layer": "v2_3_to_v4",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [9, 9],
                    "stride": [1, 1],
                    "padding": [4, 4],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "V5",
                "post": "V2/3",
                "layer": "v5_to_v2_3",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [9, 9],
                    "stride": [1, 1],
                    "padding": [4, 4],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "W2/3",
                "post": "W4",
                "layer": "w2_3_to_w4",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [5, 5],
                    "stride": [1, 1],
                    "padding": [2, 2],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "W5",
                "post": "W2/3",
                "layer": "w5_to_w2_3",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [5, 5],
                    "stride": [1, 1],
                    "padding": [2, 2],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "V4",
                "post": "T4",
                "layer": "v4_to_t4",
                "operator": {
                    "kind": "Conv2d",
                    "kernel": [3, 3],
                    "stride": [1, 1],
                    "padding": [1, 1],
                    "dilation": [1, 1],
                    "groups": 1,
                    "end_padding": [0, 0],
                    "per_position": True,
                },
            },
            {
                "pre": "W4",
                "post": "V4",
                "layer": "w4_to_v4",
                "operator": {
                    "kind": "ConvTranspose2d",
                    "kernel": [9, 9],
                    "stride": [2, 2],
                    "padding": [4, 4],
                    "output_padding": [1, 1],
                    "dilation": [1, 1],
                    "groups": 1,
                    "per_position": True,
                },
            },
            {
                "pre": "W4",
                "post": "V2/3",
                "layer": "w4_to_v2_3",
                "operator": {
                    "kind": "ConvTranspose2d",
                    "kernel": [9, 9],
                    "stride": [2, 2],
                    "padding": [4, 4],
                    "output_padding": [1, 1],
                    "dilation": [1, 1],
                    "groups": 1,
                    "per_position": True,
                },
            },
            {
                "pre": "W4",
                "post": "V5",
                "layer": "w4_to_v5",
                "operator": {
                    "kind": "ConvTranspose2d",
                    "kernel": [9, 9],
                    "stride": [2, 2],
                    "padding": [4, 4],
                    "output_padding": [1, 1],
                    "dilation": [1, 1],
                    "groups": 1,
                    "per_position": True,
                },
            },
        ],
        "sweeps": 3,
        "read_out": {"layer": "read_out", "pool": 2, "maps": ["W5", "V5"]},
    },
    "options": {"classes": 5, "fan_in": "dense", "steps": 3},
    "state": {
        "input_to_t4.mask": {"shape": [3, 3, 3, 3], "held": True},
        "input_to_t4.weight": {
            "shape": [3, 3, 3, 3],
            "start": "uniform",
            "fan_in": 27,
            "post_axis": 0,
        },
        "t4_to_v4.mask": {"shape": [3, 3, 3, 3], "held": True},
        "t4_to_v4.weight": {
            "shape": [3, 3, 3, 3],
            "start": "uniform",
            "fan_in": 27,
            "post_axis": 0,
        },
        "v4_to_v2_3.mask": {"shape": [3, 3, 9, 9], "held": True},
        "v4_to_v2_3.weight": {
            "shape": [3, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 0,
        },
        "v4_to_w4.mask": {"shape": [4, 3, 9, 9], "held": True},
        "v4_to_w4.weight": {
            "shape": [4, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 0,
        },
        "v2_3_to_v5.mask": {"shape": [3, 3, 9, 9], "held": True},
        "v2_3_to_v5.weight": {
            "shape": [3, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 0,
        },
        "v2_3_to_w4.mask": {"shape": [4, 3, 9, 9], "held": True},
        "v2_3_to_w4.weight": {
            "shape": [4, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 0,
        },
        "w4_to_w2_3.mask": {"shape": [4, 4, 5, 5], "held": True},
        "w4_to_w2_3.weight": {
            "shape": [4, 4, 5, 5],
            "start": "uniform",
            "fan_in": 100,
            "post_axis": 0,
        },
        "v5_to_w4.mask": {"shape": [4, 3, 9, 9], "held": True},
        "v5_to_w4.weight": {
            "shape": [4, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 0,
        },
        "w2_3_to_w5.mask": {"shape": [4, 4, 5, 5], "held": True},
        "w2_3_to_w5.weight": {
            "shape": [4, 4, 5, 5],
            "start": "uniform",
            "fan_in": 100,
            "post_axis": 0,
        },
        "v2_3_to_v4.mask": {"shape": [3, 3, 9, 9], "held": True},
        "v2_3_to_v4.weight": {
            "shape": [3, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 0,
        },
        "v5_to_v2_3.mask": {"shape": [3, 3, 9, 9], "held": True},
        "v5_to_v2_3.weight": {
            "shape": [3, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 0,
        },
        "w2_3_to_w4.mask": {"shape": [4, 4, 5, 5], "held": True},
        "w2_3_to_w4.weight": {
            "shape": [4, 4, 5, 5],
            "start": "uniform",
            "fan_in": 100,
            "post_axis": 0,
        },
        "w5_to_w2_3.mask": {"shape": [4, 4, 5, 5], "held": True},
        "w5_to_w2_3.weight": {
            "shape": [4, 4, 5, 5],
            "start": "uniform",
            "fan_in": 100,
            "post_axis": 0,
        },
        "v4_to_t4.mask": {"shape": [3, 3, 3, 3], "held": True},
        "v4_to_t4.weight": {
            "shape": [3, 3, 3, 3],
            "start": "uniform",
            "fan_in": 27,
            "post_axis": 0,
        },
        "w4_to_v4.mask": {"shape": [4, 3, 9, 9], "held": True},
        "w4_to_v4.weight": {
            "shape": [4, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 1,
        },
        "w4_to_v2_3.mask": {"shape": [4, 3, 9, 9], "held": True},
        "w4_to_v2_3.weight": {
            "shape": [4, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 1,
        },
        "w4_to_v5.mask": {"shape": [4, 3, 9, 9], "held": True},
        "w4_to_v5.weight": {
            "shape": [4, 3, 9, 9],
            "start": "uniform",
            "fan_in": 243,
            "post_axis": 1,
        },
        "t4_norm.weight": {"shape": [3], "start": 1.0},
        "t4_norm.bias": {"shape": [3], "start": 0.0},
        "t4_norm.running_mean": {"shape": [3], "start": 0.0, "trained": False},
        "t4_norm.running_var": {"shape": [3], "start": 1.0, "trained": False},
        "t4_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
        "v4_norm.weight": {"shape": [3], "start": 1.0},
        "v4_norm.bias": {"shape": [3], "start": 0.0},
        "v4_norm.running_mean": {"shape": [3], "start": 0.0, "trained": False},
        "v4_norm.running_var": {"shape": [3], "start": 1.0, "trained": False},
        "v4_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
        "v2_3_norm.weight": {"shape": [3], "start": 1.0},
        "v2_3_norm.bias": {"shape": [3], "start": 0.0},
        "v2_3_norm.running_mean": {"shape": [3], "start": 0.0, "trained": False},
        "v2_3_norm.running_var": {"shape": [3], "start": 1.0, "trained": False},
        "v2_3_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
        "v5_norm.weight": {"shape": [3], "start": 1.0},
        "v5_norm.bias": {"shape": [3], "start": 0.0},
        "v5_norm.running_mean": {"shape": [3], "start": 0.0, "trained": False},
        "v5_norm.running_var": {"shape": [3], "start": 1.0, "trained": False},
        "v5_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
        "w4_norm.weight": {"shape": [4], "start": 1.0},
        "w4_norm.bias": {"shape": [4], "start": 0.0},
        "w4_norm.running_mean": {"shape": [4], "start": 0.0, "trained": False},
        "w4_norm.running_var": {"shape": [4], "start": 1.0, "trained": False},
        "w4_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
        "w2_3_norm.weight": {"shape": [4], "start": 1.0},
        "w2_3_norm.bias": {"shape": [4], "start": 0.0},
        "w2_3_norm.running_mean": {"shape": [4], "start": 0.0, "trained": False},
        "w2_3_norm.running_var": {"shape": [4], "start": 1.0, "trained": False},
        "w2_3_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
        "w5_norm.weight": {"shape": [4], "start": 1.0},
        "w5_norm.bias": {"shape": [4], "start": 0.0},
        "w5_norm.running_mean": {"shape": [4], "start": 0.0, "trained": False},
        "w5_norm.running_var": {"shape": [4], "start": 1.0, "trained": False},
        "w5_norm.num_batches_tracked": {"shape": [], "start": 0, "trained": False},
        "read_out.weight": {"shape": [5, 28], "start": "uniform", "fan_in": 28},
        "read_out.bias": {"shape": [5], "start": "uniform", "fan_in": 28},
    },
    "graph_sha256": "98c85fdf11c5827e1c2399dd425f8248305cbce3a7927831ef00703e7fc7023f",
    "header_sha256": "ac0b2773aad5c62fbcaea9880de70c9f6297702ebda1f8339392c3019b11a326",
    "compiler": "connectome-compiler 0.1.0",
    "statement": 2,
    "sha256": "191de068dd0c40842dc51fdf61dc2a6c48254df6bf810dc9fab3646544f8edfd",
}

# --- layers ---------------------------------------------------------------------------------------

# as in connectome_compiler.nn

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


def build(**options: Any) -> SmallFeedback:
    """Return the network; ``options`` are those of `SmallFeedback`."""
    return SmallFeedback(**options)


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
