"""The architecture holds: data and imports go one way, forks are watched in one place."""

from __future__ import annotations

import ast
import tokenize
from itertools import pairwise
from pathlib import Path

import pytest

import whisperr
from whisperr import request

PACKAGE = Path(whisperr.__file__).parent
#: A module imports only from modules that stand above it.
ORDER = [
    "_version",
    "errors",
    "_loaded",
    "_value",
    "billing",
    "channel",
    "_fork",
    "_stack",
    "_uwsgi",
    "_threads",
    "_json",
    "_encoding",
    "_arguments",
    "_stamp",
    "_operation",
    "_capture",
    "_options",
    "_verbs",
    "_role",
    "_stats",
    "_queue",
    "_outcome",
    "_backoff",
    "_bisection",
    "_schedule",
    "_connection",
    "_openssl",
    "_adapter",
    "_transport",
    "_reporter",
    "_drops",
    "_delivery",
    "_waiter",
    "_handover",
    "_token",
    "_exit",
    "_hosts",
    "_inline",
    "_loop",
    "_sender",
    "_result",
    "_process",
    "_client",
    "request",
    "__init__",
    "asgi",
    "celery",
    "fastapi",
    "flask",
    "gunicorn",
    "uwsgi",
    "cli",
]
#: Helpers for hosts and frameworks: users of the public package like anyone else.
HELPERS = ["asgi", "celery", "fastapi", "flask", "gunicorn", "uwsgi"]
#: What only one module may do, and what would give it away.
ROOMS = {
    "_fork": {"fork", "forkpty", "getpid", "register_at_fork"},
    "_exit": {"atexit", "Finalize"},
    "_threads": {"start_new_thread"},
    "_uwsgi": {"worker_id", "masterpid"},
}
#: What only these modules may import.
IMPORTERS = {
    "requests": {"_transport", "_adapter", "_openssl"},
    "urllib3": {"_transport", "_adapter", "_connection"},
    "ssl": {"_adapter", "_connection", "_openssl"},
    "socket": {"_connection"},
    "psutil": {"_stats", "gunicorn"},
    "logging": {"_reporter"},
    "orjson": {"_encoding"},
    "atexit": {"_exit"},
    "_thread": {"_threads", "_token", "_waiter"},
    "fastapi": {"fastapi"},
    "flask": {"flask"},
    "uvicorn": set(),
    "rich": set(),
}
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))
CORE = [name for name in MODULES if name != "cli"]


def _tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text())


def _sibling_imports(module: str) -> set[str]:
    """Modules of the package that this one imports, for type checking included."""
    found: set[str] = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return {name.split(".")[0] for name in found}


def _outside_imports(module: str, *, at_runtime: bool) -> set[str]:
    found: set[str] = set()
    tree = _tree(module)
    guarded = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if at_runtime and node in guarded:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def _names(module: str) -> set[str]:
    """Every name in the code, comments and strings left out."""
    with (PACKAGE / f"{module}.py").open("rb") as source:
        return {
            token.string
            for token in tokenize.tokenize(source.readline)
            if token.type == tokenize.NAME
        }


def test_every_module_has_its_place() -> None:
    assert sorted(ORDER) == MODULES


@pytest.mark.parametrize("module", CORE)
def test_imports_go_one_way(module: str) -> None:
    below = set(ORDER[ORDER.index(module) :])
    assert not _sibling_imports(module) & below


@pytest.mark.parametrize("module", HELPERS)
def test_a_helper_for_a_host_imports_the_public_package_alone(module: str) -> None:
    ours = [
        node
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("whisperr")
    ]
    assert ours
    assert not _sibling_imports(module)
    for node in ours:
        public = request.__all__ if node.module == "whisperr.request" else whisperr.__all__
        assert node.module in ("whisperr", "whisperr.request")
        assert {alias.name for alias in node.names} <= set(public)


@pytest.mark.parametrize("room", ROOMS)
def test_what_belongs_to_a_room_occurs_there_alone(room: str) -> None:
    for module in CORE:
        if module != room:
            assert not _names(module) & ROOMS[room], module
    assert _names(room) & ROOMS[room]


@pytest.mark.parametrize("library", IMPORTERS)
def test_a_library_is_imported_by_its_room_alone(library: str) -> None:
    importers = {name for name in CORE if library in _outside_imports(name, at_runtime=True)}
    assert importers == IMPORTERS[library]


@pytest.mark.parametrize("module", CORE)
def test_modules_fit_on_few_screens_and_functions_on_half_of_one(module: str) -> None:
    tree = _tree(module)
    longest = max(
        (
            (_statement_lines(node), node.name)
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        ),
        default=(0, ""),
    )
    assert longest[0] <= 45, longest
    assert _code_lines(module) <= 200


def _code_lines(module: str) -> int:
    """Lines with code: no blank ones, no comments, no docstrings."""
    with (PACKAGE / f"{module}.py").open("rb") as source:
        tokens = list(tokenize.tokenize(source.readline))
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    spoken = [token for token in tokens if token.type not in silent]
    return len(
        {
            line
            for token, after in pairwise(spoken)
            for line in range(token.start[0], token.end[0] + 1)
            if not _is_docstring(token, after)
        }
    )


def _is_docstring(token: tokenize.TokenInfo, after: tokenize.TokenInfo) -> bool:
    """A string that is a statement: the next code stands on a later line."""
    starts_line = not token.line[: token.start[1]].strip()
    ends_line = after.start[0] > token.end[0]
    return token.type == tokenize.STRING and starts_line and ends_line and '"""' in token.string


def _statement_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_the_package_says_what_is_public() -> None:
    assert sorted(whisperr.__all__) == whisperr.__all__
    assert all(hasattr(whisperr, name) for name in whisperr.__all__)
    assert (PACKAGE / "py.typed").exists()
