"""Dead letters in the admin: what is weighed before a replay, the replay, and what came of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orders.flow import dead_letters, pauses
from orders.models import Act, DeadLetter, Order, Verdict
from orders.operations import replays
from routing import candles
from routing.candles import Candle
from routing.store import redis
from routing.venues import VENUES
from tests.factories import AttemptFactory, DeadLetterFactory, OrderFactory
from tests.orders.commands.standin import run
from tests.orders.pages import list_of, messages_of, page_of, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fresh_catalogue")]

REPLAY = "/admin/orders/deadletter/replay/"
WHY = {"reason": "cause is gone"}
AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def select(client, *letters):
    """Choose letters of the list for a replay; return the page that comes before it."""
    asked = {"action": "replay_selected", "_selected_action": [letter.pk for letter in letters]}
    return client.post(reverse("admin:orders_deadletter_changelist"), asked, follow=True)


def replay(client, *letters, more=WHY):
    return client.post(REPLAY, {"letter": [letter.pk for letter in letters], **more}, follow=True)


def routed_then(letter, price):
    """Put a routing decision at this price into a letter's history."""
    first, end = letter.history
    quotes = [{"venue": "METEORA", "price": price, "feeBps": 0, "netPrice": price, "ageMs": 9, "amountOut": "1"}]
    letter.history = [first, {**first, "seq": 2, "status": "routing", "quotes": quotes}, {**end, "seq": 3}]
    letter.save()
    return letter


def test_a_replay_places_the_order_anew_links_to_it_and_is_on_record(operator):
    letter = DeadLetterFactory()
    answer = replay(operator, letter)
    again = Order.objects.get(replay_of=letter.order)
    assert messages_of(answer) == [
        f'{letter.order_id} replayed as <a href="/admin/orders/order/{again.pk}/change/">{again.pk}</a>.'
    ]
    letter.refresh_from_db()
    assert letter.replayed_by == "ops"
    assert [(act.outcome, act.reason) for act in Act.objects.all()] == [(f"Replayed as {again.pk}.", "cause is gone")]
    assert answer.redirect_chain[-1][0] == reverse("admin:orders_deadletter_change", args=[letter.pk])


def test_a_replay_without_a_reason_is_none(operator):
    letter = DeadLetterFactory()
    assert messages_of(replay(operator, letter, more={})) == ["Not replayed: give a reason for the audit log."]
    assert not Order.objects.filter(replay_of=letter.order).exists() and not Act.objects.exists()


def test_a_letters_page_and_the_list_lead_to_the_page_before_a_replay(operator):
    letter, other = DeadLetterFactory.create_batch(2)
    address = f"{REPLAY}?letter={letter.pk}"
    assert address in operator.get(reverse("admin:orders_deadletter_change", args=[letter.pk])).content.decode()
    page = text(select(operator, letter, other))
    assert str(letter.order_id) in page and str(other.order_id) in page and "Replay 2 orders as new" in page
    assert not Order.objects.exclude(replay_of=None).exists(), "looking replays nothing"
    replay(operator, letter)
    assert address not in operator.get(reverse("admin:orders_deadletter_change", args=[letter.pk])).content.decode()


def test_before_a_replay_the_price_then_and_now_and_each_venue_are_shown(bench, operator):
    bench.price("160", venue="METEORA")
    bench.price("150", age_ms=60_000, venue="RAYDIUM")
    page = text(select(operator, routed_then(DeadLetterFactory(), "200")))
    assert "Price then 200 after fee at METEORA" in page
    assert "Price now 160 after fee at METEORA, 20.00 % worse for this order" in page
    assert "RAYDIUM does not quote now; its last quote is 60" in page
    assert "METEORA quotes 160," in page and "pays 239.99" in page


def test_a_price_that_has_risen_is_better_and_an_order_never_routed_has_none(bench, operator):
    bench.price("160", venue="METEORA")
    never, lower = DeadLetterFactory(), routed_then(DeadLetterFactory(), "128")
    assert "Price then no price: the order was never routed, and none was recorded" in text(select(operator, never))
    assert "160 after fee at METEORA, 25.00 % better for this order" in text(select(operator, lower))


def test_of_an_order_never_routed_the_price_then_is_the_last_one_recorded(bench, operator):
    bench.price("160", venue="METEORA")
    failed_at = int(datetime(2026, 11, 22, 12, 0, 1, tzinfo=UTC).timestamp())
    old, last, later = (Decimal(price) for price in ("100", "128", "300"))
    candles.add(
        [
            Candle("SOL-USDC", "BEST", at, price, price, price, price, 1, 0, 0)
            for at, price in ((failed_at - 90, old), (failed_at - 60, last), (failed_at + 5, later))
        ]
    )
    page = text(select(operator, DeadLetterFactory()))
    assert "Price then 128 after fee, last recorded 2026-11-22T11:59:01.000Z; never routed" in page
    assert "160 after fee at METEORA, 25.00 % better for this order" in page
    assert "Order market order of - to sell 1.5 SOL in SOL-USDC" in page


def test_without_a_quote_or_with_a_paused_venue_the_page_says_so(bench, operator, no_pauses):
    assert replays.assess(DeadLetterFactory()).venues == tuple(f"{name} does not quote" for name in VENUES)
    pauses.pause("venue", "METEORA", "slow answers", "ops")
    found = replays.assess(DeadLetterFactory())
    assert found.now == "no price: no venue has a fresh quote"
    assert "METEORA is paused: slow answers" in found.venues


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ((), "No double execution: no transaction was ever signed for this order, and the order is closed since "),
        (
            ("rejected", "expired"),
            "No double execution: none of its 2 transactions landed or can land (1 rejected by the chain for good, "
            "1 past the last block at which it could land, and unknown to the chain), and the order is closed since ",
        ),
        (("withdrawn",), "none of its 1 transaction landed or can land (1 withdrawn before it was sent)"),
        (("rejected", "sent"), "Possible double execution: transaction {signature} may still land."),
        (("landed",), "Double execution: transaction {signature} landed and paid 232 USDC."),
    ],
)
def test_why_a_replay_executes_nothing_twice_is_said_of_the_orders_own_transactions(operator, states, said):
    letter = DeadLetterFactory()
    signature = ""
    for number, state in enumerate(states, 1):
        code = "" if state in ("sent", "landed") else "expired"
        got = 232_000_000 if state == "landed" else None
        one = AttemptFactory(order=letter.order, number=number, state=state, error_code=code, amount_out=got)
        signature = one.signature
    page = text(select(operator, letter))
    assert said.format(signature=signature) in page
    assert ("Nothing here can be replayed now" in page) == (not said.startswith(("No", "none")))


def test_an_order_that_is_not_closed_may_still_be_signed():
    letter = DeadLetterFactory(order=OrderFactory(status="failed", closed_at=None))
    found = replays.assess(letter)
    assert found.execution.startswith("Possible double execution: the order is not closed")
    assert found.refusal == f"{letter.order_id}: wait: an attempt is still open"


def test_what_would_refuse_a_replay_is_said_before(bench, operator, no_pauses):
    pauses.pause("pair", "SOL-USDC", "the pool is being moved", "ops")
    page = text(select(operator, DeadLetterFactory()))
    assert "SOL-USDC is paused: the pool is being moved" in page
    assert "Nothing here can be replayed now" in page


def test_a_letter_whose_order_landed_is_not_replayed_and_the_reason_is_shown(operator):
    landed, safe = DeadLetterFactory(), DeadLetterFactory()
    AttemptFactory(order=landed.order, state="landed")
    answer = replay(operator, landed, safe)
    assert f"Not replayed: {landed.order_id}: landed, do not replay." in messages_of(answer)
    assert not Order.objects.filter(replay_of=landed.order).exists()
    assert Order.objects.filter(replay_of=safe.order).exists(), "one refusal must not stop the others"


def test_what_came_of_a_replay_is_in_its_row(bench, operator):
    letter = DeadLetterFactory()
    bench.quote_all()
    again = dead_letters.replay(str(letter.order_id), by="ada").order_id
    assert f"{again} pending" in list_of(operator, DeadLetter, replay="replayed")
    bench.run([again])
    bench.archive()
    facts = bench.events(again)[-1]
    filled = f"sold 1.5 SOL for {facts['amountOut']} USDC at {facts['executedPrice']}, {facts['venue']}"
    assert f"{again} confirmed {filled}" in list_of(operator, DeadLetter, replay="replayed")
    assert f"{again} confirmed {filled}" in page_of(operator, letter)


def test_a_replay_that_failed_or_was_cancelled_says_why():
    facts = {"code": "no_quote", "message": "no venue quotes"}
    assert replays.outcome(OrderFactory(status="failed", result=facts)) == "no venue quotes (no_quote)"
    assert replays.outcome(OrderFactory(status="cancelled", result={"reason": "halted"})) == "halted"
    assert replays.outcome(OrderFactory(status="routing")) == ""


def test_an_order_and_its_replay_link_to_each_other(operator):
    letter = DeadLetterFactory()
    replay(operator, letter)
    again = Order.objects.get(replay_of=letter.order)
    assert f"Replay of {letter.order_id}" in page_of(operator, again)
    assert f"Replayed as {again.pk}" in page_of(operator, letter.order)
    assert str(again.pk) in list_of(operator, DeadLetter, replay="replayed")


def test_the_list_of_letters_takes_as_many_queries_for_many_as_for_one(operator):
    def queries():
        with CaptureQueriesContext(connection) as asked:
            list_of(operator, DeadLetter)
        return len(asked)

    DeadLetterFactory()
    # The first reads the catalogue.
    _, alone = queries(), queries()
    DeadLetterFactory.create_batch(5)
    assert queries() == alone


def test_a_letters_page_shows_why_it_failed_and_how_it_came_to_that(operator):
    page = page_of(operator, DeadLetterFactory())
    assert "no venue has quoted this pair" in page
    assert "Timeline: failed after 1.250 s" in page


def test_who_may_only_look_sees_no_replay_and_is_refused_one(looker):
    letter = DeadLetterFactory()
    assert REPLAY not in looker.get(reverse("admin:orders_deadletter_change", args=[letter.pk])).content.decode()
    asked = {"letter": letter.pk, **WHY}
    assert [looker.get(REPLAY, asked).status_code, looker.post(REPLAY, asked).status_code] == [403, 403]
    assert not Order.objects.filter(replay_of=letter.order).exists()


def test_a_page_before_no_letter_is_none(operator):
    assert [operator.get(REPLAY, asked).status_code for asked in ({}, {"letter": "x"}, {"letter": "9" * 18})] == [
        404
    ] * 3


def test_a_second_replay_says_what_the_first_made_of_it_and_is_not_on_record(operator):
    letter = DeadLetterFactory()
    replay(operator, letter)
    (said,) = messages_of(replay(operator, letter))
    assert said.startswith(f"{letter.order_id} was already replayed as <a href")
    assert Act.objects.filter(page__contains=f"/{letter.pk}/").count() == 1


def test_a_letter_that_a_replay_cannot_help_is_not_called_safe_and_has_no_button(operator):
    letter = DeadLetterFactory(replay_may_help=False)
    page = operator.get(reverse("admin:orders_deadletter_change", args=[letter.pk])).content.decode()
    assert REPLAY not in page
    assert "Replay cannot help" in page_of(operator, letter)
    assert "cannot help" in list_of(operator, DeadLetter)


def test_dead_letters_are_filtered_by_outlook_and_found_by_order(operator):
    safe, landed, done = (
        DeadLetterFactory(),
        DeadLetterFactory(verdict=Verdict.LANDED),
        DeadLetterFactory(replayed_at=AT),
    )
    useless = DeadLetterFactory(replay_may_help=False)

    def listed(**query):
        return list(operator.get(reverse("admin:orders_deadletter_changelist"), query).context["cl"].result_list)

    assert [listed(replay=word) for word in ("landed", "safe", "replayed")] == [[landed], [safe], [done]]
    assert listed() == [useless, landed, safe], "what was replayed is out of the way"
    assert listed(replay="all") == [useless, done, landed, safe]
    assert [listed(q=str(one.order_id)) for one in (safe, done)] == [[safe], [done]]


def test_the_list_shows_pair_amount_age_owner_and_failure(operator, django_user_model):
    owner = django_user_model.objects.create(username="ada")
    letter = DeadLetterFactory(order=OrderFactory(status="failed", owner=owner))
    DeadLetter.objects.filter(pk=letter.pk).update(created_at=datetime.now(UTC) - timedelta(hours=3))
    said = "SOL-USDC 1.5 SOL 3 h ada no_quote no venue has quoted this pair may be replayed -"
    assert f"{letter.order_id} {said}" in list_of(operator, DeadLetter)


def test_the_terminal_says_the_same_before_a_replay(bench, capsys):
    bench.price("160", venue="METEORA")
    letter, useless = routed_then(DeadLetterFactory(), "200"), DeadLetterFactory(replay_may_help=False)
    assert run("replay", str(letter.order_id), "--check") == 0
    said = capsys.readouterr().out
    found = replays.assess(letter)
    assert all(words in said for words in (found.then, found.execution)) and "1 may be replayed, 0 refused" in said
    redis().delete("quotes:{SOL-USDC}:METEORA")
    assert run("replay", str(letter.order_id), "--check") == 0
    said = capsys.readouterr().out
    assert "in doubt: no price: no venue has a fresh quote; the new order would wait for a quote, and fail" in said
    assert "0 may be replayed" in said and "1 could be replayed, and not be filled now" in said
    assert run("replay", str(useless.order_id), "--check") == 1
    assert "refused now:" in capsys.readouterr().out
    assert not Order.objects.exclude(replay_of=None).exists()
