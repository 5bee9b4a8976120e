"""What only a cluster can do, and what can only go wrong there."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from executor_tasks import Dying, Square, Where, equal

import clframe
from clframe.comparison import plan
from clframe.errors import MissingExtraError, OptionError, RunError
from clframe.executors import Executor, cluster, executor

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.usefixtures("ray_home")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clframe\[ray\]'"):
        executor("ray")


@needs_ray
@pytest.mark.parametrize("address", ["ray://", "ray://host", "ray://:10001", "ray://host:many"])
def test_an_address_has_a_host_and_a_port(address: str) -> None:
    with pytest.raises(OptionError, match="ray://HOST:PORT"):
        executor(address)


@needs_ray
def test_an_address_where_nobody_answers_is_refused_at_once() -> None:
    start = time.monotonic()
    with (
        pytest.raises(RunError, match="must be a Ray cluster that answers") as raised,
        executor(f"ray://127.0.0.1:{free_port()}") as ray,
    ):
        ray([Square(1)])
    assert "\n" not in str(raised.value)
    assert time.monotonic() - start < 10


@pytest.mark.slow
@needs_ray
def test_a_port_of_something_else_is_refused() -> None:
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"ray://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(RunError, match="must be a Ray cluster that answers"), executor(address) as ray:
            ray([Square(1)])
    assert time.monotonic() - start < 45


@pytest.mark.slow
def test_a_task_is_done_as_if_it_were_here(ray_here: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLFRAME_DATA", "data")
    assert ray_here([Where(), Where(cores=512)]) == [
        (str(tmp_path), str(tmp_path / "data"), "1"),
        (str(tmp_path), str(tmp_path / "data"), str(os.cpu_count())),
    ]


@pytest.mark.slow
def test_a_lost_process_is_replaced_and_a_run_that_loses_it_again_and_again_is_refused(ray_here: Executor, tmp_path: Path) -> None:
    lucky, unlucky, healthy = ray_here([Dying(tmp_path / "lucky", 2), Dying(tmp_path / "unlucky", 9), Square(3)])
    assert (lucky, healthy) == (2, 9)
    assert isinstance(unlucky, RunError)
    assert "'unlucky' must keep its process" in str(unlucky)


@pytest.mark.slow
def test_a_machine_with_other_versions_is_refused(ray_here: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    ray_here([Square(1)])
    monkeypatch.setattr(clframe, "__version__", "0.0.7")
    with executor("ray") as other, pytest.raises(RunError, match=r"must have clframe 0\.0\.7, as here, .*; it has \d.*Install"):
        other([Square(1)])


@pytest.mark.slow
def test_a_machine_that_does_not_see_the_files_is_refused(
    ray_here: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def elsewhere(tasks: object) -> Iterator[list[str]]:
        yield [str(tmp_path / "token")]

    ray_here([Square(1)])
    monkeypatch.setattr(cluster, "_tokens", elsewhere)
    monkeypatch.setattr(cluster, "SEEN_SECONDS", 0.2)
    with executor("ray") as other, pytest.raises(RunError, match=r"must be seen by every machine.*--out"):
        other([Square(1)])


@pytest.mark.slow
def test_no_token_is_left(ray_here: Executor, tmp_path: Path) -> None:
    assert ray_here([Dying(tmp_path / "new" / "deep" / "task", 0)]) == [0]
    assert list(tmp_path.iterdir()) == []


STUDY = """
methods: [finetune, er(size=50)]
space: {lr: {log-range: [0.01, 0.3]}}
scenarios: split-digits(experiences=2)
protocols: [end-of-training]
trials: 2
seeds: 1
options: {evaluate: boundaries}
"""


@pytest.mark.slow
def test_a_whole_study_is_equal_as_the_page_has_it(ray_here: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clframe.eval.protocol import conduct, groups, read

    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    page = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "how-to" / "many-machines.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(page[0], names)
    study = read("study.yaml")
    assert groups(study, names["entries"]) == groups(study, conduct(study, "here", jobs=2))
    files = {p.relative_to("here") for p in Path("here").rglob("metrics.json")}
    assert len(files) == 6
    for file in files:
        assert (Path("studies/first") / file).read_text() == ("here" / file).read_text()


@contextmanager
def cluster_of_two(home: Path) -> Iterator[str]:
    """A cluster as `ray start` makes it, with two processors; its address. It ends with the block."""
    port, clients = free_port(), free_port()
    ray = Path(sys.executable).with_name("ray")
    words = [
        f"--port={port}",
        f"--ray-client-server-port={clients}",
        "--num-cpus=2",
        "--include-dashboard=false",
        f"--temp-dir={home}",
    ]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "GRPC_ENABLE_FORK_SUPPORT": "0"}
    started = subprocess.Popen(
        [str(ray), "start", "--head", "--block", "--include-dashboard=false", "--disable-usage-stats", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end and started.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", clients), timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"ray://127.0.0.1:{clients}"
    finally:
        started.terminate()
        try:
            started.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


SCRIPT = """
import pickle, sys
from pathlib import Path
from clframe.comparison import plan
from clframe.executors import executor
if __name__ == "__main__":
    address, out, found = sys.argv[1:]
    told = []
    with executor(address) as ray:
        jobs = plan("split-digits", ["finetune", "er(size=50)"], 2, Path(out), {"evaluate": "every(k=10)"})
        results = ray(jobs, lambda *words: told.append(words))
    assert {name for name, _, _ in told} == {job.name for job in jobs}
    Path(found).write_bytes(pickle.dumps(results))
"""


@pytest.mark.slow
def test_a_cluster_at_an_address_gives_the_same_results(ray_home: Path, tmp_path: Path) -> None:
    """In a process of its own, because a process can be the client of one cluster only."""
    import pickle

    (tmp_path / "script.py").write_text(SCRIPT)
    with cluster_of_two(ray_home / "head") as address:
        done = subprocess.run(
            [sys.executable, "script.py", address, "runs", "found"], cwd=tmp_path, capture_output=True, text=True, timeout=240
        )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    for job, found in zip(
        plan("split-digits", ["finetune", "er(size=50)"], 2, None, {"evaluate": "every(k=10)"}),
        pickle.loads((tmp_path / "found").read_bytes()),
        strict=True,
    ):
        equal(job(None), found)
    assert len(list((tmp_path / "runs").rglob("metrics.json"))) == 4


INTERRUPTED = """
import sys
from pathlib import Path
from clframe.comparison import plan
from clframe.executors import executor
if __name__ == "__main__":
    with executor("ray") as ray:
        jobs = plan("split-digits", ["finetune", "er(size=50)"], 2, Path(sys.argv[1]), {"epochs": 500})
        ray(jobs, lambda name, n, total: print(name, n, flush=True))
"""


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_saves_and_leaves_nothing_behind(ray_home: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, "script.py", "runs"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    told: set[str] = set()
    while len(told) < 2:
        told.add(process.stdout.readline().rpartition(" ")[0])
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.strip().splitlines()[-1].startswith("KeyboardInterrupt"), err
    assert len(list((tmp_path / "runs").rglob("checkpoint.pt"))) == 2
    assert not list((tmp_path / "runs").rglob("metrics.json"))
    time.sleep(3)
    left = subprocess.run(["ps", "-e", "-o", "pid=,args="], capture_output=True, text=True).stdout
    assert str(tmp_path) not in left
