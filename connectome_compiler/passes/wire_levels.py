"""Select the projections between areas and layers by their levels, and order them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from typing import ClassVar, Literal

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.graph import Graph, Place, Projection
from connectome_compiler.passes._places import levels, listed, places

Fate = Literal["forward", "feedback", "dropped"]


@dataclass(frozen=True, slots=True)
class WireLevels:
    """Keep the projections that run up the hierarchy of areas, by layer; drop and count the rest.

    Kept are: projections of the input to the lowest level; the pairs of layers ``within`` every
    area; between areas, those from layers ``sources`` of one level to layers ``targets`` of the
    next; and the same over more than one level for the pairs of areas in ``skips``. An area
    without layers, such as a thalamic nucleus, sends and receives as a whole. All these act within
    a sweep.

    Feedback acts on the previous sweep, and adds the pairs ``within_feedback`` of layers. "table"
    keeps the projections of the source from higher to lower levels, of all layers. "mirrored"
    adds to every kept projection between layered areas its reverse, of the same width and
    in-degree: a placeholder, not based on data.

    Populations are put in the order of evaluation: by level, otherwise as before. Projections
    follow a breadth-first traversal from the input, targets in the order of populations; feedback
    comes last.
    """

    name: ClassVar[str] = "wire-levels"

    within: tuple[str, ...] = ("4->2/3", "2/3->5")  #: pairs of layers connected within every area
    sources: tuple[str, ...] = ("2/3", "4", "5")  #: layers that project to the next level
    targets: tuple[str, ...] = ("4",)  #: layers that receive from the previous level
    skips: tuple[str, ...] = ("VISp->VISpor",)  #: pairs of areas connected over more than one level
    #: projections to lower levels: none, those of the source, or mirrored forward ones
    feedback: Literal["none", "table", "mirrored"] = "none"
    #: additional pairs of layers within areas if there is feedback
    within_feedback: tuple[str, ...] = ("2/3->4", "5->2/3")

    def __post_init__(self) -> None:
        for option in ("within", "skips", "within_feedback"):
            for pair in getattr(self, option):
                if len(ends := pair.split("->")) != 2 or not all(ends):
                    problem = f"{pair!r} is not a pair"
                    raise CompileError(f"{self.name}.{option}", problem, "write source->target")
        both = set(self.within) & set(self.within_feedback)
        if both and self.feedback != "none":
            problem = f"{min(both)!r} is already in within"
            raise CompileError(f"{self.name}.within_feedback", problem, "leave it out of one")

    def __call__(self, graph: Graph) -> Graph:
        """Return the wired graph; raise `CompileError` for cycles and unreachable populations."""
        level = levels(self.name, graph)
        place = places(self.name, graph)
        self._must_know(place)
        fates = [(q, *self._fate(place, q)) for q in graph.projections]
        self._must_use_skips(place, level, [q for q, fate, _ in fates if fate == "forward"])
        forward = [replace(q, delay=0) for q, fate, _ in fates if fate == "forward"]
        order = self._order(graph, level, forward)
        forward = self._walk(graph, order, forward)
        back = [replace(q, delay=1) for q, fate, _ in fates if fate == "feedback"]
        if self.feedback == "mirrored":
            back += [
                replace(q, pre=q.post, post=q.pre, delay=1)
                for q in forward
                if _joins_layered_areas(place, q)
            ]
        return replace(
            graph,
            populations=tuple(graph.population(name) for name in order),
            projections=(*forward, *back),
        )

    def _must_know(self, place: dict[str, Place]) -> None:
        """Refuse names of areas and layers that the graph does not have."""
        areas = {p.area for p in place.values()}
        layers = {p.cortical_layer for p in place.values() if p.cortical_layer is not None}
        named: list[tuple[str, str, Iterable[str], set[str]]] = [
            ("sources", "layer", self.sources, layers),
            ("targets", "layer", self.targets, layers),
            ("within", "layer", _ends(self.within), layers),
            ("skips", "area", _ends(self.skips), areas),
        ]
        if self.feedback != "none":
            named.append(("within_feedback", "layer", _ends(self.within_feedback), layers))
        for option, what, names, known in named:
            for name in names:
                if name not in known:
                    raise UnknownNameError.among(f"{self.name}.{option}: {what}", name, known)

    def _must_use_skips(
        self, place: dict[str, Place], level: dict[str, int], kept: list[Projection]
    ) -> None:
        """Refuse skips that pass over no level, or that the source has no projection for."""
        of_area = {place[name].area: n for name, n in level.items()}
        used = {f"{place[q.pre].area}->{place[q.post].area}" for q in kept if q.pre in place}
        for skip in self.skips:
            low, high = (of_area[area] for area in skip.split("->"))
            if high - low < 2:
                problem = f"{skip} runs from level {low} to {high}: it passes over none"
                raise CompileError(f"{self.name}.skips", problem)
            if skip not in used:
                problem = f"{skip}: the source has no projection of these layers"
                raise CompileError(f"{self.name}.skips", problem, "leave it out")

    def _fate(self, place: dict[str, Place], q: Projection) -> tuple[Fate, str]:
        """Return the fate of a projection, and its kind."""
        if (post := place.get(q.post)) is None:
            problem = f"{q.key} is a read-out"
            raise CompileError(self.name, problem, "attach the read-out after this pass")
        if (pre := place.get(q.pre)) is None:
            lowest = min(p.level or 0 for p in place.values())
            if post.level == lowest:
                return "forward", "from the input"
            return "dropped", "from the input to higher levels"
        if pre.area == post.area:
            pair = f"{pre.cortical_layer}->{post.cortical_layer}"
            if pair in self.within:
                return "forward", "within areas"
            if self.feedback != "none" and pair in self.within_feedback:
                return "feedback", "within areas"
            return "dropped", "within areas"
        up = (post.level or 0) - (pre.level or 0)
        if up < 0:
            return "feedback" if self.feedback == "table" else "dropped", "to lower levels"
        if up == 0:
            return "dropped", "within levels"
        if up > 1 and f"{pre.area}->{post.area}" not in self.skips:
            return "dropped", "over more than one level"
        layered = pre.cortical_layer is not None, post.cortical_layer is not None
        if (layered[0] and pre.cortical_layer not in self.sources) or (
            layered[1] and post.cortical_layer not in self.targets
        ):
            return "dropped", "between areas from or to other layers"
        return "forward", "skips" if up > 1 else "to the next level"

    def _order(
        self, graph: Graph, level: dict[str, int], forward: list[Projection]
    ) -> dict[str, int]:
        """Return the populations' positions in the order of evaluation."""
        rank = {p.name: (level.get(p.name, -1), k) for k, p in enumerate(graph.populations)}
        sorter = TopologicalSorter[str](dict.fromkeys(rank, ()))
        for q in forward:
            sorter.add(q.post, q.pre)
        try:
            sorter.prepare()
        except CycleError as error:
            problem = f"runs in a cycle: {' -> '.join(error.args[1])}"
            hint = "move one of its pairs to within_feedback, and set feedback"
            raise CompileError(f"{self.name}.within", problem, hint) from None
        ready: list[tuple[tuple[int, int], str]] = []
        order: dict[str, int] = {}
        while sorter.is_active():
            for name in sorter.get_ready():
                heappush(ready, (rank[name], name))
            _, first = heappop(ready)
            order[first] = len(order)
            sorter.done(first)
        return order

    def _walk(
        self, graph: Graph, order: dict[str, int], forward: list[Projection]
    ) -> list[Projection]:
        """Return the projections in the order of a breadth-first traversal from the input."""
        out: dict[str, list[Projection]] = {name: [] for name in order}
        for q in forward:
            out[q.pre].append(q)
        queue = deque(p.name for p in graph.populations if p.artificial)
        reached, walked = dict.fromkeys(queue), []
        while queue:
            for q in sorted(out[queue.popleft()], key=lambda q: order[q.post]):
                walked.append(q)
                if q.post not in reached:
                    reached[q.post] = None
                    queue.append(q.post)
        if lost := [name for name in order if name not in reached]:
            problem = f"the input does not reach {listed(lost)}"
            hint = "remove them from the source, or connect their layers: within, targets, skips"
            raise CompileError(self.name, problem, hint)
        return walked

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count what was kept and what was dropped, by kind."""
        place = places(self.name, before)
        kinds = Counter(self._fate(place, q) for q in before.projections)
        mirrored = "mirrored between areas (placeholders)"
        if self.feedback == "mirrored":
            kinds["feedback", mirrored] = sum(
                not q.delay and _joins_layered_areas(place, q) for q in after.projections
            )
        for fate in ("forward", "feedback", "dropped"):
            found = {kind: n for (f, kind), n in kinds.items() if f == fate}
            if n := sum(found.values()):
                parts = ", ".join(f"{n} {kind}" for kind, n in found.items())
                yield f"{n} projections {fate}: {parts}"
        if self.feedback == "table" and not kinds["feedback", "to lower levels"]:
            yield "no feedback between areas: the source has none to lower levels"


def _ends(pairs: Iterable[str]) -> list[str]:
    return [end for pair in pairs for end in pair.split("->")]


def _joins_layered_areas(place: dict[str, Place], q: Projection) -> bool:
    """Whether a projection runs between two areas that both have layers."""
    if q.pre not in place:
        return False
    pre, post = place[q.pre], place[q.post]
    return pre.area != post.area and None not in (pre.cortical_layer, post.cortical_layer)
