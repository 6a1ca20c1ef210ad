"""Every setting: its name, accepted values, default and purpose.

Settings are read from the environment and from `.env`; the environment wins. Nothing here needs an installed package,
so the launcher can read the settings before anything else is imported.
"""

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.values import (
    BadSetting,
    Setting,
    filled,
    names,
    number,
    one_of,
    origins,
    person,
    recorded_prices,
    some_of,
    span,
    switch,
    url,
    whole,
)
from engine import risk_limits

ROOT = Path(__file__).resolve().parent.parent
PREFIXES = (
    *("ENGINE_", "MOCK_", "MARKET_", "CONFIRM_", "QUOTE_", "ORDER_", "LIMIT_", "SNIPE_"),
    *("RETENTION_", "ARCHIVE_"),
)
"""A variable with one of these prefixes that is not in the table below is a mistake, and startup stops."""
SECRETS = ("DATABASE_URL", "REDIS_URL", "BROKER_URL", "ENGINE_SECRET_KEY", "ENGINE_KEY_PEPPER", "ENGINE_ADMIN_PASSWORD")
"""Settings that may also be given as <NAME>_FILE, the path of a file that holds the value."""
WITHHELD = (*SECRETS, "ENGINE_API_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Settings whose values no message shows: secrets, and addresses, which may hold one."""


def risk_limit(name: str) -> Setting:
    """Return the row of a risk limit, which operators may also change while the engine runs."""
    known = risk_limits.TABLE[name]
    return Setting(whole(known.low, known.high), str(known.default), known.about)


TABLE: dict[str, Setting] = {
    "ENGINE_HOST": Setting(filled, "127.0.0.1", "address the API and Flower listen on"),
    "ENGINE_PORT": Setting(whole(1, 65535), "8000", "port of the API"),
    "ENGINE_FLOWER_PORT": Setting(whole(1, 65535), "5555", "port of Flower"),
    "ENGINE_METRICS_PORT": Setting(whole(0, 65_000), "9700", "first port of the processes' own /metrics; 0 for none"),
    "ENGINE_METRICS_HOST": Setting(
        one_of("127.0.0.1", "0.0.0.0"),  # noqa: S104
        "127.0.0.1",
        "address the `/metrics` ports listen on; 0.0.0.0 if Prometheus is on another machine",
    ),
    "ENGINE_DATA_DIR": Setting(Path, ".data", "where the embedded stores, logs and secrets live"),
    "ENGINE_SERVER": Setting(one_of("uvicorn", "daphne"), "uvicorn", "ASGI server that serves the API"),
    "ENGINE_ALLOWED_HOSTS": Setting(names, "localhost,127.0.0.1,[::1]", "host names the API answers to"),
    "ENGINE_ALLOWED_ORIGINS": Setting(
        origins, "", "origins besides the engine's own whose pages may open sockets, such as https://desk.example.com"
    ),
    "ENGINE_SECRET_KEY": Setting(filled, None, "Django's secret key; generated and kept in the data dir if omitted"),
    "ENGINE_KEY_PEPPER": Setting(
        filled,
        None,
        "secret that digests of API keys are keyed with, and secrets of webhooks derived from; generated and kept if "
        "omitted; a new one ends every key and changes every webhook's secret",
    ),
    "ENGINE_ADMIN_PASSWORD": Setting(
        filled, None, "first password of the user `admin`, and Flower's; generated and kept in the data dir if omitted"
    ),
    "ENGINE_API_KEY": Setting(
        filled, None, "API key that commands and clients send; on the engine's own machine the one in the data dir"
    ),
    "ENGINE_OPERATOR": Setting(
        person, None, "name of whoever runs operators' commands, for the audit log; the system's user if omitted"
    ),
    "ENGINE_DEBUG": Setting(switch, "0", "Django's debug pages; never in production"),
    "ENGINE_LOG_LEVEL": Setting(one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "minimum level that is logged"),
    "ENGINE_LOG_FORMAT": Setting(one_of("auto", "json", "text"), "auto", "auto: text on a terminal, JSON otherwise"),
    "ENGINE_WORKER_THREADS": Setting(whole(1, 64), "4", "tasks one worker process runs at once"),
    "ENGINE_SOCKETS_MAX": Setting(whole(1, 1_000_000), "10000", "WebSockets one API process keeps open at once"),
    "ENGINE_KEY_SOCKETS_MAX": Setting(whole(1, 1_000_000), "2000", "those that one API key, or person, keeps open"),
    "ENGINE_KEY_FOLLOWS_MAX": Setting(whole(1, 1_000_000), "20000", "orders that these follow at once on `/ws/orders`"),
    "ENGINE_WEBHOOKS_MAX": Setting(whole(0, 1_000), "10", "webhooks one account may have"),
    "ENGINE_WEBHOOK_GIVE_UP_H": Setting(whole(1, 720), "24", "hours of failures after which a webhook is given up"),
    "ENGINE_WEBHOOK_PRIVATE": Setting(
        switch, "0", "1: webhooks may go to private addresses by http; for tests, and where every client is trusted"
    ),
    "ENGINE_DISCONNECT_GRACE_S": Setting(whole(1, 3_600), "10", "seconds before a key cancels on disconnect"),
    "ENGINE_BALANCES": Setting(switch, "1", "reserve what orders sell, and refuse what an account's balance lacks"),
    "ENGINE_NO_VENV": Setting(
        one_of("0", "1"), "0", "1: manage.py stays with the interpreter it is started with; not read from .env"
    ),
    "ENGINE_ROLE": Setting(filled, "shell", "role of this process; set by what starts it"),
    "DATABASE_URL": Setting(url("postgres", "postgresql"), None, "PostgreSQL; embedded if omitted"),
    "REDIS_URL": Setting(url("redis", "rediss"), None, "Redis 7 or Valkey; embedded if omitted"),
    "BROKER_URL": Setting(url("amqp", "amqps"), None, "RabbitMQ for the workers' queues; in Redis if omitted"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": Setting(
        url("http", "https"), None, "collector that traces go to by OTLP over HTTP, such as http://127.0.0.1:4318"
    ),
    "OTEL_TRACES_SAMPLER_ARG": Setting(number(0, 1), "1", "share of orders that are traced, when there is a collector"),
    "ORDER_MAX_IMPACT_BPS": risk_limit("ORDER_MAX_IMPACT_BPS"),
    "ORDER_LIVE_TTL_S": Setting(whole(1, 604_800), "10", "seconds an order stays in Redis once Postgres has its end"),
    "ORDER_DEADLINE_S": Setting(
        whole(1, 86_400), "30", "seconds a market order may wait for a store, a venue or the chain after its acceptance"
    ),
    "ORDER_BACKLOG_MAX": Setting(
        whole(0, 1_000_000),
        "3000",
        "unsubmitted orders at which new market and `ioc` orders get 503 `overloaded`; 0 for no limit",
    ),
    "ORDER_LEASE_MS": Setting(whole(1_000, 600_000), "5000", "how long a silent worker keeps its lease on an order"),
    "RETENTION_DAYS": Setting(
        whole(0, 36_500), "90", "days after its end at which an order is moved to the archive; 0 for never"
    ),
    "ARCHIVE_DAYS": Setting(whole(0, 36_500), "0", "days an archived order and its clientOrderId are kept; 0 for ever"),
    "MAX_ATTEMPTS": risk_limit("MAX_ATTEMPTS"),
    "QUOTE_FRESH_MS": risk_limit("QUOTE_FRESH_MS"),
    "QUOTE_STALE_MS": risk_limit("QUOTE_STALE_MS"),
    "QUOTE_TIMEOUT_MS": Setting(whole(100, 60_000), "5000", "how long a venue may take to quote"),
    "VENUE_SHORTFALL_MAX_BPS": Setting(
        whole(0, 10_000), "40", "bps a venue may pay less than it quoted, on average, until it is paused; 0 or 200: any"
    ),
    "VENUE_FAILURES_MAX_PCT": Setting(whole(0, 100), "30", "% of failures from which a venue is left out; 0 for never"),
    "VENUE_SLOW_MS": Setting(whole(10, 60_000), "4000", "how long a quote may take; a later one counts as failed"),
    "LIMIT_QUOTE_AGE_MS": risk_limit("LIMIT_QUOTE_AGE_MS"),
    "LIMIT_HOLD_POLLS": risk_limit("LIMIT_HOLD_POLLS"),
    "LIMIT_VENUES_APART_MAX_BPS": risk_limit("LIMIT_VENUES_APART_MAX_BPS"),
    "SNIPE_LIQUIDITY_MIN_USD": risk_limit("SNIPE_LIQUIDITY_MIN_USD"),
    "SNIPE_TOP_HOLDER_MAX_BPS": risk_limit("SNIPE_TOP_HOLDER_MAX_BPS"),
    "SNIPE_MARKET_AGE_S": risk_limit("SNIPE_MARKET_AGE_S"),
    "SNIPE_FACTS_AGE_DAYS": risk_limit("SNIPE_FACTS_AGE_DAYS"),
    "CONFIRM_POLL_MS": Setting(whole(10, 10_000), "200", "how often open attempts are looked up"),
    "CONFIRM_RESEND_MS": Setting(whole(100, 60_000), "2000", "how often an unconfirmed transaction is sent again"),
    "MOCK_QUOTE_DELAY_MS": Setting(span(60_000), "2000-3000", "how long a sandbox venue takes to quote"),
    "MOCK_CONFIRM_DELAY_MS": Setting(span(600_000), "400-1200", "how long the sandbox chain takes to confirm"),
    "MOCK_PRICE_VARIATION_PCT": Setting(span(50), "2-5", "how far a sandbox venue is from the mid price, percent"),
    "MOCK_DROP_RATE": Setting(number(0, 1), "0", "share of broadcasts the sandbox chain loses"),
    "MOCK_REJECT_RATE": Setting(number(0, 1), "0", "share of transactions the sandbox chain refuses"),
    "MOCK_BLOCKHASH_VALID_MS": Setting(whole(400, 600_000), "60000", "how long a signed transaction can still land"),
    "MOCK_VENUES_DOWN": Setting(some_of("RAYDIUM", "METEORA"), "", "sandbox venues that are down from the start"),
    "MOCK_SEED": Setting(whole(0, 2**63), "1", "seed of every sandbox price and outcome"),
    "MOCK_LAUNCH_EVERY_S": Setting(whole(0, 86_400), "120", "seconds between launches of a sandbox token; 0 for never"),
    "MOCK_FUNDS": Setting(whole(0, 10**15), "10000000", "whole tokens of each kind that an account begins with"),
    "MOCK_FAULTS": Setting(
        Path, None, "JSON file of faults the sandbox injects, read again while it runs; see routing/sandbox/faults.py"
    ),
    "MARKET_REPLAY": Setting(recorded_prices, None, "CSV of one-minute prices the sandbox market follows"),
    "MARKET_REPLAY_SPEED": Setting(number(0.001, 100_000), "1", "replayed seconds per second"),
    "MARKET_REPLAY_START": Setting(number(0, 1e12), "0", "Unix time at which the replay began, seconds"),
}


def load(environ: Mapping[str, str] | None = None, root: Path = ROOT) -> dict[str, Any]:
    """Read and check every setting.

    Raises BadSetting, naming all that are unknown or malformed.
    """
    found = given(environ, root)
    values, wrong = {}, [unknown(name) for name in sorted(found) if is_mistaken(name)]
    for name, setting in TABLE.items():
        try:
            values[name] = value_of(name, setting, found.get(name))
        except BadSetting as reason:
            wrong.append(reason.args[0])
    if wrong:
        raise BadSetting("\n".join(wrong))
    values["ENGINE_DATA_DIR"] = (root / values["ENGINE_DATA_DIR"]).resolve()
    if problem := risk_limits.disagreement(values) or disagreement(values):
        raise BadSetting(problem)
    engine = running(values["ENGINE_DATA_DIR"])
    stores = {name: engine.get(name) for name in ("DATABASE_URL", "REDIS_URL") if values[name] is None}
    return {**values, **stores, "RUNNING_URL": engine.get("API_URL")}


REDIS_CALL_MS = 2_000
"""Time limit of a Redis call (routing/store.py)."""
RENEWALS = 4
"""How often a live worker renews a lease before it would expire (orders/flow/duties.py)."""


def disagreement(values: Mapping[str, Any]) -> str | None:
    """Say which two time limits contradict each other, if any do."""
    lease, deadline, quote = values["ORDER_LEASE_MS"], values["ORDER_DEADLINE_S"], values["QUOTE_TIMEOUT_MS"]
    if lease <= (least := REDIS_CALL_MS + lease // RENEWALS):
        return f"ORDER_LEASE_MS={lease}: must be above {least}, the time in which a slow Redis may let it be renewed"
    if deadline * 1000 <= quote:
        return f"ORDER_DEADLINE_S={deadline}: must be above QUOTE_TIMEOUT_MS={quote}, or no venue could answer in time"
    return None


def given(environ: Mapping[str, str] | None = None, root: Path = ROOT) -> dict[str, str]:
    """Merge `.env`, the environment, which wins, and the secret files.

    Raises BadSetting for a line or file that cannot be read.
    """
    found = {**dotenv(root / ".env"), **(os.environ if environ is None else environ)}
    paths = {name: path for name in SECRETS if (path := found.pop(f"{name}_FILE", ""))}
    return found | {name: secret(name, path, found) for name, path in paths.items()}


def secret(name: str, path: str, found: Mapping[str, str]) -> str:
    """Read a secret's file, without the trailing line break.

    Raises BadSetting if the file does not exist or is empty, or if the value is also given directly.
    """
    if found.get(name):
        raise BadSetting(f"{name} and {name}_FILE are both given: keep one of them")
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as reason:
        # The value itself, given here by mistake, would be shown as the path.
        why = reason.strerror if isinstance(reason, OSError) else "it is not UTF-8 text"
        raise BadSetting(
            f"{name}_FILE: must be the path of a file that holds {name}, which cannot be read ({why})"
        ) from None
    if not text:
        raise BadSetting(f"{name}_FILE={path!r}: the file is empty; it must hold {name} ({TABLE[name].about})")
    return text


def value_of(name: str, setting: Setting, text: str | None) -> Any:
    """Parse one setting, or its default when it is absent or empty."""
    text = text if text else setting.default
    if text is None:
        return None
    try:
        return setting.parse(text)
    except ValueError as accepted:
        raise BadSetting(f"{name}={shown(name, text)}: must be {accepted} ({setting.about})") from None


def shown(name: str, text: str) -> str:
    """Quote a value, unless it is or may hold a password."""
    return "(not shown)" if name in WITHHELD or "@" in text else repr(text)


def is_mistaken(name: str) -> bool:
    """Tell whether an unknown variable is meant for this engine: by its prefix, or its similarity to a setting."""
    # OpenTelemetry has dozens of similar variables, and they are for the exporter.
    return (
        name not in TABLE
        and not name.startswith("OTEL_")
        and (name.startswith(PREFIXES) or bool(difflib.get_close_matches(name, TABLE, 1, 0.9)))
    )


def unknown(name: str) -> str:
    """Say that there is no such setting, and which one may be meant."""
    near = difflib.get_close_matches(name, TABLE.keys() - {"ENGINE_ROLE"}, 1)
    hint = f"; did you mean {near[0]}?" if near else "; config/README.md lists all settings"
    return f"{name} is not a setting of this engine{hint}"


def dotenv(path: Path) -> dict[str, str]:
    """Parse NAME=value lines; blank lines and # comments are skipped, quotes around a value removed.

    Raises BadSetting for any other line.
    """
    if not path.is_file():
        return {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise BadSetting(f"{path.name} is not UTF-8 text") from None
    found = {}
    for number_, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            # The line may be the rest of a secret, or hold one before its first `=`.
            raise BadSetting(f"{path.name} line {number_}: it is not NAME=value; write that, or # before a comment")
        found[name.strip()] = value.strip().strip("\"'")
    return found


def running(data_dir: Path) -> dict[str, Any]:
    """Find the engine that `manage.py up` started, so that other commands reach it; empty when none is running."""
    try:
        found: dict[str, Any] = json.loads((data_dir / "run.json").read_text())
        return found if is_alive(found["pid"]) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def is_alive(pid: int) -> bool:
    """Tell whether a process exists, another user's included."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
