"""Place decisions into a template's text; the template decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return the text of ``templates/<template>`` with ``context``; undefined names are errors."""
    folder = resources.files("connectome_compiler.templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda n: folder.joinpath(*n.split("/")).read_text("utf-8")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(context)
