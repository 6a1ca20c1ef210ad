"""Which API key a command sends, to whom, and what it says when the engine refuses it."""

import pytest

from tests.orders.commands.standin import ID, LIMIT, always, error, page, refused, run

GIVEN, KEPT = "a-key-that-was-given", "a-key-that-up-made"
REFUSAL = error("unauthorized", "send a valid API key")
EVERY = [
    ["order", "market", "SOL", "USDC", "2"],
    ["orders"],
    ["watch", ID],
    ["cancel", ID],
    ["cancel", "--pair", "SOL-USDC"],
    ["amend", ID, "--price", "1"],
]


@pytest.fixture
def kept(settings, tmp_path):
    """A data directory with a key in it, as `manage.py up` leaves it, and none in the environment."""
    settings.ENV = {**settings.ENV, "ENGINE_API_KEY": None}
    settings.DATA_DIR = tmp_path
    (tmp_path / "api-key").write_text(f"{KEPT}\n")
    return tmp_path / "api-key"


@pytest.fixture
def own(engine, settings, kept):
    """The stand-in as the engine of this machine."""
    settings.ENV = {**settings.ENV, "RUNNING_URL": engine.url}
    engine.answers["GET"] = page()
    return engine


def test_the_engine_of_this_machine_gets_the_key_of_the_data_directory(own):
    assert run("orders") == 0
    assert own.keys == [f"Bearer {KEPT}"]


def test_another_engine_does_not_get_it(engine, kept):
    engine.answers["GET"] = page()
    assert run("orders", "--url", engine.url) == 0
    assert engine.keys == [None]


def test_a_key_in_the_settings_goes_before_it(own, settings):
    settings.ENV = {**settings.ENV, "ENGINE_API_KEY": GIVEN}
    assert run("orders") == 0
    assert own.keys == [f"Bearer {GIVEN}"]


def test_without_a_readable_key_none_is_sent(own, kept):
    kept.unlink()
    assert run("orders") == 0
    assert own.keys == [None]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_a_refused_key_is_told_with_what_to_do(own, kept, words):
    own.answers, own.status, own.answer = always(401, REFUSAL), 401, REFUSAL
    code, message = refused(*words)
    assert code == 2
    assert message.startswith("unauthorized: send a valid API key\nSet ENGINE_API_KEY to a valid key of ")
    assert str(kept) in message and KEPT not in message
    assert own.keys == [f"Bearer {KEPT}"]


def test_a_key_that_is_revoked_while_an_order_is_watched_is_told_in_the_same_words(own, kept):
    own.sockets = [[LIMIT, 4401]]
    own.answers["GET"] = [(200, own.order())]
    code, message = refused("watch", ID)
    assert code == 2
    assert "unauthorized: " in message and f"let this account read {kept}" in message


def test_only_the_engine_of_this_machine_is_said_to_have_a_key_here(engine, kept):
    engine.answers = always(401, REFUSAL)
    _, message = refused("orders", "--url", engine.url)
    assert message.endswith(f"Set ENGINE_API_KEY to a valid key of {engine.url}.")


def test_a_key_that_cannot_be_sent_is_refused_unseen(own, kept):
    kept.write_text(f"{KEPT} {KEPT}")
    code, message = refused("orders")
    assert (code, own.keys) == (2, [])
    assert "printable" in message and KEPT not in message
