"""Put the options of an emitted network to the test: each choice is a network of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.importing import alone
from connectome_compiler.certify.meaning import Case, Options, Values


def rounds(case: Case, values: Values, most: int) -> Iterator[dict[str, Any]]:
    """Yield at most ``most`` choices of options, until each value of each was tried."""
    defaults = case.stated["options"]
    others = {
        name: [value for value in values[name] if value != default]
        for name, default in defaults.items()
        if name in values
    }
    for k in range(min(most, 2 * max(map(len, others.values()), default=0))):
        yield {
            name: values[k % len(values)]
            for name, values in others.items()
            if k % 2 or not isinstance(values[0], bool)  # a part that is off hides its options
        }


def refuses_nonsense(case: Case, nonsense: Options) -> None:
    """Build with options that mean nothing."""
    for name, value in {**nonsense, "no_such_option": 1}.items():
        if name in case.stated["options"] or name == "no_such_option":
            try:
                with alone():
                    case.emitted.build(**{name: value})
            except (TypeError, ValueError):
                continue
            raise Wrong("build()", f"takes {name}={value!r}, which means nothing")
