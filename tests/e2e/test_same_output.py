"""Both command lines on the same engine: what ours prints is what Docker's prints, letter by letter."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.support import Engine, wait_until

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="the docker command line is not installed")

LINES = [
    ("ps", "-a"),
    ("ps", "-a", "--no-trunc"),
    ("ps", "-a", "-q"),
    ("ps", "-a", "-s"),
    ("ps", "-a", "--format", "table {{.Names}}\t{{.Image}}\t{{.Status}}"),
    ("ps", "-a", "--format", "table {{.ID}}\t{{.Command}}\t{{.Ports}}\t{{.Mounts}}\t{{.Networks}}"),
    ("ps", "-a", "--format", '{{.Names}}: {{.Labels}} {{.Label "tier"}} {{.LocalVolumes}} {{.State}}'),
    ("ps", "-a", "--format", "{{json .Names}} {{upper .Image}} {{.CreatedAt}} {{.RunningFor}}"),
    ("ps", "-a", "--format", '{{range $i, $n := split .Names ","}}{{$i}}{{$n}}{{end}}'),
    (
        "ps",
        "-a",
        "--format",
        '{{if eq .State "running"}}up{{else}}down{{end}} {{len .Names}} {{printf "%-9s|" .Names}}',
    ),
    ("ps", "-a", "--filter", "status=exited", "--format", "table"),
    ("ps", "--filter", "name=none"),
    ("images", "same"),
    ("images", "-a", "--no-trunc", "busybox"),
    ("images", "--digests", "busybox"),
    ("images", "-q"),
    ("images", "--format", "table {{.Repository}}\t{{.Tag}}\t{{.Size}}"),
    ("images", "same", "--format", "{{.ID}} {{.Tag}} {{.CreatedAt}} {{.CreatedSince}} {{.Digest}}"),
    ("images", "--filter", "reference=same*", "--format", "{{json .Tag}}"),
    ("volume", "ls"),
    ("volume", "ls", "-q"),
    ("volume", "ls", "--format", "table {{.Name}}\t{{.Driver}}\t{{.Scope}}"),
    ("volume", "ls", "--format", "{{.Name}} {{.Mountpoint}} {{.Labels}}"),
    ("volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{json .Labels}}", "data"),
    ("history", "same:1"),
    ("history", "--no-trunc", "same:1"),
    ("history", "-q", "same:1"),
    ("history", "-H=false", "same:1"),
    ("history", "--format", "table {{.ID}}\t{{.CreatedBy}}\t{{.Size}}", "same:1"),
    ("history", "--format", "{{.CreatedSince}} {{.CreatedAt}} {{.Comment}}", "same:1"),
    ("system", "df"),
    ("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}"),
    ("system", "df", "--format", "table {{.Type}}\t{{.Size}}"),
    ("system", "df", "-v"),
    ("info", "-f", "{{.Containers}} {{.ContainersPaused}} {{.Driver}} {{.NCPU}} {{.OSType}}"),
    ("version", "-f", "{{.Server.Version}} {{.Server.Os}} {{.Server.APIVersion}}"),
    ("diff", "up"),
    ("top", "up", "-o", "pid,comm"),
    ("port", "up"),
    ("inspect", "-f", "{{json .State.Health}} {{.Name}}", "up"),
    ("inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Destination}} {{end}}", "up"),
    ("inspect", "-s", "-f", "{{.SizeRw}}", "down"),
    ("container", "ls", "-aq", "--no-trunc"),
    ("image", "ls", "same"),
    ("logs", "down"),
]

WRONG = [
    ("ps", "--format", "{{.Nope}}"),
    ("ps", "--format", "{{.Names"),
    ("ps", "--filter", "colour=red"),
    ("images", "--filter", "colour=red"),
    ("inspect", "nothing"),
    ("history", "nothing"),
    ("diff", "nothing"),
    ("pause", "down"),
    ("unpause", "up"),
    ("rename", "up", "down"),
    ("rename", "up", "up"),
    ("update", "--memory", "1m", "up"),
    ("kill", "down"),
    ("exec", "down", "true"),
    ("cp", "up:/nothing", "."),
    ("rm", "up"),
    ("rmi", "nothing"),
    ("tag", "nothing", "x"),
    ("top", "down"),
    ("volume", "rm", "data"),
    ("volume", "inspect", "nothing"),
    ("save", "-o", "x", "nothing"),
    ("wait", "nothing"),
    ("stop", "nothing"),
    ("attach", "down"),
    ("logs", "nothing"),
    ("port", "nothing"),
    ("stats", "--no-stream", "nothing"),
]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with a little of everything, which no line here changes."""
    engine = Engine(tmp_path_factory.mktemp("e"))
    engine.start()
    try:
        engine.busybox()
        none = ("--network", "none")
        engine.dockyard(
            "run", "--name", "maker", *none, "busybox:test", "sh", "-c", "echo x > /x; rm /etc/group", check=True
        )
        engine.dockyard("commit", "-m", "a message", "maker", "same:1", check=True)
        engine.dockyard("rm", "maker", check=True)
        engine.dockyard("tag", "same:1", "registry.example:5000/same:2", check=True)
        flags = ("-v", "data:/data", "-l", "tier=front", "-l", "a=b", "--expose", "80", *none)
        script = "echo y > /y; sleep 1000"
        engine.dockyard("run", "-d", "--name", "up", *flags, "same:1", "sh", "-c", script, check=True)
        engine.dockyard(
            "run", "--name", "down", *none, "busybox:test", "sh", "-c", "echo out; head -c 3000 /dev/zero > /f; exit 3"
        )
        engine.dockyard("create", "--name", "made", *none, "busybox:test", "true", check=True)
        wait_until(lambda: "/y" in engine.dockyard("diff", "up").stdout, 10, "it has written")
        yield engine
    finally:
        engine.close()


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_what_is_printed(busy: Engine, line: tuple[str, ...]) -> None:
    # Ages change between two calls: both are asked until they agree.
    def same() -> bool:
        ours, theirs = busy.dockyard(*line), busy.docker(*line)
        seen[:] = [_without_host(ours.stdout), _without_host(theirs.stdout)]
        return seen[0] == seen[1] and ours.returncode == theirs.returncode

    seen = ["", ""]
    if not (same() or same() or same()):
        assert seen[0] == seen[1]


def _without_host(text: str) -> str:
    """What both print: not the built-in image, which has no age, nor the logs that Docker does not count."""
    before, logs, after = text.partition("Logs space usage:")
    text = before + after[after.index("Build cache") :] if logs else text
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(("host  ", "Logs")))


@pytest.mark.parametrize("line", WRONG, ids=" ".join)
def test_what_is_refused(busy: Engine, line: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cwd")
    ours, theirs = busy.dockyard(*line, cwd=folder), busy.docker(*line, cwd=folder)
    assert (ours.returncode == 0) == (theirs.returncode == 0)
    assert ours.stdout == theirs.stdout
    assert said(ours.stderr) == said(theirs.stderr)


def said(text: str) -> str:
    """The message without the program's name and Docker's pointers to its help."""
    lines = [line for line in text.strip().splitlines() if line and not line.startswith(("Usage:", "Run '", "See '"))]
    return " ".join(lines).replace("dockyard: ", "").replace("docker: ", "").removeprefix("Error: ")
