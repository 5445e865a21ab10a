import hashlib
import http.client
import json
import re
import shutil
import threading
import time
import tomllib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import dabench
from dabench import fingerprints, registry
from dabench.cli import main
from dabench.core import DabenchError, Reference
from dabench.evaluation.leaderboard import Leaderboard
from dabench.report import compare, details, markdown, pictures, serve, site
from dabench.results import provenance, store
from dabench.results.suite import SUITE

SETTINGS = {
    "source_only": "source-only",
    "target_supervised": "upper-bound reference",
    "dann": "unsupervised",
    "nogrl": "unsupervised",
    "adapternet": "supervised",
    "finetune_last1": "supervised",
}
MEANS = {
    "source_only": 0.600,
    "adapternet": 0.710,
    "nogrl": 0.740,
    "dann": 0.800,
    "finetune_last1": 0.850,
    "target_supervised": 0.950,
}
TASKS = {"mnist-usps": ("digits", "lenet"), "usps-mnist": ("digits", "lenet"), "shapes-power": ("quick", "resnet8")}
NOISE = [0.0, 0.004, -0.003]
IMAGES = 200


def row(task, method, seed, mean, **values):
    """One stored row, with checkpoints, scores and the predictions that its accuracy says."""
    family, backbone = TASKS.get(task, ("made", "lenet"))
    accuracy = mean + NOISE[(seed + len(method)) % 3]
    truth = np.arange(IMAGES, dtype=np.uint8) % 10
    wrong = np.arange(IMAGES) >= accuracy * IMAGES
    made = {
        "key": hashlib.sha256(f"{task} {method} {seed} {sorted(values.items())}".encode()).hexdigest(),
        **{"task": task, "family": family, "protocol": "full", "method": method, "variant": method},
        **{"setting": SETTINGS.get(method, "unsupervised"), "backbone": backbone, "image_size": 28, "budget": 1.0},
        **{"labels": -1, "target_images": -1, "seed": seed, "status": "ok"},
        **{"accuracy": accuracy, "accuracy_before": 0.6 + NOISE[seed % 3] / 2, "per_class": [0.9, 0.5]},
        **{"nll": 0.5, "ece": 0.1, "source_before": 0.98, "source_after": 0.97},
        **{"seconds": 100 * mean, "ms_per_image": 0.25, "peak_memory": 500.0, "trained_parameters": 1000},
        "n_test": IMAGES,
        "truth": truth.tobytes(),
        "predictions": np.where(wrong, (truth + 1) % 10, truth).astype(np.uint8).tobytes(),
        "predictions_before": truth[::-1].tobytes(),
        "checkpoint_progress": [0.25, 0.5, 0.75, 1.0],
        "checkpoint_accuracy": [accuracy - 0.1, accuracy + 0.02, accuracy - 0.01, accuracy],
        "checkpoint_scores": {"entropy": [0.1, 0.9, 0.2, 0.3], "snd": [0.1, 0.2, 0.3, 0.4]},
        "created": f"2026-01-01T00:00:0{seed % 10}Z",
    }
    return made | values


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A store with three tasks, six methods, a refused method and a variant."""
    folder = tmp_path_factory.mktemp("results")
    rows = [
        row(task, method, seed, mean - 0.02 * place)
        for place, task in enumerate(TASKS)
        for method, mean in MEANS.items()
        for seed in range(3)
    ]
    rows += [row("mnist-usps", "dann", seed, 0.55, variant="dann[lr=0.1]", created="") for seed in range(3)]
    reason = "<img src=x onerror='document.title=1'> needs batch norm"
    rows += [row("mnist-usps", "adabn", 0, 0.5, setting="source-free", status="refused", reason=reason)]
    store.write(folder, rows)
    (folder / "curves").mkdir()
    (folder / "curves" / "imagenet-rotated angle.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20"/></svg>'
    )
    facts = PngInfo()
    facts.add_text("caption", "shapes-power: original, behind the camera, after the adapter")
    (folder / "reproductions").mkdir()
    (folder / "reproductions" / "nogrl.md").write_text(
        "# Without reversal\n\n## Claims\n\n<img src=x> stays text\n\n| task |\n| --- |\n| 1 |\n"
    )
    Image.new("RGB", (384, 288), "teal").save(folder / "reproductions" / "adapternet-power.png", pnginfo=facts)
    return folder


@pytest.fixture(scope="module")
def made(results, tmp_path_factory):
    return site.build(results, tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache"))


def read(made, name):
    """What a script of the site holds."""
    return json.loads(re.sub(rb"^[^=]*=|;\n$", b"", made[name]))


def numbers(results, shuffle=None):
    """The site's files from nothing but the rows."""
    rows = store.load(results, markdown.COLUMNS).to_pandas()
    if shuffle is not None:
        rows = rows.sample(frac=1, random_state=shuffle).reset_index(drop=True)
    return site.files(Leaderboard(rows), [store.frame(results)])


@pytest.fixture(scope="module")
def plain(results):
    return numbers(results)


def test_the_order_of_the_rows_does_not_change_a_byte(results, plain):
    assert numbers(results, shuffle=1) == plain


def of_suite(scenario, method, seed, mean, **values):
    """A row under the conditions by which a task is of the suite."""
    named = {name: getattr(scenario, name) for name in ("protocol", "backbone", "image_size", "budget")}
    return row(scenario.task, method, seed, mean, **named, **values)


def test_a_gain_and_a_mean_rank_read_as_in_the_leaderboard(tmp_path):
    accuracies = {"dann": [0.9, 0.9, 0.9, 0.7], "nogrl": [0.8, 0.8, 0.8, 0.8]}
    rows = [
        of_suite(scenario, method, seed, means[at])
        for method, means in accuracies.items()
        for at, scenario in enumerate(SUITE[:4])
        for seed in range(3)
    ]  # dann's mean rank is 1.25, a tie between two tenths
    store.write(tmp_path, rows)
    data = read(numbers(tmp_path), "data.js")
    suite, cells = data["suite"], data["cells"]
    text = markdown.leaderboard(Leaderboard(markdown.load(tmp_path)), markdown.Beside())
    (matrix,) = re.findall(r"^## The suite$.*?(?=^## )", text, flags=re.MULTILINE | re.DOTALL)
    for at, method in enumerate(suite["method"]):
        (line,) = re.findall(rf"^\| {data['methods'][method]['name']} .*$", matrix, flags=re.MULTILINE)
        assert f" {suite['rank'][at] / 10:.1f}" in line.split("|")[-3]
        assert f" {suite['gain'][at] / 10:+.1f}" in line.split("|")[-5]
        for entry, cell in zip(suite["entries"][at], line.split("|")[2:], strict=False):
            assert f"{cells['gain'][entry] / 10:+.1f}±{cells['gain_ci'][entry] / 10:.1f}" in cell


def test_a_picture_brings_its_caption(made):
    figures = dict(read(made, "data.js")["figures"])
    assert figures["reproductions/adapternet-power.png"].startswith("shapes-power: original")
    assert figures["curves/imagenet-rotated angle.svg"] == ""


def test_the_site_sets_aside_the_same_rows_as_the_report(tmp_path):
    dann, floor = (fingerprints.method_code(registry.method_files()[name]) for name in ("dann", "source_only"))
    task = fingerprints.task_code(registry.task("shapes-power"), 32)
    (scenario,) = (each for each in SUITE if each.task == "shapes-power")
    today = {"task_code": task, "method_code": dann, "core_code": fingerprints.core_code()}
    older = today | {"key": "newer, of an older task", "task_code": "older", "created": "2026-02-01T00:00:00Z"}
    rows = [of_suite(scenario, "dann", 0, 0.8, **today), of_suite(scenario, "dann", 0, 0.3, **older)]
    changed = today | {"method_code": floor, "core_code": "older"}
    rows += [of_suite(scenario, "source_only", 0, 0.6, **changed)]
    store.write(tmp_path, rows)
    age = provenance.age(tmp_path)
    assert set(age.stale) == {older["key"], rows[2]["key"]}
    data = read(site.build(tmp_path, tmp_path, tmp_path), "data.js")
    text = markdown.leaderboard(Leaderboard(markdown.load(tmp_path), stale=age.stale), markdown.Beside(age=age))
    names = [data["methods"][at]["name"] for at in data["cells"]["method"]]
    shown = dict(zip(names, data["cells"]["gain"], strict=True))
    assert shown["dann"] == pytest.approx(200, abs=9)
    assert re.search(rf"^\| dann .*\+{shown['dann'] / 10:.1f}", text, flags=re.MULTILINE)
    assert [words.split(": ", 1)[1] for words in data["doubts"]] == ["the harness changed since"]
    assert "- **Rows**: 2, of which 1 stale, the harness changed since." in text


def test_confusions_are_shares_of_each_true_class(plain):
    data = read(plain, "data.js")
    task = [each["name"] for each in data["tasks"]].index("mnist-usps")
    dann = [each["name"] for each in data["methods"]].index("dann")
    cells = data["cells"]
    (at,) = (
        at
        for at in range(len(cells["task"]))
        if (cells["task"][at], cells["method"][at], cells["variant"][at]) == (task, dann, "")
    )
    details = read(plain, f"task-{task}.js")
    after, before = (np.array([ord(share) - 35 for share in details[name][str(at)]]) for name in ("after", "before"))
    after, before = after.reshape(10, 10), before.reshape(10, 10)
    # 80 % of the images are right, the last 20 % are taken for the next class; before, the order was turned round.
    assert np.diag(after) == pytest.approx(80, abs=2)
    assert after[np.arange(10), (np.arange(10) + 1) % 10] == pytest.approx(20, abs=2)
    assert (before == 100 * np.eye(10)[::-1]).all()


def test_a_choice_lies_at_the_checkpoint_that_the_score_liked_best(plain):
    data = read(plain, "data.js")
    curves = read(plain, "task-0.js")["curves"]
    at, curve = next((at, curve) for at, curve in curves.items() if data["cells"]["variant"][int(at)] == "")
    progress, accuracy = curve["chosen"]["entropy"]
    assert progress == 500
    assert accuracy == pytest.approx(data["cells"]["mean"][int(at)] + 20, abs=1)


def test_many_classes_keep_their_most_frequent_mistakes_alone():
    counts = np.eye(40, dtype=int) * 10
    counts[3, 7] = 30
    mistakes = details._shares(counts)
    assert mistakes[0] == [3, 7, 75]
    assert len(mistakes) < 40


def test_classes_above_a_byte_are_read_as_two(results):
    truth = np.arange(300, dtype="<u2")
    wide = {"truth": truth.tobytes(), "predictions": truth[::-1].tobytes(), "predictions_before": None, "n_test": 300}
    rows = store.frame(results)
    pieces = rows.assign(**{name: [value] * len(rows) for name, value in wide.items()})
    task = read(site.files(Leaderboard(rows), [pieces]), "task-0.js")
    assert {tuple(mistake[:2]) for mistake in next(iter(task["after"].values()))} <= {(k, 299 - k) for k in range(300)}


# ------------------------------------------------------------------------------------------------- comparing


def compared(verdicts, low=0.01, high=0.03):
    """What is known of two methods on tasks with these verdicts."""
    verdict = np.array(verdicts, dtype=float)
    difference = np.nan_to_num(verdict) / 10
    p = np.where(np.isnan(verdict), np.nan, np.where(verdict == 0, 0.4, 0.0001))
    return compare.Compared(difference, difference, p, verdict, low, high)


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([1], "dann is better than nogrl (p < 0.001). Its accuracy is 10.0 points higher."),
        ([-1], "dann is worse than nogrl (p < 0.001). Its accuracy is 10.0 points lower."),
        ([0], "dann is not told apart from nogrl (p = 0.4)"),
        ([1, 1, 1], "dann is better than nogrl on 3 of 3 tasks."),
        ([1, 1, 1], "10.0 points higher on average over tasks (95 % interval 1.0 to 3.0)."),
        ([1, -1, 0], "better than nogrl on 1, worse on 1, not told apart on 1 of 3 tasks."),
        ([0, -1], "dann is worse than nogrl on 1, not told apart on 1 of 2 tasks."),
        ([np.nan], "cannot be tested: no task has two seeds of both"),
    ],
)
def test_the_verdict_says_what_the_test_says(verdicts, words):
    assert words in compare.words("dann", "nogrl", compared(verdicts))


def test_a_mean_difference_whose_interval_holds_zero_is_not_settled():
    assert "so the tasks do not settle it" in compare.words("dann", "nogrl", compared([1, 0], low=-0.01))


# -------------------------------------------------------------------------------------------------- pictures


def test_pictures_that_may_not_be_shown_on_need_the_word(tmp_path):
    known = registry.known_tasks()
    embedded = known["shapes-power"]
    fetched = replace(embedded, name="fetched", datasets=("usps",))
    own = replace(embedded, name="own", folders=(tmp_path,))
    assert set(pictures.sprites([embedded, fetched, own], tmp_path, tmp_path, every=False)) == {"shapes-power"}
    assert set(pictures.sprites([embedded, fetched, own], tmp_path, tmp_path, every=True)) == {
        "shapes-power",
        "fetched",
        "own",
    }


def test_a_task_whose_data_is_not_here_has_no_picture(tmp_path):
    assert pictures.sprites([registry.known_tasks()["mnist-usps"]], tmp_path, tmp_path, every=True) == {}


# ---------------------------------------------------------------------------------------- files and serving


def test_every_asset_is_installed_with_the_package():
    folder = Path(__file__).parents[1]
    patterns = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "dabench.report"
    ]
    covered = {file for pattern in patterns for file in (folder / "benchmark" / "report").glob(pattern)}
    assert {file for file in site.ASSETS.iterdir() if file.is_file()} <= {
        Path(dabench.__path__[0]) / file.relative_to(folder / "benchmark") for file in covered
    }


def test_a_new_site_leaves_no_page_of_a_task_that_is_gone(made, tmp_path):
    (tmp_path / "task-9.js").write_text("old")
    site.write(tmp_path, made)
    assert not (tmp_path / "task-9.js").exists()
    assert (tmp_path / "methods" / "dann.py.txt").is_file()


def test_the_command_writes_a_site_and_says_where(results, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["report", "--results", str(results), "--site", str(tmp_path), "--data", str(tmp_path)])
    assert ended.value.code == 0
    assert "index.html" in capsys.readouterr().out
    assert (tmp_path / "index.html").is_file()


@contextmanager
def serving(make, now):
    """The port of a server that runs."""
    server = serve.server(make, now, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(port, name, method="GET", host=None):
    """Status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, f"/{name}", headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def until(port, name, wanted):
    """The body once it holds what is wanted."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        body = ask(port, name)[1]
        if wanted(body):
            return body
    raise AssertionError(f"{name} never came")


def test_serving_follows_the_rows(results, tmp_path):
    folder = shutil.copytree(results, tmp_path / "results")
    with serving(lambda: numbers(folder), lambda: serve.version(folder)) as port:
        until(port, "", lambda body: b"live.js" in body)
        first = ask(port, "version")[1]
        store.write(folder, [row("usps-mnist", "coral", 0, 0.77)])
        until(port, "version", lambda body: body != first)
        assert b'"coral"' in ask(port, "data.js")[1]
        with pytest.raises(DabenchError, match=r"cannot serve on port \d+: .*choose another with --port"):
            serve.server(dict, str, port)


def test_a_page_is_answered_before_the_site_is_built():
    drawn = threading.Event()

    def make():
        drawn.wait(60)
        return {"index.html": b"<body>all</body>"}

    with serving(make, lambda: "1") as port:
        building = ask(port, "")[1]
        drawn.set()
        assert b"Reading the results" in building
        assert until(port, "", lambda body: b"all" in body).endswith(b'<script src="live.js"></script></body>')


def test_a_site_that_cannot_be_built_says_why():
    def make():
        raise DabenchError("no rows in <results>")

    with serving(make, lambda: "1") as port:
        until(port, "", lambda body: b"no rows in &lt;results&gt;" in body)


def test_the_server_answers_to_its_own_name_alone():
    with serving(lambda: {"index.html": b"<body></body>", "data.js": b"1"}, lambda: "1") as port:
        until(port, "", lambda body: b"live.js" in body)
        assert ask(port, "data.js", host=f"localhost:{port}") == (200, b"1")
        assert ask(port, "data.js", method="HEAD") == (200, b"")
        assert ask(port, "../../etc/passwd")[0] == 404
        for host in (f"attacker.example:{port}", "127.0.0.1", f"127.0.0.1.attacker.example:{port}"):
            assert ask(port, "data.js", host=host)[0] == 421


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_a_small_site(tmp_path):
    generator = np.random.default_rng(0)
    rows = []
    for task in range(40):
        shared = dict.fromkeys(("truth", "predictions", "predictions_before"))
        for method in range(50):
            scores = {f"score{k}": list(generator.normal(size=10)) for k in range(7)}
            for labels in range(5):
                for seed in range(10):
                    values = {"labels": [1, 3, 10, 100, -1][labels], "setting": "supervised", **shared}
                    if labels == 4:
                        truth = np.arange(400, dtype=np.uint8) % 20
                        guess = np.where(generator.random(400) < 0.7, truth, generator.integers(20, size=400))
                        values |= {"truth": truth.tobytes(), "predictions": guess.astype(np.uint8).tobytes()}
                        values |= {"predictions_before": truth[::-1].tobytes(), "n_test": 400}
                    made = row(f"task{task}", f"method{method}", seed, generator.uniform(0.3, 0.9), **values)
                    curve = generator.uniform(0.3, 0.9, 10)
                    made |= {"checkpoint_progress": list(np.linspace(0.1, 1, 10)), "checkpoint_scores": scores}
                    made |= {"checkpoint_accuracy": list(curve), "key": f"{task} {method} {labels} {seed}"}
                    rows.append(made)
        store.write(tmp_path / "results", rows)
        rows.clear()
    start = time.monotonic()
    made = site.build(tmp_path / "results", tmp_path, tmp_path)
    print(f"{time.monotonic() - start:.0f} s", {name: len(content) for name, content in made.items()})
    assert read(made, "data.js")["rows"] == 100_000
    assert sum(map(len, made.values())) < 5e6


# --------------------------------------------------------------------------------------------- in a browser

FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A real headless Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium to test the site in a browser")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("install chromium and chromedriver to test the site in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    driver.implicitly_wait(5)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    site.write(folder, made)
    return f"{(folder / 'index.html').as_uri()}"


@pytest.fixture
def page(browser, address):
    """Opens a view of the site; at the end, no error was logged and no request had left the disk."""
    browser.get("about:blank")  # what Chromium itself starts with asks for its own pages
    browser.get_log("browser")
    browser.get_log("performance")

    def open_at(view):
        browser.get("about:blank")
        browser.get(f"{address}#{view}")
        return browser

    yield open_at
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    folder = address.rpartition("/")[0]
    assert [url for url in asked if not url.startswith((folder, "data:"))] == []


def texts(browser, selector):
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)", selector
    )


def wait_for(browser, selector, text):
    """Until an element that the selector finds has that text."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20, poll_frequency=0.05).until(lambda _: text in texts(browser, selector))


def results_of(browser):
    """Method, accuracy and task of each line of the page's first table."""
    return browser.execute_script(
        "return [...document.querySelector('table').tBodies[0].rows]"
        ".map((row) => [2, 4, 0].map((at) => row.cells[at].textContent))"
    )


def click(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).focus()", selector)
    browser.switch_to.active_element.send_keys("\ue007")  # the enter key: everything works without a mouse


def select(browser, name, value):
    browser.execute_script(
        "const box = document.querySelector(arguments[0]); box.value = arguments[1];"
        "box.dispatchEvent(new Event('change'))",
        f"#choose-{name}",
        value,
    )


@pytest.mark.slow
def test_a_column_sorts_both_ways_from_the_keyboard(page):
    browser = page("/results")
    click(browser, "#sort-accuracy")
    down = [float(accuracy.split()[0]) for _, accuracy, _ in results_of(browser)]
    assert down == sorted(down, reverse=True)
    assert browser.switch_to.active_element.get_attribute("id") == "sort-accuracy"
    click(browser, "#sort-accuracy")
    assert [float(accuracy.split()[0]) for _, accuracy, _ in results_of(browser)] == sorted(down)
    assert texts(browser, "th[aria-sort=ascending]")[0] == "accuracy, %"


@pytest.mark.slow
def test_filters_live_in_the_address(page):
    browser = page("/results")
    select(browser, "task", "usps-mnist")
    select(browser, "setting", "unsupervised")
    assert {(method, task) for method, _, task in results_of(browser)} == {
        ("dann", "usps-mnist"),
        ("nogrl", "usps-mnist"),
    }
    view = browser.current_url.partition("#")[2]
    again = page(view)
    assert {method for method, _, _ in results_of(again)} == {"dann", "nogrl"}
    assert again.execute_script("return document.querySelector('#choose-task').value") == "usps-mnist"


@pytest.mark.slow
def test_back_undoes_a_filter_and_the_count_is_said(page):
    browser = page("/results")
    select(browser, "task", "usps-mnist")
    select(browser, "setting", "unsupervised")
    assert texts(browser, "[role=status]") == ["2 results"]
    browser.back()
    wait_for(browser, "caption", "6 results")
    assert browser.execute_script("return document.querySelector('#choose-task').value") == "usps-mnist"


@pytest.mark.slow
def test_a_column_may_be_left_out(page):
    browser = page("/results")
    browser.execute_script("document.querySelector('#hide-labels').click()")
    assert "labels" not in texts(browser, "table:first-of-type thead th")
    assert browser.current_url.endswith("hide=labels")
    browser.back()
    wait_for(browser, "thead button", "labels")


@pytest.mark.slow
def test_the_first_page_answers_in_words(page):
    browser = page("/?have=2&changed=1")
    wait_for(browser, "main h1", "Your images changed. Which method?")
    (answer,) = texts(browser, ".answer")
    assert answer.startswith("Take dann (unsupervised): +19.")
    select(browser, "labels", "-1")
    assert texts(browser, "[role=status]")[0].startswith("Take finetune_last1 (supervised)")
    select(browser, "changed", "0")
    assert texts(browser, ".answer")[0].startswith("Not tried yet")


@pytest.mark.slow
def test_the_suite_prints_each_gain_and_sorts(page):
    browser = page("/")
    click(browser, "#suite-mnist-usps")
    lines = texts(browser, "tbody tr:not(.group)")
    assert any(line.startswith("dann+20.") for line in lines)
    names = [line for line in texts(browser, "tbody th") if line in SETTINGS]
    assert names.index("dann") < names.index("nogrl")
    assert texts(browser, "thead small")[0] == "corpus; lenet, 28 px"


@pytest.mark.slow
def test_a_papers_page_is_rendered_and_its_tags_are_text(page):
    browser = page("/papers/nogrl")
    wait_for(browser, "article h2", "Claims")
    assert texts(browser, "article td") == ["1"]
    assert texts(browser, "article img") == []
    assert "<img src=x>" in texts(browser, "article")[0]


@pytest.mark.slow
def test_typing_narrows_the_methods_and_keeps_the_caret(page):
    browser = page("/results?variants=all")
    browser.execute_script("document.querySelector('#choose-q').focus()")
    for letter in "dan":
        browser.switch_to.active_element.send_keys(letter)
    assert {method for method, _, _ in results_of(browser)} == {"dann", "dann[lr=0.1]"}
    assert browser.current_url.endswith("q=dan")


@pytest.mark.slow
def test_links_lead_to_the_task_and_the_method(page):
    browser = page("/results?task=mnist-usps")
    click(browser, "td a[href*='#/task/mnist-usps']")
    wait_for(browser, "h1", "mnist-usps")
    wait_for(browser, "h2", "Confusions")
    assert "0 taken for 1: 18 %" in texts(browser, "svg title")
    click(browser, "th a[href='#/method/dann']")
    wait_for(browser, "h1", "dann")
    assert "gradient reversal" in texts(browser, "main")[0]
    browser.back()
    wait_for(browser, "h1", "mnist-usps")


@pytest.mark.slow
def test_published_numbers_are_one_click_away(page):
    browser = page("/results?task=mnist-usps&q=dann")
    button = "td button[aria-expanded]"
    click(browser, button)
    numbers = {f"{each.accuracy:.1f}" for each in registry.references() if fits(each)}
    assert all(number in texts(browser, "tr.open")[0] for number in numbers)
    click(browser, button)
    assert texts(browser, "tr.open") == []


def fits(reference: Reference):
    return (reference.task, reference.method, reference.protocol, reference.backbone) == (
        "mnist-usps",
        "dann",
        "full",
        "lenet",
    )


@pytest.mark.slow
def test_a_text_of_a_row_is_never_markup(page):
    browser = page("/task/mnist-usps")
    wait_for(browser, "h2", "Confusions")
    assert any("<img src=x" in text for text in texts(browser, "td"))
    assert texts(browser, "td img") == []
    assert browser.title == "mnist-usps · dabench"


@pytest.mark.slow
def test_comparing_gives_a_verdict_for_each_pair(page):
    browser = page("/compare")
    wait_for(browser, "main p", "Choose two methods.")
    for name in ("dann", "nogrl"):
        browser.execute_script("document.querySelector(arguments[0]).click()", f"#compare-{name}")
    (verdict,) = texts(browser, ".verdicts li")
    assert verdict.startswith("dann is better than nogrl on 3 of 3 tasks.")
    assert browser.current_url.endswith("m=dann%2Cnogrl")


@pytest.mark.slow
def test_the_pareto_front_leaves_out_what_is_dearer_and_worse(page):
    browser = page("/cost")
    front = browser.execute_script(
        "return [...document.querySelectorAll('tbody tr')].filter((row) => row.cells[3].textContent === 'yes')"
        ".map((row) => row.cells[0].textContent)"
    )
    assert set(front) == set(MEANS)  # here every better method takes longer
    select(browser, "x", "peak_memory")
    assert texts(browser, "tbody tr:has(td:nth-child(4):not(:empty)) th") == ["target_supervised"]


@pytest.mark.slow
def test_adapted_pictures_lead_to_their_task_and_method(page):
    browser = page("/pictures")
    assert texts(browser, ".pictures figcaption") == ["shapes-power, adapternet"]
    assert texts(browser, ".grid li") == ["original", "camera", "adapted"]
    assert browser.execute_script("return Promise.all([...document.images].map((each) => each.decode()))")
    click(browser, ".pictures a[href='#/task/shapes-power']")
    wait_for(browser, "h1", "shapes-power")


@pytest.mark.slow
def test_ranks_are_sorted_inside_their_setting(page):
    browser = page("/results?ranks=method")
    lines = texts(browser, "section tbody th")
    assert lines[lines.index("dann") - 1].startswith("unsupervised · ")
    assert lines.index("dann") < lines.index("nogrl") < lines.index("adapternet") < lines.index("finetune_last1")


VIEWS = ["/", "/results", "/tasks", "/task/mnist-usps", "/methods", "/method/dann", "/compare?m=dann,nogrl", "/cost"]
VIEWS += ["/pictures", "/papers"]
AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.slow
@pytest.mark.skipif(not AXE.is_file(), reason="`npm install axe-core` in the repository to check the pages with it")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_violation(page, width, scheme):
    browser = page("/")
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        for view in VIEWS:
            page(view)
            wait_for(browser, "main h1", texts(browser, "main h1")[0])
            browser.execute_script(AXE.read_text())
            found = browser.execute_async_script(
                "const rules = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'], done = arguments[0];"
                "axe.run(document, {runOnly: rules, preload: false})"
                ".then((all) => done(all.violations.map((each) => [each.id, each.nodes[0].html])))"
            )
            assert found == [], view
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_a_page_fits_a_phone_and_names_its_controls(page, view):
    browser = page("/tasks")
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page(view)
        assert texts(browser, "main h1")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        unnamed = browser.execute_script(
            "return [...document.querySelectorAll('select, input, svg[role=img], img, [role=region]')]"
            ".filter((each) => !(each.labels?.length || each.getAttribute('aria-label') || each.alt))"
            ".map((each) => each.outerHTML)"
        )
        assert unnamed == []
        assert texts(browser, "thead th:not([scope=col])") == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_an_unknown_address_says_so(page):
    browser = page("/method/nothing")
    assert "There is no method 'nothing'" in texts(browser, "main")[0]
