"""The admin as an operator has it in front of them."""

from typing import Any

from tests.browser.watched import Watched
from tests.system import System

LISTS = (
    "orders/order",
    "orders/attempt",
    "orders/deadletter",
    "orders/setaside",
    "orders/pause",
    "orders/incidentnote",
    "orders/guard",
    "routing/pair",
    "routing/token",
    "routing/ledgerentry",
    "orders/act",
    "django_celery_beat/periodictask",
    "auth/user",
    "auth/group",
    "axes/accessattempt",
)


class Console(Watched):
    """One page."""

    def __init__(self, page: Any, engine: System) -> None:
        super().__init__(page, engine)
        self.password = (engine.data_dir / "admin-password").read_text().strip()

    def go(self, path: str = "") -> None:
        """Go to a page of the admin, which must be there."""
        answer = self.page.goto(f"{self.engine.url}/admin/{path}")
        assert answer.status == 200, path

    def log_in(self, password: str | None = None) -> None:
        """Fill in the form and send it."""
        self.go()
        self.page.fill("#id_username", "admin")
        self.page.fill("#id_password", self.password if password is None else password)
        self.page.locator("#id_password").press("Enter")

    def enter(self) -> None:
        """Log in and wait until the dashboard is drawn."""
        self.log_in()
        self.page.wait_for_selector("#dashboard svg")

    def open_first(self, listing: str) -> None:
        """Open the page of a list's first row."""
        self.go(f"{listing}/")
        self.page.locator("#result_list tbody a").first.click()
        self.page.wait_for_url("**/change/**")

    def said(self) -> str:
        """Return what the page answers to what was done."""
        return self.text("#main")
