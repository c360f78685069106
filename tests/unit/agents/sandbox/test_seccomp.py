"""The filter of system calls, run as the kernel would, for both architectures."""

import errno
import struct

import pytest

from app.agents.sandbox.seccomp import filter_for

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000


def decide(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    values = [*arguments, *([0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number, AUDIT[machine] if audit is None else audit, 0, *values)
    program = list(struct.iter_unpack("<HBBI", filter_for(machine)))
    at = accumulator = 0
    while True:
        code, on_true, on_false, value = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x06:
                return int(value)
            case 0x15:
                at += on_true if accumulator == value else on_false
            case 0x35:
                at += on_true if accumulator >= value else on_false
            case 0x45:
                at += on_true if accumulator & value else on_false


def failing(number: int) -> int:
    return 0x00050000 | number


CALLS = {
    # x86-64, arm64, arguments, what becomes of it
    "read": (0, 63, (), ALLOW),
    "fork": (56, 220, (17,), ALLOW),
    "thread": (56, 220, (0x3D0F00,), ALLOW),
    "clone into a user namespace": (56, 220, (0x10000011,), failing(errno.EPERM)),
    "clone into a network namespace": (56, 220, (0x40000011,), failing(errno.EPERM)),
    "clone3": (435, 435, (), failing(errno.ENOSYS)),
    "unshare": (272, 97, (), failing(errno.EPERM)),
    "mount": (165, 40, (), failing(errno.EPERM)),
    "ptrace": (101, 117, (), failing(errno.EPERM)),
    "bpf": (321, 280, (), failing(errno.EPERM)),
    "io_uring_setup": (425, 425, (), failing(errno.EPERM)),
    "memfd_create": (319, 279, (), failing(errno.EPERM)),
    "shmget": (29, 194, (), failing(errno.EPERM)),
    "socket": (41, 198, (1,), failing(errno.EAFNOSUPPORT)),
    "socketpair of unix": (53, 199, (1,), ALLOW),
    "socketpair of netlink": (53, 199, (16,), failing(errno.EAFNOSUPPORT)),
    "ioctl": (16, 29, (1, 0x5401), ALLOW),
    "ioctl TIOCSTI": (16, 29, (1, 0x5412), failing(errno.EPERM)),
    "ioctl TIOCLINUX": (16, 29, (1, 0x541C), failing(errno.EPERM)),
    "one of a later kernel": (500, 500, (), failing(errno.ENOSYS)),
}


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize("call", CALLS)
def test_each_call_is_decided_alike_on_both_architectures(call: str, machine: str) -> None:
    x86, arm, arguments, wanted = CALLS[call]

    assert decide(machine, x86 if machine == "x86_64" else arm, *arguments) == wanted


def test_another_architecture_and_a_second_table_of_calls_end_the_program() -> None:
    assert decide("x86_64", 0, audit=0x40000003) == KILL
    assert decide("aarch64", 0, audit=0x40000028) == KILL
    assert decide("x86_64", 0x40000000) == KILL
