"""Who may do what in the admin: every page, button and action there is, for every group, as the table has it."""

from functools import cache

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, RequestFactory
from django.urls import NoReverseMatch, reverse

from orders.operations import groups
from routing.sandbox import stage
from routing.store import StoreError

pytestmark = pytest.mark.django_db

VIEWER, OPERATOR, OWNER, NOBODY = "viewer", "operator", "owner", "nobody"
RANKS = (VIEWER, OPERATOR, OWNER)
SHOWN = {"view": VIEWER, "add": NOBODY, "change": NOBODY, "delete": NOBODY}
HIDDEN = {"view": OWNER, "add": OWNER, "change": OWNER, "delete": OWNER}

TABLE = {
    "orders.order": {**SHOWN, "action cancel_selected": OPERATOR, "button cancel": OPERATOR, "button oldest": VIEWER},
    "orders.attempt": SHOWN,
    "orders.deadletter": {**SHOWN, "action replay_selected": OPERATOR, "button replay": OPERATOR},
    "orders.setaside": SHOWN,
    "orders.archivedorder": SHOWN,
    "orders.pause": {**SHOWN, "add": OPERATOR, "action resume_selected": OPERATOR, "button resume": OPERATOR},
    "orders.incidentnote": {**SHOWN, "add": OPERATOR, "action end_selected": OPERATOR},
    "orders.guard": {**SHOWN, "change": OWNER, "button default": OWNER},
    "orders.tradinglimit": {**SHOWN, "add": OWNER, "action remove_selected": OWNER},
    "orders.webhook": {
        **{"view": OPERATOR, "add": NOBODY, "change": NOBODY, "delete": NOBODY},
        **{f"action {act}_selected": OPERATOR for act in ("stop", "enable", "replay")},
    },
    "orders.apikey": {
        **{"view": OWNER, "add": OWNER, "change": NOBODY, "delete": NOBODY},
        **{"action rotate_selected": OWNER, "action revoke_selected": OWNER},
    },
    "routing.token": {
        **SHOWN,
        **{"add": OWNER, "change": OWNER, "delete": OWNER, "button launch": OWNER},
        **{"action trade": OWNER, "action read_liquidity": OWNER, "action delete_selected": OWNER},
    },
    "routing.pair": {
        **SHOWN,
        **{"add": OWNER, "change": OWNER, "action activate": OWNER, "action deactivate": OWNER},
    },
    "routing.ledgerentry": SHOWN,
    "orders.act": SHOWN,
    "django_celery_beat.periodictask": {**SHOWN, "change": OWNER},
    "auth.user": {**HIDDEN, "button password_change": OWNER, "action delete_selected": OWNER},
    "auth.group": {**HIDDEN, "action delete_selected": OWNER},
    "axes.accessattempt": {**SHOWN, "view": OWNER, "action unlock": OWNER},
}
"""For each door of a model the least group that it opens to; `nobody` includes superusers."""
SITE = {
    **dict.fromkeys(("index", "password_change", "password_change_done", "search"), "staff"),
    "figures": VIEWER,
    "restart": OWNER,
}
"""The site's own pages."""
OF_MODELS = {"autocomplete", "view_on_site", "app_list"}
"""Django's own pages that show what the permissions of the models allow."""
FOR_ANYBODY = {"login", "logout", "jsi18n"}


@cache
def label(model):
    return f"{model._meta.app_label}.{model._meta.model_name}"


def standard(model):
    start = label(model).replace(".", "_")
    return {f"{start}_{page}" for page in ("changelist", "add", "history", "delete", "change")} | {None}


def buttons(model, page):
    """Return the URLs of a model that Django's own lists and forms do not have, by their short names."""
    named = {pattern.name for pattern in page.get_urls()} - standard(model)
    return {name.removeprefix(label(model).replace(".", "_") + "_"): name for name in named}


def everybody():
    """Return a client for each kind of user, with the rank it has."""
    groups.make()
    people = {"anonymous": Client()}
    for name, more in {
        "customer": {},
        "staff": {"is_staff": True},
        **{name: {"is_staff": True} for name in RANKS},
        "superuser": {"is_staff": True, "is_superuser": True},
    }.items():
        user = User.objects.create(username=name, **more)
        user.groups.set(Group.objects.filter(name=name))
        # Permissions open nothing to who is not staff.
        user.user_permissions.set(Permission.objects.all() if name == "customer" else ())
        people[name] = Client()
        people[name].force_login(user)
    return people


def may(name, least):
    """Tell whether the table opens a door to this user."""
    if name in ("anonymous", "customer") or least == NOBODY:
        return False
    if name == "superuser" or least == "staff":
        return True
    return name in RANKS and RANKS.index(name) >= RANKS.index(least)


def is_let_in(answer):
    """Tell a refusal from everything else, even from what does not exist."""
    return answer.status_code != 403 and "/admin/login/" not in answer.get("Location", "")


def asked(client, door, model, page):
    """Knock at a door of a model, at a row that is not there: whether one may is decided before that is found out."""
    start = f"admin:{label(model).replace('.', '_')}"
    if door == "view":
        return is_let_in(client.get(reverse(f"{start}_changelist")))
    if door == "add":
        return is_let_in(client.post(reverse(f"{start}_add")))
    if door in ("change", "delete"):
        return is_let_in(client.post(reverse(f"{start}_{door}", args=["0"])))
    kind, name = door.split()
    if kind == "button":
        return is_let_in(client.post(address(f"admin:{buttons(model, page)[name]}")))
    return offers(client, name, page)


def address(name):
    try:
        return reverse(name)
    except NoReverseMatch:
        return reverse(name, args=["0"])


def offers(client, action, page):
    """Tell whether a list accepts an action; what it does not offer, it does not run."""
    request = RequestFactory().get("/")
    request.user = User.objects.filter(pk=client.session.get("_auth_user_id")).first()
    return bool(request.user and request.user.is_staff and action in page.get_actions(request))


@pytest.fixture
def no_launch(monkeypatch):
    def launch():
        raise StoreError("not in this test")

    monkeypatch.setattr(stage, "launch", launch)


def test_the_table_names_every_model_page_button_and_action():
    found = {
        label(model): {
            *("view", "add", "change", "delete"),
            *(f"button {name}" for name in buttons(model, page)),
            *(f"action {name}" for _, name, _ in page._get_base_actions() if name in page.actions or deletes(page)),
        }
        for model, page in admin.site._registry.items()
    }
    assert {name: set(doors) for name, doors in TABLE.items()} == found


def deletes(page):
    """Tell whether a superuser may delete rows, and so is offered the action for it."""
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    return page.has_delete_permission(request)


def test_the_table_names_every_page_of_the_site():
    models = {name for model, page in admin.site._registry.items() for name in named(page)}
    assert {pattern.name for pattern in admin.site.get_urls() if hasattr(pattern, "name")} - models - {None} == (
        SITE.keys() | OF_MODELS | FOR_ANYBODY
    )


def named(page):
    return {pattern.name for pattern in page.get_urls()}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.usefixtures("no_launch", "fresh_catalogue")
def test_each_door_of_a_model_opens_to_those_whom_the_table_names_alone(name):
    model, page = next((model, page) for model, page in admin.site._registry.items() if label(model) == name)
    people = everybody()
    opened = {(door, who): asked(client, door, model, page) for door in TABLE[name] for who, client in people.items()}
    assert opened == {(door, who): may(who, least) for door, least in TABLE[name].items() for who in people}


def test_each_page_of_the_site_opens_to_those_whom_the_table_names_alone(bench):
    people = everybody()
    opened = {
        (page, who): is_let_in(client.get(reverse(f"admin:{page}"))) for page in SITE for who, client in people.items()
    }
    assert opened == {(page, who): may(who, least) for page, least in SITE.items() for who in people}


def test_an_action_that_is_not_offered_is_not_run():
    people = everybody()
    victim = User.objects.get(username="staff")
    for who in ("viewer", "operator"):
        act = {"action": "delete_selected", "_selected_action": victim.pk, "post": "yes"}
        assert people[who].post(reverse("admin:auth_user_changelist"), act).status_code == 403
    assert User.objects.filter(pk=victim.pk).exists()


def test_a_group_that_was_changed_is_as_the_table_has_it_again_and_others_stay():
    groups.make()
    viewer, own = Group.objects.get(name=VIEWER), Group.objects.create(name="auditors")
    everything = Permission.objects.all()
    viewer.permissions.set(everything)
    own.permissions.set(everything)
    groups.make()
    assert viewer.permissions.count() == len(groups.VIEWER)
    assert own.permissions.count() == everything.count()


def test_a_permission_that_does_not_exist_is_not_passed_over():
    with pytest.raises(LookupError):
        groups.permissions(frozenset({"orders.view_nothing"}))
