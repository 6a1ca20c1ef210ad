"""Which tests one process of several must run: those of a file, or of a folder, that share an engine."""

from xdist.scheduler import LoadFileScheduling

FOLDERS = ("tests/browser/", "tests/hosts/")
"""Their tests share engines over files: a second process would start them a second time."""


class Together(LoadFileScheduling):
    """Hands out whole files, and these folders whole (`pytest -n 2 --dist loadfile`)."""

    def _split_scope(self, nodeid: str) -> str:
        """Name what a test belongs to."""
        return next((folder for folder in FOLDERS if nodeid.startswith(folder)), super()._split_scope(nodeid))
