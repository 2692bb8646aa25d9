"""Passes by name, one file each; the values are imported only when asked for.

A pass is a frozen dataclass with a kebab-case ``name``; its fields are its options; called with a
valid graph it returns a valid graph. It may have ``report(before, after)``, which returns what it
counted as lines of text. `runner.run` verifies around each.
"""

from typing import TYPE_CHECKING

from connectome_compiler.lazy import attributes

if TYPE_CHECKING:
    from connectome_compiler.passes.ablate import Ablate as Ablate
    from connectome_compiler.passes.apply_dale import ApplyDale as ApplyDale
    from connectome_compiler.passes.assign_signs import AssignSigns as AssignSigns
    from connectome_compiler.passes.attach_ports import AttachPorts as AttachPorts
    from connectome_compiler.passes.drop_autapses import DropAutapses as DropAutapses
    from connectome_compiler.passes.drop_unconnected import DropUnconnected as DropUnconnected
    from connectome_compiler.passes.drop_weak_connections import (
        DropWeakConnections as DropWeakConnections,
    )
    from connectome_compiler.passes.fold_inhibition import FoldInhibition as FoldInhibition
    from connectome_compiler.passes.keep_core import KeepCore as KeepCore
    from connectome_compiler.passes.keep_largest_component import (
        KeepLargestComponent as KeepLargestComponent,
    )
    from connectome_compiler.passes.laminar_partition import LaminarPartition as LaminarPartition
    from connectome_compiler.passes.lay_kernels import LayKernels as LayKernels
    from connectome_compiler.passes.level_areas import LevelAreas as LevelAreas
    from connectome_compiler.passes.materialise_laws import MaterialiseLaws as MaterialiseLaws
    from connectome_compiler.passes.merge_populations import MergePopulations as MergePopulations
    from connectome_compiler.passes.normalise_in_degree import (
        NormaliseInDegree as NormaliseInDegree,
    )
    from connectome_compiler.passes.null_model import NullModel as NullModel
    from connectome_compiler.passes.order_by_flow import OrderByFlow as OrderByFlow
    from connectome_compiler.passes.partition_by import PartitionBy as PartitionBy
    from connectome_compiler.passes.partition_by_community import (
        PartitionByCommunity as PartitionByCommunity,
    )
    from connectome_compiler.passes.select_neurons import SelectNeurons as SelectNeurons
    from connectome_compiler.passes.set_dynamics import SetDynamics as SetDynamics
    from connectome_compiler.passes.set_node_model import SetNodeModel as SetNodeModel
    from connectome_compiler.passes.set_weights import SetWeights as SetWeights
    from connectome_compiler.passes.sign_channels import SignChannels as SignChannels
    from connectome_compiler.passes.size_maps import SizeMaps as SizeMaps
    from connectome_compiler.passes.split_flow import SplitFlow as SplitFlow
    from connectome_compiler.passes.wire_levels import WireLevels as WireLevels

BUILTIN = {
    "ablate": "connectome_compiler.passes.ablate:Ablate",
    "apply-dale": "connectome_compiler.passes.apply_dale:ApplyDale",
    "assign-signs": "connectome_compiler.passes.assign_signs:AssignSigns",
    "attach-ports": "connectome_compiler.passes.attach_ports:AttachPorts",
    "drop-autapses": "connectome_compiler.passes.drop_autapses:DropAutapses",
    "drop-unconnected": "connectome_compiler.passes.drop_unconnected:DropUnconnected",
    "drop-weak-connections": (
        "connectome_compiler.passes.drop_weak_connections:DropWeakConnections"
    ),
    "fold-inhibition": "connectome_compiler.passes.fold_inhibition:FoldInhibition",
    "keep-core": "connectome_compiler.passes.keep_core:KeepCore",
    "keep-largest-component": (
        "connectome_compiler.passes.keep_largest_component:KeepLargestComponent"
    ),
    "laminar-partition": "connectome_compiler.passes.laminar_partition:LaminarPartition",
    "lay-kernels": "connectome_compiler.passes.lay_kernels:LayKernels",
    "level-areas": "connectome_compiler.passes.level_areas:LevelAreas",
    "materialise-laws": "connectome_compiler.passes.materialise_laws:MaterialiseLaws",
    "merge-populations": "connectome_compiler.passes.merge_populations:MergePopulations",
    "normalise-in-degree": "connectome_compiler.passes.normalise_in_degree:NormaliseInDegree",
    "null-model": "connectome_compiler.passes.null_model:NullModel",
    "order-by-flow": "connectome_compiler.passes.order_by_flow:OrderByFlow",
    "partition-by": "connectome_compiler.passes.partition_by:PartitionBy",
    "partition-by-community": (
        "connectome_compiler.passes.partition_by_community:PartitionByCommunity"
    ),
    "select-neurons": "connectome_compiler.passes.select_neurons:SelectNeurons",
    "set-dynamics": "connectome_compiler.passes.set_dynamics:SetDynamics",
    "set-weights": "connectome_compiler.passes.set_weights:SetWeights",
    "set-node-model": "connectome_compiler.passes.set_node_model:SetNodeModel",
    "sign-channels": "connectome_compiler.passes.sign_channels:SignChannels",
    "size-maps": "connectome_compiler.passes.size_maps:SizeMaps",
    "split-flow": "connectome_compiler.passes.split_flow:SplitFlow",
    "wire-levels": "connectome_compiler.passes.wire_levels:WireLevels",
}

__getattr__, __dir__ = attributes("pass", globals())
