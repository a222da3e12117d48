"""``worker bucket create | policy``."""

import asyncio
from typing import Annotated

import msgspec
import typer

from worker.bucket_rights import ROLES
from worker.bucket_rights import policy as policy_of
from worker.commands.output import AsJson, print_json
from worker.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Make the bucket, and say who may use it.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("create")
def create(json: AsJson = False) -> None:
    """Create the bucket where it is missing.

    It is that of WORKER_STORAGE_URL, and gets no policy. May be repeated.

    Exit code 0: it is there; 2: it could not be created.

    \b
    Example:
      WORKER_STORAGE_URL=s3://worker worker bucket create
    """
    from worker.storage.make_bucket import make_bucket  # noqa: PLC0415 - what brings much is imported where it is used

    settings = Settings.from_environment()
    created = asyncio.run(make_bucket(settings))
    if json:
        print_json({"bucket": settings.storage_url, "created": created})
    else:
        typer.echo(f"{settings.storage_url} {'created' if created else 'is there'}", err=True)


@app.command("policy")
def policy(
    role: Annotated[str, typer.Argument(help=f"For whom: {', '.join(ROLES)}.", show_default=False)],
    json: AsJson = False,
) -> None:
    """Print the policy of a role.

    The least that it needs, for the bucket of WORKER_STORAGE_URL, as a JSON document for an identity of AWS or of a
    server that knows its policies. Asks no bucket.

    Exit code 0; 2: the bucket is not in S3.

    \b
    Examples:
      WORKER_STORAGE_URL=s3://finetune worker bucket policy worker
      WORKER_STORAGE_URL=s3://finetune worker bucket policy trainer > trainer-policy.json
    """
    if role not in ROLES:
        raise typer.BadParameter(f"no role {role}; there are {', '.join(ROLES)}")
    made = policy_of(role, Settings.from_environment().storage_url)
    if json:
        print_json(made)
    else:
        typer.echo(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
