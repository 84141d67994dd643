"""The system calls that a program in the sandbox is refused.

Namespaces and the lack of privileges already make most of them useless. The filter is there for two
reasons: these calls are where the kernel's own faults have been, and some of what they reach has no
namespace (vsock, keyrings, memory held in nothing that is counted).
"""

import errno
import os
import struct

# Numbers on x86_64 and aarch64 (asm/unistd_64.h, asm-generic/unistd.h).
_REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "fsopen": (430, 430),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "unshare": (272, 97),
    "setns": (308, 268),
    "sethostname": (170, 161),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "personality": (135, 92),
    "vhangup": (153, 58),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_FIRST_UNKNOWN = 451
"""Calls from here on are younger than this list: they do not exist. So does x86_64's second table
(x32), whose numbers begin at 2^30."""

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, AUDIT_ARCH_*
_NEW_NAMESPACES = 0x7E020000  # all CLONE_NEW* that clone takes
_AF_UNIX = 1

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000  # SECCOMP_RET_*


def build_filter() -> bytes:
    """Instructions for `kernel.install_filter`, for the machine this runs on."""
    column, arch = _MACHINES[os.uname().machine]
    refuse = _return(_ERROR | errno.EPERM)
    absent = _return(_ERROR | errno.ENOSYS)
    lines = [_load(_ARCH), _jump(_EQUAL, arch, 1, 0), _return(_KILL), _load(_NUMBER)]
    # clone3 hides its flags behind a pointer; where it is absent, libc uses clone.
    lines += [_jump(_AT_LEAST, _FIRST_UNKNOWN, 0, 1), absent]
    lines += [_jump(_EQUAL, _CLONE3[column], 0, 1), absent]
    for numbers in _REFUSED.values():
        lines += [_jump(_EQUAL, numbers[column], 0, 1), refuse]
    flags = [_load(_FIRST_ARGUMENT), _jump(_ANY_BIT, _NEW_NAMESPACES, 0, 1), refuse]
    lines += [_jump(_EQUAL, _CLONE[column], 0, 4), *flags, _return(_ALLOW)]
    family = [_load(_FIRST_ARGUMENT), _jump(_EQUAL, _AF_UNIX, 1, 0), refuse]
    lines += [_jump(_EQUAL, _SOCKET[column], 0, 3), *family]
    return b"".join([*lines, _return(_ALLOW)])


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _instruction(_LOAD, 0, 0, offset)


def _jump(test: int, value: int, if_true: int, if_false: int) -> bytes:
    """Skips so many instructions."""
    return _instruction(test, if_true, if_false, value)


def _return(action: int) -> bytes:
    return _instruction(_RETURN, 0, 0, action)
