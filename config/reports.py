"""What Django's debug page (ENGINE_DEBUG) keeps to itself."""

import re

from django.views.debug import SafeExceptionReporterFilter


class Filter(SafeExceptionReporterFilter):
    """Also hides the stores' addresses, which hold passwords, and what is made of them."""

    hidden_settings = re.compile(rf"{SafeExceptionReporterFilter.hidden_settings.pattern}|URL|ENDPOINT|ADDRESS", re.I)
