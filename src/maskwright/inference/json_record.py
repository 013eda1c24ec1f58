"""Frozen records that are stored as JSON files."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from maskwright.errors import InputError
from maskwright.images.write import write_text


class UnreadableRecord(InputError):
    """A JSON file that is missing, is damaged or has a later format."""

    text = "{file}: cannot be read ({found})."


class JsonRecord(BaseModel):
    """A record that rejects unknown fields; subclasses specify the error raised for a damaged file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unreadable: ClassVar[type[InputError]] = UnreadableRecord
    """Class of the error raised for an unreadable file; its text has the fields ``file`` and ``found``."""

    def write_file(self, file: Path) -> None:
        """Write the record to a JSON file atomically."""
        write_text(file, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read_file(cls, file: Path) -> Self:
        """Read and validate the record in a JSON file.

        Raises:
            UnreadableRecord: The file is missing, is damaged or has a later format; subclasses raise the class in their
                ``unreadable`` attribute.
        """
        try:
            return cls.model_validate_json(file.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise cls.unreadable(file=file, found=f"{field}: {first['msg']}".removeprefix(": ")) from None
        except OSError as error:
            raise cls.unreadable(file=file, found=error.strerror) from None
