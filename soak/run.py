"""One run: gateways send while faults happen one after another, and everything is looked at now and then."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from soak import log
from soak.faults import Fault, possible
from soak.gateways import Gateway
from soak.judge import judge
from soak.world import Options, World
from tests import parts

TWIN_EVERY = 4  # looks
Beside = Callable[[World], AbstractContextManager[object]]


def run(options: Options, *beside: Beside) -> World:
    """Plays until so many faults have happened or so many minutes have passed; the ledger has what was broken.

    What is `beside` lasts from the first fault to the last one.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wawp-soak-")))
        server = stack.enter_context(parts.Postgres()) if options.database == "postgresql" else None
        world = World(options, folder, server)
        for replica in world.replicas:
            stack.enter_context(replica)
        world.gateways = [Gateway(world, number) for number in range(options.senders)]
        stack.callback(world.given_up.set)
        stack.callback(world.ended.set)
        for gateway in world.gateways:
            gateway.start()
        with ExitStack() as meanwhile:
            for each in beside:
                meanwhile.enter_context(each(world))
            happen(world)
        finish(world)
        return world


def happen(world: World) -> None:
    """The faults, drawn by the seed."""
    options, began, happened = world.options, time.monotonic(), Counter[str]()
    if not (world.clock.available or world.server):
        print("no C compiler: the clock does not jump")
    judge(world)
    while happened.total() < options.faults and time.monotonic() - began < options.longest_s:
        fault = drawn(world, happened.total())
        try:
            fault(world)
        except Exception as error:  # noqa: BLE001 - what went wrong belongs into the list, the run goes on
            world.ledger.break_("fault", f"{fault.__name__}: {error!r}"[:600])
            revive(world)
        happened[fault.__name__] += 1
        world.happened = happened.total()
        time.sleep(max(0.0, began + options.due_s(world.happened) - time.monotonic(), world.random.uniform(0, 1)))
        if world.happened % options.every == 0:
            judge(world, twin=world.happened % (options.every * TWIN_EVERY) == 0)
            seconds = time.monotonic() - began
            print(f"{seconds:6.0f} s  {world.happened} faults  {len(world.ledger.news)} events", flush=True)
    print(f"faults: {dict(happened)}")


def drawn(world: World, number: int) -> Fault:
    """The fault of this number."""
    faults = possible(world, calm=world.options.calm(number))
    return world.random.choices(list(faults), list(faults.values()))[0]


def revive(world: World) -> None:
    """Starts what a fault has left dead, so that the run can go on."""
    for replica in world.replicas:
        if not replica.running:
            replica.start()


def finish(world: World) -> None:
    """What is still to be delivered is delivered; then a look, and one more after a stop and after a power cut."""
    world.ended.set()
    for gateway in world.gateways:
        gateway.join(120)
        if gateway.is_alive():
            world.ledger.break_("delivery", f"{gateway.name} could not deliver all within two minutes")
    world.given_up.set()
    judge(world, twin=True)
    for replica in world.replicas:
        replica.stop(timeout=60)
        replica.start()
    judge(world)
    for replica in world.replicas:
        replica.kill()
        replica.start()
    judge(world)
    if not world.server and not log.sound(world.url):
        world.ledger.break_("log", "SQLite's integrity check finds something")
    ledger = world.ledger
    print(f"answers: {dict(ledger.answers)}; {len(ledger.news)} events acknowledged")
    print(f"{ledger.broken.total()} promises broken {dict(ledger.broken)}")
