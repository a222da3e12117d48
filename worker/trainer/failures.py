"""Why a job failed, and whose matter that is."""

from contracts.training import Failure
from handlers.errors import PreconditionFailed, Unavailable
from worker.tokens.samples import UnreadableSample
from worker.tokens.template import ChatTemplateError

#: What torch and its allocators say, in a RuntimeError, where there is not enough memory. Torch is not imported for it.
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")

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
            return _out_of_memory(text)
        case RuntimeError() if any(words in text.lower() for words in _MEMORY_WORDS):
            return _out_of_memory(text)
    return Failure("trainer-error", "platform", f"{type(error).__name__}: {text}")


def _out_of_memory(text: str) -> Failure:
    remedy = "there is not enough memory; lower batch_size (and raise gradient_accumulation), or shorten the samples"
    return Failure("out-of-memory", "user", f"{remedy}: {text}", retryable=False)
