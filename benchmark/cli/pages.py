"""The commands that render stored rows: report, serve and plot."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dabench.cli import options, screen
from dabench.cli.options import RESULTS
from dabench.core import DabenchError
from dabench.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from dabench.results.provenance import Age


class Format(StrEnum):
    """What `dabench report` writes."""

    md = "md"
    csv = "csv"
    json = "json"
    latex = "latex"


class Figures(StrEnum):
    """What `dabench plot` draws."""

    labels = "labels"
    cost = "cost"
    ranks = "ranks"
    validators = "validators"


def report(
    data: options.Data,
    cache: options.Cache,
    results: options.Results = RESULTS,
    output: Annotated[Path | None, typer.Option(help="File, its pages beside it; else leaderboard.<format>.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where the file would differ.")] = False,
    format: Annotated[Format, typer.Option(help="The leaderboard, its tables, or the rows behind it.")] = Format.md,
    select: Annotated[str, typer.Option(help="Checkpoint that counts: last, oracle or a label-free score.")] = "last",
    site: Annotated[Path | None, typer.Option(help="Folder to write a site into, instead of a file.")] = None,
    pictures: options.Pictures = False,
) -> None:
    """Write leaderboard.md and the pages that it links to, or a site, from the stored rows."""
    if site is not None:
        _write_site(site, results, data, cache, pictures=pictures)
        return
    import pyarrow as pa

    from dabench.results import provenance

    rows = _rows(format, results)
    age = provenance.age_of(pa.Table.from_pandas(rows[list(provenance.COLUMNS)], preserve_index=False))
    output = output or Path("leaderboard.tex" if format is Format.latex else f"leaderboard.{format}")
    files = _rendered(format, rows, results, output, age, select)
    screen.set_aside(results)
    for words in provenance.summary(age):
        screen.warn(f"note: {words}")
    if not check:
        for file, text in files.items():
            write_whole(file, text, "--output")
        screen.say(f"{output}" + (f" and {len(files) - 1} files that it links to" if len(files) > 1 else ""))
        return
    wrong = [file for file, text in files.items() if not file.is_file() or file.read_text() != text]
    for file in wrong:
        screen.warn(f"{file} is not what {results} gives; write it anew with `dabench report`")
    raise typer.Exit(1 if wrong else 0)


def _write_site(site: Path, results: Path, data: Path, cache: Path, *, pictures: bool) -> None:
    from dabench.report import site as sites

    adapted = _adapted(results, data, cache, draw=True, every=pictures)
    made = sites.build(results, data, cache, private=pictures, adapted=adapted)
    screen.set_aside(results)
    sites.write(site, made)
    size = sum(map(len, made.values())) / 1e6
    screen.say(f"{site / 'index.html'}: {len(made)} files, {size:.1f} MB; open it in a browser")


def _adapted(results: Path, data: Path, cache: Path, *, draw: bool, every: bool) -> dict[str, bytes]:
    """Pictures before and after adaptation: those in the cache, and with `draw` those that can be made."""
    from dabench.papers import pictures

    place, _ = options.place("cpu", None, 1, data, cache)
    return pictures.of_embedded_tasks(results, place, screen.warn, draw=draw, every=every)


def _rows(format: Format, results: Path) -> pd.DataFrame:
    """The stored rows, with the columns that the format asks for; raises DabenchError where there are none."""
    from dabench.report import markdown as reports
    from dabench.results import row, store

    if format in (Format.md, Format.latex):
        rows = reports.load(results)
    else:
        rows = store.frame(results, (name for name in row.SCHEMA.names if row.SCHEMA.field(name).type != "binary"))
    if rows.empty:
        raise DabenchError(f"no rows in {results}; start with `dabench run`, or name the folder with --results")
    return rows


def _rendered(
    format: Format, rows: pd.DataFrame, results: Path, output: Path, age: Age, select: str
) -> dict[Path, str]:
    """Each file that the rows give, and its text."""
    from dabench.evaluation.leaderboard import Leaderboard
    from dabench.report import latex, pages
    from dabench.results import searches

    if format is Format.csv:
        return {output: rows.to_csv(index=False)}
    if format is Format.json:
        return {output: rows.to_json(orient="records", indent=1) + "\n"}
    studies = searches.read(results)
    board = Leaderboard(rows, stale=age.stale, searched=searches.searched_keys(studies), select=select)
    if format is Format.latex:
        return {output: latex.tables(board)}
    folder = results if output == Path("leaderboard.md") else output.with_name(f"{output.stem}-pages")
    return pages.files(board, results, output, folder, age=age, studies=studies)


def serve(
    data: options.Data,
    cache: options.Cache,
    results: options.Results = RESULTS,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free one.")] = 8000,
    pictures: options.Pictures = False,
) -> None:
    """Show the site on this machine; it follows a sweep that is running."""
    from dabench.report import serve as serving

    def build() -> dict[str, bytes]:
        from dabench.report import site  # slow to import, so beside a server that answers already

        adapted = _adapted(results, data, cache, draw=False, every=pictures)
        return site.build(results, data, cache, private=pictures, adapted=adapted)

    server = serving.server(build, lambda: serving.version(results), port, lambda: serving.progress(results))
    screen.say(f"http://127.0.0.1:{server.server_port}/ shows {results}; stop with Ctrl-C")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


def plot(
    figure: Annotated[Figures, typer.Argument(help="What to draw.")],
    what: Annotated[str, typer.Argument(metavar="NAME", help="Task (labels, cost), setting (ranks) or family.")],
    results: options.Results = RESULTS,
    output: Annotated[Path | None, typer.Option(help="File ending in .svg, .png or .pdf.")] = None,
    width: Annotated[float, typer.Option(min=2, max=30, help="In inches; a column of a paper is 3.3.")] = 6.9,
) -> None:
    """Draw a figure of stored rows, and print its table."""
    from dabench.evaluation.leaderboard import Leaderboard
    from dabench.report import figure as figures
    from dabench.report import markdown as reports
    from dabench.report import plots
    from dabench.results import provenance

    drawn = plots.drawn(figure, Leaderboard(reports.load(results), stale=provenance.age(results).stale), what, width)
    output = output or results / "figures" / f"{figure}-{what}.svg"
    figures.write(drawn, output)
    screen.table(drawn.header, drawn.lines)
    for words in (drawn.words, str(output)):
        if words:
            screen.say(words)
