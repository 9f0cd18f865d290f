"""The house in order: who imports what, and that every file says what it is."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = sorted(path for room in ("pykafkacore", "cluster") for path in (ROOT / room).rglob("*.py"))
RUST = sorted((ROOT / "rust").glob("*/src/*.rs"))

# The extension is the tools' and the test kit's too; of the cluster only `plane/native.py` may know it.
MAY_IMPORT_THE_EXTENSION = {"cluster/plane/native.py"}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
            found.add(node.module)
    return found


@pytest.mark.parametrize("room", ["cluster", "pykafkacore/protocol", "pykafkacore/client", "pykafkacore/policies"])
def test_only_the_native_plane_imports_the_extension(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        if str(path.relative_to(ROOT)) not in MAY_IMPORT_THE_EXTENSION:
            assert "pykafkacore._core" not in imports_of(path), path


def test_trio_is_imported_by_the_shell_the_plane_and_the_client_only() -> None:
    allowed = ("cluster/broker/", "cluster/plane/native.py", "pykafkacore/client/", "pykafkacore/tools/", "pykafkacore/testing/")
    for path in PYTHON:
        if any(name.split(".")[0] == "trio" for name in imports_of(path)):
            assert str(path.relative_to(ROOT)).startswith(allowed), path


def test_every_file_opens_with_what_it_is() -> None:
    for path in PYTHON:
        if path.read_text().strip():
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path.relative_to(ROOT)} has no docstring"
    for path in RUST:
        assert path.read_text().startswith("//!"), f"{path.relative_to(ROOT)} has no header"


def test_crates_depend_in_one_direction() -> None:
    order = ["record", "log", "wire", "replica", "server", "py"]
    allowed = {
        "record": set(),
        "log": {"record"},
        "wire": {"record"},
        "replica": {"record", "log", "wire"},
        "server": {"record", "log", "wire", "replica"},
        "py": {"record", "log", "wire", "replica", "server"},
    }
    for crate in order:
        text = (ROOT / "rust" / crate / "Cargo.toml").read_text()
        section = text.split("[dependencies]")[1].split("\n[")[0]
        named = {line.split(".")[0].split(" ")[0] for line in section.splitlines() if line.strip()}
        assert named & set(order) <= allowed[crate], crate


def modules_known_by(path: Path, crate: Path) -> set[str]:
    """The crate's own top-level modules that a file uses, but for what its tests use."""
    code = path.read_text().split("#[cfg(test)]\nmod ")[0]
    known = {file.stem for file in crate.glob("*.rs")} | {each.name for each in crate.iterdir() if each.is_dir()}
    grouped = re.findall(r"crate::\{([^;]*)\}", code)
    named = re.findall(r"crate::(\w+)", code) + [name for group in grouped for name in re.findall(r"(\w+)", group)]
    return known.intersection(named) - {path.relative_to(crate).parts[0].removesuffix(".rs")}


@pytest.mark.parametrize("crate", ["record", "log", "wire", "replica", "server", "py"])
def test_modules_of_a_crate_know_each_other_in_one_direction(crate: str) -> None:
    root, known = ROOT / "rust" / crate / "src", dict[str, set[str]]()
    for path in root.rglob("*.rs"):
        if path.name != "lib.rs":
            known.setdefault(path.relative_to(root).parts[0].removesuffix(".rs"), set()).update(modules_known_by(path, root))
    while free := [module for module, others in known.items() if not others & known.keys()]:
        for module in free:
            del known[module]
    assert not known, "these know each other in circles"


def test_error_codes_of_both_languages_agree() -> None:
    from pykafkacore import _core
    from pykafkacore.protocol.errors import Code

    assert {name: int(Code[name]) for name, _ in _core.ERROR_CODES} == dict(_core.ERROR_CODES)


def test_make_help_names_every_target() -> None:
    told = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "verify", "fix", "bench", "sim", "ci"):
        assert f"make {target}" in told
