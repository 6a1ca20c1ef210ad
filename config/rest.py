"""Settings of the REST framework and of the API's description."""

from engine.lifecycle import Status
from engine.orders import OrderType, TimeInForce
from engine.triggers import Kind

SESSION_COOKIE = "engine_session"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["orders.api.access.ByKey", "orders.api.access.BySession"],
    "DEFAULT_PERMISSION_CLASSES": ["orders.api.access.InScope"],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_PARSER_CLASSES": ["orders.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_METADATA_CLASS": "orders.api.options.Methods",
    "DEFAULT_SCHEMA_CLASS": "orders.api.described.Described",
    "EXCEPTION_HANDLER": "orders.api.errors.handle",
    "COERCE_DECIMAL_TO_STRING": True,
    # Accept decides the format; the list of orders alone has `?format=` (orders/api/order_csv.py).
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Solana order execution engine",
    "DESCRIPTION": "Orders routed to the better of Raydium and Meteora, settled, and streamed stage by stage.  "
    "The WebSockets are described at [/api/docs/ws/](/api/docs/ws/), and as AsyncAPI at "
    "[/api/asyncapi](/api/asyncapi).",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": "/", "description": "This engine."}],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: `manage.py apikeys create`."},
            "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE, "description": "Of the desk."},
        }
    },
    "AUTHENTICATION_WHITELIST": [],
    "SECURITY": [{"apiKey": []}, {"session": []}],
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_PATCH": False,
    # An operation names what else it answers with.
    "RENDERER_WHITELIST": ["rest_framework.renderers.JSONRenderer"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "orders.api.components.with_components",
        "drf_spectacular.hooks.postprocess_schema_enums",
    ],
    "ENUM_SUFFIX": "",
    "ENUM_NAME_OVERRIDES": {
        "OrderStatus": [*Status],
        "OrderType": [*OrderType],
        "Readiness": ["ready", "degraded"],
        "TimeInForce": [*TimeInForce],
        "SniperTimeInForce": "orders.api.described.SNIPER_LIVES",
        "ConditionKind": [*Kind],
        "CheckVerdict": ["pass", "refuse"],
        "WebhookState": ["active", "disabled", "stopped", "failed"],
        "ErrorCode": "orders.api.error_codes.CODES",
        "Venue": "routing.venues.VENUES",
        "PricedVenue": "orders.api.market.PRICED",
    },
}
