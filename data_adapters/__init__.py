"""Data sources by name; the values are imported only when asked for."""

if __name__ != "connectome_compiler.data_adapters":
    raise ImportError("import connectome_compiler.data_adapters, not data_adapters")

BUILTIN = {
    "celegans": "connectome_compiler.data_adapters.celegans:Celegans",
    "fly-visual": "connectome_compiler.data_adapters.fly_visual:FlyVisual",
    "mesoscale": "connectome_compiler.data_adapters.mesoscale:Mesoscale",
    "microns-v1": "connectome_compiler.data_adapters.microns_v1:MicronsV1",
    "microns-v1-surrogate": (
        "connectome_compiler.data_adapters.microns_statistics:MicronsStatistics"
    ),
    "ncap": "connectome_compiler.data_adapters.ncap:Ncap",
    "mimetic": "connectome_compiler.data_adapters.mimetic:Mimetic",
    "synthetic": "connectome_compiler.data_adapters.synthetic:Synthetic",
    "table": "connectome_compiler.data_adapters.table:Table",
}
