"""Risk limits that an operator changes: each applies where it is used, is on record, and is not undone by a loss."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.utils import quote
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from redis.exceptions import ConnectionError as StoreGone

from engine.market import EventKind, MarketEvent
from engine.risk_limits import TABLE
from engine.triggers import Condition, Kind
from orders.flow import duties, limits, recovery, sniping
from orders.models import Act, Guard
from orders.operations import risk_limits
from orders.operations.risk_limits import CannotMove
from orders.stores import live, risk_limit_rows
from routing import risk_limits as standing
from routing import tape
from routing.models import Token
from routing.risk_limits import moved
from routing.risk_limits import risk_limits as now
from routing.store import now_ms, redis
from tests.orders.sniping import Market, list_token, new_mint
from tests.system import eventually


@pytest.fixture(autouse=True)
def nothing_moved():
    """Each test begins and ends with the environment's values in this process's memory."""

    def forget():
        moved.reading, moved.failing = {}, False
        moved.forget()

    forget()
    yield
    forget()


def move(name, value, reason="a test"):
    """Change a risk limit as an operator in another process does: this process learns of it from Redis alone."""
    made = risk_limits.move(name, value, reason, "ops")
    moved.reading = {}
    moved.forget()
    return made


# --- each counts where it is used


def routed(bench):
    """Place an order, have it carried, and return its event of routing or of its end."""
    (order_id,) = bench.place()
    bench.carry([order_id])
    return bench.events(order_id)[1]


def test_the_impact_an_order_may_have(bench):
    bench.quote_all()
    large = 2_000_000_000_000
    (first,) = bench.place(amount=large)
    bench.run([first])
    assert bench.statuses(first)[-1] == "confirmed"
    move("ORDER_MAX_IMPACT_BPS", 1)
    bench.quote_all()
    (second,) = bench.place(amount=large)
    bench.run([second])
    assert bench.events(second)[-1]["code"] == "price_impact"
    assert bench.events(second)[-1]["message"].endswith("exceeds the limit of 0.01 %")


def test_the_tries_an_order_has_whether_more_or_fewer(bench, settings):
    settings.MAX_ATTEMPTS = 2
    settings.MOCK_REJECT_RATE = 1.0
    for most in (None, 1, 4):
        if most:
            move("MAX_ATTEMPTS", most)
        (order_id,) = bench.place()
        while bench.statuses(order_id)[-1] != "failed":
            bench.quote_all()
            bench.run([order_id])
            bench.pass_time(order_id, 60_000)
        assert bench.events(order_id)[-1]["attempt"] == (most or 2)


def test_fewer_tries_fail_no_order_that_has_a_transaction_on_its_way(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "submitted"
    redis().hset(live.key(order_id), mapping={"attempt": 3})
    move("MAX_ATTEMPTS", 1)
    bench.pass_time(order_id, 60_000)
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"


def test_the_age_of_a_quote_that_is_routed_on_at_once(bench):
    bench.quote_all(age_ms=4_000)
    assert routed(bench)["source"] == "last"
    move("QUOTE_FRESH_MS", 9_000)
    assert routed(bench)["source"] == "best"


def test_the_age_of_a_quote_that_may_be_best(bench):
    bench.price("150", venue="METEORA")
    bench.price("160", age_ms=4_000, venue="RAYDIUM")
    bench.price("150", venue="METEORA")
    assert best() == "METEORA"
    move("QUOTE_FRESH_MS", 9_000)
    bench.price("150", venue="METEORA")
    assert best() == "RAYDIUM"


def best():
    return redis().hget("quotes:{SOL-USDC}:BEST", "venue")


def test_the_age_of_a_quote_that_may_still_be_used(bench):
    bench.quote_all(age_ms=12_000)
    (asks,) = bench.place()
    bench.carry([asks])
    assert bench.statuses(asks) == ["pending"], "it asks the venues first"
    eventually(lambda: bench.statuses(asks) != ["pending"], 10, "the venues have answered")
    bench.quote_all(age_ms=12_000)
    move("QUOTE_STALE_MS", 60_000)
    assert routed(bench)["source"] == "last"


def fires(bench, order_id):
    limits.check()
    return bench.statuses(order_id)[-1] == "triggered"


def test_the_age_of_a_quote_that_fires_a_limit_order(bench):
    (order_id,) = bench.accept(bench.limit("100.00"))
    bench.price("150", age_ms=4_000)
    assert not fires(bench, order_id)
    move("LIMIT_QUOTE_AGE_MS", 60_000)
    assert fires(bench, order_id)


def test_the_polls_for_which_a_price_must_hold(bench):
    move("LIMIT_HOLD_POLLS", 2)
    (order_id,) = bench.accept(bench.limit("100.00"))
    bench.price("150")
    assert not fires(bench, order_id)
    bench.price("151", venue="RAYDIUM")
    assert fires(bench, order_id)


def test_how_far_apart_venues_may_be(bench):
    move("LIMIT_VENUES_APART_MAX_BPS", 100)
    (order_id,) = bench.accept(bench.limit("100.00"))
    bench.price("150", venue="METEORA")
    bench.price("160", venue="RAYDIUM")
    assert not fires(bench, order_id)
    move("LIMIT_VENUES_APART_MAX_BPS", None)
    assert fires(bench, order_id)


@pytest.mark.parametrize(
    ("name", "strict", "check"),
    [("SNIPE_LIQUIDITY_MIN_USD", 60_001, "liquidity"), ("SNIPE_TOP_HOLDER_MAX_BPS", 499, "topHolder")],
)
def test_what_a_sniper_order_demands_of_a_token(bench, name, strict, check):
    mint = new_mint()
    list_token(mint)
    market = Market(mint)
    move(name, strict)
    (refused,) = bench.accept(bench.snipe(mint, Condition(Kind.LIQUIDITY, 1)))
    market.worth(60_000)
    told = bench.events(refused)
    assert told[-1]["code"] == "gate_refused"
    assert [one["gate"] for one in told[-2]["gates"] if one["verdict"] != "pass"] == [check]
    move(name, None)
    (fired,) = bench.accept(bench.snipe(mint, Condition(Kind.LIQUIDITY, 1)))
    market.worth(60_000)
    assert bench.statuses(fired)[-1] == "triggered"


def test_how_long_what_the_market_showed_is_believed(bench):
    mint = new_mint()
    list_token(mint)
    tape.publish([MarketEvent("read", EventKind.LIQUIDITY, mint, "", 80_000_00, now_ms() - 100_000)])
    (order_id,) = bench.accept(bench.snipe(mint, Condition(Kind.LIQUIDITY, 1)))
    move("SNIPE_MARKET_AGE_S", 60)
    sniping.evaluate([order_id])
    assert bench.statuses(order_id) == ["pending"]
    move("SNIPE_MARKET_AGE_S", 200)
    sniping.evaluate([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_how_long_what_was_looked_up_of_a_token_is_believed(bench):
    mint = new_mint()
    list_token(mint)
    Token.objects.filter(mint=mint).update(facts_at=datetime.now(UTC) - timedelta(days=2))
    market = Market(mint)
    (fired,) = bench.accept(bench.snipe(mint, Condition(Kind.LIQUIDITY, 1)))
    market.worth(60_000)
    assert bench.statuses(fired)[-1] == "triggered"
    move("SNIPE_FACTS_AGE_DAYS", 1)
    (refused,) = bench.accept(bench.snipe(mint, Condition(Kind.LIQUIDITY, 1)))
    market.worth(60_000)
    assert bench.events(refused)[-1]["code"] == "gate_refused"


# --- what nothing undoes


def test_an_emptied_redis_is_told_again_by_the_sweep(bench):
    move("MAX_ATTEMPTS", 7)
    redis().flushdb()
    recovery.recover()
    moved.reading = {}
    moved.forget()
    assert now.MAX_ATTEMPTS == 7


def test_a_process_that_starts_knows_what_was_moved_before(bench):
    move("MAX_ATTEMPTS", 7)
    moved.has_read = False
    assert now.MAX_ATTEMPTS == 7


def test_a_risk_limit_moved_while_redis_is_away_stands_and_the_next_pulse_tells(bench, monkeypatch):
    def away(*_):
        raise StoreGone("gone")

    monkeypatch.setattr(standing, "mirror", away)
    move("MAX_ATTEMPTS", 7)
    monkeypatch.undo()
    assert now.MAX_ATTEMPTS == 3
    duties.tell()
    assert now.MAX_ATTEMPTS == 7


def test_back_at_the_default_the_environments_value_counts_also_when_it_is_another_by_then(bench, settings):
    move("MAX_ATTEMPTS", 7)
    made = move("MAX_ATTEMPTS", None)
    assert str(made) == "from 7 to 3 tries, the default"
    assert now.MAX_ATTEMPTS == 3
    settings.MAX_ATTEMPTS = 5
    assert now.MAX_ATTEMPTS == 5
    assert not Guard.objects.exists()


def test_a_risk_limit_moved_to_its_default_is_back_at_it(bench):
    move("MAX_ATTEMPTS", 7)
    move("MAX_ATTEMPTS", 3)
    assert not Guard.objects.exists()


def test_a_move_that_a_new_environment_contradicts_gives_way_and_is_named(bench, settings):
    move("QUOTE_FRESH_MS", 9_000)
    settings.QUOTE_STALE_MS = 3_000
    moved.forget()
    assert (now.QUOTE_FRESH_MS, now.QUOTE_STALE_MS) == (settings.QUOTE_FRESH_MS, 3_000)
    assert risk_limits.idle() == ["QUOTE_FRESH_MS"]
    move("MAX_ATTEMPTS", 7)
    assert now.MAX_ATTEMPTS == 7


# --- what is refused


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("MAX_ATTEMPTS", 0, "MAX_ATTEMPTS is 1 to 10 tries, not 0"),
        ("MAX_ATTEMPTS", 11, "MAX_ATTEMPTS is 1 to 10 tries, not 11"),
        ("MAX_ATTEMPTS", 3, "MAX_ATTEMPTS is already 3"),
        ("MAX_ATTEMPTS", None, "MAX_ATTEMPTS is already 3"),
        ("QUOTE_FRESH_MS", 10_001, "QUOTE_STALE_MS=10000: must not be below QUOTE_FRESH_MS=10001"),
        ("QUOTE_STALE_MS", 1_999, "QUOTE_STALE_MS=1999: must not be below QUOTE_FRESH_MS=2000"),
        ("QUOTE_FRESH_MS", 499, "QUOTE_FRESH_MS=499: must not be below the polling interval, 500 ms"),
        ("ENGINE_PORT", 1, "there is no risk limit 'ENGINE_PORT'"),
    ],
)
def test_a_value_that_cannot_be_is_refused_and_said_why(bench, name, value, why):
    with pytest.raises(CannotMove) as refused:
        move(name, value)
    assert str(refused.value) == why
    assert not Guard.objects.exists()


def test_two_moves_at_once_that_contradict_each_other_do_not_both_stand(bench):
    outcome = {}

    def rival():
        try:
            risk_limits.move("QUOTE_STALE_MS", 3_000, "rival", "ops")
            outcome["rival"] = "moved"
        except CannotMove as reason:
            outcome["rival"] = str(reason)
        finally:
            connections["default"].close()

    def waits():
        return bench.sql("SELECT count(*) FROM pg_locks WHERE relation = 'orders_guard'::regclass AND NOT granted")

    with transaction.atomic():
        risk_limits.move("QUOTE_FRESH_MS", 9_000, "first", "ops")
        other = threading.Thread(target=rival)
        other.start()
        eventually(lambda: waits() == [(1,)] or outcome, 10, "the rival waits for the first to be done")
        assert not outcome
    other.join(10)
    assert outcome == {"rival": "QUOTE_STALE_MS=3000: must not be below QUOTE_FRESH_MS=9000"}
    assert risk_limit_rows.read() == {"QUOTE_FRESH_MS": 9_000}


# --- the admin

LIST = "/admin/orders/guard/"


def post(client, name, value, reason="too slow"):
    return client.post(f"{LIST}{name}/change/", {"value": value, "reason": reason}, follow=True)


def said():
    return [(one.who, one.subject, one.outcome) for one in Act.objects.order_by("pk")]


def test_the_list_shows_every_risk_limit_moved_or_not_in_a_handful_of_queries(bench, operator):
    move("MAX_ATTEMPTS", 7, reason="the chain is busy")
    with CaptureQueriesContext(connection) as asked:
        answer = operator.get(LIST)
    assert [row.name for row in answer.context["cl"].result_list] == list(TABLE)
    page = answer.content.decode()
    assert "the chain is busy" in page
    assert page.count('formaction="/admin/orders/guard/') == 1
    assert 'formaction="/admin/orders/guard/MAX_ATTEMPTS/default/"' in page
    assert "7 tries" in page and "2,000 ms" in page
    assert len(asked) <= 5


def test_an_operator_moves_a_risk_limit_and_back_and_both_are_on_record(bench, operator):
    answer = post(operator, "QUOTE_FRESH_MS", "5000")
    assert answer.redirect_chain == [(LIST, 302)]
    assert now.QUOTE_FRESH_MS == 5_000
    row = Guard.objects.get()
    assert (row.by, row.reason) == ("ops", "too slow")
    post(operator, "QUOTE_FRESH_MS", "6000", "still too slow")
    operator.post(f"{LIST}QUOTE_FRESH_MS/default/")
    assert now.QUOTE_FRESH_MS == 2_000
    post(operator, "MAX_ATTEMPTS", "2")
    post(operator, "MAX_ATTEMPTS", "", "calm again")
    assert said() == [
        ("ops", "QUOTE_FRESH_MS", "Changed from 2,000 to 5,000 ms: too slow"),
        ("ops", "QUOTE_FRESH_MS", "Changed from 5,000 to 6,000 ms: still too slow"),
        (
            "ops",
            "QUOTE_FRESH_MS",
            "Changed from 6,000 to 2,000 ms, the default; ops had changed it: still too slow",
        ),
        ("ops", "MAX_ATTEMPTS", "Changed from 3 to 2 tries: too slow"),
        ("ops", "MAX_ATTEMPTS", "Changed from 2 to 3 tries, the default: calm again"),
    ]
    audit = operator.get("/admin/orders/act/").content.decode()
    assert "Changed from 2,000 to 5,000 ms: too slow" in audit
    link = f"{LIST}{quote('QUOTE_FRESH_MS')}/change/"
    assert f'href="{link}"' in audit
    assert operator.get(link).context["original"].name == "QUOTE_FRESH_MS"


@pytest.mark.parametrize(
    ("value", "reason", "why"),
    [
        ("0", "x", "MAX_ATTEMPTS is 1 to 10 tries, not 0"),
        ("11", "x", "MAX_ATTEMPTS is 1 to 10 tries, not 11"),
        ("3", "x", "MAX_ATTEMPTS is already 3"),
        ("2.5", "x", "Enter a whole number."),
        ("many", "x", "Enter a whole number."),
        ("99999999999999999999", "x", "MAX_ATTEMPTS is 1 to 10 tries"),
        ("5", "", "This field is required."),
        ("5", "x" * 201, "at most 200 characters"),
    ],
)
def test_a_wrong_value_or_no_reason_is_refused_with_words_and_the_form_stays(bench, operator, value, reason, why):
    answer = post(operator, "MAX_ATTEMPTS", value, reason)
    assert answer.status_code == 200
    assert why in answer.content.decode()
    assert not Guard.objects.exists() and not said()


def test_the_form_says_what_the_risk_limit_does_and_what_it_accepts(bench, operator):
    page = operator.get(f"{LIST}QUOTE_STALE_MS/change/").content.decode()
    assert "A whole number from 100 to 600000. Leave empty for the default, 10000." in page
    assert TABLE["QUOTE_STALE_MS"].effect in page
    assert '<label for="id_value"' in page.replace("\n", " ") or 'for="id_value"' in page


def test_who_was_too_late_is_told_and_nothing_is_on_record(bench, operator, monkeypatch):
    def late(*_):
        raise CannotMove("MAX_ATTEMPTS is already 5")

    monkeypatch.setattr(risk_limits, "move", late)
    answer = post(operator, "MAX_ATTEMPTS", "5")
    assert [str(message) for message in answer.context["messages"]] == ["Not changed: MAX_ATTEMPTS is already 5."]
    assert not said()


def test_the_list_names_risk_limits_whose_move_does_not_stand(bench, operator, settings):
    move("QUOTE_FRESH_MS", 9_000)
    settings.QUOTE_STALE_MS = 3_000
    assert "QUOTE_FRESH_MS: the change contradicts" in operator.get(LIST).content.decode()


def test_who_may_only_look_moves_nothing(bench, looker):
    move("MAX_ATTEMPTS", 7)
    page = looker.get(LIST)
    assert page.status_code == 200
    assert "formaction" not in page.content.decode()
    assert looker.get(f"{LIST}MAX_ATTEMPTS/change/").status_code == 200
    assert post(looker, "MAX_ATTEMPTS", "5").status_code == 403
    assert looker.post(f"{LIST}MAX_ATTEMPTS/default/").status_code == 403
    assert risk_limit_rows.read() == {"MAX_ATTEMPTS": 7}


def test_following_a_link_moves_nothing_and_what_there_is_not_is_not_found(bench, operator):
    move("MAX_ATTEMPTS", 7)
    assert operator.get(f"{LIST}MAX_ATTEMPTS/default/").status_code == 405
    assert operator.post(f"{LIST}NOPE/default/").status_code == 404
    assert operator.get(f"{LIST}NOPE/change/").status_code == 302
    assert operator.get(f"{LIST}add/").status_code == 403
    assert operator.post(f"{LIST}MAX_ATTEMPTS/delete/", {"post": "yes"}).status_code == 403
    assert risk_limit_rows.read() == {"MAX_ATTEMPTS": 7}
