"""Calls of a network that several works share, so that few of their rows are padding."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from denoscope.basins.labelling import Answers

Asking = Generator[torch.Tensor, Answers, None]
"""Work that yields noises [n, C, H, W], and is sent their answers."""


def shared_calls(
    works: Iterable[Asking], answer: Callable[[torch.Tensor], Answers], rows: int
) -> Iterator[int]:
    """Answer several works, `rows` noises at a time; yields the number of each work that has gone on.

    All works begin at once. The first ones come first: the next ones get the rows of a call that these leave free. An
    error of `answer` is raised within the works whose noises were in the call. Closing the iterator closes all works.
    """
    waiting = [_Work(number, asking) for number, asking in enumerate(works)]
    try:
        for work in waiting:
            work.go_on(work.asking.__next__)
        gone_on = [work for work in waiting if work.ended]
        while waiting:
            waiting = [work for work in waiting if not work.ended]
            yield from [work.number for work in gone_on]
            gone_on = _call(waiting, answer, rows) if waiting else []
    finally:
        for work in waiting:
            work.asking.close()


@dataclass(eq=False)
class _Work:
    """A work, the noises that it waits for, and the answers to those before them."""

    number: int
    asking: Asking
    noises: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    answers: list[Answers] = field(default_factory=list)
    ended: bool = False

    def go_on(self, step: Callable[[], torch.Tensor]) -> None:
        """Take a step of the work, which leads to its next question or its end."""
        self.noises, self.answers = torch.empty(0), []
        try:
            self.noises = step()
        except StopIteration:
            self.ended = True

    def take(self, answers: Answers) -> bool:
        """Take the answers to the first noises; whether the work has gone on, since they were the last ones."""
        number = len(next(iter(answers.values())))
        self.answers.append(answers)
        if number < len(self.noises):
            self.noises = self.noises[number:]
            return False
        whole = {name: np.concatenate([part[name] for part in self.answers]) for name in answers}
        self.go_on(partial(self.asking.send, whole))
        return True


def _call(works: list[_Work], answer: Callable[[torch.Tensor], Answers], rows: int) -> list[_Work]:
    """Answer the first noises of all that works wait for; the works that have gone on."""
    shares: list[tuple[_Work, torch.Tensor]] = []
    for work in works:
        free = rows - sum(len(noises) for _, noises in shares)
        if free:
            shares.append((work, work.noises[:free]))
    try:
        answers = answer(torch.cat([noises for _, noises in shares]))
    except Exception as error:
        for work, _ in shares:
            work.go_on(partial(work.asking.throw, error))
        return [work for work, _ in shares]
    gone_on, first = [], 0
    for work, noises in shares:
        part = {name: values[first : first + len(noises)] for name, values in answers.items()}
        first += len(noises)
        if work.take(part):
            gone_on.append(work)
    return gone_on
