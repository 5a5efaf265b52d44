from urgentmos.scoring.row import Row, WindowScores


def test_times_of_windows_have_the_digits_of_durations() -> None:
    # Digital silence of 12345 samples at 44.1 kHz in front.
    start_s = 12345 / 44100
    window = WindowScores(start_s, start_s + 3.0, {"mos": 3.0})
    row = Row(
        path="a.wav",
        status="ok",
        error="",
        duration_s=start_s + 3.0,
        sample_rate=44100,
        channels=1,
        flags=(),
        model="",
        scores={"mos": 3.0},
        timeline=(window,),
    )
    (record,) = row.timeline_records(["mos"])
    assert (record["start_s"], record["end_s"]) == (0.27993, 3.27993)
    assert record["end_s"] == row.to_record(["mos"])["duration_s"]
