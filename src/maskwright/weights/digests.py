"""Digests of files."""

import hashlib
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 2**20


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    return digests_of(path)["sha256"]


def digests_of(path: Path) -> dict[str, str]:
    """Return the MD5 and the SHA-256 of a file, in hexadecimal digits, under ``md5`` and ``sha256``."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            md5.update(chunk)
            sha256.update(chunk)
    return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}
