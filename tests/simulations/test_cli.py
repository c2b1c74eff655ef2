"""The command: what it prints, where it writes, how it goes on, and how it says no."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from simulations import cli, fuzz
from simulations.cli import main, names
from simulations.sweep import Shard

SMALL = ["--managers", "3", "--nodes", "8", "--minutes", "0.5"]


def test_list_names_every_scenario_with_its_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in names():
        assert any(line.startswith(name) and len(line) > 60 for line in printed.splitlines())


def test_run_writes_its_trace_as_lines_and_ends_with_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "out.jsonl"
    assert main(["run", "flip-flop", *SMALL, "--seed", "7", "--trace", str(trace)]) == 0
    assert "every checker held" in capsys.readouterr().out
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert {"row", "sample", "log", "end"} == {line["kind"] for line in lines}
    assert lines[-1]["seed"] == 7


def test_run_draws_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "out.png"
    assert main(["run", "flip-flop", *SMALL, "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_a_picture_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "simulations.plots", None)
    with pytest.raises(SystemExit, match="2"):
        main(["run", "flip-flop", "--plot", "out.png"])
    assert "pip install -e '.[plots]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fuzz", "--policy", "loose"], "invalid choice"),
        (["fuzz", "--shard", "3/2"], "a shard is i/n"),
        (["run", "flip-flop", "--managers", "1"], "--managers 2"),
        (["run", "flip-flop", "--minutes", "nan"], "from 0.1"),
        (["replay", "seven"], "a token is"),
        (["replay", "7:nothing"], "a token is"),
        (["report", "nowhere.jsonl"], "nowhere.jsonl"),
        (["run", "flip-flop", "--trace", "/nowhere/x.jsonl"], "there is no folder /nowhere"),
        (["run", "flip-flop", "--plot", "x.doc"], "png, "),
        (["fuzz", "--record", "/nowhere/x.jsonl"], "there is no folder /nowhere"),
        (["fuzz", "--record", __file__], "line 1 is not a line of a sweep: remove that line"),
        (["grid", "small", "--cells", "n3"], "they are named like memberlist/n"),
        (["grid", "heal", "--rules", "memberlist"], "they are named like ours/n"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert said in capsys.readouterr().err


def test_a_sweep_goes_on_where_it_was_and_report_merges_its_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("simulations.sweep.commit", lambda: "abc")
    played: list[str] = []

    def cell(policy: str, seed: str) -> dict[str, object]:
        played.append(seed)
        broken = ["m1 is wrong"] if seed == "4" else []
        return {"broken": broken, "checker": "some" if broken else "", "events": 1, "healed_after": 1.0}

    monkeypatch.setattr(fuzz, "cell", cell)
    files = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for at, file in enumerate(files, start=1):
        code = main(["fuzz", "--seeds", "6", "--shard", f"{at}/2", "--record", str(file)])
        assert code == (1 if at == 2 else 0)
    assert played == ["1", "3", "5", "2", "4", "6"]
    assert main(["fuzz", "--seeds", "8", "--shard", "1/2", "--record", str(files[0])]) == 0
    assert played[6:] == ["7"]
    capsys.readouterr()
    assert main(["report", *map(str, files)]) == 1
    printed = capsys.readouterr().out
    assert "seed 4 of abc: some: m1 is wrong" in printed
    assert any(line.split()[:3] == ["abc", "7", "1"] for line in printed.splitlines())


def test_a_hunt_for_mutants_goes_on_at_the_seeds_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("simulations.sweep.commit", lambda: "abc")
    played: list[str] = []

    def part(cell: str) -> dict[str, object]:
        played.append(cell)
        if cell == "no_claims/51-100":
            return {"seeds": 7, "seed": 57, "checker": "some", "said": "", "green": True}
        return {"seeds": 50, "seed": 0, "checker": "", "said": "", "green": True}

    monkeypatch.setattr("simulations.cli.hunt_part", part)
    file = tmp_path / "mutants.jsonl"
    command = ["mutants", "--only", "no_claims", "--only", "joins_once", "--record", str(file), "--seeds"]
    assert main([*command, "50"]) == 1
    assert main([*command, "150"]) == 1
    first = ["no_claims/1-50", "joins_once/1-50"]
    assert played == [*first, "no_claims/51-100", "joins_once/51-100", "joins_once/101-150"]
    capsys.readouterr()
    assert main(["report", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "nobody within 150 seeds" in printed
    assert any(line.split()[:3] == ["no_claims", "some", "57"] for line in printed.splitlines())


def test_until_failure_ends_at_the_first_that_breaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cell(policy: str, seed: str) -> dict[str, object]:
        broken = ["m1 is wrong"] if int(seed) >= 3 else []
        return {"broken": broken, "checker": "some", "events": 1, "healed_after": 1.0}

    monkeypatch.setattr(fuzz, "cell", cell)
    assert main(["fuzz", "--until-failure"]) == 1
    assert "again: python -m simulations replay 3" in capsys.readouterr().out


def test_ctrl_c_ends_a_sweep_with_what_it_has_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cell(policy: str, seed: str) -> dict[str, object]:
        if int(seed) >= 3:
            raise KeyboardInterrupt
        return {"broken": [], "checker": "", "events": 1, "healed_after": 1.0}

    monkeypatch.setattr(fuzz, "cell", cell)
    assert main(["fuzz", "--until-failure"]) == cli.INTERRUPTED
    assert "every checker held" in capsys.readouterr().out
    assert main(["fuzz", "--first-seed", "3"]) == cli.INTERRUPTED
    assert capsys.readouterr() == ("", "\nstopped\n")


def test_a_file_that_is_no_sweep_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"kind": "fuzz"}\n')
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(file)])
    assert "line 1 is not a line of a sweep" in capsys.readouterr().err


def test_every_cell_is_in_exactly_one_shard() -> None:
    cells = [str(number) for number in range(10)]
    parts = [list(Shard(index, 3).of(cells)) for index in (1, 2, 3)]
    assert sorted(cell for part in parts for cell in part) == cells


def test_a_replayed_mutant_says_what_broke_and_what_its_members_did_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["replay", "1:moving_is_leaving"]) == 1
    printed = capsys.readouterr().out
    assert "BROKEN: at " in printed
    assert "named by the checker removed_means_ended" in printed
    assert {line.split()[0][0] for line in printed.splitlines() if line.startswith("  ")} >= {"m", "n"}


def test_kcm_sim_is_the_same_program() -> None:
    kcm = Path(sys.executable).with_name("kcm")
    done = subprocess.run([kcm, "sim", "list"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "split-brain" in done.stdout
    assert cli.names()[0] in done.stdout
