"""Every address answers every method: with what it does or with a refusal, never with a defect."""

import re

import pytest
from django.contrib.admindocs.views import simplify_regex
from django.urls import get_resolver
from django.urls.resolvers import URLResolver

from tests.orders.doors import error_of, http

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "X")
PARAMETERS = {"order_id": "5f0e8d0c-3c1f-4a59-9a0e-6d3b7c1d2e4f", "pair": "SOL-USDC", "app_label": "orders"}


def addresses(patterns, before="/"):
    """Yield every address of a URL list, with something in the place of each parameter."""
    for one in patterns:
        here = before + simplify_regex(str(one.pattern)).lstrip("/")
        if isinstance(one, URLResolver):
            yield from addresses(one.url_patterns, here)
        else:
            yield re.sub(r"<(?:\w+:)?(\w+)>", lambda found: PARAMETERS.get(found[1], "7"), here)


ADDRESSES = sorted(set(addresses(get_resolver().url_patterns)))
ADMIN = [address for address in ADDRESSES if address.startswith("/admin/")]
OTHERS = [address for address in ADDRESSES if address not in ADMIN]


def test_the_addresses_are_found():
    assert {"/", "/api/docs/", "/api/schema", "/api/quotes/SOL-USDC", "/readyz"} <= set(OTHERS)
    assert {"/admin/", "/admin/orders/", "/admin/orders/order/7/change/", "/admin/orders/pause/7/resume/"} <= set(ADMIN)


@pytest.mark.parametrize("address", OTHERS)
async def test_an_address_does_what_a_method_asks_or_refuses_in_the_one_error_shape(bench, address):
    async with http() as client:
        for method in METHODS:
            answer = await client.request(method, address)
            assert answer.status_code < 500, method
            if answer.status_code >= 400 and method != "HEAD":
                assert error_of(answer)["message"], method


@pytest.mark.parametrize("address", ["/api/docs/", "/api/redoc/", "/api/schema"])
def test_options_of_a_document_names_its_methods(client, address):
    answer = client.options(address)
    assert answer.status_code == 200
    assert answer.json()["methods"] == ["GET", "HEAD", "OPTIONS"]


@pytest.mark.parametrize("address", ADMIN)
def test_no_method_makes_the_admin_fail(bench, operator, address):
    operator.raise_request_exception = False
    for method in METHODS:
        assert operator.generic(method, address).status_code < 500, method
