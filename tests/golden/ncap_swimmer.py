"""NcapSwimmer: Motor circuit of a swimmer, after the worm's.

MODELLED, NOT MEASURED: a motif of cell classes is repeated, the same at every joint. No such
network was seen in a brain, and results obtained with it say nothing about a particular brain.

Every joint has the same few cells. A weight stands for one connection of the motif, shared by all
joints and sides, or not; its sign is held in every forward pass.

Data       ncap-swimmer (modelled; signs: modelled)
Signs      42 known (22 excitatory, 52%; 20 inhibitory, 48%), 42 enforced, 0 unknown
Licence    none needed: made by a rule
Cite       Bhattasali, Zador & Engel (2022). Neural circuit architectural priors for embodied
           control. Advances in Neural Information Processing Systems 35.
           https://arxiv.org/abs/2201.05242

Made by connectome-compiler 0.1.0 as ncap-swimmer: lay-motif, ncap. What each step did stands below,
in PROVENANCE.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# --- the network ----------------------------------------------------------------------------------

# Weights and their signs, in the order in which they are made.
SIGNS = {"prop": 1, "speed": -1, "turn": 1, "osc": 1, "ipsi": 1, "contra": -1}


class NcapSwimmer(nn.Module):
    """A motor circuit of 6 kinds of weights, the same at every joint.

    Maps ``joints`` ``(batch, n_joints)`` to torque of that shape. Options are those of `build`.

    Without ``step`` ``(batch, 1)`` the network counts: ``steps``, a saved buffer, has for each
    row of the batch how many calls there were since `reset`. Calls with ``step`` do not count.
    Rows that were always in step may change in number; after a reset of some the batch must
    stay as it is.

    The commands ``right``, ``left`` and ``speed`` ``(batch, 1)`` are 0 if left out; a part that
    is off ignores its own.

    Weights are numbers of shape ``(1,)``. A weight of shape ``(batch,)`` in its place, by
    ``torch.func.functional_call``, gives every row its own.
    """

    steps: Tensor  # int, (rows, 1)

    def __init__(
        self,
        n_joints: int = 5,
        n_turn_joints: int = 1,
        oscillator_period: int = 60,
        weight_sharing: bool = True,
        sign_constraints: bool = True,
        constant_init: bool = True,
        proprioception: bool = True,
        oscillator: bool = True,
        speed_control: bool = False,
        turn_control: bool = False,
    ) -> None:
        super().__init__()
        check_switches(
            weight_sharing=weight_sharing,
            sign_constraints=sign_constraints,
            constant_init=constant_init,
            proprioception=proprioception,
            oscillator=oscillator,
            speed_control=speed_control,
            turn_control=turn_control,
        )
        self.n_joints = whole_number("n_joints", n_joints)
        self.n_turn_joints = whole_number("n_turn_joints", n_turn_joints, n_joints)
        self.oscillator_period = whole_number("oscillator_period", oscillator_period)
        self.weight_sharing = weight_sharing
        self.sign_constraints = sign_constraints
        self.constant_init = constant_init
        self.proprioception = proprioception
        self.oscillator = oscillator
        self.speed_control = speed_control
        self.turn_control = turn_control

        # The joints at which the connections of each weight end; a part that is off has no weight.
        every = range(self.n_joints)
        reach = {
            "prop": every[1:] if proprioception else None,
            "speed": every if speed_control else None,
            "turn": every[:n_turn_joints] if turn_control else None,
            "osc": every[:1] if oscillator else None,
            "ipsi": every,
            "contra": every,
        }
        self.reach = {weight: joints for weight, joints in reach.items() if joints is not None}
        for name, weight in self._names():
            start = draw_weight(SIGNS[weight], sign_constraints, constant_init)
            self.register_parameter(name, start)
        self.register_buffer("steps", torch.zeros(1, 1, dtype=torch.int64))

    def forward(
        self,
        joints: Tensor,
        step: Tensor | None = None,
        *,
        right: Tensor | None = None,
        left: Tensor | None = None,
        speed: Tensor | None = None,
    ) -> Tensor:
        """Return the output ``(batch, n_joints)``; see `rates`."""
        rates = self.rates(joints, step, right=right, left=left, speed=speed)
        return rates["torque"]

    def rates(
        self,
        joints: Tensor,
        step: Tensor | None = None,
        *,
        right: Tensor | None = None,
        left: Tensor | None = None,
        speed: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the activity of all cells that are on, ``(batch, units)`` by population.

        Raises `ValueError` for inputs of another shape, and for NaN.
        """
        zero = check_input("joints", joints, self.n_joints).new_zeros(len(joints))
        w, name = self.acting_weights(), self._name
        reach = {weight: self.reach.get(weight, ()) for weight in SIGNS}
        rates: dict[str, Tensor] = {}
        if self.oscillator:
            if step is None:
                step = self._count(len(joints))
            check_input("step", step, 1, len(joints))
            oscillator = rates["oscillator"] = square_wave(step, self.oscillator_period).to(joints)
        if self.turn_control:
            right = read_command("right", right, joints)
            left = read_command("left", left, joints)
            turn_d = rates["turn.d"] = right.clamp(0, 1)
            turn_v = rates["turn.v"] = left.clamp(0, 1)
        if self.speed_control:
            speed = read_command("speed", speed, joints)
            brake = rates["brake"] = (1 - speed).clamp(0, 1)
        if self.proprioception:
            proprioceptor_d = rates["proprioceptor.d"] = joints.clamp(0, 1)
            proprioceptor_v = rates["proprioceptor.v"] = (-joints).clamp(0, 1)
        b_d: list[Tensor] = []
        b_v: list[Tensor] = []
        muscle_d: list[Tensor] = []
        muscle_v: list[Tensor] = []
        for i in range(self.n_joints):
            drive = zero
            if i in reach["prop"]:
                drive = drive + proprioceptor_d[:, i - 1] * w[name("prop", "d", i)]
            if i in reach["speed"]:
                drive = drive + brake[:, 0] * w[name("speed", "d", i)]
            if i in reach["turn"]:
                drive = drive + turn_d[:, 0] * w[name("turn", "d", i)]
            if i in reach["osc"]:
                drive = drive + oscillator[:, 0] * w[name("osc", "d", i)]
            b_d.append(drive.clamp(0, 1))
            drive = zero
            if i in reach["prop"]:
                drive = drive + proprioceptor_v[:, i - 1] * w[name("prop", "v", i)]
            if i in reach["speed"]:
                drive = drive + brake[:, 0] * w[name("speed", "v", i)]
            if i in reach["turn"]:
                drive = drive + turn_v[:, 0] * w[name("turn", "v", i)]
            if i in reach["osc"]:
                drive = drive + oscillator[:, 1] * w[name("osc", "v", i)]
            b_v.append(drive.clamp(0, 1))
            drive = b_d[i] * w[name("ipsi", "d", i)]
            drive = drive + b_v[i] * w[name("contra", "d", i)]
            muscle_d.append(drive.clamp(0, 1))
            drive = b_v[i] * w[name("ipsi", "v", i)]
            drive = drive + b_d[i] * w[name("contra", "v", i)]
            muscle_v.append(drive.clamp(0, 1))
        rates["B.d"] = torch.stack(b_d, 1)
        rates["B.v"] = torch.stack(b_v, 1)
        rates["muscle.d"] = torch.stack(muscle_d, 1)
        rates["muscle.v"] = torch.stack(muscle_v, 1)
        rates["torque"] = rates["muscle.d"] - rates["muscle.v"]
        return rates

    def reset(self, rows: Tensor | None = None) -> None:
        """Go back to step 0: in all rows, or where ``rows``, bool ``(batch,)``, is true."""
        if rows is None:
            with torch.inference_mode(False):
                self.steps = self.steps.new_zeros(1, 1)
            return
        rows = torch.as_tensor(rows)  # simulators say in numpy which episodes are over
        if rows.dim() != 1 or rows.dtype != torch.bool:
            raise ValueError(f"rows is {rows.dtype} {tuple(rows.shape)}, expected bool (batch,)")
        self._resize(len(rows))
        self.steps.masked_fill_(rows[:, None].to(self.steps.device), 0)

    def _count(self, batch: int) -> Tensor:
        """Return the step of every row, and count this call; one without rows is none."""
        if not batch:
            return self.steps[:0]
        self._resize(batch)
        now = self.steps.clone()
        self.steps.add_(1)
        return now

    def _resize(self, batch: int) -> None:
        """Have a counter for each row of another batch, if all are in step."""
        if len(self.steps) == batch:
            return
        if len(self.steps) > 1 and bool((self.steps != self.steps[0]).any()):
            problem = f"{len(self.steps)} rows of steps of their own, and a batch of {batch}"
            raise ValueError(f"{problem}: call reset(), or pass step")
        with torch.inference_mode(False):  # a buffer made in that mode could not count outside
            self.steps = self.steps[:1].repeat(batch, 1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load counters of any number of rows."""
        saved = state_dict.get(f"{prefix}steps")
        if saved is not None and saved.dim() == 2 and len(saved) and saved.shape[1] == 1:
            self.steps = self.steps.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def acting_weights(self) -> dict[str, Tensor]:
        """Return the weights as they act, by the names of their parameters."""
        if not self.sign_constraints:
            return {name: getattr(self, name) for name, _ in self._names()}
        return {
            name: clamp_to_sign(getattr(self, name), SIGNS[weight])
            for name, weight in self._names()
        }

    def load_weights(self, weights: Mapping[str, Tensor], *, average: bool = False) -> list[str]:
        """Take the weights of another body, shared or not; return the names of those left over.

        ``weights`` is its ``state_dict()``. A shared weight serves every joint; weights of joints
        make a shared one if they are equal, or by their mean if ``average``. Raises `ValueError`
        naming a weight that is missing, and takes none then. Steps stay as they are.
        """
        sides: dict[str, list[str]] = {}
        for term in TERMS:
            sides.setdefault(term.weight, []).append(term.side)
        found, used = matched_weights(self._names(), sides, weights, average)
        with torch.no_grad():
            for name, value in found.items():
                getattr(self, name).copy_(value)
        return [name for name in weights if name not in used and name != "steps"]

    def _names(self) -> Iterator[tuple[str, str]]:
        """Yield each parameter with its weight, in the order in which they are made."""
        if self.weight_sharing:
            yield from ((weight, weight) for weight in self.reach)
            return
        for i in range(self.n_joints):
            for term in TERMS:
                if i in self.reach.get(term.weight, ()):
                    yield self._name(term.weight, term.side, i), term.weight

    def _name(self, weight: str, side: str, joint: int) -> str:
        return weight if self.weight_sharing else f"{weight}_{side}_{joint}"

    def example_input(self, batch: int = 1) -> Tensor:
        """Return uniform noise between -1 and 1, the same at every call."""
        source = torch.Generator().manual_seed(0)
        noise = 2 * torch.rand(batch, self.n_joints, generator=source) - 1
        return noise.to(next(self.parameters(), noise))

    def named_projections(self) -> Iterator[tuple[str, str, "Connections"]]:
        """Yield ``(pre, post, layer)`` of each projection that is on, with the weights of now."""
        acting = self.acting_weights()
        for term in TERMS:
            if (joints := self.reach.get(term.weight)) is not None:
                names = [self._name(term.weight, term.side, i) for i in joints]
                own = [getattr(self, name) for name in names]
                yield (
                    term.pre,
                    term.post,
                    Connections(
                        (self.n_joints, term.units or self.n_joints),
                        post=joints,
                        pre=[term.unit if term.shift is None else i - term.shift for i in joints],
                        weight=getattr(self, term.weight) if self.weight_sharing else joined(own),
                        acting=joined([acting[name] for name in names]),
                        sign=SIGNS[term.weight] if self.sign_constraints else 0,
                    ),
                )

    def effective_weights(self, all: bool = False) -> dict[str, Tensor]:
        """Return the weights that act, as sparse COO tensors ``[post, pre]`` by projection.

        What is fixed, +1 or -1 between inputs and cells, and cells and output, is not among them:
        ``all`` adds nothing.
        """
        return {
            f"{pre}->{post}": layer.sparse_weight().detach()
            for pre, post, layer in self.named_projections()
        }

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Return what is trained for an optimiser; biases, time constants, norms do not decay."""
        return decay_groups(self, weight_decay)

    def be_plain(self, plain: bool = True) -> None:
        """Compute in torch's own functions alone, for files that run without this module."""
        set_plain(self, plain)


def build(
    n_joints: int = 5,
    n_turn_joints: int = 1,
    oscillator_period: int = 60,
    weight_sharing: bool = True,
    sign_constraints: bool = True,
    constant_init: bool = True,
    proprioception: bool = True,
    oscillator: bool = True,
    speed_control: bool = False,
    turn_control: bool = False,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    seed: int | None = None,
) -> NcapSwimmer:
    """Return the network for a body of so many joints.

    n_joints: joints of the body
    n_turn_joints: joints, counted from the head, that hear the command of 'turn'
    oscillator_period: steps of a period of oscillator; its first half is rounded down
    weight_sharing: one number for all joints and sides, or one for each
    sign_constraints: a weight of the wrong sign acts as 0, and learns no more; or weights are
        free
    constant_init: weights start at their signs, if free at +1 or -1 by chance; or uniform
    proprioception: the part with ``prop``
    oscillator: the part with ``osc``
    speed_control: the part with ``speed``
    turn_control: the part with ``turn``
    """
    options = {
        "n_joints": n_joints,
        "n_turn_joints": n_turn_joints,
        "oscillator_period": oscillator_period,
        "weight_sharing": weight_sharing,
        "sign_constraints": sign_constraints,
        "constant_init": constant_init,
        "proprioception": proprioception,
        "oscillator": oscillator,
        "speed_control": speed_control,
        "turn_control": turn_control,
    }
    return build_network(NcapSwimmer, options, device, dtype, seed)


# --- layers ---------------------------------------------------------------------------------------

# as in connectome_compiler.nn

# --- the circuit ----------------------------------------------------------------------------------

# Projections in the order in which drives are added.
TERMS = (
    Term("proprioceptor.d", "B.d", "prop", "d", shift=1),
    Term("proprioceptor.v", "B.v", "prop", "v", shift=1),
    Term("brake", "B.d", "speed", "d", unit=0, units=1),
    Term("brake", "B.v", "speed", "v", unit=0, units=1),
    Term("turn.d", "B.d", "turn", "d", unit=0, units=1),
    Term("turn.v", "B.v", "turn", "v", unit=0, units=1),
    Term("oscillator", "B.d", "osc", "d", unit=0, units=2),
    Term("oscillator", "B.v", "osc", "v", unit=1, units=2),
    Term("B.d", "muscle.d", "ipsi", "d", shift=0),
    Term("B.v", "muscle.d", "contra", "d", shift=0),
    Term("B.v", "muscle.v", "ipsi", "v", shift=0),
    Term("B.d", "muscle.v", "contra", "v", shift=0),
)

# --- provenance -----------------------------------------------------------------------------------

PROVENANCE: dict[str, Any] = {
    "name": "ncap-swimmer", "dataset": "ncap-swimmer", "version": "",
    "title": "Motor circuit of a swimmer, after the worm's", "measured": False,
    "connectivity": "modelled",
    "made": "a motif of cell classes is repeated, the same at every joint", "signs": "modelled",
    "licence": "none needed: made by a rule",
    "citations": [
        ("Bhattasali, Zador & Engel (2022). Neural circuit architectural priors for embodied "
         "control. Advances in Neural Information Processing Systems 35. "
         "https://arxiv.org/abs/2201.05242")],
    "files": [],
    "steps": [
        {"name": "lay-motif",
         "options": 'n_joints=5, n_turn_joints=1, oscillator_period=60, mechanism="clamp"',
         "neurons": [0, 35], "connections": [0, 42], "notes": ["the same motif at 5 joints"]}],
    "template": "ncap(weight_sharing=true, sign_constraints=true, constant_init=true, "
                "proprioception=true, oscillator=true, speed_control=false, turn_control=false, "
                'class_name="")',
    "populations": {"columns": ["name", "units"], "each": {"layer": "", "axons_read": None},
        "rows": [
            ["proprioceptor.d", 5], ["proprioceptor.v", 5], ["oscillator", 2], ["brake", 1],
            ["turn.d", 1], ["turn.v", 1], ["B.d", 5], ["B.v", 5], ["muscle.d", 5],
            ["muscle.v", 5]]},
    "projections": {
        "columns": ["key", "shape", "connections", "density", "weight", "excitatory", "inhibitory",
                    "indices_sha256"],
        "each": {"delay": 0, "unknown": 0, "free": 0},
        "rows": [
            ["proprioceptor.d->B.d", [5, 5], 4, 0.16, "prop", 4, 0,
             "1fde1574bc9c48d75f6d1480f851d9f5146d1bbd633b9fd81365d37ea225f35c"],
            ["proprioceptor.v->B.v", [5, 5], 4, 0.16, "prop", 4, 0,
             "1fde1574bc9c48d75f6d1480f851d9f5146d1bbd633b9fd81365d37ea225f35c"],
            ["brake->B.d", [5, 1], 5, 1.0, "speed", 0, 5,
             "b37553946817cc29c9b005cffbf8a5307e5ead66c8fd935a5a43838609af0a25"],
            ["brake->B.v", [5, 1], 5, 1.0, "speed", 0, 5,
             "b37553946817cc29c9b005cffbf8a5307e5ead66c8fd935a5a43838609af0a25"],
            ["turn.d->B.d", [5, 1], 1, 0.2, "turn", 1, 0,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["turn.v->B.v", [5, 1], 1, 0.2, "turn", 1, 0,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["oscillator->B.d", [5, 2], 1, 0.1, "osc", 1, 0,
             "03cfea3c0566f3c6ebee50a173bb05cfe0112fa66d05b36a6280ef6c4d312b6c"],
            ["oscillator->B.v", [5, 2], 1, 0.1, "osc", 1, 0,
             "5e99716a539d47054f2626f5140ee9860108e5efd960411f23f9300801c29a9a"],
            ["B.d->muscle.d", [5, 5], 5, 0.2, "ipsi", 5, 0,
             "4da5c91b4005330a5c8d69cc7c4bb2b44abf7e142c0d92e66d1f491238646ac1"],
            ["B.v->muscle.d", [5, 5], 5, 0.2, "contra", 0, 5,
             "4da5c91b4005330a5c8d69cc7c4bb2b44abf7e142c0d92e66d1f491238646ac1"],
            ["B.v->muscle.v", [5, 5], 5, 0.2, "ipsi", 5, 0,
             "4da5c91b4005330a5c8d69cc7c4bb2b44abf7e142c0d92e66d1f491238646ac1"],
            ["B.d->muscle.v", [5, 5], 5, 0.2, "contra", 0, 5,
             "4da5c91b4005330a5c8d69cc7c4bb2b44abf7e142c0d92e66d1f491238646ac1"]]},
    "read_in": {}, "read_out": {},
    "motif": {"joints": "joints", "clock": "step", "commands": ["right", "left", "speed"],
        "output": "torque",
        "options": {"n_joints": 5, "n_turn_joints": 1, "oscillator_period": 60,
                    "weight_sharing": True, "sign_constraints": True, "constant_init": True,
                    "proprioception": True, "oscillator": True, "speed_control": False,
                    "turn_control": False},
        "mechanism": "clamp",
        "arguments": {"joints": "joints", "right": "right", "left": "left", "speed": "speed"},
        "weights": {"columns": ["switch", "sign"], "each": {},
            "rows": {"prop": ["proprioception", 1], "speed": ["speed_control", -1],
                "turn": ["turn_control", 1], "osc": ["oscillator", 1], "ipsi": ["", 1],
                "contra": ["", -1]}},
        "populations": {"columns": ["name", "units", "activation", "switch"],
            "each": {"rest": 0.0, "period": None},
            "rows": [
                ["joints", "n_joints", "linear", "proprioception"],
                ["step", 1, "linear", "oscillator"], ["right", 1, "linear", "turn_control"],
                ["left", 1, "linear", "turn_control"], ["speed", 1, "linear", "speed_control"],
                ["proprioceptor.d", "n_joints", "graded", "proprioception"],
                ["proprioceptor.v", "n_joints", "graded", "proprioception"],
                ["oscillator", 2, "square-wave", "oscillator", {"period": "oscillator_period"}],
                ["brake", 1, "graded", "speed_control", {"rest": 1.0}],
                ["turn.d", 1, "graded", "turn_control"], ["turn.v", 1, "graded", "turn_control"],
                ["B.d", "n_joints", "graded", ""], ["B.v", "n_joints", "graded", ""],
                ["muscle.d", "n_joints", "graded", ""], ["muscle.v", "n_joints", "graded", ""],
                ["torque", "n_joints", "linear", ""]]},
        "terms": {"columns": ["pre", "post", "sign", "weight", "side", "shift"],
            "each": {"unit": 0, "first": None},
            "rows": [
                ["joints", "proprioceptor.d", 1, "", "d", 0],
                ["joints", "proprioceptor.v", -1, "", "v", 0],
                ["step", "oscillator", 1, "", "oscillator", None],
                ["speed", "brake", -1, "", "brake", None], ["right", "turn.d", 1, "", "d", None],
                ["left", "turn.v", 1, "", "v", None], ["muscle.d", "torque", 1, "", "torque", 0],
                ["muscle.v", "torque", -1, "", "torque", 0],
                ["proprioceptor.d", "B.d", 1, "prop", "d", 1],
                ["proprioceptor.v", "B.v", 1, "prop", "v", 1],
                ["brake", "B.d", -1, "speed", "d", None], ["brake", "B.v", -1, "speed", "v", None],
                ["turn.d", "B.d", 1, "turn", "d", None, {"first": "n_turn_joints"}],
                ["turn.v", "B.v", 1, "turn", "v", None, {"first": "n_turn_joints"}],
                ["oscillator", "B.d", 1, "osc", "d", None, {"first": "1"}],
                ["oscillator", "B.v", 1, "osc", "v", None, {"unit": 1, "first": "1"}],
                ["B.d", "muscle.d", 1, "ipsi", "d", 0], ["B.v", "muscle.d", -1, "contra", "d", 0],
                ["B.v", "muscle.v", 1, "ipsi", "v", 0],
                ["B.d", "muscle.v", -1, "contra", "v", 0]]}},
    "graph_sha256": "951288c33f7665092ef6eb7f2bf1b20665a86defd16f098e0e02c37d43e4df3a",
    "header_sha256": "65f8b7e19249ea2a68dbedcd7660b2a6b0f952cccee1de44b370dfd82235c3f1",
    "compiler": "connectome-compiler 0.1.0", "statement": 4,
    "sha256": "1bb82bdf43a593c60812f1e35bbab998744a579a829471c5d3403824641e06d6",
}  # fmt: skip
