"""The architecture, held over syntax trees: who imports whom, what the zygote loads, how long things get."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import CHECKOUT

LONGEST_FUNCTION = 60
LONGEST_MODULE = 500

#: Everything in core may import these.
COMMON = {"core.errors", "core.oci", "core.db", "core.events", "core.faults", "core.moments", "core.patterns"}
_IMAGE = {"core.image", "core.linux", *COMMON}
#: Part → what its modules may import of core. A part's name also stands for everything below it.
MAP: dict[str, set[str]] = {
    "core.errors": set(),
    "core.faults": {"core.errors"},
    "core.moments": {"core.errors"},
    "core.patterns": {"core.errors"},
    "core.oci": {"core.errors"},
    "core.db": {"core.errors", "core.faults"},
    "core.events": {"core.errors", "core.oci", "core.db"},
    "core.linux": {"core.linux", "core.errors", "core.oci", "core.faults"},
    "core.runtime": {"core.runtime", "core.linux", "core.errors", "core.oci", "core.events", "core.faults"},
    "core.image": _IMAGE,
    "core.archive": {"core.archive", "core.image", "core.linux", *COMMON},
    "core.network": {"core.network", "core.linux", *COMMON},
    "core.volumes": {"core.volumes", "core.linux", *COMMON},
    "core.container": {
        "core.archive",
        "core.container",
        "core.image",
        "core.network",
        "core.volumes",
        "core.runtime.client",
        "core.runtime.protocol",
        "core.runtime.logs",
        "core.linux.cgroups",
        "core.linux.cgroup_figures",
        "core.linux.cgroup_files",
        # Pure tables and readers: names of capabilities, the default seccomp profile, a process's start time.
        "core.linux.inotify",
        "core.linux.mounts",
        "core.linux.privileges",
        "core.linux.process",
        "core.linux.seccomp",
        *COMMON,
    },
    "core.build": {"core.build", "core.container", "core.image", "core.network", *COMMON},
    "core.watch": {"core.watch", "core.build", "core.container", *COMMON},
    "core.api": {
        "core.api",
        "core.archive",
        "core.watch",
        "core.build",
        "core.container",
        "core.image",
        "core.network",
        "core.volumes",
        *COMMON,
    },
    # The composition root and its entry see everything; nothing else sees them.
    "core.about": {"core"},
    "core.engine": {"core"},
    "core.__main__": {"core"},
    "core": set(),
    # The screens and the command line are clients of the API; `serve` hands over to the engine's entry.
    "tui.cli": {"tui", "core.__main__", "core.errors"},
    "tui": {"tui", "themes"},
    "themes": {"themes"},
}

#: What the zygote, the monitors and init may load of the standard library.
LIGHT = set(
    "__future__ os sys socket struct select signal json json.encoder errno stat fcntl termios time ctypes mmap typing "
    "enum gc traceback base64 array math collections.abc".split()
)
ZYGOTE = "core.runtime.zygote"
ZYGOTE_PARTS = {"core.linux", "core.oci", "core.errors", "core.faults", "core.runtime"}
HEAVY = set(
    "asyncio sqlite3 dataclasses subprocess logging pathlib pwd grp http email urllib ssl concurrent inspect "
    "multiprocessing threading shutil tempfile aiohttp pyroute2 watchfiles textual rich".split()
)
#: Each of these costs the fast path more than it may take.
SLOW = set(
    "argparse json asyncio http email urllib ssl subprocess re pathlib dataclasses logging inspect typing "
    "socket selectors enum".split()
)


class Import(NamedTuple):
    """``module`` is imported; ``deferred`` when inside a function, ``typing_only`` under TYPE_CHECKING."""

    module: str
    line: int
    deferred: bool
    typing_only: bool


class Module(NamedTuple):
    name: str
    path: Path
    tree: ast.Module


@cache
def modules(*tops: str) -> dict[str, Module]:
    found = {}
    for top in tops or ("core", "tui", "themes"):
        for path in sorted((CHECKOUT / top).rglob("*.py")):
            parts = path.relative_to(CHECKOUT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path, ast.parse(path.read_bytes(), str(path)))
    return found


def _is_typing_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _walk(node: ast.AST, deferred: bool, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, deferred, typing_only)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import in line {child.lineno}"
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                name = full if full in modules() else str(child.module)
                yield Import(name, child.lineno, deferred, typing_only)
        else:
            inside = deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, inside, typing_only or _is_typing_guard(child))


@cache
def imports(name: str) -> list[Import]:
    return list(_walk(modules()[name].tree, False, False))


def _below(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def part_of(name: str) -> str:
    """The longest key of MAP that ``name`` is, or is below."""
    if name in MAP:
        return name
    return max((part for part in MAP if _below(name, part) and part != "core"), key=len)


def test_every_module_belongs_to_a_part() -> None:
    assert modules(), "no source found"
    for name in modules():
        assert part_of(name), name


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_follow_the_map(name: str) -> None:
    allowed = MAP[part_of(name)]
    wrong = [
        f"{modules()[name].path.relative_to(CHECKOUT)}:{found.line} imports {found.module}"
        for found in imports(name)
        # `core` itself is only the map in prose; it tells where the package lies.
        if found.module != "core"
        and found.module.partition(".")[0] in ("core", "tui", "themes", "tests")
        and not any(_below(found.module, part) for part in allowed)
    ]
    assert not wrong, f"{part_of(name)} may import only {sorted(allowed)}"


def test_the_map_has_no_circle() -> None:
    edges = {part: {goal for goal in goals if goal in MAP and goal != part} for part, goals in MAP.items()}
    for part in ("core.engine", "core.__main__"):
        edges[part] = {other for other in MAP if other.startswith("core.")} - {part, "core.__main__"}
    _assert_acyclic(edges)


def test_no_circle_between_modules() -> None:
    """Imports for types alone and inside functions do not count: they cannot break the order of loading."""
    edges = {
        name: {i.module for i in imports(name) if i.module in modules() and not (i.deferred or i.typing_only)} - {name}
        for name in modules()
    }
    _assert_acyclic(edges)


def _assert_acyclic(edges: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        assert name not in trail, "circle: " + " → ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for goal in sorted(edges.get(name, ())):
                visit(goal, [*trail, name])
            done.add(name)

    for name in edges:
        visit(name, [])


def test_core_knows_no_screen() -> None:
    for name in modules("core"):
        for found in imports(name):
            assert found.module.partition(".")[0] not in ("tui", "textual", "rich", "themes"), f"{name}:{found.line}"


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("ctypes", ["core.linux"]),
        ("pyroute2", ["core.network"]),
        ("watchfiles", ["core.watch"]),
        ("sqlite3", ["core.db"]),
        ("subprocess", ["core.runtime.client"]),
        ("jeepney", ["core.linux.placement"]),
    ],
)
def test_a_library_has_one_home_in_core(library: str, homes: list[str]) -> None:
    for name in modules("core"):
        if any(_below(name, home) for home in homes):
            continue
        lines = [i.line for i in imports(name) if i.module.partition(".")[0] == library and not i.typing_only]
        assert not lines, f"{name} imports {library} in lines {lines}: it belongs to {homes}"


def zygote_closure() -> set[str]:
    """Every module of ours that the zygote may load, also late."""
    seen, queue = set(), [ZYGOTE]
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue += [i.module for i in imports(name) if i.module in modules() and not i.typing_only]
    return seen


def test_the_zygotes_closure_is_light() -> None:
    closure = zygote_closure()
    for name in sorted(closure):
        assert any(_below(name, part) for part in ZYGOTE_PARTS), f"{name} is in the zygote's closure"
        assert name != "core.runtime.client", "the asyncio side is in the zygote's closure"
        for found in imports(name):
            if not found.typing_only and found.module.partition(".")[0] != "core":
                assert found.module in LIGHT, f"{name}:{found.line} imports {found.module}"


def test_the_zygote_loads_nothing_late() -> None:
    """After pivot_root an import looks in the container's files: it fails, or runs what it finds there."""
    for name in sorted(zygote_closure()):
        late = [f"{i.module} in line {i.line}" for i in imports(name) if i.deferred and not i.typing_only]
        assert not late, f"{name} imports inside a function: {late}"


def loaded_by(statement: str) -> set[str]:
    """The modules in a fresh interpreter, without site, after ``statement``."""
    path = f"sys.path.insert(0, {str(CHECKOUT)!r})"
    code = f"import sys; {path}; {statement}; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_running_zygote_is_light() -> None:
    heavy = HEAVY & loaded_by(f"import {ZYGOTE}")
    assert not heavy


@pytest.mark.parametrize("verb", ["ps", "exec", "run", "logs"])
def test_the_fast_path_is_fast(verb: str) -> None:
    """What a verb of every minute loads besides the interpreter itself."""
    found = f"from tui.cli import main, verbs; __import__(verbs.find({verb!r}).module)"
    slow = SLOW & (loaded_by(found) - loaded_by("pass"))
    assert not slow


def test_packages_of_the_screens_import_nothing() -> None:
    for name in ("tui", "tui.cli"):
        if name in modules():
            found = [i.module for i in imports(name) if i.module != "__future__"]
            assert not found, f"{name}/__init__.py imports {found}: every command pays for it"


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def function_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, the docstring left out."""
    first = node.body[0]
    docstring = 0
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def test_functions_are_short() -> None:
    long = [
        f"{module.path.relative_to(CHECKOUT)}:{node.lineno} {node.name}: {function_length(node)} lines"
        for module in modules().values()
        for node in _functions(module.tree)
        if function_length(node) > LONGEST_FUNCTION
    ]
    assert not long


def test_modules_are_short() -> None:
    """Modules of data alone, a table of system calls say, may be longer."""
    long = [
        f"{module.path.relative_to(CHECKOUT)}: {count} lines"
        for module in modules().values()
        if (count := len(module.path.read_bytes().splitlines())) > LONGEST_MODULE
        and any(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for n in module.tree.body)
    ]
    assert not long


def _sleeps(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Calls of a sleep; ``asyncio.sleep(0)`` only lets others run and is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node) != "asyncio.sleep(0)":
            name = ast.unparse(node.func)
            if name in ("time.sleep", "asyncio.sleep", "anyio.sleep"):
                yield name, node.lineno


def test_nobody_sleeps_to_synchronise() -> None:
    """Tests poll in one place, with a deadline; the engine waits for descriptors and events."""
    # A server that is slow on purpose is no synchronisation.
    spared = {CHECKOUT / "tests/support.py", CHECKOUT / "tests/registry/faults.py"}
    paths = [path for top in ("tests", "core") for path in (CHECKOUT / top).rglob("*.py")]
    wrong = [
        f"{path.relative_to(CHECKOUT)}:{line} {call}"
        for path in paths
        if path not in spared
        for call, line in _sleeps(ast.parse(path.read_bytes()))
        if call == "time.sleep" or path.is_relative_to(CHECKOUT / "tests")
    ]
    assert not wrong


def test_nothing_is_left_for_later() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    wrong = [
        f"{path.relative_to(CHECKOUT)}:{number}"
        for top in ("core", "tui", "themes", "tests")
        for path in (CHECKOUT / top).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any(word in line for word in words)
    ]
    assert not wrong
