"""Recipes: every key is checked, the nearest name is suggested, nothing is run."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError, RecipeError, UnknownNameError
from connectome_compiler.options import Raw, option_types
from connectome_compiler.passes.keep_core import KeepCore
from connectome_compiler.recipe import (
    load_recipe,
    parse,
    parse_settings,
    shipped,
)
from connectome_compiler.registry import find, recipe_names

TOYS = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Thin:
    \"\"\"Thin out.\"\"\"

    name: ClassVar[str] = "toy-thin"

    share: float = 0.5  #: share that is kept

    def __call__(self, graph):
        return graph


@dataclass(frozen=True)
class Nameless:
    pass


@dataclass(frozen=True)
class Taken(Thin):
    name: ClassVar[str] = "drop-autapses"


def leave_alone(graph, times: int = 1):
    return graph


def untyped(graph, times=1):
    return graph


text = "no code"
"""

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
        ('"toy"', "5", "toy.toml: name: must be text, not 5"),
        ('"toy"', '""', "toy.toml: name: '' is not a name"),
        ('"toy"', '"a\\nb"', "is not a name"),
        ('"A toy"', "[]", "toy.toml: title: must be text, not \\[\\]"),
        ('use = "drop-autapses"', "", "toy.toml: pass: has no use"),
        ('use = "drop-autapses"', "use = 5", "toy.toml: pass: use must be text, not 5"),
        ('id = "thin"', "id = 5", "pass drop-weak-connections: id must be a name, not 5"),
        ('id = "thin"', 'id = ""', "id must be a name, not ''"),
        ('id = "thin"', 'id = "source"', "toy.toml: 'source' occurs twice"),
        ('id = "thin"', 'id = "drop-autapses"', "'drop-autapses' occurs twice"),
        ('"source.seed"', "5", "options.seed: must be stage.field, not 5"),
        ('"source.seed"', '"seed"', "options.seed: must be stage.field, not 'seed'"),
        ("[template]", "[[template]]", "toy.toml: template: is not a table"),
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
    with pytest.raises(
        CompileError, match=r"my.toml: pass: is not a list of tables\n.*\[\[pass\]\]"
    ):
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
        ("extends = 5", "extends: must be text, not 5"),
        ('extends = ""', "recipe ''"),
        ('extends = "microns-v1"\n[source]\nuse = "x"', "has both extends and source"),
        ('extends = "microns-v1"\n[set]\nnope = 1', "recipe child: option 'nope'"),
        ('extends = "microns-v1"\nset = 1', "set: is not a table"),
    ],
)
def test_what_cannot_be_extended(page: str, words: str, tmp_path: Path) -> None:
    child = tmp_path / "here" / "child.toml"
    child.parent.mkdir()
    child.write_text(page)
    with pytest.raises(CompileError, match=words):
        load_recipe(child)


# --- names of options -----------------------------------------------------------------------------


def test_a_name_reaches_the_one_stage_that_has_it() -> None:
    recipe = parse("toy.toml", GOOD).having({"calibrated": False, "filters": (4, 8)})
    assert recipe.source.make().calibrated is False
    assert recipe.template.make().filters == (4, 8)
    assert recipe.options["calibrated"] == ("source.calibrated",)
    assert recipe.names("thin.min_weight") == ["least", "min_weight"]


def test_a_name_that_several_stages_have_reaches_none() -> None:
    page = GOOD.replace("[template]", '[[pass]]\nuse = "materialise-laws"\n[template]')
    assert parse("toy.toml", page).having({"seed": 7}).stages["materialise-laws"].make().seed == 0
    both = page.replace('seed = "source.seed"\n', "")
    with pytest.raises(CompileError, match="'seed': is an option of source and mat") as caught:
        parse("toy.toml", both).having({"seed": 7})
    assert caught.value.hint == "set source.seed or materialise-laws.seed"
    recipe = parse("toy.toml", both).having({"materialise-laws.seed": 7})
    assert recipe.stages["materialise-laws"].make().seed == 7
    assert recipe.names("source.seed") == ["source.seed"]


@pytest.mark.parametrize("name", recipe_names())
def test_aliases_are_names_that_a_field_does_not_have(name: str) -> None:
    recipe = load_recipe(name)
    own = {**recipe.options}
    for alias, paths in recipe.aliases.items():
        fields = {path.rpartition(".")[2] for path in paths}
        alone = [s.id for s in recipe.stages.values() if alias in option_types(s.cls)]
        more = len(alone) > 1 or len(paths) > 1
        assert alias not in fields or more, f"{alias} goes without saying"
        assert own[alias] == paths


def test_one_thing_has_one_name_in_all_recipes() -> None:
    """A name that one recipe gives an option of a pass is understood wherever the pass is."""
    recipes = [load_recipe(name) for name in recipe_names()]
    given = {
        (recipe.stages[id_].use, key): alias
        for recipe in recipes
        for alias, paths in recipe.aliases.items()
        for id_, _, key in [path.rpartition(".") for path in paths]
        if len(paths) == 1
    }
    assert given["null-model", "model"] == "null"
    for recipe in recipes:
        for stage in recipe.stages.values():
            for key in option_types(stage.cls):
                images = given.get((stage.use, key)) == "classes"
                if images and "image" not in stage.options:
                    continue  # without images to tell apart, outputs are not classes
                if alias := given.get((stage.use, key)):
                    assert recipe.options[alias] == (f"{stage.id}.{key}",), recipe.name
        if any(s.use == "null-model" for s in recipe.passes):
            assert recipe.options["null_seed"] == ("null-model.null_seed",)


# --- passes that are left out ---------------------------------------------------------------------


WHEN = GOOD.replace('id = "thin"', 'id = "thin"\nwhen = "min_weight"').replace("least = 3", "")


def test_a_pass_waits_for_its_option() -> None:
    recipe = parse("toy.toml", WHEN)
    assert recipe.make().ids == ("drop-autapses",)
    assert recipe.having({"least": 2}).make().ids == ("drop-autapses",)  # as the recipe has it
    made = recipe.having({"least": Raw("5")}).make()
    assert made.ids == ("drop-autapses", "thin")
    assert made.passes[1].min_weight == 5


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ('"min_wait"', r"toy.toml: thin: option 'min_wait': .*\n.*'min_weight'"),
        ("5", "toy.toml: thin: when: must be the name of an option, not 5"),
        ('["min_weight", 5]', "toy.toml: thin: when: must be the name of an option, not 5"),
    ],
)
def test_a_pass_waits_for_nothing_else(when: str, words: str) -> None:
    with pytest.raises(CompileError, match=words):
        parse("toy.toml", WHEN.replace('when = "min_weight"', f"when = {when}"))


def test_options_of_a_pass_that_is_left_out_have_no_effect() -> None:
    with pytest.raises(CompileError, match="seed: has no effect: null-model is left out") as caught:
        load_recipe("celegans-cook2019", null_seed=3).make()
    assert caught.value.hint == "set null as well"
    load_recipe("celegans-cook2019", null_seed=3, null="none").make()  # left out on purpose
    assert load_recipe("synthetic", seed=3).make().source.seed == 3  # it has an effect elsewhere
    with pytest.raises(CompileError, match="unless share, start or trained is set"):
        load_recipe("synthetic", rank=3).make()
    load_recipe("synthetic", rank=3, start="low-rank").make()


def needed(name: str) -> dict[str, str]:
    """Return the options without which a recipe cannot be made."""
    return {"edges": "edges.csv"} if load_recipe(name).source.use == "table" else {}


@pytest.mark.parametrize("name", recipe_names())
def test_no_pass_of_a_shipped_recipe_is_there_for_nothing(name: str) -> None:
    """Those that do something only if asked to are left out until then."""
    given = needed(name)
    idle = {"select-neurons", "drop-weak-connections", "null-model", "sign-channels"}
    assert not idle & set(load_recipe(name, given).make().ids)


# --- more passes ----------------------------------------------------------------------------------


def test_an_extending_recipe_adds_passes(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(GOOD)
    (tmp_path / "toys.py").write_text(TOYS)
    child = tmp_path / "child.toml"
    child.write_text(
        """extends = "base.toml"
[[pass]]
use = "keep-core"
after = "source"
k = 3
[[pass]]
use = "select-neurons"
after = "source"
[[pass]]
use = "toys.py:Thin"
before = "template"
[[pass]]
use = "toys.py:leave_alone"
before = "toy-thin"
[set]
where = "x_um > 1"
share = 0.25
times = 3
"""
    )
    made = load_recipe(child).make()
    added = ("leave-alone", "toy-thin")
    assert made.ids == ("keep-core", "select-neurons", "drop-autapses", "thin", *added)
    assert (made.passes[0].k, made.passes[1].where) == (3, "x_um > 1")
    assert (made.passes[-2].times, made.passes[-1].share) == (3, 0.25)
    assert made.passes[-2]("graph") == "graph"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('use = "keep-core"', "pass keep-core: needs either after or before"),
        ('use = "keep-core"\nafter = "thin"\nbefore = "thin"', "needs either after or before"),
        ('use = "keep-core"\nafter = "thick"', r"keep-core: stage 'thick': .*\n.*'thin'"),
        ('use = "keep-core"\nafter = "template"', "cannot run after the template"),
        ('use = "keep-core"\nbefore = "source"', "cannot run before the source"),
        ('use = "keep-core"\nafter = "thin"\nid = "thin"', "is already in the recipe, as 'thin'"),
        ('use = "keep-kore"\nafter = "thin"', r"pass 'keep-kore': .*\n.*'keep-core'"),
        ('use = "keep-core"\nafter = "thin"\nkk = 1', r"child.toml: keep-core: option 'kk'"),
        (
            'use = "toys.py:Thick"\nafter = "thin"',
            r"toys.py: class or function 'Thick'.*\n.*'Thin'",
        ),
        ('use = "toys.py:Nameless"\nafter = "thin"', "toys.py:Nameless: needs a name"),
        ('use = "toys.py:Taken"\nafter = "thin"', "is called 'drop-autapses', like an installed"),
        ('use = "toys.py:text"\nafter = "thin"', "class or function 'text': no such name"),
        ('use = "toys.py:untyped"\nafter = "thin"', "parameter 'times' has no type annotation"),
        (
            'use = "faulty.py:Thin"\nafter = "thin"',
            "faulty.py: cannot be run: line 2: ZeroDivision",
        ),
        ('use = "none.py:Thin"\nafter = "thin"', "none.py: no such file"),
    ],
)
def test_passes_that_cannot_be_added(lines: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(GOOD)
    (tmp_path / "toys.py").write_text(TOYS)
    (tmp_path / "faulty.py").write_text("\n1 / 0\n")
    child = tmp_path / "child.toml"
    child.write_text(f'extends = "base.toml"\n[[pass]]\n{lines}\n')
    with pytest.raises(CompileError, match=words):
        load_recipe(child)


def test_a_whole_recipe_runs_its_passes_as_listed() -> None:
    page = GOOD.replace('id = "thin"', 'id = "thin"\nafter = "source"')
    with pytest.raises(CompileError, match="has after, but no extends"):
        parse("toy.toml", page)


def test_passes_are_added_in_python() -> None:
    recipe = parse("toy.toml", GOOD)
    by_name = recipe.with_pass("keep-core", after="thin", k=5)
    by_class = recipe.with_pass(KeepCore, after="thin", k=5)
    by_object = recipe.with_pass(KeepCore(k=5), after="thin", called="core")
    assert by_name.make().passes[-1] == by_class.make().passes[-1] == KeepCore(k=5)
    assert by_object.having({"core.degree": "in"}).make().passes[-1] == KeepCore(5, "in")
    assert recipe.make().ids == ("drop-autapses", "thin")
    for wrong in (5, "no-pass", print, dict):
        with pytest.raises(CompileError):
            recipe.with_pass(wrong, after="thin")
    with pytest.raises(UnknownNameError, match="did you mean 'degree'"):
        recipe.with_pass(KeepCore(), after="thin", degre="in")


def test_passes_added_after_one_stage_run_in_the_order_in_which_they_were_added() -> None:
    recipe = parse("toy.toml", GOOD)
    for id_, anchor in (("a", "source"), ("b", "source"), ("c", "a"), ("d", "source"), ("e", "a")):
        recipe = recipe.with_pass(KeepCore(), after=anchor, called=id_)
    assert recipe.make().ids == (*"aceb", "d", "drop-autapses", "thin")
    for id_ in "xy":
        recipe = recipe.with_pass(KeepCore(), before="drop-autapses", called=id_)
    assert recipe.with_pass(KeepCore(), after="d", called="z").make().ids[3:8] == tuple("bdzxy")


# --- all faults at once ---------------------------------------------------------------------------


def test_all_faults_of_a_recipe_are_told_at_once() -> None:
    page = (
        GOOD.replace("title", "titel")
        .replace("seed = 3", "sed = 3")
        .replace("min_weight = 2", "min_weight = -2")
        .replace('"drop-autapses"', '"drop-autapse"')
        .replace('"source.seed"', '"sauce.seed"')
        .replace("least = 3", "last = 3\nseed = 4\nclass_name = 5")
        .replace("template.steps", "template.step")
    )
    with pytest.raises(CompileError) as caught:
        parse("toy.toml", page)
    told = str(caught.value)
    names = ("titel", "sed", "drop-autapse", "sauce", "step", "last")
    for words in (*map(repr, names), "class_name: is 5"):
        assert words in told
    assert told.startswith("8 errors:\n  toy.toml: key 'titel': no such name\n    hint: did you")
    assert "thin.min_weight: must be finite and at least 0, not -2.0" in told


def test_what_follows_from_another_fault_is_no_fault() -> None:
    page = GOOD.replace("[options]", "[option]").replace("[template]", "[tempate]")
    with pytest.raises(CompileError) as caught:
        parse("toy.toml", page)
    assert isinstance(caught.value, RecipeError)
    assert [e.hint for e in caught.value.errors] == [
        "did you mean 'template'?",
        "did you mean 'options'?",
    ]


def test_a_fault_elsewhere_hides_no_unknown_name() -> None:
    with pytest.raises(RecipeError) as caught:
        parse("toy.toml", GOOD.replace("title", "titel").replace("least = 3", "last = 3"))
    assert [e.where for e in caught.value.errors] == [
        "toy.toml: key 'titel'",
        "recipe toy: option 'last'",
    ]


def test_a_stage_that_cannot_be_read_hides_nothing_else() -> None:
    """It is read as what its name probably means, or else what may belong to it is left alone."""
    page = GOOD.replace('"drop-autapses"', '"drop-autapse"\nid = 3').replace("[source]", "[sorce]")
    page = page.replace("seed = 3", "sed = 3").replace("min_weight = 2", "min_weigth = -2")
    page = page.replace("least = 3", "nonsense = 3\ncalibratd = false\nclass_name = 5")
    with pytest.raises(RecipeError) as caught:
        parse("toy.toml", page)
    assert [(e.where, e.hint) for e in caught.value.errors if "nonsense" not in e.where] == [
        ("toy.toml: key 'sorce'", "did you mean 'source'?"),
        ("toy.toml: source: option 'sed'", "did you mean 'seed'?"),
        ("toy.toml: pass 'drop-autapse'", "did you mean 'drop-autapses'?"),
        ("toy.toml: pass drop-autapses", ""),  # id must be a name, not 3
        ("toy.toml: thin: option 'min_weigth'", "did you mean 'min_weight'?"),
        ("recipe toy: option 'calibratd'", "did you mean 'calibrated'?"),
        ("thin.min_weight", ""),
        ("class_name", ""),
    ]
    assert len(caught.value.errors) == 8, "nonsense may be an option of the pass without a name"
    page = GOOD.replace('"microns-v1-surrogate"', '"xyzzy"').replace('"drop-autapses"', '"drop"')
    page = page.replace("least = 3", "source.a = 1\ndrop.b = 2\nnonsense = 3\nclass_nam = 4")
    with pytest.raises(RecipeError) as caught:
        parse("toy.toml", page)
    assert [e.where for e in caught.value.errors] == [
        "toy.toml: adapter 'xyzzy'",
        "toy.toml: pass 'drop'",
        "recipe toy: option 'class_nam'",
    ]


def test_wrong_values_are_told_with_wrong_names() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("microns-v1", {"min_synapses": -1, "nope": 1, "null": "degree"})
    assert [e.where for e in caught.value.errors] == [
        "recipe microns-v1: option 'nope'",
        "min_synapses",
        "null",
    ]


def test_an_extending_recipe_tells_all_faults(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(GOOD)
    child = tmp_path / "child.toml"
    child.write_text(
        """extends = "base.toml"
[[pass]]
use = "keep-kore"
after = "sauce"
k = 0
[set]
degree = "inn"
nonsense = 1
"""
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(child)
    wheres = [e.where.removeprefix(f"{tmp_path}/") for e in caught.value.errors]
    assert wheres == [
        "child.toml: pass 'keep-kore'",
        "child.toml: pass keep-core: stage 'sauce'",
        "recipe child: option 'nonsense'",
        "degree",
    ]


def test_errors_call_an_option_as_the_user_did() -> None:
    given = {"min_synapses": -1, "null": "degree", "split-flow.skip": "kep", "noise_std": -1.0}
    with pytest.raises(RecipeError) as caught:
        load_recipe("microns-v1", given).make()
    found = {e.where: e.hint for e in caught.value.errors}
    assert found.keys() == given.keys()
    assert found["null"] == "did you mean 'degrees'?"
    assert found["split-flow.skip"] == "did you mean 'keep'?"
    with pytest.raises(CompileError, match=r"^edges: is not set and has no default") as missing:
        load_recipe("table").make()
    assert missing.value.hint == "--set edges=FILE"


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


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_valid_and_their_options_reach_a_field(name: str) -> None:
    required = needed(name)
    recipe = load_recipe(name, required)
    assert recipe.name == name
    assert recipe.title == shipped()[name]
    for stage in recipe.stages.values():
        stage.make()
    for short, paths in recipe.aliases.items():
        for path in paths:
            stage_id, _, option = path.rpartition(".")
            stage = recipe.stages[stage_id]
            assert option in option_types(find(stage.kind, stage.use)), short
    assert recipe.source.make().name == recipe.source.use


def test_the_shipped_recipes_are_those_of_the_issue() -> None:
    assert {"microns-v1", "microns-v1-surrogate", "microns-v1-dale"} <= set(recipe_names())
    assert load_recipe("microns-v1-surrogate").source.make().source == "statistics"


@pytest.mark.parametrize("name", [n for n in recipe_names() if "null" in load_recipe(n).aliases])
def test_one_word_is_the_seed_of_all_that_is_drawn(name: str) -> None:
    given = needed(name)

    def seeds(**settings: int) -> tuple[int, int | None]:
        recipe = load_recipe(name, {**given, "null": "degrees", **settings})
        null = next(s.make() for s in recipe.passes if s.use == "null-model")
        return null.null_seed, getattr(recipe.source.make(), "seed", None)

    draws = seeds()[1] is not None
    assert seeds(null_seed=4) == (4, 0 if draws else None)
    if draws:  # whichever is given first
        assert seeds(seed=3) == (3, 3)
        assert seeds(seed=3, null_seed=4) == seeds(null_seed=4, seed=3) == (4, 3)
        return
    with pytest.raises(CompileError, match=r"option 'seed'.*\n.*did you mean 'null_seed'"):
        seeds(seed=3)


def test_two_names_of_one_option() -> None:
    for name in ("min_synapses", "min_weight"):
        recipe = load_recipe("microns-v1", {name: 2})
        assert recipe.stages["drop-weak-connections"].make().min_weight == 2
    with pytest.raises(CompileError, match="min_synapses and min_weight both set") as caught:
        load_recipe("microns-v1", {"min_synapses": 2, "min_weight": 3})
    assert caught.value.hint == "leave one out"
    with pytest.raises(CompileError, match=r"options.both: must be stage.field, not 3"):
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
        ("n = " + "1" * 5_000, "contains a number with too many digits"),
        ("set" + ".a" * 5_000 + " = 1", "tables or lists nested more than 16 deep"),
        ("x = " + "[" * 200 + "]" * 200, "more than 16 deep"),
        (passes + '[source]\nuse = "synthetic"\n[template]\nuse = "bionic"\n', "has 101 passes"),
    ):
        with pytest.raises(CompileError, match=words):
            parse("toy.toml", page)
    path = tmp_path / "long.toml"
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(CompileError, match="the limit is 1,048,576"):
        load_recipe(path)
    with pytest.raises(UnknownNameError):  # too long for a file
        load_recipe("x" * 5_000)
