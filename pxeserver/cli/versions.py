"""The commands on versions that several nouns have: list, compare, roll back."""

from __future__ import annotations

from cyclopts import App

from pxeserver.cli import screen
from pxeserver.cli.options import DEFAULT, Options
from pxeserver.cli.screen import Column, column

COLUMNS = (
    column("version"),
    Column("at", lambda v: screen.local_time(v["at"])),
    column("by"),
    column("source"),
    column("changed"),
)


def add_versions(app: App, path: str) -> None:
    """Add `versions`, `diff` and `rollback` to a noun; `path` is where the API has its records."""

    @app.command
    def versions(name: str, /, *, options: Options = DEFAULT) -> None:
        """List the versions, newest first: who changed what, and when."""
        with options.client() as client:
            screen.rows(client.get(path, name, "versions"), COLUMNS, options.output, "no version is known")

    @app.command
    def diff(name: str, old: int, new: int | None = None, /, *, options: Options = DEFAULT) -> None:
        """Show what differs between two versions.

        Parameters
        ----------
        old
            The version that is compared.
        new
            With which; the newest where it is left away.
        """
        with options.client() as client:
            if new is None:
                new = max(version["version"] for version in client.get(path, name, "versions"))
            told = client.get(path, name, "diff", old=old, new=new)
        if options.output != "table":
            screen.dump(told, options.output)
            return
        for line in told["lines"]:
            screen.stdout().print(screen.safe(line), markup=False, highlight=False)

    @app.command
    def rollback(name: str, version: int, /, *, options: Options = DEFAULT) -> None:
        """Make it what it was in a version. This is a change like any other, and makes a new version.

        Parameters
        ----------
        version
            A number that `versions` shows.
        """
        with options.client() as client:
            now = client.post(path, name, "rollback", body={"version": version})
        if options.output != "table":
            screen.dump(now, options.output)
        else:
            screen.say(f"{name}: as in version {version}")
