"""Architecture styles by name, one folder each; the values are imported only when asked for."""

if __name__ != "connectome_compiler.templates":
    raise ImportError("import connectome_compiler.templates, not templates")

BUILTIN = {
    "mimetic": "connectome_compiler.templates.mimetic.style:Mimetic",
    "mousenet": "connectome_compiler.templates.mousenet.style:Mousenet",
    "ncap": "connectome_compiler.templates.ncap.style:Ncap",
    "recurrent": "connectome_compiler.templates.recurrent.style:Recurrent",
    "bionic": "connectome_compiler.templates.bionic.style:Bionic",
}
