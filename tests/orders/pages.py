"""Admin pages as a reader sees them."""

import html
import re

from django.urls import reverse


def page_of(client, row, **query):
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return text(client.get(reverse(name, args=[row.pk]), query))


def list_of(client, model, **query):
    return text(client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), query))


def text(answer):
    """Return the page's text without its tags and the names of its icons, blanks collapsed."""
    assert answer.status_code == 200, answer
    body = re.sub("(?s)<(style|script).*?</(style|script)>", "", answer.content.decode())
    body = re.sub('(?s)<span[^>]*class="material-symbols-outlined.*?</span>', "", body)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", body)).split())


def messages_of(answer):
    return [str(message) for message in answer.context["messages"]]
