"""Files that are whole or absent: atomic writes, locks that survive a dead holder, copies that share blocks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import stat
import time
from typing import Any, Iterator

from ansible.module_utils.serving.errors import FULL, Refusal

BLOCK = 1 << 20
NO_LOCK = "%s is a %s where a lock file should be; remove it"
FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copy on write


def fsync_dir(path: str) -> None:
    """Make a rename inside `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """An error of a write, which knows no path, gets this one: whoever reads of a full disk has several."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = path
        raise


def write_atomic(path: str, data: bytes, mode: int = 0o644) -> None:
    """The new content in one rename; whoever reads sees the old file or the new one. Durable on return."""
    part = "%s.part.%d" % (path, os.getpid())
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with naming(path), os.fdopen(fd, "wb") as out:
            os.fchmod(out.fileno(), mode)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.rename(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    fsync_dir(os.path.dirname(path))


def remove_parts(path: str) -> None:
    """Remove what writers of this file that were killed have left of it. Only for who holds the lock that its writers take."""
    for part in glob.glob(glob.escape(path) + ".part.*"):
        with contextlib.suppress(OSError):
            remove_tree(part)


def own_folder(path: str, mode: int = 0o755) -> None:
    """Make a folder that is ours alone, with those above it; one that is there gets this mode too."""
    os.makedirs(path, exist_ok=True)
    if stat.S_IMODE(os.stat(path).st_mode) != mode:
        with contextlib.suppress(PermissionError):  # another user's, who has to mend it
            os.chmod(path, mode)


def write_json(path: str, value: Any, mode: int = 0o644) -> None:
    write_atomic(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode(), mode)


def at_once(path: str, flags: int) -> int:
    """An `opener` that does not wait where a pipe lies in a file's place: it reads as empty."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_json(path: str) -> Any:
    """The file's content, None if it isn't there. Not JSON, or too deep to be read: ValueError."""
    try:
        with open(path, "rb", opener=at_once) as source:
            return json.loads(source.read().decode())
    except FileNotFoundError:
        return None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def canonical(value: Any) -> bytes:
    """One spelling for equal values: the bytes that digests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical spelling of a JSON value."""
    return hashlib.sha256(canonical(value)).hexdigest()


def sha256_file(path: str) -> str:
    """sha256 (hex) of a file, read in blocks of 1 MiB."""
    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as source:
        buffer = bytearray(BLOCK)
        view = memoryview(buffer)
        while True:
            count = source.readinto(buffer)
            if not count:
                return found.hexdigest()
            found.update(view[:count])


def copy_file(source: str, dest: str) -> str:
    """Copy with a fresh inode: a reflink where the file system can, else bytes. Durable. Returns which it was.

    Never a hard link: an edit of the source must not reach what was published.
    """
    with naming(dest), open(source, "rb") as src, open(dest, "wb") as out:
        try:
            fcntl.ioctl(out.fileno(), FICLONE, src.fileno())
            how = "reflink"
        except OSError as error:
            if error.errno not in (
                errno.EOPNOTSUPP,
                errno.ENOTTY,
                errno.EXDEV,
                errno.EINVAL,
                errno.ENOSYS,
                errno.EPERM,
            ):
                raise
            shutil.copyfileobj(src, out, BLOCK)
            how = "copy"
        out.flush()
        os.fsync(out.fileno())
    return how


def swap_link(path: str, target: str) -> None:
    """Point the symbolic link `path` at `target` in one rename."""
    part = "%s.part.%d" % (path, os.getpid())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
    os.symlink(target, part)
    os.rename(part, path)
    fsync_dir(os.path.dirname(path))


def remove_tree(path: str) -> bool:
    """Remove a folder, or what else lies there (a file, a link, a pipe). True if there was one."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
        return True
    if os.path.lexists(path):
        os.unlink(path)
        return True
    return False


def kind_of(mode: int) -> str:
    """What lies at a path, for people."""
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "special file"


def _same_file(fd: int, path: str) -> bool:
    """Is the open file still the one that lies at `path`? Not so when somebody has removed or replaced it."""
    try:
        here, there = os.fstat(fd), os.stat(path)
    except FileNotFoundError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _try_lock(path: str) -> tuple[int, bool]:
    """(descriptor, is the lock ours?) of the lock file that lies at `path` now. The caller closes the descriptor."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
                raise
            raise Refusal(NO_LOCK % (path, kind_of(os.lstat(path).st_mode))) from None
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):  # a pipe, a device
            os.close(fd)
            raise Refusal(NO_LOCK % (path, kind_of(mode)))
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(fd, path):
                return fd, True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                os.close(fd)
                raise
            return fd, False
        os.close(fd)  # it was removed between open and lock: what lies there now is another file


@contextlib.contextmanager
def locked(path: str, what: str, timeout: float = 600.0, keep: bool = True) -> Iterator[int]:
    """Hold an advisory lock (flock) on `path`: the kernel drops it with its holder, however that ends.

    Yields the file descriptor: a child that inherits it holds the lock too. Without `keep` the file is removed at the end, while it
    is still locked: nobody else may remove a lock file, else two processes hold «the» lock, each of a file of its own.

    `what` names what is being worked on in the message of a Refusal after `timeout` seconds.
    """
    until = time.monotonic() + timeout
    while True:
        fd, ours = _try_lock(path)
        if ours:
            break
        holder = os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
        os.close(fd)
        if time.monotonic() > until:
            raise Refusal(
                "%s is being worked on by %s for more than %d s (lock %s); wait for it, or end that process"
                % (what, holder, timeout, path)
            )
        time.sleep(0.2)
    try:
        os.ftruncate(fd, 0)
        try:
            os.pwrite(fd, ("process %d" % os.getpid()).encode(), 0)
        except OSError as error:  # it is held without the name, too: what frees a full disk takes locks
            if error.errno not in FULL:
                raise
        yield fd
    finally:
        try:
            if not keep:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        finally:
            os.close(fd)


def in_use(lock: str) -> bool:
    """Does a process hold this lock file now? Makes none where there is none."""
    if os.path.islink(lock) or not os.path.isfile(lock):
        return False
    try:
        fd, ours = _try_lock(lock)
    except OSError:  # one that we may not open: somebody else's
        return True
    os.close(fd)
    return not ours


def remove_lock(path: str) -> bool:
    """Remove a lock file that nobody holds. False if there is none, or somebody holds it."""
    if os.path.islink(path) or not os.path.isfile(path):
        return False
    fd, ours = _try_lock(path)
    try:
        if ours:
            os.unlink(path)
        return ours
    finally:
        os.close(fd)


def free_bytes(path: str) -> int:
    """Bytes that this user can still write where `path` is or will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    there = os.statvfs(path)
    return there.f_bavail * there.f_frsize


def human(count: float) -> str:
    """Bytes as a person says them: 61.0 GiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return "%.0f B" % size if unit == "B" else "%.1f %s" % (size, unit)
        size /= 1024
    return ""
