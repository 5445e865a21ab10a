from pathlib import Path

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from dabench import fingerprints, registry
from dabench.core import DabenchError, Needs, Setting


def test_unknown_method_suggests_the_nearest():
    with pytest.raises(DabenchError, match="no method 'adaptornet'; did you mean 'adapternet'"):
        registry.methods("adaptornet")


def test_unknown_task_suggests_the_nearest():
    with pytest.raises(DabenchError, match="no task 'fonts-optdigit'; did you mean 'fonts-optdigits'"):
        registry.tasks("fonts-optdigit")


def test_a_name_like_no_other_points_to_the_list():
    with pytest.raises(DabenchError, match="dabench list methods"):
        registry.methods("zzzzzz")


def test_unknown_parameter_lists_the_known_ones():
    with pytest.raises(DabenchError, match="'dann' has no parameter 'lambda'; it has: lr, momentum, hidden"):
        registry.methods("dann[lambda=1]")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dann[lr=5]", r"dann\[lr=5\]: choose a value from 1e-05 to 1.0"),
        ("dann[lr=nan]", "choose a value"),
        ("dann[hidden=2.5]", "'2.5' is not a whole number"),
        ("dann[lr=fast]", "'fast' is not a number"),
        ("adapternet[kernel=7]", "choose one of 1, 3, 5"),
        ("tent[episodic=perhaps]", "is not true or false"),
        ("dann[lr]", "write parameter=value"),
        ("dann[lr=1", "write name or name"),
        ("dann[lr=0.01][hidden=8]", r"cannot read 'dann\[lr=0.01\]\[hidden=8\]'; write name or name"),
        ("dann[lr=0.01,lr=0.02]", r"'dann\[lr=0.01,lr=0.02\]' gives 'lr' twice; give it once"),
        ("", "no method named"),
        ("nowhere/own.py", "no method file nowhere/own.py"),
    ],
)
def test_a_request_that_cannot_be_names_what_and_the_remedy(text, complaint):
    with pytest.raises(DabenchError, match=complaint):
        registry.methods(text)


WORDS = st.sampled_from([*"[]=, ", "dann", "lr", "0.1", "nan", "\0", "é"])


@settings(max_examples=60, deadline=None)
@drawn(st.text(max_size=30) | st.lists(WORDS).map("".join))
def test_any_text_names_methods_or_is_refused(text):
    try:
        chosen = registry.methods(text)
    except DabenchError:
        return
    assert registry.methods(",".join(each.label for each in chosen)) == chosen


@settings(max_examples=25, deadline=None)
@drawn(data=st.data(), name=st.sampled_from(sorted(registry.method_files())))
def test_a_label_names_its_own_variant(data, name):
    described = registry.describe(registry.method_files()[name])
    given = {}
    for key, default in described.parameters.items():
        allowed = described.allowed[key]
        if allowed.choices:
            given[key] = data.draw(st.sampled_from(allowed.choices))
        elif isinstance(default, float):
            given[key] = data.draw(st.floats(max(allowed.low, -1e9), min(allowed.high, 1e9)))
    text = ",".join(f"{key}={value}" for key, value in given.items())
    (variant,) = registry.methods(f"{name}[{text}]")
    assert registry.methods(variant.label) == (variant,)
    assert dict(variant.given) == {key: value for key, value in given.items() if value != described.parameters[key]}


def test_brackets_hold_parameters_and_no_letters_to_choose_from():
    (variant,) = registry.methods("dan[momentum=0.5]")  # as a glob it would be dann: an n stands inside
    assert (variant.name, variant.label) == ("dan", "dan[momentum=0.5]")


def test_commas_inside_brackets_do_not_split():
    first, second = registry.methods("adapternet[depth=7,lr=0.01], dann")
    assert first.given == (("depth", 7), ("lr", 0.01))
    assert second.label == "dann"


def test_a_parameter_given_its_default_is_the_default_variant():
    assert registry.methods("dann[lr=0.01]") == registry.methods("dann")


def test_naming_a_method_twice_runs_it_once():
    assert len(registry.methods("dann,dann,all")) == len(registry.methods("all"))


def test_parameters_reach_the_method():
    (variant,) = registry.methods("adapternet[depth=7]")
    assert variant.load().depth == 7


@pytest.mark.parametrize("name", sorted(registry.method_files()))
def test_what_is_read_from_the_syntax_is_what_the_class_declares(name):
    described = registry.describe(registry.method_files()[name])
    method = registry.Variant(name, described.file).load()
    assert method.declaration.name == name
    assert method.declaration.needs == described.needs
    assert method.declaration.setting == described.setting
    assert {key: getattr(method, key) for key in described.parameters} == described.parameters
    assert described.claim
    assert described.paper


def test_an_own_file_is_a_method_named_as_its_file(own_method):
    (variant,) = registry.methods(f"{own_method('mine')}[strength=2]")
    assert (variant.name, variant.given) == ("mine", (("strength", 2.0),))
    described = registry.describe(variant.file)
    assert (described.setting, described.needs) == (Setting.SOURCE_FREE, Needs.TARGET_IMAGES)
    assert variant.load().strength == 2.0


def test_an_own_file_named_as_a_built_in_method_names_both_places(own_method):
    file = own_method("dann")
    with pytest.raises(DabenchError, match=f"two methods are named 'dann'.*methods/dann.py and {file}"):
        registry.methods(str(file))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"x = 1", "declares no method"),
        (b"def broken(:", "line 1"),
        (b"# caf\xe9", "cannot read the method file .*mine.py: .*can't decode byte 0xe9"),
        (b"\0", "cannot read the method file .*mine.py: .*null bytes"),
    ],
)
def test_a_file_that_is_no_method_says_why(tmp_path, text, complaint):
    (tmp_path / "mine.py").write_bytes(text)
    with pytest.raises(DabenchError, match=complaint):
        registry.methods(str(tmp_path / "mine.py"))


def test_a_default_that_must_be_computed_is_refused_with_its_line(own_method):
    file = own_method("mine")
    file.write_text(file.read_text().replace("between(1.0, 0.0, 10.0)", "compute()"))
    with pytest.raises(DabenchError, match=r"mine.py, line \d+: write the default of 'strength' as a plain value"):
        registry.methods(str(file))


def names(text):
    return [task.name for _, task in registry.tasks(text)]


def test_tasks_are_named_by_family_glob_and_name():
    assert names("fonts-*") == ["fonts-optdigits"]
    assert "fonts-optdigits" in names("quick")
    assert set(names("quick")) < set(names("all"))
    assert names("fonts-optdigits,fonts-*") == ["fonts-optdigits"]


def test_a_camera_parameter_makes_another_task():
    ((words, task),) = registry.tasks("shapes-rotated[angle=90]")
    assert task.name == "shapes-rotated[angle=90]"
    assert registry.task(words) == task


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("shapes-rotated[angl=90]", "angle"),
        ("shapes-rotated[angle=wide]", "'wide' is not a number"),
        ("fonts-optdigits[angle=90]", "camera"),
        ("nowhere.toml", "no task file nowhere.toml"),
        (" , ", "no task named"),
    ],
)
def test_a_task_that_cannot_be_says_why(text, complaint):
    with pytest.raises(DabenchError, match=complaint):
        registry.tasks(text)


def test_an_own_task_file_is_found_again_by_its_words(tiny_task):
    ((words, task),) = registry.tasks(str(tiny_task))
    assert task.name == "digits-turned"
    assert registry.task(words) == task


def test_an_own_task_named_as_a_built_in_one_is_refused(tiny_task, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(tiny_task.read_text().replace("digits-turned", "fonts-optdigits"))
    with pytest.raises(DabenchError, match="two tasks are named 'fonts-optdigits'"):
        registry.tasks(str(file))


def code_of(file):
    fingerprints.method_code.cache_clear()
    return fingerprints.method_code(file)


def test_a_comment_or_docstring_does_not_change_a_methods_code(own_method):
    before = code_of(own_method("mine", "x = 1"))
    assert code_of(own_method("mine", "x = 1  # one", claim="Other words.")) == before
    assert code_of(own_method("mine", "x = 2")) != before


def test_published_numbers_name_known_settings():
    for reference in registry.references():
        assert 0 < reference.accuracy <= 100
        assert reference.source


def test_a_methods_code_covers_the_building_blocks_it_uses(tmp_path, monkeypatch):
    dann = registry.method_files()["dann"]
    before = code_of(dann)
    definitions = dict(fingerprints._definitions())
    definitions["DomainCritic"] = definitions["domain_loss"]
    monkeypatch.setattr(fingerprints, "_definitions", lambda package=None: definitions)
    assert code_of(dann) != before
    source_only = Path(registry.method_files()["source_only"])
    unchanged = code_of(source_only)
    monkeypatch.undo()
    assert code_of(source_only) == unchanged


def test_a_task_at_another_size_shifts_its_images_in_proportion():
    task = registry.sized(registry.task("pacs-art-cartoon"), 56)
    assert task.image_shape == (3, 56, 56)
    assert task.recipe.crop == 4  # 16 of 224


def test_a_glob_names_every_method_that_fits_it():
    assert {each.name for each in registry.methods("finetune_last?")} == {f"finetune_last{n}" for n in (1, 2, 3)}
    with pytest.raises(DabenchError, match=r"no method 'finetune-\*'"):
        registry.methods("finetune-*")
