"""Architecture styles by name, one folder each; the values are imported only when asked for."""

from typing import TYPE_CHECKING

from connectome_compiler.lazy import attributes

if TYPE_CHECKING:
    from connectome_compiler.templates.bionic.style import Bionic as Bionic
    from connectome_compiler.templates.mimetic.style import Mimetic as Mimetic
    from connectome_compiler.templates.mousenet.style import Mousenet as Mousenet
    from connectome_compiler.templates.ncap.style import Ncap as Ncap
    from connectome_compiler.templates.recurrent.style import Recurrent as Recurrent

if __name__ != "connectome_compiler.templates":
    raise ImportError("import connectome_compiler.templates, not templates")

BUILTIN = {
    "mimetic": "connectome_compiler.templates.mimetic.style:Mimetic",
    "mousenet": "connectome_compiler.templates.mousenet.style:Mousenet",
    "ncap": "connectome_compiler.templates.ncap.style:Ncap",
    "recurrent": "connectome_compiler.templates.recurrent.style:Recurrent",
    "bionic": "connectome_compiler.templates.bionic.style:Bionic",
}

__getattr__, __dir__ = attributes("template", globals())
