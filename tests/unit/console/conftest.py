"""What the console's tests stand on."""

import pytest

from tests.fakes.console import ConsoleUnderTest


@pytest.fixture
def console() -> ConsoleUnderTest:
    """Return a console that knows of nothing yet."""
    return ConsoleUnderTest()
