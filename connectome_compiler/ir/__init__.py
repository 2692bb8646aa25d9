"""One graph, from synapses to layers: its types, its rules, and how it is stored."""

from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import (
    Graph,
    Place,
    Population,
    Port,
    Projection,
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
from connectome_compiler.ir.nodes import Attenuation, Graded, Leaky, Node, SquareWave, Swept
from connectome_compiler.ir.operators import Conv2d, ConvTranspose2d, Linear
from connectome_compiler.ir.provenance import Evidence, Provenance, SourceFile, Step
from connectome_compiler.ir.weights import (
    Fixed,
    LowRank,
    Named,
    PerConnection,
    Tied,
    Weights,
)

__all__ = [
    "AllToAll",
    "Attenuation",
    "Connectivity",
    "Conv2d",
    "ConvTranspose2d",
    "Evidence",
    "Fixed",
    "GaussianKernel",
    "GaussianLaw",
    "Graded",
    "Graph",
    "Law",
    "Leaky",
    "Linear",
    "LowRank",
    "Named",
    "Node",
    "OneToOne",
    "PerConnection",
    "Place",
    "Population",
    "Port",
    "Projection",
    "Provenance",
    "Shift",
    "SourceFile",
    "SquareWave",
    "Step",
    "Swept",
    "Synapses",
    "Tied",
    "Weights",
    "Window",
    "neuron_table",
]
