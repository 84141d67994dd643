"""The two steps into isolation: a root file system for the helper, namespaces for each program."""

import os
import platform
import sys
from pathlib import Path

from megatron_codemix.sandbox import kernel
from megatron_codemix.sandbox.limits import Limits

NEEDED_KERNEL = (5, 14)
"""Counts processes for each user namespace; sets attributes of whole trees of mounts (5.12)."""
_NOBODY = 65534
_ID_INSIDE = 1000
_DEVICES = ("null", "zero", "full", "random", "urandom")
_PER_PROGRAM = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
)


def missing_here(*, isolated: bool) -> str | None:
    """What this system lacks by its kind and version; what it refuses shows when it is tried."""
    system, machine = platform.system(), platform.machine()
    if system != "Linux":
        return f"Linux (this is {system})"
    if machine not in kernel.MACHINES:
        return f"a system call filter for {machine} (there is one for {', '.join(kernel.MACHINES)})"
    release = platform.release()
    numbers = tuple(int(part) for part in release.replace("-", ".").split(".")[:2])
    if isolated and numbers < NEEDED_KERNEL:
        return f"Linux {'.'.join(map(str, NEEDED_KERNEL))} or newer to isolate (this is {release})"
    return None


def enter_own_root() -> None:
    """Leaves this process without privileges in a read-only root that holds Python's and the
    system's libraries, a few devices, and mount points for /proc and /tmp. Raises OSError.

    Root becomes nobody: a process that the kernel takes for root is free of the limit on processes,
    and may write kernel settings in /proc.
    """
    is_root = os.geteuid() == 0
    has_mounts = is_root and _can_mount()
    if has_mounts:
        _build_root()
    if is_root:
        _become_nobody()
    if not has_mounts:
        user, group = os.geteuid(), os.getegid()
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        _map_ids(user, group)
        _build_root()


def clone_isolated() -> int:
    """fork into namespaces of its own; 0 in the child, which has yet to call `finish_isolation`."""
    return kernel.clone(_PER_PROGRAM)


def finish_isolation(outside: tuple[int, int], limits: Limits) -> None:
    """In the first process of new namespaces: maps its user and group, gives it /proc and /tmp."""
    _map_ids(*outside)
    safe = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", "/proc", "proc", safe | kernel.MS_RDONLY)
    inodes = 16 + limits.disk_bytes // 4096
    data = f"size={limits.disk_bytes},nr_inodes={inodes},mode=0700"
    kernel.mount("tmpfs", "/tmp", "tmpfs", safe, data)
    os.chdir("/tmp")
    kernel.set_dumpable(False)  # what it will hold is not for the program, which has the same user


def _can_mount() -> bool:
    """Whether this root may change mounts (in a container it often may not); if so, in its own
    namespace from here on."""
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
    except PermissionError:
        return False
    return True


def _become_nobody() -> None:
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError as error:
        message = f"root cannot become user {_NOBODY} in this container: {error.strerror}"
        raise OSError(error.errno, message) from None
    kernel.set_dumpable(True)  # or /proc/self would belong to root


def _map_ids(user: int, group: int) -> None:
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_ID_INSIDE} {user} 1"),
        ("gid_map", f"{_ID_INSIDE} {group} 1"),
    ):
        Path("/proc/self", name).write_text(text, encoding="ascii")


def _build_root() -> None:
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.MS_NOSUID, "mode=0755,size=1m")
    os.mkdir("/tmp/old")
    kernel.pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    attributes = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID
    for path in _library_paths():
        if _show(path):
            hidden = attributes | kernel.MOUNT_ATTR_NODEV
            kernel.set_mount_attributes(path, hidden, recursive=True)
    for device in _DEVICES:
        _show(f"/dev/{device}")
    _show("/proc")  # a new /proc may only be mounted where a whole one is in sight
    os.mkdir("/tmp")
    kernel.unmount("/old")
    os.rmdir("/old")
    kernel.set_mount_attributes("/", attributes, recursive=False)


def _library_paths() -> list[str]:
    """Folders that Python loads from, as they are named now and seen below /old: neither programs
    nor home directories nor configuration."""
    folders = [f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64", "/usr/lib", "/usr/lib64"]
    wanted = [*folders, "/lib", "/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"]
    return [path for path in dict.fromkeys(wanted) if os.path.exists(f"/old{path}")]


def _show(path: str) -> bool:
    """Whether it had to be bound: the same path in the new root as in the old one."""
    old = f"/old{path}"
    if os.path.lexists(path):
        return False
    if os.path.islink(old):  # /lib -> usr/lib
        os.symlink(os.readlink(old), path)
        return False
    os.makedirs(path if os.path.isdir(old) else os.path.dirname(path), exist_ok=True)
    if not os.path.isdir(old):
        Path(path).touch()
    kernel.mount(old, path, None, kernel.MS_BIND | kernel.MS_REC)
    return True
