"""The HTTP routes of the engine."""

from django.contrib import admin
from django.urls import include, path

from orders.api.desk import desk, enter, log_in, log_out
from orders.api.metrics import Metrics

urlpatterns = [
    path("", desk, name="desk"),
    path("login/", log_in, name="login"),
    path("logout/", log_out, name="logout"),
    path("enter/<str:ticket>", enter),
    path("admin/", admin.site.urls),
    path("metrics", Metrics.as_view()),
    path("", include("orders.api.urls")),
    path("", include("orders.sockets.urls")),
]
handler400 = "orders.api.errors.bad_request"
handler403 = "orders.api.errors.forbidden"
handler404 = "orders.api.errors.not_found"
handler500 = "orders.api.errors.server_error"
