"""What all tests share: options, golden files, real data, hypothesis settings."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

# One thread each: tests run side by side, and threads that wait for a core spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
sys.path.append(str(TESTS))  # so that any test can say: from strategies import graphs

# What is ignored here is ignored in every process that a test starts: a shell's background jobs
# ignore Ctrl-C, and nohup a closed terminal. Tests of signals need them.
for end in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:
    if signal.getsignal(end) is signal.SIG_IGN:
        signal.signal(end, signal.SIG_DFL)

# The machine may be busy: no deadline. The example that failed prints as a line to paste. Each run
# draws the same examples, so that what fails fails for everyone; slow runs look for new ones.
settings.register_profile("shared", deadline=None, max_examples=50, derandomize=True)
settings.register_profile(
    "search", deadline=None, max_examples=50, derandomize=False, print_blob=True
)
settings.load_profile("shared")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--run-slow"):
        settings.load_profile("search")


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """A test draws the same numbers whichever tests ran before it in its process."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden; review the diff"
    )
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow") or "slow" in config.getoption("markexpr"):
        return
    skip = pytest.mark.skip(reason="slow: run with --run-slow")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with ``tests/golden/<name>``; ``pytest --update-golden`` rewrites it."""

    def compare(name: str, text: str) -> None:
        path = TESTS / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        if not path.exists():
            pytest.fail(f"nothing is recorded as {name}: run pytest --update-golden")
        assert text == path.read_bytes().decode()

    return compare


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data; tests that need it are skipped where there is none."""
    folder = os.environ.get("CCOMPILE_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set CCOMPILE_TEST_DATA to its folder")
    return Path(folder)
