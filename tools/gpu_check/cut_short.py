"""What of a benchmark's row was measured when its command ended."""

from pathlib import Path

from megatron_codemix.bench.train.gpu.cases import Case
from megatron_codemix.bench.train.gpu.figures import Figures, step_row
from megatron_codemix.bench.train.gpu.fit import fit
from megatron_codemix.bench.train.gpu.job import OURS, PEER, StepJob, read_job
from megatron_codemix.bench.train.gpu.machine import Machine as Gpu
from megatron_codemix.bench.train.gpu.processes import JOB, RESULT
from megatron_codemix.files import read_json_object


def row_cut_short(work: Path, case: Case, gpu: Gpu, problem: str) -> Figures | None:
    """As `step_row` has it; None where our side had not been measured. A measurement writes each
    side down at once.

    work: the command's folder, which one that was killed leaves as it was. problem: what ended it,
        for the peer that is missing.
    """
    sides: Figures = {}
    for path in sorted(work.rglob(RESULT)):
        job = read_job(read_json_object(path.with_name(JOB)))
        if isinstance(job, StepJob) and job.precision == case.number_formats:
            sides |= read_json_object(path)
    if OURS not in sides:
        return None
    peer = sides.get(PEER, {"reason": problem}) if case.has_peer else None
    return step_row(case, fit(case, gpu.memory_bytes), gpu.gpu, sides[OURS], peer)
