"""Run in a fresh process: import an emitted module and put it to the test.

``python -m connectome_compiler.certify.process MODULE [GRAPH]`` prints one line of JSON, the
certificate or ``{"where": ..., "problem": ...}``. The module must stand alone, so imports of the
compiler are refused while it is imported.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from connectome_compiler.certify import layers, rates, structure
from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.fresh import tied_to_parent
from connectome_compiler.certify.importing import alone, load_alone
from connectome_compiler.certify.meaning import Case, Meaning, Stated, meaning_of
from connectome_compiler.certify.neurons import know_their_names
from connectome_compiler.certify.no_compiler import without_compiler
from connectome_compiler.certify.state import (
    gradients_are_its_own,
    holds_what_is_stated,
    options_are_those_stated,
    refuses_foreign_states,
    remembers_nothing,
    starts_where_stated,
)
from connectome_compiler.certify.stepping import OPTIMIZERS
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.control import Control
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.provenance import NULL_MODEL, standing
from connectome_compiler.ir.signs import stated_signs
from connectome_compiler.registry import entry, owner
from connectome_compiler.statement import Statement, style_of

SOME = 64  # neurons to pulse, where a few tell


def probe(module: Path, saved: Path | None) -> dict[str, Any]:
    """Return the fields of the certificate; raise `Wrong` at the first finding."""
    emitted = load_alone(module)
    try:
        stated = Statement.read(emitted.PROVENANCE, emitted.__doc__).plain()
    except CompileError as error:
        raise Wrong(error.where, error.problem, hint=error.hint) from error
    case = Case(emitted, stated, meaning_of(stated), {})
    _is_complete(stated, case.meaning)
    control = structure.stated_control(stated)
    torch.manual_seed(0)
    network: Any = case.build()
    checks = ["imports and builds alone, without the compiler; its statement is unaltered"]
    n_parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    wholes = [case.build(**more) if more else network for more in case.meaning.wholes(stated)]
    graph = None
    if saved is not None:
        with finding("graph"):
            graph = Graph.load(saved)
    for whole in wholes:
        gradients_are_its_own(whole)
        if not all(layer.training for layer in whole.modules()):
            raise Wrong("build()", "does not give a network in training mode")
        structure.compare(case, whole)
        if graph is not None:
            structure.compare_with_graph(case, whole, graph)
    checks.append("connections and signs are those stated, no more and no fewer")
    if graph is not None:
        checks.append("connections, signs and origin are those of the saved graph, one by one")
    if case.meaning.knows_neurons:
        for whole in wholes:
            know_their_names(case, whole, graph)
        checks.append("units are the neurons that are stated, and are found by their names")
    own = case.meaning.battery(case)
    checks += _battery(case, network) if own is None else own
    pulsed = neurons = 0
    for whole in wholes:
        layers.shake(case.meaning, whole)
        pulsed, neurons = layers.pulses(case, whole)
    checks.append(f"{pulsed:,} unit pulses came out at their targets alone, with their signs")
    style = style_of(stated)
    return {
        "statement": emitted.PROVENANCE["sha256"],
        "class_name": type(network).__name__,
        "style": f"{style} from {owner(entry('template', style, 'style'))}",
        "measured": bool(stated["measured"]),
        "n_parameters": n_parameters,
        "n_connections": case.n_connections,
        "n_projections": len(stated["projections"]),
        "n_pulses": pulsed,
        "n_neurons": neurons,
        "checks": checks,
        "notes": list(_notes(case, control)),
    }


def _battery(case: Case, network: Any) -> Iterator[str]:
    """Check all but structure; ``network`` was built after a seed of 0. Yield what was checked."""
    meaning, stated = case.meaning, case.stated
    with finding("build()"):
        yield from meaning.check_built(case, network)
    options_are_those_stated(case, network)
    holds_what_is_stated(network, stated["state"])
    yield "options, parameters and saved buffers are those stated, and no others"
    starts_where_stated(case)
    yield "all numbers start where it is stated, those drawn by their law and size"
    layers.make_wild(network)
    layers.weights_act(case, network)
    layers.pulses(case, network, limit=SOME)
    layers.shake(meaning, network)
    layers.weights_act(case, network)
    yield "each weight acts as its sign times its size times its count; none is dead"
    with finding("forward"), alone():
        network(network.example_input(layers.BATCH))
    if meaning.in_time:
        rates.goes_on(case, network)
        yield "a sequence in parts, the state passed on, is the sequence in one"
    rates.computes(case, network)
    yield "rates, output and gradients are those of a plain implementation of the graph"
    remembers_nothing(case.emitted, network, lambda: network(network.example_input(2)))
    if meaning.refuses_sizes:
        rates.refuses_inputs(network)
    rates.reports_all(network)
    yield rates.other_options(case)
    sizes = rates.any_batch(case, network)
    precisions = ", in two precisions" if meaning.smooth else ""
    yield f"samples do not depend on others: batches of up to {sizes}{precisions}"
    with finding("units"):
        yield from meaning.check_shaken(case, network)
    layers.gradients(case, network)
    yield "gradients of every projection are those of its connections"
    layers.in_every_way(case, network)
    rates.in_every_way(case, network)
    yield "likewise in half precision, under torch.func, and twice differentiated"
    for kind in OPTIMIZERS[-1:] if case.large else OPTIMIZERS:
        rates.train(case, network, kind)
        structure.compare(case, network)
        layers.weights_act(case, network)
        layers.pulses(case, network, limit=SOME)
    kinds = OPTIMIZERS[-1] if case.large else "SGD, Adam and AdamW"
    yield f"all this holds after {kinds} with weight decay from any start"
    rates.survives_saving(case, network)
    refuses_foreign_states(network, stated["state"])
    yield "saved, loaded or copied it is the same network; states of other ones are refused"


def _is_complete(stated: Stated, meaning: Meaning) -> None:
    """Refuse a statement that leaves out what its style needs."""
    needed = meaning.keys | ({"neurons"} if meaning.knows_neurons else set())
    if missing := sorted(needed - stated.keys()):
        problem = f"does not state {' and '.join(missing)}, as its format does"
        raise Wrong("PROVENANCE", problem)


def _notes(case: Case, control: Control | None) -> Iterator[str]:
    stated = case.stated
    populations = stated["populations"]
    units = sum(p["units"] for p in populations)
    unread = sum(p["units"] - p["axons_read"] for p in populations if p["axons_read"] is not None)
    unknown = all(p["axons_read"] is None for p in populations)
    if unknown and case.meaning.reads_neurons:
        yield "axon coverage unknown: absent connections may be unread ones"
    elif unread:
        yield f"{unread:,} of {units:,} axons not proofread: their outputs are missing, not zero"
    chemical = [p for p in stated["projections"] if not p["key"].endswith(":electrical")]
    if junctions := sum(p["connections"] for p in stated["projections"] if p not in chemical):
        yield f"{junctions:,} connections are gap junctions, counted in both directions"
    yield from stated_signs(chemical).notes()
    if not stated["measured"]:
        yield f"the connectivity is {standing(stated['connectivity'])}"
    randomised = any(s["name"] == NULL_MODEL and s["notes"] for s in stated["steps"])
    if control:
        yield f"a control, as it states: {control}"
    elif randomised:
        yield "how far it is from the data was not compared: build it from a recipe"
    torch.manual_seed(0)
    yield from case.meaning.stability(case.build(), stated)


def main() -> None:
    """Print the outcome as one line of JSON, with the word that came on standard input."""
    warnings.simplefilter("ignore")
    word = tied_to_parent()  # so that nothing the module prints can pass for the outcome
    module, *graph = (Path(a) for a in sys.argv[1:])
    try:
        with finding("module"), without_compiler():
            answer = probe(module, graph[0] if graph else None)
    except Wrong as wrong:
        answer = {"where": wrong.where, "problem": wrong.problem}
        answer |= {"wanted": wrong.wanted, "hint": wrong.hint}
    print(json.dumps({"word": word, **answer}))


if __name__ == "__main__":
    main()
