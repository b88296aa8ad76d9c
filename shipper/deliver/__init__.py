"""One loop per sink: from its cursor in the buffer to the far side, until it is confirmed.

    driver.py       the loop                       route.py     `when`: which sources
    courier.py      one request: send, retry       form.py      frames -> requests
    retry.py        pauses, give up                window.py    in flight, in-order confirmation
    probe.py        asking a sink that refuses     split.py     halving, dead or not, refusing
    giveaway.py     dropping the oldest            backlog.py   when to drop
    dead_letters.py records no sink will take      account.py   what became of every byte
    progress.py     cursor, sums, state            goals.py     --once and drain
    trouble.py      ok, retrying, refusing, failed view.py      buffer, sink, clock as protocols
"""
