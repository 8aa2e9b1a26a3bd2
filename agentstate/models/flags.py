"""The rollout flags and the history of their changes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

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

    from django.contrib.auth.models import AnonymousUser, User

SET_ACTOR = "SELECT set_config('agentstate.actor', %s, true)"


class FlagQuerySet(models.QuerySet["Flag"]):
    """Changes of many flags at once, which are told and forgotten as those of one are."""

    def update(self, **kwargs: Any) -> int:
        using = router.db_for_write(self.model)
        with changing(using, every_name(using)):
            return super().update(**kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        using = router.db_for_write(self.model)
        with changing(using, every_name(using)):
            return super().delete()

    delete.queryset_only = True  # type: ignore[attr-defined]


class Flag(AbstractUserFlag):
    """waffle's flag with the project as the unit of rollout: percent up to 100, named projects, superusers off.

    A trigger keeps every change of the rows, whoever makes it (see :class:`FlagChange`).
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

    # Of a row that get_from_db read: the ids of its users and groups.
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
        """Return the flag from the process's own short-lived cache; without a primary key where it has no row.

        A transaction that may see flags which nobody else sees has them from the database, and leaves the cache alone.
        """
        if not sees_flags_of_its_own(router.db_for_read(cls), cls._cache_key(name)):
            return super().get(name)
        try:
            return cls.get_from_db(name)
        except cls.DoesNotExist:
            return cls(name=name)

    @classmethod
    def get_from_db(cls, name: str) -> Self:
        """Return the flag with the ids of its users and groups, in one query."""
        users = cls.users.through._default_manager.filter(flag=OuterRef("pk"))
        groups = cls.groups.through._default_manager.filter(flag=OuterRef("pk"))
        return cls._base_manager.annotate(
            user_ids=ArraySubquery(users.values("user_id")), group_ids=ArraySubquery(groups.values("group_id"))
        ).get(name=name)

    def save(self, *args: Any, **kwargs: Any) -> None:
        with changing(kwargs.get("using") or router.db_for_write(Flag, instance=self), [self.name]):
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with changing(kwargs.get("using") or router.db_for_write(Flag, instance=self), [self.name]):
            return super().delete(*args, **kwargs)

    def names_some_user(self) -> bool:
        """Tell whether this flag is on for anybody at all: a kind of users, a group or a person."""
        return bool(self.authenticated or self.staff or self.superusers or self.user_ids or self.group_ids)

    def names_user(self, user: User | AnonymousUser) -> bool:
        """Tell whether this flag is on for a user: for their kind, for a group of theirs, or for themselves."""
        if not user.is_authenticated:
            return False
        if self.authenticated or (self.staff and user.is_staff) or (self.superusers and user.is_superuser):
            return True
        if user.pk in self.user_ids:
            return True
        if not self.group_ids:
            return False
        prefetch_related_objects([user], "groups")  # once for a user, however many flags ask
        return any(group.pk in self.group_ids for group in user.groups.all())


class FlagChange(models.Model):
    """One change of a flag: what it was, what it became, when, and by whom.

    The database writes these itself. ``before`` and ``after`` are all settings of the flag, its users and groups among
    them by id; ``before`` is null for a row that was made, ``after`` for one that was deleted.
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
        """Return the settings that differ, each with what it was and what it became.

        A row that was made or deleted is held against one with nothing set.
        """
        nothing = {field.name: field.get_default() for field in Flag._meta.concrete_fields}
        nothing |= {"users": [], "groups": []}
        before, after = nothing | (self.before or {}), nothing | (self.after or {})
        pairs = {name: (before.get(name), after.get(name)) for name in sorted(before.keys() | after.keys())}
        return {name: (was, became) for name, (was, became) in pairs.items() if was != became}

    @property
    def summary(self) -> str:
        """Say in one line what happened."""
        what = "made" if self.before is None else "deleted" if self.after is None else ""
        changes = (
            f"{name}: {_in_words(was)} → {_in_words(became)}" for name, (was, became) in self.differences().items()
        )
        return ", ".join(filter(None, (what, *changes)))


def _in_words(setting: Any) -> str:
    if setting is None or setting in ("", []):
        return "nothing"
    if isinstance(setting, bool):
        return "yes" if setting else "no"
    return ", ".join(map(str, setting)) if isinstance(setting, list) else str(setting)


class _Forget:
    """Forget flags that a transaction changed, once it is committed. Django drops this if it is rolled back."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = names

    def __call__(self) -> None:
        for name in self.names:
            Flag(name=name).flush()


@contextmanager
def changing(using: str, names: Iterable[str]) -> Iterator[None]:
    """Change flags in one transaction, which tells the database who does it and makes this process look anew."""
    with read_committed(using):
        tell_actor(using)
        transaction.on_commit(_Forget(names), using)
        yield


def every_name(using: str) -> list[str]:
    return list(Flag._base_manager.using(using).values_list("name", flat=True))


def tell_actor(using: str) -> None:
    """Tell the database who is at work, until the end of the transaction."""
    with connections[using].cursor() as cursor:
        cursor.execute(SET_ACTOR, [actor()])


def sees_flags_of_its_own(using: str, cache_key: str) -> bool:
    """Tell whether this transaction changed flags, or would fill the cache with flags of the past."""
    connection = connections[using]
    if not connection.in_atomic_block:
        return False
    if any(isinstance(entry[1], _Forget) for entry in connection.run_on_commit):
        return True
    return cache_key not in get_cache() and stricter_level(using) is not None


@receiver(m2m_changed, sender=Flag.users.through)
@receiver(m2m_changed, sender=Flag.groups.through)
def members_change(sender: type[models.Model], action: str, using: str, **kwargs: Any) -> None:
    """Tell and forget a change of a flag's users or groups. Django sends this inside the change's transaction."""
    if action.startswith("pre_"):
        tell_actor(using)
        transaction.on_commit(_Forget(every_name(using)), using)
