"""The file of projects: whether what each may read and use can be known from it."""

from worker.catalog.projects import load_projects
from worker.doctor.finding import Finding, ok, wrong
from worker.settings import Settings, SettingsError
from worker.storage import open_store


async def check_projects(settings: Settings) -> list[Finding]:
    """Return whether the file holds; nothing where there is none. Asks nothing of the bucket."""
    if settings.projects_file is None:
        return []
    try:
        async with open_store(settings, make=False) as store:
            load_projects(settings, store)
    except SettingsError as error:
        return [wrong("projects", str(error), "mend the file of WORKER_PROJECTS_FILE")]
    return [ok("projects", str(settings.projects_file))]
