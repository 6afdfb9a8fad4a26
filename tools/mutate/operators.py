"""Mutation operators: each makes one small change to a module's syntax tree."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_ANNOTATIONS = ("annotation", "returns", "decorator_list", "bases")
_DELETED = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Delete)

Path = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Mutant:
    """One change, at ``line`` of ``function`` (dotted, ``""`` at module level). ``before`` and ``after`` are source."""

    line: int
    function: str
    before: str
    after: str
    original: ast.Module = field(repr=False, compare=False)
    path: Path = field(repr=False, compare=False)
    alternative: ast.AST = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Identifies the mutant within its module, independently of line numbers."""
        return f"{self.function}: {self.before} → {self.after}"

    def tree(self) -> ast.Module:
        """The module with the change."""
        mutated = copy.deepcopy(self.original)
        parent: ast.AST = mutated
        for name, index in self.path[:-1]:
            parent = getattr(parent, name) if index is None else getattr(parent, name)[index]
        name, index = self.path[-1]
        if index is None:
            setattr(parent, name, copy.deepcopy(self.alternative))
        else:
            getattr(parent, name)[index] = copy.deepcopy(self.alternative)
        return ast.fix_missing_locations(mutated)


def mutants(source: str) -> Iterator[Mutant]:
    """All mutants of a module, in source order."""
    tree = ast.parse(source)
    for path, node, function in _sites(tree, (), ""):
        for alternative in _alternatives(node):
            yield Mutant(
                getattr(node, "lineno", 0), function, _unparse(node), _unparse(alternative), tree, path, alternative
            )


def _unparse(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _sites(node: ast.AST, path: Path, function: str) -> Iterator[tuple[Path, ast.AST, str]]:
    """Every node that may be mutated, with its path and its enclosing function."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        function = f"{function}.{node.name}".lstrip(".")
    for name, value in ast.iter_fields(node):
        if name in _ANNOTATIONS or (isinstance(node, ast.ClassDef) and name == "keywords"):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if isinstance(child, ast.AST) and not _is_fixed(node, child):
                step = (name, index if isinstance(value, list) else None)
                yield (*path, step), child, function
                yield from _sites(child, (*path, step), function)


def _is_fixed(parent: ast.AST, child: ast.AST) -> bool:
    """Docstrings, ellipses, ``__slots__``, imports, type variables and literal parts of f-strings are not mutated."""
    match child:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__")]) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Constant():
            return isinstance(parent, ast.JoinedStr)
        case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))) | ast.Import() | ast.ImportFrom():
            return True
    return False


def _alternatives(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.stmt):
        yield from _statements(node)
    elif isinstance(node, ast.expr):
        yield from _expressions(node)


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    if isinstance(node, _DELETED):
        yield ast.Pass()
    match node:
        case ast.If() | ast.While() if not _is_operation(node.test):
            yield _negated(node)
        case ast.AugAssign(target=target, op=operation, value=value):
            yield ast.AugAssign(target, _ARITHMETIC[type(operation)](), value)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()


def _expressions(node: ast.expr) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            for index, operator in enumerate(ops):
                yield ast.Compare(left, [*ops[:index], _COMPARISONS[type(operator)](), *ops[index + 1 :]], others)
        case ast.BoolOp(op=operator, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.IfExp() if not _is_operation(node.test):
            yield _negated(node)
        case ast.BinOp(left=left, op=operation, right=right):
            yield ast.BinOp(left, _ARITHMETIC[type(operation)](), right)
        case ast.Constant():
            yield from _constants(node)
        case ast.Call():
            yield from _calls(node)


def _is_operation(test: ast.expr) -> bool:
    """Whether a condition has its own mutation operator."""
    return isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp)


def _negated(node: ast.If | ast.While | ast.IfExp) -> ast.AST:
    changed = copy.copy(node)
    changed.test = ast.UnaryOp(ast.Not(), node.test)
    return changed


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    match node.value:
        case bool():
            yield ast.Constant(not node.value)
        case int() | float():
            yield ast.Constant(node.value + 1)
        case str():
            yield ast.Constant("XX" + node.value)
        case bytes():
            yield ast.Constant(b"XX" + node.value)


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """The call without each of its keywords, and without its last positional argument."""
    for index in range(len(node.keywords)):
        yield ast.Call(node.func, node.args, node.keywords[:index] + node.keywords[index + 1 :])
    if node.args:
        yield ast.Call(node.func, node.args[:-1], node.keywords)
