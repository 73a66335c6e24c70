"""One training at a time on a server of many users: who comes waits in line, and long trainings take turns."""
import threading
import time
from collections import deque
from collections.abc import Generator

from core.workers import compute_alone

TURN = 20.0  # seconds a training keeps the machine while others wait
FORGOTTEN = 900.0  # seconds after which a training whose user does nothing is paused


class Job:
    """One training in the queue: a generator of reports (None: nothing to report yet), and those that it has yielded.

    `state` is "waiting", "running", "paused", "done", "stopped" or "failed" (then `error` says why). Nothing but the
    queue's thread advances the iterator, so what it trains may be read in every state but the first two.
    """

    def __init__(self, steps: Generator):
        self.steps, self.reports, self.state, self.error = steps, [], "waiting", None
        self.wanted = "run"  # or "pause", "stop": heard between two steps
        self.seen = time.monotonic()

    def look(self) -> None:
        """Its user is still there."""
        self.seen = time.monotonic()

    @property
    def over(self) -> bool:
        return self.state in ("done", "stopped", "failed")


class Queue:
    """Jobs that take turns on one thread, which computes on one core. The thread ends with the last job."""

    def __init__(self, turn: float = TURN, forgotten: float = FORGOTTEN):
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._turn, self._forgotten = turn, forgotten

    def add(self, job: Job) -> None:
        """To the end of the line; a paused job goes on from where it was."""
        with self._lock:
            if job.over or job in self._jobs:
                return
            job.wanted, job.state = "run", "waiting"
            job.look()
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="training")
                self._thread.start()

    def place(self, job: Job) -> int:
        """How many jobs are before this one: 0 when it runs or is not in line. Also says that somebody looks."""
        job.look()
        with self._lock:
            return self._jobs.index(job) if job in self._jobs else 0

    def pause(self, job: Job) -> None:
        """Leave the line, so that others need not wait, and keep what was learnt."""
        self._ask(job, "pause", "paused")

    def stop(self, job: Job) -> None:
        """Leave the line for good."""
        self._ask(job, "stop", "stopped")

    def _ask(self, job: Job, wanted: str, becomes: str) -> None:
        with self._lock:
            job.wanted = wanted
            if job.state in ("waiting", "paused"):  # a running one hears it after its step
                job.state = becomes
                if job in self._jobs:
                    self._jobs.remove(job)
                _let_go(job)

    def _work(self) -> None:
        compute_alone()
        while True:
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs[0]
                job.state = "running"
            self._run(job)

    def _run(self, job: Job) -> None:
        """Steps of the first job until it ends, is asked to, or its turn is over and another waits."""
        began = time.monotonic()
        while True:
            ended = _step(job)
            with self._lock:
                now, others = time.monotonic(), len(self._jobs) > 1
                if job.wanted == "run" and now - job.seen > self._forgotten:  # who closed the tab cannot stop it
                    job.wanted = "pause"
                if not ended and job.wanted == "run" and not (others and now - began > self._turn):
                    continue
                self._jobs.popleft()
                if ended:
                    job.state = ended
                elif job.wanted == "run":
                    job.state = "waiting"
                    self._jobs.append(job)
                else:
                    job.state = {"pause": "paused", "stop": "stopped"}[job.wanted]
                _let_go(job)
                return


def _let_go(job: Job) -> None:
    """What a training holds (images, optimizer) is freed once it is over; its reports stay."""
    if job.over:
        job.steps.close()


def _step(job: Job) -> str:
    """One step more and its report, if it has one: "", or how the job ended."""
    try:
        report = next(job.steps)
        if report is not None:
            job.reports.append(report)
    except StopIteration:
        return "done"
    except Exception as error:  # whatever a training raises must end this job, not the thread
        job.error = error
        return "failed"
    return ""
