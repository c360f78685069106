"""Which system calls a program in bubblewrap may not make, as a filter the kernel runs (classic BPF).

A list of what is refused, since Python's libraries make hundreds of different calls; what is newer than this list, and
so unknown to it, does not exist for the program.

Facts (linux/seccomp.h, linux/filter.h, the tables of system calls of Linux 6.15)
- The data a filter looks at: the call's number at offset 0, the architecture at 4, arguments from 16 on, eight bytes
  each, the low half first on little-endian machines.
- x86-64 has a second table behind bit 30 (x32), with other numbers for the same calls.
- clone3 hands its flags over in memory, where no filter can look; C libraries fall back to clone on ENOSYS.
"""

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENT_0, _ARGUMENT_1 = 0, 4, 16, 24
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; and NEWTIME, which is the byte of a signal in clone
and no signal anybody asks for"""
_AF_UNIX = 1
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX put words into a terminal's input"""
_X32 = 0x40000000
_FIRST_UNKNOWN = 463

# name: (x86-64, arm64); None where an architecture has no such call
_REFUSED: Mapping[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # namespaces and file systems
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262),
    # memory that no limit of ours counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "userfaultfd": (323, 282),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # doors into the kernel with a history
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "seccomp": (317, 277),
    # the machine itself
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "personality": (135, 92),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
}


@dataclass(frozen=True, slots=True)
class _Machine:
    """An architecture: the kernel's word for it (AUDIT_ARCH), and the numbers of the calls that are looked into."""

    audit: int
    column: int
    socket: int
    socketpair: int
    clone: int
    ioctl: int
    clone3: int = 435


_MACHINES = {
    "x86_64": _Machine(0xC000003E, column=0, socket=41, socketpair=53, clone=56, ioctl=16),
    "aarch64": _Machine(0xC00000B7, column=1, socket=198, socketpair=199, clone=220, ioctl=29),
}

MACHINES = frozenset(_MACHINES)


def filter_for(machine: str = platform.machine()) -> bytes:
    """Give the filter for an architecture. Errors: KeyError, for one that has none."""
    found = _MACHINES[machine]
    refuse = _failing(errno.EPERM)
    program: list[bytes] = [
        _load(_ARCHITECTURE),
        *_unless(_EQUAL, found.audit, [_return(_KILL)]),
        _load(_NUMBER),
    ]
    if machine == "x86_64":
        program += _when(_AT_LEAST, _X32, [_return(_KILL)])
    program += _when(_AT_LEAST, _FIRST_UNKNOWN, [_failing(errno.ENOSYS)])
    program += _when(_EQUAL, found.clone3, [_failing(errno.ENOSYS)])
    for numbers in _REFUSED.values():
        number = numbers[found.column]
        if number is not None:
            program += _when(_EQUAL, number, [refuse])
    program += _when(_EQUAL, found.socket, [_failing(errno.EAFNOSUPPORT)])
    pair = [_load(_ARGUMENT_0), *_unless(_EQUAL, _AF_UNIX, [_failing(errno.EAFNOSUPPORT)]), _return(_ALLOW)]
    program += _when(_EQUAL, found.socketpair, pair)
    clone = [_load(_ARGUMENT_0), *_when(_ANY_BIT, _NEW_NAMESPACES, [refuse]), _return(_ALLOW)]
    program += _when(_EQUAL, found.clone, clone)
    ioctl = [_load(_ARGUMENT_1)]
    for request in _TERMINAL_INPUT:
        ioctl += _when(_EQUAL, request, [refuse])
    program += _when(_EQUAL, found.ioctl, [*ioctl, _return(_ALLOW)])
    return b"".join([*program, _return(_ALLOW)])


def _when(test: int, value: int, then: Sequence[bytes]) -> list[bytes]:
    return [_instruction(test, 0, len(then), value), *then]


def _unless(test: int, value: int, then: Sequence[bytes]) -> list[bytes]:
    return [_instruction(test, len(then), 0, value), *then]


def _load(offset: int) -> bytes:
    return _instruction(_LOAD, 0, 0, offset)


def _failing(number: int) -> bytes:
    return _return(_ERRNO | number)


def _return(action: int) -> bytes:
    return _instruction(_RETURN, 0, 0, action)


def _instruction(code: int, on_true: int, on_false: int, value: int) -> bytes:
    return struct.pack("<HBBI", code, on_true, on_false, value)
