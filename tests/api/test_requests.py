"""Plain requests: versions, headers, errors, parameters, bodies."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from core.container.status import Status
from core.errors import Conflict, Exhausted, NotModified, StartFailed
from tests.api import schemas
from tests.api.fakes import IMAGE_ID, Served, read_head


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.41", "/v1.51"])
async def test_every_version_answers(api: Served, prefix: str) -> None:
    answer = await api.ask("GET", f"{prefix}/containers/json")
    assert (answer.status, answer.body) == (200, [])


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.52", "client version 1.52 is too new. Maximum supported API version is 1.51"),
        ("1.23", "client version 1.23 is too old. Minimum supported API version is 1.24"),
    ],
)
async def test_other_versions_are_refused(api: Served, version: str, words: str) -> None:
    answer = await api.ask("GET", f"/v{version}/version")
    assert answer.status == 400
    assert answer.body["message"].startswith(words)


async def test_ping_tells_the_version(api: Served) -> None:
    answer = await api.ask("GET", "/_ping")
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["api-version"] == "1.51"
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["server"] == "Dockyard/0.1.0 (linux)"
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert answer.headers["swarm"] == "inactive"
    head = await api.ask("HEAD", "/_ping")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("target", ["/containers/json", "/nowhere", "/containers/none/json", "/swarm"])
async def test_every_answer_is_plain_json_with_the_common_headers(api: Served, target: str) -> None:
    answer = await api.ask("GET", target)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["api-version"] == "1.51"
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["server"].startswith("Dockyard/")


@pytest.mark.parametrize(
    ("method", "target", "status", "words"),
    [
        ("GET", "/nowhere", 404, "page not found"),
        ("GET", "/containers/none/json", 404, "No such container: none"),
        ("GET", "/swarm", 503, "This node is not a swarm manager."),
        ("POST", "/v1.44/nodes/x/update", 503, "This node is not a swarm manager."),
        ("POST", "/build", 501, "POST /build is not supported"),
        ("POST", "/v1.44/build", 501, "POST /build is not supported"),
        ("POST", "/containers/x/checkpoints", 501, "POST /containers/x/checkpoints is not supported"),
        ("POST", "/networks/create", 400, "the request's body is missing"),
        ("GET", "/networks/nowhere", 404, "network nowhere not found"),
        ("DELETE", "/networks/bridge", 403, "bridge is a pre-defined network and cannot be removed"),
        ("GET", "/networks?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D", 400, "invalid filter 'colour'"),
        ("GET", "/containers/json?limit=many", 400, 'invalid limit: "many"'),
        ("GET", "/containers/json?filters=%7B", 400, "invalid filter"),
        ("GET", "/containers/json?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D", 400, "invalid filter 'colour'"),
        ("POST", "/containers/box/wait?condition=bored", 400, 'invalid condition: "bored"'),
        ("GET", "/containers/box/logs", 400, "Bad parameters: you must choose at least one stream"),
        ("GET", "/containers/box/logs?stdout=1&since=noon", 400, 'invalid since: "noon"'),
        ("POST", "/containers/box/resize", 400, "the terminal's size is missing"),
        ("POST", "/containers/box/attach?stream=1&detachKeys=ctrl-!", 400, "invalid detach keys"),
        ("POST", "/containers/create?name=-", 400, "Invalid container name (-)"),
        ("POST", "/exec/none/start", 404, "No such exec instance: none"),
        ("POST", "/images/create", 400, "no image is named"),
        ("GET", "/images/none/json", 404, "No such image: none:latest"),
        ("GET", "/volumes/v", 404, "get v: no such volume"),
    ],
)
async def test_errors_have_a_status_and_say_what(
    api: Served, method: str, target: str, status: int, words: str
) -> None:
    api.engine.add("box")
    answer = await api.ask(method, target)
    assert (answer.status, list(answer.body)) == (status, ["message"])
    assert words in answer.body["message"]


async def test_start_refuses_a_body(api: Served) -> None:
    api.engine.add("box")
    answer = await api.ask("POST", "/containers/box/start", {"Binds": []})
    assert answer.status == 400
    assert "non-empty request body" in answer.body["message"]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotModified("it runs"), 304, ""),
        (Conflict("it is being removed"), 409, "it is being removed"),
        (Exhausted("the disk is full"), 500, "the disk is full"),
        (StartFailed("exec: nope", exit_code=127), 400, "exec: nope (executable file not found)"),
        (StartFailed("exec: /x: permission denied", exit_code=126), 400, "exec: /x: permission denied"),
        (StartFailed("mounts: /a is a file", exit_code=128), 500, "mounts: /a is a file"),
    ],
)
async def test_a_failed_start_is_told(api: Served, error: Exception, status: int, words: str) -> None:
    api.engine.add("box")
    api.engine.containers.fail["start"] = error  # type: ignore[assignment]
    answer = await api.ask("POST", "/containers/box/start")
    assert answer.status == status
    if words:
        assert answer.body == {"message": words}
    else:
        assert answer.body == b""


async def test_a_defect_is_an_answer_too(api: Served, caplog: pytest.LogCaptureFixture) -> None:
    api.engine.add("box")
    api.engine.containers.fail["start"] = ZeroDivisionError("oops")  # type: ignore[assignment]
    answer = await api.ask("POST", "/containers/box/start")
    assert answer.status == 500
    assert "oops" not in answer.body["message"]
    assert "ZeroDivisionError" in caplog.text


async def test_create_gives_id_and_warnings(api: Served) -> None:
    answer = await api.ask("POST", "/v1.43/containers/create?name=box", {"Image": "img", "Cmd": ["true"]})
    assert answer.status == 201
    schemas.check("ContainerCreated", answer.body)
    request = api.engine.containers.calls[0][1]
    assert (request.name, request.config["Image"]) == ("box", "img")


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"Image": "i", "Cmd": "\xff"}'])
async def test_a_body_that_is_not_json(api: Served, body: bytes) -> None:
    head = f"POST /containers/create HTTP/1.1\nHost: d\nContent-Type: application/json\nContent-Length: {len(body)}"
    reader, writer = await api.open(head, body)
    status, _ = await read_head(reader)
    writer.close()
    assert status == 400


async def test_a_body_has_a_limit(api: Served) -> None:
    head = "POST /containers/create HTTP/1.1\nHost: d\nContent-Type: application/json\nContent-Length: 99999999"
    reader, writer = await api.open(head)
    status, _ = await read_head(reader)
    assert status == 400
    assert not api.engine.containers.calls
    writer.close()


async def test_a_chunked_body_has_the_same_limit(api: Served) -> None:
    head = "POST /containers/create HTTP/1.1\nHost: d\nContent-Type: application/json\nTransfer-Encoding: chunked"
    reader, writer = await api.open(head)
    for _ in range(5):
        writer.write(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
    status, _ = await read_head(reader)
    assert status == 400
    writer.close()


async def test_browsers_are_refused(api: Served) -> None:
    reader, writer = await api.open("GET /containers/json HTTP/1.1\nHost: d\nOrigin: http://evil.example")
    status, _ = await read_head(reader)
    writer.close()
    assert status == 403


@pytest.mark.parametrize(
    "body",
    [b'{"Image": "img", "User": "\\ud800"}', b'{"Image": "\xed\xa0\x80"}', '{"Image": "x"}'.encode("utf-16")],
)
async def test_text_that_no_file_name_can_hold_is_refused(api: Served, body: bytes) -> None:
    head = f"POST /containers/create HTTP/1.1\nHost: d\nContent-Type: application/json\nContent-Length: {len(body)}"
    reader, writer = await api.open(head, body)
    status, _ = await read_head(reader)
    writer.close()
    assert status == 400
    assert api.engine.containers.calls == []


async def test_a_body_of_another_type_is_refused(api: Served) -> None:
    answer = await api.ask("POST", "/containers/create", b'{"Image": "img"}')
    assert answer.status == 400
    assert "must be 'application/json'" in answer.body["message"]


async def test_list_and_inspect_have_dockers_shape(api: Served) -> None:
    box = api.engine.add("box", running=True)
    listed = await api.ask("GET", "/containers/json")
    schemas.check("ContainerList", listed.body)
    assert [item["Names"] for item in listed.body] == [["/box"]]
    inspected = await api.ask("GET", f"/containers/{box.short}/json")
    schemas.check("Container", inspected.body)
    assert inspected.body["State"]["Running"] is True


@pytest.mark.parametrize("form", ['{"name":{"box":true}}', '{"name":["box"]}'])
async def test_both_forms_of_filters(api: Served, form: str) -> None:
    api.engine.add("box")
    api.engine.add("other")
    answer = await api.ask("GET", f"/containers/json?all=1&filters={quote(form)}")
    assert [item["Names"] for item in answer.body] == [["/box"]]


async def test_verbs_reach_the_service(api: Served) -> None:
    api.engine.add("box", running=True)
    for method, target, status in (
        ("POST", "/containers/box/stop?t=3&signal=INT", 204),
        ("POST", "/containers/box/restart", 204),
        ("POST", "/containers/box/kill?signal=HUP", 204),
        ("POST", "/containers/box/resize?h=40&w=100", 200),
        ("DELETE", "/containers/box?force=true&v=1", 204),
    ):
        answer = await api.ask(method, target)
        assert (answer.status, answer.body) == (status, b"")
    assert api.engine.containers.calls == [
        ("stop", "box", 3, "INT"),
        ("restart", "box", None, ""),
        ("kill", "box", "HUP"),
        ("resize", "box", 40, 100),
        ("remove", "box", True),
    ]


async def test_image_names_hold_slashes(api: Served) -> None:
    name = "registry.example:5000/team/app:1"
    answer = await api.ask("GET", f"/images/{name}/json")
    schemas.check("Image", answer.body)
    assert answer.body["Id"] == IMAGE_ID
    schemas.check("ImageList", (await api.ask("GET", "/images/json")).body)
    schemas.check("ImageHistory", (await api.ask("GET", f"/images/{name}/history")).body)
    assert (await api.ask("POST", f"/images/{name}/tag?repo=app&tag=2")).status == 201
    assert (await api.ask("GET", "/images/app%3A2/json")).body["Id"] == IMAGE_ID
    assert (await api.ask("DELETE", f"/images/{name}")).body == [{"Untagged": name}]


async def test_import_and_load_read_the_whole_upload(api: Served) -> None:
    upload = b"x" * 3_000_000
    answer = await api.ask("POST", "/images/create?fromSrc=-&repo=app&tag=1&changes=CMD+a&changes=ENV+b%3Dc", upload)
    assert (answer.status, answer.body) == (200, {"status": IMAGE_ID})
    assert api.engine.images.imported == [("app:1", ["CMD a", "ENV b=c"], "", "")]
    answer = await api.ask("POST", "/images/load?quiet=1", upload)
    assert (answer.status, answer.body) == (200, {"stream": "Loaded image: app:1\n"})
    assert api.engine.images.uploads == [upload, upload]


async def test_an_upload_that_breaks_off_is_an_error_for_the_store(api: Served) -> None:
    _, writer = await api.open("POST /images/load HTTP/1.1\nHost: d\nContent-Length: 1000", b"part")
    writer.close()
    await writer.wait_closed()
    assert (await api.ask("GET", "/_ping")).status == 200
    assert api.engine.images.uploads == []


async def test_predefined_networks_and_no_volumes(api: Served) -> None:
    networks = (await api.ask("GET", "/networks")).body
    schemas.check("NetworkList", networks)
    assert {network["Name"] for network in networks} == {"bridge", "host", "none"}
    custom = await api.ask("GET", "/networks?filters=" + quote('{"type":{"custom":true}}'))
    assert custom.body == []
    assert (await api.ask("GET", "/networks/host")).body["Driver"] == "host"
    assert (await api.ask("GET", "/volumes")).body == {"Volumes": [], "Warnings": None}
    assert (await api.ask("GET", "/plugins")).body == []


async def test_dockyards_own_api_is_as_described(api: Served) -> None:
    answer = await api.ask("GET", "/dockyard/v1/engine")
    schemas.check_openapi("/engine", answer.body)


async def test_keep_alive_serves_many_requests(api: Served) -> None:
    reader, writer = await api.open("GET /containers/json HTTP/1.1\nHost: d")
    for _ in range(3):
        status, headers = await read_head(reader)
        assert status == 200
        assert json.loads(await reader.readexactly(int(headers["content-length"]))) == []
        writer.write(b"GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\n")
    writer.close()


async def test_restarted_is_not_recreated(api: Served) -> None:
    box = api.engine.add("box")
    assert (await api.ask("POST", "/containers/box/start")).status == 204
    assert api.engine.containers.get(box.id).status is Status.RUNNING


@pytest.mark.parametrize(
    "target",
    [
        "/containers/%00/json",
        "/containers/%ff%fe/json",
        "/containers/%ED%A0%80/json",
        "/containers/..%2f..%2fetc/json",
        "/containers//json",
        "//containers/json",
        "/v1.51",
        "/v1.51/",
        "/v9999999999.1/version",
        "/v1.x/version",
        "/containers/json?filters=" + "%5B" * 5000,
        "/containers/json?filters=%7B%22name%22%3A%5B%22%28%22%5D%7D",
        "/containers/json?filters=null",
        "/containers/json?filters=%7B%22name%22%3A5%7D",
        "/containers/json?limit=" + "9" * 5000,
        "/containers/json?" + "&".join(f"a{n}=1" for n in range(2000)),
        "/containers/box/logs?stdout=1&tail=" + "9" * 5000,
        "/containers/box/logs?stdout=1&since=" + "9" * 300,
        "/containers/box/logs?stdout=1&until=-1.5",
        "/events?until=1&since=" + "9" * 300,
        "/images/json?filters=%7B%22reference%22%3A%5B%22%5B%22%5D%7D",
        "/networks?filters=%7B%22id%22%3A%7B%22%22%3Atrue%7D%7D",
        "/%e2%82%ac",
    ],
)
async def test_strange_requests_get_an_answer(api: Served, target: str) -> None:
    api.engine.add("box")
    answer = await api.ask("GET", target)
    assert answer.status in (200, 400, 404, 501)


@pytest.mark.parametrize(
    "body",
    [
        "null", "5", "[]", '"x"', '{"Image": 5}', '{"Image": "i", "Env": {"a": 1}}', '{"Image": "\\u0000"}',
        '{"Image": "i", "Labels": {"\\ud800": "\\ud800"}}', '{"Image": "i", "HostConfig": []}',
        '{"Image": "i", "HostConfig": {"Memory": 1e400}}', '{"Image": "i", "HostConfig": {"Memory": NaN}}',
        '{"Image": "i", "HostConfig": {"Ulimits": [{"Name": "nofile", "Soft": "x"}]}}',
    ],
)  # fmt: skip
async def test_strange_bodies_get_an_answer(api: Served, body: str) -> None:
    head = f"POST /containers/create HTTP/1.1\nHost: d\nContent-Type: application/json\nContent-Length: {len(body)}"
    reader, writer = await api.open(head, body.encode())
    status, _ = await read_head(reader)
    writer.close()
    assert status in (201, 400)


async def test_streams_of_json_are_chunked(api: Served) -> None:
    """docker-py reads line by line only what is chunked."""
    reader, writer = await api.open("POST /images/load HTTP/1.1\nHost: d\nContent-Length: 1", b"x")
    status, headers = await read_head(reader)
    writer.close()
    assert (status, headers["transfer-encoding"], headers["content-type"]) == (200, "chunked", "application/json")


async def test_what_is_no_http_is_one_line_in_the_log(api: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    reader, writer = await api.open("GET /_ping HTTP/1.1\nHost: d\nBad Header: x\x01y")
    status, _ = await read_head(reader)
    writer.close()
    assert status == 400
    assert [record.exc_info for record in caplog.records] == [None] * len(caplog.records)
    assert "did not speak HTTP" in caplog.text
