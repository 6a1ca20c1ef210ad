"""Set the ticks of the seeded pairs and the facts of the seeded tokens."""

from decimal import Decimal

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

USD = {
    "SOL": Decimal(155),
    "USDC": Decimal(1),
    "USDT": Decimal(1),
    "JUP": Decimal("0.85"),
    "RAY": Decimal("2.4"),
    "BONK": Decimal("0.000022"),
    "WIF": Decimal("1.9"),
}
"""Prices from which the ticks are derived: a ten-thousandth of the price's leading digit."""

CIRCLE = "BJE5MMbqXjVwjAF7oxwPYXnTXDyspzZyt4vwenNw5ruG"
TETHER = "Q6XprfkF8RQQKoQVG33xT88H7wi8Uk1B1CC7YAs69Gi"
ISSUERS = {"USDC": CIRCLE, "USDT": TETHER}


def fill(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Set the ticks of pairs between seeded tokens, and the facts of the seeded tokens."""
    token, pair = apps.get_model("routing", "Token"), apps.get_model("routing", "Pair")
    for row in pair.objects.select_related("token_in", "token_out"):
        prices = USD.get(row.token_in.symbol), USD.get(row.token_out.symbol)
        if all(prices):
            row.tick = Decimal(1).scaleb((prices[0] / prices[1]).adjusted() - 4)
            row.save(update_fields=["tick"])
    for symbol in USD:
        issuer = ISSUERS.get(symbol, "")
        token.objects.filter(symbol=symbol).update(
            mint_authority=issuer, freeze_authority=issuer, top_holder_bps=1_000
        )


class Migration(migrations.Migration):
    """Give seeded pairs their ticks and seeded tokens their facts."""

    dependencies = [("routing", "0003_ticks_and_token_facts")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
