"""Tables from CSV and Parquet files, as columns of text."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ctcnet.errors import ManifestError

TABLE_ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class TextTable:
    """Columns of equal length, each value as text without blanks at its ends; "" where a value is missing.

    Attributes:
        path: the file.
        columns: column name -> values.
        lines: for each row its line in the CSV file, or its row number from 1 in a Parquet file.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def where(self, row: int) -> str:
        """File and place of a row, for messages."""
        unit = "line" if self.path.suffix.lower() == ".csv" else "row"
        return f"{self.path}, {unit} {self.lines[row]}"


def read_table(path: Path) -> TextTable:
    """Read a CSV file (UTF-8, comma, header line, byte-order mark allowed) or a Parquet file.

    Raises:
        ManifestError: the file is absent, of another kind, empty or malformed.
    """
    if not path.is_file():
        raise ManifestError("there is no such file", where=path, fix="check the path")
    ending = path.suffix.lower()
    if ending not in TABLE_ENDINGS:
        raise ManifestError(
            "is no manifest", where=path, expected="a .csv or .parquet file, a folder of crops, or a packed store"
        )
    table = _read_csv(path) if ending == ".csv" else _read_parquet(path)
    if not table.lines:
        raise ManifestError("is empty: it has no rows", where=path, expected="one row for each crop")
    return table


def _read_csv(path: Path) -> TextTable:
    rows, lines, reader = [], [], None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(header, path)
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise ManifestError(
                        "has a row with another number of values than the header",
                        where=f"{path}, line {reader.line_num}",
                        expected=f"{len(header)} values",
                        found=f"{len(row)}: {','.join(row)[:80]}",
                        fix="put values that hold a comma into double quotes",
                    )
                if any("\0" in value for value in row):
                    raise ManifestError(
                        "holds a NUL character",
                        where=f"{path}, line {reader.line_num}",
                        fix="save the table again as CSV UTF-8",
                    )
                rows.append(row)
                lines.append(reader.line_num)
    except UnicodeDecodeError as cause:
        raise ManifestError(f"is not UTF-8 text ({cause.reason})", where=path, fix="save it as CSV UTF-8") from cause
    except csv.Error as cause:
        raise ManifestError(
            f"is no CSV that can be read ({cause})",
            where=path if reader is None else f"{path}, line {reader.line_num}",
            fix="see whether a double quote there is opened and not closed, then save it again as CSV UTF-8",
        ) from cause
    except OSError as cause:
        raise ManifestError(f"cannot be read ({cause.strerror})", where=path, fix="check its permissions") from cause
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    return TextTable(path, {n: [v.strip() for v in c] for n, c in zip(header, columns, strict=True)}, lines)


def _read_parquet(path: Path) -> TextTable:
    try:
        table = pq.ParquetFile(path).read()
        _check_header(list(table.column_names), path)
        columns = {}
        for name in table.column_names:
            values = table.column(name).cast(pa.string()).to_pylist()
            columns[name] = ["" if value is None else value.strip() for value in values]
    except (OSError, pa.ArrowException) as cause:
        raise ManifestError(
            f"cannot be read as Parquet ({str(cause).splitlines()[0]})", where=path, fix="write or copy it again"
        ) from cause
    return TextTable(path, columns, list(range(1, table.num_rows + 1)))


def _check_header(header: list[str], path: Path) -> None:
    if not any(header):
        raise ManifestError("is empty: it has no header", where=path, expected="a first line such as path,label,group")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise ManifestError(
            "does not separate its columns by commas", where=path, found=header[0][:80], fix="save it with commas"
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ManifestError(
            f"names columns twice: {', '.join(repr(name) for name in twice)}",
            where=path,
            found=",".join(header),
            fix="remove or rename one of them",
        )
