"""What a cell's key is made of: fingerprints of the code, the facts and the data that can change its numbers.

A cell's **key** is a hash of its identity (task, protocol, method and hyper-parameters, backbone, image size, budget,
labels, target images, seed) with three fingerprints: of the method's code, of the task's facts, and of every pixel and
label that the task loads. A **source model's** key holds the source images, backbone, recipe, budget and seed, the
harness's code, and the threads and kind of device that trained it, on which its bits depend.

The harness's own code (`core_code`) is a column of each row instead of a part of its key: an edit there marks every row
as stale, and whether they are run again is said with --force. Syntax counts; comments, docstrings and
types do not.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from dabench.core import Task
from dabench.registry import sized

PACKAGE = Path(__file__).parent
_CARRIERS = {"plan", "worker", "isolation", "sharing", "failures"}


def digest(*parts: str) -> str:
    """A short hash of the parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _meaning(node: object) -> str:
    """The syntax as text without docstrings and types: what stays the same when a comment or an annotation changes.

    It is the same under every Python: each release adds fields, which are empty in older code.
    """
    if isinstance(node, list):
        return f"[{','.join(map(_meaning, node))}]"
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if isinstance(node, ast.JoinedStr):  # Python 3.12 puts empty pieces between those of an f-string
        return f"JoinedStr({','.join(written for written in map(_meaning, node.values) if written != repr(''))})"
    if isinstance(node, ast.AST):
        there = ((name, _that_counts(node, name, value)) for name, value in ast.iter_fields(node))
        fields = [f"{name}={_meaning(value)}" for name, value in there if value is not None and value != []]
        return f"{type(node).__name__}({','.join(fields)})"
    return repr(node)


def _that_counts(node: ast.AST, name: str, value: object) -> object:
    """What of a field some number may depend on."""
    if name == "returns" or (name == "annotation" and isinstance(node, ast.arg)):
        return None
    if name == "annotation" and isinstance(node, ast.AnnAssign):
        return ast.Constant(None)
    if not isinstance(value, list):
        return value
    return [each for each in value[name == "body" and _has_docstring(value) :] if not _is_for_types(each)]


def _has_docstring(body: list[ast.stmt]) -> bool:
    first = body[0].value if body and isinstance(body[0], ast.Expr) else None
    return isinstance(first, ast.Constant) and isinstance(first.value, str)


def _is_for_types(node: object) -> bool:
    """Whether a statement imports what types alone need, or nothing any more."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Import | ast.ImportFrom) and not node.names:
        return True
    return isinstance(node, ast.ImportFrom) and node.module in ("__future__", "typing", "collections.abc")


def _untyped(tree: ast.Module) -> ast.Module:
    """A method's syntax without its annotations, and without the imported names that these alone used."""
    named = _names(tree)
    bare: ast.Module = _Untyped().visit(tree)
    for_types = named - _names(bare)
    for node in ast.walk(bare):
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [name for name in node.names if (name.asname or name.name.partition(".")[0]) not in for_types]
    return bare


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


class _Untyped(ast.NodeTransformer):
    """Takes out annotations, and what stands under TYPE_CHECKING; a dataclass's fields stay fields."""

    def visit_If(self, node: ast.If) -> ast.AST:
        if _is_for_types(node):
            node.body = []
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        fields = [statement for statement in node.body if isinstance(statement, ast.AnnAssign)]
        for field in fields:
            field.annotation = ast.Constant(None)
        node.body = [statement if statement in fields else self.visit(statement) for statement in node.body]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return ast.Assign([node.target], node.value) if node.value else None


@cache
def _definitions(package: Path = PACKAGE) -> dict[str, ast.stmt]:
    """The top-level definitions of dabench.nn by name."""
    statements = [node for file in (package / "nn").glob("*.py") for node in ast.parse(file.read_text()).body]
    return {node.name: node for node in statements if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def _building_blocks(trees: Iterable[ast.AST], definitions: Mapping[str, ast.stmt]) -> list[str]:
    """What of dabench.nn these trees name, and what that names in turn."""
    wanted = [node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)]
    blocks: dict[str, str] = {}
    while wanted:
        name = wanted.pop()
        if name in definitions and name not in blocks:
            wanted += [node.id for node in ast.walk(definitions[name]) if isinstance(node, ast.Name)]
            blocks[name] = _meaning(definitions[name])
    return [blocks[name] for name in sorted(blocks)]


@cache
def method_code(file: Path) -> str:
    """Fingerprint of a method's code: its file, and the building blocks of dabench.nn that it uses."""
    tree = _untyped(ast.parse(file.read_text()))
    return digest(_meaning(tree), *_building_blocks([tree], _definitions()))


def harness(package: Path = PACKAGE) -> tuple[Path, ...]:
    """The modules through which every number passes: all of models/, and what of run/ computing a cell imports.

    The plan is none of them: it says which cells there are, and what it says of one is in the cell's key. Nor are those
    that start processes and carry arrays between them: a test has a cell's row the same, bit for bit, without them.
    """
    models = set((package / "models").glob("*.py"))
    found: set[Path] = set()
    waiting = [package / "run" / "cell.py"]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += (package / "run" / f"{name}.py" for name in _imported_from_run(file, package))
    return tuple(sorted(models | found))


def _imported_from_run(file: Path, package: Path) -> set[str]:
    """The modules of run/ that a file imports, at its head or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    modules = {name.removeprefix("dabench.run.") for name in names if name.startswith("dabench.run.")}
    return {name for name in modules - _CARRIERS if (package / "run" / f"{name}.py").exists()}


@cache
def core_code(package: Path = PACKAGE) -> str:
    """Fingerprint of the harness, and of the building blocks of dabench.nn that it uses itself."""
    trees = [ast.parse(file.read_text()) for file in harness(package)]
    blocks = _building_blocks(trees, _definitions(package))
    return digest(*map(_meaning, trees), *blocks)


@cache
def camera_code() -> str:
    """Fingerprint of the code of the simulated cameras."""
    return digest(_meaning_of(PACKAGE / "data" / "cameras.py"))


@cache
def loader_code(task: Task) -> str:
    """Fingerprint of the code that loads a task's images."""
    files = [*sorted((PACKAGE / "data").glob("*.py")), Path(inspect.getfile(task.load))]
    return digest(*map(_meaning_of, files))


@cache
def _meaning_of(file: Path) -> str:
    """A file of this package, which many tasks share, is read once."""
    return _meaning(ast.parse(file.read_text()))


def task_code(task: Task, image_size: int) -> str:
    """Fingerprint of the facts of a task that change its numbers at that size; the images have their own."""
    recipe = sized(task, image_size).recipe
    facts = (recipe, task.image_shape, task.num_classes, task.pretrained, task.logit_indices, task.class_mean)
    return digest(repr(facts))
