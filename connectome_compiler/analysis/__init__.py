"""Find parts of a module without effect: inert parameters, saturated units, zero gradients."""

from typing import TYPE_CHECKING, Any

from connectome_compiler.analysis.report import (
    ClampedParameter,
    ParameterFinding,
    PopulationFinding,
    ProjectionFinding,
    Report,
)

if TYPE_CHECKING:
    from connectome_compiler.analysis.measure import analyse as analyse

__all__ = [
    "ClampedParameter",
    "ParameterFinding",
    "PopulationFinding",
    "ProjectionFinding",
    "Report",
    "analyse",
]


def __getattr__(name: str) -> Any:
    """Import `analyse`, which needs torch, when it is first asked for."""
    if name != "analyse":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from connectome_compiler.analysis.measure import analyse

    return analyse
