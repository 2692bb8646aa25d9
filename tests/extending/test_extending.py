"""An outside package with an adapter, a law, a pass and a spiking style: known by entry points.

`spiking_nets` is installed here as pip would: its folder is on the path, with a ``dist-info`` that
lists its entry points. docs/extending.md is written from it.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from connectome_compiler import registry
from connectome_compiler.analysis import analyse
from connectome_compiler.certify.certificate import validate
from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.importing import load_alone
from connectome_compiler.certify.meaning import meaning_of
from connectome_compiler.certify.process import probe
from connectome_compiler.emit.render import render
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import Graph
from connectome_compiler.passes.set_dynamics import SetDynamics
from connectome_compiler.passes.set_weights import SetWeights
from connectome_compiler.pipeline import Built, build, load_graph
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.recurrent.style import Recurrent
from connectome_compiler.views import catalogue, report

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "extending.md"


def install(project: dict[str, Any], folder: Path) -> None:
    """Write what an installer writes of a project's name and entry points."""
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata)
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the package on the path of this process and of those that it starts."""
    site = tmp_path / "site"
    install(tomllib.loads((HERE / "pyproject.toml").read_text())["project"], site)
    for folder in (HERE, site):
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{site}")
    registry._plugins.cache_clear()
    yield
    registry._plugins.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "spiking_nets"]:
        del sys.modules[name]


@pytest.fixture
def built(installed: None, tmp_path: Path) -> Built:
    with pytest.warns(UserWarning, match="modelled, not measured"):
        return build(HERE / "ring.toml", tmp_path / "ring.py", verify=False)


def test_it_builds_certifies_saves_and_loads(built: Built, tmp_path: Path) -> None:
    path, saved = built.written[-1], built.graph.save(tmp_path / "graph")
    certificate = validate(path, saved)
    assert certificate.style == "lif from spiking-nets 1.0"
    assert "  style lif from spiking-nets 1.0" in certificate.lines()
    assert any("saved graph, one by one" in check for check in certificate.checks)
    assert Graph.load(saved).digest() == built.graph.digest()
    module: Any = load_alone(path)
    net, other = module.build(), module.build()
    spikes = net.rates(net.example_input(3, 40))["neurons"]
    assert spikes.shape == (40, 3, 24)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    output, _ = net(net.example_input(3, 40))
    output.square().mean().backward()
    assert net.synapses.weight.grad.any()
    torch.save(net.state_dict(), tmp_path / "trained.pt")
    other.load_state_dict(torch.load(tmp_path / "trained.pt"))
    assert torch.equal(other(net.example_input(3))[0], net(net.example_input(3))[0])


def test_it_is_looked_into_like_others(built: Built) -> None:
    path = built.written[-1]
    assert "spiking-ring, A ring of neurons" in report.of_target(str(path))
    assert analyse(path, n_inputs=4, n_seeds=1).class_name == "SpikingRing"


def test_what_it_does_not_carry_is_refused(installed: None) -> None:
    style = registry.find("template", "lif")()
    with pytest.warns(UserWarning, match="modelled"):
        graph = load_graph(HERE / "ring.toml")
    leaky = graph.run(SetDynamics())
    with pytest.raises(CompileError, match=r"lif: neurons: has units Leaky\(") as found:
        style.emit(leaky, "ring")
    way = 'add [[pass]] use = "set-dynamics" with tau_per = "fixed" and bias_per = "none"'
    assert found.value.hint == f"{way}, or use the recurrent style"
    assert style.emit(leaky.run(SetDynamics(tau_per="fixed", bias_per="none")), "ring")
    assert Recurrent().emit(leaky, "ring")
    tied = graph.run(SetWeights(share="pre-type"))
    with pytest.raises(CompileError, match=r"has weights held as Tied\(") as found:
        style.emit(tied, "ring")
    assert found.value.hint == 'add [[pass]] use = "set-weights", or use the recurrent style'
    with pytest.raises(CompileError) as found:
        Bionic().emit(graph, "ring")
    assert found.value.hint.endswith("use the lif or recurrent style")  # plugins are asked, too
    assert "Leaky (tau_per" in catalogue.one("lif")


EDITS = {
    "no reset": ("+ self.synapses(spikes) - spikes", "+ self.synapses(spikes)", "forward"),
    "no leak": ("self.decay * potential", "potential", "forward"),
    "another threshold": ("(potential > 1)", "(potential > 1.01)", "forward"),
    "deaf": ("self.synapses(spikes)", "0 * self.synapses(spikes)", "forward"),
    "another slope": ("sigmoid(4 *", "sigmoid(5 *", "has another gradient"),
    "no slope": (
        "slope - slope.detach()",
        "slope.detach() - slope.detach()",
        "has another gradient",
    ),
    "signs turned": ('"neurons->neurons.sign"]', '"neurons->neurons.sign"].neg()', "other signs"),
    "a state that is lost": ("if state is None:", "if True:", "goes on from its state"),
    "it needs the package": ("import torch\n", "import spiking_nets\nimport torch\n", "import"),
    "it needs the compiler": ("import torch\n", "import connectome_compiler\nimport torch\n", ""),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_tampered_module_is_refused(edit: str, built: Built) -> None:
    was, to, message = EDITS[edit]
    path = built.written[-1]
    source = path.read_text()
    assert was in source
    path.write_text(source.replace(was, to, 1))
    with pytest.raises(Wrong) as found:
        probe(path, None)
    assert message in f"{found.value.where}: {found.value.problem}"


def test_without_the_package_nobody_knows_what_its_modules_compute(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(VerifyError, match="made with the style 'lif', which is not installed") as e:
        validate(built.written[-1])
    assert e.value.hint == "install the package that has it"


def test_a_meaning_that_cannot_be_read_is_the_packages_fault(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(HERE / "spiking_nets", tmp_path / "mended" / "spiking_nets")
    meaning = tmp_path / "mended" / "spiking_nets" / "meaning.py"
    meaning.write_text(f"{meaning.read_text()}\nif so\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'mended'}:{tmp_path / 'site'}")
    with pytest.raises(VerifyError, match="a meaning that cannot be imported: SyntaxError") as e:
        validate(built.written[-1])
    assert e.value.hint == "mend what provides it"


def test_its_law_is_saved_as_a_law(installed: None, tmp_path: Path) -> None:
    graph = registry.find("adapter", "ring")(n_neurons=12, radius=2).load()
    graph.verify()
    assert graph.n_connections == 12 * 4
    again = Graph.load(graph.save(tmp_path / "graph"))
    assert again.digest() == graph.digest()
    assert again.projections[0].connectivity == graph.projections[0].connectivity


def test_its_pass_keeps_the_strongest(installed: None) -> None:
    with pytest.warns(UserWarning, match="modelled"):
        graph = load_graph(HERE / "ring.toml", most=2)
    (inner,) = graph.connectome
    assert (inner.synapses.post == [k // 2 for k in range(48)]).all()


def test_a_package_of_one_module_says_its_meaning_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"connectome_compiler.templates": {"plain": "one_module:Plain"}}
    project = {"name": "one", "version": "0.1", "entry-points": points}
    install(project, tmp_path)
    (tmp_path / "one_module.py").write_text("class Plain: ...\nMEANING = 'its meaning'\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry._plugins.cache_clear()
    try:
        found: object = meaning_of({"template": "plain(steps=3)"})
        assert found == "its meaning"
        (tmp_path / "one_module.py").write_text("class Plain: ...\n")
        sys.modules.pop("one_module")
        with pytest.raises(CompileError, match="style 'plain': has no meaning"):
            meaning_of({"template": "plain()"})
    finally:
        sys.modules.pop("one_module", None)
        registry._plugins.cache_clear()


def test_the_docs_show_the_package_as_it_is() -> None:
    blocks = re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len({name for name, _ in blocks}) >= 6
    for name, text in blocks:
        whole = (HERE / name).read_text()
        for part in re.split(r"^ *(?:#|\{#) \.\.\.(?: #\})?\n", text, flags=re.M):  # left out
            assert part.strip("\n") in whole, f"{name}:\n{part}"


def test_the_commands_of_the_docs_run(installed: None, tmp_path: Path) -> None:
    (tmp_path / "ring.toml").write_text((HERE / "ring.toml").read_text())
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    install_it, *commands = block.splitlines()
    assert install_it == "pip install ./spiking-nets"  # what `installed` did
    assert len(commands) >= 3
    for line in commands:
        program, *words = shlex.split(line, comments=True)
        assert program == "ccompile"
        command = [sys.executable, "-P", "-m", "connectome_compiler", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_template_that_was_not_installed_is_named(installed: None) -> None:
    """Installers leave out what is not Python, unless pyproject.toml lists it."""
    listed = tomllib.loads((HERE / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert listed["package-data"] == {"spiking_nets": ["*.jinja"]}
    with pytest.raises(CompileError, match=r"template spiking_nets:lost.jinja: there is no file"):
        render("spiking_nets:lost.jinja", {})
