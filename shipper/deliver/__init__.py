"""One loop per sink: from its cursor in the buffer to the far side, until it is confirmed.

    driver.py       the loop                       route.py     `when`: which sources
    starting.py     before the first request       resending.py back to the cursor, and how soon
    supply.py       what is sent next              form.py      frames -> requests
    courier.py      one request: send, retry       retry.py     pauses, give up
    window.py       in flight, in-order            progress.py  cursor, sums, state
    settling.py     dead records, then the cursor  split.py     halving, dead or not, refusing
    refusing.py     a sink that refuses everything probe.py     asking it with single records
    giveaway.py     dropping the oldest            backlog.py   when to drop; ages.py: a clock that jumps
    dead_letters.py records no sink will take      letters.py   their lines; replay.py, replaying.py: sent once more
    plans.py        what exactly is being sent     burial.py    records of a plan that are refused; gone.py: or are gone
    account.py      what became of every byte      goals.py     --once and drain
    trouble.py      ok, retrying, refusing, failed tasks.py     no bug in one of them ends the sink
    view.py         buffer, sink, clock as protocols
"""
