"""The command line: words to calls, no logic. Heavy imports happen inside the command."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar

import click

from connectome_compiler import __version__
from connectome_compiler.errors import CompileError, UnknownNameError, out_of_memory
from connectome_compiler.text import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from connectome_compiler.ir.graph import Graph
    from connectome_compiler.passes.runner import Ran
    from connectome_compiler.questions.answer import Answer

T = TypeVar("T")
UNPRINTED = "connectome_compiler.unprinted"  # what kept a result from being printed


class Commands(click.Group):
    """Print errors raised on purpose without a traceback: exit code 1 (usage errors are 2)."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and report what stopped it."""
        try:
            done = super().invoke(ctx)
            if UNPRINTED in ctx.meta:
                raise ctx.meta[UNPRINTED]
            return done
        except CompileError as error:
            notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
            _tell(f"Error: {error}{notes}")
        except KeyboardInterrupt:
            _say("")
            _tell("Error: interrupted: no partial files are left; run it again")
        except BrokenPipeError:
            pass  # the reader has gone: `ccompile list | head`
        except Exception as error:
            if out_of_memory(error):
                hint = "close other programs, or choose options that need less memory"
                _tell(f"Error: {ctx.invoked_subcommand}: not enough memory\n  hint: {hint}")
            elif isinstance(error, OSError):  # a full disk, a folder that vanished: not a bug
                where = error.filename or "output"
                problem = error.strerror or error
                hint = "free some space or choose another"
                if error is ctx.meta.get(UNPRINTED):
                    hint = "only the report is lost; the files it lists are written"
                _tell(f"Error: {where}: {problem}\n  hint: {hint}")
            else:
                raise
        return ctx.exit(1)


class Place(click.Path):
    """A path; no system has one with a NUL in it."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what cannot be a file name."""
        if "\0" in str(value):
            self.fail(f"{str(value)!r} contains a NUL character", param, ctx)
        return super().convert(value, param, ctx)


class RecipeName(click.ParamType[str]):
    """The name of a shipped recipe, or a ``.toml`` file."""

    name = "recipe"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer shipped recipes and files."""
        from click.shell_completion import CompletionItem

        from connectome_compiler.registry import recipe_names

        found = [CompletionItem(n) for n in recipe_names() if n.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


class AnyName(RecipeName):
    """The name of a recipe, adapter, pass or template."""

    name = "name"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer everything that is installed, besides recipes."""
        from click.shell_completion import CompletionItem

        from connectome_compiler.registry import known
        from connectome_compiler.views.catalogue import KINDS

        names = sorted({name for kind in KINDS for name in known(kind)})
        found = [CompletionItem(n) for n in names if n.startswith(incomplete)]
        return found + super().shell_complete(ctx, param, incomplete)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ccompile")
def main() -> None:
    """Compile a connectome into a PyTorch module.

    \b
    ccompile build microns-v1 --out model.py    a mouse V1 column, as a module
    ccompile inspect model.py                   what it contains, and where it comes from
    ccompile ask celegans neuron AVAL           questions of a connectome
    ccompile list                               everything else that is installed
    """  # noqa: D301  \b keeps click from joining the lines


SETTING = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option, by its name or as stage.field (see: ccompile list RECIPE).",
)
PASS = click.option(
    "--pass",
    "passes",
    multiple=True,
    metavar="'PASS after STAGE'",
    help="Add a pass, after or before a stage; PASS may be FILE.py:NAME, whose code is run.",
)


@main.command()
@click.argument("recipe", type=RecipeName())
@click.option(
    "--out",
    type=Place(),
    default=Path("model.py"),
    show_default=True,
    help="Module to write; its arrays are written beside it.",
)
@SETTING
@PASS
@click.option(
    "--require",
    type=click.Choice(["any", "measured"]),
    default="any",
    show_default=True,
    help="Refuse connectivity that is not measured.",
)
@click.option("--verify/--no-verify", default=True, help="Check the module in a fresh process.")
@click.option("--print-after", multiple=True, metavar="PASS", help="Print the graph after a pass.")
@click.option(
    "--save-after",
    multiple=True,
    metavar="PASS",
    help="Save the graph after a pass (or: source, all) in a folder beside the module.",
)
def build(
    recipe: str,
    out: Path,
    settings: tuple[str, ...],
    passes: tuple[str, ...],
    require: str,
    verify: bool,
    print_after: tuple[str, ...],
    save_after: tuple[str, ...],
) -> None:
    """Compile RECIPE into a PyTorch module.

    RECIPE is a shipped one, such as microns-v1 (see: ccompile list), or a file, such as my.toml.
    """
    from connectome_compiler.ir.provenance import NULL_MODEL
    from connectome_compiler.ir.stages import kept_stages
    from connectome_compiler.pipeline import build as line
    from connectome_compiler.recipe import load_recipe
    from connectome_compiler.views import report

    chosen = load_recipe(recipe, settings, passes)
    made = chosen.make()
    stages = [("source", "source"), *zip(made.ids, (p.name for p in made.passes), strict=True)]
    known = [*dict.fromkeys(name for names in stages for name in names), "all"]
    for option, names in (("--print-after", print_after), ("--save-after", save_after)):
        for name in names:
            if name not in known:
                raise UnknownNameError.among(f"{option}: pass", name, known)
    saved: list[Path] = []
    order = [*chosen.stages]  # including omitted passes: a stage has the same number in all builds
    reached = iter(stages)

    def show(graph: Graph) -> None:
        _say("")
        id_, name = next(reached)
        called = {"all", id_, name}
        if called & set(print_after):
            _print(f"--- after {id_}\n{graph!r}\n")
        if called & set(save_after):
            saved.append(keep(f"{order.index(id_):02d}-{name}", graph))
        last = (id_, name) == stages[-1]
        making = "making and checking the module" if verify else "making the module"
        _say(f"building {chosen.name}: {making if last else f'{id_} done'}")

    def loaded(graph: Graph) -> None:
        _say("")
        if not graph.provenance.measured:
            _tell(f"Warning: {graph.provenance.caveat}")
        show(graph)

    def after(ran: Ran) -> None:
        _say("")
        if ran.step.name == NULL_MODEL and ran.step.notes:
            _tell(f"Warning: {ran.graph.provenance.caveat}")
        show(ran.graph)

    with kept_stages(out.parent / f"{out.stem}.graphs") as keep:
        built = _with_status(
            f"building {chosen.name}: reading {chosen.source.use}",
            lambda: line(chosen, out, verify=verify, require=require, loaded=loaded, after=after),
        )
    _print(report.of_build(built, saved))


@main.command()
@click.argument("module", type=Place())
@click.option(
    "--graph",
    type=Place(),
    help="Compare every connection with this saved graph (build --save-after).",
)
def verify(module: Path, graph: Path | None) -> None:
    """Check that MODULE does what its graph says.

    The module is imported in a fresh process, which runs its code: verify only what you trust.
    """
    from connectome_compiler.certify.certificate import validate

    certificate = _with_status(f"verifying {module}", lambda: validate(module, graph))
    _print("\n".join(certificate.lines()))


@main.command()
@click.argument("module", type=Place())
@click.option(
    "--out",
    type=Place(),
    required=True,
    help="Folder for checkpoint, weights, history and pictures.",
)
@click.option("--task", type=click.Choice(["swim"]), default="swim", show_default=True)
@click.option(
    "--method",
    type=click.Choice(["es", "ppo"]),
    default="es",
    show_default=True,
    help="Evolution strategies, or proximal policy optimisation.",
)
@click.option(
    "--policy",
    type=click.Choice(["module", "mlp"]),
    default="module",
    show_default=True,
    help="Train MODULE's network, or a multilayer perceptron in the same body.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option of MODULE's build(), such as n_joints, or of the method: es.sigma.",
)
@click.option(
    "--seed", default=0, show_default=True, help="Seed of initial weights, noise and episodes."
)
@click.option(
    "--iterations", default=50, show_default=True, help="Iteration to end at, counted from 0."
)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in the folder.")
def train(module: Path, out: Path, **options: Any) -> None:
    """Train MODULE, a controller that maps joints to torques.

    Needs the extra [swimmer]. The module is imported, which runs its code: train only what you
    trust. Ctrl-C leaves a checkpoint from which --resume continues.
    """
    from connectome_compiler.tasks.train import train as training

    try:
        trained = training(module, out, say=_say, **options)
    finally:
        _say("")
    _print("\n".join(trained.lines()))


@main.command()
@click.argument("module", type=Place())
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option of MODULE's build(), such as turn_control=true.",
)
@click.option(
    "--inputs", default=64, show_default=True, help="Random inputs for each initialisation."
)
@click.option("--seeds", default=3, show_default=True, help="Starts.")
@click.option(
    "--state",
    type=Place(),
    help="A saved state, such as one that was trained, in the place of the starts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def analyse(
    module: Path,
    settings: tuple[str, ...],
    inputs: int,
    seeds: int,
    state: Path | None,
    as_json: bool,
) -> None:
    """Find what has no effect in MODULE.

    Parameters that change no output, weights without a gradient at initialisation, units in the
    flat part of their activation, and the closed form if there is one; of a recurrent network,
    whether it is stable. The module is imported, which runs its code: analyse only what you trust.
    """
    import json

    from connectome_compiler.analysis import analyse as analysis

    _say(f"analysing {module}")
    try:
        found = analysis(
            module, options=settings, n_inputs=inputs, n_seeds=seeds, state=state, say=_say
        )
    finally:
        _say("")
    _print(json.dumps(found.as_dict(), indent=2) if as_json else str(found))


@main.command()
@click.argument("target", type=RecipeName())
@SETTING
@PASS
def inspect(target: str, settings: tuple[str, ...], passes: tuple[str, ...]) -> None:
    """Summarise a recipe, a graph, a module, or a file of connections.

    TARGET is a recipe (name or file), a saved graph's folder, or a built module, which is read and
    not run. Of a file of connections it shows how the recipe table would read it, and what it asks;
    the options of table follow as --set. Nothing is built.
    """
    from connectome_compiler.views import report

    _print(_with_status(f"reading {target}", lambda: report.of_target(target, settings, passes)))


@main.group()
@click.argument("target", type=RecipeName())
@click.pass_context
def ask(ctx: click.Context, target: str) -> None:
    """Ask a question of a graph.

    TARGET is a recipe, a saved graph, or a built module.

    \b
    ccompile ask celegans-cook2019 neuron AVAL
    ccompile ask celegans-cook2019 paths ASHL 'role == "motor"' --max-steps 3
    ccompile ask celegans-cook2019 influence AVA --set min_synapses=3

    Neurons are named by their id, a cell type, a population, or an expression as above. Of a module
    it is the graph beside it (build --save-after), or what its recipe gives.
    """  # noqa: D301
    ctx.obj = target


def question(command: Callable[..., None]) -> Any:
    """Make a question of ``target`` of a function, with the options that all of them have."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, all rows.")
    as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print the first table as CSV.")
    for option in (as_csv, as_json, PASS, SETTING):
        command = option(command)
    return ask.command()(click.pass_obj(command))


@question
@click.argument("name")
def neuron(target: str, name: str, **how: Any) -> None:
    """Show the partners of the neuron NAME, by synapses, with types and signs."""
    _answer(target, lambda graph: graph.neuron(name), **how)


@question
@click.argument("sources")
@click.argument("targets")
@click.option("--max-steps", default=3, show_default=True, help="Connections of a path, at most.")
@click.option(
    "--by",
    type=click.Choice(["product", "min"]),
    default="product",
    show_default=True,
    help="Strength: the product of shares of input, or the least weight.",
)
@click.option("--strongest", default=10, show_default=True, help="How many paths to list.")
def paths(
    target: str,
    sources: str,
    targets: str,
    max_steps: int,
    by: Literal["product", "min"],
    strongest: int,
    **how: Any,
) -> None:
    """Count the paths from SOURCES to TARGETS, and list the strongest."""
    _answer(
        target,
        lambda graph: graph.paths(sources, targets, max_steps, by=by, strongest=strongest),
        **how,
    )


@question
@click.argument("seeds", nargs=-1, required=True)
@click.option("--unsigned", is_flag=True, help="Count all connections as excitatory.")
def influence(target: str, seeds: tuple[str, ...], unsigned: bool, **how: Any) -> None:
    """List the neurons that constant activity of SEEDS would act on most."""
    _answer(target, lambda graph: graph.influence(seeds, signed=not unsigned), **how)


@question
@click.option("--nulls", default=20, show_default=True, help="Random connectomes; 0 for none.")
@click.option(
    "--model", default="degrees", show_default=True, help="Null model (ccompile list null-model)."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the first.")
def motifs(target: str, nulls: int, model: str, seed: int, **how: Any) -> None:
    """Count reciprocal pairs and the ways in which three neurons are joined."""
    _answer(target, lambda graph: graph.motifs(nulls, model=model, seed=seed, say=_say), **how)


@ask.command()
@click.argument("which", nargs=-1, required=True)
@click.option("--out", type=Place(), help="Folder to save the smaller graph in.")
@SETTING
@PASS
@click.pass_obj
def select(
    target: str,
    which: tuple[str, ...],
    out: Path | None,
    settings: tuple[str, ...],
    passes: tuple[str, ...],
) -> None:
    """Summarise the graph of the neurons WHICH, and the connections among them."""
    from connectome_compiler.views import report

    smaller = _graph(target, settings, passes).select(which)
    if out is not None:
        smaller.save(out)
    _print(report.of_graph(smaller) + (f"\n\nsaved       {out}" if out else ""))


@main.command()
@click.argument("module", type=Place())
@click.argument("projection")
@click.argument("post")
@click.argument("pre")
@click.option("--graph", type=Place(), help="The graph that MODULE was built from.")
@click.option("--ids", is_flag=True, help="POST and PRE are ids of neurons, also where numbers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    module: Path,
    projection: str,
    post: str,
    pre: str,
    graph: Path | None,
    ids: bool,
    as_json: bool,
) -> None:
    """Explain a weight of a built module.

    It is the weight [POST, PRE] of PROJECTION in MODULE.

    \b
    ccompile explain worm.py 'neurons->neurons' AVBL AVAL
    ccompile explain column.py 'L4.exc->L2/3.exc' 12 40

    POST and PRE are places in their populations, as in the weight, or ids of neurons. The graph is
    taken from --graph, from beside the module (build --save-after), or made by the recipe that the
    module names. The module is read, and not run.
    """  # noqa: D301
    from connectome_compiler.views.explain import explain as explained

    answer = _with_status(
        f"explaining {module}",
        lambda: explained(module, projection, post, pre, graph, ids=ids),
    )
    _show(answer, as_json, as_csv=False)


@main.command()
@click.argument("before", type=RecipeName())
@click.argument("after", type=RecipeName())
@SETTING
@PASS
@click.option("--json", "as_json", is_flag=True, help="Print JSON, all rows.")
@click.pass_context
def diff(
    ctx: click.Context,
    before: str,
    after: str,
    settings: tuple[str, ...],
    passes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what differs between two graphs.

    That is what AFTER has gained, lost or changed, compared with BEFORE. Each is a recipe, a saved
    graph or a built module; --set and --pass change AFTER, a recipe.
    Exit code 0 if their graphs are equal, 1 if they differ.
    """
    old = _graph(before, (), ())
    new = _graph(after, settings, passes)
    answer = _with_status("comparing", lambda: old.diff(new))
    _show(answer, as_json, as_csv=False)
    if not answer.equal:
        ctx.exit(1)


def _graph(target: str, settings: tuple[str, ...], passes: tuple[str, ...]) -> Graph:
    """Return the graph that a question is about."""
    from connectome_compiler.views.targets import graph_of

    graph = _with_status(f"reading {target}", lambda: graph_of(target, settings, passes))
    if not graph.provenance.measured:
        _tell(f"Warning: {graph.provenance.caveat}")
    return graph


def _answer(
    target: str,
    asked: Callable[[Graph], Answer],
    settings: tuple[str, ...],
    passes: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
) -> None:
    """Print what is answered of a target."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    graph = _graph(target, settings, passes)
    _show(_with_status("answering", lambda: asked(graph)), as_json, as_csv)


def _show(answer: Answer, as_json: bool, as_csv: bool) -> None:
    import json

    if as_csv:
        _print(answer.to_pandas().to_csv(index=False).rstrip("\n"))
    else:
        _print(json.dumps(answer.as_dict(), indent=2) if as_json else answer)


@main.command()
@click.argument("target", type=RecipeName())
@click.option("--kind", default="populations", show_default=True, help="What to draw.")
@click.option(
    "--out",
    type=Place(),
    default=Path("picture.svg"),
    show_default=True,
    help="Picture to write: .svg, .pdf or .png.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option of the kind, such as by=population.",
)
@SETTING
@PASS
def plot(
    target: str,
    kind: str,
    out: Path,
    options: tuple[str, ...],
    settings: tuple[str, ...],
    passes: tuple[str, ...],
) -> None:
    """Draw the graph of a recipe, or a saved graph.

    Kinds are populations, lamina, raster, degrees, weights, distances and kernels; docs/pictures.md
    shows what each has. A file that ccompile did not write is left alone.
    """
    from connectome_compiler.plots import check_kind, saving
    from connectome_compiler.plots import plot as draw
    from connectome_compiler.recipe import as_settings

    given = as_settings(options, {})
    check_kind(kind, given)
    saving.check_path(out)
    graph = _graph(target, settings, passes)
    _print(saving.write(draw(graph, kind, options=given), out))


@main.command(name="list")
@click.argument("name", type=AnyName(), required=False)
@click.option("--toml", is_flag=True, help="Print the recipe NAME as a file to start from.")
def list_(name: str | None, toml: bool) -> None:
    """List what is installed, or the options of NAME.

    NAME is a recipe, adapter, pass or template.
    """
    from connectome_compiler.views import catalogue

    if toml:
        if name is None:
            raise click.UsageError("--toml needs the NAME of a recipe")
        from connectome_compiler.recipe import read_recipe

        _print(read_recipe(name).rstrip("\n"))
        return
    _print(catalogue.everything() if name is None else catalogue.one(name))


@main.command()
@click.argument("recipe", type=RecipeName())
@SETTING
def fetch(recipe: str, settings: tuple[str, ...]) -> None:
    """Download the data of RECIPE into the cache.

    Every file is checked by its hash. Later builds need no network.
    """
    from connectome_compiler.recipe import load_recipe

    chosen = load_recipe(recipe, settings)
    if told := dict(chosen.source.about()):
        hint = f"download from {told['download']} ({told['files']})"
        raise CompileError(f"recipe {recipe}", "its files are yours to download", hint)
    adapter = chosen.make().source
    if not hasattr(adapter, "fetch"):
        problem, hint = "has nothing to download", "its builds need no ccompile fetch"
        raise CompileError(f"source {chosen.source.use}", problem, hint)
    for path in adapter.fetch():
        _print(path)


def _with_status(words: str, work: Callable[[], T]) -> T:
    """Show a status line while a function runs."""
    _say(words)
    try:
        return work()
    finally:
        _say("")


def _say(words: str) -> None:
    """Show a status line on a terminal, on standard error; "" removes it.

    The cursor returns to the start of the line, so that whatever is printed next replaces it.
    """
    if sys.stderr.isatty():
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\r\x1b[2K{printable(words)[:78]}\r")
            sys.stderr.flush()


def _tell(words: str) -> None:
    """Print on standard error; a closed stream must not stop the work."""
    try:
        print(printable(words), file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _print(words: object) -> None:
    """Print a result. If that fails the command continues, and ends with the error."""
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        print(printable(str(words)), flush=True)
    except OSError as error:
        click.get_current_context().meta.setdefault(UNPRINTED, error)
        if sys.stdout is not None:
            _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    """Discard what a stream still buffers: the interpreter would try to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
