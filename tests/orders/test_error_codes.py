"""The codes of errors: each has a meaning, which the reference and the description repeat, and no other is used."""

import re

import pytest
from drf_spectacular.generators import SchemaGenerator

from config.env import ROOT
from orders.access.limits import Limited
from orders.api.error_codes import CODES
from orders.api.errors import RETRY_AFTER_S, body, headers_of

REFERENCE = (ROOT / "orders/api/README.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
WRITTEN = re.compile(r'\bbody\(\s*"(\w+)"|\bInvalid\(.*\bcode="(\w+)"')
ROOMS = ("orders/api", "orders/sockets", "config")


@pytest.fixture(scope="module")
def schema():
    """Generate the description as it is served."""
    return SchemaGenerator().get_schema(request=None, public=True)


def rows():
    """Return the rows of the reference's table: code, status and meaning."""
    _, _, below = REFERENCE.partition("| code | HTTP status | meaning, and what to do |\n")
    table, _, _ = below.partition("\n\n")
    return ROW.findall(table)


def test_the_reference_lists_every_code_with_its_meaning_and_no_other():
    assert [(code, meaning) for code, _, meaning in rows()] == list(CODES.items())


def test_the_description_lists_every_code_with_its_meaning(schema):
    components = schema["components"]["schemas"]
    said = components["ErrorBody"]["properties"]["code"]["description"].splitlines()
    assert said == [f"- `{code}`: {meaning}" for code, meaning in CODES.items()]
    assert components["ErrorCode"]["enum"] == list(CODES)


def test_the_reference_gives_each_code_the_status_it_is_answered_with(schema):
    told = {code: status for code, status, _ in rows()}
    shown = {
        (one["value"]["error"]["code"], status)
        for methods in schema["paths"].values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        for content in answer["content"].values()
        for one in content.get("examples", {}).values()
        if "error" in one["value"]
    }
    assert len(shown) > 10 and {told[code] for code, _ in shown} >= {"400", "404", "409", "412", "428", "503"}
    assert [(code, status) for code, status in sorted(shown) if told[code] != status] == []


def test_every_code_answered_with_429_or_503_has_a_time_to_try_again():
    passing = {code for code, status, _ in rows() if status in ("429", "503")}
    assert passing == RETRY_AFTER_S.keys() >= {"rate_limited", "overloaded", "paused"}
    for code in passing:
        assert int(headers_of(503, body(code, "later"))["Retry-After"]) == RETRY_AFTER_S[code] > 0


def test_no_error_has_a_code_without_a_meaning():
    texts = [path.read_text() for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    used = {code for text in texts for found in WRITTEN.findall(text) for code in found if code}
    used |= {kind.code for kind in Limited.__subclasses__()}
    assert {"no_order", "one_order", "too_large", "not_ready"} <= used <= set(CODES)
