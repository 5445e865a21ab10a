"""results/tuning.md: what each label-free score chose among the trials of a hyper-parameter search."""

from __future__ import annotations

from collections.abc import Sequence

from dabench.evaluation import statistics
from dabench.evaluation.leaderboard import Leaderboard
from dabench.report import wording
from dabench.results.searches import Study, Trial
from dabench.results.searches import chosen as chosen_trial


def page(studies: Sequence[Study], board: Leaderboard) -> str:
    """Each search: the default, the trial that its score chose, and the one that the target test labels would have."""
    shown = board.rows.drop_duplicates("key").set_index("key")
    scores = board.stored[board.stored["key"].isin(shown.index)]
    lines = []
    for study in sorted(
        studies, key=lambda study: (study.task, study.method, study.variant, study.select, repr(study))
    ):
        found = {
            trial: statistics.interval(shown["accuracy"].reindex(trial.keys))
            for trial in study.trials
            if shown.index.isin(trial.keys).sum() == len(trial.keys)
        }
        if not found:
            continue
        chosen = chosen_trial(study, scores)
        best = max(found, key=lambda trial: found[trial][0])
        start = study.trials[0]
        incomplete = len(study.trials) - len(found)
        lines.append(
            [
                _study_name(study),
                study.variant,
                f"{len(study.trials)}" + (f" ({incomplete} without result)" if incomplete else ""),
                str(len(study.seeds)),
                _trial(found.get(start)),
                wording.NONE if chosen is None else f"{_trial(found.get(chosen))} {_moved(chosen, study)}",
                study.select,
                f"{_trial(found[best])} {_moved(best, study)}",
            ]
        )
    text = "# Hyper-parameter searches\n\n"
    text += "Every method of a search is given as many trials, its default first; one without hyper-parameters has "
    text += "that alone. The label-free score named chooses by its mean over seeds. The last column is "
    text += "chosen by target test accuracy, which is a reference and no result. Accuracy in percent, mean ± 95 % over "
    text += "seeds. More in `docs/tuning.md`.\n\n"
    header = ["task", "method", "trials", "seeds", "default", "tuned by score", "score", "best by test labels"]
    return text + wording.table(header, lines, align=["left", "left", "right", "right", *["left"] * 4])


def _study_name(study: Study) -> str:
    """The task, with what tells the search from one under the task's usual conditions."""
    more = [f"budget {study.budget:g}"] if study.budget != 1 else []
    more += [f"{study.labels} labels a class"] if study.labels > 0 else []
    more += [f"{study.target_images} target images"] if study.target_images >= 0 else []
    return study.task + (f" ({', '.join(more)})" if more else "")


def _trial(found: tuple[float, float] | None) -> str:
    return wording.NONE if found is None else wording.spread(*found)


def _moved(trial: Trial, study: Study) -> str:
    return "(default)" if trial == study.trials[0] else f"`{trial.variant.removeprefix(study.method)}`"
