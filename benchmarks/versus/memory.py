"""Memory that stays the machine's own while it is free, so that runs pay for the use of it and not for getting it back.

A hypervisor that is told of free memory takes it away, and gives it back at a page's first touch, which costs several times
what it costs to write that page: whoever is measured pays for what was freed before. On a broker that has run for a day
memory has been touched long ago. A guest tells only of free blocks of 2 MiB (Linux: free page reporting). So memory is
filled with the pages of a file once, one page of each MiB is held, and the others are given back: they are free, were touched,
and make no block that large.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
MEMORY_BYTES = PAGE * os.sysconf("SC_PHYS_PAGES")
# So much is left alone. A memory without anything free would make room by dropping what the file system knows of its disk.
LEFT_BYTES = MEMORY_BYTES // 6
STRIDE_BYTES = 1 << 20
# As many pages as a pipe may hold of a user that is not root, by default.
PIPE_STRIDES = (1 << 20) // PAGE


def meminfo_bytes() -> dict[str, int]:
    fields = (line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return {name: int(value.split()[0]) * 1024 for name, value in fields}


@contextmanager
def touched_memory(directory: Path, size: int | None = None) -> Iterator[None]:
    """All memory that is free (or `size` bytes of it) is touched, and stays so meanwhile, as far as the user may hold pages: 16
    GiB for who is not root. `directory`: on a disk where a file of holes takes no room."""
    size = size or MEMORY_BYTES
    with ExitStack() as held:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.truncate(size)
            _touch(file.fileno(), size, held)
        yield


def _touch(file: int, size: int, held: ExitStack) -> None:
    """Reads all of the file into memory and holds a page of each stride."""
    for at in range(0, size, PIPE_STRIDES * STRIDE_BYTES):
        if meminfo_bytes()["MemFree"] < LEFT_BYTES:
            return
        try:
            pipe = _pipe(held)
        except OSError:
            return
        for stride in range(at, min(size, at + PIPE_STRIDES * STRIDE_BYTES), STRIDE_BYTES):
            os.posix_fadvise(file, stride, STRIDE_BYTES, os.POSIX_FADV_WILLNEED)
            # No copy: the pipe holds the page itself, which can neither be moved nor dropped then.
            os.splice(file, pipe, PAGE, offset_src=stride)


def _pipe(held: ExitStack) -> int:
    """The end of a new pipe to write to. OSError: the user has no more descriptors, or holds all the pages that it may."""
    ends = os.pipe()
    for end in ends:
        held.callback(os.close, end)
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_STRIDES * PAGE)
    return ends[1]
