"""The founding papers as plain data: what each one ran, its tables, and its claims with the rule that judges them.

`STUDIES` maps a paper's name to a function from what this machine has to the study it can run; whatever stands in for
the paper's own data or network is named in `substitutions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dabench import registry
from dabench.core import MissingData
from dabench.data.datasets import files_of
from dabench.papers.verdicts import (
    ACCURACY,
    BEST_ON_TARGET,
    DROP,
    FALL,
    FORGOTTEN,
    LATE_GAIN,
    RECOVERED,
    SOURCE_AFTER,
    AllOf,
    AnyOf,
    Below,
    BestOf,
    Higher,
    Measure,
    NoneLower,
    NotHere,
    Of,
    Rule,
)
from dabench.run.plan import ALL

SMALL = 0.02  # two points: less than this is no difference that anyone would act on


@dataclass(frozen=True)
class Here:
    """What this machine has, and the network or image size that a person insisted on."""

    data: Path
    has_weights: Callable[[str], bool]
    backbone: str | None = None
    image_size: int | None = None

    def has(self, task: str) -> bool:
        """Whether the task's files are here."""
        try:
            files_of(registry.known_tasks()[task], self.data)
        except MissingData:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Cells under the same conditions; with a `parameter`, one curve for each task (see dabench.curves)."""

    tasks: str
    methods: str
    seeds: int = 3
    backbone: str | None = None
    image_size: int | None = None
    protocol: str | None = None
    labels: tuple[int, ...] = (ALL,)
    parameter: str = ""
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Line:
    """A method's line in a table, and what the paper printed in each of its columns."""

    label: str
    of: Of
    published: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper; the last `measures` stand in as many columns of ours for each task."""

    title: str
    experiment: str
    columns: tuple[tuple[str, str], ...]  # (heading, task)
    lines: tuple[Line, ...]
    measures: tuple[Measure, ...] = (ACCURACY,)


@dataclass(frozen=True)
class Claim:
    """What the paper says, where, and the rule that judges it on the rows of an experiment.

    `quote` holds the paper's own words, "..." where some are left out, and is empty where a table alone says it;
    `reading` is ours: what the words are taken to mean, or what the table says.
    """

    quote: str
    section: str
    experiment: str
    rule: Rule
    reading: str = ""


@dataclass(frozen=True)
class Substitution:
    """What stands in for something of the paper's own, and why."""

    own: str
    given: str
    why: str

    def __str__(self) -> str:
        return f"{self.given} in the place of {self.own}: {self.why}"


@dataclass(frozen=True)
class Picture:
    """A grid of pictures (original, behind the camera, adapted) from a cell of an experiment."""

    file: str
    task: str
    variant: str
    experiment: str


@dataclass(frozen=True, kw_only=True)
class Study:
    """A paper's protocol: everything `dabench reproduce` runs, shows and judges."""

    name: str
    title: str
    experiments: Mapping[str, Experiment]
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]
    pictures: tuple[Picture, ...] = ()
    substitutions: tuple[Substitution, ...] = ()
    notes: tuple[str, ...] = field(default=())


def _network(here: Here, own: str, otherwise: str) -> tuple[str, list[Substitution]]:
    """The network to run: the one asked for, else the paper's own where its weights can be had, else another."""
    if here.backbone:
        given, why = here.backbone, "as asked for"
    elif here.has_weights(own):
        given, why = own, ""
    else:
        given, why = otherwise, f"the ImageNet weights of {own} cannot be had here"
    return given, [] if given == own else [Substitution(own, given, why)]


def _size(here: Here, own: int) -> list[Substitution]:
    if here.image_size in (None, own):
        return []
    return [Substitution(f"{own} px", f"{here.image_size} px", "as asked for")]


def _each(tasks: Iterable[str], rule: Callable[[str], Rule]) -> AllOf:
    return AllOf(tuple(rule(task) for task in tasks))


def _above(first: str, *others: str, by: float = 0.0, labels: int | None = None) -> Callable[[str], Rule]:
    """The first variant above each of the others."""
    return lambda task: AllOf(tuple(Higher(task, Of(first, labels), Of(other, labels), by) for other in others))


def _no_better(first: str, floor: str = "source_only") -> Callable[[str], Rule]:
    """The first variant gains less than two points on the floor."""
    return lambda task: Higher(task, Of(floor), Of(first), -SMALL)


# --------------------------------------------------------------------------------------------- AdapterNet


def adapternet(here: Here) -> Study:
    """Hazan et al.: a network behind a simulated camera."""
    family = next((name for name in ("imagenet", "imagenette") if here.has(f"{name}-rotated")), "shapes")
    if family == "shapes":  # a network of its own, trained on them
        backbone, substitutions = here.backbone or "resnet8", []
        substitutions.append(Substitution("vgg16", backbone, "as asked for" if here.backbone else "trained on shapes"))
    else:
        backbone, substitutions = _network(here, "vgg16", "tf_efficientnet_lite0")
        substitutions += _size(here, 224)
    if family != "imagenet":
        given = "the synthetic shapes" if family == "shapes" else family
        substitutions.append(Substitution("ImageNet's validation pictures", given, "they are not here"))
    rotated, power = tasks = (f"{family}-rotated", f"{family}-power")
    # Between ten classes a network seldom errs: what a camera costs is judged with all of its logits.
    whole = "imagenette1k" if family == "imagenette" else family
    whole_rotated, whole_power = f"{whole}-rotated", f"{whole}-power"
    tuned = ("finetune_last1", "finetune_last2", "finetune_last3")
    angles = tuple(float(angle) for angle in range(0, 360, 30))
    both, size = ",".join(tasks), here.image_size

    def experiment(methods: str, tasks: str = both, **more: object) -> Experiment:
        return Experiment(tasks=tasks, methods=methods, backbone=backbone, image_size=size, **more)  # type: ignore[arg-type]

    lines = (
        Line("Pure inference", Of("source_only"), ("0.4282 (34.6%)", "0.4356 (33.4%)")),
        Line("Fine-tuning last layer", Of(tuned[0]), ("0.4821 (26.3%)", "0.4362 (33.4%)")),
        Line("Fine-tuning last two layers", Of(tuned[1]), ("0.5215 (20.3%)", "0.5134 (21.6%)")),
        Line("Fine-tuning last three layers", Of(tuned[2]), ("0.4343 (33.6%)", "0.4322 (34%)")),
        Line("AdapterNet", Of("adapternet"), ("0.631 (3.6%)", "0.6188 (5.5%)")),
        Line("Fine-tuning all layers (not in the paper)", Of("finetune_all")),
        Line("AdapterNet inside (the paper's future work)", Of("adapternet_inner")),
        Line("AdapterNet without labels (not in the paper)", Of("adapternet_unlabelled")),
    )
    budgets = (1, 3, 10, 30, ALL)
    few = (
        Line("Pure inference, no label", Of("source_only")),
        Line("AdapterNet without labels", Of("adapternet_unlabelled")),
        *(
            Line(f"{name}, {'all' if labels == ALL else labels} a class", Of(variant, labels))
            for name, variant in (
                ("AdapterNet", "adapternet"),
                ("Last layer", tuned[0]),
                ("Last two layers", tuned[1]),
                ("Last three layers", tuned[2]),
                ("All layers", "finetune_all"),
            )
            for labels in budgets
        ),
    )
    presets = {
        "one layer: a matrix of colours": "adapternet[depth=1]",
        "deeper: 10 layers": "adapternet[depth=10]",
        "wider: 8 hidden channels for each of the image's": "adapternet[width=8]",
        "3x3 convolutions": "adapternet[kernel=3]",
        "three times the learning rate": "adapternet[lr=0.01]",
        "ten times the learning rate": "adapternet[lr=0.03]",
    }
    columns = (("colour rotation", rotated), ("power function", power))
    at = {angle: whole_rotated if angle == 150 else f"{whole_rotated}[angle={angle:g}]" for angle in angles}
    judged_in = "table 1"
    whole_experiment: dict[str, Experiment] = {}
    whole_table: tuple[Table, ...] = ()
    if whole != family:
        judged_in = "all logits"
        beside = (("colour rotation", whole_rotated), ("power function", whole_power), ("no camera", at[0]))
        methods = f"source_only,{','.join(tuned)},adapternet"
        whole_experiment = {judged_in: experiment(methods, ",".join(task for _, task in beside))}
        whole_table = (
            Table(
                title="Table 1 with all 1,000 logits: labels also tell which ten classes there are, see no camera",
                experiment=judged_in,
                columns=beside,
                lines=lines[:5],
                measures=(ACCURACY, DROP),
            ),
        )
    return Study(
        name="adapternet",
        title="AdapterNet - learning input transformation for domain adaptation (Hazan et al., 2018)",
        experiments={
            "table 1": experiment(
                f"source_only,{','.join(tuned)},adapternet,finetune_all,adapternet_inner,adapternet_unlabelled"
            ),
            "initialisation": experiment("source_only,adapternet,adapternet[init=random]"),
            "presets": experiment("adapternet," + ",".join(presets.values())),
            "another angle": experiment(f"source_only,{tuned[0]},{tuned[1]},adapternet", f"{rotated}[angle=90]"),
            "figure 2": experiment("source_only", whole_rotated, parameter="angle", values=angles),
            "samples": experiment(
                f"adapternet,{','.join(tuned)},finetune_all,source_only,adapternet_unlabelled",
                parameter="labels",
                values=budgets,
            ),
            **whole_experiment,
        },
        tables=(
            Table(
                title="Table 1: accuracy behind each camera, and its drop",
                experiment="table 1",
                columns=columns,
                lines=lines,
                measures=(ACCURACY, DROP),
            ),
            *whole_table,
            Table(title="Section 3: a small amount of samples", experiment="samples", columns=columns, lines=few),
            Table(
                title="Section 2: random initialisation",
                experiment="initialisation",
                columns=columns,
                lines=(
                    Line("Pure inference", Of("source_only")),
                    Line("AdapterNet from the identity", Of("adapternet")),
                    Line("AdapterNet from random weights", Of("adapternet[init=random]")),
                ),
            ),
            Table(
                title="Tried beside it: other adapters",
                experiment="presets",
                columns=columns,
                lines=(
                    Line("AdapterNet, as it stands", Of("adapternet")),
                    *(Line(label, Of(variant)) for label, variant in presets.items()),
                ),
            ),
            Table(
                title="Tried beside it: 90 degrees (150 is the worst angle for the paper's network, not for each)",
                experiment="another angle",
                columns=(("colours turned by 90 degrees", f"{rotated}[angle=90]"),),
                lines=tuple(Line(line.label, line.of) for line in (*lines[:3], lines[4])),
                measures=(ACCURACY, DROP),
            ),
        ),
        claims=(
            Claim(
                "Doing so reduces the classification performance of the original model by 34.6%",
                "5.0.1, table 1",
                judged_in,
                Below(whole_rotated, Of("source_only"), DROP, 0.25, above=True),
                "the camera costs at least a quarter of the accuracy",
            ),
            Claim(
                "Doing so lowers the top-1 score by 33.4%",
                "5.0.2, table 1",
                judged_in,
                Below(whole_power, Of("source_only"), DROP, 0.25, above=True),
                "the camera costs at least a quarter of the accuracy",
            ),
            Claim(
                "With our AdapterNet with 5 layers, the results show near perfect adaptation performance for both "
                "tested transformations.",
                "5.1, table 1",
                "table 1",
                AllOf((Below(rotated, Of("adapternet"), DROP, 0.036), Below(power, Of("adapternet"), DROP, 0.055))),
                "the drops are below those of table 1, 3.6% and 5.5%",
            ),
            Claim(
                "standard fine-tuning fails to adapt the model in certain important cases",
                "Abstract",
                "table 1",
                _each(tasks, lambda task: AllOf(tuple(Below(task, Of(each), RECOVERED, 0.5) for each in tuned))),
                "fine-tuning the last one, two or three layers gives back less than half of what the camera took",
            ),
            Claim(
                "this method performs significantly better than finetuning",
                "Discussion",
                "table 1",
                _each(tasks, _above("adapternet", *tuned)),
                "it is above fine-tuning of the last one, two and three layers",
            ),
            Claim(
                "We noticed some improvement in the performance for the color rotation, and no improvement in the "
                "power function transformation.",
                "5.1",
                "table 1",
                AllOf((_above(tuned[0], "source_only")(rotated), _no_better(tuned[0])(power))),
                "fine-tuning the last layer gains on pure inference there, and less than two points here",
            ),
            Claim(
                "We then tested finetuning on the last two trainable layers, which showed significant improvement for "
                "both filters.",
                "5.1",
                "table 1",
                _each(tasks, _above(tuned[1], "source_only")),
                "it is above pure inference",
            ),
            Claim(
                "However, there was clear over-fitting after a few epochs",
                "5.1",
                "table 1",
                _each(tasks, lambda task: Below(task, Of(tuned[1]), FALL, 0.01, above=True)),
                "the last checkpoint of the last two layers is more than a point below their best",
            ),
            Claim(
                "the over-fitting occurred after even fewer epochs",
                "5.1",
                "table 1",
                _each(tasks, _above(tuned[1], tuned[2])),
                "the last three layers end below the last two",
            ),
            Claim(
                "the model failed to adapt to the new source",
                "5.1",
                "table 1",
                _each(tasks, _no_better(tuned[2])),
                "fine-tuning the last three layers gains less than two points on pure inference",
            ),
            Claim(
                "When we used standard random initialization schemes such as Glorot [4] or He [6], the model "
                "completely failed to learn.",
                "2",
                "initialisation",
                _each(tasks, _no_better("adapternet[init=random]")),
                "it gains less than two points on pure inference",
            ),
            Claim(
                "initialization of the adapter weights is crucial to the success of the training",
                "2",
                "initialisation",
                _each(tasks, _above("adapternet", "adapternet[init=random]")),
                "the identity is above random weights",
            ),
            Claim(
                "Requires a small amount of samples from the new data set.",
                "3",
                "samples",
                _each(tasks, lambda task: Higher(task, Of("adapternet", 10), Of("adapternet", ALL), -SMALL)),
                "with 10 labels a class it is within two points of itself with all",
            ),
            Claim(
                "training it requires fewer samples than is required to train a full new network",
                "2",
                "samples",
                _each(tasks, _above("adapternet", "finetune_all", labels=10)),
                "with 10 labels a class it is above fine-tuning of all layers with 10",
            ),
            Claim(
                "we evaluated the original classifier on various angles and selected the worst performing value",
                "5.0.1, figure 2",
                "figure 2",
                NoneLower(whole_rotated, tuple(name for angle, name in at.items() if angle != 150), Of("source_only")),
                "150 degrees is the worst of the angles from 0 to 330",
            ),
            Claim(
                "Using the identity initialization, we speculate that we can achieve inner layer adaptation, as well.",
                "Discussion",
                "table 1",
                _each(tasks, _above("adapternet_inner", "source_only")),
                "adapters inside the network are above pure inference",
            ),
            Claim(
                "in some ways, the transformed images appear visually better than the original",
                "Discussion",
                "table 1",
                NotHere("a matter for the eye: see the pictures below"),
            ),
        ),
        pictures=tuple(
            Picture(f"adapternet-{task.partition('-')[2]}.png", task, "adapternet", "table 1") for task in tasks
        ),
        substitutions=tuple(substitutions),
        notes=(
            "The drop is relative to the accuracy of the same network on the undistorted test pictures, as in the "
            "paper.",
        ),
    )


# ------------------------------------------------------------------------------------------------- NoGRL


_NOGRL = {
    "mnist-usps": ("75.2±1.6", "82", "95.3", "98.9±0.1"),
    "usps-mnist": ("57.1±1.7", "72.2", "97.2", "99.2±0.1"),
    "svhn-mnist": ("60.1±1.1", "76.3", "84.7", "99.2±0.1"),
}
_NOGRL_LINES = {
    "Source only": "source_only",
    "GRL": "dann",
    "NoGRL": "nogrl",
    "Target fully supervised": "target_supervised",
}


def nogrl(here: Here) -> Study:
    """Serieys and Cherif: a confusion loss in the place of gradient reversal."""
    tasks = [task for task in _NOGRL if here.has(task)] or list(_NOGRL)
    absent = tuple(f"{task} is not run: its data are not here." for task in _NOGRL if task not in tasks)
    methods = ",".join(_NOGRL_LINES.values())
    grey = tuple(task for task in tasks if task != "svhn-mnist")
    experiments = {}
    main, substitutions = _network(here, "vgg16", "lenet")
    ours = here.backbone or "lenet"
    if main == "vgg16" and not here.backbone:
        experiments[main] = Experiment(
            tasks=",".join(tasks), methods=methods, seeds=5, backbone=main, image_size=here.image_size or 32
        )
        if here.image_size is None:
            why = "the five poolings of vgg16 leave nothing of 28 pixels"
            substitutions.append(Substitution("28 px", "32 px", why))
    substitutions += _size(here, 28)
    size = here.image_size
    gammas = (1.0, 5.0, 10.0, 20.0)
    experiments[ours] = Experiment(tasks=",".join(tasks), methods=methods, seeds=5, backbone=ours, image_size=size)
    experiments["gamma"] = Experiment(
        tasks=",".join(grey), methods="nogrl,dann", backbone=ours, image_size=size, parameter="gamma", values=gammas
    )
    experiments["schedule"] = Experiment(
        tasks=",".join(grey), methods="source_only,dann,dann_alpha,nogrl", seeds=5, backbone=ours, image_size=size
    )
    tried = {
        "NoGRL, as it stands": "nogrl",
        "learning rate 0.03": "nogrl[lr=0.03]",
        "learning rate 0.003": "nogrl[lr=0.003]",
        "no dropout, no L2": "nogrl[dropout=0.0,l2=0.0]",
        "gamma = 1, no dropout, no L2": "nogrl[dropout=0.0,gamma=1.0,l2=0.0]",
    }
    experiments["tried"] = Experiment(
        tasks=",".join(grey), methods=",".join(tried.values()), backbone=ours, image_size=size
    )
    by_gamma = {gamma: Of("nogrl" if gamma == 10 else f"nogrl[gamma={gamma}]") for gamma in gammas}
    tables = tuple(
        Table(
            title=f"Table 1, backbone {network}",
            experiment=network,
            columns=tuple((task, task) for task in tasks),
            lines=tuple(
                Line(label, Of(variant), tuple(_NOGRL[task][index] for task in tasks))
                for index, (label, variant) in enumerate(_NOGRL_LINES.items())
            ),
        )
        for network in dict.fromkeys((main, ours))
    )
    columns = tuple((task, task) for task in grey)
    svhn = "svhn-mnist"
    return Study(
        name="nogrl",
        title="Adversarial domain adaptation without gradient reversal layer (Serieys & Cherif, ESANN 2020)",
        experiments=experiments,
        tables=(
            *tables,
            Table(
                title="Section 4: gamma",
                experiment="gamma",
                columns=columns,
                lines=tuple(Line(f"NoGRL, gamma = {gamma:g}", of) for gamma, of in by_gamma.items()),
            ),
            Table(
                title="Which part helps: reversal and confusion under each schedule",
                experiment="schedule",
                columns=columns,
                lines=(
                    Line("Source only", Of("source_only")),
                    Line("GRL, its own lambda", Of("dann")),
                    Line("GRL under NoGRL's alpha, dropout and L2", Of("dann_alpha")),
                    Line("NoGRL", Of("nogrl")),
                ),
            ),
            Table(
                title="Tried beside it: other learning rates, no regularisation",
                experiment="tried",
                columns=columns,
                lines=tuple(Line(label, Of(variant)) for label, variant in tried.items()),
            ),
        ),
        claims=(
            Claim(
                "Our method outperforms results obtained by GRL in small images benchmarks.",
                "Abstract",
                main,
                _each(tasks, _above("nogrl", "dann")),
            ),
            Claim(
                "NoGRL outperforms GRL [9] results, enhancing the accuracy by **at least 13%** (compared to our "
                "results with GRL).",
                "4",
                main,
                _each(grey, _above("nogrl", "dann", by=0.13)),
                "by 13 points, from MNIST to USPS and back",
            ),
            Claim(
                "Results are very close to the best achievable results: less than 4% difference in accuracy.",
                "4",
                main,
                _each(grey, lambda task: Higher(task, Of("nogrl"), Of("target_supervised"), -0.04)),
                "less than 4 points below full supervision",
            ),
            Claim(
                "NoGRL again outperforms GRL [9] results, enhancing the accuracy by **more than 8%**.",
                "4",
                main,
                _above("nogrl", "dann", by=0.08)(svhn) if svhn in tasks else NotHere("SVHN is not here"),
                "by 8 points, from SVHN to MNIST",
            ),
            Claim(
                "results are still far from the best achievable results",
                "4",
                main,
                _above("target_supervised", "nogrl", by=0.04)(svhn) if svhn in tasks else NotHere("SVHN is not here"),
                "more than 4 points below full supervision, from SVHN to MNIST",
            ),
            Claim(
                "We set the ... which gave the best results.",
                "4",
                "gamma",
                _each(grey, lambda task: BestOf(task, tuple(by_gamma.values()), (by_gamma[10.0],))),
                "the gamma of alpha that is best among 1, 5, 10 and 20 is 10",
            ),
            Claim(
                "provides good results",
                "3.2",
                main,
                _each(tasks, _above("dann", "source_only")),
                "gradient reversal is above source only",
            ),
            Claim(
                "domain adaptation is emphasized during the first part of the training, and then the focus is put on "
                "prediction optimization. As a result, the method introduced, simple yet efficient, improves results "
                "obtained by the original GRL method [9].",
                "5",
                "schedule",
                _each(grey, _above("dann_alpha", "dann")),
                "gradient reversal under this schedule is above gradient reversal under its own",
            ),
            Claim(
                "instead of being updated thanks to the GRL mechanism, ... is updated thanks to the new confusion loss",
                "3.3",
                "schedule",
                _each(grey, _above("nogrl", "dann_alpha")),
                "under the same schedule the confusion loss is above gradient reversal",
            ),
        ),
        substitutions=tuple(substitutions),
        notes=(
            *absent,
            "The paper quotes its source-only and supervised columns from other papers, on 2,000 and 1,800 images; "
            "here "
            "all rows are from the same runs, on the whole training sets.",
            "Every method here starts from the source-trained model; the paper trains GRL and NoGRL from the start.",
        ),
    )


# ------------------------------------------------------------------------------------- activation shaping


def activation_shaping(here: Here) -> Study:
    """Li, Soueidan and Al Najjar: binary activations, masked by chance, while training on the source."""
    # What stands in has shortcuts everywhere too: a binary map has no gradient, and nothing else leads past it.
    backbone, substitutions = _network(here, "resnet18", "resnet20")
    size = here.image_size
    if size is None and backbone == "resnet20":
        size = 32
        substitutions.append(Substitution("224 px", "32 px", "the size that resnet20 is made for"))
    substitutions += _size(here, 224)
    cartoon, sketch, photo = tasks = tuple(f"pacs-art-{target}" for target in ("cartoon", "sketch", "photo"))
    shaped = "activation_shaping"
    by_layer = {"conv": Of(shaped), **{name: Of(f"{shaped}[after={name}]") for name in ("batchnorm", "activation")}}
    by_every = {2: Of(f"{shaped}[every=2]"), 3: Of(shaped), 4: Of(f"{shaped}[every=4]")}
    rates = (0.05, 0.1, 0.2, 0.4, 0.6)
    by_rate = {rate: Of(shaped if rate == 0.2 else f"{shaped}[mask_rate={rate}]") for rate in rates}
    variants = dict.fromkeys(each.variant for each in (*by_layer.values(), *by_every.values()))

    def experiment(methods: str, **more: object) -> Experiment:
        return Experiment(
            tasks=",".join(tasks),
            methods=methods,
            backbone=backbone,
            image_size=size,
            protocol="transductive",
            **more,  # type: ignore[arg-type]
        )

    columns = tuple((f"art → {task.rpartition('-')[2]}", task) for task in tasks)
    measures = (ACCURACY, BEST_ON_TARGET, SOURCE_AFTER)

    def cartoon_table(title: str, lines: tuple[Line, ...], experiment: str = "tables 1-3") -> Table:
        return Table(title=title, experiment=experiment, columns=columns, lines=lines, measures=measures)

    def gain(task: str, by: float, measure: Measure) -> Rule:
        return Higher(task, Of(shaped), Of("source_only"), by, measure)

    suited = tuple(by_rate[rate] for rate in (0.1, 0.2))
    return Study(
        name="activation-shaping",
        title="Activation Shaping for Domain Adaptation (Li, Soueidan & Al Najjar, report, 2024)",
        experiments={
            "tables 1-3": experiment(",".join(["source_only", "source_more", *variants, "target_mask"])),
            "mask rate": experiment(f"{shaped},source_only", parameter="mask_rate", values=rates),
        },
        tables=(
            cartoon_table(
                "Table 1: baseline",
                (
                    Line("Baseline", Of("source_only"), ("57.30", "47.87", "96.53")),
                    Line("Baseline trained for as long as shaping (not in the report)", Of("source_more")),
                ),
            ),
            cartoon_table(
                "Table 2: after which kind of layer (every 3rd, rate 0.2)",
                (
                    Line("Baseline", Of("source_only"), ("57.30", "47.87", "96.53")),
                    Line("After convolutions", by_layer["conv"], ("82.28", "", "")),
                    Line("After batch norm", by_layer["batchnorm"], ("72.12", "", "")),
                    Line("After activations", by_layer["activation"], ("33.15", "", "")),
                    Line("After convolutions, masked by the target", Of("target_mask")),
                ),
            ),
            cartoon_table(
                "Table 3: every n-th convolution (rate 0.2)",
                (
                    Line("4 layers once", by_every[4], ("71.44", "", "")),
                    Line("3 layers once", by_every[3], ("82.28", "", "")),
                    Line("2 layers once", by_every[2], ("40.97", "", "")),
                ),
            ),
            cartoon_table(
                "Section 3.3: mask rate (every 3rd convolution)",
                tuple(Line(f"rate {rate}", of) for rate, of in by_rate.items()),
                "mask rate",
            ),
        ),
        claims=(
            Claim(
                "",
                "3.2, table 2",
                "tables 1-3",
                gain(cartoon, 0.8228 - 0.5730, ACCURACY),
                "Table 2 has 57.30 % for the baseline and 82.28 % after convolutions: shaping there gains as much, art "
                "to cartoon",
            ),
            Claim(
                "",
                "3.2, table 2",
                "tables 1-3",
                gain(cartoon, 0.8228 - 0.5730, BEST_ON_TARGET),
                "Table 2 has 57.30 % and 82.28 %: shaping gains as much, each run's epoch chosen on the target as a "
                "reader of its accuracy curve would",
            ),
            Claim(
                "",
                "3.2, table 2",
                "tables 1-3",
                AllOf(
                    tuple(
                        Higher(cartoon, by_layer[better], by_layer[worse], 0.0, SOURCE_AFTER)
                        for better, worse in (("conv", "batchnorm"), ("batchnorm", "activation"))
                    )
                ),
                "Table 2 has 82.28 % after convolutions, 72.12 % after batch norm and 33.15 % after activations: the "
                "same order in accuracy on the source (see the note on 1/2048)",
            ),
            Claim(
                "the best place to insert our (CAL) is after the conv. layer",
                "3.2, table 2",
                "tables 1-3",
                AllOf(
                    tuple(
                        Higher(task, by_layer["conv"], by_layer[other])
                        for task in tasks
                        for other in ("batchnorm", "activation")
                    )
                ),
                "it is above shaping after batch norm and after activations, on all three targets",
            ),
            Claim(
                "",
                "3.2, table 2",
                "tables 1-3",
                Higher(cartoon, Of("source_only"), by_layer["activation"]),
                "Table 2 has 33.15 % after activations: below the baseline of 57.30 %, art to cartoon",
            ),
            Claim(
                "placing the CAL after 3 convolutions leads to the best accuracy",
                "3.2, table 3",
                "tables 1-3",
                AllOf(tuple(Higher(task, by_every[3], by_every[other]) for task in tasks for other in (2, 4))),
                "every third convolution is above every second and every fourth, on all three targets",
            ),
            Claim(
                "the optimal choice often lies within the range of 0.1 to 0.2",
                "3.3",
                "mask rate",
                _each(tasks, lambda task: BestOf(task, tuple(by_rate.values()), suited)),
                "0.1 or 0.2 is the best of 0.05, 0.1, 0.2, 0.4 and 0.6",
            ),
            Claim(
                "neither too high (e.g., 0.6) nor too low (e.g., 0.05) thresholds are suitable",
                "3.3",
                "mask rate",
                AnyOf(
                    tuple(
                        AllOf(tuple(Higher(cartoon, best, by_rate[other]) for other in (0.05, 0.6))) for best in suited
                    )
                ),
                "0.1 or 0.2 is above both, art to cartoon",
            ),
            Claim(
                "the use of the Activation Shaping layer often leads to a decrease in recognition accuracy ... without "
                "improving accuracy",
                "4",
                "tables 1-3",
                _no_better(shaped)(photo),
                "from art to photo it gains less than two points",
            ),
            Claim(
                "for other groups with a larger difference in visual style, the application of the Activation Shaping "
                "layer positively affects model training",
                "4",
                "tables 1-3",
                _each((cartoon, sketch), _above(shaped, "source_only")),
                "it is above the baseline",
            ),
            Claim(
                "for other groups with a larger difference in visual style, the application of the Activation Shaping "
                "layer positively affects model training",
                "4",
                "tables 1-3",
                _each((cartoon, sketch), _above(shaped, "source_more")),
                "it is above training on the source for as many steps more without shaping",
            ),
        ),
        substitutions=tuple(substitutions),
        notes=(
            "The report's numbers are single runs. Ours is the last checkpoint; beside it stands the best of ten "
            "checkpoints chosen on the target's own test labels, which is what reading an accuracy curve amounts "
            "to: the "
            "difference is what that choice is worth, not a result.",
            "Shaping starts from the source-trained model, so it has had more steps than the baseline; `source_more` "
            "has had as many without shaping.",
            "Tables 2 and 3 seem to show accuracy on the source: PACS has 2,048 art paintings and 2,344 cartoons, "
            "and all five numbers with shaping are, as printed, shares of 2,048 (1685 / 2048 = 82.28 %, 1477 = "
            "72.12 %, 679 = 33.15 %, 1463 = 71.44 %, 839 = 40.97 %), as five numbers at random are once in 2,800 "
            "times; all but 33.15 % are no share of 2,344. The baselines are shares of their targets' counts (1343 "
            "/ 2344 = 57.30 %, 1881 / 3929 = 47.87 %, 1612 / 1670 = 96.53 %), and 57.30 % is none of 2,048. So "
            "57.30 and 82.28 do not compare like with like. Our tables show accuracy on held-out source images "
            "beside that on the target.",
        ),
    )


# ----------------------------------------------------------------------------------------------- lectures


def lectures(here: Here) -> Study:
    """The claims of the two lectures: fine-tuning, importance weighting, test-time adaptation, gradient reversal."""
    small = Substitution("experiments of their own", "small tasks", "the lectures report none")
    digits = tuple(task for task in ("mnist-usps", "usps-mnist") if here.has(task))
    absent = () if digits else ("MNIST and USPS are not here: the embedded tasks alone.",)
    cameras, fonts = ("shapes-rotated", "shapes-power"), ("fonts-optdigits", "optdigits-fonts")
    tuned, aligned = (*cameras, *fonts, *digits), (*fonts, *digits)
    even = "importance_weighting[c=1e-05]"  # so weak a domain classifier that its weights are all about 1
    covered, disjoint = selection = ("optdigits-covered", "optdigits-uncovered")
    stream = "usps-mnist"
    streams = ("fonts-optdigits", "shapes-rotated")
    plain, warm = "finetune_all[reinitialise=1]", "lp_ft[fresh_head=True]"
    sizes = (1, 8, 64, 200)
    by_size = {size: Of("tent" if size == 200 else f"tent[batch_size={size}]") for size in sizes}
    frozen = ("finetune_last1", "finetune_last2", "finetune_last3")
    net, px = here.backbone, here.image_size
    norm = net or "lenet_bn"  # lenet, the task's own, has no batch norm to adapt

    def named(tasks: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        return tuple((task, task) for task in tasks)

    def lines(*variants: str, labels: int | None = None) -> tuple[Line, ...]:
        return tuple(Line(f"`{variant}`", Of(variant, labels)) for variant in variants)

    fine = f"source_only,finetune_all,finetune_all[layer_decay=0.3],lp_ft,{plain},{warm},{','.join(frozen)}"
    tables = [
        Table(
            title=f"Fine-tuning with {'all' if labels == ALL else labels} target labels a class",
            experiment="fine-tuning",
            columns=named(tuned),
            lines=(
                *lines("source_only"),
                *lines("finetune_all", "finetune_all[layer_decay=0.3]", "lp_ft", plain, warm, *frozen, labels=labels),
            ),
        )
        for labels in (3, 10, ALL)
    ]
    tables += [
        Table(
            title="Importance weighting",
            experiment="importance weighting",
            columns=named(selection),
            lines=lines("source_only", even, "importance_weighting", "target_supervised"),
        ),
        *(
            Table(
                title=f"TENT over batch sizes, and the gain along the stream ({name})",
                experiment=name,
                columns=named(there),
                lines=(
                    *lines("source_only"),
                    *(Line(f"TENT, batches of {size}", of) for size, of in by_size.items()),
                    *lines("tent[episodic=True]"),
                ),
                measures=(ACCURACY, LATE_GAIN),
            )
            for name, there in {"tent": streams, **({"long stream": (stream,)} if digits else {})}.items()
        ),
        Table(
            title="Gradient reversal",
            experiment="reversal",
            columns=named(aligned),
            lines=lines("source_only", "dann", "target_supervised"),
        ),
    ]
    post = (
        "we've trained a neural network to predict ... images that come from either the source or target distributions"
    )
    return Study(
        name="lectures",
        title="Finetuning and Domain Adaptation (Carta, slides); Domain Adaptation by Backpropagation (post, 2016)",
        experiments={
            "fine-tuning": Experiment(
                tasks=",".join(tuned), methods=fine, labels=(3, 10, ALL), backbone=net, image_size=px
            ),
            "importance weighting": Experiment(
                tasks=",".join(selection),
                methods=f"source_only,importance_weighting,{even},target_supervised",
                seeds=5,
                backbone=net,
                image_size=px,
            ),
            "tent": Experiment(
                tasks=",".join(streams),
                methods=",".join(["source_only", *(of.variant for of in by_size.values()), "tent[episodic=True]"]),
                backbone=net,
                image_size=px,
            ),
            **(
                {
                    "long stream": Experiment(
                        tasks=stream,
                        methods=",".join(
                            ["source_only", *(of.variant for of in by_size.values()), "tent[episodic=True]"]
                        ),
                        backbone=norm,
                        image_size=px,
                    )
                }
                if digits
                else {}
            ),
            "reversal": Experiment(
                tasks=",".join(aligned), methods="source_only,dann,target_supervised", backbone=net, image_size=px
            ),
        },
        tables=tuple(tables),
        claims=(
            Claim(
                "Warm start helps to reduce “forgetting” of the representations",
                "slides, Warm Start",
                "fine-tuning",
                _each(tuned, lambda task: Higher(task, Of(plain, 10), Of(warm, 10), 0.0, FORGOTTEN)),
                "less accuracy is lost on the source than by plain fine-tuning, both from a fresh classifier, 10 "
                "labels a class",
            ),
            Claim(
                "not always the best choice",
                "slides, Warm Start",
                "fine-tuning",
                AnyOf(
                    tuple(Higher(task, Of(plain, labels), Of(warm, labels)) for task in tuned for labels in (10, ALL))
                ),
                "on some task plain fine-tuning is above warm start on the target, 10 labels a class or all",
            ),
            Claim(
                "small lr or freeze for early layers",
                "slides, Finetuning and Transferability",
                "fine-tuning",
                _each(
                    tuned,
                    lambda task: AnyOf(tuple(Higher(task, Of(each, 3), Of("finetune_all", 3)) for each in frozen)),
                ),
                "with 3 labels a class, some fine-tuning of the last layers is above that of all, on every task",
            ),
            Claim(
                "small lr or freeze for early layers",
                "slides, Finetuning and Transferability",
                "fine-tuning",
                _each(tuned, _above("finetune_all[layer_decay=0.3]", "finetune_all", labels=3)),
                "with 3 labels a class, smaller rates for earlier layers are above one rate for all, on every task",
            ),
            Claim(
                "low layer are general feature extractor, high layers are task-specific",
                "slides, How transferable are learned features?",
                "fine-tuning",
                _each(tuned, lambda task: Higher(task, Of(frozen[2], ALL), Of("finetune_all", ALL), -SMALL)),
                "with all labels the last three layers come within two points of all layers",
            ),
            Claim(
                "minimize error on target domain by weighing source data",
                "slides, Source and Target Error",
                "importance weighting",
                _above("importance_weighting", even)(covered),
                "where the source covers the target, it is above the same training with even weights",
            ),
            Claim(
                "informally, the source domain contains the target domain",
                "slides, Importance Sampling Algorithm",
                "importance weighting",
                _no_better("importance_weighting", even)(disjoint),
                "a condition: where the source does not, weighting gains less than two points on even weights",
            ),
            Claim(
                "We minimize the average entropy of a minibatch ... Reduce noise and improves stability",
                "slides, Test Entropy Minimization (TENT)",
                "tent",
                _each(streams, lambda task: Higher(task, by_size[200], by_size[1])),
                "batches of 200 are above batches of 1",
            ),
            Claim(
                "We need stability: noisy updates will result in an unreliable model",
                "slides, Test-Time Adaptation (TTA)",
                "tent",
                _each(streams, lambda task: Higher(task, Of("source_only"), by_size[1])),
                "batches of 1 end below the unadapted model",
            ),
            Claim(
                "We want to adapt the model to the target domain during the inference time",
                "slides, Test-Time Adaptation (TTA)",
                "tent",
                _each(streams, lambda task: Higher(task, by_size[200], Of("source_only"))),
                "TENT in batches of 200 is above the unadapted model",
            ),
            Claim(
                "We need stability",
                "slides, Test-Time Adaptation (TTA)",
                "long stream" if digits else "tent",
                Below(stream, by_size[64], LATE_GAIN, -SMALL, above=True)
                if digits
                else NotHere("the long stream is MNIST's test set, which is not here"),
                "over 10,000 images in batches of 64 the last fifth is not two points below the first",
            ),
            Claim(
                post,
                "post, Unsupervised Domain Adaptation by Backpropagation",
                "reversal",
                _each(aligned, _above("dann", "source_only")),
                "above source only on the target",
            ),
            Claim(
                post,
                "post, Unsupervised Domain Adaptation by Backpropagation",
                "reversal",
                _each(aligned, lambda task: Below(task, Of("dann"), FORGOTTEN, SMALL)),
                "less than two points are lost on the source",
            ),
        ),
        substitutions=(small,),
        notes=(
            *absent,
            "`optdigits-covered` and `optdigits-uncovered` differ in one thing: whether the source holds a tenth "
            "of the "
            "faint digits that the target consists of, or none.",
        ),
    )


STUDIES: Mapping[str, Callable[[Here], Study]] = {
    "adapternet": adapternet,
    "nogrl": nogrl,
    "activation-shaping": activation_shaping,
    "lectures": lectures,
}
