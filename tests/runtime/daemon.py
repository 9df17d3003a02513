"""A daemon to be killed: ``python -m tests.runtime.daemon FOLDER STOCK POINT [FD]``.

Starts one container in FOLDER (busybox in STOCK), says ``POINT`` and waits to be killed when it is there. Points:
``spawned`` (sent, unanswered), ``created``, ``start-sent``, ``started``. With FD, a client's stream that is attached
and also given to an exec of ``sh``.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from core.runtime import protocol
from tests.runtime.harness import Bench, Stock, prepare_placement


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


async def reached(point: str, wanted: str, **facts: Any) -> None:
    if point == wanted:
        say(point=point, **facts)
        await asyncio.Event().wait()


async def main(folder: str, stock: str, wanted: str, fd: int) -> None:
    shared = Stock.__new__(Stock)
    shared.rootfs, shared.filter = Path(stock) / "rootfs", Path(stock) / "seccomp.bpf"
    bench = Bench(Path(folder), prepare_placement(), shared)
    await bench.runtime.start()
    box = bench.box("/bin/sh", "-c", "echo begun; exec sleep 1000")
    box.write()
    if wanted == "spawned":
        zygote = await bench.runtime._living_zygote()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        zygote.spawn(1, str(box.run_dir), theirs)
        await reached("spawned", wanted, run_dir=str(box.run_dir), fd=ours.fileno())
    task = await bench.runtime.spawn(str(box.run_dir))
    box.use(task)
    facts = {"run_dir": str(box.run_dir), "id": box.id, "pid": task.pid, "monitor": task.monitor_pid}
    await reached("created", wanted, **facts)
    if wanted == "start-sent":
        task._channel.send(protocol.Start(99))
        await reached("start-sent", wanted, **facts)
    await task.start()
    if fd >= 0:
        client = socket.socket(fileno=fd)
        config: Any = {
            "exec_id": "shell", "process": box.process(["sh"]), "user": "", "set_home": True, "tty": True,
            "stdin": True, "stdout": True, "stderr": True, "console_size": [24, 80], "detach_keys": "", "preread": "",
            "seccomp": str(bench.filter),
        }  # fmt: skip
        await task.exec(config, client)
    await reached("started", wanted, **facts)


if __name__ == "__main__":
    os.setsid()
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else -1))
