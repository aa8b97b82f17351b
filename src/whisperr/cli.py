"""The console command `whisperr`; nothing of it is imported by `import whisperr`."""

import sys

_EXTRA = {
    "fastapi",
    "httptools",
    "pydantic",
    "pydantic_core",
    "rich",
    "starlette",
    "typer",
    "uvicorn",
}


def main() -> None:
    """Run the command line; where its extra is not installed, say so and exit with status 2."""
    try:
        from whisperr.demo.command import demo
        from whisperr.server.commands import commands
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print('The command line needs an extra: pip install "whisperr[server]"', file=sys.stderr)
        sys.exit(2)
    commands.command()(demo)
    commands()


if __name__ == "__main__":
    main()
