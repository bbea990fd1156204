"""Execution of independent jobs, in this process or in worker processes, with one thread each.

A job's matrices are small, so that more threads would not be faster, and rounding in sums would
depend on the number of threads.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, as_completed, wait
from contextlib import contextmanager
from functools import partial
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar

import scipy.linalg  # noqa: F401 - loads its own BLAS, whose threads must be limited, too
import torch
from threadpoolctl import threadpool_limits

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")
StepProgress = Callable[[int, str], None]  # Called with the completed steps and a short text
_StepReports = SimpleQueue[tuple[int, int, str]]  # Index of a job, and its progress
_step_reports: list[_StepReports] = []
"""The queue to which this process writes the progress of its jobs, if it is a worker."""

_SECONDS_BETWEEN_READS = 0.2  # Time between two looks at the progress of jobs in workers


@contextmanager
def limit_threads(thread_count: int) -> Iterator[None]:
    """Limit torch, BLAS and OpenMP to ``thread_count`` threads within a ``with`` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(thread_count)
    try:
        with threadpool_limits(thread_count):
            yield
    finally:
        torch.set_num_threads(before)


def start_process_pool(
    worker_count: int,
    initializer: Callable[..., None] | None = None,
    initializer_arguments: tuple[Any, ...] = (),
) -> ProcessPoolExecutor:
    """Return an executor whose worker processes end with this process, and have one thread each.

    Each worker first calls ``initializer(*initializer_arguments)``, if there is an initializer.
    """
    return ProcessPoolExecutor(
        worker_count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(initializer, initializer_arguments),
    )


class WorkerPool:
    """Runner of jobs, in worker processes or in this process; results come as jobs finish."""

    def __init__(
        self, processes: ProcessPoolExecutor | None = None, reports: _StepReports | None = None
    ) -> None:
        """Use the given processes, which report to a queue; None: run jobs in this process."""
        self._processes, self._reports = processes, reports

    def run_jobs(
        self,
        job_function: Callable[[bytes, JobT], ResultT],
        shared_data: bytes,
        jobs: Sequence[JobT],
    ) -> Iterator[tuple[int, ResultT]]:
        """Run ``job_function(shared_data, job)`` for every job, and yield the results.

        Args:
            job_function: A module-level function, so that another process can import it.
            shared_data: Data that every job needs, such as the encoder package.
            jobs: The jobs.

        Yields:
            Index of a job in ``jobs``, and its result, in the order in which jobs finish.

        Raises:
            WgError: A job failed with this error; the remaining jobs are abandoned.
        """
        if self._processes is None:
            for number, job in enumerate(jobs):
                with limit_threads(1):
                    result = job_function(shared_data, job)
                yield number, result
            return
        numbers = {
            self._processes.submit(job_function, shared_data, job): n for n, job in enumerate(jobs)
        }
        for future in as_completed(numbers):
            yield numbers.pop(future), future.result()

    def run_long_jobs(
        self,
        job_function: Callable[[bytes, JobT, StepProgress], ResultT],
        shared_data: bytes,
        jobs: Sequence[JobT],
        progress: Callable[[int, int, str], None],
    ) -> list[ResultT]:
        """Run jobs that report their progress; return the results in the order of ``jobs``.

        Args:
            job_function: A module-level function, which calls its third argument with the completed
                steps and a short text.
            shared_data: Data that every job needs.
            jobs: The jobs.
            progress: Called in this thread with the index of a job, its completed steps and a short
                text.

        Raises:
            WgError: A job failed with this error; the remaining jobs are abandoned.
        """
        if self._processes is None or self._reports is None:
            with limit_threads(1):
                return [
                    job_function(shared_data, job, partial(progress, number))
                    for number, job in enumerate(jobs)
                ]
        futures = [
            self._processes.submit(_run_long_job, job_function, shared_data, job, number)
            for number, job in enumerate(jobs)
        ]
        running_jobs = set(futures)
        while running_jobs:
            ended_jobs, running_jobs = wait(running_jobs, _SECONDS_BETWEEN_READS, FIRST_COMPLETED)
            while not self._reports.empty():
                progress(*self._reports.get())
            for future in ended_jobs:
                future.result()
        return [future.result() for future in futures]


@contextmanager
def open_workers(worker_count: int) -> Iterator[WorkerPool]:
    """Provide ``worker_count`` workers within a ``with`` block; 1: jobs run in this process."""
    if worker_count == 1:
        yield WorkerPool()
        return
    reports: _StepReports = multiprocessing.get_context("spawn").SimpleQueue()
    processes = start_process_pool(worker_count, _set_step_reports, (reports,))
    try:
        yield WorkerPool(processes, reports)
    finally:
        processes.shutdown(wait=True, cancel_futures=True)


def _set_step_reports(reports: _StepReports) -> None:
    _step_reports.append(reports)


def _run_long_job(
    job_function: Callable[[bytes, JobT, StepProgress], ResultT],
    shared_data: bytes,
    job: JobT,
    number: int,
) -> ResultT:
    def report(step: int, words: str) -> None:
        _step_reports[0].put((number, step, words))

    return job_function(shared_data, job, report)


def _start_worker(
    initializer: Callable[..., None] | None, initializer_arguments: tuple[Any, ...]
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    threadpool_limits(1)
    if initializer is not None:
        initializer(*initializer_arguments)


def _end_with_parent() -> None:
    """Wait in a worker until its parent process ends, even if it was killed; then end the worker.

    The job queue does not close when the parent dies, since other workers also hold its pipe open.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
