"""What is said of an exec that never reached its container."""

from __future__ import annotations

from typing import cast

import pytest

from core.container.execs import ExecRequest, ExecService
from core.container.status import Status
from core.container.store import ContainerStore
from core.container.supervisor import Supervisor
from core.container.waiting import Waiters
from core.errors import DockyardError
from core.events import EventBus
from core.runtime.client import Runtime
from tests.conftest import OpenDatabase
from tests.container.records import make_container


async def test_an_exec_whose_monitor_is_lost_has_failed(open_database: OpenDatabase) -> None:
    """Its client is upgraded by then and learns of it by the exit code alone: none would be taken for success."""
    store = ContainerStore(open_database(":memory:"))
    store.insert(make_container(status=Status.RUNNING))
    # Without a task: this daemon has no connection to the container's monitor.
    supervisor = Supervisor(store, EventBus(), Waiters(), cast(Runtime, None))
    execs = ExecService(store, supervisor, EventBus(), lambda host: "")
    identifier = execs.create("box", ExecRequest(("true",)))
    with pytest.raises(DockyardError):
        await execs.start(identifier, None)
    assert execs.inspect(identifier)["ExitCode"] == 126
    assert execs.inspect(identifier)["Running"] is False
