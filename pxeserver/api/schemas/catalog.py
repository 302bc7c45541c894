"""Groups, profiles, images and loaders: what may be booted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pxeserver.api.schemas.fields import (
    Body,
    LabelChanges,
    Labels,
    Name,
    Sha256,
    Text,
    ValueChanges,
    Values,
    View,
    form,
)
from pxeserver.boot.model import FileRef, Group, Image, Loader, Profile

Kind = Literal["local", "kernel", "efi", "script", "chain", "discovery", "disk", "menu"]
Role = Literal["kernel", "initrd", "root", "efi", "script", "disk", "file", "loader"]
Selector = Literal["arch", "vendor", "mac-prefix", "subnet", "label"]


def _script(text: str) -> str:
    if any(ord(c) < 32 and c not in "\n\t" for c in text) or "\x7f" in text:
        raise ValueError("control characters other than line breaks and tabs are refused")
    return text


Script = Annotated[str, Field(max_length=65_536), AfterValidator(_script)]
Url = Annotated[
    str,
    Field(max_length=2048),
    form(r"^(|(https?|tftp)://[!-~]+)$", "a URL begins with http://, https:// or tftp://, and has no blanks"),
]
Match = Annotated[Text, Field(min_length=1, max_length=200)]


class GroupNew(Body):
    """A group to add."""

    name: Name
    selector: Selector
    match: Match
    """Architecture, beginning of the vendor's name, MAC prefix, network, or "key=value" of a label."""
    values: Values = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)


class GroupChange(Body):
    """What to change of a group."""

    selector: Selector | None = None
    match: Match | None = None
    values: ValueChanges | None = None
    labels: LabelChanges | None = None


class GroupView(View):
    """A group."""

    name: str
    selector: str
    match: str
    values: dict[str, str]
    labels: dict[str, str]


class ProfileNew(Body):
    """A profile to add."""

    name: Name
    kind: Kind
    image: Name | None = None
    args: Text = ""
    """Kernel command line."""
    script: Script = ""
    """iPXE script, for kind "script"."""
    url: Url = ""
    """Where to chain to, for kind "chain"."""
    install: bool = False
    """Run once for each install order, then the local disk boots."""
    title: Annotated[Text, Field(max_length=100)] = ""
    in_menu: bool = True
    values: Values = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)


class ProfileChange(Body):
    """What to change of a profile."""

    kind: Kind | None = None
    image: Name | Literal[""] | None = None
    args: Text | None = None
    script: Script | None = None
    url: Url | None = None
    install: bool | None = None
    title: Annotated[Text, Field(max_length=100)] | None = None
    in_menu: bool | None = None
    values: ValueChanges | None = None
    labels: LabelChanges | None = None


class ProfileView(View):
    """A profile."""

    name: str
    kind: str
    image: str | None
    args: str
    script: str
    url: str
    install: bool
    title: str
    in_menu: bool
    values: dict[str, str]
    labels: dict[str, str]


class FileNamed(Body):
    """A file of the store, by its content."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    sha256: Sha256
    role: Role


class ImageBuild(Body):
    """An order to build an image here."""

    refresh: bool = False
    """Fetch all packages anew, in their newest versions."""


class ImageNew(Body):
    """An image to publish from files that are in the store."""

    name: Name
    files: Annotated[tuple[FileNamed, ...], Field(min_length=1, max_length=64)]
    description: Text = ""
    labels: Labels = Field(default_factory=dict)


class ImportOrder(Body):
    """A file that the server fetches itself."""

    url: (
        Annotated[
            str,
            Field(max_length=2048),
            form(r"^https?://[!-~]+$", "a URL begins with http:// or https://, and has no blanks"),
        ]
        | None
    ) = None
    path: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """A file below import/ in the state directory."""
    name: Annotated[str, Field(min_length=1, max_length=200)]
    role: Role = "file"
    sha256: Sha256 | None = None


class UploadQuery(Body):
    """What the uploaded file is."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    role: Role = "file"
    sha256: Sha256 | None = None


class FileView(View):
    """A published file."""

    name: str
    role: str
    size: int
    sha256: str


class ImageView(View):
    """An image."""

    name: str
    description: str
    size: int
    files: tuple[FileView, ...]
    labels: dict[str, str]


class LoaderNew(Body):
    """The user's own loader, already in the store."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    sha256: Sha256
    source: Text = ""
    version: Annotated[Text, Field(max_length=100)] = ""
    licence: Annotated[Text, Field(max_length=100)] = ""


class LoaderView(View):
    """A loader."""

    arch: int
    arch_name: str
    file: FileView
    source: str
    release: str
    licence: str


def group_view(group: Group) -> GroupView:
    """A group as the API shows it."""
    return GroupView(
        name=group.name,
        selector=group.selector.value,
        match=group.match,
        values=dict(group.values),
        labels=dict(group.labels),
    )


def profile_view(profile: Profile) -> ProfileView:
    """A profile as the API shows it."""
    return ProfileView(
        name=profile.name,
        kind=profile.kind.value,
        image=profile.image,
        args=profile.args,
        script=profile.script,
        url=profile.url,
        install=profile.install,
        title=profile.title,
        in_menu=profile.in_menu,
        values=dict(profile.values),
        labels=dict(profile.labels),
    )


def file_view(file: FileRef) -> FileView:
    """A file as the API shows it."""
    return FileView(name=file.name, role=file.role, size=file.size, sha256=file.sha256)


def image_view(image: Image) -> ImageView:
    """An image as the API shows it."""
    return ImageView(
        name=image.name,
        description=image.description,
        size=sum(f.size for f in image.files),
        files=tuple(file_view(f) for f in image.files),
        labels=dict(image.labels),
    )


def loader_view(loader: Loader, arch_name: str) -> LoaderView:
    """A loader as the API shows it."""
    return LoaderView(
        arch=loader.arch,
        arch_name=arch_name,
        file=file_view(loader.file),
        source=loader.source,
        release=loader.version,
        licence=loader.licence,
    )
