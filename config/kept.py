"""Secrets that an installation makes for itself."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path


def kept_secret(data_dir: Path, name: str) -> str:
    """Return a secret of this installation, made on first use and readable only by its owner."""
    path = data_dir / name
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        descriptor, own = tempfile.mkstemp(dir=data_dir, prefix=f"{name}-")
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
        # Whole or not at all, and never over that of another process.
        with suppress(FileExistsError):
            os.link(own, path)
        Path(own).unlink()
    return path.read_text()
