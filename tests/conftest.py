"""What all tests share: kinds by folder, no silent skip, no silent second try, a budget per kind, hypothesis.

The kind of a test is the first folder under tests/ when that is one of KINDS, otherwise `unit`. The
marks come from here and from nowhere else, so a test cannot sit in one folder and count as another.
"""

import os
from collections import Counter
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
EXPECTED_SKIPS = HERE / "expected-skips.txt"

# Seconds a whole kind may take on a small two-core machine: what CI runs is 80 minutes, for two workers 40, and
# leaves the rest of an hour to setting up and to the radios. Going over is shown, not failed: a slow machine is
# no fault of the code, and no test asserts how long something took.
BUDGET = {
    "unit": 420,
    "architecture": 60,
    "bad": 60,
    "fuzz": 120,
    "radius": 180,
    "kernel": 360,
    "lab": 2100,
    "delivery": 120,
    "browser": 300,
    "deploy": 120,
    "system": 1140,
    "bench": 600,
    "soak": 3600,
}
MARKED = (
    "fuzz",
    "kernel",
    "radius",
    "lab",
    "delivery",
    "browser",
    "deploy",
    "system",
    "bench",
    "soak",
)
# So many tests on real parts may need a second try in one run. More is no bad moment of the machine any more.
UNSTEADY = 3
# One generous limit against hanging per kind, where the one of pyproject.toml is too short.
PATIENCE = {
    "fuzz": 7200,
    "kernel": 300,
    "lab": 600,
    "browser": 300,
    "deploy": 600,
    # The first one debootstraps.
    "system": 1500,
    "bench": 900,
    "soak": 3600,
}

settings.register_profile(
    "fast", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "deep", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(scope="session")
def example():
    """The policy of the example hospital, as `rules/` says today."""
    from netguard.rules.folder import read_folder
    from netguard.rules.load import load

    loaded = load(read_folder(HERE.parent / "rules", "rules"), today=date(2026, 11, 22))
    assert loaded.policy is not None, [finding.render() for finding in loaded.findings]
    return loaded.policy


@pytest.fixture(scope="session")
def small():
    """Build the small hospital of tests/bad/base, with some of its files replaced by texts."""
    from netguard.rules.folder import Folder, read_folder
    from netguard.rules.load import load

    base = read_folder(HERE / "bad" / "base", "rules")

    def build(**files):
        changed = {
            name.replace("__", "/") + suffix_of(name, base): text for name, text in files.items()
        }
        contents = {**base.files, **{name: text.encode() for name, text in changed.items()}}
        loaded = load(Folder("rules", contents), today=date(2026, 11, 22))
        assert loaded.policy is not None, [finding.render() for finding in loaded.findings]
        return loaded.policy

    return build


def suffix_of(name: str, base) -> str:
    """Complete `groups` to `groups.yaml` and `tablets` to `tablets.csv`."""
    return ".csv" if f"{name}.csv" in base.files else ".yaml"


def kind_of(path: Path) -> str:
    """Name the kind of the test in this file."""
    parts = path.relative_to(HERE).parts if path.is_relative_to(HERE) else ()
    return parts[0] if len(parts) > 1 and parts[0] in BUDGET else "unit"


def pytest_addoption(parser):
    parser.addoption(
        "--strict-skips",
        action="store_true",
        help="fail when a test is skipped that tests/expected-skips.txt does not list",
    )
    parser.addoption(
        "--second-try",
        action="store_true",
        help=f"let at most {UNSTEADY} tests on real parts fail once, and name them at the end",
    )


def pytest_configure(config):
    config.pluginmanager.register(Books(config), "netguard-books")


# What takes long begins first: two streams of tests end at about the same time then.
FIRST = ("lab", "system", "kernel", "deploy", "browser", "delivery", "radius", "fuzz")


def pytest_collection_modifyitems(config, items):
    last = len(FIRST)
    rank = {kind: number for number, kind in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(kind_of(item.path), last))
    for item in items:
        kind = kind_of(item.path)
        if kind in MARKED:
            item.add_marker(getattr(pytest.mark, kind))
            if config.getoption("--second-try"):
                item.add_marker(pytest.mark.flaky(reruns=1))
        if kind in PATIENCE and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PATIENCE[kind]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each kind that stands on real parts to one of the workers, whole; of the others each file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByKind(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.split("::", 1)[0]
            kind = kind_of(HERE.parent / path)
            return kind if kind in MARKED else path

    config.option.loadscopereorder = False
    return ByKind(config, log)


@pytest.fixture
def root():
    """Skip without root. `make test` is root and fails on every skip; `make check` is not."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts, or changes files of the machine")


def expected_skips() -> list[str]:
    """Read the patterns of tests that may be skipped; each has its reason after a #."""
    lines = EXPECTED_SKIPS.read_text(encoding="utf-8").splitlines()
    return [name for line in lines if (name := line.split("#")[0].strip())]


class Books:
    """Keeps the time used per kind, the skips and the second tries, and closes all three at the end."""

    def __init__(self, config):
        self.strict = config.getoption("--strict-skips")
        self.used = Counter()
        self.tests = Counter()
        self.skipped = {}
        self.unsteady = {}

    def pytest_runtest_logreport(self, report):
        kind = kind_of(HERE.parent / report.fspath)
        self.used[kind] += report.duration
        if report.outcome == "rerun":
            self.unsteady[report.nodeid] = str(report.longrepr)
        else:
            self.tests[kind] += report.when == "call"
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped[report.nodeid] = _reason(report)

    def pytest_collectreport(self, report):
        if report.skipped:
            self.skipped[report.nodeid] = _reason(report)

    def unexpected(self):
        patterns = expected_skips()
        return {
            name: why
            for name, why in self.skipped.items()
            if not any(fnmatchcase(name, pattern) for pattern in patterns)
        }

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        wrong = (self.strict and self.unexpected()) or len(self.unsteady) > UNSTEADY
        if exitstatus == 0 and wrong:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if self.strict and (unexpected := self.unexpected()):
            terminalreporter.section("skipped without being expected", red=True)
            for name, why in sorted(unexpected.items()):
                terminalreporter.line(f"{name}: {why}")
            terminalreporter.line(
                f"failed: {len(unexpected)} skips that tests/expected-skips.txt does not list"
            )
        if self.unsteady:
            terminalreporter.section("failed at the first try, each is to be mended", red=True)
            for name, why in sorted(self.unsteady.items()):
                terminalreporter.line(f"{why}\nfirst try: {name}\n")
            if len(self.unsteady) > UNSTEADY:
                text = f"failed: {len(self.unsteady)} second tries, {UNSTEADY} are allowed"
                terminalreporter.line(text)
        terminalreporter.section("time per kind")
        terminalreporter.line(f"{'kind':14}{'tests':>8}{'used':>10}{'budget':>10}")
        for kind, budget in BUDGET.items():
            if kind in self.used:
                over = "   over" if self.used[kind] > budget else ""
                terminalreporter.line(
                    f"{kind:14}{self.tests[kind]:>8}{self.used[kind]:>8.1f} s{budget:>8} s{over}"
                )


def _reason(report):
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
