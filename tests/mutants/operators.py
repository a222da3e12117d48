"""What is changed: each function returns every way to break one expression or statement."""

import ast
from collections.abc import Iterator
from copy import copy

from tests.mutants.patterns import broken_patterns

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_SWAPPED = {"any": "all", "all": "any", "min": "max", "max": "min", "sorted": "list", "reversed": "list",
            "startswith": "endswith", "endswith": "startswith"}  # fmt: skip


def broken(node: ast.AST) -> Iterator[ast.expr]:
    """Yield every expression to have in the place of this one."""
    match node:
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield ast.BoolOp(op=other, values=node.values)
            yield from (_rest(node, index) for index in range(len(node.values)))
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant():
            yield from _constants(node)
        case ast.BinOp(op=ast.BitOr()):  # Types in an isinstance.
            yield from (node.left, node.right)
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            other_sign = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            yield ast.BinOp(left=node.left, op=other_sign, right=node.right)
        case ast.Tuple() | ast.List() | ast.Set():
            yield from _displays(node)
        case ast.Dict():
            yield from _dicts(node)
        case ast.Call():
            yield from _calls(node)


def negated(test: ast.expr) -> ast.expr:
    """Return a condition turned round."""
    return ast.UnaryOp(op=ast.Not(), operand=test)


def removed(statement: ast.stmt) -> ast.stmt | None:
    """Return what is left of a statement that is taken away, or None where that would say nothing."""
    match statement:
        case ast.Expr(value=ast.Yield() | ast.YieldFrom()):
            # The function stays a generator.
            return ast.Expr(ast.YieldFrom(ast.Tuple(elts=[], ctx=ast.Load())))
        case ast.Expr(value=ast.Constant()):
            return None
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Return() | ast.Continue() | ast.Break():
            return ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return ast.Pass()
    return None


def _comparisons(node: ast.Compare) -> Iterator[ast.expr]:
    for index, op in enumerate(node.ops):
        changed = copy(node)
        changed.ops = [*node.ops[:index], _COMPARISONS[type(op)](), *node.ops[index + 1 :]]
        yield changed


def _rest(node: ast.BoolOp, index: int) -> ast.expr:
    rest = [*node.values[:index], *node.values[index + 1 :]]
    return rest[0] if len(rest) == 1 else ast.BoolOp(op=node.op, values=rest)


def _constants(node: ast.Constant) -> Iterator[ast.expr]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))


def _displays(node: ast.Tuple | ast.List | ast.Set) -> Iterator[ast.expr]:
    if isinstance(node, ast.Set):
        nothing: ast.expr = ast.Call(func=ast.Name("set", ctx=ast.Load()), args=[], keywords=[])
    else:
        nothing = ast.Tuple(elts=[], ctx=ast.Load()) if isinstance(node, ast.Tuple) else ast.List([], ctx=ast.Load())
    for index in range(len(node.elts)):
        fewer = copy(node)
        fewer.elts = [*node.elts[:index], *node.elts[index + 1 :]]
        yield fewer if fewer.elts else nothing


def _dicts(node: ast.Dict) -> Iterator[ast.expr]:
    for index in range(len(node.keys)):
        keep = [at for at in range(len(node.keys)) if at != index]
        yield ast.Dict(keys=[node.keys[at] for at in keep], values=[node.values[at] for at in keep])


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    match node.func:
        case ast.Name(id=name) if name in _SWAPPED:
            yield ast.Call(func=ast.Name(_SWAPPED[name], ctx=ast.Load()), args=node.args, keywords=node.keywords)
        case ast.Attribute(attr=name) if name in _SWAPPED:
            func = ast.Attribute(value=node.func.value, attr=_SWAPPED[name], ctx=ast.Load())
            yield ast.Call(func=func, args=node.args, keywords=node.keywords)
        case ast.Attribute(attr="compile", value=ast.Name(id="re")):
            yield from broken_patterns(node)
