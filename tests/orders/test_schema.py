"""The OpenAPI description and its pages."""

import re

import pytest
from django.core.management import call_command
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from engine.lifecycle import Status
from orders.api import serializers
from tests.orders.doors import ORDER, post

ERROR = "#/components/schemas/Error"


@pytest.fixture(scope="module")
def schema():
    """Generate the description as it is served."""
    return SchemaGenerator().get_schema(request=None, public=True)


def operations(schema):
    """Yield each operation with its address."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_the_description_is_valid_and_made_without_a_warning(tmp_path):
    GENERATOR_STATS.reset()
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
    assert (tmp_path / "schema.yml").read_text().startswith("openapi: 3.1")


def test_every_address_is_described(schema):
    assert set(schema["paths"]) == {
        "/api/orders/execute",
        "/api/orders",
        "/api/orders/{order_id}",
        "/api/orders/{order_id}/events",
        "/api/quotes/{pair}",
        "/api/pairs",
        "/healthz",
        "/readyz",
    }


def test_every_error_is_described_in_the_one_shape(schema):
    for name, operation in operations(schema):
        for status, answer in operation["responses"].items():
            said = answer["content"]["application/json"]["schema"]
            if int(status) >= 400 and name != "get /readyz":
                assert said == {"$ref": ERROR}, (name, status)
    statuses = {name: set(operation["responses"]) for name, operation in operations(schema)}
    assert statuses["post /api/orders/execute"] == {"202", "400", "409", "415", "503"}
    assert statuses["get /api/orders/{order_id}"] == {"200", "400", "404", "503"}
    assert statuses["get /readyz"] == {"200", "503"}


def test_the_list_is_described_as_pages_with_every_parameter(schema):
    listing = schema["paths"]["/api/orders"]["get"]
    page = schema["components"]["schemas"]["Orders"]
    assert set(page["properties"]) == {"next", "previous", "results"}
    parameters = {parameter["name"]: parameter for parameter in listing["parameters"]}
    assert set(parameters) == {"status", "type", "pair", "createdAfter", "createdBefore", "limit", "cursor"}
    assert set(parameters["status"]["schema"]["items"]["enum"]) == set(Status)
    assert (parameters["limit"]["schema"]["minimum"], parameters["limit"]["schema"]["maximum"]) == (1, 200)


def test_the_request_is_described_with_limits_and_an_example_that_is_accepted(schema, bench, client):
    body = schema["paths"]["/api/orders/execute"]["post"]["requestBody"]["content"]["application/json"]
    (example,) = body["examples"].values()
    answer = client.post("/api/orders/execute", example["value"], content_type="application/json")
    assert answer.status_code == 202
    fields = schema["components"]["schemas"]["Execute"]["properties"]
    assert set(fields) == set(serializers.ACCEPTED)
    assert (fields["slippageBps"]["minimum"], fields["slippageBps"]["maximum"]) == (0, 5000)
    assert {kind["type"] for kind in fields["amount"]["oneOf"]} == {"string", "number"}


async def test_answers_have_the_fields_that_are_described(schema, bench):
    described = schema["components"]["schemas"]
    accepted = (await post(ORDER)).json()
    assert set(accepted) == set(described["Accepted"]["properties"])
    error = (await post({})).json()["error"]
    assert set(error) == set(described["ErrorBody"]["properties"])
    assert set(error["fields"][0]) == set(described["FieldError"]["properties"])


def test_an_order_and_its_quotes_have_the_fields_that_are_described(schema, bench, client):
    described = schema["components"]["schemas"]
    bench.quote_all()
    bench.place()
    (order,) = client.get("/api/orders").json()["results"]
    assert set(order) == set(described["Order"]["properties"])
    quotes = client.get("/api/quotes/SOL-USDC").json()
    assert set(quotes) == set(described["Quotes"]["properties"])
    assert set(quotes["best"]) == set(described["Quote"]["properties"])


def test_the_examples_of_events_name_the_facts_the_engine_states(schema, bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    answer = schema["paths"]["/api/orders/{order_id}/events"]["get"]["responses"]["200"]
    (example,) = answer["content"]["application/json"]["examples"].values()
    shown = [set(event) for event in example["value"]["events"]]
    assert shown == [set(event) for event in bench.events(order_id)]


@pytest.mark.parametrize("page", ["/api/docs/", "/api/redoc/"])
def test_the_pages_need_nothing_from_elsewhere(client, page):
    html = client.get(page).content.decode()
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", html)
    assets = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    assert assets
    for asset in assets:
        assert client.get(asset).status_code == 200, asset


def test_the_served_description_is_valid(client):
    answer = client.get("/api/schema", headers={"accept": "application/vnd.oai.openapi+json"})
    assert answer.status_code == 200
    validate_schema(answer.json())
