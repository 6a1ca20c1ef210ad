"""Cancelling many resting orders: by owner, pair, type and age, counted before, said and on record after."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.exceptions import ConnectionError as StoreGone

from engine.orders import OrderType
from orders.flow import waiting
from orders.models import Act, Order
from orders.operations import bulk_cancels
from orders.operations.bulk_cancels import Terms
from orders.stores.ids import first_at
from tests.orders.commands.standin import refused, run
from tests.orders.pages import messages_of, text

pytestmark = pytest.mark.usefixtures("fresh_catalogue")

PAGE = "/admin/orders/order/cancel/"
CLI = ("cancelall", "--reason", "the venue moves", "--operator", "night shift")


@pytest.fixture
def ada(bench, django_user_model):
    return django_user_model.objects.create(username="ada")


def rest(bench, count=1, owner=None, order_id=None):
    """Accept limit orders that rest; return their ids."""
    made = []
    for _ in range(count):
        new = bench.limit("999.00")
        order = replace(new.order, owner=owner or new.order.owner, id=order_id or new.order.id)
        made.append(replace(new, order=order))
    return bench.accept(*made)


def left():
    return {str(pk) for pk in Order.objects.filter(status="pending").values_list("pk", flat=True)}


def cancel(terms, reason="the venue moves"):
    *_, done = bulk_cancels.cancel(terms, reason)
    return done


def old_id(minutes):
    """Return the id of an order placed so many minutes ago."""
    return str(first_at(int((datetime.now(UTC) - timedelta(minutes=minutes)).timestamp() * 1000) + 1))


def test_only_the_orders_of_the_owner_are_cancelled_and_they_read_why(bench, ada):
    theirs, others = rest(bench, 3, owner=ada.pk), rest(bench, 2)
    assert bulk_cancels.count(Terms(owner="ada")) == 3
    assert cancel(Terms(owner="ada")) == waiting.Cancelled(3, 0, complete=True)
    bench.archive()
    assert left() == set(others)
    assert {bench.events(one)[-1]["reason"] for one in theirs} == {"cancelled by the operator: the venue moves"}


def test_only_what_is_older_is_cancelled(bench):
    (old,) = rest(bench, order_id=old_id(minutes=90))
    (young,) = rest(bench)
    terms = Terms(before=bulk_cancels.older_than(timedelta(hours=1)))
    assert bulk_cancels.count(terms) == 1
    assert cancel(terms).cancelled == 1
    bench.archive()
    assert left() == {young} and bench.statuses(old)[-1] == "cancelled"


def test_only_the_pair_and_the_type_are_cancelled(bench):
    rest(bench, 2)
    assert [bulk_cancels.count(Terms(pair=pair)) for pair in ("SOL-USDC", "JUP-USDC", "")] == [2, 0, 2]
    assert bulk_cancels.count(Terms(kind=OrderType.SNIPER)) == cancel(Terms(kind=OrderType.SNIPER)).cancelled == 0
    assert cancel(Terms(pair="SOL-USDC", kind=OrderType.LIMIT)).cancelled == 2


def test_an_unknown_owner_or_pair_is_refused_by_name(bench):
    for terms, said in ((Terms(owner="bob"), "no user 'bob'"), (Terms(pair="X-Y"), "no pair 'X-Y'")):
        with pytest.raises(bulk_cancels.CannotMatch, match=said):
            bulk_cancels.count(terms)


def test_progress_is_told_page_by_page(bench, monkeypatch):
    monkeypatch.setattr("orders.flow.recovery.PAGE", 2)
    rest(bench, 5)
    told = [(one.cancelled, one.complete) for one in bulk_cancels.cancel(Terms(), "enough")]
    assert told[0] == (0, False) and told[-1] == (5, True)
    assert [count for count, _ in told if count in (2, 4)] == [2, 4]


def test_the_page_counts_before_cancels_with_a_reason_and_is_on_record(bench, ada, operator):
    rest(bench, 3, owner=ada.pk)
    kept = rest(bench)
    page = operator.get(PAGE, {"owner": "ada", "pair": "SOL-USDC"})
    assert "3 resting orders of ada in SOL-USDC." in text(page) and "Cancel 3 orders" in text(page)
    asked = {"owner": "ada", "pair": "SOL-USDC", "type": "", "older": ""}
    assert messages_of(operator.post(PAGE, asked, follow=True)) == ["Nothing is cancelled: give a reason."]
    assert not Act.objects.exists()
    done = operator.post(PAGE, asked | {"reason": "the venue moves"}, follow=True)
    assert messages_of(done) == ["3 cancelled, 0 no longer resting (resting orders of ada in SOL-USDC)."]
    bench.archive()
    assert left() == set(kept)
    (act,) = Act.objects.all()
    assert (act.who, act.what, act.subject) == ("ops", "cancel resting orders", "resting orders of ada in SOL-USDC")
    assert (act.outcome, act.reason) == ("3 cancelled, 0 no longer resting", "the venue moves")


def test_one_request_cancels_for_a_bounded_time_and_says_what_is_left(bench, operator, monkeypatch):
    monkeypatch.setattr("orders.admin.bulk_cancels.WITHIN_S", 0.0)
    rest(bench, 2)
    done = operator.post(PAGE, {"reason": "enough"}, follow=True)
    assert "stopped before the end, some are left" in messages_of(done)[0]
    assert "2 resting orders." in text(done) and 'value="enough"' in done.content.decode()


def test_a_store_that_goes_away_is_said_and_what_was_done_is_on_record(bench, operator, monkeypatch):
    def gone(*_):
        yield waiting.Cancelled(500, 1, complete=False)
        raise StoreGone("Connection refused")

    monkeypatch.setattr(bulk_cancels, "cancel", gone)
    said = messages_of(operator.post(PAGE, {"reason": "enough"}, follow=True))
    assert said[0] == "A store is unavailable: connection refused."
    assert Act.objects.get().outcome.startswith("500 cancelled, 1 no longer resting; stopped before the end")


def test_the_list_of_orders_leads_to_the_page_with_its_filters(bench, operator, looker):
    address = f"{PAGE}?pair=SOL-USDC&amp;type=limit"
    asked = {"pair": "SOL-USDC", "type__exact": "limit"}
    assert address not in looker.get("/admin/orders/order/", asked).content.decode()


def test_who_may_cancel_is_led_to_the_page(bench, operator):
    page = operator.get("/admin/orders/order/", {"pair": "SOL-USDC", "type__exact": "limit"}).content.decode()
    assert f"{PAGE}?pair=SOL-USDC&amp;type=limit" in page


def test_an_unknown_owner_is_said_on_the_page(bench, operator):
    assert "there is no user 'bob'" in text(operator.get(PAGE, {"owner": "bob"}))


def test_the_command_counts_asks_cancels_and_is_on_record(bench, ada, capsys):
    rest(bench, 2, owner=ada.pk)
    code, said = refused(*CLI, "--owner", "ada")
    assert code == 2 and "--yes" in said
    assert capsys.readouterr().out == "2 resting orders of ada\n"
    assert run(*CLI, "--owner", "ada", "--yes") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 cancelled, 0 no longer resting"
    (act,) = Act.objects.all()
    assert (act.who, act.what, act.reason) == ("night shift", "cancel resting orders", "the venue moves")
    assert act.outcome == "2 cancelled, 0 no longer resting"


def test_the_command_cancels_nothing_where_nothing_matches_or_the_answer_is_no(bench, capsys, monkeypatch):
    assert run(*CLI, "--pair", "JUP-USDC") == 0
    rest(bench)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "")
    assert run(*CLI) == 0
    bench.archive()
    assert len(left()) == 1 and not Act.objects.exists()


def test_the_command_names_what_is_not_there(bench):
    assert refused(*CLI, "--pair", "X-Y", "--yes")[0] == 2
    assert "'soon' is no duration such as" in refused(*CLI, "--older-than", "soon")[1]
