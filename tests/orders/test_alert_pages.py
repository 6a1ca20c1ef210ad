"""The pages that alerts lead to are there, and lead to what the alert is about."""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from tests.deploy.test_monitoring import RULES
from tests.factories import OrderFactory
from tests.orders.pages import messages_of

OLDEST = "/admin/orders/order/oldest/"
PAGES = sorted({rule["annotations"]["page"] for rule in RULES})


@pytest.mark.parametrize("page", [page for page in PAGES if page != "/readyz"])
def test_an_alerts_page_is_there_for_whoever_may_look(bench, looker, page):
    assert looker.get(page, follow=True).status_code == 200


def test_the_oldest_order_in_progress_is_the_page_of_the_alert_about_it(bench, looker):
    now = datetime.now(UTC)
    OrderFactory(status="routing", created_at=now - timedelta(minutes=3))
    stuck = OrderFactory(status="submitted", created_at=now - timedelta(minutes=9))
    OrderFactory(status="confirmed", created_at=now - timedelta(minutes=20))
    OrderFactory(type="limit", created_at=now - timedelta(minutes=30))
    answer = looker.get(OLDEST)
    assert answer.headers["Location"] == reverse("admin:orders_order_change", args=[stuck.pk])


def test_without_an_order_in_progress_it_is_the_list(bench, looker):
    assert messages_of(looker.get(OLDEST, follow=True)) == ["No order is in progress."]


def test_only_who_may_look_at_orders_is_led_there(bench, client, django_user_model):
    client.force_login(django_user_model.objects.create(username="clerk", is_staff=True))
    assert client.get(OLDEST).status_code == 403
