"""The command that tells of sweeps: what is done, running, failed and left, and when it will be done."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from dabench.cli import options, screen
from dabench.cli.options import RESULTS

if TYPE_CHECKING:
    from dabench.results.sweeps import Sweep

MOST = 10  # lines of running cells, and of failed ones, under each sweep
_HEADER = ("sweep", "by", "state", "cells", "done", "failed", "running", "queued", "left", "will be done")


def status(results: options.Results = RESULTS, as_json: options.AsJson = False) -> None:
    """What sweeps into this folder have done, what runs, failed or is left, and when it will be done.

    Shows those that run, on whichever machine and engine, and those that stopped early; else the last one.
    """
    from dabench.results import sweeps

    every = sweeps.read(results)
    now = [each if each.state == "running" else sweeps.with_rows(each, results) for each in every]
    found = [each for each in now if each.state == "running" or each.left] or now[:1]
    if as_json:
        print(json.dumps([_facts(each) for each in found], indent=2))
        raise typer.Exit(0)
    if not found:
        screen.say(f"no sweep has left a word in {results}; `dabench run` does")
        raise typer.Exit(0)
    screen.table(_HEADER, [_line(each) for each in found])
    for each in found:
        _details(each)


def _facts(sweep: Sweep) -> dict[str, object]:
    plan = {name: value for name, value in asdict(sweep.plan).items() if name != "cells"}
    return {
        "name": sweep.name,
        **plan,
        "state": sweep.state,
        "heard": sweep.heard,
        "cells": len(sweep.plan.cells),
        "ended": dict(sweep.ended),
        "running": [asdict(each) for each in sweep.running],
        "queued": sweep.queued,
        "left": sweep.left,
        "seconds_left": sweep.seconds_left,
        "reasons": [dict(zip(("cell", "status", "reason"), each, strict=True)) for each in sweep.reasons],
    }


def _line(sweep: Sweep) -> tuple[str, ...]:
    plan = sweep.plan
    done = sum(count for how, count in sweep.ended.items() if how in ("ok", "refused"))
    return (
        _clock(plan.started),
        f"{plan.engine} on {plan.host}",
        sweep.state,
        *map(str, (len(plan.cells), done, sum(sweep.ended.values()) - done)),
        *map(str, (len(sweep.running), sweep.queued, sweep.left)),
        "-" if sweep.seconds_left is None else _clock(sweep.heard + sweep.seconds_left),
    )


def _clock(seconds: float) -> str:
    """Local time, with the day."""
    return datetime.fromtimestamp(seconds).strftime("%d %b %H:%M")


def _details(sweep: Sweep) -> None:
    """The cells that run and those that failed; what a sweep that stopped early needs."""
    if sweep.running:
        screen.say(f"\nrunning since {_clock(sweep.plan.started)}, heard of at {_clock(sweep.heard)}:")
    for each in sweep.running[:MOST]:
        screen.say(f"  {each.label}: {each.stage}" + (f" {each.step}/{each.steps}" if each.steps > 1 else ""))
    failed = [each for each in sweep.reasons if each[1] != "refused"]
    if failed:
        screen.say(f"\nof the sweep of {_clock(sweep.plan.started)}, the same command tries again:")
    for label, how, why in failed[:MOST]:
        screen.say(f"  {label}: {how}: {why}")
    for count in (len(sweep.running) - MOST, len(failed) - MOST):
        if count > 0:
            screen.say(f"  and {count} more")
    if sweep.state in ("lost", "interrupted"):
        why = "its process is gone" if sweep.state == "lost" else "it was interrupted"
        screen.say(f"\nthe sweep of {_clock(sweep.plan.started)} stopped early: {why}; the same command goes on")
