"""The neural circuit architectural prior of a swimmer: the worm's motor circuit as a motif."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.budget import must_fit
from connectome_compiler.ir.graph import Graph, Population, Port, Projection
from connectome_compiler.ir.laws import AllToAll, Connectivity, OneToOne, Shift
from connectome_compiler.ir.nodes import Graded, SquareWave
from connectome_compiler.ir.provenance import Evidence, Provenance, Step
from connectome_compiler.ir.weights import Fixed, Named
from connectome_compiler.options import spell_options

from ._citations import BHATTASALI_2022

GRADED = Graded()
LINEAR = Graded("linear")
SIDES = ("d", "v")  # dorsal, ventral
OTHER = {"d": "v", "v": "d"}


@dataclass(frozen=True, slots=True)
class Ncap:
    """Motor neurons and muscles of a swimmer of ``n_joints`` joints, after the worm's (NCAP).

    At every joint a dorsal and a ventral B-type motor neuron drive the muscle of their own side and
    inhibit that of the other; the torque is dorsal less ventral. Motor neurons sense the bend of
    the joint ahead; those at the head receive an oscillator of ``oscillator_period`` steps, those
    of the first ``n_turn_joints`` joints a turn command, and all a brake, which the speed command
    releases (Bhattasali, Zador & Engel 2022).

    ``mechanism`` is how weights keep their sign: "clamp" is that of the paper, where a weight of
    the wrong sign acts as 0 and stops learning; with "abs" it acts by its magnitude, with "smooth"
    through a softplus that maps +1 and -1 to themselves.
    """

    name: ClassVar[str] = "ncap"

    n_joints: int = 5  #: number of joints of the body
    n_turn_joints: int = 1  #: number of joints, from the head, that receive the turn command
    oscillator_period: int = 60  #: period of the head's oscillator, in steps
    #: how weights keep their sign in training
    mechanism: Literal["clamp", "abs", "smooth"] = "clamp"

    def __post_init__(self) -> None:
        for field in ("n_joints", "n_turn_joints", "oscillator_period"):
            if not 1 <= (value := getattr(self, field)) < 2**31:
                problem = f"must be an integer from 1 to {2**31 - 1}, not {value}"
                raise CompileError(f"{self.name}.{field}", problem)
        if self.n_turn_joints > self.n_joints:
            problem = f"must be at most n_joints, {self.n_joints}, not {self.n_turn_joints}"
            raise CompileError(
                f"{self.name}.n_turn_joints", problem, "lower n_turn_joints, or raise n_joints"
            )

    def load(self) -> Graph:
        """Return the complete motif, with all parts switched on."""
        n, period = self.n_joints, self.oscillator_period
        must_fit(f"{self.name}.n_joints", units=10 * n)  # before any law lists its connections
        wave = SquareWave(period)
        brake = Graded(rest=1.0)
        inputs = {"joints": n, "step": 1, "right": 1, "left": 1, "speed": 1}
        populations = (
            *(Population(p, (k,), node=LINEAR, artificial=True) for p, k in inputs.items()),
            *(Population(f"proprioceptor.{side}", (n,), node=GRADED) for side in SIDES),
            Population("oscillator", (2,), node=wave),
            Population("brake", (1,), node=brake),
            *(Population(f"turn.{side}", (1,), node=GRADED) for side in SIDES),
            *(Population(f"B.{side}", (n,), node=GRADED) for side in SIDES),
            *(Population(f"muscle.{side}", (n,), node=GRADED) for side in SIDES),
            Population("torque", (n,), node=LINEAR, artificial=True),
        )
        ports = (*(Port(p, p, "in") for p in inputs), Port("torque", "torque", "out"))
        bare = Graph(populations, (*_fixed(), *self._named()), self._provenance(), ports)
        note = f"the same motif at {n} {'joint' if n == 1 else 'joints'}"
        n_units, n_edges = bare.n_neurons, bare.n_connections
        step = Step.first("lay-motif", spell_options(self), n_units, n_edges, (note,))
        return Graph(populations, bare.projections, bare.provenance.with_step(step), ports)

    def _named(self) -> tuple[Projection, ...]:
        """Return the projections with weights, in the order in which their drives are added."""
        turning = tuple(range(self.n_turn_joints))
        ends: tuple[tuple[str, int, str, str, Connectivity], ...] = (
            *(("prop", 1, f"proprioceptor.{s}", f"B.{s}", Shift(1)) for s in SIDES),
            *(("speed", -1, "brake", f"B.{s}", AllToAll()) for s in SIDES),
            *(("turn", 1, f"turn.{s}", f"B.{s}", AllToAll(turning)) for s in SIDES),
            *(
                ("osc", 1, "oscillator", f"B.{s}", AllToAll((0,), (k,)))
                for k, s in enumerate(SIDES)
            ),
            *(
                (name, sign, f"B.{pre}", f"muscle.{s}", OneToOne())
                for s in SIDES
                for name, sign, pre in (("ipsi", 1, s), ("contra", -1, OTHER[s]))
            ),
        )
        return tuple(
            Projection(
                pre,
                post,
                law,
                Named(name, sign, self.mechanism),
                delay=0,
            )
            for name, sign, pre, post, law in ends
        )

    def _provenance(self) -> Provenance:
        return Provenance(
            dataset="ncap-swimmer",
            title="Motor circuit of a swimmer, after the worm's",
            connectivity=Evidence.MODELLED,
            made="a motif of cell classes is repeated, the same at every joint",
            signs=Evidence.MODELLED,
            licence="none needed: made by a rule",
            citations=(BHATTASALI_2022,),
        )


def _fixed() -> tuple[Projection, ...]:
    """Return the projections of inputs to cells, and muscles to torques: weights of +1 and -1."""
    ends = (
        ("joints", "proprioceptor.d", OneToOne(), 1),
        ("joints", "proprioceptor.v", OneToOne(), -1),
        ("step", "oscillator", AllToAll(), 1),
        ("speed", "brake", OneToOne(), -1),
        ("right", "turn.d", OneToOne(), 1),
        ("left", "turn.v", OneToOne(), 1),
        ("muscle.d", "torque", OneToOne(), 1),
        ("muscle.v", "torque", OneToOne(), -1),
    )
    return tuple(
        Projection(
            pre,
            post,
            law,
            Fixed(polarity),
            delay=0,
        )
        for pre, post, law, polarity in ends
    )
