"""Seed the tokens and pairs that the engine trades from its first start."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TOKENS = [
    ("SOL", "So11111111111111111111111111111111111111112", 9),
    ("USDC", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", 6),
    ("USDT", "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB", 6),
    ("JUP", "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", 6),
    ("RAY", "4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R", 6),
    ("BONK", "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263", 5),
    ("WIF", "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm", 6),
]

PAIRS = [
    ("SOL", "USDC"),
    ("SOL", "USDT"),
    ("JUP", "USDC"),
    ("RAY", "USDC"),
    ("BONK", "USDC"),
    ("WIF", "USDC"),
    ("JUP", "SOL"),
    ("BONK", "SOL"),
    ("WIF", "SOL"),
    ("RAY", "SOL"),
    ("USDC", "USDT"),
]


def seed(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Add the tokens, and each pair in both directions."""
    token, pair = apps.get_model("routing", "Token"), apps.get_model("routing", "Pair")
    token.objects.bulk_create(token(symbol=symbol, mint=mint, decimals=decimals) for symbol, mint, decimals in TOKENS)
    mints = {symbol: mint for symbol, mint, _ in TOKENS}
    both_ways = [*PAIRS, *((bought, sold) for sold, bought in PAIRS)]
    pair.objects.bulk_create(pair(token_in_id=mints[sold], token_out_id=mints[bought]) for sold, bought in both_ways)


class Migration(migrations.Migration):
    """Seed tokens and pairs."""

    dependencies = [("routing", "0001_initial")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
