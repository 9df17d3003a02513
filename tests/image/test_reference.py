"""Names of images: how people write them, in full, and what is no name."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.image import reference
from core.image.reference import Reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", Reference("docker.io", "library/busybox", "latest", ""), "busybox:latest"),
        ("busybox:1.36", Reference("docker.io", "library/busybox", "1.36", ""), "busybox:1.36"),
        ("library/busybox", Reference("docker.io", "library/busybox", "latest", ""), "busybox:latest"),
        ("docker.io/library/busybox", Reference("docker.io", "library/busybox", "latest", ""), "busybox:latest"),
        ("index.docker.io/busybox", Reference("docker.io", "library/busybox", "latest", ""), "busybox:latest"),
        ("me/tool:x", Reference("docker.io", "me/tool", "x", ""), "me/tool:x"),
        ("library/a/b", Reference("docker.io", "library/a/b", "latest", ""), "library/a/b:latest"),
        ("localhost/a", Reference("localhost", "a", "latest", ""), "localhost/a:latest"),
        ("localhost:5000/a/b:t", Reference("localhost:5000", "a/b", "t", ""), "localhost:5000/a/b:t"),
        ("[2001:db8::1]:5000/a", Reference("[2001:db8::1]:5000", "a", "latest", ""), "[2001:db8::1]:5000/a:latest"),
        ("ghcr.io/a/b:v_1.2-x", Reference("ghcr.io", "a/b", "v_1.2-x", ""), "ghcr.io/a/b:v_1.2-x"),
        ("MyHost/tool", Reference("MyHost", "tool", "latest", ""), "MyHost/tool:latest"),
        (f"a@{DIGEST}", Reference("docker.io", "library/a", "", DIGEST), f"a@{DIGEST}"),
        (f"a:t@{DIGEST}", Reference("docker.io", "library/a", "t", DIGEST), f"a:t@{DIGEST}"),
        ("a--b__c.d", Reference("docker.io", "library/a--b__c.d", "latest", ""), "a--b__c.d:latest"),
    ],
)
def test_what_people_write(text: str, full: Reference, familiar: str) -> None:
    assert reference.parse(text) == full
    assert reference.parse(text).familiar == familiar


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "invalid reference format"),
        (":tag", "invalid reference format"),
        ("a:", "tag"),
        ("a:" + "t" * 129, "tag"),
        ("a:-t", "tag"),
        ("Busybox", "must be lowercase"),
        ("a/B", "must be lowercase"),
        ("a//b", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("../a", "invalid reference format"),
        ("a/../b", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a:t\n", "tag"),
        ("a___b", "invalid reference format"),
        ("a\0", "invalid reference format"),
        ("-a.b/c", "invalid reference format"),
        ("a..b/c", "invalid reference format"),
        ("a.b:port/c", "invalid reference format"),
        ("x" * 256, "invalid reference format"),
        ("x" * 100_000, "longer than"),
        ("f" * 64, "64-byte hexadecimal"),
        ("a@sha256:12", "digest"),
        ("a@md5:" + "0" * 32, "digest"),
        ("a@", "digest"),
    ],
)
def test_what_is_no_name(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        reference.parse(text)


def test_no_name_takes_long() -> None:
    """A host's labels must not be matched in more than one way: a name of an archive would stop the engine."""
    begin = time.perf_counter()
    for text in ("a" * 400 + ".!/x", "a-" * 200 + ".!/x", "a" * 200 + "_" * 20 + "/!", "a.b/" + "a-" * 120 + "!"):
        with pytest.raises(InvalidArgument):
            reference.parse(text)
    assert time.perf_counter() - begin < 1


_part = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
_path = st.lists(_part, min_size=1, max_size=4).map("/".join)
_domain = st.sampled_from(["", "localhost/", "quay.io/", "reg.example.com:5000/", "docker.io/", "[::1]/"])
_tag = st.text(string.ascii_letters + string.digits + "._-", max_size=20).filter(lambda t: t[:1] not in ".-")


@given(_domain, _path, _tag, st.booleans())
def test_familiar_names_mean_the_same(domain: str, path: str, tag: str, with_digest: bool) -> None:
    text = domain + path + (f":{tag}" if tag else "") + (f"@{DIGEST}" if with_digest else "")
    found = reference.parse(text)
    assert reference.parse(found.familiar) == found
    assert found.tag or found.digest


@given(st.text(max_size=600))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    try:
        found = reference.parse(text)
    except InvalidArgument:
        return
    assert reference.parse(found.familiar) == found
