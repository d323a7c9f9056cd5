"""The wheel holds exactly the package: built from the tree, and again from the sdist."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PARTS = ("ir", "textir", "passes", "backends", "frontends")

pytest.importorskip("hatchling")


def run_backend_hook(hook: str, source: Path, into: Path) -> Path:
    """Call a PEP 517 hook of the build backend in `source`; return the file that it made in `into`."""
    code = f"import sys; from hatchling.build import {hook} as build; print(build(sys.argv[1]))"
    into.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", code, str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return into / done.stdout.split()[-1]


def wheel_files(wheel: Path) -> list[str]:
    """The sorted member names of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def source_files(root: Path) -> Iterator[str]:
    """Every file of the package as the wheel should name it."""
    yield from ("dlir/__init__.py", "dlir/__main__.py", "dlir/py.typed")
    for part in PARTS:
        for path in (root / part).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield "dlir/" + path.relative_to(root).as_posix()


@pytest.fixture(scope="module")
def wheel(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the source tree."""
    return run_backend_hook("build_wheel", repo_root, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked_sdist(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a source distribution unpacks to."""
    folder = tmp_path_factory.mktemp("sdist")
    archive = run_backend_hook("build_sdist", repo_root, folder)
    shutil.unpack_archive(archive, folder)
    return folder / archive.name.removesuffix(".tar.gz")


def test_wheel_holds_every_source_and_data_file(wheel: Path, repo_root: Path) -> None:
    assert [name for name in wheel_files(wheel) if name.startswith("dlir/")] == sorted(source_files(repo_root))


def test_wheel_installs_no_top_level_module_but_dlir(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in wheel_files(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"dlir"}


def test_wheel_holds_the_grammar_and_the_simulator_header(wheel: Path) -> None:
    names = wheel_files(wheel)
    assert any(name.startswith("dlir/textir/") and name.endswith(".lark") for name in names)
    assert any(name.startswith("dlir/backends/cuda/") and name.endswith((".h", ".hpp", ".cuh")) for name in names)


def test_wheel_declares_the_commands_and_the_licence(wheel: Path, repo_root: Path) -> None:
    scripts = tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]["scripts"]
    with zipfile.ZipFile(wheel) as archive:
        info = {name.split("/", 1)[1]: name for name in archive.namelist() if ".dist-info/" in name}
        declared = archive.read(info["entry_points.txt"]).decode()
        assert "License-Expression: Apache-2.0" in archive.read(info["METADATA"]).decode()
        assert "licenses/LICENSE" in info
        for command, target in scripts.items():
            assert f"{command} = {target}" in declared
            module = target.split(":")[0].replace(".", "/") + ".py"
            assert module in archive.namelist()


def test_sdist_builds_the_same_wheel(wheel: Path, unpacked_sdist: Path, tmp_path: Path) -> None:
    rebuilt = run_backend_hook("build_wheel", unpacked_sdist, tmp_path)
    assert wheel_files(rebuilt) == wheel_files(wheel)


def test_installed_wheel_imports_and_explains_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import sys, runpy; sys.path.insert(0, sys.argv.pop()); runpy.run_module('dlir', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "dlir-opt" in done.stdout and len(done.stdout.splitlines()) <= 15


@pytest.mark.parametrize("what", ["import dlir", "from dlir.frontends.cli.{} import build_parser; build_parser()"])
@pytest.mark.parametrize("command", ["opt", "run", "reduce"])
def test_import_and_help_load_nothing_heavy(what: str, command: str) -> None:
    heavy = ("numpy", "lark", "networkx", "llvmlite", "cupy", "dlir.ir.core")
    code = f"{what.format(command)}; import sys; print([name for name in {heavy!r} if name in sys.modules])"
    source = Path(__file__).resolve().parent.parent / ".src"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(source)}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_unknown_name_is_an_attribute_error() -> None:
    import dlir

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = dlir.nonsense


def test_the_package_offers_the_python_side_by_name() -> None:
    """In a fresh process, as the names are looked up once; what is listed is there, and nothing before it is asked for."""
    code = """
import sys, dlir
assert "numpy" not in sys.modules
x, w = dlir.Variable("x"), dlir.Parameter("w", [1.0, 2.0])
loss = dlir.nd.sum(dlir.nn.relu(x * w))
step = dlir.compile(loss, updates=dlir.optimizers.SGD(0.5).updates(loss), backend="ref")
print(step(x=[1.0, 1.0]), w.value)
assert all(hasattr(dlir, name) and name in dir(dlir) for name in dlir.__all__)
assert dlir.initializers.zeros and dlir.random.key and dlir.Net and issubclass(dlir.DlirError, Exception)
"""
    source = Path(__file__).resolve().parent.parent / ".src"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(source)}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "3.0 [0.5 1.5]", done.stderr
