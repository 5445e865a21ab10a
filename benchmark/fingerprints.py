"""What a cell's key is made of: fingerprints of the code, the facts and the data that can change its numbers."""

from __future__ import annotations

import ast
import hashlib
import inspect
from functools import cache
from pathlib import Path

from dabench.core import Task
from dabench.registry import sized


def digest(*parts: str) -> str:
    """A short hash of the parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _meaning(node: ast.AST) -> str:
    """The syntax without docstrings: what stays the same when a comment or a text changes."""
    for inner in ast.walk(node):
        body = getattr(inner, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del body[0]
    return ast.dump(node)


@cache
def _definitions() -> dict[str, ast.stmt]:
    """The top-level definitions of dabench.nn by name."""
    tree = ast.parse((Path(__file__).parent / "nn.py").read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


@cache
def method_code(file: Path) -> str:
    """Fingerprint of a method's code: its file, and the building blocks of dabench.nn that it uses."""
    tree = ast.parse(file.read_text())
    wanted = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    blocks: dict[str, str] = {}
    while wanted:
        name = wanted.pop()
        if name in _definitions() and name not in blocks:
            wanted += [node.id for node in ast.walk(_definitions()[name]) if isinstance(node, ast.Name)]
            blocks[name] = _meaning(_definitions()[name])
    return digest(_meaning(tree), *(blocks[name] for name in sorted(blocks)))


@cache
def core_code() -> str:
    """Fingerprint of the harness: the modules through which every number passes."""
    folder = Path(__file__).parent
    modules = (
        _meaning(ast.parse((folder / f"{name}.py").read_text()))
        for name in ("run/cell", "run/target_data", "models/networks")
    )
    return digest(*modules, _meaning(_definitions()["Classifier"]))


@cache
def loader_code(task: Task) -> str:
    """Fingerprint of the code that loads a task's images."""
    folder = Path(__file__).parent
    files = [*sorted((folder / "data").glob("*.py")), Path(inspect.getfile(task.load))]
    return digest(*(_meaning(ast.parse(file.read_text())) for file in files))


def task_code(task: Task, image_size: int) -> str:
    """Fingerprint of the facts of a task that change its numbers at that size; the images have their own."""
    recipe = sized(task, image_size).recipe
    facts = (recipe, task.image_shape, task.num_classes, task.pretrained, task.logit_indices)
    return digest(repr(facts))
