"""ToyWorm: A toy worm.

Every weight between neurons stands for connections of the graph below. What is linear between
inputs, neurons and outputs does not: no connectome says what drives a nervous system, or how it is
read.

16 connections (gap junctions in both directions), kernel 'dense'; forecast for training on one CPU
core: 0.0 MB of state, 3.0 ms for 20 steps of 16 samples.

Data       toy-worm@1 (measured; signs: none)
Signs      7 known (4 excitatory, 40%; 3 inhibitory, 30%), 7 enforced, 3 unknown
Licence    CC0

Made by connectome-compiler 0.1.0 as toy-worm: apply-dale, partition-by, set-weights, set-dynamics,
attach-ports, recurrent. What each step did stands below, in PROVENANCE.
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


class ToyWorm(nn.Module):
    """6 neurons as a recurrent rate network.

    Each follows
    ``tau dr/dt = -r + activation(W r + input + bias) + sum over j of g_j (r_j - r)``, the last
    through gap junctions.

    Maps a sequence ``(steps, batch, 2)``, one current per driven neuron, to
    ``(steps, batch, 2)``, ``outputs`` sums of rates, and to the state at the end,
    ``(batch, 6)``, from which the next call can go on. An input without steps, ``(batch, 2)``,
    is one step. With ``batch_first`` sequences are ``(batch, steps, ...)``. Lists of neurons as
    ``inputs`` and ``outputs`` make each of them a channel, without weights.

    ``tau_ms`` is where time constants start, ``dt_ms`` the step, both in milliseconds.
    ``balanced`` starts at chemical weights that sum to 1 for each neuron where they excite, and
    to 0.75 where they inhibit, and at biases of 0.1 for relu; ``spectral_radius``, if not None,
    is that of ``(W + G) / (1 + g)`` then: chemical weights are scaled to it. ``G`` are the
    conductances ``g_j``, and ``g`` the sum of each neuron's.
    """

    def __init__(
        self,
        *,
        inputs: Sequence[Any] | None = None,
        outputs: int | Sequence[Any] = 2,
        activation: str = "relu",
        tau_ms: float = 50.0,
        dt_ms: float = 20.0,
        balanced: bool = True,
        spectral_radius: float | None = None,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self.batch_first = batch_first
        arrays = read_arrays()
        driven, read = arrays["input_units"], arrays["output_units"]
        driven = port_units("inputs", inputs, driven, False, read_neurons)
        read = port_units("outputs", outputs, read, True, read_neurons)
        self.n_inputs = len(driven)

        # Read-in and read-out: free weights, not of the connectome. Neurons by name have none.
        self.linear_out = isinstance(outputs, int)
        if self.linear_out:
            self.motor_to_output = nn.Linear(2, outputs)

        # Projections of the connectome.
        self.sensory_to_sensory = TiedEdgeLinear(
            2,
            arrays["sensory->sensory.ptr"],
            arrays["sensory->sensory.pre"],
            arrays["sensory->sensory.group"],
            scale=arrays["sensory->sensory.scale"],
            sign=1,
        )
        self.inter_to_sensory = TiedEdgeLinear(
            2,
            arrays["inter->sensory.ptr"],
            arrays["inter->sensory.pre"],
            arrays["inter->sensory.group"],
            scale=arrays["inter->sensory.scale"],
            sign=arrays["inter->sensory.sign"],
        )
        self.inter_to_sensory_electrical = GapJunctions(
            2,
            arrays["inter->sensory:electrical.ptr"],
            arrays["inter->sensory:electrical.pre"],
            arrays["inter->sensory:electrical.group"],
            scale=arrays["inter->sensory:electrical.scale"],
        )
        self.motor_to_sensory = TiedEdgeLinear(
            2,
            arrays["motor->sensory.ptr"],
            arrays["motor->sensory.pre"],
            arrays["motor->sensory.group"],
            scale=arrays["motor->sensory.scale"],
            sign=1,
        )
        self.motor_to_sensory_electrical = GapJunctions(
            2,
            arrays["motor->sensory:electrical.ptr"],
            arrays["motor->sensory:electrical.pre"],
            arrays["motor->sensory:electrical.group"],
            scale=arrays["motor->sensory:electrical.scale"],
        )
        self.sensory_to_inter = TiedEdgeLinear(
            2,
            arrays["sensory->inter.ptr"],
            arrays["sensory->inter.pre"],
            arrays["sensory->inter.group"],
            scale=arrays["sensory->inter.scale"],
            sign=1,
        )
        self.inter_to_inter = TiedEdgeLinear(
            2,
            arrays["inter->inter.ptr"],
            arrays["inter->inter.pre"],
            arrays["inter->inter.group"],
            scale=arrays["inter->inter.scale"],
            sign=arrays["inter->inter.sign"],
        )
        self.inter_to_motor = TiedEdgeLinear(
            2,
            arrays["inter->motor.ptr"],
            arrays["inter->motor.pre"],
            arrays["inter->motor.group"],
            scale=arrays["inter->motor.scale"],
            sign=-1,
        )
        self.sensory_to_inter_electrical = GapJunctions(
            2,
            arrays["sensory->inter:electrical.ptr"],
            arrays["sensory->inter:electrical.pre"],
            arrays["sensory->inter:electrical.group"],
            scale=arrays["sensory->inter:electrical.scale"],
            weight=self.inter_to_sensory_electrical.weight,
        )
        self.sensory_to_motor_electrical = GapJunctions(
            2,
            arrays["sensory->motor:electrical.ptr"],
            arrays["sensory->motor:electrical.pre"],
            arrays["sensory->motor:electrical.group"],
            scale=arrays["sensory->motor:electrical.scale"],
            weight=self.motor_to_sensory_electrical.weight,
        )

        # The units, and where the targets and sources of each projection begin among them.
        self.units = LeakyRates(
            6,
            [
                (self.sensory_to_sensory, 0, 0),
                (self.inter_to_sensory, 0, 2),
                (self.inter_to_sensory_electrical, 0, 2),
                (self.motor_to_sensory, 0, 4),
                (self.motor_to_sensory_electrical, 0, 4),
                (self.sensory_to_inter, 2, 0),
                (self.sensory_to_inter_electrical, 2, 0),
                (self.inter_to_inter, 2, 2),
                (self.sensory_to_motor_electrical, 4, 0),
                (self.inter_to_motor, 4, 2),
            ],
            activation=activation,
            tau_ms=tau_ms,
            dt_ms=dt_ms,
            tau_of=arrays["tau_of"],
            bias_of=arrays["bias_of"],
            dense=True,
        )
        # Of all neurons those that inputs drive, and those that are read.
        self.units.hold(input_units=driven, output_units=read)
        draw_conductances(
            self.units,
            self._layers(),
            [
                self.inter_to_sensory_electrical,
                self.motor_to_sensory_electrical,
            ],
        )
        if balanced:
            chemical = (p for p in self.named_projections() if p[2].kind == "chemical")
            balance((post, layer) for _, post, layer in chemical)
            rest(self.units)
        if spectral_radius is not None:
            scale_to_radius(self.units, self._layers(), spectral_radius)

    def forward(
        self,
        u: Tensor,
        state: Tensor | None = None,
        *,
        current: Mapping[Any, Any] | None = None,
        silence: Any = None,
        clamp: Mapping[Any, Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs and the state at the end; ``state`` is 0 by default.

        By name, ``current`` adds to the drive of neurons, ``{"AVAL": 0.5}``: a number, one for each
        step, or for each step and sample. ``silence``, ``["AVAL"]``, holds the rates of neurons at
        0, ``clamp``, ``{"AVAL": 0.5}``, at a number, or one for each sample.
        """
        rates, state = self._roll(u, state, self.units.output_units, current, silence, clamp)
        if not self.linear_out:
            return rates, state
        return self.motor_to_output(rates), state

    def rates(
        self,
        u: Tensor,
        state: Tensor | None = None,
        *,
        neurons: Sequence[Any] | Tensor | None = None,
        **acts: Any,
    ) -> dict[Any, Tensor]:
        """Return the rates of every population, or of some ``neurons``, laid out as outputs are.

        ``acts`` are what is done to neurons, as in `forward`.
        """
        if neurons is not None:
            units = self.index(neurons if isinstance(neurons, Tensor) else list(neurons))
            rates, _ = self._roll(u, state, units.to(self.units.output_units.device), **acts)
            neurons = neurons.tolist() if isinstance(neurons, Tensor) else neurons
            return dict(zip(neurons, rates.unbind(-1), strict=True))
        units = torch.arange(6, device=self.units.output_units.device)
        rates, _ = self._roll(u, state, units, **acts)
        return {
            "sensory": rates[..., 0:2],
            "inter": rates[..., 2:4],
            "motor": rates[..., 4:6],
        }

    def _roll(
        self,
        u: Tensor,
        state: Tensor | None,
        units: Tensor,
        current: Mapping[Any, Any] | None = None,
        silence: Any = None,
        clamp: Mapping[Any, Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the rates of ``units``, laid out as ``u`` is, and the state at the end."""
        if u.dim() not in (2, 3) or u.shape[-1] != self.n_inputs:
            order = "batch, steps" if self.batch_first else "steps, batch"
            shapes = f"({order}, {self.n_inputs}) or (batch, {self.n_inputs})"
            raise ValueError(f"input is {tuple(u.shape)}, expected {shapes}")
        drive, driven, held = u, self.units.input_units, None
        if current is not None:
            more, currents = named_currents(read_neurons(), current, drive, self.batch_first)
            drive, driven = torch.cat([drive, currents], -1), torch.cat([driven, more])
        one_step, turned = u.dim() == 2, u.dim() == 3 and self.batch_first
        if one_step:
            drive = drive.unsqueeze(0)
        elif turned:
            drive = drive.transpose(0, 1)
        if silence is not None or clamp is not None:
            held = held_rates(read_neurons(), silence, clamp, drive)
        rates, state = self.units(drive, self._layers(), driven, units, state, held)
        if one_step:
            rates = rates.squeeze(0)
        elif turned:
            rates = rates.transpose(0, 1)
        return rates, state

    def _layers(self) -> list["EdgeLinear"]:
        return [layer for _, _, layer in self.named_projections()]

    def example_input(self, batch: int = 1, steps: int = 10) -> Tensor:
        """Return sequences of uniform noise, the same at every call."""
        source = torch.Generator().manual_seed(0)
        u = torch.rand(steps, batch, self.n_inputs, generator=source).to(self.units.log_tau)
        return u.transpose(0, 1) if self.batch_first else u

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
        yield "sensory", "sensory", self.sensory_to_sensory
        yield "inter", "sensory", self.inter_to_sensory
        yield "inter", "sensory", self.inter_to_sensory_electrical
        yield "motor", "sensory", self.motor_to_sensory
        yield "motor", "sensory", self.motor_to_sensory_electrical
        yield "sensory", "inter", self.sensory_to_inter
        yield "sensory", "inter", self.sensory_to_inter_electrical
        yield "inter", "inter", self.inter_to_inter
        yield "sensory", "motor", self.sensory_to_motor_electrical
        yield "inter", "motor", self.inter_to_motor

    def effective_weights(self, all: bool = False) -> dict[str, Tensor]:
        """Return the weights that act, as sparse COO tensors ``[post, pre]`` by projection.

        Those of gap junctions are conductances. ``all`` adds what is not of the connectome, if any.
        """
        weights = {}
        for pre, post, layer in self.named_projections():
            kind = "" if layer.kind == "chemical" else f":{layer.kind}"
            weights[f"{pre}->{post}{kind}"] = layer.sparse_weight().detach()
        if all and self.linear_out:
            weights["motor->output"] = self.motor_to_output.weight.detach().to_sparse()
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
) -> ToyWorm:
    """Return the network; ``options`` are those of `ToyWorm`.

    With a ``seed`` it starts as after ``torch.manual_seed(seed)``, which is not called.
    """
    return build_network(ToyWorm, options, device, dtype, seed)


# --- layers ---------------------------------------------------------------------------------------

...


# --- provenance -----------------------------------------------------------------------------------

PROVENANCE: dict[str, Any] = {
    "name": "toy-worm", "dataset": "toy-worm", "version": "1", "title": "A toy worm",
    "measured": True, "connectivity": "measured", "made": "", "signs": "none", "licence": "CC0",
    "citations": [], "files": [],
    "steps": [
        {"name": "apply-dale", "options": 'policy="report", unsigned="keep"', "neurons": [6, 6],
         "connections": [16, 16],
         "notes": ["0 connections violate Dale's principle",
                   "3 connections of unknown sign; their weights are free"]},
        {"name": "partition-by",
         "options": 'column="role", order=[], missing="group", by_sign=false', "neurons": [6, 6],
         "connections": [16, 16], "notes": ["sensory 2, inter 2, motor 2"]},
        {"name": "set-weights",
         "options": 'share="type-pair", column="cell_type", start="uniform", rank=1, trained=true',
         "neurons": [6, 6], "connections": [16, 16],
         "notes": ["13 weights for 16 connections",
                   "1 neurons without cell_type are treated as one type"]},
        {"name": "set-dynamics",
         "options": 'activation="relu", tau_ms=50.0, tau_per="cell_type", bias_per="shared"',
         "neurons": [6, 6], "connections": [16, 16],
         "notes": ["relu units with 6 time constants starting at 50 ms, 3 biases",
                   "1 neurons without a cell type are treated as one type"]},
        {"name": "attach-ports",
         "options": 'inputs=3, outputs=2, into="auto", out_of="auto", read_in="direct", '
                    'read_out="linear", image=[]',
         "neurons": [6, 6], "connections": [16, 16],
         "notes": ["2 of 6 neurons are driven, through one channel each", "2 of 6 neurons are read",
                   "1 neurons have no input: their activity is constant"]}],
    "template": "recurrent(dt_ms=20.0, batch_first=false, spectral_radius=0.0, balanced=true, "
                'kernel="auto", batch=16, steps=20, allow_free_signs=false, keep=[], '
                'class_name="")',
    "populations": {"columns": ["name"], "each": {"units": 2, "layer": "units", "axons_read": None},
        "rows": [["sensory"], ["inter"], ["motor"]]},
    "projections": {
        "columns": ["key", "connections", "density", "weights", "excitatory", "inhibitory",
                    "indices_sha256", "groups_sha256", "scale_sha256"],
        "each": {"shape": [2, 2], "delay": 1, "unknown": 0, "free": 0},
        "rows": [
            ["sensory->sensory", 1, 0.5, 1, 1, 0,
             "5e99716a539d47054f2626f5140ee9860108e5efd960411f23f9300801c29a9a",
             "5eb36ee072a18a3512bba4cab546e6c6614bd2d2a1cd6bd90c550812ed1b7d2a",
             "1b0c099b24e6aff52f1840fa4a708f1ce95e0d2ab4da249aeece3de8fdb0cb0f"],
            ["inter->sensory", 2, 0.5, 2, 0, 1,
             "d1edfda93446f206fcdfe244f2b73f397b6d33afad804a54d33b2633d071ba6a",
             "2577ac17c738d65049179e6448ef6ab92868b0b80a3913c3f4cfbb5bf61e7635",
             "5860e6bc028393590da0ec65e99257e43a33d6edae36d0fdb580b09ff583ed58",
             {"unknown": 1,
              "signs_sha256": "e6656a3da359970d341944ffa1e190f2f1003124518d0cfe1176053a3780b369"}],
            ["inter->sensory:electrical", 2, 0.5, 2, 0, 0,
             "ca8862a5debca24b7c9a4787caf0feb651738836863b371f4a9c1f0650d50be5",
             "a3bfc80f38155ae9d2126b915c138472b58ec9a0970ca3a12cc7167e6391749d",
             "0104836a7d43734a4a4038751998ae41b6bcaf49aaaf9f88c1f0deeca181e941", {"junctions": 2}],
            ["motor->sensory", 1, 0.25, 1, 1, 0,
             "0f4e0aaff0b3d2f5ed1ec37009ce4d3bc5ffaa42e4202614c5dbb7e13a03c4e4",
             "5eb36ee072a18a3512bba4cab546e6c6614bd2d2a1cd6bd90c550812ed1b7d2a",
             "e67b06c5bacd033526e3f6b0f20d41d06ba4fb570f14e246ceb9e812e75bae4c"],
            ["motor->sensory:electrical", 1, 0.25, 1, 0, 0,
             "0f4e0aaff0b3d2f5ed1ec37009ce4d3bc5ffaa42e4202614c5dbb7e13a03c4e4",
             "5eb36ee072a18a3512bba4cab546e6c6614bd2d2a1cd6bd90c550812ed1b7d2a",
             "6ed5b05055f280d9f1372701789e91f07d6a737cff9bf9ea8d4b5d5c27d84b23", {"junctions": 1}],
            ["sensory->inter", 2, 0.5, 2, 2, 0,
             "901ee1effff37c6ce6451ec3a5c32f5ba315735272935a04a5c83f14a9418d5b",
             "2577ac17c738d65049179e6448ef6ab92868b0b80a3913c3f4cfbb5bf61e7635",
             "b862d2405acefc16d83c400fcc822aff73d2d8f951d07e8c238b419d315910f6"],
            ["sensory->inter:electrical", 2, 0.5, 2, 0, 0,
             "d1edfda93446f206fcdfe244f2b73f397b6d33afad804a54d33b2633d071ba6a",
             "a3bfc80f38155ae9d2126b915c138472b58ec9a0970ca3a12cc7167e6391749d",
             "0104836a7d43734a4a4038751998ae41b6bcaf49aaaf9f88c1f0deeca181e941", {"junctions": 2}],
            ["inter->inter", 3, 1.0, 3, 0, 1,
             "535a4acae03ff542fb1275fdfbdf300a6ecc57ffb30c5b3538bc19f48c806a77",
             "ff74a0eeb2a08b2a2799c4f1939f46681a1d855f3ab3d2840aa624ee9e0fbcc6",
             "a886ebdf988174d420bee88b21eabc750d6095b2e1dc119adc28cdf1dea089b3",
             {"unknown": 2,
              "signs_sha256": "71b11f0c3094afa0b48a9608308cb73bdeb329ee87350f30915718ee04285cde"}],
            ["sensory->motor:electrical", 1, 0.25, 1, 0, 0,
             "0f4e0aaff0b3d2f5ed1ec37009ce4d3bc5ffaa42e4202614c5dbb7e13a03c4e4",
             "5eb36ee072a18a3512bba4cab546e6c6614bd2d2a1cd6bd90c550812ed1b7d2a",
             "6ed5b05055f280d9f1372701789e91f07d6a737cff9bf9ea8d4b5d5c27d84b23", {"junctions": 1}],
            ["inter->motor", 1, 0.25, 1, 0, 1,
             "bc1801f885b020e0211ad658d39b8b5ec3237011656e248159ede01d2612367f",
             "5eb36ee072a18a3512bba4cab546e6c6614bd2d2a1cd6bd90c550812ed1b7d2a",
             "e67b06c5bacd033526e3f6b0f20d41d06ba4fb570f14e246ceb9e812e75bae4c"]]},
    "read_in": {"sensory": ""}, "read_out": {"motor": "motor_to_output"},
    "dynamics": {"activation": "relu", "dt_ms": 20.0, "tau_ms": 50.0, "tau_per": "cell_type",
        "bias_per": "shared", "spectral_radius": None, "starts_sha256": {},
        "input_units_sha256": "a3bfc80f38155ae9d2126b915c138472b58ec9a0970ca3a12cc7167e6391749d",
        "output_units_sha256": "3e7c350348aae688e38450f68914fe4f722d334485ce44801bc87b7181df32eb",
        "tau_of_sha256": "6806f304cb3c90f9d87fe25bcfb915e4664b965942f3c1db165b0b3ce7f0b4b6",
        "bias_of_sha256": "5102f2e6578edd0b30cfe21eeda782c418d0baa39c3de4e5eaf3d293c007d2ed"},
    "options": {"inputs": None, "outputs": 2, "activation": "relu", "tau_ms": 50.0, "dt_ms": 20.0,
                "balanced": True, "spectral_radius": None, "batch_first": False},
    "state": {"columns": ["shape"], "each": {},
        "rows": {"motor_to_output.weight": [[2, 2], {"start": "uniform", "fan_in": 2}],
            "motor_to_output.bias": [[2], {"start": "uniform", "fan_in": 2}],
            "sensory_to_sensory.weight": [[1], {"start": "uniform", "fan_in": "shared"}],
            "sensory_to_sensory.ptr": [[3], {"held": True}],
            "sensory_to_sensory.pre": [[1], {"held": True}],
            "sensory_to_sensory.sign": [[], {"held": True}],
            "sensory_to_sensory.group": [[1], {"held": True}],
            "sensory_to_sensory.scale": [[1], {"held": True}],
            "inter_to_sensory.weight": [[2], {"start": "uniform", "fan_in": "shared"}],
            "inter_to_sensory.ptr": [[3], {"held": True}],
            "inter_to_sensory.pre": [[2], {"held": True}],
            "inter_to_sensory.sign": [[2], {"held": True}],
            "inter_to_sensory.group": [[2], {"held": True}],
            "inter_to_sensory.scale": [[2], {"held": True}],
            "inter_to_sensory_electrical.weight": [
                [2], {"start": "conductance", "fan_in": "junctions", "ends": ["sensory", "inter"]}],
            "inter_to_sensory_electrical.ptr": [[3], {"held": True}],
            "inter_to_sensory_electrical.pre": [[2], {"held": True}],
            "inter_to_sensory_electrical.sign": [[], {"held": True}],
            "inter_to_sensory_electrical.group": [[2], {"held": True}],
            "inter_to_sensory_electrical.scale": [[2], {"held": True}],
            "motor_to_sensory.weight": [[1], {"start": "uniform", "fan_in": "shared"}],
            "motor_to_sensory.ptr": [[3], {"held": True}],
            "motor_to_sensory.pre": [[1], {"held": True}],
            "motor_to_sensory.sign": [[], {"held": True}],
            "motor_to_sensory.group": [[1], {"held": True}],
            "motor_to_sensory.scale": [[1], {"held": True}],
            "motor_to_sensory_electrical.weight": [
                [1], {"start": "conductance", "fan_in": "junctions", "ends": ["sensory", "motor"]}],
            "motor_to_sensory_electrical.ptr": [[3], {"held": True}],
            "motor_to_sensory_electrical.pre": [[1], {"held": True}],
            "motor_to_sensory_electrical.sign": [[], {"held": True}],
            "motor_to_sensory_electrical.group": [[1], {"held": True}],
            "motor_to_sensory_electrical.scale": [[1], {"held": True}],
            "sensory_to_inter.weight": [[2], {"start": "uniform", "fan_in": "shared"}],
            "sensory_to_inter.ptr": [[3], {"held": True}],
            "sensory_to_inter.pre": [[2], {"held": True}],
            "sensory_to_inter.sign": [[], {"held": True}],
            "sensory_to_inter.group": [[2], {"held": True}],
            "sensory_to_inter.scale": [[2], {"held": True}],
            "sensory_to_inter_electrical.weight": [
                [2], {"of": "inter_to_sensory_electrical.weight", "ends": ["inter", "sensory"]}],
            "sensory_to_inter_electrical.ptr": [[3], {"held": True}],
            "sensory_to_inter_electrical.pre": [[2], {"held": True}],
            "sensory_to_inter_electrical.sign": [[], {"held": True}],
            "sensory_to_inter_electrical.group": [[2], {"held": True}],
            "sensory_to_inter_electrical.scale": [[2], {"held": True}],
            "inter_to_inter.weight": [[3], {"start": "uniform", "fan_in": "shared"}],
            "inter_to_inter.ptr": [[3], {"held": True}],
            "inter_to_inter.pre": [[3], {"held": True}],
            "inter_to_inter.sign": [[3], {"held": True}],
            "inter_to_inter.group": [[3], {"held": True}],
            "inter_to_inter.scale": [[3], {"held": True}],
            "sensory_to_motor_electrical.weight": [
                [1], {"of": "motor_to_sensory_electrical.weight", "ends": ["motor", "sensory"]}],
            "sensory_to_motor_electrical.ptr": [[3], {"held": True}],
            "sensory_to_motor_electrical.pre": [[1], {"held": True}],
            "sensory_to_motor_electrical.sign": [[], {"held": True}],
            "sensory_to_motor_electrical.group": [[1], {"held": True}],
            "sensory_to_motor_electrical.scale": [[1], {"held": True}],
            "inter_to_motor.weight": [[1], {"start": "uniform", "fan_in": "shared"}],
            "inter_to_motor.ptr": [[3], {"held": True}],
            "inter_to_motor.pre": [[1], {"held": True}],
            "inter_to_motor.sign": [[], {"held": True}],
            "inter_to_motor.group": [[1], {"held": True}],
            "inter_to_motor.scale": [[1], {"held": True}], "units.tau_of": [[6], {"held": True}],
            "units.bias_of": [[6], {"held": True}], "units.log_tau": [[6], {"start": "log-tau"}],
            "units.bias": [[3], {"start": 0.0}]}},
    "neurons": {"neuron_id": "0e844a5acc36edf588f22286ec91ff29738affcba6b2127d9e23ed4c6bca2cda",
                "cell_type": "387ea1327c43f87ad9b58841d7c64362bef5ebeac9a8a8c5e981330a7af5158d",
                "role": "85f5231fdc8d850877948dfb1cd862b71b2b8a08829758b444c7ffa416075cba"},
    "graph_sha256": "c14e189a487e77e12d6571c5a5fed69da68513d42932210cec80d59815711dd0",
    "header_sha256": "9119c7c3540efae8aca4ec3a45699f1fab01442ef06c45a423b8e16330ae16cf",
    "compiler": "connectome-compiler 0.1.0", "statement": 4,
    "sha256": "43782b3453682f906795f13ccf6b1800869882778d4bd8b0fca33d5c836adbe0",
}  # fmt: skip

# --- data -----------------------------------------------------------------------------------------

ARRAYS_SHA256 = "b66e929d7e65f02584db3ab4b2c3134984c9149be929d9a553f1f7f2f8c75b41"
ARRAYS = """
eNqll91umzAUx51su9w7RFyfTfYxcUwvtl5N2jNMUcVa2kXqQgTkoqoi9VH6aHuT7RiYRPAJYEpkAQb/8P/Y5yN/Por6eI52
+yorPn2pT5/L2/Qxi66eo7vq6UAX0TeNEUTlr9Td/dBbiO7SKr3J7+/LrCqpS4LC7Qn+Y37nVT6KUT5GISjT4ZTZvsyLpzES
MiQDGPukq+wxu62KHfFmQDEGXcus9U2eHiNUI2jjkwKmx0ENxNJBW9rE5WSExhJi65PeZr3YwtqcQWvxb9O8NmDONc9fFCPB
1Hvm5y4tqb87+PvZYMMMjsHaZsMdjtXNcb9z3ZcAjHmshaS795u1eyjy4+Eyh3HFxICS1gMdiiwIQwzyaelzqiKMgxQbtB8c
RoRxwYGcRmnjkQaVsRyyUCx9Tqgy8hK1RiZcjWjjwtXaRT7JsAbVsYGPZmUsRwrVZ2gHWDkcRGdItTRBa4exwarJe1RiRqCh
BiBXwsaVegE/fPMSB1BxySN0+xKFSIYjBepDlyTRDqehGVKRpHJ5cvICc1ByfhxLmcEG0K5KqA2QH6t5YZvGA/by2qTQzbEo
m2GTgnqsUH8gCuAGOVKojTZkeBsPFwMzpFqaYILD2GDVCZVVUo5AAw1AQNAKhwuXcC8hJGFH6qFQLyEgVahyBBpqAMrgWiNb
ZM3Q7UpfbVhasFzyXx3z5V+wSsrmusnmVXoMrf5oJOiNX76Vu4f9GciOzGJDijYJ9xdoiIQcKQFt1fZ0Wq1WQrx8FeL1Wohr
ai/URHt+bZu7du+4Jrr97X1zLNq2bJvo3C869/3zO+Efi8473ff77P4Y7tniQt97ah8Gni8vjF9O/M6C0blsv+m+Lf7S7x+i
NpBR
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


NEURON_COLUMNS = ("neuron_id", "cell_type", "role")
# By population, runs of neurons that are alike: their ids, then the rest of the columns.
NEURONS: dict[str, Any] = {
    "sensory": [[["N0"], "AVA", "sensory"], [["N1"], "AVB", "sensory"]],
    "inter": [[["N2"], "RIM", "inter"], [["N3"], None, "inter"]],
    "motor": [[["N4"], "AVB", "motor"], [["N5"], "AVA", "motor"]],
}  # fmt: skip


@cache
def read_neurons() -> NeuronTable:
    """Return which neuron each unit is."""
    return listed_neurons(NEURON_COLUMNS, NEURONS)
