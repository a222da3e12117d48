"""Why a job failed, and whose matter that is. What follows from each reason is in handlers/failures.py."""

import errno

from contracts.training import Failure
from handlers.errors import PreconditionFailed, Unavailable
from handlers.failures import FAILURES, Again
from worker.tokens.samples import UnreadableSample
from worker.tokens.template import ChatTemplateError

#: What torch, its allocators and its libraries say in a RuntimeError. Torch is not imported for it. The first that fits
#: holds: NCCL reports an uncorrectable error of a GPU too.
_WORDS = (
    ("out-of-memory", ("out of memory", "can't allocate memory", "not enough memory", "cublas_status_alloc_failed")),
    (
        "gpu-fault",
        ("uncorrectable", "ecc error", "fallen off the bus", "unspecified launch failure", "hardware error",
         "no cuda-capable device", "devices unavailable", "device(s) is/are busy"),
    ),
    ("communication-failed", ("nccl", "gloo", "connection closed by peer", "connection reset by peer")),
    ("disk-full", ("no space left on device", "disk quota exceeded")),
)  # fmt: skip
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: Characters of an exception's text that travel in an event.
_LONGEST_TEXT = 2000


class JobError(Exception):
    """Ends a job badly, for a known reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def users_fault(reason: str, message: str) -> JobError:
    """Return an error that only the user can mend: no other attempt would end differently."""
    return JobError(Failure(reason, "user", message, retryable=False))


def platforms_fault(reason: str, message: str, *, retryable: bool = True) -> JobError:
    """Return an error of ours."""
    return JobError(Failure(reason, "platform", message, retryable))


def failure_of(error: BaseException) -> Failure:
    """Return what to say of an exception that ended a job. Pure."""
    text = (str(error) or type(error).__name__)[:_LONGEST_TEXT]
    match error:
        case JobError():
            return error.failure
        case ChatTemplateError():
            return Failure("template-refuses-sample", "user", text, retryable=False)
        case UnreadableSample():
            return Failure("unreadable-sample", "user", text, retryable=False)
        case PreconditionFailed():
            return Failure(
                "dataset-changed", "user", f"a dataset has changed since validation: {text}", retryable=False
            )
        case Unavailable():
            return Failure("bucket-unavailable", "platform", f"the bucket does not answer: {text}")
        case MemoryError():
            return _known("out-of-memory", text)
        case OSError() if error.errno in _DISK_FULL:
            return _known("disk-full", text)
    reason = _by_its_words(error, text.lower())
    return _known(reason, text) if reason else _known("trainer-error", f"{type(error).__name__}: {text}")


def _by_its_words(error: BaseException, text: str) -> str | None:
    # safetensors' errors are no RuntimeError.
    if not isinstance(error, RuntimeError | OSError) and type(error).__name__ != "SafetensorError":
        return None
    return next((reason for reason, words in _WORDS if any(each in text for each in words)), None)


def _known(reason: str, message: str) -> Failure:
    known = FAILURES[reason]
    return Failure(reason, known.party, message, known.again is not Again.NEVER)
