"""The command line: `pxeserver NOUN VERB`. A client of the API, except for `run` and `config`.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or configuration, 3 the server cannot be reached, 130
interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from pxeserver import __version__

NOUNS = {
    "run": "Run the server in this terminal.",
    "status": "The server's state in a few lines.",
    "node": "Nodes: the machines that are known by name.",
    "group": "Groups: values for all machines that a selector matches.",
    "profile": "Profiles: what to boot, by name.",
    "image": "Images: kernels, disks and other files that boot together.",
    "loader": "Loaders: the network boot program of each architecture.",
    "cluster": "Clusters: nodes that become one system, and stay it.",
    "boot": "Boots: what happened, and what happens now.",
    "lease": "Leases: the addresses promised by DHCP.",
    "policy": "Policy: what unknown machines get.",
    "user": "Users: who may log in to the web pages, and what they may do.",
    "token": "API tokens: what programs log in with.",
    "notify": "Notifications: who is told of alarms.",
    "config": "The configuration: check it, show it, describe it.",
    "backup": "Save everything but the image files into one file.",
    "restore": "Replace everything by a backup's content.",
}
"""Each is the `app` of the module of its name in this package, loaded when it is used."""


FIRST_STEPS = """First steps:

  pxeserver run                         start it in this terminal
  pxeserver boot watch                  see who asks: switch a machine on
  pxeserver image add debian --kernel vmlinuz --initrd initrd.img
  pxeserver profile add live --image debian --args "boot=live"
  pxeserver node list --unknown         machines without a name, with codes
  pxeserver node approve CODE web --profile live
  pxeserver node show web               what it would get now, and why
"""


def build() -> App:
    """The whole command line."""
    app = App(
        name="pxeserver",
        help="A network boot server: ProxyDHCP, DHCP, TFTP and HTTP boot.",
        help_epilogue=FIRST_STEPS,
        version=__version__,
        default_parameter=Parameter(negative=()),
        help_format="plaintext",
        result_action="return_value",
    )
    for name, text in NOUNS.items():
        app.command(f"pxeserver.cli.{name}:app", name=name, help=text)
    app.register_install_completion_command(add_to_startup=False)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; ends the process with the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words or os.environ.get("PXESERVER_DEBUG", "") not in ("", "0")
    sys.exit(_run(words, debug))


def _run(words: list[str], debug: bool) -> int:
    from pxeserver.cli import screen  # noqa: PLC0415 - rich is not needed for --version
    from pxeserver.cli.client import Failure  # noqa: PLC0415

    try:
        result = build()(words, exit_on_error=False, print_error=False, help_on_error=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CycloptsError as error:
        step = f"`{_command(words)} --help` shows how"
        screen.fail(Failure("the command is not understood", str(error), step))
        return 2
    except Failure as failure:
        screen.fail(failure)
        if debug:
            traceback.print_exc()
        return failure.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `pxeserver ... | head` has enough; leave nothing for the interpreter to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - a person gets a sentence, --debug the traceback
        if debug:
            traceback.print_exc()
        step = "Run it again with --debug and report what it shows"
        screen.fail(Failure("pxeserver failed", f"{type(error).__name__}: {error}", step))
        return 1


def _command(words: list[str]) -> str:
    """The command that was meant, as far as its words say so."""
    app, said = build(), ["pxeserver"]
    for word in words:
        try:
            app = app[word]
        except KeyError:
            break
        said.append(word)
    return " ".join(said)
