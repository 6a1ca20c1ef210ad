"""Secrets that an installation makes for itself."""

import os
import secrets
from pathlib import Path


def kept_secret(data_dir: Path, name: str) -> str:
    """Return a secret of this installation, made on first use and readable only by its owner."""
    path = data_dir / name
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    made = secrets.token_urlsafe(50)
    with os.fdopen(descriptor, "w") as file:
        file.write(made)
    return made
