"""What parts of an emitted module do nothing: inert parameters, saturated units, zero gradients."""

from connectome_compiler.analysis.measure import analyse
from connectome_compiler.analysis.report import (
    ClampedParameter,
    ParameterFinding,
    PopulationFinding,
    ProjectionFinding,
    Report,
)

__all__ = [
    "ClampedParameter",
    "ParameterFinding",
    "PopulationFinding",
    "ProjectionFinding",
    "Report",
    "analyse",
]
