"""Pull, push and login over the API: messages as they come, errors before and inside them, clients that leave."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from core.errors import DockyardError, Exhausted, NotFound, Unauthorized
from core.image.registry.credentials import ANONYMOUS, Credentials
from tests.api.fakes import IMAGE_ID, Served
from tests.api.test_docker_client import docker


def header(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


async def test_a_pull_streams_its_messages(api: Served) -> None:
    api.engine.registries.messages = ["Pulling from team/app", "Status: done"]
    auth = {"X-Registry-Auth": header({"username": "me", "password": "secret"})}
    answer = await api.ask("POST", "/images/create?fromImage=team/app&tag=1&platform=linux/arm64", headers=auth)
    assert answer.status == 200
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["content-type"] == "application/json"
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["status"] for line in lines] == ["Pulling from team/app", "Status: done"]
    assert api.engine.registries.asked == [("pull", "team/app", "1", "linux/arm64", Credentials("me", "secret"))]


@pytest.mark.parametrize("value", ["", "%%%", "bm8gSlNPTg==", header(["a"]), header({"username": 7})])
async def test_credentials_that_are_nonsense_are_nobodys(api: Served, value: str) -> None:
    await api.ask("POST", "/images/create?fromImage=app", headers={"X-Registry-Auth": value})
    assert api.engine.registries.asked == [("pull", "app", "", "", ANONYMOUS)]


@pytest.mark.parametrize(
    ("error", "status"),
    [(NotFound("no such repository"), 404), (Unauthorized("who are you"), 401), (Exhausted("disk is full"), 500)],
)
async def test_what_fails_before_the_first_message_has_a_status(api: Served, error: DockyardError, status: int) -> None:
    api.engine.registries.failure = error
    answer = await api.ask("POST", "/images/create?fromImage=app")
    assert (answer.status, answer.body) == (status, {"message": error.message})


@pytest.mark.parametrize("error", [NotFound("layer is gone"), ZeroDivisionError("a defect")])
async def test_what_fails_later_is_told_inside(api: Served, error: Exception) -> None:
    api.engine.registries.messages = ["Pulling"]
    api.engine.registries.failure = error
    answer = await api.ask("POST", "/images/app/push?tag=1")
    first, last = (json.loads(line) for line in answer.body.splitlines())
    assert (answer.status, first["status"]) == (200, "Pulling")
    assert last["error"] == last["errorDetail"]["message"]
    assert last["error"] == ("layer is gone" if isinstance(error, NotFound) else last["error"])
    assert "failed" in last["error"] or last["error"] == "layer is gone"


async def test_a_client_that_leaves_ends_the_pull(api: Served) -> None:
    api.engine.registries.messages = ["Pulling"]
    api.engine.registries.blocks = True
    reader, writer = await asyncio.open_unix_connection(str(api.path))
    writer.write(b"POST /images/create?fromImage=app HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
    async with asyncio.timeout(10):
        await reader.readuntil(b"Pulling")
        writer.close()
        await api.engine.registries.cancelled.wait()


async def test_login_and_looks(api: Served) -> None:
    body = {"username": "me", "password": "p", "serveraddress": "r.example"}
    answer = await api.ask("POST", "/auth", body)
    assert (answer.status, answer.body) == (200, {"Status": "Login Succeeded", "IdentityToken": ""})
    assert api.engine.registries.asked == [("login", "r.example", Credentials("me", "p"))]
    api.engine.registries.failure = Unauthorized("r.example: incorrect")
    assert (await api.ask("POST", "/auth", body)).status == 401
    assert (await api.ask("POST", "/auth", [1])).status == 400
    answer = await api.ask("GET", "/distribution/team/app:1/json")
    assert answer.body["Descriptor"]["digest"] == IMAGE_ID
    answer = await api.ask("GET", "/images/search?term=box&limit=5")
    assert [item["name"] for item in answer.body] == ["busybox", "team/box"]
    filters = "%7B%22is-official%22%3A%5B%22true%22%5D%7D"
    answer = await api.ask("GET", f"/images/search?term=box&filters={filters}")
    assert [item["name"] for item in answer.body] == ["busybox"]
    assert (await api.ask("GET", "/images/search?term=box&filters=%7B%22x%22%3A%5B%221%22%5D%7D")).status == 400


async def test_docker_pulls_pushes_and_searches(api: Served) -> None:
    api.engine.registries.messages = ["Pulling from library/app"]
    code, out, err = await docker(api, "pull", "app")
    assert (code, out, err) == (
        0,
        "Using default tag: latest\nPulling from library/app\ndocker.io/library/app:latest\n",
        "",
    )
    code, out, _ = await docker(api, "push", "registry.example:5000/team/app:1")
    assert code == 0
    assert api.engine.registries.asked[-1][:3] == ("push", "registry.example:5000/team/app", "1")
    code, out, _ = await docker(api, "search", "--format", "{{.Name}} {{.StarCount}}", "box")
    assert (code, out) == (0, "busybox 3000\nteam/box 1\n")
