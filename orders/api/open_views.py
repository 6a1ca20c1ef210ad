"""Views that anyone may ask: descriptions, probes, metrics."""

from rest_framework.views import APIView


class Open(APIView):
    """A view that anyone may ask."""

    authentication_classes = permission_classes = ()
