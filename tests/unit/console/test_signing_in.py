"""Who is let in, and whose changes are believed to be asked for by a page of ours."""

from pathlib import Path

import pytest

from tests.fakes.console import HOST, TOKEN, ConsoleUnderTest, person, status
from worker.console.access import Access, digest_of
from worker.console.guard import COOKIE
from worker.console.settings import ConsoleSettings
from worker.console.signing import Signer
from worker.settings import SettingsError

PEOPLE = f"""
[[people]]
name = "ann"
token_sha256 = "{digest_of("the-token-of-ann")}"
projects = ["alpha"]
"""


def test_nobody_sees_anything_without_signing_in() -> None:
    browser = ConsoleUnderTest().browser()
    answer = browser.get("/tasks/t-1?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/tasks/t-1")
    assert browser.get("/live", headers={"Accept": "text/event-stream"}).status_code == 401
    assert browser.post("/tasks").status_code == 401
    assert browser.get("/tasks/rows", headers={"HX-Request": "true"}).headers["HX-Redirect"].startswith("/sign-in")
    assert browser.get("/static/../settings.py").status_code in (303, 404)


def test_a_token_opens_a_session_that_a_browser_keeps_to_itself() -> None:
    browser = ConsoleUnderTest().browser()
    assert browser.post("/sign-in", data={"token": "another-one-entirely"}).status_code == 401
    answer = browser.post("/sign-in", data={"token": TOKEN, "next": "/tasks/new"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/tasks/new")
    assert {"HttpOnly", "SameSite=lax"} <= set(answer.headers["set-cookie"].split("; "))
    assert browser.get("/tasks").status_code == 200
    browser.post("/sign-out")
    assert browser.get("/tasks").status_code == 303


@pytest.mark.parametrize(
    "there",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example", ""],
)
def test_signing_in_leads_to_no_other_site(there: str) -> None:
    browser = ConsoleUnderTest().browser()
    assert browser.post("/sign-in", data={"token": TOKEN, "next": there}).headers["location"] == "/tasks"


def test_a_session_cannot_be_made_prolonged_or_given_to_somebody_else() -> None:
    console = ConsoleUnderTest()
    genuine = console.signer.session("operator", 4_000_000_000)
    who, expires, mark = genuine.split(".")
    over = console.signer.session("operator", 1_000)
    others = Signer(b"another").session("operator", 4_000_000_000)
    forged = [f"{who}.{int(expires) + 1}.{mark}", f"YW5u.{expires}.{mark}", others, over, "", "..", f"{who}.{expires}."]
    for cookie in forged:
        browser = console.browser()
        browser.cookies.set(COOKIE, cookie)
        assert browser.get("/tasks").status_code == 303, cookie
    browser = console.browser()
    browser.cookies.set(COOKIE, genuine)
    assert browser.get("/tasks").status_code == 200


@pytest.mark.parametrize(
    ("headers", "believed"),
    [
        ({"Origin": f"http://{HOST}"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": ""}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"}, False),
    ],
)
def test_a_change_is_made_for_pages_of_this_site_alone(headers: dict[str, str], believed: bool) -> None:
    console = ConsoleUnderTest()
    console.hear("task.status", status("t-1"))
    browser = console.operator()
    del browser.headers["Origin"]
    given = {name: value for name, value in headers.items() if value}
    answer = browser.post("/tasks/t-1/commands", data={"command": "stop"}, headers=given)
    assert (answer.status_code == 200, len(console.said)) == (believed, int(believed))


def test_a_form_that_is_too_large_or_does_not_say_how_large_it_is_is_not_even_read() -> None:
    browser = ConsoleUnderTest().browser()
    assert browser.post("/sign-in", data={"token": "x" * (1 << 20)}).status_code == 413
    assert browser.post("/sign-in", content=iter([b"token=", b"x"])).status_code == 413
    operator = ConsoleUnderTest(ConsoleSettings(token=TOKEN, upload_bytes=1000)).operator()
    files = {"training_set.files": ("a.jsonl", b"x" * 1001)}
    assert operator.post("/tasks/new/uploads", files=files).status_code == 413


def test_every_answer_forbids_what_pages_here_never_do() -> None:
    answer = ConsoleUnderTest().operator().get("/tasks")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert "onclick" not in answer.text


def test_a_reverse_proxy_is_believed_where_it_is_trusted_and_nobody_else() -> None:
    headers = {"X-Forwarded-User": "ann", "X-Forwarded-Groups": "alpha, operators ,*,no good"}
    trusting = Access(ConsoleSettings(trusted_proxies="10.0.0.0/8, ::1"))
    ann = trusting.by_proxy("10.1.2.3", headers)
    assert ann is not None
    assert (ann.name, ann.projects, ann.operator) == ("ann", ("alpha",), True)
    for peer in ("11.0.0.1", "testclient", None, ""):
        assert trusting.by_proxy(peer, headers) is None
    assert trusting.by_proxy("10.1.2.3", {"X-Forwarded-Groups": "alpha"}) is None
    assert Access(ConsoleSettings(token=TOKEN)).by_proxy("127.0.0.1", headers) is None


def test_headers_of_a_visitor_mean_nothing_where_no_proxy_is_trusted() -> None:
    browser = ConsoleUnderTest().browser(headers={"X-Forwarded-User": "ann", "X-Forwarded-Groups": "operators"})
    assert browser.get("/tasks").status_code == 303


def test_behind_a_trusted_proxy_people_need_no_token_and_cookies_know_of_its_tls() -> None:
    console = ConsoleUnderTest(ConsoleSettings(token=TOKEN, trusted_proxies="10.0.0.0/8"))
    console.hear("task.status", status("t-1", project="alpha"))
    console.hear("task.status", status("t-2", project="beta"))
    ann = console.browser(headers={"X-Forwarded-User": "ann", "X-Forwarded-Groups": "alpha"}, peer="10.0.0.9")
    assert (ann.get("/tasks/t-1").status_code, ann.get("/tasks/t-2").status_code) == (200, 404)
    cookies = [
        console.browser(headers={"X-Forwarded-Proto": "https"}, peer=peer)
        .post("/sign-in", data={"token": TOKEN})
        .headers["set-cookie"]
        for peer in ("10.0.0.9", "192.0.2.7")
    ]
    assert ["Secure" in cookie for cookie in cookies] == [True, False]


def test_people_have_their_own_tokens_and_projects(tmp_path: Path) -> None:
    file = tmp_path / "people.toml"
    file.write_text(PEOPLE)
    access = Access(ConsoleSettings(people_file=file))
    ann = access.by_token("the-token-of-ann")
    assert ann == person("ann", "alpha")
    assert ann.may_see("alpha")
    assert not ann.may_see("beta")
    assert not ann.may_see(None)
    assert access.by_token("") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PEOPLE + PEOPLE, "is there twice"),
        (PEOPLE.replace("alpha", "al pha"), "projects"),
        (PEOPLE.replace("projects", "project"), "project"),
        ("{", "people.toml"),
        (PEOPLE.replace('"ann"', '"operator"'), "the name operator"),
    ],
)
def test_a_file_of_people_that_cannot_be_used_is_said(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "people.toml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=words):
        Access(ConsoleSettings(people_file=file, token=TOKEN))


def test_where_others_can_reach_it_somebody_must_be_able_to_sign_in() -> None:
    with pytest.raises(SettingsError, match="CONSOLE_TOKEN_FILE"):
        Access(ConsoleSettings(host="0.0.0.0"))  # noqa: S104 - that is what is refused
    made = Access(ConsoleSettings())
    assert made.made
    assert made.by_token(made.made)


def test_settings_come_from_the_environment_and_show_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-a-file-with-a-token\n")
    settings = ConsoleSettings.from_environment({"CONSOLE_PORT": "9", "CONSOLE_TOKEN_FILE": str(file)})
    assert Access(settings).by_token("from-a-file-with-a-token")
    assert TOKEN not in repr(ConsoleSettings(token=TOKEN))
    for variable, value in {
        "CONSOLE_PORT": "x",
        "CONSOLE_TOKEN": "short",
        "CONSOLE_TRUSTED_PROXIES": "anybody",
    }.items():
        with pytest.raises(SettingsError, match=variable) as error:
            ConsoleSettings.from_environment({variable: value})
        assert "short" not in str(error.value)
    with pytest.raises(SettingsError, match="CONSOLE_TOKEN_FILE"):
        Access(ConsoleSettings(token_file=tmp_path / "none"))


def test_ids_of_ours_are_known_again_and_no_others() -> None:
    signer = Signer(b"secret")
    mine = signer.new_id("task", "alpha")
    assert signer.is_ours("task", "alpha", mine)
    assert Signer(b"secret").is_ours("task", "alpha", mine), "after a restart too"
    for kind, project, id_ in [
        ("task", "beta", mine), ("dataset", "alpha", mine), ("task", "alpha", mine[:-1]), ("task", "alpha", ""),
        ("task", "alpha", "task--"), ("task", "alpha", "task-é-é"),
    ]:  # fmt: skip
        assert not signer.is_ours(kind, project, id_)
