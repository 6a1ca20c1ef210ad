"""`manage.py secondfactor`: give a user of the admin a second factor, replace it, or remove it."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from orders.management import asking, operator

RECOVERY_CODES = 8


class Command(asking.StoresCommand):
    """Sets up a TOTP authenticator (RFC 6238), which counts only once it has shown a code."""

    help = (
        "Ask a user for a code of an authenticator app at every login. "
        "Exit codes: 0 done; 1 the code was wrong, nothing has changed; 2 no such user, or Postgres unreachable."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", metavar="USER")
        parser.add_argument("--remove", action="store_true", help="ask for the password alone again")
        operator.add_by(parser)

    def handle(self, *, username: str, remove: bool, by: str, **options: Any) -> None:
        """Set up or remove the second factor of a user."""
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"there is no user {username}", returncode=2)
        if remove:
            forget(user)
            self.stdout.write(f"{username} logs in with the password alone.")
        else:
            self.set_up(user)
        operator.record(by, "second factor", username, "removed" if remove else "set up")

    def set_up(self, user: User) -> None:
        """Show the secret, and keep it if the user's app shows the right code; a second factor before it is replaced.

        Raises CommandError.
        """
        device = TOTPDevice(user=user, name="authenticator")
        secret = parse_qs(urlsplit(device.config_url).query)["secret"][0]
        self.stdout.write(f"Add this to an authenticator app, or the secret {secret}:\n{device.config_url}")
        typed = input("The code it shows: ").replace(" ", "")
        with transaction.atomic():
            forget(user)
            device.save()
            if not device.verify_token(typed):
                raise CommandError("that is not the code; nothing has changed", returncode=1)
            codes = recovery_codes(user)
        self.stdout.write("From now on a code is asked for. Each of these recovery codes replaces one, once:")
        self.stdout.write("\n".join(codes))


def forget(user: User) -> None:
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()


def recovery_codes(user: User) -> list[str]:
    """Make codes for the day on which the authenticator is lost."""
    device = StaticDevice.objects.create(user=user, name="recovery codes")
    made = [StaticToken(device=device, token=StaticToken.random_token()) for _ in range(RECOVERY_CODES)]
    return [one.token for one in StaticToken.objects.bulk_create(made)]
