from collections.abc import Callable
from dataclasses import field, make_dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import connectomes, graphs

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    AllToAll,
    Attenuation,
    Fixed,
    Graded,
    Graph,
    Law,
    Leaky,
    LowRank,
    Named,
    OneToOne,
    PerConnection,
    Population,
    Port,
    Projection,
    Provenance,
    Shift,
    SquareWave,
    Swept,
    Synapses,
    Tied,
    neuron_table,
)
from connectome_compiler.ir.digest import array_digest

TABLE = neuron_table({"neuron_id": [1, 2], "cell_type": ["a", None], "x_um": [0.0, 1.0]})


def plain(**changed: Any) -> Graph:
    """Two neurons, one connection, one of everything; ``changed`` edits one part."""
    population = Population("a", (2,), changed.pop("table", TABLE), changed.pop("node", Swept()))
    synapses = Synapses(
        **{
            "post": [0],
            "pre": [1],
            "weight": [3],
            "unit": "synapses",
            **{k: changed.pop(k) for k in list(changed) if k in Synapses.__dataclass_fields__},
        }
    )
    projection = replace(Projection("a", "a", synapses), **changed)
    return Graph((population,), (projection,), Provenance("t"), (Port("p", "a", "in"),))


def content(graph: Graph) -> Any:
    """Everything that a digest stands for, as plain Python values."""

    def values(array: Any) -> Any:
        return None if array is None else (str(array.dtype), [str(v) for v in array])

    return (
        [
            (
                p.name,
                p.shape,
                p.node,
                p.artificial,
                None if p.neurons is None else (str(p.neurons.schema), p.neurons.to_pydict()),
            )
            for p in graph.populations
        ],
        [
            (
                (q.pre, q.post, q.kind, q.delay, q.weights, type(q.connectivity).__name__),
                [
                    values(getattr(q.connectivity, n, None))
                    for n in ("post", "pre", "weight", "size", "sign")
                ],
                getattr(q.connectivity, "unit", None),
            )
            for q in graph.projections
        ],
        graph.ports,
    )


@given(graphs(), graphs())
def test_digests_agree_exactly_where_contents_do(a: Graph, b: Graph) -> None:
    assert (a.digest() == b.digest()) == (content(a) == content(b))


@given(connectomes(min_populations=1), st.data())
def test_how_a_table_lies_in_memory_does_not_count(g: Graph, data: st.DataObject) -> None:
    def other_way(p: Population) -> Population:
        table = p.neurons
        assert table is not None
        cut = data.draw(st.integers(0, table.num_rows))
        padded = pa.concat_tables([table, table, table]).combine_chunks()  # garbage around it
        padded = padded.slice(table.num_rows, table.num_rows)
        pieces = pa.concat_tables([padded.slice(0, cut), padded.slice(cut)])
        columns = [
            c.dictionary_encode() if pa.types.is_string(c.type) and data.draw(st.booleans()) else c
            for c in pieces.columns
        ]
        pieces = pa.table(columns, names=table.column_names)
        return replace(p, neurons=pieces.replace_schema_metadata({"made": "elsewhere"}))

    again = replace(g, populations=tuple(other_way(p) for p in g.populations))
    assert again.digest() == g.digest()


def test_what_lies_under_a_null_does_not_count() -> None:
    for kind, a, b in (
        (pa.int64(), [7, 1], [8, 1]),
        (pa.string(), ["xx", "y"], ["z", "y"]),
        (pa.float32(), [7, 1], [8, 1]),
        (pa.bool_(), [True, True], [False, True]),
    ):
        hidden = []
        for values in (a, b):
            array = pa.array(values, kind)
            bits = pa.py_buffer(b"\x02")  # the first value is null
            buffers = [bits, *array.buffers()[1:]]
            hidden.append(pa.Array.from_buffers(kind, 2, buffers))
        first, second = (plain(table=TABLE.append_column("mine", h)) for h in hidden)
        assert first.digest() == second.digest()
        empty = plain(table=TABLE.append_column("mine", pa.array([None, b[1]], kind)))
        assert first.digest() == empty.digest()


def test_how_an_array_was_made_does_not_count() -> None:
    assert plain(post=np.array([0], ">i8")).digest() == plain().digest()
    assert plain(node=Swept(noise_std=0)).digest() == plain(node=Swept()).digest()
    a = np.arange(6, dtype="<i4")
    assert array_digest(a) == array_digest(a.astype(">i4")) == array_digest(np.repeat(a, 2)[::2])


def test_provenance_does_not_count() -> None:
    assert replace(plain(), provenance=Provenance("other")).digest() == plain().digest()


def swapped(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


CHANGES: dict[str, Callable[[], Graph]] = {
    "post": lambda: plain(post=[1]),
    "pre": lambda: plain(pre=[0]),
    "weight": lambda: plain(weight=[4]),
    "weight type": lambda: plain(weight=[3.0]),
    "unit": lambda: plain(unit="um2"),
    "size": lambda: plain(size=[0.0]),
    "sign": lambda: plain(sign=[0]),
    "delay": lambda: plain(delay=2),
    "kind": lambda: plain(kind="electrical"),
    "weights": lambda: plain(weights=PerConnection(sign="abs")),
    "law": lambda: plain(connectivity=AllToAll()),
    "other law": lambda: plain(connectivity=OneToOne()),
    "shift": lambda: plain(connectivity=Shift(1)),
    "other shift": lambda: plain(connectivity=Shift(2)),
    "polarity": lambda: plain(weights=PerConnection(polarity=1)),
    "low rank": lambda: plain(weights=LowRank(1)),
    "ties": lambda: plain(weights=Tied("type-pair")),
    "name": lambda: plain(weights=Named("a", 1)),
    "other name": lambda: plain(weights=Named("b", 1)),
    "fixed": lambda: plain(weights=Fixed(1)),
    "node": lambda: plain(node=Swept("linear")),
    "attenuation": lambda: plain(node=Swept(inhibition=Attenuation("subtractive", 0.5))),
    "other form": lambda: plain(node=Swept(inhibition=Attenuation("multiplicative", 0.5))),
    "other kind": lambda: plain(node=Graded("linear")),
    "rest": lambda: plain(node=Graded("linear", rest=1.0)),
    "time constant": lambda: plain(node=Leaky(20.0)),
    "period": lambda: plain(node=SquareWave(1)),
    "null": lambda: plain(table=swapped(TABLE, "cell_type", pa.array(["a", ""]))),
    "where text ends": lambda: plain(table=swapped(TABLE, "cell_type", pa.array(["", "a"]))),
    "id": lambda: plain(table=swapped(TABLE, "neuron_id", pa.array([1, 3]))),
    "id type": lambda: plain(table=swapped(TABLE, "neuron_id", pa.array(["1", "2"]))),
    "last bit": lambda: plain(table=swapped(TABLE, "x_um", pa.array([5e-324, 1.0]))),
    "more columns": lambda: plain(table=TABLE.append_column("mine", pa.nulls(2))),
    "column name": lambda: plain(table=TABLE.append_column("yours", pa.nulls(2))),
    "column order": lambda: plain(table=TABLE.select(TABLE.column_names[::-1])),
    "artificial": lambda: replace(
        plain(), populations=(replace(plain().populations[0], artificial=True),)
    ),
    "no table": lambda: replace(plain(), populations=(Population("a", (2,)),)),
    "port": lambda: replace(plain(), ports=(Port("p", "a", "out"),)),
    "no port": lambda: replace(plain(), ports=()),
}


def test_every_change_is_seen() -> None:
    digests = {name: make().digest() for name, make in CHANGES.items()}
    digests["nothing"] = plain().digest()
    assert len(set(digests.values())) == len(CHANGES) + 1


def test_order_of_projections_counts() -> None:
    g = plain()
    q = replace(g.projections[0], kind="electrical")
    one = replace(g, projections=(g.projections[0], q))
    other = replace(g, projections=(q, g.projections[0]))
    assert one.digest() != other.digest()


def test_the_digest_of_a_version_is_that_of_the_next() -> None:
    # Saved graphs and emitted modules carry it: whoever changes it raises storage.FORMAT.
    assert plain().digest() == ("540e2692e9f747815b65ad9f40ec8ada6302608fd422f0b858cb42d166777c7b")


def test_a_field_at_its_default_leaves_the_digest_as_it_is() -> None:
    # So that a field that is added later does, too.
    law = {name: lambda self, *_: 0 for name in ("entries", "count", "describe")}
    options: Any = {"bases": (Law,), "namespace": law, "frozen": True}
    small: Any = make_dataclass("Ring", [("by", int)], **options)
    more = ("more", float, field(default=0.5))
    large: Any = make_dataclass("Ring", [("by", int), more], **options)
    one, same = (plain(connectivity=law).digest() for law in (small(3), large(3)))
    assert one == same != plain(connectivity=large(3, 0.25)).digest()


def test_nested_columns_are_refused() -> None:
    with pytest.raises(
        CompileError, match=r"a.mine: a column of list<item: int64> cannot be hashed"
    ):
        plain(table=TABLE.append_column("mine", pa.array([[1], [2]]))).digest()
