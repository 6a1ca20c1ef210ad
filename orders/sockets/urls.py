"""Pages that describe the WebSocket API."""

from django.urls import path

from orders.sockets import asyncapi, page

urlpatterns = [
    path("api/asyncapi", asyncapi.described),
    path("api/docs/ws/", page.sockets),
]
