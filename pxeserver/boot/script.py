"""Boot scripts as values: a firmware-neutral list of typed steps.

A renderer (render_ipxe.py) turns each step into the commands of one boot loader. Texts in a step may come
from the network; they are data to the renderer's encoders and can never become a step of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from pxeserver.boot.cmdline import parse_words


class AfterFailure(Enum):
    """What a machine does when a download has failed after all tries, once it has said so on the screen and
    waited.
    """

    REBOOT = "reboot"
    LOCAL = "local"


class LocalMethod(Enum):
    """How the local disk is started."""

    EXIT = "exit"
    """End the loader as done: BIOS goes on to its next boot device."""
    EXIT1 = "exit1"
    """End the loader as failed: UEFI goes on to its next boot option, where a success would end in its
    setup menu.
    """
    SANBOOT = "sanboot"
    """BIOS: read the boot sector of the first disk."""
    EFI = "efi"
    """UEFI: start the default boot file of a local disk; needs iPXE of 2023 or newer."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to load: its absolute URL and the name that a kernel line calls it by."""

    url: str
    name: str


@dataclass(frozen=True, slots=True)
class Say:
    """Show one line."""

    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds, or until a key is pressed."""

    seconds: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds, whatever key is pressed."""

    seconds: int


@dataclass(frozen=True, slots=True)
class ConfigureNetwork:
    """Ask for an address, where the loader starts this script before it has one."""


@dataclass(frozen=True, slots=True)
class Identify:
    """Load the next script from `url`, with the machine's facts (UUID, serial number, MAC, ...) as its
    query.
    """

    url: str


@dataclass(frozen=True, slots=True)
class RunScript:
    """Go on with the script or program at `url`."""

    url: str
    what: str
    """What it is, for the failure text."""


@dataclass(frozen=True, slots=True)
class BootKernel:
    """Load a kernel and its initial RAM disks, then start it. `words` are the kernel command line."""

    kernel: Source
    initrds: tuple[Source, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BootEfi:
    """Load an EFI binary and start it."""

    program: Source


@dataclass(frozen=True, slots=True)
class LocalDisk:
    """Start the local disk. `efi_file` is the default boot file of the architecture (BOOTX64.EFI, ...)."""

    method: LocalMethod
    efi_file: str = "BOOTX64.EFI"


@dataclass(frozen=True, slots=True)
class Reboot:
    """Start the machine anew."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Lines of an iPXE script that an administrator wrote, passed on as they are."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a menu to choose: `url` of the script it leads to, or None for the local disk."""

    name: str
    title: str
    url: str | None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """One line of a menu that cannot be chosen; an empty text is a blank line."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Menu:
    """A menu. Its default runs after `seconds` (0: it waits for a key).

    `layout` names the template that arranges it and `facts` are what that template may show; `rows` is what
    is shown, and while it is empty the entries stand alone.
    """

    title: str
    entries: tuple[Entry, ...]
    local: LocalDisk
    seconds: int = 30
    layout: str = "known"
    facts: tuple[tuple[str, str], ...] = ()
    rows: tuple[Heading | Entry, ...] = ()
    keyboard: str = ""
    default: str = ""
    """Name of the entry that runs after `seconds`; the first local one where no entry is called so."""


Step = (
    Say
    | Wait
    | Pause
    | ConfigureNetwork
    | Identify
    | RunScript
    | BootKernel
    | BootEfi
    | LocalDisk
    | Reboot
    | Operator
    | Menu
)


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of one script, and what to do when a download in it fails for good."""

    steps: tuple[Step, ...]
    attempt: str = ""
    after_failure: AfterFailure = AfterFailure.LOCAL
    local: LocalDisk = field(default_factory=lambda: LocalDisk(LocalMethod.EXIT))
    report_url: str = ""
    """Told when a download failed for good, so that the timeline says so; "" tells nobody."""


class BadScript(ValueError):  # noqa: N818 - the text says what is wrong
    """An operator's script that cannot be served; the message says why."""


MAX_OPERATOR_SCRIPT = 64 * 1024
"""Bytes. Scripts of people are small; a larger one is a wrong file."""


def operator_lines(text: str) -> tuple[str, ...]:
    """The lines of an operator's iPXE script, without its #!ipxe line.

    Raises BadScript where it is empty, too long, does not start with #!ipxe, or holds control characters.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_OPERATOR_SCRIPT:
        raise BadScript(f"is larger than {MAX_OPERATOR_SCRIPT} bytes")
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "#!ipxe":
        raise BadScript("does not start with a line #!ipxe")
    for number, line in enumerate(lines, 1):
        bad = next(
            (c for c in line if (c < " " and c != "\t") or c == "\x7f" or "\ud800" <= c <= "\udfff"), None
        )
        if bad is not None:
            raise BadScript(f"has the control character U+{ord(bad):04X} in line {number}")
    body = tuple(line.rstrip() for line in lines[1:])
    if not any(line.strip() for line in body):
        raise BadScript("has no commands")
    return body


def kernel_words(*texts: str) -> tuple[str, ...]:
    """The words of several pieces of a kernel command line, in order. Raises BadCommandLine."""
    words: tuple[str, ...] = ()
    for text in texts:
        words += parse_words(text)
    return words
