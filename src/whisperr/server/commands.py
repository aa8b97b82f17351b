"""The commands of `whisperr`."""

from typing import Annotated

import typer

from whisperr.server.run import ServeError, Settings
from whisperr.server.run import serve as run_server

commands = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@commands.callback()
def whisperr() -> None:
    """Tools for developers who report to Whisperr."""


@commands.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0: a free one.")] = 8787,
    db: Annotated[str, typer.Option(help="A database file to keep what arrives.")] = ":memory:",
    key: Annotated[
        list[str] | None,
        typer.Option(help="An API key to accept (repeatable); without: every wrk_ or wpk_ key."),
    ] = None,
    now: Annotated[
        str | None, typer.Option(help="Start the clock at this moment (RFC 3339).")
    ] = None,
    strict_batches: Annotated[
        bool,
        typer.Option("--strict-batches", help="Answer 400 to a batch with a malformed event."),
    ] = False,
    log: Annotated[bool, typer.Option("--log/--quiet", help="One line for each request.")] = True,
    tls_cert: Annotated[
        str | None, typer.Option(help="Serve https with the certificate in this PEM file.")
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option(help="Its key, where it is in a file of its own.")
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Look up which process sends.")
    ] = True,
) -> None:
    """Run a local ingestion server to develop and test against."""
    keys = tuple(key or ())
    settings = Settings(host, port, db, keys, now, strict_batches, log, tls_cert, tls_key, peers)
    try:
        run_server(settings, _say_listening)
    except ServeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


def _say_listening(url: str) -> None:
    print(f"whisperr server listening on {url}", flush=True)  # noqa: T201 # the command's output
