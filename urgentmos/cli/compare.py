"""``urgentmos compare``: which of two recordings is better."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from urgentmos.cli import EXIT_SOME_FAILED
from urgentmos.cli.input_paths import check_not_read
from urgentmos.cli.model_options import (
    DecodersOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    load_assessor,
)
from urgentmos.cli.output_options import (
    FormatOption,
    OutputOption,
    OverwriteOption,
    check_format,
    open_rows,
    tell_kept,
    write_mode,
)
from urgentmos.cli.progress import Failures, tell_left_out, track
from urgentmos.cli.stdout_rows import printable
from urgentmos.verdict import VERDICTS

if TYPE_CHECKING:
    from urgentmos.scoring import Comparison

_LISTED_UNMATCHED = 10
_LISTS = frozenset({".csv", ".jsonl", ".tsv", ".txt"})
_NUMBERS = (("p_a", "p_tie", "p_b", "cmos"), ("mos_a", "mos_b"))


def compare(
    # A file that may not be read is no wrong usage: its pair fails, as its row does in `score`.
    a: Annotated[Path, typer.Argument(help="A recording or a folder.", readable=False)],
    b: Annotated[Path, typer.Argument(help="What to compare it with: likewise.", readable=False)],
    output: OutputOption = None,
    model: ModelOption = "default",
    device: DeviceOption = None,
    precision: PrecisionOption = "float32",
    workers: DecodersOption = 2,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the output's compared pairs, do the others.")
    ] = False,
    overwrite: OverwriteOption = False,
    stdout_format: FormatOption = None,
) -> None:
    """Say which of two recordings is better, or do so for every pair of two folders.

    Recordings of folders are paired by relative path, those that remain whatever their suffixes.
    Comparing B with A gives the mirrored result. The exit status is 0 when all were compared, 1
    when some failed, 2 when the command was wrong.
    """
    from urgentmos.scoring import compare_files
    from urgentmos.scoring.compare_files import COMPARISON_COLUMNS

    folders = _are_folders(a, b)
    mode = write_mode(output, resume=resume, overwrite=overwrite)
    check_format(output, stdout_format)
    matched = _match(a, b) if folders else [(a, b)]
    check_not_read([file for pair in matched for file in pair], [output])
    pairs = [(str(path_a), str(path_b)) for path_a, path_b in matched]
    assessor = load_assessor(model, device, precision)
    if assessor.network.preference is None:
        raise typer.BadParameter(f"the model {model!r} has no preference head: it cannot compare")
    if output is None and stdout_format is None and not folders:
        _tell_one(next(compare_files(assessor, pairs, workers=workers)))
        return
    failures, verdicts = Failures(), Counter[str]()
    opened = open_rows(
        output,
        columns=COMPARISON_COLUMNS,
        key=("a", "b"),
        inputs=pairs,
        mode=mode,
        assessor=assessor,
        stdout_format=stdout_format,
        numbers=_NUMBERS,
        names=("verdict", "a", "b"),
    )
    with opened as file:
        tell_kept(file)
        compared = compare_files(assessor, file.missing, workers=workers)
        written = file.merge(comparison.to_record() for comparison in compared)
        for record in track(written, total=len(pairs), rows_on_stdout=output is None):
            if record["status"] == "ok":
                verdicts[str(record["verdict"])] += 1
            else:
                failures.add(str(record["a"]), str(record["error"]))
    _tell_all(verdicts)
    failures.tell(len(pairs))
    if failures.count:
        if not folders:
            _tell_no_list((a, b))
        raise typer.Exit(EXIT_SOME_FAILED)


def _are_folders(a: Path, b: Path) -> bool:
    # Not path.is_dir(), which raises what open() will tell: too long a name, a closed folder.
    folders = os.path.isdir(a)
    if os.path.isdir(b) != folders:
        for path in (a, b):
            if not os.path.exists(path):
                raise typer.BadParameter(f"no such folder {str(path)!r}")
        raise typer.BadParameter("compare two files or two folders, not one of each")
    for path in (a, b) if folders else ():
        if not os.access(path, os.R_OK):
            raise typer.BadParameter(f"the folder {str(path)!r} may not be read")
    return folders


def _match(a: Path, b: Path) -> list[tuple[Path, Path]]:
    from urgentmos.scoring import match_folders

    matched = match_folders(a, b)
    tell_left_out([a, b])
    for files, why in (
        (matched.only_a, f"only in {printable(str(a))}"),
        (matched.only_b, f"only in {printable(str(b))}"),
        (matched.unclear, "with several counterparts, which differ in their suffix only"),
    ):
        if files:
            names = [f"  {printable(str(path))}" for path in files[:_LISTED_UNMATCHED]]
            more = len(files) - len(names)
            lines = [f"{len(files)} {why}, not compared:", *names]
            typer.echo("\n".join(lines + ([f"  and {more} more"] if more else [])), err=True)
    return matched.pairs


def _tell_one(comparison: "Comparison") -> None:
    preference = comparison.preference
    if preference is None:
        typer.echo(f"failed: {comparison.error}", err=True)
        _tell_no_list((Path(comparison.a), Path(comparison.b)))
        raise typer.Exit(EXIT_SOME_FAILED)
    lines = [
        f"{comparison.verdict}",
        f"P(A better) {preference.p_a:.3f}  P(tie) {preference.p_tie:.3f}  "
        f"P(B better) {preference.p_b:.3f}  CMOS {preference.cmos:+.2f}",
    ]
    if comparison.mos_a is not None and comparison.mos_b is not None:
        lines.append(f"MOS of A {comparison.mos_a:.2f}, of B {comparison.mos_b:.2f}")
    flags = {"A": comparison.flags_a, "B": comparison.flags_b}
    lines += [f"flags of {name}: {', '.join(flag)}" for name, flag in flags.items() if flag]
    typer.echo("\n".join(lines))


def _tell_no_list(files: Iterable[Path]) -> None:
    if any(file.suffix.lower() in _LISTS for file in files):
        typer.echo("compare takes two recordings or two folders, no list of pairs", err=True)


def _tell_all(verdicts: Counter[str]) -> None:
    from urgentmos.report.intervals import wilson_interval

    line = ", ".join(f"{verdict}: {verdicts[verdict]}" for verdict in VERDICTS)
    wins, decided = verdicts["A better"], verdicts["A better"] + verdicts["B better"]
    if decided:
        low, high = wilson_interval(wins, decided)
        share = f"{100 * wins / decided:.1f} % (95 % interval {100 * low:.1f}…{100 * high:.1f} %)"
        line += f"; A wins {share} of the pairs that are no ties"
    typer.echo(line, err=True)
