"""Jobs of which can be told from outside how far they are, and afterwards that all of it ran once."""

from pathlib import Path

from e2e.client import LOCAL, Client, Json, assert_contiguous
from e2e.forge import Forge, wait_for
from gitserver import GitRepo


class Play:
    """A launched job of `steps.yml`: it writes `steps` lines to a file, waits at its gate, and writes a last line."""

    def __init__(self, api: Client, template: Json, directory: Path, steps: int, pause: float) -> None:
        directory.mkdir()
        self.gate = directory / "gate"
        self._log = directory / "log"
        self._api = api
        self._steps = steps
        variables = {"log": str(self._log), "gate": str(self.gate), "steps": steps, "pause": pause}
        self.job = api.launch(template, extra_vars=variables)

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().split() if self._log.exists() else []

    def begin(self) -> None:
        """Wait for the first step."""
        self._api.until(self.job, lambda _: self.lines, "its first step")

    def reach(self, step: int) -> None:
        """Wait for a step, without asking Forge."""
        wait_for(lambda: len(self.lines) >= step, f"step {step}")

    def end_unnoticed(self) -> None:
        """Open the gate and wait for the last step, without asking Forge."""
        self.gate.touch()
        wait_for(lambda: "last" in self.lines, "the last step")

    def finish(self) -> Json:
        """Open the gate, wait for the end, and see that all of it ran once and is stored."""
        self.gate.touch()
        job = self._api.finished(self.job)
        output = self._api.stdout(job)
        assert job["status"] == "successful", f"{job['job_explanation']}\n{output}"
        assert self.lines == [*map(str, range(1, self._steps + 1)), "last"]
        events = self._api.events(job)
        assert_contiguous(events)
        items = [event for event in events if event["event"] == "runner_item_on_ok"]
        assert len(items) == self._steps
        assert events[-1]["event"] == "playbook_on_stats"
        return job


class System:
    """A running Forge with a template for `Play`."""

    def __init__(self, forge: Forge, repo: GitRepo, directory: Path) -> None:
        self.forge = forge
        self.api = forge.api
        self._directory = directory
        self._plays = 0
        inventory = self.api.inventory({"local": {}}, **LOCAL)
        self.fields = {"project": self.api.project(f"file://{repo.path}")["id"], "inventory": inventory["id"]}
        self.template = self.api.template(
            playbook="steps.yml", ask_variables_on_launch=True, allow_simultaneous=True, **self.fields
        )

    def play(self, steps: int = 6, pause: float = 0.2, template: Json | None = None) -> Play:
        self._plays += 1
        return Play(self.api, template or self.template, self._directory / str(self._plays), steps, pause)
