"""Which language a page is in: the one that was chosen, else the browser's."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from starlette.requests import Request

from worker.console.texts import TEXTS

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
COOKIE = "console-language"


def language_of(request: Request) -> Language:
    """Return a request's language: of the cookie, else the first that the browser wants and we have."""
    chosen = request.cookies.get(COOKIE)
    for language in LANGUAGES:
        if language == chosen:
            return language
    return wanted(request.headers.get("accept-language", ""))


def wanted(accept_language: str) -> Language:
    """Return what an Accept-Language header wants most of what there is; English where it wants neither."""
    weighed = []
    for position, part in enumerate(accept_language.split(",")):
        tag, _, parameter = part.strip().partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            weight = 0.0
        weighed.append((-weight, position, tag.strip().lower()))
    for weight, _, tag in sorted(weighed):
        for language in LANGUAGES:
            if weight < 0 and tag.split("-")[0] == language:
                return language
    return "en"


def translator(language: Language) -> Callable[..., str]:
    """Return ``t(key, **values)``: a text in a language, with its values put in. A key that is not there is a bug."""
    column = LANGUAGES.index(language)

    def t(key: str, **values: Any) -> str:
        text = TEXTS[key][column]
        return text.format(**values) if values else text

    return t
