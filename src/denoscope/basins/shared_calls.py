"""Calls of a network that several tasks share, so that few of their rows are padding."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from denoscope.basins.labelling import Answers

Task = Generator[torch.Tensor, Answers, None]
"""Work that yields noises [n, C, H, W], and is sent their answers."""


class Advance(NamedTuple):
    """How far a task has come: to its next question, to its end, or to an error, which ends it too."""

    number: int
    ended: bool
    error: Exception | None


def shared_calls(
    tasks: Iterable[Task], answer: Callable[[torch.Tensor], Answers], rows: int
) -> Iterator[Advance]:
    """Answer several tasks, `rows` noises at a time; yields each advance of a task.

    The first tasks come first. The rows of a call that they leave free go to the next ones, which start when there are
    such rows. An error of `answer` is raised within the tasks whose noises were in the call; an error that leaves a task
    ends that task alone. Closing the iterator closes all tasks.
    """
    starting = iter(enumerate(tasks))
    running: list[_Running] = []
    try:
        while True:
            while sum(len(one.noises) for one in running) < rows and (new := next(starting, None)):
                running.append(started := _Running(*new))
                started.advance(started.task.__next__)
                if started.ended:
                    yield running.pop().state
            if not running:
                return
            advanced = _call(running, answer, rows)
            running = [one for one in running if not one.ended]
            yield from [one.state for one in advanced]
    finally:
        for one in running:
            one.task.close()


@dataclass(eq=False)
class _Running:
    """A task, the noises that it waits for, and the answers to those before them."""

    number: int
    task: Task
    noises: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    answers: list[Answers] = field(default_factory=list)
    ended: bool = False
    error: Exception | None = None

    @property
    def state(self) -> Advance:
        return Advance(self.number, self.ended, self.error)

    def advance(self, step: Callable[[], torch.Tensor]) -> None:
        """Take a step of the task, which leads to its next question or its end."""
        self.noises, self.answers = torch.empty(0), []
        try:
            self.noises = step()
        except StopIteration:
            self.ended = True
        except Exception as error:
            self.ended, self.error = True, error

    def take(self, answers: Answers) -> bool:
        """Take the answers to the first noises; return whether they were the last ones, so that the task has advanced."""
        number = len(next(iter(answers.values())))
        self.answers.append(answers)
        if number < len(self.noises):
            self.noises = self.noises[number:]
            return False
        whole = {name: np.concatenate([part[name] for part in self.answers]) for name in answers}
        self.advance(partial(self.task.send, whole))
        return True


def _call(running: list[_Running], answer: Callable[[torch.Tensor], Answers], rows: int) -> list[_Running]:
    """Answer the first noises of all that tasks wait for; return the tasks that have advanced."""
    shares: list[tuple[_Running, torch.Tensor]] = []
    free = rows
    for one in running:
        if free:
            shares.append((one, one.noises[:free]))
            free -= len(shares[-1][1])
    try:
        answers = answer(torch.cat([noises for _, noises in shares]))
    except Exception as error:
        for one, _ in shares:
            one.advance(partial(one.task.throw, error))
        return [one for one, _ in shares]
    advanced, first = [], 0
    for one, noises in shares:
        last = first + len(noises)
        if one.take({name: values[first:last] for name, values in answers.items()}):
            advanced.append(one)
        first = last
    return advanced
