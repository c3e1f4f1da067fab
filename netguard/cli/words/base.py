"""What every command of the command line shares: the parser, an example, the usual flags."""

import argparse
import importlib
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argparse parser that suggests the nearest word and ends with 2."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  # handed on to argparse as they are
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse; a misspelt flag of a command is answered by that command's own flags."""
        parsed, rest = self.parse_known_args(arguments)
        if rest:
            parser: Parser = getattr(parsed, "parser", self)
            known = [
                flag for action in parser._actions for flag in action.option_strings
            ]  # argparse has no public list
            parser.error(f"unknown argument '{rest[0]}'{near(rest[0], known)}")
        return parsed

    def error(self, message: str) -> NoReturn:
        """Print the problem, the nearest word and where help is; exit 2."""
        if "invalid choice: " in message:
            message = self._choice(message)
        self.exit(2, f"{self.prog}: {message}\n  help: {self.prog} --help\n")

    def _choice(self, message: str) -> str:
        word = message.partition("invalid choice: ")[2].partition(" (choose")[0].strip("'\"")
        choices = [
            str(choice)
            for action in self._actions
            for choice in action.choices or ()
            if word not in (action.choices or ())
        ]
        return f"unknown word '{word}'{near(word, choices) or ', known: ' + ', '.join(choices)}"


def near(word: str, known: Sequence[str]) -> str:
    """Return ", did you mean ..." with the known word nearest to `word`, or ""."""
    found = get_close_matches(word[:64], known, n=1, cutoff=0.5)
    return f", did you mean '{found[0]}'?" if found else ""


def late(module: str, name: str) -> Run:
    """Return a function that imports its module when it is called."""

    def run(arguments: argparse.Namespace) -> int:
        function: Run = getattr(importlib.import_module(f"netguard.{module}"), name)
        return function(arguments)

    return run


Commands = Any  # argparse's own type is private
Options = Any  # a parser or a group of one, as above


def command(commands: Commands, name: str, help_: str, example: str, run: Run) -> Parser:
    """Add one command, with an example in its help, that runs `run`."""
    parser: Parser = commands.add_parser(
        name, help=help_, description=help_, epilog=f"example:\n  {example}"
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def folder(parser: Parser) -> None:
    """Add the rules folder as an optional word."""
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="the rules folder (default: ./rules, else the one of the settings)",
    )


def today(parser: Parser) -> None:
    """Add --today."""
    parser.add_argument(
        "--today", metavar="DATE", help="judge as if today were DATE, so that CI gives one answer"
    )


def json_flag(parser: Parser) -> None:
    """Add --json, one object."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")


def rules_flag(parser: Parser) -> None:
    """Add --rules."""
    parser.add_argument(
        "--rules", type=Path, metavar="DIR", help="the rules (default: ./rules, else the settings')"
    )


def for_flag(parser: Options, *, needed: bool = True) -> None:
    """Add --for, a span, to a parser or a group of one."""
    parser.add_argument(
        "--for", dest="within", metavar="SPAN", required=needed, help="for so long, such as 2h"
    )


def said_flags(parser: Parser) -> None:
    """Add what every word that people say carries: --note, --by, --json."""
    parser.add_argument("--note", metavar="TEXT", help="why; for the audit")
    parser.add_argument("--by", metavar="WHO", help="who says so (default: you)")
    json_flag(parser)


def count(text: str) -> int:
    """Read a number of lines to show, 1 to 10000."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number from 1 to 10000")
    return int(text)
