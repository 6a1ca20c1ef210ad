"""Migrations suit the version before them: it goes on running, and writing, while and after they are applied.

Roles of two versions meet in every rolling deployment, so a migration only expands: it may add what the older version
need not know.  What contracts comes a version later, and is put on the list below with the reason why it is safe by
then.  Nor may a migration hold a table that orders are written to for longer than a moment.
"""

from collections.abc import Iterator

import pytest
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.functions import Now

APPS = ("orders", "routing", "workers")
FIRST = {("orders", "0001_initial"), ("orders", "0002_waiting_orders"), ("routing", "0001_initial")}
"""There was no version before these."""

SCHEDULE = "Rows of beat's schedule, a handful, each made only if it is missing; a worker that lacks the task says so."
CATALOGUE = "Rows of the catalogue, a handful; orders read it from memory and wait for none of them."
EARLY = "Landed before a table was large anywhere; a deployment that is there has it. A new one builds it on no rows."
ALLOWED = {
    ("orders.0004_rare_ends", "AddIndex attempt attempts_expired"): EARLY,
    ("orders.0004_rare_ends", "AddIndex order orders_cancelled"): EARLY,
    ("orders.0004_rare_ends", "AddIndex order orders_expired"): EARLY,
    ("orders.0005_guards", "RunSQL"): (
        "A unique index is made concurrently before the one it replaces is dropped the same way; both hold meanwhile."
    ),
    ("orders.0007_retention", "RunSQL"): (
        "A trigger on inserted rows, made in a moment; lock_timeout ends the wait for it before orders would queue up "
        "behind. It refuses nothing until the first order is archived, and then what would be a second order."
    ),
    ("orders.0010_one_signature_index", "RunSQL"): (
        "The unique index is made concurrently before the one it replaces goes; both hold meanwhile. A constraint is "
        "dropped in a moment, for which lock_timeout does not let orders queue up."
    ),
    ("orders.0011_events_once", "RunSQL"): (
        "A trigger and a storage parameter, each made in a moment, and a few rows of attempts that came to nothing. "
        "The unique index is made concurrently before the one it replaces goes. Without the index of open attempts, "
        "the audit of the version before reads the whole table, until its workers are replaced."
    ),
    (
        "orders.0013_room_for_updates",
        "RunSQL",
    ): "Storage parameters, set in a moment; pages written before stay as they are.",
    ("orders.0014_owners", "RunSQL"): (
        "Each unique index is made concurrently before the one it replaces goes. The trigger's function is replaced in "
        "a moment; the older version places orders of no owner, which it compares as before."
    ),
    ("orders.0017_append_only", "RunSQL"): (
        "Triggers, each made in a moment. They judge what is left, and the version before leaves the same, but for the "
        "archive: until its dead-letter worker is replaced, orders whose time there is over stay, and it says so."
    ),
    (
        "orders.0022_balances",
        "RunSQL",
    ): "A storage parameter of a table that this migration makes, and functions that the version before does not call.",
    ("orders.0026_positions", "RunSQL"): (
        "A storage parameter of a table that this migration makes, and functions that the version before does not call."
    ),
    ("orders.0023_open_orders_reserved", "RunPython"): (
        "A thousand open orders at a time, each batch a transaction of its own. The version before reads none of it; "
        "what it ends meanwhile stays reserved until an operator runs the repair that the migration names."
    ),
    **dict.fromkeys(
        (
            ("orders.0024_stops_by_id", operation)
            for operation in (
                "RunSQL",
                "RemoveConstraint pause paused_once",
                "RemoveConstraint tradinglimit trading_limit_once",
                "AddConstraint pause named_paused_once",
                "AddConstraint pause subject_paused_once",
                "AddConstraint tradinglimit named_limit_once",
                "AddConstraint tradinglimit subject_limit_once",
            )
        ),
        "Tables of a handful of rows that operators write. The version before looks a row up by its name, as ever; "
        "only for a user who was renamed meanwhile does it make a second row, which is refused.",
    ),
    ("workers.0004_sniper_net", "RunPython"): "One row of beat's schedule.",
    ("routing.0006_one_signature_index", "RunSQL"): "An index that nothing uses is dropped concurrently.",
    ("routing.0002_tokens_and_pairs", "RunPython"): CATALOGUE,
    ("routing.0003_ticks_and_token_facts", "AddField pair tick"): (
        f"{CATALOGUE} Pairs are made in the admin alone: until the API is of this version, adding one there fails."
    ),
    ("routing.0003_ticks_and_token_facts", "AddConstraint pair pair_tick_above_zero"): CATALOGUE,
    ("routing.0004_known_ticks_and_facts", "RunPython"): CATALOGUE,
    ("workers.0001_schedule", "RunPython"): SCHEDULE,
    ("workers.0002_waiting_orders", "RunPython"): SCHEDULE,
    ("workers.0003_retention", "RunPython"): SCHEDULE,
}
"""Operations that a person has judged: why each is safe."""

HARMLESS = (
    *(migrations.CreateModel, migrations.AlterModelOptions, migrations.AlterModelManagers),
    *(migrations.AlterModelTableComment, migrations.RemoveIndex, migrations.RenameIndex),
    *(AddIndexConcurrently, RemoveIndexConcurrently, AddConstraintNotValid, ValidateConstraint),
)
"""A new table, nothing at all in the database, or a lock of a moment."""
UNREADABLE = (
    *(migrations.DeleteModel, migrations.RenameModel, migrations.AlterModelTable),
    *(migrations.RemoveField, migrations.RenameField),
)
BY_HAND = (migrations.RunSQL, migrations.RunPython)


def complaint(operation: Operation, app: str, state: ProjectState, new: set[str]) -> str | None:
    """Say what the version before, or a live order, would suffer; `new` are the tables this migration has made."""
    if isinstance(operation, HARMLESS):
        return None
    if isinstance(operation, UNREADABLE):
        return "the version before still reads and writes it: remove it a version later"
    if isinstance(operation, BY_HAND):
        return "no program can judge it: say why it suits the version before and holds no table for long"
    model = getattr(operation, "model_name_lower", "")
    if model in new:
        return None
    if isinstance(operation, migrations.AddIndex):
        return "writing waits until the index is built: use AddIndexConcurrently, in a migration that is not atomic"
    if isinstance(operation, migrations.AddConstraint):
        return "writing waits until every row is read, and what the version before writes may break it"
    if isinstance(operation, migrations.RemoveConstraint):
        return "the version before relies on it"
    if isinstance(operation, migrations.AddField):
        return added(operation.field)
    if isinstance(operation, migrations.AlterField):
        return altered(state.models[app, model], operation)
    return f"{type(operation).__name__} is not known here: judge it, and add it to this test"


def added(field: models.Field) -> str | None:
    """Judge a new column."""
    if isinstance(field, models.ManyToManyField):
        return None
    if not field.null and not field.has_db_default():
        return "the version before does not write it, and would be refused: give it a db_default, or let it be null"
    computed = field.has_db_default() and hasattr(field.db_default, "resolve_expression")
    if computed and not isinstance(field.db_default, Now | models.Value):
        return "the whole table is written anew for a default that is not one value"
    if field.unique or field.db_index:
        return "writing waits until the index is built: add it concurrently, afterwards"
    return None


def altered(before: ModelState, operation: migrations.AlterField) -> str | None:
    """Judge a changed column: it may become wider, and no more."""
    old, new = before.fields[operation.name], operation.field
    if kind(old) != kind(new):
        return f"from {kind(old)} to {kind(new)}: the table is written anew"
    for name in ("max_length", "max_digits"):
        if (getattr(old, name, None) or 0) > (getattr(new, name, None) or float("inf")):
            return f"{name} shrinks: the version before would be refused"
    if old.null and not new.null:
        return "it may not be null any more: the version before would be refused"
    if old.has_db_default() and not new.has_db_default():
        return "its db_default goes: the version before would be refused"
    if (new.unique and not old.unique) or (new.db_index and not old.db_index):
        return "writing waits until the index is built"
    return None


def kind(field: models.Field) -> tuple[str, object]:
    """Name a column's type, but for its width."""
    return field.get_internal_type(), getattr(field, "decimal_places", None)


def name_of(operation: Operation) -> str:
    """Name an operation so that it can be put on the list: what it does, to which table, to what of it."""
    subject = getattr(operation, "model_name", "")
    thing = getattr(operation, "name", "") or getattr(getattr(operation, "constraint", None), "name", "")
    thing = thing or getattr(getattr(operation, "index", None), "name", "")
    return " ".join(part for part in (type(operation).__name__, subject, thing) if part)


def judged(app: str, operations: list[Operation], state: ProjectState) -> Iterator[tuple[str, str]]:
    """Yield the operations that are complained of, each with the complaint."""
    new: set[str] = set()
    for operation in flat(operations):
        if isinstance(operation, migrations.CreateModel):
            new.add(operation.name_lower)
        if why := complaint(operation, app, state, new):
            yield name_of(operation), why
        operation.state_forwards(app, state)


def flat(operations: list[Operation]) -> Iterator[Operation]:
    """Yield what reaches the database, out of operations that only hold others too."""
    for operation in operations:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            yield from flat(operation.database_operations)
        else:
            yield operation


@pytest.fixture(scope="module")
def complaints():
    """What there is to say of the engine's migrations."""
    loader = MigrationLoader(None)
    found = {}
    for app, name in sorted(key for key in loader.disk_migrations if key[0] in APPS and key not in FIRST):
        state = loader.project_state((app, name), at_end=False)
        for operation, why in judged(app, loader.disk_migrations[app, name].operations, state):
            found[f"{app}.{name}", operation] = why
    return found


def test_a_migration_only_adds_what_the_version_before_need_not_know(complaints):
    wrong = [f"{name}: {operation}: {why}" for (name, operation), why in complaints.items()]
    assert not [said for said, key in zip(wrong, complaints, strict=True) if key not in ALLOWED], "\n".join(wrong)


def test_what_is_allowed_is_there_and_has_its_reason(complaints):
    assert ALLOWED.keys() <= complaints.keys()
    assert all(len(reason) > 20 for reason in ALLOWED.values())


# --- the check itself


def before() -> ProjectState:
    """Return the state of one table that is in use."""
    state = ProjectState()
    fields = [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=10)),
        ("note", models.CharField(max_length=10, null=True)),
        ("price", models.DecimalField(max_digits=20, decimal_places=0, db_default=0)),
    ]
    state.add_model(ModelState("orders", "Thing", fields))
    return state


def field(name, made, cls=migrations.AddField):
    return cls("Thing", name, made)


ALTER = migrations.AlterField
INDEX, UNIQUE = models.Index(fields=["name"], name="i"), models.UniqueConstraint(fields=["name"], name="u")


@pytest.mark.parametrize(
    ("operation", "word"),
    [
        (migrations.RemoveField("Thing", "name"), "still reads"),
        (migrations.RenameField("Thing", "name", "title"), "still reads"),
        (migrations.DeleteModel("Thing"), "still reads"),
        (migrations.RenameModel("Thing", "Item"), "still reads"),
        (migrations.RemoveConstraint("Thing", "u"), "relies on it"),
        (migrations.AddIndex("Thing", INDEX), "AddIndexConcurrently"),
        (migrations.AddConstraint("Thing", UNIQUE), "every row"),
        (migrations.RunSQL("SELECT 1"), "no program can judge"),
        (migrations.RunPython(migrations.RunPython.noop), "no program can judge"),
        (migrations.AlterUniqueTogether("Thing", {("name", "note")}), "is not known here"),
        (migrations.SeparateDatabaseAndState([migrations.RemoveField("Thing", "name")]), "still reads"),
        (field("new", models.IntegerField()), "db_default"),
        (field("new", models.IntegerField(default=1)), "db_default"),
        (field("new", models.FloatField(db_default=models.functions.Random())), "written anew"),
        (field("new", models.IntegerField(null=True, db_index=True)), "until the index is built"),
        (field("new", models.ForeignKey("orders.Thing", models.PROTECT, null=True)), "until the index is built"),
        (field("name", models.CharField(max_length=9), ALTER), "max_length shrinks"),
        (field("name", models.IntegerField(), ALTER), "written anew"),
        (field("name", models.CharField(max_length=10, unique=True), ALTER), "until the index is built"),
        (field("note", models.CharField(max_length=10), ALTER), "may not be null"),
        (field("price", models.DecimalField(max_digits=20, decimal_places=0), ALTER), "db_default goes"),
        (field("price", models.DecimalField(max_digits=20, decimal_places=2, db_default=0), ALTER), "written anew"),
        (
            field("price", models.DecimalField(max_digits=19, decimal_places=0, db_default=0), ALTER),
            "max_digits shrinks",
        ),
    ],
    ids=lambda value: name_of(value) if isinstance(value, Operation) else value,
)
def test_what_the_version_before_would_suffer_is_found(operation, word):
    ((_, why),) = judged("orders", [operation], before())
    assert word in why


@pytest.mark.parametrize(
    "operation",
    [
        AddIndexConcurrently("Thing", INDEX),
        AddConstraintNotValid("Thing", models.CheckConstraint(condition=models.Q(price__gt=0), name="c")),
        migrations.CreateModel("Other", [("id", models.BigAutoField(primary_key=True))]),
        field("new", models.IntegerField(null=True)),
        field("new", models.IntegerField(db_default=1)),
        field("new", models.DateTimeField(db_default=Now())),
        field("name", models.CharField(max_length=11, help_text="wider"), ALTER),
        field("name", models.CharField(max_length=10, null=True), ALTER),
        field("price", models.DecimalField(max_digits=40, decimal_places=0, db_default=0), ALTER),
    ],
    ids=name_of,
)
def test_what_the_version_before_need_not_know_passes(operation):
    assert not list(judged("orders", [operation], before()))


def test_a_table_made_by_the_same_migration_may_have_anything():
    made = migrations.CreateModel(
        "Other", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())]
    )
    index = migrations.AddIndex("Other", models.Index(fields=["name"], name="j"))
    assert not list(judged("orders", [made, index], before()))
