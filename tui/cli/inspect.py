"""``inspect``: containers, images, networks and volumes."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import call
from tui.cli.errors import ApiError, CliError
from tui.cli.jsonlite import show_indented
from tui.cli.transport import container_path, quote, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tui.cli.flags import Options

#: In the order in which a name without a kind is looked for, as Docker does.
_KINDS = ("container", "image", "network", "volume")
#: The exit code of a template that cannot be parsed (docker/cli).
_BAD_TEMPLATE = 64
_PREFIX = "template parsing error"


def run(options: Options) -> int:
    """Print every object named; the missing ones are told after, and make the exit code 1."""
    kind = options["type"]
    if kind and kind not in _KINDS:
        raise CliError(f'unknown type: "{kind}": must be one of "container", "image", "network", "volume"')
    return show(options.args, options["format"], lambda name: _look(name, kind, options["size"]))


def show(names: list[str], form: str, find: Callable[[str], Any]) -> int:
    """Print what ``find`` knows of each name, by ``form``: JSON, or a template. It raises ApiError for the others."""
    template = None
    if form and form != "json":
        from tui.cli.formatting import parse

        try:
            template = parse(form, _PREFIX)
        except CliError as error:
            error.code = _BAD_TEMPLATE
            raise
    found, missing = [], []
    for name in names:
        try:
            found.append(find(name))
        except ApiError as error:
            missing.append(error.message)
    if template is not None:
        _print_rendered(template, found)
    elif form == "json":
        from tui.cli.jsonlite import show as compact

        output.out(compact(found) + "\n")
    else:
        output.out(show_indented(found) + "\n")
    if missing:
        output.err("\n".join(missing) + "\n")
        return 1
    return 0


def _look(name: str, kind: str, size: bool) -> Any:
    """:func:`_find`, with one message for a name that nothing has."""
    try:
        return _find(name, kind, size)
    except ApiError as error:
        if not kind and error.status == 404:
            error.message = f"Error: No such object: {name}"
        raise


def _find(name: str, kind: str, size: bool) -> Any:
    """The object's record, of the first kind that knows the name. Raises ApiError, that of the last."""
    paths = {
        "container": lambda: target(f"{container_path(name)}/json", {"size": size}),
        "image": lambda: f"/images/{quote(name)}/json",
        "network": lambda: f"/networks/{quote(name)}",
        "volume": lambda: f"/volumes/{quote(name)}",
    }
    missing = ApiError(404, f"No such object: {name}")
    for one in (kind,) if kind else _KINDS:
        try:
            return call("GET", paths[one]())
        except ApiError as error:
            # A name that one kind cannot have may be another's.
            if error.status not in (400, 404):
                raise
            missing = error
    if not kind:
        missing.status = 404
    raise missing


def _print_rendered(template: Any, found: list[Any]) -> None:
    from tui.cli.gotemplate import ExecError

    for value in found:
        try:
            output.out(template.execute(value, strict=True) + "\n")
        except ExecError as error:
            raise CliError(f"{_PREFIX}: {error}") from None
