"""What the judge says of what happens: the definitions of problems, losses and outages, played through."""

import sys
from pathlib import Path

import msgspec
import pytest

from tests.model.plays import UNSCALED, FleetOfPlay, keys_of, ms, perform, said
from wawp_exporter.model.judge import Judge
from wawp_exporter.model.limits import Limits
from wawp_exporter.model.outage import MUTES, Kind, Outage
from wawp_exporter.model.problems import ROWS

PLAYS = {
    # -- probes
    "probes that are not answered are said at once, until one is answered": """
        0    a  WORKING
        600  a  unanswered
        600  =  a unresponsive@600
        900  a  unanswered
        901  a  answered
        901  =  nothing
    """,
    "what probes have shown is over with the stay in WORKING": """
        0    a  WORKING
        600  a  unanswered
        700  a  DISCONNECTED
        700  =  nothing
        705  =  a disconnected@700
        710  a  WORKING
        711  =  a disconnected@700
        770  =  nothing
    """,
    "maintenance excuses a session that is not answered, and its end does not": """
        0    a  WORKING
        600  a  unanswered
        700  a  maintenance
        700  =  nothing
        800  a  expected
        800  =  a unresponsive@600
    """,
    # -- logins
    "a first pairing asks for its login until it works": """
        0    a  STARTING
        2    a  SCAN_QR_CODE
        2    =  a login@2
        20   a  STARTING
        20   =  a login@2
        24   a  WORKING
        24   =  nothing
        3600 =  nothing
    """,
    "a code that nobody scans escalates, whatever the session goes through": """
        0    a  STARTING
        2    a  SCAN_QR_CODE
        162  a  FAILED
        200  =  a login@2
        290  a  STARTING
        295  a  SCAN_QR_CODE
        311  =  a login@2
        312  =  a login@2; a login_overdue@2
        3611 =  a login@2; a login_overdue@2
        3612 =  a login@2; a login_overdue@2; a login_unattended@2
        4000 a  WORKING
        4000 =  nothing
    """,
    "a status that changes every few seconds does not put the escalation off": """
        0    a  SCAN_QR_CODE
        296  a  FAILED
        302  a  STARTING
        309  a  SCAN_QR_CODE
        310  =  a login@0; a login_overdue@0
    """,
    "a restart in the middle of a login does not end it": """
        0   a  SCAN_QR_CODE
        60  a  STOPPED
        73  =  a login@0
        73  a  STARTING
        73  =  a login@0
        75  a  SCAN_QR_CODE
        310 =  a login@0; a login_overdue@0
        320 a  STOPPED
        350 =  a login@0; a login_overdue@0
        351 =  nothing
    """,
    "a login silences what was said of the loss, and a loss inside a login is not said": """
        0    a  WORKING
        100  a  DISCONNECTED
        105  =  a disconnected@100
        200  a  SCAN_QR_CODE
        200  =  a login@200
        300  a  DISCONNECTED
        400  =  a login@200
        1200 =  a login@200; a login_overdue@200
        1200 a  WORKING
        1200 =  nothing
    """,
    "sessions that wait for their login count as no loss beside one that is disconnected": """
        0   x1-10 WORKING
        100 x1    DISCONNECTED
        110 x2-3  STOPPED
        120 x2-3  STARTING
        122 x2-3  SCAN_QR_CODE
        300 =     x1 disconnected@100; x2-3 login@122
    """,
    # -- losses of one session
    "a restart says nothing": """
        0   a  WORKING
        100 a  STOPPED
        113 a  STARTING
        115 a  WORKING
        114 =  nothing
        900 =  nothing
    """,
    "GOWS lost its network for a while": """
        0   a  WORKING
        100 a  STARTING
        169 =  nothing
        170 =  a stuck_starting@100
        200 a  WORKING
        259 =  a stuck_starting@100
        260 =  nothing
    """,
    "GOWS lost its network for a moment": """
        0   a  WORKING
        100 a  STARTING
        169 a  WORKING
        400 =  nothing
    """,
    "NOWEB tries for two minutes, then gives up": """
        0    a  WORKING
        100  a  STARTING
        150  a  STARTING
        170  =  a stuck_starting@100
        218  a  FAILED
        237  =  a stuck_starting@100
        238  =  a stuck_starting@100; a failed@218
        9999 =  a stuck_starting@100; a failed@218
    """,
    "WEBJS restarts its browser": """
        0   a  WORKING
        100 a  FAILED
        102 a  STARTING
        108 a  WORKING
        900 =  nothing
    """,
    "WEBJS without a network flaps": """
        0    a  WORKING
        100  a  FAILED
        102  a  STARTING
        102.5 a FAILED
        104.5 a STARTING
        105  a  FAILED
        107  a  STARTING
        107.5 a FAILED
        109.5 a STARTING
        110  a  FAILED
        112  a  STARTING
        117.4 = nothing
        117.5 = a flapping@100
        118  a  STOPPED
        148  =  a flapping@100
        149  =  nothing
    """,
    "the phone has unlinked the session": """
        0   a  WORKING
        100 a  FAILED
        119 =  nothing
        120 =  a failed@100
        900 =  a failed@100
        1200 = a failed@100
    """,
    "a session that was never WORKING has problems too": """
        0  a  STARTING
        70 =  a stuck_starting@0
    """,
    "twenty seconds of WORKING, or a restart, do not withdraw an alert": """
        0    a  WORKING
        100  a  DISCONNECTED
        104  =  nothing
        105  =  a disconnected@100
        110  a  STARTING
        120  =  a disconnected@100
        130  a  WORKING
        150  a  DISCONNECTED
        155  =  a disconnected@100
        160  a  STOPPED
        170  a  STARTING
        180  a  WORKING
        239  =  a disconnected@100
        240  =  nothing
    """,
    "what is stopped is somebody's decision": """
        0   a  WORKING
        100 a  DISCONNECTED
        110 a  STOPPED
        140 =  a disconnected@100
        141 =  nothing
        500 a  STARTING
        569 =  nothing
        570 =  a stuck_starting@500
    """,
    "a moment of DISCONNECTED says nothing, for one session or for all": """
        0   x1-20 WORKING
        100 x1-20 DISCONNECTED
        100 x1-20 STARTING
        103 x1-20 WORKING
        105 =     nothing
        900 =     nothing
    """,
    "whatever stays below every other limit is down in the end": """
        0    a  WORKING
        100  a  STARTING
        150  a  UNKNOWN
        300  a  FAILED
        305  a  UNKNOWN
        1000 a  STARTING
        1009 =  nothing
        1010 =  a down@100
        1069 =  a down@100
        1070 =  a stuck_starting@1000
        1100 a  WORKING
        1160 =  nothing
    """,
    "UNKNOWN begins nothing and ends nothing": """
        0    a,b  WORKING
        100  a    DISCONNECTED
        105  =    a disconnected@100
        110  a,b  UNKNOWN
        5000 =    a disconnected@100
        5000 a,b  WORKING
        5059 =    a disconnected@100
        5060 =    nothing
    """,
    "a session flaps until its entries are a quarter of an hour old": """
        0   a  WORKING
        10  a  STARTING
        20  a  WORKING
        30  a  STARTING
        40  a  WORKING
        50  a  STARTING
        60  a  WORKING
        69  =  nothing
        70  =  a flapping@0
        75  a  STARTING
        80  a  WORKING
        919 =  a flapping@0
        920 =  nothing
    """,
    "a deleted session has nothing": """
        0   a  WORKING
        100 a  DISCONNECTED
        200 a  deleted
        200 =  nothing
        201 a  STARTING
        271 =  a stuck_starting@201
    """,
    "a restriction is said while it holds, also of a session that is lost": """
        0    a  WORKING
        50   a  restricted
        59   =  nothing
        60   =  a reachout_timelock@50
        70   a  restricted
        100  a  FAILED
        120  =  a reachout_timelock@50; a failed@100
        130  a  STARTING
        140  a  WORKING
        200  =  a reachout_timelock@50
        300  a  free
        300  =  nothing
    """,
    "a restriction with an end ends by itself": """
        0    a  WORKING
        50   a  restricted 500
        60   =  a reachout_timelock@50
        499  =  a reachout_timelock@50
        500  =  nothing
    """,
    "another limit holds at once": """
        0    a  WORKING
        100  a  FAILED
        110  a  limit failed 300
        120  =  nothing
        200  a  limit failed 60
        200  =  a failed@100
    """,
    "a late event corrects a since-time": """
        0    a  WORKING
        100  a  DISCONNECTED
        105  =  a disconnected@100
        200  a  DISCONNECTED at 90
        200  =  a disconnected@90
    """,
    "a late event that shows a login replaces what was said": """
        0    a  WORKING
        100  a  STARTING
        170  =  a stuck_starting@100
        200  a  SCAN_QR_CODE at 90
        200  =  a login@90
    """,
    # -- maintenance
    "maintenance ends what was said, and what is broken at its end is said then": """
        0    a  WORKING
        100  a  DISCONNECTED
        105  =  a disconnected@100
        200  a  maintenance
        200  =  nothing
        300  a  FAILED
        800  a  expected
        809  =  nothing
        810  =  a failed@300
    """,
    "a login in maintenance is asked for at its end": """
        0    a  WORKING
        100  a  maintenance
        200  a  SCAN_QR_CODE
        500  =  nothing
        900  a  expected
        900  =  a login@200
        909  =  a login@200
        910  =  a login@200; a login_overdue@200
    """,
    "what was restarted four times during maintenance does not flap": """
        0    a  WORKING
        10   a  maintenance
        20   a  STARTING
        25   a  WORKING
        30   a  STARTING
        35   a  WORKING
        40   a  STARTING
        45   a  WORKING
        50   a  STARTING
        55   a  WORKING
        60   a  expected
        900  =  nothing
    """,
    "what was before a login does not count towards flapping after it": """
        0    a  STARTING
        5    a  WORKING
        10   a  STARTING
        15   a  WORKING
        20   a  STARTING
        25   a  WORKING
        30   a  SCAN_QR_CODE
        40   a  STARTING
        45   a  WORKING
        200  =  nothing
    """,
    "what was before the maintenance does not count towards flapping after it": """
        0    a  STARTING
        5    a  WORKING
        10   a  STARTING
        15   a  WORKING
        20   a  STARTING
        25   a  WORKING
        30   a  maintenance
        60   a  expected
        70   a  STARTING
        75   a  WORKING
        200  =  nothing
    """,
    "sessions that are broken at the end of their maintenance are one loss": """
        0    x1-15 WORKING
        100  x1-8  maintenance
        200  x1-5  FAILED
        400  x6-8  DISCONNECTED
        900  x1-8  expected
        904  =     nothing
        905  =     OUTAGE disconnect waha/GOWS 3/3@900
        910  =     OUTAGE disconnect waha/GOWS 8/8@900
    """,
    "maintenance takes a session out of an outage": """
        0    x1-20 WORKING
        100  x1-8  DISCONNECTED
        105  =     OUTAGE disconnect waha/GOWS 8/8@100
        200  x1-4  maintenance
        200  =     OUTAGE disconnect waha/GOWS 4/8@100
        300  x1    WORKING
        400  x1-4  expected
        405  =     OUTAGE disconnect waha/GOWS 7/8@100
    """,
    # -- outages
    "a mass loss is one outage, and stragglers join it": """
        0    x1-20 WORKING
        100  x1-8  DISCONNECTED
        105  =     OUTAGE disconnect waha/GOWS 8/8@100
        300  x9    DISCONNECTED
        590  x10   DISCONNECTED
        600  =     OUTAGE disconnect waha/GOWS 10/10@100
        900  x11   DISCONNECTED
        905  =     OUTAGE disconnect waha/GOWS 10/10@100; x11 disconnected@900
        950  x1-8  WORKING
        1009 =     OUTAGE disconnect waha/GOWS 10/10@100; x11 disconnected@900
        1010 =     OUTAGE disconnect waha/GOWS 2/10@100; x11 disconnected@900
        1189 =     OUTAGE disconnect waha/GOWS 2/10@100; x11 disconnected@900
        1190 =     x11 disconnected@900
        1195 =     x9 disconnected@300; x10 disconnected@590; x11 disconnected@900
    """,
    "an outage that goes up and down below its floor goes on": """
        0    x1-20 WORKING
        100  x1-4  DISCONNECTED
        200  x1-2  WORKING
        260  =     OUTAGE disconnect waha/GOWS 2/4@100
        300  x1    DISCONNECTED
        310  =     OUTAGE disconnect waha/GOWS 3/4@100
        480  =     OUTAGE disconnect waha/GOWS 3/4@100
        480  x1    WORKING
        719  =     OUTAGE disconnect waha/GOWS 2/4@100
        720  =     nothing
        725  =     x3-4 disconnected@100
    """,
    "shares are of the sessions that are neither stopped nor in maintenance": """
        0     x1-40  WORKING
        10    x11-25 STOPPED
        20    x26-40 maintenance
        100   x1-3   DISCONNECTED
        105   =      OUTAGE disconnect waha/GOWS 3/3@100
    """,
    "stopped sessions that work again count in": """
        0     x1-20  WORKING
        10    x11-20 STOPPED
        60    x11-20 WORKING
        100   x1-3   DISCONNECTED
        105   =      x1-3 disconnected@100
    """,
    "sessions whose maintenance is over count in": """
        0     x1-20  WORKING
        10    x11-20 maintenance
        60    x11-20 expected
        100   x1-3   DISCONNECTED
        105   =      x1-3 disconnected@100
    """,
    "three chronic sessions mute nobody but themselves": """
        0     x1-10 WORKING
        100   x1-3  DISCONNECTED
        105   =     OUTAGE disconnect waha/GOWS 3/3@100
        90000 x4    DISCONNECTED
        90005 =     OUTAGE disconnect waha/GOWS 3/3@100; x4 disconnected@90000
    """,
    "a second burst joins": """
        0     x1-20 WORKING
        100   x1-4  DISCONNECTED
        105   =     OUTAGE disconnect waha/GOWS 4/4@100
        2000  x5-7  DISCONNECTED
        2004  x8    DISCONNECTED
        2010  =     OUTAGE disconnect waha/GOWS 8/8@100
    """,
    "too few for a second burst are told of one by one": """
        0     x1-20 WORKING
        100   x1-4  DISCONNECTED
        2000  x5-7  DISCONNECTED
        2010  =     OUTAGE disconnect waha/GOWS 4/4@100; x5-7 disconnected@2000
    """,
    "a slow loss of every fifth is an outage when the last is lost": """
        0     x1-20 WORKING
        100   x1    DISCONNECTED
        390   x2    DISCONNECTED
        680   x3    DISCONNECTED
        700   =     x1 disconnected@100; x2 disconnected@390; x3 disconnected@680
        970   x4    DISCONNECTED
        975   =     x1 disconnected@100; x2 disconnected@390; x3 disconnected@680; OUTAGE disconnect waha/GOWS 4/4@100
        970   =     x1 disconnected@100; x2 disconnected@390; x3 disconnected@680; OUTAGE disconnect waha/GOWS 4/4@100
    """,
    "2 of 2 is no mass": """
        0     x1-2 WORKING
        100   x1-2 DISCONNECTED
        105   =    x1-2 disconnected@100
    """,
    "twenty-five of a large fleet are an outage, twenty-four are not": """
        0     x1-1000 WORKING
        100   x1-24   DISCONNECTED
        105   =       x1-24 disconnected@100
        200   x25     DISCONNECTED
        205   =       x1-24 disconnected@100; OUTAGE disconnect waha/GOWS 25/25@100
    """,
    "a gateway that restarts all of its sessions says nothing": """
        0     x1-50 WORKING
        100   x1-50 STOPPED
        113   x1-50 STARTING
        125   x1-50 WORKING
        126   =     nothing
        900   =     nothing
    """,
    "browsers that crash together and come back say nothing": """
        0     x1-20 WORKING
        100   x1-20 FAILED
        102   x1-20 STARTING
        108   x1-20 WORKING
        900   =     nothing
    """,
    "GOWS sessions that lost their network together are an outage after a minute": """
        0     x1-20 WORKING
        100   x1-20 STARTING
        160   =     nothing
        165   =     OUTAGE disconnect waha/GOWS 20/20@100
        300   x1-18 WORKING
        360   =     OUTAGE disconnect waha/GOWS 2/20@100
        540   =     nothing
        550   =     x19-20 stuck_starting@100
    """,
    "WEBJS sessions that lost their network together are an outage, and do not flap": """
        0     x1-5  WORKING
        100   x1-5  FAILED
        102   x1-5  STARTING
        103   x1-5  FAILED
        105   x1-5  STARTING
        106   x1-5  FAILED
        108   x1-5  STARTING
        109   x1-5  FAILED
        111   x1-5  STARTING
        116   =     OUTAGE disconnect waha/GOWS 5/5@100
        130   x1-5  WORKING
        190   =     OUTAGE disconnect waha/GOWS 0/5@100
        370   =     nothing
    """,
    "a third must log in again: one outage, and a code each": """
        0     x1-9  WORKING
        100   x1-3  STOPPED
        113   x1-3  STARTING
        115   x1-3  SCAN_QR_CODE
        115   =     x1-3 login@115
        120   =     x1-3 login@115; OUTAGE reauth waha/GOWS 3/3@115
        5000  =     x1-3 login@115; OUTAGE reauth waha/GOWS 3/3@115
        5000  x1    WORKING
        5179  =     x2-3 login@115; OUTAGE reauth waha/GOWS 2/3@115
        5190  =     x2-3 login@115; x2-3 login_overdue@115; x2-3 login_unattended@115
    """,
    "three new sessions that are paired for the first time are no mass logout": """
        0     x1-10 WORKING
        100   y1-3  STARTING
        102   y1-3  SCAN_QR_CODE
        200   =     y1-3 login@102
        700   =     y1-3 login@102; y1-3 login_overdue@102
    """,
    "sessions of an outage whose logins begin stay in it": """
        0     x1-10 WORKING
        100   x1-5  DISCONNECTED
        110   x1-5  SCAN_QR_CODE
        1000  =     OUTAGE disconnect waha/GOWS 5/5@100; x1-5 login@110
    """,
    "a deleted session is no part of an outage": """
        0     x1-10 WORKING
        100   x1-5  DISCONNECTED
        200   x1    deleted
        200   =     OUTAGE disconnect waha/GOWS 4/5@100
    """,
    "UNKNOWN ends no outage": """
        0     x1-10 WORKING
        100   x1-5  DISCONNECTED
        200   x1-5  UNKNOWN
        900   =     OUTAGE disconnect waha/GOWS 5/5@100
    """,
    "a late event changes nothing about an outage": """
        0     x1-10 WORKING
        100   x1-3  DISCONNECTED
        105   =     OUTAGE disconnect waha/GOWS 3/3@100
        200   x1    DISCONNECTED at 20
        200   x2    SCAN_QR_CODE at 90
        300   =     OUTAGE disconnect waha/GOWS 3/3@100; x2 login@90
    """,
    "three sources at once are one outage": """
        0     x1-5,b:x1-5,c:x1-5 WORKING
        100   x1-3               DISCONNECTED
        101   b:x1-3             DISCONNECTED
        102   c:x1               DISCONNECTED
        107   =                  OUTAGE disconnect everywhere 7/7@100
        110   c:x2               DISCONNECTED
        120   =                  OUTAGE disconnect everywhere 8/8@100
    """,
    "a large loss beside two single ones is no outage of three sources": """
        0     x1-20,b:x1-20,c:x1-20 WORKING
        100   b:x1,c:x1             DISCONNECTED
        102   x1-15                 DISCONNECTED
        110   =                     OUTAGE disconnect waha/GOWS 15/15@102; b:x1 disconnected@100; c:x1 disconnected@100
    """,
    "servers with one session each are lost together": """
        0     a:x,b:x,c:x,d:x,e:x WORKING
        100   a:x,b:x,c:x         DISCONNECTED
        105   =                   OUTAGE disconnect everywhere 3/3@100
    """,
    "the exporter was away while eight of twenty were lost: one outage": """
        0     x1-20 WORKING
        700   x1    DISCONNECTED at 100
        700   x2-4  DISCONNECTED at 300
        701   x5-6  DISCONNECTED at 500
        702   x7-8  DISCONNECTED at 690
        710   =     OUTAGE disconnect waha/GOWS 8/8@100
    """,
    "what was lost and came back while the exporter was away says nothing": """
        0     x1-20 WORKING
        700   x1-20 STARTING at 100
        700   x1-20 WORKING at 110
        705   =     nothing
        900   =     nothing
    """,
    "sessions that are stopped during a loss make no outage of it": """
        0     x1-20 WORKING
        100   x1-3  DISCONNECTED
        105   =     x1-3 disconnected@100
        110   x9-20 STOPPED
        200   =     x1-3 disconnected@100
    """,
}


@pytest.mark.parametrize("script", PLAYS.values(), ids=PLAYS)
def test_of_what_happens_the_judge_says_what_the_play_says(script: str) -> None:
    """Each play is a sequence that a gateway really sends, and each line what somebody on call is to see of it."""
    perform(script, FleetOfPlay(Judge(UNSCALED)))


def test_silent_sessions_are_said_one_by_one_or_as_one_outage() -> None:
    """`silent` is off by default: it needs message events."""
    script = """
        0    x1-10  WORKING
        290  x3-10  heard
        299  =      nothing
        310  =      x1-2 silent@0
        320  x1     heard
        320  =      x2 silent@0
        321  x2     heard
        321  =      nothing
        590  =      nothing
        595  =      OUTAGE silence waha/GOWS 8/8@290
        621  =      OUTAGE silence waha/GOWS 10/10@290
        700  x1-10  heard
        700  =      OUTAGE silence waha/GOWS 0/10@290
        880  =      nothing
    """
    perform(script, FleetOfPlay(Judge(UNSCALED), Limits(silent=300_000)))


PACE = 0.05
# `at` and `restricted 500` are times in the text; the fold's own 30 s of a restart cannot be scaled.
SCALABLE = {
    name: play
    for name, play in PLAYS.items()
    if not any(word in play for word in (" at ", " STOPPED", " limit ", "restricted 5"))
}


@pytest.mark.parametrize("script", SCALABLE.values(), ids=SCALABLE)
def test_every_constant_can_be_scaled(script: str) -> None:
    """So that a story takes seconds in a test with a real Alertmanager: nothing in it is a number of its own."""
    limits = Limits(*[round(value * PACE) for value in msgspec.structs.astuple(Limits())])
    perform(script, FleetOfPlay(Judge(UNSCALED.scaled(PACE)), limits), PACE)


@pytest.mark.parametrize(
    ("largest", "steps"),
    [(2, []), (3, [3]), (9, [3]), (10, [3, 10]), (99, [3, 10, 30]), (1000, [3, 10, 30, 100, 300, 1000])],
)
def test_an_outage_has_a_step_for_each_size_that_it_has_reached(largest: int, steps: list[int]) -> None:
    """One alert a step: the message that is sent again is a new one, with the figure."""
    assert list(Outage(Kind.DISCONNECT, "waha", "GOWS", 0, 0, 0, largest).steps()) == steps


@pytest.mark.parametrize(
    ("population", "burst", "chain"),
    [(3, 3, 3), (20, 4, 4), (100, 20, 20), (200, 25, 40), (1000, 25, 200), (5000, 100, 1000)],
)
def test_how_many_losses_are_an_outage(population: int, burst: float, chain: float) -> None:
    """A fifth, at least three; of a large fleet fewer are enough if they come within five minutes."""
    assert (UNSCALED.burst_of(population), UNSCALED.chain_of(population)) == (burst, chain)


def test_a_loss_is_counted_once_with_its_reason() -> None:
    """A loss soon after a restriction is put down to it; the gateway's own reason comes first."""
    fleet = FleetOfPlay(Judge(UNSCALED))
    perform(
        """
        0    a,b,c WORKING
        50   a,b   restricted
        100  a,c   DISCONNECTED
        120  a     STARTING
        130  a     DISCONNECTED
        900  b     DISCONNECTED
        """,
        fleet,
    )

    assert [(lost.key[1], lost.engine, lost.reason) for lost in fleet.judge.lost] == [
        ("a", "GOWS", "restricted"),
        ("c", "GOWS", ""),
        ("b", "GOWS", ""),
    ]


def test_a_reason_lasts_as_long_as_its_loss() -> None:
    """WORKING for moments does not end the loss, nor change the label of its problem; a stronger reason does."""
    fleet = FleetOfPlay(Judge(UNSCALED))
    key = ("waha", "a")
    perform("0 a WORKING\n 100 a DISCONNECTED\n 101 a because timed_out\n 120 a heard", fleet)
    first = fleet.judge.reason(key)
    perform("130 a WORKING\n 131 a because \n 140 a DISCONNECTED\n 150 a because other\n 160 a heard", fleet)
    second = fleet.judge.reason(key)
    perform("170 a because logged_out", fleet)

    assert (first, second, fleet.judge.reason(key)) == ("timed_out", "timed_out", "logged_out")


def test_a_restriction_explains_a_loss_also_after_its_end() -> None:
    """It ends while the session is lost: why it was lost stays the same."""
    fleet = FleetOfPlay(Judge(UNSCALED))
    perform("0 a WORKING\n 50 a restricted 200\n 100 a DISCONNECTED\n 400 a FAILED\n 500 a heard", fleet)

    assert fleet.judge.reason(("waha", "a")) == "restricted"


def test_what_one_event_says_to_be_over_never_was() -> None:
    """Gateways send the statuses before with each event: a loss that is over in the same breath does not count."""
    fleet = FleetOfPlay(Judge(UNSCALED))
    perform("0 x1-20 WORKING", fleet)
    for key in keys_of("x1-20"):
        fleet.points_at_once(key, [("FAILED", ms(100)), ("STARTING", ms(102)), ("WORKING", ms(110))], ms(700))
    for key in keys_of("x1-3"):
        fleet.points_at_once(key, [("DISCONNECTED", ms(800)), ("STARTING", ms(803))], ms(810))

    assert [lost.key[1] for lost in fleet.judge.lost] == ["x1", "x2", "x3"]
    assert not fleet.judge.outages.live


def test_time_does_not_go_back() -> None:
    """A replica's clock may be behind another's: what it received happens no earlier than what was decided."""
    fleet = FleetOfPlay(Judge(UNSCALED))
    perform("0 a WORKING\n100 a DISCONNECTED\n105 = a disconnected@100", fleet)
    fleet.point(("waha", "b"), "STARTING", ms(50), ms(50))

    assert fleet.judge.now == ms(105)
    assert said(fleet.judge) == {"waha:a disconnected@100"}
    fleet.judge.wake(ms(114))
    assert said(fleet.judge) == {"waha:a disconnected@100"}
    fleet.judge.wake(ms(120))
    assert said(fleet.judge) == {"waha:a disconnected@100", "waha:b stuck_starting@50"}


def test_a_session_that_works_is_not_remembered() -> None:
    """Of a hundred thousand sessions only those cost anything that something has happened to."""
    fleet = FleetOfPlay(Judge(UNSCALED))
    perform("0 x1-50 WORKING\n100 x1-9 DISCONNECTED\n200 x1-9 WORKING\n2000 = nothing", fleet)

    assert fleet.judge.cases == {}
    assert fleet.judge.outages.losses == {}
    assert fleet.judge.next_deadline is None


def calls_of_a_loss(others: int) -> int:
    """How many functions run when one session is lost beside so many that are and that are not."""
    fleet = FleetOfPlay(Judge(UNSCALED))
    perform(
        f"0 x1-{others},a WORKING\n10 x1-{others // 20} maintenance\n20 x1-{others // 20} FAILED\n2000 = nothing", fleet
    )
    calls = 0

    def count(_frame: object, kind: str, _what: object) -> None:
        nonlocal calls
        calls += kind == "call"

    sys.setprofile(count)
    try:
        fleet.act(("waha", "a"), ["DISCONNECTED"], ms(3000))
    finally:
        sys.setprofile(None)
    return calls


def test_an_event_looks_at_no_other_session() -> None:
    """What an event costs does not grow with the fleet."""
    assert calls_of_a_loss(4000) == calls_of_a_loss(100)


def test_after_a_start_with_another_configuration_shares_are_taken_of_what_is_there_now() -> None:
    """Windows may have come and gone while the exporter was not running."""
    fleet = FleetOfPlay(Judge(UNSCALED))
    perform("0 x1-20 WORKING", fleet)
    fleet.judge.recount([(key, fleet.facts[key]) for key in keys_of("x1-10")])

    assert fleet.judge.outages.population == {("waha", "GOWS"): 10}
    perform("100 x1-3 DISCONNECTED\n105 = OUTAGE disconnect waha/GOWS 3/3@100", fleet)


def test_the_page_has_each_problem_with_its_limit() -> None:
    """What an operator reads is what the table of the judge says."""
    page = (Path(__file__).parent.parent.parent / "docs" / "problems.md").read_text()
    cells = [[cell.strip(" `") for cell in line.split("|")] for line in page.splitlines() if line.startswith("| `")]

    assert [(row[1], row[4], row[5].startswith("until")) for row in cells] == [
        (row.problem, row.limit, row.lasting) for row in ROWS
    ]
    for kind, muted in MUTES.items():
        assert f"`{kind}` mutes" in page, muted
