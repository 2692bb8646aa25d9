"""Data that a user hands over: the path of a file, or what a program holds in memory.

An option of the type `Source` takes one of either, `Sources` several, `Names` a file or a list of
names. Data are recognised by their type, without importing a library, and wrapped: so an option
stays a small value that prints as one line and can be compared, whatever it holds.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from connectome_compiler.errors import CompileError

MEMORY = "from memory"  # the name of data that are no file
KINDS = (
    "a pandas or polars frame, a pyarrow table, a networkx graph, a scipy sparse matrix, or a "
    "numpy array"
)


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Data in memory, not copied; ``str`` says which: "edges (pandas frame, 3 x 5)".

    It has a ``name`` and a text, as a path has.
    """

    value: Any
    kind: str  # "pandas frame"
    shape: tuple[int, ...] | None  # none: not known without reading them
    option: str = ""  # that holds it
    # What was learnt when it was last read: the hash of its content.
    learnt: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What stands for the name of a file."""
        return MEMORY

    @property
    def what(self) -> str:
        """Kind and shape."""
        sizes = [f"{n:,}" for n in self.shape or ()]
        if self.kind == "networkx graph":
            return f"{self.kind}, {sizes[0]} nodes, {sizes[1]} edges"
        return ", ".join(filter(None, (self.kind, " x ".join(sizes))))

    def __str__(self) -> str:
        return f"{self.option} ({self.what})" if self.option else self.what

    def __repr__(self) -> str:
        return f"<{self.what}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Data) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, slots=True)
class Takes:
    """What an option takes, beside a path."""

    what: str = "data"  # data, several (files or data), or names

    def __str__(self) -> str:
        return {
            "data": "file, or data in memory",
            "several": "files, or data in memory",
            "names": "file, or list of names",
        }[self.what]


Place = Path | Data  # what is read
Source = Annotated[Any, Takes()]
Sources = Annotated[Any, Takes("several")]
Names = Annotated[Any, Takes("names")]


def takes(hint: Any) -> Takes | None:
    """Return what an option of this type takes, or none if it does not take data."""
    if get_origin(hint) is not Annotated:
        return None
    return next((mark for mark in get_args(hint)[1:] if isinstance(mark, Takes)), None)


def data(value: Any) -> Data | None:
    """Return ``value`` as data, or none if it is nothing that holds them."""
    if isinstance(value, Data):
        return value
    shape = getattr(value, "shape", None)
    if _is(value, "pandas", "DataFrame"):
        return Data(value, "pandas frame", shape)
    if _is(value, "pandas", "Series", "Index"):
        return Data(value, f"pandas {type(value).__name__.lower()}", shape)
    if _is(value, "polars", "DataFrame", "Series"):
        frame = "frame" if _is(value, "polars", "DataFrame") else "series"
        return Data(value, f"polars {frame}", shape)
    if _is(value, "polars", "LazyFrame"):
        return Data(value, "polars lazy frame", None)
    if _is(value, "networkx", "Graph"):  # all its classes derive from it
        return Data(value, "networkx graph", (value.number_of_nodes(), value.number_of_edges()))
    if _is(value, "scipy.sparse", "sparray", "spmatrix"):
        return Data(value, "scipy sparse matrix", shape)
    if _is(value, "numpy", "ndarray"):
        return Data(value, "numpy array", shape) if shape else None
    if _is(value, "pyarrow", "Table", "RecordBatch"):
        return Data(value, "pyarrow table", shape)
    if _is(value, "pyarrow", "Array", "ChunkedArray"):
        return Data(value, "pyarrow array", (len(value),))
    if hasattr(value, "__arrow_c_stream__"):
        return Data(value, f"Arrow stream of {type(value).__module__.partition('.')[0]}", None)
    return None


def _is(value: Any, module: str, *names: str) -> bool:
    """Whether ``value`` is of a class of a library, which then has been imported."""
    known = sys.modules.get(module)
    classes = tuple(c for name in names if isinstance(c := getattr(known, name, None), type))
    return isinstance(value, classes)


def shown(value: Any) -> str:
    """Return a value for a message: short, whatever it is."""
    if (found := data(value)) is not None:
        return f"a {found.what}"
    text = repr(value)
    return text if len(text) < 100 and "\n" not in text else f"a {type(value).__name__}"


def source(where: str, value: Any, takes: Takes) -> Any:
    """Return what an option was given: a path as text, or `Data`; of several, a tuple of them.

    Raises `CompileError` for anything else.
    """
    several = takes.what == "several"
    if isinstance(value, list | tuple):
        if several:
            return tuple(_one(f"{where}[{k}]", item, takes) for k, item in enumerate(value))
        if takes.what == "names":
            return Data(list(value), "list", (len(value),), where.rpartition(".")[2])
    if several and isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    found = _one(where, value, takes)
    return (found,) if several else found


def _one(where: str, value: Any, takes: Takes) -> str | Data:
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
    if (found := data(value)) is not None:
        return found if found.option else replace(found, option=where.rpartition(".")[2])
    hint = f"give {'a list of names' if takes.what == 'names' else KINDS}, or the path of a file"
    problem = f"is {shown(value)}: neither a file nor data"
    if isinstance(value, list | tuple):
        problem = f"is a {type(value).__name__} of {len(value):,}"
        hint = 'make it a frame, such as pandas.DataFrame(rows, columns=["pre", "post", "weight"])'
    raise CompileError(where, problem, hint)


def located(given: str | Data) -> Place:
    """Return where the value of an option lies."""
    return given if isinstance(given, Data) else Path(given)


def stem(place: Place) -> str:
    """Return a name without suffixes."""
    return "memory" if isinstance(place, Data) else place.name.split(".")[0]


def called(place: Place) -> str:
    """Return what a title calls it."""
    return f"{place.option} {MEMORY}" if isinstance(place, Data) else place.name


def take_sources(stage: Any) -> None:
    """Check and wrap what the options of a stage that take data hold; called as it is made."""
    for name, hint in get_type_hints(type(stage), include_extras=True).items():
        if (taken := takes(hint)) is not None and name in {f.name for f in fields(stage)}:
            where = f"{type(stage).name}.{name}"
            object.__setattr__(stage, name, source(where, getattr(stage, name), taken))
