"""``manage.py whisperr``: the command line of whisperr, configured by the project's settings."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from whisperr import cli
from whisperr.django.configuration import given

if TYPE_CHECKING:
    from collections.abc import Sequence


class Command(BaseCommand):
    """Hands its arguments on: ``manage.py whisperr serve`` is ``whisperr serve``."""

    help = "The commands of whisperr, with this project's key and URL. Try --help."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """All arguments are the command line's own, --help included."""
        self._run(" ".join(argv[:2]), argv[2:])

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """What ``manage.py help whisperr`` shows."""
        self._run(f"{prog_name} {subcommand}", ["--help"])

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """For ``call_command``."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *_: object, arguments: Sequence[str] = (), **__: Any) -> None:
        """For ``call_command``."""
        self._run("whisperr", arguments)

    def _run(self, program: str, arguments: Sequence[str]) -> None:
        for name, option in given().items():
            if name in ("api_key", "base_url") and option.value is not None:
                os.environ[f"WHISPERR_{name.upper()}"] = option.value
        sys.argv = [program, *arguments]
        cli.main()
