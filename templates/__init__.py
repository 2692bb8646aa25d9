"""Architecture styles by name, one folder each; the values are imported only when asked for."""

if __name__ != "connectome_compiler.templates":
    raise ImportError("import connectome_compiler.templates, not templates")

BUILTIN = {
    "bionic": "connectome_compiler.templates.bionic.style:Bionic",
}
