"""The API's addresses."""

from django.urls import path

from orders.api import (
    all_events,
    balances,
    candles,
    description,
    estimate,
    health,
    named_orders,
    positions,
    tickets,
    views,
    webhooks,
)

urlpatterns = [
    path("api/orders/execute", views.Execute.as_view()),
    path("api/orders/estimate", estimate.Estimate.as_view()),
    path("api/orders/batch", views.Batch.as_view()),
    path("api/orders", views.Orders.as_view()),
    path("api/orders/by-client-id/<str:client_order_id>", named_orders.NamedOrder.as_view()),
    path("api/orders/<str:order_id>", views.OneOrder.as_view()),
    path("api/orders/<str:order_id>/events", views.OrderEvents.as_view()),
    path("api/events", all_events.Events.as_view()),
    path("api/webhooks", webhooks.Webhooks.as_view()),
    path("api/webhooks/<str:webhook_id>", webhooks.OneWebhook.as_view()),
    path("api/webhooks/<str:webhook_id>/rotate", webhooks.Rotate.as_view()),
    path("api/webhooks/<str:webhook_id>/replay", webhooks.Replay.as_view()),
    path("api/balances", balances.Balances.as_view()),
    path("api/positions", positions.Positions.as_view()),
    path("api/tickets", tickets.Tickets.as_view()),
    path("api/quotes/<str:pair>", views.Quotes.as_view()),
    path("api/candles/<str:pair>", candles.Candles.as_view()),
    path("api/pairs", views.Pairs.as_view()),
    path("api/schema", description.Schema.as_view(), name="schema"),
    path("api/schema/", description.Schema.as_view()),
    path("api/docs/", description.Swagger.as_view(url_name="schema"), name="docs"),
    path("api/redoc/", description.Redoc.as_view(url_name="schema")),
    path("healthz", health.Health.as_view()),
    path("readyz", health.Ready.as_view()),
]
