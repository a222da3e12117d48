"""The console's settings: ``CONSOLE_*`` environment variables, apart from the worker's, since some are secrets.

A worker's settings are handed to the trainers it starts; nothing of these is.
"""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, get_type_hints

import msgspec
from msgspec import Meta, Struct

from worker.settings import SettingsError, values_of

PREFIX = "CONSOLE_"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ConsoleSettings(Struct, frozen=True, kw_only=True):
    """Everything that can be set. Field ``token_file`` is variable ``CONSOLE_TOKEN_FILE``, and so on."""

    #: Where the page is served. Whoever serves it to other machines puts TLS in front of it.
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8081
    #: One token for one operator who sees every project; itself, or in a file.
    token: Annotated[str, Meta(min_length=16)] | None = None
    token_file: Path | None = None
    #: A TOML file with people: name, SHA-256 of the token, projects, operator.
    people_file: Path | None = None
    #: Reverse proxies (addresses or networks, with commas) that are believed when they name who is there.
    trusted_proxies: str = ""
    user_header: str = "X-Forwarded-User"
    #: The header with the person's groups, with commas: each is a project, but the one that makes an operator.
    groups_header: str = "X-Forwarded-Groups"
    operators_group: str = "operators"
    #: What signs sessions and ids. Where it is not set it follows from the token; without one it is made at each start,
    #: and a restart ends sessions and makes open forms useless. Several consoles behind one address share it.
    secret: Annotated[str, Meta(min_length=16)] | None = None
    #: Bytes of one upload: all its files together.
    upload_bytes: Annotated[int, Meta(ge=1)] = 4 << 30
    #: Seconds until somebody who signed in with a token has to do so again.
    session_seconds: Annotated[float, Meta(ge=60, le=31_536_000)] = 43_200.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "ConsoleSettings":
        """Read the settings. Raises SettingsError naming every variable that cannot be used."""
        given = os.environ if environment is None else environment
        variables = {field: PREFIX + field.upper() for field in cls.__struct_fields__}
        settings = cls(**values_of(given, variables, get_type_hints(cls, include_extras=True)))
        settings.networks()
        return settings

    def networks(self) -> tuple[Network, ...]:
        """Return the networks that reverse proxies are believed from. Raises SettingsError."""
        try:
            return tuple(ipaddress.ip_network(part.strip()) for part in self.trusted_proxies.split(",") if part.strip())
        except ValueError as error:
            raise SettingsError(
                f"CONSOLE_TRUSTED_PROXIES must be addresses or networks with commas: {error}"
            ) from error

    @property
    def local(self) -> bool:
        """Return whether only this machine can reach the page."""
        return self.host in _LOOPBACK

    def __repr__(self) -> str:
        secrets = {"token", "secret"}
        shown = {name: value for name, value in msgspec.structs.asdict(self).items() if name not in secrets}
        return f"ConsoleSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
