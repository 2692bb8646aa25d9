"""Passes by name, one file each; the values are imported only when asked for.

A pass is a frozen dataclass with a kebab-case ``name``; its fields are its options; called with a
valid graph it returns a valid graph. It may have ``report(before, after)``, which returns what it
counted as lines of text. `runner.run` verifies around each.
"""

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
