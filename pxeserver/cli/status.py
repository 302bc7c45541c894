"""The server's state in a few lines."""

from __future__ import annotations

from typing import Any

from pxeserver.cli import screen
from pxeserver.cli.client import Client, Failure
from pxeserver.cli.options import DEFAULT, Options, noun
from pxeserver.hostlimits import read, wanting

app = noun("status", "The server's state in a few lines.")


@app.default
def status(*, options: Options = DEFAULT) -> int:
    """The server's state in a few lines; the exit code is 1 while something is wrong."""
    with options.client() as client:
        state, admin = client.get("status"), _admin(client)
    if options.output != "table":
        screen.dump(state, options.output)
        return 0 if state["state"] == "ok" else 1
    counts = state["counts"]
    screen.fields(
        [
            ("pxeserver", state["version"]),
            ("state", state["state"]),
            ("started", screen.local_time(state["started"])),
            ("interfaces", state["interfaces"]),
            (
                "unknown machines get",
                state["unknown"] + (" (dry run: nothing is sent)" if state["dry_run"] else ""),
            ),
            ("because", state["why"]),
            ("other boot servers", state["others"]),
            ("nodes", f"{counts['nodes']}, {counts['armed']} will install, {counts['held']} held"),
            ("unknown machines", counts["unknown_machines"]),
            ("profiles", counts["profiles"]),
            ("images", counts["images"]),
            ("loaders", counts["loaders"]),
            ("not answered", state["ignored"]),
            *admin,
        ]
    )
    for problem in state["problems"]:
        screen.warn(problem)
    # The services do not see the host's settings; who asks here does.
    for sentence in wanting(read(), counts["nodes"] + counts["unknown_machines"]):
        screen.warn(sentence)
    return 0 if state["state"] == "ok" else 1


def _admin(client: Client) -> list[tuple[str, Any]]:
    """How browsers know this server."""
    try:
        shown = client.get("certificate")
    except Failure:
        return []
    rows = [("web certificate", f"SHA-256 {shown['sha256']}")]
    if shown["problem"]:
        rows.append(("its problem", shown["problem"]))
    return rows
