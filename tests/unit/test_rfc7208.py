"""The whole suite of RFC 7208, 203 cases, asked of a name server on loopback through the resolver of this project."""

from __future__ import annotations

import socket
from functools import partial

import pytest
from gevent.event import Event

from forkpolicy.dns_settings import DnsSettings
from forkpolicy.policy.answers import MustWait
from forkpolicy.policy.matchers.asking.spf import SpfMatcher
from forkpolicy.worker.asked_spf import AskedSpf
from forkpolicy.worker.names import Names
from forkpolicy.world.dns.records import WaitingLookup
from forkpolicy.world.spf import RESULTS, Spf, check
from loadtest.servers.names.behaviours import has, never, nxdomain, sends
from loadtest.servers.names.messages import Record
from loadtest.servers.names.server import NameServer
from tests.resolving import asking
from tests.rfc7208 import scenarios

# A name that the suite says nothing of but that nobody answers for it.
SILENT = "error."
LONGEST_CHAIN = 8


def record(name, rrtype, value):
    """A record as the name server has it; an empty exchange is the root."""
    data = f"{value[0]} {value[1] or '.'}" if rrtype == "MX" else value
    return Record(rrtype, data, name=name)


def zone_of(scenario):
    """What a resolver that follows aliases, as every public one does, says about a scenario's names."""

    def behave(question):
        name, chain = question.name, []
        while len(chain) < LONGEST_CHAIN:
            found = scenario.records.get((name, question.rrtype), [])
            if found:
                return sends(*chain, *(record(name, question.rrtype, value) for value in found))(question)
            if (name, question.rrtype) in scenario.silent or name.startswith(SILENT):
                return never()(question)
            alias = scenario.records.get((name, "CNAME"))
            if alias is None:
                break
            chain.append(record(name, "CNAME", alias[0]))
            name = alias[0].lower().rstrip(".")
        if chain:
            return sends(*chain)(question)
        return (has() if any(known == name for known, _ in scenario.records) else nxdomain())(question)

    return behave


def in_a_command(scenario, server):
    """Each result, with a look-up that turns a loop of its own."""
    with asking(server.address, timeout_s=0.1) as asked:
        lookup = WaitingLookup(asked.resolver, asked.ask, socket)
        for case in scenario.cases:
            yield case, check(Spf(case.client, case.sender, case.helo), lookup, "mx.example.net").result


def in_a_worker(scenario, server):
    """Each result as a policy asks for it, over gevent's loop; what takes time in greenlets, all of them at once."""
    names = Names()
    names.use(DnsSettings(servers=(server.address,), timeout=0.1))
    asker, results, all_known = AskedSpf(names, "mx.example.net"), {}, Event()

    def done(case, answer):
        results[case] = answer
        if len(results) == len(scenario.cases):
            all_known.set()

    matcher = SpfMatcher("spf", frozenset(RESULTS))
    for case in scenario.cases:
        values = {"client_address": case.client, "sender": case.sender, "helo_name": case.helo}
        question = matcher.question(values)
        try:
            done(case, asker.ask(question))
        except MustWait:
            asker.begin(question, b"", partial(done, case))
    assert all_known.wait(20), "not every check has an end"
    names.resolver.close()
    for case, answer in results.items():
        yield case, matcher.read(answer).result


@pytest.mark.timeout(180)
@pytest.mark.parametrize("results_of", [in_a_command, in_a_worker])
def test_every_case_has_a_right_result(results_of):
    """203 of 203, time-outs included."""
    cases, wrong = 0, []
    for scenario in scenarios():
        with NameServer(default=zone_of(scenario)) as server:
            for case, result in results_of(scenario, server):
                cases += 1
                wrong += [(scenario.name, case, result)] if result not in case.results else []
    assert wrong == []
    assert cases == 203
