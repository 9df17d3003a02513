"""The one table of actions. Keys, footer, help screen and palette all come from it.

An action's ``name`` is what the configuration file rebinds (``[keys]``), and ``handler`` the method of the
workstation that does it. Light: the first picture shows the footer before Textual is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from textual.binding import BindingType


class Action(NamedTuple):
    """One thing a person can do.

    ``keys`` is comma-separated, in Textual's names. ``scope`` is where the keys work: ``app`` (everywhere but in
    a dialog), ``containers``, ``log``, ``view`` (a text that is looked at). ``changes``: refused in read-only mode.
    ``dangerous``: asks first. ``short`` is the footer's word; empty: not in the footer.
    """

    name: str
    keys: str
    title: str
    help: str
    scope: str
    handler: str
    short: str = ""
    changes: bool = False
    dangerous: bool = False


ACTIONS: tuple[Action, ...] = (
    Action("start-stop", "s", "Start or stop", "Start the selected container, or stop it when it runs: SIGTERM, "
           "then SIGKILL when its time is over.", "containers", "start_stop", "start/stop", changes=True),
    Action("restart", "r", "Restart", "Stop the selected container and start it again.",
           "containers", "restart", "restart", changes=True),
    Action("kill", "K", "Kill", "End the selected container's processes at once with SIGKILL. Asks first.",
           "containers", "kill", "kill", changes=True, dangerous=True),
    Action("remove", "d", "Remove", "Remove the selected container and what was written in it. Asks first; warns when "
           "it runs.", "containers", "remove", "remove", changes=True, dangerous=True),
    Action("pause", "p", "Pause or resume", "Freeze all processes of the selected container, or let them go on.",
           "containers", "pause", changes=True),
    Action("shell", "e,enter", "Shell", "Give this terminal to a shell in the selected container: bash, zsh, ash or "
           "sh, whichever it has. Leave with exit, or ctrl+p ctrl+q to leave it running.",
           "containers", "shell", "shell", changes=True),
    Action("inspect", "i", "Inspect", "Everything the engine knows of the selected container, as a tree that can be "
           "searched.", "containers", "inspect", "inspect"),
    Action("layers", "L", "Layers", "The layers of the selected container's image: what each adds, changes, removes "
           "and hides. Space opens one.", "containers", "layers"),
    Action("log", "l", "Log", "Go to the log of the selected container; escape comes back.",
           "containers", "focus_log", "log"),
    Action("ports", "P", "Ports", "Publish ports of the selected container, also while it runs, or take them away: "
           "8080:80 publishes, -8080:80 takes away.", "containers", "ports", "ports", changes=True),
    Action("sort", "o", "Sort", "Sort by state, name, image, CPU, memory or age, one after the other.",
           "containers", "sort"),
    Action("sort-reverse", "O", "Reverse the order", "Turn the order of the list round.",
           "containers", "sort_reverse"),
    Action("filter", "slash", "Filter", "Show only containers that match. Words must all match name, image, state or "
           "id; ~WORD is a regular expression, !WORD must not match, label:KEY or label:KEY=VALUE looks at labels.",
           "containers", "filter", "filter"),
    Action("log-follow", "f", "Follow", "Follow the log's end, or hold it still.", "log", "log_follow", "follow"),
    Action("log-wider", "z", "Log larger", "Give the log the whole screen, or half of it again.",
           "app", "zoom_log"),
    Action("back", "escape", "Back", "Leave what is open: the filter, the log, a view.", "app", "back"),
    Action("search", "slash", "Search", "Find text in this view.", "view", "search", "search"),
    Action("search-next", "n", "Next match", "Go to the next match.", "view", "search_next", "next"),
    Action("search-previous", "N", "Previous match", "Go to the match before.", "view", "search_previous", "previous"),
    Action("fold", "space,enter", "Fold", "Close or open the part under the cursor.", "view", "fold", "fold"),
    Action("palette", "colon", "Palette", "Find an action by its name and do it.", "app", "palette", "palette"),
    Action("theme", "t", "Next theme", "Change the colours for this session; `theme` in the configuration file keeps "
           "one.", "app", "next_theme"),
    Action("mouse", "m", "Mouse on or off", "With the mouse off the terminal itself selects text.",
           "app", "toggle_mouse"),
    Action("redraw", "ctrl+l", "Redraw", "Paint the whole screen again.", "app", "redraw"),
    Action("help", "question_mark", "Help", "This list.", "app", "help", "help"),
    Action("quit", "q,ctrl+q", "Quit", "Leave the workstation. The engine and all containers stay up.",
           "app", "quit_workstation", "quit"),
)  # fmt: skip

SCOPES = {
    "containers": "In the list of containers",
    "log": "In the log",
    "view": "In a view",
    "app": "Everywhere",
}

_DISPLAY = {
    "slash": "/", "question_mark": "?", "colon": ":", "escape": "esc", "enter": "⏎", "space": "space",
    "full_stop": ".", "comma": ",", "minus": "-", "plus": "+",
}  # fmt: skip


def by_name(name: str) -> Action:
    """The action of that name. Raises KeyError."""
    return _BY_NAME[name]


_BY_NAME = {action.name: action for action in ACTIONS}


def keys_of(action: Action, keymap: dict[str, str]) -> str:
    """The keys that are in force: the person's, else the table's."""
    return keymap.get(action.name, action.keys)


def key_text(keys: str) -> str:
    """The first of ``keys`` as a footer shows it."""
    first = keys.split(",", 1)[0].strip()
    return _DISPLAY.get(first, first)


def all_key_text(keys: str) -> str:
    """All of ``keys``, for the help."""
    return " ".join(key_text(key) for key in keys.split(",") if key.strip())


def footer(scope: str, keymap: dict[str, str]) -> list[tuple[str, str]]:
    """(key, word) pairs for the bottom line of ``scope``, the general ones last."""
    chosen = [action for action in ACTIONS if action.short and action.scope == scope]
    chosen += [action for action in ACTIONS if action.short and action.scope == "app" and action not in chosen]
    return [(key_text(keys_of(action, keymap)), action.short) for action in chosen]


def bindings(scope: str) -> list[BindingType]:
    """Textual's bindings of ``scope``; their ``id`` is the action's name, so that ``set_keymap`` rebinds them.

    All have priority: the application then does them in the order of the keys. Otherwise keys that arrive in one
    piece (a fast typist over SSH) go to the widget that had the focus before the first of them.
    """
    from textual.binding import Binding

    return [
        Binding(
            action.keys,
            f"app.act('{action.name}')",
            action.title,
            show=False,
            priority=True,
            id=action.name,
            tooltip=action.help,
        )
        for action in ACTIONS
        if action.scope == scope
    ]
