"""The sentences of diagnosis.py: for each code what was seen with its likely causes, and the next step."""

from __future__ import annotations

from collections.abc import Mapping

TEXTS: Mapping[str, tuple[str, str]] = {
    "no-request-after-offer": (
        "The machine got our offer and asked for nothing in {seconds} s. Likely: another server's offer"
        " carried a boot file and won, its firmware wants address and boot file in one answer, or a "
        "firewall drops UDP 4011 and 69.",
        "Look for other boot servers on this network (`pxeserver status` names those it heard); try "
        'full DHCP for it (`dhcp = "full"` in its [[subnet]]).',
    ),
    "loader-stopped": (
        "The transfer of the boot loader {file} began and made no progress for {seconds} s. Likely: a "
        "firewall or NAT that lets only the first packet through, packets larger than the path allows, "
        "or the machine was switched off.",
        "Check firewalls for UDP from ports of this server; set tftp.max_block_size to 1024 and try again.",
    ),
    "loader-silent": (
        "The boot loader was sent completely, then nothing came in {seconds} s. Likely: Secure Boot "
        "refused it, it does not know the network card, the switch port was still blocked (spanning "
        "tree), or it is for another architecture.",
        "Look at the machine's screen; turn Secure Boot off or use a signed loader; set the port to "
        "edge (portfast).",
    ),
    "kernel-not-fetched": (
        "The machine has its script and asked for no kernel in {seconds} s. Likely: HTTP from it to "
        "this server is blocked, it has two cards and uses the other one, or the script went on to "
        "another server.",
        "Check that it reaches the HTTP port of this server; look at its screen.",
    ),
    "file-stopped": (
        "The transfer of {file} made no progress for {seconds} s. Likely: the machine was switched off,"
        " ran out of memory, or lost its link.",
        "Look at its screen; give it more memory or a smaller image; check the link's error counters.",
    ),
    "not-loaded": (
        "The boot loader could not load or start {file}: {reason}. Likely: HTTP from the machine to "
        "this server is blocked, the file is not for its architecture, or its memory is too small.",
        "Look at its screen for iPXE's error number (ipxe.org/err); check the profile's image; it tries"
        " again by itself.",
    ),
    "no-report": (
        "Kernel and RAM disks were sent, and the started system has not reported in {seconds} s. "
        "Likely: the kernel stopped, it has no driver for the network card, or it is a system that "
        "never reports.",
        "Look at its screen, or set the value console so that the kernel writes to the serial port.",
    ),
    "install-silent": (
        "The install began and nothing was heard of it for {seconds} s. Likely: it waits for an answer "
        "on its screen, or the machine was switched off.",
        "Look at its screen. Should it start again meanwhile, it is held and not installed a second time.",
    ),
    "install-failed": (
        "The install failed: {reason}. The node is held: it starts its local disk and is not installed "
        "again by itself.",
        "Mend the cause, then order the install anew: `pxeserver node install NAME`.",
    ),
    "held": (
        "The machine is held: {reason}. It shows this on its screen, then starts its local disk.",
        "After an install: `pxeserver node install NAME` orders a new one. An operator's hold: "
        "`pxeserver node release NAME`.",
    ),
    "loop": (
        "The machine booted {count} times in a row, and no started system reported; each time the last "
        "thing seen was {stage}. Likely: the kernel stops and the machine starts again, or the network "
        "stands before the disk and nothing reports.",
        "Look at its screen; set the value console; or assign the profile local: `pxeserver node set "
        "NAME profile=local`.",
    ),
    "no-loader": (
        "The machine's firmware asks for a boot loader that this server does not have: {reason}.",
        "Put a loader for this architecture into the loaders folder (`pxeserver loader add`), or boot "
        "it in another mode.",
    ),
}

IGNORED: Mapping[str, str] = {
    "policy-ignore": ("Add the machine (`pxeserver node add`), or change the policy for unknown machines."),
    "policy-observe": (
        "Another boot server was seen here; `pxeserver policy set --unknown menu` answers unknown "
        "machines anyway."
    ),
    "other-machine": (
        "If this is another card of the machine, add it to the node (`pxeserver node set NAME --mac MAC`, "
        "with all its addresses); if not, somebody on this network speaks in its name."
    ),
    "identity-conflict": (
        "Two nodes claim this machine: `pxeserver node list` shows them; correct the UUID, serial or MAC."
    ),
    "dry-run": ("The server runs in dry-run and only says what it would do; start it without --dry-run."),
    "no-architecture": (
        "The firmware names no architecture; update it, or boot the machine in another mode."
    ),
    "relay-not-allowed": ("The request came through a DHCP relay that is not listed; add it to dhcp.relays."),
    "no-free-address": ("The pool is used up; enlarge `pools` in its [[subnet]]."),
    "not-reserved": ("The subnet gives addresses to known nodes only; add the machine or change the mode."),
}
