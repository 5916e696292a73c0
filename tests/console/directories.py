"""Consoles for tests of signing in by another server: their settings, and the forms of their pages."""

from __future__ import annotations

import re
import socket
from dataclasses import replace

from argon2 import PasswordHasher

from forkpolicy.console.access import passwords
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.console.routes import ROUTES
from forkpolicy.console_settings import ConsoleSettings
from forkpolicy.settings import Settings
from tests.console.asking import Browser

PASSWORD = "correct horse"
WRONG = "The name or the password is wrong."


def console(directory, **settings):
    """The parts of a console in a directory."""
    directory.mkdir(exist_ok=True)
    return Parts(Settings(console=ConsoleSettings(path=str(directory), **settings)))


def browser_of(parts):
    """One who has not signed in."""
    return Browser(application(parts, parts.door, [replace(each, nav="") for each in ROUTES]))


def account(parts, name, role):
    """An account of the console, and a browser that is signed in as it."""
    parts.door.accounts.add(name, role)
    asked = browser_of(parts)
    form = {"password": PASSWORD, "again": PASSWORD}
    assert asked.post(f"/first/{parts.door.accounts.new_link(name)}", form).status == 303
    return asked


def sign_in(parts, name, password):
    """The browser, and what it was answered."""
    asked = browser_of(parts)
    return asked, asked.post("/sign-in", {"name": name, "password": password})


def me(asked):
    """The page of the own account, as JSON."""
    return asked.json("/account")


def token_of(asked):
    """What the forms of a page have."""
    return re.search(r'name="token" value="([^"]+)"', asked.get("/account").text)[1]


def gateway(directory, lines):
    """gateway.toml, with a domains file of these lines next to it."""
    (directory / "domains").write_text(lines)
    path = directory / "gateway.toml"
    path.write_text('domains = "domains"\n')
    return str(path)


def resolve_to_loopback(monkeypatch, *names):
    """Let these names be of this machine, which a program cannot know before it asks for their address."""
    asked = socket.getaddrinfo

    def of_loopback(host, *more, **others):
        return asked("127.0.0.1" if host in names else host, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", of_loopback)


def cheap_hashes(monkeypatch):
    """Where what is tested is not how long a hash takes."""
    hasher = PasswordHasher(1, 8, 1)
    monkeypatch.setattr(passwords, "_hasher", hasher)
    monkeypatch.setattr(passwords, "_NOBODYS", hasher.hash("nobody"))
