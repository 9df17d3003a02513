"""Files and folders of control groups: one write, one read, waiting for an event, removal. For both versions."""

from __future__ import annotations

import errno
import os
import select
import time

#: Version 1 has no event for a group that froze or became empty: it is looked at again after so long.
_LOOK_SECONDS = 0.001
#: Bytes that nearly every file fits into.
_SMALL = 16384


def write_file(path: str, value: str) -> None:
    """One write(2): the kernel takes a file's value whole. Raises OSError with the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def read_file(path: str) -> str:
    """A file's text, "" when it is not there or not to be read.

    A file object would ask the kernel more: statistics read thousands of files a second.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = os.read(fd, _SMALL)
        while more := os.read(fd, _SMALL):  # a file of many lines comes page by page
            data += more
        return data.decode()
    except OSError:
        return ""
    finally:
        os.close(fd)


def value_of(text: str, key: str) -> int:
    """The number behind ``key`` in a flat-keyed file."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return 0


def remove_folder(folder: str, seconds: float) -> bool:
    """Remove a group's folder; while its last processes leave, wait. Whether it is gone afterwards."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return True
        except OSError as error:
            left = deadline - time.monotonic()
            if error.errno != errno.EBUSY or left <= 0:
                return False
            _wait_empty(folder, left)
        else:
            return True


def remove_tree(folder: str, deadline: float) -> bool:
    """Remove a group with all below it; ``deadline`` as time.monotonic() counts. Whether it is gone afterwards."""
    gone = True
    for parent, _, _ in os.walk(folder, topdown=False):
        gone = remove_folder(parent, deadline - time.monotonic()) and gone
    return gone


def _wait_empty(folder: str, seconds: float) -> None:
    """Until the last process has left, told by the kernel on version 2; on version 1 only a moment.

    A dying task leaves its group a moment after its parent saw its end.
    """
    try:
        fd = os.open(os.path.join(folder, "cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        pause()
        return
    try:
        if "populated 1" in os.pread(fd, 4096, 0).decode():
            wait_event(fd, "populated 0", seconds)
        else:
            pause()
    except (TimeoutError, OSError):
        return
    finally:
        os.close(fd)


def wait_event(fd: int, wanted: str, seconds: float) -> None:
    """Until a line of cgroup.events is ``wanted``; the kernel tells of a change by POLLPRI."""
    poll = select.poll()
    poll.register(fd, select.POLLPRI)
    deadline = time.monotonic() + seconds
    while wanted not in os.pread(fd, 4096, 0).decode():
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError(f"the group did not become '{wanted}' within {seconds:.0f} s")


def pause() -> None:
    """A moment, where version 1 has no event to wait for."""
    select.select([], [], [], _LOOK_SECONDS)
