"""How answers print, in a terminal and in a notebook, whatever is in the data."""

from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser

import pyarrow as pa

from connectome_compiler.questions.answer import MOST_LETTERS, MOST_ROWS, Answer

EVIL = "<b>\x1b[31m&"


@dataclass(frozen=True, slots=True, repr=False)
class Given(Answer):
    rows: pa.Table

    @property
    def headline(self) -> str:
        return f"of {EVIL}"

    @property
    def tables(self) -> Mapping[str, pa.Table]:
        return {"rows": self.rows, "none": self.rows.slice(0, 0)}

    @property
    def facts(self) -> Mapping[str, str]:
        return {"fact": EVIL}

    @property
    def notes(self) -> tuple[str, ...]:
        return ("A note.",)


def given(**columns: object) -> Given:
    return Given(pa.table(columns))


def test_cells_are_spelled_by_what_they_are() -> None:
    answer = given(
        neuron=[864691135000000001, 2],
        n=[12345, None],
        share=[0.25, 1.0],
        sign=pa.array([-1, 0], pa.int8()),
        seed=[True, False],
        value=[0.000123456, 1234567.0],
        rate=[float("inf"), 123456.78],
    )
    lines = [line.split() for line in str(answer).splitlines()]
    top = lines.index(["rows"]) + 1
    assert lines[top : top + 3] == [
        ["neuron", "n", "share", "sign", "seed", "value", "rate"],
        ["864691135000000001", "12,345", "25.0%", "-", "yes", "0.0001235", "inf"],
        ["2", "-", "100.0%", "?", "no", "1,234,567", "123,456.8"],
    ]
    assert "none" not in str(answer)


def test_long_tables_and_cells_are_cut() -> None:
    answer = given(name=["x" * 99] * (MOST_ROWS + 1234))
    text = str(answer)
    assert "... and 1,234 more" in text
    assert "... and 1,234 more" in answer._repr_html_()
    assert max(map(len, text.splitlines()[5:-2])) == MOST_LETTERS + 2
    assert len(answer.as_dict()["rows"]) == len(answer.to_pandas()) == MOST_ROWS + 1234


def test_text_of_the_data_does_nothing() -> None:
    answer = given(name=[EVIL])
    assert "\x1b" not in str(answer)
    page = answer._repr_html_()
    assert "\x1b" not in page
    seen: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: seen.append(tag)  # type: ignore[method-assign]
    parser.feed(page)
    assert seen.count("b") == 1  # the headline's own
    assert "A note." in page


def test_an_answer_has_plain_values() -> None:
    answer = given(n=[1])
    assert answer.as_dict() == {
        "answer": answer.headline,
        "facts": {"fact": EVIL},
        "rows": [{"n": 1}],
        "none": [],
        "notes": ["A note."],
    }
