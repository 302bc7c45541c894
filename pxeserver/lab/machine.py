"""A virtual machine of the lab: power, serial console, and QEMU's control socket for what a hand would do."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pxeserver.lab.firmware import Disk, Firmware, disk_words, firmware_words
from pxeserver.lab.netns import Namespace
from pxeserver.lab.process import LabError, Process


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What a virtual machine is made of. `memory` is in MiB; `far` puts it behind the relay."""

    name: str
    firmware: Firmware
    mac: str
    uuid: str
    serial: str = ""
    memory: int = 1024
    disks: tuple[Disk, ...] = ()
    far: bool = False
    cpus: int = 1
    accel: str = "tcg"
    extra: tuple[str, ...] = ()


class Machine:
    """One virtual machine. Its serial console is kept over power cycles in `<work>/<name>.serial`."""

    def __init__(self, spec: MachineSpec, space: Namespace, tap: str, work: Path) -> None:
        self.spec = spec
        self.tap = tap
        self.serial_file = work / f"{spec.name}.serial"
        self._space = space
        self._work = work
        self._control = work / f"{spec.name}.qmp"
        self._process: Process | None = None
        self._mark = 0

    @property
    def running(self) -> bool:
        """Whether the machine is powered on."""
        return self._process is not None and self._process.returncode is None

    def command_line(self) -> list[str]:
        """The QEMU command line."""
        spec = self.spec
        words = firmware_words(spec.firmware, spec.mac, self._work / f"{spec.name}.vars")
        words += [
            "-accel",
            spec.accel,
            "-m",
            str(spec.memory),
            "-smp",
            str(spec.cpus),
            "-nodefaults",
            "-display",
            "none",
        ]
        words += [
            "-uuid",
            spec.uuid,
            "-smbios",
            f"type=1,manufacturer=Lab,product={spec.firmware.value},serial={spec.serial}",
        ]
        words += ["-chardev", f"file,id=s0,path={self.serial_file},append=on", "-serial", "chardev:s0"]
        words += ["-object", "rng-random,filename=/dev/urandom,id=r0", "-device", "virtio-rng-pci,rng=r0"]
        words += ["-netdev", f"tap,id=n0,ifname={self.tap},script=no,downscript=no"]
        words += ["-qmp", f"unix:{self._control},server=on,wait=off"]
        return [*words, *disk_words(spec.disks), *spec.extra]

    def power_on(self) -> None:
        """Start the machine; the serial console goes on where it was."""
        if self.running:
            raise LabError(f"{self.spec.name} is already on")
        self._mark = len(self.console())
        self._control.unlink(missing_ok=True)
        self._process = self._space.start(self.command_line(), self._work / f"{self.spec.name}.qemu.log")

    def power_off(self) -> None:
        """Cut the power."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def console(self) -> str:
        """Everything the serial console has shown since the machine was made."""
        return self.serial_file.read_text(errors="replace") if self.serial_file.exists() else ""

    def since_power_on(self) -> str:
        """What the serial console has shown since the newest power-on."""
        return self.console()[self._mark :]

    def wait_for_console(self, *wanted: str, timeout: float) -> float:
        """Return the seconds waited until one of the texts is on the console since power-on; LabError after
        `timeout`.
        """
        begin = time.monotonic()
        while True:
            shown = self.since_power_on()
            if any(text in shown for text in wanted):
                return time.monotonic() - begin
            if not self.running:
                log = self._process.text() if self._process else ""
                raise LabError(f"{self.spec.name} is off: {log[-500:]} {shown[-1000:]}")
            if time.monotonic() - begin > timeout:
                raise LabError(
                    f"{self.spec.name}: none of {wanted} in {timeout:.0f} s; ends: {shown[-2000:]!r}"
                )
            time.sleep(0.2)

    def command(self, name: str, /, **arguments: object) -> object:
        """Run one QMP command, e.g. `command("system_reset")` or `command("set_link", name="n0",
        up=False)`.
        """
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(self._control))
            lines = control.makefile("rw")
            lines.readline()
            for message in ({"execute": "qmp_capabilities"}, {"execute": name, "arguments": arguments}):
                lines.write(json.dumps(message) + "\n")
                lines.flush()
                answer = _answer(lines.readline)
        if "error" in answer:
            raise LabError(f"{name}: {answer['error']}")
        return answer.get("return")

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_off()


def _answer(readline: object) -> dict[str, object]:
    while True:  # events may come between a command and its answer
        line = readline()  # type: ignore[operator]
        if not line:
            raise LabError("QEMU closed its control socket")
        message: dict[str, object] = json.loads(line)
        if "return" in message or "error" in message:
            return message


def first_free_mac(taken: Sequence[str]) -> str:
    """The next MAC address of the lab's range that is not taken."""
    numbers = (f"52:54:00:77:00:{n:02x}" for n in range(1, 255))
    return next(mac for mac in numbers if mac not in taken)
