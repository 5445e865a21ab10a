import pytest
from PIL import Image

from dabench import registry
from dabench.authoring import contract, scaffold
from dabench.core import DabenchError


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_a_drafted_method_keeps_the_contract(check, tmp_path):
    (variant,) = registry.methods(str(scaffold.method(f"drafted_{check.__name__}", tmp_path)))
    kept, words = contract.outcome(check, variant)
    assert kept, words


def test_a_drafted_python_task_loads(tmp_path):
    ((_, task),) = registry.tasks(str(scaffold.python_task("drafted_task", tmp_path)))
    domains = task.read(tmp_path, tmp_path, task.protocol(None))
    assert domains.target_test.images.shape[1:] == task.image_shape
    assert len(domains.target_test) == 297


def test_a_drafted_toml_task_says_where_its_pictures_go(tmp_path):
    file = scaffold.toml_task("my_camera", tmp_path)
    with pytest.raises(
        DabenchError, match="my_camera/source is no folder; it must hold one folder of pictures a class"
    ):
        registry.tasks(str(file))
    for domain in ("source", "target"):
        for name in ("cat", "dog"):
            folder = tmp_path / "my_camera" / domain / name
            folder.mkdir(parents=True)
            for shade in (0, 255):
                Image.new("L", (8, 8), shade).save(folder / f"{shade}.png")
    ((_, task),) = registry.tasks(str(file))
    assert (task.name, task.class_names, task.recipe.steps) == ("my_camera", ("cat", "dog"), 2000)


@pytest.mark.parametrize("write", [scaffold.method, scaffold.toml_task, scaffold.python_task])
def test_no_draft_overwrites_a_file(write, tmp_path):
    file = write("mine", tmp_path)
    file.write_text("hours of work")
    with pytest.raises(DabenchError, match="exists already"):
        write("mine", tmp_path)
    assert file.read_text() == "hours of work"


@pytest.mark.parametrize("name", ["my-method", "2fast", "class", "", "a/b", "größe"])
def test_a_name_that_cannot_be_imported_is_refused(name, tmp_path):
    with pytest.raises(DabenchError, match=r"cannot name a method: use letters, digits and '_'"):
        scaffold.method(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_known_name_is_refused(tmp_path):
    with pytest.raises(DabenchError, match="a method named 'dann' exists already"):
        scaffold.method("dann", tmp_path)
