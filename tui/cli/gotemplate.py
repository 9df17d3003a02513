"""Go templates, as far as ``--format`` needs them: parse and evaluate over JSON values.

Known: field paths, variables, pipelines, parentheses, ``if else with range break continue end``, trim markers,
comments, and the functions of ``gofuncs``. Unknown on purpose: ``define``, ``template``, ``block``, methods.

Values are JSON's. A map key that is not there is an error in strict templates (``inspect``), except below the maps
whose keys are the person's own (labels, networks …); it prints ``<no value>`` there, as Go's maps do.
"""

from __future__ import annotations

from tui.cli import gofuncs
from tui.cli.golex import ParseError, tokens, unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Node = tuple[Any, ...]

#: Maps of the API whose keys are data: a missing one is no error.
OPEN_MAPS = frozenset(
    "Labels Networks Ports Volumes ExposedPorts PortBindings Tmpfs Sysctls Annotations Config Data Options "
    "Attributes Details Containers StorageOpt Metadata GraphDriver Runtimes".split()
)
#: Members that Docker's API leaves out when they are empty: nil, not an error.
OPTIONAL = frozenset(
    "Health Healthcheck ExposedPorts Volumes Entrypoint Cmd OnBuild Labels StopSignal StopTimeout Shell Mounts Init "
    "Tmpfs Sysctls Annotations Runtime StorageOpt Name SizeRw SizeRootFs DockyardExplain Error Env Descriptor "
    "NetworkDisabled MacAddress ArgsEscaped RepoTags RepoDigests Parent Comment Author Variant Config".split()
)

NIL_LISTS = frozenset(
    "Args Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps BlkioWeightDevice "
    "CapAdd CapDrop Cmd DeviceCgroupRules DeviceRequests Devices Dns DnsOptions DnsSearch Entrypoint Env "
    "ExecIDs ExtraHosts GroupAdd Links Aliases MaskedPaths Mounts OnBuild ReadonlyPaths RepoDigests RepoTags "
    "SecondaryIPAddresses SecondaryIPv6Addresses SecurityOpt Shell Ulimits VolumesFrom Layers".split()
)
NIL_MAPS = frozenset(
    "Annotations Data DriverOpts ExposedPorts Labels PortBindings Ports StorageOpt Sysctls Tmpfs Volumes".split()
)


class ExecError(Exception):
    """Evaluation failed; the message is Go's, with its place in the template."""


class _FieldError(Exception):
    """A field cannot be taken; says why, not yet where."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A parsed template. Raises ParseError (its text without Go's ``template: :1:`` prefix)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.nodes = _Parser(text).parse()

    def execute(self, data: Any, *, strict: bool = False, functions: dict[str, Any] | None = None) -> str:
        """The text for ``data``. ``functions`` replace the usual ones by name. Raises ExecError."""
        run = _Run(self.text, strict, {**gofuncs.FUNCTIONS, **(functions or {})})
        run.variables = [("$", data)]
        run.walk(self.nodes, data)
        return "".join(run.out)


class _Parser:
    """Tokens → nodes: tuples whose first item names them; those of operands end with their offset in the text."""

    def __init__(self, text: str) -> None:
        self.tokens = list(tokens(text))
        self.position = 0
        self.offset = 0  # of the token that next() returned
        self.variables = ["$"]
        self.loops = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.position][:2]

    def next(self) -> tuple[str, str]:
        token = self.tokens[self.position]
        self.position += token[0] != "end"
        self.offset = token[2]
        return token[:2]

    def peek_solid(self) -> tuple[str, str]:
        while self.peek()[0] == "space":
            self.position += 1
        return self.peek()

    def parse(self) -> list[Node]:
        nodes, ended = self._list(())
        if ended:
            raise ParseError(f"unexpected {{{{{ended}}}}}")
        return nodes

    def _list(self, stops: tuple[str, ...]) -> tuple[list[Node], str]:
        """Nodes up to the end or to one of the keywords ``stops``, which is returned."""
        nodes: list[Node] = []
        while True:
            kind, text = self.next()
            if kind == "end":
                if stops:
                    raise ParseError("unexpected EOF")
                return nodes, ""
            if kind == "text":
                if text:
                    nodes.append(("text", text))
                continue
            kind, word = self.peek_solid()
            if kind == "keyword":
                self.position += 1
                if word in ("end", "else"):
                    if word not in stops:
                        raise ParseError(f"unexpected {{{{{word}}}}}")
                    return nodes, word
                nodes.append(self._control(word))
            else:
                nodes.append(("print", self._pipeline("command")))

    def _control(self, word: str) -> Node:
        if word in ("break", "continue"):
            if not self.loops:
                raise ParseError(f"{{{{{word}}}}} outside {{{{range}}}}")
            self._close(word)
            return (word,)
        if word not in ("if", "with", "range"):
            raise ParseError(f"{{{{{word}}}}} is not supported by dockyard")
        mark = len(self.variables)
        pipeline = self._pipeline(word)
        self.loops += word == "range"
        body, ended = self._list(("end", "else"))
        self.loops -= word == "range"
        otherwise: list[Node] = []
        if ended == "else":
            kind, text = self.peek_solid()
            if kind == "keyword" and text in ("if", "with") and text == word:
                self.position += 1
                otherwise = [self._control(text)]
                del self.variables[mark:]
                return (word, pipeline, body, otherwise)
            self._close("else")
            otherwise, ended = self._list(("end",))
        self._close("end")
        del self.variables[mark:]
        return (word, pipeline, body, otherwise)

    def _close(self, context: str) -> None:
        kind, text = self.peek_solid()
        if kind != "close":
            raise ParseError(f"unexpected <{text}> in {context}")
        self.position += 1

    def _pipeline(self, context: str, closer: str = "close") -> Node:
        """(``pipe``, declared variables, assigns, commands)."""
        declared, assigns = self._declarations(context)
        commands: list[Node] = []
        while True:
            kind, text = self.peek_solid()
            if kind == closer:
                self.position += 1
                if not commands:
                    raise ParseError(f"missing value for {context}")
                for command in commands[1:]:
                    if command[0][0] in ("literal", "dot", "nil"):
                        raise ParseError(f"non executable command in pipeline stage {commands.index(command) + 1}")
                self.variables += [] if assigns else declared
                return ("pipe", declared, assigns, commands)
            if kind in ("keyword", "close", "end", ",", ":=", "=", ")"):
                raise ParseError(f"unexpected <{text}> in {context}" if kind != "end" else "unclosed action")
            commands.append(self._command())

    def _declarations(self, context: str) -> tuple[list[str], bool]:
        start = self.position
        names: list[str] = []
        while self.peek_solid()[0] == "variable":
            names.append(self.next()[1])
            kind = self.peek_solid()[0]
            if kind in (":=", "="):
                self.position += 1
                for name in names if kind == "=" else ():
                    self._check_declared(name)
                if len(names) > 1 and context != "range":
                    raise ParseError(f"too many declarations in {context}")
                return names, kind == "="
            if kind != "," or context != "range":
                break
            self.position += 1
        self.position = start
        return [], False

    def _check_declared(self, name: str) -> None:
        if name not in self.variables:
            raise ParseError(f'undefined variable "{name}"')

    def _command(self) -> Node:
        operands: list[Node] = []
        while True:
            kind, text = self.peek_solid()
            operands.append(self._operand())
            kind, text = self.peek()
            if kind == "space":
                kind, text = self.peek_solid()
                if kind not in ("|", "close", ")", "end"):
                    continue
            if kind == "|":
                self.position += 1
            elif kind not in ("close", ")", "end"):
                raise ParseError(f"unexpected <{text}> in operand")
            return tuple(operands)

    def _operand(self) -> Node:
        node = self._term()
        names = []
        offset = self.tokens[self.position][2]  # Go's place for a.b.c is that of .b
        while self.peek()[0] == "field":
            names.append(self.next()[1][1:])
        if not names:
            return node
        if node[0] == "field":
            return ("field", [*node[1], *names], offset)
        if node[0] in ("literal", "nil"):
            raise ParseError(f"unexpected . after term {_show(node)}")
        return ("chain", node, names, offset)

    def _term(self) -> Node:
        kind, text = self.next()
        at = self.offset
        if kind == "identifier":
            if text not in gofuncs.FUNCTIONS:
                raise ParseError(f'function "{text}" not defined')
            return ("call", text, at)
        if kind == "variable":
            self._check_declared(text)
            return ("variable", text, at)
        if kind == "field":
            return ("field", [text[1:]], at)
        if kind == "(":
            return self._pipeline("parenthesized pipeline", ")")
        if kind in ("dot", "nil"):
            return (kind, None, at)
        if kind == "bool":
            return ("literal", text == "true", at)
        if kind in ("string", "char"):
            value = unquote(text)
            return ("literal", ord(value) if kind == "char" and value else value, at)
        if kind == "number":
            return ("literal", _number(text), at)
        raise ParseError(f"unexpected <{text}> in operand")


def _number(text: str) -> int | float:
    try:
        return int(text.replace("_", ""), 0)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ParseError(f'bad number syntax: "{text}"') from None


class _Run:
    """One execution: the output, the variables in scope, the functions."""

    def __init__(self, text: str, strict: bool, functions: dict[str, Callable[..., Any]]) -> None:
        self.text = text
        self.strict = strict
        self.functions = functions
        self.out: list[str] = []
        self.variables: list[tuple[str, Any]] = []

    def error(self, node: Node, shown: str, why: str) -> ExecError:
        """Go's words: the template's line and column, what was evaluated, and what is wrong with it."""
        before = self.text[: _offset(node)]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1)
        return ExecError(f'template: :{line}:{column}: executing "" at <{shown}>: {why}')

    def walk(self, nodes: list[Node], dot: Any) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self.out.append(node[1])
            elif kind == "print":
                value = self.pipe(node[1], dot)
                if not node[1][1]:
                    self.out.append(_nil(node[1][3]) if value is None else gofuncs.printed(value))
            elif kind == "range":
                self._range(node, dot)
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            else:
                self._branch(node, dot)

    def _branch(self, node: Node, dot: Any) -> None:
        kind, pipeline, body, otherwise = node
        mark = len(self.variables)
        value = self.pipe(pipeline, dot)
        if gofuncs.truth(value):
            self.walk(body, value if kind == "with" else dot)
        else:
            self.walk(otherwise, dot)
        del self.variables[mark:]

    def _range(self, node: Node, dot: Any) -> None:
        _, (_, declared, assigns, commands), body, otherwise = node
        value = self.pipe(("pipe", [], False, commands), dot)
        mark = len(self.variables)
        empty = True
        pairs = _pairs(value)
        if pairs is None:
            operand = commands[0][0]
            raise self.error(operand, _show(operand), f"range can't iterate over {gofuncs.printed(value)}")
        for key, item in pairs:
            empty = False
            names = dict(zip(declared, [item] if len(declared) == 1 else [key, item], strict=False))
            for name, bound in names.items():
                self._bind(name, bound, assigns)
            try:
                self.walk(body, item)
            except _Break:
                break
            except _Continue:
                pass
            finally:
                del self.variables[mark:]
        if empty:
            self.walk(otherwise, dot)

    def _bind(self, name: str, value: Any, assigns: bool) -> None:
        if assigns:
            for index in range(len(self.variables) - 1, -1, -1):
                if self.variables[index][0] == name:
                    self.variables[index] = (name, value)
                    return
        self.variables.append((name, value))

    def pipe(self, node: Node, dot: Any) -> Any:
        _, declared, assigns, commands = node
        value: Any = gofuncs.MISSING
        for index, command in enumerate(commands):
            value = self._command(command, dot, [value] if index else [])
        for name in declared:
            self._bind(name, value, assigns)
        return value

    def _command(self, operands: Node, dot: Any, final: list[Any]) -> Any:
        first, rest = operands[0], operands[1:]
        if first[0] == "call":
            return self._call(first, rest, dot, final)
        arguments = [self._value(node, dot) for node in rest] + final
        if arguments and first[0] == "field":
            return self._field(first, dot, first[1], arguments)
        if arguments:
            raise self.error(first, _show(first), f"can't give argument to non-function {_show(first)}")
        if first[0] == "nil":
            raise self.error(first, "nil", "nil is not a command")
        return self._value(first, dot)

    def _call(self, node: Node, operands: Node, dot: Any, final: list[Any]) -> Any:
        name = node[1]
        if name in ("and", "or"):
            return self._lazy(name, operands, dot, final)
        arguments = [self._value(node, dot) for node in operands] + final
        try:
            return self.functions[name](*arguments)
        except (gofuncs.FunctionError, ArithmeticError, ValueError) as error:
            shown = " ".join([name, *map(_show, operands)])
            raise self.error(node, shown, f"error calling {name}: {error}") from None
        except TypeError:
            raise self.error(node, name, f"wrong number of args for {name}: got {len(arguments)}") from None

    def _lazy(self, name: str, operands: Node, dot: Any, final: list[Any]) -> Any:
        value: Any = gofuncs.MISSING
        for node in operands:
            value = self._value(node, dot)
            if gofuncs.truth(value) == (name == "or"):
                return value
        return final[0] if final else value

    def _value(self, node: Node, dot: Any) -> Any:
        kind = node[0]
        if kind == "field":
            return self._field(node, dot, node[1])
        if kind == "literal":
            return node[1]
        if kind == "dot":
            return dot
        if kind == "nil":
            return None
        if kind == "pipe":
            return self.pipe(node, dot)
        if kind == "variable":
            return next(value for name, value in reversed(self.variables) if name == node[1])
        if kind == "chain":
            return self._field(node, self._value(node[1], dot), node[2])
        return self._call(node, (), dot, [])

    def _field(self, node: Node, value: Any, path: list[str], arguments: list[Any] | None = None) -> Any:
        parent = ""
        for index, name in enumerate(path):
            try:
                value = self._member(value, name, parent, (arguments or []) if index == len(path) - 1 else [])
            except _FieldError as error:
                raise self.error(node, "." + ".".join(path), str(error)) from None
            parent = name
        return value

    def _member(self, value: Any, name: str, parent: str, arguments: list[Any]) -> Any:
        if isinstance(value, gofuncs.Record):
            if name not in value.noun.fields:
                raise _FieldError(f"can't evaluate field {name} in type {value.noun.type_name}")
            try:
                return value.get(name, arguments)
            except TypeError:
                raise _FieldError(f"wrong number of args for {name}: got {len(arguments)}") from None
        if arguments:
            raise _FieldError(f"{name} is not a method but has arguments")
        if isinstance(value, dict):
            return _lookup(value, name, parent, self.strict)
        if value is None or value is gofuncs.MISSING:
            raise _FieldError(f'nil data; no entry for key "{name}"')
        raise _FieldError(f"can't evaluate field {name} in type interface {{}}")


def _lookup(value: dict[str, Any], name: str, parent: str, strict: bool) -> Any:
    if name in value:
        found = value[name]
        # Go's encoder sorts a map's keys; what is a struct in Docker's API keeps its order.
        return dict(sorted(found.items())) if name in NIL_MAPS and isinstance(found, dict) else found
    if parent not in OPEN_MAPS:
        lowered = name.lower()
        for key in value:
            if key.lower() == lowered:
                return value[key]
        if name in OPTIONAL:
            return None
        if strict:
            raise _FieldError(f'map has no entry for key "{name}"')
    return gofuncs.MISSING


def _pairs(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """What ``range`` goes through; None for values it cannot."""
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list):
        return enumerate(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return ((number, number) for number in range(value))
    return () if value is None or value is gofuncs.MISSING else None


def _offset(node: Node) -> int:
    while node[0] == "pipe":
        node = node[3][0][0]
    return int(node[-1])


def _nil(commands: list[Node]) -> str:
    """How Go prints a member that JSON has as null: by the type that the member has in Docker's API."""
    operand = commands[0][0]
    name = operand[1][-1] if len(commands) == 1 and operand[0] == "field" else ""
    return "[]" if name in NIL_LISTS else "map[]" if name in NIL_MAPS else "<nil>"


def _show(node: Node) -> str:
    """A node as it was written, for error messages."""
    kind = node[0]
    if kind == "field":
        return "." + ".".join(node[1])
    if kind == "literal":
        from tui.cli.rows import go_quote

        return go_quote(node[1]) if isinstance(node[1], str) else gofuncs.printed(node[1])
    if kind == "chain":
        return f"{_show(node[1])}.{'.'.join(node[2])}"
    return {"dot": ".", "nil": "nil", "pipe": "(...)"}.get(kind, str(node[1]))
