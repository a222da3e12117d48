"""Which keys there are: the same in every bucket, so that what one store can hold the other can hold too."""

#: In the bucket's directory, what the directory store keeps for itself. No key begins with it.
RESERVED = ".store"
#: Names of a file system end at 255 bytes, keys of S3 at 1,024; the rest is left to the prefix of the bucket's URL.
MAX_SEGMENT_BYTES = 255
MAX_KEY_BYTES = 896
MAX_PREFIX_BYTES = 128


def check(key: str) -> str:
    """Return the key where it is legal: relative, no empty segment, no ``.`` or ``..``, no NUL, not too long.

    One slash at the end is legal too and names all that is below, never an object.

    Raises:
        ValueError: it is not, with the reason.
    """
    fault = _fault(key)
    if fault:
        raise ValueError(f"not a key, {fault}: {key[:200]!r}")
    return key


def check_object(key: str) -> str:
    """Return the key where it is legal and may be an object's. Raises ValueError, as `check` does."""
    if is_prefix(key):
        raise ValueError(f"not an object's key, it ends with a slash: {key[:200]!r}")
    return check(key)


def check_listed(prefix: str) -> str:
    """Return what a listing may be asked for: anything that a legal key begins with. Raises ValueError."""
    above, slash, _ = prefix.rpartition("/")
    if slash:
        check_object(above)
    if "\0" in prefix:
        raise ValueError(f"not the beginning of a key: {prefix[:200]!r}")
    return prefix


def check_range(byte_range: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return a range (first, end), end excluded, where it is one. Raises ValueError."""
    if byte_range is not None and not 0 <= byte_range[0] <= byte_range[1]:
        raise ValueError(f"not a range of bytes: {byte_range}")
    return byte_range


def check_conditions(if_none_match: bool, if_match: str | None) -> None:
    """Raise ValueError where a put is asked for under two conditions that exclude each other."""
    if if_none_match and if_match is not None:
        raise ValueError("if_none_match and if_match exclude each other")


def is_prefix(key: str) -> bool:
    """Return whether a key names all that is below it and no object."""
    return key.endswith("/")


def legal_object(key: str) -> bool:
    """Return whether this may be an object's key."""
    return not is_prefix(key) and _fault(key) is None


def _fault(key: str) -> str | None:
    segments = key.removesuffix("/").split("/")
    try:
        lengths = [len(segment.encode()) for segment in segments]
    except UnicodeEncodeError:
        return "it is not Unicode text"
    if "" in segments:
        return "it is absolute or has an empty segment"
    if "." in segments or ".." in segments:
        return "it has a segment that means a directory"
    if "\0" in key:
        return "it has a NUL"
    if segments[0] == RESERVED:
        return f"{RESERVED} is the store's own"
    if max(lengths) > MAX_SEGMENT_BYTES or sum(lengths) + len(lengths) > MAX_KEY_BYTES:
        return "it is too long"
    return None
