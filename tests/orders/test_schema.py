"""The OpenAPI description and its pages."""

import json
import re
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest
from django.core.management import call_command
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from engine import events, token_checks
from engine.event_kinds import KINDS
from engine.lifecycle import Status
from engine.orders import OrderType
from engine.token_checks import Limits, TokenFacts
from engine.triggers import Condition, Kind
from orders.api import description, examples, serializers
from orders.api.rules import NEEDS, inapplicable
from tests.orders.doors import ORDER, error_of, post

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
        "/api/orders/batch",
        "/api/orders/estimate",
        "/api/orders",
        "/api/orders/by-client-id/{client_order_id}",
        "/api/orders/{order_id}",
        "/api/orders/{order_id}/events",
        "/api/quotes/{pair}",
        "/api/events",
        "/api/webhooks",
        "/api/webhooks/{webhook_id}",
        "/api/webhooks/{webhook_id}/replay",
        "/api/webhooks/{webhook_id}/rotate",
        "/api/tickets",
        "/api/candles/{pair}",
        "/api/balances",
        "/api/positions",
        "/api/pairs",
        "/healthz",
        "/readyz",
        "/metrics",
    }


KEY = ("401", "403")
LIMIT = ("429",)
"""What a key can be refused with; what is open has neither."""


def test_every_error_is_described_in_the_one_shape(schema):
    for name, operation in operations(schema):
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and (name, status) != ("get /readyz", "503"):
                assert answer["content"]["application/json"]["schema"] == {"$ref": ERROR}, (name, status)
    statuses = {name: set(operation["responses"]) for name, operation in operations(schema)}
    assert statuses["post /api/orders/execute"] == {"202", "400", "406", "409", "415", "422", "503", *KEY, *LIMIT}
    assert statuses["post /api/orders/batch"] == {"200", "400", "406", "415", "503", *KEY, *LIMIT}
    assert statuses["get /api/orders/{order_id}"] == {"200", "400", "404", "406", "503", *KEY}
    assert statuses["patch /api/orders/{order_id}"] == {
        "200",
        "400",
        "404",
        "406",
        "409",
        "412",
        "415",
        "422",
        "428",
        "503",
        *KEY,
    }
    assert statuses["delete /api/orders/{order_id}"] == {"200", "400", "404", "406", "409", "503", *KEY}
    assert statuses["delete /api/orders"] == {"200", "400", "406", "503", *KEY}
    assert statuses["get /readyz"] == {"200", "400", "406", "503"}
    assert statuses["get /healthz"] == {"200", "400", "406", "503"}
    assert statuses["get /metrics"] == {"200", "400", "503"}


def test_every_503_is_described_with_the_time_to_come_back(schema):
    found = [
        answer["headers"]["Retry-After"]
        for _, operation in operations(schema)
        for status, answer in operation["responses"].items()
        if status == "503"
    ]
    assert len(found) > 10 and all(header["required"] for header in found)


def test_the_list_is_described_as_pages_with_every_parameter(schema):
    listing = schema["paths"]["/api/orders"]["get"]
    page = schema["components"]["schemas"]["Orders"]
    assert set(page["properties"]) == {"next", "previous", "nextCursor", "previousCursor", "results"}
    parameters = {parameter["name"]: parameter for parameter in listing["parameters"]}
    assert set(parameters) == {
        "status",
        "type",
        "pair",
        "clientOrderId",
        "createdAfter",
        "createdBefore",
        "limit",
        "cursor",
        "format",
    }
    assert list(listing["responses"]["200"]["content"]) == ["application/json", "text/csv"]
    assert parameters["status"]["schema"]["items"] == {"$ref": "#/components/schemas/OrderStatus"}
    assert set(schema["components"]["schemas"]["OrderStatus"]["enum"]) == set(Status)
    assert (parameters["limit"]["schema"]["minimum"], parameters["limit"]["schema"]["maximum"]) == (1, 200)


def test_the_request_is_described_with_limits_and_an_example_of_each_type_that_is_accepted(schema, bench, client):
    body = schema["paths"]["/api/orders/execute"]["post"]["requestBody"]["content"]["application/json"]
    assert {example["value"]["type"] for example in body["examples"].values()} == set(OrderType)
    for example in body["examples"].values():
        answer = client.post("/api/orders/execute", example["value"], content_type="application/json")
        assert answer.status_code == 202, answer.content
    described = {kind: schema["components"]["schemas"][f"{kind.capitalize()}Order"] for kind in OrderType}
    assert set().union(*(one["properties"] for one in described.values())) == set(serializers.ACCEPTED)
    for kind, one in described.items():
        fields = one["properties"]
        assert fields["type"]["const"] == kind
        assert {name for name in fields if inapplicable(name, kind)} == set()
        assert set(one["required"]) == {"type", "tokenIn", "tokenOut", "amount", NEEDS.get(kind, "amount")}
        assert (fields["slippageBps"]["minimum"], fields["slippageBps"]["maximum"]) == (0, 5000)
        assert set(fields["amount"]["type"]) == {"string", "number"}
    one, *_, several = described[OrderType.SNIPER]["properties"]["trigger"]["oneOf"]
    assert one == {"$ref": "#/components/schemas/LaunchCondition"}
    assert schema["components"]["schemas"]["LaunchCondition"]["properties"]["kind"]["const"] == "launch"
    assert (several["minItems"], several["maxItems"]) == (1, 3)


def test_what_is_described_is_closed_but_for_what_says_so(schema):
    objects = {name: one for name, one in schema["components"]["schemas"].items() if one.get("type") == "object"}
    assert {name for name, one in objects.items() if one.get("additionalProperties") is not False} == {
        f"{kind.__name__}{of}" for kind in KINDS.values() for of in ("Event", "Result")
    }


def test_the_description_is_the_same_however_often_it_is_made(schema):
    assert SchemaGenerator().get_schema(request=None, public=True) == schema


def test_answers_lead_on_to_the_orders_and_pairs_they_name(schema):
    links = {
        (operation["operationId"], name): link["parameters"]
        for _, operation in operations(schema)
        for answer in operation["responses"].values()
        for name, link in answer.get("links", {}).items()
    }
    assert links["execute_order", "get_order"] == {"order_id": "$response.body#/orderId"}
    assert links["get_order", "amend_order"]["If-Match"] == "$response.header.ETag"
    assert links["list_pairs", "get_quotes"] == {"pair": "$response.body#/results/0/pair"}


@pytest.mark.parametrize(("code", "status"), [("store_unreachable", "503"), ("overloaded", "503"), ("paused", "503")])
def test_every_reason_to_be_unavailable_is_shown(schema, code, status):
    for path in ("/api/orders/execute", "/api/orders/batch"):
        shown = schema["paths"][path]["post"]["responses"][status]["content"]["application/json"]["examples"]
        assert code in {example["value"]["error"]["code"] for example in shown.values()}


def errors_shown(schema):
    """Yield every error that is shown as an example."""
    for _, operation in operations(schema):
        for answer in operation["responses"].values():
            for content in answer["content"].values():
                yield from (
                    one["value"]["error"] for one in content.get("examples", {}).values() if "error" in one["value"]
                )


def test_an_error_in_an_example_has_a_code_that_is_described(schema):
    shown = list(errors_shown(schema))
    assert shown
    assert {error["code"] for error in shown} <= set(schema["components"]["schemas"]["ErrorCode"]["enum"])


def test_the_examples_of_a_batch_and_an_amendment_are_accepted(schema, bench, client):
    def example(path, method):
        body = schema["paths"][path][method]["requestBody"]["content"]["application/json"]
        (found,) = body["examples"].values()
        return found["value"]

    batch = client.post("/api/orders/batch", example("/api/orders/batch", "post"), content_type="application/json")
    assert batch.json()["refused"] == 0, batch.content
    limit = batch.json()["results"][1]["order"]["orderId"]
    changed = client.patch(
        f"/api/orders/{limit}",
        example("/api/orders/{order_id}", "patch"),
        content_type="application/json",
        headers={"if-match": '"1"'},
    )
    assert changed.status_code == 200, changed.content
    described = schema["components"]["schemas"]
    assert set(batch.json()) == set(described["Verdicts"]["properties"])
    assert set(described["Amendment"]["properties"]) == set(serializers.AMENDABLE)


def test_an_order_in_an_example_has_the_fields_that_are_described(schema):
    described = schema["components"]["schemas"]
    assert set(examples.RESTING) == set(described["Order"]["properties"])
    assert {*examples.RESTING["resting"], "conditions"} == set(described["Resting"]["properties"])


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
    example, *_ = answer["content"]["application/json"]["examples"].values()
    shown = [set(event) for event in example["value"]["events"]]
    assert shown == [set(event) for event in bench.events(order_id)]


def test_the_examples_of_waiting_orders_state_what_the_engine_states(bench):
    limit = bench.limit("160", expires_at=1_800_000_000_000).order
    sniper = bench.snipe(examples.MINT, Condition(Kind.LIQUIDITY, 5_000_000), max_price=Decimal("0.00004")).order
    after = replace(limit, limit_price=Decimal("154.5"), expires_at=None)
    told = [msgspec.to_builtins(one) for _, one in (*examples.RETURNED, *examples.EXPIRED[1:], *examples.REFUSED)]
    pending, amended, _, _, _, expired, armed, judged, _ = told
    assert pending.keys() == msgspec.to_builtins(events.pending(limit)).keys()
    assert amended["amended"].keys() == events.amended(limit, after).amended.keys()
    assert expired.keys() == msgspec.to_builtins(events.expired(limit)).keys()
    assert armed.keys() == msgspec.to_builtins(events.pending(sniper)).keys()
    verdicts = token_checks.judge(TokenFacts("", "", 5_200_000, None), Limits(1_000_000, 5_000), allow_unknown=False)
    assert list(judged["gates"]) == [verdict.as_dict() for verdict in verdicts]


def test_every_kind_of_event_is_an_example_and_fits_its_description(schema):
    components = json.loads(json.dumps(schema["components"]))
    shown = [event for life in examples.LIVES for event in examples.told(life)["events"]]
    assert {event["kind"] for event in shown} == set(KINDS)
    for event in shown:
        described = {"$ref": f"#/components/schemas/{KINDS[event['kind']].__name__}Event", "components": components}
        Draft202012Validator(described).validate(event)
        other = {**event, "kind": next(kind for kind in KINDS if kind != event["kind"])}
        assert not Draft202012Validator(described).is_valid(other)


def test_the_result_of_an_order_is_typed_by_the_kind_of_its_last_event(schema):
    components = json.loads(json.dumps(schema["components"]))
    described = {"$ref": "#/components/schemas/Result", "components": components}
    head = set(components["schemas"]["PendingEvent"]["properties"]) - set(
        components["schemas"]["PendingResult"]["properties"]
    )
    for life in examples.LIVES:
        for event in examples.told(life)["events"]:
            result = {name: value for name, value in event.items() if name not in head}
            Draft202012Validator(described).validate(result)
            assert not Draft202012Validator(described).is_valid({**result, "kind": "unheard of"})
    assert Draft202012Validator(described).is_valid(examples.RESTING["result"])
    assert not Draft202012Validator(described).is_valid({"kind": "confirmed"})


def test_the_kind_tells_which_description_an_event_fits(schema):
    described = schema["components"]["schemas"]
    mapping = described["Event"]["discriminator"]["mapping"]
    assert [{"$ref": address} for address in mapping.values()] == described["Event"]["oneOf"]
    assert list(mapping) == list(KINDS)
    for kind, address in mapping.items():
        event = described[address.rpartition("/")[2]]
        assert event["properties"]["kind"] == {"type": "string", "const": kind}
        assert event["properties"]["status"]["const"] == KINDS[kind].status
        assert {"kind", "status"} <= set(event["required"])


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


FORMS = ["application/vnd.oai.openapi", "application/yaml", "application/vnd.oai.openapi+json", "application/json"]


@pytest.mark.parametrize("form", FORMS)
def test_the_description_is_made_once_and_served_as_it_was_made(client, schema, monkeypatch, form):
    description.written.cache_clear()
    made = []
    monkeypatch.setattr(SchemaGenerator, "get_schema", lambda *_, **__: made.append(1) or schema)
    answers = [
        client.get(address, headers={"accept": form, "host": host})
        for address in ("/api/schema", "/api/schema/", "/api/schema?version=2")
        for host in ("localhost", "127.0.0.1:8000")
    ]
    assert len(made) == 1
    (written,) = {answer.content for answer in answers}
    (renderer,) = [one for one in description.Schema.renderer_classes if one.media_type == form]
    assert written == renderer().render(schema, form, {})


def test_a_client_that_has_the_description_does_not_get_it_again(client):
    first = client.get("/api/schema")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/api/schema", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get("/api/schema", headers={"if-none-match": first.headers["etag"], "accept": "application/json"})
    assert other.status_code == 200


def test_a_form_that_does_not_exist_is_refused_in_the_one_error_shape(client):
    answer = client.get("/api/schema", headers={"accept": "text/html"})
    assert (answer.status_code, error_of(answer)["code"]) == (406, "not_acceptable")
