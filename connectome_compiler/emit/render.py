"""Place decisions into a template's text; the template decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import jinja2
from jinja2.nativetypes import NativeEnvironment

from connectome_compiler.emit.literal import Source, placed
from connectome_compiler.errors import CompileError

HOME = "connectome_compiler.templates"


def render(template: str, context: Mapping[str, Any]) -> Source:
    """Return the text of ``templates/<template>`` with ``context``; undefined names are errors.

    A template of another package is called ``package:path``. What stands in ``{{ }}`` is source or
    a number: plain text is refused, whatever it says. See `emit.literal`.
    """
    environment = _Environment(
        loader=jinja2.FunctionLoader(_read),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return _joined(environment.get_template(template).generate(context))


class _Environment(NativeEnvironment):
    """Puts together source, which ordinary environments turn into plain text."""

    @staticmethod
    def concat(values: Iterable[Any]) -> Source:
        return _joined(values)


def _finalize(value: Any) -> Source:
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises
    return placed(value)


def _joined(values: Iterable[Any]) -> Source:
    # What is not of `_finalize` is the text of the template itself.
    return Source("").join(v if isinstance(v, Source) else Source(v) for v in values)


def _read(name: str) -> str:
    package, _, path = name.rpartition(":")
    file = resources.files(package or HOME).joinpath(*path.split("/"))
    if not file.is_file():
        hint = "list it as package data in pyproject.toml, and install the package again"
        raise CompileError(f"template {name}", f"there is no file {file}", hint)
    return file.read_text("utf-8")
