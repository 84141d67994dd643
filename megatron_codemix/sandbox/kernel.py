"""The system calls that Python does not have. They raise OSError that names the call."""

import ctypes
import os

CLONE_NEWNS = 0x00020000  # linux/sched.h
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_SIGCHLD = 17

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8  # linux/mount.h
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 4, 38, 22
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

# machine: (clone, pivot_root, capset, mount_setattr)
_CALLS = {"x86_64": (56, 155, 126, 442), "aarch64": (220, 41, 91, 442)}
MACHINES = tuple(_CALLS)

# PyDLL: the global interpreter lock stays held, so that it is whole in the child of `clone`.
_LIBC = ctypes.PyDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def _checked(call: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def _syscall(index: int, name: str, *arguments: object) -> int:
    number = _CALLS[os.uname().machine][index]
    return _checked(name, _LIBC.syscall(ctypes.c_long(number), *arguments))


def clone(flags: int) -> int:
    """fork into new namespaces; 0 in the child. Only for a process of one thread: hooks of
    `os.fork` do not run."""
    zero = ctypes.c_long(0)
    return _syscall(0, "clone", ctypes.c_long(flags | _SIGCHLD), zero, zero, zero, zero)


def unshare(flags: int) -> None:
    _checked("unshare", _LIBC.unshare(flags))


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    kind_bytes = None if kind is None else kind.encode()
    result = _LIBC.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind_bytes,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _checked(f"mount {kind or source} on {target}", result)


def set_mount_attributes(path: str, attributes: int, *, recursive: bool) -> None:
    """Adds attributes to a mount; unlike a remount it keeps those that it has."""
    values = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)  # struct mount_attr
    flags = ctypes.c_uint(_AT_RECURSIVE if recursive else 0)
    folder = ctypes.c_int(_AT_FDCWD)
    size = ctypes.c_size_t(ctypes.sizeof(values))
    _syscall(3, f"mount_setattr {path}", folder, os.fsencode(path), flags, values, size)


def unmount(path: str) -> None:
    _checked(f"umount2 {path}", _LIBC.umount2(os.fsencode(path), MNT_DETACH))


def pivot_root(new_root: str, put_old: str) -> None:
    _syscall(1, "pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def _prctl(name: str, *arguments: int | object) -> None:
    padded = [*arguments, 0, 0, 0, 0][:5]
    values = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in padded]
    _checked(name, _LIBC.prctl(*values))


def set_dumpable(is_dumpable: bool) -> None:
    """Whether others of the same user may read this process through /proc and ptrace."""
    _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, int(is_dumpable))


def set_death_signal(number: int) -> None:
    """The signal that the kernel sends this process when its parent ends."""
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, number)


def forbid_new_privileges() -> None:
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def install_filter(program: bytes) -> None:
    """A seccomp filter, given as instructions of struct sock_filter (8 bytes each), for good."""

    class Program(ctypes.Structure):  # struct sock_fprog
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    holder = Program(len(program) // 8, program)
    _prctl("PR_SET_SECCOMP", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(holder))


def drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _syscall(2, "capset", ctypes.byref(header), ctypes.byref(nothing))
