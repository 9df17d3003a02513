"""Seccomp profiles: Docker's default, and a person's own in Docker's format → the OCI spec's form.

``compile_filter`` (:mod:`core.linux.seccomp_compiler`) makes the kernel's program of one.
"""

from __future__ import annotations

import errno
import json
import os
from typing import Any, NamedTuple

from core import oci
from core.errors import InvalidArgument, Unsupported
from core.linux import seccomp_default as default
from core.linux.seccomp_compiler import ACTIONS, COMPARISONS, architectures_of, compile_filter

__all__ = ["compile_filter", "default_profile", "load_profile"]

#: Docker's words for machines in ``includes`` and ``excludes``.
_DOCKER_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
_U64 = 0xFFFF_FFFF_FFFF_FFFF

# --- the default profile -----------------------------------------------------------------------------


def default_profile(capabilities: list[str], machine: str = "") -> oci.Seccomp:
    """Docker's default profile for a container with ``capabilities`` (its bounding set) on ``machine``."""
    machine = machine or os.uname().machine
    architectures = architectures_of(machine)
    rules: list[oci.SeccompRule] = [
        _allow(default.ALLOWED),
        _allow(default.ALLOWED_SINCE_4_8),
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": default.SOCKET_BELOW, "op": "SCMP_CMP_LT"}],
        },
    ]
    rules += [_allow_value("socket", family) for family in default.SOCKET_FAMILIES]
    rules += [_allow_value("personality", value) for value in default.PERSONALITIES]
    rules.append(_allow(default.ALLOWED_ON[architectures[0]]))
    have = set(capabilities)
    rules += [_allow(names) for capability, names in default.ALLOWED_WITH.items() if capability in have]
    if "CAP_SYS_ADMIN" not in have:
        rules.append(
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{
                    "index": 0, "value": default.CLONE_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ",
                }],
            }
        )  # fmt: skip
        # Its flags lie in memory, where a filter cannot look; ENOSYS makes a C library use clone.
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": list(architectures),
        "syscalls": rules,
    }


def _allow(names: str) -> oci.SeccompRule:
    return {"names": names.split(), "action": "SCMP_ACT_ALLOW"}


def _allow_value(name: str, value: int) -> oci.SeccompRule:
    return {
        "names": [name],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}],
    }


# --- profiles in Docker's format ---------------------------------------------------------------------


def load_profile(text: str, capabilities: list[str], machine: str = "") -> oci.Seccomp | None:
    """A profile in Docker's JSON format (``archMap``, ``includes``, ``excludes``) as the OCI spec has it.

    None when it restricts nothing (no default action and no rule). InvalidArgument names the rule that is wrong,
    Unsupported what this engine does not do (notify, filter flags).
    """
    machine = machine or os.uname().machine
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"seccomp profile: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("seccomp profile: a JSON object is expected")
    if not document.get("defaultAction") and not document.get("syscalls"):
        return None
    for key in ("flags", "listenerPath", "listenerMetadata"):
        if document.get(key):
            raise Unsupported(f"seccomp profile: {key} is not supported")
    profile: oci.Seccomp = {
        "defaultAction": _action_name(document.get("defaultAction"), "defaultAction"),
        "architectures": _architectures(document, machine),
        "syscalls": [],
    }
    if document.get("defaultErrnoRet") is not None:
        profile["defaultErrnoRet"] = _integer(document["defaultErrnoRet"], "defaultErrnoRet", 4095)
    rules = document.get("syscalls") or []
    if not isinstance(rules, list):
        raise InvalidArgument("seccomp profile: syscalls must be a list")
    for index, rule in enumerate(rules):
        where = f"syscalls[{index}]"
        checked = _rule(rule, where)
        if _applies(rule, where, capabilities, machine):
            profile["syscalls"].append(checked)
    return profile


def _architectures(document: dict[str, Any], machine: str) -> list[str]:
    given, mapped = document.get("architectures") or [], document.get("archMap") or []
    if given and mapped:
        raise InvalidArgument("seccomp profile: use either architectures or archMap, not both")
    own = architectures_of(machine)
    if mapped:
        for item in _list_of(mapped, dict, "archMap"):
            if item.get("architecture") == own[0]:
                subs = _list_of(item.get("subArchitectures") or [], str, "archMap.subArchitectures")
                return [own[0], *(arch for arch in subs if arch in own)]
        return [own[0]]
    return [arch for arch in _list_of(given, str, "architectures") if arch in own] or [own[0]]


def _list_of(value: Any, kind: type, where: str) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise InvalidArgument(f"seccomp profile: {where} must be a list")
    return value


def _integer(value: Any, where: str, most: int = _U64) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidArgument(f"seccomp profile: {where} must be a number from 0 to {most}, not {value!r}")
    return value


def _action_name(value: Any, where: str) -> str:
    if value == "SCMP_ACT_NOTIFY":
        raise Unsupported(f"seccomp profile: {where}: SCMP_ACT_NOTIFY is not supported")
    if value not in ACTIONS:
        raise InvalidArgument(
            f"seccomp profile: {where}: unknown action {value!r}", hint=f"one of {', '.join(ACTIONS)}"
        )
    return str(value)


def _rule(rule: Any, where: str) -> oci.SeccompRule:
    if not isinstance(rule, dict):
        raise InvalidArgument(f"seccomp profile: {where} must be an object")
    if rule.get("name") and rule.get("names"):
        raise InvalidArgument(f"seccomp profile: {where}: use either name or names, not both")
    names = [rule["name"]] if rule.get("name") else rule.get("names")
    names = _list_of(names, str, f"{where}.names")
    action = _action_name(rule.get("action"), f"{where}.action")
    checked: oci.SeccompRule = {"names": names, "action": action}
    if rule.get("errnoRet") is not None:
        checked["errnoRet"] = _integer(rule["errnoRet"], f"{where}.errnoRet", 4095)
    args = _list_of(rule.get("args") or [], dict, f"{where}.args")
    if args:
        checked["args"] = [_argument(arg, f"{where}.args[{index}]") for index, arg in enumerate(args)]
    return checked


def _argument(arg: dict[str, Any], where: str) -> oci.SeccompArg:
    op = arg.get("op")
    if not isinstance(op, str) or op.removeprefix("SCMP_CMP_") not in COMPARISONS:
        raise InvalidArgument(
            f"seccomp profile: {where}: unknown comparison {op!r}",
            hint=f"one of {', '.join('SCMP_CMP_' + name for name in COMPARISONS)}",
        )
    return {
        "index": _integer(arg.get("index"), f"{where}.index", 5),
        "value": _integer(arg.get("value", 0), f"{where}.value"),
        "valueTwo": _integer(arg.get("valueTwo", 0), f"{where}.valueTwo"),
        "op": op,
    }


def _applies(rule: dict[str, Any], where: str, capabilities: list[str], machine: str) -> bool:
    """Docker's conditions: every named capability must be there to include, any one excludes."""
    includes, excludes = (_filter(rule.get(key) or {}, f"{where}.{key}") for key in ("includes", "excludes"))
    arch = _DOCKER_ARCHES.get(machine, machine)
    if arch in excludes.arches or any(name in capabilities for name in excludes.caps):
        return False
    if excludes.kernel and _kernel() >= excludes.kernel:
        return False
    if includes.arches and arch not in includes.arches:
        return False
    if not all(name in capabilities for name in includes.caps):
        return False
    return not includes.kernel or _kernel() >= includes.kernel


class _Filter(NamedTuple):
    arches: list[str]
    caps: list[str]
    kernel: tuple[int, int] | None


def _filter(value: Any, where: str) -> _Filter:
    if not isinstance(value, dict):
        raise InvalidArgument(f"seccomp profile: {where} must be an object")
    arches = _list_of(value.get("arches") or [], str, f"{where}.arches")
    caps = _list_of(value.get("caps") or [], str, f"{where}.caps")
    return _Filter(arches, caps, _version(value.get("minKernel"), f"{where}.minKernel"))


def _version(value: Any, where: str) -> tuple[int, int] | None:
    if not value:
        return None
    parts = value.split(".") if isinstance(value, str) else []
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise InvalidArgument(f"seccomp profile: {where}: a kernel version like 4.8 is expected, not {value!r}")
    return int(parts[0]), int(parts[1])


def _kernel() -> tuple[int, int]:
    digits = os.uname().release.split("-")[0].split(".")
    return int(digits[0]), int("".join(c for c in digits[1] if c.isdecimal()))
