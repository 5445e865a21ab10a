"""Rows evaluated once, for every page: entries, the verdict between any two, rankings, what the scores would choose."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from dabench.evaluation import rankings as ranks
from dabench.evaluation import selection, statistics, tables
from dabench.evaluation.comparison import Comparison, Contest, Difference, Lines, Verdict
from dabench.evaluation.selection import LAST, Choices
from dabench.evaluation.tables import BASELINE, CHECKPOINTS, GROUP, LONG, UPPER_BOUND


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """What the rows of a results folder say; every part is computed once, when it is asked for.

    `stored` needs the columns key, task, method, setting, seed and status; others of tables.COLUMNS that it lacks hold
    their defaults. Neither the order of the rows nor of the columns matters. `stale` are the keys of rows by other
    code than today's, which give way to today's; `searched` those of trials of a hyper-parameter search; `select` says
    which checkpoint stands for a row: `last`, `oracle` or a label-free score, DabenchError where no row knows it.
    """

    stored: pd.DataFrame
    stale: Collection[str] = ()
    searched: Collection[str] = ()
    select: str = LAST

    @cached_property
    def _placed(self) -> pd.DataFrame:
        """Every row in its comparison groups; `at` is its place in `stored`."""
        short = self.stored.drop(columns=[name for name in LONG if name in self.stored])
        short = short.assign(at=np.arange(len(short)))
        return tables.placed(tables.current(short, self.stale))

    @cached_property
    def _ok(self) -> tuple[pd.DataFrame, Choices]:
        ok = self._placed[self._placed["status"] == "ok"].reset_index(drop=True)
        # The long columns are fetched once, when the rows have found their places; checkpoints are read where they are.
        stored = self.stored.assign(**{name: None for name in ("accuracy", *LONG) if name not in self.stored})
        long = stored[[name for name in LONG if name not in CHECKPOINTS]].iloc[ok["at"]].set_axis(ok.index)
        ok = pd.concat([ok.drop(columns=LONG, errors="ignore"), long], axis=1)
        chosen = selection.choices(stored).of(ok["at"].to_numpy())
        return ok.assign(figure=selection.figures(ok, chosen, self.select)), chosen

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows with a result, once in each of their groups.

        `figure` is the accuracy that stands for it and `entry` the number of its entry, -1 without such an accuracy.
        The columns of tables.CHECKPOINTS are not among them; `at` is the row's place in `stored`, which has them.
        """
        rows, _ = self._ok
        entry = np.full(len(rows), -1)
        shown = rows["figure"].notna().to_numpy()
        entry[shown] = tables.numbered(rows[shown])[1]
        return rows.assign(entry=entry)

    @cached_property
    def bad(self) -> pd.DataFrame:
        """The rows that failed or were refused."""
        return self._placed[self._placed["status"] != "ok"]

    @cached_property
    def choices(self) -> Choices:
        """What each label-free score would have chosen in each of `rows`."""
        return self._ok[1]

    @cached_property
    def validators(self) -> pd.DataFrame:
        """How well the label-free scores choose, by family and setting."""
        return selection.validators(self.rows, self.choices)

    @cached_property
    def _shown(self) -> pd.DataFrame:
        return self.rows[self.rows["entry"] >= 0]

    @cached_property
    def _means(self) -> pd.DataFrame:
        """The entries with means over seeds, their contest and the line of their source model."""
        shown = self._shown
        entry = shown["entry"].to_numpy()
        table = tables.means(shown, tables.numbered(shown)[0], entry)
        table["searched"] = pd.Series(tables.among(shown["key"], self.searched)).groupby(entry).all()
        table["main"] = tables.main(table)
        table["contest"] = table.groupby([*GROUP, "task"], sort=True).ngroup()
        own = (
            table[(table["variant"] == BASELINE)].drop_duplicates("contest").reset_index().set_index("contest")["index"]
        )
        virtual = len(table) + table["contest"]
        table["source"] = table["contest"].map(own).fillna(virtual).astype(int)
        return table

    @cached_property
    def _lines(self) -> Lines:
        """Every entry, then the source model of each contest as the other rows saw it."""
        table, shown = self._means, self._shown
        contests = int(table["contest"].max()) + 1 if len(table) else 0
        entry = shown["entry"].to_numpy()
        contest = table["contest"].to_numpy()
        seeds, seed = np.unique(shown["seed"], return_inverse=True)
        values = np.full((len(table) + contests, len(seeds)), np.nan)
        values[entry, seed] = shown["figure"]
        source = table["source"].to_numpy()
        before = shown["accuracy_before"].groupby([contest[entry], seed]).mean().dropna()
        lines = table.drop_duplicates("contest").set_index("contest")["source"]
        if len(before):
            of, at = (before.index.get_level_values(level) for level in (0, 1))
            line = lines.loc[of].to_numpy()
            values[line, at] = np.where(np.isnan(values[line, at]), before, values[line, at])
        known = tables.answers(shown, entry)
        for number, right in known.before.items():
            if source[number] not in known.right:
                known.right[int(source[number])] = right
                known.images[int(source[number])] = known.images[number]
        used = np.zeros(contests, dtype=bool)
        used[contest[source >= len(table)]] = True
        return Lines(
            values=values,
            contest=np.concatenate([contest, np.arange(contests)]),
            core=np.concatenate([table["default"].to_numpy(dtype=bool), used]),
            n_test=np.concatenate([table["n_test"], table.groupby("contest")["n_test"].mean()]),
            right=known.right,
            images=known.images,
        )

    @cached_property
    def _comparison(self) -> Comparison:
        return Comparison(self._lines)

    def difference(self, first: int, second: int) -> Difference:
        """The first entry less the second, by their numbers in `entries`."""
        return self._comparison.differences(np.array([first]), np.array([second]))[0]

    def verdict(self, first: int, second: int) -> Verdict:
        """What is said of the first entry beside the second, the same on every page."""
        return self.difference(first, second).verdict

    def contest(self, number: int) -> Contest:
        """All pairs of default methods of a contest, the column of that name in `entries`."""
        return self._comparison.contest(number)

    def against_source(self, entry: int) -> Difference:
        """The gain of an entry over its source model."""
        return self.difference(entry, int(self._means.at[entry, "source"]))

    @cached_property
    def entries(self) -> pd.DataFrame:
        """Every entry with its means, what it gains over the source model and what is said of it.

        Beside `tables.means`: `gain_ci` half of the gain's interval, `worse` than source-only, `best` where nothing
        tells it from the best default method of its setting, `gap` from source-only to the upper bound (nan within
        the noise) and `gap_closed` of it; `main` marks the budget that most methods have, `searched` a trial of a
        search; `ci_images` is half of the interval over seeds and test images (nan without predictions).
        """
        table = self._means.copy()
        right = self._lines.right
        error = [right[at].std() / np.sqrt(len(right[at])) if at in right else np.nan for at in table.index]
        table["ci_images"] = statistics.both_levels(table["ci"], np.array(error))
        gains = self._comparison.differences(table.index.to_numpy(), table["source"].to_numpy())
        table["gain_ci"] = [gain.ci for gain in gains]
        table["worse"] = [gain.verdict is Verdict.WORSE for gain in gains]
        table["best"] = self._best() & ~table["worse"]
        images = statistics.image_error(table["mean"].clip(0, 1), table["n_test"])
        noise = table["gain_ci"].fillna(pd.Series(1.96 * np.nan_to_num(images), table.index))
        upper = table[(table["variant"] == UPPER_BOUND) & (table["gain"] > noise)].set_index("contest")["gain"]
        table["gap"] = table["contest"].map(upper[~upper.index.duplicated()]).astype(float)
        table["gap_closed"] = statistics.gap_closed(table["gain"], table["gap"])
        return table

    def _best(self) -> np.ndarray:
        """Which default methods nothing tells from the best of their setting; none where one stands alone."""
        table = self._means
        best = np.zeros(len(table), dtype=bool)
        first, second = [], []
        tested = table[table["default"] & (table["n"] > 1)].sort_values(["mean", "variant"], ascending=[False, True])
        for _, numbers in tested.groupby(["contest", "setting"], sort=True).groups.items():
            if len(numbers) > 1:
                first += [numbers[0]] * (len(numbers) - 1)
                second += list(numbers[1:])
                best[numbers[0]] = True
        verdicts = self._comparison.differences(np.array(first, dtype=int), np.array(second, dtype=int))
        best[np.array(second, dtype=int)] = [each.verdict is Verdict.TIED for each in verdicts]
        return best

    @cached_property
    def rankings(self) -> list[ranks.Ranking]:
        """The methods over tasks, setting by setting."""
        return self.rankings_of(self.entries)

    def rankings_of(self, entries: pd.DataFrame) -> list[ranks.Ranking]:
        """The same over some of the entries alone."""
        values = self._lines.values
        return ranks.rankings(entries, values, values[self._means["source"].to_numpy()])

    def entries_of(self, keys: Collection[str]) -> list[int]:
        """The numbers of the entries that rows with these keys belong to."""
        rows = self._shown
        return sorted(set(rows.loc[rows["key"].isin(keys), "entry"]))
