"""The API's description, and the pages that show it."""

from typing import Any

from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response


class RestAsJson:
    """Writes OPTIONS and refusals as JSON: the renderers of these views know the description or a template alone."""

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Choose the renderer."""
        final = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if isinstance(final, Response) and (request.method == "OPTIONS" or final.status_code >= 400):
            final.accepted_renderer, final.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return final


class Schema(RestAsJson, SpectacularAPIView):
    """Serves the description."""


class Swagger(RestAsJson, SpectacularSwaggerView):
    """Shows it, and can try it."""


class Redoc(RestAsJson, SpectacularRedocView):
    """Shows it to readers."""
