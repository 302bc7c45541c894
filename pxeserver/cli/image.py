"""Images: kernels, disks and other files that boot together."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from pxeserver.cli import records, screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, each, noun, pairs
from pxeserver.cli.screen import Column, column
from pxeserver.cli.transfer import SERVER_SIDE, send

app = noun("image", "Images: kernels, disks and other files that boot together.")
Sources = Annotated[list[str] | None, Parameter(negative=())]
COLUMNS = (
    column("name"),
    Column("size", lambda i: screen.size(i["size"])),
    Column("files", lambda i: [f["name"] for f in i["files"]]),
    column("description"),
    column("labels"),
)
FILE_COLUMNS = (
    column("name"),
    column("role"),
    Column("size", lambda f: screen.size(f["size"])),
    column("sha256"),
)


@app.command
def add(
    name: str,
    /,
    *,
    kernel: str | None = None,
    initrd: Sources = None,
    efi: str | None = None,
    script: str | None = None,
    disk: str | None = None,
    file: Sources = None,
    sha256: Sources = None,
    description: str = "",
    label: Annotated[list[str] | None, Parameter(name="--label")] = None,
    options: Options = DEFAULT,
) -> int:
    """Add an image: `image add debian --kernel vmlinuz --initrd initrd.img`, or URLs with --sha256.

    A file is a path here (it is uploaded), a URL (the server fetches it), or import:NAME (a file below
    import/ in the server's state directory). The image is published when all of its files are there.

    Parameters
    ----------
    kernel
        The kernel.
    initrd
        An initial RAM disk; may be given several times, they are loaded in this order.
    efi
        An EFI program.
    script
        An iPXE script.
    disk
        A raw disk image.
    file
        Any other file; may be given several times.
    sha256
        What a file must be, NAME=SHA256 or, with one file, SHA256; may be given several times.
    description
        A text for people.
    label
        key=value, e.g. arch=x64; may be given several times.
    """
    single = (("kernel", kernel), ("efi", efi), ("script", script), ("disk", disk))
    sources = [(role, source) for role, source in single if source]
    sources += [("initrd", s) for s in initrd or ()] + [("file", s) for s in file or ()]
    if not sources:
        why = "an image has at least one file"
        raise Failure(
            "the image has no file", why, "Give --kernel, --initrd, --efi, --disk or --file", exit_code=2
        )
    sums = _checksums(sha256 or [], [source for _, source in sources])
    labels = pairs(label or ())
    with options.client() as client:
        if any(image["name"] == name for image in client.get("images")):
            step = f"Remove it first (`pxeserver image remove {name}`), or choose another name"
            raise Failure(f"image {name} exists", "names are unique", step)
        files = []
        for role, source in sources:
            found = send(client, source, role, sums.get(source))
            files.append({"name": found["name"], "sha256": found["sha256"], "role": role})
            if source.startswith("http") and source not in sums:
                screen.warn(f"nothing vouches for {source}: its sha256 is {found['sha256']}")
        body = {"name": name, "files": files, "description": description, "labels": labels}
        return each([name], lambda _: client.post("images", body=body), "added", options)


def _checksums(words: list[str], sources: list[str]) -> dict[str, str]:
    """Which source must have which SHA-256."""
    by_name = {s.removeprefix(SERVER_SIDE).rpartition("/")[2]: s for s in sources}
    result = {}
    for word in words:
        name, equals, value = word.rpartition("=")
        source = by_name.get(name) if equals else (sources[0] if len(sources) == 1 else None)
        if source is None:
            why = f"{word!r} belongs to none of the files {', '.join(by_name)}"
            raise Failure("a checksum is refused", why, "Write --sha256 NAME=SHA256", exit_code=2)
        result[source] = value.lower()
    return result


@app.command(name="list")
def list_images(*, options: Options = DEFAULT) -> None:
    """List images."""
    records.listed("images", COLUMNS, "no image; `pxeserver image add --help` shows how to add one", options)


@app.command
def show(name: str, /, *, options: Options = DEFAULT) -> None:
    """Show an image and its files."""
    image = records.found("images", name, options)
    if image is None:
        return
    screen.fields((key, image[key]) for key in ("name", "description", "labels"))
    screen.heading("Files")
    screen.rows(image["files"], FILE_COLUMNS, "table", "none")


@app.command
def build(name: str, /, *, refresh: bool = False, options: Options = DEFAULT) -> None:
    """Have the server build an image of its own: `image build cluster-node`. Takes minutes.

    What is there already and was built by the same recipe is taken as it is.

    Parameters
    ----------
    name
        The image: cluster-node.
    refresh
        Fetch all packages anew, in their newest versions.
    """
    with options.client() as client:
        image = None
        try:
            for line in client.lines("POST", "images", name, "build", body={"refresh": refresh}):
                if "progress" in line:
                    screen.stderr().print(line["progress"], markup=False, highlight=False)
                elif "problem" in line:
                    problem = line["problem"]
                    raise Failure(problem["what"], problem["why"], problem["next_step"])
                else:
                    image = line.get("image", image)
        except ConnectionError as error:
            step = "It may still be built: `pxeserver image list`, and the server's log"
            raise Failure("the build is out of sight", str(error), step) from None
    if image is None:
        raise Failure("the build is out of sight", "the server ended the connection", "Look at its log")
    if options.output != "table":
        screen.dump(image, options.output)
        return
    screen.rows([image], COLUMNS, "table", "")


@app.command
def remove(*names: str, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Remove images that no profile uses, and their files."""
    question = f"Remove image {', '.join(names)} and its files?"
    return records.removed("images", names, question, options, yes=yes)
