"""`manage.py reduce`: accept only sales for the quote token, of a pair, a venue, a user, an API key or everything."""

from orders.management.commands import pause
from orders.models import PauseState


class Command(pause.Command):
    """Reduces."""

    help = (
        "Accept only orders that sell for the quote token of their pair, and within a second send no others: "
        "as `halt`, for purchases. `resume` ends it."
    )
    name, state = "reduce", PauseState.REDUCING
