"""The API's description, and the pages that show it."""

from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.http import conditional_page
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from orders.api.open_views import Open


class RestAsJson:
    """Writes OPTIONS and refusals as JSON: the renderers of these views know the description or a template alone."""

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Choose the renderer."""
        final = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if isinstance(final, Response) and (request.method == "OPTIONS" or final.status_code >= 400):
            final.accepted_renderer, final.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return final


@cache
def written(form: Any) -> bytes:
    """Write the description as a renderer does, once: it takes a tenth of a second, and depends on no request."""
    described = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    text: bytes = form().render(described, form.media_type, {})
    return text


class Schema(RestAsJson, Open):
    """Serves the description; a client that keeps it is told whether it has changed."""

    renderer_classes = SpectacularAPIView.renderer_classes

    @extend_schema(exclude=True)
    @method_decorator(conditional_page)
    def get(self, request: Request) -> HttpResponse:
        """Serve it as Accept has it."""
        form: Any = type(request.accepted_renderer)
        name = f"{settings.SPECTACULAR_SETTINGS['TITLE']}.{form.format}"
        return HttpResponse(
            written(form),
            content_type=f"{form.media_type}; charset={form.charset}" if form.charset else form.media_type,
            headers={"Content-Disposition": f'inline; filename="{name}"', "Cache-Control": "no-cache"},
        )


class Swagger(RestAsJson, Open, SpectacularSwaggerSplitView):
    """Shows it, and can try it."""


class Redoc(RestAsJson, Open, SpectacularRedocView):
    """Shows it to readers."""
