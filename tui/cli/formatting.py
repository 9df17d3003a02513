"""``--format``: one template for every row of a list, or for one object."""

from __future__ import annotations

from tui.cli import gofuncs, output
from tui.cli.errors import CliError
from tui.cli.golex import ParseError
from tui.cli.gotemplate import ExecError, Template
from tui.cli.rows import Noun
from tui.cli.tables import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

JSON = "{{json .}}"


class _Header(gofuncs.Record):
    """The headers in the place of a row."""

    def get(self, name: str, arguments: list[Any]) -> Any:
        return arguments[0] if arguments else self.noun.headers[name]


def parse(text: str, prefix: str = "failed to parse template") -> Template:
    """The template. Raises CliError as Docker words it."""
    try:
        return Template(text)
    except ParseError as error:
        raise CliError(f"{prefix}: template: :1: {error}") from None


def print_rows(noun: Noun, items: list[dict[str, Any]], form: str, *, truncate: bool) -> None:
    """Print ``items`` by ``form``: ``table``, ``table TEMPLATE``, ``json`` or a template."""
    output.out(rows_text(noun, items, form, truncate=truncate))


def rows_text(noun: Noun, items: list[dict[str, Any]], form: str, *, truncate: bool) -> str:
    """What :func:`print_rows` prints."""
    table = form == "table" or form.startswith("table ")
    if form == "table":
        form = noun.default
    text = JSON if form == "json" else (form[5:] if table else form)
    template = parse(text.replace("\\t", "\t").replace("\\n", "\n").strip(), noun.wrong[0])
    lines = []
    try:
        if table:
            lines.append(template.execute(_Header(noun, {}, truncate), functions=gofuncs.HEADER_FUNCTIONS))
        lines += [template.execute(gofuncs.Record(noun, item, truncate)) for item in items]
    except ExecError as error:
        raise CliError(f"{noun.wrong[1]}: {error}") from None
    if table:
        return columns([cell.split("\t") for line in lines for cell in line.split("\n")])
    return "".join([line + "\n" for line in lines])


def render(value: Any, form: str) -> str:
    """One object by ``json`` or a template (version, info, events)."""
    template = parse(JSON if form == "json" else form)
    try:
        return template.execute(value, strict=True)
    except ExecError as error:
        raise CliError(str(error)) from None
