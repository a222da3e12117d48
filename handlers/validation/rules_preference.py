"""The rules of the format ``preference``, as a pure function of one decoded object: every fault, not the first.

A conversation as in ``sft`` whose last message has candidates. contracts/datasets/preference.py says the shape that
these rules accept.
"""

from collections.abc import Iterator
from typing import Any

from contracts.datasets.preference import MOST_CANDIDATES
from contracts.spelling import clip
from contracts.strict_json import Path
from handlers.validation.problems import Problem, counted, is_number, missing, unknown_fields, wrong_type
from handlers.validation.rules_messages import (
    COMMON_FIELDS,
    Conversation,
    check_attributes,
    check_frame,
    check_message,
    check_order,
    conversation,
)
from handlers.validation.statistics import Counted
from handlers.validation.texts import required_text

_PAIR = ("chosen", "rejected")
_ANSWER = (*COMMON_FIELDS, *_PAIR)
_CANDIDATE = ("text", "score", "lm_loss_mask")
_SHAPE = 'as in [{"text": "...", "score": 1.0}, {"text": "...", "score": 0.0}]'


def check_preference(sample: dict[str, Any]) -> Iterator[Problem]:
    """Yield every problem of one sample. Never raises on what JSON can hold."""
    yield from check_frame(sample)
    talk = conversation(sample)
    if talk is None:
        return
    last = len(talk.messages) - 1
    places = {index for index, message in enumerate(talk.messages) if has_candidates(message)}
    misplaced = places - {last}
    if not places and talk.roles[last] == "assistant":
        places.add(last)
    # Calls beside candidates are not read, so nothing has to answer them.
    talk = talk._replace(calls=[0 if index in places else calls for index, calls in enumerate(talk.calls)])
    for index in range(len(talk.messages)):
        if index in misplaced:
            yield _misplaced(index, talk.messages[index])
        yield from _check_answer(talk, index) if index in places else check_message(talk, index)
    yield from check_order(talk)


def count_preference(sample: dict[str, Any]) -> Iterator[Counted]:
    """Yield the role of each message of a valid sample, how many candidates it has, and how they are written."""
    for message in sample["messages"]:
        yield "roles", message["role"]
    answer = sample["messages"][-1]
    if _is_pair(answer):
        yield "candidates", "2"
        yield "spellings", "chosen/rejected"
        return
    yield "candidates", str(len(answer["content"]))
    yield "spellings", "text/score"
    if any(candidate.get("lm_loss_mask") is not None for candidate in answer["content"]):
        yield "spellings", "lm_loss_mask"


def has_candidates(message: Any) -> bool:
    """Return whether a message has candidates, in either spelling and however faulty.

    A list of parts with a ``type`` is the multimodal content of other formats.
    """
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    return _is_pair(message) or (
        isinstance(content, list)
        and any(
            isinstance(part, dict) and ("score" in part or ("text" in part and "type" not in part)) for part in content
        )
    )


def _is_pair(message: dict[str, Any]) -> bool:
    return any(message.get(name) is not None for name in _PAIR)


def _misplaced(index: int, message: dict[str, Any]) -> Problem:
    name = next((name for name in _PAIR if message.get(name) is not None), "content")
    hint = "let the sample end with this message, or give it one text"
    return Problem(("messages", index, name), "candidates-not-last", "only the last message may have candidates", hint)


def _check_answer(talk: Conversation, index: int) -> Iterator[Problem]:
    message, path = talk.messages[index], ("messages", index)
    yield from check_attributes(talk, index, _ANSWER)
    content = message.get("content")
    if not _is_pair(message):
        yield from _check_content((*path, "content"), message)
        return
    for name in _PAIR:
        yield from required_text(path, message, name, "empty-content", "write what the model could answer")
    if content is not None and content != "":
        hint = "write scored candidates, or chosen and rejected, not both"
        yield wrong_type((*path, "content"), content, "left out beside chosen and rejected", hint)


def _check_content(path: Path, message: dict[str, Any]) -> Iterator[Problem]:
    content = message.get("content")
    if "content" not in message:
        yield missing(path, f"write the candidates, {_SHAPE}")
        return
    if not isinstance(content, list):
        yield wrong_type(path, content, "a list of candidates", f"write the candidates, {_SHAPE}")
        return
    if not 2 <= len(content) <= MOST_CANDIDATES:
        hint = f"write 2 to {MOST_CANDIDATES}: what is better, and what is worse"
        yield Problem(path, "candidate-count", counted(len(content), "candidate"), hint)
    for index, candidate in enumerate(content):
        yield from _check_candidate((*path, index), candidate)
    scores = [candidate.get("score") if isinstance(candidate, dict) else None for candidate in content]
    if len(scores) > 1 and all(map(is_number, scores)) and len(set(scores)) == 1:
        message_ = f"all {len(scores)} candidates have the score {clip(str(scores[0]), 20)}"
        yield Problem(path, "no-preference-pair", message_, "give the better candidate a higher score")


def _check_candidate(path: Path, candidate: Any) -> Iterator[Problem]:
    if not isinstance(candidate, dict):
        yield wrong_type(path, candidate, "an object", 'as in {"text": "...", "score": 1.0}')
        return
    yield from unknown_fields(path, candidate, _CANDIDATE)
    yield from required_text(path, candidate, "text", "empty-content", "write what the model could answer")
    place = (*path, "score")
    if "score" not in candidate:
        yield missing(place, "add score, 0.0 to 1.0: higher is better")
    elif not is_number(score := candidate["score"]):
        yield wrong_type(place, score, "a number")
    elif not 0 <= score <= 1:
        yield Problem(place, "score-out-of-range", f"score is {clip(str(score), 20)}", "0.0 to 1.0")
    mask = candidate.get("lm_loss_mask")
    if mask is not None and not (is_number(mask) and mask in {0, 1}):
        yield _bad_mask((*path, "lm_loss_mask"), mask)


def _bad_mask(path: Path, mask: Any) -> Problem:
    if is_number(mask):
        return Problem(path, "wrong-type", f"lm_loss_mask must be 0 or 1, but is {clip(str(mask), 20)}", "write 0 or 1")
    return wrong_type(path, mask, "0 or 1")
