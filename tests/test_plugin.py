"""Plugins: an installed one is found by its names, a file is loaded by hand, and a broken one is named."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dlir.ir.errors import DlirError
from dlir.ir.tables import Table

# ---------------------------------------------------------------- the example, installed


@pytest.fixture(scope="module")
def site(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages that holds examples/plugin."""
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--disable-pip-version-check", "--target", str(target), str(repo_root / "examples" / "plugin")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def dlir(repo_root: Path):
    """Runs a command in a process of its own that finds packages in `site`; asserts its exit code."""

    def run(site: Path, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join([str(site), str(repo_root / ".src")])
        command = [sys.executable, "-m", *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": paths}
        done = subprocess.run(command, cwd=repo_root, env=environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
        return done

    return run


OPT, RUN = "dlir.frontends.cli.opt", "dlir.frontends.cli.run"
HUBER = Path("examples/plugin/huber.dlir")


def test_the_op_parses_prints_verifies_and_lowers(dlir, site):
    assert "robust.huber %back {delta = 5.0" in dlir(site, OPT, HUBER, "--verify-roundtrip").stdout
    lowered = dlir(site, OPT, HUBER, "-p", "lower-nn").stdout
    assert "nd.less_equal" in lowered and "robust." not in lowered


def test_the_pass_and_the_rule_run(dlir, site):
    done = dlir(site, OPT, HUBER, "-p", "set-delta{value=2.0},canonicalize", "--stats")
    assert "huber-is-even 1" in done.stderr and "set-delta{value=2.0}: set 1" in done.stderr
    assert "robust.huber %error {delta = 2.0" in done.stdout
    named = dlir(site, OPT, "examples/digits.dlir", "-p", "canonicalize{rules=robst}", code=1)
    assert "unknown rule table 'robst'" in named.stderr and "did you mean 'robust'?" in named.stderr
    dlir(site, OPT, "examples/digits.dlir", "-p", "canonicalize{rules=robust+movement}")


def test_the_op_and_the_pass_are_documented(dlir, site):
    listed = dlir(site, OPT, "--list-dialects").stdout
    assert listed.count("robust.huber(x) {delta}  x*x/2 where") == 1
    assert "set-delta: Give every" in dlir(site, OPT, "--list-passes").stdout


@pytest.mark.parametrize("backend", ["ref", "cpu"])
def test_the_program_runs(dlir, site, tmp_path, backend):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 6, 3)).astype(np.float32)
    for name, array in (("x", x), ("y", y)):
        np.save(tmp_path / f"{name}.npy", array)
    inputs = [word for name in "xy" for word in ("--input", f"@{tmp_path / name}.npy")]
    dlir(site, RUN, HUBER, f"--backend={backend}", "--bench", 1, "--save-outputs", tmp_path / "out.npz", *inputs)
    size = np.abs(y - x)
    want = np.mean(np.where(size <= 0.5, size * size / 2, 0.5 * (size - 0.25)))
    with np.load(tmp_path / "out.npz") as saved:
        np.testing.assert_allclose(next(iter(saved.values())), want, rtol=1e-6)


def test_the_generated_tests_sample_the_op(dlir, site):
    tests = ["tests/differential/test_every_op.py", "tests/ir/nn/test_every_layer.py"]
    done = dlir(site, "pytest", "-q", "-p", "no:cacheprovider", "-k", "robust.huber and not cuda", *tests)
    assert "4 passed" in done.stdout or "5 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    "old,new,hint",
    [("robust.huber", "robst.huber", "robust"), ("robust.huber", "robust.hubr", "robust.huber")],
)
def test_hints_know_the_plugin(dlir, site, tmp_path, repo_root, old, new, hint):
    path = tmp_path / "wrong.dlir"
    path.write_text((repo_root / HUBER).read_text().replace(old, new))
    assert f"did you mean '{hint}'?" in dlir(site, OPT, path, code=1).stderr
    assert "did you mean 'set-delta'?" in dlir(site, OPT, path, "-p", "set-detla", code=1).stderr


def test_a_program_without_it_never_imports_it(dlir, site, repo_root):
    code = (
        "import sys; from dlir.frontends.cli.opt import main; main(['examples/digits.dlir', '-O2', '-o', sys.argv[1]])"
    )
    code += "; print([name for name in sys.modules if 'robust' in name or name == 'importlib.metadata'])"
    paths = os.pathsep.join([str(site), str(repo_root / ".src")])
    command = [sys.executable, "-c", code, os.devnull]
    done = subprocess.run(
        command, cwd=repo_root, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# ---------------------------------------------------------------- a file, loaded by hand

ONE_FILE = '''
from dataclasses import dataclass
import numpy as np
from dlir.backends.executable import numpy_dtype, signature_of
from dlir.backends.registry import BACKENDS, Backend
from dlir.frontends.formats import FORMATS
from dlir.ir.dialects.func import find_function
from dlir.ir.dialects.nd.arithmetic import Binary
from dlir.ir.ops import arith, math, nd
from dlir.ir.registry import DIALECTS
from dlir.passes.manager import PASSES, Pass
from dlir.passes.rewriter import pattern
from dlir.passes.rules import RULES
from dlir.textir import ParsedModule, WeightStore, parse


class Hypot(Binary, name="mine.hypot"):
    """sqrt(a*a + b*b)."""

    kinds = "f"

    @staticmethod
    def eval(a, b):
        return np.sqrt(a * a + b * b)

    def scalar(self, a, b):
        return math.sqrt(arith.addf(arith.mulf(a, a), arith.mulf(b, b)))


@pattern("nd.exp")
def no_exp(op):
    """exp(x) -> x, which is wrong: a test sees at once whether it fired."""
    return op.operands[0]


@dataclass
class Nothing(Pass, name="do-nothing"):
    """Does nothing."""

    def run(self, module):
        self.stats["done"] += 1


class Zeros:
    """Computes nothing, quickly."""

    def __init__(self, module, entry):
        self.signature = signature_of(find_function(module, entry))

    def __call__(self, *arrays, out=None):
        return tuple(np.zeros(r.shape, numpy_dtype(r)) for r in self.signature.results)


def load(module, entry, weights):
    return Zeros(module, entry)


def read(path, weights):
    """A file with a number in it: a program that gives it."""
    number = float(open(path).read())
    constant = f"%c = nd.constant {{value = dense<{number}> : tensor<f32>}}"
    return ParsedModule(parse(f"func.func @main() -> tensor<f32> {{ {constant} return %c }}"), {}, WeightStore())


DIALECTS["mine"] = __name__
PASSES["do-nothing"] = __name__
RULES["wrong"] = f"{__name__}:WRONG"
WRONG = (no_exp,)
BACKENDS["zeros"] = Backend("zeros", __name__, None, "zeros, whatever is computed")
FORMATS["number"] = f"{__name__}:read"
'''

PROGRAM = """
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %c = mine.hypot %a, %b
  %d = nd.exp %c
  return %d
}
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(ONE_FILE)
    (tmp_path / "program.dlir").write_text(PROGRAM)
    return tmp_path


def test_one_file_brings_all_that_a_plugin_can(dlir, mine):
    load = ["--load-plugin", mine / "mine.py", "--load-plugin", mine / "mine.py"]
    done = dlir(mine, OPT, mine / "program.dlir", *load, "-p", "do-nothing,canonicalize", "--stats")
    assert "mine.hypot %a, %b" in done.stdout and "nd.exp" not in done.stdout
    assert "do-nothing: done 1" in done.stderr and "no-exp 1" in done.stderr
    assert "zeros" in dlir(mine, RUN, *load, "--list-backends").stdout
    given = ["--input", "4xf32:3,0,5,1", "--input", "4xf32:4,0,12,0", "--bench", 1]
    dlir(mine, RUN, mine / "program.dlir", *load, *given, "--compare=none", "--expect", "4xf32:5,0,13,1")
    answer = dlir(
        mine, RUN, mine / "program.dlir", *load, *given, "--backend=zeros", "--expect", "4xf32:5,0,13,1", code=1
    )
    assert "zeros" in answer.stdout
    (mine / "x.number").write_text("2.5")
    assert "dense<2.5" in dlir(mine, OPT, mine / "x.number", *load).stdout


def test_a_module_is_loaded_by_its_name(dlir, mine):
    assert "do-nothing: Does nothing" in dlir(mine, OPT, "--load-plugin=mine", "--list-passes").stdout


def test_the_page_s_plugin_works(dlir, tmp_path, repo_root):
    (code,) = re.findall(r"```python\n(.*?)```", (repo_root / "docs" / "plugins.md").read_text(), re.DOTALL)
    (tmp_path / "squares.py").write_text(code)
    text = "func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> { %n = nd.neg %x %y = squares.square %n return %y }"
    (tmp_path / "square.dlir").write_text(text)
    load = ["--load-plugin", tmp_path / "squares.py"]
    done = dlir(tmp_path, OPT, tmp_path / "square.dlir", *load, "-p", "canonicalize")
    assert "squares.square %x" in done.stdout
    words = ["--input", "3xf32:1,-2,3", "--expect", "3xf32:1,4,9", "--bench", 1]
    dlir(tmp_path, RUN, tmp_path / "square.dlir", *load, *words)


BROKEN = {
    "missing": (None, "there is no plugin '{plugin}'"),
    "raises": ("raise KeyError('tomorrow')", "plugin '{plugin}' cannot be loaded: KeyError: 'tomorrow'"),
    "exits": ("raise SystemExit('bye')", "plugin '{plugin}' cannot be loaded: SystemExit: bye"),
    "lacks": ("import nosuchmodule", "cannot be loaded: ModuleNotFoundError: No module named 'nosuchmodule'"),
    "syntax": ("def", "plugin '{plugin}' cannot be loaded: SyntaxError"),
    "takes a dialect": (
        "from dlir.ir.registry import DIALECTS\nDIALECTS['nd'] = __name__",
        "dialect 'nd' is defined twice: by dlir (dlir.ir.dialects.nd) and by plugin '{plugin}'",
    ),
    "takes an op": (
        "from dlir.ir.op import Op\nclass Add(Op, name='nd.add'): pass\nimport dlir.ir.dialects.nd",
        "op 'nd.add' is registered twice: by 'dlir.ir.dialects.nd.arithmetic' and by 'dlir_plugin_broken'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("command", [OPT, RUN])
def test_a_plugin_that_cannot_be_loaded_is_named(dlir, tmp_path, case, command):
    code, message = BROKEN[case]
    path = tmp_path / "broken.py"
    if code is not None:
        path.write_text(code)
    done = dlir(tmp_path, command, "examples/digits.dlir", "--load-plugin", path, code=1)
    assert message.replace("{plugin}", str(path)) in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


PASS = """
from dataclasses import dataclass
from dlir.passes.manager import PASSES, Pass

{decorator}
class Mine(Pass, name="mine"):
    {options}

    def run(self, module):
        raise RuntimeError("oh no")

PASSES["mine"] = __name__
"""
WRONG = {
    "a pass without options": (
        PASS.format(decorator="", options="pass"), ["-p", "mine"], 1, "pass 'mine' of plugin '{plugin}'", "write @dataclass"
    ),
    "an option of no type that text has": (
        PASS.format(decorator="@dataclass", options="sizes: list = None"),
        ["-p", "mine{sizes=3}"], 1, "option 'sizes' of pass 'mine' cannot be given in a text", "declared as list",
    ),
    "a pass that fails": (
        PASS.format(decorator="@dataclass", options="pass"),
        ["-p", "mine"], 3, "internal error in pass 'mine' of plugin '{plugin}': RuntimeError: oh no", "a bug in the plugin",
    ),
    "an op without a schema": (
        "from dlir.ir.op import Op\nfrom dlir.ir.registry import DIALECTS\nDIALECTS['mine'] = __name__\n"
        "class Mine(Op, name='mine.op'):\n    @staticmethod\n    def infer(*, phase: complex = 1j) -> None: ...\n",
        ["--list-dialects"], 1, "class Mine of 'mine.op' has no schema", "'phase' of infer, which is annotated complex",
    ),
    "a line of its own": ("import math\n\nmath.sqrt(-1)\n", [], 1, "ValueError: math domain error", "{plugin}:3:1: note:"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_plugin_is_told_to_its_author(dlir, tmp_path, case):
    code, words, exit_code, *messages = WRONG[case]
    path = tmp_path / "wrong.py"
    path.write_text(code)
    reproducer = ["--reproducer", tmp_path / "left.dlir"]
    done = dlir(tmp_path, OPT, "examples/digits.dlir", "--load-plugin", path, *reproducer, *words, code=exit_code)
    for message in messages:
        assert message.replace("{plugin}", str(path)) in done.stderr
    assert (tmp_path / "left.dlir").exists() == (exit_code == 3)


# ---------------------------------------------------------------- tables and entry points


@pytest.fixture
def installed(monkeypatch):
    """Sets the entry points of group ``test.words``: (plugin, name, line)."""

    def install(*points: tuple[str, str, str]) -> None:
        class Distribution:
            def __init__(self, name):
                self.name = name

        made = []
        for plugin, name, line in points:
            point = importlib.metadata.EntryPoint(name, line, "test.words")
            vars(point)["dist"] = Distribution(plugin)
            made.append(point)
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: made if group == "test.words" else [])

    return install


def make_table() -> Table:
    return Table("word", "test.words", {"own": "math:pi"})


def test_entry_points_are_read_when_a_name_is_not_found(installed):
    installed(("plug", "theirs", "math:e"))
    table = make_table()
    assert table.find("own") == "math:pi" and list(table) == ["own"]
    assert table.find("theirs") == "math:e" and table.load("theirs") == np.e
    assert table.find("nobody's") is None
    assert table.discover() == ["own", "theirs"] and table.plugins == {"theirs": "plug"}


def test_two_plugins_with_one_name_are_both_named(installed):
    installed(("one", "theirs", "math:e"), ("two", "theirs", "math:tau"))
    message = "word 'theirs' is defined twice: by plugin 'one' .math:e. and by plugin 'two' .math:tau."
    with pytest.raises(DlirError, match=message):
        make_table().find("theirs")


def test_a_plugin_with_a_name_of_dlir_is_named_when_the_plugins_are_read(installed):
    installed(("plug", "own", "math:e"))
    table = make_table()
    assert table.find("own") == "math:pi" and table.load("own") == np.pi
    with pytest.raises(DlirError, match=r"'own' is defined twice: by dlir .math:pi. and by plugin 'plug'"):
        table.discover()


def test_a_plugin_that_is_installed_twice_is_one(installed):
    installed(("plug", "theirs", "math:e"), ("plug", "theirs", "math:e"))
    assert make_table().discover() == ["own", "theirs"]


def test_a_plugin_that_fails_says_the_same_each_time(installed):
    installed(("plug", "theirs", "no_such_module_at_all"), ("plug", "other", "math:nothing"))
    table = make_table()
    table.discover()
    for _ in range(2):
        with pytest.raises(DlirError, match="plugin 'plug' cannot be loaded: ModuleNotFoundError: No module named"):
            table.load("theirs")
    with pytest.raises(DlirError, match="plugin 'plug' cannot be loaded: AttributeError"):
        table.load("other")


def test_a_name_is_given_once():
    table = make_table()
    table["own"] = "math:pi"
    with pytest.raises(DlirError, match="defined twice"):
        table["own"] = "math:e"
    with pytest.raises(DlirError, match="defined twice"):
        table.update(own="math:e")
