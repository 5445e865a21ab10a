"""docs/results.md: every column of a stored row, from the fields of `Row`."""

from __future__ import annotations

import pyarrow as pa

from dabench.report import wording
from dabench.results.row import COLUMNS, Part

_INTRO = """\
# The results, column by column

`results/TASK/METHOD.parquet` holds one row for each cell: a task, protocol, method, hyper-parameters, backbone,
image size, budget, label and image bounds, start, stream, and seed. `dabench show TASK/METHOD` prints a table of the
seeds and `--json` every column but the predictions; any parquet reader opens them. A value that does not apply is null.
Rows that differ in a column of the comparison group are never compared; rows of one entry differ in their seed alone.
"""
_HEADINGS = {
    Part.IDENTITY: "What the cell is",
    Part.MEASURED: "What was measured",
    Part.PROVENANCE: "What made the numbers",
}


def schema_page() -> str:
    """The Markdown of docs/results.md."""
    parts = [_INTRO]
    for part, heading in _HEADINGS.items():
        columns = [column for column in COLUMNS if column.part is part]
        header = ["column", "type", "unit", "meaning"]
        lines = [[f"`{each.name}`", _kind(each.type), each.unit, wording.plain(each.meaning)] for each in columns]
        if part is Part.IDENTITY:
            header.append("same in a")
            lines = [[*line, each.level or ""] for line, each in zip(lines, columns, strict=True)]
        parts.append(f"## {heading}\n\n{wording.table(header, lines, align=['left'] * len(header))}")
    return "\n".join(parts)


def _kind(kind: pa.DataType) -> str:
    """A column type in the reader's words."""
    if pa.types.is_map(kind):
        return f"{_kind(kind.key_type)}: {_kind(kind.item_type)}"
    if pa.types.is_list(kind):
        return f"{_kind(kind.value_type)}s"
    return {"string": "text", "int64": "integer", "double": "number", "binary": "bytes", "bool": "yes or no"}[str(kind)]
