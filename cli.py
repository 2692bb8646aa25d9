"""The command line: words to calls, no logic. Heavy imports happen inside the command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from connectome_compiler import __version__
from connectome_compiler.errors import CompileError, UnknownNameError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from connectome_compiler.ir.graph import Graph
    from connectome_compiler.passes.runner import Ran

T = TypeVar("T")


class Commands(click.Group):
    """Print errors raised on purpose without a traceback: exit code 1 (misuse is 2)."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except CompileError as error:
            notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
            click.echo(f"Error: {error}{notes}", err=True)
        except KeyboardInterrupt:
            click.echo("Error: interrupted: nothing half-written is left; run it again", err=True)
        except BrokenPipeError:
            sys.stderr.close()  # the reader has gone: `ccompile list | head`
        return ctx.exit(1)


class RecipeName(click.ParamType[str]):
    """The name of a shipped recipe, or a ``.toml`` file."""

    name = "recipe"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer shipped recipes and files."""
        from importlib import resources

        from click.shell_completion import CompletionItem

        files = resources.files("connectome_compiler.recipes").iterdir()
        names = sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))
        found = [CompletionItem(n) for n in names if n.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ccompile")
def main() -> None:
    """Compile a connectome into a PyTorch module.

    \b
    ccompile build microns-v1 --out model.py
    ccompile inspect model.py
    ccompile list
    """  # noqa: D301  \b keeps click from joining the lines


SETTING = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option: by its short name, or stage.field (see: ccompile list RECIPE).",
)


@main.command()
@click.argument("recipe", type=RecipeName())
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("model.py"),
    show_default=True,
    help="Module to write; its arrays go beside it.",
)
@SETTING
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
    require: str,
    verify: bool,
    print_after: tuple[str, ...],
    save_after: tuple[str, ...],
) -> None:
    """Compile RECIPE into a PyTorch module, for example microns-v1 or my.toml."""
    from connectome_compiler.pipeline import build as line
    from connectome_compiler.recipe import load_recipe
    from connectome_compiler.views import report

    chosen = load_recipe(recipe, settings)
    stages = ["source", "all", *(s.use for s in chosen.passes)]
    for option, names in (("--print-after", print_after), ("--save-after", save_after)):
        for name in names:
            if name not in stages:
                raise UnknownNameError.among(f"{option}: pass", name, stages)
    saved: list[Path] = []

    def show(name: str, graph: Graph) -> None:
        if name in print_after or "all" in print_after:
            click.echo(f"--- after {name}\n{graph!r}\n")
        if name in save_after or "all" in save_after:
            folder = out.with_suffix(".graphs") / f"{len(saved):02d}-{name}"
            saved.append(graph.save(folder))

    def loaded(graph: Graph) -> None:
        if not graph.provenance.measured:
            click.echo(f"Warning: {report.modelled(graph)}", err=True)
        show("source", graph)

    def after(ran: Ran) -> None:
        show(ran.step.name, ran.graph)

    built = _with_status(
        f"building {chosen.name}",
        lambda: line(chosen, out, verify=verify, require=require, loaded=loaded, after=after),
    )
    click.echo(report.of_build(built, saved))


@main.command()
@click.argument("module", type=click.Path(path_type=Path))
@click.option(
    "--graph",
    type=click.Path(path_type=Path),
    help="Compare every connection with this saved graph (build --save-after).",
)
def verify(module: Path, graph: Path | None) -> None:
    """Check that MODULE does what its graph says, in a fresh process."""
    from connectome_compiler.emit.validate import validate

    certificate = _with_status(f"verifying {module}", lambda: validate(module, graph))
    click.echo("\n".join(certificate.lines()))


@main.command()
@click.argument("target")
@SETTING
def inspect(target: str, settings: tuple[str, ...]) -> None:
    """Summarise TARGET: a recipe, a saved graph's folder, or a built module."""
    from connectome_compiler.views import report

    click.echo(_with_status(f"reading {target}", lambda: report.of_target(target, settings)))


@main.command(name="list")
@click.argument("name", required=False)
def list_(name: str | None) -> None:
    """List recipes, adapters, passes and templates; with NAME, what it takes."""
    from connectome_compiler.views import catalogue

    click.echo(catalogue.everything() if name is None else catalogue.one(name))


@main.command()
@click.argument("recipe", type=RecipeName())
@SETTING
def fetch(recipe: str, settings: tuple[str, ...]) -> None:
    """Download the files of RECIPE's source into the cache, checked by hash."""
    from connectome_compiler.recipe import load_recipe

    source = load_recipe(recipe, settings).source
    adapter = source.make()
    if not hasattr(adapter, "fetch"):
        raise CompileError(f"source {source.use}", "has nothing to download")
    for path in adapter.fetch():
        click.echo(path)


def _with_status(words: str, work: Callable[[], T]) -> T:
    """Show that something is going on, on a terminal's standard error only."""
    if not sys.stderr.isatty():
        return work()
    from rich.console import Console

    with Console(stderr=True).status(words):
        return work()
