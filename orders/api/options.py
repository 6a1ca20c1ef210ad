"""What an address answers to OPTIONS."""

from typing import Any

from rest_framework.metadata import BaseMetadata


class Methods(BaseMetadata):
    """Names the methods, as `Allow` does; what they mean is in the description, not in our docstrings."""

    # DRF reads this while it makes the view's own class, which can thus not be imported here.
    def determine_metadata(self, request: Any, view: Any) -> dict[str, Any]:
        """Describe an address."""
        return {"methods": view.allowed_methods, "description": "/api/docs/"}
