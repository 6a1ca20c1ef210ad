"""`manage.py sandbox`: launching tokens and having them traded."""

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from deploy.servers import free_port
from engine.triggers import TokenState
from routing import models, tape
from routing.catalogue import catalogue
from routing.store import now_ms, redis

MINT = "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3"
SOMEBODY = "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo"
MINUTE = 60_000


def sandbox(*words):
    call_command("sandbox", *words)


def refused(*words):
    """Run a command that is refused; return its exit code and its message."""
    with pytest.raises(CommandError) as refusal:
        sandbox(*words)
    return refusal.value.returncode, str(refusal.value)


def state(mint=MINT):
    return tape.states({mint: [MINUTE]}, now_ms())[mint]


def facts():
    row = models.Token.objects.get(mint=MINT)
    return row.mint_authority, row.freeze_authority, row.top_holder_bps


def test_a_launch_prints_the_mint_the_symbol_and_the_pairs(bench, capsys):
    sandbox("launch")
    first, mint, pairs = capsys.readouterr().out.splitlines()
    row = models.Token.objects.get(mint=mint.split()[1])
    assert first == f"{row.symbol} is listed, with a pool of 50000 USD; servers notice within seconds."
    assert set(pairs.replace(",", "").split()[1:]) == {
        f"{row.symbol}-SOL",
        f"SOL-{row.symbol}",
        f"{row.symbol}-USDC",
        f"USDC-{row.symbol}",
    }
    assert state(row.mint) == TokenState(1, 5_000_000, {MINUTE: 0})


def test_a_launch_is_as_it_was_asked_for(bench):
    sandbox(
        *("launch", "--symbol", "PYTH", "--mint", MINT, "--liquidity", "1234.56"),
        *("--mint-authority", SOMEBODY, "--freeze-authority", SOMEBODY, "--top-holder-pct", "12.5"),
    )
    assert catalogue().tokens["PYTH"].mint == MINT
    assert state().liquidity == 123_456
    assert facts() == (SOMEBODY, SOMEBODY, 1_250)


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ([], ("", "", 500)),
        (["--unknown-facts"], (None, None, None)),
        (["--unknown-facts", "--freeze-authority", SOMEBODY], (None, SOMEBODY, None)),
        (["--unknown-facts", "--mint-authority", "", "--top-holder-pct", "3"], ("", None, 300)),
    ],
)
def test_what_is_not_said_of_a_token_is_harmless_or_unknown_if_so_wished(bench, words, known):
    sandbox("launch", "--mint", MINT, *words)
    assert facts() == known


@pytest.mark.parametrize("name", ["PYTH", MINT])
def test_liquidity_and_volume_are_told_and_confirmed(bench, capsys, name):
    sandbox("launch", "--mint", MINT, "--symbol", "PYTH")
    capsys.readouterr()
    sandbox("liquidity", name, "250000")
    sandbox("volume", name, "25000.50")
    assert state() == TokenState(1, 25_000_000, {MINUTE: 2_500_050})
    assert capsys.readouterr().out.splitlines() == [
        f"All pools of {name} together are worth 250000 USD.",
        f"25000.5 USD of {name} were traded.",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["launch", "--symbol", "SOL"], "another token is called SOL"),
        (["launch", "--symbol", "A-B"], "'A-B' is not a symbol: 1 to 16 letters and digits"),
        (["launch", "--mint", "nonsense"], "'nonsense' is not a Solana address: 32 bytes in base58"),
        (["launch", "--top-holder-pct", "101"], "--top-holder-pct is '101': must be a number above 0, at most 100"),
        (["launch", "--liquidity", "lots"], "--liquidity is 'lots': must be a number above 0"),
        (["launch", "--liquidity", "0"], "--liquidity is '0': must be a number above 0"),
        (["volume", "DOGE", "100"], "no token has the symbol or mint 'DOGE'"),
        (["liquidity", "DOGE", "100"], "no token has the symbol or mint 'DOGE'"),
        (["volume", "SOL", "nan"], "USD is 'nan': must be a number above 0"),
        (["volume", "SOL", "1.005"], "with at most two decimals"),
        (["volume", "SOL", "1e999999"], "at most 1000000000000"),
        (["liquidity", "SOL", "1e-999999"], "with at most two decimals"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence_and_leaves_nothing(bench, words, said):
    before = models.Token.objects.count()
    code, message = refused(*words)
    assert code == 2
    assert said in message and "\n" not in message
    assert models.Token.objects.count() == before
    assert not redis().exists(tape.EVENTS)


def test_a_word_that_is_no_order_is_refused_with_those_there_are():
    _, message = refused("dance")
    assert all(word in message for word in ("venue", "launch", "liquidity", "volume"))


def manage(*words, **environ):
    return subprocess.run(
        [sys.executable, "manage.py", "sandbox", *words],
        cwd=settings.BASE_DIR,
        env={**os.environ, "ENGINE_NO_VENV": "1", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("words", [["launch", "--mint", MINT], ["volume", "SOL", "5"], ["liquidity", "SOL", "5"]])
@pytest.mark.parametrize(
    ("store", "address"),
    [
        ("Redis", {"REDIS_URL": "redis://127.0.0.1:%d/0"}),
        ("Postgres", {"DATABASE_URL": "postgresql://n@127.0.0.1:%d/n"}),
    ],
)
def test_without_a_store_it_says_so_and_does_nothing(bench, words, store, address):
    done = manage(*words, **{name: url % free_port() for name, url in address.items()})
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"CommandError: {store} cannot be reached; is `manage.py up` running?"
    assert "Traceback" not in done.stderr
    assert not models.Token.objects.filter(mint=MINT).exists()
    assert not redis().exists(tape.EVENTS)
