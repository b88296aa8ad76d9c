"""python -m tests.bench: side by side with rsyslogd, one receiver, in turns. See README.md in this directory."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .agents import contenders, missing
from .bench import Bench, Options, say
from .corpus import Shape, cache_directory
from .far_side import FarSide
from .machine import about, ceiling, warning
from .report import save, table
from .scenarios import scenarios

RESULTS = Path(__file__).parent / "results"
VENV = Path(__file__).parents[2] / ".venv-bench"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    every = scenarios()
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="scenarios:\n" + "\n".join(f"  {s.name:10} {s.summary}" for s in every.values()),
    )
    parser.add_argument("--only", action="append", choices=list(every), metavar="SCENARIO", help="this one (may be repeated)")
    parser.add_argument("--rounds", type=int, help="runs of each contender (default 3)")
    parser.add_argument("--quick", action="store_true", help="a fraction of the size, one round; writes no result")
    parser.add_argument("--long", action="store_true", help="also what takes minutes (idle with 5,000 files)")
    parser.add_argument("--no-rsyslogd", action="store_true", help="ours alone")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=COMMAND",
                        help="one more contender; {containers}, {port} and {work} are put into its command")
    parser.add_argument("--shipper", default=str(VENV / "bin" / "shipper"), help="the agent's command (default: .venv-bench)")
    parser.add_argument("--save", action="store_true", help="write the result also with --quick or --only")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    lack = missing(args.shipper, with_rsyslogd=not args.no_rsyslogd)
    if lack:
        print(lack, file=sys.stderr)
        return 2
    facts = about(args.shipper)
    say(f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, rsyslogd {facts['rsyslogd']}, "
        f"commit {facts['commit'][:10]}{' (changed)' if facts['changed'] else ''}, load {facts['load_at_start']:.1f}")
    if busy := warning(facts["load_at_start"]):
        say(f"warning: {busy}")
    options = Options(args.rounds or (1 if args.quick else 3), args.quick, args.long)
    with FarSide() as far:
        every = contenders(args.shipper, args.also, with_rsyslogd=not args.no_rsyslogd)
        bench = Bench(options, args.shipper, every, far, cache_directory())
        facts["ceiling"] = _ceiling(bench)
        chosen = [s for s in scenarios().values() if (s.name in args.only if args.only else s.default)]
        for scenario in chosen:
            scenario.run(bench)
    print(table(bench.samples))
    if args.save or not (args.quick or args.only):
        say(f"written: {save(bench.samples, facts, RESULTS)}")
    return 0


def _ceiling(bench: Bench) -> dict[str, float]:
    corpus = bench.corpus(Shape(200_000, 20))
    ceiling(bench.far, corpus)                              # the first run takes the store's memory from the kernel
    found = ceiling(bench.far, corpus)
    say(f"the receiver alone: {found['klines_s']:,.0f} k lines/s, {found['cpu_s_per_m']:.2f} CPU s per million")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
