"""ToyWorm: A toy worm.

Every weight between neurons stands for connections of the graph below. What is linear between
inputs, neurons and outputs does not: no connectome says what drives a nervous system, or how it is
read.

16 connections (gap junctions in both directions), kernel 'dense'; forecast for training on one CPU
core: 0.0 MB of state, 3.0 ms for 20 steps of 16 samples.

Data       toy-worm@1 (measured; signs: none)
Signs      7 known (4 excitatory, 40%; 3 inhibitory, 30%), 7 enforced, 3 unknown
Licence    CC0

Made by connectome-compiler 0.1.0 as toy-worm: apply-dale, set-weights, set-dynamics, attach-ports,
recurrent. What each step did stands below, in PROVENANCE.
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

    Maps a sequence ``(steps, batch, 3)``, ``inputs`` channels, to ``(steps, batch, 2)``,
    ``outputs`` sums of rates, and to the state at the end, ``(batch, 6)``, from which the next
    call can go on. An input without steps, ``(batch, 3)``, is one step. With ``batch_first``
    sequences are ``(batch, steps, ...)``. Lists of neurons as ``inputs`` and ``outputs`` make
    each of them a channel, without weights.

    ``tau_ms`` is where time constants start, ``dt_ms`` the step, both in milliseconds.
    ``balanced`` starts at chemical weights that sum to 1 for each neuron where they excite, and
    to 0.75 where they inhibit, and at biases of 0.1 for relu; ``spectral_radius``, if not None,
    is that of ``(W + G) / (1 + g)`` then: chemical weights are scaled to it. ``G`` are the
    conductances ``g_j``, and ``g`` the sum of each neuron's.
    """

    def __init__(
        self,
        *,
        inputs: int | Sequence[Any] = 3,
        outputs: int | Sequence[Any] = 2,
        activation: str = "tanh",
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
        driven = port_units("inputs", inputs, driven, True, read_neurons)
        read = port_units("outputs", outputs, read, True, read_neurons)
        self.n_inputs = inputs if isinstance(inputs, int) else len(driven)

        # Read-in and read-out: free weights, not of the connectome. Neurons by name have none.
        self.linear_in = isinstance(inputs, int)
        if self.linear_in:
            self.input_to_neurons = nn.Linear(inputs, 2, bias=False)
        self.linear_out = isinstance(outputs, int)
        if self.linear_out:
            self.neurons_to_output = nn.Linear(2, outputs)

        # Projections of the connectome.
        self.neurons_to_neurons = EdgeLinear(
            6,
            arrays["neurons->neurons.ptr"],
            arrays["neurons->neurons.pre"],
            sign=arrays["neurons->neurons.sign"],
        )
        self.neurons_to_neurons_electrical = GapJunctions(
            6,
            arrays["neurons->neurons:electrical.ptr"],
            arrays["neurons->neurons:electrical.pre"],
            arrays["neurons->neurons:electrical.group"],
        )

        # The units, and where the targets and sources of each projection begin among them.
        self.units = LeakyRates(
            6,
            [
                (self.neurons_to_neurons, 0, 0),
                (self.neurons_to_neurons_electrical, 0, 0),
            ],
            activation=activation,
            tau_ms=tau_ms,
            dt_ms=dt_ms,
            tau_of=torch.arange(6, device="cpu"),
            bias_of=torch.arange(6, device="cpu"),
            dense=True,
        )
        # Of all neurons those that inputs drive, and those that are read.
        self.units.hold(input_units=driven, output_units=read)
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
        return self.neurons_to_output(rates), state

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
            "neurons": rates[..., 0:6],
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
        if self.linear_in:
            drive = self.input_to_neurons(u)
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
        yield "neurons", "neurons", self.neurons_to_neurons
        yield "neurons", "neurons", self.neurons_to_neurons_electrical

    def effective_weights(self, all: bool = False) -> dict[str, Tensor]:
        """Return the weights that act, as sparse COO tensors ``[post, pre]`` by projection.

        Those of gap junctions are conductances. ``all`` adds what is not of the connectome, if any.
        """
        weights = {}
        for pre, post, layer in self.named_projections():
            kind = "" if layer.kind == "chemical" else f":{layer.kind}"
            weights[f"{pre}->{post}{kind}"] = layer.sparse_weight().detach()
        if all and self.linear_in:
            weights["input->neurons"] = self.input_to_neurons.weight.detach().to_sparse()
        if all and self.linear_out:
            weights["neurons->output"] = self.neurons_to_output.weight.detach().to_sparse()
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
        {"name": "set-weights",
         "options": 'share="none", column="cell_type", start="uniform", rank=1, trained=true',
         "neurons": [6, 6], "connections": [16, 16], "notes": ["13 weights for 16 connections"]},
        {"name": "set-dynamics",
         "options": 'activation="tanh", tau_ms=50.0, tau_per="neuron", bias_per="neuron"',
         "neurons": [6, 6], "connections": [16, 16],
         "notes": ["tanh units with 6 time constants starting at 50 ms, 6 biases"]},
        {"name": "attach-ports",
         "options": 'inputs=3, outputs=2, into="auto", out_of="auto", read_in="linear", '
                    'read_out="linear", image=[]',
         "neurons": [6, 6], "connections": [16, 16],
         "notes": ["2 of 6 neurons are driven", "2 of 6 neurons are read",
                   "1 neurons have no input: their activity is constant"]}],
    "template": "recurrent(dt_ms=20.0, batch_first=false, spectral_radius=0.0, balanced=true, "
                'kernel="auto", batch=16, steps=20, allow_free_signs=false, keep=[], '
                'class_name="")',
    "populations": {"columns": ["name", "units", "layer", "axons_read"], "each": {},
        "rows": [["neurons", 6, "units", None]]},
    "projections": {
        "columns": ["key", "connections", "density", "excitatory", "inhibitory", "unknown",
                    "indices_sha256"],
        "each": {"shape": [6, 6], "delay": 1, "free": 0},
        "rows": [
            ["neurons->neurons", 10, 0.3, 4, 3, 3,
             "5692f02732dafb15fb6ead15c2761c12eaf285a5f39182fc556cd69aebbebe19",
             {"signs_sha256": "5980a3d1570a5df46a364a0ab1404b5422a167b3329102c12ac21dc434b6cf38"}],
            ["neurons->neurons:electrical", 6, 0.2, 0, 0, 0,
             "1f5d92ba60593c74e88e91a15b9b0f2aa8d9b54e5d292a1a8ed27dfd7dc79b05",
             {"weights": 3, "junctions": 3,
              "groups_sha256": "2817e823ac16844f84a7a0251fe7f1ba8d1fc36f4778f497e0665ab00b6e8333"}]]},
    "read_in": {"neurons": "input_to_neurons"}, "read_out": {"neurons": "neurons_to_output"},
    "dynamics": {"activation": "tanh", "dt_ms": 20.0, "tau_ms": 50.0, "tau_per": "neuron",
        "bias_per": "neuron", "spectral_radius": None, "starts_sha256": {},
        "input_units_sha256": "a3bfc80f38155ae9d2126b915c138472b58ec9a0970ca3a12cc7167e6391749d",
        "output_units_sha256": "3e7c350348aae688e38450f68914fe4f722d334485ce44801bc87b7181df32eb",
        "tau_of_sha256": "9a5b420213c436c5254bd29abbb4b985adc70599deeca338ba801a1c26b029c0",
        "bias_of_sha256": "9a5b420213c436c5254bd29abbb4b985adc70599deeca338ba801a1c26b029c0"},
    "options": {"inputs": 3, "outputs": 2, "activation": "tanh", "tau_ms": 50.0, "dt_ms": 20.0,
                "balanced": True, "spectral_radius": None, "batch_first": False},
    "state": {"columns": ["shape"], "each": {},
        "rows": {"input_to_neurons.weight": [[2, 3], {"start": "uniform", "fan_in": 3}],
            "neurons_to_output.weight": [[2, 2], {"start": "uniform", "fan_in": 2}],
            "neurons_to_output.bias": [[2], {"start": "uniform", "fan_in": 2}],
            "neurons_to_neurons.weight": [[10], {"start": "uniform", "fan_in": "in-degree"}],
            "neurons_to_neurons.ptr": [[7], {"held": True}],
            "neurons_to_neurons.pre": [[10], {"held": True}],
            "neurons_to_neurons.sign": [[10], {"held": True}],
            "neurons_to_neurons_electrical.weight": [
                [3],
                {"start": "conductance", "fan_in": "junctions", "ends": ["neurons", "neurons"]}],
            "neurons_to_neurons_electrical.ptr": [[7], {"held": True}],
            "neurons_to_neurons_electrical.pre": [[6], {"held": True}],
            "neurons_to_neurons_electrical.sign": [[], {"held": True}],
            "neurons_to_neurons_electrical.group": [[6], {"held": True}],
            "units.tau_of": [[6], {"held": True}], "units.bias_of": [[6], {"held": True}],
            "units.log_tau": [[6], {"start": "log-tau"}], "units.bias": [[6], {"start": 0.0}]}},
    "neurons": {"neuron_id": "0e844a5acc36edf588f22286ec91ff29738affcba6b2127d9e23ed4c6bca2cda",
                "cell_type": "387ea1327c43f87ad9b58841d7c64362bef5ebeac9a8a8c5e981330a7af5158d",
                "role": "85f5231fdc8d850877948dfb1cd862b71b2b8a08829758b444c7ffa416075cba"},
    "graph_sha256": "4eba573c27a03d89815186aaba7cd1455a334223bca3d617d32726c8b9dca247",
    "header_sha256": "45e2e0ab7a7a97d4ad3936bff2fbb7051d7c312fb801d3708e1c46694e5f12eb",
    "compiler": "connectome-compiler 0.1.0", "statement": 4,
    "sha256": "8e23503dec17ff7cbf03703dd80f401c2a0f685550930c05d704405d07d15607",
}  # fmt: skip

# --- data -----------------------------------------------------------------------------------------

ARRAYS_SHA256 = "6bbd06a32f6787413d647f7590a00e7cb978d904c2570b1ecf8727939c173d9f"
ARRAYS = """
eNqdkttqwzAMhuv1AO1TDF1rIc7SJORi93uGUkpo3S5QHOPDxSh99tbOnJGRZKE1/EaS5c+WLfEyqccFSi6M3hleagX5BQ76
WzDI4fM9AgT1VThvE20RDoUudtXxqJjL3ISYba8InBlZcfX24Y1ASDbMoWEXlGE8QNJymJR2QXGGadJHytmZ7bUs98U5OMnK
iGFs0sWmCdIwHOP+W3YP1SKRRvEo9sE3sEik68hhK6Of+1m7H2nSW3GgyhP/A8tGfteCkKYWdn11w/Uc8XItOLWae3/605K/
cd+itT2zWlgtvVZ+jbTyGrvRvBUnLbs5s9HC8+t73CaEuPl2B+EP0D8=
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
    "neurons": [
        [["N0"], "AVA", "sensory"], [["N1"], "AVB", "sensory"], [["N2"], "RIM", "inter"],
        [["N3"], None, "inter"], [["N4"], "AVB", "motor"], [["N5"], "AVA", "motor"]],
}  # fmt: skip


@cache
def read_neurons() -> NeuronTable:
    """Return which neuron each unit is."""
    return listed_neurons(NEURON_COLUMNS, NEURONS)
