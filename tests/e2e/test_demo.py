"""The demo: what it starts, that it can be repeated, that it goes again; and a first run on a machine with nothing."""

from __future__ import annotations

from tests.support import Engine, wait_until

NAMES = ["demo-api", "demo-web", "demo-clock", "demo-worker", "demo-failed", "demo-greedy"]

#: A machine without any engine: empty /var/lib and /run, in a mount namespace of its own. Nothing may stay behind.
FIRST_RUN = """
set -e
mount -t tmpfs fresh /var/lib
mount -t tmpfs fresh /run
trap 'read pid < /var/lib/dockyard/lock; kill $pid; while kill -0 $pid 2> /dev/null; do :; done' EXIT
"$@"
echo === again
"$@"
"$@" demo --rm > /dev/null
echo === removed
"$@" ps -aq
"""


def by_name(engine: Engine) -> dict[str, dict[str, object]]:
    return {item["Names"][0][1:]: item for item in engine.containers()}


def test_the_demo_shows_what_there_is_to_see(engine: Engine) -> None:
    assert engine.dockyard("demo", check=True).stdout.split() == NAMES
    assert sorted(by_name(engine)) == sorted(NAMES)
    assert all(item["Labels"] == {"dockyard.demo": "1"} for item in by_name(engine).values())
    assert engine.wait_state("demo-greedy", "exited")["State"]["OOMKilled"] is True
    assert engine.wait_state("demo-failed", "exited")["State"]["ExitCode"] == 3
    wait_until(lambda: "tick" in engine.dockyard("logs", "demo-clock").stdout, what="the clock ticks")
    wait_until(lambda: "of api)" in engine.dockyard("logs", "demo-web").stdout, what="web reaches api by its alias")
    assert "GET /" in engine.dockyard("logs", "demo-api").stdout


def test_it_can_be_repeated_and_removed(engine: Engine) -> None:
    engine.dockyard("create", "--name", "mine", "host", "true", check=True)
    engine.dockyard("demo", check=True)
    before = {name: item["Id"] for name, item in by_name(engine).items()}
    engine.dockyard("rm", "-f", "demo-web", check=True)
    engine.dockyard("demo", check=True)
    after = {name: item["Id"] for name, item in by_name(engine).items()}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"demo-web"}
    assert sorted(engine.dockyard("demo", "--rm", check=True).stdout.split()) == sorted(NAMES)
    assert list(by_name(engine)) == ["mine"]
    assert "demo-net" not in engine.dockyard("network", "ls", check=True).stdout


def test_a_first_run_starts_the_engine_and_the_demo(engine: Engine) -> None:
    surroundings = {k: v for k, v in engine.environment().items() if k not in ("DOCKYARD_HOST", "DOCKER_HOST")}
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", FIRST_RUN, "sh", *engine.command]
    try:
        done = engine.netns_run(argv, env=surroundings, check=True)
    finally:  # an engine that ends leaves its rules in force: this one's would stay in the other's namespace
        engine.netns.nft("add table inet dockyard-main\ndelete table inet dockyard-main")
        engine.netns.run(["ip", "link", "delete", "dockyard0"], check=False)
    first, _, rest = done.stdout.partition("=== again\n")
    again, _, removed = rest.partition("=== removed\n")
    for text in (first, again):
        assert all(name in text for name in NAMES)
        assert "\x1b" not in text
    assert removed == ""
