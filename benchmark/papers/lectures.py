"""Carta's slides and a post of 2016: fine-tuning, importance weighting, test-time adaptation, gradient reversal."""

from __future__ import annotations

from functools import partial

from dabench.core import ALL
from dabench.papers.measures import ACCURACY, FORGOTTEN, LATE_GAIN, Of
from dabench.papers.rules import AnyOf, Below, Higher, NotHere
from dabench.papers.study import (
    SMALL,
    Claim,
    Experiment,
    Here,
    Lesson,
    Reproduction,
    Substitution,
    Table,
    TableLine,
    above,
    no_better,
    on_each,
)

CAMERAS, FONTS = ("shapes-rotated", "shapes-power"), ("fonts-optdigits", "optdigits-fonts")
DIGITS = ("mnist-usps", "usps-mnist")
COVERED, UNCOVERED = SELECTION = ("optdigits-covered", "optdigits-uncovered")
STREAMS = ("fonts-optdigits", "shapes-rotated")
LONG_STREAM = "usps-mnist"
EVEN = "importance_weighting[c=1e-05]"  # so weak a domain classifier that its weights are all about 1
PLAIN, WARM, DECAY = "finetune_all[reinitialise=1]", "lp_ft[fresh_head=True]", "finetune_all[layer_decay=0.3]"
FROZEN = ("finetune_last1", "finetune_last2", "finetune_last3")
FINE_TUNED = ("finetune_all", DECAY, "lp_ft", PLAIN, WARM, *FROZEN)
EVERY_LABELS = (3, 10, ALL)
BY_SIZE = {size: Of("tent", stream=f"shuffled[batch_size={size}]") for size in (1, 8, 64)} | {200: Of("tent")}
EPISODIC = "tent[episodic=True]"
TEST_TIME = f"source_only,tent,{EPISODIC}"
SIZES = tuple(of.stream for of in BY_SIZE.values())
POST = "we've trained a neural network to predict ... images that come from either the source or target distributions"
TENT_SLIDES = "slides, Test-Time Adaptation (TTA)"
SMALL_TASKS = Substitution("experiments of their own", "small tasks", "the lectures report none")
SOURCES = (
    "`optdigits-covered` and `optdigits-uncovered` differ in one thing: whether the source holds a tenth "
    "of the "
    "faint digits that the target consists of, or none."
)


def lectures(here: Here) -> Reproduction:
    """The lectures' claims on small tasks, and on MNIST and USPS where these are here."""
    digits = tuple(task for task in DIGITS if here.has(task))
    tuned, aligned = (*CAMERAS, *FONTS, *digits), (*FONTS, *digits)
    reversal = _on_reversal(aligned)
    absent = () if digits else ("MNIST and USPS are not here: the embedded tasks alone.",)
    return Reproduction(
        name="lectures",
        title="Finetuning and Domain Adaptation (Carta, slides); Domain Adaptation by Backpropagation (post, 2016)",
        experiments=_experiments(here, tuned, aligned, bool(digits)),
        tables=_tables(tuned, aligned, bool(digits)),
        claims=(
            *_on_warm_start(tuned),
            *_on_layers(tuned),
            *ON_WEIGHTING,
            *ON_TEST_TIME,
            _on_stability(bool(digits)),
            *reversal,
        ),
        lesson=Lesson(
            reversal[0],
            claims="fine-tuning, importance weighting, entropy minimisation at test time and gradient reversal each "
            "repair a change of domain under conditions that the lectures name",
            question="gradient reversal is above the source model on every small task",
            holds="Gradient reversal gains on the target without its labels, on every task tried.",
            fails="On at least one small task gradient reversal ends below the source model.",
        ),
        substitutions=(SMALL_TASKS,),
        notes=(*absent, SOURCES),
    )


def _experiments(here: Here, tuned: tuple[str, ...], aligned: tuple[str, ...], digits: bool) -> dict[str, Experiment]:
    experiment = partial(Experiment, backbone=here.backbone, image_size=here.image_size)
    experiments = {
        "fine-tuning": experiment(
            tasks=",".join(tuned), methods=",".join(["source_only", *FINE_TUNED]), labels=EVERY_LABELS
        ),
        "importance weighting": experiment(
            tasks=",".join(SELECTION),
            methods=f"source_only,importance_weighting,{EVEN},target_supervised",
            seeds=5,
        ),
        "tent": experiment(tasks=",".join(STREAMS), methods=TEST_TIME, streams=SIZES),
        "reversal": experiment(tasks=",".join(aligned), methods="source_only,dann,target_supervised"),
    }
    if digits:  # lenet, the task's own network, has no batch norm to adapt
        experiments["long stream"] = experiment(
            tasks=LONG_STREAM, methods=TEST_TIME, streams=SIZES, backbone=here.backbone or "lenet_bn"
        )
    return experiments


def _named(tasks: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((task, task) for task in tasks)


def _lines(*variants: str, labels: int | None = None) -> tuple[TableLine, ...]:
    return tuple(TableLine(f"`{variant}`", Of(variant, labels)) for variant in variants)


def _tables(tuned: tuple[str, ...], aligned: tuple[str, ...], digits: bool) -> tuple[Table, ...]:
    fine_tuning = tuple(
        Table(
            title=f"Fine-tuning with {'all' if labels == ALL else labels} target labels a class",
            experiment="fine-tuning",
            columns=_named(tuned),
            lines=(*_lines("source_only"), *_lines(*FINE_TUNED, labels=labels)),
        )
        for labels in EVERY_LABELS
    )
    weighting = Table(
        title="Importance weighting",
        experiment="importance weighting",
        columns=_named(SELECTION),
        lines=_lines("source_only", EVEN, "importance_weighting", "target_supervised"),
    )
    streams = {"tent": STREAMS, **({"long stream": (LONG_STREAM,)} if digits else {})}
    tent = tuple(
        Table(
            title=f"TENT over batch sizes, and the gain along the stream ({name})",
            experiment=name,
            columns=_named(tasks),
            lines=(
                *_lines("source_only"),
                *(TableLine(f"TENT, batches of {size}", of) for size, of in BY_SIZE.items()),
                *_lines(EPISODIC),
            ),
            measures=(ACCURACY, LATE_GAIN),
        )
        for name, tasks in streams.items()
    )
    reversal = Table(
        title="Gradient reversal",
        experiment="reversal",
        columns=_named(aligned),
        lines=_lines("source_only", "dann", "target_supervised"),
    )
    return (*fine_tuning, weighting, *tent, reversal)


def _on_warm_start(tuned: tuple[str, ...]) -> tuple[Claim, ...]:
    return (
        Claim(
            "Warm start helps to reduce “forgetting” of the representations",
            "slides, Warm Start",
            "fine-tuning",
            on_each(tuned, lambda task: Higher(task, Of(PLAIN, 10), Of(WARM, 10), 0.0, FORGOTTEN)),
            "less accuracy is lost on the source than by plain fine-tuning, both from a fresh classifier, 10 "
            "labels a class",
        ),
        Claim(
            "not always the best choice",
            "slides, Warm Start",
            "fine-tuning",
            AnyOf(tuple(Higher(task, Of(PLAIN, labels), Of(WARM, labels)) for task in tuned for labels in (10, ALL))),
            "on some task plain fine-tuning is above warm start on the target, 10 labels a class or all",
        ),
    )


def _on_layers(tuned: tuple[str, ...]) -> tuple[Claim, ...]:
    return (
        Claim(
            "small lr or freeze for early layers",
            "slides, Finetuning and Transferability",
            "fine-tuning",
            on_each(
                tuned,
                lambda task: AnyOf(tuple(Higher(task, Of(each, 3), Of("finetune_all", 3)) for each in FROZEN)),
            ),
            "with 3 labels a class, some fine-tuning of the last layers is above that of all, on every task",
        ),
        Claim(
            "small lr or freeze for early layers",
            "slides, Finetuning and Transferability",
            "fine-tuning",
            on_each(tuned, above(DECAY, "finetune_all", labels=3)),
            "with 3 labels a class, smaller rates for earlier layers are above one rate for all, on every task",
        ),
        Claim(
            "low layer are general feature extractor, high layers are task-specific",
            "slides, How transferable are learned features?",
            "fine-tuning",
            on_each(tuned, lambda task: Higher(task, Of(FROZEN[2], ALL), Of("finetune_all", ALL), -SMALL)),
            "with all labels the last three layers come within two points of all layers",
        ),
    )


ON_WEIGHTING = (
    Claim(
        "minimize error on target domain by weighing source data",
        "slides, Source and Target Error",
        "importance weighting",
        above("importance_weighting", EVEN)(COVERED),
        "where the source covers the target, it is above the same training with even weights",
    ),
    Claim(
        "informally, the source domain contains the target domain",
        "slides, Importance Sampling Algorithm",
        "importance weighting",
        no_better("importance_weighting", EVEN)(UNCOVERED),
        "a condition: where the source does not, weighting gains less than two points on even weights",
    ),
)

ON_TEST_TIME = (
    Claim(
        "We minimize the average entropy of a minibatch ... Reduce noise and improves stability",
        "slides, Test Entropy Minimization (TENT)",
        "tent",
        on_each(STREAMS, lambda task: Higher(task, BY_SIZE[200], BY_SIZE[1])),
        "batches of 200 are above batches of 1",
    ),
    Claim(
        "We need stability: noisy updates will result in an unreliable model",
        TENT_SLIDES,
        "tent",
        on_each(STREAMS, lambda task: Higher(task, Of("source_only"), BY_SIZE[1])),
        "batches of 1 end below the unadapted model",
    ),
    Claim(
        "We want to adapt the model to the target domain during the inference time",
        TENT_SLIDES,
        "tent",
        on_each(STREAMS, lambda task: Higher(task, BY_SIZE[200], Of("source_only"))),
        "TENT in batches of 200 is above the unadapted model",
    ),
)


def _on_stability(digits: bool) -> Claim:
    return Claim(
        "We need stability",
        TENT_SLIDES,
        "long stream" if digits else "tent",
        Below(LONG_STREAM, BY_SIZE[64], LATE_GAIN, -SMALL, above=True)
        if digits
        else NotHere("the long stream is MNIST's test set, which is not here"),
        "over 10,000 images in batches of 64 the last fifth is not two points below the first",
    )


def _on_reversal(aligned: tuple[str, ...]) -> tuple[Claim, ...]:
    section = "post, Unsupervised Domain Adaptation by Backpropagation"
    return (
        Claim(
            POST,
            section,
            "reversal",
            on_each(aligned, above("dann", "source_only")),
            "above source only on the target",
        ),
        Claim(
            POST,
            section,
            "reversal",
            on_each(aligned, lambda task: Below(task, Of("dann"), FORGOTTEN, SMALL)),
            "less than two points are lost on the source",
        ),
    )
