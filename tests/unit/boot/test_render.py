"""The encoders of iPXE scripts, and what every script has to have."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxeserver.boot.cmdline import MAX_LENGTH, BadCommandLine, parse_words
from pxeserver.boot.render_ipxe import (
    LINE_WIDTH,
    TRIES,
    Unencodable,
    encode_kernel_words,
    encode_name,
    encode_text,
    encode_url,
    render,
)
from pxeserver.boot.script import (
    AfterFailure,
    BadScript,
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
    Reboot,
    RunScript,
    Say,
    Script,
    Source,
    Step,
    Wait,
    operator_lines,
)
from pxeserver.boot.secret import Secret

EXAMPLES = settings(max_examples=500, deadline=None)
TEXTS = st.text(max_size=200) | st.text(alphabet="|&;#${}\\ \n\r\t-a", max_size=60)
URL = "http://10.0.0.2/a/abcdefghij/f/live/vmlinuz"
LOCAL = LocalDisk(LocalMethod.EXIT)


@EXAMPLES
@given(TEXTS)
def test_a_text_is_one_line_of_words_that_do_nothing(text: str) -> None:
    encoded = encode_text(text)
    assert len(encoded) <= LINE_WIDTH
    assert all(" " <= c <= "~" for c in encoded)
    assert not encoded.startswith("-")
    assert not encoded.endswith(("\\", " "))
    assert "$" not in encoded
    assert not any(word in ("||", "&&", ";") or word.startswith("#") for word in encoded.split(" "))
    assert encode_text(encoded) == encoded


@EXAMPLES
@given(TEXTS)
def test_a_kernel_word_goes_through_unchanged_or_not_at_all(text: str) -> None:
    try:
        words = parse_words(text)
    except BadCommandLine:
        return
    line = encode_kernel_words(words)
    assert (
        tuple(line.split()) == words == tuple(text.split(" "))
        or tuple(w for w in text.split(" ") if w) == words
    )
    assert all("!" <= c <= "~" for word in words for c in word)
    assert not any(word in ("||", "&&", ";") or word.startswith("#") or "${" in word for word in words)
    assert not line.endswith("\\")


@EXAMPLES
@given(TEXTS)
def test_a_url_or_a_name_goes_through_unchanged_or_not_at_all(text: str) -> None:
    for url in (text, f"http://10.0.0.1/{text}", f"http://{text}/x"):
        try:
            encoded = encode_url(url)
        except Unencodable:
            continue
        assert encoded == url
        assert re.fullmatch(r"(http|https|tftp)://[!%&()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+", encoded)
    try:
        assert encode_name(text) == text
    except Unencodable:
        return
    assert re.fullmatch(r"[A-Za-z0-9._+~@-]+", text)


@pytest.mark.parametrize(
    "url",
    ["", "vmlinuz", "file:///etc/passwd", "http://", "http:///x", "http://h/a b", "http://h/${x}",
    "http://h/a|b",
     "http://h/a\nb", "javascript:x", "http://[::1/x", "http://h/\\", "http://h/#frag"],
)  # fmt: skip
def test_refused_urls(url: str) -> None:
    with pytest.raises(Unencodable):
        encode_url(url)


@pytest.mark.parametrize("url", [URL, "https://[fd00::1]:8443/x?a=1&b=2", "tftp://10.0.0.1/a%20b"])
def test_good_urls(url: str) -> None:
    assert encode_url(url) == url


def test_the_command_line_has_the_kernels_limit() -> None:
    assert parse_words("x" * MAX_LENGTH) == ("x" * MAX_LENGTH,)
    with pytest.raises(BadCommandLine):
        parse_words("x" * (MAX_LENGTH + 1))
    assert parse_words('  a  b="c"  ') == ("a", 'b="c"')


def test_a_secret_cannot_become_part_of_a_script() -> None:
    secret: Any = Secret("hunter2")
    for make in (
        str,
        "{}".format,
        lambda s: f"{s}",
        lambda s: "" + s,
        lambda s: "".join([s]),
    ):
        with pytest.raises(TypeError):
            make(secret)
    assert "hunter2" not in repr(secret)
    steps: list[Step] = [
        Say(secret),
        Wait(3, secret),
        Identify(secret),
        RunScript(secret, "x"),
        RunScript(URL, secret),
        BootKernel(Source(secret, "k")),
        BootKernel(Source(URL, secret)),
        BootKernel(Source(URL, "k"), words=(secret,)),
        BootEfi(Source(URL, secret)),
        Operator((secret,)),
        Menu(secret, (Entry("a", "b", URL),), LOCAL),
        Menu("t", (Entry("a", secret, URL),), LOCAL),
    ]
    for step in steps:
        with pytest.raises(TypeError):
            render(Script((step,)))
    with pytest.raises(TypeError):
        render(Script((Say("x"), Reboot()), attempt=secret))
    assert secret.reveal() == "hunter2"


KERNEL = BootKernel(
    Source(URL, "vmlinuz"), (Source(URL + "1", "one.gz"), Source(URL + "2", "two.gz")), ("quiet", "a=b")
)
MENU = Menu("t", (Entry("local", "Local", None, "l"), Entry("x", "X", URL)), LOCAL, rows=())
ALL: tuple[Step, ...] = (
    Say("a"), Wait(3), ConfigureNetwork(), Identify(URL), RunScript(URL, "x"), KERNEL,
    BootEfi(Source(URL, "shell.efi")), MENU, LOCAL, Reboot(),
)  # fmt: skip


@pytest.mark.parametrize("after", list(AfterFailure))
@pytest.mark.parametrize("step", ALL, ids=lambda s: type(s).__name__)
def test_every_download_has_a_time_out_tries_and_a_way_out(
    step: Step, after: AfterFailure, commands: Callable[[str], list[Any]]
) -> None:
    text = render(
        Script((step,), "abcdefghij", after, LOCAL, "http://10.0.0.2/a/abcdefghij/report/not-loaded")
    )
    found = commands(text)
    labels = {command.label for command in found if command.label}
    jumps = {word for c in found if c.words and c.words[0] == "goto" for word in c.words[1:]} - {"${choice}"}
    assert jumps <= labels
    downloads = [c for c in found if c.words and c.words[0] in ("kernel", "initrd", "imgfetch", "chain")]
    for command in downloads:
        where = command.words.index("--timeout")
        assert 1000 <= int(command.words[where + 1]) <= 30000
        assert command.end in ("||", "&&")  # a failure never ends the script
    needs_tries = [c for c in downloads if "report" not in c.words]
    assert len(needs_tries) % len(TRIES) == 0
    if needs_tries:
        assert re.search(r"^:f\d+\necho pxeserver: ", text, re.M), "the screen says what failed"
        tail = text[text.rindex(":f") :]
        assert "prompt --timeout 30000" in tail
        assert ("\nreboot\n" in tail) == (after is AfterFailure.REBOOT)
        assert ("\nexit 0\n" in tail) == (after is AfterFailure.LOCAL or isinstance(step, Menu))


def test_no_backward_jump_without_a_pause() -> None:
    """Nothing in a script goes back: a loop can only go through a reboot, and that waits."""
    text = render(Script(ALL, "abcdefghij"))
    lines = text.splitlines()
    at = {line[1:]: number for number, line in enumerate(lines) if line.startswith(":")}
    for number, line in enumerate(lines):
        for label in re.findall(r"goto (\w+)", line):
            assert at[label] > number, line
    for number, line in enumerate(lines):
        if line == "reboot" and number != len(lines) - 1:
            assert lines[number - 1].startswith("prompt --timeout 30000")


def test_the_kernel_line() -> None:
    text = render(Script((KERNEL,)))
    line = next(line for line in text.splitlines() if line.startswith("kernel"))
    expected = (
        f"kernel --timeout 8000 --name vmlinuz {URL} initrd=one.gz initrd=two.gz quiet a=b && goto l0x0 ||"
    )
    assert line == expected
    assert text.index("one.gz http") < text.index("two.gz http")


@pytest.mark.parametrize(
    ("method", "line"),
    [
        (LocalMethod.EXIT, "exit 0"),
        (LocalMethod.EXIT1, "exit 1"),
        (LocalMethod.SANBOOT, "sanboot --no-describe --drive 0x80 || exit 0"),
        (LocalMethod.EFI, r"sanboot --no-describe --drive 0 --filename \EFI\BOOT\BOOTAA64.EFI || exit 1"),
    ],
)
def test_local_disks(method: LocalMethod, line: str) -> None:
    assert render(Script((LocalDisk(method, "BOOTAA64.EFI"),))) == f"#!ipxe\n{line}\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "echo x",
        "#!ipxe",
        "#!ipxe\n\n",
        "#!ipxe\n\x00",
        "#!ipxe\na\x1bb",
        "#!/bin/sh\nx",
        "#!ipxe\n" + "x" * 70000,
    ],
)
def test_operators_scripts_that_are_refused(text: str) -> None:
    with pytest.raises(BadScript):
        operator_lines(text)


def test_operators_scripts_are_served_as_they_are() -> None:
    text = "#!ipxe\r\n:again\r\n\techo ${net0/mac} || goto again\r\nboot\r\n"
    assert operator_lines(text)[:3] == (":again", "\techo ${net0/mac} || goto again", "boot")


def test_rows_of_a_menu() -> None:
    rows = (Heading("Hello"), Heading(), *MENU.entries)
    text = render(Script((Menu("t", MENU.entries, LOCAL, rows=rows, seconds=0, keyboard="de"),)))
    assert text.splitlines()[1:7] == [
        "set keymap de ||", "menu t", "item --gap -- Hello", "item --gap --", "item --key l m0x0 Local",
        "item m0x1 X",
    ]  # fmt: skip
    assert "choose --default m0x0 choice" in text
