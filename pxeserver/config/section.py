"""What all sections of the settings are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """What all sections share: no unknown key, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def listed(value: Any) -> Any:
    """A single text where a list is meant, as a list of one."""
    return [value] if isinstance(value, str) else value


def _absolute(path: Path) -> Path:
    # The processes have working directories of their own: another one would be meant in each.
    if not path.is_absolute():
        raise ValueError(f"{str(path)!r} is not a whole path: begin it with /")
    return path


Port = Annotated[int, Field(ge=1, le=65535)]
WholePath = Annotated[Path, AfterValidator(_absolute)]
