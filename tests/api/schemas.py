"""The shapes of answers that Docker's clients depend on, as JSON schemas of our own (Engine API 1.51)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import yaml

_STRING = {"type": "string"}
_STRINGS = {"type": "array", "items": _STRING}
_INTEGER = {"type": "integer"}
_BOOLEAN = {"type": "boolean"}
_OBJECT = {"type": "object"}
_ID = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_DIGEST = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$"}
_LABELS = {"type": "object", "additionalProperties": _STRING}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(**members: Any) -> dict[str, Any]:
    """An object with all of these members; a name that ends in ``_`` may be missing."""
    properties = {name.rstrip("_"): schema for name, schema in members.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in members if not name.endswith("_")],
    }


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


_CONFIG = _object(
    Hostname=_STRING, Domainname=_STRING, User=_STRING, AttachStdin=_BOOLEAN, AttachStdout=_BOOLEAN,
    AttachStderr=_BOOLEAN, Tty=_BOOLEAN, OpenStdin=_BOOLEAN, StdinOnce=_BOOLEAN, Env=_STRINGS,
    Cmd=_or_null(_STRINGS), Image=_STRING, WorkingDir=_STRING, Entrypoint=_or_null(_STRINGS), Labels=_LABELS,
    ExposedPorts_=_OBJECT, StopSignal_=_STRING, StopTimeout_=_INTEGER,
)  # fmt: skip

_HOST_CONFIG = _object(
    Memory=_INTEGER, NanoCpus=_INTEGER, CpuShares=_INTEGER, Binds=_or_null(_STRINGS), NetworkMode=_STRING,
    AutoRemove=_BOOLEAN, Privileged=_BOOLEAN, ReadonlyRootfs=_BOOLEAN, ShmSize=_INTEGER,
    CapAdd=_or_null(_STRINGS), CapDrop=_or_null(_STRINGS), PidsLimit=_or_null(_INTEGER),
    LogConfig=_object(Type=_STRING, Config=_LABELS),
    RestartPolicy=_object(Name=_STRING, MaximumRetryCount=_INTEGER),
    PortBindings=_OBJECT, ConsoleSize=_list(_INTEGER),
)  # fmt: skip

_STATE = _object(
    Status={"enum": ["created", "running", "paused", "restarting", "removing", "exited", "dead"]},
    Running=_BOOLEAN, Paused=_BOOLEAN, Restarting=_BOOLEAN, OOMKilled=_BOOLEAN, Dead=_BOOLEAN, Pid=_INTEGER,
    ExitCode=_INTEGER, Error=_STRING, StartedAt=_TIME, FinishedAt=_TIME,
)  # fmt: skip

SCHEMAS: dict[str, dict[str, Any]] = {
    "ContainerCreated": _object(Id=_ID, Warnings=_STRINGS),
    "ContainerList": _list(
        _object(
            Id=_ID, Names=_list({"type": "string", "pattern": "^/"}), Image=_STRING, ImageID=_DIGEST,
            Command=_STRING, Created=_INTEGER, Ports=_list(_OBJECT), Labels=_LABELS, State=_STRING,
            Status=_STRING, HostConfig=_object(NetworkMode=_STRING), NetworkSettings=_object(Networks=_OBJECT),
            Mounts=_list(_OBJECT),
        )
    ),
    "Container": _object(
        Id=_ID, Created=_TIME, Path=_STRING, Args=_STRINGS, State=_STATE, Image=_DIGEST, Name=_STRING,
        RestartCount=_INTEGER, Driver=_STRING, Platform=_STRING, HostConfig=_HOST_CONFIG, Config=_CONFIG,
        Mounts=_list(_OBJECT), NetworkSettings=_object(Networks=_OBJECT, Ports=_OBJECT, IPAddress=_STRING),
        GraphDriver=_object(Name=_STRING, Data=_OBJECT), LogPath=_STRING, ExecIDs=_or_null(_STRINGS),
    ),
    "ImageList": _list(
        _object(
            Id=_DIGEST, ParentId=_STRING, RepoTags=_STRINGS, RepoDigests=_STRINGS, Created=_INTEGER,
            Size=_INTEGER, SharedSize=_INTEGER, Labels=_LABELS, Containers=_INTEGER,
        )
    ),
    "Image": _object(
        Id=_DIGEST, RepoTags=_STRINGS, RepoDigests=_STRINGS, Created=_TIME, Architecture=_STRING, Os=_STRING,
        Size=_INTEGER, Config=_OBJECT, RootFS=_object(Type={"const": "layers"}, Layers=_list(_DIGEST)),
        GraphDriver=_object(Name=_STRING, Data=_OBJECT), Metadata=_object(LastTagTime=_TIME),
    ),
    "ImageHistory": _list(
        _object(
            Id=_STRING, Created=_INTEGER, CreatedBy=_STRING, Tags=_or_null(_STRINGS), Size=_INTEGER,
            Comment=_STRING,
        )
    ),
    "NetworkList": _list(
        _object(
            Name=_STRING, Id=_ID, Created=_TIME, Scope=_STRING, Driver=_STRING, EnableIPv6=_BOOLEAN,
            IPAM=_object(Driver=_STRING, Config=_list(_OBJECT)), Internal=_BOOLEAN, Attachable=_BOOLEAN,
            Ingress=_BOOLEAN, Containers=_OBJECT, Options=_LABELS, Labels=_LABELS,
        )
    ),
    "Event": _object(
        Type=_STRING, Action=_STRING, Actor=_object(ID=_STRING, Attributes=_LABELS), scope={"const": "local"},
        time=_INTEGER, timeNano=_INTEGER, status_=_STRING, id_=_STRING,
    ),
    "Waited": _object(StatusCode=_INTEGER, Error_=_object(Message=_STRING)),
}  # fmt: skip

_OPENAPI = Path(__file__).parents[2] / "core/api/openapi.yaml"


def check(name: str, document: Any) -> None:
    """Raise ValidationError unless ``document`` is as the schema ``name`` says."""
    jsonschema.validate(document, SCHEMAS[name])


def check_openapi(path: str, document: Any) -> None:
    """The same for the 200 answer to GET of one path of ``core/api/openapi.yaml``."""
    description = yaml.safe_load(_OPENAPI.read_text())
    answer = description["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(document, {**answer, "components": description["components"]})
