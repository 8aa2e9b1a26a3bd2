"""The rollout flags and the history of their changes."""

from __future__ import annotations

import pickle
import time
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import connections, models, router, transaction
from django.db.models import OuterRef, Q
from django.db.models.query import prefetch_related_objects
from django.db.models.signals import m2m_changed
from django.dispatch import receiver
from waffle.managers import FlagManager
from waffle.models import AbstractUserFlag
from waffle.utils import get_cache

from agentstate.actors import actor
from agentstate.isolation import read_committed, stricter_level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from django.contrib.auth.models import AnonymousUser, User

# A flag that took longer to read is used once and not cached: the cache would keep it for its time-out from then on,
# and a toggle since the read would not reach this process in time.
FRESH_SECONDS = 0.5

SET_ACTOR = "SELECT set_config('agentstate.actor', %s, true)"


class FlagQuerySet(models.QuerySet["Flag"]):
    """Bulk update and delete, which record the actor and invalidate the cache as save() and delete() do."""

    def update(self, **kwargs: Any) -> int:
        with self._changing():
            return super().update(**kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        with self._changing():
            return super().delete()

    def _changing(self) -> AbstractContextManager[None]:
        self._for_write = True  # for self.db, as Django's own update() and delete() have it
        return changing(self.db, every_name(self.db))

    delete.queryset_only = True  # type: ignore[attr-defined]


class Flag(AbstractUserFlag):
    """waffle's flag with the project as the unit of rollout: percent up to 100, named projects, superusers off.

    A trigger records every change of the rows by any client (see :class:`FlagChange`).
    """

    percent = models.DecimalField(
        max_digits=4,
        decimal_places=1,
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text="The share of projects, 0 to 100, for which this flag is on.",
    )
    superusers = models.BooleanField(default=False, help_text="Flag always active for superusers?")
    # Ids without a foreign key: naming a project here must never block its deletion.
    project_ids = ArrayField(
        models.TextField(), default=list, blank=True, help_text="Ids of projects for which this flag is on."
    )

    objects: ClassVar[FlagManager] = FlagManager.from_queryset(FlagQuerySet)()

    # Set by get_from_db(): the ids of the flag's users and groups.
    user_ids: Sequence[Any] = ()
    group_ids: Sequence[Any] = ()

    class Meta(AbstractUserFlag.Meta):
        abstract = False
        db_table = "AgentStateFlag"
        constraints = [
            models.CheckConstraint(
                condition=Q(percent=None) | Q(percent__gte=0, percent__lte=100), name="AgentStateFlag_percent_check"
            ),
        ]

    @classmethod
    def get(cls, name: str) -> Self:
        """Return the flag from the process's own short-lived cache; without a primary key if it has no row.

        The object is shared by all callers, so do not change it. A transaction with its own view of the flags reads
        them from the database and does not touch the cache.
        """
        key = _cache_key(name)
        if has_own_view(router.db_for_read(cls), key):
            return cls._read(name)
        flags = get_cache()
        pickled = flags.get(key)
        if pickled is None:
            began = time.monotonic()
            pickled = pickle.dumps(cls._read(name))
            if time.monotonic() - began < FRESH_SECONDS:
                flags.add(key, pickled)
        return cast("Self", _unpickled(pickled))

    @classmethod
    def _read(cls, name: str) -> Self:
        try:
            return cls.get_from_db(name)
        except cls.DoesNotExist:
            return cls(name=name)

    @classmethod
    def get_from_db(cls, name: str) -> Self:
        """Return the flag with the ids of its users and groups, in one query."""
        using = router.db_for_read(cls)
        for flag in cls._base_manager.using(using).raw(cls._query(using), [name]):
            return flag
        raise cls.DoesNotExist(f"There is no flag {name!r}.")

    @classmethod
    @cache
    def _query(cls, using: str) -> str:
        """Return the SQL that reads a flag by name. Putting it together takes longer than running it."""
        users = cls.users.through._default_manager.filter(flag=OuterRef("pk"))
        groups = cls.groups.through._default_manager.filter(flag=OuterRef("pk"))
        # Django names this field after the host's user model.
        user_id = f"{cls.users.field.m2m_reverse_field_name()}_id"
        ids = {"user_ids": ArraySubquery(users.values(user_id)), "group_ids": ArraySubquery(groups.values("group_id"))}
        flags = cls._base_manager.filter(name="a name").annotate(**ids)
        sql, _ = flags.query.get_compiler(using).as_sql()
        return str(sql)

    def save(self, *args: Any, **kwargs: Any) -> None:
        with changing(kwargs.get("using") or router.db_for_write(Flag, instance=self), [self.name]):
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with changing(kwargs.get("using") or router.db_for_write(Flag, instance=self), [self.name]):
            return super().delete(*args, **kwargs)

    def targets_users(self) -> bool:
        """Return whether this flag is on for any users: a kind of users, a group or single users."""
        return bool(self.authenticated or self.staff or self.superusers or self.user_ids or self.group_ids)

    def targets(self, user: User | AnonymousUser) -> bool:
        """Return whether this flag is on for a user: for their kind, for one of their groups, or for the user."""
        if not user.is_authenticated:
            return False
        if self.authenticated or (self.staff and user.is_staff) or (self.superusers and user.is_superuser):
            return True
        if user.pk in self.user_ids:
            return True
        if not self.group_ids:
            return False
        prefetch_related_objects([user], "groups")  # one query per user, for all flags
        return any(group.pk in self.group_ids for group in user.groups.all())


@cache
def _cache_key(name: str) -> str:
    return str(Flag._cache_key(name))  # an MD5 sum


@lru_cache(maxsize=64)
def _unpickled(flag: bytes) -> Flag:
    """Return what was pickled. Unpickling a model takes longer than all else that a gate does, hence the cache."""
    return cast("Flag", pickle.loads(flag))  # noqa: S301 - from the cache, which pickles its values itself


class FlagChange(models.Model):
    """A change of a flag: its settings before and after, when, and by whom.

    A trigger writes these rows. ``before`` and ``after`` have all settings of the flag, with its users and groups by
    id. ``before`` is null for an insert, ``after`` for a delete.
    """

    flag = models.TextField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    changed_at = models.DateTimeField()
    changed_by = models.TextField()

    class Meta:
        db_table = "AgentStateFlagChange"

    def __str__(self) -> str:
        return f"{self.flag} at {self.changed_at:%Y-%m-%d %H:%M:%S}"

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Return the settings that differ, each with its values before and after.

        An inserted or deleted row is compared with one that has the defaults.
        """
        defaults = {field.name: field.get_default() for field in Flag._meta.concrete_fields}
        defaults |= {"users": [], "groups": []}
        # The table may hold settings that others wrote, of any shape.
        before, after = (
            defaults | (settings if isinstance(settings, dict) else {}) for settings in (self.before, self.after)
        )
        pairs = {name: (before.get(name), after.get(name)) for name in sorted(before.keys() | after.keys())}
        return {name: (old, new) for name, (old, new) in pairs.items() if old != new}

    @property
    def summary(self) -> str:
        """Describe the change in one line."""
        what = "made" if self.before is None else "deleted" if self.after is None else ""
        changes = (f"{name}: {_in_words(old)} → {_in_words(new)}" for name, (old, new) in self.differences().items())
        return ", ".join(filter(None, (what, *changes)))


def _in_words(setting: Any) -> str:
    if setting is None or setting in ("", []):
        return "unset"
    if isinstance(setting, bool):
        return "yes" if setting else "no"
    return ", ".join(map(str, setting)) if isinstance(setting, list) else str(setting)


class _Invalidate:
    """Remove flags from the cache once the transaction that changed them is committed.

    Django drops this if the transaction is rolled back.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = names

    def __call__(self) -> None:
        for name in self.names:
            Flag(name=name).flush()


@contextmanager
def changing(using: str, names: Iterable[str]) -> Iterator[None]:
    """Change flags in one transaction that names the actor to the trigger, and invalidate the cache at its commit."""
    with read_committed(using):
        set_actor(using)
        transaction.on_commit(_Invalidate(names), using)
        yield


def every_name(using: str) -> list[str]:
    return list(Flag._base_manager.using(using).values_list("name", flat=True))


def set_actor(using: str) -> None:
    """Name the actor to the trigger that records changes, until the end of the transaction."""
    with connections[using].cursor() as cursor:
        cursor.execute(SET_ACTOR, [actor()])


def has_own_view(using: str, cache_key: str) -> bool:
    """Return whether this transaction changed flags, or would fill the cache from an old snapshot."""
    connection = connections[using]
    if not connection.in_atomic_block:
        return False
    if any(isinstance(entry[1], _Invalidate) for entry in connection.run_on_commit):
        return True
    return cache_key not in get_cache() and stricter_level(using) is not None


@receiver(m2m_changed, sender=Flag.users.through)
@receiver(m2m_changed, sender=Flag.groups.through)
def members_change(sender: type[models.Model], action: str, using: str, **kwargs: Any) -> None:
    """Record the actor of a change of a flag's users or groups, and invalidate the cache.

    Django sends this signal inside the change's transaction.
    """
    if action.startswith("pre_"):
        set_actor(using)
        transaction.on_commit(_Invalidate(every_name(using)), using)
