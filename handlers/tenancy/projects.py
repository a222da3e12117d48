"""What is configured about projects. Configuration, not state: it may be another one after a restart."""

from collections.abc import Mapping
from datetime import timedelta

from msgspec import Struct

from handlers.tenancy.limits import Limits

#: Stands for the project's own id in a prefix.
PROJECT = "{project}"


class ProjectRules(Struct, frozen=True, kw_only=True):
    """What holds for a project. ``read`` are prefixes in the bucket, each with its final slash; "" is all of it.

    Without ``model_retention_days`` its models are kept for good.
    """

    read: tuple[str, ...] | None = None
    model_retention_days: float | None = None
    limits: Limits = Limits()


class Projects:
    """What holds for each project: its own rules, and where they say nothing those of every project."""

    def __init__(
        self,
        every: ProjectRules | None = None,
        named: Mapping[str, ProjectRules] | None = None,
        platform: Limits | None = None,
    ) -> None:
        """``platform`` is what all projects together may use.

        Without arguments nothing is configured: every project may read all of this platform's bucket, and use anything.
        """
        #: What all projects together may use.
        self.platform = platform or Limits()
        self._every = every or ProjectRules()
        self._named = dict(named or {})
        #: Whether there is an allow-list. Then who is not on it reads nothing.
        all_rules = (self._every, *self._named.values())
        self.restricts_reading = any(rules.read is not None for rules in all_rules)
        #: Whether any model ever expires. Where none does, nothing is asked of the bucket because of it.
        self.expires_models = any(rules.model_retention_days is not None for rules in all_rules)

        every_limit = (self.platform, *(rules.limits for rules in all_rules))
        #: Whether there are quotas at all. Where not, nothing is asked of the bucket because of any.
        self.limited = any(limits.are_set for limits in every_limit)

    def limits(self, project: str) -> Limits:
        """Return what a project may use. Pure."""
        return self._named.get(project, self._every).limits.over(self._every.limits)

    def model_retention(self, project: str) -> timedelta | None:
        """Return how long a project's models are kept, None for good. Pure."""
        own = self._named.get(project, self._every).model_retention_days
        days = self._every.model_retention_days if own is None else own
        return None if days is None else timedelta(days=days)

    def readable(self, project: str) -> tuple[str, ...]:
        """Return the prefixes that a project's files must be below. Pure."""
        if not self.restricts_reading:
            return ("",)
        own = self._named.get(project, self._every).read
        prefixes = (self._every.read if own is None else own) or ()
        # An id may be ".."; a place named after it would be another place.
        return tuple(each.replace(PROJECT, project) for each in prefixes if PROJECT not in each or project.strip("."))

    def may_read(self, project: str, key: str) -> bool:
        """Return whether a project may read an object. ``key`` is a legal key: no ``..`` in it. Pure."""
        return any(key.startswith(prefix) for prefix in self.readable(project))
