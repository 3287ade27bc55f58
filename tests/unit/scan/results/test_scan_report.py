"""The report of a scan."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ctcnet.call_rates import CallRate, CallRates
from ctcnet.errors import OutputError
from ctcnet.labels import LabelSchema
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Note
from ctcnet.scan.counting.counts import CountSettings, count_events
from ctcnet.scan.counting.estimates import CountBasis
from ctcnet.scan.measure.references import MarkerReference
from ctcnet.scan.results import report
from ctcnet.scan.results.event_texts import event_texts
from ctcnet.scan.results.figures import MapPoints, Scatter, map_figure, quality_figures, scatter_figure
from ctcnet.scan.results.gallery import gallery_rows
from ctcnet.scan.results.report import ReportInput, write_report
from ctcnet.scan.results.report_texts import (
    format_count,
    format_interval,
    format_level,
    format_probability,
    group_notes,
)

pytestmark = pytest.mark.unit

MakeInput = Callable[..., ReportInput]


class _Checker(HTMLParser):
    """Collects tags, and fails on a tag that is closed out of order."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def make_input(panel: Panel, labels: LabelSchema, make_columns: Callable) -> MakeInput:
    """Input of a report on n made-up events, with the basis of their counts."""

    def make(
        n: int = 60, basis: CountBasis | None = None, rates: CallRates | None = None, **replaced: np.ndarray
    ) -> ReportInput:
        columns = {**make_columns(n), **replaced}
        rows = gallery_rows(columns, ("ctc",))
        random = np.random.default_rng(1)
        is_ctc = (columns["label"] == "ctc") & ~columns["unassigned"]
        channels = {"focus": 0.4, "background": 20.0, "saturated_share": 0.0}
        settings = CountSettings(basis or CountBasis(), 10.0, 0.0, notes=["Said twice."], rates=rates)
        return ReportInput(
            cartridge="K-17",
            schema=labels,
            panel=panel,
            columns={name: values[rows] for name, values in columns.items()},
            crops=random.integers(0, 900, (len(rows), 3, 16, 16)).astype(np.uint16),
            pixel_size_um=0.64,
            background=np.array([100.0, 20.0, 50.0]),
            scale=np.array([400.0, 30.0, 200.0]),
            counts=count_events(columns, labels, panel, settings),
            quality=[
                {"frame": f, "cells_per_mm2": 400.0 + f, "channels": dict.fromkeys(panel.markers, channels)}
                for f in (1, 2, 3)
            ],
            markers=panel.markers,
            notes=[Note("counts", "Said twice."), Note("blur", "frame 3 is out of focus", 3)],
            points=MapPoints(columns["x_um"], columns["y_um"], is_ctc),
            scatter=Scatter("CK", "CD45", columns["mean_CK"], columns["mean_CD45"], is_ctc),
            record={"Model": "compact, sha256 abab"},
            simulated_training=True,
        )

    return make


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the figures out, which take longer than the rest, in tests of something else."""
    for name in ("scatter_figure", "map_figure"):
        monkeypatch.setattr(report, name, lambda _: "<svg></svg>")
    monkeypatch.setattr(report, "quality_figures", lambda *_: [])


def text_of(path: Path, given: ReportInput) -> str:
    write_report(path / "report.html", given, overwrite=True)
    return (path / "report.html").read_text(encoding="utf-8")


def test_page_is_whole_and_needs_no_network(tmp_path: Path, make_input: MakeInput) -> None:
    page = text_of(tmp_path, make_input())
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert all(source.startswith(("data:image/png", "#")) for source in checker.sources)
    assert not re.search(r"<script|@import|url\((?!#)", page)


def test_same_input_gives_the_same_bytes(tmp_path: Path, make_input: MakeInput) -> None:
    assert text_of(tmp_path, make_input()) == text_of(tmp_path, make_input())


@pytest.mark.usefixtures("no_figures")
def test_every_event_shows_each_channel_and_a_merge(tmp_path: Path, make_input: MakeInput) -> None:
    page = text_of(tmp_path, make_input(60))
    counted = 59  # one is a cell of a cluster that is counted as one
    assert [page.count(f'alt="{name}"') for name in ("DAPI", "CK", "CD45", "merge")] == [counted] * 4


@pytest.mark.usefixtures("no_figures")
def test_what_has_to_be_said_is_said(tmp_path: Path, make_input: MakeInput) -> None:
    page = text_of(tmp_path, make_input())
    for text in ("Scan of K-17", "for research use only", "Trained on simulated cells", "compact, sha256 abab",
                 "Frame 3 is out of focus", "uncorrected", "black 20, white 260 counts"):  # fmt: skip
        assert text in page, text
    assert page.count("Said twice.") == 1


@pytest.mark.usefixtures("no_figures")
def test_events_for_review_stand_apart_with_their_reason(tmp_path: Path, make_input: MakeInput) -> None:
    page = text_of(tmp_path, make_input(60))
    called, review = page.split('<section class="review"')
    review = review.split("</section>")[0]
    assert review.count('class="event"') == 3
    assert "CK+ and CD45+ &#34;at once&#34;, &lt;odd&gt;" in review
    assert "at once" not in called


@pytest.mark.usefixtures("no_figures")
def test_cartridge_without_ctc_says_so(tmp_path: Path, make_input: MakeInput) -> None:
    page = text_of(tmp_path, make_input(60, label=np.full(60, "leukocyte", dtype=object)))
    assert "No event was called a CTC." in page
    assert "up to 3.7 per cartridge" in page


def test_cartridge_without_events(tmp_path: Path, make_input: MakeInput) -> None:
    page = text_of(tmp_path, make_input(0))
    assert "No event was found." in page
    assert 'class="event"' not in page


@pytest.mark.usefixtures("no_figures")
def test_cartridge_of_which_nothing_was_counted(
    tmp_path: Path, make_input: MakeInput, make_columns: Callable, panel: Panel, labels: LabelSchema
) -> None:
    nothing = CountSettings(CountBasis(7.5), counted_area_mm2=0.0, missing_area_mm2=10.0)
    counts = count_events(make_columns(0), labels, panel, nothing)
    page = text_of(tmp_path, replace(make_input(0), counts=counts))
    assert "Nothing was counted." in page
    assert "No event was found. " not in page
    assert "Per 7.5 mL" not in page


def test_one_event(tmp_path: Path, make_input: MakeInput) -> None:
    assert text_of(tmp_path, make_input(1)).count('class="event"') == 1


@pytest.mark.usefixtures("no_figures")
def test_schema_without_the_roll_up(tmp_path: Path, make_input: MakeInput, panel: Panel) -> None:
    schema = LabelSchema("two", ("leukocyte", "debris"))
    given = make_input()
    counts = count_events({**given.columns}, schema, panel, CountSettings())
    page = text_of(tmp_path, replace(given, schema=schema, counts=counts, scatter=None))
    assert "No statement about CTCs." in page


def _rates(simulated: bool) -> CallRates:
    found, debris = CallRate(90, 100, (0.82, 0.95)), CallRate(9, 300, (0.013, 0.057))
    false_calls = {"leukocyte": CallRate(2, 4000, (0.00006, 0.0018)), "debris": debris}
    return CallRates(found, {"ctc": found}, false_calls, simulated, "cartridge", 10, "ab", "cd", "0.1.0")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("simulated", [True, False])
def test_volume_and_correction_are_shown(tmp_path: Path, make_input: MakeInput, simulated: bool) -> None:
    given = make_input(basis=CountBasis(15.0), rates=_rates(simulated))
    page = text_of(tmp_path, given)
    assert "from 15 mL of blood" in page
    assert "Per 7.5 mL" in page
    assert "uncorrected" not in page
    corrected = format_interval(given.counts["contains_ctc"]["corrected"]["interval"])
    assert f"the mean behind the count is {corrected} (95 %)" in page
    assert "90 of 100 events with a CTC (82 to 95 %)" in page
    assert "2 of 4,000 events of leukocyte and 9 of 300 events of debris" in page
    counted = given.counts["correction"]["events_counted"]
    assert f"events counted here, {counted['leukocyte']} of leukocyte and {counted['debris']} of debris." in page
    expected = counted["leukocyte"] * 2.5 / 4000 + counted["debris"] * 9.5 / 300
    assert f"By that, {expected:.1f} false calls are to be expected" in page
    assert (f"corrected {corrected}, by rates of simulated cells" in page) == simulated
    assert ("rest on rates that were measured on simulated cells" in page) == simulated
    assert f"Measured on {'simulated' if simulated else 'real'} cells of 10 groups" in page


@pytest.mark.usefixtures("no_figures")
def test_thresholds_of_marker_calls_are_shown(tmp_path: Path, make_input: MakeInput) -> None:
    nan = float("nan")
    thresholds = (
        MarkerReference("CK", "epithelial", "mean_CK", 2000, 24.25, 0.4, 91.5, 0.001, 3, "leukocytes"),
        MarkerReference("CD45", "leukocyte", "mean_CD45", 2000, 310.0, 0.4, 130.4, 0.01, 25, "leukocytes"),
        MarkerReference("CD61", "platelet", "max_CD61", 12, nan, nan, 40.0, nan, 1, "noise"),
    )
    page = text_of(tmp_path, replace(make_input(), thresholds=thresholds))
    table = page.split("<h3>Thresholds of the marker calls</h3>")[1].split("</table>")[0]
    rows = [re.sub(r"<[^>]*>", "|", row) for row in re.findall(r"<tr><td>(.*?)</tr>", table)]
    ck, cd45, cd61 = ([cell for cell in row.split("|") if cell] for row in rows)
    source = "mean; from the cartridge&#39;s leukocytes"
    assert ck == ["CK (epithelial)", source, "91.5", "leukocytes 24.2", "0.1 %", "3 of 2,000 above"]
    assert cd45[2:] == ["130", "leukocytes 310", "1 %", "25 of 2,000 below"]
    assert cd61[1:] == ["brightest pixel; from the noise of the channel", "40.0", "leukocytes –", "–"]
    assert "camera counts over the local background" in page
    assert "Thresholds of the marker calls" not in text_of(tmp_path, make_input())


@pytest.mark.usefixtures("no_figures")
def test_partners_that_no_channel_shows_have_no_row(tmp_path: Path, make_input: MakeInput) -> None:
    page = text_of(tmp_path, make_input())
    touched = page.split("<h3>What the CTCs touch</h3>")[1].split("</table>")[0]
    assert re.findall(r"<tr><td>([^<]*)", touched) == ["other CTCs", "other leukocyte"]


@pytest.mark.parametrize(
    ("training", "images", "text"),
    [(None, False, "Training cells of unstated origin"), (False, True, "This cartridge is simulated")],
)
@pytest.mark.usefixtures("no_figures")
def test_origin_of_cells_is_stated(
    tmp_path: Path, make_input: MakeInput, training: bool | None, images: bool, text: str
) -> None:
    given = replace(make_input(), simulated_training=training, simulated_images=images)
    page = text_of(tmp_path, given)
    assert text in page
    assert "Trained on simulated" not in page


@pytest.mark.usefixtures("no_figures")
def test_names_cannot_break_the_page(tmp_path: Path, make_input: MakeInput) -> None:
    page = text_of(tmp_path, replace(make_input(), cartridge="<script>alert(1)</script>"))
    assert "<script>" not in page


def test_report_that_stands_there_is_not_replaced(tmp_path: Path, make_input: MakeInput) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_report(tmp_path / "report.html", make_input())


def test_figures_survive_constants_nothing_and_negative_values() -> None:
    one, none = np.ones(3), np.zeros(0)
    negative = np.array([-3.0, 0.0, np.nan, 5.0])
    assert scatter_figure(Scatter("CK", "CD45", negative, negative, np.array([True, False, True, False])))
    assert scatter_figure(Scatter("CK", "CD45", none, none, none.astype(bool)))
    assert map_figure(MapPoints(one, one, one.astype(bool)))
    assert map_figure(MapPoints(none, none, none.astype(bool)))


def test_quality_that_is_nowhere_known_is_left_out() -> None:
    record = {"frame": 1, "cells_per_mm2": 3.0, "channels": {"CK": {"focus": None, "background": 2.0}}}
    assert [title for title, _, _ in quality_figures([record], ["CK", "BF"])] == ["Cells per mm²", "Background"]


def test_notes_of_one_kind_are_one_line() -> None:
    notes = [Note("blur", f"frame {n} is blurred", n) for n in range(1, 21)] + [Note("a", "one"), Note("a", "two")]
    first, *others = group_notes(notes)
    assert (first.message, first.more) == ("Frame 1 is blurred", 19)
    assert first.frames == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ..."
    assert [(group.message, group.more) for group in others] == [("One", 0), ("Two", 0)]


def test_figures_for_people() -> None:
    assert [format_count(v) for v in (0, 3, 4.26, 12345.6, None)] == ["0", "3", "4.3", "12,346", "–"]
    assert format_interval([0, 3.689]) == "0 to 3.69"
    assert format_interval([66.12, 1234.5]) == "66.1 to 1,234"
    assert [format_probability(v) for v in (0.0, 0.004, 0.5, 0.996, 1.0, None)] == [
        "< 0.01", "< 0.01", "0.50", "> 0.99", "> 0.99", "–",
    ]  # fmt: skip
    assert [format_level(v) for v in (1.26, -3.0, 1190.0)] == ["1.3", "-3.0", "1190"]


def row_of(**replaced: object) -> dict[str, object]:
    return {
        "label": "ctc_neutrophil_cluster", "unassigned": False, "kind": "cluster", "members": 3, "diameter_um": 14.66,
        "frame": 7, "x_px": 10.4, "y_px": 20.0, "event_id": 5, "snr_CK": 9.5, "phenotype": "epithelial",
        "partners": "neutrophil+other_leukocyte", "p_contains_ctc": 0.97, "review_reason": "", "definition_reason": "",
        "flags": "", **replaced,
    }  # fmt: skip


CLASSES = ("ctc", "leukocyte", "ctc_neutrophil_cluster")


def test_event_is_described_in_words() -> None:
    texts = event_texts(row_of(), ["CK"], CLASSES, ("ctc", "ctc_neutrophil_cluster"))
    assert (texts.title, texts.probability, texts.warnings) == ("CTC neutrophil cluster", "0.97", ())
    assert texts.lines == (
        "cluster of 3 cells, 14.7 µm", "frame 7, x 10, y 20 px, event 5", "signal to noise: CK 9.5",
        "phenotype epithelial", "touches neutrophil and other leukocyte",
    )  # fmt: skip


def test_warnings_of_an_event_say_nothing_twice() -> None:
    reason = "called ctc_neutrophil_cluster, but does not meet the written definition: CK negative"
    row = row_of(
        review_reason="network and written definition disagree; CTC with saturated pixels",
        definition_reason=reason,
        flags="at_border;saturated;at_edge",
    )
    texts = event_texts(row, ["CK"], CLASSES, ("ctc", "ctc_neutrophil_cluster"))
    assert texts.warnings == (
        "CTC with saturated pixels",
        "called CTC neutrophil cluster, but does not meet the written definition: CK negative",
        "not seen whole",
    )
    assert "seen across two frames" in texts.lines[1]


def test_definition_is_a_mere_figure_where_nothing_was_called() -> None:
    row = row_of(label="leukocyte", kind="cell", members=1, diameter_um=0.0, definition_reason="CD45 positive",
                 flags="saturated")  # fmt: skip
    texts = event_texts(row, [], CLASSES, ("ctc",))
    assert texts.warnings == ("saturated pixels",)
    assert texts.lines[0] == "cell, too faint to measure its size"
    assert texts.lines[-1] == "written definition not met: CD45 positive"


@pytest.mark.usefixtures("no_figures")
def test_calls_that_are_all_for_review_are_not_shown_as_none(tmp_path: Path, make_input: MakeInput) -> None:
    given = make_input(60)
    given.columns["review"][:] = given.columns["label"] == "ctc"  # type: ignore[index]
    page = text_of(tmp_path, given)
    assert "None: each of the 6 events called a CTC is for review, see below." in page
    assert 'href="#called-review"' in page


@pytest.mark.usefixtures("no_figures")
def test_partial_scan_is_said_beside_the_counts(tmp_path: Path, make_input: MakeInput) -> None:
    text = "Only a part was scanned"
    assert text not in text_of(tmp_path, make_input())
    given = replace(make_input(), notes=[Note("partial_scan", "5 of 2304 tiles are there")])
    assert text in text_of(tmp_path, given)


@pytest.mark.usefixtures("no_figures")
def test_volume_of_7_5_ml_is_not_written_twice(tmp_path: Path, make_input: MakeInput) -> None:
    page = text_of(tmp_path, make_input(basis=CountBasis(7.5)))
    assert "in 7.5 mL of blood" in page
    assert "Per 7.5 mL" not in page


@pytest.mark.usefixtures("no_figures")
def test_figures_scaled_for_missing_frames_are_shown_and_called_so(tmp_path: Path, make_input: MakeInput) -> None:
    given = make_input(basis=CountBasis(7.5))
    settings = CountSettings(CountBasis(7.5), 50.0, 50.0)
    counts = count_events(given.columns, given.schema, given.panel, settings)
    page = text_of(tmp_path, replace(given, counts=counts, notes=[Note("missing_frames", "half of them")]))
    assert "Per 7.5 mL" in page
    assert "50.0 % of it counted" in page
    assert "take the rest to hold as many events per area" in page
    assert "as a mean per 7.5 mL" in page
    assert "not scaled up" not in page
