"""Who is there: people with their projects, told by a token or by a reverse proxy that is trusted."""

import hmac
import secrets
import tomllib
from collections.abc import Mapping
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from contracts.envelope import END, Id
from worker.console.settings import ConsoleSettings
from worker.settings import SettingsError

#: Among a person's projects: every one there is.
EVERY = "*"
#: The name of whoever has the one token of the settings.
OPERATOR = "operator"
_GROUP = msgspec.json.Decoder(Id)


class Person(Struct, frozen=True, kw_only=True):
    """Somebody who is there. ``projects`` may hold ``*``; operators see dead letters and replays of all projects."""

    name: str
    projects: tuple[str, ...]
    operator: bool = False

    def may_see(self, project: str | None) -> bool:
        """Return whether what belongs to a project may be shown to this person."""
        return project is not None and (EVERY in self.projects or project in self.projects)


class _Listed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    token_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}" + END)]
    projects: tuple[Annotated[str, Meta(pattern=r"^(\*|[A-Za-z0-9._-]{1,128})" + END)], ...]
    operator: bool = False


class _PeopleFile(Struct, frozen=True, forbid_unknown_fields=True):
    people: tuple[_Listed, ...] = ()


class Access:
    """Tells who is there. Immutable: people and tokens are those of the start."""

    def __init__(self, settings: ConsoleSettings) -> None:
        """Read the files that the settings name. Blocks.

        Raises:
            SettingsError: a file cannot be used, or others could reach the page and nobody could sign in.
        """
        self._settings = settings
        self._networks = settings.networks()
        self._people = {listed.token_sha256: _person(listed) for listed in _listed(settings.people_file)}
        token = _token(settings)
        #: Made here where nobody else could sign in: whoever started the console reads it on the terminal.
        self.made: str | None = None
        if token is None and not self._people and not self._networks:
            if not settings.local:
                raise SettingsError(
                    "CONSOLE_TOKEN_FILE, CONSOLE_PEOPLE_FILE or CONSOLE_TRUSTED_PROXIES must be set where other "
                    "machines can reach the console"
                )
            token = self.made = secrets.token_urlsafe(24)
        if token is not None:
            if self.by_name(OPERATOR):
                raise SettingsError(f"CONSOLE_PEOPLE_FILE: the name {OPERATOR} is that of whoever has CONSOLE_TOKEN")
            self._people[digest_of(token)] = Person(name=OPERATOR, projects=(EVERY,), operator=True)
        self.secret = (settings.secret or token or secrets.token_urlsafe(32)).encode()

    def by_token(self, token: str) -> Person | None:
        """Return whose token this is. Takes the same time whoever it is."""
        given, found = digest_of(token), None
        for known, person in self._people.items():
            if hmac.compare_digest(known, given):
                found = person
        return found

    def by_name(self, name: str) -> Person | None:
        """Return who has this name and a token; a session holds the name alone."""
        return next((person for person in self._people.values() if person.name == name), None)

    def by_proxy(self, peer: str | None, headers: Mapping[str, str]) -> Person | None:
        """Return whom a trusted reverse proxy names; from anywhere else such headers mean nothing."""
        if not self.trusted(peer):
            return None
        name = headers.get(self._settings.user_header, "").strip()
        if not name or len(name) > 200:
            return None
        groups = {group.strip() for group in headers.get(self._settings.groups_header, "").split(",")}
        operators = self._settings.operators_group
        projects = tuple(sorted(group for group in groups - {operators} if _is_project(group)))
        return Person(name=name, projects=projects, operator=operators in groups)

    def trusted(self, peer: str | None) -> bool:
        """Return whether what this peer says of others is believed."""
        try:
            address = ip_address(peer or "")
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def digest_of(token: str) -> str:
    """Return what the file of people has of a token: its SHA-256, in hex."""
    return sha256(token.encode()).hexdigest()


def _is_project(group: str) -> bool:
    try:
        _GROUP.decode(msgspec.json.encode(group))
    except msgspec.ValidationError:
        return False
    return True


def _person(listed: _Listed) -> Person:
    return Person(name=listed.name, projects=listed.projects, operator=listed.operator)


def _token(settings: ConsoleSettings) -> str | None:
    if settings.token_file is None:
        return settings.token
    try:
        token = settings.token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"CONSOLE_TOKEN_FILE: {settings.token_file} cannot be read: {error}") from error
    if len(token) < 16:
        raise SettingsError(f"CONSOLE_TOKEN_FILE: {settings.token_file} must hold a token of at least 16 characters")
    return token


def _listed(path: Path | None) -> tuple[_Listed, ...]:
    if path is None:
        return ()
    try:
        said = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _PeopleFile)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"CONSOLE_PEOPLE_FILE: {path}: {error}") from error
    names = [listed.name for listed in said.people]
    if len(set(names)) != len(names) or len({listed.token_sha256 for listed in said.people}) != len(names):
        raise SettingsError(f"CONSOLE_PEOPLE_FILE: {path}: a name or a token is there twice")
    return said.people
