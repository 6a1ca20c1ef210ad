"""Django's settings, all derived from the table in config/env.py."""

import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from config import env, help, logs, values
from config.kept import kept_secret
from config.layer import Parser
from config.rest import REST_FRAMEWORK, SESSION_COOKIE, SPECTACULAR_SETTINGS  # noqa: F401 - settings
from config.theme import UNFOLD  # noqa: F401 - a setting

try:
    ENV = env.load()
except values.BadSetting as problem:
    # Every process that imports the settings (command, server or worker) exits with one line and no traceback.
    print(problem, file=sys.stderr)  # noqa: T201
    if not help.asks_help(sys.argv):
        sys.exit(2)
    ENV = help.settings()
BASE_DIR = env.ROOT

ROLE: str = ENV["ENGINE_ROLE"]
DEBUG: bool = ENV["ENGINE_DEBUG"]
SECRET_KEY: str = ENV["ENGINE_SECRET_KEY"] or kept_secret(ENV["ENGINE_DATA_DIR"], "secret-key")
ALLOWED_HOSTS: tuple[str, ...] = ENV["ENGINE_ALLOWED_HOSTS"]
ALLOWED_ORIGINS: tuple[values.Origin, ...] = ENV["ENGINE_ALLOWED_ORIGINS"]
DATA_DIR: Path = ENV["ENGINE_DATA_DIR"]


def KEY_PEPPER() -> str:  # noqa: N802 - a setting; most processes never ask for it
    """Return the secret that digests of API keys are keyed with."""
    return str(ENV["ENGINE_KEY_PEPPER"] or kept_secret(DATA_DIR, "key-pepper"))


INSTALLED_APPS = [
    # Before the admin, whose templates it replaces.
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "routing",
    "orders",
    "workers",
    "config",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.headers.secured",
    "config.cookies.secure_over_tls",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # Answers in place of a login that the throttle refused.
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
# /api/orders/ is not an address of this API; a redirect would lose the body of a POST.
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

POOL_SIZES = {"api": 26, "order": 12, "beat": 0}
"""Postgres connections per process, by role; other roles take 6. Their sum stays below max_connections.

Every API thread that uses the database has its own connection, so none waits for another's: see orders/api/lanes.py and
orders/stores/threads.py.
"""
OWN = {"api": 2}
"""Connections outside the pool, used only to accept orders (orders/flow/batcher.py)."""
POOL_WAIT_S = 2.0
"""How long a thread waits for a connection, which happens only while the server is down."""
POOL_RETRY_S = 1.0
"""How long the pool keeps reconnecting by itself. It would double its delay each time, up to minutes, while the next
thread that needs a connection tries at once."""


PREPARE_AFTER = 3
"""Executions on one connection after which Postgres keeps a statement's plan."""


def database(role: str) -> dict[str, object]:
    """Convert DATABASE_URL to Django's form, with time limits on every statement and a pool where it pays off."""
    parts = urlsplit(ENV["DATABASE_URL"] or "postgresql://postgres@127.0.0.1:5432/engine")
    limits = "-c statement_timeout=5000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=15000"
    size = POOL_SIZES.get(role, 6)
    # A server whose machine is gone sends nothing: without these limits the kernel waits for it for 15 minutes.
    silence = {"tcp_user_timeout": 6000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    options: dict[str, object] = {"connect_timeout": 3, **silence, **dict(parse_qsl(parts.query)), "options": limits}
    # orders/stores/rows.py prepares its statements: planning them anew would cost more than executing them.
    options["prepare_threshold"] = PREPARE_AFTER
    if size:
        options["pool"] = {
            "min_size": 1,
            "max_size": size,
            "timeout": POOL_WAIT_S if role == "api" else 5,
            "reconnect_timeout": POOL_RETRY_S,
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
        # Beat's scheduler opens about four connections a second without this; a pool keeps its own.
        "CONN_MAX_AGE": 0 if size else 300,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }


DATABASES = {"default": database(ROLE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL: str = ENV["REDIS_URL"] or "redis://127.0.0.1:6379/0"
BROKER_URL: str | None = ENV["BROKER_URL"]
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # redis-py 8's own socket timeout of 5 s would end every idle subscription (django/channels_redis#422).
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None, "parser_class": Parser}]},
    },
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
# In an image, static files are collected at build time; elsewhere they are found in place.
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / "admin").is_dir()
WHITENOISE_AUTOREFRESH = False

DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024

SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = SESSION_COOKIE, "engine_csrf"
"""Of our own: cookies know no ports, and another program on this host may use Django's names."""
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
CSRF_FAILURE_VIEW = "orders.api.errors.no_token"
LOGIN_URL = "login"
# The throttle comes first: what it refuses costs no hash.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "config.logins.WithSecondFactor"]
AXES_HANDLER = "config.logins.Throttle"
AXES_CLIENT_IP_CALLABLE = "config.logins.address"
AXES_LOCKOUT_CALLABLE = "config.logins.locked"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
# Who goes on trying must not keep the lock closed for the operator.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# No row for each login ever made; and no user name in logs, which may be a password typed into the wrong field.
AXES_DISABLE_ACCESS_LOG = True
AXES_SENSITIVE_PARAMETERS = ["username", "otp_token"]
AXES_VERBOSE = AXES_ENABLE_ADMIN = False
OTP_TOTP_ISSUER = "Order execution engine"

SECURE_HSTS_SECONDS = 365 * 24 * 3600
"""Sent over TLS only, and for this host alone."""
SILENCED_SYSTEM_CHECKS = [
    # Subdomains are not ours to decide about.
    "security.W005",
    "security.W021",
    # The proxy redirects to TLS; probes and metrics come over plain HTTP from inside.
    "security.W008",
    # config/cookies.py marks cookies where there is TLS, and lets a laptop do without.
    "security.W012",
    "security.W016",
]

# The theme's login form does not name the page to continue to.
LOGIN_REDIRECT_URL = "admin:index"

DEFAULT_EXCEPTION_REPORTER_FILTER = "config.reports.Filter"
LOGGING_CONFIG = None
logs.configure(
    level=ENV["ENGINE_LOG_LEVEL"],
    form=ENV["ENGINE_LOG_FORMAT"],
    role=ROLE,
    traced=ENV["OTEL_EXPORTER_OTLP_ENDPOINT"] is not None,
)

# The settings that the inner packages read by name.
OTEL_EXPORTER_OTLP_ENDPOINT: str | None = ENV["OTEL_EXPORTER_OTLP_ENDPOINT"]
OTEL_TRACES_SAMPLER_ARG: float = ENV["OTEL_TRACES_SAMPLER_ARG"]
ENGINE_SOCKETS_MAX: int = ENV["ENGINE_SOCKETS_MAX"]
ENGINE_KEY_SOCKETS_MAX: int = ENV["ENGINE_KEY_SOCKETS_MAX"]
ENGINE_KEY_FOLLOWS_MAX: int = ENV["ENGINE_KEY_FOLLOWS_MAX"]
ENGINE_WEBHOOKS_MAX: int = ENV["ENGINE_WEBHOOKS_MAX"]
ENGINE_WEBHOOK_GIVE_UP_H: int = ENV["ENGINE_WEBHOOK_GIVE_UP_H"]
ENGINE_WEBHOOK_PRIVATE: bool = ENV["ENGINE_WEBHOOK_PRIVATE"]
ENGINE_BALANCES: bool = ENV["ENGINE_BALANCES"]
MAX_ATTEMPTS: int = ENV["MAX_ATTEMPTS"]
ORDER_MAX_IMPACT_BPS: int = ENV["ORDER_MAX_IMPACT_BPS"]
DISCONNECT_GRACE_S: int = ENV["ENGINE_DISCONNECT_GRACE_S"]
ORDER_LIVE_TTL_S: int = ENV["ORDER_LIVE_TTL_S"]
ORDER_LEASE_MS: int = ENV["ORDER_LEASE_MS"]
ORDER_BACKLOG_MAX: int = ENV["ORDER_BACKLOG_MAX"]
ORDER_DEADLINE_S: int = ENV["ORDER_DEADLINE_S"]
RETENTION_DAYS: int = ENV["RETENTION_DAYS"]
ARCHIVE_DAYS: int = ENV["ARCHIVE_DAYS"]
QUOTE_FRESH_MS: int = ENV["QUOTE_FRESH_MS"]
QUOTE_STALE_MS: int = ENV["QUOTE_STALE_MS"]
VENUE_SHORTFALL_MAX_BPS: int = ENV["VENUE_SHORTFALL_MAX_BPS"]
VENUE_FAILURES_MAX_PCT: int = ENV["VENUE_FAILURES_MAX_PCT"]
VENUE_SLOW_MS: int = ENV["VENUE_SLOW_MS"]
QUOTE_TIMEOUT_MS: int = ENV["QUOTE_TIMEOUT_MS"]
LIMIT_QUOTE_AGE_MS: int = ENV["LIMIT_QUOTE_AGE_MS"]
LIMIT_HOLD_POLLS: int = ENV["LIMIT_HOLD_POLLS"]
LIMIT_VENUES_APART_MAX_BPS: int = ENV["LIMIT_VENUES_APART_MAX_BPS"]
SNIPE_LIQUIDITY_MIN_USD: int = ENV["SNIPE_LIQUIDITY_MIN_USD"]
SNIPE_TOP_HOLDER_MAX_BPS: int = ENV["SNIPE_TOP_HOLDER_MAX_BPS"]
SNIPE_MARKET_AGE_S: int = ENV["SNIPE_MARKET_AGE_S"]
SNIPE_FACTS_AGE_DAYS: int = ENV["SNIPE_FACTS_AGE_DAYS"]
CONFIRM_POLL_MS: int = ENV["CONFIRM_POLL_MS"]
CONFIRM_RESEND_MS: int = ENV["CONFIRM_RESEND_MS"]
MOCK_QUOTE_DELAY_MS: tuple[int, int] = ENV["MOCK_QUOTE_DELAY_MS"]
MOCK_CONFIRM_DELAY_MS: tuple[int, int] = ENV["MOCK_CONFIRM_DELAY_MS"]
MOCK_PRICE_VARIATION_PCT: tuple[int, int] = ENV["MOCK_PRICE_VARIATION_PCT"]
MOCK_DROP_RATE: float = ENV["MOCK_DROP_RATE"]
MOCK_REJECT_RATE: float = ENV["MOCK_REJECT_RATE"]
MOCK_BLOCKHASH_VALID_MS: int = ENV["MOCK_BLOCKHASH_VALID_MS"]
MOCK_VENUES_DOWN: tuple[str, ...] = ENV["MOCK_VENUES_DOWN"]
MOCK_SEED: int = ENV["MOCK_SEED"]
MOCK_LAUNCH_EVERY_S: int = ENV["MOCK_LAUNCH_EVERY_S"]
MOCK_FUNDS: int = ENV["MOCK_FUNDS"]
MOCK_FAULTS: Path | None = ENV["MOCK_FAULTS"]
MARKET_REPLAY: Path | None = ENV["MARKET_REPLAY"]
MARKET_REPLAY_SPEED: float = ENV["MARKET_REPLAY_SPEED"]
MARKET_REPLAY_START: float = ENV["MARKET_REPLAY_START"]
