"""Exchanges a table at the level of a module, and what is made of it, in a process that runs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from types import ModuleType

from tests.hard.mutation.mutants import Mutant, mutated

#: Values of these types are shared by who knows whom, so that a name counts as well.
_ATOMS = (int, float, str, bytes, type(None))


def exchange_table(module: ModuleType, source: str, mutant: Mutant) -> bool:
    """Whether it could be done; a class, a default or a decorator keeps what it was made of."""
    statements = mutated(source, mutant.number).body
    where = max(place for place, each in enumerate(statements) if each.lineno <= mutant.first)
    if not _target(statements[where]):
        return False
    before, after = vars(module), dict(vars(module))
    changed: set[str] = set()
    for statement in statements[where:]:
        target = _target(statement)
        if not changed or changed & set(_made_of(statement)):
            if not target:
                return False
            changed.add(target)
            exec(compile(ast.Module([statement], []), module.__name__, "exec"), after)  # noqa: S102
    for name in changed:
        _everywhere(name, before[name], after[name])
    return True


def _target(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def _made_of(statement: ast.stmt) -> Iterator[str]:
    """The names that it needs when the module is loaded; of a function, not those in its body."""
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += [*node.decorator_list, node.args]
        else:
            todo += ast.iter_child_nodes(node)


def _everywhere(name: str, old: object, new: object) -> None:
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] in ("chaoying_async", "tests"):
            for key, value in list(vars(module).items()):
                if value is old and (key == name or not isinstance(old, _ATOMS)):
                    setattr(module, key, new)
