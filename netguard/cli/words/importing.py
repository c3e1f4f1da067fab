"""What brings an inventory in and out."""

from pathlib import Path

from netguard.cli.words.base import Commands, command, folder, json_flag, late, today

_FORMS = {
    "csv": (
        "take over an inventory: who is not in it is gone",
        "netguard import csv tablettes.csv rules/ --dry-run\n"
        "  netguard import csv tablettes.csv --column 'id=N° inventaire' --column home=Service",
    ),
    "mdm": (
        "take over an export of Intune, Knox, Jamf or Google: adds and corrects, takes nobody away",
        "netguard import mdm DevicesWithInventory.csv --group patients --home pellegrin/stock "
        "--only OS=Android --skip-incomplete",
    ),
}


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    outer = commands.add_parser(
        "import",
        help="bring an inventory of a spreadsheet or an MDM into tablets.csv, whole or not at all",
        epilog="example:\n  netguard import csv tablettes.csv rules/ --dry-run\n"
        "  netguard import mdm intune.csv --group patients --home pellegrin/stock",
    )
    outer.set_defaults(parser=outer)
    words = outer.add_subparsers(dest="import_word", metavar="WORD", required=True)
    for name, (help_, example) in _FORMS.items():
        form = command(words, name, help_, example, late("cli.importing", "import_"))
        form.add_argument("file", type=Path, metavar="FILE", help="the table; - for stdin")
        folder(form)
        form.add_argument(
            "--column", action="append", metavar="FIELD=HEADER",
            help="read a field from this column; 'FIELD=' to leave it out",
        )  # fmt: skip
        form.add_argument(
            "--only", action="append", metavar="HEADER=VALUE", help="only rows with this value"
        )
        form.add_argument("--group", metavar="GROUP", help="the group of rows that name none")
        form.add_argument("--home", metavar="SITE/AREA", help="the home of rows that name none")
        form.add_argument(
            "--first-id", metavar="ID", help="where rows without a number count from, such as T-201"
        )
        form.add_argument(
            "--accept-private",
            action="store_true",
            help="private (random) addresses are meant: fixed for the tablets' network",
        )
        form.add_argument(
            "--skip-incomplete",
            action="store_true",
            help="leave rows without a MAC out, and say so",
        )
        form.add_argument(
            "--confirm-shrink",
            action="store_true",
            help="that a fifth of the tablets goes is meant",
        )
        form.add_argument("--allow-empty", action="store_true", help="an empty inventory is meant")
        form.add_argument(
            "--dry-run", action="store_true", help="say what would change, write nothing"
        )
        json_flag(form)
        today(form)
    export = command(
        commands,
        "export",
        "print the inventory as a table that import reads back to the same",
        "netguard export rules/ --for excel --out tablettes.csv",
        late("cli.importing", "export"),
    )
    folder(export)
    export.add_argument(
        "--for", dest="form", choices=("csv", "excel"), default="csv",
        help="excel: semicolons and a byte order mark",
    )  # fmt: skip
    export.add_argument("--out", type=Path, metavar="FILE", help="where (default: stdout)")
    today(export)
