"""One graph, from synapses to layers: its types, its rules, and how it is stored."""

from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import (
    Graph,
    NodeModel,
    Place,
    Population,
    Port,
    Projection,
    Weights,
)
from connectome_compiler.ir.laws import (
    AllToAll,
    Connectivity,
    GaussianKernel,
    GaussianLaw,
    Law,
    OneToOne,
    Shift,
    Window,
)
from connectome_compiler.ir.neurons import neuron_table
from connectome_compiler.ir.operators import Conv2d, ConvTranspose2d, Linear
from connectome_compiler.ir.provenance import Evidence, Provenance, SourceFile, Step

__all__ = [
    "AllToAll",
    "Connectivity",
    "Conv2d",
    "ConvTranspose2d",
    "Evidence",
    "GaussianKernel",
    "GaussianLaw",
    "Graph",
    "Law",
    "Linear",
    "NodeModel",
    "OneToOne",
    "Place",
    "Population",
    "Port",
    "Projection",
    "Provenance",
    "Shift",
    "SourceFile",
    "Step",
    "Synapses",
    "Weights",
    "Window",
    "neuron_table",
]
