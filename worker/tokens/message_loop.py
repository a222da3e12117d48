"""Templates that are one loop over the messages: a single rendering says where each message begins.

Such a template is a head, a loop and a tail. It renders the first i messages as the head, i turns of the loop, and the
tail. Where head and loop cannot know what follows a message, nor whether another turn is asked for, and the tail knows
nothing of what they did, that is to the letter what it writes before message i of the whole, and the tail. Templates
are told by their syntax tree, and what is not seen to be so is not one: ChatML and most templates without tools are.
"""

from collections.abc import Iterable, Iterator

from jinja2 import nodes

#: Stands before each message and before the tail. Texts that have it are told by there being too many.
MARK = "\x00mark\x00"

#: Statements that are understood, beside all expressions: no macros, blocks, includes, and no way out of a loop.
_STATEMENTS = (nodes.Output, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock, nodes.Continue)
#: What a loop may ask of itself without looking ahead.
_BEHIND = frozenset({"first", "index", "index0"})
#: What head and loop may not know, nor anything rename; and what gives access to all there is.
_WHOLE, _ASKED = "messages", "add_generation_prompt"
_RESERVED = frozenset({_WHOLE, _ASKED, "loop", "self"})


def mark_messages(template: nodes.Template) -> bool:
    """Put marks into a template that is one loop over the messages; return whether it is one."""
    loops = [node for node in template.body if isinstance(node, nodes.For) and _is_whole(node.iter)]
    if len(loops) != 1:
        return False
    (loop,) = loops
    place = template.body.index(loop)
    head, tail = template.body[:place], template.body[place + 1 :]
    if loop.test or loop.recursive or loop.else_ or not isinstance(loop.target, nodes.Name):
        return False
    if not (_looks_behind([*head, *loop.body]) and _is_understood([loop.target, *tail])):
        return False
    changed = {name for name, is_stored in _names([*head, loop.target, *loop.body]) if is_stored}
    if not {name for name, _ in _names(tail)}.isdisjoint(changed | {_WHOLE, "self"}):
        return False
    loop.body.insert(0, _mark())
    template.body.insert(place + 1, _mark())
    return True


def _looks_behind(some: Iterable[nodes.Node]) -> bool:
    """Return whether nodes know of messages only the first, and of a loop only what was."""
    if not _is_understood(some):
        return False
    allowed = sum(_is_first_message(node) or _is_of_loop(node) for node in _all(some))
    return allowed == sum(name in _RESERVED for name, _ in _names(some))


def _is_understood(some: Iterable[nodes.Node]) -> bool:
    """Return whether nodes are of known kinds, and give nothing a reserved name."""
    known = all(not isinstance(node, nodes.Stmt) or isinstance(node, _STATEMENTS) for node in _all(some))
    return known and not any(is_stored and name in _RESERVED for name, is_stored in _names(some))


def _is_whole(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == _WHOLE


def _is_first_message(node: nodes.Node) -> bool:
    if not isinstance(node, nodes.Getitem) or not _is_whole(node.node):
        return False
    return isinstance(node.arg, nodes.Const) and node.arg.value == 0


def _is_of_loop(node: nodes.Node) -> bool:
    if not isinstance(node, nodes.Getattr) or node.attr not in _BEHIND:
        return False
    return isinstance(node.node, nodes.Name) and node.node.name == "loop"


def _names(some: Iterable[nodes.Node]) -> Iterator[tuple[str, bool]]:
    """Yield each mention of a variable, and whether it is given a value or changed there."""
    for node in _all(some):
        if isinstance(node, nodes.Name):
            yield node.name, node.ctx != "load"
        elif isinstance(node, nodes.NSRef):
            yield node.name, True


def _all(some: Iterable[nodes.Node]) -> Iterator[nodes.Node]:
    for node in some:
        yield node
        yield from _all(node.iter_child_nodes())


def _mark() -> nodes.Output:
    return nodes.Output([nodes.TemplateData(MARK)])
