"""What `{match.ACL}` may put into an action: which ACLs have something to say, and what others may say through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.model import Acl
    from forkpolicy.policy.nodes import Word
    from forkpolicy.policy.template import Template


def check_matches(word: Word, template: Template, acls: Mapping[str, Acl]) -> Iterator[Diagnostic]:
    """What is wrong with the matches of a template at a word; what they put in is asked for from now on."""
    for name in template.matches:
        acl = acls.get(name)
        if acl is None:
            near = nearest(name, acls)
            hint = f'did you mean "{{match.{near}}}"?' if near else "declare the acl before the action"
            yield word.error(f'unknown acl "{name}" in "{{match.{name}}}"', hint)
        elif acl.all_matchers and not any(map(_says_something, acl.asked_acls)):
            message = f'acl "{name}" asks no table and remembers nothing, so "{{match.{name}}}" is always empty'
            yield word.error(message)
        elif acl.changes:
            hint = "write a rule for the score of its own"
            yield word.error(f'acl "{name}" has a term of type score, so nobody knows later which term was met', hint)
        else:
            for asked in acl.asked_acls:
                if asked.asks:
                    asked.asks.put_in()
    for name in template.texts:
        if name in acls and not asks_service(acls, name):
            message = f'acl "{name}" asks no service, and only a service replies with a text'
            yield word.error(message, f'did you mean "{{match.{name}}}"?')


def has_foreign_text(acls: Mapping[str, Acl], name: str) -> bool:
    """Whether strangers choose what it puts in."""
    return name in acls and any(matcher.foreign_text for matcher in acls[name].all_matchers)


def asks_service(acls: Mapping[str, Acl], name: str) -> bool:
    """Whether it is the reply of a service, whichever term of it was met."""
    alternatives = acls[name].alternatives if name in acls else ()
    matchers = [matcher for acl in alternatives for matcher in acl.matchers]
    return bool(matchers) and all(matcher.endpoint for matcher in matchers)


def _says_something(acl: Acl) -> bool:
    return acl.asks is not None or any(matcher.lookup for matcher in acl.matchers)
