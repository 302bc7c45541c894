"""Scripts for iPXE (Debian 12's of 2019 and newer).

iPXE splits a line at blanks, then reads the words `||`, `&&`, `;` and a leading `#` as its own, and
replaces ${...} in each word; it knows no quoting (core/exec.c: system, split_command, expand_tokens). A
line that ends with a backslash goes on in the next one (image/script.c). So each place a text can stand in
has one encoder here, and no text is put anywhere without it.

Every download has a time-out without progress and is tried three times: iPXE of 2019 waits for ever on a
connection that has gone silent, and gives up at once on one that is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from pxeserver.boot.cmdline import check_word
from pxeserver.boot.script import (
    AfterFailure,
    BootEfi,
    BootKernel,
    ConfigureNetwork,
    Entry,
    Heading,
    Identify,
    LocalDisk,
    LocalMethod,
    Menu,
    Operator,
    Pause,
    Reboot,
    RunScript,
    Say,
    Script,
    Source,
    Step,
    Wait,
)

TRIES = ((8000, 2), (8000, 5), (30000, 0))
"""(milliseconds without progress, seconds of pause after it failed). A 503 with Retry-After 3 fits into the
first.
"""

REPORT_MS = 5000
FAILURE_SECONDS = 30
"""How long a failure stays on the screen. It is also what keeps a machine that fails at once from a tight
loop.
"""

LINE_WIDTH = 76
"""Columns of a text line: iPXE's menus start in column 1 of 80 and show 78."""

_FACTS = (
    ("uuid", "${uuid}"),
    ("mac", "${netX/mac},${net0/mac},${net1/mac},${net2/mac},${net3/mac}"),
    ("platform", "${platform}"),
    ("arch", "${buildarch}"),
    ("serial", "${serial:uristring}"),
    ("vendor", "${manufacturer:uristring}"),
    ("product", "${product:uristring}"),
)
"""What iPXE fills in. The card it boots from comes first. :uristring is for texts of the firmware only: of
a MAC or a UUID it would send the raw bytes. iPXE of 2019 leaves an & in such a text as it is, so the
texts come last: the first field of a name counts, and none of them can stand in for a UUID, a MAC or an
architecture.
"""

_SHOWABLE = re.compile(r"[^A-Za-z0-9 .,:_/()+=@%*!'\"<>\[\]~?-]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~@-]{0,199}")  # what the image store takes
_OWN_URL = re.compile(r"http://[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?/[A-Za-z0-9/._+-]*")
"""URLs as this server makes them: nothing in them needs a second look."""
_HOST = re.compile(r"[^:/]*://([^/?#]*)")
_URL_SAFE = "/:@!*(),;=+-._~%?&[]"


class Unencodable(ValueError):  # noqa: N818 - the text says what is wrong
    """A configured text cannot stand in an iPXE script; the message says why. Texts of the network never
    raise it.
    """


def encode_text(text: str, width: int = LINE_WIDTH) -> str:
    """A text to show: printable ASCII without anything iPXE acts on, others as "?", at most `width` columns.

    Runs of blanks become one; a leading hyphen would be an option and becomes a dot.
    """
    shown = " ".join(_SHOWABLE.sub("?", _plain(text)).split())[:width].rstrip()
    return "." + shown[1:] if shown.startswith("-") else shown


def encode_url(url: str) -> str:
    """An absolute http, https or tftp URL as one word. Raises Unencodable for anything else."""
    text = _plain(url)
    if _OWN_URL.fullmatch(text):
        return text
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError as error:
        raise Unencodable(f"{text[:80]!r} is not a URL") from error
    if parts.scheme not in ("http", "https", "tftp") or not host:
        raise Unencodable(f"{text[:80]!r} is not an http, https or tftp URL with a host")
    encoded = quote(text, safe=_URL_SAFE)
    if encoded != text:
        # Quoting only touches characters that are no part of a written URL: blanks, quotes, ${}, |, #,
        # control characters.
        raise Unencodable(f"{text[:80]!r} has characters that a URL writes as %XX")
    return encoded


def encode_name(name: str) -> str:
    """A file's name as one word. Raises Unencodable where it has other characters than letters,
    digits and . _ + ~ @ -.
    """
    if not _NAME.fullmatch(_plain(name)):
        raise Unencodable(f"{name[:80]!r} is not a file name that boot scripts can hold")
    return name


def encode_kernel_words(words: Iterable[str]) -> str:
    """A kernel command line. Raises BadCommandLine (a ValueError) for a word that cannot be passed on
    unchanged.
    """
    checked = [_plain(word) for word in words]
    for word in checked:
        check_word(word)
    return " ".join(checked)


def _plain(text: str) -> str:
    """The text itself; TypeError for a Secret or any other object that is not a text."""
    if not isinstance(text, str):
        raise TypeError(f"a script holds texts, not {type(text).__name__}")
    return text


def render(script: Script) -> str:
    """The whole script as iPXE reads it. Raises Unencodable or BadCommandLine for configured texts that do
    not fit.
    """
    lines = ["#!ipxe"]
    if script.attempt:
        lines.append(f"# attempt {encode_name(script.attempt)}")
    for number, step in enumerate(script.steps):
        lines += _step(step, number, script)
    return "\n".join(lines) + "\n"


def lines_of(steps: Iterable[Say | Pause]) -> list[str]:
    """The lines of steps that need nothing of the script they stand in."""
    return [say(step.text) if isinstance(step, Say) else _sleep(step) for step in steps]


def _sleep(step: Pause) -> str:
    return f"sleep {int(step.seconds)}"


def say(text: str) -> str:
    """The line that shows a text."""
    return f"echo {encode_text(text)}"


def _step(step: Step, number: int, script: Script) -> list[str]:
    """The lines of one step. Labels carry the step's number, so that they are unique."""
    match step:
        case Say():
            return [say(step.text)]
        case Wait():
            return [_wait(step.seconds, step.text)]
        case Pause():
            return [_sleep(step)]
        case ConfigureNetwork():
            return _network(number, script)
        case Identify():
            return _identify(step, number, script)
        case RunScript():
            url = encode_url(step.url)
            return [
                *_tries("chain --replace", url, "", f"f{number}"),
                *_failure(number, f"could not load {step.what} from {_host(url)}", script),
            ]
        case BootKernel() | BootEfi():
            return _boot(step, number, script)
        case LocalDisk():
            return local_disk(step)
        case Reboot():
            return ["reboot"]
        case Operator():
            return list(step.lines)
        case Menu():
            return _menu(step, number, script)


def _wait(seconds: int, text: str) -> str:
    """Wait, and go on at once when a key is pressed; both outcomes go on with the next line."""
    shown = encode_text(text) or f"Going on in {int(seconds)} seconds; any key goes on now."
    return f"prompt --timeout {int(seconds) * 1000} {shown} ||"


def _tries(command: str, target: str, done: str, give_up: str) -> list[str]:
    """Lines that run a download command up to three times, with pauses, then go to the label `give_up`.

    A success goes to the label `done`, which the last line sets; "" where a success never comes back (chain
    --replace). The jumps are needed: after `a || b && c` iPXE runs c even when a succeeded.
    """
    lines = []
    for milliseconds, pause in TRIES:
        attempt = f"{command} --timeout {milliseconds} {target}"
        if not pause:
            lines.append(f"{attempt} || goto {give_up}")
        else:
            lines += [f"{attempt} && goto {done} ||" if done else f"{attempt} ||", f"sleep {pause}"]
    return [*lines, f":{done}"] if done else lines


def _identify(step: Identify, number: int, script: Script) -> list[str]:
    """The chain to the next script with the machine's facts; iPXE encodes the texts among them itself
    (:uristring).
    """
    url = encode_url(step.url)
    query = "&".join(f"{name}={setting}" for name, setting in _FACTS)
    return [
        *_tries("chain --replace", f"{url}?{query}", "", f"f{number}"),
        *_failure(number, f"could not load the boot script from {_host(url)}", script, report=False),
    ]


def _network(number: int, script: Script) -> list[str]:
    """Ask for an address three times, unless there is one; each time iPXE itself repeats its DISCOVER for
    16 s.
    """
    lines = [f"isset ${{netX/ip}} && goto d{number} ||"]
    for pause in (2, 5):
        lines += [f"dhcp && goto d{number} ||", f"sleep {pause}"]
    lines.append(f"dhcp || goto f{number}")
    return [
        *lines,
        f"goto d{number}",
        *_failure(number, "no address by DHCP", script, report=False),
        f":d{number}",
    ]


def _boot(step: BootKernel | BootEfi, number: int, script: Script) -> list[str]:
    """Load and start a kernel with its RAM disks, or an EFI program."""
    give_up = f"f{number}"
    lines = ["imgfree ||"]  # what an earlier try left behind would be loaded along
    if isinstance(step, BootEfi):
        first, rest = step.program, ""
        initrds: tuple[Source, ...] = ()
        command, start = "imgfetch", f"imgexec {encode_name(first.name)}"
    else:
        first, initrds = step.kernel, step.initrds
        # UEFI with iPXE of 2019 finds its RAM disks only by these words; elsewhere they do nothing.
        words = [f"initrd={encode_name(initrd.name)}" for initrd in initrds]
        rest = encode_kernel_words((*words, *step.words))
        command, start = "kernel", "boot"
    target = f"--name {encode_name(first.name)} {encode_url(first.url)} {rest}".rstrip()
    lines += _tries(command, target, f"l{number}x0", give_up)
    for i, initrd in enumerate(initrds, 1):
        target = f"--name {encode_name(initrd.name)} {encode_url(initrd.url)}"
        lines += _tries("initrd", target, f"l{number}x{i}", give_up)
    what = f"could not load or start {first.name} from {_host(first.url)}"
    return [*lines, f"{start} || goto {give_up}", *_failure(number, what, script)]


def _failure(number: int, what: str, script: Script, *, report: bool = True) -> list[str]:
    """What happens when a step has failed for good: say it, tell the server, wait, then reboot or start the
    local disk.
    """
    lines = [f":f{number}", f"echo pxeserver: {encode_text(what, 60)}: ${{errno}}"]
    if report and script.report_url:
        fetch = f"imgfetch --timeout {REPORT_MS} --name report {encode_url(script.report_url)}"
        lines.append(f"{fetch} && imgfree report ||")
    if script.after_failure is AfterFailure.REBOOT:
        lines.append(_wait(FAILURE_SECONDS, f"The machine starts again in {FAILURE_SECONDS} seconds."))
        return [*lines, "reboot"]
    lines.append(_wait(FAILURE_SECONDS, f"The local disk starts in {FAILURE_SECONDS} seconds."))
    return [*lines, *local_disk(script.local)]


def local_disk(step: LocalDisk) -> list[str]:
    """The commands that leave iPXE for the local disk. Where a method is not there, the firmware's own
    order goes on.
    """
    match step.method:
        case LocalMethod.EXIT:
            return ["exit 0"]
        case LocalMethod.EXIT1:
            return ["exit 1"]
        case LocalMethod.SANBOOT:
            return ["sanboot --no-describe --drive 0x80 || exit 0"]
        case LocalMethod.EFI:
            file = encode_name(step.efi_file)
            return [f"sanboot --no-describe --drive 0 --filename \\EFI\\BOOT\\{file} || exit 1"]


def _menu(menu: Menu, number: int, script: Script) -> list[str]:
    """A menu. Labels are ours; what a person chose is one of them."""
    lines = [f"menu {encode_text(menu.title) or 'pxeserver'}"]
    if menu.keyboard:
        lines.insert(0, f"set keymap {encode_name(menu.keyboard)} ||")
    entries: list[tuple[str, Entry]] = []
    default = wanted = ""
    for row in menu.rows or menu.entries:
        if isinstance(row, Heading):
            lines.append(f"item --gap -- {encode_text(row.text)}".rstrip())
            continue
        label = f"m{number}x{len(entries)}"
        entries.append((label, row))
        default = default or (label if row.url is None else "")
        wanted = wanted or (label if menu.default and row.name == menu.default else "")
        key = f"--key {row.key} " if re.fullmatch(r"[a-z0-9]", row.key) else ""
        lines.append(f"item {key}{label} {encode_text(row.title) or encode_text(row.name) or label}")
    leave = f"m{number}local"
    wait = f"--timeout {int(menu.seconds) * 1000} " if menu.seconds else ""
    default = wanted or default
    preset = f"--default {default} " if default else ""
    lines.append(f"choose {wait}{preset}choice && goto ${{choice}} || goto {leave}")
    for label, entry in entries:
        lines.append(f":{label}")
        if entry.url is None:
            lines.append(f"goto {leave}")
        else:
            lines += _tries("chain --replace", encode_url(entry.url), "", f"f{number}")
    lines += _failure(number, "could not load the chosen entry", script)
    return [*lines, f":{leave}", *local_disk(menu.local)]


def _host(url: str) -> str:
    """The host of a URL, for a failure text."""
    found = _HOST.match(url)
    return found[1] if found else ""
