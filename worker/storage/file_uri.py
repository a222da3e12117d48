"""File URIs, read strictly: each percent-escape is decoded once, and never into something that moves."""

from urllib.parse import quote, unquote_to_bytes


def uri_of(path: str) -> str:
    """Return the URI of an absolute path."""
    return "file://" + quote(path, safe="/")


def path_of(uri: str) -> str:
    """Return the absolute path that a URI means; ``..`` is left as it is, for the caller to refuse.

    Raises:
        ValueError: it is no file URI of this machine, or a segment decodes to a slash, a NUL or broken UTF-8.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() != "file":
        raise ValueError(f"not a file URI: {uri!r}")
    if rest.startswith("//"):
        host, _, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise ValueError(f"{uri!r} names the machine {host!r}; a path has three slashes, file:///path")
        rest = "/" + rest
    if not rest.startswith("/") or "?" in rest or "#" in rest:
        raise ValueError(f"not the URI of a file: {uri!r}")
    return "/".join(_decoded(segment) for segment in rest.split("/"))


def _decoded(segment: str) -> str:
    name = unquote_to_bytes(segment).decode()
    if "/" in name or "\0" in name:
        raise ValueError(f"{segment!r} hides a slash or a NUL")
    return name
