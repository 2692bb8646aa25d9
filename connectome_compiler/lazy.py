"""Packages whose attributes are the classes of a kind, each imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connectome_compiler.registry import Kind


def attributes(
    kind: Kind, package: dict[str, Any]
) -> tuple[Callable[[str], type[Any]], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for the ``globals()`` of a package: installed classes.

    Those of other packages are among them. The registry is imported when one is asked for.
    """

    def of_class(name: str) -> type[Any]:
        if name.startswith("_"):
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        from connectome_compiler.registry import by_class

        return by_class(kind, name)

    def names() -> list[str]:
        from connectome_compiler.registry import class_names

        return [*package, *class_names(kind)]

    return of_class, names
