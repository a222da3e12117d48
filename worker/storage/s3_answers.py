"""What S3's refusals mean here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from botocore.exceptions import (
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, which is not the built-in one
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)

from handlers.errors import PreconditionFailed, Unavailable

#: No answer, half an answer, or no key to ask with: all pass, and none is the fault of the event in hand.
_NO_ANSWER: tuple[type[Exception], ...] = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
    aiohttp.ClientError,
    TimeoutError,
)
#: Answers with a 4xx status that are about the bucket, the credentials or the load, not about what was asked.
_PASSING_CODES = frozenset(
    {
        "ExpiredToken", "InvalidToken", "NoSuchBucket", "NoSuchUpload", "OperationAborted", "RequestTimeout",
        "SlowDown", "Throttling", "ThrottlingException", "TokenRefreshRequired", "TooManyRequestsException",
        # What a HEAD is answered, whose answer has no body to say more: nothing in our requests is malformed.
        "400",
    }
)  # fmt: skip
_PASSING_STATUSES = frozenset({301, 307, 401, 403, 408, 425, 429})


class RangeBeyondEnd(Exception):
    """The first byte asked for is at or behind the object's end."""


@contextmanager
def translated(what: str, *, conditional: bool = False) -> Iterator[None]:
    """Turn a refusal into what it means.

    Raises:
        FileNotFoundError: there is no such object.
        PreconditionFailed: the object is not what the condition wants; a conditional put lost, which S3 says with
            412, or with 409 where another one was under way, or with 404 where there is nothing to match.
        RangeBeyondEnd: 416.
        Unavailable: the bucket does not answer, does not let us in, or is not there. A right that is missing is
            granted some day; until then no event should be given up for it.
    """
    try:
        yield
    except ClientError as error:
        raise _meaning(error, what, conditional) from error
    except _NO_ANSWER as error:
        raise Unavailable(f"{what}: S3 does not answer: {error}") from error


def _meaning(error: Any, what: str, conditional: bool) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status >= 500 or status in _PASSING_STATUSES or code in _PASSING_CODES or code.startswith("KMS."):
        return Unavailable(f"{what}: S3 answers {status} {code}: {error}")
    if status == 412 or (conditional and status in (404, 409)):
        return PreconditionFailed(f"{what}: S3 answers {status} {code}")
    if status == 404:
        return FileNotFoundError(f"no object {what}")
    if status == 416:
        return RangeBeyondEnd(what)
    if status == 409:
        return Unavailable(f"{what}: S3 answers {status} {code}: {error}")
    refused: Exception = error
    return refused
