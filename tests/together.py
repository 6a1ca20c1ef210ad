"""Which tests each process of several runs: whole files, the engines with one of them."""

from xdist.scheduler import LoadFileScheduling

FOLDERS = ("tests/browser/", "tests/hosts/")
"""Their tests share engines over files: a second process would start them a second time."""
LONGEST_FIRST = (
    *(*FOLDERS, "tests/chaos/test_run.py", "tests/flows/", "tests/chaos/", "tests/load/", "tests/fuzz/"),
    "tests/deploy/",
)
"""Who starts engines, or servers: begun last, one of these would keep a process busy when the others have ended."""


def longest_first(nodeid: str) -> int:
    """Rank a test among the others, for `sort`, which keeps the order of those of one rank."""
    return next((rank for rank, place in enumerate(LONGEST_FIRST) if nodeid.startswith(place)), len(LONGEST_FIRST))


class Together(LoadFileScheduling):
    """Hands out whole files, and some folders whole (`pytest -n 2 --dist loadfile`).

    The first process begins with those that start engines, the others with the last of those that do not, until they
    meet: two engines at once on two cores would be slower than one after the other, and later than tests allow.
    """

    def _split_scope(self, nodeid: str) -> str:
        """Name what a test belongs to."""
        return next((folder for folder in FOLDERS if nodeid.startswith(folder)), super()._split_scope(nodeid))

    def _assign_work_unit(self, node: object) -> None:
        """Give the first process what is first, and every other what is last."""
        if node is not self.nodes[0]:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)
