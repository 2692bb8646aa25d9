"""Recipes: every key is checked, the nearest name is suggested, nothing is run."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.options import Raw, option_types
from connectome_compiler.recipe import (
    load_recipe,
    parse,
    parse_settings,
    shipped,
    shipped_names,
)
from connectome_compiler.registry import find

GOOD = """
name = "toy"
title = "A toy"
[source]
use = "microns-v1-surrogate"
seed = 3
[[pass]]
use = "drop-autapses"
[[pass]]
use = "drop-weak-connections"
id = "thin"
min_weight = 2
[template]
use = "bionic"
[options]
seed = "source.seed"
least = "thin.min_weight"
[set]
least = 3
template.steps = 5
"""


def test_reads_stages_options_and_settings() -> None:
    recipe = parse("toy.toml", GOOD)
    assert (recipe.name, recipe.title) == ("toy", "A toy")
    assert list(recipe.stages) == ["source", "drop-autapses", "thin", "template"]
    assert recipe.source.make().seed == 3
    assert recipe.stages["thin"].make().min_weight == 3
    assert recipe.template.make().steps == 5
    changed = recipe.having({"seed": 4, "thin.min_weight": Raw("1.5")})
    assert changed.source.make().seed == 4
    assert changed.stages["thin"].make().min_weight == 1.5
    assert recipe.source.make().seed == 3
    other = recipe.having({"source.calibrated": False}).source.make()
    assert (other.seed, other.calibrated) == (3, False)


# --- what is wrong is named, with the nearest that is right ---------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title", "titel", r"toy.toml: key 'titel': .*\n.*'title'"),
        ("[options]", "[option]", r"key 'option': .*\n.*'options'"),
        ("seed = 3", "sed = 3", r"toy.toml: source: option 'sed': .*\n.*'seed'"),
        ("min_weight = 2", "min_wait = 2", r"thin: option 'min_wait': .*\n.*'min_weight'"),
        ("drop-autapses", "drop-autapse", r"toy.toml: pass 'drop-autapse': .*\n.*'drop-autapses'"),
        ("v1-surrogate", "v1-surogate", r"toy.toml: adapter .*\n.*'microns-v1-surrogate'"),
        ('"bionic"', '"bonic"', r"toy.toml: template 'bonic': .*\n.*'bionic'"),
        ('"source.seed"', '"sauce.seed"', r"options.seed: stage 'sauce': .*\n.*'source'"),
        ('"source.seed"', '"source.sed"', r"options.seed: option 'sed': .*\n.*'seed'"),
        ("least = 3", "last = 3", r"recipe toy: option 'last': .*\n.*'least'"),
        ("template.steps", "tempalte.steps", r"recipe toy: stage .*\n.*'template'"),
        ("template.steps", "template.step", r"recipe toy: template: option .*\n.*'steps'"),
    ],
)
def test_unknown_names_at_every_level(old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(UnknownNameError, match=words):
        parse("toy.toml", GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"toy"', "5", "toy.toml: name: is 5, not text"),
        ('"toy"', '""', "toy.toml: name: '' is no name"),
        ('"toy"', '"a\\nb"', "is no name"),
        ('"A toy"', "[]", "toy.toml: title: is \\[\\], not text"),
        ('use = "drop-autapses"', "", "toy.toml: pass: has no use"),
        ('use = "drop-autapses"', "use = 5", "toy.toml: pass: use is 5, not text"),
        ('id = "thin"', "id = 5", "pass drop-weak-connections: id is 5, not a name"),
        ('id = "thin"', 'id = ""', "id is '', not a name"),
        ('id = "thin"', 'id = "source"', "toy.toml: 'source' occurs twice"),
        ('id = "thin"', 'id = "drop-autapses"', "'drop-autapses' occurs twice"),
        ('"source.seed"', "5", "options.seed: is 5"),
        ('"source.seed"', '"seed"', "options.seed: is 'seed'"),
        ("[template]", "[[template]]", "toy.toml: template: is no table"),
        ('[template]\nuse = "bionic"', "", "has no \\[template\\]"),
        ("[source]", "[set]", "toy.toml: is not TOML|has no \\[source\\]"),
    ],
)
def test_other_mistakes(old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(CompileError, match=words):
        parse("toy.toml", GOOD.replace(old, new, 1))


@pytest.mark.parametrize("wrong", ['pass = ["drop-autapses"]', 'pass = "x"', "[pass]\nuse = 'x'"])
def test_passes_are_a_list_of_tables(wrong: str) -> None:
    page = f'{wrong}\n[source]\nuse = "microns-v1-surrogate"\n[template]\nuse = "bionic"\n'
    with pytest.raises(CompileError, match=r"my.toml: pass: is no list of tables\n.*\[\[pass\]\]"):
        parse("my.toml", page)


@pytest.mark.parametrize(
    "wrong", ["name: toy", "<html>", "x = [" * 5000, 'name = "a"\nname = "b"', "\0", "{}"]
)
def test_what_is_not_toml(wrong: str) -> None:
    with pytest.raises(CompileError, match=r"x.toml: is not TOML"):
        parse("x.toml", wrong)


@given(st.text())
def test_any_text_is_a_recipe_or_an_error(text: str) -> None:
    with pytest.raises(CompileError):
        parse("x.toml", text)


@pytest.mark.parametrize(
    "setting",
    [
        "source.seed=x",
        "thin.min_weight=-1",
        "thin.min_weight=nan",
        "template.steps=-1",
        "template.steps=1.5",
    ],
)
def test_settings_of_the_wrong_type_or_size(setting: str) -> None:
    recipe = parse("toy.toml", GOOD).having(parse_settings([setting]))
    stage_id = setting.partition(".")[0]
    with pytest.raises(CompileError):
        recipe.stages[stage_id].make()


# --- files ----------------------------------------------------------------------------------------


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="no such file"):
        load_recipe(tmp_path / "none.toml")
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(CompileError, match=r"folder.toml: cannot be read: Is a directory"):
        load_recipe(folder)
    latin = tmp_path / "latin.toml"
    latin.write_bytes('name = "Säule"'.encode("latin-1"))
    with pytest.raises(CompileError, match=r"latin.toml: cannot be read: 'utf-8'"):
        load_recipe(latin)
    with pytest.raises(CompileError, match="cannot be read"):
        load_recipe("a\0b.toml")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert load_recipe(path).name == "toy"


def test_a_forgotten_ending_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(GOOD)
    with pytest.raises(CompileError, match=r"the file is mine.toml"):
        load_recipe("mine")
    with pytest.raises(UnknownNameError, match="did you mean 'microns-v1'"):
        load_recipe("micron-v1")


def test_names_of_stages_are_taken_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(GOOD)
    with pytest.raises(UnknownNameError, match=r"stage 'THIN': no such name"):
        load_recipe(path, ["THIN.min_weight=8"])


def test_extends_changes_another_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.toml").write_text(GOOD)
    child = tmp_path / "child.toml"
    child.write_text('extends = "base.toml"\nset.least = 7\n[set.source]\nseed = 9\n')
    monkeypatch.chdir("/")  # the path starts where the file is, wherever one works
    recipe = load_recipe(child, ["thin.min_weight=8"])
    assert (recipe.name, recipe.title) == ("child", "A toy")
    assert recipe.stages["thin"].make().min_weight == 8
    assert recipe.source.make().seed == 9


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ('extends = "none.toml"', r"none.toml: no such file"),
        ('extends = "microns-v2"', r"child.toml: recipe 'microns-v2': .*\n.*'microns-v1'"),
        ('extends = "child.toml"', "child.toml: extends itself"),
        ('extends = "../here/child.toml"', "child.toml: extends itself"),
        ("extends = 5", "extends: is 5, not text"),
        ('extends = ""', "recipe ''"),
        ('extends = "microns-v1"\n[source]\nuse = "x"', "has both extends and source"),
        ('extends = "microns-v1"\n[set]\nnope = 1', "recipe child: option 'nope'"),
        ('extends = "microns-v1"\nset = 1', "set: is no table"),
    ],
)
def test_what_cannot_be_extended(page: str, words: str, tmp_path: Path) -> None:
    child = tmp_path / "here" / "child.toml"
    child.parent.mkdir()
    child.write_text(page)
    with pytest.raises(CompileError, match=words):
        load_recipe(child)


def test_two_recipes_that_extend_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "a.toml"')
    with pytest.raises(CompileError, match=r"a.toml: extends itself: .*a.toml -> .*b.toml -> "):
        load_recipe(tmp_path / "a.toml")


# --- settings on a command line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", ("a", "b")),
        ("where=x == 1", ("where", "x == 1")),
        (" a = -1 ", ("a", "-1")),
        ("a=", ("a", "")),
        ('a.b=["x=y"]', ("a.b", '["x=y"]')),
    ],
)
def test_settings_are_cut_at_the_first_equals_sign(text: str, expected: tuple[str, str]) -> None:
    key, value = expected
    assert parse_settings([text]) == {key: Raw(value)}


@pytest.mark.parametrize("text", ["", "a", "=b", " =b", "a:b"])
def test_settings_that_are_none(text: str) -> None:
    with pytest.raises(CompileError, match="is not key=value"):
        parse_settings([text])


def test_a_setting_counts_once() -> None:
    assert parse_settings(["a=1", "b=2"]) == {"a": Raw("1"), "b": Raw("2")}
    with pytest.raises(CompileError, match="given twice"):
        parse_settings(["a=1", "a=2"])


# --- shipped recipes ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_recipes_are_valid_and_their_options_reach_a_field(name: str) -> None:
    required = {"edges": "edges.csv"} if name == "table" else {}
    recipe = load_recipe(name, required)
    assert recipe.name == name
    assert recipe.title == shipped()[name]
    for stage in recipe.stages.values():
        stage.make()
    for short, paths in recipe.public.items():
        for path in paths:
            stage_id, _, option = path.rpartition(".")
            stage = recipe.stages[stage_id]
            assert option in option_types(find(stage.kind, stage.use)), short
    assert recipe.source.make().name == recipe.source.use


def test_the_shipped_recipes_are_those_of_the_issue() -> None:
    assert {"microns-v1", "microns-v1-surrogate", "microns-v1-dale"} <= set(shipped_names())
    assert load_recipe("microns-v1-surrogate").source.make().source == "statistics"


@pytest.mark.parametrize("name", [n for n in shipped_names() if "null" in load_recipe(n).public])
def test_one_word_is_the_seed_of_all_that_is_drawn(name: str) -> None:
    given = {"edges": "edges.csv"} if name == "table" else {}

    def seeds(**settings: int) -> tuple[int, int | None]:
        recipe = load_recipe(name, {**given, "null": "degrees", **settings})
        null = next(s.make() for s in recipe.passes if s.use == "null-model")
        return null.seed, getattr(recipe.source.make(), "seed", None)

    draws = seeds()[1] is not None
    assert seeds(seed=3) == (3, 3 if draws else None)
    assert seeds(null_seed=4) == (4, 0 if draws else None)
    if draws:  # whichever is given first
        assert seeds(seed=3, null_seed=4) == seeds(null_seed=4, seed=3) == (4, 3)
        return
    with pytest.raises(CompileError, match=r"seed and null_seed both set"):
        seeds(seed=3, null_seed=4)


def test_two_names_of_one_option() -> None:
    for name in ("min_synapses", "min_weight"):
        recipe = load_recipe("microns-v1", {name: 2})
        assert recipe.stages["drop-weak-connections"].make().min_weight == 2
    with pytest.raises(CompileError, match="min_synapses and min_weight both set") as caught:
        load_recipe("microns-v1", {"min_synapses": 2, "min_weight": 3})
    assert caught.value.hint == "leave one out"
    with pytest.raises(CompileError, match=r"options.both: is 3"):
        parse("toy.toml", GOOD.replace("[set]", 'both = ["source.seed", 3]\n[set]'))


# --- a recipe is not trusted ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        "os:system",
        "../evil",
        "connectome_compiler.passes.drop_autapses:DropAutapses",
        "__import__('os')",
        "DropAutapses",
    ],
)
def test_only_registered_names_are_imported(use: str) -> None:
    with pytest.raises(UnknownNameError, match=r"toy.toml: pass"):
        parse("toy.toml", GOOD.replace("drop-autapses", use))


@pytest.mark.parametrize("key", ["__class__", "name", "__init__", "__post_init__"])
def test_only_fields_can_be_set(key: str) -> None:
    for page, setting in ((GOOD.replace("seed = 3", f"{key} = 3"), {}), (GOOD, {f"thin.{key}": 3})):
        given: dict[str, Any] = dict(setting)
        with pytest.raises(UnknownNameError):
            parse("toy.toml", page).having(given)


def test_recipes_beyond_any_use_are_refused(tmp_path: Path) -> None:
    """Each of these was a traceback, or took minutes."""
    passes = "".join(f'[[pass]]\nuse = "drop-autapses"\nid = "p{k}"\n' for k in range(101))
    for page, words in (
        ("n = " + "1" * 5_000, "holds a number of too many digits"),
        ("set" + ".a" * 5_000 + " = 1", "tables or lists more than 16 deep"),
        ("x = " + "[" * 200 + "]" * 200, "more than 16 deep"),
        (passes + '[source]\nuse = "synthetic"\n[template]\nuse = "bionic"\n', "has 101 passes"),
    ):
        with pytest.raises(CompileError, match=words):
            parse("toy.toml", page)
    path = tmp_path / "long.toml"
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(CompileError, match="at most 1,048,576 are read"):
        load_recipe(path)
    with pytest.raises(UnknownNameError):  # too long for a file
        load_recipe("x" * 5_000)
