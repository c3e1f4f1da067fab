"""Change one place of a module at a time and see whether the tests notice: `python scripts/mutate.py MODULE...`.

Comparisons are turned, numbers moved, `and` and `or` swapped, conditions negated, statements of a call dropped.
Works on copies, one for each job, so what is edited meanwhile does not count and a run that is killed leaves the
checkout as it was. Prints the survivors; ends with 0 (a list to read, not a gate). Tests are those given by --tests,
stopped at the first failure.
"""

import argparse
import ast
import copy
import importlib
import multiprocessing
import multiprocessing.pool
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TURNED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
          ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}  # fmt: skip
SWAPPED = {ast.And: ast.Or, ast.Or: ast.And}
MOVED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, ast.AST]]:
    """Yield (line, what, changed tree) for each single change."""
    places = [node for node in ast.walk(tree) if hasattr(node, "lineno")]
    for index, node in enumerate(places):
        for what, change in changes(node):
            other = copy.deepcopy(tree)
            twin = [each for each in ast.walk(other) if hasattr(each, "lineno")][index]
            change(twin)
            yield node.lineno, what, ast.fix_missing_locations(other)


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    """Yield what can be changed at one node, and how."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in TURNED:
        new = TURNED[type(node.ops[0])]
        yield f"-> {new.__name__}", lambda twin: twin.ops.__setitem__(0, new())
    if isinstance(node, ast.BoolOp):
        new = SWAPPED[type(node.op)]
        yield f"-> {new.__name__}", lambda twin: setattr(twin, "op", new())
    if isinstance(node, ast.BinOp) and type(node.op) in MOVED:
        new = MOVED[type(node.op)]
        yield f"-> {new.__name__}", lambda twin: setattr(twin, "op", new())
    if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
        yield (
            f"{node.value} -> {node.value + 1}",
            lambda twin: setattr(twin, "value", twin.value + 1),
        )
    if isinstance(node, ast.If):
        yield "not", lambda twin: setattr(twin, "test", ast.UnaryOp(ast.Not(), twin.test))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "dropped", lambda twin: setattr(twin, "value", ast.Constant(None))


def main() -> None:
    """Print the changes that no test notices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="+", type=Path, metavar="MODULE")
    parser.add_argument("--tests", nargs="+", default=["tests/core/test_presence.py"])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th mutant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="netguard-mutate-") as folder:
        fork = multiprocessing.get_context("fork")
        copies = [copied(Path(folder) / str(job)) for job in range(words.jobs)]
        bases = fork.Queue()
        for base in copies:
            bases.put(base)
        with fork.Pool(words.jobs, _starts, (bases, words.tests)) as pool:
            if not pool.apply(survives):
                sys.exit("the tests fail without any change")
            for path in words.modules:
                judge(path.resolve().relative_to(ROOT), copies[0], pool, words.every)


def copied(base: Path) -> Path:
    """Copy what the tests need."""
    for name in ("netguard", "tests", "rules", "docs"):
        shutil.copytree(ROOT / name, base / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", base)
    return base


def judge(module: Path, base: Path, pool: "multiprocessing.pool.Pool", every: int) -> None:
    """Print the survivors of one module, and how many were noticed."""
    source = (base / module).read_text()
    lines = source.splitlines()
    tried = noticed = 0
    changed = list(mutants(ast.parse(source)))[::every]
    texts = [(module, source, ast.unparse(tree)) for _, _, tree in changed]
    for (line, what, _), lives in zip(changed, pool.imap(_lives, texts), strict=True):
        tried, noticed = tried + 1, noticed + (not lives)
        if lives:
            print(f"{module}:{line}: {what}: {lines[line - 1].strip()}", flush=True)
    print(f"{noticed} of {tried} mutants of {module} noticed", flush=True)


_mine: list[Path | list[str]] = []


def _starts(bases: "multiprocessing.Queue[Path]", tests: list[str]) -> None:
    """Take a copy for this process, and load what every run of the tests needs, nothing of ours."""
    _mine[:] = [bases.get(), tests]
    for name in ("hypothesis", "netaddr", "yaml", "zoneinfo"):
        importlib.import_module(name)


def _lives(mutant: tuple[Path, str, str]) -> bool:
    module, source, changed = mutant
    base = _mine[0]
    (base / module).write_text(changed)
    try:
        return survives()
    finally:
        (base / module).write_text(source)


def survives() -> bool:
    """Say whether the tests pass in this process's copy, in a child of it."""
    base, tests = _mine
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # Of the processor, not of the clock: what waits behind other work is no endless loop.
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    os.chdir(base)
    sys.path.insert(0, str(base))
    sys.dont_write_bytecode = True
    silent = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(silent, number)
    code = 1
    try:
        # What was loaded before the fork is none of ours: its assertions need no rewriting.
        quiet = ("-q", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:randomly")
        code = pytest.main(["-x", *quiet, "-k", "not thousand", *tests])
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
