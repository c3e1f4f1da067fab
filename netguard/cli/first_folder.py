"""init: a small first rules folder, by asking on a terminal or from flags alone."""

import argparse
import sys

from netguard.adapters import files
from netguard.errors import BadValue, UsageError
from netguard.rules.init import QUESTIONS, Question, answers, first_folder


def init(arguments: argparse.Namespace) -> int:
    """Write a first folder; what is there already is never touched."""
    path = arguments.folder
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists and is not empty; init writes a new folder only")
    texts = {
        question.key: given
        for question in QUESTIONS
        if (given := getattr(arguments, question.key)) is not None
    }
    if not arguments.no_input and sys.stdin.isatty():
        for question in QUESTIONS:
            if question.key not in texts:
                texts[question.key] = _asked(question)
    for name, data in first_folder(answers(texts)).items():
        files.write(path / name, data)
        sys.stdout.write(f"{path / name}\n")
    sys.stderr.write(
        f"next: read the files, then\n  netguard check {path}\n  netguard apply {path}\n"
    )
    return 0


def _asked(question: Question) -> str:
    """Ask until the answer is one; an empty answer takes the default."""
    default = f" [{question.default}]" if question.default else ""
    while True:
        sys.stderr.write(f"{question.ask}{default}: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise UsageError("the input ended before all questions were answered; nothing written")
        text = line.strip() or (question.default if question.default is not None else "")
        try:
            question.parse(text)
        except BadValue as error:
            sys.stderr.write(f"  {error.text}\n")
            continue
        return text
