"""Mutants made by hand, by kind of fault: (search, replacement) of the emitted text.

Each is what a careless author of a template or a layer, or a hostile one, might have written. The
search text occurs once in the module of its case, or the mutant is refused here.
"""

# ruff: noqa: E501  the text of a module is as long as it is

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mutants.cases import CASES
from mutants.judge import Mutant

Edit = tuple[str, str]

ACTS = "return size_with_sign(weight, self.sign, self._any_free)"
FACTOR = "return weight * torch.copysign(signed.new_ones(()), signed)"
DIFFERS = 'return where and f"differs {where}: the weights are of another network"'
MISSING = "                missing.append(prefix + name)\n"
BUILT = "    return build_network(Mutants, options, device, dtype, seed)"
SAVED = "            if own is not None:\n                destination"
MULTIPLY = "return self.multiply(x, self.effective_weight())"
EDGES = "return _edge_product(ptr, pre, weight, x)"
Y = "return y if self.bias is None else y + self.bias"
DRAWN = "self.weight.uniform_(-1, 1).mul_(per_connection)"
BIAS_DRAWN = "self.bias.uniform_(-1, 1).mul_(bound * (degree > 0))"
RELU = "        rates = torch.relu(drive)\n"
NOISE = "rates = torch.relu(rates + self.noise_std * torch.randn_like(rates))"
CHAIN_OUT = 'return self.l6_exc_to_classes(rates["L6.exc"])'

BIONIC_CHAIN: dict[str, Edit] = {
    # By how it is called.
    "half in inference mode": (
        MULTIPLY,
        MULTIPLY + " * (1 - 0.5 * torch.is_inference_mode_enabled())",
    ),
    "a tenth less where inputs are not contiguous": (
        MULTIPLY,
        MULTIPLY + " * (1.0 if x.is_contiguous() else 0.9)",
    ),
    "a tenth less under autocast": (
        MULTIPLY,
        MULTIPLY + ' * (1 - 0.1 * torch.is_autocast_enabled("cpu"))',
    ),
    "a fifth less in half precision": (
        MULTIPLY,
        MULTIPLY + " * (0.8 if x.dtype == torch.bfloat16 else 1.0)",
    ),
    "an empty batch refused": (MULTIPLY, "assert len(x)\n        " + MULTIPLY),
    "weights of the first call": (
        MULTIPLY,
        (
            "if not hasattr(self, 'kept'):\n"
            "            self.kept = self.effective_weight().detach()\n"
            "        return self.multiply(x, self.kept if not self.training else"
            " self.effective_weight())"
        ),
    ),
    "bad numbers become 0": (MULTIPLY, MULTIPLY.replace("(x,", "(x.nan_to_num(0, 0, 0),")),
    "an image changed in place": (
        "features = self.front_end(image)",
        "features = self.front_end(image)\n        image.detach().add_(1)",
    ),
    "no bias where nothing comes in": (
        Y,
        "y = y if self.bias is None or bool(x.any()) else y - self.bias\n        " + Y,
    ),
    "loaded weights a little larger": (
        "        self._load_same(rest, prefix, metadata, strict, *lists)\n",
        (
            "        if (held := prefix + 'weight') in rest:\n"
            "            rest[held] = 1.01 * rest[held]\n"
            "        self._load_same(rest, prefix, metadata, strict, *lists)\n"
        ),
    ),
    # Connections that act as 0.
    "all weights 0": (FACTOR, FACTOR.replace("new_ones", "new_zeros")),
    "the first connection 0": (ACTS, ACTS + " * (torch.arange(len(weight)) > 0)"),
    "the last connection 0": (ACTS, ACTS + " * (torch.arange(len(weight)) < len(weight) - 1)"),
    "each fifth connection 0": (ACTS, ACTS + " * (torch.arange(len(weight)) % 5 != 4)"),
    "all 0 in large projections": (ACTS, ACTS + " * (len(weight) < 9)"),
    "negative raw weights 0": (ACTS, ACTS.replace("(weight,", "(torch.relu(weight),")),
    "positive raw weights 0": (ACTS, ACTS.replace("(weight,", "(torch.relu(-weight),")),
    "small weights 0": (ACTS, ACTS + " * (weight.abs() > 1e-3)"),
    "tiny weights 0": (ACTS, ACTS + " * (weight.abs() > 1e-6)"),
    "0 of neurons with many inputs": (
        ACTS,
        ACTS + " * (self.ptr.diff() < 3).repeat_interleave(self.ptr.diff())",
    ),
    "0 into the last neuron": (
        Y,
        "y = y * (torch.arange(self.n_post) < self.n_post - 1)\n        " + Y,
    ),
    "0 from the first neuron": (
        MULTIPLY,
        "x = x * (torch.arange(self.n_pre) > 0)\n        " + MULTIPLY,
    ),
    "0 after many calls": (
        MULTIPLY,
        (
            "self.calls = getattr(self, 'calls', 0) + 1\n"
            "        return self.multiply(x, self.effective_weight() * (self.calls < 30))"
        ),
    ),
    "0 in training after many calls": (
        MULTIPLY,
        (
            "self.calls = getattr(self, 'calls', 0) + self.training\n"
            "        return self.multiply(x, self.effective_weight() * (self.calls < 3))"
        ),
    ),
    # Sizes.
    "weights doubled": (ACTS, ACTS.replace("(weight,", "(2 * weight,")),
    "weights squared": (ACTS, ACTS.replace("(weight,", "(weight * weight.abs(),")),
    "weights clamped at 1": (ACTS, ACTS.replace("(weight,", "(weight.clamp(-1, 1),")),
    "weights clamped at 6": (ACTS, ACTS.replace("(weight,", "(weight.clamp(-6, 6),")),
    "negative weights a tenth": (
        ACTS,
        ACTS.replace("(weight,", "(nn.functional.leaky_relu(weight, 0.1),"),
    ),
    "weights through tanh": (ACTS, ACTS.replace("(weight,", "(torch.tanh(weight),")),
    "weights of 1 part in 10,000 more": (ACTS, ACTS.replace("(weight,", "(1.0001 * weight,")),
    "weights rounded to bfloat16": (
        MULTIPLY,
        "return self.multiply(x, self.effective_weight().bfloat16().to(x.dtype))",
    ),
    "weights rounded to bfloat16 where single": (
        "weight = weight.to(precision)",
        "weight = (weight.bfloat16().float() if weight.dtype == torch.float32 else weight).to(precision)",
    ),
    "double rounded to single": ("y = y.t().reshape", "y = y.float().t().reshape"),
    "no slope at zero": (
        ACTS,
        "return self.sign * weight.abs()",
    ),
    "a divided sum over inputs": (
        ACTS,
        ACTS + " / self.ptr.diff().clamp(min=1).repeat_interleave(self.ptr.diff())",
    ),
    # By batch.
    "wrong for one sample": (".squeeze(1)).unsqueeze(1)", ".squeeze(1)).unsqueeze(1) * 2"),
    "wrong above batch 32": (MULTIPLY, MULTIPLY + " * (len(x) <= 32)"),
    "wrong above batch 200": (MULTIPLY, MULTIPLY + " * (len(x) <= 200)"),
    "wrong for batch 7": (MULTIPLY, MULTIPLY + " * (len(x) != 7)"),
    "tiles in another order": ("return torch.cat(tiles, 1)", "return torch.cat(tiles[::-1], 1)"),
    "only the first tile": (
        "x[:, k : k + TILE_COLUMNS]) for k in starts]",
        "x[:, :TILE_COLUMNS][:, : x.shape[1] - k]) for k in starts]",
    ),
    "the first row alone": (Y, "y = torch.cat((y[:1], 0 * y[1:]))\n        " + Y),
    "rows above the sixteenth": (Y, "y = torch.cat((y[:16], 0 * y[16:]))\n        " + Y),
    "the last row": (Y, "y = torch.cat((y[:-1], y[:1]))\n        " + Y),
    # By activity.
    "drives saturate": (Y, "y = y.clamp(-20, 20)\n        " + Y),
    "negative inputs cut": (MULTIPLY, MULTIPLY.replace("(x,", "(x.clamp(min=0),")),
    "large inputs cut": (MULTIPLY, MULTIPLY.replace("(x,", "(x.clamp(max=30),")),
    "a leak": (Y, "y = y + 1e-7 * x.sum(-1, True)\n        " + Y),
    "a leak from large activity": (
        Y,
        "y = y + (x.abs().sum(-1, True) - 40).relu()\n        " + Y,
    ),
    # Gradients.
    "no gradient of weights above batch 16": (
        "grad_weight = gradient(g, x, *structure)",
        "grad_weight = gradient(g, x, *structure) * (x.shape[1] <= 16)",
    ),
    "a gradient of weights for few samples": (
        (
            "if 1 < x.shape[1] < 8:  # torch is 5-10 times slower for 2 to 7 columns than for 8\n"
            "        pad = (0, 8 - x.shape[1])\n        g, x = "
        ),
        "if 1 < x.shape[1] < 8:\n        pad = (1, 6 - x.shape[1])\n        g, x = ",
    ),
    "no gradient of the input for one sample": (
        "grad_x = product(grad, weight, *structure, not ctx.transposed)",
        "grad_x = product(grad, weight, *structure, not ctx.transposed) * (grad.shape[1] > 1)",
    ),
    "gradients clipped": (
        "grad_weight = gradient(g, x, *structure)",
        "grad_weight = gradient(g, x, *structure).clamp(-1, 1)",
    ),
    "the first weight learns nothing": (
        "grad_weight = gradient(g, x, *structure)",
        "grad_weight = gradient(g, x, *structure)\n        grad_weight[:1] = 0",
    ),
    "nothing learns in evaluation": (
        MULTIPLY,
        (
            "return self.multiply(x, self.effective_weight() if self.training else"
            " self.effective_weight().detach())"
        ),
    ),
    "another second gradient": (
        "grad_g = product(x, grad, *structure, False)",
        "grad_g = 2 * product(x, grad, *structure, False)",
    ),
    "another gradient under torch.func": (
        "plain_product(weight, self._targets()",
        "plain_product(2 * weight - weight.detach(), self._targets()",
    ),
    # Starts.
    "starts a hundred times as large": (DRAWN, DRAWN + ".mul_(100)"),
    "starts at 0": (DRAWN, DRAWN + ".mul_(0)"),
    "starts without the fan-in": (DRAWN, "self.weight.uniform_(-1, 1)"),
    "starts below 0": ("            start_as_sizes(self.weight, self.sign)\n", ""),
    "starts normal": (DRAWN, "self.weight.normal_(0, 3**-0.5).mul_(per_connection)"),
    "starts 5 per cent larger": (DRAWN, DRAWN + ".mul_(1.05)"),
    "starts the same every time": (
        "        arrays = read_arrays()\n",
        "        torch.manual_seed(0)\n        arrays = read_arrays()\n",
    ),
    "starts by the degree squared": (".clamp(min=1).rsqrt()", ".clamp(min=1).float().pow(-1)"),
    "bias starts at 1": (BIAS_DRAWN, "self.bias.fill_(1.0)"),
    "bias starts at 0": (BIAS_DRAWN, "self.bias.zero_()"),
    "bias starts without the fan-in": (BIAS_DRAWN, "self.bias.uniform_(-1, 1)"),
    "bias of neurons without input": (BIAS_DRAWN, "self.bias.uniform_(-1, 1).mul_(bound)"),
    "read-out starts at 0": (
        "        # Populations, in the order",
        "        nn.init.zeros_(self.l6_exc_to_classes.weight)\n\n        # Populations, in the order",
    ),
    "read-in starts doubled": (
        "        # Populations, in the order",
        "        self.image_to_l4_exc.weight.data.mul_(2)\n\n        # Populations, in the order",
    ),
    "a norm that starts at a gain of 2": (
        '"layer": nn.LayerNorm(n),',
        (
            '"layer": nn.LayerNorm(n),\n        }\n'
            '        nn.init.constant_(normalisers["layer"].weight, 2.0)\n        normalisers |= {'
        ),
    ),
    "read-in not centred": ("            centre(self.image_to_l4_exc, filters[1])\n", ""),
    "maps centred together": (
        "centre(self.image_to_l4_exc, filters[1])",
        "centre(self.image_to_l4_exc, 1)",
    ),
    "what settles balanced with the rest": ("((post, pre == post), layer)", "(post, layer)"),
    "biases drawn where balanced": (
        "                layer.bias.zero_()\n",
        "                pass\n",
    ),
    # Calibration.
    "calibrated by build()": (
        '\n    def forward(self, image: Tensor) -> Tensor:\n        """Return the logits',
        '        self.calibrate(self.example_input(8))\n\n    def forward(self, image: Tensor) -> Tensor:\n        """Return the logits',
    ),
    "calibrated by medians": (
        "held[0].sub_(drive.mean(0))",
        "held[0].sub_(drive.median(0).values)",
    ),
    "calibrated to another variance": (
        "drive.mean(0)).square().mean().sqrt()",
        "drive.mean(0)).square().mean().sqrt() * 1.1",
    ),
    "calibrated with noise": (
        "        self.eval()\n        try:\n            calibrate(",
        "        try:\n            calibrate(",
    ),
    "calibrated and left in evaluation": (
        "            self.train(training)\n",
        "            pass\n",
    ),
    "settling calibrated": ("if pre != post:  # what settles", "if True:  # what settles"),
    # Noise.
    "noise doubled": (NOISE, NOISE.replace("self.noise_std", "2 * self.noise_std")),
    "noise halved": (NOISE, NOISE.replace("self.noise_std", "0.5 * self.noise_std")),
    "noise squared": (NOISE, NOISE.replace("self.noise_std", "self.noise_std**2")),
    "uniform noise": (
        NOISE,
        NOISE.replace("torch.randn_like(rates)", "3**0.5 * (2 * torch.rand_like(rates) - 1)"),
    ),
    "noise of two values": (
        NOISE,
        NOISE.replace("torch.randn_like(rates)", "torch.randn_like(rates).sign()"),
    ),
    "noise with a mean": (
        NOISE,
        NOISE.replace("torch.randn_like(rates)", "(0.2 + torch.randn_like(rates))"),
    ),
    "noise never above 0": (
        NOISE,
        NOISE.replace("torch.randn_like(rates)", "-torch.randn_like(rates).abs()"),
    ),
    "one noise for all rows": (
        NOISE,
        NOISE.replace("torch.randn_like(rates)", "torch.randn_like(rates[:1])"),
    ),
    "one noise for all units": (
        NOISE,
        NOISE.replace("torch.randn_like(rates)", "torch.randn_like(rates[:, :1])"),
    ),
    "noise that multiplies": (
        NOISE,
        NOISE.replace("torch.randn_like(rates)", "rates * torch.randn_like(rates)"),
    ),
    "the same noise at each call": (
        NOISE,
        "source = torch.Generator().manual_seed(0)\n            "
        + NOISE.replace(
            "torch.randn_like(rates)", "torch.randn(rates.shape, generator=source).to(rates)"
        ),
    ),
    "noise in evaluation": ("if self.training and self.noise_std:", "if self.noise_std:"),
    "no noise": ("if self.training and self.noise_std:", "if False and self.noise_std:"),
    "noise before the inhibition": (
        "        if self.inhibition is not None:\n            amount",
        (
            "        if self.training and self.noise_std:\n"
            "            rates = rates + self.noise_std * torch.randn_like(rates)\n"
            "        if self.inhibition is not None:\n            amount"
        ),
    ),
    "noise without gradient": (NOISE, NOISE.replace("rates + ", "rates.detach() + ")),
    "noise in one population": (
        "self.l5_exc = RateUnits(\n            5,\n            normalisation=normalisation,\n            noise_std=noise_std",
        "self.l5_exc = RateUnits(\n            5,\n            normalisation=normalisation,\n            noise_std=0.0",
    ),
    # Biases.
    "a population's bias dropped": (
        'arrays["L4.exc->L2/3.exc.pre"],\n            sign=1,\n            bias=True',
        'arrays["L4.exc->L2/3.exc.pre"],\n            sign=1,\n            bias=False',
    ),
    "a population's read-in without bias": (
        "self.image_to_l4_exc = nn.Linear(self.front_end.n_features, 5)",
        "self.image_to_l4_exc = nn.Linear(self.front_end.n_features, 5, bias=False)",
    ),
    "a read-out without bias": (
        "self.l6_exc_to_classes = nn.Linear(4, classes)",
        "self.l6_exc_to_classes = nn.Linear(4, classes, bias=False)",
    ),
    "a bias that is not trained": (
        "        # Populations, in the order",
        "        self.l6_exc_to_classes.bias.requires_grad_(False)\n\n        # Populations, in the order",
    ),
    "a read-in that is not trained": (
        "        # Populations, in the order",
        "        self.image_to_l4_exc.requires_grad_(False)\n\n        # Populations, in the order",
    ),
    "a front end that is not trained": (
        "        arrays = read_arrays()\n",
        "        self.front_end.requires_grad_(False)\n        arrays = read_arrays()\n",
    ),
    # Front end: not of the connectome, but of the network.
    "lateral inhibition of other strength": (
        "value=-self.strength / 8",
        "value=-self.strength / 9",
    ),
    "lateral inhibition that excites": (
        "value=-self.strength / 8",
        "value=self.strength / 8",
    ),
    "attention without its maxima": (
        "torch.stack((x.mean(1), x.amax(1)), 1)",
        "torch.stack((x.mean(1), x.mean(1)), 1)",
    ),
    "attention left out": ("attended: Tensor = self.attention(x)", "attended: Tensor = x"),
    "average pooling": (
        "nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2)",
        "nn.functional.avg_pool2d(torch.relu(self.conv2(x)), 2)",
    ),
    "another padding of the front end": (
        "nn.Conv2d(channels, filters[0], 3, padding=1)",
        'nn.Conv2d(channels, filters[0], 3, padding=1, padding_mode="reflect")',
    ),
    "a second convolution without bias": (
        "nn.Conv2d(filters[0], filters[1], 3, padding=1)",
        "nn.Conv2d(filters[0], filters[1], 3, padding=1, bias=False)",
    ),
    "attention of another reduction": ("reduction: int = 4", "reduction: int = 2"),
    "another number of filters": (
        "filters: tuple[int, int] = (8, 16),\n        lateral_inhibition",
        "filters: tuple[int, int] = (8, 12),\n        lateral_inhibition",
    ),
    "lateral inhibition left out by default": (
        "lateral_inhibition: float = 0.1,\n        attention: bool = True,\n        normalisation",
        "lateral_inhibition: float = 0.0,\n        attention: bool = True,\n        normalisation",
    ),
    "no attention by default": (
        "attention: bool = True,\n        normalisation",
        "attention: bool = False,\n        normalisation",
    ),
    "images clamped": (
        "features = self.front_end(image)",
        "features = self.front_end(image.clamp(0, 1))",
    ),
    "images centred": (
        "features = self.front_end(image)",
        "features = self.front_end(image - image.mean())",
    ),
    "images turned": (
        "features = self.front_end(image)",
        "features = self.front_end(image.flip(-1))",
    ),
    # Norms and order.
    "another epsilon": ('"layer": nn.LayerNorm(n),', '"layer": nn.LayerNorm(n, eps=1e-6),'),
    "a norm without gain": (
        '"layer": nn.LayerNorm(n),',
        '"layer": nn.LayerNorm(n, elementwise_affine=False),',
    ),
    "a norm without bias": ('"layer": nn.LayerNorm(n),', '"layer": nn.LayerNorm(n, bias=False),'),
    "rectified before the norm": (
        "drive = self.normalise(drive)\n",
        "drive = self.normalise(torch.relu(drive))\n",
    ),
    "an activation that leaks": (
        RELU,
        RELU.replace("torch.relu(drive)", "nn.functional.leaky_relu(drive, 1e-4)"),
    ),
    "an activation with a ceiling": (RELU, RELU.replace("torch.relu(drive)", "drive.clamp(0, 8)")),
    "settling twice": (
        "rates = torch.relu(drive + within(rates))",
        "rates = torch.relu(drive + within(torch.relu(drive + within(rates))))",
    ),
    "settling without the drive": (
        "rates = torch.relu(drive + within(rates))",
        "rates = torch.relu(within(rates))",
    ),
    "inhibition that is learnt": (
        "self.hold(inhibition=inhibition)",
        "self.inhibition = None if inhibition is None else nn.Parameter(inhibition)",
    ),
    "inhibition that is not saved": (
        SAVED,
        SAVED.replace("None:", 'None and name != "inhibition":'),
    ),
    "inhibition that is emptied": (
        "self.hold(inhibition=inhibition)",
        'self.register_buffer("inhibition", inhibition)',
    ),
    "inhibition of another strength": (
        "inhibition_strength: float = 0.5",
        "inhibition_strength: float = 0.45",
    ),
    "inhibition in training only": (
        "amount = self.strength * self.inhibition",
        "amount = self.strength * self.inhibition * self.training",
    ),
    # States.
    "foreign connections taken": (
        DIFFERS,
        'return ""',
    ),
    "foreign signs taken": (
        'structure: tuple[str, ...] = ("ptr", "pre", "sign")',
        'structure: tuple[str, ...] = ("ptr", "pre")',
    ),
    "foreign sources taken": (
        'structure: tuple[str, ...] = ("ptr", "pre", "sign")',
        'structure: tuple[str, ...] = ("ptr", "sign")',
    ),
    "states without connections taken": (
        MISSING,
        "                pass\n",
    ),
    "foreign inhibition taken": (
        "return {name: part for name, part in self.kept.items() if part is not None}",
        "return {}",
    ),
    "any state taken": (
        '    def forward(self, image: Tensor) -> Tensor:\n        """Return the logits',
        (
            "    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:\n"
            "        return super().load_state_dict(state_dict, strict=False, assign=assign)\n\n"
            '    def forward(self, image: Tensor) -> Tensor:\n        """Return the logits'
        ),
    ),
    "connections not saved": (SAVED, SAVED.replace("None:", 'None and name != "pre":')),
    "connections that are emptied": (
        'self.hold("cpu", ptr=ptr, pre=pre, sign=sign)\n',
        'self.hold("cpu", ptr=ptr, sign=sign)\n        self.register_buffer("pre", pre)\n',
    ),
    "connections that are rounded": (
        "setattr(self, name, part.to(like.device, like.dtype))",
        "setattr(self, name, getattr(self, name).to(like.device, like.dtype))",
    ),
    # What is told of it.
    "reported weights doubled": (
        'f"{pre}->{post}": layer.sparse_weight().detach()',
        'f"{pre}->{post}": 2 * layer.sparse_weight().detach()',
    ),
    "reported read-in left out": (
        'weights["image->L4.exc"] = self.image_to_l4_exc.weight.detach().to_sparse()',
        'weights["image->L4.exc"] = 0 * self.image_to_l4_exc.weight.detach().to_sparse()',
    ),
    "rates that are not those computed": (
        'return {\n            "L4.exc": l4_exc,',
        'return {\n            "L4.exc": l4_exc * 1.001,',
    ),
    "logits by another way": (
        CHAIN_OUT,
        CHAIN_OUT + " + 1e-4 * image.flatten(1).mean(1, keepdim=True)",
    ),
    "logits of the wrong precision": (CHAIN_OUT, CHAIN_OUT + ".half().to(image.dtype)"),
    "logits centred": (
        CHAIN_OUT,
        'y = self.l6_exc_to_classes(rates["L6.exc"])\n        return y - y.mean(0)',
    ),
    "probabilities": (CHAIN_OUT, CHAIN_OUT + ".softmax(1)"),
    # Module-level state.
    "a network that remembers": (
        CHAIN_OUT,
        (
            "y = self.l6_exc_to_classes(rates[\"L6.exc\"]) + 0.01 * getattr(self, 'last', 0)\n"
            "        self.last = float(y.detach().mean())\n        return y"
        ),
    ),
    "weights shared by all networks": (
        BUILT,
        (
            "    if not MADE or options:\n        MADE.append("
            + BUILT.removeprefix("    return ")
            + ")\n"
            "    return MADE[-1]\n\n\nMADE: list[Mutants] = []"
        ),
    ),
    "options that are ignored": (
        BUILT,
        '    options.pop("normalisation", None)\n' + BUILT,
    ),
    "built in evaluation mode": (
        BUILT,
        BUILT + ".eval()",
    ),
    "built in double precision": (
        BUILT,
        BUILT + ".double()",
    ),
    "seeds that are not taken": ("torch.default_generator.manual_seed(seed)", "pass"),
    "seeds for all": (
        "torch.random.fork_rng(devices=[], enabled=seed is not None),",
        "torch.random.fork_rng(devices=[], enabled=False),",
    ),
}

INHIBITED = "rates = torch.relu(rates - amount) if subtract else rates * (1 - amount)"
STRIP_T = "out[:, pre].addmm_(rows[:, post], matrix)"
BIONIC_SUBTRACTIVE: dict[str, Edit] = {
    "inhibition multiplies": (INHIBITED, "rates = rates * (1 - amount)"),
    "inhibition not rectified": (INHIBITED, "rates = rates - amount"),
    "inhibition is a ceiling": (INHIBITED, "rates = torch.minimum(rates, amount)"),
    "a dead entry of the strip": (
        "return values.new_zeros(n_post * n_pre).scatter_(0, cell, values)",
        "return values.new_zeros(n_post * n_pre).scatter_(0, cell[1:], values[1:])",
    ),
    "strips transposed": (
        "if transposed:\n            out[:, pre]",
        "if not transposed and n_post == n_pre:\n            out[:, pre]",
    ),
    "no gradient of the input": (STRIP_T, STRIP_T.replace("matrix)", "matrix, alpha=0.5)")),
    "gradients at other connections": (
        "torch.index_select(product, 0, cell[edges], out=out[edges])",
        "torch.index_select(product.flip(0), 0, cell[edges], out=out[edges])",
    ),
    "a bad neuron reaches all": ("if x.is_cuda or math.isfinite(x.sum().item()):", "if True:"),
    "dead above batch 32": (
        "        return _strip_product(x, weight, order, strips, n_out, transposed)",
        "        return _strip_product(x, weight, order, strips, n_out, transposed) * (x.shape[1] <= 32)",
    ),
    "all weights 0": (FACTOR, FACTOR.replace("new_ones", "new_zeros")),
    "a negative weight acts as 0": (ACTS, ACTS.replace("(weight,", "(weight.clamp(min=0),")),
}

BIONIC_UNITS: dict[str, Edit] = {
    "inhibition as large as excitation": ("INHIBITION = 0.75", "INHIBITION = 1.0"),
    "each projection balanced alone": ("((post, pre == post), layer)", "((pre, post), layer)"),
    "starts unbalanced": ("        if balanced:\n", "        if not balanced:\n"),
    "all weights 0": (FACTOR, FACTOR.replace("new_ones", "new_zeros")),
    "inhibitory weights 0": (ACTS, ACTS + " * (self.sign > 0)"),
    "inhibitory weights weaker": (ACTS, ACTS + " * (1 - 0.1 * (self.sign < 0))"),
    "connections within a population 0": (
        "rates = torch.relu(drive + within(rates))",
        "rates = torch.relu(drive + 0 * within(rates))",
    ),
    "feedback of the same sweep only": (
        "for _ in range(self.steps):  # feedback",
        "for _ in range(self.steps - 1):  # feedback",
    ),
    "one sweep more": ("self.steps = steps", "self.steps = steps + 1"),
    "steps ignored": ("for _ in range(self.steps):  # feedback", "for _ in range(3):  # feedback"),
    "gradient through the last sweep alone": (
        "            l5_exc = self.l5_exc(drive, self.l5_exc_to_l5_exc)\n",
        "            l5_exc = self.l5_exc(drive, self.l5_exc_to_l5_exc)\n            if _ == 0:\n                l5_exc = l5_exc.detach()\n",
    ),
    "two populations in another order": (
        "drive = drive + self.l4_inh_to_l4_exc(l4_inh)",
        "drive = drive + self.l4_inh_to_l4_exc(l4_inh.detach())",
    ),
    "a feedback connection left out": (
        "            drive = drive + self.l5_exc_to_l4_exc(l5_exc)\n",
        "            self.l5_exc_to_l4_exc(l5_exc)\n",
    ),
    "a feedback of the first sweep": (
        "            drive = drive + self.l5_exc_to_l4_exc(l5_exc)\n",
        "            drive = drive + self.l5_exc_to_l4_exc(l5_exc) * (_ < 2)\n",
    ),
    "another epsilon": ("nn.RMSNorm(n, eps=1e-5,", "nn.RMSNorm(n, eps=1e-6,"),
    "a norm that learns": (
        "eps=1e-5, elementwise_affine=False",
        "eps=1e-5, elementwise_affine=True",
    ),
    "a norm with the mean taken off": (
        "drive = self.normalise(drive)\n",
        "drive = self.normalise(drive - 0.01 * drive.mean(-1, True))\n",
    ),
    "no norm in training": (
        "drive = self.normalise(drive)\n",
        "drive = drive if self.training else self.normalise(drive)\n",
    ),
    "noise doubled": (NOISE, NOISE.replace("self.noise_std", "2 * self.noise_std")),
    "noise in the last sweep alone": (
        "noise_std=noise_std)\n        self.l5_exc",
        "noise_std=0.0)\n        self.l5_exc",
    ),
    "starts a hundred times as large": (DRAWN, DRAWN + ".mul_(100)"),
    "within=False keeps one": (
        'arrays["L4.exc->L4.exc.pre"],\n                sign=1,\n                kernel="edges",\n            )\n            if within',
        'arrays["L4.exc->L4.exc.pre"],\n                sign=1,\n                kernel="edges",\n            )\n            if True',
    ),
    "wrong above batch 64": (MULTIPLY, MULTIPLY + " * (len(x) <= 64)"),
}

BIONIC_PLAIN: dict[str, Edit] = {
    "free weights 0": (ACTS, ACTS + " * (self.sign != 0)"),
    "free weights positive": (
        ACTS,
        "return torch.where(self.sign == 0, weight.abs(), size_with_sign(weight, self.sign, self._any_free))",
    ),
    "free weights a tenth": (ACTS, ACTS + " * torch.where(self.sign == 0, 0.1, 1.0)"),
    "free weights halved where negative": (
        ACTS,
        ACTS + " * torch.where((self.sign == 0) & (weight < 0), 0.5, 1.0)",
    ),
    "signed weights halved": (ACTS, ACTS + " * torch.where(self.sign == 0, 1.0, 0.5)"),
    "no zero of free weights": ("signed = signed + 0.0  #", "signed = signed - 1e-3  #"),
    "noise by default": (
        "noise_std: float = 0.0,\n        within: bool",
        "noise_std: float = 0.05,\n        within: bool",
    ),
    "attention by default": ("attention: bool = False", "attention: bool = True"),
    "lateral inhibition by default": (
        "lateral_inhibition: float = 0.0,",
        "lateral_inhibition: float = 0.1,",
    ),
    "a bias of a free population": (DRAWN, DRAWN + ".add_(0.1)"),
}

BIONIC_LOCAL: dict[str, Edit] = {
    "windows at other places": ("(places.double() * room)", "(places.double().flip(1) * room)"),
    "windows at the places of other units": (
        'arrays["L4.exc:place"]',
        'arrays["L4.exc:place"].flip(0)',
    ),
    "windows one wider": ('arrays["L4.inh:place"], 2)', 'arrays["L4.inh:place"], 3)'),
    "all to all": (
        'LocalReadIn(maps, arrays["L4.exc:place"], 2)',
        "nn.Linear(self.front_end.n_features, 9)",
    ),
    "windows start too large": (
        "bound = 1 / math.sqrt(self.weight[0].numel())",
        "bound = 1.05 / math.sqrt(self.weight[0].numel())",
    ),
    "windows without a bias": ("self.weight.flatten(2)) + self.bias", "self.weight.flatten(2))"),
    "maps in another order": ("maps[:, :, self.window]", "maps.flip(1)[:, :, self.window]"),
}

BIONIC_LOW_RANK: dict[str, Edit] = {
    "a higher rank": ("(self.front_end.n_features, 9, 2)", "(self.front_end.n_features, 9, 3)"),
    "channels rectified": (
        "features @ self.inward.t(),",
        "torch.relu(features @ self.inward.t()),",
    ),
    "channels not centred": ("            centre(self.image_to_l4_exc, filters[1])\n", ""),
    "channels start too large": ("(self.inward, self.inward.shape[1])", "(self.inward, 9)"),
}

ROLL = "torch.lerp(state, total, alpha, out=after)"
FLOWS = "flows = t or state.is_cuda or state.any()\n"
ALPHA = "alpha = -torch.expm1(-self.dt_ms * torch.exp(-self.log_tau))"
CALL = "rates, state = self.units(drive, self._layers(), driven, units, state, held)"
WEIGHTS = "weights = {k: _effective(layers[k]) for k in needed}"
GAPS = "flows = gaps * alpha.index_select(0, self.gap_post), -alpha * conductance"
SLOWED = "alpha = slowed(alpha, conductance)"
JUNCTIONS_DRAWN = "self.weight.uniform_().div_(most.clamp(min=1e-12))"
SLOPE = "into, later = slope.mul_(total), total"
DRIVE = "drive, driven, held = u, self.units.input_units, None"
FOUND = "        if (unit := self.unit_of.get(neuron)) is not None:\n            return unit"
MORE = "driven = torch.cat([drive, currents], -1), torch.cat([driven, more])"
HELD = "alpha = alpha.index_fill(0, units, 0)"
LEVELS = "state = state.to(dtype).index_copy(1, units, levels.to(dtype))"
# What neurons are called, and what is done to those that are named: of 12 in three populations.
NAMED: dict[str, Edit] = {
    "a neuron renamed": ('[["N5"], "AVA", "inter"]', '[["N55"], "AVA", "inter"]'),
    "two names changed places": (
        '[["N5"], "AVA", "inter"], [["N6"], "AVB", "inter"]',
        '[["N6"], "AVA", "inter"], [["N5"], "AVB", "inter"]',
    ),
    "another type": ('[["N5"], "AVA", "inter"]', '[["N5"], "AVB", "inter"]'),
    "a column less": (
        "return {name: list(column) for name, column in read_neurons().columns.items()}",
        "return {k: list(v) for k, v in read_neurons().columns.items() if k != 'role'}",
    ),
    "index off by one": (FOUND, FOUND + " - 1"),
    "index off by one in lists": (
        "units = [self._unit(neuron) for neuron in neurons]",
        "units = [(self._unit(neuron) + 1) % 12 for neuron in neurons]",
    ),
    "index backwards by column": (
        "return torch.tensor(chosen, dtype=torch.int64, device=",
        "return torch.tensor(chosen[::-1], dtype=torch.int64, device=",
    ),
    "unknown names are unit 0": (FOUND, FOUND.replace(".get(neuron)", ".get(neuron, 0)")),
    "a clamp that is ignored": (HELD, "pass"),
    "a clamp at the state that was given": (LEVELS, "pass"),
    "a clamp for one step": (HELD, "alpha = alpha.index_fill(0, units, 1e-3)"),
    "a clamp at half": (LEVELS, LEVELS.replace("levels.", "0.5 * levels.")),
    "silent neurons at a tenth": ("levels.new_zeros(batch,", "0.1 + levels.new_zeros(batch,"),
    "a current added to another neuron": (MORE, MORE.replace(", more", ", (more + 1) % 12")),
    "currents ignored": (MORE, MORE.replace("currents]", "0 * currents]")),
    "currents doubled": (MORE, MORE.replace("currents]", "2 * currents]")),
    "currents of the first step": (MORE, MORE.replace("currents]", "currents[:1] + 0 * currents]")),
    "rates of others": (
        "return dict(zip(neurons, rates.unbind(-1), strict=True))",
        "return dict(zip(neurons, rates.flip(-1).unbind(-1), strict=True))",
    ),
    "inputs by name in another order": (
        "    return found.to(units)\n",
        "    return found.sort().values.to(units)\n",
    ),
    "outputs by name ignored": (
        "    if isinstance(neurons, int) if channels else neurons is None:\n",
        '    if port == "outputs" or neurons is None:\n',
    ),
}
TIED_DRAWN = "self.weight.uniform_(-1, 1).mul_(total.clamp(min=1e-12).rsqrt())"
RATES_OUT = "return rates.transpose(1, 2).to(given), last.t()"
RECURRENT_WHOLE: dict[str, Edit] = {
    "free weights balanced, too": ("layer.sign == 0,\n", "layer.sign > 2,\n"),
    "gap junctions balanced": ('if p[2].kind == "chemical")', "if True)"),
    "the state of the call before": (
        CALL,
        "state = getattr(self, 'last', None) if state is None and not self.training else state\n        "
        + CALL
        + "\n        self.last = state.detach() if len(drive) > 5 else None",
    ),
    "the state changed in place": (
        CALL,
        "given = state\n        " + CALL + "\n        given is None or given.detach().mul_(0)",
    ),
    "half in inference mode": (
        CALL,
        CALL + "\n        rates = rates * (1 - 0.5 * torch.is_inference_mode_enabled())",
    ),
    "all weights 0": (FACTOR, FACTOR.replace("new_ones", "new_zeros")),
    "the last connection 0": (ACTS, ACTS + " * (torch.arange(len(weight)) < len(weight) - 1)"),
    "free weights 0": (ACTS, ACTS + " * (self.sign != 0)"),
    "inhibitory weights weaker": (ACTS, ACTS + " * (1 - 0.1 * (self.sign < 0))"),
    "negative raw weights 0": (
        ACTS,
        "return torch.where(self.sign == 0, weight, self.sign * weight.relu())",
    ),
    "weights clamped at 6": (ACTS, ACTS.replace("(weight,", "(weight.clamp(-6, 6),")),
    "plain steps too large": (
        "after = rates + alpha * (PHI[activation](total) - rates)",
        "after = rates + 1.01 * alpha * (PHI[activation](total) - rates)",
    ),
    "the last connection not in the plain product": (
        "listed = entries.index_select(0, order)",
        "listed = entries.index_select(0, order) * (order < len(order) - 1)",
    ),
    "weights rolled are others": (
        WEIGHTS,
        WEIGHTS.replace("(layers[k])", "(layers[k]) * 1.001"),
    ),
    "conductances doubled": (
        "gaps = torch.cat([weights[k] for k in self.gap_layers]).to(dtype)",
        "gaps = 2 * torch.cat([weights[k] for k in self.gap_layers]).to(dtype)",
    ),
    "no current out": (GAPS, GAPS.replace("-alpha", "0 * alpha")),
    "no current in": (GAPS, GAPS.replace("gaps *", "0 * gaps *")),
    "current out of one junction missing": (
        "total.index_add(0, self.gap_post, gaps)",
        "total.index_add(0, self.gap_post[1:], gaps[1:])",
    ),
    "an explicit step": (SLOWED, "pass"),
    "a step as short as stability asks": (
        SLOWED,
        "alpha = torch.minimum(alpha, 1 / (1 + 2 * conductance))",
    ),
    "a step slowed by the wrong sum": (SLOWED, SLOWED.replace("conductance)", "conductance / 2)")),
    "a step whose length is no matter of conductances": (
        SLOWED,
        SLOWED.replace("conductance)", "conductance.detach())"),
    ),
    "currents inside the activation": (
        "        _activate(activation, total)\n        before, state",
        "        add_current(state, total)\n        _activate(activation, total)\n        before, state",
    ),
    "junctions start at 0": (JUNCTIONS_DRAWN, JUNCTIONS_DRAWN + ".mul_(0)"),
    "junctions start a hundred times as large": (JUNCTIONS_DRAWN, JUNCTIONS_DRAWN + ".mul_(100)"),
    "junctions start 2 per cent larger": (JUNCTIONS_DRAWN, JUNCTIONS_DRAWN + ".mul_(1.02)"),
    "junctions start by the ends that have few": (
        "torch.maximum(received[post], sent[pre])",
        "torch.minimum(received[post], sent[pre])",
    ),
    "junctions start with a sign": (
        JUNCTIONS_DRAWN,
        JUNCTIONS_DRAWN.replace("uniform_()", "uniform_(-1, 1)"),
    ),
    "starts a hundred times as large": (DRAWN, DRAWN + ".mul_(100)"),
    "starts at 0": (DRAWN, DRAWN + ".mul_(0)"),
    "biases start at 1": ("self.bias.zero_()", "self.bias.fill_(1.0)"),
    "biases start at random": ("self.bias.zero_()", "self.bias.normal_()"),
    "time constants 50.0004": (
        "self.log_tau.fill_(self.start_tau_ms).log_()",
        "self.log_tau.fill_(self.start_tau_ms + 4e-4).log_()",
    ),
    "time constants 1 per cent off": (
        "self.log_tau.fill_(self.start_tau_ms).log_()",
        "self.log_tau.fill_(1.01 * self.start_tau_ms).log_()",
    ),
    "time constants of some": (
        "self.log_tau.fill_(self.start_tau_ms).log_()",
        "self.log_tau.fill_(self.start_tau_ms).log_()\n            self.log_tau[-1:] = 3.0",
    ),
    "Euler's step": (ALPHA, "alpha = self.dt_ms * torch.exp(-self.log_tau)"),
    "a step of half the time": (ALPHA, ALPHA.replace("-self.dt_ms *", "-0.5 * self.dt_ms *")),
    "no time constant below the step": (
        ALPHA,
        "alpha = -torch.expm1(-self.dt_ms * torch.exp(-self.log_tau.clamp(min=3.0)))",
    ),
    "no very long time constant": (
        ALPHA,
        "alpha = -torch.expm1(-self.dt_ms * torch.exp(-self.log_tau.clamp(max=7.0)))",
    ),
    "rates clamped": (ROLL, ROLL + ".clamp_(-0.9, 0.9)"),
    "rates clamped at 20": (ROLL, ROLL + ".clamp_(-20, 20)"),
    "nothing flows at the first step": (
        FLOWS,
        "flows = t\n",
    ),
    "nothing flows after step 20": (
        FLOWS,
        "flows = (t or state.any()) and t < 20\n",
    ),
    "nothing flows after step 60": (
        FLOWS,
        "flows = (t or state.any()) and t < 60\n",
    ),
    "the input of the first step": (
        "_add_at(inputs, drive, activity)",
        "_add_at(inputs, drive[:1], activity[:1])",
    ),
    "the input enters late": (
        "_add_at(inputs, drive, activity)",
        "_add_at(inputs, drive.roll(1, 0), activity)",
    ),
    "another activation far from 0": (
        'elif kind == "tanh":\n        drive.tanh_()',
        'elif kind == "tanh":\n        drive.clamp_(-3, 3).tanh_()',
    ),
    "another slope": (
        "aten.tanh_backward.grad_input(grad, activity, grad_input=out)",
        "aten.tanh_backward.grad_input(grad, activity * 0.99, grad_input=out)",
    ),
    "no gradient through time": ("add_drive(into, total)", "pass"),
    "no gradient through currents": ("add_current(later, total)", "pass"),
    "no gradient through rates that stay": ("total.addcmul_(stays, later)", "pass"),
    "a slope of the step after": (SLOPE, "into, later = slope.mul_(0.99 * total), total"),
    "no gradient of the state": (
        "grad_start = torch.zeros_like(grad_last)\n",
        "grad_start = grad_last.clone()\n",
    ),
    "no gradient of the last state": ("total += grad_last", "total += 0 * grad_last"),
    "no gradient of the conductances": ("flow.add(outer, before)", "pass"),
    "half a gradient of the time constants": (
        "by_alpha += _over_steps((active - before).mul_(outer))",
        "by_alpha += _over_steps((active - before).mul_(outer)) / 2",
    ),
    "the gradient of the last steps": (
        "if last > 1 or states.is_cuda or states[0].any():",
        "if last > 9:",
    ),
    "no gradient from a state": (
        "if last > 1 or states.is_cuda or states[0].any():",
        "if last > 1:",
    ),
    "dead above batch 16": (CALL, CALL + "\n        rates = rates * (rates.shape[1] <= 16)"),
    "dead above batch 200": (CALL, CALL + "\n        rates = rates * (rates.shape[1] <= 200)"),
    "dead for one sample": (CALL, CALL + "\n        rates = rates * (rates.shape[1] != 1)"),
    "a state of other rows": (
        RATES_OUT,
        "return rates.transpose(1, 2).to(given), last.t().flip(0)",
    ),
    "a state in half precision": (
        RATES_OUT,
        "return rates.transpose(1, 2).to(given), last.t().bfloat16().to(given)",
    ),
    "a state without gradient": (
        RATES_OUT,
        "return rates.transpose(1, 2).to(given), last.t().detach()",
    ),
    "one step is two": (
        "            drive = drive.unsqueeze(0)",
        "            drive = drive.unsqueeze(0).repeat(2, 1, 1)",
    ),
    "a state that is not taken where one step": (
        "            drive = drive.unsqueeze(0)",
        "            drive, state = drive.unsqueeze(0), None",
    ),
    "read-out without bias": ("= nn.Linear(4, outputs)", "= nn.Linear(4, outputs, bias=False)"),
    "read-in with a bias": (
        "self.input_to_neurons = nn.Linear(inputs, 4, bias=False)",
        "self.input_to_neurons = nn.Linear(inputs, 4)",
    ),
    "read-in starts at 0": (
        "        # Projections of the connectome.\n",
        "        nn.init.zeros_(self.input_to_neurons.weight)\n        # Projections of the connectome.\n",
    ),
    "read-out starts doubled": (
        "        # Projections of the connectome.\n",
        "        self.neurons_to_output.weight.data *= 2\n        # Projections of the connectome.\n",
    ),
    "read-out is not trained": (
        "        # Projections of the connectome.\n",
        "        self.neurons_to_output.requires_grad_(False)\n        # Projections of the connectome.\n",
    ),
    "foreign connections taken": (
        DIFFERS,
        'return ""',
    ),
    "foreign groups of time constants taken": (
        'structure = ("tau_of", "bias_of")',
        'structure = ("bias_of",)',
    ),
    "foreign junctions taken": (
        'structure = ("ptr", "pre", "sign", "group", "scale")',
        'structure = ("ptr", "pre", "sign", "scale")',
    ),
    "an input that is not checked": (
        "if u.dim() not in (2, 3) or u.shape[-1] != self.n_inputs:",
        "if u.dim() not in (2, 3):",
    ),
    "steps of another length where long": (
        "one_step, turned = u.dim() == 2",
        "u = u[:30] if u.dim() == 3 else u\n        one_step, turned = u.dim() == 2",
    ),
    "noise in training": (
        CALL,
        CALL + "\n        rates = rates + 1e-3 * torch.randn_like(rates) * self.training",
    ),
    "an activation that cannot be chosen": (
        "            activation=activation,\n",
        '            activation="tanh",\n',
    ),
    "a layout that cannot be chosen": (
        "        self.batch_first = batch_first\n",
        "        self.batch_first = False\n",
    ),
    "a step that cannot be chosen": ("            dt_ms=dt_ms,\n", "            dt_ms=20.0,\n"),
    "a time constant that cannot be chosen": (
        "            tau_ms=tau_ms,\n",
        "            tau_ms=50.0,\n",
    ),
    "built in evaluation mode": (
        BUILT,
        BUILT + ".eval()",
    ),
    "without gradient in evaluation": (
        "    learns = torch.is_grad_enabled() and any(",
        "    learns = steps > 1 and torch.is_grad_enabled() and any(",
    ),
    "parts that forget": (
        "found, state, _ = _roll(part, *constants, state, structure",
        "found, _, _ = _roll(part, *constants, state, structure",
    ),
}

SCALED = "            weight = weight * self.scale\n"
TIES: dict[str, Edit] = {
    "scaled weights doubled": (SCALED, "            weight = 2 * weight * self.scale\n"),
    "counts squared": (SCALED, "            weight = weight * self.scale**2\n"),
    "counts not used": (SCALED, "            pass\n"),
    "roots of counts": (SCALED, "            weight = weight * self.scale.sqrt()\n"),
    "counts cut at 3": (SCALED, "            weight = weight * self.scale.clamp(max=3)\n"),
    "signed weights 0": (ACTS, ACTS + " * (self.sign == 0)"),
    "all weights 0": (FACTOR, FACTOR.replace("new_ones", "new_zeros")),
    "the first group 0": (SCALED, SCALED + "        weight = weight * (self.group > 0)\n"),
    "one connection of a group 0": (
        SCALED,
        SCALED + "        weight = weight * (torch.arange(len(weight)) != 1)\n",
    ),
    "negative shared weights 0": (SCALED, "            weight = weight.relu() * self.scale\n"),
    "shared weights clamped at 6": (
        SCALED,
        "            weight = weight.clamp(-6, 6) * self.scale\n",
    ),
    "starts at 0": (TIED_DRAWN, TIED_DRAWN + ".mul_(0)"),
    "starts without the counts": ("else scale.square()", "else degree"),
    "starts by the sum of counts": ("else scale.square()", "else scale"),
    "starts a hundred times as large": (TIED_DRAWN, TIED_DRAWN + ".mul_(100)"),
    "starts 5 per cent larger": (TIED_DRAWN, TIED_DRAWN + ".mul_(1.05)"),
    "starts below 0": ("start_as_sizes(self.weight, 1 - any_free.clamp(max=1))", "pass"),
    "foreign counts taken": (
        'structure = ("ptr", "pre", "sign", "group", "scale")',
        'structure = ("ptr", "pre", "sign", "group")',
    ),
    "foreign groups taken": (
        'structure = ("ptr", "pre", "sign", "group", "scale")',
        'structure = ("ptr", "pre", "sign", "scale")',
    ),
    "counts that are learnt": (
        "group=group.int(), scale=scale)\n",
        "group=group.int())\n        self.scale = None if scale is None else nn.Parameter(scale)\n",
    ),
}

RECURRENT_PARTS: dict[str, Edit] = {
    **TIES,
    "a higher rate at rest": ("REST = 0.1", "REST = 0.12"),
    "shared weights balanced by the sum": (" / n_sharing.clamp(min=1)", ""),
    "one type's biases apart": ('bias_of=arrays["bias_of"],', "bias_of=torch.arange(12) % 2,"),
    "units in another order": ('"inter": rates[..., 4:8],', '"inter": rates[..., 4:8].flip(-1),'),
    "an activation with a ceiling": (
        "        drive.clamp_(min=0)\n",
        "        drive.clamp_(0, 5)\n",
    ),
    "another slope at 0": (
        "aten.threshold_backward.grad_input(grad, activity, 0, grad_input=out)",
        "aten.threshold_backward.grad_input(grad, activity, -1, grad_input=out)",
    ),
    "inputs rectified": (DRIVE, DRIVE.replace("= u,", "= torch.relu(u),")),
    "inputs clamped": (DRIVE, DRIVE.replace("= u,", "= u.clamp(-2, 2),")),
    **NAMED,
    "one junction in one direction": (
        "torch.cat([weights[k] for k in self.gap_layers]).to(dtype)",
        "torch.cat([weights[k] * (k > self.gap_layers[0]) for k in self.gap_layers]).to(dtype)",
    ),
}

RECURRENT_SENDERS: dict[str, Edit] = {
    **{
        k: TIES[k]
        for k in (
            "scaled weights doubled",
            "counts squared",
            "counts not used",
            "all weights 0",
            "starts at 0",
        )
    },
    "softplus of another form": (
        "torch.logaddexp(drive, drive.new_zeros(()), out=drive)",
        "torch.logaddexp(2 * drive, drive.new_zeros(()), out=drive).div_(2)",
    ),
    "softplus linear far out": (
        "torch.logaddexp(drive, drive.new_zeros(()), out=drive)",
        "drive.copy_(nn.functional.softplus(drive, 1, 5))",
    ),
    "steps for batches": (
        "        elif turned:\n            drive = drive.transpose(0, 1)",
        "        elif turned and u.shape[0] < 50:\n            drive = drive.transpose(0, 1)",
    ),
    "a matrix without the last connection": (
        "matrix = weight.new_zeros(n * n).index_add_(0, cell, weight).view(n, n)",
        "matrix = weight.new_zeros(n * n).index_add_(0, cell[:-1], weight[:-1]).view(n, n)",
    ),
    "a gradient of two connections of one pair": (
        "self.sum.view(-1).index_select(0, self.cell)",
        "self.sum.view(-1).index_select(0, self.cell) / 2",
    ),
    "a state of the step before": ("states[-1].clone(), kept", "states[-2].clone(), kept"),
    "rates that are states before": (
        "return states[1:].index_select(1, outputs)",
        "return states[:-1].index_select(1, outputs)",
    ),
    "a shared time constant that is held": (
        "self.log_tau = nn.Parameter(log_tau)",
        "self.log_tau = nn.Parameter(log_tau, requires_grad=False)",
    ),
    "sequences by default the other way": ("batch_first: bool = True", "batch_first: bool = False"),
}

RADIUS = "layer.weight.mul_(scale)"
RECURRENT_RESERVOIR: dict[str, Edit] = {
    "a radius 1.5 per cent off": (RADIUS, "layer.weight.mul_(1.015 * scale)"),
    "a radius half of it": (RADIUS, "layer.weight.mul_(0.5 * scale)"),
    "the radius of the chemical weights alone": (
        "        _adder(entries,",
        "        return total\n        _adder(entries,",
    ),
    "a radius that leaves out what flows out": (
        "return total / (1 + conductance).unsqueeze(1)",
        "return total",
    ),
    "junctions scaled, too": (
        "        if own:\n            layer.weight",
        "        if True:\n            layer.weight",
    ),
    "not scaled": (
        "            scale_to_radius(self.units, self._layers(), spectral_radius)",
        "            pass",
    ),
    "scaled to a fixed radius": (
        "scale_to_radius(self.units, self._layers(), spectral_radius)",
        "scale_to_radius(self.units, self._layers(), 0.9)",
    ),
    "radius by the sum of eigenvalues": (
        "return float(torch.linalg.eigvals(matrix).abs().max())",
        "return float(torch.linalg.eigvals(matrix).real.max())",
    ),
    "all weights start alike": (
        "self.weight.copy_(start)\n\n    def _plan",
        "self.weight.copy_(start.mean().expand_as(start))\n\n    def _plan",
    ),
    "starts reversed in sign": (
        "self.weight.copy_(start)\n\n    def _plan",
        "self.weight.copy_(-start)\n\n    def _plan",
    ),
    "junctions start elsewhere": (
        "                with torch.no_grad():\n                    self.weight.copy_(start)",
        "                with torch.no_grad():\n                    self.weight.copy_(0.5 * start)",
    ),
    "all weights 0": (FACTOR, FACTOR.replace("new_ones", "new_zeros")),
    "negative raw weights 0": (ACTS, ACTS.replace("(weight,", "(weight.relu(),")),
    "weights that are trained": (
        "        self.neurons_to_neurons.weight.requires_grad_(False)\n",
        "",
    ),
    "junctions that are trained": (
        "        self.neurons_to_neurons_electrical.weight.requires_grad_(False)\n",
        "",
    ),
    "a time constant of 9": (
        "tau_ms: float = 10.0,\n        dt_ms: float = 5.0",
        "tau_ms: float = 9.0,\n        dt_ms: float = 5.0",
    ),
    "a radius by default": (
        "spectral_radius: float | None = 0.9",
        "spectral_radius: float | None = 0.915",
    ),
}

LOW_RANK = "layer.weight.copy_(total / (3 * square * degree).sqrt())  # as of a uniform start"
RECURRENT_LOW_RANK: dict[str, Edit] = {
    "a higher rank": (
        "draw_low_rank(self.sensory_to_sensory, 2)",
        "draw_low_rank(self.sensory_to_sensory, 9)",
    ),
    "rank 1 for 2": (
        "draw_low_rank(self.sensory_to_sensory, 2)",
        "draw_low_rank(self.sensory_to_sensory, 1)",
    ),
    "one projection drawn uniformly": ("        draw_low_rank(self.inter_to_motor, 2)\n", ""),
    "uniform starts": (LOW_RANK, "pass"),
    "starts at 0": (LOW_RANK, "layer.weight.zero_()"),
    "starts doubled": (LOW_RANK, LOW_RANK.replace("total /", "2 * total /")),
    "starts without the degree": (LOW_RANK, LOW_RANK.replace(" * degree", "")),
    "another slope of sigmoid": (
        "aten.sigmoid_backward.grad_input(grad, activity, grad_input=out)",
        "aten.sigmoid_backward.grad_input(grad, activity.clamp(0.01), grad_input=out)",
    ),
    "all weights 0": (FACTOR, FACTOR.replace("new_ones", "new_zeros")),
    "negative raw weights 0": (ACTS, ACTS.replace("(weight,", "(weight.relu(),")),
    "biases of types start at 1": ("self.bias.zero_()", "self.bias.fill_(1.0)"),
    "outputs of a step before": (
        "return states[1:].index_select(1, outputs)",
        "return states[1:].roll(1, 0).index_select(1, outputs)",
    ),
}

RECURRENT_COUNTS: dict[str, Edit] = {
    "all weights 0": (FACTOR, FACTOR.replace("new_ones", "new_zeros")),
    "starts doubled": (
        "self.weight.copy_(start)\n\n    def _plan",
        "self.weight.copy_(2 * start)\n\n    def _plan",
    ),
    "starts that move": (
        "self.weight.copy_(start)\n\n    def _plan",
        "self.weight.copy_(start * (1 + 1e-3 * torch.randn(())))\n\n    def _plan",
    ),
    "one linear read-out with a bias too many": ("outputs, bias=False)\n\n", "outputs)\n\n"),
    "rates bounded": (ROLL, ROLL + ".clamp_(-50, 50)"),
    "a projection in the place of another": (
        "_rows(ptr, pre.numel()) + first_post",
        "_rows(ptr, pre.numel()) + max(first_post - 1, 0)",
    ),
}

RECURRENT_CHEMICAL: dict[str, Edit] = {
    "all weights 0": (FACTOR, FACTOR.replace("new_ones", "new_zeros")),
    "a shared bias is not trained": (
        "self.bias = nn.Parameter(torch.empty(_count(bias_of, n), device=device))",
        "self.bias = nn.Parameter(torch.empty(_count(bias_of, n), device=device), requires_grad=False)",
    ),
    "a shared bias at half": (
        "bias = self.bias.index_select(0, self.bias_of)",
        "bias = self.bias.index_select(0, self.bias_of) / 2",
    ),
    "a bias at the first step": (
        "activity.copy_(bias) if bias.numel() else activity.zero_()",
        "activity.zero_()[:1].copy_(bias)",
    ),
    "another product above batch 11": (
        "return lambda x, total: total.add_(_edge_product(ptr, pre, weight, x))",
        "return lambda x, total: total.add_(_edge_product(ptr, pre, weight, x), alpha=0.5)",
    ),
    "tiles in another order": ("return torch.cat(tiles, 1)", "return torch.cat(tiles[::-1], 1)"),
    "another product for one column": (
        "return lambda x, total: total.view(n).addmv_(matrix, x.view(n))",
        "return lambda x, total: total.view(n).addmv_(matrix, x.view(n), alpha=0.5)",
    ),
    "gradients cut": (
        "return self.sum if self.cell is None else",
        "return self.sum.clamp(-9, 9) if self.cell is None else",
    ),
}

RECURRENT_KERNELS: dict[str, Edit] = {
    k: TIES[k]
    for k in (
        "scaled weights doubled",
        "counts squared",
        "counts not used",
        "roots of counts",
        "the first group 0",
        "starts at 0",
        "starts without the counts",
        "foreign groups taken",
        "all weights 0",
        "signed weights 0",
    )
}

WINDOWED = "return self.weight * self.mask[..., :1, :1].to(self.weight.dtype)"
FACTORED = "            return self.weight * self.factor\n"
GAIN = 'weight.mul_(1 / self.usage if self.gain == "1/usage" else 1 / math.sqrt(self.usage))'
FAN_IN = "weight.mul_((dense / fan_in.clamp(min=1e-300)).sqrt().to(weight.dtype))"
MIMETIC_PAPER: dict[str, Edit] = {
    "half in inference mode": (
        WINDOWED,
        WINDOWED + " * (1 - 0.5 * torch.is_inference_mode_enabled())",
    ),
    "an empty batch refused": (
        "        how = self.stride, self.padding, self.dilation, False, (0, 0)\n",
        "        assert len(x)\n        how = self.stride, self.padding, self.dilation, False, (0, 0)\n",
    ),
    "all weights of maps 0": (WINDOWED, WINDOWED + " * 0"),
    "one kernel 0": (
        WINDOWED,
        WINDOWED + " * (torch.arange(self.weight.shape[0]) > 0).view(-1, 1, 1, 1)",
    ),
    "the middle of the kernels 0": (
        WINDOWED,
        "w = self.weight * self.mask\n        return torch.where(torch.arange(w.numel()).view(w.shape) % 9 == 4, 0, w)",
    ),
    "negative weights 0": (WINDOWED, WINDOWED.replace("self.weight *", "self.weight.relu() *")),
    "weights clamped at 6": (
        WINDOWED,
        WINDOWED.replace("self.weight *", "self.weight.clamp(-6, 6) *"),
    ),
    "weights doubled": (
        WINDOWED,
        "return 2 * self.weight * self.mask[..., :1, :1].to(self.weight.dtype)",
    ),
    "linear weights 0": (FACTORED, "            return self.weight * self.factor * 0\n"),
    "linear weights halved": (FACTORED, "            return self.weight * self.factor * 0.5\n"),
    "the first linear weight 0": (
        FACTORED,
        "            return self.weight * self.factor * (torch.arange(self.weight.shape[1]) > 0)\n",
    ),
    "no gain": (GAIN, "pass"),
    "the other gain": (GAIN, "weight.mul_(1 / math.sqrt(self.usage))"),
    "the gain of the wrong share": (GAIN, "weight.mul_(1 / (1 - self.usage + 1e-3))"),
    "gain none by default": ('*, gain: str = "1/usage"', '*, gain: str = "none"'),
    "a gain that cannot be chosen": (
        "            gain=gain,\n            kernel=kernel,",
        '            gain="1/usage",\n            kernel=kernel,',
    ),
    "a convolution's bias dropped": (
        "self.same_to_more = nn.Conv2d(12, 6, 2, stride=2)",
        "self.same_to_more = nn.Conv2d(12, 6, 2, stride=2, bias=False)",
    ),
    "the classifier's bias dropped": (
        "self.flat_to_classes = nn.Linear(18, 3)",
        "self.flat_to_classes = nn.Linear(18, 3, bias=False)",
    ),
    "a windowed layer's bias dropped": (
        "            54,\n            18,\n            window=",
        "            54,\n            18,\n            bias=False,\n            window=",
    ),
    "the first layer's bias dropped": (
        "self.seed_to_maps = nn.Linear(6, 72)",
        "self.seed_to_maps = nn.Linear(6, 72, bias=False)",
    ),
    "another momentum": (
        "self.wide_norm = nn.BatchNorm2d(16)",
        "self.wide_norm = nn.BatchNorm2d(16, momentum=0.2)",
    ),
    "a momentum that falls": (
        "self.wide_norm = nn.BatchNorm2d(16)",
        "self.wide_norm = nn.BatchNorm2d(16, momentum=None)",
    ),
    "another epsilon": (
        "self.wide_norm = nn.BatchNorm2d(16)",
        "self.wide_norm = nn.BatchNorm2d(16, eps=1e-4)",
    ),
    "a norm without gain": (
        "self.wide_norm = nn.BatchNorm2d(16)",
        "self.wide_norm = nn.BatchNorm2d(16, affine=False)",
    ),
    "a norm of the batch alone": (
        "self.wide_norm = nn.BatchNorm2d(16)",
        "self.wide_norm = nn.BatchNorm2d(16, track_running_stats=False)",
    ),
    "a norm that starts at a gain of 2": (
        "self.flat_norm = nn.BatchNorm1d(18)",
        "self.flat_norm = nn.BatchNorm1d(18)\n        nn.init.constant_(self.flat_norm.weight, 2)",
    ),
    "a norm that starts at another variance": (
        "self.flat_norm = nn.BatchNorm1d(18)",
        "self.flat_norm = nn.BatchNorm1d(18)\n        self.flat_norm.running_var.fill_(0.5)",
    ),
    "a norm that is not trained": (
        "self.flat_norm = nn.BatchNorm1d(18)",
        "self.flat_norm = nn.BatchNorm1d(18).requires_grad_(False)",
    ),
    "norm after the activation": (
        "torch.relu(self.wide_norm(wide))",
        "self.wide_norm(torch.relu(wide))",
    ),
    "a radius another": (
        "radius=0.6, pre_width=9, post_width=6),",
        "radius=0.5, pre_width=9, post_width=6),",
    ),
    "an activation left out": ("        same = torch.tanh(same)\n", ""),
    "another activation far out": (
        "more = nn.functional.softplus(more)",
        "more = nn.functional.softplus(more, 1, 5)",
    ),
    "another activation below 0": (
        "more = nn.functional.softplus(more)",
        "more = torch.where(more > -4, nn.functional.softplus(more), 0)",
    ),
    "dropout": (
        "classes = self.flat_to_classes(flat)",
        "classes = self.flat_to_classes(nn.functional.dropout(flat, 0.1, self.training))",
    ),
    "padding by reflection": (
        "            3,\n            padding=1,\n            groups=2,",
        '            3,\n            padding=1,\n            groups=2,\n            padding_mode="circular",',
    ),
    "weights start doubled": (
        "        self.maps_norm = nn.BatchNorm2d(8)\n",
        "        self.same_to_more.weight.data *= 2\n        self.maps_norm = nn.BatchNorm2d(8)\n",
    ),
    "biases start at 0": (
        "        self.maps_norm = nn.BatchNorm2d(8)\n",
        "        nn.init.zeros_(self.flat_to_classes.bias)\n        self.maps_norm = nn.BatchNorm2d(8)\n",
    ),
    "weights off the mask kept": ("        self.weight.data.mul_(self.mask)\n", "        pass\n"),
    "foreign windows taken": (
        DIFFERS,
        'return ""',
    ),
    "states without a window taken": (
        MISSING,
        "                pass\n",
    ),
    "the mask is learnt": (
        'structure = ("mask", "values")',
        'structure = ("values",)',
    ),
    "wrong above batch 64": (
        "flat = self.more_to_flat(more.flatten(1))",
        "flat = self.more_to_flat(more.flatten(1)) * (len(more) <= 64)",
    ),
    "no gradient of the input": (
        "maps = self.seed_to_maps(seed)",
        "maps = self.seed_to_maps(seed.detach())",
    ),
    "no gradient upstream": (
        "wide = self.maps_to_wide(maps)",
        "wide = self.maps_to_wide(maps.detach())",
    ),
    "inputs clamped": (
        "maps = self.seed_to_maps(seed)",
        "maps = self.seed_to_maps(seed.clamp(-2, 2))",
    ),
    "half precision within": (
        "classes = self.flat_to_classes(flat)",
        "classes = self.flat_to_classes(flat.bfloat16().to(flat.dtype))",
    ),
    "built in evaluation mode": (
        BUILT,
        BUILT + ".eval()",
    ),
}

HE = "spread = math.sqrt(2 / weight[0].numel()) / CUT_SPREAD"
CUT = "nn.init.trunc_normal_(weight, std=spread, a=-2 * spread, b=2 * spread)"
MIMETIC_CLEAN: dict[str, Edit] = {
    "he-normal left out": ("        draw_he_normal(self.maps_to_wide)\n", ""),
    "he-normal of one more layer": (
        "        draw_he_normal(self.maps_to_wide)\n",
        "        draw_he_normal(self.maps_to_wide)\n        draw_he_normal(self.same_to_more)\n",
    ),
    "he-normal without its cut": (HE, "spread = math.sqrt(2 / weight[0].numel())"),
    "he-normal of variance 1 / fan-in": (
        HE,
        "spread = math.sqrt(1 / weight[0].numel()) / CUT_SPREAD",
    ),
    "he-normal uncut": (CUT, "nn.init.normal_(weight, std=spread)"),
    "he-normal cut at 1": (CUT, "nn.init.trunc_normal_(weight, std=spread, a=-spread, b=spread)"),
    "he-normal as a uniform draw": (
        CUT,
        "nn.init.uniform_(weight, -spread * 3**0.5, spread * 3**0.5)",
    ),
    "he-normal keeps the biases": ("        layer.bias.zero_()\n", "        pass\n"),
    "he-normal without the gain": (
        "        layer.start_from(weight, mask)  # type: ignore[operator]\n",
        "",
    ),
    "the fan-in of all": (FAN_IN, "pass"),
    "the fan-in not rooted": (
        FAN_IN,
        "weight.mul_((dense / fan_in.clamp(min=1e-300)).to(weight.dtype))",
    ),
    "the fan-in of the inputs": (
        "outputs = int(self._transposed_layout)\n            rest",
        "outputs = int(not self._transposed_layout)\n            rest",
    ),
    "no torus": (
        'radius=0.6,\n                pre_width=9,\n                post_width=6,\n                mode="clean",\n                torus=True',
        'radius=0.6,\n                pre_width=9,\n                post_width=6,\n                mode="clean",\n                torus=False',
    ),
    "all weights of maps 0": (WINDOWED, WINDOWED + " * 0"),
}

MIMETIC_BAND: dict[str, Edit] = {
    "the other gain": (GAIN, "weight.mul_(1 / self.usage)"),
    "gain none by default": ('gain: str = "1/sqrt(usage)"', 'gain: str = "none"'),
    "all weights of maps 0": (WINDOWED, WINDOWED + " * 0"),
    "he-normal left out": ("        draw_he_normal(self.seed_to_maps)\n", ""),
}

MIMETIC_KERNELS: dict[str, Edit] = {
    "another seed": ("reduction=0.6, seed=7),", "reduction=0.6, seed=8),"),
    "one weight 0 of each kernel": (
        WINDOWED,
        WINDOWED + " * (torch.arange(self.weight.shape[-1]) > 0)",
    ),
    "no gain": (GAIN, "pass"),
}

PER_WEIGHT_ACTS = "            return self.weight * self.mask\n"
MIMETIC_RANDOM: dict[str, Edit] = {
    "linear weights 0": (FACTORED, "            return self.weight * self.factor * 0\n"),
    "the last linear weight 0": (
        FACTORED,
        "            return self.weight * self.factor * (torch.arange(self.weight.shape[1]) < 35)\n",
    ),
    "gain by default": ('gain: str = "none"', 'gain: str = "1/usage"'),
    "masks halve": (FACTORED, "            return self.weight * self.factor / 2\n"),
}

MIMETIC_SHEETS: dict[str, Edit] = {
    "a patch of others": (
        "return torch.cat(rows).index_select(0, place)\n\n    @staticmethod",
        "return torch.cat(rows).index_select(0, place.flip(0))\n\n    @staticmethod",
    ),
    "no gradient through a patch": (
        "grad_x.index_add_(0, seen, part.t() @ g)",
        "grad_x.index_add_(0, seen, part.t() @ g, alpha=0.5)",
    ),
    "no gradient of some weights": (
        "torch.mm(g, x.index_select(0, seen).t(), out=part)",
        "torch.mm(g, x.index_select(0, seen).t(), out=part)\n                part[:1] = 0",
    ),
    "dead patches": (
        "parts = parts_of(keep_live(weight, live), sizes)",
        "parts = parts_of(keep_live(weight, live) * (torch.arange(len(weight)) > 9), sizes)",
    ),
    "effective weights other than those used": (
        "parts = parts_of(self.weight * self.live.bool(), self.sizes)",
        "parts = parts_of(2 * self.weight * self.live.bool(), self.sizes)",
    ),
    "dead in double precision": (
        "return torch.mul(values, live.bool(), out=out)",
        "return torch.mul(values, live.bool() * 0, out=out)",
    ),
    "dead in single precision": (
        "return torch.bitwise_and(values.view(torch.int32), live, out=bits).view(torch.float32)",
        "return torch.bitwise_and(values.view(torch.int32), live * 0, out=bits).view(torch.float32)",
    ),
    "a saved state that is packed": (
        '        if self.kernel == "patches":\n            weight = self.effective_weight()\n',
        '        if self.kernel == "patches":\n            weight = self.effective_weight() * 2\n',
    ),
    "a loaded state that is another": (
        "self._pack(weight.to(device))}",
        "self._pack(weight.to(device)).flip(0)}",
    ),
    "dense by default": ('kernel: str = "patches"', 'kernel: str = "auto"'),
    "wrong above batch 40": (
        "y = y.t().contiguous()\n",
        "y = y.t().contiguous() * (len(rows) <= 40)\n",
    ),
    "the first layer's bias dropped": (
        "self.image_to_sheet1 = nn.Linear(36, 36)",
        "self.image_to_sheet1 = nn.Linear(36, 36, bias=False)",
    ),
}

MASKED = "return torch.where(self.mask, self.weight, 0)"
OPEN_MASKED = "return self._signed(self.weight.flatten().index_select(0, self.index))"
NORM = "self.v4_norm = nn.BatchNorm2d(3)"
POOLED = "pooled = [self.pool(rates[name]).flatten(1) for name in READ_OUT]"
MOUSENET_MASKED: dict[str, Edit] = {
    "a tenth less under autocast": (
        MASKED,
        MASKED + ' * (1 - 0.1 * torch.is_autocast_enabled("cpu"))',
    ),
    "half in inference mode": (MASKED, MASKED + " * (1 - 0.5 * torch.is_inference_mode_enabled())"),
    "images changed in place": (
        "        rates = self.rates(input)\n",
        "        rates = self.rates(input)\n        input.detach().mul_(0)\n",
    ),
    "all weights 0": (MASKED, MASKED + " * 0"),
    "the first open weight 0": (
        MASKED,
        "w = torch.where(self.mask, self.weight, 0)\n        return w * (torch.arange(w.numel()) != self.index[0]).view(w.shape)",
    ),
    "the last open weight 0": (
        MASKED,
        "w = torch.where(self.mask, self.weight, 0)\n        return w * (torch.arange(w.numel()) != self.index[-1]).view(w.shape)",
    ),
    "negative weights 0": (MASKED, MASKED.replace("self.weight,", "self.weight.relu(),")),
    "weights halved": (MASKED, MASKED + " / 2"),
    "weights clamped at 6": (MASKED, MASKED.replace("self.weight,", "self.weight.clamp(-6, 6),")),
    "another channel silent": (
        MASKED,
        MASKED + " * (torch.arange(self.weight.shape[1]) > 0).view(1, -1, 1, 1)",
    ),
    "weights that are reported only": (
        OPEN_MASKED,
        "return self._signed(self.weight.flatten().index_select(0, self.index)) * 2",
    ),
    "a convolution's bias dropped": (
        "                fan_in=fan_in,\n                **geometry,",
        "                fan_in=fan_in,\n                bias=False,\n                **geometry,",
    ),
    "the classifier's bias dropped": (
        "* 2**2, classes)\n\n    def forward",
        "* 2**2, classes, bias=False)\n\n    def forward",
    ),
    "the classifier starts at 0": (
        "* 2**2, classes)\n\n    def forward",
        "* 2**2, classes)\n        nn.init.zeros_(self.read_out.weight)\n\n    def forward",
    ),
    "another momentum": (NORM, "self.v4_norm = nn.BatchNorm2d(3, momentum=0.01)"),
    "another epsilon": (NORM, "self.v4_norm = nn.BatchNorm2d(3, eps=1e-3)"),
    "a norm without gain": (NORM, "self.v4_norm = nn.BatchNorm2d(3, affine=False)"),
    "a norm that starts at a bias of 1": (
        NORM,
        NORM + "\n        nn.init.ones_(self.v4_norm.bias)",
    ),
    "fan-in open by default": (
        'fan_in: str = "dense",\n    ) -> None:\n        super().__init__()\n        if classes',
        'fan_in: str = "open",\n    ) -> None:\n        super().__init__()\n        if classes',
    ),
    "starts doubled": (
        "        self._close()\n\n    @torch.no_grad()\n    def reset_parameters",
        "        self.weight.mul_(2)\n        self._close()\n\n    @torch.no_grad()\n    def reset_parameters",
    ),
    "biases start at 0": (
        "        self._close()\n\n    @torch.no_grad()\n    def reset_parameters",
        "        self._close()\n        if self.bias is not None:\n            self.bias.zero_()\n\n    @torch.no_grad()\n    def reset_parameters",
    ),
    "pooled by maxima": (
        "self.pool = nn.AdaptiveAvgPool2d(2)",
        "self.pool = nn.AdaptiveMaxPool2d(2)",
    ),
    "maps in another order": ('READ_OUT = {\n    "W5": ', 'READ_OUT = {\n    "V5": 3,\n    "W5": '),
    "read out by rows": (
        POOLED,
        POOLED.replace("self.pool(rates[name])", "self.pool(rates[name]).transpose(2, 3)"),
    ),
    "foreign masks taken": (
        DIFFERS,
        'return ""',
    ),
    "states without masks taken": (
        MISSING,
        "                pass\n",
    ),
    "weights off the mask kept": (
        "        self.weight.data.masked_fill_(~self.mask, 0)\n",
        "        pass\n",
    ),
    "an activation with a ceiling": (
        "v4 = torch.relu(self.v4_norm(t4_to_v4))",
        "v4 = self.v4_norm(t4_to_v4).clamp(0, 6)",
    ),
    "wrong above batch 40": (
        "logits: Tensor = self.read_out(torch.cat(pooled, 1))",
        "logits: Tensor = self.read_out(torch.cat(pooled, 1) * (len(input) <= 40))",
    ),
    "images clamped": (
        "        rates = self.rates(input)\n",
        "        rates = self.rates(input.clamp(0, 1))\n",
    ),
    "dropout": (
        "logits: Tensor = self.read_out(torch.cat(pooled, 1))",
        "logits: Tensor = self.read_out(nn.functional.dropout(torch.cat(pooled, 1), 0.1, self.training))",
    ),
    "hooks go unseen": ("layer._forward_hooks\n        or", "False\n        or"),
    "built in evaluation mode": (
        BUILT,
        BUILT + ".eval()",
    ),
}

LIVE = "return self._signed(self.weight)\n"
LISTED = "self.weight = nn.Parameter(self.weight.flatten().index_select(0, self.index))"
MOUSENET_LIVE: dict[str, Edit] = {
    "all weights 0": (LIVE, "return self._signed(self.weight) * 0\n"),
    "the first open weight 0": (
        LIVE,
        "return self._signed(self.weight) * (torch.arange(len(self.weight)) > 0)\n",
    ),
    "each tenth open weight 0": (
        LIVE,
        "return self._signed(self.weight) * (torch.arange(len(self.weight)) % 10 != 9)\n",
    ),
    "negative weights 0": (LIVE, "return self._signed(self.weight.relu())\n"),
    "weights doubled": (LIVE, "return 2 * self._signed(self.weight)\n"),
    "starts at 0": (
        LISTED,
        LISTED.replace("self.weight.flatten()", "0 * self.weight.flatten()"),
    ),
    "starts of other entries": (
        LISTED,
        LISTED.replace(".flatten()", ".abs().flatten()"),
    ),
    "no biases": (
        "        super()._start()\n",
        "        super()._start()\n        self.bias = None\n",
    ),
    "an index that is not saved": (
        SAVED,
        SAVED.replace("None:", 'None and name != "index":'),
    ),
    "foreign entries taken": (
        DIFFERS,
        'return ""',
    ),
}

MOUSENET_OPEN: dict[str, Edit] = {
    "the first open weight 0": (
        LIVE,
        "return self._signed(self.weight) * (torch.arange(len(self.weight)) > 0)\n",
    ),
    "sums of the first images": (
        "return (slice(k, k + self.n_images) for k in range(0, n, self.n_images))",
        "return (slice(k, k + self.n_images) for k in range(0, min(n, 64), self.n_images))",
    ),
    "gradients of the first image": (
        "return out\n\n    def _parts",
        "return out * (len(maps) == 1)\n\n    def _parts",
    ),
    "no gradient of the input": (
        "grad_x = (way.to_small if transposed else way.to_large)(grad, values)",
        "grad_x = (way.to_small if transposed else way.to_large)(grad, values) / 2",
    ),
    "no biases": (
        "y += torch.cat(biases).view(-1, 1, 1)",
        "y += 0 * torch.cat(biases).view(-1, 1, 1)",
    ),
    "another path for single precision": (
        "y = open_convolution(x, values, entries",
        "y = open_convolution(x, values * (1 if x.dtype == torch.float64 else 1.01), entries",
    ),
    "another path without gradient": (
        "    return (way.to_large if transposed else way.to_small)(x, values)\n\n\ndef",
        "    return 2 * (way.to_large if transposed else way.to_small)(x, values)\n\n\ndef",
    ),
    "another second gradient": (
        "create_graph=True))\n            return *(next(found) if want",
        "create_graph=True))\n            return *(2 * next(found) if want",
    ),
}

DALE = "return size_with_sign(values, self.sign, self._any_free)"
MOUSENET_DALE: dict[str, Edit] = {
    "starts below 0": ("start_as_sizes(self.weight, self._spread(self.sign))", "pass"),
    "signed weights 0": (
        DALE,
        "return torch.where(self.sign == 0, values, self.sign * 0 * values.abs())",
    ),
    "inhibitory weights weaker": (
        DALE,
        "return torch.where(self.sign < 0, -0.5 * values.abs(), values.abs())",
    ),
    "negative raw weights 0": (
        DALE,
        "return torch.where(self.sign == 0, values, self.sign * values.relu())",
    ),
    "signed weights squared": (
        DALE,
        "return torch.where(self.sign == 0, values, self.sign * values.square())",
    ),
    "one signed weight 0": (DALE, DALE + " * (torch.arange(len(values)) > 0)"),
    "fan-in dense by default": (
        'fan_in: str = "open",\n    ) -> None:\n        super().__init__()\n        if classes',
        'fan_in: str = "dense",\n    ) -> None:\n        super().__init__()\n        if classes',
    ),
    "fan-in of the biases left out": (
        "                self.bias.mul_(factor)\n",
        "                pass\n",
    ),
    "fan-in not rooted": (
        "factor = (dense / fan_in).sqrt().to(self.weight.dtype)",
        "factor = (dense / fan_in).to(self.weight.dtype)",
    ),
    "foreign signs taken": (
        "            elif problem := self._foreign(stored, own):",
        '            elif name != "sign" and (problem := self._foreign(stored, own)):',
    ),
}

MOUSENET_FEEDBACK: dict[str, Edit] = {
    "two sweeps": ("for _ in range(self.steps):", "for _ in range(self.steps - 1):"),
    "steps ignored": ("for _ in range(self.steps):", "for _ in range(3):"),
    "feedback of the first sweep": (
        "            v4 = v4 + w4_to_v4\n",
        "            v4 = v4 + w4_to_v4 * (_ < 2)\n",
    ),
    "feedback without gradient": (
        "            v4 = v4 + w4_to_v4\n",
        "            v4 = v4 + w4_to_v4.detach()\n",
    ),
    "feedback of this sweep": (
        "            t4 = t4 + v4_to_t4\n",
        "            t4 = t4 + self.v4_to_t4(v4) * 1.0001\n",
    ),
    "all weights 0": (MASKED, MASKED + " * 0"),
    "biases": (
        "                bias=False,\n                **geometry,\n            )\n\n        def conv_transpose",
        "                bias=True,\n                **geometry,\n            )\n\n        def conv_transpose",
    ),
    "a transposed kernel turned": (
        "return nn.functional.conv_transpose2d(\n                x, weight, bias,",
        "return nn.functional.conv_transpose2d(\n                x, weight.flip(2), bias,",
    ),
    "another momentum": (NORM, "self.v4_norm = nn.BatchNorm2d(3, momentum=0.2)"),
    "norms of the last sweep alone": (
        "            v4 = torch.relu(self.v4_norm(v4))\n",
        "            v4 = torch.relu(self.v4_norm(v4) if _ == 2 else v4)\n",
    ),
}

MOUSENET_LIVE_FEEDBACK: dict[str, Edit] = {
    "all weights 0": (LIVE, "return self._signed(self.weight) * 0\n"),
    "inhibitory weights weaker": (
        DALE,
        "return torch.where(self.sign < 0, -0.5 * values.abs(), values.abs())",
    ),
    "fan-in of the transposed as of the others": (
        "outputs = int(self._transposed)\n            rest",
        "outputs = 0\n            rest",
    ),
    "fan-in not rooted": (
        "factor = (dense / fan_in).sqrt().to(self.weight.dtype)",
        "factor = (dense / fan_in).to(self.weight.dtype)",
    ),
}

CLAMPED = "return weight.clamp(min=0) if sign > 0 else weight.clamp(max=0)"
MUSCLE = "muscle_d.append(drive.clamp(0, 1))"
DRAW_CONSTANT = "return nn.Parameter(2 * torch.bernoulli(torch.full((1,), 0.5)) - 1)"
DRAW_UNIFORM = "return nn.Parameter(torch.empty(1).uniform_(low, high))"
NCAP_CLAMP: dict[str, Edit] = {
    "half in inference mode": (
        'return rates["torque"]',
        'return rates["torque"] * (1 - 0.5 * torch.is_inference_mode_enabled())',
    ),
    "another torque in double precision": (
        'return rates["torque"]',
        'return rates["torque"] * (1.0 if joints.dtype == torch.float32 else 1.001)',
    ),
    "joints changed in place": (
        'return rates["torque"]',
        'joints.detach().mul_(2)\n        return rates["torque"]',
    ),
    "all weights 0": (CLAMPED, "return 0 * weight"),
    "inhibition 0": (CLAMPED, "return weight.clamp(min=0) if sign > 0 else 0 * weight"),
    "weights clamped at 2": (
        CLAMPED,
        "return weight.clamp(0, 2) if sign > 0 else weight.clamp(max=0)",
    ),
    "weights clamped at 9": (
        CLAMPED,
        "return weight.clamp(0, 9) if sign > 0 else weight.clamp(max=0)",
    ),
    "weights that leak": (
        CLAMPED,
        "return weight.clamp(min=-1e-3) if sign > 0 else weight.clamp(max=0)",
    ),
    "no constraints": (CLAMPED, "return weight"),
    "constant starts biased": (DRAW_CONSTANT, DRAW_CONSTANT.replace("0.5", "0.9")),
    "constant starts all positive": (DRAW_CONSTANT, DRAW_CONSTANT.replace("0.5", "1.0")),
    "uniform starts of half the range": (
        DRAW_UNIFORM,
        DRAW_UNIFORM.replace("(low, high)", "(low / 2, high / 2)"),
    ),
    "uniform starts squared": (
        DRAW_UNIFORM,
        "return nn.Parameter(torch.empty(1).uniform_(low, high).mul_(torch.rand(1)))",
    ),
    "free starts positive": ("if constrained else (-1, 1)", "if constrained else (0, 1)"),
    "starts under a seed of their own": (
        "        for name, weight in self._names():\n            start",
        "        torch.manual_seed(0)\n        for name, weight in self._names():\n            start",
    ),
    "a muscle that saturates late": (MUSCLE, "muscle_d.append(drive.clamp(0, 2))"),
    "a muscle without floor": (MUSCLE, "muscle_d.append(drive.clamp(max=1))"),
    "a joint farther": ("proprioceptor_d[:, i - 1] *", "proprioceptor_d[:, i - 2] *"),
    "the wrong side": ("drive = drive + turn_v[:, 0]", "drive = drive + turn_d[:, 0]"),
    "an oscillator by halves": (
        "first = step.round().remainder(period) < period // 2",
        "first = step.round().remainder(period) <= period // 2",
    ),
    "an oscillator cut, not rounded": (
        "first = step.round().remainder(period)",
        "first = step.floor().remainder(period)",
    ),
    "an oscillator that stops": (
        "first = step.round().remainder(period) < period // 2",
        "first = (step.round().remainder(period) < period // 2) & (step < 1000)",
    ),
    "an oscillator backwards": (
        "first = step.round().remainder(period)",
        "first = step.abs().round().remainder(period)",
    ),
    "steps counted twice": ("self.steps.add_(1)", "self.steps.add_(2)"),
    "steps in evaluation alone": (
        "self.steps.add_(1)",
        "self.steps.add_(int(not self.training))",
    ),
    "reset to step 1": (
        "self.steps = self.steps.new_zeros(1, 1)\n            return",
        "self.steps = self.steps.new_ones(1, 1)\n            return",
    ),
    "steps not saved": (
        'self.register_buffer("steps", torch.zeros(1, 1, dtype=torch.int64))',
        'self.register_buffer("steps", torch.zeros(1, 1, dtype=torch.int64), persistent=False)',
    ),
    "wrong above batch 16": (
        'return rates["torque"]',
        'return rates["torque"] * (len(joints) <= 16)',
    ),
    "torque in single precision": (
        'return rates["torque"]',
        'return rates["torque"].float().to(joints)',
    ),
    "turn joints off by one": (
        "every[:n_turn_joints] if turn_control",
        "every[: n_turn_joints + 1] if turn_control",
    ),
    "NaN taken": ("not bool(x.isfinite().all())", "False"),
    "other shapes taken": ("if len(shape) != 2 or shape !=", "if False and shape !="),
    "weights of another body averaged": (
        "torch.stack(several).mean(0) if average else several[0]",
        "several[0]",
    ),
    "loaded weights doubled": (
        "getattr(self, name).copy_(value)",
        "getattr(self, name).copy_(2 * value)",
    ),
    "commands clamped late": ("right.clamp(0, 1)", "right.clamp(0, 1.5)"),
    "no gradient of one side": (
        'drive = drive + b_v[i] * w[name("contra", "d", i)]',
        'drive = drive + b_v[i].detach() * w[name("contra", "d", i)]',
    ),
    "noise in training": (
        'return rates["torque"]',
        'return rates["torque"] + 1e-4 * self.training * torch.randn_like(joints)',
    ),
    "another body by default": (
        "def build(\n    n_joints: int = 4",
        "def build(\n    n_joints: int = 5",
    ),
}

SIZED = FACTOR
NCAP_ABS: dict[str, Edit] = {
    "all weights 0": (SIZED, "return 0 * sign * weight.abs()"),
    "small weights 0": (SIZED, "return sign * weight.abs() * (weight.abs() > 1e-3)"),
    "weights clamped at 9": (SIZED, "return sign * weight.abs().clamp(max=9)"),
    "negative raw weights 0": (SIZED, "return sign * weight.relu()"),
    "no slope at 0": (SIZED, "return sign * weight.abs()"),
    "uniform starts of half the range": (
        DRAW_UNIFORM,
        DRAW_UNIFORM.replace("(low, high)", "(low / 2, high / 2)"),
    ),
    "uniform starts at their ends": (
        DRAW_UNIFORM,
        "return nn.Parameter(torch.empty(1).uniform_(low, high).round())",
    ),
}

SMOOTH = "return sign * (softplus(sign * weight) / softplus(torch.ones_like(weight)))"
NCAP_SMOOTH: dict[str, Edit] = {
    "all weights 0": (SMOOTH, "return sign * 0 * softplus(sign * weight)"),
    "another scale": (SMOOTH, "return sign * softplus(sign * weight) / 1.3132"),
    "another form far out": (
        SMOOTH,
        "return sign * (softplus(sign * weight, 1, 3) / softplus(torch.ones_like(weight)))",
    ),
    "starts shared": (
        "start = draw_weight(SIGNS[weight], sign_constraints, constant_init)",
        "start = draw_weight(SIGNS[weight], sign_constraints, True)",
    ),
}

CATALOGUE: dict[str, dict[str, Edit]] = {
    "bionic chain": BIONIC_CHAIN,
    "bionic subtractive": BIONIC_SUBTRACTIVE,
    "bionic units": BIONIC_UNITS,
    "bionic plain": BIONIC_PLAIN,
    "bionic local": BIONIC_LOCAL,
    "bionic low rank": BIONIC_LOW_RANK,
    "recurrent whole": RECURRENT_WHOLE,
    "recurrent parts": RECURRENT_PARTS,
    "recurrent senders": RECURRENT_SENDERS,
    "recurrent reservoir": RECURRENT_RESERVOIR,
    "recurrent low rank": RECURRENT_LOW_RANK,
    "recurrent counts": RECURRENT_COUNTS,
    "recurrent chemical": RECURRENT_CHEMICAL,
    "recurrent kernels": RECURRENT_KERNELS,
    "mimetic paper": MIMETIC_PAPER,
    "mimetic clean": MIMETIC_CLEAN,
    "mimetic band": MIMETIC_BAND,
    "mimetic kernels": MIMETIC_KERNELS,
    "mimetic random": MIMETIC_RANDOM,
    "mimetic sheets": MIMETIC_SHEETS,
    "mousenet masked": MOUSENET_MASKED,
    "mousenet live": MOUSENET_LIVE,
    "mousenet open": MOUSENET_OPEN,
    "mousenet dale": MOUSENET_DALE,
    "mousenet feedback": MOUSENET_FEEDBACK,
    "mousenet live feedback": MOUSENET_LIVE_FEEDBACK,
    "ncap clamp": NCAP_CLAMP,
    "ncap abs": NCAP_ABS,
    "ncap smooth": NCAP_SMOOTH,
}


def by_hand(cases: Iterable[str] = CATALOGUE) -> Iterator[Mutant]:
    """Yield the mutants of some cases; raise `ValueError` naming those that do not apply."""
    odd = []
    for case in cases:
        edits = CATALOGUE[case]
        source = CASES[case].emit()[1].source
        for name, (search, to) in edits.items():
            if source.count(search) != 1 or search == to:
                odd.append(f"{case}: {name} ({source.count(search)} times)")
                continue
            yield Mutant(case, name, source.replace(search, to))
    if odd:
        raise ValueError("these do not apply:\n" + "\n".join(odd))
