"""Change one place of a module at a time and see whether the tests notice: `python scripts/mutate.py MODULE...`.

Comparisons are turned, numbers moved, `and` and `or` swapped, conditions negated, statements of a call dropped.
Works on copies, one for each job, so what is edited meanwhile does not count and a run that is killed leaves the
checkout as it was. Prints the survivors; ends with 0 (a list to read, not a gate). Tests are those given by --tests,
stopped at the first failure.
"""

import argparse
import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

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
        bases: Queue[Path] = Queue()
        for job in range(words.jobs):
            bases.put(copied(Path(folder) / str(job)))
        if not survives(bases.queue[0], words.tests):
            sys.exit("the tests fail without any change")
        with ThreadPoolExecutor(words.jobs) as pool:
            for module in words.modules:
                judge(module.resolve().relative_to(ROOT), bases, pool, words)


def copied(base: Path) -> Path:
    """Copy what the tests need."""
    for name in ("netguard", "tests", "rules", "docs"):
        shutil.copytree(ROOT / name, base / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", base)
    return base


def judge(
    module: Path, bases: "Queue[Path]", pool: ThreadPoolExecutor, words: argparse.Namespace
) -> None:
    """Print the survivors of one module, and how many were noticed."""
    source = (bases.queue[0] / module).read_text()
    lines = source.splitlines()
    survivors = []

    def tried(mutant: tuple[int, str, ast.AST]) -> None:
        line, what, tree = mutant
        base = bases.get()
        try:
            (base / module).write_text(ast.unparse(tree))
            if survives(base, words.tests):
                survivors.append(line)
                print(f"{module}:{line}: {what}: {lines[line - 1].strip()}", flush=True)
        finally:
            (base / module).write_text(source)
            bases.put(base)

    every = list(mutants(ast.parse(source)))[:: words.every]
    list(pool.map(tried, every))
    print(f"{len(every) - len(survivors)} of {len(every)} mutants of {module} noticed", flush=True)


def survives(base: Path, tests: list[str]) -> bool:
    """Say whether the tests pass."""
    # Of the processor, not of the clock: what waits behind other work is no endless loop.
    command = [
        "prlimit",
        "--cpu=120",
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:randomly",
        "-k",
        "not thousand",
        *tests,
    ]
    environment = {**os.environ, "PYTHONPATH": str(base), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=base, env=environment, capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    main()
